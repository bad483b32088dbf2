import { describe, expect, it } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { Cursor } from "../../src/cursor/cursor.ts";
import { BEFORE_EXPIRY, EntryKind, MAX_SEQNO, NEVER } from "../../src/entry.ts";
import { createMemtable, Memtable } from "../../src/memtable/memtable.ts";
import { NO_VERSION } from "../../src/memtable/version-heap.ts";
import { Random, SHAPES } from "../art/shapes.ts";

const CAPACITY = 2 ** 24;

function bytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256));
}

/** What is found by key at a moment. */
function foundAt(memtable: Memtable, seqno: number, keys: readonly Uint8Array[]): string[] {
  return keys.map((key) => {
    const ref = memtable.find(key, key.length, seqno);
    const found = ref === NO_VERSION ? "none" : memtable.kindOf(ref, BEFORE_EXPIRY);
    return `${found} ${found === EntryKind.put ? memtable.versions.seqnoOf(ref) : 0}`;
  });
}

function describeEntry(cursor: Cursor): string {
  const key = Buffer.from(cursor.key.subarray(0, cursor.keyLength)).toString("hex");
  return `${key} ${cursor.kind} ${Buffer.from(cursor.value()).toString("hex")} ${cursor.expiry}`;
}

function forwards(cursor: Cursor): string[] {
  const content: string[] = [];
  for (cursor.seekToFirst(); cursor.isValid; cursor.next()) content.push(describeEntry(cursor));
  return content;
}

function backwards(cursor: Cursor): string[] {
  const content: string[] = [];
  for (cursor.seekToLast(); cursor.isValid; cursor.prev()) content.push(describeEntry(cursor));
  return content;
}

/** What is read at a moment, by cursor and by key. */
function contentAt(memtable: Memtable, seqno: number, keys: readonly Uint8Array[]): string[] {
  const cursor = memtable.cursor(seqno, BEFORE_EXPIRY);
  return [...forwards(cursor), ...foundAt(memtable, seqno, keys)];
}

/** As a flush goes through it, here or in another thread. */
function flushCursor(memtable: Memtable): Cursor {
  const order = memtable.order();
  if (order === undefined) throw new Error("the memtable has a table");
  while (order.step());
  return memtable.orderedCursor(order, BEFORE_EXPIRY);
}

/** Random writes to two memtables, of which the first has a tree and the second a table. */
function writtenTo(
  random: Random,
  keys: readonly Uint8Array[],
  count: number,
  rangeStride: number,
): [Memtable, Memtable] {
  const tree = createMemtable(CAPACITY, 0, 0, 0, { hasTree: true });
  const table = createMemtable(CAPACITY, 0, 0, 0);
  for (let seqno = 1; seqno <= count; seqno++) {
    const key = keys[random.below(keys.length)];
    if (random.below(rangeStride) === 0) {
      const other = keys[random.below(keys.length)];
      const [start, later] = compareBytes(key, other) < 0 ? [key, other] : [other, key];
      const end = start === later || random.below(4) === 0 ? undefined : later;
      for (const target of [tree, table]) target.deleteRange(start, end, seqno, seqno);
      continue;
    }
    const kind = random.below(4) === 0 ? EntryKind.tombstone : EntryKind.put;
    const expiry = kind === EntryKind.put && random.below(4) === 0 ? seqno * 2 ** 31 : NEVER;
    const value = kind === EntryKind.put ? bytes(random, random.below(100)) : new Uint8Array(0);
    for (const target of [tree, table]) {
      target.add(key, 0, key.length, seqno, kind, value, 0, value.length, expiry);
    }
  }
  return [tree, table];
}

function filled(keys: readonly Uint8Array[]): Memtable {
  const memtable = createMemtable(CAPACITY, 0, 0, 0);
  for (const [i, key] of keys.entries()) {
    memtable.add(key, 0, key.length, i + 1, EntryKind.put, key, 0, Math.min(key.length, 100));
  }
  return memtable;
}

