/**
 * repair brings over what is whole: whatever is damaged or missing, alone or together with other
 * files, every key whose newest entry is in a file that is whole has that value, no key has a value
 * that was never written under it, and the new database is sound.
 */

import { beforeAll, describe, expect, test } from "vitest";
import {
  CorruptionError,
  DatabaseError,
  InvalidArgumentError,
  LockedError,
  open,
  type RepairReport,
  repair,
} from "../../src/index.ts";
import { joinPath } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";
import { Random } from "../../src/testing/random.ts";
import { filesOf } from "../crash/files.ts";

const DIRECTORY = "store";
const TARGET = "repaired";

type Files = ReadonlyMap<string, Uint8Array>;

function onDisk(files: Files): MemoryFileSystem {
  const paths = [...files].map(([name, bytes]) => [joinPath(DIRECTORY, name), bytes] as const);
  return new MemoryFileSystem({ files: new Map(paths), directories: [DIRECTORY] });
}

const OPTIONS = { valueEncoding: "utf8", compactionTrigger: 16, durability: "os" } as const;

/** What was written, and in which file the newest entry of each key is. */
interface Written {
  readonly files: Files;
  /** Every value that each key ever had. */
  readonly values: ReadonlyMap<string, ReadonlySet<string>>;
  /** The newest value of each key, or undefined where it was deleted, and the files it is in. */
  readonly newest: ReadonlyMap<string, { value: string | undefined; owners: readonly string[] }>;
}

/** Three runs, the oldest with several pages of keys, and two logs; each overwrites and deletes. */
async function write(): Promise<Written> {
  const fileSystem = new MemoryFileSystem();
  const random = new Random(5);
  const values = new Map<string, Set<string>>();
  const newest = new Map<string, { value: string | undefined; owners: string[] }>();
  let before = new Set<string>();
  const phase = async (keyCount: number, ending: ".seg" | ".wal", work: string): Promise<void> => {
    const database = await open<string, string>(DIRECTORY, {
      ...OPTIONS,
      fileSystem,
    });
    const touched: string[] = [];
    for (let i = 0; i < keyCount; i++) {
      const key = `key ${String(random.below(2_000)).padStart(6, "0")}`;
      if (work !== "base" && random.oneIn(4)) {
        await database.delete(key);
        newest.set(key, { value: undefined, owners: [] });
      } else {
        const length = random.oneIn(50) ? 5_000 : 10 + random.below(80);
        const value = `${work} ${i}`.padEnd(length, "value ");
        await database.put(key, value);
        values.set(key, (values.get(key) ?? new Set()).add(value));
        newest.set(key, { value, owners: [] });
      }
      touched.push(key);
    }
    if (ending === ".seg") await database.flush();
    await database.close();
    const names = [...(await filesOf(fileSystem, DIRECTORY)).keys()];
    const endings = ending === ".seg" ? [".seg", ".vlog"] : [ending];
    const owners = names.filter(
      (name) => endings.some((each) => name.endsWith(each)) && !before.has(name),
    );
    for (const key of touched) newest.get(key)?.owners.push(...owners);
    before = new Set(names);
  };
  await phase(2_500, ".seg", "base");
  await phase(300, ".seg", "second");
  await phase(100, ".seg", "third");
  await phase(40, ".wal", "log");
  await phase(40, ".wal", "newest");
  return { files: await filesOf(fileSystem, DIRECTORY), values, newest };
}

let written: Written;

beforeAll(async () => {
  written = await write();
});

interface Repaired {
  readonly report: RepairReport;
  readonly content: Map<string, string>;
}

/** Repairs, and checks what must hold of any result. */
async function repairAndCheck(files: Files): Promise<Repaired> {
  const fileSystem = onDisk(files);
  const report = await repair(DIRECTORY, TARGET, { fileSystem, valueEncoding: "utf8" });
  expect(await filesOf(fileSystem, DIRECTORY)).toEqual(new Map(files));
  const database = await open<string, string>(TARGET, { ...OPTIONS, fileSystem });
  expect(database.recovery.dropped).toEqual([]);
  await database.verify();
  const content = new Map(database.entries());
  expect(database.count()).toBe(report.keys);
  for (const [key, value] of content) {
    if (!written.values.get(key)?.has(value)) throw new Error(`${key} never had ${value}`);
  }
  await database.close();
  return { report, content };
}

