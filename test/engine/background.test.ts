import { readdirSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { CompactionEvent } from "../../src/engine/compactions.ts";
import { Store } from "../../src/engine/store.ts";
import type { WriteGuard } from "../../src/engine/write-guard.ts";
import type { Database, DatabaseError, OpenOptions } from "../../src/index.ts";
import type { FileSystem } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { InlineRunner } from "../../src/jobs/jobs.ts";
import { WorkerRunner } from "../../src/jobs/worker-runner.ts";
import { readManifest } from "../../src/manifest/manifest.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";
import { gate, openFor, temporaryDirectory, withoutLock } from "./harness.ts";

type TextDatabase = Database<string, string>;

/** Small, so that flushes and compactions are frequent; without the time that it takes to compress. */
const SMALL = {
  memtableBytes: 2 ** 18,
  segmentBytes: 2 ** 16,
  durability: "os",
  compression: "none",
} as const;

function openText(options: OpenOptions<string, string>): Promise<TextDatabase> {
  return openFor<string, string>("store", {
    ...SMALL,
    memtableBytes: 2 ** 20,
    ...options,
  });
}

/** Text that does not shrink, so that files have about the size of what is written. */
function noise(length: number, seed: number): string {
  let state = seed + 1;
  let text = "";
  while (text.length < length) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    text += state.toString(36);
  }
  return text.slice(0, length);
}

/** Names of the files that the manifest says are needed. */
async function needed(fileSystem: FileSystem): Promise<string[]> {
  const manifest = await readManifest(fileSystem, "store");
  const segments = manifest?.version.runs.flat().map(({ fileNumber }) => fileNumber) ?? [];
  return segments.map((fileNumber) => `${String(fileNumber).padStart(6, "0")}.seg`).sort();
}

async function segmentsIn(fileSystem: FileSystem): Promise<string[]> {
  return withoutLock(await fileSystem.list("store")).filter((name) => name.endsWith(".seg"));
}

/** Holds back the next compaction in a worker until `held` is resolved; `compact` sees all of them. */
function holdCompaction() {
  const held = gate();
  const { compact: merge } = WorkerRunner.prototype;
  const compact = vi.spyOn(WorkerRunner.prototype, "compact");
  onTestFinished(() => compact.mockRestore());
  compact.mockImplementationOnce(async function (this: WorkerRunner, ...args) {
    await held.promise;
    return merge.apply(this, args);
  });
  return { held, compact };
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await setImmediate();
}

describe("writers beside flushes and compactions", () => {
  test.each([
    ["on the calling thread", "inline"],
    ["in a worker", "worker"],
  ] as const)("lose nothing: %s", async (_, background) => {
    const directory = temporaryDirectory();
    const options = { ...SMALL, background };
    const database = await openFor<string, string>(directory, options);
    const counts = { flush: 0, compaction: 0, error: 0 };
    for (const event of ["flush", "compaction", "error"] as const) {
      database.on(event, () => void counts[event]++);
    }
    const expected = new Map<string, string>();
    const writes: Promise<void>[] = [];
    for (let i = 0; i < 2000; i++) {
      const key = `key ${(i * 7919) % 1000}`;
      if (i % 11 === 10) {
        expected.delete(key);
        writes.push(database.delete(key));
      } else {
        const value = noise(i % 1500, i);
        expected.set(key, value);
        writes.push(database.put(key, value));
      }
      // Some are always under way; more would make groups larger than a memtable.
      if (i >= 60) await writes[i - 60];
    }
    await Promise.all(writes);
    expect(counts.error).toBe(0);
    expect(Object.fromEntries(database.entries())).toEqual(Object.fromEntries(expected));
    await database.compact();
    expect(counts.flush).toBeGreaterThan(5);
    expect(counts.compaction).toBeGreaterThan(0);
    expect(database.stats().runs).toMatchObject([{ keyCount: expected.size, tombstoneCount: 0 }]);
    await database.verify();
    await database.close();
    const again = await openFor<string, string>(directory, options);
    expect(again.recovery.orphansRemoved).toEqual([]);
    expect(Object.fromEntries(again.entries())).toEqual(Object.fromEntries(expected));
    // Nothing is left of what was merged: the runs, a log, the manifest.
    const { runs } = again.stats();
    const segmentCount = runs.reduce((sum, run) => sum + run.segmentCount, 0);
    expect(segmentCount).toBeGreaterThan(1);
    const names = withoutLock(readdirSync(directory));
    expect(names.filter((name) => name.endsWith(".seg"))).toHaveLength(segmentCount);
    expect(names.filter((name) => name.endsWith(".wal"))).toHaveLength(1);
    expect(names).toHaveLength(segmentCount + 2);
  });
});

