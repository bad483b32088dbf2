import { describe, expect, test } from "vitest";
import { type Database, type DatabaseStats, open } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";

async function fill(fileSystem: MemoryFileSystem, rowCacheBytes?: number): Promise<Database> {
  const database = await open("db", {
    fileSystem,
    durability: "os",
    compactionTrigger: 8,
    rowCacheBytes,
  });
  for (let i = 0; i < 500; i++) await database.put(`key ${i}`, `https://example.org/${i}`);
  await database.flush();
  for (let i = 0; i < 20; i++) await database.delete(`key ${i}`);
  await database.flush();
  await database.put("in the memtable", 1);
  return database;
}

function sum(parts: Record<string, unknown>): number {
  return Object.entries(parts)
    .filter(([name]) => name !== "total")
    .reduce((total, [, bytes]) => total + (typeof bytes === "number" ? bytes : 0), 0);
}

describe("stats", () => {
  test("tell runs, newest first, and the memtable", async () => {
    const database = await fill(new MemoryFileSystem());
    const { runs, memtableKeyCount, lastSeqno }: DatabaseStats = database.stats();
    expect(runs).toMatchObject([
      { segmentCount: 1, keyCount: 20, tombstoneCount: 20 },
      { segmentCount: 1, keyCount: 500, tombstoneCount: 0 },
    ]);
    expect(memtableKeyCount).toBe(1);
    expect(lastSeqno).toBe(521);
    await database.close();
  });

  test("have parts that add up to the totals, and totals that are the files'", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await fill(fileSystem);
    const { disk, memory } = database.stats();
    expect(sum(disk)).toBe(disk.total);
    expect(sum(memory)).toBe(memory.total);
    expect(sum(disk.keyIndexParts)).toBe(disk.keyIndex);
    let fileBytes = 0;
    for (const name of await fileSystem.list("db")) {
      const isCounted = /\.(seg|vlog|wal)$/.test(name);
      if (isCounted) fileBytes += (await fileSystem.stat(`db/${name}`))?.size ?? 0;
    }
    expect(disk.total).toBe(fileBytes);
    await database.close();
  });

  test("count what the block cache did", async () => {
    const database = await fill(new MemoryFileSystem(), 0);
    database.get("key 100");
    database.get("key 100");
    const { blockCache, rowCache } = database.stats();
    expect(blockCache).toMatchObject({ misses: 1, hits: 1 });
    expect(blockCache.bytes).toBeLessThanOrEqual(blockCache.capacityBytes);
    expect(rowCache).toEqual({ capacityBytes: 0, bytes: 0, hits: 0, misses: 0 });
    await database.close();
  });

  test("count what the row cache did", async () => {
    const database = await fill(new MemoryFileSystem(), 2 ** 16);
    database.get("key 100");
    expect(database.getMany(["key 100", "key 101", "absent"])).toHaveLength(3);
    const { blockCache, rowCache, memory } = database.stats();
    expect(rowCache).toMatchObject({ capacityBytes: 2 ** 16, misses: 3, hits: 1 });
    expect(blockCache).toMatchObject({ misses: 1, hits: 1 });
    expect(rowCache.bytes).toBeGreaterThan(0);
    expect(rowCache.bytes).toBeLessThanOrEqual(rowCache.capacityBytes);
    expect(memory.rowCache).toBe(rowCache.bytes);
    await database.close();
  });
});
