/**
 * The workloads, named as in LevelDB's db_bench and YCSB where those have them, and the rows that each
 * of them yields.
 *
 * A workload runs in a process of its own, on a store that is empty, loaded and reopened, or killed.
 * What it will ask for and what must come back is made before the clock starts; every answer goes into
 * a sum that is compared with the one expected, and what was written is read back from a reopened
 * store.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Random } from "../harness.ts";
import { makeText, type Pairs } from "./data.ts";
import { directoryBytes, rest } from "./disk.ts";
import { beginSection, endSection } from "./profile.ts";
import type { ScanRange, Store, StoreModule, StoreOptions } from "./store.ts";
import { YCSB } from "./ycsb.ts";

/** What a row is held to: so many times better than the best peer, or so many of its unit. */
export type Bar = { readonly ratio: number } | { readonly atMost: number };

export interface Row {
  readonly name: string;
  readonly unit: "op/s" | "ms" | "us" | "MB";
  readonly bar: Bar;
}

/** What the store is when the workload gets it. A workload that writes gets a copy. */
export type Start = "empty" | "loaded" | "copy of loaded" | "copy of killed";

export interface Context {
  /** Shuffled; all of them are in a loaded store. */
  readonly pairs: Pairs;
  readonly directory: string;
  open(options?: Partial<StoreOptions>): Promise<Store>;
}

export interface Workload {
  readonly name: string;
  readonly start: Start;
  readonly rows: readonly Row[];
  /** One number for each row. */
  run(context: Context): Promise<number[]>;
}

const BATCH = 1000;
/** Gets between two looks at the clock. */
const GETS_PER_STEP = 100;
const MISSING_SUFFIX = "\u0001";

const ratio = (least: number): Bar => ({ ratio: least });
const perSecond = (name: string, bar: number): Row => ({ name, unit: "op/s", bar: ratio(bar) });

/** Fills a store as "loaded" has it; the first step of every comparison. */
export async function load(context: Context): Promise<void> {
  const store = await context.open();
  await fill(store, context.pairs.keys, context.pairs.values);
  await store.close();
  const again = await context.open();
  await rest();
  await again.close();
}

/** Fills a store and dies in the middle of it, as "killed" has it. */
export async function loadAndDie(context: Context): Promise<void> {
  const store = await context.open();
  await fill(store, context.pairs.keys, context.pairs.values);
  process.kill(process.pid, "SIGKILL");
}

