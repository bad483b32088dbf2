import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { eachSpan, type Span, unionOf } from "../../src/cursor/spans.ts";
import { MAX_SEQNO } from "../../src/entry.ts";
import { RangeTombstones } from "../../src/memtable/range-tombstones.ts";
import { ALL_KEYS, anySpans, isWithin } from "../cursor/span-lists.ts";

/** Tombstones with sequence numbers 10, 20 and so on, and entries noted between them. */
interface History {
  readonly spans: readonly Span[];
  /** After each tombstone, the keys that entries are added for. */
  readonly entries: readonly (readonly number[])[];
}

const anyHistory: fc.Arbitrary<History> = fc.record({
  spans: fc.array(anySpans, { maxLength: 8 }).map((lists) => lists.flat()),
  entries: fc.array(fc.array(fc.nat(ALL_KEYS.length - 1), { maxLength: 3 }), { maxLength: 40 }),
});

function build({ spans, entries }: History): RangeTombstones {
  const tombstones = new RangeTombstones();
  for (const [i, { start, end }] of spans.entries()) {
    tombstones.add(start, end, 10 * (i + 1));
    for (const at of entries.at(i) ?? []) {
      const key = ALL_KEYS[at];
      tombstones.noteEntry(Uint8Array.of(7, ...key, 7), 1, key.length + 1);
    }
  }
  return tombstones;
}

