import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { ClosedError, type Database, open, type Snapshot } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";
import { gate, openFor, temporaryDirectory, withoutLock } from "./harness.ts";

type TextDatabase = Database<string, string>;

async function openText(fileSystem = new MemoryFileSystem()): Promise<TextDatabase> {
  return await openFor<string, string>("store", { fileSystem, memtableBytes: 2 ** 18 });
}

describe("after close", () => {
  const reads: [string, (view: TextDatabase | Snapshot<string, string>) => unknown][] = [
    ["get", (view) => view.get("a")],
    ["getMany", (view) => view.getMany(["a"])],
    ["getMany of none", (view) => view.getMany([])],
    ["has", (view) => view.has("a")],
    ["entries", (view) => view.entries()],
    ["keys", (view) => view.keys()],
    ["values", (view) => view.values()],
    ["count", (view) => view.count()],
  ];

  test.each(reads)("%s throws ClosedError, of the database and of a snapshot", async (_, read) => {
    const database = await openText();
    await database.put("a", "1");
    const snapshot = database.snapshot();
    const other = database.snapshot();
    other.close();
    expect(() => read(other)).toThrow(ClosedError);
    expect(() => read(other)).toThrow("the snapshot is closed");
    read(snapshot);
    const closed = database.close();
    expect(() => read(database)).toThrow(ClosedError);
    expect(() => read(snapshot)).toThrow(ClosedError);
    await closed;
    expect(() => read(database)).toThrow("the database is closed");
    expect(() => read(snapshot)).toThrow(ClosedError);
    snapshot.close();
    snapshot.close();
  });

  const calls: [string, (database: TextDatabase) => unknown][] = [
    ["put", (database) => database.put("a", "1")],
    ["delete", (database) => database.delete("a")],
    ["batch", (database) => database.batch([])],
    ["flush", (database) => database.flush()],
    ["compact", (database) => database.compact()],
    ["sync", (database) => database.sync()],
    ["verify", (database) => database.verify()],
  ];

  test.each(calls)("%s rejects with ClosedError", async (_, call) => {
    const database = await openText();
    const closed = database.close();
    await expect(call(database)).rejects.toThrow(ClosedError);
    await closed;
    await expect(call(database)).rejects.toThrow(ClosedError);
    await expect(call(database)).rejects.toMatchObject({ code: "MEMKV_CLOSED" });
  });

  test("snapshot and stats throw ClosedError", async () => {
    const database = await openText();
    await database.close();
    expect(() => database.snapshot()).toThrow(ClosedError);
    expect(() => database.stats()).toThrow(ClosedError);
  });

  test("close is the same promise again", async () => {
    const database = await openText();
    const first = database.close();
    expect(database.close()).toBe(first);
    await first;
    expect(database.close()).toBe(first);
    await database[Symbol.asyncDispose]();
  });

  test("an iteration throws ClosedError at its next step, and has then ended", async () => {
    const database = await openText();
    for (const key of ["a", "b", "c"]) await database.put(key, key);
    const snapshot = database.snapshot();
    const iterators = [
      database.entries()[Symbol.iterator](),
      database.keys({ reverse: true })[Symbol.iterator](),
      snapshot.values()[Symbol.iterator](),
    ];
    for (const iterator of iterators) expect(iterator.next().done).toBe(false);
    const fresh = database.entries();
    const closed = database.close();
    expect(() => [...fresh]).toThrow(ClosedError);
    for (const iterator of iterators) {
      expect(() => iterator.next()).toThrow(ClosedError);
      expect(iterator.next()).toEqual({ done: true, value: undefined });
    }
    await closed;
  });

  test("a snapshot's iteration ends with ClosedError when the snapshot is closed", async () => {
    const database = await openText();
    await database.put("a", "1");
    const snapshot = database.snapshot();
    const iterator = snapshot.keys()[Symbol.iterator]();
    snapshot.close();
    expect(() => iterator.next()).toThrow("the snapshot is closed");
    expect([...database.keys()]).toEqual(["a"]);
  });
});

