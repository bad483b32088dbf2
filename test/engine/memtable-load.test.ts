import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { createMemtable, type Memtable, NO_VERSION } from "../../src/engine/memtable.ts";
import { MemtableLoad } from "../../src/engine/memtable-load.ts";
import { BEFORE_EXPIRY, EntryKind, NEVER } from "../../src/entry.ts";
import { Random, SHAPES } from "../art/shapes.ts";

const CAPACITY = 2 ** 24;

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
  for (const key of keys) {
    const ref = memtable.find(key, key.length, seqno);
    const found = ref === NO_VERSION ? "none" : memtable.kindOf(ref, BEFORE_EXPIRY);
    content.push(`${found} ${found === EntryKind.put ? memtable.seqnoOf(ref) : 0}`);
  }
  return content;
}

describe("MemtableLoad", () => {
  it.each(Object.keys(SHAPES))(
    "makes of %s the memtable that single writes make",
    async (shape) => {
      const random = new Random(11);
      const keys = SHAPES[shape](200, random);
      const memtable = createMemtable(CAPACITY, 0, 0, 0);
      const loaded = createMemtable(CAPACITY, 0, 0, 0);
      const load = new MemtableLoad(loaded);
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
      await load.finish(() => setImmediate());
      for (const seqno of [1, Math.floor(count / 2), count]) {
        expect(contentAt(loaded, seqno, keys)).toEqual(contentAt(memtable, seqno, keys));
      }
      for (const field of ["entryCount", "tombstoneCount", "keyCount", "lastSeqno"] as const) {
        expect(loaded[field]).toBe(memtable[field]);
      }
      expect(loaded.firstExpiry).toBe(memtable.firstExpiry);
      expect(loaded.lastExpiry).toBe(memtable.lastExpiry);
      const after = bytes(random, 8);
      loaded.add(after, 0, 8, count + 1, EntryKind.put, after, 0, 8, NEVER);
      expect(loaded.find(after, 8, count + 1)).not.toBe(NO_VERSION);
    },
  );

  it("is full when the memtable is, and pauses on the way", async () => {
    const load = new MemtableLoad(createMemtable(2 ** 21, 0, 0, 0));
    const key = new Uint8Array(24);
    const view = new DataView(key.buffer);
    let seqno = 0;
    while (load.canHold(1, 24, 8)) {
      view.setUint32(0, Math.imul(++seqno, 0x9e3779b1));
      load.add(key, 0, 24, seqno, EntryKind.put, key, 0, 8, NEVER);
    }
    expect(load.canHold(1, 24, 8)).toBe(false);
    let pauses = 0;
    await load.finish(() => {
      pauses++;
      return setImmediate();
    });
    expect(pauses).toBeGreaterThan(0);
    expect(load.memtable.keyCount).toBe(seqno);
    // About as much as it may hold: the tree is reckoned at half the bytes of the keys.
    expect(load.memtable.byteLength).toBeGreaterThan(2 ** 21 * 0.9);
    expect(load.memtable.byteLength).toBeLessThan(2 ** 21 * 2);
  });

  it("holds a first batch that is larger than the capacity", async () => {
    const value = new Uint8Array(2 ** 20);
    const load = new MemtableLoad(createMemtable(2 ** 16, 1, 1, value.length));
    expect(load.canHold(1, 1, value.length)).toBe(true);
    load.add(value, 0, 1, 1, EntryKind.put, value, 0, value.length, NEVER);
    expect(load.canHold(1, 1, 1)).toBe(false);
    await load.finish(() => setImmediate());
    expect(load.memtable.find(value, 1, 1)).not.toBe(NO_VERSION);
  });
});
