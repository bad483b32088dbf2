import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CorruptionError } from "../../src/errors.ts";
import { TombstoneBuilder, Tombstones } from "../../src/segment/tombstones.ts";

function build(keyCount: number, ordinals: Iterable<number>): Tombstones {
  const builder = new TombstoneBuilder();
  for (const ordinal of ordinals) builder.add(ordinal);
  return new Tombstones(builder.finish(keyCount), keyCount, builder.count, "file", 0);
}

describe("Tombstones", () => {
  test("a segment without any has no bitmap", () => {
    expect(new TombstoneBuilder().finish(1000).length).toBe(0);
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
        const tombstones = build(keyCount, ordinals);
        const isTombstone = new Set(ordinals);
        let before = 0;
        for (let ordinal = 0; ordinal < keyCount; ordinal++) {
          expect(tombstones.before(ordinal)).toBe(before);
          expect(tombstones.has(ordinal)).toBe(isTombstone.has(ordinal));
          if (isTombstone.has(ordinal)) before++;
        }
        expect(tombstones.before(keyCount)).toBe(before);
      }),
    );
  });

  test.each([
    ["a bitmap too short", Uint8Array.of(1), 9, 1],
    ["a bitmap where none should be", Uint8Array.of(0), 8, 0],
    ["a count that is not the bits'", Uint8Array.of(3), 8, 1],
    ["a bit behind the last ordinal", Uint8Array.of(0x80), 7, 1],
  ])("%s is corruption", (_, bits, keyCount, count) => {
    expect(() => new Tombstones(bits, keyCount, count, "file", 0)).toThrow(CorruptionError);
  });
});
