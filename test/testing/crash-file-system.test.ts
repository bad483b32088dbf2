import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvalidArgumentError } from "../../src/errors.ts";
import type { FileSystem } from "../../src/io/file-system.ts";
import { replaceFile } from "../../src/io/replace.ts";
import {
  CrashFileSystem,
  type CrashModel,
  type DiskOperation,
} from "../../src/testing/crash-file-system.ts";
import { describeFileSystem } from "../io/conformance.ts";

const MODELS: CrashModel[] = ["strict", "ordered"];
const STATES = { seed: 1, count: 300 };

describeFileSystem("CrashFileSystem", async () => {
  const fileSystem = new CrashFileSystem();
  await fileSystem.createDirectory("store");
  return { fileSystem, directory: "store", dispose: async () => {} };
});

async function write(disk: FileSystem, path: string, content: string, position = 0): Promise<void> {
  const mode = (await disk.stat(path)) === undefined ? "create" : "update";
  const file = await disk.open(path, mode);
  await file.write(new TextEncoder().encode(content), position);
  await file.close();
}

async function sync(disk: FileSystem, path: string): Promise<void> {
  const file = await disk.open(path, "update");
  await file.sync();
  await file.close();
}

/** Everything on a disk: names in order, each with its content. */
async function show(disk: FileSystem): Promise<string> {
  const names = (await disk.list("")).toSorted((a, b) => (a < b ? -1 : 1));
  const shown: string[] = [];
  for (const name of names) {
    const file = await disk.open(name, "read");
    const content = new Uint8Array(file.size());
    file.readSync(content, 0);
    shown.push(`${name}=${new TextDecoder("latin1").decode(content).replaceAll("\0", ".")}`);
  }
  return shown.join(" ");
}

/** All the disks that a crash now may leave, each once. */
async function outcomes(disk: CrashFileSystem, options = STATES): Promise<Set<string>> {
  const shown = new Set<string>();
  for (const state of disk.crashStates(options)) shown.add(await show(state));
  return shown;
}

/** A disk with the file `a`, durable. */
async function diskWith(
  content: string,
  model: CrashModel = "strict",
  sectorBytes = 1,
): Promise<CrashFileSystem> {
  const disk = new CrashFileSystem({ model, sectorBytes });
  await write(disk, "a", content);
  await sync(disk, "a");
  await disk.syncDirectory("");
  return disk;
}

