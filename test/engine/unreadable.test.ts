/**
 * What reads say while files cannot be read, and after that. Much of a segment is read when it is first
 * needed, so any question may be the one that meets the error: it is told, and nothing is kept of a
 * question that was not answered.
 */
import { describe, expect, test } from "vitest";
import { type Database, glob } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";
import { openFor } from "./harness.ts";

type Store = Database<string, string>;

const keyOf = (i: number): string => `key ${String(i).padStart(3, "0")}`;
/** Every fourth was deleted, and some in a row. */
const isThere = (i: number): boolean => i % 4 !== 1 && (i < 100 || i >= 110);
const KEYS: readonly string[] = Array.from({ length: 200 }, (_, i) => i)
  .filter(isThere)
  .map(keyOf);
/** Far enough apart to lie in several segments. */
const PROBES: readonly string[] = Array.from({ length: 20 }, (_, i) => keyOf(i * 10));

const OPTIONS = {
  valueEncoding: "utf8",
  segmentBytes: 512,
  compactionTrigger: 64,
  maxSizeAmplificationPercent: 1000,
} as const;

/** Two runs of several segments each, that overlap everywhere, and range tombstones in the newer one. */
async function twoRuns(): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem();
  const database = await openFor<string, string>("store", { ...OPTIONS, fileSystem: disk });
  for (const isNewer of [false, true]) {
    for (let i = isNewer ? 1 : 0; i < 200; i += 2) {
      if (isNewer && i % 4 === 1) await database.delete(keyOf(i), { durability: "os" });
      else await database.put(keyOf(i), `${i} `.repeat(20), { durability: "os" });
    }
    if (isNewer) await database.deleteRange({ gte: keyOf(100), lt: keyOf(110) });
    await database.flush();
  }
  await database.close();
  return disk;
}

/** Questions, each with an answer that does not change. */
const QUESTIONS: Readonly<Record<string, (database: Store) => unknown>> = {
  get: (database) => PROBES.map((key) => database.get(key)),
  getMany: (database) => database.getMany(PROBES),
  has: (database) => PROBES.map((key) => database.has(key)),
  "count of all": (database) => database.count(),
  "count of ranges": (database) => PROBES.map((gte) => database.count({ gte })),
  rank: (database) => PROBES.map((key) => database.rank(key)),
  at: (database) => [0, 50, 100].map((i) => database.at(i)),
  entries: (database) => [...database.entries()],
  "entries in reverse": (database) => [...database.entries({ reverse: true })],
  search: (database) => [...database.search(glob("key 1*"))],
  stats: (database) => database.stats().amplification.space,
};

async function openAgain(fileSystem: FaultFileSystem): Promise<Store> {
  return await openFor<string, string>("store", { ...OPTIONS, fileSystem, readOnly: true });
}

describe("while files cannot be read", () => {
  test.each(Object.keys(QUESTIONS))("%s says so, and afterwards all is right", async (name) => {
    const disk = await twoRuns();
    const healthy = await openAgain(new FaultFileSystem(disk));
    expect([...healthy.keys()]).toEqual(KEYS);
    const ask = QUESTIONS[name];
    const answer = ask(healthy);
    let failures = 0;
    for (let nth = 1; ; nth++) {
      const faults = new FaultFileSystem(disk);
      const database = await openAgain(faults);
      faults.inject({ kinds: ["read"], nth, effect: { kind: "fail", code: "EIO" } });
      try {
        expect(ask(database)).toEqual(answer);
      } catch (error) {
        failures++;
        expect(error).toMatchObject({ code: "MEMKV_IO" });
      }
      const wasStruck = faults.plannedFaults === 0;
      faults.heal();
      // What is asked first may go on from where the failure was: each time that is another place.
      for (let i = 0; i < PROBES.length; i++) {
        const gte = PROBES[(nth + i) % PROBES.length];
        expect(database.count({ gte })).toBe(KEYS.filter((key) => key >= gte).length);
      }
      expect(ask(database)).toEqual(answer);
      await database.close();
      if (!wasStruck) break;
    }
    expect(failures).toBeGreaterThan(5);
  });
});
