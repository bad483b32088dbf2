import fc from "fast-check";
import { expect, test } from "vitest";
import { utf8Sequences } from "../../src/search/utf8.ts";
import { utf8 } from "./texts.ts";

const codePoint = fc.oneof(
  fc.integer({ min: 0, max: 0x10ffff }),
  fc.constantFrom(0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xd800, 0xdfff, 0xe000, 0xffff, 0x10000),
  fc.constantFrom(0x3ffff, 0x40000, 0x10ffff),
);

function encodes(sequences: ReturnType<typeof utf8Sequences>, value: number): number {
  const bytes = utf8(String.fromCodePoint(value));
  return sequences.filter(
    (sequence) =>
      sequence.length === bytes.length &&
      sequence.every(({ first, last }, i) => first <= bytes[i] && bytes[i] <= last),
  ).length;
}

test("the sequences of a range have each of its characters once, and no other", () => {
  fc.assert(
    fc.property(codePoint, codePoint, fc.array(codePoint), (a, b, others) => {
      const first = Math.min(a, b);
      const last = Math.max(a, b);
      const sequences = utf8Sequences({ first, last });
      for (const value of [first, last, first - 1, last + 1, ...others]) {
        if (value < 0 || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) continue;
        expect(encodes(sequences, value)).toBe(first <= value && value <= last ? 1 : 0);
      }
    }),
    { numRuns: 3000 },
  );
});

test("all characters are nine sequences", () => {
  expect(utf8Sequences({ first: 0, last: 0x10ffff }).length).toBe(9);
});
