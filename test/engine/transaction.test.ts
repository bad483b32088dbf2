/** Transactions: what they see, what they conflict with, and how they end. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ClosedError,
  ConflictError,
  type Database,
  InvalidArgumentError,
  open,
  ReadOnlyError,
  type Transaction,
} from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";
import { anyKey, anyOperations, anyRange, anyValue, apply, issue } from "../model/operations.ts";
import { parameters } from "../model/parameters.ts";
import { compareKeys, SortedMap } from "../model/sorted-map.ts";
import { openFor } from "./harness.ts";

type Numbers = Database<string, number>;
type NumbersTransaction = Transaction<string, number>;

async function openInMemory(): Promise<Numbers> {
  return await openFor<string, number>("store", { fileSystem: new MemoryFileSystem() });
}

/** With a, c and e, some of them in a run. */
async function openWithLetters(): Promise<Numbers> {
  const database = await openInMemory();
  await database.put("a", 1);
  await database.put("c", 3);
  await database.flush();
  await database.put("e", 5);
  return database;
}

describe("a transaction", () => {
  test("commits everything, and returns what its body returned", async () => {
    const database = await openWithLetters();
    const sum = await database.transaction(async (transaction) => {
      const before = transaction.get("a") ?? 0;
      await Promise.resolve();
      transaction.put("a", before + 1);
      transaction.put("b", 2);
      transaction.delete("c");
      expect([...database.entries()].length).toBe(3);
      return before + (transaction.get("e") ?? 0);
    });
    expect(sum).toBe(6);
    expect([...database.entries()]).toEqual([
      ["a", 2],
      ["b", 2],
      ["e", 5],
    ]);
  });

  test("with a body that is not asynchronous", async () => {
    const database = await openInMemory();
    expect(await database.transaction((transaction) => transaction.put("a", 1))).toBeUndefined();
    expect(database.get("a")).toBe(1);
  });

  test("sees its own writes on top of the moment that it began, in every read", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyOperations,
        anyOperations,
        fc.array(fc.tuple(anyKey, fc.option(anyValue)), { maxLength: 24 }),
        anyRange,
        async (before, meanwhile, writes, range) => {
          const database = await openFor<string, string>("store", {
            fileSystem: new MemoryFileSystem(),
            now: () => 1000,
          });
          const content = new SortedMap({ time: 1000 });
          const issueAll = async (operations: typeof before): Promise<void> => {
            for (const operation of operations) {
              await issue(database, operation);
            }
          };
          await issueAll(before);
          for (const operation of before) apply(content, operation);
          const reading = database.transaction(
            async (transaction) => {
              await issueAll(meanwhile);
              for (const [key, value] of writes) {
                if (value === null) {
                  transaction.delete(key);
                  content.delete(key);
                } else {
                  transaction.put(key, value);
                  content.put(key, value);
                }
                expect(transaction.get(key)).toBe(value ?? undefined);
                expect(transaction.has(key)).toBe(value !== null);
              }
              const expected = content.entries(range);
              expect([...transaction.entries(range)]).toEqual(expected);
              expect([...transaction.keys(range)]).toEqual(expected.map(([key]) => key));
              const { limit: _, reverse: __, ...bounds } = range;
              expect(transaction.count(bounds)).toBe(content.entries(bounds).length);
              const keys = content.entries().map(([key]) => key);
              expect(transaction.sample(100)).toEqual(keys);
              for (const [i, key] of keys.entries()) {
                expect(transaction.at(i)).toBe(key);
                expect(transaction.rank(key)).toBe(i);
              }
              throw new Error("only looking");
            },
            { retries: 0 },
          );
          await expect(reading).rejects.toThrow("only looking");
          await database.close();
        },
      ),
      parameters(60),
    );
  });

  test("iterates over the writes made before the iteration began", async () => {
    const database = await openWithLetters();
    await database.transaction((transaction) => {
      transaction.put("b", 2);
      const seen: string[] = [];
      for (const key of transaction.keys()) {
        seen.push(key);
        transaction.put(`${key}+`, 0);
        transaction.delete("c");
      }
      expect(seen).toEqual(["a", "b", "c", "e"]);
      const backwards = [...transaction.keys({ reverse: true })];
      expect(backwards).toEqual(["e+", "e", "c+", "b+", "b", "a+", "a"]);
    });
  });

  test("keeps thousands of writes in order", async () => {
    const database = await openInMemory();
    const keyOf = (i: number): string => `${(i * 7919) % 5000}`;
    await database.transaction((transaction) => {
      for (let i = 0; i < 5000; i++) {
        transaction.put(keyOf(i), i);
        if (i % 500 === 0) expect(transaction.count()).toBe(i + 1);
      }
      const sorted = Array.from({ length: 5000 }, (_, i) => keyOf(i)).sort(compareKeys);
      expect([...transaction.keys()]).toEqual(sorted);
    });
    expect(database.count()).toBe(5000);
  });

  test("deletes thousands of ranges among many writes of its own", async () => {
    const database = await openInMemory();
    const keyOf = (i: number): string => `${i}`.padStart(6, "0");
    const all = Array.from({ length: 20_000 }, (_, i) => i);
    await database.transaction((transaction) => {
      for (const i of all) transaction.put(keyOf(i), i);
      for (let i = 0; i < all.length; i += 5) {
        transaction.deleteRange({ gt: keyOf(i), lt: keyOf(i + 2) });
        if (i % 5000 === 0) transaction.put(keyOf(i + 1), -1);
      }
    });
    const kept = all.filter((i) => i % 5 !== 1 || i % 5000 === 1);
    expect([...database.keys()]).toEqual(kept.map(keyOf));
  });

  test("that throws leaves nothing, and rejects with what it threw", async () => {
    const database = await openWithLetters();
    const { lastSeqno } = database.stats();
    const failure = new Error("enough");
    const aborted = database.transaction((transaction) => {
      transaction.put("a", 100);
      throw failure;
    });
    await expect(aborted).rejects.toBe(failure);
    expect(database.get("a")).toBe(1);
    expect(database.stats().lastSeqno).toBe(lastSeqno);
  });

  test("whose record cannot be written did not happen", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const database = await openFor<string, number>("store", { fileSystem, durability: "os" });
    await database.put("a", 1);
    fileSystem.limitBytes(0);
    const writing = database.transaction((transaction) => transaction.put("a", 2));
    await expect(writing).rejects.toMatchObject({ code: "MEMKV_IO" });
    expect(database.get("a")).toBe(1);
  });
});

