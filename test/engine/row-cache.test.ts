import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BlockCache } from "../../src/cache/block-cache.ts";
import { CacheRing, LAST_POSITION } from "../../src/cache/ring.ts";
import { ValueView } from "../../src/cursor/value-view.ts";
import { RowCache } from "../../src/engine/row-cache.ts";
import { EntryKind, NEVER } from "../../src/entry.ts";
import {
  ClosedError,
  type Database,
  type KeyEncoding,
  type OpenOptions,
  open,
} from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { keyHash } from "../../src/segment/filter.ts";
import { Random } from "../../src/testing/random.ts";
import { parameters } from "../model/parameters.ts";
import { openFor, temporaryDirectory } from "./harness.ts";

const found = new ValueView();

/** Pairs of keys with one hash, of one length and of two. */
const COLLIDING = [
  ["0qprhg1mx243", "0mfo430h0u0m"],
  ["05xrdo0qpew1", "1rl0kh0ysc7j"],
  ["k94515", "k167820"],
] as const;

/** Rows alone in a ring. */
function rowCache(capacityBytes: number, firstPosition?: number): RowCache {
  return new RowCache(new CacheRing(capacityBytes, firstPosition), 0);
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function insert(cache: RowCache, key: string, value: string): void {
  const bytes = bytesOf(key);
  const view = new ValueView();
  // Not at the beginning, as in a block.
  view.set(bytesOf(`--${value}--`), 2, 2 + bytesOf(value).length);
  cache.insert(bytes, bytes.length, keyHash(bytes, bytes.length), view);
}

function find(cache: RowCache, key: string): string | undefined {
  const bytes = bytesOf(key);
  if (!cache.find(bytes, bytes.length, keyHash(bytes, bytes.length), found)) return undefined;
  return new TextDecoder().decode(found.bytes.slice(found.start, found.end));
}

/** As a reader does: the value, after a look-up in `content` where the cache does not have it. */
function read(cache: RowCache, content: ReadonlyMap<string, string>, key: string): void {
  const cached = find(cache, key);
  if (cached !== undefined) {
    expect(cached).toBe(content.get(key));
    return;
  }
  const value = content.get(key);
  if (value !== undefined) insert(cache, key, value);
}

/** A put, or a delete where there is no value. */
function write(cache: RowCache, key: string, value?: string, expiry = NEVER): void {
  const bytes = bytesOf(`--${key}--`);
  const valueBytes = bytesOf(`-${value ?? ""}-`);
  const kind = value === undefined ? EntryKind.tombstone : EntryKind.put;
  cache.add(bytes, 2, bytes.length - 2, 1, kind, valueBytes, 1, valueBytes.length - 1, expiry);
}

describe("a row cache", () => {
  test("has what was put in, of any length up to its limit", () => {
    const cache = rowCache(2 ** 20);
    const lengths = [0, 1, 2, 3, 4, 5, 63, 64, 65, 500, 2000];
    for (const length of lengths) insert(cache, "k".repeat(length), "v".repeat(length + 1));
    for (const length of lengths) {
      expect(find(cache, "k".repeat(length))).toBe("v".repeat(length + 1));
    }
    expect(find(cache, "k".repeat(6))).toBeUndefined();
    expect(cache).toMatchObject({ hits: lengths.length, misses: 1 });
  });

  test("does not take rows that are too large", () => {
    const cache = rowCache(2 ** 20);
    insert(cache, "key", "v".repeat(4096 - 4 - 3));
    insert(cache, "larger", "v".repeat(4096));
    insert(cache, "k".repeat(5000), "value");
    expect(find(cache, "key")).toHaveLength(4089);
    expect(find(cache, "larger")).toBeUndefined();
    expect(find(cache, "k".repeat(5000))).toBeUndefined();
    const small = rowCache(2 ** 10);
    insert(small, "key", "v".repeat(120));
    expect(find(small, "key")).toBeUndefined();
  });

  test("takes large rows up to a part of a large cache", () => {
    const cache = rowCache(2 ** 22);
    const rowBytes = new CacheRing(2 ** 22).memory.length;
    expect(rowBytes).toBeGreaterThan(2 ** 22 * 0.86);
    const largest = Math.floor(rowBytes / 256 / 4) * 4 - 4 - 3;
    insert(cache, "yes", "v".repeat(largest));
    insert(cache, "not", "w".repeat(largest + 1));
    expect(find(cache, "yes")).toBe("v".repeat(largest));
    expect(find(cache, "not")).toBeUndefined();
    const larger = rowCache(2 ** 26);
    insert(larger, "yes", "v".repeat(65_536 - 7));
    insert(larger, "not", "w".repeat(65_536 - 6));
    insert(larger, "k".repeat(4096), "value");
    expect(find(larger, "yes")).toBe("v".repeat(65_536 - 7));
    expect(find(larger, "not")).toBeUndefined();
    expect(find(larger, "k".repeat(4096))).toBeUndefined();
  });

  test("keeps its rows in order beside keys that are longer than a header can say", () => {
    const content = new Map<string, string>();
    for (let i = 0; i < 800; i++) content.set(`${i}`.padEnd(4090 + (i % 12), "k"), `value ${i}`);
    const ring = new CacheRing(2 ** 21);
    const cache = new RowCache(ring, 0);
    for (const round of [1, 2]) {
      for (const key of content.keys()) {
        read(cache, content, key);
        read(cache, content, key);
        // No more rows leave than make room for another.
        if (round === 2) expect(ring.bytes).toBeGreaterThan(0.9 * ring.capacityBytes);
        expect(ring.bytes).toBeLessThanOrEqual(ring.capacityBytes);
      }
    }
  });

  /**
   * Reads rows of some lengths in turn, each of another key, into a full cache. Returns of each length
   * which part was let in, where something had to give way.
   */
  function letIn(rowBytes: readonly number[]): number[] {
    const cache = rowCache(2 ** 16);
    for (let i = 0; i < 600; i++) insert(cache, `old${i}`.padEnd(6), "v".repeat(118));
    const counts = rowBytes.map(() => ({ missed: 0, found: 0 }));
    for (let i = 0; i < 9000; i++) {
      const kind = i % rowBytes.length;
      // A row has 4 bytes of header and 6 of key.
      const value = "v".repeat(rowBytes[kind] - 10);
      const key = `${i}`.padEnd(6);
      insert(cache, key, value);
      // What made way for a longer row may have left room.
      if (find(cache, key) !== undefined) continue;
      insert(cache, key, value);
      counts[kind].missed++;
      if (find(cache, key) === value) counts[kind].found++;
    }
    return counts.map(({ missed, found }) => found / missed);
  }

  test.each([
    [[128]],
    [[132]],
    [[256]],
    [[1024]],
    [[1028]],
    // To let in each second, fourth or eighth miss would let in none of some of these.
    [[256, 512]],
    [[256, 256, 1024]],
    [[384, 1152]],
    [[512, 1024, 256, 2048]],
  ])(
    "lets long rows into a full ring at one in so many misses as they are longer than 128 bytes: %j",
    (rowBytes) => {
      for (const [i, part] of letIn(rowBytes).entries()) {
        expect((part * rowBytes[i]) / 128).toBeGreaterThan(0.8);
        expect((part * rowBytes[i]) / 128).toBeLessThan(1.25);
      }
    },
  );

  test("lets keys in at their first miss as long as there is room, then at their second", () => {
    const cache = rowCache(2 ** 12);
    let count = 0;
    for (; ; count++) {
      insert(cache, `key ${count}`, "value");
      if (find(cache, `key ${count}`) === undefined) break;
    }
    expect(count).toBeGreaterThan(100);
    insert(cache, `key ${count}`, "value");
    expect(find(cache, `key ${count}`)).toBe("value");
    // What a write took out was wanted.
    write(cache, `key ${count}`);
    expect(find(cache, `key ${count}`)).toBeUndefined();
    insert(cache, `key ${count}`, "other");
    expect(find(cache, `key ${count}`)).toBe("other");
  });

  test("keeps what is found again and again, whatever else is read", () => {
    const cache = rowCache(2 ** 14);
    const content = new Map<string, string>();
    for (let i = 0; i < 5000; i++) content.set(`key ${i}`, `value ${i}`);
    for (let i = 0; i < 20; i++) read(cache, content, `key ${i}`);
    const random = new Random(1);
    let hits = 0;
    for (let i = 0; i < 20_000; i++) {
      if (find(cache, `key ${i % 20}`) !== undefined) hits++;
      else insert(cache, `key ${i % 20}`, `value ${i % 20}`);
      const other = `key ${random.below(5000)}`;
      read(cache, content, other);
      read(cache, content, other);
    }
    expect(hits).toBeGreaterThan(19_000);
  });

  test("forgets a key that is written to, and everything when a range is deleted", () => {
    const cache = rowCache(2 ** 16);
    for (const key of ["a", "b", "c"]) insert(cache, key, key);
    write(cache, "b");
    expect(["a", "b", "c"].map((key) => find(cache, key))).toEqual(["a", undefined, "c"]);
    cache.deleteRange();
    expect(["a", "b", "c"].map((key) => find(cache, key))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(cache.isEmpty).toBe(true);
    expect(cache.bytes).toBe(0);
    insert(cache, "b", "2");
    expect(find(cache, "b")).toBe("2");
  });

  test("tells keys with one hash apart, also where one begins with the other", () => {
    const cache = rowCache(2 ** 16);
    const hash = 12_345;
    for (const key of ["one", "two"]) {
      found.set(bytesOf(key), 0, key.length);
      cache.insert(bytesOf(key), key.length, hash, found);
    }
    for (const key of ["one", "two"]) {
      expect(cache.find(bytesOf(key), key.length, hash, found)).toBe(true);
      expect(new TextDecoder().decode(found.bytes.slice(found.start, found.end))).toBe(key);
    }
    for (const key of ["ten", "on", "ones", ""]) {
      expect(cache.find(bytesOf(key), key.length, hash, found), key).toBe(false);
    }
  });

  test("has what a put of as much room wrote, and forgets the key at any other", () => {
    const cache = rowCache(2 ** 16);
    const known = () => ["a", "b", "c"].map((key) => find(cache, key));
    for (const key of ["a", "b", "c"]) insert(cache, key, "value");
    write(cache, "b", "other");
    expect(known()).toEqual(["value", "other", "value"]);
    // Key and value in two words, then in three.
    write(cache, "b", "longer!");
    expect(known()).toEqual(["value", "longer!", "value"]);
    write(cache, "b", "longest!");
    expect(known()).toEqual(["value", undefined, "value"]);
    write(cache, "a", "other", 1000);
    expect(known()).toEqual([undefined, undefined, "value"]);
    write(cache, "c", "val");
    expect(known()).toEqual([undefined, undefined, undefined]);
  });

  test.each(COLLIDING)(
    "tells a write to %s from one to %s, though they have one hash",
    (one, other) => {
      const hash = keyHash(bytesOf(one), one.length);
      expect(keyHash(bytesOf(other), other.length)).toBe(hash);
      for (const written of [one, other]) {
        const cache = rowCache(2 ** 16);
        for (const key of [one, other]) insert(cache, key, `value of ${key}`);
        for (const key of [one, other]) expect(find(cache, key)).toBe(`value of ${key}`);
        write(cache, written);
        for (const key of [one, other]) {
          expect(find(cache, key)).toBe(key === written ? undefined : `value of ${key}`);
        }
        for (const key of [one, other]) write(cache, key, `other of ${key}`);
        for (const key of [one, other]) {
          expect(find(cache, key)).toBe(key === written ? undefined : `other of ${key}`);
        }
      }
    },
  );

  test("is empty once all that it had was deleted", () => {
    const cache = rowCache(2 ** 16);
    for (const key of ["a", "b"]) insert(cache, key, "value");
    write(cache, "a");
    expect(cache).toMatchObject({ bytes: 12, isEmpty: false });
    write(cache, "b");
    expect(cache).toMatchObject({ bytes: 0, isEmpty: true });
  });

  test("takes as many rows after a range was deleted as before, blocks beside them or not", () => {
    for (const hasBlock of [false, true]) {
      // One set, so that these fill it.
      const blocks = new BlockCache(1000);
      const cache = new RowCache(blocks.ring, 0);
      if (hasBlock) expect(blocks.insert(1, 0, 8)).toBeGreaterThanOrEqual(0);
      const keys = Array.from({ length: 7 }, (_, i) => `key ${i}`);
      for (let round = 0; round < 2; round++) {
        for (const key of keys) insert(cache, key, `${round}`);
        for (const key of keys) expect(find(cache, key)).toBe(`${round}`);
        cache.deleteRange();
        for (const key of keys) expect(find(cache, key)).toBeUndefined();
      }
      expect(blocks.peek(1, 0) >= 0).toBe(hasBlock);
    }
  });

  test("forgets a key wherever in its set it is", () => {
    // One set, so that these fill it.
    const keys = Array.from({ length: 7 }, (_, i) => `key ${i}`);
    for (const written of keys) {
      const cache = rowCache(1000);
      for (const key of keys) insert(cache, key, "value");
      for (const key of keys) expect(find(cache, key)).toBe("value");
      write(cache, written);
      for (const key of keys) expect(find(cache, key)).toBe(key === written ? undefined : "value");
    }
  });

  test("lets a key in at its first miss after a write took it out, though it is full", () => {
    const cache = rowCache(1000);
    const long = "v".repeat(70);
    for (let i = 0; i < 30; i++) for (let j = 0; j < 2; j++) insert(cache, `key ${i}`, long);
    expect(find(cache, "key 29")).toBe(long);
    // The two keys that were missed last are others now.
    for (const key of ["other", "another"]) insert(cache, key, long);
    for (const key of ["other", "another"]) expect(find(cache, key)).toBeUndefined();
    write(cache, "key 29");
    const other = "w".repeat(70);
    insert(cache, "key 29", other);
    expect(find(cache, "key 29")).toBe(other);
  });

  test("lets go of what was found once and then no more", () => {
    const cache = rowCache(2 ** 12);
    insert(cache, "found", "value");
    expect(find(cache, "found")).toBe("value");
    for (let i = 0; i < 1000; i++) for (let j = 0; j < 2; j++) insert(cache, `${i}`, "value");
    expect(find(cache, "found")).toBeUndefined();
  });

  test("counts its rows, and the tables once there is one", () => {
    const ring = new CacheRing(2 ** 10);
    const cache = new RowCache(ring, 0);
    expect(ring.bytes).toBe(0);
    insert(cache, "key", "value");
    // 4 bytes of header, 8 of key and value; two sets of 64 bytes for rows, one for blocks.
    expect(cache.bytes).toBe(4 + 8);
    expect(ring.bytes).toBe(4 + 8 + 3 * 64);
  });

  test("is right, and within its budget, whatever is read and written", () => {
    // Few keys are read often, so that rows are found, written to and in the way of others.
    const keys = [
      ...COLLIDING.flat(),
      "",
      ...Array.from({ length: 40 }, (_, i) => `${i}`.repeat(1 + (i % 7))),
      "k".repeat(150),
      "k".repeat(5000),
    ];
    const anySizes = fc.constantFrom(
      1,
      64,
      68,
      200,
      512,
      600,
      1000,
      2048,
      3000,
      2 ** 14,
      2 ** 16,
      2 ** 21,
    );
    let hits = 0;
    fc.assert(
      fc.property(
        anySizes,
        fc.constantFrom(1, LAST_POSITION - 500),
        fc.constantFrom(3, 20, 200, 5000),
        fc.integer(),
        (capacityBytes, firstPosition, valueBytes, seed) => {
          const random = new Random(seed);
          const ring = new CacheRing(capacityBytes, firstPosition);
          const cache = new RowCache(ring, 0);
          const content = new Map<string, string>();
          const order = [...keys].sort(() => random.below(3) - 1);
          for (let i = 0; i < 2000; i++) {
            const key = order[Math.min(random.below(order.length), random.below(order.length))];
            const step = random.below(600);
            if (step > 60) {
              read(cache, content, key);
            } else if (step > 0) {
              if (random.oneIn(4)) content.delete(key);
              else if (random.oneIn(2)) content.set(key, `${i}`.padEnd(random.below(valueBytes)));
              else content.set(key, `${i}`.padEnd(content.get(key)?.length ?? 0));
              write(cache, key, content.get(key));
            } else {
              content.clear();
              cache.deleteRange();
            }
            if (ring.bytes > capacityBytes) expect(ring.bytes).toBeLessThanOrEqual(capacityBytes);
          }
          hits += cache.hits;
        },
      ),
      parameters(300),
    );
    expect(hits).toBeGreaterThan(0);
  });

  test("goes on where positions come to their end", () => {
    const content = new Map<string, string>();
    for (let i = 0; i < 300; i++) content.set(`key ${i}`, `value ${i}`.padEnd(i));
    const cache = rowCache(2 ** 14, LAST_POSITION - 2 ** 17);
    const random = new Random(2);
    for (let i = 0; i < 50_000; i++) {
      const key = `key ${random.below(300)}`;
      read(cache, content, key);
      read(cache, content, key);
    }
    expect(cache.hits).toBeGreaterThan(20_000);
  });

  test("knows nothing of before positions came to their end", () => {
    const keys = ["", "a", "b", "c", "d", "e", "f"];
    // Two units a row: the next one is beyond the last position.
    const cache = rowCache(1000, LAST_POSITION - 13);
    for (const key of keys) insert(cache, key, "old");
    for (const key of keys) expect(find(cache, key), key).toBe("old");
    insert(cache, "g", "new");
    for (const key of keys) expect(find(cache, key), key).toBeUndefined();
    for (const key of keys.slice(1)) insert(cache, key, "new");
    for (const key of keys.slice(1)) expect(find(cache, key), key).toBe("new");
  });
});

/** Every way to write to the key "b" of a database with "a", "b" and "c". */
const WRITES: Record<string, (database: Database<string, string>) => unknown> = {
  put: (database) => database.put("b", "new"),
  "put, synced": (database) => database.put("b", "new", { durability: "sync" }),
  "put with a ttl": (database) => database.put("b", "new", { ttl: 1000 }),
  "put, if absent": (database) => database.put("b", "new", { ifAbsent: true }),
  "put, if a value": (database) => database.put("b", "new", { ifValue: "b" }),
  putSync: (database) => database.putSync("b", "new"),
  "putSync, synced": (database) => database.putSync("b", "new", { durability: "sync" }),
  delete: (database) => database.delete("b"),
  "delete, if a value": (database) => database.delete("b", { ifValue: "b" }),
  deleteSync: (database) => database.deleteSync("b"),
  batch: (database) =>
    database.batch([
      { type: "delete", key: "b" },
      { type: "put", key: "b", value: "new" },
    ]),
  batchSync: (database) => database.batchSync([{ type: "put", key: "b", value: "new" }]),
  deleteRange: (database) => database.deleteRange({ gt: "a", lt: "c" }),
  "deleteRange in a batch": (database) =>
    database.batch([{ type: "deleteRange", gte: "b", lte: "b" }]),
  transaction: (database) =>
    database.transaction((tx) => {
      expect(tx.get("b")).toBe("b");
      tx.put("b", "new");
      expect(tx.get("b")).toBe("new");
      expect(database.get("b")).toBe("b");
    }),
  "many puts that rotate": (database) =>
    Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        database.put(i % 2 ? "b" : `x${i}`, `${i}`.padEnd(900)),
      ),
    ),
  "put and flush": async (database) => {
    await database.put("b", "new");
    await database.flush();
  },
};

