/**
 * What is done with a database whose memtables have their keys in no order, as they have after an open
 * and after writes; and when they are brought in order.
 */
import { setImmediate } from "node:timers/promises";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { Settling } from "../../src/engine/settling.ts";
import { Store } from "../../src/engine/store.ts";
import { EntryKind } from "../../src/entry.ts";
import { type Database, type OpenOptions, open } from "../../src/index.ts";
import { Memtable } from "../../src/memtable/memtable.ts";
import { CrashFileSystem, type CrashPoint, MemoryFileSystem } from "../../src/testing/index.ts";

/** Above what one step puts into a tree. */
const KEY_COUNT = 20_000;
const MEMTABLE_BYTES: number = 2 ** 20;

type Content = Map<string, string>;

function keyOf(i: number): string {
  return `key ${String(Math.imul(i, 7919) % KEY_COUNT).padStart(6, "0")}`;
}

/** A disk as a kill leaves it, with writes in several memtables, and what must be found on it. */
async function killed(): Promise<{ crash: CrashPoint; content: Content }> {
  const fileSystem = new CrashFileSystem();
  const database = await open<string, string>("db", {
    fileSystem,
    memtableBytes: 2 ** 26,
    background: "inline",
  });
  const content: Content = new Map();
  for (let i = 0; i < KEY_COUNT; i += 1000) {
    const keys = Array.from({ length: 1000 }, (_, j) => keyOf(i + j));
    await database.batch(keys.map((key) => ({ type: "put", key, value: `${key} at first` })));
    for (const key of keys) content.set(key, `${key} at first`);
  }
  for (let i = 0; i < KEY_COUNT; i += 3) {
    const key = keyOf(i);
    if (i % 2 === 0) {
      void database.put(key, `${key} again`);
      content.set(key, `${key} again`);
    } else {
      void database.delete(key);
      content.delete(key);
    }
  }
  const range = { gte: "key 004000", lt: "key 005000" };
  await database.deleteRange(range);
  for (const key of content.keys()) if (key >= range.gte && key < range.lt) content.delete(key);
  await database.put("key 004500", "after the range");
  content.set("key 004500", "after the range");
  const crash = fileSystem.crashPoint();
  await database.close();
  return { crash, content };
}

function sorted(content: Content): [string, string][] {
  return [...content].sort(([a], [b]) => (a < b ? -1 : 1));
}

type Step = (database: Database<string, string>, content: Content) => void | Promise<void>;

const STEPS: [string, Step][] = [
  ["nothing", () => {}],
  ["a count", (database, content) => expect(database.count()).toBe(content.size)],
  [
    "a blocking write",
    (database, content) => {
      database.putSync("key 000001", "blocking");
      content.set("key 000001", "blocking");
    },
  ],
  [
    "a write behind a snapshot",
    async (database, content) => {
      const before = sorted(content);
      const snapshot = database.snapshot();
      await database.delete("key 000002");
      content.delete("key 000002");
      expect([...snapshot.entries()]).toEqual(before);
      snapshot.close();
    },
  ],
  [
    "a transaction",
    async (database, content) => {
      await database.transaction(async (transaction) => {
        const value = transaction.get("key 000003") ?? "none";
        await transaction.put("key 000004", value);
      });
      content.set("key 000004", content.get("key 000003") ?? "none");
    },
  ],
  ["a flush", (database) => database.flush()],
  ["a compaction", (database) => database.compact()],
];

test.each(STEPS)("reads find what was recovered, before and after %s", async (_, step) => {
  const { crash, content } = await killed();
  for (const memtableBytes of [MEMTABLE_BYTES, 2 ** 26]) {
    const expected: Content = new Map(content);
    const [fileSystem] = crash.states({ seed: 1, count: 1 });
    const options = { fileSystem, memtableBytes, background: "inline" } as const;
    const database = await open<string, string>("db", options);
    onTestFinished(() => database.close());
    expect(database.recovery.writesReplayed).toBeGreaterThan(KEY_COUNT);
    for (let i = 0; i < KEY_COUNT; i++) {
      if (database.get(keyOf(i)) !== expected.get(keyOf(i))) expect.fail(keyOf(i));
    }
    expect(database.has("key")).toBe(false);
    await step(database, expected);
    expect([...database.entries()]).toEqual(sorted(expected));
    await database.close();
    const again = await open<string, string>("db", options);
    onTestFinished(() => again.close());
    expect([...again.entries()]).toEqual(sorted(expected));
    await again.close();
  }
});

