import { describe, expect, test } from "vitest";
import { prefixEnd } from "../../src/bytes/compare.ts";
import { InvalidArgumentError } from "../../src/errors.ts";
import {
  FrozenLayer,
  FrozenLayerBuilder,
  type FrozenLayerBuilderOptions,
  type FrozenRange,
  startsWith,
} from "../../src/fst/index.ts";
import { isIn, neighbours, random, rankIn, shapes, sorted, utf8 } from "./shapes.ts";

function build(keys: readonly Uint8Array[], options?: FrozenLayerBuilderOptions): Uint8Array {
  const builder = new FrozenLayerBuilder({ ...options, values: false });
  for (const key of keys) builder.insert(key);
  return builder.finish();
}

const OPTIONS: [name: string, FrozenLayerBuilderOptions][] = [
  ["by default", {}],
  ["not packed", { pack: false }],
  ["with one bucket of registry", { registryCells: 1 }],
  ["with a large registry", { registryCells: 1 << 17 }],
];

describe.each(shapes())("%s", (_, keys) => {
  test.each(OPTIONS)("%s, a layer answers as a sorted array does", (_, options) => {
    const layer = new FrozenLayer(build(keys, options));
    layer.verify();
    expect(layer.size).toBe(keys.length);

    let isRight = true;
    for (let i = 0; i < keys.length; i++) {
      isRight &&= layer.get(keys[i]) === i && layer.has(keys[i]) && layer.rank(keys[i]) === i;
      isRight &&= i % 7 !== 0 || Buffer.compare(layer.keyAt(i), keys[i]) === 0;
    }
    expect(isRight).toBe(true);

    for (const key of neighbours(keys, 3, 60)) {
      const rank = rankIn(keys, key);
      const isThere = isIn(keys, key);
      expect(layer.rank(key)).toBe(rank);
      expect(layer.has(key)).toBe(isThere);
      expect(layer.get(key)).toBe(isThere ? rank : undefined);
      const floor = isThere ? rank : rank - 1;
      expect(layer.floor(key)?.[1]).toBe(floor < 0 ? undefined : floor);
      expect(layer.ceiling(key)?.[1]).toBe(rank < keys.length ? rank : undefined);
    }
  });

  test("keys come in order, and in reverse", () => {
    const layer = new FrozenLayer(build(keys));
    expect(areSame([...layer.keys()], keys)).toBe(true);
    expect(areSame([...layer.keys({ reverse: true })].reverse(), keys)).toBe(true);
  });

  test("ranges hold what a filter of the keys holds", () => {
    const layer = new FrozenLayer(build(keys));
    const next = random(11);
    const near = neighbours(keys, 5, 20);
    const pick = (): Uint8Array => near[next(near.length)];
    for (let i = 0; i < 30; i++) {
      const range: FrozenRange = {
        ...(next(3) === 0 && { gt: pick() }),
        ...(next(3) === 0 && { gte: pick() }),
        ...(next(3) === 0 && { lt: pick() }),
        ...(next(3) === 0 && { lte: pick() }),
        ...(next(3) === 0 && { prefix: pick() }),
        ...(next(2) === 0 && { reverse: next(2) === 0 }),
        ...(next(3) === 0 && { limit: next(10) }),
      };
      const expected = filter(keys, range);
      expect(layer.count(range)).toBe(expected.length);
      // Going over all of a wide range would add time and no case.
      const few = { ...range, limit: Math.min(range.limit ?? 100, 100) };
      const ordinals = expected.slice(0, few.limit).map((key) => rankIn(keys, key));
      expect([...layer.entries(few)].map(([, value]) => value)).toEqual(ordinals);
      const within = ordinals.map((ordinal) => keys[ordinal]);
      expect(areSame([...layer.keys(few)], within)).toBe(true);
    }
  });
});

/** Compares without what makes `toEqual` take minutes for many keys. */
function areSame(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((key, i) => Buffer.compare(key, b[i]) === 0);
}

function filter(keys: readonly Uint8Array[], range: FrozenRange): Uint8Array[] {
  const { gt, gte, lt, lte, prefix } = range;
  const end = prefix === undefined ? undefined : prefixEnd(prefix);
  const within = keys.filter(
    (key) =>
      (gt === undefined || Buffer.compare(key, gt) > 0) &&
      (gte === undefined || Buffer.compare(key, gte) >= 0) &&
      (lt === undefined || Buffer.compare(key, lt) < 0) &&
      (lte === undefined || Buffer.compare(key, lte) <= 0) &&
      (prefix === undefined || Buffer.compare(key, prefix) >= 0) &&
      (end === undefined || Buffer.compare(key, end) < 0),
  );
  if (range.reverse === true) within.reverse();
  return within.slice(0, range.limit ?? within.length);
}

