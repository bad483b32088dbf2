import { describe, expect, test } from "vitest";
import { assert } from "../../src/assert.ts";
import { CorruptionError, type Database, type FileSystem, open } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { readManifest, writeManifest } from "../../src/manifest/manifest.ts";
import { FaultFileSystem } from "../../src/testing/fault-file-system.ts";
import { gate } from "./harness.ts";

const DIRECTORY = "db";

/** A database with two runs and writes that are only in its log. */
async function fill(fileSystem: FileSystem): Promise<Database> {
  const database = await open(DIRECTORY, { fileSystem, compactionTrigger: 8 });
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 50; i++) await database.put(`key ${i * 3 + round}`, `value ${i}`);
    if (round < 2) await database.flush();
  }
  return database;
}

async function flip(fileSystem: MemoryFileSystem, name: string, position: number): Promise<void> {
  const file = await fileSystem.open(`${DIRECTORY}/${name}`, "update");
  const byte = new Uint8Array(1);
  file.readSync(byte, position);
  byte[0] ^= 0x40;
  file.writeSync(byte, position);
  await file.close();
}

describe("verify", () => {
  test("reads everything of a whole database and says how much", async () => {
    const database = await fill(new MemoryFileSystem());
    const progress: number[] = [];
    const report = await database.verify({
      onProgress: ({ bytesDone, bytes }) => progress.push(bytesDone / bytes),
    });
    expect(report).toMatchObject({ segments: 2, keys: 100, logs: 1, logWrites: 50 });
    expect(report.bytes).toBeGreaterThan(0);
    expect(progress.at(-1)).toBe(1);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    await database.close();
  });

  test.each([
    ["a log", ".wal", (size: number) => size - 9],
    ["a segment's values", ".seg", () => 60],
    ["a segment's footer", ".seg", (size: number) => size - 20],
    ["the manifest", "MANIFEST", () => 30],
  ])("finds a changed byte in %s, and names the file", async (_, ending, positionOf) => {
    const fileSystem = new MemoryFileSystem();
    const database = await fill(fileSystem);
    const names = (await fileSystem.list(DIRECTORY)).filter((name) => name.endsWith(ending));
    const name = names.sort((a, b) => (a < b ? -1 : 1)).at(-1) ?? "";
    const isLog = ending === ".wal";
    // Space that the log took ahead is not part of it.
    const logBytes = database.stats().disk.log;
    const size = isLog ? logBytes : ((await fileSystem.stat(`${DIRECTORY}/${name}`))?.size ?? 0);
    await flip(fileSystem, name, positionOf(size));
    const failure = await database.verify().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CorruptionError);
    expect((failure as CorruptionError).file).toContain(name);
    await database.close();
  });

  test("of a read-only open passes a log that its writer has flushed, and no other", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await fill(fileSystem);
    const before = await open(DIRECTORY, { fileSystem, readOnly: true });
    await database.flush();
    expect(await before.verify()).toMatchObject({ segments: 2, keys: 100, logs: 0, logWrites: 0 });
    await database.put("key", "value");
    const after = await open(DIRECTORY, { fileSystem, readOnly: true });
    const names = (await fileSystem.list(DIRECTORY)).filter((name) => name.endsWith(".wal"));
    for (const name of names) await fileSystem.remove(`${DIRECTORY}/${name}`);
    await expect(after.verify()).rejects.toMatchObject({ code: "MEMKV_IO" });
    for (const opened of [before, after, database]) await opened.close();
  });

  test("of a read-only open passes the log that its writer is creating", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const database = await fill(fileSystem);
    const written = gate();
    const effect = { kind: "delay", until: written.promise } as const;
    fileSystem.inject({ kinds: ["write"], path: /wal$/, effect });
    const flushed = database.flush();
    await expect.poll(() => fileSystem.struck.length).toBe(1);
    const reader = await open(DIRECTORY, { fileSystem, readOnly: true });
    expect(await reader.verify()).toMatchObject({ segments: 2, keys: 100, logs: 1, logWrites: 50 });
    written.resolve();
    await flushed;
    for (const opened of [reader, database]) await opened.close();
  });

  test("of a read-only open finds a log whose header is damaged before it is durable", async () => {
    const memory = new MemoryFileSystem();
    const fileSystem = new FaultFileSystem(memory);
    await (await fill(fileSystem)).close();
    const database = await open(DIRECTORY, { fileSystem });
    const founded = gate();
    const effect = { kind: "delay", until: founded.promise } as const;
    fileSystem.inject({ kinds: ["sync"], path: /wal$/, effect });
    await database.put("key", "value", { durability: "os" });
    await expect.poll(() => fileSystem.struck.length).toBe(1);
    const logs = (await memory.list(DIRECTORY)).filter((name) => name.endsWith(".wal"));
    await flip(memory, logs.sort((a, b) => (a < b ? -1 : 1)).at(-1) ?? "", 12);
    const reader = await open(DIRECTORY, { fileSystem, readOnly: true });
    expect(reader.recovery.dropped).toHaveLength(1);
    await expect(reader.verify()).rejects.toThrow(CorruptionError);
    founded.resolve();
    for (const opened of [reader, database]) await opened.close();
  });

  test("calls it no damage that a manifest is there of which nobody knows", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const database = await fill(fileSystem);
    const effect = { kind: "failAfter", code: "EIO" } as const;
    fileSystem.inject({ kinds: ["rename"], path: /MANIFEST$/, effect });
    await expect(database.flush()).rejects.toMatchObject({ code: "MEMKV_POISONED" });
    await expect(database.verify()).rejects.toMatchObject({ code: "MEMKV_POISONED" });
    await database.close();
  });

  test("notices runs that are not in the order of their writes", async () => {
    const fileSystem = new MemoryFileSystem();
    await (await fill(fileSystem)).close();
    const manifest = await readManifest(fileSystem, DIRECTORY);
    assert(manifest !== undefined, "a manifest");
    const runs = manifest.version.runs.toReversed();
    const version = { runs, valueLogs: [] };
    await writeManifest(fileSystem, DIRECTORY, { ...manifest, version });
    const database = await open(DIRECTORY, { fileSystem, compactionTrigger: 8 });
    await expect(database.verify()).rejects.toThrow(/newer than its run/);
    await database.close();
  });

  test("notices a manifest that was put in the place of the right one", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await open(DIRECTORY, { fileSystem });
    await database.put("a", 1);
    await database.flush();
    const path = `${DIRECTORY}/MANIFEST`;
    const file = await fileSystem.open(path, "read");
    const old = new Uint8Array(file.size());
    file.readSync(old, 0);
    await database.put("b", 2);
    await database.flush();
    await fileSystem.remove(path);
    const copy = await fileSystem.open(path, "create");
    copy.writeSync(old, 0);
    await expect(database.verify()).rejects.toThrow(CorruptionError);
    await database.close();
  });
});