describe.each(MODELS)("in the model %s", (model) => {
  test("what was synced is in every state", async () => {
    const disk = await diskWith("abc", model);
    expect(await outcomes(disk)).toEqual(new Set(["a=abc"]));
  });

  test("the first state has lost everything else, the second nothing", async () => {
    const disk = await diskWith("abc", model);
    await write(disk, "a", "xyz");
    await write(disk, "b", "new");
    const [first, second] = [...disk.crashStates({ seed: 9, count: 2 })];
    expect(await show(first)).toBe("a=abc");
    expect(await show(second)).toBe("a=xyz b=new");
  });

  test("a file whose directory was not synced may be missing", async () => {
    const disk = new CrashFileSystem({ model });
    await write(disk, "a", "abc");
    expect(await outcomes(disk)).toContain("");
    await disk.syncDirectory("");
    expect(await outcomes(disk)).not.toContain("");
  });

  test("overwritten bytes are lost in any combination", async () => {
    const disk = await diskWith("ab", model);
    await write(disk, "a", "x", 0);
    await write(disk, "a", "y", 1);
    expect(await outcomes(disk)).toEqual(new Set(["a=ab", "a=xb", "a=ay", "a=xy"]));
  });

  test("a sector is never a mixture of two moments", async () => {
    const disk = await diskWith("abcdefgh", model, 4);
    await write(disk, "a", "123456", 1);
    await write(disk, "a", "89", 1);
    const sectors = { first: ["abcd", "a123", "a893"], second: ["efgh", "456h"] };
    const possible = sectors.first.flatMap((a) => sectors.second.map((b) => `a=${a}${b}`));
    expect(await outcomes(disk)).toEqual(new Set(possible));
  });

  test("a rename is there or not, and the target never anything else", async () => {
    const disk = await diskWith("old", model);
    await write(disk, "b", "new");
    await sync(disk, "b");
    await disk.rename("b", "a");
    const shown = await outcomes(disk);
    const expected = ["a=old", "a=old b=new", "a=new"];
    expect(shown).toEqual(new Set(model === "strict" ? expected : expected.slice(1)));
    await disk.syncDirectory("");
    expect(await outcomes(disk)).toEqual(new Set(["a=new"]));
  });

  test("a removed file may be back, with its bytes, until its directory is synced", async () => {
    const disk = await diskWith("abc", model);
    await disk.remove("a");
    expect(await outcomes(disk)).toEqual(new Set(["a=abc", ""]));
    await disk.syncDirectory("");
    expect(await outcomes(disk)).toEqual(new Set([""]));
  });

  test("a cut may be lost", async () => {
    const disk = await diskWith("abcd", model);
    const file = await disk.open("a", "update");
    await file.truncate(2);
    const shown = await outcomes(disk);
    expect(shown).toContain("a=ab");
    expect(shown).toContain("a=abcd");
    await file.sync();
    expect(await outcomes(disk)).toEqual(new Set(["a=ab"]));
  });

  test("bytes that were cut off do not come back behind a durable cut", async () => {
    const disk = await diskWith("abcd", model);
    const file = await disk.open("a", "update");
    await file.truncate(1);
    await file.truncate(4);
    await file.sync();
    expect(await outcomes(disk)).toEqual(new Set(["a=a..."]));
  });

  test("what is written during a sync is not part of it", async () => {
    const disk = await diskWith("a", model);
    const file = await disk.open("a", "update");
    file.writeSync(Uint8Array.of(0x62), 0);
    const done = file.sync();
    file.writeSync(Uint8Array.of(0x63), 0);
    await done;
    expect(await outcomes(disk)).toEqual(new Set(["a=b", "a=c"]));
  });

  test("a name changed during a directory's sync is not part of it", async () => {
    const disk = await diskWith("a", model);
    const done = disk.syncDirectory("");
    await disk.remove("a");
    await done;
    expect(await outcomes(disk)).toEqual(new Set(["a=a", ""]));
  });

  test("overlapping syncs of one file leave it as the later one does", async () => {
    const disk = await diskWith("a", model);
    const file = await disk.open("a", "update");
    file.writeSync(Uint8Array.of(0x62), 0);
    const first = file.sync();
    file.writeSync(Uint8Array.of(0x63), 0);
    await Promise.all([file.sync(), first]);
    expect(await outcomes(disk)).toEqual(new Set(["a=c"]));
  });

  test("directories are durable at once, and sync apart from each other", async () => {
    const disk = new CrashFileSystem({ model: "strict" });
    await disk.createDirectory("d/e");
    await write(disk, "d/x", "1");
    await write(disk, "d/e/y", "2");
    await sync(disk, "d/x");
    await sync(disk, "d/e/y");
    await disk.syncDirectory("d");
    const seen = new Set<string>();
    for (const state of disk.crashStates(STATES)) {
      const names = await state.list("d");
      expect(new Set(names)).toEqual(new Set(["x", "e"]));
      seen.add((await state.list("d/e")).join());
    }
    expect(seen).toEqual(new Set(["", "y"]));
  });

  test("a crash point does not see what happens after it", async () => {
    const disk = await diskWith("a", model);
    await write(disk, "a", "b");
    const point = disk.crashPoint();
    await write(disk, "a", "c");
    await sync(disk, "a");
    await write(disk, "n", "d");
    const shown = new Set<string>();
    for (const state of point.states(STATES)) shown.add(await show(state));
    expect(shown).toEqual(new Set(["a=a", "a=b"]));
  });

  test("a seed gives the same states again, and the states are independent disks", async () => {
    const disk = await diskWith("abcdef", model);
    await write(disk, "a", "123456");
    const twice: string[][] = [];
    for (let i = 0; i < 2; i++) {
      const shown: string[] = [];
      for (const state of disk.crashStates({ seed: 7, count: 20 })) {
        shown.push(await show(state));
        await write(state, "a", "overwritten");
      }
      twice.push(shown);
    }
    expect(twice[0]).toEqual(twice[1]);
    expect(new Set(twice[0]).size).toBeGreaterThan(3);
  });

  test("a state can be worked on and crashed again", async () => {
    const disk = await diskWith("a", model);
    for (const state of disk.crashStates({ seed: 1, count: 1 })) {
      await write(state, "a", "b");
      expect(await outcomes(state)).toEqual(new Set(["a=a", "a=b"]));
    }
  });

  test("replaceFile leaves the old bytes or the new ones at every operation", async () => {
    const shown = new Set<string>();
    const points: (() => Generator<CrashFileSystem>)[] = [];
    const onOperation = (): void => {
      const point = disk.crashPoint();
      points.push(() => point.states({ seed: points.length, count: 50 }));
    };
    const disk = new CrashFileSystem({ model, sectorBytes: 1, onOperation });
    await replaceFile(disk, "", "a", new TextEncoder().encode("old"));
    points.length = 0;
    await replaceFile(disk, "", "a", new TextEncoder().encode("new bytes"));
    expect(points.length).toBe(5);
    for (const states of points) {
      for (const state of states()) {
        for (const file of (await show(state)).split(" ")) {
          if (file.startsWith("a=")) shown.add(file);
        }
        expect(await state.stat("a")).toBeDefined();
      }
    }
    expect(shown.has("a=old")).toBe(true);
    shown.delete("a=old");
    shown.delete("a=new");
    expect(shown).toEqual(new Set());
    expect(await outcomes(disk)).toEqual(new Set(["a=new bytes"]));
  });
});

