/**
 * A reader thread of the stress test. Says that it is ready, then looks keys up and scans, over and
 * over, until told to stop, and reports how often it saw what must never happen. See reader-stress.ts for what the keys are.
 */
import { parentPort, workerData } from "node:worker_threads";
import type { ArenaArtHandle } from "../../src/art/arena-art.ts";
import { ArenaArtReader } from "../../src/art/arena-art-reader.ts";
import {
  checkEntry,
  type Faults,
  ID_BOUND,
  IS_STOPPED,
  isStable,
  keyOf,
  noFaults,
} from "./reader-stress.ts";
import { Random } from "./shapes.ts";

interface Assignment {
  readonly handle: ArenaArtHandle;
  readonly seed: number;
  readonly state: Int32Array;
}

const { handle, seed, state } = workerData as Assignment;
const reader = new ArenaArtReader(handle);
const random = new Random(seed);
const faults: Faults = noFaults();
const SCAN_KEYS = 300;

function lookUp(): void {
  const id = random.below(Atomics.load(state, ID_BOUND));
  const key = keyOf(id);
  const value = reader.get(key);
  faults.lookups++;
  if (value === undefined) {
    if (isStable(id)) faults.lost++;
  } else if (!checkEntry(key, value)) {
    faults.garbage++;
  }
}

/** Walks some keys in either direction: in order, each sound, and no stable key left out. */
function scan(): void {
  const reverse = random.below(2) === 0;
  const start = keyOf(random.below(Atomics.load(state, ID_BOUND)));
  const range = reverse ? { lte: start, reverse } : { gte: start };
  let previous: Buffer | undefined;
  let stable: Buffer | undefined;
  for (const [key, value] of reader.entries({ ...range, limit: SCAN_KEYS })) {
    const current = Buffer.from(key);
    if (previous && current.compare(previous) * (reverse ? -1 : 1) <= 0) faults.unordered++;
    previous = current;
    if (!checkEntry(key, value)) {
      faults.garbage++;
      continue;
    }
    const id = current.readUInt32BE(4);
    if (!isStable(id)) continue;
    const before = stable?.readUInt32BE(4);
    if (before !== undefined && Math.abs(id - before) !== 2) faults.lost++;
    stable = current;
  }
  faults.scans++;
}

parentPort?.postMessage("ready");
try {
  while (Atomics.load(state, IS_STOPPED) === 0) {
    for (let i = 0; i < 200; i++) lookUp();
    scan();
  }
} catch (error) {
  faults.errors.push(String(error));
}
reader.close();
parentPort?.postMessage(faults);
