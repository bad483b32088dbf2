/** Entries that expire, as users see it. The model test has the combinations. */
import { buffer } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import {
  type Database,
  InvalidArgumentError,
  type OpenOptions,
  type PutOptions,
  repair,
  type Snapshot,
  startsWith,
} from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { filesOf } from "../crash/files.ts";
import { openFor, temporaryDirectory } from "./harness.ts";

type TextDatabase = Database<string, string>;

const START = 1_700_000_000_000;

/** A clock that stands still until it is moved. */
class Clock {
  time = START;
  askedCount = 0;
  readonly now = (): number => {
    this.askedCount++;
    return this.time;
  };
}

interface Setting {
  readonly clock: Clock;
  readonly fileSystem: MemoryFileSystem;
  readonly options: OpenOptions<string, string>;
  readonly database: TextDatabase;
}

async function setUp(options: OpenOptions<string, string> = {}): Promise<Setting> {
  const clock = new Clock();
  const fileSystem = new MemoryFileSystem();
  const all = { valueEncoding: "utf8", ...options, fileSystem, now: clock.now } as const;
  const database = await openFor<string, string>("store", all);
  return { clock, fileSystem, options: all, database };
}

/** Everything that reads say of the keys; they must agree. */
async function keysOf(view: TextDatabase | Snapshot<string, string>): Promise<string> {
  const keys = [...view.keys()];
  const all = ["a", "b", "c", "d", "e"];
  const backwards = [...view.keys({ reverse: true })].reverse();
  expect(backwards).toEqual(keys);
  expect([...view.entries()]).toEqual(keys.map((key) => [key, key]));
  expect([...view.values()]).toEqual(keys);
  expect([...view.search(startsWith(""))].map(([key]) => key)).toEqual(keys);
  expect(all.filter((key) => view.has(key))).toEqual(keys);
  expect(all.map((key) => view.get(key))).toEqual(
    all.map((key) => (keys.includes(key) ? key : undefined)),
  );
  expect(view.getMany(all).filter((value) => value !== undefined)).toEqual(keys);
  expect(view.count()).toBe(keys.length);
  expect(all.map((key) => view.rank(key))).toEqual(
    all.map((key) => keys.filter((other) => other < key).length),
  );
  expect(all.map((_, i) => view.at(i))).toEqual(all.map((_, i) => keys[i]));
  expect(view.sample(5)).toEqual(keys);
  for (const key of all) {
    const stream = view.getStream(key);
    expect(stream && (await buffer(stream)).toString()).toBe(keys.includes(key) ? key : undefined);
  }
  return keys.join("");
}

/** Where the entries are when they are looked at. */
const PLACES: readonly [string, (database: TextDatabase) => Promise<void>][] = [
  ["in the memtable", async () => {}],
  ["in a run", (database) => database.flush()],
  [
    "in several runs",
    async (database) => {
      await database.flush();
      await database.put("a", "a", { ttl: 10 });
      await database.put("d", "d", { ttl: 30 });
      await database.flush();
      await database.put("b", "b", { ttl: 20 });
    },
  ],
  ["in a merged run", (database) => database.compact()],
];

