import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { MergeCursor } from "../../src/cursor/merge.ts";
import { DeadRange } from "../../src/engine/dead-range.ts";
import { EntryKind } from "../../src/entry.ts";
import type { Database, Snapshot } from "../../src/index.ts";
import { ArrayCursor } from "../cursor/array-cursor.ts";
import { openFor } from "./harness.ts";

const name = (i: number): string => String(i).padStart(3, "0");

/** Steps of merging cursors that `read` takes. */
function countSteps(read: () => void): number {
  const next = vi.spyOn(MergeCursor.prototype, "next");
  const prev = vi.spyOn(MergeCursor.prototype, "prev");
  read();
  const count = next.mock.calls.length + prev.mock.calls.length;
  next.mockRestore();
  prev.mockRestore();
  return count;
}

/** A database with keys 0 to 999 in a run, of which [start, end) are deleted in the memtable. */
async function withDeleted(start: number, end: number): Promise<Database> {
  const database = await openFor(":memory:");
  for (let i = 0; i < 1000; i++) void database.put(name(i), i);
  await database.flush();
  for (let i = start; i < end; i++) void database.delete(name(i));
  await database.sync();
  return database;
}

test.each([
  ["forward", false, 0, 800, "800"],
  ["backward", true, 200, 1000, "199"],
])("a stretch of tombstones is walked over once, %s", async (_, reverse, start, end, first) => {
  const database = await withDeleted(start, end);
  const read = (): string[] => [...database.keys({ reverse, limit: 1 })];
  const steps = countSteps(() => expect(read()).toEqual([first]));
  expect(steps).toBeGreaterThan(700);
  expect(countSteps(() => expect(read()).toEqual([first]))).toBeLessThan(5);
  await database.delete(first);
  expect(countSteps(() => expect(read()).toHaveLength(1))).toBeLessThan(5);
});

test("a queue's head stays near, however much was taken from it", async () => {
  const database = await withDeleted(0, 0);
  let steps = 0;
  for (let i = 0; i < 900; i++) {
    let head = "";
    steps += countSteps(() => {
      for (const key of database.keys({ limit: 1 })) head = key;
    });
    expect(head).toBe(name(i));
    await database.delete(head);
  }
  expect(steps).toBeLessThan(900 * 40);
});

test("a put into a stretch is seen, wherever it lies, and whoever deletes it again", async () => {
  const database = await withDeleted(100, 900);
  const all = (): number => [...database.keys()].length;
  expect(all()).toBe(200);
  for (const key of [name(100), name(500), name(899)]) {
    await database.put(key, 1);
    expect([...database.keys({ gte: name(100), limit: 1 })]).toEqual([key]);
    expect([...database.keys({ lt: name(900), reverse: true, limit: 1 })]).toEqual([key]);
    await database.delete(key);
    expect(all()).toBe(200);
  }
});

test("a snapshot from before the deletes still sees the keys, and a transaction its own", async () => {
  // It sees a tombstone where the stretch begins, and entries where it goes on.
  const database = await withDeleted(0, 10);
  const before = database.snapshot();
  for (let i = 10; i < 500; i++) void database.delete(name(i));
  await database.sync();
  expect([...database.keys()]).toHaveLength(500);
  expect([...before.keys()]).toHaveLength(990);
  await database.transaction(async (transaction) => {
    await transaction.put(name(250), "mine");
    expect([...transaction.keys({ limit: 1 })]).toEqual([name(250)]);
  });
  expect([...database.keys({ limit: 1 })]).toEqual([name(250)]);
  before.close();
});

test("an iteration that began before a put does not hide it from later ones", async () => {
  const database = await withDeleted(100, 900);
  const early = database.keys()[Symbol.iterator]();
  early.next();
  await database.put(name(500), 1);
  expect([...early]).toHaveLength(199);
  expect([...database.keys()]).toHaveLength(201);
});

