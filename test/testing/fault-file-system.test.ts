import { beforeEach, describe, expect, test } from "vitest";
import { InvalidArgumentError } from "../../src/errors.ts";
import type { File } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { CrashFileSystem } from "../../src/testing/crash-file-system.ts";
import { type Effect, type Fault, FaultFileSystem } from "../../src/testing/fault-file-system.ts";
import { describeFileSystem, errorWith } from "../io/conformance.ts";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const EIO: Effect = { kind: "fail", code: "EIO" };

describeFileSystem("FaultFileSystem without faults", async () => {
  const fileSystem = new FaultFileSystem(new MemoryFileSystem());
  await fileSystem.createDirectory("store");
  return { fileSystem, directory: "store", dispose: async () => {} };
});

let memory: MemoryFileSystem;
let faults: FaultFileSystem;

beforeEach(() => {
  memory = new MemoryFileSystem();
  faults = new FaultFileSystem(memory);
});

async function contentOf(path: string): Promise<number[]> {
  const file = await memory.open(path, "read");
  const content = new Uint8Array(file.size());
  file.readSync(content, 0);
  return Array.from(content);
}

describe("a fault", () => {
  test("strikes the n-th operation of its kind and path from its injection on, once", async () => {
    const [a, b] = [await faults.open("a", "create"), await faults.open("b", "create")];
    a.writeSync(bytes(1), 0);
    faults.inject({ kinds: ["write"], path: /^a$/, nth: 2, effect: EIO });
    a.writeSync(bytes(2), 0);
    b.writeSync(bytes(3), 0);
    await a.sync();
    expect(faults.plannedFaults).toBe(1);
    await expect(a.write(bytes(4), 0)).rejects.toThrow(errorWith("EIO"));
    a.writeSync(bytes(5), 0);
    expect(await contentOf("a")).toEqual([5]);
  });

  test("strikes again as often as it repeats, or until it is healed", async () => {
    const file = await faults.open("a", "create");
    faults.inject({ kinds: ["sync"], repeat: 1, effect: EIO });
    await expect(file.sync()).rejects.toThrow(errorWith("EIO"));
    await expect(file.sync()).rejects.toThrow(errorWith("EIO"));
    await file.sync();
    faults.inject({ repeat: Number.POSITIVE_INFINITY, effect: EIO });
    for (let i = 0; i < 5; i++) await expect(file.sync()).rejects.toThrow(errorWith("EIO"));
    faults.heal();
    await file.sync();
  });

  const each: [string, (file: File) => Promise<unknown> | unknown][] = [
    ["open", () => faults.open("a", "read")],
    ["create", () => faults.open("new", "create")],
    ["list", () => faults.list("")],
    ["stat", () => faults.stat("a")],
    ["createDirectory", () => faults.createDirectory("d")],
    ["rename", () => faults.rename("a", "b")],
    ["remove", () => faults.remove("a")],
    ["syncDirectory", () => faults.syncDirectory("")],
    ["lock", () => faults.lock("", () => {})],
    ["read", (file) => file.readSync(bytes(0), 0)],
    ["write", (file) => file.writeSync(bytes(9), 0)],
    ["write", (file) => file.write(bytes(9), 0)],
    ["sync", (file) => file.sync()],
    ["truncate", (file) => file.truncate(0)],
    ["close", (file) => file.close()],
  ];

  test.each(each)(
    "fails %s without an effect, and any kind if it names none",
    async (kind, run) => {
      const file = await faults.open("a", "create");
      file.writeSync(bytes(1), 0);
      for (const kinds of [[kind], undefined]) {
        const before = faults.operationCount();
        const fault = { effect: { kind: "fail", code: "EACCES" } } as const;
        faults.inject(kinds === undefined ? fault : { ...fault, kinds: [kind as "read"] });
        await expect((async () => await run(file))()).rejects.toThrow(errorWith("EACCES"));
        expect(faults.operationCount()).toBe(before + 1);
        expect(await memory.list("")).toEqual(["a"]);
        expect(await contentOf("a")).toEqual([1]);
      }
      await run(file);
    },
  );

  test("strikes each operation on its paths, whatever the flags of their expression", async () => {
    const file = await faults.open("log", "create");
    faults.inject({ path: /log/g, repeat: 3, effect: EIO });
    for (let i = 0; i < 4; i++) await expect(file.sync()).rejects.toThrow(errorWith("EIO"));
  });

  test.each<[string, unknown]>([
    ["an unknown kind", { kinds: ["fsync"], effect: EIO }],
    ["the operation before the next", { nth: 0, effect: EIO }],
    ["half an operation", { nth: 1.5, effect: EIO }],
    ["less than once", { repeat: -1, effect: EIO }],
    ["an unknown effect", { effect: { kind: "fial", code: "EIO" } }],
    ["no effect", {}],
  ])("that strikes %s is none", (_, fault) => {
    expect(() => faults.inject(fault as Fault)).toThrow(InvalidArgumentError);
    expect(faults.plannedFaults).toBe(0);
  });

  test("may strike after the operation was done", async () => {
    const file = await faults.open("a", "create");
    faults.inject({ kinds: ["write"], effect: { kind: "failAfter", code: "EIO" } });
    expect(() => file.writeSync(bytes(1, 2), 0)).toThrow(errorWith("EIO"));
    expect(await contentOf("a")).toEqual([1, 2]);
    faults.inject({ kinds: ["rename"], effect: { kind: "failAfter", code: "EIO" } });
    await expect(faults.rename("a", "b")).rejects.toThrow(errorWith("EIO"));
    expect(await memory.list("")).toEqual(["b"]);
  });

  test.each([
    [0, []],
    [2, [1, 2]],
    [9, [1, 2, 3]],
  ])("may stop a write after %i bytes", async (count, arrived) => {
    const file = await faults.open("a", "create");
    for (const write of [
      async () => file.writeSync(bytes(1, 2, 3), 0),
      async () => await file.write(bytes(1, 2, 3), 0),
    ]) {
      faults.inject({ effect: { kind: "shorten", code: "ENOSPC", bytes: count } });
      await expect(write()).rejects.toThrow(errorWith("ENOSPC"));
      expect(await contentOf("a")).toEqual(arrived);
      await file.truncate(0);
    }
  });

  test("may hold an operation back until a promise resolves", async () => {
    let go = (): void => {};
    const until = new Promise<void>((resolve) => {
      go = resolve;
    });
    const file = await faults.open("a", "create");
    faults.inject({ kinds: ["write"], effect: { kind: "delay", until } });
    const write = file.write(bytes(1), 0);
    await faults.stat("a");
    expect(await contentOf("a")).toEqual([]);
    go();
    await write;
    expect(await contentOf("a")).toEqual([1]);
  });
});