export const WORKLOADS: readonly Workload[] = [
  {
    name: "fillrandom",
    start: "empty",
    rows: [perSecond("fillrandom", 3)],
    run: (context) => timeFill(context, context.pairs),
  },
  {
    name: "fillseq",
    start: "empty",
    rows: [perSecond("fillseq", 1)],
    run: (context) => timeFill(context, sortPairs(context.pairs)),
  },
  {
    name: "overwrite",
    start: "copy of loaded",
    rows: [perSecond("overwrite", 2)],
    async run(context) {
      const { keys, values } = context.pairs;
      const order = new Random(1).permutation(keys.length).subarray(0, keys.length / 2);
      const chosen = Array.from(order, (i) => keys[i]);
      const written = Array.from(order, (i) => values[(i + 1) % values.length]);
      const store = await context.open();
      const seconds = await timed(() => fill(store, chosen, written));
      await store.close();
      await checkContent(context, chosen, written, keys.length);
      return [chosen.length / seconds];
    },
  },
  {
    name: "deleterandom",
    start: "copy of loaded",
    rows: [perSecond("deleterandom", 2)],
    async run(context) {
      const { keys } = context.pairs;
      const order = new Random(2).permutation(keys.length).subarray(0, keys.length / 2);
      const chosen = Array.from(order, (i) => keys[i]);
      const store = await context.open();
      const seconds = await timed(() => fill(store, chosen, undefined));
      await store.close();
      const absent = chosen.map(() => undefined);
      await checkContent(context, chosen, absent, keys.length - chosen.length);
      return [chosen.length / seconds];
    },
  },
  ...[1, 256].map((writers) => ({
    name: `put-${writers}`,
    start: "empty" as const,
    rows: [perSecond(writers === 1 ? "put, 1 awaited" : "put, 256 writers", writers === 1 ? 6 : 3)],
    run: (context: Context) => timePuts(context, writers, 200_000, {}),
  })),
  ...[1, 64, 256].map((writers) => ({
    name: `fillsync-${writers}`,
    start: "empty" as const,
    rows: [perSecond(`fsync each, ${writers} writers`, writers === 1 ? 1 : 2)],
    run: (context: Context) =>
      timePuts(context, writers, writers === 1 ? 2000 : 20_000, { durability: "sync" }),
  })),
  {
    name: "readrandom",
    start: "loaded",
    rows: [perSecond("readrandom", 1.5)],
    run: (context) => timeGets(context, 200_000, false),
  },
  {
    name: "readmissing",
    start: "loaded",
    rows: [perSecond("readmissing", 1)],
    run: (context) => timeGets(context, 200_000, true),
  },
  {
    name: "multireadrandom",
    start: "loaded",
    rows: [perSecond("multireadrandom, 100", 1.5)],
    async run(context) {
      const { keys, values } = context.pairs;
      const order = randomIndexes(keys.length, 200_000, 3);
      const store = await context.open();
      const chunks: string[][] = [];
      for (let i = 0; i < order.length; i += 100) {
        chunks.push(Array.from(order.subarray(i, i + 100), (k) => keys[k]));
      }
      const expected = chunks.map((_, i) =>
        order.subarray(i * 100, i * 100 + 100).reduce((sum, k) => fold(sum, values[k]), 0),
      );
      const perSecond = await rate(chunks.length, 100, async (i) => {
        let sum = 0;
        for (const value of await store.getMany(chunks[i])) sum = fold(sum, value);
        expectSum(sum, expected[i]);
      });
      await store.close();
      return [perSecond];
    },
  },
  scanWorkload("readseq", "readseq", 1, {}),
  scanWorkload("readseq-keys", "readseq, keys only", 1.2, { keysOnly: true }),
  scanWorkload("readreverse", "readreverse", 1, { reverse: true }),
  seekWorkload("seekrandom-10", "seekrandom + 10", 20_000, 10),
  seekWorkload("seekrandom-100", "seekrandom + 100", 5000, 100),
  {
    name: "prefixscan",
    start: "loaded",
    rows: [perSecond("prefix scan", 1)],
    async run(context) {
      const sorted = sortPairs(context.pairs);
      const count = 10_000;
      const prefixes = Array.from(randomIndexes(sorted.keys.length, count, 5), (i) =>
        sorted.keys[i].slice(0, Math.ceil(sorted.keys[i].length * 0.6)),
      );
      // A prefix's range as every store can say it: up to the prefix with its last unit raised.
      const ranges = prefixes.map((prefix) => {
        const last = prefix.charCodeAt(prefix.length - 1);
        return { gte: prefix, lt: prefix.slice(0, -1) + String.fromCharCode(last + 1), limit: 100 };
      });
      return [await timeRanges(context, sorted, ranges)];
    },
  },
  {
    name: "readwhilewriting",
    start: "copy of loaded",
    rows: [
      perSecond("readwhilewriting, reads", 1),
      perSecond("readwhilewriting, writes", 1),
      { name: "readwhilewriting, get p99", unit: "us", bar: ratio(1) },
      { name: "event-loop delay p99", unit: "ms", bar: { atMost: 5 } },
      { name: "event-loop delay max", unit: "ms", bar: { atMost: 20 } },
    ],
    run: readWhileWriting,
  },
  ...YCSB.map((mix) => ({
    name: `ycsb-${mix.name}`,
    start: "copy of loaded" as const,
    rows: [perSecond(`YCSB ${mix.name.toUpperCase()}`, 1)],
    async run(context: Context): Promise<number[]> {
      const plan = mix.plan(context.pairs);
      const store = await context.open();
      const seconds = await timed(() => plan.run(store));
      await store.close();
      plan.check();
      return [plan.operations / seconds];
    },
  })),
  openWorkload("open-clean", "open, clean", "loaded", 10),
  openWorkload("open-killed", "open, after kill -9", "copy of killed", 100),
  {
    name: "disk",
    start: "copy of loaded",
    rows: [
      { name: "disk, reopened", unit: "MB", bar: ratio(1 / 0.6) },
      { name: "disk, compacted", unit: "MB", bar: ratio(1 / 0.6) },
    ],
    async run(context) {
      const reopened = directoryBytes(context.directory);
      const store = await context.open();
      await store.compact();
      await store.close();
      return [reopened / 1e6, directoryBytes(context.directory) / 1e6];
    },
  },
  ...[10, 100, 1000, 10_000].map((length) => ({
    name: `values-${length}`,
    start: "empty" as const,
    rows: ["fill", "get", "scan"].map((step) => perSecond(`values of ${length} B, ${step}`, 1)),
    run: (context: Context) => runValues(context, length),
  })),
  {
    name: "objects",
    start: "empty",
    rows: [perSecond("objects, put", 1.5), perSecond("objects, get", 1.5)],
    async run(context) {
      const { keys } = context.pairs;
      const count = Math.min(keys.length, 100_000);
      const objects = keys.slice(0, count).map((key, i) => makeObject(key, i));
      const options = { values: "object", valueBytes: 150 } as const;
      const store = await context.open(options);
      const putSeconds = await timed(() => fill(store, keys.slice(0, count), objects));
      await store.close();
      const again = await context.open(options);
      await rest();
      const order = new Random(4).permutation(count);
      for (let i = 0; i < 1000; i++) {
        if (JSON.stringify(again.get(keys[order[i]])) !== JSON.stringify(objects[order[i]])) {
          throw new Error("another object came back");
        }
      }
      const gets = await rate(count, 1, (i) => {
        const { downloads } = again.get(keys[order[i]]) as { downloads: number };
        if (downloads !== objects[order[i]].downloads) throw new Error("another object came back");
      });
      await again.close();
      return [count / putSeconds, gets];
    },
  },
];

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** A store's settings for so many pairs: a write buffer a quarter of the data, a cache of 32 MiB. */
export function storeOptions(pairs: Pairs, directory: string): StoreOptions {
  const { keys, values } = pairs;
  let bytes = 0;
  for (let i = 0; i < keys.length; i++) bytes += keys[i].length + values[i].length;
  return {
    directory,
    durability: "os",
    values: "string",
    valueBytes: Math.ceil(bytes / keys.length),
    writeBufferBytes: writeBufferFor(bytes),
    cacheBytes: 2 ** 25,
  };
}

