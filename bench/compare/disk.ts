/** What a store takes on disk, and whether it is at rest: the same for all, from their files. */
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

const REST_MS = 600;
const LONGEST_MS = 60_000;

/** Waits until the store's files stop changing: until flushes and compactions have caught up. */
export async function rest(directory: string): Promise<void> {
  let before = "";
  for (let waited = 0; waited < LONGEST_MS; waited += REST_MS) {
    const now = readdirSync(directory, { recursive: true, encoding: "utf8" })
      .map((name) => `${name} ${statSync(join(directory, name), { throwIfNoEntry: false })?.size}`)
      .join();
    if (now === before) return;
    before = now;
    await setTimeout(REST_MS);
  }
}
