import { setImmediate } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { SpareBuffers } from "../../src/engine/spare-buffers.ts";
import { BEFORE_EXPIRY, EntryKind } from "../../src/entry.ts";
import { type Database, open } from "../../src/index.ts";
import { createMemtable, type Memtable } from "../../src/memtable/memtable.ts";
import { MemoryFileSystem } from "../../src/testing/index.ts";

const CAPACITY = 2 ** 17;

function filled(capacity: number = CAPACITY, valueBytes = 10): Memtable {
  const memtable = createMemtable(capacity, 1, 1, valueBytes);
  const value = new Uint8Array(valueBytes);
  memtable.add(value, 0, 1, 1, EntryKind.put, value, 0, valueBytes);
  return memtable;
}

describe("SpareBuffers", () => {
  it("gives the memory of what was flushed once, from the next turn of the event loop on", async () => {
    const spares = new SpareBuffers(() => false);
    expect(spares.take()).toBeUndefined();
    const memtable = filled();
    spares.retire(memtable);
    await Promise.resolve();
    expect(spares.take()).toBeUndefined();
    await setImmediate();
    expect(spares.byteLength).toBe(memtable.byteLength);
    expect(spares.take()?.heap).toBe(memtable.buffers?.heap);
    expect(spares.take()).toBeUndefined();
    expect(spares.byteLength).toBe(0);
    const next = filled();
    spares.retire(next);
    await spares.looked;
    expect(spares.take()?.heap).toBe(next.buffers?.heap);
    expect(spares.take()).toBeUndefined();
  });

  it("overwrites it in tests, so that whoever still reads it is found out", async () => {
    const spares = new SpareBuffers((memtable) => memtable === held);
    const [memtable, held] = [filled(), filled()];
    const ref = memtable.find(new Uint8Array(1), 1, 1);
    const [value, heldValue] = [memtable.valueOf(ref), held.valueOf(ref)];
    spares.retire(memtable);
    spares.retire(held);
    expect(Array.from(value)).toEqual(new Array(10).fill(0));
    await spares.looked;
    expect(Array.from(value)).not.toContain(0);
    expect(() => memtable.find(new Uint8Array(1), 1, 1)).not.toThrow();
    expect(Array.from(heldValue)).toEqual(new Array(10).fill(0));
  });

  it("gives a memtable memory of the size that it needs, for a tree if it has one", async () => {
    const spares = new SpareBuffers(() => false);
    const ordered = filled();
    ordered.cursor(1, BEFORE_EXPIRY).close();
    spares.retire(ordered);
    await spares.looked;
    const spare = spares.take();
    expect(spare?.arena).toBeInstanceOf(SharedArrayBuffer);
    const [equal, large] = [1, 8].map((times) =>
      createMemtable(times * CAPACITY, 1, 1, 1, { hasTree: true, takeSpare: () => spare }),
    );
    expect([equal.buffers?.arena, equal.buffers?.heap]).toEqual([spare?.arena, spare?.heap]);
    expect(large.buffers?.arena?.byteLength).toBeGreaterThan(8 * CAPACITY);
    expect(large.buffers?.heap.byteLength).toBeGreaterThan(8 * CAPACITY);
    // A memtable with a table keeps the arena for the one after it, and the other way round.
    for (const hasTree of [false, true]) {
      const next = createMemtable(CAPACITY, 1, 1, 1, { hasTree, takeSpare: () => spare }).buffers;
      expect(next?.table).toBe(spare?.table);
      expect(next?.arena).toBe(spare?.arena);
      expect(next?.byteLength).toBe(spare?.byteLength);
    }
    expect(spare?.table).toBeInstanceOf(SharedArrayBuffer);
    const asked = vi.fn();
    createMemtable(CAPACITY, 1, 1, 2 * CAPACITY, { takeSpare: asked });
    expect(asked).not.toHaveBeenCalled();
  });

  it("knows how much memory the system gave, however little of it was used last", async () => {
    const spares = new SpareBuffers(() => false);
    const full = filled(CAPACITY, CAPACITY / 4);
    spares.retire(full);
    await spares.looked;
    const small = createMemtable(CAPACITY, 1, 1, 1, { takeSpare: () => spares.take() });
    expect(small.byteLength).toBeLessThan(CAPACITY / 8);
    spares.retire(small);
    await spares.looked;
    expect(spares.byteLength).toBe(full.byteLength);
  });

  it("asks who holds it when the loop has its turn, and again after a later flush", async () => {
    const held = new Set<Memtable>();
    const spares = new SpareBuffers((memtable) => held.has(memtable));
    const [first, second] = [filled(), filled()];
    spares.retire(first);
    spares.retire(second);
    held.add(first);
    await spares.looked;
    held.clear();
    await setImmediate();
    expect(spares.take()?.heap).toBe(second.buffers?.heap);
    expect(spares.take()).toBeUndefined();
    const third = filled();
    spares.retire(third);
    expect(spares.take()).toBeUndefined();
    await spares.looked;
    const heaps = [spares.take()?.heap, spares.take()?.heap];
    expect(heaps[0]).toBe(third.buffers?.heap);
    expect(heaps[1]).toBe(first.buffers?.heap);
  });

  it("keeps that of two, and none of a memtable that was made for a large batch", async () => {
    const spares = new SpareBuffers(() => false);
    for (const memtable of [filled(CAPACITY, 4 * CAPACITY), filled(), filled(), filled()]) {
      spares.retire(memtable);
    }
    await spares.looked;
    const sizes = [spares.take(), spares.take(), spares.take()].map(
      (buffers) => buffers?.heap.byteLength,
    );
    expect(sizes).toEqual([1.5 * CAPACITY, 1.5 * CAPACITY, undefined]);
  });

  it("drops all, that of held ones too", async () => {
    let isHeld = true;
    const spares = new SpareBuffers(() => isHeld);
    spares.retire(filled());
    await spares.looked;
    isHeld = false;
    spares.retire(filled());
    spares.drop();
    await spares.looked;
    expect(spares.byteLength).toBe(0);
    spares.retire(filled());
    await spares.looked;
    spares.drop();
    expect(spares.take()).toBeUndefined();
  });
});

