/** What a store takes on disk, and whether it is at rest: the same for all, seen from outside. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

/** Bytes of a directory's files, holes in them left out. */
export function directoryBytes(directory: string): number {
  let bytes = 0;
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    const stats = statSync(join(directory, name), { throwIfNoEntry: false });
    if (stats?.isFile()) bytes += Math.min(stats.size, stats.blocks * 512);
  }
  return bytes;
}

const LOOK_MS = 500;
/** Of a CPU, while nothing is under way: what looking takes. */
const IDLE_PART = 0.05;
const LONGEST_MS = 120_000;

/**
 * Waits until the process has come to rest, its threads included: until flushes and compactions have
 * caught up. The same for every store, whether or not it says what it does.
 */
export async function rest(): Promise<void> {
  let idleLooks = 0;
  for (let waited = 0; waited < LONGEST_MS && idleLooks < 3; waited += LOOK_MS) {
    const before = process.cpuUsage();
    await setTimeout(LOOK_MS);
    const { user, system } = process.cpuUsage(before);
    idleLooks = (user + system) / 1000 < LOOK_MS * IDLE_PART ? idleLooks + 1 : 0;
  }
}
