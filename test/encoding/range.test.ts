import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { createKeyCodec, type KeyCodec } from "../../src/encoding/key-codec.ts";
import {
  type IterationRange,
  isEmptyRange,
  isWithinLower,
  isWithinUpper,
  seekToLower,
  seekToUpper,
  toBounds,
  toIteration,
} from "../../src/encoding/range.ts";
import { ArrayCursor, type ArrayEntry, anyEntries, anyKey } from "../cursor/array-cursor.ts";
import { openFor } from "../engine/harness.ts";

const codec: KeyCodec<Uint8Array> = createKeyCodec("binary");

const hasPrefix = (key: Uint8Array, prefix: Uint8Array): boolean =>
  prefix.every((byte, i) => key[i] === byte);

/** Whether a key is in a range, read from its fields one by one. */
function isIn(key: Uint8Array, range: IterationRange<Uint8Array>): boolean {
  const { gt, gte, lt, lte, prefix } = range;
  return (
    (gt === undefined || compareBytes(key, gt) > 0) &&
    (gte === undefined || compareBytes(key, gte) >= 0) &&
    (lt === undefined || compareBytes(key, lt) < 0) &&
    (lte === undefined || compareBytes(key, lte) <= 0) &&
    (prefix === undefined || hasPrefix(key, prefix))
  );
}

function filtered(entries: readonly ArrayEntry[], range: IterationRange<Uint8Array>): Uint8Array[] {
  const keys = entries.map(({ key }) => key).filter((key) => isIn(key, range));
  if (range.reverse) keys.reverse();
  const { limit = -1 } = range;
  return limit < 0 ? keys : keys.slice(0, limit);
}

/** What a walk by the engine's bounds visits. */
function walked(entries: readonly ArrayEntry[], range: IterationRange<Uint8Array>): Uint8Array[] {
  const { bounds, isReverse, limit } = toIteration(range, codec);
  const keys: Uint8Array[] = [];
  if (isEmptyRange(bounds)) return keys;
  const cursor = new ArrayCursor(entries);
  if (isReverse) seekToUpper(cursor, bounds.upper);
  else seekToLower(cursor, bounds.lower);
  while (
    keys.length < limit &&
    cursor.isValid &&
    (isReverse ? isWithinLower(cursor, bounds.lower) : isWithinUpper(cursor, bounds.upper))
  ) {
    keys.push(cursor.key.slice(0, cursor.keyLength));
    if (isReverse) cursor.prev();
    else cursor.next();
  }
  return keys;
}

const anyRange: fc.Arbitrary<IterationRange<Uint8Array>> = fc.record(
  {
    gt: anyKey,
    gte: anyKey,
    lt: anyKey,
    lte: anyKey,
    prefix: anyKey,
    reverse: fc.boolean(),
    limit: fc.oneof(fc.integer({ min: -1, max: 8 }), fc.constant(Number.POSITIVE_INFINITY)),
  },
  { requiredKeys: [] },
);

describe("a range", () => {
  test("is a filter over the sorted keys, whatever its fields", () => {
    fc.assert(
      fc.property(anyEntries, anyRange, (entries, range) => {
        expect(walked(entries, range)).toEqual(filtered(entries, range));
      }),
      { numRuns: 500 },
    );
  });

  test("of every combination of bounds around one key", () => {
    const keys = ["", "a", "b", "b\0", "c"].map((text) => new Uint8Array(Buffer.from(text)));
    const entries = keys.map((key): ArrayEntry => ({ key, kind: 1, value: key.slice(0, 0) }));
    const ends = [undefined, ...keys];
    for (const lower of ["gt", "gte"] as const) {
      for (const upper of ["lt", "lte"] as const) {
        for (const from of ends) {
          for (const to of ends) {
            for (const reverse of [false, true]) {
              const range = { [lower]: from, [upper]: to, reverse };
              expect(walked(entries, range)).toEqual(filtered(entries, range));
            }
          }
        }
      }
    }
  });

  test("that is empty by its bounds alone is known to be", () => {
    const a = Uint8Array.of(1);
    const b = Uint8Array.of(2);
    const empty: IterationRange<Uint8Array>[] = [
      { gt: a, lt: a },
      { gt: a, lte: a },
      { gte: a, lt: a },
      { gte: b, lte: a },
      { prefix: a, gte: b },
      { prefix: b, lt: b },
    ];
    for (const range of empty) expect(isEmptyRange(toBounds(range, codec))).toBe(true);
    for (const range of [{}, { gte: a, lte: a }, { gt: a, lt: b }, { prefix: a, gt: a }]) {
      expect(isEmptyRange(toBounds(range, codec))).toBe(false);
    }
  });

  test("of both bounds on a side takes the narrower", () => {
    const a = Uint8Array.of(1);
    const b = Uint8Array.of(2);
    expect(toBounds({ gt: a, gte: a }, codec).lower).toEqual({ key: a, isInclusive: false });
    expect(toBounds({ gt: a, gte: b }, codec).lower).toEqual({ key: b, isInclusive: true });
    expect(toBounds({ lt: a, lte: a }, codec).upper).toEqual({ key: a, isInclusive: false });
    expect(toBounds({ lt: b, lte: a }, codec).upper).toEqual({ key: a, isInclusive: true });
  });

  test("by prefix ends before the next prefix, and is open after 0xff bytes alone", () => {
    const upperOf = (...bytes: number[]): unknown =>
      toBounds({ prefix: Uint8Array.from(bytes) }, codec).upper;
    expect(upperOf(1, 2)).toEqual({ key: Uint8Array.of(1, 3), isInclusive: false });
    expect(upperOf(1, 0xff)).toEqual({ key: Uint8Array.of(2), isInclusive: false });
    expect(upperOf(0xff, 0xff)).toBeUndefined();
    expect(upperOf()).toBeUndefined();
  });

  test("keeps its bounds although the codec's buffer is used again", () => {
    const bounds = toBounds({ gte: Uint8Array.of(1), lte: Uint8Array.of(2) }, codec);
    codec.encode(Uint8Array.of(9));
    expect(bounds.lower?.key).toEqual(Uint8Array.of(1));
    expect(bounds.upper?.key).toEqual(Uint8Array.of(2));
  });
});