/** Reads that a transaction does, and a key each whose writing is in their way, and one that is not. */
const READS: readonly {
  readonly name: string;
  readonly read: (transaction: NumbersTransaction) => unknown;
  readonly conflicting: readonly string[];
  readonly harmless: readonly string[];
}[] = [
  { name: "get", read: (t) => t.get("a"), conflicting: ["a"], harmless: ["b", "", "aa"] },
  { name: "get of nothing", read: (t) => t.get("b"), conflicting: ["b"], harmless: ["a"] },
  { name: "getStream", read: (t) => t.getStream("b"), conflicting: ["b"], harmless: ["c"] },
  { name: "has", read: (t) => t.has("c"), conflicting: ["c"], harmless: ["a"] },
  { name: "getMany", read: (t) => t.getMany(["a", "b"]), conflicting: ["a", "b"], harmless: ["c"] },
  {
    name: "entries of a range",
    read: (t) => [...t.entries({ gte: "b", lt: "e" })],
    conflicting: ["b", "c", "d"],
    harmless: ["a", "e", "f"],
  },
  {
    name: "keys up to a limit",
    read: (t) => [...t.keys({ gt: "a", limit: 1 })],
    conflicting: ["b", "c"],
    harmless: ["", "d", "e"],
  },
  {
    name: "values, backwards up to a limit",
    read: (t) => [...t.values({ reverse: true, limit: 2 })],
    conflicting: ["c", "d", "z"],
    harmless: ["a", "b"],
  },
  {
    name: "a loop that breaks",
    read: (t) => {
      for (const _ of t.entries()) break;
    },
    conflicting: ["", "a"],
    harmless: ["b", "c"],
  },
  {
    name: "an iteration that was not begun",
    read: (t) => t.entries()[Symbol.iterator](),
    conflicting: [],
    harmless: ["a"],
  },
  {
    name: "an iteration of an empty range",
    read: (t) => [...t.keys({ gt: "b", lt: "a" })],
    conflicting: [],
    harmless: ["a", "b", "aa"],
  },
  {
    name: "count",
    read: (t) => t.count({ prefix: "c" }),
    conflicting: ["c", "cc"],
    harmless: ["b", "d"],
  },
  { name: "rank", read: (t) => t.rank("c"), conflicting: ["", "b"], harmless: ["c", "d"] },
  { name: "at", read: (t) => t.at(1), conflicting: ["a", "b", "c"], harmless: ["d", "e"] },
  { name: "at beyond the end", read: (t) => t.at(9), conflicting: ["a", "z"], harmless: [] },
  { name: "sample", read: (t) => t.sample(1), conflicting: ["a", "z"], harmless: [] },
  {
    name: "a read of an own write",
    read: (t) => {
      t.put("a", 10);
      return t.get("a");
    },
    conflicting: [],
    harmless: ["a", "b"],
  },
  { name: "no read", read: () => undefined, conflicting: [], harmless: ["a", "own"] },
];

