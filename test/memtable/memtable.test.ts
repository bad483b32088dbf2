import { describe, expect, it } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { Cursor } from "../../src/cursor/cursor.ts";
import type { Span } from "../../src/cursor/spans.ts";
import { ValueView } from "../../src/cursor/value-view.ts";
import { WriteSet } from "../../src/engine/write-set.ts";
import { ALWAYS, BEFORE_EXPIRY, EntryKind, MAX_SEQNO, NEVER } from "../../src/entry.ts";
import { InvalidArgumentError } from "../../src/errors.ts";
import { createMemtable, Memtable, type MemtableBuffers } from "../../src/memtable/memtable.ts";
import { MAX_HEAP_BYTES, NO_VERSION } from "../../src/memtable/version-heap.ts";
import { keyHash } from "../../src/segment/filter.ts";
import { Random, SHAPES } from "../art/shapes.ts";
import { isWithin } from "../cursor/span-lists.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const EMPTY = new Uint8Array(0);
const hashOf = (key: Uint8Array): number => keyHash(key, key.length);

interface ModelEntry {
  readonly key: Uint8Array;
  readonly seqno: number;
  readonly kind: EntryKind;
  readonly value: Uint8Array;
}

/** All entries in the order of their writing: the slow and obvious memtable. */
class Model {
  readonly entries: ModelEntry[] = [];
  readonly deleted: (Span & { readonly seqno: number })[] = [];

  /** Newest visible entry of each key that no range tombstone deleted after it, by key. */
  at(seqno: number): ModelEntry[] {
    const newest = new Map<string, ModelEntry>();
    for (const entry of this.entries) {
      if (entry.seqno <= seqno) newest.set(decode(entry.key), entry);
    }
    for (const [name, entry] of newest) {
      if (this.deletedAt(entry.key, seqno) > entry.seqno) newest.delete(name);
    }
    return [...newest.values()].sort((a, b) => compareBytes(a.key, b.key));
  }

  /** Number of the newest range tombstone over a key, or 0. */
  deletedAt(key: Uint8Array, seqno: number): number {
    const over = this.deleted.filter((span) => span.seqno <= seqno && isWithin(span, key));
    return over.at(-1)?.seqno ?? 0;
  }
}

function deleteRange(memtable: Memtable, model: Model, span: Span, seqno: number): void {
  memtable.deleteRange(span.start, span.end, seqno);
  model.deleted.push({ ...span, seqno });
}

function add(memtable: Memtable, model: Model, entry: ModelEntry): void {
  const { key, value } = entry;
  memtable.add(key, 0, key.length, entry.seqno, entry.kind, value, 0, value.length);
  model.entries.push(entry);
}

function describeEntry(key: Uint8Array, kind: EntryKind, value: Uint8Array): string {
  return `${decode(key)} ${kind} ${decode(value)}`;
}

function describeCursor(cursor: Cursor): string {
  return describeEntry(cursor.key.subarray(0, cursor.keyLength), cursor.kind, cursor.value());
}

/** From one of the keys on, mostly to another. */
function randomSpan(random: Random, keys: Uint8Array[]): Span {
  const [a, b] = [keys[random.below(keys.length)], keys[random.below(keys.length)]];
  if (random.below(10) === 0 || compareBytes(a, b) === 0) return { start: a, end: undefined };
  return compareBytes(a, b) < 0 ? { start: a, end: b } : { start: b, end: a };
}

function randomEntry(random: Random, keys: Uint8Array[], seqno: number): ModelEntry {
  const key = keys[random.below(keys.length)];
  return random.below(4) === 0
    ? { key, seqno, kind: EntryKind.tombstone, value: EMPTY }
    : { key, seqno, kind: EntryKind.put, value: encode("v".repeat(random.below(100)) + seqno) };
}

/** The memory of a memtable, with whatever may be left in it. */
function filledBuffers(capacityBytes: number, hasTree: boolean, random: Random): MemtableBuffers {
  const { buffers } = createMemtable(capacityBytes, 0, 0, 0, { hasTree });
  const index = hasTree ? buffers?.arena : buffers?.table;
  if (buffers === undefined || index === undefined) {
    throw new Error("a usual memtable has memory for others");
  }
  for (const buffer of [index, buffers.heap]) {
    const bytes = new Uint8Array(buffer);
    for (let i = 0; i < bytes.length; i++) bytes[i] = random.below(256);
  }
  return buffers;
}

