/**
 * A segment's cursor reads several entries at a call. What comes out must be what single steps give:
 * the same entries, as far as the bound and the count allow, and the same place to go on from.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { EntryRun } from "../../src/cursor/entry-run.ts";
import { EntryKind } from "../../src/entry.ts";
import type { SegmentCursor } from "../../src/segment/cursor.ts";
import { build, bytesOf, type Entry, entryAt, sorted } from "./segments.ts";

const CAPACITY = 16;
const MAX_BYTES = 300;
const TIME = 1000;

/** Values that repeat, that repeat their key, that are msgpack strings, and of any size. */
function makeValue(key: Uint8Array, shape: number, i: number): Uint8Array {
  switch (shape) {
    case 0:
      return bytesOf("one of many that are the same");
    case 1: {
      const text = bytesOf(`https://registry.example.org/${Buffer.from(key)}.git`);
      return Uint8Array.of(0xd9, text.length, ...text);
    }
    case 2:
      return Uint8Array.of(0xa3, 0x61, 0x62, 0x30 + (i % 10));
    case 3:
      return new Uint8Array(0);
    case 4:
      return Uint8Array.from({ length: (i * 31) % 400 }, (_, at) => (at * i) % 251);
    default:
      return bytesOf(`${"x".repeat(5000)}${i}`);
  }
}

const anyEntries: fc.Arbitrary<Entry[]> = fc
  .array(
    fc.record({
      stem: fc.constantFrom("", "a", "apple/", "apple/pie/with/cream/", "\u00fc", "zoo"),
      number: fc.nat(3000),
      shape: fc.constantFrom(0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 5),
      fate: fc.constantFrom("put", "put", "put", "put", "deleted", "expired", "to expire"),
    }),
    { minLength: 1, maxLength: 200, size: "max" },
  )
  .map((specs) =>
    sorted(
      specs.map(({ stem, number, shape, fate }, i) => {
        const key = bytesOf(`${stem}${number}`);
        const value = fate === "deleted" ? undefined : makeValue(key, shape, i);
        if (fate === "expired") return { key, value, expiry: TIME };
        return fate === "to expire" ? { key, value, expiry: TIME + 1 } : { key, value };
      }),
    ),
  );

/** Entries by runs, from where the cursor stands on; what no run has is read in single steps. */
function readByRuns(
  cursor: SegmentCursor,
  run: EntryRun,
  counts: readonly number[],
  bound: Uint8Array | undefined,
  isInclusive: boolean,
): Entry[] {
  const entries: Entry[] = [];
  for (let i = 0; cursor.isValid; i++) {
    const first = entryAt(cursor);
    const order = bound === undefined ? -1 : compareBytes(first.key, bound);
    if ((run.isReverse ? -order : order) > (isInclusive ? 0 : -1) && bound !== undefined) break;
    run.clear();
    const count = counts[i % counts.length];
    const read =
      first.value === undefined
        ? 0
        : cursor.readRun(run, count, bound && { key: bound, length: bound.length, isInclusive });
    expect(read).toBe(run.count);
    expect(read).toBeLessThanOrEqual(count);
    if (read === 0) {
      entries.push(first);
    } else {
      for (let at = 0; at < read; at++) {
        const key = run.keys.buffer.slice(run.keyStarts[at], run.keyEnds[at]);
        const { buffer } = run.value.decoded;
        const value = run.hasValues
          ? buffer.slice(run.valueStarts[at], run.valueEnds[at])
          : undefined;
        entries.push({ key, value });
      }
      expect(cursor.kind).toBe(EntryKind.put);
      expect(cursor.key.slice(0, cursor.keyLength)).toEqual(entries.at(-1)?.key);
    }
    if (run.isReverse) cursor.prev();
    else cursor.next();
  }
  return entries;
}

describe.each(["symbols", "deflate", "none", "auto"] as const)("compressed: %s", (compression) => {
  test("runs have the entries that single steps give", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyEntries,
        fc.array(fc.integer({ min: 1, max: CAPACITY }), { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        fc.boolean(),
        fc.option(fc.tuple(fc.nat(300), fc.boolean(), fc.boolean()), { nil: undefined }),
        fc.nat(300),
        async (entries, counts, isReverse, hasValues, end, from) => {
          const segment = await build(entries, { compression });
          const run = new EntryRun(CAPACITY, MAX_BYTES);
          run.isReverse = isReverse;
          run.hasValues = hasValues;
          // The bound is a key, or lies right after one.
          const near =
            end === undefined ? undefined : entries.at(end[0] % (entries.length + 1))?.key;
          const bound = near && end?.[1] ? Uint8Array.from([...near, 0]) : near;
          const isInclusive = end?.[2] === true;
          const cursor = segment.cursor(TIME);
          const start = entries.at(from % (entries.length + 1))?.key ?? bytesOf("m");
          if (isReverse) cursor.seekForPrev(start, start.length);
          else cursor.seek(start, start.length);
          const expected = entries
            .map(({ key, value, expiry }) => ({ key, value: expiry === TIME ? undefined : value }))
            .filter(({ key }) => compareBytes(key, start) * (isReverse ? -1 : 1) >= 0)
            .filter(({ key }) => {
              if (bound === undefined) return true;
              const order = compareBytes(key, bound) * (isReverse ? -1 : 1);
              return order < 0 || (order === 0 && isInclusive);
            });
          const found = readByRuns(cursor, run, counts, bound, isInclusive);
          if (isReverse) expected.reverse();
          expect(found.map(({ key }) => key)).toEqual(expected.map(({ key }) => key));
          if (hasValues) {
            expect(found.map(({ value }) => value)).toEqual(expected.map(({ value }) => value));
          }
          await segment.close();
        },
      ),
      { numRuns: 30 },
    );
  });
});

test("a run is closed at its size, and the next goes on where it ended", async () => {
  const entries = Array.from({ length: 64 }, (_, i) => ({
    key: bytesOf(`key ${100 + i}`),
    value: bytesOf(`${"value ".repeat(10)}${i}`),
  }));
  const segment = await build(entries);
  for (const isReverse of [false, true]) {
    const run = new EntryRun(CAPACITY, MAX_BYTES);
    run.isReverse = isReverse;
    run.hasValues = true;
    const cursor = segment.cursor();
    if (isReverse) cursor.seekToLast();
    else cursor.seekToFirst();
    // 60 bytes and more each: the fifth is the first to reach 300.
    expect(cursor.readRun(run, CAPACITY, undefined)).toBe(5);
    expect(run.isFull).toBe(true);
    expect(cursor.ordinal).toBe(isReverse ? 59 : 4);
    if (isReverse) cursor.prev();
    else cursor.next();
    expect(entryAt(cursor)).toEqual(entries[isReverse ? 58 : 5]);
  }
  await segment.close();
});

test("values in a value log, and long ones, are left to single steps", async () => {
  const entries = [5000, 300, 10].map((length, i) => ({
    key: bytesOf(`key ${i}`),
    value: Uint8Array.from({ length }, (_, at) => (at * 7 + i) % 253),
  }));
  const segment = await build(entries);
  const run = new EntryRun(CAPACITY, MAX_BYTES);
  run.hasValues = true;
  const cursor = segment.cursor();
  cursor.seekToFirst();
  expect(cursor.readRun(run, CAPACITY, undefined)).toBe(0);
  expect(entryAt(cursor)).toEqual(entries[0]);
  run.hasValues = false;
  expect(cursor.readRun(run, CAPACITY, undefined)).toBe(3);
  await segment.close();
});