test("whatever is written, iterations and snapshots see what a map does", async () => {
  const index = fc.integer({ min: 0, max: 299 });
  const stretch = fc.tuple(index, fc.integer({ min: 1, max: 150 }));
  const step = fc.oneof(
    fc.record({ type: fc.constant("delete" as const), stretch }),
    fc.record({ type: fc.constant("put" as const), index }),
    fc.record({ type: fc.constant("flush" as const) }),
    fc.record({ type: fc.constant("snapshot" as const) }),
    fc.record({
      type: fc.constant("read" as const),
      from: index,
      reverse: fc.boolean(),
      limit: fc.integer({ min: 1, max: 5 }),
      ofSnapshot: fc.boolean(),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const database = await openFor(":memory:");
      let model = new Set(Array.from({ length: 300 }, (_, i) => name(i)));
      for (const key of model) void database.put(key, 1);
      await database.flush();
      let snapshot: { readonly taken: Snapshot; readonly model: Set<string> } | undefined;
      for (const now of steps) {
        if (now.type === "delete") {
          model = new Set(model);
          for (let i = now.stretch[0]; i < now.stretch[0] + now.stretch[1]; i++) {
            model.delete(name(i));
            void database.delete(name(i));
          }
          await database.sync();
        } else if (now.type === "put") {
          model = new Set(model).add(name(now.index));
          await database.put(name(now.index), 1);
        } else if (now.type === "flush") {
          await database.flush();
        } else if (now.type === "snapshot") {
          snapshot?.taken.close();
          snapshot = { taken: database.snapshot() as Snapshot, model };
        } else {
          const isThen = now.ofSnapshot && snapshot !== undefined;
          const source = isThen && snapshot ? snapshot.taken : database;
          const { from, reverse, limit } = now;
          const range = reverse ? { lte: name(from) } : { gte: name(from) };
          const expected = [...(isThen && snapshot ? snapshot.model : model)]
            .filter((key) => (reverse ? key <= name(from) : key >= name(from)))
            .sort((a, b) => (a < b ? -1 : 1));
          if (reverse) expected.reverse();
          expect([...source.keys({ ...range, reverse, limit })]).toEqual(expected.slice(0, limit));
        }
      }
      snapshot?.taken.close();
      await database.close();
    }),
    { numRuns: 25 },
  );
});

/** Where a stretch takes a reader who stands at a key, going forward; undefined if nowhere. */
function afterLeaving(
  dead: DeadRange,
  at: number,
  seqno: number,
  time: number,
): number | undefined {
  const entries = Array.from({ length: 100 }, (_, i) => ({
    key: Uint8Array.of(i),
    kind: EntryKind.tombstone,
    value: new Uint8Array(0),
  }));
  const cursor = new ArrayCursor(entries);
  cursor.seek(Uint8Array.of(at), 1);
  return dead.leave(cursor, seqno, time, false) ? cursor.key[0] : undefined;
}

test.each([
  ["the later part first", [200, 100]],
  ["the earlier part first", [100, 200]],
  ["both at once", [200, 200]],
])(
  "a stretch is relied on from the last of its moments, and its last write, on: %s",
  (_, times) => {
    const dead = new DeadRange();
    dead.learn(Uint8Array.of(10), Uint8Array.of(20), 5, times[0]);
    dead.learn(Uint8Array.of(20), Uint8Array.of(30), 6, times[1]);
    for (const at of [10, 19, 20, 29]) {
      expect(afterLeaving(dead, at, 6, 200)).toBe(30);
      expect(afterLeaving(dead, at, 9, 300)).toBe(30);
      for (const time of [0, 100, 199]) expect(afterLeaving(dead, at, 9, time)).toBeUndefined();
      expect(afterLeaving(dead, at, 5, 300)).toBeUndefined();
    }
    expect([9, 30].map((at) => afterLeaving(dead, at, 9, 300))).toEqual([undefined, undefined]);
  },
);