describe("the models differ:", () => {
  const unsyncedGrowth = async (model: CrashModel): Promise<Set<string>> => {
    const disk = await diskWith("ab", model);
    await write(disk, "a", "cd", 2);
    return outcomes(disk);
  };

  test("strict loses appended bytes and keeps the length; ordered does not", async () => {
    const strict = await unsyncedGrowth("strict");
    expect(strict).toContain("a=ab..");
    expect(strict).toContain("a=ab.d");
    expect(await unsyncedGrowth("ordered")).toEqual(new Set(["a=ab", "a=abcd"]));
  });

  test("strict has garbage in sectors that were never written, ordered zeros", async () => {
    const garbage = /[^abcd.=]/;
    expect([...(await unsyncedGrowth("strict"))].some((shown) => garbage.test(shown))).toBe(true);
    expect([...(await unsyncedGrowth("ordered"))].some((shown) => garbage.test(shown))).toBe(false);
  });

  const twoNames = async (model: CrashModel): Promise<Set<string>> => {
    const disk = new CrashFileSystem({ model });
    await write(disk, "a", "");
    await write(disk, "b", "");
    return outcomes(disk);
  };

  test("strict loses names in any combination, ordered from some moment on", async () => {
    expect(await twoNames("strict")).toEqual(new Set(["", "a=", "b=", "a= b="]));
    expect(await twoNames("ordered")).toEqual(new Set(["", "a=", "a= b="]));
  });

  test("in ordered, a sync of any file keeps the names before it", async () => {
    const disk = new CrashFileSystem({ model: "ordered" });
    await write(disk, "a", "");
    await write(disk, "b", "x");
    await sync(disk, "b");
    expect(await outcomes(disk)).toEqual(new Set(["a= b=x"]));
  });
});

test("onOperation sees each operation that matters, before it, in order", async () => {
  const seen: DiskOperation[] = [];
  const disk = new CrashFileSystem({ onOperation: (operation) => seen.push(operation) });
  await disk.createDirectory("d");
  const file = await disk.open("d/a", "create");
  file.writeSync(Uint8Array.of(1), 0);
  await file.truncate(0);
  await file.sync();
  file.readSync(new Uint8Array(1), 0);
  await file.close();
  await disk.rename("d/a", "d/b");
  await disk.syncDirectory("d");
  await disk.list("d");
  await disk.remove("d/b");
  expect(seen.map(({ kind }) => kind)).toEqual([
    "createDirectory",
    "create",
    "write",
    "truncate",
    "sync",
    "rename",
    "syncDirectory",
    "remove",
  ]);
  expect(seen.map(({ index }) => index)).toEqual(seen.map((_, i) => i));
  expect(disk.operationCount).toBe(seen.length);
});

describe("every state of a random program", () => {
  const operation = fc.oneof(
    fc.record({
      kind: fc.constant("write" as const),
      at: fc.nat(8),
      content: fc.string({ minLength: 1, maxLength: 6 }),
    }),
    fc.record({ kind: fc.constant("truncate" as const), length: fc.nat(12) }),
    fc.record({ kind: fc.constant("sync" as const) }),
  );

  test.each(MODELS)(
    "in the model %s has the bytes that were synced and not touched since",
    (model) =>
      fc.assert(
        fc.asyncProperty(
          fc.array(operation, { maxLength: 12 }),
          fc.nat(),
          async (program, seed) => {
            const disk = new CrashFileSystem({ model, sectorBytes: 1 });
            const file = await disk.open("a", "create");
            await disk.syncDirectory("");
            // What every disk must have: bytes by position, below a length.
            let certain = new Map<number, number>();
            let certainLength = 0;
            for (const step of program) {
              if (step.kind === "write") {
                const data = new TextEncoder().encode(step.content);
                file.writeSync(data, step.at);
                for (let i = 0; i < data.length; i++) certain.delete(step.at + i);
              } else if (step.kind === "truncate") {
                certainLength = Math.min(certainLength, step.length);
                await file.truncate(step.length);
              } else {
                await file.sync();
                certainLength = file.size();
                const content = new Uint8Array(certainLength);
                file.readSync(content, 0);
                certain = new Map(content.entries());
              }
            }
            for (const state of disk.crashStates({ seed, count: 20 })) {
              const copy = await state.open("a", "read");
              const content = new Uint8Array(copy.size());
              copy.readSync(content, 0);
              expect(content.length).toBeGreaterThanOrEqual(certainLength);
              for (const [position, byte] of certain) {
                if (position < certainLength) expect(content[position]).toBe(byte);
              }
            }
          },
        ),
      ),
  );
});

test.each<[string, () => unknown]>([
  ["no states", () => new CrashFileSystem().crashStates({ seed: 1, count: 0 })],
  ["states without a count", () => new CrashFileSystem().crashStates({ seed: 1 } as never)],
  ["states without a seed", () => new CrashFileSystem().crashStates({ count: 1 } as never)],
  ["an unknown model", () => new CrashFileSystem({ model: "orderd" as never })],
  ["sectors of no bytes", () => new CrashFileSystem({ sectorBytes: 0 })],
])("%s is an InvalidArgumentError", (_, call) => {
  expect(call).toThrow(InvalidArgumentError);
});