describe("a cursor", () => {
  const keys = sorted(
    Array.from({ length: 3000 }, (_, i) => utf8(`${(i * 7919) % 5000}${i % 3 === 0 ? "" : "/x"}`)),
  );
  const layer = new FrozenLayer(build(keys));

  test("turns around anywhere", () => {
    const cursor = layer.cursor();
    const next = random(19);
    let at = 0;
    cursor.seekToFirst();
    for (let i = 0; i < 5000; i++) {
      const isForward = next(2) === 0;
      if (isForward) cursor.next();
      else cursor.prev();
      at += isForward ? 1 : -1;
      expect(cursor.isValid).toBe(at >= 0 && at < keys.length);
      if (!cursor.isValid || next(100) === 0) {
        at = next(keys.length);
        cursor.seek(keys[at], keys[at].length);
      }
      expect(cursor.ordinal).toBe(at);
      expect(Buffer.compare(cursor.key.subarray(0, cursor.keyLength), keys[at])).toBe(0);
    }
  });

  test("goes on from wherever it sought", () => {
    const cursor = layer.cursor();
    for (const key of neighbours(keys, 23, 200)) {
      const rank = rankIn(keys, key);
      cursor.seek(key, key.length);
      expect(cursor.isValid).toBe(rank < keys.length);
      if (cursor.isValid) {
        expect(cursor.ordinal).toBe(rank);
        cursor.prev();
        expect(cursor.isValid).toBe(rank > 0);
      }
      const floor = isIn(keys, key) ? rank : rank - 1;
      cursor.seekForPrev(key, key.length);
      expect(cursor.isValid).toBe(floor >= 0);
      if (cursor.isValid) {
        expect(cursor.ordinal).toBe(floor);
        cursor.next();
        expect(cursor.isValid).toBe(floor + 1 < keys.length);
      }
    }
  });

  test("is off the end where no key has the rank", () => {
    const cursor = layer.cursor();
    for (const ordinal of [-1, 0.5, keys.length - 0.5, keys.length, Number.NaN]) {
      cursor.seekToOrdinal(ordinal);
      expect(cursor.isValid).toBe(false);
    }
  });

  test("is off the end of a layer without keys", () => {
    const cursor = new FrozenLayer(build([])).cursor();
    expect(cursor.isValid).toBe(false);
    cursor.seekToFirst();
    expect(cursor.isValid).toBe(false);
    cursor.seekToLast();
    expect(cursor.isValid).toBe(false);
    cursor.seek(utf8("a"), 1);
    expect(cursor.isValid).toBe(false);
    cursor.seekForPrev(utf8("a"), 1);
    expect(cursor.isValid).toBe(false);
  });
});

describe("bytes", () => {
  const keys = shapes().flatMap(([name, keys]) => (name === "URLs" ? keys : []));
  const bytes = build(keys);

  test("may lie in shared memory, at any offset", () => {
    for (const offset of [0, 1, 2, 3, 7]) {
      const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + offset + 5), offset);
      shared.set(bytes);
      const layer = new FrozenLayer(shared.subarray(0, bytes.length));
      expect(layer.get(keys[1234])).toBe(1234);
      expect(layer.keyAt(99)).toEqual(keys[99]);
      expect(areSame([...layer.keys()], keys)).toBe(true);
    }
  });

  test("are accounted for", () => {
    const stats = new FrozenLayer(bytes).stats();
    expect(stats.keyCount).toBe(keys.length);
    expect(stats.longestKeyBytes).toBe(Math.max(...keys.map((key) => key.length)));
    const { headerBytes, symbolBytes, stateBytes, valueBytes } = stats;
    expect(headerBytes + symbolBytes + stateBytes + valueBytes).toBe(bytes.length);
    expect(valueBytes).toBe(0);
  });

  test("are the same for the same keys", () => {
    expect(Buffer.compare(build(keys), bytes)).toBe(0);
  });

  test("are fewer with a larger registry, and with packing", () => {
    const small = build(keys, { registryCells: 64, pack: false }).length;
    const large = build(keys, { registryCells: 1 << 16, pack: false }).length;
    const packed = build(keys, { registryCells: 1 << 16 }).length;
    expect(large).toBeLessThan(small);
    expect(packed).toBeLessThan(large);
  });

  test("hold two million keys in a few, where all ends are shared", () => {
    const builder = new FrozenLayerBuilder({ values: false });
    const key = new Uint8Array(3);
    const count = 128 ** 3;
    for (let i = 0; i < count; i++) {
      key[0] = i >>> 14;
      key[1] = (i >>> 7) & 127;
      key[2] = i & 127;
      builder.insert(key);
    }
    const layer = new FrozenLayer(builder.finish());
    expect(layer.byteLength).toBeLessThan(3000);
    expect(layer.size).toBe(count);
    expect(layer.get(Uint8Array.of(127, 127, 127))).toBe(count - 1);
    expect(layer.keyAt(1_000_000)).toEqual(Uint8Array.of(61, 4, 64));
    expect(layer.count({ prefix: Uint8Array.of(5) })).toBe(128 ** 2);
  });
});

