/**
 * Which runs to merge: a Version and what its runs hold in, a choice out. Pure; `run.ts` carries the
 * choice out.
 *
 * The policy is tiered ("universal" in RocksDB's words, whose option names it has): runs of like size
 * are merged into one, so each entry is rewritten about log(data / memtable) times. Only neighbours
 * in age may be merged, since newer hides older. A run's size is what it holds, keys and values, and
 * not what its files take, which depends on how they are coded. Four rules, the first that applies;
 * all but the last and the part about tombstones wait until there are `compactionTrigger` runs:
 *
 * 1. Space: if what might be hidden is at least `maxSizeAmplificationPercent` of what certainly
 *    lives, merge all. Bounds what overwritten and deleted entries may cost on disk.
 * 2. Size: from the newest run on, take runs as long as the next is at most `sizeRatio` percent
 *    larger than those taken, and at most `maxMergeWidth`; merge if at least `minMergeWidth` were
 *    taken.
 * 3. Count: over three times `compactionTrigger` runs, merge the cheapest neighbours that bring the
 *    count down. Bounds what a read has to look through.
 * 4. Garbage: rewrite a run by itself, or what of it refers to value logs that are mostly garbage, if
 *    that frees more bytes than it writes.
 *
 * What might be hidden is every byte newer than the oldest run, as far as the sizes tell, and of the
 * oldest run a share for each newer tombstone, for each key that ranges delete, and for each entry of
 * any run that has expired. To estimate how much of it is, by looking up a sample of newer keys in
 * older runs, would gain nothing where none is: with new keys alone rule 2 merges as much as rule 1.
 *
 * A tombstone is kept as long as a run older than the merge may hold its key, so only rule 1, which
 * reaches the oldest run, makes deleted space come back; hence it does not wait where tombstones
 * alone are reason enough. It costs a rewrite of the oldest run for each time that so large a share
 * of it was deleted.
 *
 * A merge that was broken off between two steps (steps.ts) leaves runs whose writes are not all older
 * or newer than each other's, though those of each key are. They stay together from then on
 * (`withPartners`): what a merge of only some of them wrote could not be told by its sequence numbers
 * from what is newer or older.
 *
 * Source: RocksDB's db/compaction/compaction_picker_universal.cc, for the rules and their order.
 */
import type { SeqnoRange } from "../entry.ts";
import { total, type Version } from "../manifest/version.ts";
import { clearingGain } from "./value-logs.ts";

export interface PickOptions {
  /** Runs from which on any are merged. */
  readonly compactionTrigger: number;
  /** Percent by which a run may be larger than those before it together, to be merged with them. */
  readonly sizeRatio: number;
  /** Runs of like size that are worth a merge, and that one takes at most. */
  readonly minMergeWidth: number;
  readonly maxMergeWidth: number;
  /** Percent of what certainly lives that what might be hidden may take. */
  readonly maxSizeAmplificationPercent: number;
}

/** What only the open files of a Version tell. */
export interface Contents {
  /** Of each run, newest first, bytes of its keys, and of its values but those in value logs. */
  readonly sizes: readonly number[];
  /** Keys of the oldest run that range tombstones delete, about, and entries that have expired. */
  readonly hiddenCount: number;
}

/** Merge runs [start, end) of the Version, newest first. */
export interface Choice {
  readonly start: number;
  readonly end: number;
  /** Which rule chose, for events and logs. */
  readonly reason: "space" | "size" | "count" | "garbage" | "coding" | "manual";
}

/** More runs than this slow reads too much, whatever their sizes: a multiple of the trigger. */
const MAX_RUNS_PER_TRIGGER = 3;

/** Runs of a Version for which nothing is due, at most. */
export function maxRunCount(compactionTrigger: number): number {
  return compactionTrigger * MAX_RUNS_PER_TRIGGER;
}

/** What to merge now, or undefined where nothing is due. */
export function pickCompaction(
  version: Version,
  contents: Contents,
  options: PickOptions,
): Choice | undefined {
  const { sizes } = contents;
  return (
    pickBySpace(sizes.length, estimateSpace(version, contents), options) ??
    pickBySize(sizes, options) ??
    pickByCount(sizes, options) ??
    pickByGarbage(version)
  );
}

/**
 * The oldest runs next to each other that are not coded, as many as one merge takes, to merge and
 * thereby code them, or undefined where there are none. `areUncoded`: of each run, newest first,
 * whether any of it is not. Not a rule of the policy: nothing has to be done about them, so that it
 * waits until there is nothing else to do.
 */