/** Data is at least four write buffers, up to what stores use by default. */
function writeBufferFor(bytes: number): number {
  return Math.min(2 ** 26, Math.max(2 ** 20, Math.floor(bytes / 4)));
}

export function opener(module: StoreModule, defaults: StoreOptions): Context["open"] {
  return (options) => module.open({ ...defaults, ...options });
}

async function fill(
  store: Store,
  keys: readonly string[],
  values: readonly unknown[] | undefined,
): Promise<void> {
  for (let i = 0; i < keys.length; i += BATCH) {
    await store.write(keys.slice(i, i + BATCH), values?.slice(i, i + BATCH));
  }
}

async function timeFill(context: Context, { keys, values }: Pairs): Promise<number[]> {
  const store = await context.open();
  const seconds = await timed(() => fill(store, keys, values));
  await store.close();
  await checkContent(context, keys, values, keys.length);
  return [keys.length / seconds];
}

async function timePuts(
  context: Context,
  writers: number,
  limit: number,
  options: Partial<StoreOptions>,
): Promise<number[]> {
  const { keys, values } = context.pairs;
  const count = Math.min(limit, keys.length);
  const store = await context.open(options);
  let next = 0;
  const writer = async (): Promise<void> => {
    while (next < count) {
      const i = next++;
      await store.put(keys[i], values[i]);
    }
  };
  const seconds = await timed(() => Promise.all(Array.from({ length: writers }, writer)));
  await store.close();
  await checkContent(context, keys.slice(0, count), values.slice(0, count), count);
  return [count / seconds];
}