/** Ways for a write to come in between. */
const WRITERS: readonly {
  readonly name: string;
  readonly write: (database: Numbers, key: string) => Promise<unknown>;
}[] = [
  { name: "a put", write: (database, key) => database.put(key, 100) },
  { name: "a delete", write: (database, key) => database.delete(key) },
  {
    name: "a transaction",
    write: (database, key) => database.transaction((transaction) => transaction.put(key, 100)),
  },
  {
    name: "a put that was flushed",
    write: async (database, key) => {
      await database.put(key, 100);
      await database.flush();
    },
  },
  {
    name: "a range delete",
    write: (database, key) => database.deleteRange({ gte: key, lt: `${key}\u0000` }),
  },
  {
    name: "a range delete that was flushed",
    write: async (database, key) => {
      await database.deleteRange({ gte: key, lt: `${key}\u0000` });
      await database.flush();
    },
  },
];

/** Whether a transaction that reads, and during which a key is written, commits at once. */
async function commitsDespite(
  read: (transaction: NumbersTransaction) => unknown,
  write: () => Promise<unknown>,
  database: Numbers,
): Promise<boolean> {
  let runs = 0;
  let written: Promise<unknown> | undefined;
  await database.transaction(async (transaction) => {
    runs++;
    read(transaction);
    transaction.put("own", runs);
    // Not awaited inside: a transaction that is begun here would be a nested one.
    if (runs === 1) written = outside(write);
    await written;
  });
  expect(database.get("own")).toBe(runs);
  return runs === 1;
}

/** Runs work that is not part of whatever is running. */
function outside(work: () => Promise<unknown>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    pendingWork.push(() => work().then(resolve, reject));
  });
}

const pendingWork: (() => Promise<void>)[] = [];