describe("what flushes leave uncoded", () => {
  interface Delay {
    readonly milliseconds: number;
    readonly isAwaited: boolean | undefined;
    readonly end: () => void;
  }

  /** Delays that are asked for, to be ended by the test. */
  function delays(): Delay[] {
    const asked: Delay[] = [];
    const spy = vi.spyOn(Store.prototype, "delay");
    spy.mockImplementation((milliseconds, signal, isAwaited) => {
      const { promise, resolve } = gate();
      asked.push({ milliseconds, isAwaited, end: resolve });
      signal.addEventListener("abort", resolve);
      return promise;
    });
    onTestFinished(() => spy.mockRestore());
    return asked;
  }

  async function fill(database: TextDatabase, round: number): Promise<void> {
    for (let i = 0; i < 2000; i++) {
      await database.put(`key ${round} ${i}`, `https://example.com/repository/${i}`);
    }
    await database.flush();
  }

  const options = { durability: "os", memtableBytes: 2 ** 20 } as const;
  const fileBytes = (database: TextDatabase): number =>
    database.stats().runs.reduce((sum, run) => sum + run.fileBytes, 0);

  test("is coded once nothing was flushed or merged for a second", async () => {
    const asked = delays();
    const directory = temporaryDirectory();
    const database: TextDatabase = await openFor(directory, { ...options, background: "worker" });
    const coded = new Promise<CompactionEvent>((resolve) => database.on("compaction", resolve));
    await fill(database, 1);
    expect(asked).toMatchObject([{ milliseconds: 1000, isAwaited: false }]);
    await fill(database, 2);
    expect(asked).toHaveLength(1);
    const before = fileBytes(database);
    asked[0].end();
    await until(() => asked.length === 2);
    expect(database.stats().runs).toHaveLength(2);
    asked[1].end();
    expect(await coded).toMatchObject({
      reason: "coding",
      runCount: 2,
      inputKeyCount: 4000,
      outputKeyCount: 4000,
    });
    await until(() => database.stats().background.compaction === undefined);
    expect(fileBytes(database)).toBeLessThan(before / 2);
    expect(database.count()).toBe(4000);
    expect(database.get("key 1 77")).toBe("https://example.com/repository/77");
    await database.verify();
    // It is coded once.
    expect(asked).toHaveLength(2);
    await fill(database, 3);
    expect(asked).toHaveLength(3);
  });

  test("is coded after the next open, if not before", async () => {
    const asked = delays();
    const directory = temporaryDirectory();
    const database: TextDatabase = await openFor(directory, { ...options, background: "worker" });
    await fill(database, 1);
    const before = fileBytes(database);
    await database.close();
    const again: TextDatabase = await openFor(directory, { ...options, background: "worker" });
    const coded = new Promise<CompactionEvent>((resolve) => again.on("compaction", resolve));
    await until(() => asked.length === 2);
    asked[1].end();
    expect(await coded).toMatchObject({ reason: "coding", runCount: 1 });
    expect(fileBytes(again)).toBeLessThan(before / 2);
    // The thread that was started for it is let go, and another for what follows.
    const { jobs }: Store = Reflect.get(again, "store");
    await until(() => !jobs.isReady);
    await fill(again, 2);
    expect(jobs.isReady).toBe(true);
    await until(() => asked.length === 3);
    asked[2].end();
    await until(() => again.stats().background.compaction !== undefined);
    await until(() => again.stats().background.compaction === undefined);
    await setImmediate();
    expect(jobs.isReady).toBe(true);
    expect(again.count()).toBe(4000);
  });

  test("is coded to its end after the next open, if a close came between two steps", async () => {
    const asked = delays();
    const directory = temporaryDirectory();
    const small = { ...options, segmentBytes: 2 ** 16, maxCompactionBytes: 2 ** 16 };
    const database: TextDatabase = await openFor(directory, { ...small, background: "worker" });
    const urlOf = (i: number): string => `https://example.com/${i}/repository/`.repeat(2);
    await database.batch(
      Array.from({ length: 6000 }, (_, i) => ({ type: "put", key: `key ${i}`, value: urlOf(i) })),
    );
    await database.flush();
    const first = new Promise<CompactionEvent>((resolve) => database.on("compaction", resolve));
    asked[0].end();
    expect((await first).remainingBytes).toBeGreaterThan(0);
    await database.close();
    const again: TextDatabase = await openFor(directory, { ...small, background: "worker" });
    const before = fileBytes(again);
    const steps: CompactionEvent[] = [];
    again.on("compaction", (step) => steps.push(step));
    await until(() => asked.length === 2);
    asked[1].end();
    await until(() => steps.at(-1)?.remainingBytes === 0);
    expect(steps[0]).toMatchObject({ reason: "coding", runCount: 1 });
    // What was coded before the close is carried over.
    expect(steps[0].inputBytes).toBeGreaterThan(steps[0].rewrittenBytes);
    expect(fileBytes(again)).toBeLessThan(before / 2);
    expect(again.count()).toBe(6000);
  });

  test("is not coded before what has become due meanwhile is merged", async () => {
    const asked = delays();
    const { held, compact } = holdCompaction();
    // Each step of a merge takes one run's keys.
    const database: TextDatabase = await openFor(temporaryDirectory(), {
      ...options,
      background: "worker",
      maxCompactionBytes: 2 ** 16,
    });
    const steps: CompactionEvent[] = [];
    database.on("compaction", (step) => steps.push(step));
    for (let round = 0; round < 2; round++) await fill(database, round);
    asked[0].end();
    await until(() => asked.length === 2);
    asked[1].end();
    await until(() => compact.mock.calls.length > 0);
    for (let round = 2; round < 6; round++) await fill(database, round);
    held.resolve();
    await until(() => steps.length > 0 && database.stats().background.compaction === undefined);
    expect(steps[0].reason).toBe("coding");
    expect(steps[0].remainingBytes).toBeGreaterThan(0);
    expect(new Set(steps.slice(1).map(({ reason }) => reason))).toEqual(new Set(["space"]));
    expect(database.stats().runs).toHaveLength(1);
    expect(database.count()).toBe(12_000);
    await database.verify();
  });

  test.each([
    ["writes are refused", (guard: WriteGuard) => guard.poison(new Error("planted")), []],
    [
      "the lock was lost",
      (guard: WriteGuard) =>
        vi.spyOn(guard, "confirmLock").mockImplementation(() => Promise.reject(guard.fence())),
      ["MEMKV_LOCKED"],
    ],
  ])("stays so where %s", async (_, fail, codes) => {
    const asked = delays();
    const compact = vi.spyOn(WorkerRunner.prototype, "compact");
    onTestFinished(() => compact.mockRestore());
    const directory = temporaryDirectory();
    const database: TextDatabase = await openFor(directory, { ...options, background: "worker" });
    const errors: string[] = [];
    database.on("error", (error) => errors.push((error as DatabaseError).code));
    await fill(database, 1);
    const store: Store = Reflect.get(database, "store");
    fail(store.guard);
    asked[0].end();
    await setImmediate();
    expect(compact.mock.calls.length).toBe(0);
    expect(errors).toEqual(codes);
  });

  test("is coded in one database after the other", async () => {
    const asked = delays();
    const { held, compact } = holdCompaction();
    const open = (): Promise<TextDatabase> =>
      openFor(temporaryDirectory(), { ...options, background: "worker" });
    const databases = [await open(), await open(), await open()];
    const coded: number[] = [];
    for (const [i, database] of databases.entries()) {
      database.on("compaction", () => coded.push(i));
      await fill(database, i);
    }
    for (const { end } of asked) end();
    await until(() => compact.mock.calls.length > 0);
    await setImmediate();
    expect(compact.mock.calls.length).toBe(1);
    await databases[1].close();
    held.resolve();
    await until(() => coded.length === 2);
    expect(coded).toEqual([0, 2]);
  });

  test("is not coded beside a flush, but after it", async () => {
    const asked = delays();
    const database: TextDatabase = await openFor(temporaryDirectory(), {
      ...options,
      background: "worker",
    });
    await fill(database, 1);
    const held = gate();
    const { flush } = WorkerRunner.prototype;
    const flushing = vi.spyOn(WorkerRunner.prototype, "flush");
    const compact = vi.spyOn(WorkerRunner.prototype, "compact");
    onTestFinished(() => flushing.mockRestore());
    onTestFinished(() => compact.mockRestore());
    flushing.mockImplementationOnce(async function (this: WorkerRunner, ...args) {
      await held.promise;
      return flush.apply(this, args);
    });
    const filled = fill(database, 2);
    await until(() => flushing.mock.calls.length > 0);
    asked[0].end();
    await setImmediate();
    expect(compact.mock.calls.length).toBe(0);
    held.resolve();
    await filled;
    await until(() => asked.length === 2);
    asked[1].end();
    await until(() => compact.mock.calls.length > 0);
    expect(database.stats().background.compaction).toMatchObject({ runCount: 2 });
  });

  test("is not coded beside a merge", async () => {
    const asked = delays();
    const database: TextDatabase = await openFor(temporaryDirectory(), {
      ...options,
      background: "worker",
    });
    await fill(database, 1);
    const { held, compact } = holdCompaction();
    const compacted = database.compact();
    await until(() => compact.mock.calls.length > 0);
    asked[0].end();
    await setImmediate();
    expect(compact.mock.calls.length).toBe(1);
    held.resolve();
    await compacted;
    expect(compact.mock.calls.length).toBe(1);
    expect(asked).toHaveLength(1);
  });

  test("is left to merges and compact() where jobs run on the calling thread", async () => {
    const asked = delays();
    const fileSystem = new MemoryFileSystem();
    const database = await openText({ ...options, compression: "auto", fileSystem });
    await fill(database, 1);
    const before = fileBytes(database);
    await database.compact();
    expect(fileBytes(database)).toBeLessThan(before / 2);
    expect(asked).toEqual([]);
  });
});