describe("Memtable", () => {
  it("forgets with a closed cursor what was deleted at its moment", () => {
    const memtable = createMemtable(1, 0, 0, 1 << 16);
    const model = new Model();
    deleteRange(memtable, model, { start: encode("a"), end: encode("c") }, 1);
    add(memtable, model, { key: encode("b"), seqno: 2, kind: EntryKind.put, value: EMPTY });
    deleteRange(memtable, model, { start: encode("a"), end: encode("d") }, 3);
    for (const [seqno, isThere] of [
      [2, true],
      [3, false],
      [2, true],
    ] as const) {
      const cursor = memtable.cursor(seqno, BEFORE_EXPIRY);
      cursor.seekToFirst();
      expect(cursor.isValid).toBe(isThere);
      cursor.close();
    }
  });

  it("gives a closed cursor to who asks next, at another moment, and none to two at once", () => {
    const memtable = createMemtable(1, 0, 0, 1 << 16);
    const model = new Model();
    const put = (key: string, seqno: number): void =>
      add(memtable, model, { key: encode(key), seqno, kind: EntryKind.put, value: encode(key) });
    put("a", 1);
    put("b", 2);
    deleteRange(memtable, model, { start: encode("b"), end: undefined }, 3);
    const keysOf = (cursor: Cursor): string[] => {
      const keys: string[] = [];
      for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
        keys.push(decode(cursor.key.subarray(0, cursor.keyLength)));
      }
      return keys;
    };
    const first = memtable.cursor(3, BEFORE_EXPIRY);
    expect(keysOf(first)).toEqual(["a"]);
    first.seekToFirst();
    first.close();
    first.close();
    const second = memtable.cursor(2, BEFORE_EXPIRY);
    expect(second).toBe(first);
    expect(second.isValid).toBe(false);
    const third = memtable.cursor(1, BEFORE_EXPIRY);
    expect(third).not.toBe(second);
    expect(keysOf(second)).toEqual(["a", "b"]);
    expect(keysOf(third)).toEqual(["a"]);
    second.close();
    third.close();
  });

  it("is empty at first", () => {
    const memtable = new Memtable(2 ** 26);
    expect(memtable.find(EMPTY, 0, MAX_SEQNO)).toBe(NO_VERSION);
    expect(memtable.keyCount).toBe(0);
    expect([memtable.firstSeqno, memtable.lastSeqno]).toEqual([0, 0]);
    const cursor = memtable.cursor(MAX_SEQNO, BEFORE_EXPIRY);
    cursor.seekToFirst();
    expect(cursor.isValid).toBe(false);
    cursor.seekToLast();
    expect(cursor.isValid).toBe(false);
  });

  it("shows each reader the newest entry at or below its seqno", () => {
    const memtable = new Memtable(2 ** 26);
    const model = new Model();
    const key = encode("key");
    add(memtable, model, { key, seqno: 10, kind: EntryKind.put, value: encode("a") });
    add(memtable, model, { key, seqno: 20, kind: EntryKind.tombstone, value: EMPTY });
    add(memtable, model, { key, seqno: MAX_SEQNO, kind: EntryKind.put, value: encode("b") });
    const seen = (seqno: number) => {
      const ref = memtable.find(key, key.length, seqno);
      return ref === NO_VERSION
        ? undefined
        : [
            memtable.versions.seqnoOf(ref),
            memtable.kindOf(ref, BEFORE_EXPIRY),
            decode(memtable.valueOf(ref)),
          ];
    };
    expect(seen(9)).toBeUndefined();
    expect(seen(10)).toEqual([10, EntryKind.put, "a"]);
    expect(seen(19)).toEqual([10, EntryKind.put, "a"]);
    expect(seen(20)).toEqual([20, EntryKind.tombstone, ""]);
    expect(seen(MAX_SEQNO - 1)).toEqual([20, EntryKind.tombstone, ""]);
    expect(seen(MAX_SEQNO)).toEqual([MAX_SEQNO, EntryKind.put, "b"]);
    expect(memtable.keyCount).toBe(1);
    expect(memtable.versions.entryCount).toBe(3);
    expect([memtable.firstSeqno, memtable.lastSeqno]).toEqual([10, MAX_SEQNO]);
  });

  it("copies keys and values out of the middle of the caller's buffers", () => {
    const memtable = new Memtable(2 ** 26);
    const buffer = new Uint8Array(new SharedArrayBuffer(32), 3, 20);
    buffer.set(encode("..key..value.."));
    memtable.add(buffer, 2, 5, 1, EntryKind.put, buffer, 7, 12);
    buffer.fill(0);
    const ref = memtable.find(encode("key"), 3, 1);
    expect(decode(memtable.valueOf(ref))).toBe("value");
  });

  it.each([
    ["paths", 0, "table", "new"],
    ["paths", 0, "tree", "new"],
    ["keys that are prefixes of each other", 0, "table", "new"],
    ["binary UUIDs", 0, "tree", "new"],
    ["paths", 15, "table", "new"],
    ["keys that are prefixes of each other", 40, "tree", "new"],
    ["binary UUIDs", 4, "table", "new"],
    ["binary UUIDs", 4, "table, then a tree", "new"],
    ["paths", 15, "table", "spare"],
    ["paths", 15, "tree", "spare"],
    ["keys that are prefixes of each other", 0, "table, then a tree", "spare"],
    ["binary UUIDs", 4, "tree", "spare"],
  ])(
    "agrees at every seqno with a list of all entries: %s, one write in %i a range tombstone, a %s in %s memory",
    (shape, rangeStride, index, memory) => {
      const random = new Random(7);
      const keys = SHAPES[shape](300, random);
      const hasTree = index === "tree";
      const spare = memory === "spare" ? filledBuffers(2 ** 20, hasTree, random) : undefined;
      const memtable = createMemtable(2 ** 20, 0, 0, 0, {
        hasTree,
        takeSpare: () => spare,
      });
      if (spare !== undefined) {
        expect(memtable.buffers?.arena).toBe(spare.arena);
        expect(memtable.buffers?.heap).toBe(spare.heap);
        expect(memtable.buffers?.table).toBe(spare.table);
      }
      const model = new Model();
      for (let seqno = 1; seqno <= 1500; seqno++) {
        if (rangeStride > 0 && seqno % rangeStride === 0) {
          deleteRange(memtable, model, randomSpan(random, keys), seqno);
        } else {
          add(memtable, model, randomEntry(random, keys, seqno));
        }
        // From here on there is a filter, if there is a tree, which is told of what follows.
        if (seqno === 200) memtable.find(keys[0], keys[0].length, seqno, hashOf(keys[0]));
        if (seqno === 700 && index === "table, then a tree") {
          memtable.cursor(seqno, BEFORE_EXPIRY).close();
        }
      }
      expect(memtable.isUnordered).toBe(index === "table");
      const moments = [0, 1, 2, 100, 749, 1499, 1500, MAX_SEQNO];
      const foundIn = (reader: Memtable, seqno: number): number[] =>
        keys.map((key) => reader.find(key, key.length, seqno, hashOf(key)));
      const found = moments.map((seqno) => foundIn(memtable, seqno));
      for (const [i, seqno] of moments.entries()) {
        const copy = Memtable.from(memtable.shareCopy(seqno));
        expect(foundIn(copy, seqno)).toEqual(found[i]);
      }
      expect(memtable.isUnordered).toBe(index === "table");
      for (const seqno of moments) {
        const visible = model.at(seqno);
        const expected = visible.map((entry) => describeEntry(entry.key, entry.kind, entry.value));
        const cursor = memtable.cursor(seqno, BEFORE_EXPIRY);
        const forwards: string[] = [];
        for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
          forwards.push(describeCursor(cursor));
        }
        expect(forwards).toEqual(expected);
        const backwards: string[] = [];
        for (cursor.seekToLast(); cursor.isValid; cursor.prev()) {
          backwards.push(describeCursor(cursor));
        }
        expect(backwards.reverse()).toEqual(expected);
        for (const key of keys) {
          const ref = memtable.find(key, key.length, seqno);
          expect(memtable.find(key, key.length, seqno, hashOf(key))).toBe(ref);
          const found = visible.find((entry) => compareBytes(entry.key, key) === 0);
          if (found === undefined) {
            const isDeleted = model.deletedAt(key, seqno) > 0;
            expect(ref < 0 ? ref : memtable.kindOf(ref, BEFORE_EXPIRY)).toBe(
              isDeleted ? EntryKind.tombstone : NO_VERSION,
            );
          } else {
            expect(memtable.versions.seqnoOf(ref)).toBe(found.seqno);
          }
          const at = visible.findIndex((entry) => compareBytes(entry.key, key) >= 0);
          cursor.seek(key, key.length);
          expect(cursor.isValid ? describeCursor(cursor) : undefined).toBe(
            at < 0 ? undefined : expected[at],
          );
          const before = visible.findLastIndex((entry) => compareBytes(entry.key, key) <= 0);
          cursor.seekForPrev(key, key.length);
          expect(cursor.isValid ? describeCursor(cursor) : undefined).toBe(
            before < 0 ? undefined : expected[before],
          );
        }
      }
      expect(moments.map((seqno) => foundIn(memtable, seqno))).toEqual(found);
    },
  );

  it("with a tree has a filter once it was asked with a hash, unless there are many keys by then", () => {
    const key = (i: number): Uint8Array => encode(`key ${i}`);
    const filled = (count: number): Memtable => {
      const memtable = new Memtable(2 ** 20, 2 ** 20, { hasTree: true });
      for (let i = 0; i < count; i++) {
        memtable.add(key(i), 0, key(i).length, i + 1, EntryKind.put, EMPTY, 0, 0);
      }
      return memtable;
    };
    const bytesOfFilter = (memtable: Memtable): number => {
      const before = memtable.byteLength;
      expect(memtable.find(encode("absent"), 6, MAX_SEQNO)).toBe(NO_VERSION);
      expect(memtable.byteLength).toBe(before);
      expect(memtable.find(encode("absent"), 6, MAX_SEQNO, hashOf(encode("absent")))).toBe(
        NO_VERSION,
      );
      return memtable.byteLength - before;
    };
    expect(bytesOfFilter(filled(0))).toBe(0);
    expect(bytesOfFilter(filled(1))).toBe(2 ** 14);
    const many = filled(2048);
    expect(bytesOfFilter(many)).toBe(2 ** 14);
    expect(bytesOfFilter(filled(2049))).toBe(0);
    for (let i = 0; i < 2048; i++) {
      const ref = many.find(key(i), key(i).length, MAX_SEQNO, hashOf(key(i)));
      expect(many.versions.seqnoOf(ref)).toBe(i + 1);
    }
  });

  it("keeps no filter that was begun on a full stack", () => {
    const keys = Array.from({ length: 300 }, (_, i) => encode(`key ${i}`));
    for (let frames = 0; frames < 10; frames++) {
      const memtable = new Memtable(2 ** 20, 2 ** 20, { hasTree: true });
      for (const [i, key] of keys.entries()) {
        memtable.add(key, 0, key.length, i + 1, EntryKind.put, EMPTY, 0, 0);
      }
      const absent = encode("absent");
      let failures = 0;
      let hasAll = false;
      const dive = (): void => {
        try {
          dive();
        } catch {
          // From here on there is more of the stack from frame to frame.
        }
        if (hasAll) return;
        try {
          memtable.find(absent, absent.length, MAX_SEQNO, hashOf(absent));
          hasAll = true;
        } catch {
          failures++;
        }
      };
      // Each time the stack ends in another place.
      const diveFrom = (left: number): void => (left > 0 ? diveFrom(left - 1) : dive());
      diveFrom(frames);
      expect(failures).toBeGreaterThan(0);
      for (const key of keys) {
        expect(memtable.find(key, key.length, MAX_SEQNO, hashOf(key))).not.toBe(NO_VERSION);
      }
    }
  });

  it("keeps a cursor at its seqno while entries are added between its moves", () => {
    const random = new Random(3);
    const keys = SHAPES["paths"](500, random);
    const memtable = new Memtable(65_536, 2 ** 20);
    const model = new Model();
    let seqno = 0;
    for (; seqno < 400; seqno++) add(memtable, model, randomEntry(random, keys, seqno + 1));
    const expected = model
      .at(seqno)
      .map((entry) => describeEntry(entry.key, entry.kind, entry.value));
    const forwards = memtable.cursor(seqno, BEFORE_EXPIRY);
    const backwards = memtable.cursor(seqno, BEFORE_EXPIRY);
    forwards.seekToFirst();
    backwards.seekToLast();
    for (let i = 0; i < expected.length; i++) {
      expect(describeCursor(forwards)).toBe(expected[i]);
      expect(describeCursor(backwards)).toBe(expected[expected.length - 1 - i]);
      for (let j = 0; j < 5; j++) {
        add(memtable, model, randomEntry(random, keys, memtable.lastSeqno + 1));
      }
      forwards.next();
      backwards.prev();
    }
    expect(forwards.isValid).toBe(false);
    expect(backwards.isValid).toBe(false);
  });

  it("holds what canHold promised, for keys and values of any size", () => {
    const cases = [
      { count: 1, keyLength: 65_536, valueLength: 0 },
      { count: 1, keyLength: 0, valueLength: 2 ** 20 },
      { count: 5000, keyLength: 8, valueLength: 1 },
      { count: 40, keyLength: 40_000, valueLength: 9 },
    ];
    for (const { count, keyLength, valueLength } of cases) {
      const memtable = createMemtable(65_536, count, count * keyLength, count * valueLength);
      expect(memtable.canHold(count, count * keyLength, count * valueLength)).toBe(true);
      const random = new Random(1);
      const value = new Uint8Array(valueLength);
      for (let i = 0; i < count; i++) {
        const key = Uint8Array.from({ length: keyLength }, () => random.below(256));
        memtable.add(key, 0, keyLength, i + 1, EntryKind.put, value, 0, valueLength);
      }
      expect(memtable.versions.entryCount).toBe(count);
    }
  });

  it("says no to what does not fit", () => {
    const memtable = new Memtable(2 ** 20);
    expect(memtable.canHold(1, 10, 10)).toBe(true);
    expect(memtable.canHold(1, 10, 2 ** 20)).toBe(false);
    expect(memtable.canHold(1, 2 ** 20, 10)).toBe(false);
    expect(memtable.canHold(2 ** 20, 0, 0)).toBe(false);
    expect(() => createMemtable(2 ** 20, 1, 10, MAX_HEAP_BYTES)).toThrow(InvalidArgumentError);
    expect(createMemtable(2 ** 20, 5, 50, 3 * 2 ** 30).canHold(5, 50, 3 * 2 ** 30)).toBe(true);
  });

  it("is full at its capacity, also where it was made for a larger batch", () => {
    const memtable = createMemtable(2 ** 20, 1, 10, 2 ** 24);
    memtable.add(encode("k"), 0, 1, 1, EntryKind.put, encode("v"), 0, 1);
    expect(memtable.canHold(1, 10, 2 ** 19)).toBe(true);
    expect(memtable.canHold(1, 10, 2 ** 21)).toBe(false);
    let seqno = 1;
    while (memtable.canHold(1, 8, 100)) {
      const key = encode(`key ${seqno}`);
      memtable.add(key, 0, key.length, ++seqno, EntryKind.put, new Uint8Array(100), 0, 100);
    }
    expect(memtable.byteLength).toBeLessThanOrEqual(2 ** 20);
    expect(memtable.byteLength).toBeGreaterThan(2 ** 20 - 66_000);
  });

  it("takes a large group beyond its capacity while it is less than three quarters full", () => {
    const memtable = createMemtable(2 ** 20, 0, 0, 0);
    const add = (seqno: number, length: number): void => {
      const key = encode(`key ${seqno}`);
      memtable.add(key, 0, key.length, seqno, EntryKind.put, new Uint8Array(length), 0, length);
    };
    add(1, 600_000);
    expect(memtable.canHold(1, 5, 600_000)).toBe(true);
    expect(memtable.canHold(1, 5, 2 ** 20)).toBe(false);
    add(2, 100_000);
    add(3, 100_000);
    expect(memtable.byteLength).toBeGreaterThan(0.75 * 2 ** 20);
    expect(memtable.canHold(1, 5, 100_000)).toBe(true);
    expect(memtable.canHold(1, 5, 600_000)).toBe(false);
  });

  it("counts its bytes: they grow by about what was added", () => {
    const memtable = new Memtable(2 ** 26);
    const before = memtable.byteLength;
    const value = new Uint8Array(100_000);
    memtable.add(encode("k"), 0, 1, 1, EntryKind.put, value, 0, value.length);
    const grown = memtable.byteLength - before;
    expect(grown).toBeGreaterThanOrEqual(value.length);
    expect(grown).toBeLessThan(value.length + 70_000);
  });
});