describe("values", () => {
  test("come back for their keys", () => {
    const keys = sorted(Array.from({ length: 1000 }, (_, i) => utf8(`key${i * 31}`)));
    const next = random(5);
    for (const make of [
      () => 0,
      () => Number.MAX_SAFE_INTEGER,
      (i: number) => i * 4096,
      () => next(2 ** 32),
      (i: number) => (i % 2 === 0 ? 0 : Number.MAX_SAFE_INTEGER),
    ]) {
      const values = keys.map((_, i) => make(i));
      const builder = new FrozenLayerBuilder();
      for (let i = 0; i < keys.length; i++) builder.insert(keys[i], values[i]);
      const layer = new FrozenLayer(builder.finish());
      layer.verify();
      expect(keys.map((key) => layer.get(key))).toEqual(values);
      expect([...layer].map(([, value]) => value)).toEqual(values);
      expect([...layer.entries({ reverse: true })].map(([, value]) => value)).toEqual(
        values.toReversed(),
      );
      expect(layer.floor(keys[10])).toEqual([keys[10], values[10]]);
      expect(layer.ceiling(keys[10])).toEqual([keys[10], values[10]]);
      expect(layer.valueAt(999)).toBe(values[999]);
      expect(layer.get(utf8("no key"))).toBeUndefined();
    }
  });
});

test("keys, bounds and bytes may be Buffers, and stay as they are", () => {
  const builder = new FrozenLayerBuilder();
  const key = Buffer.from("ab");
  builder.insert(key, 7);
  const layer = new FrozenLayer(Buffer.from(builder.finish()));
  expect(layer.get(key)).toBe(7);
  expect([...layer.keys({ prefix: key, gte: key })]).toEqual([utf8("ab")]);
  expect(layer.count({ prefix: key })).toBe(1);
  expect(key.toString()).toBe("ab");
});

describe("a mistake", () => {
  const layer = new FrozenLayer(build([utf8("a"), utf8("b")]));

  test.each<[string, () => unknown, RegExp]>([
    ["an ordinal below 0", () => layer.keyAt(-1), /from 0 to 1/],
    ["an ordinal past the last", () => layer.keyAt(2), /from 0 to 1/],
    ["an ordinal between two", () => layer.valueAt(0.5), /from 0 to 1/],
    ["a key that is a string", () => layer.get("a" as never), /Uint8Array, not string/],
    ["an unknown range option", () => [...layer.keys({ from: 1 } as never)], /from/],
    ["a range that is null", () => [...layer.keys(null as never)], /range is an object, not null/],
    ["a range that is a number", () => layer.count(5 as never), /range is an object, not 5/],
    ["a search within null", () => [...layer.search(startsWith(""), null as never)], /object/],
    ["an order by name", () => [...layer.keys({ reverse: "yes" as never })], /reverse .* yes/],
    ["a pattern that is a string", () => [...layer.search("a" as never)], /takes a pattern/],
    ["no pattern", () => [...layer.search(undefined as never)], /takes a pattern/],
    ["a limit below 0", () => layer.count({ limit: -1 }), /limit/],
    [
      "an unknown option",
      () => new FrozenLayer(build([]), { verfy: false } as never),
      /unknown option "verfy": accepted are verify, file/,
    ],
    [
      "an unknown option of the builder",
      () => new FrozenLayerBuilder({ packed: false } as never),
      /unknown option "packed": accepted are values, registryCells, pack/,
    ],
    ["bytes that are none", () => new FrozenLayer("abc" as never), /Uint8Array, not string/],
  ])("%s is an InvalidArgumentError", (_, call, message) => {
    expect(call).toThrow(InvalidArgumentError);
    expect(call).toThrow(message);
  });
});