/** For each turn of the event loop, how many steps were taken to bring the keys of a memtable in order. */
function watchSteps(): number[] {
  const turns = [0];
  const { orderStep } = Memtable.prototype;
  const spy = vi.spyOn(Memtable.prototype, "orderStep");
  spy.mockImplementation(function (this: Memtable) {
    turns[turns.length - 1]++;
    orderStep.call(this);
  });
  let isWatched = true;
  onTestFinished(() => {
    isWatched = false;
    spy.mockRestore();
  });
  const watch = async (): Promise<void> => {
    for (; isWatched; turns.push(0)) await setImmediate();
  };
  void watch();
  return turns;
}

function stepsOf(turns: readonly number[]): number[] {
  return turns.filter((count) => count > 0);
}

async function turnsOfLoop(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await setImmediate();
}

/** Opens what a kill left, with all of it in one memtable. */
async function openKilled(options: OpenOptions<string, string> = {}): Promise<{
  database: Database<string, string>;
  content: Content;
}> {
  const { crash, content } = await killed();
  const [fileSystem] = crash.states({ seed: 1, count: 1 });
  const database = await open<string, string>("db", {
    fileSystem,
    memtableBytes: 2 ** 26,
    background: "inline",
    ...options,
  });
  onTestFinished(() => database.close());
  return { database, content };
}

test("a database brings its keys in order by itself, in turns of the event loop", async () => {
  const turns = watchSteps();
  const { database, content } = await openKilled();
  await turnsOfLoop(100);
  const steps = stepsOf(turns);
  expect(steps.length).toBeGreaterThan(1);
  expect(Math.max(...steps)).toBe(1);
  expect([...database.entries()]).toEqual(sorted(content));
  expect(stepsOf(turns)).toEqual(steps);
});

test.each<[string, (database: Database<string, string>, content: Content) => Promise<unknown>]>([
  [
    "writes",
    async (database, content) => {
      for (let i = 0; i < 100; i++) {
        const key = keyOf(i);
        if (i % 2 === 0) database.putSync(key, `late ${i}`);
        else await database.put(key, `late ${i}`);
        content.set(key, `late ${i}`);
        await setImmediate();
      }
    },
  ],
  ["a flush", (database) => database.flush()],
  [
    "a rotation",
    async (database, content) => {
      const key = "key 000001";
      const value = "x".repeat(2 ** 26);
      await database.put(key, value);
      content.set(key, value);
    },
  ],
])("a database brings its keys in order beside %s", async (_, act) => {
  const { database, content } = await openKilled();
  await act(database, content);
  await turnsOfLoop(50);
  const turns = watchSteps();
  expect([...database.entries()]).toEqual(sorted(content));
  expect(stepsOf(turns)).toEqual([]);
});

test("a database that is closed leaves its keys as they are", async () => {
  const { database } = await openKilled();
  const turns = watchSteps();
  await database.close();
  await turnsOfLoop(20);
  expect(stepsOf(turns)).toEqual([]);
});

test("keys are brought in order once few writes come, and not before", async () => {
  const database = await open<string, string>(":memory:", { durability: "os" });
  onTestFinished(() => database.close());
  const turns = watchSteps();
  const content: Content = new Map();
  const write = async (count: number): Promise<void> => {
    const first = content.size;
    const keys = Array.from({ length: count }, (_, i) => `key ${(first + i) * 7919}`);
    await database.batch(keys.map((key) => ({ type: "put", key, value: "v" })));
    for (const key of keys) content.set(key, "v");
    await setImmediate();
  };
  // Longer than the pause that is awaited: many writes come.
  for (let start = performance.now(); performance.now() < start + 500; ) await write(1000);
  expect(stepsOf(turns)).toEqual([]);
  while (stepsOf(turns).length < 2) await write(1);
  await turnsOfLoop(200);
  const steps = stepsOf(turns);
  expect(Math.max(...steps)).toBe(1);
  expect([...database.entries()]).toEqual(sorted(content));
  expect(stepsOf(turns)).toEqual(steps);
});

test("a failure to bring keys in order is reported, and who needs it tries again", async () => {
  const { orderStep } = Memtable.prototype;
  const spy = vi.spyOn(Memtable.prototype, "orderStep");
  onTestFinished(() => spy.mockRestore());
  const failure = new RangeError("no memory");
  spy.mockImplementationOnce(() => {
    throw failure;
  });
  const { database, content } = await openKilled();
  const errors: unknown[] = [];
  database.on("error", (error) => errors.push(error));
  await turnsOfLoop(20);
  expect(errors).toEqual([failure]);
  spy.mockImplementation(orderStep);
  expect([...database.entries()]).toEqual(sorted(content));
});

