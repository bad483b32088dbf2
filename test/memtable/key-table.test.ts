import { describe, expect, it } from "vitest";
import { EntryKind, NEVER } from "../../src/entry.ts";
import { KeyTable } from "../../src/memtable/key-table.ts";
import { createMemtable } from "../../src/memtable/memtable.ts";
import { NO_VERSION, VersionHeap } from "../../src/memtable/version-heap.ts";
import { Random } from "../art/shapes.ts";

const SEED = 0x12345678;

describe("KeyTable", () => {
  it("finds each of many keys, of which some have the same hash, as it grows", () => {
    // Of so many, some two dozen pairs have one.
    const count = 450_000;
    const heap = VersionHeap.create(64 * count);
    const table = KeyTable.create(heap, SEED);
    const key = new Uint8Array(8);
    const view = new DataView(key.buffer);
    let random = new Random(5);
    const makeKey = (i: number): void => {
      view.setUint32(0, random.below(2 ** 31));
      view.setUint32(4, i);
    };
    const refs: number[] = [];
    for (let i = 0; i < count; i++) {
      makeKey(i);
      refs.push(heap.appendWithKey(key, 0, 8, i + 1, EntryKind.put, key, 0, 0, NEVER));
      table.add(key, 0, 8, refs[i]);
    }
    expect(table.count).toBe(count);
    // At most three of four slots of eight bytes are taken, and at least three of eight.
    expect(table.byteLength).toBeGreaterThanOrEqual((count * 8 * 4) / 3);
    expect(table.byteLength).toBeLessThanOrEqual((count * 8 * 8) / 3);
    random = new Random(5);
    let others = 0;
    for (let i = 0; i < count; i++) {
      makeKey(i);
      if (table.find(key, 0, 8) !== refs[i]) others++;
      view.setUint32(4, count + i);
      if (table.find(key, 0, 8) !== NO_VERSION) others++;
    }
    expect(others).toBe(0);
  });

  it("leads to the newest entry of a key, and from there to those before", () => {
    const heap = VersionHeap.create(2 ** 16);
    const table = KeyTable.create(heap, SEED);
    const text = Buffer.from("..key..value..");
    const put = (keyStart: number, keyEnd: number, seqno: number): number => {
      const ref = heap.appendWithKey(
        text,
        keyStart,
        keyEnd,
        seqno,
        EntryKind.put,
        text,
        7,
        12,
        seqno,
      );
      table.add(text, keyStart, keyEnd, ref);
      return ref;
    };
    const first = put(2, 5, 1);
    const other = put(2, 4, 2);
    const second = put(2, 5, 3);
    const third = put(2, 5, 4);
    expect(table.count).toBe(2);
    expect(table.find(text, 2, 5)).toBe(third);
    expect(table.find(text, 2, 4)).toBe(other);
    expect(table.find(text, 2, 2)).toBe(NO_VERSION);
    expect([4, 3, 2, 1, 0].map((seqno) => heap.visible(third, seqno))).toEqual([
      third,
      second,
      first,
      first,
      NO_VERSION,
    ]);
    expect(Array.from(heap.heads(2))).toEqual([other, third]);
    for (const ref of [first, second, third]) {
      const { keyBytes } = heap;
      expect(Buffer.from(keyBytes.slice(heap.keyStart(ref), heap.keyEnd(ref))).toString()).toBe(
        "key",
      );
      expect(Buffer.from(heap.valueOf(ref)).toString()).toBe("value");
    }
  });

  it("has a key in a place that its seed decides", () => {
    const heap = VersionHeap.create(2 ** 16);
    const key = Buffer.from("key");
    const ref = heap.appendWithKey(key, 0, 3, 1, EntryKind.tombstone, key, 0, 0, NEVER);
    const places = [SEED, SEED + 1, SEED ^ (2 ** 31)].map((seed) => {
      const table = KeyTable.create(heap, seed);
      table.add(key, 0, 3, ref);
      return new Uint32Array(table.buffer).indexOf(ref);
    });
    expect(new Set(places).size).toBe(places.length);
  });

  it("takes the memory of another, whatever was in it", () => {
    const heap = VersionHeap.create(2 ** 16);
    const before = KeyTable.create(heap, SEED);
    const { buffer } = before;
    new Uint8Array(buffer).fill(7);
    const table = KeyTable.create(heap, SEED, buffer);
    expect(table.buffer).toBe(buffer);
    const key = Buffer.from("key");
    expect(table.find(key, 0, 3)).toBe(NO_VERSION);
    const ref = heap.appendWithKey(key, 0, 3, 1, EntryKind.tombstone, key, 0, 0, NEVER);
    table.add(key, 0, 3, ref);
    expect(table.find(key, 0, 3)).toBe(ref);
  });

  it("grows within what its memtable may hold", () => {
    const capacity = 2 ** 18;
    const key = new Uint8Array(8);
    const view = new DataView(key.buffer);
    const value = new Uint8Array(200);
    for (let valueBytes = 0; valueBytes <= value.length; valueBytes++) {
      const memtable = createMemtable(capacity, 0, 0, 0);
      let seqno = 0;
      while (memtable.canHold(1, 8, valueBytes)) {
        view.setUint32(0, ++seqno);
        memtable.add(key, 0, 8, seqno, EntryKind.put, value, 0, valueBytes);
      }
      expect(memtable.byteLength).toBeLessThanOrEqual(capacity);
      expect(memtable.byteLength).toBeGreaterThan(0.7 * capacity);
    }
  });

  it("counts for what its memtable holds, and no more in the memory of a large one", () => {
    const capacity = 2 ** 20;
    const memtable = createMemtable(capacity, 0, 0, 0);
    const key = new Uint8Array(8);
    const view = new DataView(key.buffer);
    let seqno = 0;
    while (memtable.canHold(1, 8, 0)) {
      view.setUint32(0, ++seqno);
      memtable.add(key, 0, 8, seqno, EntryKind.tombstone, key, 0, 0);
    }
    const { buffers } = memtable;
    const tableBytes = buffers?.table?.byteLength ?? 0;
    expect(tableBytes).toBeGreaterThan(capacity / 8);
    expect(memtable.byteLength).toBeGreaterThan(0.9 * capacity);
    expect(memtable.byteLength).toBeLessThanOrEqual(capacity);
    for (let valueBytes = 0; valueBytes < 1.5 * capacity; valueBytes += 1000) {
      const next = createMemtable(capacity, 1, 8, valueBytes, { takeSpare: () => buffers });
      if (!next.canHold(1, 8, valueBytes)) expect.fail(`no room for ${valueBytes} bytes`);
    }
    const next = createMemtable(capacity, 1, 8, 8, { takeSpare: () => buffers });
    expect(next.buffers?.table).toBe(buffers?.table);
    expect(next.buffers?.byteLength).toBe(buffers?.byteLength);
    const fresh = createMemtable(capacity, 1, 8, 8);
    for (seqno = 0; fresh.canHold(1, 8, 0); ) {
      expect(next.byteLength).toBe(fresh.byteLength);
      view.setUint32(0, ++seqno);
      for (const target of [next, fresh]) {
        target.add(key, 0, 8, seqno, EntryKind.tombstone, key, 0, 0);
      }
    }
    expect(next.byteLength).toBe(fresh.byteLength);
  });
});