describe("RangeTombstones", () => {
  test("show each reader the newest at or below its number", () => {
    fc.assert(
      fc.property(anyHistory, (history) => {
        const { spans } = history;
        const tombstones = build(history);
        expect(tombstones.isEmpty).toBe(spans.length === 0);
        expect(tombstones.count).toBe(spans.length);
        for (let count = 0; count <= spans.length; count++) {
          const seen = spans.slice(0, count);
          const view = tombstones.at(10 * count + 9);
          expect(view === undefined).toBe(count === 0);
          if (view === undefined) continue;
          expect([...eachSpan(view)].map(boundsOf)).toEqual(unionOf(seen).map(boundsOf));
          for (const key of ALL_KEYS) {
            const newest = seen.findLastIndex((span) => isWithin(span, key)) + 1;
            expect(view.seqnoOver(key, key.length)).toBe(10 * newest);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  test("of one record leave one view, which shows what as many records show", () => {
    fc.assert(
      fc.property(anyHistory, fc.integer({ min: 1, max: 4 }), (history, recordLength) => {
        const each = build(history);
        const tombstones = new RangeTombstones();
        for (const [i, { start, end }] of history.spans.entries()) {
          const first = i - (i % recordLength);
          tombstones.add(start, end, 10 * (i + 1), 10 * (first + 1));
          for (const at of history.entries.at(i) ?? []) {
            const key = ALL_KEYS[at];
            tombstones.noteEntry(key, 0, key.length);
          }
        }
        const count = history.spans.length;
        for (let records = 0; records * recordLength <= count + recordLength - 1; records++) {
          const last = Math.min(records * recordLength, count);
          const view = tombstones.at(10 * last);
          const expected = each.at(10 * last);
          expect(view === undefined).toBe(expected === undefined);
          if (view === undefined || expected === undefined) continue;
          expect([...eachSpan(view)].map(boundsOf)).toEqual([...eachSpan(expected)].map(boundsOf));
          for (const key of ALL_KEYS) {
            expect(view.seqnoOver(key, key.length)).toBe(expected.seqnoOver(key, key.length));
          }
        }
        // What lies between the first of the newest record and its last was not kept.
        if (count > 1 && recordLength >= count)
          expect(tombstones.at(10 * count - 1)).toBe(undefined);
      }),
      { numRuns: 60 },
    );
  });

  test("of one large record take memory as the spans do, not as many views", () => {
    const COUNT = 2000;
    const tombstones = new RangeTombstones();
    for (let i = 0; i < COUNT; i++) {
      const key = Uint8Array.of((i * 7) >> 8, (i * 7) & 0xff);
      tombstones.add(key, Uint8Array.of(...key, 0), i + 1, 1);
    }
    expect(tombstones.byteLength).toBeLessThan(COUNT * 1000);
  });

  test("have pieces, and gaps between them, in which the newest is the same", () => {
    fc.assert(
      fc.property(anyHistory, (history) => {
        const view = build(history).at(Number.MAX_SAFE_INTEGER);
        for (const key of view === undefined ? [] : ALL_KEYS) {
          const piece = view?.pieceAt(key, key.length);
          const inside = ALL_KEYS.filter((other) =>
            isWithin({ start: piece?.start ?? new Uint8Array(0), end: piece?.end }, other),
          );
          expect(inside).toContain(key);
          for (const other of inside) {
            expect(view?.seqnoOver(other, other.length)).toBe(piece?.seqno);
          }
        }
      }),
      { numRuns: 10 },
    );
  });

  test("know a span as hidden only where no entry is newer than they", () => {
    fc.assert(
      fc.property(anyHistory, (history) => {
        const { spans, entries } = history;
        const view = build(history).at(Number.MAX_SAFE_INTEGER);
        // The keys whose newest entry came after the newest tombstone over them.
        const visible = new Set(
          spans.flatMap((_, i) =>
            (entries.at(i) ?? []).filter(
              (at) => !spans.slice(i + 1).some((span) => isWithin(span, ALL_KEYS[at])),
            ),
          ),
        );
        for (const key of view === undefined ? [] : ALL_KEYS) {
          const hidden = view?.hiddenAround(key, key.length);
          const isDeleted = spans.some((span) => isWithin(span, key));
          if (hidden === undefined) continue;
          expect(isDeleted).toBe(true);
          expect(isWithin(hidden, key)).toBe(true);
          for (const at of visible) expect(isWithin(hidden, ALL_KEYS[at])).toBe(false);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("are one hidden span while a queue is deleted from its head, entries being added behind", () => {
    const tombstones = new RangeTombstones();
    const keyOf = (i: number): Uint8Array => Uint8Array.of(i >> 8, i);
    for (let i = 0; i < 1000; i++) {
      tombstones.noteEntry(keyOf(i + 5), 0, 2);
      tombstones.add(keyOf(i), keyOf(i + 1), i + 1);
    }
    const view = tombstones.at(1000);
    expect(view?.hiddenAround(keyOf(500), 2)).toMatchObject({ start: keyOf(0), end: keyOf(1000) });
  });

  test("are the same in another thread", () => {
    const history = fc.sample(anyHistory, { numRuns: 1, seed: 5 })[0];
    const tombstones = build(history);
    const shared = new RangeTombstones(structuredClone(tombstones.share(MAX_SEQNO)));
    const view = tombstones.at(1e6);
    const sharedView = shared.at(1e6);
    for (const key of ALL_KEYS) {
      expect(sharedView?.pieceAt(key, key.length)).toEqual(view?.pieceAt(key, key.length));
      const hidden = view?.hiddenAround(key, key.length);
      expect(sharedView?.hiddenAround(key, key.length)).toEqual(hidden);
    }
    expect(
      new RangeTombstones(structuredClone(new RangeTombstones().share(MAX_SEQNO))).isEmpty,
    ).toBe(true);
  });

  test("stay shallow whatever their order", () => {
    const orders: ((i: number) => [number, number])[] = [
      (i) => [i, i + 1],
      (i) => [10_000 - i, 10_001 - i],
      (i) => [i, 20_000 - i],
      (i) => [2 * i, 2 * i + 1],
    ];
    for (const order of orders) {
      const tombstones = new RangeTombstones();
      tombstones.add(new Uint8Array(0), undefined, 1);
      for (let i = 0; i < 10_000; i++) {
        const [start, end] = order(i).map((at) => Uint8Array.of(at >> 8, at));
        tombstones.add(start, end, i + 2);
      }
      expect(depthOf(tombstones.share(MAX_SEQNO).pieces)).toBeLessThan(50);
    }
  });
});

interface Tree {
  readonly left: Tree | undefined;
  readonly right: Tree | undefined;
}

function depthOf(tree: Tree | undefined): number {
  return tree === undefined ? 0 : 1 + Math.max(depthOf(tree.left), depthOf(tree.right));
}

function boundsOf({ start, end }: Span): Span {
  return { start, end };
}
