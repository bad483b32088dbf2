/** Spans for tests: sets of them as sorted lists, and keys to ask about. */
import fc from "fast-check";
import { compareBytes } from "../../src/bytes/compare.ts";
import { type Span, type Spans, unionOf } from "../../src/cursor/spans.ts";
import { anyKey } from "./array-cursor.ts";

/** The slow and obvious set of spans, which are disjoint, do not touch, and are in order. */
export class SpanList implements Spans {
  private readonly spans: readonly Span[];

  constructor(spans: readonly Span[]) {
    this.spans = spans;
  }

  floor(key: Uint8Array, length: number): Span | undefined {
    const target = key.slice(0, length);
    return this.spans.findLast(({ start }) => compareBytes(start, target) <= 0);
  }

  after(key: Uint8Array, length: number): Span | undefined {
    const target = key.slice(0, length);
    return this.spans.find(({ start }) => compareBytes(start, target) > 0);
  }
}

export function isWithin({ start, end }: Span, key: Uint8Array): boolean {
  return compareBytes(start, key) <= 0 && (end === undefined || compareBytes(key, end) < 0);
}

/** Any spans, none empty; they may overlap. */
export const anySpans: fc.Arbitrary<Span[]> = fc.array(
  fc
    .tuple(anyKey, fc.option(anyKey, { nil: undefined, freq: 8 }))
    .filter(([a, b]) => b === undefined || compareBytes(a, b) !== 0)
    .map(([a, b]) =>
      b !== undefined && compareBytes(a, b) > 0 ? { start: b, end: a } : { start: a, end: b },
    ),
  { maxLength: 6 },
);

export const anySpanList: fc.Arbitrary<Span[]> = anySpans.map(unionOf);

/** Every key that `anyKey` may be, in order. */
export const ALL_KEYS: readonly Uint8Array[] = allKeys();

function allKeys(): Uint8Array[] {
  const keys: number[][] = [[]];
  for (const key of keys) {
    if (key.length < 4) for (const byte of [0x00, 0x61, 0xff]) keys.push([...key, byte]);
  }
  return keys.map((key) => Uint8Array.from(key)).sort(compareBytes);
}