/** Does the work that is handed to `outside` until the promise settles. */
async function withOutsideWork<T>(promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const settled = promise.finally(() => {
    isSettled = true;
  });
  settled.catch(() => {});
  while (!isSettled) {
    await pendingWork.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return await settled;
}

describe("a conflict", () => {
  for (const { name, read, conflicting, harmless } of READS) {
    test.each(WRITERS)(`of ${name} is one with $name of what was read only`, async ({ write }) => {
      for (const key of conflicting) {
        const database = await openWithLetters();
        const commits = commitsDespite(read, () => write(database, key), database);
        expect(await withOutsideWork(commits), `"${key}" conflicts`).toBe(false);
      }
      for (const key of harmless) {
        const database = await openWithLetters();
        const commits = commitsDespite(read, () => write(database, key), database);
        expect(await withOutsideWork(commits), `"${key}" does not`).toBe(true);
      }
    });
  }

  test("is one with a transaction committed by the same sync", async () => {
    const database = await openWithLetters();
    let runs = 0;
    const increment = (): Promise<void> =>
      database.transaction((transaction) => {
        runs++;
        transaction.put("a", (transaction.get("a") ?? 0) + 1);
      });
    await Promise.all(Array.from({ length: 20 }, increment));
    expect(database.get("a")).toBe(21);
    expect(runs).toBeGreaterThan(20);
  });

  test("is one with a range that is deleted by the same sync", async () => {
    const database = await openWithLetters();
    let runs = 0;
    const reading = database.transaction((transaction) => {
      runs++;
      transaction.put("count", transaction.count({ lt: "count" }));
    });
    // Issued before the transaction's body has ended, so before it in the log.
    await Promise.all([database.deleteRange({ lt: "c" }), reading]);
    expect([database.get("count"), runs]).toEqual([1, 2]);
  });

  test("never stops one that only reads", async () => {
    const database = await openWithLetters();
    let runs = 0;
    const seen = await database.transaction(async (transaction) => {
      runs++;
      const first = transaction.get("a");
      await database.put("a", 100);
      return [first, transaction.get("a"), transaction.count()];
    });
    expect([seen, runs]).toEqual([[1, 1, 3], 1]);
  });

  test("is tried again as often as asked, after backing off", async () => {
    const database = await openWithLetters();
    const waits: number[] = [];
    let runs = 0;
    const losing = database.transaction(
      async (transaction) => {
        runs++;
        transaction.put("b", transaction.get("a") ?? 0);
        await database.put("a", runs);
      },
      { retries: 3, backOff: (retry) => void waits.push(retry) },
    );
    await expect(losing).rejects.toThrow(ConflictError);
    await expect(losing).rejects.toMatchObject({ code: "MEMKV_CONFLICT", attempts: 4 });
    expect([runs, waits, database.has("b")]).toEqual([4, [1, 2, 3], false]);
  });

  test("is what a transaction ends in during which too much was flushed", async () => {
    const database = await openWithLetters();
    let runs = 0;
    const write = async (transaction: NumbersTransaction, flushes: number): Promise<void> => {
      runs++;
      transaction.get("a");
      transaction.put("b", 2);
      for (let i = 0; i < flushes; i++) {
        await database.put("c", i);
        await database.flush();
      }
    };
    await database.transaction((transaction) => write(transaction, 2), { retries: 0 });
    expect(runs).toBe(1);
    const long = database.transaction((transaction) => write(transaction, 3), { retries: 0 });
    await expect(long).rejects.toThrow(ConflictError);
    // Nothing is kept for transactions that have ended.
    await database.transaction((transaction) => write(transaction, 1), { retries: 0 });
    expect(runs).toBe(3);
  });
});

describe("bad use", () => {
  const METHODS: readonly ((transaction: NumbersTransaction) => unknown)[] = [
    (t) => t.get("a"),
    (t) => t.getMany(["a"]),
    (t) => t.has("a"),
    (t) => t.put("a", 1),
    (t) => t.delete("a"),
    (t) => t.entries(),
    (t) => t.keys(),
    (t) => t.values(),
    (t) => t.count(),
    (t) => t.rank("a"),
    (t) => t.at(0),
    (t) => t.sample(1),
  ];

  test("of a transaction that is over", async () => {
    const database = await openWithLetters();
    let escaped: NumbersTransaction | undefined;
    let iterator: Iterator<string> | undefined;
    await database.transaction((transaction) => {
      escaped = transaction;
      iterator = transaction.keys()[Symbol.iterator]();
      expect(iterator.next().value).toBe("a");
    });
    for (const method of METHODS) {
      expect(() => method(escaped as NumbersTransaction)).toThrow(ClosedError);
    }
    expect(() => iterator?.next()).toThrow(ClosedError);
    expect(database.count()).toBe(3);
  });

  test("of a transaction within another", async () => {
    const database = await openWithLetters();
    const nested = database.transaction(async (transaction) => {
      transaction.put("a", 100);
      await new Promise((resolve) => setImmediate(resolve));
      await database.transaction((inner) => inner.put("b", 2));
    });
    await expect(nested).rejects.toThrow(InvalidArgumentError);
    expect([database.get("a"), database.has("b")]).toEqual([1, false]);
    // One of another database is no part of it, and neither is one begun when it is over.
    const other = await openInMemory();
    await database.transaction(() => other.transaction((inner) => inner.put("b", 2)));
    await database.transaction((transaction) => transaction.put("b", 2));
    expect([database.get("b"), other.get("b")]).toEqual([2, 2]);
  });

  test.each([
    [undefined, {}],
    [{}, {}],
    [() => undefined, { retries: -1 }],
    [() => undefined, { retries: 0.5 }],
    [() => undefined, { retries: Number.NaN }],
    [() => undefined, { backOff: 1 }],
    [() => undefined, { durability: "never" }],
    [() => undefined, { isolation: "snapshot" }],
    [() => undefined, null],
  ])("transaction(%o, %o) is refused", async (body, options) => {
    const database = await openWithLetters();
    const refused = database.transaction(body as never, options as never);
    await expect(refused).rejects.toThrow(InvalidArgumentError);
  });

  test("a bad key or value changes nothing, and the transaction goes on", async () => {
    const database = await openWithLetters();
    await database.transaction((transaction) => {
      expect(() => transaction.put("a", undefined as never)).toThrow(InvalidArgumentError);
      expect(() => transaction.put(1 as never, 1)).toThrow(InvalidArgumentError);
      expect(() => transaction.get(null as never)).toThrow(InvalidArgumentError);
      expect(() => transaction.getMany(undefined as never)).toThrow(InvalidArgumentError);
      expect(() => transaction.delete("x".repeat(70_000))).toThrow(InvalidArgumentError);
      transaction.put("b", 2);
    });
    expect([...database.keys()]).toEqual(["a", "b", "c", "e"]);
  });

  test("a database that is closed or read-only takes none", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await open<string, number>("store", { fileSystem });
    const cutShort = database.transaction(async (transaction) => {
      transaction.put("a", 1);
      await database.close();
      return transaction.get("a");
    });
    await expect(cutShort).rejects.toThrow(ClosedError);
    const unread = await open<string, number>("unread", { fileSystem });
    const closings: Promise<void>[] = [];
    const closing = unread.transaction((transaction) => {
      transaction.put("a", 1);
      closings.push(unread.close());
    });
    await expect(closing).rejects.toThrow(ClosedError);
    await Promise.all(closings);
    expect((await openFor<string, number>("unread", { fileSystem })).has("a")).toBe(false);
    await expect(database.transaction(() => undefined)).rejects.toThrow(ClosedError);
    const reader = await openFor<string, number>("store", { fileSystem, readOnly: true });
    await expect(reader.transaction(() => undefined)).rejects.toThrow(ReadOnlyError);
  });
});
