/**
 * Batches larger than a memtable: an empty memtable gives way to one with room for them, without a
 * flush or another log.
 */
import { describe, expect, test } from "vitest";
import { ConflictError, type Database } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { CrashFileSystem } from "../../src/testing/index.ts";
import { openFor, withoutLock } from "./harness.ts";

type TextDatabase = Database<string, string>;

const OPTIONS = { memtableBytes: 2 ** 18, durability: "os", compression: "none" } as const;

/** Puts of `count` values of 10 kB, each of which says its key and `seed`. */
function puts(count: number, seed: number): { type: "put"; key: string; value: string }[] {
  return Array.from({ length: count }, (_, i) => ({
    type: "put",
    key: `key ${String(i).padStart(4, "0")}`,
    value: `${i} ${seed} `.repeat(2000).slice(0, 10_000),
  }));
}

function expectAll(database: TextDatabase, count: number, seed: number): void {
  const expected = puts(count, seed).map(({ key, value }) => [key, value]);
  expect([...database.entries()]).toEqual(expected);
}

async function logsIn(fileSystem: MemoryFileSystem): Promise<string[]> {
  const names = withoutLock(await fileSystem.list("store"));
  return names.filter((name) => name.endsWith(".wal"));
}

describe.each([
  ["awaited", (database: TextDatabase, seed: number) => database.batch(puts(100, seed))],
  [
    "blocking",
    (database: TextDatabase, seed: number) => Promise.resolve(database.batchSync(puts(100, seed))),
  ],
] as const)("a batch of four memtables, %s", (_, write) => {
  test("as the first write flushes nothing and begins one log", async () => {
    const fileSystem = new MemoryFileSystem();
    const database: TextDatabase = await openFor("store", { ...OPTIONS, fileSystem });
    let flushes = 0;
    database.on("flush", () => flushes++);
    const before = database.entries()[Symbol.iterator]();
    const snapshot = database.snapshot();
    const logsBefore = await logsIn(fileSystem);
    await write(database, 1);
    expect(await logsIn(fileSystem)).toHaveLength(logsBefore.length + 1);
    expect(database.stats().background.sealedMemtables).toBe(0);
    expect(before.next().done).toBe(true);
    expect(snapshot.count()).toBe(0);
    snapshot.close();
    expectAll(database, 100, 1);
    await write(database, 2);
    expectAll(database, 100, 2);
    await database.flush();
    expect(flushes).toBe(2);
    expectAll(database, 100, 2);
    await database.verify();
    await database.close();
    const again: TextDatabase = await openFor("store", { ...OPTIONS, fileSystem });
    expectAll(again, 100, 2);
    await again.close();
  });

  test("survives a crash, first or after a flush", async () => {
    for (const isAfterFlush of [false, true]) {
      const crash = new CrashFileSystem();
      const database: TextDatabase = await openFor("store", { ...OPTIONS, fileSystem: crash });
      if (isAfterFlush) {
        await database.put("other", "value");
        await database.flush();
        await database.delete("other");
        await database.flush();
      }
      await write(database, 3);
      await database.sync();
      for (const fileSystem of crash.crashStates({ seed: 1, count: 4 })) {
        const again: TextDatabase = await openFor("store", { ...OPTIONS, fileSystem });
        expectAll(again, 100, 3);
        await again.close();
      }
      await database.close();
    }
  });
});

test("a large batch is seen by the conditions of writes and by transactions under way", async () => {
  const database: TextDatabase = await openFor(":memory:", OPTIONS);
  const conflict = database.transaction(
    async (tx) => {
      tx.get("key 0001");
      await database.batch(puts(100, 1));
      tx.put("other", "value");
    },
    { retries: 0 },
  );
  await expect(conflict).rejects.toThrow(ConflictError);
  expect(await database.put("key 0002", "new", { ifAbsent: true })).toBe(false);
  expectAll(database, 100, 1);
  await database.close();
});
