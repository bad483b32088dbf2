import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { EntryRun, type RunBound } from "../../src/cursor/entry-run.ts";
import { MergeCursor } from "../../src/cursor/merge.ts";
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
import { anyReading, isWithin, readByRuns, shown } from "./run-reading.ts";

/** What the merge of sources, newest first, must show. */
function merged(sources: readonly ArrayEntry[][]): ArrayEntry[] {
  const byKey = new Map<string, ArrayEntry>();
  for (const source of sources.toReversed()) {
    for (const entry of source) byKey.set(entry.key.join(), entry);
  }
  return [...byKey.values()].sort((a, b) => compareBytes(a.key, b.key));
}

/** A source of which one entry cannot be reached. */
class FailingCursor extends RunCursor {
  isWhole = false;
  private readonly badIndex: number;
  private readonly error: Error;

  constructor(entries: readonly ArrayEntry[], badIndex: number, error: Error) {
    super(entries);
    this.badIndex = badIndex;
    this.error = error;
  }

  protected override moveTo(index: number): void {
    if (index === this.badIndex && !this.isWhole) throw this.error;
    super.moveTo(index);
  }

  override peek(run: EntryRun, count: number, bound: RunBound | undefined): number {
    const distance = run.isReverse ? this.index - this.badIndex : this.badIndex - this.index;
    if (!this.isWhole && distance >= 0 && distance < count) throw this.error;
    return super.peek(run, count, bound);
  }
}

const anySources = fc.array(anyEntries, { maxLength: 6 });

/** The same with values that fill a run before its keys do. */
const anyFillingSources = anySources.map((sources) =>
  sources.map((entries) =>
    entries.map((entry) => ({
      ...entry,
      value: Uint8Array.from({ length: 24 }, (_, i) => entry.value[i % 3] ?? i),
    })),
  ),
);

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

  test("reads runs of all sources that can be peeked at, up to the bound", () => {
    fc.assert(
      fc.property(
        fc.oneof(anySources, anyFillingSources),
        fc.infiniteStream(fc.constantFrom(true, true, true, false)),
        anyReading,
        fc.option(fc.tuple(anyKey, fc.boolean()), { nil: undefined }),
        (sources, canPeek, reading, end) => {
          const cursor = new MergeCursor(
            sources.map((entries) =>
              canPeek.next().value ? new RunCursor(entries) : new ArrayCursor(entries),
            ),
          );
          const found: ArrayEntry[] = [];
          for (const entry of readByRuns(cursor, reading, end)) found.push(entry);
          const { isReverse, hasValues } = reading;
          const expected = merged(sources).filter(({ key }) => isWithin(key, isReverse, end));
          if (isReverse) expected.reverse();
          expect(found).toEqual(expected.map((entry) => shown(entry, hasValues)));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("yields what comes before an error, then the error, and nothing until the next seek", () => {
    fc.assert(
      fc.property(anySources, fc.nat(5), fc.nat(40), anyReading, (sources, bad, at, reading) => {
        const error = new Error("unreadable");
        const cursors = sources.map((entries, i) =>
          i === bad
            ? new FailingCursor(entries, at % (entries.length + 1), error)
            : new RunCursor(entries),
        );
        const cursor = new MergeCursor(cursors);
        const { isReverse, hasValues } = reading;
        const expected = merged(sources);
        if (isReverse) expected.reverse();
        const found: ArrayEntry[] = [];
        let caught: unknown;
        try {
          for (const entry of readByRuns(cursor, reading, undefined)) found.push(entry);
        } catch (thrown) {
          caught = thrown;
        }
        const known = expected.map((entry) => shown(entry, hasValues));
        expect(found).toEqual(caught === undefined ? known : known.slice(0, found.length));
        expect([undefined, error]).toContain(caught);
        for (const source of cursors) if (source instanceof FailingCursor) source.isWhole = true;
        found.length = 0;
        for (const entry of readByRuns(cursor, reading, undefined)) found.push(entry);
        expect(found).toEqual(known);
      }),
      { numRuns: 300 },
    );
  });

  test("keeps an error until the entries before it were moved over", () => {
    const entry = (key: number): ArrayEntry => ({
      key: Uint8Array.of(key),
      kind: 1,
      value: new Uint8Array(0),
    });
    const error = new Error("unreadable");
    const bad = new FailingCursor([2, 4, 6].map(entry), 1, error);
    const cursor = new MergeCursor([bad, new RunCursor([1, 3, 5].map(entry))]);
    const run = new EntryRun(8, 100);
    cursor.seekToFirst();
    // 2 may be read, but not 4.
    expect(cursor.readRun(run, 8, undefined)).toBe(1);
    expect(() => cursor.next()).toThrow(error);
    expect(() => cursor.prev()).toThrow(error);
    expect(() => cursor.readRun(run, 8, undefined)).toThrow(error);
    cursor.seekToLast();
    expect(read(cursor)).toEqual(entry(6));
  });

  test("reads singly for a while where a source that cannot be peeked at takes turns", () => {
    const entry = (key: number): ArrayEntry => ({
      key: Uint8Array.of(key),
      kind: 1,
      value: new Uint8Array(0),
    });
    const odd = new ArrayCursor([1, 3, 5].map(entry));
    const others = new RunCursor([0, 2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14].map(entry));
    const cursor = new MergeCursor([odd, others]);
    const run = new EntryRun(16, 100);
    const reads: number[] = [];
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      reads.push(cursor.readRun(run, 3, undefined));
    }
    // 0; 1 to 8 one by one, during which the second source is left alone.
    expect(reads).toEqual([1, 0, 0, 0, 0, 0, 3, 3, 3]);
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