/** Throws unless each key whose newest entry is in none of the damaged files is as it was. */
function expectProvable(content: ReadonlyMap<string, string>, damaged: ReadonlySet<string>): void {
  for (const [key, { value, owners }] of written.newest) {
    if (owners.some((name) => damaged.has(name))) continue;
    const found = content.get(key);
    if (found !== value) throw new Error(`${key} is ${found} and not ${value}`);
  }
}

/** Each changes the bytes of one file, or takes it away. */
const DAMAGE: Record<string, (bytes: Uint8Array) => Uint8Array | undefined> = {
  "is missing": () => undefined,
  "is empty": () => new Uint8Array(0),
  "lost its second half": (bytes) => bytes.subarray(0, bytes.length >> 1),
  "has a flipped bit in its header": (bytes) => flipped(bytes, 20),
  "has a flipped bit in its middle": (bytes) => flipped(bytes, bytes.length >> 1),
  "has a flipped bit near its end": (bytes) => flipped(bytes, bytes.length - 30),
  "has a sector of zeros": (bytes) => {
    const start = Math.min(512, bytes.length >> 1);
    return bytes.slice().fill(0, start, start + 512);
  },
};

function flipped(bytes: Uint8Array, position: number): Uint8Array {
  const damaged = bytes.slice();
  damaged[position % damaged.length] ^= 0x10;
  return damaged;
}

function damage(files: Files, name: string, kind: string): Map<string, Uint8Array> {
  const damaged = new Map(files);
  const bytes = DAMAGE[kind](files.get(name) ?? new Uint8Array());
  if (bytes === undefined) damaged.delete(name);
  else damaged.set(name, bytes);
  return damaged;
}

describe("repair of a database that is whole", () => {
  test("brings over everything", async () => {
    const { report, content } = await repairAndCheck(written.files);
    expectProvable(content, new Set());
    expect(report).toMatchObject({
      manifest: "used",
      segments: 3,
      logs: 3,
      writes: 80,
      lost: [],
      missing: [],
      ignored: [],
    });
  });

  test("tells how far it has come", async () => {
    const fileSystem = onDisk(written.files);
    const shares: number[] = [];
    await repair(DIRECTORY, TARGET, {
      fileSystem,
      onProgress: ({ bytesDone, bytes }) => shares.push(bytesDone / bytes),
    });
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.at(-1)).toBe(1);
  });

  test("ends where it is told to, while it merges and verifies too", async () => {
    const untilDone = async (doneCalls: number): Promise<number> => {
      const fileSystem = onDisk(written.files);
      let calls = 0;
      const result = repair(DIRECTORY, TARGET, {
        fileSystem,
        onProgress: ({ bytesDone, bytes }) => {
          if (bytesDone === bytes && ++calls === doneCalls) throw new RangeError("enough");
        },
      });
      if (doneCalls === 0) await result;
      else {
        await expect(result).rejects.toThrow("enough");
        expect(await fileSystem.list(TARGET)).toEqual([]);
      }
      return calls;
    };
    const calls = await untilDone(0);
    // The last of reading, around the merge, in the verification, and at the end.
    expect(calls).toBeGreaterThanOrEqual(5);
    for (let i = 1; i <= calls; i++) await untilDone(i);
  });
});

describe.each(Object.keys(DAMAGE))("a file that %s", (kind) => {
  test("costs what is in it and nothing else", async () => {
    for (const name of written.files.keys()) {
      const { report, content } = await repairAndCheck(damage(written.files, name, kind));
      try {
        expectProvable(content, new Set([name]));
        if (name === "MANIFEST") expect(report.lost).toEqual([]);
        else if (name.endsWith(".vlog")) expect(report.lost.length).toBeGreaterThan(0);
        else if (!kind.includes("header")) expect(report.lost[0].file).toContain(name);
      } catch (cause) {
        throw new Error(`${name}: ${String(cause)}`, { cause });
      }
    }
  });
});

