import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { clip, eachSpan, isCovered, Mask, type Span, unionOf } from "../../src/cursor/spans.ts";
import { ALL_KEYS, anySpanList, anySpans, isWithin, SpanList } from "./span-lists.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** "a-c" is [a, c), "a-" has no end. */
function spansOf(text: string): Span[] {
  return text
    .split(" ")
    .filter((word) => word !== "")
    .map((word) => {
      const [start, end] = word.split("-");
      return { start: bytes(start), end: end === "" ? undefined : bytes(end) };
    });
}

function describeSpans(spans: readonly Span[]): string {
  const decode = (key: Uint8Array | undefined): string => Buffer.from(key ?? []).toString();
  return spans.map(({ start, end }) => `${decode(start)}-${decode(end)}`).join(" ");
}

test.each([
  ["b-d f-h", undefined, undefined, "b-d f-h"],
  ["b-d f-h", "c", undefined, "c-d f-h"],
  ["b-d f-h", "d", "f", ""],
  ["b-d f-h", "c", "g", "c-d f-g"],
  ["b-d f-h", undefined, "b", ""],
  ["b-", "c", undefined, "c-"],
  ["b-", undefined, "c", "b-c"],
  ["-", "b", "b", ""],
])("%s clipped to [%s, %s)", (spans, start, end, expected) => {
  const bound = (text: string | undefined) => (text === undefined ? undefined : bytes(text));
  expect(describeSpans(clip(spansOf(spans), bound(start), bound(end)))).toBe(expected);
});

describe("unionOf", () => {
  test.each([
    ["nothing", "", ""],
    ["one", "b-d", "b-d"],
    ["those apart, in order", "e-f b-d", "b-d e-f"],
    ["those that touch", "d-f b-d", "b-f"],
    ["those that overlap", "b-d c-f", "b-f"],
    ["the same twice", "b-d b-d", "b-d"],
    ["one within another", "b-f c-d", "b-f"],
    ["one with the same start", "b-d b-f", "b-f"],
    ["what is next to each other by one key", "b-c ca-d", "b-c ca-d"],
    ["one without an end, and those behind it", "c- b-d e-f", "b-"],
    ["everything", "- b-d", "-"],
  ])("of %s", (_, spans, expected) => {
    expect(describeSpans(unionOf(spansOf(spans)))).toBe(expected);
  });

  test("covers the same keys by spans that are disjoint, in order, and do not touch", () => {
    fc.assert(
      fc.property(anySpans, (spans) => {
        const union = unionOf(spans);
        for (const key of ALL_KEYS) {
          expect(union.some((span) => isWithin(span, key))).toBe(
            spans.some((span) => isWithin(span, key)),
          );
        }
        for (let i = 1; i < union.length; i++) {
          const { end } = union[i - 1];
          expect(end !== undefined && compareBytes(end, union[i].start) < 0).toBe(true);
        }
        expect([...eachSpan(new SpanList(union))]).toEqual(union);
      }),
    );
  });
});

describe("Mask", () => {
  test("is the union of its sets", () => {
    fc.assert(
      fc.property(fc.array(anySpanList, { maxLength: 4 }), (lists) => {
        const mask = new Mask(lists.map((list) => new SpanList(list)));
        const union = unionOf(lists.flat());
        for (const key of ALL_KEYS) {
          const { length } = key;
          const covering = union.find((span) => isWithin(span, key));
          expect(mask.covering(key, length)).toEqual(covering);
          expect(isCovered(new SpanList(union), key, length)).toBe(covering !== undefined);
          if (covering !== undefined) continue;
          const next = union.findIndex(({ start }) => compareBytes(start, key) > 0);
          expect(mask.after(key, length)).toEqual(next < 0 ? undefined : union[next]);
          const before = union.slice(0, next < 0 ? undefined : next).at(-1);
          expect(mask.endBefore(key, length)).toEqual(before?.end);
        }
      }),
      { numRuns: 50 },
    );
  });
});