test("the eight memtables after one that was walked have their keys in order", async () => {
  const fileSystem = new MemoryFileSystem();
  const options = { fileSystem, memtableBytes: MEMTABLE_BYTES, background: "inline" } as const;
  const database = await open<string, string>("db", options);
  onTestFinished(() => database.close());
  // However long it takes, nothing is brought in order before it is asked for.
  const callLater = vi.spyOn(Store.prototype, "callLater").mockReturnValue(() => {});
  onTestFinished(() => callLater.mockRestore());
  const spy = vi.spyOn(Memtable.prototype, "orderStep");
  onTestFinished(() => spy.mockRestore());
  const content: Content = new Map();
  const write = async (key: string, value: string): Promise<void> => {
    await database.put(key, value);
    content.set(key, value);
  };
  const isOrdered = async (): Promise<boolean> => {
    const before = spy.mock.calls.length;
    await write("key 000001", `${before}`);
    expect([...database.entries()]).toEqual(sorted(content));
    return spy.mock.calls.length === before;
  };
  let flushCount = 0;
  database.on("flush", () => flushCount++);
  for (let i = 0; flushCount < 2; i++) await write(keyOf(i), "first");
  expect(spy).not.toHaveBeenCalled();
  expect(await isOrdered()).toBe(false);
  for (let unwalked = 0; unwalked < 9; unwalked++) {
    for (let round = 0; round < 2; round++) {
      // The memtable of the last flush was walked, and `unwalked` after it are not.
      await database.flush();
      for (let i = 0; i < unwalked; i++) {
        await write("key 000002", `${unwalked} ${i}`);
        await database.flush();
      }
      expect(await isOrdered()).toBe(unwalked < 8);
    }
  }
});

test("a blocking write that finds such a memtable full begins one that has its keys in order", async () => {
  const fileSystem = new MemoryFileSystem();
  const options = { fileSystem, memtableBytes: MEMTABLE_BYTES, background: "inline" } as const;
  const database = await open<string, string>("db", options);
  onTestFinished(() => database.close());
  database.putSync("first", "first");
  expect([...database.keys()]).toEqual(["first"]);
  const spy = vi.spyOn(Memtable.prototype, "orderStep");
  onTestFinished(() => spy.mockRestore());
  const value = "x".repeat(MEMTABLE_BYTES / 16);
  for (let i = 0; i < 20; i++) database.putSync(keyOf(i), value);
  expect([...database.keys()]).toHaveLength(21);
  expect(database.stats().memtableKeyCount).toBe(21);
  expect(spy).not.toHaveBeenCalled();
});

test('with memtableIndex "tree" nobody waits for the order of keys', async () => {
  const fileSystem = new MemoryFileSystem();
  const options = {
    fileSystem,
    memtableBytes: MEMTABLE_BYTES,
    memtableIndex: "tree",
    background: "inline",
  } as const;
  const database = await open<string, string>("db", options);
  onTestFinished(() => database.close());
  const spy = vi.spyOn(Memtable.prototype, "orderStep");
  onTestFinished(() => spy.mockRestore());
  const content: Content = new Map();
  let flushCount = 0;
  database.on("flush", () => flushCount++);
  for (let i = 0; flushCount < 2; i++) {
    const key = keyOf(i);
    await database.put(key, "first");
    content.set(key, "first");
  }
  expect(database.stats().memtableKeyCount).toBeGreaterThan(0);
  // Larger than a memtable, which is replaced by one with room for it.
  const long = "x".repeat(2 * MEMTABLE_BYTES);
  await database.put("long", long);
  content.set("long", long);
  expect([...database.entries()]).toEqual(sorted(content));
  expect(spy).not.toHaveBeenCalled();
});

test('with memtableIndex "tree" keys that come after an open find a tree', async () => {
  const fileSystem = new MemoryFileSystem();
  const options = { fileSystem, memtableIndex: "tree", background: "inline" } as const;
  const first = await open<string, string>("db", options);
  await first.deleteRange({ gte: "a", lt: "b" });
  await first.close();
  const database = await open<string, string>("db", options);
  onTestFinished(() => database.close());
  const spy = vi.spyOn(Memtable.prototype, "orderStep");
  onTestFinished(() => spy.mockRestore());
  await database.put("key", "ordered");
  expect([...database.keys()]).toEqual(["key"]);
  expect(spy).not.toHaveBeenCalled();
});

