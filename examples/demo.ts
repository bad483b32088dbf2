/**
 * `npm run demo`: memkv at work on the bundled sample, from an empty directory to a verified store.
 *
 * 1. Fills a store with 250,000 real pairs in random order, and shows where the bytes are.
 * 2. Reads, scans, counts, overwrites and deletes.
 * 3. Kills a process of its own in the middle of writing, reopens the store, and checks that every
 *    write that was acknowledged is there, and that no batch is there in part.
 * 4. Compacts, verifies every byte, and compares the whole store with the input, pair by pair.
 *
 * The memtable is made small here (2 MiB; the default is 64), so that flushes and compactions happen
 * while you watch. Ends with exit code 1 if anything differs. --keep leaves the store in place.
 */
import { fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { SingleBar } from "cli-progress";
import { type Database, open } from "../src/index.ts";
import { batchOf, STORE_OPTIONS, WRITER_BATCH_COUNT } from "./demo-writer.ts";

type Store = Database<string, string>;

const SAMPLE = fileURLToPath(new URL("../data/npm-repositories.tsv.gz", import.meta.url));
const WRITER = fileURLToPath(new URL("./demo-writer.ts", import.meta.url));
const SEED = 1;
const BATCH_COUNT = 1000;
/** The writer is killed once it has had so many batches acknowledged. */
const KILL_AFTER_BATCHES = 25;

const directory = mkdtempSync(join(tmpdir(), "memkv-demo-"));
const isKept = process.argv.includes("--keep");
try {
  await main();
} finally {
  if (isKept) console.log(`\nThe store is in ${directory}`);
  else rmSync(directory, { recursive: true, force: true });
}

async function main(): Promise<void> {
  const started = performance.now();
  const expected = readSample();
  let store: Store = await open<string, string>(directory, STORE_OPTIONS);
  await fill(store, expected);
  showSizes(store, expected);
  await use(store, expected);
  await store.close();

  await crash(expected);
  store = await open<string, string>(directory, STORE_OPTIONS);

  heading("Compaction");
  await timed("compacted", () => store.compact());
  showSizes(store, expected);

  heading("Verification");
  await timed("every byte of every file checked", () => store.verify());
  compare(store, expected);
  await store.close();
  console.log(`\nThe demo took ${seconds(started)}. All is as it should be.`);
}

/** The sample's pairs, in the order of the file. */
function readSample(): Map<string, string> {
  const lines = gunzipSync(readFileSync(SAMPLE)).toString().trimEnd().split("\n");
  return new Map(
    lines.map((line) => {
      const tab = line.indexOf("\t");
      return [line.slice(0, tab), line.slice(tab + 1)];
    }),
  );
}

async function fill(store: Store, pairs: ReadonlyMap<string, string>): Promise<void> {
  heading(`Filling a store with ${count(pairs.size)} pairs: npm package name -> repository URL`);
  const shuffled = shuffle([...pairs], SEED);
  const bar = new SingleBar({
    format: "{bar} {percentage}% | {value} of {total} keys | {eta_formatted} left",
    barsize: 30,
    noTTYOutput: true,
    notTTYSchedule: 2000,
  });
  const started = performance.now();
  bar.start(shuffled.length, 0);
  for (let i = 0; i < shuffled.length; i += BATCH_COUNT) {
    const batch = shuffled.slice(i, i + BATCH_COUNT);
    await store.batch(
      batch.map(([key, value]) => ({ type: "put", key, value })),
      { durability: "os" },
    );
    bar.update(i + batch.length);
    // The bar, like any server, needs its turn on this thread.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await store.flush();
  bar.stop();
  const rate = (1000 * pairs.size) / (performance.now() - started);
  console.log(`${count(rate)} keys/s, in random order, in batches of ${BATCH_COUNT}, flushed`);
}

function showSizes(store: Store, pairs: ReadonlyMap<string, string>): void {
  let keyBytes = 0;
  let valueBytes = 0;
  for (const [key, value] of pairs) {
    keyBytes += Buffer.byteLength(key);
    valueBytes += Buffer.byteLength(value);
  }
  const raw = keyBytes + valueBytes;
  const { disk, memory, runs } = store.stats();
  console.log(`${count(pairs.size)} keys in ${runs.length} run${runs.length === 1 ? "" : "s"}`);
  sizeLine("raw keys", keyBytes, keyBytes);
  sizeLine("raw values", valueBytes, valueBytes);
  console.log("on disk");
  sizeLine("key index", disk.keyIndex, keyBytes, "of raw keys");
  sizeLine("values", disk.values, valueBytes, "of raw values");
  sizeLine("filter", disk.filter, raw, "of raw keys and values");
  sizeLine("log", disk.log, raw, "of raw keys and values");
  sizeLine("total", disk.total, raw, "of raw keys and values");
  console.log("in memory");
  sizeLine("key index", memory.keyIndex, keyBytes, "of raw keys");
  sizeLine("filter", memory.filter, keyBytes, "of raw keys");
  sizeLine("value index", memory.valueIndex, valueBytes, "of raw values");
  sizeLine("memtables", memory.memtables, raw, "of raw keys and values");
  sizeLine("block cache", memory.blockCache, valueBytes, "of raw values");
}

function sizeLine(what: string, bytes: number, whole: number, of = ""): void {
  const share = of === "" ? "" : `${((100 * bytes) / whole).toFixed(1).padStart(6)} % ${of}`;
  console.log(`  ${what.padEnd(12)}${count(bytes).padStart(12)} bytes ${share}`);
}

async function use(store: Store, expected: Map<string, string>): Promise<void> {
  heading("Reading and writing");
  const names = shuffle([...expected.keys()], SEED + 1).slice(0, 50_000);
  const started = performance.now();
  for (const name of names) {
    check(store.get(name) === expected.get(name), `get ${name} gives what was put`);
  }
  const rate = (1000 * names.length) / (performance.now() - started);
  console.log(
    `get: ${count(rate)} random keys/s; for one, ${names[0]} -> ${store.get(names[0] ?? "")}`,
  );

  console.log('\nprefix scan: the first three that begin with "react-"');
  for (const [name, url] of store.entries({ prefix: "react-", limit: 3 })) {
    console.log(`  ${name} -> ${url}`);
  }
  console.log('reverse range: the last three before "b"');
  for (const name of store.keys({ lt: "b", reverse: true, limit: 3 })) console.log(`  ${name}`);
  const counted = store.count({ prefix: "@types/" });
  const isCounted = [...expected.keys()].filter((name) => name.startsWith("@types/")).length;
  check(counted === isCounted, "count agrees with the input");
  console.log(`count: ${count(counted)} names begin with "@types/"`);

  const [overwritten = "", deleted = ""] = names;
  await store.put(overwritten, "https://example.org/overwritten");
  expected.set(overwritten, "https://example.org/overwritten");
  check(store.get(overwritten) === "https://example.org/overwritten", "an overwrite is seen");
  await store.delete(deleted);
  expected.delete(deleted);
  check(!store.has(deleted), "a deleted key is gone");
  console.log(`overwritten: ${overwritten}; deleted: ${deleted}`);
}

/**
 * Has another process write batches to the store, and kills it in the middle. Every batch that it
 * reported as acknowledged must be there; one more may be, whole, since it could be killed between
 * the write and the report.
 */
async function crash(expected: Map<string, string>): Promise<void> {
  heading("Crash");
  const acknowledged = await killWriter();
  console.log(
    `killed a writing process (SIGKILL) after ${count(acknowledged)} acknowledged batches of ${WRITER_BATCH_COUNT}`,
  );
  const started = performance.now();
  const store: Store = await open<string, string>(directory, STORE_OPTIONS);
  console.log(`reopened in ${seconds(started)}`);
  for (let number = 0; number <= acknowledged + 1; number++) {
    const batch = batchOf(number);
    const present = batch.filter(({ key, value }) => store.get(key) === value).length;
    const isWhole = present === batch.length;
    if (number < acknowledged) check(isWhole, `acknowledged batch ${number} is there, whole`);
    else check(isWhole || present === 0, `unacknowledged batch ${number} is whole or absent`);
    if (isWhole) for (const { key, value } of batch) expected.set(key, value);
  }
  console.log(`all ${count(acknowledged * WRITER_BATCH_COUNT)} acknowledged writes are there`);
  await store.close();
}

/** The number of batches that the writer reported before it died. */
async function killWriter(): Promise<number> {
  const writer = fork(WRITER, [directory], { execArgv: process.execArgv });
  let acknowledged = 0;
  writer.on("message", (number: number) => {
    acknowledged = number + 1;
    if (acknowledged === KILL_AFTER_BATCHES) writer.kill("SIGKILL");
  });
  await new Promise<void>((resolve, reject) => {
    writer.on("error", reject);
    // "close" follows the last message that was on its way.
    writer.on("close", (code) => {
      if (code === null) resolve();
      else reject(new Error(`the writer ended by itself, with exit code ${code}`));
    });
  });
  return acknowledged;
}

/** Walks the store and the sorted input side by side. */
function compare(store: Store, expected: ReadonlyMap<string, string>): void {
  const sorted = [...expected]
    .map(([key, value]) => ({ key, value, bytes: Buffer.from(key) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes));
  let i = 0;
  for (const [key, value] of store.entries()) {
    const pair = sorted[i++];
    check(pair?.key === key && pair.value === value, `pair ${i} is ${pair?.key}, not ${key}`);
  }
  check(i === sorted.length, `the store has ${sorted.length} pairs, not ${i}`);
  check(store.count() === sorted.length, "count agrees");
  console.log(`compared with the input: ${count(i)} pairs, every one the same`);
}

function check(condition: boolean, claim: string): void {
  if (!condition) throw new Error(`The demo failed. It should be that ${claim}.`);
}

function heading(text: string): void {
  console.log(`\n== ${text}`);
}

function count(number: number): string {
  return Math.round(number).toLocaleString("en-US");
}

function seconds(started: number): string {
  return `${((performance.now() - started) / 1000).toFixed(2)} s`;
}

async function timed(what: string, action: () => Promise<unknown>): Promise<void> {
  const started = performance.now();
  await action();
  console.log(`${what} in ${seconds(started)}`);
}

/** Fisher and Yates's shuffle, in place, seeded (mulberry32). */
function shuffle<T>(items: T[], seed: number): T[] {
  let state = seed;
  const random = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const item = items[i] as T;
    items[i] = items[j] as T;
    items[j] = item;
  }
  return items;
}