async function timeGets(context: Context, limit: number, isMissing: boolean): Promise<number[]> {
  const { keys, values } = context.pairs;
  const order = randomIndexes(keys.length, limit, 3);
  const asked = Array.from(order, (i) =>
    isMissing ? Buffer.from(keys[i] + MISSING_SUFFIX).toString() : keys[i],
  );
  const expected = Array.from(order, (i) => (isMissing ? undefined : values[i]));
  const store = await context.open();
  const perSecond = await rate(asked.length / GETS_PER_STEP, GETS_PER_STEP, (i) => {
    const start = i * GETS_PER_STEP;
    for (let k = start; k < start + GETS_PER_STEP; k++) {
      const value = store.get(asked[k]);
      if (value !== expected[k]) throw new Error(`${asked[k]} has another value`);
    }
  });
  await store.close();
  return [perSecond];
}

function scanWorkload(name: string, row: string, bar: number, range: ScanRange): Workload {
  return {
    name,
    start: "loaded",
    rows: [perSecond(row, bar)],
    async run(context) {
      const sorted = sortPairs(context.pairs);
      const store = await context.open();
      let sum = 0;
      let count = 0;
      const visit = (key: string, value: unknown): void => {
        sum = fold(fold(sum, key), value);
        count++;
      };
      if (range.reverse === true) {
        sorted.keys.reverse();
        sorted.values.reverse();
      }
      const all = sorted.keys.length;
      const expected = foldRange(0, sorted, 0, all, range.keysOnly === true);
      let seconds = 0;
      let rounds = 0;
      for (let isWarm = false; seconds * 1000 < READ_MS; isWarm = true) {
        sum = 0;
        count = 0;
        const took = await timed(() => store.scan(range, visit));
        if (isWarm) {
          seconds += took;
          rounds++;
        }
        expectSum(count, all);
        expectSum(sum, expected);
      }
      await store.close();
      return [(count * rounds) / seconds];
    },
  };
}

function seekWorkload(name: string, row: string, count: number, limit: number): Workload {
  return {
    name,
    start: "loaded",
    rows: [perSecond(row, 1)],
    async run(context) {
      const sorted = sortPairs(context.pairs);
      const indexes = randomIndexes(sorted.keys.length, count, 4);
      const ranges = Array.from(indexes, (i) => ({ gte: sorted.keys[i], limit }));
      return [await timeRanges(context, sorted, ranges)];
    },
  };
}

/** Range reads a second. */
async function timeRanges(
  context: Context,
  sorted: Pairs,
  ranges: readonly ScanRange[],
): Promise<number> {
  const store = await context.open();
  let sum = 0;
  const visit = (key: string, value: unknown): void => {
    sum = fold(fold(sum, key), value);
  };
  const encoded = sorted.keys.map((key) => Buffer.from(key));
  const expected = ranges.map(({ gte = "", lt, limit = 0 }) => {
    const start = lowerBound(encoded, gte);
    const end = lt === undefined ? sorted.keys.length : lowerBound(encoded, lt);
    return foldRange(0, sorted, start, Math.min(end, start + limit), false);
  });
  const perSecond = await rate(ranges.length, 1, (i) => {
    sum = 0;
    const pending = store.scan(ranges[i], visit);
    const check = (): void => expectSum(sum, expected[i]);
    return pending === undefined ? check() : pending.then(check);
  });
  await store.close();
  return perSecond;
}

