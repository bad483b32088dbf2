/**
 * The background thread: what it does beside a compaction, and what is left when it dies.
 *
 * Once, a thread that died while the result of an earlier job was being installed took that job's
 * files with it: it had made them, and the database did not name them yet.
 */
import { setImmediate } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { loadChecksum } from "../../src/bytes/checksum.ts";
import { BlockCache } from "../../src/cache/block-cache.ts";
import { BEFORE_EXPIRY, EntryKind } from "../../src/entry.ts";
import { ClosedError } from "../../src/errors.ts";
import { type FileSystem, joinPath } from "../../src/io/file-system.ts";
import { NodeFileSystem } from "../../src/io/node.ts";
import { JobControl } from "../../src/jobs/job-control.ts";
import { compactRuns, type JobContext, type JobOutput } from "../../src/jobs/jobs.ts";
import { MergeCoders } from "../../src/jobs/merge-coders.ts";
import { WorkerRunner } from "../../src/jobs/worker-runner.ts";
import { FileNumbers } from "../../src/manifest/file-numbers.ts";
import { segmentFileName } from "../../src/manifest/files.ts";
import type { SegmentMeta } from "../../src/manifest/version.ts";
import { createMemtable, type Memtable } from "../../src/memtable/memtable.ts";
import { Segment } from "../../src/segment/reader.ts";
import { SymbolTables } from "../../src/symbols/tables.ts";
import { FaultFileSystem } from "../../src/testing/fault-file-system.ts";
import { temporaryDirectory } from "../engine/harness.ts";

const databaseId = Uint8Array.from({ length: 16 }, (_, i) => i);

let context: JobContext;
/** File numbers that the database names. */
let live: Set<number>;
let runner: WorkerRunner;
let nextSeqno: number;

beforeEach(async () => {
  await loadChecksum();
  context = {
    fileSystem: new NodeFileSystem(),
    directory: temporaryDirectory(),
    databaseId,
    fileNumbers: FileNumbers.from(1),
    segmentBytes: 2 ** 26,
    largeValueBytes: 4096,
    compression: "none",
    mergeCoders: new MergeCoders(new SymbolTables()),
  };
  live = new Set();
  nextSeqno = 1;
  runner = new WorkerRunner(context, {
    isLive: (fileNumber) => live.has(fileNumber),
    confirmLock: async () => {},
  });
  onTestFinished(() => runner.close());
});

/** A sealed memtable with so many keys. */
function memtableOf(keyCount: number): Memtable {
  const memtable = createMemtable(2 ** 26, 0, 0, 0);
  const value = new TextEncoder().encode("some value");
  for (let i = 0; i < keyCount; i++) {
    const key = new TextEncoder().encode(`key ${String(i).padStart(9, "0")}`);
    const { length } = value;
    memtable.add(key, 0, key.length, nextSeqno++, EntryKind.put, value, 0, length);
  }
  return memtable;
}

const FLUSH = { time: BEFORE_EXPIRY, dropTombstones: true, boundaries: [] };

async function flush(memtable: Memtable): Promise<readonly SegmentMeta[]> {
  return (await runner.flush(memtable, FLUSH, new JobControl())).run;
}

async function openAll(
  run: readonly SegmentMeta[],
  sections?: JobOutput["sections"],
  fileSystem: FileSystem = context.fileSystem,
): Promise<Segment[]> {
  const opened: Segment[] = [];
  for (const { fileNumber } of run) {
    const segment = await Segment.open({
      fileSystem,
      sections: sections?.get(fileNumber),
      path: joinPath(context.directory, segmentFileName(fileNumber)),
      identity: { databaseId, fileNumber },
      blockCache: new BlockCache(0),
      valueLogs: new Map(),
    });
    onTestFinished(() => segment.close());
    opened.push(segment);
  }
  return opened;
}

/** Ends the thread, as running out of memory would. */
async function killThread(): Promise<void> {
  await (Reflect.get(runner, "worker") as Worker).terminate();
}

const filesLeft = async (): Promise<string[]> =>
  (await context.fileSystem.list(context.directory)).sort((a, b) => (a < b ? -1 : 1));

/** Merges one run with itself so often that it takes seconds. */
function longCompaction(run: readonly Segment[]): ReturnType<WorkerRunner["compact"]> {
  const runs = Array.from({ length: 40 }, () => run);
  return runner.compact({ runs, samples: runs.flat() }, TASK, new JobControl());
}

const TASK = {
  mergeId: 1,
  kind: "merge" as const,
  end: undefined,
  boundaries: { keys: [], minBytes: 0 },
  time: BEFORE_EXPIRY,
  dropTombstones: true,
  valueLogs: [],
  maxGarbageShare: 1,
};

describe("sections in shared memory", () => {
  test("come with what was written, which then needs no reading", async () => {
    const files = new FaultFileSystem(context.fileSystem);
    const flushed = await runner.flush(memtableOf(1000), FLUSH, new JobControl());
    const [segment] = await openAll(flushed.run, flushed.sections, files);
    const key = new TextEncoder().encode("key 000000000");
    expect(segment.find(key, key.length)).toBe(0);
    expect(segment.meta).toEqual({ ...flushed.run[0], valueLogs: [] });
    expect(files.operationCount("read")).toBe(0);

    const inputs = { runs: [[segment], [segment]], samples: [segment] };
    const merged = await runner.compact(inputs, TASK, new JobControl());
    const [both] = await openAll(merged.run, merged.sections, files);
    expect(both.find(key, key.length)).toBe(0);
    expect(files.operationCount("read")).toBe(0);
  });

  test("of another file are refused", async () => {
    const few = await runner.flush(memtableOf(10), FLUSH, new JobControl());
    const many = await runner.flush(memtableOf(1000), FLUSH, new JobControl());
    const sections = few.sections?.get(few.run[0].fileNumber);
    expect(sections).toBeDefined();
    const others = new Map(many.run.map(({ fileNumber }) => [fileNumber, sections]));
    await expect(openAll(many.run, others as JobOutput["sections"])).rejects.toMatchObject({
      code: "MEMKV_CORRUPTION",
    });
  });
});

