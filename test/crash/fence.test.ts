/**
 * A database whose lock was lost, or may have been: it accepts no write, and leaves the files to the
 * new owner.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { LockedError } from "../../src/errors.ts";
import type { DirectoryLock } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { HEADER_BYTES } from "../../src/wal/format.ts";
import { contentOf, DIRECTORY, openTest, type TestDatabase } from "./check.ts";

/** A lock that the test loses, gives back, or leaves in doubt. */
class LoosableLock implements DirectoryLock {
  isCertain = true;
  isLost = false;
  onLost: (cause: Error) => void = () => {};

  isHeld(): boolean {
    return this.isCertain && !this.isLost;
  }

  async confirm(): Promise<void> {
    if (this.isLost) throw new LockedError("the lock is no longer held");
    this.isCertain = true;
  }

  async release(): Promise<void> {
    this.isLost = true;
  }
}

let fileSystem: MemoryFileSystem;
let lock: LoosableLock;
let database: TestDatabase;

beforeEach(async () => {
  fileSystem = new MemoryFileSystem();
  lock = new LoosableLock();
  fileSystem.lock = async (_directory, onLost) => {
    lock.onLost = onLost;
    return lock;
  };
  database = await openTest(fileSystem);
  await database.put("before", "1", { durability: "sync" });
});

/** Sizes of all files: what a write would change. */
async function sizes(): Promise<[string, number | undefined][]> {
  const names = await fileSystem.list(DIRECTORY);
  const list = names.map(
    async (name): Promise<[string, number | undefined]> => [
      name,
      (await fileSystem.stat(`${DIRECTORY}/${name}`))?.size,
    ],
  );
  return (await Promise.all(list)).sort(([a], [b]) => (a < b ? -1 : 1));
}

describe.each(["sync", "os"] as const)("with durability %s", (durability) => {
  test("after the lock was lost no write is accepted, and no file changes", async () => {
    const before = await sizes();
    lock.isLost = true;
    await expect(database.put("a", "1", { durability })).rejects.toThrow(LockedError);
    lock.onLost(new Error("taken over"));
    await expect(database.put("b", "1", { durability })).rejects.toThrow(LockedError);
    await expect(database.delete("before", { durability })).rejects.toThrow(LockedError);
    await expect(database.flush()).rejects.toThrow(LockedError);
    await expect(database.compact()).rejects.toThrow(LockedError);
    expect(contentOf(database)).toEqual(new Map([["before", "1"]]));
    await database.close();
    expect(await sizes()).toEqual(before);
  });

  test("after a stall in which nobody took the lock writes go on", async () => {
    lock.isCertain = false;
    await database.put("a", "1", { durability });
    expect(lock.isCertain).toBe(true);
    expect(database.get("a")).toBe("1");
    await database.close();
  });

  test("a write is not acknowledged if the lock was lost while it was under way", async () => {
    const open = fileSystem.open.bind(fileSystem);
    await database.close();
    lock.isLost = false;
    fileSystem.open = async (path, mode) => {
      const file = await open(path, mode);
      const { writeSync } = file;
      const stalling = (source: Uint8Array, position: number): void => {
        writeSync.call(file, source, position);
        if (path.endsWith(".wal") && position > HEADER_BYTES) lock.isLost = true;
      };
      if (mode === "create") file.writeSync = stalling;
      return file;
    };
    database = await openTest(fileSystem);
    await database.put("short", "1", { durability });
    await expect(database.put("a", "x".repeat(200), { durability })).rejects.toThrow(LockedError);
    expect(database.get("a")).toBeUndefined();
    await expect(database.put("b", "1", { durability })).rejects.toThrow(LockedError);
  });
});
