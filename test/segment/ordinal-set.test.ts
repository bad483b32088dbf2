import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CorruptionError } from "../../src/errors.ts";
import { OrdinalSet, OrdinalSetBuilder } from "../../src/segment/ordinal-set.ts";

function build(keyCount: number, ordinals: Iterable<number>): OrdinalSet {
  const builder = new OrdinalSetBuilder();
  for (const ordinal of ordinals) builder.add(ordinal);
  return new OrdinalSet(builder.finish(keyCount), keyCount, builder.count, "tombstones", "file", 0);
}

describe("OrdinalSet", () => {
  test("an empty one has no bitmap", () => {
    expect(new OrdinalSetBuilder().finish(1000).length).toBe(0);
    const none = build(1000, []);
    expect([none.has(999), none.before(1000), none.byteLength]).toEqual([false, 0, 0]);
  });

  test("knows each, and counts those before any ordinal", () => {
    const keyCounts = fc.constantFrom(1, 7, 8, 9, 511, 512, 513, 1024, 3000);
    const shape = keyCounts.chain((keyCount) =>
      fc.tuple(
        fc.constant(keyCount),
        fc.uniqueArray(fc.nat(keyCount - 1), { minLength: 1, maxLength: 200 }),
      ),
    );
    fc.assert(
      fc.property(shape, ([keyCount, ordinals]) => {
        const set = build(keyCount, ordinals);
        const isMember = new Set(ordinals);
        let before = 0;
        for (let ordinal = 0; ordinal < keyCount; ordinal++) {
          expect(set.before(ordinal)).toBe(before);
          expect(set.has(ordinal)).toBe(isMember.has(ordinal));
          if (isMember.has(ordinal)) before++;
        }
        expect(set.before(keyCount)).toBe(before);
      }),
    );
  });

  test.each([
    ["a bitmap too short", Uint8Array.of(1), 9, 1],
    ["a bitmap where none should be", Uint8Array.of(0), 8, 0],
    ["a count that is not the bits'", Uint8Array.of(3), 8, 1],
    ["a bit behind the last ordinal", Uint8Array.of(0x80), 7, 1],
  ])("%s is corruption", (_, bits, keyCount, count) => {
    expect(() => new OrdinalSet(bits, keyCount, count, "tombstones", "file", 0)).toThrow(
      CorruptionError,
    );
  });
});