test.each([false, true])(
  'with memtableIndex "tree" an open brings keys in order first, in turns (readOnly: %s)',
  async (readOnly) => {
    const turns = watchSteps();
    const { database, content } = await openKilled({ memtableIndex: "tree", readOnly });
    const steps = stepsOf(turns);
    expect(steps.length).toBeGreaterThan(1);
    expect(Math.max(...steps)).toBe(1);
    expect([...database.entries()]).toEqual(sorted(content));
    await turnsOfLoop(20);
    expect(stepsOf(turns)).toEqual(steps);
  },
);

test("an ingest brings the keys of its source in order in turns of the event loop", async () => {
  const { crash, content } = await killed();
  const [fileSystem] = crash.states({ seed: 1, count: 1 });
  const database = await open<string, string>("other", { fileSystem, compression: "none" });
  onTestFinished(() => database.close());
  const turns = watchSteps();
  await database.ingest(["db"]);
  const steps = stepsOf(turns);
  expect(steps.length).toBeGreaterThan(1);
  expect(Math.max(...steps)).toBe(1);
  expect([...database.entries()]).toEqual(sorted(content));
});

test("an ingest whose source cannot be brought in order fails, and lets go of it", async () => {
  const { crash } = await killed();
  const [fileSystem] = crash.states({ seed: 1, count: 1 });
  const database = await open<string, string>("other", { fileSystem });
  onTestFinished(() => database.close());
  const failure = new RangeError("no memory");
  const step = vi.spyOn(Memtable.prototype, "orderStep").mockImplementation(() => {
    throw failure;
  });
  const close = vi.spyOn(Store.prototype, "close");
  onTestFinished(() => {
    step.mockRestore();
    close.mockRestore();
  });
  await expect(database.ingest(["db"])).rejects.toBe(failure);
  expect(close).toHaveBeenCalledOnce();
});

test("a database that is only read answers, and closes, as soon as it is open", async () => {
  const { crash, content } = await killed();
  const [fileSystem] = crash.states({ seed: 1, count: 1 });
  for (const isWalked of [false, true]) {
    const database = await open<string, string>("db", { fileSystem, readOnly: true });
    expect(database.get("key 004500")).toBe("after the range");
    if (isWalked) expect([...database.entries()]).toEqual(sorted(content));
    await database.close();
  }
});

describe("Settling", () => {
  function written(keyCount: number): Memtable {
    const memtable = new Memtable(MEMTABLE_BYTES);
    for (let i = 0; i < keyCount; i++) {
      const key = Buffer.from(keyOf(i));
      memtable.add(key, 0, key.length, i + 1, EntryKind.put, key, 0, 0);
    }
    return memtable;
  }

  /** What settles a host with these memtables, and who waits for time to pass. */
  function settlingOf(memtables: readonly Memtable[]): {
    settling: Settling;
    waiting: (() => void)[];
  } {
    const waiting: (() => void)[] = [];
    const host = {
      options: { memtableIndex: "hash" } as const,
      sources: { memtables },
      visibleSeqno: 0,
      callLater: (_: number, callback: () => void) => {
        waiting.push(callback);
        return () => {};
      },
    };
    const fail = (error: unknown): void => expect.fail(String(error));
    return { settling: new Settling(host, fail), waiting };
  }

  test("a memtable that comes meanwhile is brought in order, too, though no write follows", async () => {
    const memtables = [written(KEY_COUNT)];
    const { settling, waiting } = settlingOf(memtables);
    settling.wake();
    waiting.shift()?.();
    const [first] = memtables;
    memtables.unshift(written(10));
    while (settling.isAwake && waiting.length === 0) await setImmediate();
    expect(first.isUnordered).toBe(false);
    waiting.shift()?.();
    while (settling.isAwake) await setImmediate();
    expect(memtables[0].isUnordered).toBe(false);
    expect(waiting).toEqual([]);
  });

  test("a memtable that is gone is left as it is: another may have its memory", async () => {
    const memtables = [written(KEY_COUNT)];
    const { settling, waiting } = settlingOf(memtables);
    settling.wake();
    waiting.shift()?.();
    const [gone] = memtables.splice(0, 1, written(0));
    while (settling.isAwake) await setImmediate();
    expect(gone.isUnordered).toBe(true);
  });

  test("nothing waits for time to pass where there is nothing to bring in order", async () => {
    const { settling, waiting } = settlingOf([written(0)]);
    settling.wake();
    waiting.shift()?.();
    while (settling.isAwake) await setImmediate();
    expect(waiting).toEqual([]);
  });

  test("writes that a close waits for do not wake it", () => {
    const { settling, waiting } = settlingOf([written(10)]);
    settling.stop();
    settling.wake();
    expect([settling.isAwake, waiting]).toEqual([false, []]);
  });
});
