/** count, rank, at and sample against a sorted array, over runs and memtables that overlap. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { orderOver } from "../../src/engine/order-statistics.ts";
import { OpenFiles, OpenVersion } from "../../src/engine/sources.ts";
import { EntryKind, MAX_SEQNO, NEVER } from "../../src/entry.ts";
import { type Database, InvalidArgumentError, type Snapshot } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { versionOf } from "../../src/manifest/version.ts";
import { createMemtable } from "../../src/memtable/memtable.ts";
import type { Segment } from "../../src/segment/reader.ts";
import type { ValueLog } from "../../src/segment/value-log.ts";
import { Random } from "../../src/testing/random.ts";
import { parameters } from "../model/parameters.ts";
import { compareKeys } from "../model/sorted-map.ts";
import { openFor } from "./harness.ts";

type View = Database<string, number> | Snapshot<string, number>;

/** A database whose runs stay as they are flushed. */
async function openManyRuns(): Promise<Database<string, number>> {
  return await openFor<string, number>("store", {
    fileSystem: new MemoryFileSystem(),
    compactionTrigger: 64,
    maxSizeAmplificationPercent: 1000,
    durability: "os",
  });
}

/** Asks every question there is about a few hundred keys. `keys`: what is there, sorted. */
function expectOrder(view: View, keys: readonly string[], probes: readonly string[]): void {
  expect(view.count()).toBe(keys.length);
  for (const [i, key] of keys.entries()) {
    expect(view.at(i)).toBe(key);
    expect(view.rank(key)).toBe(i);
  }
  expect(view.at(keys.length)).toBeUndefined();
  for (const probe of probes) {
    expect(view.rank(probe)).toBe(keys.filter((key) => key < probe).length);
    expect(view.count({ gt: probe })).toBe(keys.filter((key) => key > probe).length);
    expect(view.count({ lte: probe })).toBe(keys.filter((key) => key <= probe).length);
  }
}

const sorted = (keys: Iterable<string>): string[] => [...keys].sort(compareKeys);

const keyOf = (i: number): string => `key ${`${i}`.padStart(6, "0")}`;

describe("order statistics", () => {
  test("agree with a sorted array after random writes, flushes and compactions", async () => {
    const anyKey = fc.nat(120).map((i) => keyOf(i));
    const anyKeys = fc.uniqueArray(anyKey, { maxLength: 60 });
    const anyStep = fc.oneof(
      { weight: 4, arbitrary: fc.record({ put: anyKeys }) },
      { weight: 3, arbitrary: fc.record({ remove: anyKeys }) },
      { weight: 2, arbitrary: fc.record({ from: anyKey, to: anyKey }) },
      { weight: 4, arbitrary: fc.constant("flush" as const) },
      { weight: 2, arbitrary: fc.constant("ask" as const) },
      { weight: 1, arbitrary: fc.constant("compact" as const) },
    );
    const anySteps = fc.array(anyStep, { minLength: 1, maxLength: 14 });
    await fc.assert(
      fc.asyncProperty(anySteps, fc.array(anyKey, { maxLength: 5 }), async (steps, probes) => {
        const database = await openManyRuns();
        const there = new Set<string>();
        for (const step of steps) {
          if (step === "flush" || step === "compact") await database[step]();
          else if (step === "ask") expectOrder(database, sorted(there), probes);
          else if ("from" in step) {
            const { from, to } = step;
            await database.deleteRange({ gte: from, lt: to });
            for (const key of there) if (key >= from && key < to) there.delete(key);
          } else if ("put" in step) {
            await Promise.all(step.put.map((key) => database.put(key, 1)));
            for (const key of step.put) there.add(key);
          } else {
            await Promise.all(step.remove.map((key) => database.delete(key)));
            for (const key of step.remove) there.delete(key);
          }
        }
        const keys = sorted(there);
        using snapshot = database.snapshot();
        await database.batch([
          { type: "put", key: keyOf(60), value: 2 },
          { type: "put", key: "later", value: 2 },
        ]);
        expectOrder(snapshot, keys, [...probes, "", "zzz"]);
        await database.close();
      }),
      parameters(60),
    );
  });

  test("are right from checkpoint to checkpoint, with thousands of newer entries", async () => {
    const database = await openManyRuns();
    const random = new Random(5);
    const there = new Set<string>();
    for (let round = 0; round < 4; round++) {
      const operations = Array.from({ length: 1500 }, () => {
        const key = keyOf(random.below(4000));
        const isPut = !random.oneIn(3);
        if (isPut) there.add(key);
        else there.delete(key);
        return isPut
          ? ({ type: "put", key, value: 1 } as const)
          : ({ type: "delete", key } as const);
      });
      await database.batch(operations);
      if (round < 3) await database.flush();
    }
    expect(database.stats().runs.length).toBe(3);
    const keys = sorted(there);
    for (let i = 0; i < keys.length; i += 7) {
      expect(database.at(i)).toBe(keys[i]);
      expect(database.rank(keys[i])).toBe(i);
      expect(database.count({ gte: keys[i], lt: keys[i + 500] })).toBe(
        Math.min(500, keys.length - i),
      );
    }
    expect(database.at(keys.length - 1)).toBe(keys.at(-1));
  });

  test("are right where checkpoints are thinned out because their keys are long", async () => {
    const database = await openManyRuns();
    // Every 64th key is a checkpoint's: 40 of them, of 60 KB each, are more than may be kept.
    const keys = Array.from(
      { length: 64 * 40 },
      (_, i) => `${keyOf(i)}${i % 64 === 0 ? "x".repeat(60_000) : ""}`,
    );
    await database.batch(keys.map((key) => ({ type: "put", key, value: 1 })));
    for (let i = 0; i < keys.length; i += 13) {
      expect(database.at(i)).toBe(keys[i]);
      expect(database.rank(keys[i])).toBe(i);
    }
  });

  test("see every write that was acknowledged, and no later one in a snapshot", async () => {
    const database = await openManyRuns();
    for (const key of ["b", "d", "f"]) await database.put(key, 1);
    expect([database.at(0), database.at(2), database.rank("e")]).toEqual(["b", "f", 2]);
    using snapshot = database.snapshot();
    await database.put("a", 1);
    await database.delete("d");
    expect([database.at(0), database.at(1), database.at(2)]).toEqual(["a", "b", "f"]);
    expect(database.rank("e")).toBe(2);
    expect([snapshot.at(0), snapshot.at(1), snapshot.rank("e")]).toEqual(["b", "d", 2]);
  });

  test("of nothing", async () => {
    const database = await openManyRuns();
    expect([database.count(), database.rank("a"), database.at(0)]).toEqual([0, 0, undefined]);
    expect(database.sample(3)).toEqual([]);
    await database.put("a", 1);
    await database.flush();
    await database.delete("a");
    await database.flush();
    expect([database.count(), database.rank("b"), database.at(0)]).toEqual([0, 0, undefined]);
  });
});

