/**
 * The background thread dies, in the middle of a flush and of a compaction: an error event, nothing
 * lost, nothing left behind, and a new thread that does the work again.
 */
import { readdirSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { Store } from "../../src/engine/store.ts";
import type { Database, DatabaseStats } from "../../src/index.ts";
import { WorkerRunner } from "../../src/jobs/worker-runner.ts";
import { gate, openFiles, openFor, temporaryDirectory, withoutLock } from "./harness.ts";

type TextDatabase = Database<string, string>;

const KEY_COUNT = 30_000;

async function fill(database: TextDatabase, version: number): Promise<void> {
  await database.batch(
    Array.from({ length: KEY_COUNT }, (_, i) => ({
      type: "put",
      key: `key ${String((i * 7919) % KEY_COUNT).padStart(6, "0")}`,
      value: `${version} https://example.org/some/path/${i}`,
    })),
  );
}

/** Ends the thread at once, wherever it is, as if it had run out of memory. */
async function kill(database: TextDatabase): Promise<void> {
  const store: { jobs: { worker: Worker | undefined } } = Reflect.get(database, "store");
  await store.jobs.worker?.terminate();
}

/** Resolves in the middle of the work: after its first entries and before its last. */
async function underWay(
  database: TextDatabase,
  job: "flush" | "compaction",
): Promise<DatabaseStats["background"]> {
  for (;;) {
    const { background } = database.stats();
    const { entriesDone = 0 } = background[job] ?? {};
    if (entriesDone > 0) return background;
    await setImmediate();
  }
}

function filesIn(directory: string): string[] {
  return withoutLock(readdirSync(directory)).filter((name) => /\.(seg|val)/.test(name));
}

describe("a background thread that dies", () => {
  test("in the middle of a flush loses nothing, and the flush is done again", async () => {
    const directory = temporaryDirectory();
    const database = await openFor<string, string>(directory, {
      background: "worker",
      durability: "os",
    });
    const errors: unknown[] = [];
    database.on("error", (error) => errors.push(error));
    await fill(database, 1);
    const flushed = database.flush();
    const died = expect(flushed).rejects.toMatchObject({
      code: "MEMKV_IO",
      message: expect.stringContaining("background thread died"),
    });
    await underWay(database, "flush");
    await kill(database);
    await died;
    expect(errors).toEqual([expect.objectContaining({ code: "MEMKV_IO" })]);
    expect(filesIn(directory)).toEqual([]);
    expect(database.count()).toBe(KEY_COUNT);
    await database.put("later", "write");
    await database.flush();
    expect(database.stats()).toMatchObject({ memtableKeyCount: 0, runs: [{}, {}] });
    expect(filesIn(directory)).toHaveLength(2);
    expect(database.count()).toBe(KEY_COUNT + 1);
    await database.verify();
    await database.close();
    expect(openFiles(directory)).toEqual([]);
    const again = await openFor<string, string>(directory);
    expect(again.recovery).toMatchObject({ orphansRemoved: [], writesReplayed: 0 });
    expect(again.count()).toBe(KEY_COUNT + 1);
  });

  test("in the middle of a compaction leaves the runs as they are, and it is done again", async () => {
    const directory = temporaryDirectory();
    const database = await openFor<string, string>(directory, {
      background: "worker",
      durability: "os",
      compactionTrigger: 8,
    });
    const errors: unknown[] = [];
    database.on("error", (error) => errors.push(error));
    for (let version = 1; version <= 3; version++) {
      await fill(database, version);
      await database.flush();
    }
    await database.batch(
      [...database.keys({ limit: 1000 })].map((key) => ({ type: "delete", key })),
    );
    const expected = [...database.entries()];
    const compacted = expect(database.compact()).rejects.toMatchObject({ code: "MEMKV_IO" });
    const { compaction } = await underWay(database, "compaction");
    expect(compaction).toMatchObject({ reason: "manual", runCount: 4 });
    await kill(database);
    await compacted;
    expect(errors).toEqual([expect.objectContaining({ code: "MEMKV_IO" })]);
    expect(database.stats().runs).toHaveLength(4);
    expect(filesIn(directory)).toHaveLength(4);
    expect([...database.entries()]).toEqual(expected);
    await database.compact();
    expect(database.stats().runs).toMatchObject([{ keyCount: KEY_COUNT - 1000 }]);
    expect([...database.entries()]).toEqual(expected);
    // Files of what was merged are removed after the merge.
    while (filesIn(directory).length > 1) await setImmediate();
    // The one segment and the log that is written, each once.
    const open = openFiles(directory);
    expect(new Set(open).size).toBe(open.length);
    expect(open.length).toBeLessThanOrEqual(2);
    await database.close();
    const again = await openFor<string, string>(directory);
    expect(again.recovery.orphansRemoved).toEqual([]);
    expect([...again.entries()]).toEqual(expected);
  });

  test("in a compaction leaves what a flush wrote that waits for its log", async () => {
    const database = await openFor<string, string>(temporaryDirectory(), { background: "worker" });
    for (const key of ["a", "b"]) {
      await database.put(key, "1");
      await database.flush();
    }
    // The thread dies before the first answer arrives, which is that of the compaction.
    const runner = WorkerRunner.prototype as unknown as { settle(): void };
    const settle = vi.spyOn(runner, "settle").mockImplementationOnce(() => {});
    const logFounded = vi.spyOn(Store.prototype, "logFounded");
    onTestFinished(() => {
      settle.mockRestore();
      logFounded.mockRestore();
    });
    const compacted = expect(database.compact()).rejects.toMatchObject({ code: "MEMKV_IO" });
    while (settle.mock.calls.length === 0) await setImmediate();
    const waiting = gate();
    const founded = gate();
    logFounded.mockImplementationOnce(() => {
      waiting.resolve();
      return founded.promise;
    });
    await database.put("c", "1");
    const flushed = database.flush();
    await waiting.promise;
    await kill(database);
    await compacted;
    founded.resolve();
    await flushed;
    expect(database.stats().runs).toHaveLength(3);
    await database.verify();
  });

  test("while it has nothing to do is not missed", async () => {
    const database = await openFor<string, string>(temporaryDirectory(), { background: "worker" });
    const errors: unknown[] = [];
    database.on("error", (error) => errors.push(error));
    await database.put("a", "1");
    await database.flush();
    await kill(database);
    await database.put("b", "2");
    await database.flush();
    expect(errors).toEqual([]);
    expect(database.count()).toBe(2);
  });
});

test("the thread is started once, when an eighth of the first memtable is full", async () => {
  const prepare = vi.spyOn(WorkerRunner.prototype, "prepare");
  onTestFinished(() => prepare.mockRestore());
  const database: TextDatabase = await openFor(temporaryDirectory(), {
    background: "worker",
    durability: "os",
    memtableBytes: 2 ** 20,
  });
  const value = "x".repeat(1000);
  const write = (i: number): Promise<void> => database.put(`key ${i}`, value);
  for (let i = 0; i < 50; i++) await write(i);
  expect(prepare).not.toHaveBeenCalled();
  for (let i = 50; i < 200; i++) await write(i);
  expect(prepare).toHaveBeenCalledOnce();
  for (let i = 200; i < 3000; i++) await write(i);
  await database.flush();
  expect(prepare).toHaveBeenCalledOnce();
  expect(database.get("key 2999")).toBe(value);
});
