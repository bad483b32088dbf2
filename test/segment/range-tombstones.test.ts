import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ByteWriter } from "../../src/bytes/writer.ts";
import { eachSpan, type Span } from "../../src/cursor/spans.ts";
import { CorruptionError } from "../../src/errors.ts";
import { appendRangeTombstone, RangeTombstones } from "../../src/segment/range-tombstones.ts";
import { ALL_KEYS, anySpanList, isWithin, SpanList } from "../cursor/span-lists.ts";

function encode(spans: readonly Span[]): Uint8Array {
  const writer = new ByteWriter();
  for (const span of spans) appendRangeTombstone(writer, span);
  return writer.take();
}

const decode = (bytes: Uint8Array, count: number): RangeTombstones =>
  new RangeTombstones(bytes, count, "a.seg", 100);

describe("range tombstones of a segment", () => {
  test("are found as in a list", () => {
    fc.assert(
      fc.property(anySpanList, (spans) => {
        const found = decode(encode(spans), spans.length);
        const list = new SpanList(spans);
        expect([...eachSpan(found)]).toEqual(spans);
        for (const key of ALL_KEYS) {
          const { length } = key;
          const longer = Uint8Array.of(...key, 9);
          expect(found.floor(longer, length)).toEqual(list.floor(key, length));
          expect(found.after(longer, length)).toEqual(list.after(key, length));
          const isDeleted = spans.some((span) => isWithin(span, key));
          expect(found.covers(longer, length)).toBe(isDeleted);
        }
      }),
      { numRuns: 50 },
    );
  });

  test("may be as long as keys may be", () => {
    const start = new Uint8Array(65_536).fill(1);
    const end = new Uint8Array(65_536).fill(2);
    const spans = [{ start, end }];
    expect([...eachSpan(decode(encode(spans), 1))]).toEqual(spans);
  });

  const key = (byte: number): Uint8Array => Uint8Array.of(byte);
  const damaged: [string, Uint8Array, number][] = [
    ["fewer than there should be", encode([{ start: key(1), end: key(2) }]), 2],
    ["more than there should be", encode([{ start: key(1), end: key(2) }]), 0],
    ["more than there is room for", encode([{ start: key(1), end: key(2) }]), 0xffff_ffff],
    ["an empty one", encode([{ start: key(1), end: key(1) }]), 1],
    ["one that ends before it starts", encode([{ start: key(2), end: key(1) }]), 1],
    [
      "two that touch",
      encode([
        { start: key(1), end: key(2) },
        { start: key(2), end: key(3) },
      ]),
      2,
    ],
    [
      "two out of order",
      encode([
        { start: key(4), end: key(5) },
        { start: key(1), end: key(2) },
      ]),
      2,
    ],
    [
      "one without an end before another",
      encode([
        { start: key(1), end: undefined },
        { start: key(4), end: key(5) },
      ]),
      2,
    ],
    ["a start that is too long", encode([{ start: new Uint8Array(65_537), end: undefined }]), 1],
    ["an end that is too long", encode([{ start: key(0), end: new Uint8Array(65_537) }]), 1],
    ["a start beyond the section", Uint8Array.of(9, 1, 0), 1],
    ["an end beyond the section", Uint8Array.of(1, 1, 9, 2), 1],
    ["a length without an end", Uint8Array.of(0x80, 0x80), 1],
  ];

  test.each(damaged)("with %s are damage", (_, bytes, count) => {
    expect(() => decode(bytes, count)).toThrow(CorruptionError);
  });
});