const lengthOf = (value: Uint8Array | ValueView): number =>
  value instanceof ValueView ? value.end - value.start : value.length;

it("has a tombstone, without value and expiry, where an entry has expired", () => {
  const memtable = new Memtable(65_536);
  const value = encode("value");
  for (const [i, expiry] of [10, 20, NEVER].entries()) {
    memtable.add(Uint8Array.of(i), 0, 1, i + 1, EntryKind.put, value, 0, 5, expiry);
  }
  const seenAt = (time: number): unknown[] => {
    const cursor = memtable.cursor(MAX_SEQNO, time);
    const seen: unknown[] = [];
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      const view = new ValueView();
      cursor.viewValue(view);
      const stored = new ValueView();
      expect(cursor.viewStored(stored)).toBeUndefined();
      const lengths = [cursor.value(), view, stored].map(lengthOf);
      seen.push([cursor.kind, cursor.expiry, ...lengths]);
    }
    return seen;
  };
  const puts = [10, 20, NEVER].map((expiry) => [EntryKind.put, expiry, 5, 5, 5]);
  const tombstone = [EntryKind.tombstone, NEVER, 0, 0, 0];
  expect(seenAt(9.5)).toEqual(puts);
  expect(seenAt(10)).toEqual([tombstone, ...puts.slice(1)]);
  expect(seenAt(25)).toEqual([tombstone, tombstone, puts[2]]);
});

