/** Reading a cursor by runs, in all ways, for tests that compare it with one that is read step by step. */
import fc from "fast-check";
import { expect } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { Cursor } from "../../src/cursor/cursor.ts";
import { EntryRun } from "../../src/cursor/entry-run.ts";
import { EntryKind } from "../../src/entry.ts";
import type { ArrayEntry } from "./array-cursor.ts";

/** How to read: forward or back, with values or without, and in runs of which sizes. */
export interface Reading {
  readonly isReverse: boolean;
  readonly hasValues: boolean;
  readonly capacity: number;
  readonly maxBytes: number;
  readonly counts: readonly number[];
  readonly turns: readonly boolean[];
}

export const anyReading: fc.Arbitrary<Reading> = fc.record({
  isReverse: fc.boolean(),
  hasValues: fc.boolean(),
  capacity: fc.integer({ min: 1, max: 12 }),
  maxBytes: fc.constantFrom(1, 12, 25, 100),
  counts: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 4 }),
  turns: fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }),
});

export type End = readonly [key: Uint8Array, isInclusive: boolean] | undefined;

export function isWithin(key: Uint8Array, isReverse: boolean, end: End): boolean {
  if (end === undefined) return true;
  const order = compareBytes(key, end[0]) * (isReverse ? -1 : 1);
  return order < 0 || (order === 0 && end[1]);
}

/** What a reading makes known of an entry. */
export function shown({ key, kind, value }: ArrayEntry, hasValues: boolean): ArrayEntry {
  return { key, kind, value: hasValues ? value : new Uint8Array(0) };
}

/** Entries by runs, two of which are sometimes in one EntryRun; what no run has is read in single steps. */
export function* readByRuns(cursor: Cursor, reading: Reading, end: End): Generator<ArrayEntry> {
  const { isReverse, hasValues, capacity, maxBytes, counts, turns } = reading;
  const run = new EntryRun(capacity, maxBytes);
  run.isReverse = isReverse;
  run.hasValues = hasValues;
  const bound = end && { key: end[0], length: end[0].length, isInclusive: end[1] };
  if (isReverse) cursor.seekToLast();
  else cursor.seekToFirst();
  for (
    let i = 0;
    cursor.isValid && isWithin(cursor.key.slice(0, cursor.keyLength), isReverse, end);
    i++
  ) {
    if (i % 2 === 0 || run.isFull) run.clear();
    const first = run.count;
    const count = counts[i % counts.length];
    const isPut = cursor.kind === EntryKind.put;
    const read = isPut ? (cursor.readRun?.(run, count, bound) ?? 0) : 0;
    expect(run.count).toBe(first + read);
    expect(read).toBeLessThanOrEqual(count);
    for (let at = first; at < run.count; at++) {
      const key = run.keys.buffer.slice(run.keyStarts[at], run.keyEnds[at]);
      const { buffer } = run.value.decoded;
      const value = hasValues
        ? buffer.slice(run.valueStarts[at], run.valueEnds[at])
        : new Uint8Array(0);
      yield { key, kind: EntryKind.put, value };
    }
    if (read === 0) yield shown(copyOf(cursor), hasValues);
    if (isReverse) cursor.prev();
    else cursor.next();
    if (!cursor.isValid || !turns[i % turns.length]) continue;
    // There and back is the same entry, if there is one there.
    if (isReverse) cursor.next();
    else cursor.prev();
    if (!cursor.isValid && isReverse) cursor.seekToLast();
    else if (!cursor.isValid) cursor.seekToFirst();
    else if (isReverse) cursor.prev();
    else cursor.next();
  }
}

function copyOf(cursor: Cursor): ArrayEntry {
  const key = cursor.key.slice(0, cursor.keyLength);
  return { key, kind: cursor.kind, value: cursor.value().slice() };
}