describe.each(PLACES)("entries %s", (_, settle) => {
  test("are there until they expire, and then gone to every read", async () => {
    const { clock, fileSystem, options, database: first } = await setUp();
    let database = first;
    await database.batch([
      { type: "put", key: "a", value: "a", ttl: 10 },
      { type: "put", key: "b", value: "b", ttl: 20 },
      { type: "put", key: "c", value: "c" },
      { type: "put", key: "d", value: "d", ttl: 30 },
    ]);
    await settle(database);
    for (let i = 0; i < 2; i++) {
      for (const [time, keys] of [
        [0, "abcd"],
        [9, "abcd"],
        [9.5, "abcd"],
        [10, "bcd"],
        [19, "bcd"],
        [25, "cd"],
        [30, "c"],
        [1e9, "c"],
        // A clock that is set back shows again what nothing has dropped.
        [12, "bcd"],
        [1, "abcd"],
      ] as const) {
        clock.time = START + time;
        expect(await keysOf(database), `after ${time} ms`).toBe(keys);
      }
      await database.verify();
      await database.close();
      database = await openFor<string, string>("store", { ...options, fileSystem });
    }
  });

  test("are dropped by flushes and compactions once they have expired, for good", async () => {
    const { clock, database } = await setUp();
    await database.put("a", "a", { ttl: 10 });
    await database.put("b", "b", { ttl: 30 });
    await database.put("c", "c");
    await settle(database);
    clock.time += 15;
    await database.compact();
    clock.time -= 15;
    expect([database.has("a"), database.has("b"), database.has("c")]).toEqual([false, true, true]);
    const { runs } = database.stats();
    expect(runs).toMatchObject([{ keyCount: database.count(), tombstoneCount: 0 }]);
    clock.time += 100;
    await database.compact();
    expect(database.stats().runs).toMatchObject([{ keyCount: 1, tombstoneCount: 0 }]);
  });

  test("are as they were to a snapshot and an iteration, whatever expires and is dropped", async () => {
    const { clock, database } = await setUp();
    await database.put("a", "a", { ttl: 10 });
    await database.put("b", "b", { ttl: 20 });
    await database.put("c", "c");
    await settle(database);
    const expected = await keysOf(database);
    const before = database.snapshot();
    const iteration = database.keys()[Symbol.iterator]();
    expect(iteration.next().value).toBe("a");
    clock.time += 15;
    const between = database.snapshot();
    clock.time += 50;
    expect(await keysOf(database)).toBe("c");
    for (const work of [async () => {}, () => database.flush(), () => database.compact()]) {
      await work();
      expect(await keysOf(before)).toBe(expected);
      expect(await keysOf(between)).toBe(expected.replace("a", ""));
      expect(await keysOf(database)).toBe("c");
    }
    expect([...iteration].join("")).toBe(expected.slice(1));
    before.close();
    between.close();
  });
});

test("an expired put hides what it replaced, wherever that is", async () => {
  const { clock, options, fileSystem, database } = await setUp({ compactionTrigger: 16 });
  for (const key of ["a", "b", "c"]) await database.put(key, "old");
  await database.flush();
  await database.put("a", "new", { ttl: 10 });
  await database.flush();
  await database.put("b", "new", { ttl: 10 });
  clock.time += 10;
  expect([...database.keys()]).toEqual(["c"]);
  // The second is written as a tombstone: a flush may not forget it.
  await database.flush();
  expect([...database.keys()]).toEqual(["c"]);
  await database.put("c", "newer", { ttl: 0 });
  await database.close();
  const again = await openFor<string, string>("store", { ...options, fileSystem });
  expect([again.count(), ...again.keys()]).toEqual([0]);
  await again.compact();
  expect(again.stats().runs).toEqual([]);
});

describe("the ttl of the database", () => {
  test("is that of every put without one of its own", async () => {
    const { clock, database } = await setUp({ ttl: 100 });
    await database.put("a", "a");
    await database.put("b", "b", { ttl: 200 });
    await database.put("c", "c", { ttl: Number.POSITIVE_INFINITY });
    database.putSync("d", "d");
    await database.batch([{ type: "put", key: "e", value: "e" }]);
    clock.time += 99;
    expect(await keysOf(database)).toBe("abcde");
    clock.time += 1;
    expect(await keysOf(database)).toBe("bc");
    clock.time += 100;
    expect(await keysOf(database)).toBe("c");
  });

  test("goes for what is written from now on", async () => {
    const { clock, options, database } = await setUp({ ttl: 100 });
    await database.put("a", "a");
    await database.close();
    const again = await openFor<string, string>("store", { ...options, ttl: undefined });
    await again.put("b", "b");
    clock.time += 100;
    expect(await keysOf(again)).toBe("b");
  });
});

test("a tombstone that a flush makes of an expired put is a tombstone like another", async () => {
  const { clock, database } = await setUp({ compactionTrigger: 16 });
  await database.put("a", "old");
  await database.flush();
  await database.put("a", "new", { ttl: 10 });
  await database.put("b", "b", { ttl: 20 });
  clock.time += 10;
  await database.flush();
  expect(database.stats().runs).toMatchObject([{ keyCount: 2, tombstoneCount: 1 }, {}]);
  await database.verify();
  clock.time -= 10;
  expect(await keysOf(database)).toBe("b");
});