describe("the period around a moment", () => {
  const put = (source: Memtable | WriteSet, i: number, expiry: number): void => {
    const key = encode(`key ${i % 7}`);
    const value = encode("x".repeat(i % 11));
    if (source instanceof WriteSet) source.put(key, key.length, value, expiry);
    else source.add(key, 0, key.length, i + 1, EntryKind.put, value, 0, value.length, expiry);
  };

  it.each([
    ["a memtable", () => createMemtable(2 ** 17, 0, 0, 0)],
    ["a transaction's writes", () => new WriteSet()],
  ])("goes from one expiry of %s to the next", (_, create) => {
    const source = create();
    const { from, until } = ALWAYS;
    // What never expires may end the period: no moment is that late.
    const end = expect.toSatisfy((moment: number) => moment === NEVER || moment === until);
    expect(source.expiryPeriodAt(5)).toEqual({ from, until: end });
    const expiries = [40, NEVER, 10, 2 ** 40, 30, NEVER, 30, 20, 2 ** 40 + 1, 50];
    for (const [i, expiry] of expiries.entries()) put(source, i, expiry);
    for (const [moments, period] of [
      [[0, 9, 9.5], { from, until: 10 }],
      [[10, 10.5, 19], { from: 10, until: 20 }],
      [[30, 39.5], { from: 30, until: 40 }],
      [[50, 2 ** 40 - 1], { from: 50, until: 2 ** 40 }],
      [[2 ** 40], { from: 2 ** 40, until: 2 ** 40 + 1 }],
      [[2 ** 40 + 1, 2 ** 50], { from: 2 ** 40 + 1, until: end }],
    ] as const) {
      for (const moment of moments) expect(source.expiryPeriodAt(moment)).toEqual(period);
    }
  });
});