test.each([
  ["unless told otherwise", undefined, 1],
  ["not where nobody awaits it", false, 0],
])("the process stays alive for a delay, %s", async (_, isAwaited, timers) => {
  const database = await openText({ fileSystem: new MemoryFileSystem() });
  const store: Store = Reflect.get(database, "store");
  const timerCount = (): number =>
    process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
  const before = timerCount();
  const controller = new AbortController();
  const delayed = store.delay(60_000, controller.signal, isAwaited);
  expect(timerCount() - before).toBe(timers);
  controller.abort();
  await delayed;
});

test("compact() goes on where a merge that became due before it took a step", async () => {
  const { held, compact } = holdCompaction();
  const database: TextDatabase = await openFor(temporaryDirectory(), {
    ...SMALL,
    background: "worker",
    maxCompactionBytes: 2 ** 14,
  });
  const reasons: string[] = [];
  database.on("compaction", ({ reason }) => reasons.push(reason));
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 20; i++) await database.put(`key ${round} ${i}`, noise(1000, i));
    await database.flush();
  }
  await until(() => compact.mock.calls.length > 0);
  const compacted = database.compact();
  held.resolve();
  await compacted;
  expect(reasons.length).toBeGreaterThan(2);
  expect(reasons).toEqual(["space", ...reasons.slice(1).fill("manual")]);
});

