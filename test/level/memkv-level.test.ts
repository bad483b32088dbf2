import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { LockedError, open } from "../../src/index.ts";
import { MemkvLevel } from "../../src/level/index.ts";
import { MemoryFileSystem } from "../../src/testing/index.ts";

let fileSystem: MemoryFileSystem;
let level: MemkvLevel;

beforeEach(() => {
  fileSystem = new MemoryFileSystem();
  level = new MemkvLevel("/store", { fileSystem });
});

afterEach(() => level.close());

/** Bytes that are no UTF-8. */
const BINARY = Uint8Array.of(0x80, 0xff);

test("what one encoding wrote, another reads", async () => {
  await level.put("a", "é");
  await level.put("b", { n: 1 } as never, { valueEncoding: "json" });
  await level.put(BINARY as never, "bytes", { keyEncoding: "view" });
  expect(await level.get("a", { valueEncoding: "view" })).toEqual(Uint8Array.of(0xc3, 0xa9));
  expect(await level.get("a", { valueEncoding: "buffer" })).toEqual(Buffer.from("é"));
  expect(await level.get("b")).toBe('{"n":1}');
  expect(level.getSync(BINARY, { keyEncoding: "view" })).toBe("bytes");
});

test("a batch of several formats is one batch", async () => {
  await level.batch([
    { type: "put", key: "text", value: "1" },
    { type: "put", key: BINARY, value: BINARY, keyEncoding: "view", valueEncoding: "view" },
    { type: "put", key: "mixed", value: BINARY, valueEncoding: "view" },
    { type: "del", key: "text" },
  ] as never);
  expect(await level.keys({ keyEncoding: "view" }).all()).toEqual([
    new TextEncoder().encode("mixed"),
    BINARY,
  ]);
  expect(await level.get("mixed", { valueEncoding: "view" })).toEqual(BINARY);
});