it("a copy that is shared keeps what there was, however the memtable goes on", () => {
  const memtable = createMemtable(2 ** 22, 0, 0, 0);
  const random = new Random(5);
  let seqno = 0;
  const write = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const key = encode(`key ${random.below(3000)} of some`);
      const value = encode(`value ${seqno}`);
      memtable.add(key, 0, key.length, ++seqno, EntryKind.put, value, 0, value.length);
    }
  };
  const contentOf = (table: Memtable): string[] => {
    const cursor = table.cursor(MAX_SEQNO, BEFORE_EXPIRY);
    const content: string[] = [];
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      content.push(
        describeEntry(cursor.key.slice(0, cursor.keyLength), cursor.kind, cursor.value()),
      );
    }
    return content;
  };
  write(2000);
  const before = contentOf(memtable);
  const copy = Memtable.from(structuredClone(memtable.shareCopy(MAX_SEQNO)));
  expect(contentOf(copy)).toEqual(before);
  expect(copy.keyCount).toBe(before.length);
  write(5000);
  memtable.deleteRange(encode("a"), encode("z"), ++seqno);
  expect(contentOf(memtable)).toEqual([]);
  expect(contentOf(copy)).toEqual(before);
  expect(contentOf(Memtable.from(createMemtable(2 ** 20, 0, 0, 0).shareCopy(MAX_SEQNO)))).toEqual(
    [],
  );
});
