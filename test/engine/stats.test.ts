import { describe, expect, test } from "vitest";
import { type Database, type DatabaseStats, open } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";

async function fill(fileSystem: MemoryFileSystem): Promise<Database> {
  const database = await open("db", { fileSystem, durability: "os", compactionTrigger: 8 });
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
    const database = await fill(new MemoryFileSystem());
    database.get("key 100");
    database.get("key 100");
    const { blockCache } = database.stats();
    expect(blockCache).toMatchObject({ misses: 1, hits: 1 });
    expect(blockCache.bytes).toBeLessThanOrEqual(blockCache.capacityBytes);
    await database.close();
  });
});
