import { setImmediate } from "node:timers/promises";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Database, OpenOptions } from "../../src/index.ts";
import { CrashFileSystem, FaultFileSystem } from "../../src/testing/index.ts";
import { gate, openFor } from "./harness.ts";

type TextDatabase = Database<string, string>;

const BUSY = expect.objectContaining({ code: "MEMKV_BUSY" });
const POISONED = expect.objectContaining({ code: "MEMKV_POISONED" });

const MEMTABLE_BYTES = 2 ** 17;
/** A quarter of a memtable, after which a log is synced ahead. */
const AHEAD_BYTES = MEMTABLE_BYTES / 4;
const LARGE = "x".repeat(AHEAD_BYTES);

function openText(options: OpenOptions<string, string>): Promise<TextDatabase> {
  return openFor<string, string>("store", {
    durability: "os",
    memtableBytes: MEMTABLE_BYTES,
    compression: "none",
    ...options,
  });
}

/** Lets everything be done that waits for nothing but the disk. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await setImmediate();
}

/** A gate that does not outlive the test: nothing could be closed behind it. */
function openedAtLast(): ReturnType<typeof gate> {
  const opened = gate();
  onTestFinished(opened.resolve);
  return opened;
}

/** What is there after a power cut that took everything that was not synced. */
async function keysAfterPowerCut(disk: CrashFileSystem): Promise<string[]> {
  const [state] = disk.crashStates({ seed: 1, count: 1 });
  const database = await openText({ fileSystem: state, errorIfExists: false });
  return [...database.keys()];
}