async function openText(options: OpenOptions<string, string> = {}) {
  const database = await openFor<string, string>(":memory:", {
    durability: "os",
    memtableBytes: 2 ** 17,
    ...options,
  });
  for (const key of ["a", "b", "c"]) await database.put(key, key);
  return database;
}

describe("after a write readers see it, though the row was in the cache:", () => {
  for (const [name, run] of Object.entries(WRITES)) {
    for (const blockCacheBytes of [2 ** 9, 2 ** 24]) {
      test(`${name}, ${blockCacheBytes} bytes`, async () => {
        const cached = await openText({ blockCacheBytes });
        const plain = await openText({ blockCacheBytes: 0 });
        const keys = ["a", "b", "c", "b"];
        for (const database of [cached, plain]) {
          expect(database.getMany(keys)).toEqual(keys);
          const pending = run(database);
          // Until it has settled a reader may see the one or the other, but what it saw must go.
          expect(["b", "new", undefined]).toContain(database.get("b"));
          await pending;
        }
        expect(cached.stats().blockCache.rows.hits).toBeGreaterThan(0);
        expect(cached.getMany(keys)).toEqual(plain.getMany(keys));
        expect(cached.getMany(keys)).toEqual(plain.getMany(keys));
      });
    }
  }
});

describe("the row cache of a database", () => {
  test("knows nothing of before an ingest", async () => {
    const directory = temporaryDirectory();
    const other = await openFor<string, string>(join(directory, "other"));
    await other.put("b", "new");
    await other.close();
    const database = await openFor<string, string>(join(directory, "own"));
    await database.batch(["a", "b"].map((key) => ({ type: "put", key, value: key })));
    expect(database.getMany(["a", "b"])).toEqual(["a", "b"]);
    await database.ingest([join(directory, "other")]);
    expect(database.getMany(["a", "b"])).toEqual(["a", "new"]);
    await database.put("a", "newer");
    expect(database.getMany(["a", "b"])).toEqual(["newer", "new"]);
  });

  test("is not asked by snapshots and transactions, and does not take what they read", async () => {
    const database = await openText();
    const before = database.snapshot();
    await database.put("b", "new");
    expect(database.get("b")).toBe("new");
    expect(before.get("b")).toBe("b");
    expect(before.getMany(["b"])).toEqual(["b"]);
    expect(database.get("b")).toBe("new");
    before.close();
  });

  test("does not keep what expires", async () => {
    let time = 1000;
    const database = await openText({ now: () => time });
    await database.put("b", "for a while", { ttl: 10 });
    for (const place of ["memtable", "run"]) {
      expect(database.getMany(["a", "b", "a", "b"]), place).toEqual([
        "a",
        "for a while",
        "a",
        "for a while",
      ]);
      await database.flush();
    }
    time += 10;
    expect(database.getMany(["a", "b"])).toEqual(["a", undefined]);
  });

  test("gives each reader a value of its own", async () => {
    const objects = await openFor<string, { list: number[] }>(":memory:");
    await objects.put("key", { list: [1] });
    objects.get("key")?.list.push(2);
    expect(objects.get("key")).toEqual({ list: [1] });
    const binary = await openFor<string, Uint8Array>(":memory:", { valueEncoding: "binary" });
    await binary.put("key", bytesOf("value"));
    binary.get("key")?.fill(0);
    binary.get("key")?.fill(0);
    expect(binary.get("key")).toEqual(bytesOf("value"));
    expect(binary.stats().blockCache.rows.hits).toBe(2);
  });

  test("serves every encoding", async () => {
    const database = await openText({ valueEncoding: "utf8" });
    const binary = database.withEncodings({ keyEncoding: "binary", valueEncoding: "binary" });
    expect(database.get("b")).toBe("b");
    expect(binary.get(bytesOf("b"))).toEqual(bytesOf("b"));
    await binary.put(bytesOf("b"), bytesOf("new"));
    expect(database.get("b")).toBe("new");
    expect(binary.get(bytesOf("b"))).toEqual(bytesOf("new"));
    expect(database.stats().blockCache.rows.hits).toBe(3);
  });

  test("takes nothing that was read at a moment which has passed", async () => {
    let write: (() => void) | undefined;
    const keyEncoding: KeyEncoding<string> = {
      name: "writes while it encodes",
      encode(key) {
        const run = write;
        write = undefined;
        run?.();
        return bytesOf(key);
      },
      decode: (bytes) => new TextDecoder().decode(bytes),
    };
    const database = await openFor<string, string>(":memory:", { keyEncoding, durability: "os" });
    await database.put("a", "a");
    await database.put("b", "b");
    write = () => database.putSync("b", "new");
    // All of one call are read at one moment: that of its beginning.
    expect(database.getMany(["a", "b"])).toEqual(["a", "b"]);
    expect(database.get("b")).toBe("new");
    write = () => database.putSync("b", "newer");
    expect(database.get("b")).toBe("new");
    expect(database.get("b")).toBe("newer");
  });

  test("has no answer once the database is closed", async () => {
    const database = await openText();
    expect(database.getMany(["b", "b"])).toEqual(["b", "b"]);
    await database.close();
    expect(() => database.get("b")).toThrow(ClosedError);
    expect(() => database.getMany(["b"])).toThrow(ClosedError);
  });

  test.each([false, true])("serves what an earlier open wrote, readOnly: %s", async (readOnly) => {
    const fileSystem = new MemoryFileSystem();
    const writer = await open<string, string>("db", { fileSystem, durability: "os" });
    await writer.put("b", "b");
    await writer.close();
    const database = await open<string, string>("db", { fileSystem, readOnly });
    expect(database.getMany(["b", "b"])).toEqual(["b", "b"]);
    expect(database.stats().blockCache.rows).toMatchObject({ hits: 1, misses: 1 });
    await database.close();
  });

  test("is right after a write that failed", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await open<string, string>("db", { fileSystem, durability: "os" });
    await database.put("b", "b");
    expect(database.get("b")).toBe("b");
    await expect(
      database.batch([
        { type: "put", key: "b", value: "new" },
        { type: "put", key: "c", value: undefined as never },
      ]),
    ).rejects.toThrow(/undefined/);
    expect(database.get("b")).toBe("b");
    await database.close();
    const again = await open<string, string>("db", { fileSystem });
    expect(again.get("b")).toBe("b");
    await again.close();
  });
});
