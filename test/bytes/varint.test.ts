import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { VarintReader, varintSize, writeVarint } from "../../src/bytes/varint.ts";

/** Values about each change of size, and others. */
const anyValue = fc.oneof(
  fc.maxSafeNat(),
  fc.nat(1000),
  fc
    .tuple(fc.integer({ min: 1, max: 7 }), fc.constantFrom(-1, 0, 1))
    .map(([size, offset]) => 2 ** (7 * size) + offset),
  fc.constantFrom(0, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1),
);

describe("a varint", () => {
  test("is read back, one after the other, and takes what varintSize says", () => {
    fc.assert(
      fc.property(fc.array(anyValue), fc.nat(5), (values, start) => {
        const bytes = new Uint8Array(start + values.length * 8);
        let pos = start;
        for (const value of values) {
          const end = writeVarint(bytes, pos, value);
          expect(end - pos).toBe(varintSize(value));
          pos = end;
        }
        const reader = new VarintReader();
        reader.pos = start;
        for (const value of values) expect(reader.read(bytes, pos)).toBe(value);
        expect(reader.pos).toBe(pos);
      }),
    );
  });

  test("has seven bits a byte, lowest first", () => {
    const bytes = new Uint8Array(3);
    expect(writeVarint(bytes, 0, 300)).toBe(2);
    expect([...bytes]).toEqual([0xac, 0x02, 0]);
  });

  test("that is cut off is none, and the position stays", () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const bytes = new Uint8Array(8);
        const size = writeVarint(bytes, 0, value);
        const reader = new VarintReader();
        for (let end = 0; end < size; end++) {
          expect(reader.read(bytes, end)).toBe(-1);
          expect(reader.pos).toBe(0);
        }
      }),
    );
  });

  test.each([
    ["beyond 2^53", [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f]],
    ["of nine bytes", [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]],
    ["without an end", new Array(20).fill(0x80)],
    ["without an end, all ones", new Array(20).fill(0xff)],
  ])("%s is none", (_, bytes) => {
    const reader = new VarintReader();
    expect(reader.read(Uint8Array.from(bytes), bytes.length)).toBe(-1);
    expect(reader.pos).toBe(0);
  });

  test("of random bytes is a u53 within them, or none", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
        const reader = new VarintReader();
        const value = reader.read(bytes, bytes.length);
        if (value === -1) {
          expect(reader.pos).toBe(0);
        } else {
          expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
          expect(reader.pos).toBeLessThanOrEqual(Math.min(8, bytes.length));
        }
      }),
      { numRuns: 1000 },
    );
  });
});