test("two damaged files cost what is in the two", async () => {
  const random = new Random(3);
  const names = [...written.files.keys()];
  const kinds = Object.keys(DAMAGE);
  const anyKind = (): string => kinds[random.below(kinds.length)];
  for (const [i, first] of names.entries()) {
    for (const second of names.slice(i + 1)) {
      const files = damage(damage(written.files, first, anyKind()), second, anyKind());
      const { content } = await repairAndCheck(files);
      expectProvable(content, new Set([first, second]));
    }
  }
});

test("any damage to any files leaves what is provable, and a sound database", async () => {
  const random = new Random(Number(process.env["MEMKV_SEED"] ?? 7));
  const names = [...written.files.keys()];
  for (let i = 0; i < 15; i++) {
    const files = new Map(written.files);
    const damaged = new Set<string>();
    for (let j = 0; j <= random.below(4); j++) {
      const name = names[random.below(names.length)];
      const bytes = (files.get(name) ?? new Uint8Array(1)).slice();
      damaged.add(name);
      const at = random.below(Math.max(1, bytes.length));
      const end = Math.min(bytes.length, at + 1 + random.below(2_000));
      const way = random.below(5);
      if (way === 0) files.set(name, bytes.subarray(0, at));
      else if (way === 1) files.set(name, bytes.fill(0, at, end));
      else if (way === 2) files.set(name, bytes.copyWithin(at, 0, end - at));
      else if (way === 3)
        files.set(name, written.files.get(names[random.below(names.length)]) ?? bytes);
      else {
        for (let pos = at; pos < end; pos++) bytes[pos] = random.next();
        files.set(name, bytes);
      }
    }
    const { content } = await repairAndCheck(files);
    expectProvable(content, damaged);
  }
});

describe("a damaged segment", () => {
  /** Two runs of the same keys, so that what the newer loses is in the older. */
  async function twoRuns(): Promise<{ files: Files; newer: string }> {
    const fileSystem = new MemoryFileSystem();
    const database = await open<string, string>(DIRECTORY, {
      ...OPTIONS,
      fileSystem,
      compression: "none",
    });
    for (const text of ["old", "new"]) {
      for (let i = 0; i < 2_000; i++) {
        await database.put(`key ${i + 10_000}`, `${text} ${i}`.padEnd(60));
      }
      await database.flush();
    }
    await database.close();
    const files = await filesOf(fileSystem, DIRECTORY);
    return { files, newer: [...files.keys()].filter((name) => name.endsWith(".seg")).at(-1) ?? "" };
  }

  async function contentOf(files: Files): Promise<Repaired> {
    const fileSystem = onDisk(files);
    const report = await repair(DIRECTORY, TARGET, { fileSystem });
    const database = await open<string, string>(TARGET, { ...OPTIONS, fileSystem });
    const content = new Map(database.entries());
    await database.close();
    return { report, content };
  }

  test("loses the values of a damaged block, which older ones do not stand in for", async () => {
    const { files, newer } = await twoRuns();
    const { report, content } = await contentOf(
      new Map(files).set(newer, flipped(files.get(newer) ?? new Uint8Array(), 1_000)),
    );
    expect([...content.values()].filter((value) => value.startsWith("old"))).toEqual([]);
    const [loss] = report.lost;
    expect(report.lost.length).toBe(1);
    expect(loss.mayShowOlder).toBe(false);
    expect(content.size).toBe(2_000 - (loss.entries ?? 0));
    expect(loss.entries).toBeGreaterThan(10);
    const [firstKey, lastKey] = [loss.firstKey, loss.lastKey].map((key) =>
      new TextDecoder().decode(key),
    );
    for (let i = 0; i < 2_000; i++) {
      const key = `key ${i + 10_000}`;
      expect(content.has(key)).toBe(key < firstKey || key > lastKey);
    }
  });

  test("loses the keys of a damaged page, where older values may show", async () => {
    const { files, newer } = await twoRuns();
    const bytes = files.get(newer) ?? new Uint8Array();
    const report = await pageLoss(files, newer, bytes);
    expect(report.lost.length).toBe(1);
    const [loss] = report.lost;
    expect(loss).toMatchObject({ mayShowOlder: true, entries: 512 });
  });

  /** Damages the section of keys from its end until one page is lost. */
  async function pageLoss(files: Files, name: string, bytes: Uint8Array): Promise<RepairReport> {
    for (let position = bytes.length - 600; position > bytes.length >> 1; position -= 200) {
      const { report, content } = await contentOf(
        new Map(files).set(name, flipped(bytes, position)),
      );
      if (!report.lost.some(({ mayShowOlder, entries }) => mayShowOlder && entries === 512))
        continue;
      expect(content.size).toBe(2_000);
      expect([...content.values()].filter((value) => value.startsWith("old")).length).toBe(512);
      return report;
    }
    throw new Error("no page was hit");
  }

  test("is read although its header, its filter or the disk under its values is broken", async () => {
    const { files, newer } = await twoRuns();
    const faults = new FaultFileSystem(
      onDisk(new Map(files).set(newer, flipped(files.get(newer) ?? new Uint8Array(), 30))),
    );
    const report = await repair(DIRECTORY, TARGET, { fileSystem: faults });
    expect(report).toMatchObject({ keys: 2_000, lost: [] });
  });
});