test("a ttl of 0 by a clock that says 0 is one that can be stored", async () => {
  const { clock, options, database } = await setUp();
  clock.time = 0;
  await database.put("a", "a", { ttl: 0 });
  await database.close();
  const again = await openFor<string, string>("store", options);
  clock.time = 1;
  expect(await keysOf(again)).toBe("");
});

test("a put gives a key a new ttl, or none", async () => {
  const { clock, database } = await setUp();
  for (const key of ["a", "b", "c"]) await database.put(key, "old", { ttl: 10 });
  await database.flush();
  await database.put("a", "a", { ttl: 50 });
  await database.put("b", "b");
  clock.time += 10;
  expect(await keysOf(database)).toBe("ab");
  clock.time += 1000;
  expect(await keysOf(database)).toBe("b");
});

test("what one batch puts with equal ttls expires together, however long its encoding takes", async () => {
  let time = START;
  const database = await openFor<string, number>(":memory:", { now: () => time++, ttl: 100 });
  const operations = Array.from({ length: 100 }, (_, i) => ({
    type: "put" as const,
    key: `k${i}`,
    value: i,
    ...(i % 2 === 0 ? { ttl: 100 } : {}),
  }));
  await database.batch(operations);
  database.batchSync(
    operations.map((operation) => ({ ...operation, key: `sync ${operation.key}` })),
  );
  const counts = new Set(Array.from({ length: 500 }, () => database.count()));
  expect([...counts]).toEqual([200, 100, 0]);
});

test("a put goes to its own key, also where the clock reads another", async () => {
  let isReading = true;
  const database: TextDatabase = await openFor<string, string>(":memory:", {
    ttl: 100,
    now: () => {
      // Reading asks for the time, too.
      if (!isReading) {
        isReading = true;
        expect(database.get("other")).toBe("other");
        isReading = false;
      }
      return 1000;
    },
  });
  await database.put("other", "other");
  isReading = false;
  await database.put("put", "value");
  database.putSync("putSync", "value");
  await database.put("if absent", "value", { ifAbsent: true });
  await database.batch([{ type: "put", key: "batch", value: "value", ttl: 10 }]);
  await database.transaction((tx) => tx.put("transaction", "value"));
  expect([...database.entries()]).toEqual([
    ["batch", "value"],
    ["if absent", "value"],
    ["other", "other"],
    ["put", "value"],
    ["putSync", "value"],
    ["transaction", "value"],
  ]);
});

test("a ttl may be of any size, in parts of milliseconds too", async () => {
  const { clock, database } = await setUp();
  await database.put("a", "a", { ttl: 0 });
  await database.put("b", "b", { ttl: 0.25 });
  await database.put("c", "c", { ttl: 2 ** 32 });
  await database.put("d", "d", { ttl: Number.MAX_VALUE });
  expect(await keysOf(database)).toBe("bcd");
  await database.flush();
  expect(await keysOf(database)).toBe("bcd");
  clock.time += 1;
  expect(await keysOf(database)).toBe("cd");
  clock.time += 2 ** 32 - 2;
  expect(await keysOf(database)).toBe("cd");
  clock.time = Number.MAX_SAFE_INTEGER - 1;
  expect(await keysOf(database)).toBe("d");
});

describe("conditions", () => {
  test("take what has expired for absent", async () => {
    const { clock, database } = await setUp();
    const lock = async (who: string): Promise<boolean> =>
      database.put("lock", who, { ifAbsent: true, ttl: 10 });
    expect(await lock("ada")).toBe(true);
    expect(await lock("bob")).toBe(false);
    clock.time += 10;
    expect(await lock("bob")).toBe(true);
    expect(database.get("lock")).toBe("bob");
    clock.time += 10;
    expect(await database.put("lock", "x", { ifValue: "bob" })).toBe(false);
    expect(await database.delete("lock", { ifValue: "bob" })).toBe(false);
    expect(await database.put("lock", "x", { ifValue: undefined, ttl: 5 })).toBe(true);
    clock.time += 5;
    expect(database.has("lock")).toBe(false);
  });

  test("see what stands before them in their group, and whether that has expired", async () => {
    const { database } = await setUp();
    const writes = [
      database.put("a", "1", { ttl: 0 }),
      database.put("a", "2", { ifAbsent: true, ttl: 10 }),
      database.put("a", "3", { ifAbsent: true }),
      database.put("a", "4", { ifValue: "2", ttl: 0 }),
      database.put("a", "5", { ifValue: "4" }),
    ];
    expect(await Promise.all(writes)).toEqual([undefined, true, false, true, false]);
    expect(database.has("a")).toBe(false);
  });
});

