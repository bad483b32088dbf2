import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MaskedCursor } from "../../src/cursor/masked.ts";
import { Mask } from "../../src/cursor/spans.ts";
import {
  ArrayCursor,
  type ArrayEntry,
  anyEntries,
  anyMoves,
  expectSameWalk,
} from "./array-cursor.ts";
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