test("an iterator gives what comes before damage, and then never says that it is at the end", async () => {
  const directory = mkdtempSync(join(tmpdir(), "memkv-level-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const whole = new MemkvLevel(directory);
  await whole.batch(
    Array.from({ length: 500 }, (_, i) => ({
      type: "put",
      key: String(1000 + i),
      value: `${1000 + i} `.repeat(40),
    })),
  );
  await whole.close();
  const core = await open(directory, {
    keyEncoding: "binary",
    valueEncoding: "binary",
    compression: "none",
  });
  await core.flush();
  await core.close();
  const [segment] = readdirSync(directory).filter((name) => name.endsWith(".seg"));
  const bytes = readFileSync(join(directory, segment));
  bytes[50_000] ^= 0xff;
  writeFileSync(join(directory, segment), bytes);

  const damaged = new MemkvLevel(directory);
  onTestFinished(() => damaged.close());
  const error = { code: "MEMKV_CORRUPTION" };
  const iterator = damaged.iterator();
  const items = await iterator.nextv(1000);
  expect(items.length).toBeGreaterThan(100);
  expect(items.length).toBeLessThan(500);
  await expect(iterator.nextv(1000)).rejects.toMatchObject(error);
  await iterator.close();

  const values = damaged.values();
  for (const [, expected] of items) expect(await values.next()).toBe(expected);
  await expect(values.next()).rejects.toMatchObject(error);
  await expect(values.next()).rejects.toMatchObject(error);
  await values.close();
  // Some would pass for all.
  await expect(damaged.iterator().all()).rejects.toMatchObject(error);
});

test("every way to put takes a ttl", async () => {
  let time = 1000;
  const cache = new MemkvLevel("/cache", { fileSystem, now: () => time, ttl: 100 });
  await cache.put("default", "1");
  await cache.put("put", "1", { ttl: 10 });
  await cache.batch([
    { type: "put", key: "operation", value: "1", ttl: 20 },
    { type: "put", key: "stays", value: "1", ttl: Number.POSITIVE_INFINITY },
  ]);
  await cache.batch([{ type: "put", key: "options", value: "1" }], { ttl: 30 });
  await cache.batch().put("chained", "1", { ttl: 40 }).write();
  await cache.sublevel("sub").put("level", "1", { ttl: 50 });
  const snapshot = cache.snapshot();
  const all = await cache.keys().all();
  for (const gone of ["put", "operation", "options", "chained", "!sub!level", "default"]) {
    expect(await cache.has(gone)).toBe(true);
    time += gone === "default" ? 50 : 10;
    expect(await cache.get(gone)).toBeUndefined();
  }
  expect(await cache.keys().all()).toEqual(["stays"]);
  expect(await cache.keys({ snapshot }).all()).toEqual(all);
  await expect(cache.put("a", "1", { ttl: -1 })).rejects.toMatchObject({
    code: "MEMKV_INVALID_ARGUMENT",
  });
  await snapshot.close();
  await cache.close();
});

test("a batch with one bad operation writes nothing", async () => {
  await level.open();
  const long = "k".repeat(65_537);
  const batch = level.batch([
    { type: "put", key: "a", value: "1" },
    { type: "put", key: long, value: "2" },
  ]);
  await expect(batch).rejects.toMatchObject({ code: "MEMKV_INVALID_ARGUMENT" });
  expect(await level.get("a")).toBeUndefined();
});

test("clear removes keys that are no text, and only those within", async () => {
  await level.put(BINARY as never, "1", { keyEncoding: "view" });
  await level.batch(["a", "b", "c"].map((key) => ({ type: "put", key, value: key })));
  await level.clear({ gte: "b" });
  expect(await level.keys().all()).toEqual(["a"]);
  await level.batch(["b", "c", "d"].map((key) => ({ type: "put", key, value: key })));
  await level.clear({ reverse: true, limit: 2 });
  expect(await level.keys().all()).toEqual(["a", "b"]);
  await level.clear();
  expect(level.count()).toBe(0);
});

test("clear of a snapshot leaves what came later", async () => {
  await level.put("a", "1");
  const snapshot = level.snapshot();
  await level.put("b", "2");
  await level.clear({ snapshot });
  expect(await level.keys().all()).toEqual(["b"]);
  await snapshot.close();
});

test("a snapshot and an iterator see their moment in every format", async () => {
  await level.put("a", "1");
  const snapshot = level.snapshot();
  const iterator = level.iterator();
  await level.put("a", "2");
  await level.put("b", "2");
  expect(await level.get("a", { snapshot })).toBe("1");
  expect(await level.get("a", { snapshot, valueEncoding: "view" })).toEqual(Uint8Array.of(0x31));
  expect(await level.getMany(["a", "b"], { snapshot })).toEqual(["1", undefined]);
  expect(await level.hasMany(["a", "b"], { snapshot })).toEqual([true, false]);
  expect(await level.values({ snapshot, valueEncoding: "view" }).all()).toHaveLength(1);
  expect(await iterator.all()).toEqual([["a", "1"]]);
  await snapshot.close();
});

test("an iterator seeks to a target of another format", async () => {
  const keys = ["a", "é", "z"];
  await level.batch(keys.map((key) => ({ type: "put", key, value: key })));
  // Between "z" and "é", and the beginning of no text.
  const target = Uint8Array.of(0x80);
  for (const [reverse, expected] of [
    [false, ["é"]],
    [true, ["z", "a"]],
  ] as const) {
    const entries = level.iterator({ reverse });
    entries.seek(target, { keyEncoding: "view" });
    expect(await entries.nextv(9)).toEqual(expected.map((key) => [key, key]));
    await entries.close();
    const read = level.keys({ reverse });
    read.seek(target, { keyEncoding: "view" });
    expect(await read.nextv(9)).toEqual(expected);
    await read.close();
  }
  const binary = level.keys({ keyEncoding: "view", lt: Buffer.from("é") as never });
  binary.seek("b", { keyEncoding: "utf8" });
  expect(await binary.nextv(9)).toEqual([Buffer.from("z")].map((key) => new Uint8Array(key)));
  await binary.close();
});

test("an iterator over a closed snapshot seeks, and says so when it is read", async () => {
  await level.put("a", "1");
  const snapshot = level.snapshot();
  const iterator = level.keys({ snapshot });
  await snapshot.close();
  iterator.seek("a");
  await expect(iterator.next()).rejects.toMatchObject({ code: "LEVEL_SNAPSHOT_NOT_OPEN" });
  await iterator.close();
});

test("an iterator keeps to the bounds and targets it was given, though their bytes change", async () => {
  await level.batch(["a", "b", "c", "d"].map((key) => ({ type: "put", key, value: key })));
  const bytes = Buffer.from("b");
  const iterator = level.values({ gte: bytes as never, keyEncoding: "buffer" });
  bytes[0] = 0;
  expect(await iterator.nextv(2)).toEqual(["b", "c"]);
  const target = Buffer.from("d");
  iterator.seek(target as never, { keyEncoding: "buffer" });
  target[0] = 0;
  expect(await iterator.all()).toEqual(["d"]);
});

test("a long iteration lets the event loop have its turn", async () => {
  const keys = Array.from({ length: 5000 }, (_, i) => String(i));
  await level.batch(keys.map((key) => ({ type: "put", key, value: "" })));
  let turns = 0;
  let isReading = true;
  const count = (): void => {
    turns++;
    if (isReading) setImmediate(count);
  };
  setImmediate(count);
  let read = 0;
  for await (const _ of level.keys()) read++;
  isReading = false;
  expect(read).toBe(keys.length);
  expect(turns).toBeGreaterThan(2);
});

test("count is exact, and counts within a range", async () => {
  await level.batch(["a", "b", "c"].map((key) => ({ type: "put", key, value: key })));
  expect(level.count()).toBe(3);
  expect(level.count({ gt: "a" })).toBe(2);
  expect(level.stats()).toEqual(level.database?.stats());
  await level.compact();
  expect(level.count({ lte: "b" })).toBe(2);
});

test("takes compression as LevelDB's bindings have it, and options that are none of its own", async () => {
  for (const compression of [true, false, "deflate"] as const) {
    const other = new MemkvLevel(`/${compression}`, { fileSystem, compression });
    await other.open({ cacheSize: 1024 } as never);
    await other.close();
  }
  const bad = new MemkvLevel("/bad", { fileSystem, compression: "zip" as never });
  await expect(bad.open()).rejects.toMatchObject({
    cause: { code: "MEMKV_INVALID_ARGUMENT", message: expect.stringContaining("compression") },
  });
});

test("opens what memkv opens, and says why it cannot", async () => {
  const directory = mkdtempSync(join(tmpdir(), "memkv-level-"));
  const db = await open(directory, { keyEncoding: "binary", valueEncoding: "binary" });
  await db.put(Buffer.from("a"), Buffer.from("1"), { durability: "os" });
  const locked = new MemkvLevel(directory);
  await expect(locked.open()).rejects.toMatchObject({
    code: "LEVEL_DATABASE_NOT_OPEN",
    cause: expect.any(LockedError),
  });
  await db.close();
  await locked.open();
  expect(await locked.get("a")).toBe("1");
  await locked.put("b", "2", { sync: true });
  await locked.close();
  expect(() => locked.count()).toThrow(expect.objectContaining({ code: "MEMKV_CLOSED" }));
  rmSync(directory, { recursive: true });
});
