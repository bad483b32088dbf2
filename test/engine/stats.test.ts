import { describe, expect, test } from "vitest";
import { type Database, type DatabaseStats, open } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";

async function fill(fileSystem: MemoryFileSystem, blockCacheBytes?: number): Promise<Database> {
  const database = await open("db", {
    fileSystem,
    durability: "os",
    compactionTrigger: 8,
    blockCacheBytes,
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

  test("count what the cache did for blocks and for rows", async () => {
    const database = await fill(new MemoryFileSystem(), 2 ** 16);
    database.get("key 100");
    expect(database.getMany(["key 100", "key 101", "absent"])).toHaveLength(3);
    const { blockCache, memory } = database.stats();
    const { capacityBytes, bytes, blocks, rows } = blockCache;
    expect(rows).toMatchObject({ misses: 3, hits: 1 });
    expect(blocks).toMatchObject({ misses: 1, hits: 1 });
    expect(rows.bytes).toBeGreaterThan(0);
    expect(blocks.bytes).toBeGreaterThan(0);
    expect(bytes).toBeGreaterThan(rows.bytes + blocks.bytes);
    expect(bytes).toBeLessThanOrEqual(capacityBytes);
    expect(capacityBytes).toBe(2 ** 16);
    expect(memory.blockCache).toBe(bytes);
    await database.close();
  });

  test("tell of a cache without room that it has nothing", async () => {
    const database = await fill(new MemoryFileSystem(), 0);
    expect(database.getMany(["key 100", "key 100"])).toHaveLength(2);
    expect(database.stats().blockCache).toEqual({
      capacityBytes: 0,
      bytes: 0,
      blocks: { bytes: 0, hits: 0, misses: 2 },
      rows: { bytes: 0, hits: 0, misses: 0 },
    });
    await database.close();
  });
});