describe("a limit of bytes", () => {
  test("lets files grow up to it, writes what fits, and says ENOSPC", async () => {
    const file = await faults.open("a", "create");
    faults.limitBytes(5);
    file.writeSync(bytes(1, 2, 3), 0);
    expect(faults.freeBytes).toBe(2);
    expect(() => file.writeSync(bytes(4, 5, 6), 3)).toThrow(errorWith("ENOSPC"));
    expect(await contentOf("a")).toEqual([1, 2, 3, 4, 5]);
    file.writeSync(bytes(9, 9), 0);
    await expect(file.write(bytes(6), 5)).rejects.toThrow(errorWith("ENOSPC"));
    faults.heal();
    await file.write(bytes(6), 5);
    expect(await contentOf("a")).toEqual([9, 9, 3, 4, 5, 6]);
  });

  test("counts what arrives of a write that stops half-way, which cannot exceed it", async () => {
    const file = await faults.open("a", "create");
    faults.limitBytes(5);
    const stopAfter = (count: number): Effect => ({ kind: "shorten", code: "EIO", bytes: count });
    faults.inject({ effect: stopAfter(3) });
    expect(() => file.writeSync(bytes(1, 2, 3, 4), 0)).toThrow(errorWith("EIO"));
    expect(faults.freeBytes).toBe(2);
    faults.inject({ effect: stopAfter(3) });
    expect(() => file.writeSync(bytes(4, 5, 6, 7), 3)).toThrow(errorWith("EIO"));
    expect(await contentOf("a")).toEqual([1, 2, 3, 4, 5]);
  });
});

test("where a path leads is asked of the file system inside", async () => {
  expect(await faults.realPath("a/../b/./c")).toBe("b/c");
  expect(await new FaultFileSystem(new CrashFileSystem()).realPath("./d/")).toBe("d");
});

test("operations are counted by kind", async () => {
  const file = await faults.open("a", "create");
  file.writeSync(bytes(1), 0);
  await file.write(bytes(2), 1);
  await file.sync();
  expect(faults.operationCount("create")).toBe(1);
  expect(faults.operationCount("write")).toBe(2);
  expect(faults.operationCount("read")).toBe(0);
  expect(faults.operationCount()).toBe(4);
});