describe("a transaction", () => {
  test("sees the time of its beginning, to its end, and its own puts", async () => {
    const { clock, database } = await setUp();
    await database.put("a", "a", { ttl: 10 });
    await database.transaction(async (transaction) => {
      transaction.put("b", "b", { ttl: 20 });
      transaction.put("c", "c", { ttl: 0 });
      clock.time += 15;
      transaction.put("d", "d");
      expect([...transaction.keys()].join("")).toBe("abd");
      expect(transaction.count()).toBe(3);
      expect([transaction.get("c"), transaction.at(2), transaction.rank("d")]).toEqual([
        undefined,
        "d",
        2,
      ]);
      expect([...database.keys()].join("")).toBe("");
    });
    expect(await keysOf(database)).toBe("bd");
    clock.time += 5;
    expect(await keysOf(database)).toBe("d");
  });

  test("has the time where its puts are the first that expire", async () => {
    const { clock, database } = await setUp();
    await database.put("a", "a");
    await database.transaction((transaction) => {
      transaction.put("a", "a", { ttl: 0 });
      transaction.put("b", "b", { ttl: 1 });
      clock.time += 1;
      expect([...transaction.keys()]).toEqual(["b"]);
    });
    expect([...database.keys()]).toEqual([]);
  });

  test("has the ttl of the database", async () => {
    const { clock, database } = await setUp({ ttl: 10 });
    await database.transaction((transaction) => {
      transaction.put("a", "a");
      transaction.put("b", "b", { ttl: Number.POSITIVE_INFINITY });
    });
    clock.time += 10;
    expect(await keysOf(database)).toBe("b");
  });
});

describe("a ttl that is none", () => {
  const refused: readonly [string, unknown][] = [
    ["negative", -1],
    ["negative, by a little", -Number.MIN_VALUE],
    ["NaN", Number.NaN],
    ["minus infinity", Number.NEGATIVE_INFINITY],
    ["text", "10"],
    ["null", null],
    ["a bigint", 10n],
  ];

  test.each(refused)("is refused, and nothing written: %s", async (_, value) => {
    const { database, options } = await setUp();
    const ttl = value as number;
    const before = database.stats();
    const attempts: (() => unknown)[] = [
      () => database.put("a", "a", { ttl }),
      () => database.put("a", "a", { ttl, ifAbsent: true }),
      () => database.put("a", "a", { ttl, ifValue: undefined }),
      () => database.putSync("a", "a", { ttl }),
      () =>
        database.batch([
          { type: "delete", key: "b" },
          { type: "put", key: "a", value: "a", ttl },
        ]),
      () => database.batchSync([{ type: "put", key: "a", value: "a", ttl }]),
      () => database.transaction((transaction) => transaction.put("a", "a", { ttl })),
    ];
    for (const attempt of attempts) {
      const refusal = (async (): Promise<unknown> => attempt())();
      await expect(refusal).rejects.toThrow(InvalidArgumentError);
      await expect(refusal).rejects.toMatchObject({ code: "MEMKV_INVALID_ARGUMENT" });
      await expect(refusal).rejects.toThrow(/ttl.* must be a number of milliseconds from 0/);
    }
    expect(database.stats()).toEqual(before);
    const opening = openFor<string, string>("other", { ...options, ttl });
    await expect(opening).rejects.toThrow(/"ttl" must be a number of milliseconds from 0/);
  });

  test("is refused where a write has no use for one", async () => {
    const { database } = await setUp();
    const options: PutOptions = { ttl: 1 };
    await expect(database.delete("a", options)).rejects.toThrow(/unknown option "ttl"/);
    await expect(database.batch([], options)).rejects.toThrow(/unknown option "ttl"/);
  });

  test.each([Number.NaN, -1])("to a clock that says %d nothing has expired", async (time) => {
    const { clock, database } = await setUp();
    const keys = Array.from({ length: 200 }, (_, i) => `k${100 + i}`);
    await database.batch(keys.map((key) => ({ type: "put", key, value: key, ttl: 10 })));
    await database.delete(keys[0]);
    clock.time += 10;
    // What it learns of the stretch goes for later moments, and for no others.
    expect([database.count(), ...database.keys()]).toEqual([0]);
    clock.time = time;
    expect([database.count(), [...database.keys()].length]).toEqual([199, 199]);
    expect(database.get("k107")).toBe("k107");
    expect(await database.put("k107", "x", { ifAbsent: true })).toBe(false);
    await database.transaction((transaction) => {
      expect([...transaction.keys()]).toEqual(keys.slice(1));
    });
  });

  test.each([Number.NaN, -1, 2 ** 60])("nor is one of a clock that says %d", async (time) => {
    const { clock, database } = await setUp();
    clock.time = time;
    await expect(database.put("a", "a", { ttl: 1 })).rejects.toThrow(/"now" must return/);
    await database.put("b", "b");
    expect([...database.keys()]).toEqual(["b"]);
  });
});

