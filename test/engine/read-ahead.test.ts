/**
 * Iterations read a few entries ahead and make their texts together. None of that may show: not in what
 * comes back, not in the order of errors, not in who sees which iteration.
 */
import { describe, expect, test } from "vitest";
import { createCodecs } from "../../src/engine/codecs.ts";
import { EntryIterable, type Pin } from "../../src/engine/iteration.ts";
import {
  type Automaton,
  type Database,
  DatabaseError,
  InvalidArgumentError,
  open,
} from "../../src/index.ts";
import { FaultFileSystem, MemoryFileSystem } from "../../src/testing/index.ts";

const COUNT = 100;

/** Values of every length around the limits of a batch, of each kind of text. */
const TEXTS: readonly (readonly [name: string, valueAt: (i: number) => string])[] = [
  ["empty", () => ""],
  ["short and ASCII", (i) => `value ${i}`],
  ["of all lengths", (i) => "x".repeat((i * 17) % 700)],
  ["not ASCII now and then", (i) => (i % 7 === 3 ? `grün ${i} \u{1f600}` : `green ${i}`)],
  ["long now and then", (i) => (i % 10 === 5 ? "y".repeat(20_000) : `y${i}`)],
];

const KEYS: readonly (readonly [name: string, keyOf: (i: number) => string])[] = [
  ["ASCII", (i) => `key ${1000 + i}`],
  ["not ASCII", (i) => `schlüssel ${1000 + i}`],
  ["long", (i) => `${"k".repeat(400)}${1000 + i}`],
];

async function fill<V>(
  db: Database<string, V>,
  keyOf: (i: number) => string,
  valueAt: (i: number) => V,
): Promise<[string, V][]> {
  const entries: [string, V][] = [];
  for (let i = 0; i < COUNT; i++) entries.push([keyOf(i), valueAt(i)]);
  await db.batch(entries.map(([key, value]) => ({ type: "put", key, value })));
  return entries;
}

describe.each([true, false])("flushed: %s", (isFlushed) => {
  describe.each(["utf8", "msgpack", "json"] as const)("values in %s", (valueEncoding) => {
    const cases = KEYS.flatMap((key) => TEXTS.map((text) => [...key, ...text] as const));
    test.each(cases)("%s keys, values %3$s", async (_key, keyOf, _text, valueAt) => {
      const db = (await open(":memory:", { valueEncoding })) as Database<string, unknown>;
      const entries = await fill<unknown>(db, keyOf, valueAt);
      if (isFlushed) await db.flush();
      expect([...db.entries()]).toEqual(entries);
      expect([...db.keys()]).toEqual(entries.map(([key]) => key));
      expect([...db.values()]).toEqual(entries.map(([, value]) => value));
      expect([...db.entries({ reverse: true })]).toEqual(entries.toReversed());
      for (const limit of [0, 1, 15, 16, 17, 33, COUNT, COUNT + 1]) {
        expect([...db.entries({ limit })]).toEqual(entries.slice(0, limit));
      }
      await db.close();
    });
  });

  test("texts and other values side by side", async () => {
    const db = await open(":memory:");
    const valueAt = (i: number): unknown => [`text ${i}`, i * 1.5, { i }, [i], null, ""][i % 6];
    const entries = await fill<unknown>(db, (i) => `key ${1000 + i}`, valueAt);
    if (isFlushed) await db.flush();
    expect([...db.entries()]).toEqual(entries);
    await db.close();
  });
});

test("what was taken stays as it is while the iteration and others go on", async () => {
  const db = await open(":memory:", { valueEncoding: "utf8" });
  const entries = await fill(
    db,
    (i) => `key ${1000 + i}`,
    (i) => `value ${i}`,
  );
  const taken: [string, string][] = [];
  for (const entry of db.entries()) {
    taken.push(entry);
    // Begins, and ends early, in the middle of the other's batch.
    for (const key of db.keys({ gt: entry[0] })) {
      expect(key > entry[0]).toBe(true);
      break;
    }
    expect([...db.values({ limit: 3 })]).toEqual(["value 0", "value 1", "value 2"]);
  }
  expect(taken).toEqual(entries);
  await db.close();
});