describe("a memtable whose keys are in a table", () => {
  it.each(Object.keys(SHAPES))("becomes what it is with a tree, with keys like %s", (shape) => {
    const random = new Random(11);
    const keys = SHAPES[shape](200, random);
    const count = keys[0].length > 60_000 ? 300 : 2000;
    const [tree, table] = writtenTo(random, keys, count, 100);
    const fields = ["keyCount", "firstSeqno", "lastSeqno"] as const;
    const moments = [1, Math.floor(count / 2), count];
    // By key it answers at any time on the way; what walks the keys has them in order first.
    for (let steps = 0; table.isUnordered; steps++) {
      for (const seqno of moments) {
        expect(foundAt(table, seqno, keys)).toEqual(foundAt(tree, seqno, keys));
      }
      for (const field of fields) expect(table[field]).toBe(tree[field]);
      if (steps === 2) table.cursor(count, BEFORE_EXPIRY).close();
      else table.orderStep();
    }
    for (const seqno of moments) {
      expect(contentAt(table, seqno, keys)).toEqual(contentAt(tree, seqno, keys));
    }
    for (const field of fields) expect(table[field]).toBe(tree[field]);
    expect(table.versions.entryCount).toBe(tree.versions.entryCount);
    expect(table.versions.firstExpiry).toBe(tree.versions.firstExpiry);
    expect(table.versions.lastExpiry).toBe(tree.versions.lastExpiry);
    const after = bytes(random, 8);
    table.add(after, 0, 8, count + 1, EntryKind.put, after, 0, 8, NEVER);
    expect(table.find(after, 8, count + 1)).not.toBe(NO_VERSION);
  });

  it.each(Object.keys(SHAPES))("is flushed in order, with keys like %s", (shape) => {
    for (const rangeStride of [20, 1e9]) {
      const random = new Random(12);
      const keys = SHAPES[shape](200, random);
      const count = keys[0].length > 60_000 ? 300 : 2000;
      const [tree, table] = writtenTo(random, keys, count, rangeStride);
      const expected = tree.cursor(MAX_SEQNO, BEFORE_EXPIRY);
      for (const memtable of [table, Memtable.from(structuredClone(table.share()))]) {
        expect([memtable.keyCount, memtable.isEmpty]).toEqual([tree.keyCount, false]);
        const cursor = flushCursor(memtable);
        expect(forwards(cursor)).toEqual(forwards(expected));
        expect(backwards(cursor)).toEqual(backwards(expected));
        for (const key of [...keys, ...SHAPES[shape](20, random)]) {
          for (const isBefore of [false, true]) {
            for (const each of [expected, cursor]) {
              if (isBefore) each.seekForPrev(key, key.length);
              else each.seek(key, key.length);
            }
            expect(cursor.isValid).toBe(expected.isValid);
            if (cursor.isValid) expect(describeEntry(cursor)).toBe(describeEntry(expected));
          }
        }
        cursor.close?.();
        expect(memtable.isUnordered).toBe(true);
      }
    }
  });

  it("is flushed in order where its keys came in order, were written twice, or came in none", () => {
    const name = (i: number): Uint8Array => Buffer.from(`key ${String(i).padStart(6, "0")}`);
    const ascending = Array.from({ length: 3000 }, (_, i) => name(i));
    for (const [keys, isSorted] of [
      [[], true],
      [[name(1)], true],
      [ascending, true],
      [[...ascending, name(2999)], false],
      [[...ascending, name(0)], false],
      [[...ascending, name(3001), name(3000)], false],
      [ascending.toReversed(), false],
    ] as const) {
      const memtable = filled(keys);
      expect(memtable.order()?.step()).toBe(false);
      const cursor = flushCursor(memtable);
      const distinct = [...new Set(keys.map(String))].sort((a, b) => (a < b ? -1 : 1));
      const found: string[] = [];
      for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
        found.push(Buffer.from(cursor.key.subarray(0, cursor.keyLength)).toString());
      }
      expect(found).toEqual(distinct);
      expect(memtable.share().table?.isAscending).toBe(isSorted);
    }
  });

  it.each<[string, (memtable: Memtable, key: Uint8Array) => void, boolean]>([
    ["a write", (memtable, key) => memtable.add(key, 0, 2, 9, EntryKind.put, key, 0, 1), true],
    ["a range tombstone", (memtable, key) => memtable.deleteRange(key, undefined, 9), true],
    ["sharing", (memtable) => memtable.share(), true],
    ["copying", (memtable) => memtable.shareCopy(MAX_SEQNO), true],
    ["a flush", (memtable) => flushCursor(memtable), true],
    ["a cursor", (memtable) => memtable.cursor(8, BEFORE_EXPIRY), false],
    [
      "a range",
      (memtable) => memtable.isRangeWrittenSince(0, { lower: undefined, upper: undefined }),
      false,
    ],
  ])("has a tree after %s only where that needs the order", (_, act, isUnordered) => {
    const key = Uint8Array.of(7, 8);
    const memtable = createMemtable(CAPACITY, 0, 0, 0);
    memtable.add(key, 0, 1, 8, EntryKind.put, key, 0, 2);
    expect(memtable.isWrittenSince(7, key.subarray(0, 1))).toBe(true);
    expect([memtable.isUnordered, memtable.isWalked]).toEqual([true, false]);
    act(memtable, key);
    expect([memtable.isUnordered, memtable.isWalked]).toEqual([isUnordered, !isUnordered]);
    expect(memtable.find(key, 1, 8)).not.toBe(NO_VERSION);
    expect(memtable.find(key, 2, 8)).toBe(NO_VERSION);
  });

  it.each([
    ["in order", (i: number) => i],
    ["in no order", (i: number) => (i * 7919) % 40_000],
  ])("is written to while keys that came %s are put in order", (_, rank) => {
    const keys = Array.from({ length: 40_000 }, (_, i) =>
      Buffer.from(`key ${String(rank(i)).padStart(5, "0")}`),
    );
    const memtable = filled(keys);
    const newest = new Map(keys.map((key, i) => [String(key), i + 1]));
    const random = new Random(3);
    let seqno = keys.length;
    const write = (key: Buffer): void => {
      const kind = random.below(3) === 0 ? EntryKind.tombstone : EntryKind.put;
      memtable.add(key, 0, key.length, ++seqno, kind, key, 0, 0);
      newest.set(String(key), seqno);
    };
    const check = (): void => {
      for (const [key, newestSeqno] of newest) {
        const ref = memtable.find(Buffer.from(key), key.length, seqno);
        if (ref < 0 || memtable.versions.seqnoOf(ref) !== newestSeqno) expect.fail(key);
      }
    };
    let steps = 0;
    for (; memtable.isUnordered; steps++) {
      memtable.orderStep();
      if (steps > 5) continue;
      // More than are inserted in a step.
      for (let i = 0; i < 2000; i++) {
        write(keys[random.below(keys.length)]);
        write(Buffer.from(`new ${random.below(5000)}`));
        write(Buffer.from(`new ${random.below(5000)}`));
      }
      expect(memtable.keyCount).toBe(newest.size);
      check();
    }
    expect(steps).toBeGreaterThan(7);
    check();
    const cursor = memtable.cursor(seqno, BEFORE_EXPIRY);
    const found: [string, number][] = [];
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      const key = Buffer.from(cursor.key.subarray(0, cursor.keyLength)).toString();
      found.push([key, cursor.entrySeqno]);
    }
    expect(found).toEqual([...newest].sort(([a], [b]) => (a < b ? -1 : 1)));
    expect(memtable.isRangeWrittenSince(seqno - 1, { lower: undefined, upper: undefined })).toBe(
      true,
    );
  });

  it("has its tree in the end although steps of it met a full stack", () => {
    const keys = Array.from({ length: 3000 }, (_, i) => Buffer.from(`key ${(i * 7919) % 3000}`));
    for (let frames = 0; frames < 10; frames++) {
      const memtable = filled(keys);
      let failures = 0;
      const dive = (): void => {
        try {
          dive();
        } catch {
          // From here on there is more of the stack from frame to frame.
        }
        try {
          memtable.orderStep();
        } catch {
          failures++;
        }
      };
      // Each time the stack ends in another place.
      const diveFrom = (left: number): void => (left > 0 ? diveFrom(left - 1) : dive());
      diveFrom(frames);
      expect(failures).toBeGreaterThan(0);
      const found: string[] = [];
      const cursor = memtable.cursor(keys.length, BEFORE_EXPIRY);
      for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
        found.push(Buffer.from(cursor.key.subarray(0, cursor.keyLength)).toString());
      }
      expect(found).toEqual(keys.toSorted(Buffer.compare).map(String));
    }
  });

  it.each([false, true])(
    "is put in order, begun before: %s, although a writer met a full stack",
    (isBegun) => {
      const keys = Array.from({ length: 20_000 }, (_, i) =>
        Buffer.from(`key ${(i * 7919) % 20_000}`),
      );
      for (let frames = 0; frames < 10; frames++) {
        const memtable = filled(keys);
        if (isBegun) memtable.orderStep();
        expect(memtable.isUnordered).toBe(true);
        let seqno = keys.length;
        let failures = 0;
        const dive = (): void => {
          try {
            dive();
          } catch {
            // From here on there is more of the stack from frame to frame.
          }
          if (seqno > keys.length + 100) return;
          const key = seqno % 2 === 0 ? keys[frames] : Buffer.from(`new ${seqno}`);
          try {
            memtable.add(key, 0, key.length, ++seqno, EntryKind.put, key, 0, key.length);
          } catch {
            failures++;
          }
        };
        const diveFrom = (left: number): void => (left > 0 ? diveFrom(left - 1) : dive());
        diveFrom(frames);
        expect(failures).toBeGreaterThan(0);
        const sealed = Memtable.from(memtable.share());
        for (const cursor of [
          memtable.cursor(keys.length, BEFORE_EXPIRY),
          sealed.cursor(keys.length, BEFORE_EXPIRY),
        ]) {
          const found: string[] = [];
          for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
            found.push(Buffer.from(cursor.key.subarray(0, cursor.keyLength)).toString());
          }
          expect(found).toEqual(keys.toSorted(Buffer.compare).map(String));
        }
      }
    },
  );

  it("is put in order in several steps where it has many keys", () => {
    const keys = Array.from({ length: 50_000 }, (_, i) =>
      Buffer.from(`key ${(i * 7919) % 50_000}`),
    );
    const memtable = filled(keys);
    let steps = 0;
    for (; memtable.isUnordered; steps++) memtable.orderStep();
    expect(steps).toBeGreaterThan(2);
    const alike = keys.map((key, i) => Buffer.concat([Buffer.alloc(8, i % 10), key]));
    const order = filled(alike).order();
    expect(order?.step()).toBe(true);
  });
});
