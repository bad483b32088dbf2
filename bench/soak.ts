/**
 * A long mixed load against a model: overwrites, deletes, scans, snapshots, compactions and reopens,
 * with the process's memory, descriptors and files sampled all the while.
 *
 * `npm run bench -- soak [--minutes 30] [--seed 1] [--keys 200000] [--directory path] [--json]`.
 * Fails (exit code 1) where an answer is not the model's, where memory, descriptors or files have
 * grown from the first to the last third of the samples, where more is written for each byte than is
 * right for such a load, or where anything is left behind.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type BatchOperation, type Database, open, type Snapshot } from "../src/index.ts";
import { describeMachine, median, printTable, Random } from "./harness.ts";

const { values: args } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    seed: { type: "string", default: "1" },
    keys: { type: "string", default: "200000" },
    directory: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const MINUTES = Number(args.minutes);
const KEY_COUNT = Number(args.keys);
const SAMPLE_MS = Math.min(10_000, (MINUTES * 60_000) / 24);
/** Small, so that there are many flushes, and compactions of several steps. */
const OPTIONS = {
  keyEncoding: "utf8",
  valueEncoding: "utf8",
  durability: "os",
  memtableBytes: 2 ** 22,
  segmentBytes: 2 ** 19,
  blockCacheBytes: 2 ** 22,
} as const;
const MAX_SNAPSHOTS = 3;
/** What memory may grow by between the thirds, beside a tenth: what collections leave at random. */
const SLACK_BYTES = 16 * 2 ** 20;
const SLACK_FILES = 10;
/** Bytes written for each of the user's, log included; calls of `compact` are a small part of it. */
const MOST_WRITE_AMPLIFICATION = 4;

type TextDatabase = Database<string, string>;

/** The version of each key's value; 0 where there is none. */
type Model = Uint32Array;