test("a value that cannot be decoded throws when its turn has come", async () => {
  const valueEncoding = {
    name: "picky",
    encode: (value: string): Uint8Array => Buffer.from(value),
    decode: (bytes: Uint8Array): string => {
      const text = Buffer.from(bytes).toString();
      if (text === "bad") throw new InvalidArgumentError("bad");
      return text;
    },
  };
  for (let bad = 0; bad < 40; bad++) {
    const db = await open(":memory:", { valueEncoding });
    const entries = await fill(
      db,
      (i) => `key ${1000 + i}`,
      (i) => (i === bad ? "bad" : `value ${i}`),
    );
    const taken: [string, string][] = [];
    const iterator = db.entries({ limit: 39 });
    const take = (): void => {
      for (const entry of iterator) taken.push(entry);
    };
    if (bad < 39) expect(take).toThrow(InvalidArgumentError);
    else take();
    expect(taken).toEqual(entries.slice(0, bad));
    await db.close();
  }
});

test("an iteration that was ended yields nothing that was read ahead", async () => {
  const db = await open(":memory:", { valueEncoding: "utf8" });
  await fill(
    db,
    (i) => `key ${1000 + i}`,
    (i) => `value ${i}`,
  );
  const iterator = db.entries({ limit: 10 })[Symbol.iterator]();
  expect(iterator.next().done).toBe(false);
  iterator.return();
  expect(iterator.next()).toEqual({ done: true, value: undefined });
  await db.close();
});

describe("a decode that reaches into the iteration it is from", () => {
  /** A database whose values are decoded with `hook` called each time, and one of another. */
  async function openHooked(): Promise<{
    db: Database<string, string>;
    other: Database<string, unknown>;
    entries: [string, string][];
    hooked: { hook: (value: string) => void };
  }> {
    const hooked = { hook: (_value: string): void => {} };
    const valueEncoding = {
      name: "hooked",
      encode: (value: string): Uint8Array => Buffer.from(value),
      decode: (bytes: Uint8Array): string => {
        const value = Buffer.from(bytes).toString();
        hooked.hook(value);
        return value;
      },
    };
    const db = await open(":memory:", { valueEncoding });
    const entries = await fill(
      db,
      (i) => `key ${1000 + i}`,
      (i) => `value ${i}`,
    );
    await db.flush();
    const other = await open(":memory:");
    await other.put("other", "database");
    return { db, other, entries, hooked };
  }

  test.each(["next", "nextMany"] as const)("may end it: %s", async (method) => {
    for (let end = 0; end < 20; end++) {
      const { db, other, entries, hooked } = await openHooked();
      const iterator = db.entries({ limit: 40 })[Symbol.iterator]();
      hooked.hook = (value): void => {
        if (value !== `value ${end}`) return;
        expect(iterator.return()).toEqual({ done: true, value: undefined });
        // Whatever is read from here on is not the iteration's any more.
        expect([...other.entries()]).toEqual([["other", "database"]]);
      };
      const taken: [string, string][] = [];
      if (method === "nextMany") expect(iterator.nextMany(taken, 40)).toBe(false);
      else for (const entry of iterator) taken.push(entry);
      expect(taken).toEqual(entries.slice(0, taken.length));
      expect(taken.length).toBeLessThanOrEqual(end);
      expect(db.stats().pinned).toEqual([]);
      hooked.hook = (): void => {};
      expect([...other.entries()]).toEqual([["other", "database"]]);
      expect([...db.entries({ gte: "key 1090", lt: "key 1092" })]).toEqual(entries.slice(90, 92));
      expect(iterator.next()).toEqual({ done: true, value: undefined });
      await db.close();
      await other.close();
    }
  });

  test.each(["next", "nextMany"] as const)("may not advance it: %s", async (method) => {
    const { db, entries, hooked } = await openHooked();
    const iterator = db.entries({ limit: 40 })[Symbol.iterator]();
    let refused = 0;
    hooked.hook = (): void => {
      expect(() => (method === "next" ? iterator.next() : iterator.nextMany([], 3))).toThrow(
        InvalidArgumentError,
      );
      refused++;
    };
    expect([...iterator]).toEqual(entries.slice(0, 40));
    expect(refused).toBe(40);
    await db.close();
  });

  test("may throw after it ended it", async () => {
    const { db, other, hooked } = await openHooked();
    const iterator = db.entries()[Symbol.iterator]();
    hooked.hook = (): void => {
      iterator.return();
      throw new RangeError("enough");
    };
    expect(() => iterator.next()).toThrow(RangeError);
    expect(db.stats().pinned).toEqual([]);
    expect([...other.entries()]).toEqual([["other", "database"]]);
    await db.close();
    await other.close();
  });

  test("and an array whose push ends it gets nothing more", async () => {
    const { db, entries } = await openHooked();
    const iterator = db.entries({ limit: 40 })[Symbol.iterator]();
    class Ending extends Array<[string, string]> {
      override push(...items: [string, string][]): number {
        iterator.return();
        return super.push(...items);
      }
    }
    const taken = new Ending();
    expect(iterator.nextMany(taken, 10)).toBe(false);
    expect([...taken]).toEqual(entries.slice(0, 1));
    await db.close();
  });
});

