import { describe, expect, it } from "vitest";
import { BEFORE_EXPIRY, EntryKind, MAX_SEQNO, NEVER } from "../../src/entry.ts";
import { MemtableLoad } from "../../src/memtable/load.ts";
import { createMemtable, type Memtable } from "../../src/memtable/memtable.ts";
import { NO_VERSION } from "../../src/memtable/version-heap.ts";
import { Random, SHAPES } from "../art/shapes.ts";

const CAPACITY = 2 ** 24;
const SEED = 0x12345678;

/** What is found by key at a moment. */
function foundAt(memtable: Memtable, seqno: number, keys: readonly Uint8Array[]): string[] {
  return keys.map((key) => {
    const ref = memtable.find(key, key.length, seqno);
    const found = ref === NO_VERSION ? "none" : memtable.kindOf(ref, BEFORE_EXPIRY);
    return `${found} ${found === EntryKind.put ? memtable.versions.seqnoOf(ref) : 0}`;
  });
}

function bytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256));
}

/** What is read at a moment, by cursor and by key. */
function contentAt(memtable: Memtable, seqno: number, keys: readonly Uint8Array[]): string[] {
  const content: string[] = [];
  const cursor = memtable.cursor(seqno, BEFORE_EXPIRY);
  for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
    const key = Buffer.from(cursor.key.subarray(0, cursor.keyLength)).toString("hex");
    const value = Buffer.from(cursor.value()).toString("hex");
    content.push(`${key} ${cursor.kind} ${value} ${cursor.expiry} ${cursor.entrySeqno}`);
  }
  content.push(...foundAt(memtable, seqno, keys));
  return content;
}

