/**
 * A merge goes by steps: each is bounded, is there for good once it is installed, and leaves to every
 * reader what was there. With deleted ranges, expiries, large values and snapshots in between.
 */
import { expect, test } from "vitest";
import { STEP_SEGMENTS } from "../../src/compaction/steps.ts";
import {
  type CompactionEvent,
  type Database,
  DatabaseError,
  type OpenOptions,
  repair,
} from "../../src/index.ts";
import { type FileSystem, joinPath } from "../../src/io/file-system.ts";
import {
  CrashFileSystem,
  type CrashPoint,
  FaultFileSystem,
  MemoryFileSystem,
} from "../../src/testing/index.ts";
import { openFor } from "./harness.ts";

type TextDatabase = Database<string, string>;

const SEGMENT_BYTES = 2 ** 16;
const STEP_BYTES = STEP_SEGMENTS * SEGMENT_BYTES;
/** When half of what expires has done so. */
const NOON = 1000;

function openText(
  fileSystem: FileSystem,
  now = 0,
  policy: OpenOptions<string, string> = {},
  directory = "store",
): Promise<TextDatabase> {
  return openFor<string, string>(directory, {
    fileSystem,
    now: () => now,
    valueEncoding: "utf8",
    durability: "os",
    compression: "none",
    segmentBytes: SEGMENT_BYTES,
    // Nothing is merged until it is asked for.
    compactionTrigger: 64,
    maxSizeAmplificationPercent: 1000,
    ...policy,
  });
}

/** Text that differs with `seed`. */
function text(length: number, seed: number): string {
  let state = seed;
  let noise = "";
  while (noise.length < length) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    noise += state.toString(36);
  }
  return noise.slice(0, length);
}

const keyOf = (i: number): string => `key ${String(i).padStart(5, "0")}`;

/** Runs of keys all over, which hide, delete and outlive each other; some values are large. */
async function writeRuns(
  database: TextDatabase,
  runCount: number,
  keyCount: number,
  valueLength = 400,
): Promise<void> {
  for (let run = 0; run < runCount; run++) {
    if (run > 0) {
      const from = (run * keyCount) / (runCount + 1);
      await database.deleteRange({ gte: keyOf(from), lt: keyOf(from + keyCount / 3) });
      // Small ones, some within a step, some at its end.
      for (let i = 0; i < keyCount; i += 97) {
        await database.deleteRange({ gte: keyOf(i + run), lt: keyOf(i + run + 3) });
      }
    }
    for (let i = run; i < keyCount; i += 1 + (run % 2)) {
      const key = keyOf((i * 7919) % keyCount);
      if ((i + run) % 11 === 0) void database.delete(key);
      else if ((i + run) % 13 === 0) void database.put(key, `expires ${i}`, { ttl: NOON });
      else void database.put(key, text(i % 50 === 0 ? 5000 : valueLength, i + run));
    }
    await database.flush();
  }
}

function eventsOf(database: TextDatabase): CompactionEvent[] {
  const events: CompactionEvent[] = [];
  database.on("compaction", (event) => events.push(event));
  return events;
}

/** Sizes of the segments that there are. */
async function segmentBytes(fileSystem: FileSystem): Promise<number[]> {
  const sizes: number[] = [];
  for (const name of await fileSystem.list("store")) {
    if (!name.endsWith(".seg")) continue;
    sizes.push((await fileSystem.stat(joinPath("store", name)))?.size ?? 0);
  }
  return sizes;
}

const sumOf = (sizes: readonly number[]): number => sizes.reduce((a, b) => a + b, 0);

const contentOf = (database: TextDatabase): [string, string][] => [...database.entries()];

const sum = (events: readonly CompactionEvent[]): number =>
  events.reduce((total, { rewrittenBytes }) => total + rewrittenBytes, 0);

