/**
 * Reads by several threads: snapshots that are attached in worker threads, against as many read-only
 * opens of the same database, and against the thread that has it open.
 *
 * `npm run bench -- readers [--data directory] [--keys n] [--rounds n] [--json]`. Names with a number
 * each, in one run. Gets are of keys in random order, a second in each round. Key indexes and filters,
 * whose bytes are named, are in memory once for all that are attached, and once for each of the others.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { attach, type Database, open, type SharedSnapshot, type Snapshot } from "../src/index.ts";
import {
  keyCount,
  loadKeys,
  median,
  printTable,
  Random,
  readOptions,
  toStrings,
} from "./harness.ts";

const OPTIONS = { valueEncoding: "utf8", blockCacheBytes: 2 ** 22 } as const;
const ROUND_MS = 1000;
const KEYS_BETWEEN_LOOKS = 1000;
const ASKED_KEYS = 200_000;
const THREADS = 2;

type Kind = "attached" | "read-only";
type Reader = Database<string, string> | Snapshot<string, string>;

interface ReaderData {
  readonly kind: Kind;
  readonly directory: string;
  readonly shared: SharedSnapshot;
}

/** Node loads no TypeScript in a worker by itself; tsx does. */
const READER = `
  import("tsx/esm/api").then(({ tsImport }) =>
    tsImport(${JSON.stringify(import.meta.url)}, { parentURL: ${JSON.stringify(import.meta.url)} }),
  );
`;

if (isMainThread) await measureAll();
else await serve(workerData as ReaderData);

async function measureAll(): Promise<void> {
  const options = readOptions(1_000_000);
  const stored = loadKeys("names", options);
  if (stored === undefined) throw new Error("there is no sample of names");
  const keys = toStrings(stored, 0, Math.min(keyCount(stored), options.keys));
  const directory = mkdtempSync(join(tmpdir(), "memkv-readers-"));
  try {
    const database = await open<string, string>(directory, { ...OPTIONS, durability: "os" });
    for (let i = 0; i < keys.length; i += 1000) {
      const part = keys.slice(i, i + 1000);
      await database.batch(part.map((key, j) => ({ type: "put", key, value: `${i + j}` })));
    }
    await database.compact();
    const shuffled = new Random(7).permutation(keys.length);
    const order = Array.from(shuffled.subarray(0, ASKED_KEYS), (i) => keys[i]);
    readAll(database);
    const rows: Record<string, string | number>[] = [];
    for (const kind of ["attached", "read-only"] as const) {
      rows.push(await measure(kind, database, directory, order, options.rounds));
    }
    const { memory } = database.stats();
    await database.close();
    const facts = { keys: keys.length, keyIndexBytes: memory.keyIndex, filterBytes: memory.filter };
    if (options.json) console.log(JSON.stringify({ ...facts, rows }, undefined, 2));
    else {
      console.log(facts);
      printTable(rows);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function measure(
  kind: Kind,
  database: Database<string, string>,
  directory: string,
  order: readonly string[],
  rounds: number,
): Promise<Record<string, string | number>> {
  using snapshot = database.snapshot();
  const shared = await snapshot.share();
  const workers = Array.from({ length: THREADS }, () => {
    const workerData: ReaderData = { kind, directory, shared };
    return new Worker(READER, { eval: true, workerData });
  });
  await Promise.all(workers.map((worker) => once(worker, "message")));
  for (const worker of workers) worker.postMessage(order);
  const alone: number[] = [];
  const one: number[] = [];
  const all: number[] = [];
  for (let round = 0; round < rounds; round++) {
    alone.push(readFor(database, order));
    one.push(await readBy(workers.slice(0, 1)));
    all.push(await readBy(workers));
  }
  // None is terminated: see docs/tuning.md.
  const ends = workers.map((worker) => once(worker, "exit"));
  for (const worker of workers) worker.postMessage("end");
  await Promise.all(ends);
  return {
    readers: kind,
    "main thread, gets/s": Math.round(median(alone)),
    "1 thread": Math.round(median(one)),
    [`${THREADS} threads`]: Math.round(median(all)),
  };
}

/** Gets a second of all the workers together. */
async function readBy(workers: readonly Worker[]): Promise<number> {
  const answers = workers.map((worker) => once(worker, "message") as Promise<[number]>);
  for (const worker of workers) worker.postMessage("read");
  return (await Promise.all(answers)).reduce((sum, [rate]) => sum + rate, 0);
}

async function serve({ kind, directory, shared }: ReaderData): Promise<void> {
  const reader =
    kind === "attached"
      ? await attach<string, string>(shared, OPTIONS)
      : await open<string, string>(directory, { ...OPTIONS, readOnly: true });
  let order: readonly string[] = [];
  parentPort?.on("message", (message: "read" | "end" | readonly string[]) => {
    if (message === "read") parentPort?.postMessage(readFor(reader, order));
    else if (message === "end") parentPort?.close();
    else order = message;
  });
  readAll(reader);
  parentPort?.postMessage("ready");
}

function readAll(reader: Reader): void {
  for (const key of reader.keys()) {
    if (reader.get(key) === undefined) throw new Error(`${key} is missing`);
  }
}

/** Gets a second, for a second. */
function readFor(reader: Reader, order: readonly string[]): number {
  const start = performance.now();
  let count = 0;
  for (;;) {
    for (let i = 0; i < KEYS_BETWEEN_LOOKS; i++) reader.get(order[(count + i) % order.length]);
    count += KEYS_BETWEEN_LOOKS;
    const elapsed = performance.now() - start;
    if (elapsed >= ROUND_MS) return (count / elapsed) * 1000;
  }
}