export function pickUncoded(
  areUncoded: readonly boolean[],
  { maxMergeWidth }: Pick<PickOptions, "maxMergeWidth">,
): Choice | undefined {
  const last = areUncoded.lastIndexOf(true);
  if (last < 0) return undefined;
  const start = areUncoded.lastIndexOf(false, last) + 1;
  const end = last + 1;
  return { start: Math.max(start, end - maxMergeWidth), end, reason: "coding" };
}

/**
 * The choice, with all runs that share a stretch of time with one of it. `ages`: from the first write
 * to the last of each run, newest first.
 */
export function withPartners(choice: Choice, ages: readonly SeqnoRange[]): Choice {
  let { start, end } = choice;
  for (;;) {
    const chosen = ages.slice(start, end);
    const firstSeqno = Math.min(...chosen.map((age) => age.firstSeqno));
    const lastSeqno = Math.max(...chosen.map((age) => age.lastSeqno));
    const newest = ages.findIndex((age) => age.firstSeqno <= lastSeqno);
    const oldest = ages.findLastIndex((age) => age.lastSeqno >= firstSeqno);
    if (newest >= start && oldest < end) return { ...choice, start, end };
    start = Math.min(start, newest);
    end = Math.max(end, oldest + 1);
  }
}

/** Of what all runs hold, the bytes that may be hidden by newer ones, and those that certainly are not. */
export interface SpaceEstimate {
  /** Bytes newer than the oldest run. */
  readonly newerBytes: number;
  /** Of the oldest run, what the tombstones above it may hide, and the rest. */
  readonly deletedBytes: number;
  readonly liveBytes: number;
}

export function estimateSpace({ runs }: Version, { sizes, hiddenCount }: Contents): SpaceEstimate {
  const oldest = runs.at(-1);
  if (oldest === undefined) return { newerBytes: 0, deletedBytes: 0, liveBytes: 0 };
  const newer = runs.slice(0, -1).flat();
  const newerBytes = sum(sizes, 0, sizes.length - 1);
  const oldestBytes = sizes[sizes.length - 1];
  const tombstones = total(newer, "tombstoneCount");
  const keys = total(oldest, "keyCount");
  const deleted = tombstones + hiddenCount;
  const deletedBytes = oldestBytes * Math.min(1, deleted / Math.max(1, keys));
  return { newerBytes, deletedBytes, liveBytes: oldestBytes - deletedBytes };
}

function pickBySpace(
  end: number,
  { newerBytes, deletedBytes, liveBytes }: SpaceEstimate,
  options: PickOptions,
): Choice | undefined {
  const hiddenBytes = end < options.compactionTrigger ? deletedBytes : newerBytes + deletedBytes;
  const isDue =
    hiddenBytes > 0 && hiddenBytes * 100 >= liveBytes * options.maxSizeAmplificationPercent;
  return isDue ? { start: 0, end, reason: "space" } : undefined;
}

function pickBySize(sizes: readonly number[], options: PickOptions): Choice | undefined {
  const { compactionTrigger, sizeRatio, minMergeWidth, maxMergeWidth } = options;
  if (sizes.length < compactionTrigger) return undefined;
  for (let start = 0; start + minMergeWidth <= sizes.length; start++) {
    const limit = Math.min(start + maxMergeWidth, sizes.length);
    let end = start + 1;
    let taken = sizes[start];
    while (end < limit && sizes[end] * 100 <= taken * (100 + sizeRatio)) taken += sizes[end++];
    if (end - start >= minMergeWidth) return { start, end, reason: "size" };
  }
  return undefined;
}

/** Of all stretches that bring the count down to the most that is allowed, the one with the fewest bytes. */
function pickByCount(sizes: readonly number[], options: PickOptions): Choice | undefined {
  const tooMany = sizes.length - maxRunCount(options.compactionTrigger);
  const width = Math.min(tooMany + 1, options.maxMergeWidth);
  if (width < 2) return undefined;
  let best = 0;
  for (let start = 1; start + width <= sizes.length; start++) {
    if (sum(sizes, start, start + width) < sum(sizes, best, best + width)) best = start;
  }
  return { start: best, end: best + width, reason: "count" };
}

function pickByGarbage(version: Version): Choice | undefined {
  const start = version.runs.findIndex((run) => clearingGain(run, version) > 0);
  return start < 0 ? undefined : { start, end: start + 1, reason: "garbage" };
}

function sum(sizes: readonly number[], start: number, end: number): number {
  let total = 0;
  for (let i = start; i < end; i++) total += sizes[i];
  return total;
}
