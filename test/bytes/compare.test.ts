import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  commonPrefixLength,
  compareBytes,
  compareRanges,
  prefixEnd,
} from "../../src/bytes/compare.ts";

/** Byte strings that share prefixes, and are prefixes of one another. */
const anyBytes = fc
  .array(fc.constantFrom(0x00, 0x01, 0x7f, 0x80, 0xff), { maxLength: 12 })
  .map((bytes) => Uint8Array.from(bytes));

/** The bytes with others around them: [buffer, start, end]. */
function within(bytes: Uint8Array, before: number): [Uint8Array, number, number] {
  const buffer = new Uint8Array(before + bytes.length + 3).fill(0x80);
  buffer.set(bytes, before);
  return [buffer, before, before + bytes.length];
}

describe("order", () => {
  test("is that of memcmp, wherever in a buffer the bytes are", () => {
    fc.assert(
      fc.property(anyBytes, anyBytes, fc.nat(9), fc.nat(9), (a, b, aStart, bStart) => {
        const expected = Buffer.compare(a, b);
        expect(Math.sign(compareBytes(a, b))).toBe(expected);
        const order = compareRanges(...within(a, aStart), ...within(b, bStart));
        expect(Math.sign(order)).toBe(expected);
      }),
    );
  });

  test.each([
    ["a prefix before what it begins", [1], [1, 0]],
    ["nothing before anything", [], [0]],
    ["unsigned bytes", [0x7f], [0x80]],
    ["the first difference, not the length", [1, 9, 9], [2]],
  ])("is %s", (_, less, more) => {
    const [a, b] = [Uint8Array.from(less), Uint8Array.from(more)];
    expect(compareBytes(a, b)).toBeLessThan(0);
    expect(compareBytes(b, a)).toBeGreaterThan(0);
    expect(compareBytes(a, a.slice())).toBe(0);
  });
});

test("commonPrefixLength counts the equal bytes at the front, of either range", () => {
  fc.assert(
    fc.property(anyBytes, anyBytes, anyBytes, fc.nat(9), (prefix, a, b, start) => {
      const left = Uint8Array.of(...prefix, ...a);
      const right = Uint8Array.of(...prefix, ...b);
      let expected = 0;
      const length = Math.min(left.length, right.length);
      while (expected < length && left[expected] === right[expected]) expected++;
      expect(commonPrefixLength(...within(left, start), ...within(right, 0))).toBe(expected);
      expect(expected).toBeGreaterThanOrEqual(prefix.length);
    }),
  );
});

describe("prefixEnd", () => {
  test("parts what has the prefix from all that sorts after it", () => {
    fc.assert(
      fc.property(anyBytes, anyBytes, (prefix, key) => {
        const end = prefixEnd(prefix);
        const hasPrefix = prefix.every((byte, i) => key[i] === byte);
        const isBelowEnd = end === undefined || compareBytes(key, end) < 0;
        expect(compareBytes(key, prefix) >= 0 && isBelowEnd).toBe(hasPrefix);
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    [
      [1, 2],
      [1, 3],
    ],
    [[1, 0xff], [2]],
    [[0xfe, 0xff, 0xff], [0xff]],
    [[0xff], undefined],
    [[], undefined],
  ])("of %j is %j", (prefix, end) => {
    const bytes = Uint8Array.from(prefix);
    expect(prefixEnd(bytes)).toEqual(end === undefined ? undefined : Uint8Array.from(end));
    expect(bytes).toEqual(Uint8Array.from(prefix));
  });

  test("leaves a Buffer as it was, whose slices are views of it", () => {
    const prefix = Buffer.from("ab");
    expect(prefixEnd(prefix)).toEqual(Uint8Array.from(Buffer.from("ac")));
    expect(prefix.toString()).toBe("ab");
  });
});