describe("a flush that fails", () => {
  const steps: [string, Parameters<FaultFileSystem["inject"]>[0]][] = [
    ["to create its segment", { kinds: ["create"], path: /seg$/, effect: failing() }],
    ["to write its segment", { kinds: ["write"], path: /seg$/, effect: failing() }],
    ["to sync its segment", { kinds: ["sync"], path: /seg$/, effect: failing() }],
    ["to open its segment", { kinds: ["open"], path: /seg$/, effect: failing() }],
    ["to write the manifest", { kinds: ["write"], path: /MANIFEST/, effect: failing() }],
    ["to replace the manifest", { kinds: ["rename"], effect: failing() }],
  ];

  test.each(steps)("%s leaves its writes readable, and is tried again", async (_, fault) => {
    const disk = new MemoryFileSystem();
    const fileSystem = new FaultFileSystem(disk);
    const database = await openText({ fileSystem });
    await database.put("before", "flush");
    await database.flush();
    await database.put("a", "1");
    await database.put("before", "again");
    fileSystem.inject(fault);
    const failure = database.flush();
    await expect(failure).rejects.toMatchObject({ code: "MEMKV_IO", cause: { code: "EIO" } });
    const expected = [
      ["a", "1"],
      ["before", "again"],
    ];
    expect([...database.entries()]).toEqual(expected);
    await database.put("b", "2");
    await database.flush();
    expect(database.stats().memtableKeyCount).toBe(0);
    expect([...database.entries()]).toEqual([...expected.slice(0, 1), ["b", "2"], expected[1]]);
    expect(await segmentsIn(disk)).toEqual(await needed(disk));
    await database.close();
    const again = await openText({ fileSystem: disk });
    expect(again.count()).toBe(3);
    await again.verify();
  });

  test("only to remove its log is done, and the next removes both", async () => {
    const disk = new MemoryFileSystem();
    const fileSystem = new FaultFileSystem(disk);
    const warnings: string[] = [];
    const logger = { warn: (message: string): number => warnings.push(message) };
    const database = await openText({ fileSystem, logger });
    const logs = async (): Promise<number> =>
      (await disk.list("store")).filter((name) => name.endsWith(".wal")).length;
    await database.put("a", "1");
    fileSystem.inject({ kinds: ["remove"], path: /wal$/, effect: failing() });
    await database.flush();
    expect(warnings).toHaveLength(1);
    expect(await logs()).toBeGreaterThan(1);
    await database.put("b", "2");
    await database.flush();
    expect(await logs()).toBe(1);
    await database.close();
  });

  test("behind a writer's back is reported, and tried again when there is room to make", async () => {
    const disk = new MemoryFileSystem();
    const fileSystem = new FaultFileSystem(disk);
    const database = await openText({ fileSystem, memtableBytes: 2 ** 18 });
    const errors: unknown[] = [];
    database.on("error", (error) => errors.push(error));
    fileSystem.inject({
      kinds: ["create"],
      path: /seg$/,
      repeat: Number.POSITIVE_INFINITY,
      effect: failing(),
    });
    // Two memtables may wait for their flush; then writes are refused, and only then.
    const value = noise(50_000, 1);
    let accepted = 0;
    for (let isFull = false; !isFull; ) {
      try {
        await database.put(`key ${accepted}`, value);
        accepted++;
      } catch (error) {
        expect(error).toMatchObject({ code: "MEMKV_IO" });
        isFull = true;
      }
      expect(accepted).toBeLessThan(40);
    }
    expect(accepted).toBeGreaterThan(8);
    expect(database.count()).toBe(accepted);
    await until(() => errors.length > 0);
    expect(errors[0]).toMatchObject({ code: "MEMKV_IO" });
    fileSystem.heal();
    await database.put("room", "again");
    await database.flush();
    expect(database.count()).toBe(accepted + 1);
    expect(database.stats().memtableKeyCount).toBe(0);
    await database.close();
    const again = await openText({ fileSystem: disk });
    expect(again.count()).toBe(accepted + 1);
    expect(again.get("key 3")).toBe(value);
  });

  test("at close leaves its writes in the log", async () => {
    const disk = new MemoryFileSystem();
    const fileSystem = new FaultFileSystem(disk);
    const database = await openFor<string, string>("store", { fileSystem, durability: "os" });
    const value = noise(2 ** 21, 1);
    await database.put("large enough to be flushed at close", value);
    fileSystem.inject({ kinds: ["create"], path: /seg$/, effect: failing() });
    await database.close();
    const again = await openText({ fileSystem: disk });
    expect(again.recovery.writesReplayed).toBe(1);
    expect(again.get("large enough to be flushed at close")).toBe(value);
  });
});