describe("without a manifest", () => {
  /** Files before and after a compaction that dropped tombstones. */
  async function compacted(): Promise<{
    before: Files;
    after: Files;
    content: Map<string, string>;
  }> {
    const fileSystem = new MemoryFileSystem();
    const database = await open<string, string>(DIRECTORY, { ...OPTIONS, fileSystem });
    for (let i = 0; i < 300; i++) await database.put(`key ${i}`, `first ${i}`);
    await database.flush();
    for (let i = 0; i < 300; i += 2) await database.delete(`key ${i}`);
    for (let i = 0; i < 300; i += 3) await database.put(`key ${i}`, `second ${i}`);
    await database.flush();
    const before = await filesOf(fileSystem, DIRECTORY);
    await database.compact();
    const content = new Map(database.entries());
    await database.close();
    const after = await filesOf(fileSystem, DIRECTORY);
    return { before, after, content };
  }

  async function repaired(files: Files, valueEncoding?: "utf8"): Promise<Repaired> {
    const fileSystem = onDisk(files);
    const report = await repair(DIRECTORY, TARGET, { fileSystem, valueEncoding });
    const database = await open<string, string>(TARGET, { ...OPTIONS, fileSystem });
    const content = new Map(database.entries());
    await database.close();
    return { report, content };
  }

  test("inputs that a finished compaction left behind bring nothing back", async () => {
    const { before, after, content } = await compacted();
    const files = new Map([...before, ...after]);
    files.delete("MANIFEST");
    const { report, content: found } = await repaired(files, "utf8");
    expect(found).toEqual(content);
    expect(report.ignored.length).toBe(2);
    expect(report).toMatchObject({ manifest: "missing", lost: [], missing: [] });
  });

  test("one of several inputs that was left behind brings nothing back", async () => {
    const { before, after, content } = await compacted();
    for (const name of before.keys()) {
      if (!name.endsWith(".seg")) continue;
      const files = new Map(after).set(name, before.get(name) ?? new Uint8Array());
      files.delete("MANIFEST");
      expect((await repaired(files, "utf8")).content).toEqual(content);
    }
  });

  test("a compaction that was cut short takes nothing away", async () => {
    const { before, after, content } = await compacted();
    const output =
      [...after.keys()].find((name) => name.endsWith(".seg") && !before.has(name)) ?? "";
    const files = new Map(before);
    files.set(output, (after.get(output) ?? new Uint8Array()).slice(0, -200));
    files.delete("MANIFEST");
    const { report, content: found } = await repaired(files, "utf8");
    expect(found).toEqual(content);
    expect(report.lost.map(({ file }) => file)).toEqual([joinPath(DIRECTORY, output)]);
  });

  test("a manifest that is older than the segments is not believed", async () => {
    const { before, after, content } = await compacted();
    const files = new Map(after).set("MANIFEST", before.get("MANIFEST") ?? new Uint8Array());
    const { report, content: found } = await repaired(files);
    expect(report.manifest).toBe("stale");
    expect(found).toEqual(content);
  });

  test("the encodings are those that are asked for", async () => {
    const { after } = await compacted();
    const files = new Map(after);
    files.delete("MANIFEST");
    const fileSystem = onDisk(files);
    await repair(DIRECTORY, TARGET, { fileSystem, keyEncoding: "binary", valueEncoding: "json" });
    const options = { fileSystem, keyEncoding: "binary", valueEncoding: "json" } as const;
    await (await open(TARGET, options)).close();
  });
});

