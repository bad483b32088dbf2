/**
 * Which runs to merge: a Version in, a choice out. Pure; `run.ts` carries the choice out.
 *
 * The policy is tiered (size-tiered, "universal" in RocksDB's words): runs of like size are merged
 * into one, so each entry is rewritten about log(data / memtable) times. Only neighbours in age may
 * be merged, since newer hides older. Three rules, the first that applies:
 *
 * 1. Space: if everything newer than the oldest run is at least `maxSpaceAmplification` of it, merge
 *    all. Bounds what overwritten and deleted entries may cost on disk.
 * 2. Size: from the newest run on, take runs as long as the next is no larger than `sizeRatio` times
 *    those taken; merge if at least `trigger` were taken.
 * 3. Count: over `maxRuns` runs, merge the cheapest neighbours that bring the count down. Bounds
 *    what a read has to look through.
 *
 * A tombstone is kept as long as a run older than the merge may hold its key, so rule 1, which
 * reaches the oldest run, is also what makes deleted space come back.
 */
import type { Run, SegmentMeta, Version } from "../manifest/version.ts";

export interface PickOptions {
  /** Runs of like size that are worth a merge. */
  readonly trigger: number;
}

/** Merge runs [start, end) of the Version, newest first. */
export interface Choice {
  readonly start: number;
  readonly end: number;
  /** Which rule chose, for events and logs. */
  readonly reason: "space" | "size" | "count" | "manual";
}

/** Bytes newer than the oldest run, as a share of it, from which all is merged. */
const MAX_SPACE_AMPLIFICATION = 1;
/** A run joins a merge if it is at most this many times what was taken already. */
const SIZE_RATIO = 1.5;
/** More runs than this slow reads too much, whatever their sizes: a multiple of the trigger. */
const MAX_RUNS_PER_TRIGGER = 3;

/** What to merge now, or undefined where nothing is due. */
export function pickCompaction(version: Version, options: PickOptions): Choice | undefined {
  const sizes = version.runs.map(runBytes);
  const count = sizes.length;
  if (count < 2) return undefined;
  return (
    pickBySpace(sizes, options.trigger) ??
    pickBySize(sizes, options.trigger) ??
    pickByCount(sizes, options.trigger * MAX_RUNS_PER_TRIGGER)
  );
}

function pickBySpace(sizes: readonly number[], trigger: number): Choice | undefined {
  const count = sizes.length;
  if (count < trigger) return undefined;
  const oldest = sizes[count - 1];
  const newer = sum(sizes, 0, count - 1);
  if (newer < oldest * MAX_SPACE_AMPLIFICATION) return undefined;
  return { start: 0, end: count, reason: "space" };
}

function pickBySize(sizes: readonly number[], trigger: number): Choice | undefined {
  for (let start = 0; start + trigger <= sizes.length; start++) {
    let end = start + 1;
    let taken = sizes[start];
    while (end < sizes.length && sizes[end] <= taken * SIZE_RATIO) taken += sizes[end++];
    if (end - start >= trigger) return { start, end, reason: "size" };
  }
  return undefined;
}

/** Of all stretches that bring the count down to `maxRuns`, the one with the fewest bytes. */
function pickByCount(sizes: readonly number[], maxRuns: number): Choice | undefined {
  const width = sizes.length - maxRuns + 1;
  if (width < 2) return undefined;
  let best = 0;
  for (let start = 1; start + width <= sizes.length; start++) {
    if (sum(sizes, start, start + width) < sum(sizes, best, best + width)) best = start;
  }
  return { start: best, end: best + width, reason: "count" };
}

/** Bytes of a run's files. */
export function runBytes(run: Run): number {
  return run.reduce((total: number, segment: SegmentMeta) => total + segment.fileBytes, 0);
}

function sum(sizes: readonly number[], start: number, end: number): number {
  let total = 0;
  for (let i = start; i < end; i++) total += sizes[i];
  return total;
}