function failing(): { readonly kind: "fail"; readonly code: "EIO" } {
  return { kind: "fail", code: "EIO" };
}

/** Runs of 200 keys each, none merged yet. */
async function writeRuns(database: TextDatabase, runCount: number): Promise<void> {
  for (let run = 0; run < runCount; run++) {
    for (let i = 0; i < 200; i++) {
      void database.put(`key ${i}`, `${run} ${noise(700, i * 10 + run)}`);
    }
    await database.flush();
  }
}

describe("a compaction", () => {
  test.each([
    ["to create a segment", { kinds: ["create"], path: /seg$/, effect: failing() }],
    [
      "to create its second segment",
      { kinds: ["create"], path: /seg$/, nth: 2, effect: failing() },
    ],
    ["to read its input", { kinds: ["read"], path: /seg$/, nth: 2, repeat: 1, effect: failing() }],
    ["to sync its second segment", { kinds: ["sync"], path: /seg$/, nth: 2, effect: failing() }],
    ["to replace the manifest", { kinds: ["rename"], effect: failing() }],
    ["and then to clean up", { kinds: ["sync", "remove"], repeat: 1, effect: failing() }],
  ] as [string, Parameters<FaultFileSystem["inject"]>[0]][])(
    "that fails %s changes nothing, and can be had again",
    async (_, fault) => {
      const disk = new MemoryFileSystem();
      const fileSystem = new FaultFileSystem(disk);
      // A step takes all of it, and writes two segments.
      const segmentBytes = 7 * 2 ** 14;
      const options = { fileSystem, segmentBytes, compactionTrigger: 8, blockCacheBytes: 0 };
      const database = await openText(options);
      await writeRuns(database, 3);
      const before = [...database.entries()];
      const inputs = await segmentsIn(disk);
      fileSystem.inject(fault);
      await expect(database.compact()).rejects.toMatchObject({
        code: "MEMKV_IO",
        cause: { code: "EIO" },
      });
      expect([...database.entries()]).toEqual(before);
      expect(database.stats().runs).toHaveLength(3);
      expect(await segmentsIn(disk)).toEqual(expect.arrayContaining(inputs));
      fileSystem.heal();
      await database.compact();
      expect([...database.entries()]).toEqual(before);
      expect(database.stats().runs).toHaveLength(1);
      await database.close();
      const again = await openText({ fileSystem: disk });
      expect(await segmentsIn(disk)).toEqual(await needed(disk));
      expect([...again.entries()]).toEqual(before);
    },
  );

  test("leaves what a snapshot or an iteration sees on disk until it is closed", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openText({ fileSystem, compactionTrigger: 8 });
    await writeRuns(database, 2);
    const old = await segmentsIn(fileSystem);
    const snapshot = database.snapshot();
    const expected = [...database.entries()];
    const iterator = database.entries({ reverse: true })[Symbol.iterator]();
    expect(iterator.next().value).toEqual(expected.at(-1));
    for (let i = 0; i < 200; i++) void database.put(`key ${i}`, "new");
    await database.delete("key 0");
    await database.compact();
    expect(await segmentsIn(fileSystem)).toEqual(expect.arrayContaining(old));
    expect(database.count()).toBe(199);
    expect([...snapshot.entries()]).toEqual(expected);
    expect([...iterator]).toEqual(expected.slice(0, -1).reverse());
    // The iteration has ended and let go; the snapshot still holds on.
    for (let i = 0; i < 10; i++) await setImmediate();
    expect(await segmentsIn(fileSystem)).toEqual(expect.arrayContaining(old));
    expect(snapshot.get("key 0")).toBe(expected[0][1]);
    snapshot.close();
    await until(async () => !(await segmentsIn(fileSystem)).some((name) => old.includes(name)));
    expect(await segmentsIn(fileSystem)).toEqual(await needed(fileSystem));
    expect([...database.values()]).toEqual(new Array(199).fill("new"));
  });

  test("lets writes, reads and flushes go on", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const database = await openText({ fileSystem, compactionTrigger: 8 });
    await writeRuns(database, 3);
    const { promise, resolve } = gate();
    fileSystem.inject({
      kinds: ["create"],
      path: /seg$/,
      effect: { kind: "delay", until: promise },
    });
    const created = fileSystem.operationCount("create");
    const compaction = database.compact();
    await until(() => fileSystem.operationCount("create") > created);
    await database.put("key 1", "while it compacts");
    await database.delete("key 2");
    await database.flush();
    expect(database.stats().runs).toHaveLength(4);
    resolve();
    await compaction;
    // The flushed run is newer than the merged one and stays in front of it.
    expect(database.stats().runs.map(({ keyCount }) => keyCount)).toEqual([2, 200]);
    expect(database.get("key 1")).toBe("while it compacts");
    expect(database.has("key 2")).toBe(false);
    expect(database.count()).toBe(199);
    await database.compact();
    expect(database.stats().runs).toMatchObject([{ keyCount: 199, tombstoneCount: 0 }]);
  });

  test("of a range merges where there is something to gain within it, and only there", async () => {
    const options = { compactionTrigger: 8, maxSizeAmplificationPercent: 1000 };
    const database = await openText({ fileSystem: new MemoryFileSystem(), ...options });
    const write = async (from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i++) void database.put(`key ${i}`, "value");
      await database.flush();
    };
    const runCounts = (): number[] => database.stats().runs.map(({ keyCount }) => keyCount);
    await write(100, 200);
    await write(300, 400);
    await write(350, 450);
    await database.put("zebra", "in the memtable");
    // One run each; none; no key can be within.
    for (const range of [
      { gte: "key 100", lte: "key 199" },
      { gte: "key 2", lt: "key 350" },
      { gte: "key 4", lt: "z" },
      { gte: "key 5", lt: "key 9" },
      { gt: "key 399", lt: "key 350" },
    ]) {
      await database.compact(range);
      expect(runCounts()).toEqual([1, 100, 100, 100]);
    }
    const expected = [...database.entries()];
    await database.compact({ gte: "key 399", lte: "key 399" });
    expect(runCounts()).toEqual([251]);
    expect([...database.entries()]).toEqual(expected);
    await database.delete("key 100");
    await database.compact({ prefix: "zebra" });
    expect(runCounts()).toEqual([1, 251]);
    await database.compact({ lt: "key 101" });
    expect(runCounts()).toEqual([250]);
    await database.deleteRange({ gte: "key 400", lt: "key 410" });
    await database.compact({ lt: "key 405" });
    expect(runCounts()).toEqual([240]);
    await expect(database.compact({ from: "a" } as object)).rejects.toMatchObject({
      code: "MEMKV_INVALID_ARGUMENT",
    });
  });

  test("of runs that hide all of each other leaves no run", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openText({ fileSystem, compactionTrigger: 8 });
    await writeRuns(database, 2);
    await database.batch([...database.keys()].map((key) => ({ type: "delete", key })));
    await database.compact();
    expect(database.stats().runs).toEqual([]);
    await until(async () => (await segmentsIn(fileSystem)).length === 0);
    await database.close();
    const again = await openText({ fileSystem });
    expect([...again.entries()]).toEqual([]);
    await again.put("a", "1");
    expect([...again.entries()]).toEqual([["a", "1"]]);
  });

  test("by itself follows on flushes", async () => {
    const database = await openText({ fileSystem: new MemoryFileSystem(), compactionTrigger: 2 });
    const reasons: string[] = [];
    database.on("compaction", ({ reason }) => reasons.push(reason));
    await writeRuns(database, 6);
    await until(() => reasons.length > 0 && database.stats().runs.length < 3);
    expect(reasons).not.toContain("manual");
  });
});