describe("a thread that dies", () => {
  test("fails its job, leaves nothing of it, and is replaced for the next", async () => {
    const failure = expect(flush(memtableOf(100_000))).rejects.toMatchObject({ code: "MEMKV_IO" });
    await killThread();
    await failure;
    expect(await filesLeft()).toEqual([]);
    const [meta] = await flush(memtableOf(10));
    expect(meta.keyCount).toBe(10);
    expect(await filesLeft()).toEqual([segmentFileName(meta.fileNumber)]);
  });

  test("leaves a merge to one that learns again how to code what is left", async () => {
    const run = await openAll(await flush(memtableOf(2000)));
    const first = await runner.compact({ runs: [run, run], samples: run }, TASK, new JobControl());
    await killThread();
    // As of every step after the first that wrote.
    const next = await runner.compact({ runs: [run, run], samples: [] }, TASK, new JobControl());
    expect(next.run[0].fileBytes).toBe(first.run[0].fileBytes);
  });

  test("leaves what it delivered, and what is being installed is not removed", async () => {
    const compacted = await openAll(await flush(memtableOf(50_000)));
    for (const { meta } of compacted) live.add(meta.fileNumber);
    const failure = expect(longCompaction(compacted)).rejects.toMatchObject({ code: "MEMKV_IO" });
    // Begun after the compaction, delivered before it, and not named by any manifest yet.
    const [arriving] = await flush(memtableOf(10));
    live.add(arriving.fileNumber);
    await killThread();
    await failure;
    expect(await filesLeft()).toEqual([...live].map(segmentFileName));
  });

  test("while it does nothing is no failure", async () => {
    await flush(memtableOf(10));
    await killThread();
    expect((await flush(memtableOf(20)))[0].keyCount).toBe(20);
  });
});

test("a flush is done as any other by a thread that was started for it, even one that died", async () => {
  runner.prepare();
  expect(await flush(memtableOf(4000))).toMatchObject([{ keyCount: 4000 }]);
  await killThread();
  runner.prepare();
  await killThread();
  expect(await flush(memtableOf(4000))).toMatchObject([{ keyCount: 4000 }]);
});

test.each([
  ["stands still", false],
  ["that is urgent goes on", true],
])("a compaction %s while a memtable is flushed", async (_, isUrgent) => {
  const run = await openAll(await flush(memtableOf(300_000)));
  const memtable = memtableOf(300_000);
  const [compacting, flushing] = [new JobControl(), new JobControl()];
  const runs = Array.from({ length: 4 }, () => run);
  if (isUrgent) compacting.hurry();
  const compaction = runner.compact({ runs, samples: runs.flat() }, TASK, compacting);
  while (compacting.entryCount === 0) await setImmediate();
  const flushed = runner.flush(memtable, FLUSH, flushing);
  while (flushing.entryCount === 0) await setImmediate();
  const before = compacting.entryCount;
  let after = before;
  for (;;) {
    const seen = compacting.entryCount;
    if (flushing.entryCount === 300_000) break;
    after = seen;
    await setImmediate();
  }
  // It goes on to its next pause; taking turns, it would do as much as the flush.
  expect(after - before > 50_000).toBe(isUrgent);
  await flushed;
  expect((await compaction).run).toMatchObject([{ keyCount: 300_000 }]);
  expect(compacting.entryCount).toBe(300_000);
});

test("a flush does not wait for a compaction that was begun before it", async () => {
  const run = await openAll(await flush(memtableOf(50_000)));
  const order: string[] = [];
  const compaction = longCompaction(run).then(() => {
    order.push("compaction");
  });
  await flush(memtableOf(100));
  order.push("flush");
  await compaction;
  expect(order).toEqual(["flush", "compaction"]);
});

test("a compaction that is cancelled while it learns how to code ends at the next pause", async () => {
  const run = await openAll(await flush(memtableOf(50_000)));
  const before = await filesLeft();
  const firstFileNumber = context.fileNumbers.upcoming;
  const control = new JobControl();
  let pauses = 0;
  const pause = async (): Promise<void> => {
    pauses++;
    if (pauses === 10) control.cancel();
  };
  const merged = compactRuns([run, run], TASK, context, pause, control, async () => run);
  await expect(merged).rejects.toThrow(ClosedError);
  expect(pauses).toBe(10);
  // Nothing had been written: it was learning.
  expect(context.fileNumbers.upcoming).toBe(firstFileNumber);
  expect(await filesLeft()).toEqual(before);
});

test("the thread is not terminated at its work: it ends when it has done what it was asked for", async () => {
  runner.prepare();
  const worker: Worker = Reflect.get(runner, "worker");
  const terminated = vi.spyOn(worker, "terminate");
  await runner.close();
  expect(worker.threadId).toBe(-1);
  expect(terminated).not.toHaveBeenCalled();
});