/** How long readwhilewriting goes on. */
const READ_WHILE_WRITING_MS = 3000;
const STEP = 100;

/**
 * Two clients of one event loop, which take turns: one writes 100 pairs and waits until they are
 * written, the other reads 100 keys.
 */
async function readWhileWriting(context: Context): Promise<number[]> {
  const { keys, values } = context.pairs;
  const random = new Random(6);
  const store = await context.open();
  for (let i = 0; i < 1000; i++) store.get(keys[random.below(keys.length)]);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  beginSection();
  const start = performance.now();
  const end = start + READ_WHILE_WRITING_MS;
  let written = 0;
  const write = async (): Promise<void> => {
    while (performance.now() < end) {
      const at = random.below(keys.length - STEP);
      await store.write(keys.slice(at, at + STEP), values.slice(at, at + STEP));
      written += STEP;
      await setImmediate();
    }
  };
  const micros: number[] = [];
  const read = async (): Promise<void> => {
    while (performance.now() < end) {
      for (let i = 0; i < STEP; i++) {
        const k = random.below(keys.length);
        const before = performance.now();
        const value = store.get(keys[k]);
        micros.push((performance.now() - before) * 1000);
        if (value !== values[k]) throw new Error(`${keys[k]} has another value`);
      }
      await setImmediate();
    }
  };
  await Promise.all([write(), read()]);
  const seconds = (performance.now() - start) / 1000;
  endSection();
  delay.disable();
  await store.close();
  micros.sort((a, b) => a - b);
  const p99 = micros[Math.floor(micros.length * 0.99)];
  // The timer that measures is set for every millisecond.
  const late = (nanos: number): number => Math.max(0, nanos / 1e6 - 1);
  return [
    micros.length / seconds,
    written / seconds,
    p99,
    late(delay.percentile(99)),
    late(delay.max),
  ];
}

function openWorkload(name: string, row: string, start: Start, atMost: number): Workload {
  return {
    name,
    start,
    rows: [{ name: row, unit: "ms", bar: { atMost } }],
    async run(context) {
      const { keys, values } = context.pairs;
      collectGarbage();
      beginSection();
      const before = performance.now();
      const store = await context.open();
      const value = store.get(keys[0]);
      const ms = performance.now() - before;
      endSection();
      if (value !== values[0]) throw new Error("another value came back");
      await store.close();
      return [ms];
    },
  };
}

/** About 60 MB of values, as far as there are keys for them. */
async function runValues(context: Context, length: number): Promise<number[]> {
  const all = context.pairs.keys;
  const count = Math.min(all.length, Math.floor(6e7 / (length + 50)));
  const keys = all.slice(0, count);
  const values = keys.map((_, i) => makeText(length, i));
  const bytes = keys.reduce((total, key) => total + key.length + length, 0);
  const options = { valueBytes: length, writeBufferBytes: writeBufferFor(bytes) };
  const store = await context.open(options);
  const fillSeconds = await timed(() => fill(store, keys, values));
  await store.close();
  const again = await context.open(options);
  await rest();
  const order = new Random(4).permutation(count);
  const gets = await rate(count, 1, (i) => {
    if (again.get(keys[order[i]]) !== values[order[i]]) throw new Error("another value came back");
  });
  const expected = foldRange(0, sortPairs({ keys, values }), 0, count, false);
  let sum = 0;
  const visit = (key: string, value: unknown): void => {
    sum = fold(fold(sum, key), value);
  };
  const scans = await rate(1, 1, () => {
    sum = 0;
    const pending = again.scan({}, visit);
    const check = (): void => expectSum(sum, expected);
    return pending === undefined ? check() : pending.then(check);
  });
  await again.close();
  return [count / fillSeconds, gets, scans * count];
}