describe("once it is unknown which manifest a crash would find", () => {
  test("no work under way writes another, and writes are refused with the reason", async () => {
    const disk = new MemoryFileSystem();
    const fileSystem = new FaultFileSystem(disk);
    const database = await openText({ fileSystem, compactionTrigger: 8 });
    const errors: unknown[] = [];
    database.on("error", (error) => errors.push(error));
    await writeRuns(database, 3);
    const { promise, resolve } = gate();
    fileSystem.inject({
      kinds: ["create"],
      path: /seg$/,
      effect: { kind: "delay", until: promise },
    });
    const created = fileSystem.operationCount("create");
    const poisoned = { code: "MEMKV_POISONED" };
    const compaction = expect(database.compact()).rejects.toMatchObject(poisoned);
    await until(() => fileSystem.operationCount("create") > created);
    await database.put("key 1", "new");
    // Syncs of the directory: the log's name, the segment's name, the manifest's replacement.
    fileSystem.inject({ kinds: ["syncDirectory"], nth: 3, effect: failing() });
    await expect(database.flush()).rejects.toMatchObject(poisoned);
    const manifest = contents(disk, "MANIFEST");
    const before = await manifest;
    resolve();
    await compaction;
    expect(await contents(disk, "MANIFEST")).toEqual(before);
    await expect(database.put("key 2", "refused")).rejects.toMatchObject({
      ...poisoned,
      cause: expect.anything(),
    });
    await expect(database.flush()).rejects.toMatchObject(poisoned);
    await expect(database.compact()).rejects.toMatchObject(poisoned);
    expect(database.get("key 1")).toBe("new");
    expect(database.count()).toBe(200);
    const expected = [...database.entries()];
    await database.close();
    const again = await openText({ fileSystem: disk });
    expect([...again.entries()]).toEqual(expected);
    await again.put("key 2", "accepted");
    await again.verify();
  });
});

