/**
 * The stress test of readers in other threads: one writer inserts, replaces and deletes at random
 * while readers look up and scan.
 *
 * Key `id` is a group of four bytes, the id, and a tail whose bytes follow from the id, up to 60 of
 * them; its value follows from the id and a version. So a reader knows a key or value that nobody
 * wrote. Keys of even ids are *stable*: they are there before the readers start, and are replaced but
 * never deleted, so that a reader who misses one has lost it. Odd ones come and go, by stretches, so
 * that buckets split and merge all the time. Now and then the writer appends a run of even ids beyond
 * all others, and then raises the bound below which a reader must find every even id.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { NO_VALUE, Tree } from "../../src/art/tree.ts";
import { Random } from "./shapes.ts";

export interface Faults {
  lost: number;
  garbage: number;
  unordered: number;
  lookups: number;
  scans: number;
  errors: string[];
}

export function noFaults(): Faults {
  return { lost: 0, garbage: 0, unordered: 0, lookups: 0, scans: 0, errors: [] };
}

export function isStable(id: number): boolean {
  return id % 2 === 0;
}

/** Ids sort as numbers: group and id are big-endian, and the group is the id's upper part. */
export function keyOf(id: number): Uint8Array {
  const key = Buffer.alloc(8 + (Math.imul(id, 0x9e3779b1) >>> 26));
  key.writeUInt32BE(id >>> 10, 0);
  key.writeUInt32BE(id, 4);
  for (let i = 8; i < key.length; i++) key[i] = Math.imul(id + i, 0x85ebca77) >>> 24;
  return key;
}

/** Both halves of a value depend on its version, so that a torn value is no value. */
function valueFor(id: number, version: number): number {
  const low = (Math.imul(id, 0xc2b2ae3d) ^ version) >>> 0;
  return low + (version % 0x1f_ffff) * 0x1_0000_0000;
}

/** Whether somebody may have written this. */
export function checkEntry(key: Uint8Array, value: number): boolean {
  const bytes = Buffer.from(key);
  if (bytes.length < 8) return false;
  const id = bytes.readUInt32BE(4);
  if (bytes.compare(keyOf(id)) !== 0) return false;
  const version = Math.floor(value / 0x1_0000_0000);
  return value === valueFor(id, version);
}

export interface StressOptions {
  readonly operations: number;
  readonly keyCount: number;
  readonly readers: number;
  readonly seed: number;
  /** The control: blocks are reused at once, without waiting for readers. */
  readonly reusesAtOnce: boolean;
}

export interface StressResult {
  readonly faults: Faults;
  /** The most bytes that ever waited for readers. */
  readonly maxRetiredBytes: number;
  readonly tree: Tree;
}

/** Words of what the writer tells the readers: when to stop, and which ids there may be. */
export const IS_STOPPED = 0;
export const ID_BOUND = 1;

/** How often keys are appended in order, and how many. */
const OPERATIONS_BETWEEN_RUNS = 64;
const RUN_KEYS = 20;

/** Node loads no TypeScript in a worker by itself; tsx does. */
const WORKER_CODE = `
  import("tsx/esm/api").then(({ tsImport }) =>
    tsImport(${JSON.stringify(new URL("./reader-worker.ts", import.meta.url).href)}, {
      parentURL: ${JSON.stringify(import.meta.url)},
    }),
  );
`;

export async function runStress(options: StressOptions): Promise<StressResult> {
  const { operations, keyCount, readers, seed, reusesAtOnce } = options;
  const tree = Tree.create(2 ** 28, 8);
  const set = (id: number, version: number) => {
    const key = keyOf(id);
    tree.locate(key, 0, key.length);
    tree.assign(valueFor(id, version));
  };
  for (let id = 0; id < keyCount; id += 2) set(id, 1);
  tree.share({ reusesAtOnce });
  const state = new Int32Array(new SharedArrayBuffer(8));
  Atomics.store(state, ID_BOUND, keyCount);
  const handle = { buffer: tree.arena.buffer };
  const workers = Array.from(
    { length: readers },
    (_, i) =>
      new Worker(WORKER_CODE, {
        eval: true,
        workerData: { handle, seed: seed + i + 1, state },
      }),
  );
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const reports = workers.map(reportOf);
  const random = new Random(seed);
  let maxRetiredBytes = 0;
  for (let i = 0; i < operations; i++) {
    // A stretch of 64 ids is mostly filled or mostly emptied, in turn: buckets split and merge there.
    const id = random.below(keyCount);
    const isFilling = ((id >>> 6) + Math.floor((i * 8) / operations)) % 2 === 0;
    if (isStable(id) || isFilling) {
      set(id, i + 2);
    } else {
      const key = keyOf(id);
      if (tree.locate(key, 0, key.length) !== NO_VALUE) tree.remove();
    }
    if (i % OPERATIONS_BETWEEN_RUNS === 0) {
      for (let appended = 0; appended < RUN_KEYS; appended++) {
        const next = state[ID_BOUND];
        set(next, 1);
        Atomics.store(state, ID_BOUND, next + 2);
      }
    }
    maxRetiredBytes = Math.max(maxRetiredBytes, tree.retiredBytes);
  }
  Atomics.store(state, IS_STOPPED, 1);
  const total = noFaults();
  for (const faults of await Promise.all(reports)) {
    total.lost += faults.lost;
    total.garbage += faults.garbage;
    total.unordered += faults.unordered;
    total.lookups += faults.lookups;
    total.scans += faults.scans;
    total.errors.push(...faults.errors);
  }
  return { faults: total, maxRetiredBytes, tree };
}

/** What a reader saw. One that died, of garbage that it took for lengths say, saw a fault. */
async function reportOf(worker: Worker): Promise<Faults> {
  try {
    const [faults] = (await once(worker, "message")) as [Faults];
    return faults;
  } catch (error) {
    return { ...noFaults(), errors: [String(error)] };
  }
}
