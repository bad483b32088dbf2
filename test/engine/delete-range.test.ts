/** Deleting ranges, as users see it. The model test has the combinations. */
import { describe, expect, test } from "vitest";
import { type Database, InvalidArgumentError, type KeyRange, open } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { openFor, temporaryDirectory } from "./harness.ts";

type TextDatabase = Database<string, string>;

const LETTERS = ["a", "b", "c", "d", "e", "f"];

async function openLetters(fileSystem = new MemoryFileSystem()): Promise<TextDatabase> {
  const database = await openFor<string, string>("store", { fileSystem });
  await database.batch(LETTERS.map((key) => ({ type: "put", key, value: key })));
  return database;
}

const keysOf = (database: Pick<TextDatabase, "keys">): string => [...database.keys()].join("");

/** Where what is deleted lies when it is deleted, and the deletion when it is looked at. */
const PLACES: readonly [string, boolean, (database: TextDatabase) => Promise<void>][] = [
  ["all in the memtable", false, async () => {}],
  ["flushed together", false, (database) => database.flush()],
  ["the deletion in the memtable", true, async () => {}],
  ["the deletion in a newer run", true, (database) => database.flush()],
  ["all merged", true, (database) => database.compact()],
];

describe.each(PLACES)("deleteRange, %s", (_, isFlushedBefore, settle) => {
  const cases: [string, KeyRange<string>, string][] = [
    ["from a key on", { gte: "c" }, "ab"],
    ["after a key", { gt: "c" }, "abc"],
    ["before a key", { lt: "c" }, "cdef"],
    ["up to a key", { lte: "c" }, "def"],
    ["between keys", { gt: "b", lt: "e" }, "abef"],
    ["between keys, both included", { gte: "b", lte: "e" }, "af"],
    ["between keys that are not there", { gte: "aa", lt: "dd" }, "aef"],
    ["with a prefix", { prefix: "d" }, "abcef"],
    ["with every bound", { prefix: "", gte: "a", gt: "a", lt: "f", lte: "d" }, "aef"],
    ["without bounds", {}, ""],
    ["in which no key is", { gt: "c", lt: "d" }, "abcdef"],
    ["that is empty", { gt: "c", lt: "c" }, "abcdef"],
    ["whose bounds contradict each other", { gte: "e", lt: "b" }, "abcdef"],
  ];

  test.each(cases)("%s", async (__, range, left) => {
    const fileSystem = new MemoryFileSystem();
    let database = await openLetters(fileSystem);
    if (isFlushedBefore) await database.flush();
    const snapshot = database.snapshot();
    const iteration = database.keys()[Symbol.iterator]();
    expect(iteration.next().value).toBe("a");
    await database.deleteRange(range);
    await settle(database);
    for (let i = 0; i < 2; i++) {
      expect(keysOf(database)).toBe(left);
      expect([...database.keys({ reverse: true })].reverse().join("")).toBe(left);
      expect(database.count()).toBe(left.length);
      for (const letter of LETTERS) {
        expect(database.has(letter)).toBe(left.includes(letter));
        expect(database.get(letter)).toBe(left.includes(letter) ? letter : undefined);
        expect(database.count({ gte: letter })).toBe(
          [...left].filter((other) => other >= letter).length,
        );
      }
      await database.verify();
      if (i === 1) break;
      expect(keysOf(snapshot)).toBe("abcdef");
      expect(snapshot.count()).toBe(6);
      expect(snapshot.get("c")).toBe("c");
      expect([...iteration].join("")).toBe("bcdef");
      snapshot.close();
      await database.close();
      database = await openFor<string, string>("store", { fileSystem });
    }
  });
});