test("an automaton's step may end the search", async () => {
  const db = await open(":memory:", { valueEncoding: "utf8" });
  const entries = await fill(
    db,
    (i) => `key ${1000 + i}`,
    (i) => `value ${i}`,
  );
  let steps = 0;
  const everything: Automaton = {
    start: 1,
    step: (state) => {
      if (++steps === 30) iterator.return();
      return state;
    },
    isMatch: () => true,
  };
  const iterator = db.search(everything, { limit: 40 })[Symbol.iterator]();
  const taken = [...iterator];
  expect(taken).toEqual(entries.slice(0, taken.length));
  expect(steps).toBeGreaterThanOrEqual(30);
  expect(db.stats().pinned).toEqual([]);
  expect([...db.entries({ limit: 3 })]).toEqual(entries.slice(0, 3));
  await db.close();
});

describe("how far is read ahead", () => {
  /** Bytes of the values that were decoded at the time of each step but were not yet yielded. */
  async function bytesAhead(valueBytes: (i: number) => number, limit: number): Promise<number[]> {
    let decoded = 0;
    const valueEncoding = {
      name: "counting",
      encode: (value: number): Uint8Array => new Uint8Array(value),
      decode: (bytes: Uint8Array): number => {
        decoded += bytes.length;
        return bytes.length;
      },
    };
    const db = await open(":memory:", { valueEncoding });
    await fill<number>(db, (i) => `key ${1000 + i}`, valueBytes);
    await db.flush();
    const ahead: number[] = [];
    for (const value of db.values({ limit })) {
      decoded -= value;
      ahead.push(decoded);
    }
    await db.close();
    return ahead;
  }

  test.each([40, Number.POSITIVE_INFINITY])(
    "not at all for large values, limit %s",
    async (limit) => {
      const ahead = await bytesAhead(() => 100_000, limit);
      expect(Math.max(...ahead)).toBe(0);
    },
  );

  test("by some kilobytes for values of a middling size", async () => {
    const ahead = await bytesAhead(() => 1000, 40);
    expect(Math.max(...ahead)).toBe(4000);
  });

  test("by one large value where small ones come before it", async () => {
    const ahead = await bytesAhead((i) => (i % 4 === 3 ? 100_000 : 100), 40);
    expect(Math.max(...ahead)).toBeLessThan(100_000 + 4096);
  });

  test("by a batch for small values", async () => {
    const ahead = await bytesAhead(() => 10, 40);
    expect(ahead[0]).toBe(150);
  });
});

