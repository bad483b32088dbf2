import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { MergeCursor } from "../../src/cursor/merge.ts";
import {
  ArrayCursor,
  type ArrayEntry,
  anyEntries,
  anyMoves,
  expectSameWalk,
  read,
} from "./array-cursor.ts";

/** What the merge of sources, newest first, must show. */
function merged(sources: readonly ArrayEntry[][]): ArrayEntry[] {
  const byKey = new Map<string, ArrayEntry>();
  for (const source of sources.toReversed()) {
    for (const entry of source) byKey.set(entry.key.join(), entry);
  }
  return [...byKey.values()].sort((a, b) => compareBytes(a.key, b.key));
}

const anySources = fc.array(anyEntries, { maxLength: 6 });

describe("MergeCursor", () => {
  test("walks as one sorted array would, in both directions, the newest of each key winning", () => {
    fc.assert(
      fc.property(anySources, anyMoves, (sources, moves) => {
        const cursor = new MergeCursor(sources.map((entries) => new ArrayCursor(entries)));
        expectSameWalk(cursor, new ArrayCursor(merged(sources)), moves);
      }),
      { numRuns: 300 },
    );
  });

  test("names the newest source that has the key", () => {
    fc.assert(
      fc.property(anySources, (sources) => {
        const cursor = new MergeCursor(sources.map((entries) => new ArrayCursor(entries)));
        for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
          const key = cursor.key.slice(0, cursor.keyLength).join();
          const newest = sources.findIndex((source) => source.some((e) => e.key.join() === key));
          expect(cursor.sourceIndex).toBe(newest);
        }
      }),
    );
  });

  test("turns around at a key longer than any before", () => {
    const long = new Uint8Array(60).fill(0x61);
    const entry = (key: Uint8Array): ArrayEntry => ({ key, kind: 1, value: key.slice(0, 1) });
    const entries = [entry(Uint8Array.of(1)), entry(long), entry(Uint8Array.of(0xff))];
    const cursor = new MergeCursor([new ArrayCursor(entries), new ArrayCursor([entries[1]])]);
    cursor.seek(long, long.length);
    cursor.prev();
    expect(read(cursor)).toEqual(entries[0]);
    cursor.next();
    expect(read(cursor)).toEqual(entries[1]);
    cursor.next();
    expect(read(cursor)).toEqual(entries[2]);
    cursor.next();
    expect(cursor.isValid).toBe(false);
  });

  test("of no sources is empty", () => {
    const cursor = new MergeCursor([]);
    cursor.seekToFirst();
    expect(cursor.isValid).toBe(false);
    cursor.seekToLast();
    expect(cursor.isValid).toBe(false);
  });
});