test.each([0, NOON])("each step keeps to its bound and changes nothing, at %i", async (now) => {
  const fileSystem = new MemoryFileSystem();
  let database = await openText(fileSystem);
  await writeRuns(database, 4, 3000);
  await database.close();
  database = await openText(fileSystem, now);
  const before = contentOf(database);
  const events = eventsOf(database);
  const snapshot = database.snapshot();
  // A step may take one segment of each run.
  const largest = Math.max(...(await segmentBytes(fileSystem)));
  database.on("compaction", () => {
    expect(database.count()).toBe(before.length);
    expect(contentOf(database)).toEqual(before);
  });
  await database.compact();
  expect(events.length).toBeGreaterThan(4);
  const limit = Math.max(STEP_BYTES, 4 * largest);
  for (const event of events) expect(event.rewrittenBytes).toBeLessThanOrEqual(limit);
  const remaining = events.map(({ remainingBytes }) => remainingBytes);
  expect(remaining.at(-1)).toBe(0);
  // The second manual merge clears value logs. A merge that was under way gave way to the first.
  const manual = events.filter(({ reason }) => reason === "manual");
  const merges = manual.filter(({ step }) => step === 1);
  expect(manual.filter(({ remainingBytes }) => remainingBytes === 0)).toHaveLength(merges.length);
  const { runs } = database.stats();
  expect(runs).toMatchObject([{ keyCount: before.length, tombstoneCount: 0 }]);
  expect([...snapshot.entries()]).toEqual(before);
  snapshot.close();
  await database.verify();
  const rewritten = sum(events);
  await database.compact();
  expect(sum(events)).toBe(rewritten);
});

/** Merges all runs, and closes the database when half of that is done. Returns what was told of it. */
async function compactHalf(
  fileSystem: FileSystem,
  database: TextDatabase,
): Promise<CompactionEvent[]> {
  const inputBytes = sumOf(await segmentBytes(fileSystem));
  const events = eventsOf(database);
  const halfway = new Promise<void>((resolve) => {
    database.on("compaction", ({ remainingBytes }) => {
      if (remainingBytes < inputBytes / 2) resolve();
    });
  });
  const compaction = expect(database.compact()).rejects.toMatchObject({ code: "MEMKV_CLOSED" });
  await halfway;
  await database.close();
  await compaction;
  expect(events.at(-1)?.remainingBytes).toBeGreaterThan(0);
  return events;
}

test("what a merge has done stays done when the database is closed in the middle of it", async () => {
  const fileSystem = new MemoryFileSystem();
  let database = await openText(fileSystem);
  for (let run = 0; run < 3; run++) {
    for (let i = 0; i < 3000; i++) void database.put(keyOf(i), text(400, i + run));
    await database.flush();
  }
  const before = contentOf(database);
  const inputBytes = sumOf(await segmentBytes(fileSystem));
  const first = await compactHalf(fileSystem, database);
  database = await openText(fileSystem);
  expect(contentOf(database)).toEqual(before);
  await database.verify();
  // Two thirds of what was gone through was hidden: its space is free.
  expect(sumOf(await segmentBytes(fileSystem))).toBeLessThan((inputBytes * 3) / 4);
  const second = eventsOf(database);
  await database.compact();
  // What is left, and where a step had ended.
  const left = first.at(-1)?.remainingBytes ?? 0;
  expect(sum(second)).toBeLessThanOrEqual(left + STEP_BYTES);
  expect(contentOf(database)).toEqual(before);
  expect(database.stats().runs).toHaveLength(1);
});

/** Merges the two newest runs for their size, and then whatever is due. */
const TWO_NEWEST = { compactionTrigger: 2, minMergeWidth: 2, maxMergeWidth: 2, sizeRatio: 1000 };

test.each([true, false])(
  "after a merge that was broken off, one of newer runs can be repaired, with a manifest: %s",
  async (hasManifest) => {
    const fileSystem = new MemoryFileSystem();
    let database = await openText(fileSystem);
    for (let run = 0; run < 2; run++) {
      await database.deleteRange({ gte: keyOf(2990) });
      for (let i = 0; i < 2980; i++) void database.put(keyOf(i), text(400, i + run));
      await database.flush();
    }
    await compactHalf(fileSystem, database);
    database = await openText(fileSystem);
    // The older run has writes of the newer one here by now, which are deleted from both.
    await database.deleteRange({ lt: keyOf(500) });
    for (let i = 0; i < 300; i++) void database.put(keyOf(600 + 8 * i), text(400, i));
    await database.flush();
    const before = contentOf(database);
    await database.close();

    database = await openText(fileSystem, 0, TWO_NEWEST);
    await new Promise<void>((resolve) => {
      database.on("compaction", ({ remainingBytes }) => {
        if (remainingBytes === 0) resolve();
      });
    });
    await database.verify();
    await database.close();
    if (!hasManifest) await fileSystem.remove(joinPath("store", "MANIFEST"));
    await repair("store", "repaired", { fileSystem, background: "inline", valueEncoding: "utf8" });
    const repaired = await openText(fileSystem, 0, {}, "repaired");
    expect(contentOf(repaired)).toEqual(before);
  },
);