test("space of what has expired comes back with the next flush", async () => {
  const { clock, fileSystem, database } = await setUp();
  const value = (i: number): string => `secret ${i}`.padEnd(i % 4 === 0 ? 6000 : 100, "x");
  await database.batch(
    Array.from({ length: 400 }, (_, i) => ({
      type: "put",
      key: `session ${i}`,
      value: value(i),
      ttl: 1000,
    })),
  );
  await database.put("stays", "here");
  await database.flush();
  const { total } = database.stats().disk;
  clock.time += 1000;
  await database.put("other", "1");
  const compacted = new Promise((resolve) => database.once("compaction", resolve));
  await database.flush();
  await compacted;
  expect([...database.keys()]).toEqual(["other", "stays"]);
  expect(database.stats().disk.total).toBeLessThan(total / 5);
  await database.close();
  const bytes = Buffer.concat([...(await filesOf(fileSystem, "store"))].map(([, each]) => each));
  expect(bytes.includes("secret")).toBe(false);
});

test("a range is compacted for what has expired within it, and not for what has elsewhere", async () => {
  const { clock, database } = await setUp({ compactionTrigger: 16 });
  const keyCounts = (): number[] => database.stats().runs.map(({ keyCount }) => keyCount);
  for (const ttl of [Number.POSITIVE_INFINITY, 10]) {
    const letter = ttl === 10 ? "a" : "b";
    const put = { type: "put", value: "x", ttl } as const;
    await database.batch(Array.from({ length: 9 }, (_, i) => ({ ...put, key: `${letter}${i}` })));
    await database.flush();
  }
  clock.time += 10;
  await database.compact({ gte: "b" });
  await database.compact({ gt: "a9", lt: "b0" });
  await database.compact({ gt: "b", lt: "a" });
  expect(keyCounts()).toEqual([9, 9]);
  await database.compact({ lte: "a0" });
  expect(keyCounts()).toEqual([9]);
  expect(database.at(0)).toBe("b0");
});

test("statistics take what has expired for dead, and give a number where nothing lives", async () => {
  const { clock, database } = await setUp();
  const space = (): number => database.stats().amplification.space;
  expect(space()).toBe(1);
  for (const [i, key] of ["a", "b", "c", "d"].entries()) {
    await database.put(key, key, { ttl: i < 2 ? 10 : 20 });
  }
  await database.flush();
  expect(space()).toBe(1);
  clock.time += 10;
  expect(space()).toBe(2);
  clock.time += 10;
  expect(space()).toBe("aabbccdd".length);
});