describe("nextMany", () => {
  async function openWithThree(): Promise<Database<string, unknown>> {
    const db = await open(":memory:");
    for (const key of ["a", "b", "c"]) await db.put(key, key);
    return db;
  }

  test.each([Number.NaN, undefined, null, -1, 0, 1.5, "2", Number.NEGATIVE_INFINITY])(
    "refuses to take %s items, and goes on",
    async (length) => {
      const db = await openWithThree();
      const iterator = db.keys()[Symbol.iterator]();
      const items: string[] = [];
      const take = (): unknown => iterator.nextMany(items, length as number);
      expect(take).toThrow(InvalidArgumentError);
      expect(items).toEqual([]);
      expect([...iterator]).toEqual(["a", "b", "c"]);
      // Also when there is nothing left to take.
      expect(take).toThrow(InvalidArgumentError);
      await db.close();
    },
  );

  test.each([undefined, null, "", {}, new Uint8Array(2)])(
    "needs an array, not %s",
    async (items) => {
      const db = await openWithThree();
      const iterator = db.keys()[Symbol.iterator]();
      const take = (): unknown => iterator.nextMany(items as unknown as string[], 2);
      expect(take).toThrow(InvalidArgumentError);
      expect([...iterator]).toEqual(["a", "b", "c"]);
      await db.close();
    },
  );

  test("does not know that it took the last", async () => {
    const db = await openWithThree();
    const iterator = db.keys()[Symbol.iterator]();
    const items: string[] = [];
    expect(iterator.nextMany(items, 3)).toBe(true);
    expect(items).toEqual(["a", "b", "c"]);
    expect(iterator.nextMany(items, 3)).toBe(true);
    expect(db.stats().pinned).toHaveLength(1);
    expect(iterator.nextMany(items, 4)).toBe(false);
    expect(items).toEqual(["a", "b", "c"]);
    expect(db.stats().pinned).toEqual([]);
    await db.close();
  });

  test("takes all that are left with Infinity", async () => {
    const db = await openWithThree();
    const iterator = db.keys()[Symbol.iterator]();
    iterator.next();
    const items: string[] = [];
    expect(iterator.nextMany(items, Number.POSITIVE_INFINITY)).toBe(false);
    expect(items).toEqual(["b", "c"]);
    await db.close();
  });
});

test("an iteration that cannot begin lets go of its moment", () => {
  let released = 0;
  const refused = Object.assign(new Error("EIO: i/o error, read"), { syscall: "read" });
  const pin: Pin = {
    get sources(): never {
      throw refused;
    },
    seqno: 1,
    time: 0,
    dead: undefined,
    checkOpen: (): void => {},
    learnDead: (): void => {},
    watch: (): void => {},
    release: (): void => {
      released++;
    },
  };
  const codecs = createCodecs<string, string>({ keyEncoding: "utf8", valueEncoding: "utf8" });
  const everything = { bounds: { lower: undefined, upper: undefined }, isReverse: false, limit: 1 };
  const project = { hasKeys: false, hasValues: false, of: (): undefined => undefined };
  const iterable = new EntryIterable(() => pin, everything, codecs, project);
  expect(() => iterable[Symbol.iterator]()).toThrow(DatabaseError);
  expect(released).toBe(1);
});

test.each([false, true])(
  "a block is read by itself where reading ahead of it fails, in reverse: %s",
  async (reverse) => {
    const disk = new FaultFileSystem(new MemoryFileSystem());
    const options = { fileSystem: disk, valueEncoding: "utf8", compression: "none" } as const;
    const db = await open("store", { ...options, blockCacheBytes: 0 });
    const keys = Array.from({ length: 200 }, (_, i) => `key ${1000 + i}`);
    for (const key of keys) void db.put(key, key.repeat(100));
    await db.flush();
    if (reverse) keys.reverse();
    /** What comes before an error, if there is one. */
    const scan = (): string[] => {
      const seen: string[] = [];
      try {
        for (const [key, value] of db.entries({ reverse })) {
          expect(value).toBe(key.repeat(100));
          seen.push(key);
        }
      } catch (error) {
        expect(error).toMatchObject({ code: "MEMKV_IO" });
      }
      return seen;
    };
    const before = disk.operationCount("read");
    expect(scan()).toEqual(keys);
    const readCount = disk.operationCount("read") - before;
    expect(readCount).toBeGreaterThan(5);
    const cutShort: number[] = [];
    for (let nth = 1; nth <= readCount; nth++) {
      disk.inject({ kinds: ["read"], nth, effect: { kind: "fail", code: "EIO" } });
      const seen = scan();
      expect(seen).toEqual(keys.slice(0, seen.length));
      if (seen.length < keys.length) cutShort.push(nth);
    }
    expect(disk.struck).toHaveLength(readCount);
    // The first block is read without others.
    expect(cutShort).toEqual([1]);
    await db.close();
  },
);