function makeObject(name: string, seed: number) {
  const random = new Random(seed);
  return {
    name,
    version: `${random.below(10)}.${random.below(20)}.${random.below(30)}`,
    license: ["MIT", "ISC", "Apache-2.0"][random.below(3)],
    downloads: random.below(1_000_000),
    private: random.below(10) === 0,
    keywords: [makeText(8, seed), makeText(6, seed + 1)],
    repository: { type: "git", url: `https://github.com/${name}` },
  };
}

/** Reads go on for so long. */
const READ_MS = 1000;
/**
 * Before that come reads that are not measured, for V8 to compile what is hot and for caches to fill:
 * of all that will be asked for, but not for less or more time than this.
 */
const MIN_WARM_MS = 500;
const MAX_WARM_MS = 3000;

/** How often a second a step is done; `step(i)` does `width` things, and i goes round below `count`. */
async function rate(
  count: number,
  width: number,
  step: (i: number) => void | Promise<void>,
): Promise<number> {
  const runFor = async (isDone: (ms: number, steps: number) => boolean): Promise<number> => {
    const start = performance.now();
    let done = 0;
    let elapsed = 0;
    do {
      const pending = step(done++ % count);
      if (pending !== undefined) await pending;
      elapsed = performance.now() - start;
    } while (!isDone(elapsed, done));
    return (done * width * 1000) / elapsed;
  };
  await runFor((ms, steps) => ms >= (steps < count ? MAX_WARM_MS : MIN_WARM_MS));
  beginSection();
  const perSecond = await runFor((ms) => ms >= READ_MS);
  endSection();
  return perSecond;
}

/** Seconds that the work takes. What was made for it has been collected, or is old, by then. */
async function timed(work: () => unknown): Promise<number> {
  collectGarbage();
  beginSection();
  const start = performance.now();
  const result = work();
  if (result instanceof Promise) await result;
  const seconds = (performance.now() - start) / 1000;
  endSection();
  return seconds;
}

/** Reads a sample of what was written from a reopened store, and counts its keys. */
async function checkContent(
  context: Context,
  keys: readonly string[],
  values: readonly unknown[],
  keyCount: number,
): Promise<void> {
  const store = await context.open();
  for (const i of randomIndexes(keys.length, 2000, 9)) {
    if (store.get(keys[i]) !== values[i]) throw new Error(`${keys[i]} has another value`);
  }
  let count = 0;
  await store.scan({ keysOnly: true }, () => count++);
  expectSum(count, keyCount);
  await store.close();
}

function expectSum(found: number, expected: number): void {
  if (found !== expected) throw new Error(`wrong answers: ${found} instead of ${expected}`);
}

/** Adds an answer to a sum that depends on all of them and their order. */
function fold(sum: number, value: unknown): number {
  if (typeof value !== "string") return (Math.imul(sum, 31) + 7) | 0;
  const last = value.length > 0 ? value.charCodeAt(value.length - 1) : 0;
  return (Math.imul(sum, 31) + value.length * 256 + last) | 0;
}

function foldRange(
  sum: number,
  { keys, values }: Pairs,
  start: number,
  end: number,
  isKeysOnly: boolean,
): number {
  let folded = sum;
  for (let i = start; i < end; i++) {
    folded = fold(fold(folded, keys[i]), isKeysOnly ? undefined : values[i]);
  }
  return folded;
}

function randomIndexes(bound: number, count: number, seed: number): Int32Array {
  const random = new Random(seed);
  return Int32Array.from({ length: count }, () => random.below(bound));
}

/** By the bytes of their keys. */
function sortPairs({ keys, values }: Pairs): Pairs {
  const encoded = keys.map((key) => Buffer.from(key));
  const order = Array.from(keys, (_, i) => i).sort((a, b) => encoded[a].compare(encoded[b]));
  return { keys: order.map((i) => keys[i]), values: order.map((i) => values[i]) };
}

/** Number of keys below `key`. */
function lowerBound(sorted: readonly Buffer[], key: string): number {
  const sought = Buffer.from(key);
  let lo = 0;
  let hi = sorted.length;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (sorted[mid].compare(sought) < 0) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}
