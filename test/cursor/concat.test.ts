import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { ConcatCursor, type ConcatPart, firstPartEndingAt } from "../../src/cursor/concat.ts";
import { BEFORE_EXPIRY } from "../../src/entry.ts";
import {
  ArrayCursor,
  type ArrayEntry,
  anyEntries,
  anyKey,
  anyMoves,
  expectSameWalk,
} from "./array-cursor.ts";

/** A part over entries, and how many cursors it was asked for. */
class Part implements ConcatPart {
  readonly firstKey: Uint8Array;
  readonly lastKey: Uint8Array;
  cursorCount = 0;
  private readonly entries: readonly ArrayEntry[];

  constructor(entries: readonly ArrayEntry[]) {
    this.entries = entries;
    this.firstKey = entries[0].key;
    this.lastKey = entries[entries.length - 1].key;
  }

  cursor(): ArrayCursor {
    this.cursorCount++;
    return new ArrayCursor(this.entries);
  }
}

/** Cuts entries into parts of the given sizes, the last of which takes the rest. */
function cut(entries: readonly ArrayEntry[], sizes: readonly number[]): Part[] {
  const parts: Part[] = [];
  let start = 0;
  for (const size of [...sizes, entries.length]) {
    const part = entries.slice(start, start + size);
    if (part.length > 0) parts.push(new Part(part));
    start += size;
  }
  return parts;
}

const anySizes = fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 10 });

describe("ConcatCursor", () => {
  test("walks as the whole array would, in both directions", () => {
    fc.assert(
      fc.property(anyEntries, anySizes, anyMoves, (entries, sizes, moves) => {
        expectSameWalk(
          new ConcatCursor(cut(entries, sizes), BEFORE_EXPIRY),
          new ArrayCursor(entries),
          moves,
        );
      }),
      { numRuns: 300 },
    );
  });

  test("opens a part when the position first gets there", () => {
    const entry = (byte: number): ArrayEntry => ({
      key: Uint8Array.of(byte),
      kind: 1,
      value: Uint8Array.of(byte),
    });
    const parts = cut([entry(1), entry(2), entry(3), entry(4)], [1, 1, 1]);
    const opened = (): number[] => parts.map((part) => part.cursorCount);
    const cursor = new ConcatCursor(parts, BEFORE_EXPIRY);
    expect(opened()).toEqual([0, 0, 0, 0]);
    cursor.seek(Uint8Array.of(2), 1);
    expect(opened()).toEqual([0, 1, 0, 0]);
    cursor.next();
    expect(opened()).toEqual([0, 1, 1, 0]);
    cursor.seekToLast();
    expect(opened()).toEqual([0, 1, 1, 1]);
  });

  test("that could not open a part opens it when it is asked again, and closes no other twice", () => {
    const entry = (byte: number): ArrayEntry => ({
      key: Uint8Array.of(byte),
      kind: 1,
      value: Uint8Array.of(byte),
    });
    const parts = cut([entry(1), entry(2), entry(3)], [1, 1]);
    let closeCount = 0;
    const first = parts[0].cursor();
    vi.spyOn(parts[0], "cursor").mockReturnValue(
      Object.assign(first, { close: () => closeCount++ }),
    );
    vi.spyOn(parts[2], "cursor").mockImplementationOnce(() => {
      throw new Error("EIO");
    });
    const cursor = new ConcatCursor(parts, BEFORE_EXPIRY);
    cursor.seekToFirst();
    expect(() => cursor.seekToLast()).toThrow("EIO");
    expect(cursor.isValid).toBe(false);
    expect(closeCount).toBe(1);
    cursor.seekToLast();
    expect(Array.from(cursor.key.subarray(0, cursor.keyLength))).toEqual([3]);
    cursor.close();
    expect(closeCount).toBe(1);
  });

  test("of no parts is empty", () => {
    const cursor = new ConcatCursor([], BEFORE_EXPIRY);
    cursor.seekToFirst();
    expect(cursor.isValid).toBe(false);
    cursor.seekToLast();
    expect(cursor.isValid).toBe(false);
    cursor.seek(Uint8Array.of(1), 1);
    expect(cursor.isValid).toBe(false);
    cursor.seekForPrev(Uint8Array.of(1), 1);
    expect(cursor.isValid).toBe(false);
  });
});

describe("firstPartEndingAt", () => {
  test("is what a linear search finds", () => {
    fc.assert(
      fc.property(anyEntries, anySizes, anyKey, (entries, sizes, key) => {
        const parts = cut(entries, sizes);
        const index = parts.findIndex((part) => compareBytes(part.lastKey, key) >= 0);
        expect(firstPartEndingAt(parts, key, key.length)).toBe(index < 0 ? parts.length : index);
      }),
    );
  });
});