describe("MemtableLoad", () => {
  it.each(Object.keys(SHAPES))("makes of %s the memtable that single writes make", (shape) => {
    const random = new Random(11);
    const keys = SHAPES[shape](200, random);
    const memtable = createMemtable(CAPACITY, 0, 0, 0);
    const loaded = createMemtable(CAPACITY, 0, 0, 0);
    const load = new MemtableLoad(loaded, SEED);
    const count = keys[0].length > 60_000 ? 300 : 2000;
    for (let seqno = 1; seqno <= count; seqno++) {
      const key = keys[random.below(keys.length)];
      if (random.below(100) === 0) {
        for (const target of [memtable, load]) target.deleteRange(key, undefined, seqno, seqno);
        continue;
      }
      const kind = random.below(4) === 0 ? EntryKind.tombstone : EntryKind.put;
      const expiry = kind === EntryKind.put && random.below(4) === 0 ? seqno * 2 ** 31 : NEVER;
      const value = kind === EntryKind.put ? bytes(random, random.below(100)) : new Uint8Array(0);
      for (const target of [memtable, load]) {
        target.add(key, 0, key.length, seqno, kind, value, 0, value.length, expiry);
      }
    }
    const fields = ["keyCount", "lastSeqno"] as const;
    const moments = [1, Math.floor(count / 2), count];
    // By key it answers at any time on the way; what walks the keys has it finished.
    for (let steps = 0; loaded.isPending; steps++) {
      for (const seqno of moments) {
        expect(foundAt(loaded, seqno, keys)).toEqual(foundAt(memtable, seqno, keys));
      }
      for (const field of fields) expect(loaded[field]).toBe(memtable[field]);
      if (steps === 2) loaded.cursor(count, BEFORE_EXPIRY).close();
      else loaded.settleStep();
    }
    for (const seqno of moments) {
      expect(contentAt(loaded, seqno, keys)).toEqual(contentAt(memtable, seqno, keys));
    }
    for (const field of fields) expect(loaded[field]).toBe(memtable[field]);
    expect(loaded.versions.entryCount).toBe(memtable.versions.entryCount);
    expect(loaded.versions.firstExpiry).toBe(memtable.versions.firstExpiry);
    expect(loaded.versions.lastExpiry).toBe(memtable.versions.lastExpiry);
    const after = bytes(random, 8);
    loaded.add(after, 0, 8, count + 1, EntryKind.put, after, 0, 8, NEVER);
    expect(loaded.find(after, 8, count + 1)).not.toBe(NO_VERSION);
  });

  it.each<[string, (memtable: Memtable, key: Uint8Array) => void]>([
    ["a write", (memtable, key) => memtable.add(key, 0, 2, 9, EntryKind.put, key, 0, 1)],
    ["sharing", (memtable) => memtable.share()],
    ["copying", (memtable) => memtable.shareCopy(MAX_SEQNO)],
    ["a cursor", (memtable) => memtable.cursor(8, BEFORE_EXPIRY)],
    [
      "a range",
      (memtable) => memtable.isRangeWrittenSince(0, { lower: undefined, upper: undefined }),
    ],
  ])("has its tree at once for %s", (_, need) => {
    const key = Uint8Array.of(7, 8);
    const memtable = createMemtable(CAPACITY, 0, 0, 0);
    const load = new MemtableLoad(memtable, SEED);
    load.add(key, 0, 1, 8, EntryKind.put, key, 0, 2);
    expect(memtable.isWrittenSince(7, key.subarray(0, 1))).toBe(true);
    expect(memtable.isPending).toBe(true);
    need(memtable, key);
    expect(memtable.isPending).toBe(false);
    expect(memtable.find(key, 1, 8)).not.toBe(NO_VERSION);
    expect(memtable.find(key, 2, 8)).toBe(NO_VERSION);
  });

  it("has its tree in the end although steps of it met a full stack", () => {
    const keys = Array.from({ length: 3000 }, (_, i) => Buffer.from(`key ${(i * 7919) % 3000}`));
    for (let frames = 0; frames < 10; frames++) {
      const memtable = createMemtable(CAPACITY, 0, 0, 0);
      const load = new MemtableLoad(memtable, SEED);
      for (const [i, key] of keys.entries()) {
        load.add(key, 0, key.length, i + 1, EntryKind.put, key, 0, key.length);
      }
      let failures = 0;
      const dive = (): void => {
        try {
          dive();
        } catch {
          // From here on there is more of the stack from frame to frame.
        }
        try {
          memtable.settleStep();
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

  it("finds each of many keys, of which some have the same hash", () => {
    // Of so many, some two dozen pairs have one.
    const count = 450_000;
    const memtable = createMemtable(2 ** 20, count, 8 * count, 0);
    const load = new MemtableLoad(memtable, SEED);
    const key = new Uint8Array(8);
    const view = new DataView(key.buffer);
    let random = new Random(5);
    const makeKey = (i: number): void => {
      view.setUint32(0, random.below(2 ** 31));
      view.setUint32(4, i);
    };
    for (let i = 1; i <= count; i++) {
      makeKey(i);
      load.add(key, 0, 8, i, EntryKind.put, key, 0, 0);
    }
    expect(memtable.keyCount).toBe(count);
    random = new Random(5);
    const others: number[] = [];
    for (let i = 1; i <= count; i++) {
      makeKey(i);
      if (memtable.versions.seqnoOf(memtable.find(key, 8, count)) !== i) others.push(i);
    }
    expect(others).toEqual([]);
  });

  it("is full when the memtable is, and gets there in steps", () => {
    const load = new MemtableLoad(createMemtable(2 ** 21, 0, 0, 0), SEED);
    const key = new Uint8Array(24);
    const view = new DataView(key.buffer);
    let seqno = 0;
    while (load.canHold(1, 24, 8)) {
      view.setUint32(0, Math.imul(++seqno, 0x9e3779b1));
      load.add(key, 0, 24, seqno, EntryKind.put, key, 0, 8, NEVER);
    }
    expect(load.canHold(1, 24, 8)).toBe(false);
    const { memtable } = load;
    expect(memtable.keyCount).toBe(seqno);
    let steps = 0;
    for (; memtable.isPending; steps++) memtable.settleStep();
    expect(steps).toBeGreaterThan(1);
    for (let i = 1; i <= seqno; i++) {
      view.setUint32(0, Math.imul(i, 0x9e3779b1));
      expect(memtable.versions.seqnoOf(memtable.find(key, 24, seqno))).toBe(i);
    }
    expect(memtable.keyCount).toBe(seqno);
    // About as much as it may hold: the tree is reckoned at half the bytes of the keys.
    expect(memtable.byteLength).toBeGreaterThan(2 ** 21 * 0.9);
    expect(memtable.byteLength).toBeLessThan(2 ** 21 * 2);
  });

  it("holds a first batch that is larger than the capacity", () => {
    const value = new Uint8Array(2 ** 20);
    const load = new MemtableLoad(createMemtable(2 ** 16, 1, 1, value.length), SEED);
    expect(load.canHold(1, 1, value.length)).toBe(true);
    load.add(value, 0, 1, 1, EntryKind.put, value, 0, value.length, NEVER);
    expect(load.canHold(1, 1, 1)).toBe(false);
    expect(load.memtable.find(value, 1, 1)).not.toBe(NO_VERSION);
  });
});