describe("an iteration", () => {
  const keys = Array.from({ length: 20 }, (_, i) => `key ${String(i).padStart(2, "0")}`);

  /** Puts in a run, in a newer run and in the memtable, with tombstones in each of the newer ones. */
  async function layered(): ReturnType<typeof openFor<string, number>> {
    const database = await openFor<string, number>(":memory:", { compactionTrigger: 8 });
    for (const [i, key] of keys.entries()) await database.put(key, i);
    for (const doomed of ["a", "key 05x", "z"]) await database.put(doomed, -1);
    await database.flush();
    await database.delete("a");
    await database.put(keys[3], 103);
    await database.flush();
    await database.delete("key 05x");
    await database.delete("z");
    await database.put(keys[4], 104);
    return database;
  }

  const values = keys.map((_, i) => (i === 3 || i === 4 ? 100 + i : i));

  test("shows the newest of every layer and no tombstone, both ways", async () => {
    const database = await layered();
    expect([...database.values()]).toEqual(values);
    expect([...database.values({ reverse: true })]).toEqual(values.toReversed());
    expect([...database.keys({ limit: 3 })]).toEqual(keys.slice(0, 3));
    expect([...database.keys({ limit: 3, reverse: true })]).toEqual(keys.slice(-3).reverse());
    expect([...database.keys({ gt: "key 04", lt: "key 07" })]).toEqual(["key 05", "key 06"]);
    expect([...database.entries({ prefix: "key 1", reverse: true, limit: 1 })]).toEqual([
      ["key 19", 19],
    ]);
    expect(database.count()).toBe(20);
    expect(database.count({ gte: "key 05", lt: "key 06" })).toBe(1);
    expect(database.count({ gt: "key 05", lte: "key 05x" })).toBe(0);
  });

  test("can be begun again, and each time sees its own moment", async () => {
    const database = await layered();
    const range = database.keys({ prefix: "key 0" });
    expect([...range]).toHaveLength(10);
    await database.put("key 0", 0);
    expect([...range]).toHaveLength(11);
    const [first] = range;
    expect(first).toBe("key 0");
  });

  test("goes on unmoved by writes, and by lookups in between", async () => {
    const database = await layered();
    const seen: number[] = [];
    for (const [key, value] of database.entries()) {
      seen.push(value);
      await database.put(`${key} more`, value);
      await database.delete(key);
      await database.put("key 19", -5);
      expect(database.get(key)).toBe(key === "key 19" ? -5 : undefined);
      if (seen.length === 7) await database.compact();
    }
    expect(seen).toEqual(values);
    expect(database.count()).toBe(21);
  });

  test("that stops early lets go, by break, return and an error", async () => {
    const database = await layered();
    for (const _ of database.keys()) break;
    const iterator = database.keys()[Symbol.iterator]();
    iterator.next();
    expect(iterator.return()).toEqual({ done: true, value: undefined });
    expect(iterator.next()).toEqual({ done: true, value: undefined });
    expect([...database.keys({ limit: 0 })]).toEqual([]);
  });

  test("over nothing ends at once", async () => {
    const database = await openFor<string, number>(":memory:");
    for (const reverse of [false, true]) {
      expect([...database.entries({ reverse })]).toEqual([]);
      expect([...database.entries({ gte: "a", prefix: "b", reverse })]).toEqual([]);
    }
    expect(database.count()).toBe(0);
  });

  test("that fails to decode ends, and the database goes on", async () => {
    const valueEncoding = {
      name: "picky",
      encode: (value: number): Uint8Array => Uint8Array.of(value),
      decode: ([value]: Uint8Array): number => {
        if (value === 2) throw new TypeError("not this one");
        return value;
      },
    };
    const database = await openFor<string, number>(":memory:", { valueEncoding });
    for (const value of [1, 2, 3]) await database.put(`${value}`, value);
    const iterator = database.values()[Symbol.iterator]();
    expect(iterator.next().value).toBe(1);
    expect(() => iterator.next()).toThrow("not this one");
    expect(iterator.next().done).toBe(true);
    expect([...database.keys()]).toEqual(["1", "2", "3"]);
    expect(() => database.get("2")).toThrow("not this one");
    expect(database.get("3")).toBe(3);
  });
});