describe("a log of writes that ask for no sync", () => {
  test("is synced as it grows", async () => {
    const disk = new CrashFileSystem();
    const database = await openText({ fileSystem: disk });
    await database.put("a", "1");
    await turns();
    expect(await keysAfterPowerCut(disk)).toEqual([]);
    await database.put("b", LARGE);
    await turns();
    expect(await keysAfterPowerCut(disk)).toEqual(["a", "b"]);
    // From there on as much again.
    await database.put("c", LARGE.slice(100));
    await turns();
    expect(await keysAfterPowerCut(disk)).toEqual(["a", "b"]);
    await database.put("d", "1".repeat(100));
    await turns();
    expect(await keysAfterPowerCut(disk)).toEqual(["a", "b", "c", "d"]);
  });

  test("is synced after a write that was too large to be written on the calling thread", async () => {
    const disk = new CrashFileSystem();
    const database = await openText({ fileSystem: disk, memtableBytes: 2 ** 20 });
    await database.put("a", "1");
    await turns();
    await database.put("b", "x".repeat(2 ** 18));
    await turns();
    expect(await keysAfterPowerCut(disk)).toEqual(["a", "b"]);
  });

  test("is not synced while small", async () => {
    const faults = new FaultFileSystem(new CrashFileSystem());
    const database = await openText({ fileSystem: faults });
    await database.put("a", "1");
    await turns();
    const before = faults.operationCount("sync");
    for (let i = 0; i < 10; i++) await database.put(`key ${i}`, "2");
    await turns();
    expect(faults.operationCount("sync")).toBe(before);
  });

  test("takes writes meanwhile, one sync at a time", async () => {
    const faults = new FaultFileSystem(new CrashFileSystem());
    const database = await openText({ fileSystem: faults });
    await database.put("a", "1");
    await turns();
    const { promise, resolve } = openedAtLast();
    faults.inject({ kinds: ["sync"], path: /wal$/, effect: { kind: "delay", until: promise } });
    const before = faults.operationCount("sync");
    for (const key of ["b", "c"]) await database.put(key, LARGE);
    database.putSync("d", "4");
    await turns();
    expect(faults.operationCount("sync")).toBe(before + 1);
    expect([...database.keys()]).toEqual(["a", "b", "c", "d"]);
    resolve();
    await database.sync();
    expect(faults.operationCount("sync")).toBe(before + 2);
  });

  test("lets a blocking write that must be synced not wait for a sync under way", async () => {
    const disk = new CrashFileSystem();
    const faults = new FaultFileSystem(disk);
    const database = await openText({ fileSystem: faults });
    await database.put("a", "1");
    await turns();
    const { promise, resolve } = openedAtLast();
    faults.inject({ kinds: ["sync"], path: /wal$/, effect: { kind: "delay", until: promise } });
    await database.put("b", LARGE);
    expect(() => database.putSync("c", "3", { durability: "sync" })).toThrow(BUSY);
    expect(database.get("c")).toBeUndefined();
    let isDone = false;
    const waiting = database.put("c", "3", { durability: "sync" }).then(() => {
      isDone = true;
    });
    await turns();
    expect(isDone).toBe(false);
    resolve();
    await waiting;
    expect(await keysAfterPowerCut(disk)).toEqual(["a", "b", "c"]);
    database.putSync("d", "4", { durability: "sync" });
  });

  test("lets a blocking write that needs the next log not wait for a sync under way", async () => {
    const faults = new FaultFileSystem(new CrashFileSystem());
    const database = await openText({ fileSystem: faults });
    await database.put("a", "1");
    await turns();
    const { promise, resolve } = openedAtLast();
    faults.inject({ kinds: ["sync"], path: /wal$/, effect: { kind: "delay", until: promise } });
    for (const key of ["b", "c"]) await database.put(key, LARGE);
    const before = faults.operationCount("create");
    const large = LARGE.repeat(4);
    expect(() => database.putSync("f", large)).toThrow(BUSY);
    expect(faults.operationCount("create")).toBe(before);
    expect(database.get("f")).toBeUndefined();
    resolve();
    await turns();
    database.putSync("f", large);
    expect([...database.keys()]).toEqual(["a", "b", "c", "f"]);
  });

  test("refuses writes once such a sync failed, which is told", async () => {
    const faults = new FaultFileSystem(new CrashFileSystem());
    const database = await openText({ fileSystem: faults });
    const errors: unknown[] = [];
    database.on("error", (error) => errors.push(error));
    await database.put("a", "1");
    await turns();
    faults.inject({ kinds: ["sync"], path: /wal$/, effect: { kind: "fail", code: "EIO" } });
    await database.put("b", LARGE);
    await turns();
    expect(errors).toEqual([POISONED]);
    await expect(database.put("c", "3")).rejects.toEqual(POISONED);
    await expect(database.sync()).rejects.toEqual(POISONED);
    expect([...database.keys()]).toEqual(["a", "b"]);
  });

  test("refuses writes with the reason, in whichever step of the failure they come", async () => {
    const faults = new FaultFileSystem(new CrashFileSystem());
    const database = await openText({ fileSystem: faults });
    database.on("error", () => {});
    await database.put("a", "1");
    await turns();
    const { promise, resolve } = openedAtLast();
    const cause = new Error("EIO");
    const failure = promise.then(() => Promise.reject(cause));
    faults.inject({ kinds: ["sync"], path: /wal$/, effect: { kind: "delay", until: failure } });
    await database.put("b", LARGE);
    resolve();
    const outcomes: Promise<unknown>[] = [];
    for (let i = 0; i < 30; i++) {
      outcomes.push(database.put(`key ${i}`, "1").catch((error: unknown) => error));
      await Promise.resolve();
    }
    const failures = (await Promise.all(outcomes)).filter((outcome) => outcome !== undefined);
    expect(failures.length).toBeGreaterThan(0);
    for (const error of failures) expect(error).toMatchObject({ code: "MEMKV_POISONED", cause });
  });

  test("never counts as synced by a sync that others had begun and that failed", async () => {
    const faults = new FaultFileSystem(new CrashFileSystem());
    const database = await openText({ fileSystem: faults });
    database.on("error", () => {});
    await database.put("a", "1");
    await turns();
    const { promise, resolve } = openedAtLast();
    faults.inject({
      kinds: ["sync"],
      path: /wal$/,
      effect: { kind: "delay", until: promise.then(() => Promise.reject(new Error("EIO"))) },
    });
    await database.put("b", LARGE);
    const synced = database.put("c", "3", { durability: "sync" });
    resolve();
    await expect(synced).rejects.toEqual(POISONED);
  });
});

