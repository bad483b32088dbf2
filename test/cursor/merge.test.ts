import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { Cursor } from "../../src/cursor/cursor.ts";
import { EntryRun } from "../../src/cursor/entry-run.ts";
import { MergeCursor } from "../../src/cursor/merge.ts";
import { EntryKind } from "../../src/entry.ts";
import {
  ArrayCursor,
  type ArrayEntry,
  anyEntries,
  anyKey,
  anyMoves,
  expectSameWalk,
  RunCursor,
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

function copyOf(cursor: Cursor): ArrayEntry {
  const key = cursor.key.slice(0, cursor.keyLength);
  return { key, kind: cursor.kind, value: cursor.value().slice() };
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

  test("reads runs of one source, up to the next key of another or the bound", () => {
    fc.assert(
      fc.property(
        anySources,
        fc.boolean(),
        fc.option(fc.tuple(anyKey, fc.boolean()), { nil: undefined }),
        (sources, isReverse, end) => {
          const cursor = new MergeCursor(
            sources.map((entries, i) =>
              i % 3 === 2 ? new ArrayCursor(entries) : new RunCursor(entries),
            ),
          );
          const run = new EntryRun(8, 100);
          run.isReverse = isReverse;
          const found: ArrayEntry[] = [];
          const isWithin = (key: Uint8Array): boolean => {
            if (end === undefined) return true;
            const order = compareBytes(key, end[0]) * (isReverse ? -1 : 1);
            return order < 0 || (order === 0 && end[1]);
          };
          if (isReverse) cursor.seekToLast();
          else cursor.seekToFirst();
          while (cursor.isValid && isWithin(cursor.key.slice(0, cursor.keyLength))) {
            run.clear();
            const [bound, isInclusive] = end ?? [undefined, false];
            const length = bound?.length ?? 0;
            const read =
              cursor.kind === EntryKind.put
                ? cursor.readRun(run, 8, bound, length, isInclusive)
                : 0;
            for (let i = 0; i < read; i++) {
              const { buffer } = run.value.decoded;
              const key = run.keys.buffer.slice(run.keyStarts[i], run.keyEnds[i]);
              const value = buffer.slice(run.valueStarts[i], run.valueEnds[i]);
              found.push({ key, kind: EntryKind.put, value });
            }
            if (read === 0) found.push(copyOf(cursor));
            if (isReverse) cursor.prev();
            else cursor.next();
          }
          const expected = merged(sources).filter(({ key }) => isWithin(key));
          if (isReverse) expected.reverse();
          expect(found).toEqual(expected.map(({ key, kind, value }) => ({ key, kind, value })));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("reads singly what sources take turns at, and as runs what one of them goes on with", () => {
    const entry = (key: number): ArrayEntry => {
      return { key: Uint8Array.of(key), kind: EntryKind.put, value: Uint8Array.of(key) };
    };
    const odd = [1, 3, 5].map(entry);
    const evenThenAll = [0, 2, 4, 6, 7, 8, 9, 10, 11, 12].map(entry);
    const cursor = new MergeCursor([new RunCursor(odd), new RunCursor(evenThenAll)]);
    const run = new EntryRun(16, 100);
    const readAll = (): number[] => {
      const reads: number[] = [];
      for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
        reads.push(cursor.readRun(run, 3, undefined, 0, false));
      }
      return reads;
    };
    // Of neither source is it known at first; 6 and 7 come before it shows that the second goes on.
    expect(readAll()).toEqual([1, 1, 0, 0, 0, 0, 0, 0, 3, 2]);
    expect([...run.keys.buffer.subarray(0, run.keys.length)]).toEqual([0, 1, 8, 9, 10, 11, 12]);
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