test("where nothing expires reads do not ask for the time", async () => {
  const { clock, database } = await setUp();
  await database.put("a", "a");
  await database.flush();
  await database.put("b", "b");
  clock.askedCount = 0;
  expect([database.get("a"), database.has("b"), database.count()]).toEqual(["a", true, 2]);
  expect(clock.askedCount).toBe(0);
  await database.put("c", "c", { ttl: 1 });
  clock.askedCount = 0;
  expect(database.getMany(["a", "b", "c"])).toEqual(["a", "b", "c"]);
  expect(clock.askedCount).toBe(1);
});

test("a stretch that an iteration learnt to be expired is there to who sees an earlier time", async () => {
  const { clock, database } = await setUp();
  const all = Array.from({ length: 200 }, (_, i) => `k${String(i).padStart(3, "0")}`);
  // The first expires alone: a reader asks of the stretch where it comes to a tombstone.
  const [first, ...keys] = all;
  const ttlOf = (key: string): number => (key < "k150" ? 10 : 100);
  await database.batch(
    all.map((key) => ({ type: "put", key, value: key, ttl: key === first ? 1 : ttlOf(key) })),
  );
  clock.time += 1;
  const snapshot = database.snapshot();
  clock.time += 9;
  for (let i = 0; i < 2; i++) {
    expect(database.keys({ limit: 1 })[Symbol.iterator]().next().value).toBe("k150");
    expect([...database.keys({ reverse: true })].at(-1)).toBe("k150");
    expect([...snapshot.keys()]).toEqual(keys);
    expect([...snapshot.keys({ reverse: true })].at(-1)).toBe("k001");
  }
  clock.time -= 5;
  expect([...database.keys()]).toEqual(keys);
  await database.put("k010", "again");
  clock.time += 5;
  expect(database.at(0)).toBe("k010");
  expect([...database.keys({ limit: 2 })]).toEqual(["k010", "k150"]);
  snapshot.close();
});

describe("what is copied keeps its expiry", () => {
  async function writeSome(): Promise<Setting> {
    const setting = await setUp();
    const { database } = setting;
    await database.put("a", "a", { ttl: 10 });
    await database.put("b", "b");
    await database.flush();
    await database.put("c", "c", { ttl: 20 });
    return setting;
  }

  async function expectExpiry(database: TextDatabase, clock: Clock): Promise<void> {
    expect(await keysOf(database)).toBe("abc");
    clock.time += 10;
    expect(await keysOf(database)).toBe("bc");
    clock.time += 10;
    expect(await keysOf(database)).toBe("b");
  }

  test("by checkpoint", async () => {
    const { clock, options, database } = await writeSome();
    await database.checkpoint("copy");
    await expectExpiry(await openFor<string, string>("copy", options), clock);
  });

  test("by repair", async () => {
    const { clock, options, fileSystem, database } = await writeSome();
    await database.close();
    const report = await repair("store", "copy", {
      fileSystem,
      now: clock.now,
      valueEncoding: "utf8",
    });
    expect(report).toMatchObject({ keys: 3, lost: [] });
    await expectExpiry(await openFor<string, string>("copy", options), clock);
  });

  test("by a kill, and to a read-only open", async () => {
    const { clock, options, fileSystem } = await writeSome();
    const files = await filesOf(fileSystem, "store");
    const paths = [...files].map(([name, bytes]) => [`store/${name}`, bytes] as const);
    const left = new MemoryFileSystem({ files: new Map(paths), directories: ["store"] });
    const all = { ...options, fileSystem: left };
    const reader = await openFor<string, string>("store", { ...all, readOnly: true });
    await expectExpiry(reader, clock);
    clock.time -= 20;
    await expectExpiry(await openFor<string, string>("store", all), clock);
  });
});

test("the background thread keeps expiries, and drops what has expired", async () => {
  const clock = new Clock();
  const database = await openFor<string, string>(temporaryDirectory(), {
    background: "worker",
    valueEncoding: "utf8",
    now: clock.now,
  });
  await database.put("a", "a", { ttl: 10 });
  await database.put("b", "b", { ttl: 20 });
  await database.put("c", "c");
  await database.flush();
  expect(await keysOf(database)).toBe("abc");
  clock.time += 10;
  await database.compact();
  expect(database.stats().runs).toMatchObject([{ keyCount: 2 }]);
  expect(await keysOf(database)).toBe("bc");
  clock.time += 10;
  expect(await keysOf(database)).toBe("c");
});