test("writes and flushes between two steps stay in front of the merge", async () => {
  const database = await openText(new MemoryFileSystem());
  await writeRuns(database, 4, 3000);
  const events = eventsOf(database);
  let flushed: Promise<unknown> = Promise.resolve();
  let isBusy = true;
  let writes = 0;
  database.on("compaction", () => {
    if (!isBusy) return;
    writes++;
    void database.put(keyOf(writes), `write ${writes}`);
    void database.deleteRange({ gte: keyOf(1000 + writes), lt: keyOf(1002 + writes) });
    flushed = database.flush();
  });
  await database.compact();
  isBusy = false;
  await flushed;
  expect(events.length).toBeGreaterThan(4);
  expect(database.stats().runs.length).toBeGreaterThan(1);
  const before = contentOf(database);
  for (let i = 1; i <= writes; i++) {
    expect(database.get(keyOf(i))).toBe(`write ${i}`);
    expect(database.has(keyOf(1000 + i))).toBe(false);
  }
  await database.compact();
  expect(contentOf(database)).toEqual(before);
  expect(database.stats().runs).toHaveLength(1);
});

test("a crash at any operation of any step leaves what was there", async () => {
  const points: CrashPoint[] = [];
  let isWatching = false;
  const disk: CrashFileSystem = new CrashFileSystem({
    onOperation: () => {
      if (isWatching) points.push(disk.crashPoint());
    },
  });
  const database = await openText(disk);
  await writeRuns(database, 3, 300, 3000);
  const before = contentOf(database);
  const events = eventsOf(database);
  isWatching = true;
  await database.compact();
  isWatching = false;
  expect(events.length).toBeGreaterThan(2);
  expect(points.length).toBeGreaterThan(50);
  let seed = 1;
  for (const point of points) {
    for (const state of point.states({ seed: seed++, count: 2 })) {
      const again = await openText(state);
      expect(contentOf(again)).toEqual(before);
      await again.close();
    }
  }
});

const codeOf = (error: unknown): unknown => (error instanceof DatabaseError ? error.code : error);

/** Steps of a few segments. */
const SHORT_STEPS = { segmentBytes: 2 ** 13, maxCompactionBytes: 2 ** 15 };

test("a failure at any operation of any step loses nothing, and the merge can be had again", async () => {
  const disk = new CrashFileSystem();
  let database = await openText(disk, 0, SHORT_STEPS);
  await writeRuns(database, 3, 120, 400);
  const before = contentOf(database);
  await database.close();
  const point = disk.crashPoint();
  let nth = 0;
  let failedSteps = 0;
  for (;;) {
    nth++;
    const [state] = [...point.states({ seed: nth, count: 1 })];
    const faults = new FaultFileSystem(state);
    database = await openText(faults, 0, SHORT_STEPS);
    const events = eventsOf(database);
    // A merge that was under way by itself may be what fails; it is taken up again.
    database.on("error", (error) =>
      expect(["MEMKV_IO", "MEMKV_POISONED"]).toContain(codeOf(error)),
    );
    faults.inject({ nth, effect: { kind: "fail", code: "EIO" } });
    const failure = await database.compact().then(
      () => undefined,
      (error: unknown) => error,
    );
    if (faults.struck.length === 0) break;
    if (failure !== undefined && events.length > 0) failedSteps++;
    expect(contentOf(database)).toEqual(before);
    if (codeOf(failure) === "MEMKV_POISONED") {
      // Whether the manifest was replaced is not known until it is read again.
      await database.close();
      database = await openText(state, 0, SHORT_STEPS);
    } else if (failure !== undefined) expect(codeOf(failure)).toBe("MEMKV_IO");
    await database.compact();
    expect(contentOf(database)).toEqual(before);
    expect(database.stats().runs).toHaveLength(1);
    await database.verify();
    await database.close();
    database = await openText(state);
    expect(contentOf(database)).toEqual(before);
    // A file that could not be closed or removed may stay until the next open.
    const isLeft = ["close", "remove"].includes(faults.struck[0].kind);
    expect(database.recovery.orphansRemoved.length).toBeLessThanOrEqual(isLeft ? 1 : 0);
    await database.close();
  }
  expect(nth).toBeGreaterThan(50);
  expect(failedSteps).toBeGreaterThan(10);
});