describe("a new log", () => {
  const KEYS = ["a", "b", "c"];

  /** Fills a memtable, so that the next large write begins a log. */
  async function fill(database: TextDatabase): Promise<void> {
    for (const key of KEYS) await database.put(key, LARGE);
    await turns();
  }

  test("takes writes while it is made durable, and is not named by a manifest until then", async () => {
    const disk = new CrashFileSystem();
    const faults = new FaultFileSystem(disk);
    const flushes: unknown[] = [];
    const database = await openText({ fileSystem: faults });
    database.on("flush", (event) => flushes.push(event));
    await fill(database);
    const { promise, resolve } = openedAtLast();
    faults.inject({ kinds: ["syncDirectory"], effect: { kind: "delay", until: promise } });
    await database.put("next", LARGE);
    await database.put("next but one", "2");
    await turns();
    expect(flushes).toEqual([]);
    expect(await keysAfterPowerCut(disk)).toEqual(KEYS);
    resolve();
    await turns();
    expect(flushes).toHaveLength(1);
    await database.sync();
    expect(await keysAfterPowerCut(disk)).toEqual([...KEYS, "next", "next but one"]);
  });

  test("takes a blocking write that is too large for the empty memtable meanwhile", async () => {
    const faults = new FaultFileSystem(new CrashFileSystem());
    const database = await openText({ fileSystem: faults });
    await fill(database);
    const { promise, resolve } = openedAtLast();
    faults.inject({ kinds: ["syncDirectory"], effect: { kind: "delay", until: promise } });
    const flushed = database.flush();
    await turns();
    const large = LARGE.repeat(8);
    expect(() => database.putSync("d", large, { durability: "sync" })).toThrow(BUSY);
    database.putSync("d", large);
    // Now there is something to seal, in a log that is not founded.
    expect(() => database.putSync("e", large)).toThrow(BUSY);
    resolve();
    await flushed;
    expect([...database.keys()]).toEqual([...KEYS, "d"]);
    expect(database.get("d")).toBe(large);
  });

  test("has a name that is durable before a write in it is synced", async () => {
    const disk = new CrashFileSystem();
    const faults = new FaultFileSystem(disk);
    const database = await openText({ fileSystem: faults });
    await fill(database);
    const { promise, resolve } = openedAtLast();
    faults.inject({ kinds: ["syncDirectory"], effect: { kind: "delay", until: promise } });
    let isDone = false;
    const synced = database.put("next", LARGE, { durability: "sync" }).then(() => {
      isDone = true;
    });
    await turns();
    expect(isDone).toBe(false);
    resolve();
    await synced;
    expect(await keysAfterPowerCut(disk)).toEqual([...KEYS, "next"]);
  });

  test("cannot lose its header once a write in it is synced, though no manifest names it", async () => {
    const disk = new CrashFileSystem();
    const faults = new FaultFileSystem(disk);
    const database = await openText({ fileSystem: faults });
    await fill(database);
    const founding = openedAtLast();
    const flush = openedAtLast();
    const delays = [
      { path: /seg$/, until: flush.promise },
      { path: /3\.wal$/, until: founding.promise },
    ];
    for (const { path, until } of delays) {
      faults.inject({ kinds: ["sync"], path, effect: { kind: "delay", until } });
    }
    const synced = database.put("next", LARGE, { durability: "sync" });
    await turns();
    founding.resolve();
    await synced;
    const [state] = disk.crashStates({ seed: 1, count: 1 });
    const log = await state.open("store/000003.wal", "update");
    log.writeSync(new Uint8Array(1), 0);
    await log.close();
    const outcome = await openText({ fileSystem: state, errorIfExists: false }).then(
      (reopened) => [...reopened.keys()],
      (error: unknown) => error,
    );
    expect(outcome).toMatchObject({ code: "MEMKV_CORRUPTION", file: log.path, offset: 0 });
  });

  test.each(["sync", "syncDirectory"] as const)(
    "whose %s fails refuses writes, and leaves those of the log before it",
    async (kind) => {
      const disk = new CrashFileSystem();
      const faults = new FaultFileSystem(disk);
      const errors: unknown[] = [];
      const database = await openText({ fileSystem: faults });
      database.on("error", (error) => errors.push(error));
      await fill(database);
      await database.sync();
      const { promise, resolve } = openedAtLast();
      const failure = promise.then(() => Promise.reject(new Error("EIO")));
      faults.inject({ kinds: [kind], effect: { kind: "delay", until: failure } });
      await database.put("next", LARGE);
      resolve();
      await turns();
      // The flush, which was waiting for it, says the same.
      await vi.waitFor(() => expect(errors).toEqual([POISONED, POISONED]));
      await expect(database.put("later", "2")).rejects.toEqual(POISONED);
      expect([...database.keys()]).toEqual([...KEYS, "next"]);
      expect(await keysAfterPowerCut(disk)).toEqual(KEYS);
    },
  );
});