test("a poisoning failure is not hidden by a failure to clean up after it", async () => {
  const disk = new MemoryFileSystem();
  const fileSystem = new FaultFileSystem(disk);
  const database = await openText({ fileSystem });
  await database.put("key", "value");
  // The manifest learns of the log behind the write's back.
  await until(async () => ((await readManifest(disk, "store"))?.newestWal ?? 0) > 1);
  await database.sync();
  // Syncs of the directory: the log's name, the segment's name, the manifest's replacement.
  fileSystem.inject({ kinds: ["syncDirectory"], nth: 3, effect: failing() });
  // The second file of the segment's name that is closed is the one that was opened to install it.
  fileSystem.inject({ kinds: ["close"], path: /seg$/, nth: 2, effect: failing() });
  await expect(database.flush()).rejects.toMatchObject({ code: "MEMKV_POISONED" });
  expect(fileSystem.plannedFaults).toBe(0);
  await expect(database.put("key", "refused")).rejects.toMatchObject({ code: "MEMKV_POISONED" });
  // Whichever manifest a crash leaves, what it names is there.
  const names = await disk.list("store");
  expect(names.filter((name) => name.endsWith(".seg"))).toEqual(await needed(disk));
  expect(names.some((name) => name.endsWith(".wal"))).toBe(true);
  expect(database.get("key")).toBe("value");
  await database.close();
  expect((await openText({ fileSystem: disk })).get("key")).toBe("value");
});