describe("close waits for what was accepted:", () => {
  test.each(["sync", "os"] as const)("writes under way, with durability %s", async (durability) => {
    const fileSystem = new MemoryFileSystem();
    const options = { fileSystem, durability };
    const database = await openFor<string, string>("store", options);
    const writes: Promise<void>[] = [];
    for (let i = 0; i < 500; i++) {
      writes.push(database.put(`key ${i}`, "v".repeat(i * 10)));
      if (i % 50 === 0) await null;
    }
    const closed = database.close();
    await expect(database.put("late", "")).rejects.toThrow(ClosedError);
    await closed;
    await Promise.all(writes);
    const again = await openFor<string, string>("store", options);
    expect(again.count()).toBe(500);
    expect(again.get("key 499")).toBe("v".repeat(4990));
  });

  test("writes that wait for a flush, and the flush", async () => {
    const { promise: until, resolve: release } = gate();
    const disk = new MemoryFileSystem();
    const fileSystem = new FaultFileSystem(disk);
    const database = await openFor<string, string>("store", {
      fileSystem,
      memtableBytes: 2 ** 18,
      durability: "os",
    });
    const stalled = new Promise<void>((resolve) => void database.once("stall", () => resolve()));
    // Each flush creates a segment; none can until it is released.
    fileSystem.inject({ kinds: ["create"], path: /seg$/, effect: { kind: "delay", until } });
    const writes = Array.from({ length: 40 }, (_, i) =>
      database.put(`key ${i}`, "v".repeat(100_000)),
    );
    await stalled;
    const closed = database.close();
    release();
    await Promise.all([...writes, closed]);
    const again = await openFor<string, string>("store", { fileSystem: disk });
    expect(again.count()).toBe(40);
  });

  test("flush and sync", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openText(fileSystem);
    void database.put("a", "1", { durability: "os" });
    const kept = Promise.all([database.sync(), database.flush(), database.flush()]);
    await database.close();
    await kept;
    const again = await openText(fileSystem);
    expect(again.recovery.recordsReplayed).toBe(0);
    expect([...again.entries()]).toEqual([["a", "1"]]);
  });

  test("but not for a compaction, which is cut short without harm", async () => {
    const { promise: until, resolve: release } = gate();
    const disk = new MemoryFileSystem();
    const fileSystem = new FaultFileSystem(disk);
    const database = await openFor<string, string>("store", { fileSystem, compactionTrigger: 8 });
    for (let run = 0; run < 3; run++) {
      for (let i = 0; i < 400; i++) void database.put(`key ${i}`, `${run}`.padEnd(500, `${i}`));
      await database.flush();
    }
    fileSystem.inject({ kinds: ["create"], path: /seg$/, effect: { kind: "delay", until } });
    const created = fileSystem.operationCount("create");
    const cut = expect(database.compact()).rejects.toThrow(ClosedError);
    while (fileSystem.operationCount("create") === created) await setImmediate();
    const closed = database.close();
    release();
    await Promise.all([cut, closed]);
    const again = await openText(disk);
    expect(again.recovery.orphansRemoved).toEqual([]);
    expect(again.stats().runs).toHaveLength(3);
    expect(again.count()).toBe(400);
    expect(again.get("key 7")).toBe("2".padEnd(500, "7"));
    await again.verify();
    await again.compact();
    expect(again.stats().runs).toHaveLength(1);
  });

  test("verify ends with ClosedError", async () => {
    const database = await openFor<string, string>(temporaryDirectory());
    for (let i = 0; i < 5000; i++) void database.put(`key ${i}`, `value ${i * 7919}`.repeat(10));
    await database.flush();
    const verified = expect(database.verify()).rejects.toThrow(ClosedError);
    await database.close();
    await verified;
  });
});

test("close lets go of the lock, of logs and of segments, so that the next open succeeds", async () => {
  const directory = temporaryDirectory();
  for (let i = 0; i < 20; i++) {
    const database = await open<string, number>(directory, { background: "inline" });
    expect([...database.values()]).toEqual(Array.from({ length: i }, (_, j) => j));
    await database.put(`key ${String(i).padStart(2, "0")}`, i);
    if (i % 5 === 4) void database.flush();
    await database.close();
  }
});

test("a database that is never written to leaves no files behind but its first", async () => {
  const fileSystem = new MemoryFileSystem();
  for (let i = 0; i < 3; i++) {
    const database = await openText(fileSystem);
    expect([...database.entries()]).toEqual([]);
    await database.close();
    expect(withoutLock(await fileSystem.list("store"))).toEqual(["000001.wal", "MANIFEST"]);
  }
});

test("await using closes", async () => {
  const fileSystem = new MemoryFileSystem();
  const database = await openText(fileSystem);
  await database[Symbol.asyncDispose]();
  expect(() => database.get("a")).toThrow(ClosedError);
  await openText(fileSystem);
});
