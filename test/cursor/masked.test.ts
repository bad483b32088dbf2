import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { EntryRun } from "../../src/cursor/entry-run.ts";
import { MaskedCursor } from "../../src/cursor/masked.ts";
import { MergeCursor } from "../../src/cursor/merge.ts";
import { Mask } from "../../src/cursor/spans.ts";
import {
  ArrayCursor,
  type ArrayEntry,
  anyEntries,
  anyKey,
  anyMoves,
  expectSameWalk,
  RunCursor,
} from "./array-cursor.ts";
import { anyReading, isWithin as isWithinEnd, readByRuns, shown } from "./run-reading.ts";
import { anySpanList, isWithin, SpanList } from "./span-lists.ts";

/** Counts how often it is moved. */
class CountingCursor extends ArrayCursor {
  moves = 0;

  override seek(key: Uint8Array, length: number): void {
    this.moves++;
    super.seek(key, length);
  }

  override seekForPrev(key: Uint8Array, length: number): void {
    this.moves++;
    super.seekForPrev(key, length);
  }

  override next(): void {
    this.moves++;
    super.next();
  }

  override prev(): void {
    this.moves++;
    super.prev();
  }
}

const entry = (byte: number): ArrayEntry => ({
  key: Uint8Array.of(byte),
  kind: 1,
  value: new Uint8Array(0),
});

describe("MaskedCursor", () => {
  test("walks as over what is not covered, in both directions", () => {
    fc.assert(
      fc.property(
        anyEntries,
        fc.array(anySpanList, { minLength: 1, maxLength: 3 }),
        anyMoves,
        (entries, lists, moves) => {
          const mask = new Mask(lists.map((list) => new SpanList(list)));
          const rest = entries.filter(
            ({ key }) => !lists.flat().some((span) => isWithin(span, key)),
          );
          expectSameWalk(
            new MaskedCursor(new ArrayCursor(entries), mask),
            new ArrayCursor(rest),
            moves,
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  test("reads runs of what is not covered, alone and merged, up to the bound", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyEntries, fc.array(anySpanList, { maxLength: 2 }), fc.boolean()), {
          minLength: 1,
          maxLength: 3,
        }),
        anyReading,
        fc.option(fc.tuple(anyKey, fc.boolean()), { nil: undefined }),
        (sources, reading, end) => {
          const byKey = new Map<string, ArrayEntry>();
          const cursors = sources.map(([entries, lists, canPeek]) => {
            for (const entry of entries) {
              const isCovered = lists.flat().some((span) => isWithin(span, entry.key));
              const text = entry.key.join();
              if (!isCovered && !byKey.has(text)) byKey.set(text, entry);
            }
            const source = canPeek ? new RunCursor(entries) : new ArrayCursor(entries);
            return new MaskedCursor(source, new Mask(lists.map((list) => new SpanList(list))));
          });
          const cursor = cursors.length === 1 ? cursors[0] : new MergeCursor(cursors);
          const { isReverse, hasValues } = reading;
          const expected = [...byKey.values()]
            .sort((a, b) => compareBytes(a.key, b.key))
            .filter(({ key }) => isWithinEnd(key, isReverse, end))
            .map((entry) => shown(entry, hasValues));
          if (isReverse) expected.reverse();
          expect([...readByRuns(cursor, reading, end)]).toEqual(expected);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("reads what lies between two covered stretches as one run", () => {
    const spans = [
      { start: Uint8Array.of(2), end: Uint8Array.of(4) },
      { start: Uint8Array.of(8), end: Uint8Array.of(9) },
    ];
    const source = new RunCursor(Array.from({ length: 12 }, (_, i) => entry(i)));
    const cursor = new MaskedCursor(source, new Mask([new SpanList(spans)]));
    const run = new EntryRun(16, 100);
    for (const [isReverse, lengths] of [
      [false, [2, 4, 3]],
      [true, [3, 4, 2]],
    ] as const) {
      run.isReverse = isReverse;
      const found: number[] = [];
      if (isReverse) cursor.seekToLast();
      else cursor.seekToFirst();
      while (cursor.isValid) {
        run.clear();
        found.push(cursor.readRun(run, 16, undefined));
        if (isReverse) cursor.prev();
        else cursor.next();
      }
      expect(found).toEqual(lengths);
    }
  });

  test("reads no run beyond its gap where the bound is the gap's end and inclusive", () => {
    const cursor = new MaskedCursor(
      new RunCursor([entry(0), entry(1), entry(2), entry(3)]),
      new Mask([new SpanList([{ start: Uint8Array.of(2), end: Uint8Array.of(3) }])]),
    );
    const run = new EntryRun(16, 100);
    const bound = { key: Uint8Array.of(2), length: 1, isInclusive: true };
    for (const read of ["readRun", "peek"] as const) {
      cursor.seekToFirst();
      expect(cursor[read](run, 16, bound)).toBe(2);
    }
  });

  test.each([1, 200])("passes %i covered entries by the same number of moves", (count) => {
    const entries = [
      entry(0),
      ...Array.from({ length: count }, (_, i) => entry(i + 1)),
      entry(250),
    ];
    const span = { start: Uint8Array.of(1), end: Uint8Array.of(250) };
    const source = new CountingCursor(entries);
    const cursor = new MaskedCursor(source, new Mask([new SpanList([span])]));
    cursor.seekToFirst();
    cursor.next();
    expect(cursor.key[0]).toBe(250);
    expect(source.moves).toBe(2);
    cursor.prev();
    expect(cursor.key[0]).toBe(0);
    expect(source.moves).toBeLessThanOrEqual(5);
  });

  test("is off its end where all that follows is covered, without going there", () => {
    const source = new CountingCursor([entry(1), entry(2), entry(3)]);
    const span = { start: Uint8Array.of(2), end: undefined };
    const cursor = new MaskedCursor(source, new Mask([new SpanList([span])]));
    cursor.seekToFirst();
    cursor.next();
    expect(cursor.isValid).toBe(false);
    expect(source.moves).toBe(1);
    cursor.seekToLast();
    expect(cursor.key[0]).toBe(1);
  });

  test("closes its source", () => {
    let closeCount = 0;
    class ClosableCursor extends ArrayCursor {
      close(): void {
        closeCount++;
      }
    }
    new MaskedCursor(new ClosableCursor([entry(1)]), new Mask([])).close();
    expect(closeCount).toBe(1);
  });
});
