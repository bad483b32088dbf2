/**
 * Spans: stretches of the key space, as range tombstones delete them.
 *
 * A span is all keys in [start, end), or from start on where it has no end. Memtables and segments
 * each keep a set of spans in a form of their own, behind the interface `Spans`. A `Mask` is several
 * such sets as one: a key is covered if any of them covers it, and spans of different sets that touch
 * or overlap are one stretch.
 */
import { compareBytes, compareRanges } from "../bytes/compare.ts";

/** All keys from `start` up to, not including, `end`; without an end, all from `start` on. */
export interface Span {
  readonly start: Uint8Array;
  readonly end: Uint8Array | undefined;
}

/**
 * A set of spans that neither overlap nor touch: where one ends, no other starts. Both look-ups cost
 * O(log n) comparisons.
 */
export interface Spans {
  /** The last span that starts at or before key[0, length). */
  floor(key: Uint8Array, length: number): Span | undefined;
  /** The first span that starts after key[0, length). */
  after(key: Uint8Array, length: number): Span | undefined;
}

/** Whether the span ends after key[0, length). */
export function endsAfter({ end }: Span, key: Uint8Array, length: number): boolean {
  return end === undefined || compareRanges(end, 0, end.length, key, 0, length) > 0;
}

/** Whether the span covers a key. */
export function contains(span: Span, key: Uint8Array): boolean {
  return compareBytes(span.start, key) <= 0 && endsAfter(span, key, key.length);
}

/** Whether one of the spans covers key[0, length). */
export function isCovered(spans: Spans, key: Uint8Array, length: number): boolean {
  const span = spans.floor(key, length);
  return span !== undefined && endsAfter(span, key, length);
}

/** Every span, in order. */
export function* eachSpan(spans: Spans): Generator<Span> {
  const first = spans.floor(NO_BYTES, 0) ?? spans.after(NO_BYTES, 0);
  for (let span = first; span !== undefined; span = spans.after(span.start, span.start.length)) {
    yield span;
  }
}

/** The fewest spans that cover what the given ones cover, in order. These may overlap. */
export function unionOf(spans: Iterable<Span>): Span[] {
  const sorted = [...spans].sort((a, b) => compareBytes(a.start, b.start));
  const union: Span[] = [];
  for (const span of sorted) {
    const last = union.at(-1);
    const isJoined =
      last !== undefined && (last.end === undefined || compareBytes(last.end, span.start) >= 0);
    if (!isJoined) union.push(span);
    else if (isLater(span.end, last.end)) union[union.length - 1] = { ...last, end: span.end };
  }
  return union;
}

/** What the spans, disjoint and in order, cover of the keys in [start, end); without either, to that side all. */
export function clip(
  spans: Iterable<Span>,
  start: Uint8Array | undefined,
  end: Uint8Array | undefined,
): Span[] {
  const clipped: Span[] = [];
  for (const span of spans) {
    const from = start !== undefined && compareBytes(span.start, start) < 0 ? start : span.start;
    const to = isLater(span.end, end) ? end : span.end;
    if (to === undefined || compareBytes(from, to) < 0) clipped.push({ start: from, end: to });
  }
  return clipped;
}

/** Several sets of spans, seen as their union. */
export class Mask {
  private readonly sets: readonly Spans[];

  constructor(sets: readonly Spans[]) {
    this.sets = sets;
  }

  /** The whole covered stretch around key[0, length); undefined if the key is not covered. */
  covering(key: Uint8Array, length: number): Span | undefined {
    const first = this.longestAt(key, length);
    if (first === undefined) return undefined;
    let { start, end } = first;
    // A stretch goes on where another span begins at or before its end, and ends after it.
    while (end !== undefined) {
      const next = this.longestAt(end, end.length);
      if (next === undefined) break;
      end = next.end;
    }
    for (;;) {
      const previous = this.earliestUpTo(start);
      if (previous === undefined) return { start, end };
      start = previous;
    }
  }

  /** The first covered stretch that starts after key[0, length), which is not covered. */
  after(key: Uint8Array, length: number): Span | undefined {
    let first: Span | undefined;
    for (const set of this.sets) {
      const span = set.after(key, length);
      if (span === undefined) continue;
      if (first === undefined || compareBytes(span.start, first.start) < 0) first = span;
    }
    return first === undefined ? undefined : this.covering(first.start, first.start.length);
  }

  /** Where the last covered stretch before key[0, length), which is not covered, ends. */
  endBefore(key: Uint8Array, length: number): Uint8Array | undefined {
    let last: Uint8Array | undefined;
    for (const set of this.sets) {
      const end = set.floor(key, length)?.end;
      if (end !== undefined && (last === undefined || compareBytes(end, last) > 0)) last = end;
    }
    return last;
  }

  /** Of the spans that cover the key, the one that ends last. */
  private longestAt(key: Uint8Array, length: number): Span | undefined {
    let longest: Span | undefined;
    for (const set of this.sets) {
      const span = set.floor(key, length);
      if (span === undefined || !endsAfter(span, key, length)) continue;
      if (longest === undefined || isLater(span.end, longest.end)) longest = span;
    }
    return longest;
  }

  /** The least start before `key` of a span that reaches up to `key` or beyond it. */
  private earliestUpTo(key: Uint8Array): Uint8Array | undefined {
    let earliest: Uint8Array | undefined;
    for (const set of this.sets) {
      const span = set.floor(key, key.length);
      if (span === undefined) continue;
      const reaches = span.end === undefined || compareBytes(span.end, key) >= 0;
      if (!reaches || compareBytes(span.start, key) >= 0) continue;
      if (earliest === undefined || compareBytes(span.start, earliest) < 0) earliest = span.start;
    }
    return earliest;
  }
}

const NO_BYTES = new Uint8Array(0);

/** Whether end `a` lies after end `b`; undefined is after all. */
function isLater(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (b === undefined) return false;
  return a === undefined || compareBytes(a, b) > 0;
}