describe("a database whose memtables lie in memory of earlier ones", () => {
  const options = {
    valueEncoding: "utf8",
    memtableBytes: CAPACITY,
    background: "inline",
    durability: "os",
  } as const;
  const KEYS = 200;
  const key = (i: number): string => `key ${String(i).padStart(4, "0")}`;
  const value = (i: number, round: number): string => `${round}/${i} `.repeat(20);
  type Texts = Database<string, string>;

  async function openDatabase(memtableIndex: "hash" | "tree" = "hash"): Promise<Texts> {
    return await open("data", { ...options, memtableIndex, fileSystem: new MemoryFileSystem() });
  }

  /** One whose memory follows from what is written: another makes trees where a tenth of a second passes. */
  const openMeasured = (): Promise<Texts> => openDatabase("tree");

  async function write(db: Texts, round: number): Promise<void> {
    const order = Array.from({ length: KEYS }, (_, i) => (i * 77 + round) % KEYS);
    await db.batch(order.map((i) => ({ type: "put", key: key(i), value: value(i, round) })));
  }

  /** Writes and flushes so often that whatever may be used again is. */
  async function overwrite(db: Texts, firstRound: number): Promise<void> {
    for (let round = firstRound; round < firstRound + 6; round++) {
      await write(db, round);
      await db.flush();
      await setImmediate();
    }
  }

  const content = (round: number): [string, string][] =>
    Array.from({ length: KEYS }, (_, i) => [key(i), value(i, round)]);

  const memoryOf = (db: Texts): number => db.stats().memory.memtables;

  it("has the memory of a flushed memtable in stats, and uses it for the next", async () => {
    const db = await openMeasured();
    const empty = memoryOf(db);
    await write(db, 1);
    const full = memoryOf(db);
    await db.flush();
    await setImmediate();
    expect(db.stats().memtableKeyCount).toBe(0);
    expect(memoryOf(db)).toBe(full + empty);
    await write(db, 2);
    await db.flush();
    await setImmediate();
    // What took the first turn is used again, and there is no third.
    const two = memoryOf(db);
    await write(db, 3);
    await db.flush();
    await setImmediate();
    expect(memoryOf(db)).toBe(two);
    expect([...db.entries()]).toEqual(content(3));
    await db.close();
  });

  it("makes a larger one for a large batch", async () => {
    const db = await openDatabase();
    await overwrite(db, 0);
    await write(db, 7);
    const large = value(0, 0).repeat(1000);
    await db.batch([
      { type: "put", key: key(0), value: large },
      { type: "put", key: key(1), value: large },
    ]);
    const [first, second, third] = db.values();
    expect([first === large, second === large]).toEqual([true, true]);
    expect(third).toBe(value(2, 7));
    await db.close();
  });

  it("keeps what a large batch has no use for", async () => {
    const db = await openMeasured();
    const empty = memoryOf(db);
    for (let round = 0; round < 2; round++) {
      await write(db, round);
      await db.flush();
      await setImmediate();
    }
    // One memtable's worth waits; as much is in the hands of the empty one, and counted once it waits.
    const waiting = memoryOf(db) - empty;
    const large = "x".repeat(2 * CAPACITY);
    await db.batch([{ type: "put", key: key(0), value: large }]);
    await setImmediate();
    expect(memoryOf(db)).toBeGreaterThanOrEqual(2 * waiting + large.length);
    await db.close();
  });

  it("drops it when it is closed", async () => {
    const retire = vi.spyOn(SpareBuffers.prototype, "retire");
    const db = await openDatabase();
    await overwrite(db, 0);
    const [spares] = retire.mock.contexts as SpareBuffers[];
    expect(spares.byteLength).toBeGreaterThan(0);
    await db.close();
    expect(spares.byteLength).toBe(0);
    retire.mockRestore();
  });

  it("waits a turn of the event loop for memory, where that is all it takes", async () => {
    const db = await openMeasured();
    const sizes: number[] = [];
    for (let round = 0; round < 4; round++) {
      await write(db, round);
      await db.flush();
      await setImmediate();
      sizes.push(memoryOf(db));
    }
    for (let round = 0; round < 4; round++) {
      await write(db, round);
      await db.flush();
    }
    await setImmediate();
    expect(memoryOf(db)).toBe(sizes[3]);
    await db.close();
  });

  it.each(["snapshot", "iteration", "transaction"] as const)(
    "keeps that of a memtable which a %s reads",
    async (kind) => {
      const db = await openDatabase();
      await write(db, 0);
      const read = await holder(db, kind);
      await overwrite(db, 1);
      expect(await read()).toEqual(content(0));
      await overwrite(db, 10);
      expect([...db.entries()]).toEqual(content(15));
      await db.close();
    },
  );

  /** Begins to read by something that holds on to the moment; returns what reads the rest. */
  async function holder(
    db: Texts,
    kind: "snapshot" | "iteration" | "transaction",
  ): Promise<() => Promise<[string, string][]>> {
    if (kind === "snapshot") {
      const snapshot = db.snapshot();
      return async () => {
        const found = [...snapshot.entries()];
        snapshot.close();
        return found;
      };
    }
    if (kind === "iteration") {
      const iterator = db.entries()[Symbol.iterator]();
      const first = iterator.next();
      return async () => (first.done ? [] : [first.value, ...iterator]);
    }
    let begin: () => void = () => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    let end: () => void = () => {};
    const mayEnd = new Promise<void>((resolve) => {
      end = resolve;
    });
    const result = db.transaction(async (tx) => {
      begin();
      await mayEnd;
      return [...tx.entries()];
    });
    await begun;
    return async () => {
      end();
      return await result;
    };
  }

  it("keeps that of a memtable with a value that a stream reads", async () => {
    const db = await open("data", {
      ...options,
      memtableBytes: 2 ** 20,
      fileSystem: new MemoryFileSystem(),
    });
    const long = (seed: string): string => seed.repeat(200_000);
    await db.put("long", long("a"));
    const reader = db.getStream("long")?.getReader();
    let found = Buffer.from((await reader?.read())?.value ?? []).toString();
    for (const seed of ["b", "c", "d", "e"]) {
      await db.put("long", long(seed));
      await db.flush();
      await setImmediate();
    }
    for (let next = await reader?.read(); next?.value !== undefined; next = await reader?.read()) {
      found += Buffer.from(next.value).toString();
    }
    expect(found === long("a")).toBe(true);
    await db.close();
  });

  it("finds the conflict of a transaction whose memtable was flushed", async () => {
    const db = await openDatabase();
    await write(db, 0);
    let runs = 0;
    const result = await db.transaction(
      async (tx) => {
        const before = tx.get(key(5));
        if (runs++ === 0) {
          // What the transaction pins; then two that are kept for it, of which the first has the
          // write that it must be told of.
          for (const name of [undefined, key(5), "another"]) {
            if (name !== undefined) await db.put(name, "newer");
            await db.flush();
            await setImmediate();
          }
          for (let i = 0; i < 200; i++) await db.put(`other ${i}`, "x");
        }
        await tx.put(key(6), `after ${before}`);
        return before;
      },
      { backOff: () => {} },
    );
    expect(runs).toBe(2);
    expect(result).toBe("newer");
    expect(db.get(key(6))).toBe("after newer");
    await db.close();
  });
});
