/**
 * What each recovery mode makes of the same damage, and that the database is sound afterwards.
 */
import { describe, expect, test } from "vitest";
import { CorruptionError } from "../../src/errors.ts";
import { open, type RecoveryMode } from "../../src/index.ts";
import { joinPath } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { checkFiles, contentOf, DIRECTORY, openTest, type TestDatabase } from "./check.ts";

interface Built {
  readonly fileSystem: MemoryFileSystem;
  /** Where each record begins. */
  readonly offsets: readonly number[];
  /** Name of the newest log. */
  readonly log: string;
}

/** Puts "0" to "9", each synced, of which the first three are in a run; then the process is killed. */
async function build(): Promise<Built> {
  const fileSystem = new MemoryFileSystem();
  const database = await openTest(fileSystem);
  const offsets: number[] = [];
  let log = "";
  for (let i = 0; i < 10; i++) {
    if (i === 3) await database.flush();
    log = (await fileSystem.list(DIRECTORY)).filter((name) => name.endsWith(".wal")).at(-1) ?? "";
    offsets.push((await fileSystem.stat(joinPath(DIRECTORY, log)))?.size ?? 0);
    await database.put(`${i}`, `value ${i}`, { durability: "sync" });
  }
  const files = new Map<string, Uint8Array>();
  for (const name of await fileSystem.list(DIRECTORY)) {
    const file = await fileSystem.open(joinPath(DIRECTORY, name), "read");
    const bytes = new Uint8Array(file.size());
    file.readSync(bytes, 0);
    files.set(joinPath(DIRECTORY, name), bytes);
    await file.close();
  }
  await database.close();
  return { fileSystem: new MemoryFileSystem({ files, directories: [] }), offsets, log };
}

function openIn(fileSystem: MemoryFileSystem, recovery: RecoveryMode): Promise<TestDatabase> {
  const options = { fileSystem, recovery, valueEncoding: "utf8", durability: "os" } as const;
  return open<string, string>(DIRECTORY, options);
}

const keysOf = (database: TestDatabase): string => [...contentOf(database).keys()].join("");

/** The database takes writes, and the default mode finds nothing wrong with it. */
async function expectSound(database: TestDatabase, fileSystem: MemoryFileSystem): Promise<void> {
  const keys = keysOf(database);
  await database.put("later", "1", { durability: "sync" });
  await database.close();
  const again = await openIn(fileSystem, "absolute");
  expect(keysOf(again)).toBe(`${keys}later`);
  expect(again.recovery.dropped).toEqual([]);
  await again.verify();
  await again.close();
  await checkFiles(fileSystem);
}

describe("damage in the middle of the newest log", () => {
  async function damaged(): Promise<{
    fileSystem: MemoryFileSystem;
    path: string;
    offset: number;
  }> {
    const { fileSystem, offsets, log } = await build();
    const path = joinPath(DIRECTORY, log);
    const file = await fileSystem.open(path, "update");
    file.writeSync(Uint8Array.of(0xff, 0xff), offsets[6] + 20);
    await file.close();
    return { fileSystem, path, offset: offsets[6] };
  }

  test.each(["tolerate-tail", "absolute"] as const)("is an error in mode %s", async (mode) => {
    const { fileSystem, path, offset } = await damaged();
    for (let i = 0; i < 2; i++) {
      const error = await openIn(fileSystem, mode).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(CorruptionError);
      expect(error).toMatchObject({ file: path, offset });
    }
  });

  test.each([
    ["point-in-time", "012345"],
    ["salvage", "012345789"],
  ] as const)("in mode %s leaves %s, and a report", async (mode, keys) => {
    const { fileSystem, path, offset } = await damaged();
    const database = await openIn(fileSystem, mode);
    expect(keysOf(database)).toBe(keys);
    const { recovery } = database;
    expect(recovery.dropped).toMatchObject([{ file: path, offset, afterSeqno: 3 }]);
    expect(recovery.dropped[0].bytes).toBeGreaterThan(0);
    expect(recovery.missing).toEqual(mode === "salvage" ? [{ firstSeqno: 7, lastSeqno: 7 }] : []);
    expect(recovery.lastSeqno).toBe(mode === "salvage" ? 10 : 6);
    await expectSound(database, fileSystem);
  });
});

describe("a torn end of the newest log", () => {
  async function torn(): Promise<MemoryFileSystem> {
    const { fileSystem, log } = await build();
    const file = await fileSystem.open(joinPath(DIRECTORY, log), "update");
    await file.truncate(file.size() - 1);
    await file.close();
    return fileSystem;
  }

  test.each(["tolerate-tail", "point-in-time", "salvage"] as const)(
    "is dropped and reported in mode %s",
    async (mode) => {
      const fileSystem = await torn();
      const database = await openIn(fileSystem, mode);
      expect(keysOf(database)).toBe("012345678");
      expect(database.recovery.dropped.length).toBe(1);
      expect(database.recovery).toMatchObject({ recordsReplayed: 6, lastSeqno: 9, missing: [] });
      await expectSound(database, fileSystem);
    },
  );

  test("is an error in mode absolute", async () => {
    await expect(openIn(await torn(), "absolute")).rejects.toThrow(CorruptionError);
  });
});

describe("a newest log that is missing", () => {
  async function without(): Promise<{ fileSystem: MemoryFileSystem; path: string }> {
    const { fileSystem, log } = await build();
    const path = joinPath(DIRECTORY, log);
    await fileSystem.remove(path);
    return { fileSystem, path };
  }

  test.each(["tolerate-tail", "absolute"] as const)("is an error in mode %s", async (mode) => {
    const { fileSystem, path } = await without();
    await expect(openIn(fileSystem, mode)).rejects.toMatchObject({
      code: "MEMKV_CORRUPTION",
      file: path,
    });
  });

  test.each(["point-in-time", "salvage"] as const)("is reported in mode %s", async (mode) => {
    const { fileSystem, path } = await without();
    const database = await openIn(fileSystem, mode);
    expect(keysOf(database)).toBe("012");
    expect(database.recovery.dropped).toMatchObject([
      { file: path, offset: 0, reason: "a log is missing", afterSeqno: 3 },
    ]);
    await expectSound(database, fileSystem);
  });
});