describe("deleteRange", () => {
  test("deletes what was written before it, and not what is written after", async () => {
    const database = await openLetters();
    await database.batch([
      { type: "put", key: "before", value: "1" },
      { type: "deleteRange", gte: "a", lt: "d" },
      { type: "put", key: "c", value: "after" },
    ]);
    for (const settle of ["flush", "compact"] as const) {
      expect([...database.entries({ lt: "e" })]).toEqual([
        ["c", "after"],
        ["d", "d"],
      ]);
      await database[settle]();
    }
  });

  test("is one write, and none where the range is empty", async () => {
    const database = await openLetters();
    const { lastSeqno } = database.stats();
    await database.deleteRange({});
    expect(database.stats().lastSeqno).toBe(lastSeqno + 1);
    const log = database.stats().disk.log;
    await database.deleteRange({ gt: "b", lt: "a" });
    await database.batch([{ type: "deleteRange", gt: "b", lt: "b" }]);
    expect(database.stats().lastSeqno).toBe(lastSeqno + 1);
    expect(database.stats().disk.log).toBe(log);
  });

  test("is undone by a crash before it is written, and not after", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openLetters(fileSystem);
    await database.deleteRange({ gte: "d" });
    const reader = await open<string, string>("store", { fileSystem, readOnly: true });
    expect(keysOf(reader)).toBe("abc");
    await reader.close();
  });

  test.each(["with compact()", "by itself"])("gives space back %s", async (way) => {
    const database = await openFor<string, string>("store", { fileSystem: new MemoryFileSystem() });
    for (let i = 0; i < 1000; i++) await database.put(`key ${i}`, `${i}`.padEnd(100));
    await database.flush();
    const full = database.stats().disk.total;
    // Less than what is merged for its own sake.
    await database.deleteRange({ gte: "key 1", lt: "key 2" });
    await database.flush();
    expect(database.stats().runs).toMatchObject([
      { keyCount: 0, rangeTombstoneCount: 1, segmentCount: 1 },
      { keyCount: 1000, rangeTombstoneCount: 0 },
    ]);
    const compacted = new Promise((resolve) => database.once("compaction", resolve));
    await database.deleteRange({ prefix: "key" });
    if (way === "with compact()") await database.compact();
    else await database.flush();
    await compacted;
    expect(database.stats().runs).toEqual([]);
    expect(database.stats().disk.total).toBeLessThan(full / 10);
    await database.put("key 1", "again");
    expect([...database.entries()]).toEqual([["key 1", "again"]]);
  });

  test("is flushed by a worker as by the calling thread", async () => {
    const database = await openFor<string, string>(temporaryDirectory(), { background: "worker" });
    await database.batch(LETTERS.map((key) => ({ type: "put", key, value: key })));
    await database.flush();
    await database.deleteRange({ gte: "b", lt: "e" });
    await database.put("c", "new");
    await database.flush();
    expect(keysOf(database)).toBe("acef");
    expect(database.stats().runs[0]).toMatchObject({ keyCount: 1, rangeTombstoneCount: 1 });
    await database.compact();
    expect(keysOf(database)).toBe("acef");
    expect(database.stats().runs).toMatchObject([{ keyCount: 4, rangeTombstoneCount: 0 }]);
  });

  test("makes overlapping ranges of a memtable one", async () => {
    const database = await openLetters();
    await database.flush();
    for (const key of ["a", "c", "b"]) await database.deleteRange({ prefix: key });
    await database.deleteRange({ gte: "e", lt: "ee" });
    await database.flush();
    expect(database.stats().runs[0]).toMatchObject({ keyCount: 0, rangeTombstoneCount: 2 });
    expect(keysOf(database)).toBe("df");
  });

  test.each([
    ["an array", []],
    ["a map", new Map([["gte", "b"]])],
    ["a promise", Promise.resolve({ gte: "b" })],
    ["bytes", new Uint8Array(0)],
  ])("takes %s for no range, least of all for everything", async (_, range) => {
    const database = await openFor<string, number>("store", {
      fileSystem: new MemoryFileSystem(),
    });
    await database.put("a", 1);
    await expect(database.deleteRange(range as object)).rejects.toThrow(InvalidArgumentError);
    expect(database.count()).toBe(1);
  });

  test("of keys as long as keys may be", async () => {
    const options = { keyEncoding: "binary", valueEncoding: "utf8" } as const;
    const database = await openFor<Uint8Array, string>(":memory:", options);
    const keys = [0xfe, 0xff].map((byte) => new Uint8Array(65_536).fill(byte));
    for (const key of keys) await database.put(key, `${key[0]}`);
    await database.deleteRange({ lte: keys[0] });
    expect([...database.values()]).toEqual(["255"]);
    await database.deleteRange({ gt: keys[1] });
    expect([...database.values()]).toEqual(["255"]);
    await database.deleteRange({ gte: keys[1] });
    expect(database.count()).toBe(0);
  });

  const refused: [string, unknown, RegExp][] = [
    ["is missing", undefined, /a range must be an object, not undefined/],
    ["is a string", "a", /a range must be an object, not string a/],
    ["has an unknown field", { from: "a" }, /unknown range option "from"/],
    ["has a limit", { gte: "a", limit: 1 }, /unknown range option "limit"/],
    ["is reversed", { reverse: true }, /unknown range option "reverse"/],
    ["has a bound that is undefined", { prefix: undefined }, /prefix is undefined: leave it out/],
    ["has a bound that cannot be encoded", { gte: 5 }, /must be a string, not number 5/],
  ];

  test.each(refused)("of a range that %s is refused", async (_, range, message) => {
    const database = await openLetters();
    const { lastSeqno } = database.stats();
    const alone = database.deleteRange(range as KeyRange<string>);
    await expect(alone).rejects.toThrow(InvalidArgumentError);
    await expect(alone).rejects.toThrow(message);
    if (typeof range === "object") {
      const operation = { type: "deleteRange" as const, ...(range as KeyRange<string>) };
      await expect(database.batch([{ type: "delete", key: "a" }, operation])).rejects.toThrow(
        InvalidArgumentError,
      );
    }
    expect(database.stats().lastSeqno).toBe(lastSeqno);
    expect(keysOf(database)).toBe("abcdef");
  });
});

describe("beside a big deleted range", () => {
  const SIZES = { memtableBytes: 2 ** 22, segmentBytes: 2 ** 18, blockCacheBytes: 0 };
  const keyOf = (i: number): string => `key ${String(i).padStart(6, "0")}`;

  test("reads look up no more blocks than if the keys had never been", async () => {
    const database = await openFor<string, string>(":memory:", {
      ...SIZES,
      compression: "none",
      compactionTrigger: 64,
    });
    for (let i = 0; i < 20_000; i++) void database.put(keyOf(i), keyOf(i).padEnd(100));
    await database.flush();
    await database.deleteRange({ gt: keyOf(0), lt: keyOf(19_999) });
    for (const place of ["memtable", "run"]) {
      const before = database.stats().blockCache.blocks.misses;
      expect([...database.values()].map((value) => value.trim())).toEqual([
        keyOf(0),
        keyOf(19_999),
      ]);
      expect([...database.keys({ reverse: true })]).toEqual([keyOf(19_999), keyOf(0)]);
      expect(database.count()).toBe(2);
      expect(database.get(keyOf(500))).toBeUndefined();
      expect(database.stats().blockCache.blocks.misses - before, place).toBeLessThanOrEqual(2);
      await database.flush();
    }
  });
});
