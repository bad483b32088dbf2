/**
 * repair puts range tombstones where they were in time: with a manifest or without, what they deleted
 * stays deleted, and what was written after them stays.
 */
import { describe, expect, test } from "vitest";
import { open, repair } from "../../src/index.ts";
import { joinPath } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { MANIFEST_NAME } from "../../src/manifest/manifest.ts";
import { Random } from "../../src/testing/random.ts";

const DIRECTORY = "store";
const KEY_COUNT = 300;
const keyOf = (i: number): string => `key ${String(i).padStart(4, "0")}`;

/** A life of several runs and a log, whatever the seed; merged in part for every other. */
async function live(seed: number): Promise<MemoryFileSystem> {
  const fileSystem = new MemoryFileSystem();
  const random = new Random(seed);
  const database = await open<string, string>(DIRECTORY, {
    fileSystem,
    valueEncoding: "utf8",
    durability: "os",
    compactionTrigger: seed % 2 === 0 ? 64 : 3,
    maxSizeAmplificationPercent: 1000,
    segmentBytes: 2 ** 16,
  });
  for (let phase = 0; phase < 6; phase++) {
    for (let i = 0; i < 150; i++) {
      const start = random.below(KEY_COUNT);
      if (random.oneIn(20)) {
        await database.deleteRange({ gte: keyOf(start), lt: keyOf(start + random.below(60)) });
      } else if (random.oneIn(5)) {
        await database.delete(keyOf(start));
      } else {
        await database.put(keyOf(start), `${phase}.${i}`.padEnd(random.below(900), "value "));
      }
    }
    if (phase < 5) await database.flush();
  }
  await database.close();
  return fileSystem;
}

async function entriesOf(fileSystem: MemoryFileSystem, directory: string): Promise<unknown> {
  const options = { fileSystem, valueEncoding: "utf8", readOnly: true } as const;
  const database = await open<string, string>(directory, options);
  const entries = [...database.entries()];
  await database.close();
  return entries;
}

describe.each([true, false])("repair, with a manifest: %s", (hasManifest) => {
  test.each([1, 2, 3, 4, 5, 6])("keeps what ranges deleted, seed %i", async (seed) => {
    const fileSystem = await live(seed);
    const expected = await entriesOf(fileSystem, DIRECTORY);
    if (!hasManifest) await fileSystem.remove(joinPath(DIRECTORY, MANIFEST_NAME));
    const report = await repair(DIRECTORY, "repaired", { fileSystem, valueEncoding: "utf8" });
    expect(report.lost).toEqual([]);
    expect(await entriesOf(fileSystem, "repaired")).toEqual(expected);
  });
});