interface Sample {
  readonly seconds: number;
  readonly heap: number;
  readonly arrayBuffers: number;
  readonly rss: number;
  readonly descriptors: number;
  readonly files: number;
  readonly diskBytes: number;
  readonly runs: number;
  readonly writeAmplification: number;
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const random = new Random(Number(args.seed));
const base = args.directory ?? mkdtempSync(join(tmpdir(), "memkv-soak-"));
const directory = join(base, "data");
const model: Model = new Uint32Array(KEY_COUNT);
const snapshots: { snapshot: Snapshot<string, string>; model: Model }[] = [];
const samples: Sample[] = [];
const counts = { writes: 0, reads: 0, scans: 0, snapshots: 0, compactions: 0, reopens: 0 };
const failures: string[] = [];
/** In milliseconds, a pair for each period between samples: what a sample itself takes is in none. */
const delays: { readonly p99: number; readonly max: number }[] = [];
/** Since the first open: a database counts from its own. */
const written = { user: 0, log: 0, flush: 0, compaction: 0 };
let nextVersion = 1;

function keyOf(i: number): string {
  return `package/${String(i).padStart(8, "0")}/${(Math.imul(i, 0x9e37_79b1) >>> 0).toString(36)}`;
}

/** Mostly short; one in a thousand goes to a value log. */
function textOf(i: number, version: number): string {
  const mixed = Math.imul(i + 1, version) >>> 0;
  const length = mixed % 1000 === 0 ? 20_000 : 20 + (mixed % 150);
  return `${version} `.padEnd(length, `${i} ${mixed.toString(36)} `);
}

function expected(from: Model, i: number): string | undefined {
  return from[i] === 0 ? undefined : textOf(i, from[i]);
}

function check(isRight: boolean, what: string): void {
  if (!isRight) throw new Error(`not as in the model: ${what}`);
}

async function openDatabase(): Promise<TextDatabase> {
  const database = await open(directory, OPTIONS);
  database.on("error", (error) => failures.push(`error event: ${String(error)}`));
  return database;
}

async function write(database: TextDatabase): Promise<void> {
  const size = random.below(4) === 0 ? 1 : 1 + random.below(300);
  const operations: BatchOperation<string, string>[] = [];
  // A stretch of neighbours, or keys from everywhere; a third of the stretches are deletes.
  const isStretch = random.below(2) === 0;
  const isDeleting = random.below(3) === 0;
  const start = random.below(KEY_COUNT);
  for (let j = 0; j < size; j++) {
    const i = isStretch ? (start + j) % KEY_COUNT : random.below(KEY_COUNT);
    const key = keyOf(i);
    if (isDeleting) {
      model[i] = 0;
      operations.push({ type: "delete", key });
    } else {
      model[i] = nextVersion++;
      operations.push({ type: "put", key, value: textOf(i, model[i]) });
    }
  }
  counts.writes += size;
  await database.batch(operations);
}

function read(from: Pick<TextDatabase, "get" | "getMany">, expectedFrom: Model): void {
  const wanted = Array.from({ length: 20 }, () => random.below(KEY_COUNT));
  const found = from.getMany(wanted.map(keyOf));
  wanted.forEach((i, j) => {
    check(found[j] === expected(expectedFrom, i), `getMany of ${keyOf(i)}`);
    check(from.get(keyOf(i)) === found[j], `get of ${keyOf(i)}`);
  });
  counts.reads += wanted.length * 2;
}

function scan(from: Pick<TextDatabase, "entries" | "count">, expectedFrom: Model): void {
  const start = random.below(KEY_COUNT);
  const end = Math.min(KEY_COUNT, start + 500);
  const present: number[] = [];
  for (let i = start; i < end; i++) if (expectedFrom[i] !== 0) present.push(i);
  const reverse = random.below(2) === 0;
  if (reverse) present.reverse();
  const bounds = { gte: keyOf(start), lte: keyOf(end - 1) };
  let j = 0;
  for (const [key, value] of from.entries({ ...bounds, reverse })) {
    const i = present[j++];
    check(i !== undefined && key === keyOf(i), `${key} in a scan`);
    check(value === expected(expectedFrom, i), `value of ${key} in a scan`);
  }
  check(j === present.length && from.count(bounds) === j, `number of entries from ${bounds.gte}`);
  counts.scans++;
}

/** Takes a snapshot, or reads one and perhaps lets it go. */
function useSnapshot(database: TextDatabase): void {
  counts.snapshots++;
  if (snapshots.length < MAX_SNAPSHOTS && random.below(3) === 0) {
    snapshots.push({ snapshot: database.snapshot(), model: model.slice() });
    return;
  }
  const index = random.below(MAX_SNAPSHOTS);
  const held = snapshots[index];
  if (held === undefined) return;
  read(held.snapshot, held.model);
  scan(held.snapshot, held.model);
  if (random.below(4) === 0) {
    held.snapshot.close();
    snapshots.splice(index, 1);
  }
}

function closeSnapshots(): void {
  for (const { snapshot } of snapshots) snapshot.close();
  snapshots.length = 0;
}

function descriptorCount(): number {
  return process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0;
}

function sample(database: TextDatabase, seconds: number): void {
  collect();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  const names = readdirSync(directory);
  let diskBytes = 0;
  for (const name of names)
    diskBytes += statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0;
  const stats = database.stats();
  samples.push({
    seconds: Math.round(seconds),
    heap: heapUsed,
    arrayBuffers,
    rss,
    descriptors: descriptorCount(),
    files: names.length,
    diskBytes,
    runs: stats.runs.length,
    writeAmplification: stats.amplification.write,
  });
}

/** Counts in what a database has written, which is about to be closed. */
function noteWritten(database: TextDatabase): void {
  const own = database.stats().written;
  written.user += own.user;
  written.log += own.log;
  written.flush += own.flush;
  written.compaction += own.compaction;
}

function compareAll(database: TextDatabase): void {
  let i = -1;
  const skipAbsent = (): void => {
    for (i++; i < KEY_COUNT && model[i] === 0; i++);
  };
  skipAbsent();
  for (const [key, value] of database.entries()) {
    check(i < KEY_COUNT && key === keyOf(i), `${key} at the end`);
    check(value === expected(model, i), `value of ${key} at the end`);
    skipAbsent();
  }
  check(i === KEY_COUNT, "the number of keys at the end");
}

/** Ends a period. Without the reset the next one would begin with what lies between them. */
function noteDelay(delay: IntervalHistogram): void {
  delay.disable();
  delays.push({ p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 });
  delay.reset();
}

/** Fails where the last third of the samples has more than the first; what begins is no leak. */
function checkGrowth(name: keyof Sample, slack: number): void {
  const third = Math.floor(samples.length / 3);
  if (third < 2) return;
  const of = (part: readonly Sample[]): number => median(part.map((taken) => taken[name]));
  const before = of(samples.slice(third, 2 * third));
  const after = of(samples.slice(-third));
  if (after > before * 1.1 + slack) failures.push(`${name} grew from ${before} to ${after}`);
}

async function run(): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  let database = await openDatabase();
  const start = performance.now();
  const end = start + MINUTES * 60_000;
  let nextSample = start + SAMPLE_MS;
  delay.enable();
  for (let now = start; now < end; now = performance.now()) {
    const kind = random.below(1000);
    if (kind < 600) await write(database);
    else if (kind < 800) read(database, model);
    else if (kind < 900) scan(database, model);
    else if (kind < 996) useSnapshot(database);
    else if (kind < 999)
      void database.flush().catch((error: unknown) => failures.push(String(error)));
    else if (random.below(8) === 0) {
      counts.reopens++;
      closeSnapshots();
      noteWritten(database);
      await database.close();
      database = await openDatabase();
      read(database, model);
    } else if (random.below(4) === 0) {
      counts.compactions++;
      await database.compact();
    }
    if (now >= nextSample) {
      nextSample = now + SAMPLE_MS;
      noteDelay(delay);
      sample(database, (now - start) / 1000);
      delay.enable();
    }
    // As in a server, others have a turn between two requests.
    await setImmediate();
  }
  noteDelay(delay);
  closeSnapshots();
  await database.flush();
  noteWritten(database);
  await database.compact();
  compareAll(database);
  await database.verify();
  await database.close();
  database = await openDatabase();
  compareAll(database);
  const { orphansRemoved } = database.recovery;
  if (orphansRemoved.length > 0) failures.push(`left behind: ${orphansRemoved.join(", ")}`);
  await database.close();
  if (process.platform === "linux") {
    const left = readdirSync(directory).filter((name) => name.startsWith("LOCK"));
    if (left.length > 0) failures.push(`the lock is left: ${left.join(", ")}`);
  }
  checkGrowth("heap", SLACK_BYTES);
  checkGrowth("arrayBuffers", SLACK_BYTES);
  checkGrowth("rss", 4 * SLACK_BYTES);
  checkGrowth("descriptors", SLACK_FILES);
  checkGrowth("files", SLACK_FILES);
  const { user, log, flush, compaction } = written;
  const writeAmplification = (log + flush + compaction) / user;
  if (writeAmplification > MOST_WRITE_AMPLIFICATION) {
    failures.push(`write amplification of ${writeAmplification.toFixed(2)}`);
  }
  report({
    ...describeMachine(),
    minutes: MINUTES,
    keys: KEY_COUNT,
    ...counts,
    writeAmplification,
    written,
    eventLoopDelayMs: {
      p99: median(delays.map(({ p99 }) => p99)),
      max: Math.max(...delays.map(({ max }) => max)),
    },
  });
}

function report(facts: Record<string, unknown>): void {
  if (args.json) {
    console.log(JSON.stringify({ ...facts, samples, failures }, null, 2));
    return;
  }
  const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  const step = Math.ceil(samples.length / 20);
  printTable(
    samples
      .filter((_, i) => i % step === 0)
      .map(
        ({ seconds, heap, arrayBuffers, rss, descriptors, files, diskBytes, runs, ...rest }) => ({
          seconds,
          "heap MiB": mebibytes(heap),
          "buffers MiB": mebibytes(arrayBuffers),
          "rss MiB": mebibytes(rss),
          descriptors,
          files,
          "disk MiB": mebibytes(diskBytes),
          runs,
          "write amplification": rest.writeAmplification.toFixed(2),
        }),
      ),
  );
  console.log(JSON.stringify(facts));
  console.log(failures.length === 0 ? "soak: ok" : `soak: FAILED\n${failures.join("\n")}`);
}

try {
  await run();
} finally {
  if (args.directory === undefined) rmSync(base, { recursive: true, force: true });
}
if (failures.length > 0) process.exitCode = 1;