describe("a sample", () => {
  test("has every key about equally often", async () => {
    const database = await openManyRuns();
    const keys = Array.from({ length: 20 }, (_, i) => keyOf(i));
    for (const key of keys.slice(0, 12)) await database.put(key, 1);
    await database.flush();
    for (const key of keys.slice(8)) await database.put(key, 1);
    const state = new Random(3);
    const random = (): number => state.next() / 2 ** 32;
    const rounds = 4000;
    const seen = new Map<string, number>();
    for (let i = 0; i < rounds; i++) {
      const sample = database.sample(5, { random });
      expect(new Set(sample).size).toBe(5);
      expect(sample).toEqual(sorted(sample));
      for (const key of sample) seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    // A key is drawn with probability 1/4: five standard deviations either way.
    const deviation = Math.sqrt(rounds * 0.25 * 0.75);
    for (const key of keys) {
      expect(Math.abs((seen.get(key) ?? 0) - rounds / 4)).toBeLessThan(5 * deviation);
    }
  });

  test("is the same again for the same random numbers, and everything if that is asked for", async () => {
    const database = await openManyRuns();
    const keys = Array.from({ length: 50 }, (_, i) => keyOf(i));
    await database.batch(keys.map((key) => ({ type: "put", key, value: 1 })));
    const draw = (seed: number): string[] => {
      const state = new Random(seed);
      return database.sample(7, { random: () => state.next() / 2 ** 32 });
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    expect(database.sample(50)).toEqual(keys);
    expect(database.sample(1000)).toEqual(keys);
    expect(database.sample(0)).toEqual([]);
  });
});

describe("bad input", () => {
  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, "1", undefined, 2 ** 53])(
    "at(%s) and sample(%s) are refused",
    async (index) => {
      const database = await openManyRuns();
      await database.put("a", 1);
      expect(() => database.at(index as number)).toThrow(InvalidArgumentError);
      expect(() => database.sample(index as number)).toThrow(InvalidArgumentError);
    },
  );

  test.each([1, -0.1, Number.NaN, "0"])("a random that returns %s is refused", async (drawn) => {
    const database = await openManyRuns();
    await database.put("a", 1);
    const random = (): number => drawn as number;
    expect(() => database.sample(1, { random })).toThrow(InvalidArgumentError);
    expect(() => database.sample(1, { random: 1 as never })).toThrow(InvalidArgumentError);
    expect(() => database.sample(1, { seed: 1 } as never)).toThrow(InvalidArgumentError);
  });

  test("a closed snapshot and a closed database answer nothing", async () => {
    const database = await openManyRuns();
    const snapshot = database.snapshot();
    snapshot.close();
    expect(() => snapshot.at(0)).toThrow("closed");
    await database.close();
    expect(() => database.rank("a")).toThrow("closed");
    expect(() => database.sample(1)).toThrow("closed");
  });
});

test("an order over memtables is true until the next of their entries expires, and from the last on", () => {
  const version = new OpenVersion(
    versionOf([], []),
    new OpenFiles<Segment>(() => {}),
    new OpenFiles<ValueLog>(() => {}),
  );
  const memtables = [createMemtable(2 ** 17, 0, 0, 0), createMemtable(2 ** 17, 0, 0, 0)];
  for (const [i, expiry] of [1000, 3000, NEVER, 2000, 4000].entries()) {
    const key = Uint8Array.of(i);
    memtables[i % 2].add(key, 0, 1, i + 1, EntryKind.put, key, 0, 1, expiry);
  }
  const { order, isTrueAt } = orderOver({ memtables, version }, MAX_SEQNO, 2500);
  expect([order.count(), ...order.keyAt(0)]).toEqual([3, 1]);
  for (const time of [2000, 2499, 2500, 2501, 2999.5]) expect(isTrueAt(time)).toBe(true);
  for (const time of [0, 1000, 1999.5, 3000, 5000]) expect(isTrueAt(time)).toBe(false);
});