describe("repair is refused", () => {
  test("while the database is open", async () => {
    const fileSystem = onDisk(written.files);
    const database = await open(DIRECTORY, { ...OPTIONS, fileSystem });
    await expect(repair(DIRECTORY, TARGET, { fileSystem })).rejects.toThrow(LockedError);
    await database.close();
    expect((await repair(DIRECTORY, TARGET, { fileSystem })).lost).toEqual([]);
  });

  test("into its own directory, or one that holds something", async () => {
    const fileSystem = onDisk(written.files);
    const before = await fileSystem.list(DIRECTORY);
    for (const own of [DIRECTORY, `${DIRECTORY}/`, `./${DIRECTORY}`, `${DIRECTORY}/new`]) {
      await expect(repair(DIRECTORY, own, { fileSystem })).rejects.toThrow(InvalidArgumentError);
    }
    expect(await fileSystem.list(DIRECTORY)).toEqual(before);
    await expect(repair(DIRECTORY, TARGET, null as never)).rejects.toThrow(InvalidArgumentError);
    await (await open(TARGET, { fileSystem })).close();
    await expect(repair(DIRECTORY, TARGET, { fileSystem })).rejects.toMatchObject({
      code: "MEMKV_EXISTS",
    });
    await (await fileSystem.open("file", "create")).close();
    await expect(repair(DIRECTORY, "file", { fileSystem })).rejects.toThrow(DatabaseError);
  });

  test("of what is no database", async () => {
    const fileSystem = new MemoryFileSystem();
    await expect(repair("nowhere", TARGET, { fileSystem })).rejects.toMatchObject({
      code: "MEMKV_NOT_FOUND",
    });
    await fileSystem.createDirectory("empty");
    await expect(repair("empty", TARGET, { fileSystem })).rejects.toMatchObject({
      code: "MEMKV_NOT_A_DATABASE",
    });
    expect(await fileSystem.stat(TARGET)).toBeUndefined();
  });
});

test("a repair that fails leaves the target empty, and can be had again", async () => {
  const faults = new FaultFileSystem(onDisk(written.files));
  for (const freeBytes of [0, 1_000, 20_000]) {
    faults.limitBytes(freeBytes);
    await expect(repair(DIRECTORY, TARGET, { fileSystem: faults })).rejects.toMatchObject({
      code: "MEMKV_IO",
    });
    faults.heal();
    const left = (await faults.stat(TARGET)) === undefined ? [] : await faults.list(TARGET);
    expect(left).toEqual([]);
  }
  const report = await repair(DIRECTORY, TARGET, { fileSystem: faults });
  expect(report.lost).toEqual([]);
});

test("what the disk does not give is lost, and the rest is not", async () => {
  const { keys: keyCount } = await repair(DIRECTORY, TARGET, { fileSystem: onDisk(written.files) });
  for (const nth of [1, 5, 20, 100]) {
    const faults = new FaultFileSystem(onDisk(written.files));
    faults.inject({ nth, kinds: ["read"], effect: { kind: "fail", code: "EIO" } });
    const failure = await repair(DIRECTORY, TARGET, { fileSystem: faults }).catch(
      (error: unknown) => error,
    );
    if (failure instanceof Error) expect(failure).toBeInstanceOf(CorruptionError);
    else {
      const { keys, lost } = failure as RepairReport;
      const lostEntries = lost.reduce((sum, { entries = Infinity }) => sum + entries, 0);
      expect(keys + lostEntries).toBeGreaterThanOrEqual(keyCount);
    }
  }
});