async function contents(fileSystem: FileSystem, name: string): Promise<string> {
  const file = await fileSystem.open(`store/${name}`, "read");
  const bytes = new Uint8Array(file.size());
  file.readSync(bytes, 0);
  await file.close();
  return Buffer.from(bytes).toString("hex");
}

test("compact() codes what a flush left uncoded, once", async () => {
  const fileSystem = new MemoryFileSystem();
  const database = await openText({ fileSystem, compression: "auto" });
  const compactions: string[] = [];
  database.on("compaction", ({ reason }) => compactions.push(reason));
  const key = (i: number): string =>
    `https://example.org/${noise(4, i % 50)}/${noise(6, i % 90)}/${i}`;
  for (const first of [0, 4000]) {
    for (let i = first; i < first + 4000; i++) void database.put(key(i), noise(12, i % 70));
    await database.flush();
    const flushed = database.stats().disk.total;
    await database.compact();
    expect(database.stats().disk.total).toBeLessThan(flushed);
  }
  expect(compactions).toEqual(["manual", "manual"]);
  const compacted = await segmentsIn(fileSystem);
  await database.compact();
  expect(compactions).toHaveLength(2);
  expect(await segmentsIn(fileSystem)).toEqual(compacted);
  expect(database.count()).toBe(8000);
  await database.verify();
  await database.close();
});

test("a database in memory leaves nothing in the working directory", async () => {
  const before = readdirSync(".");
  const database = await openFor<string, string>(":memory:", SMALL);
  await writeRuns(database, 2);
  await database.compact();
  expect(database.count()).toBe(200);
  expect(readdirSync(".")).toEqual(before);
});

test("what cannot be read to decide on a compaction is an error event, and read at the next time", async () => {
  const disk = new MemoryFileSystem();
  const first = await openText({ fileSystem: disk, background: "inline" });
  const keys = Array.from({ length: 2000 }, (_, i) => `key ${String(i).padStart(5, "0")}`);
  await first.batch(keys.map((key) => ({ type: "put", key, value: key })));
  await first.flush();
  await first.deleteRange({ gte: keys[100], lt: keys[200] });
  await first.flush();
  await first.close();
  const faults = new FaultFileSystem(disk);
  const database = await openText({ fileSystem: faults, background: "inline" });
  const errors: unknown[] = [];
  database.on("error", (error) => errors.push(error));
  faults.inject({
    kinds: ["read"],
    path: /\.seg$/,
    repeat: Number.POSITIVE_INFINITY,
    effect: { kind: "fail", code: "EIO" },
  });
  await until(() => errors.length > 0);
  expect(String(errors[0])).toContain("EIO");
  faults.heal();
  expect(database.get(keys[150])).toBeUndefined();
  expect(database.get(keys[250])).toBe(keys[250]);
  await database.put("another", "write");
  await database.flush();
  expect(errors).toHaveLength(1);
});

test("a merge that stopped writers wait for is not broken off for compact(), step by step", async () => {
  const options = { fileSystem: new MemoryFileSystem(), memtableBytes: 2 ** 17 } as const;
  const small = { ...options, segmentBytes: 512, maxCompactionBytes: 512, compactionTrigger: 2 };
  const database = await openText(small);
  const events: CompactionEvent[] = [];
  database.on("compaction", (event) => events.push(event));
  const held = gate();
  const { compact: merge } = InlineRunner.prototype;
  const compact = vi.spyOn(InlineRunner.prototype, "compact");
  onTestFinished(() => compact.mockRestore());
  compact.mockImplementationOnce(async function (this: InlineRunner, ...args) {
    await held.promise;
    return merge.apply(this, args);
  });
  for (let run = 0; run < 12; run++) {
    for (let i = 0; i < 10; i++) await database.put(`key ${i}`, noise(400, run * 10 + i));
    await database.flush();
  }
  const compacted = database.compact();
  await until(
    () => Reflect.get(Reflect.get(database, "store").background.compactions, "manualWaiting") === 1,
  );
  await database.put("key 0", noise(2 ** 17, 1));
  const stopped = database.put("key 1", "after the stop");
  await until(() => Reflect.get(database, "store").background.stalls.begun.has("stop"));
  held.resolve();
  await Promise.all([compacted, stopped]);
  const manual = events.findIndex(({ reason }) => reason === "manual");
  expect(events[manual - 1].step).toBeGreaterThan(1);
  expect(events[manual - 1].remainingBytes).toBe(0);
});
