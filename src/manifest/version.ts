/**
 * Version: the immutable list of live runs, newest first.
 *
 * A run is a list of segments whose key ranges do not overlap, in key order; runs overlap, and a
 * newer one hides an older. The range tombstones of a run are in a segment of their own, which has
 * no keys and comes first: they delete keys of older runs, not of their own. Nobody edits a
 * Version: flush and compaction make the next one, write it to the manifest, and only then swap it
 * in (LevelDB's db/version_edit.h has the idea; a tiered store has few segments, so the whole list
 * is written each time and needs no edit log).
 *
 * Values too large to be rewritten by every compaction lie in value logs. A log is in the Version as
 * long as a segment refers to it; how much of it is garbage follows from what the segments say.
 *
 * Invariants:
 * 1. Within a run, lastKey of a segment sorts before firstKey of the next; only the first may have
 *    range tombstones, and then it has no keys.
 * 2. No run is empty, and no file number occurs twice.
 * 3. The value logs are those that segments refer to, in order of their file numbers.
 * 4. All segments that refer to a value log are in one run, or in several of which a merge has joined
 *    a part: each job writes logs of its own, and a merge is of neighbouring runs, by steps.
 */
import type { ValueLogUse } from "../entry.ts";

/** What the Version knows of a segment without opening it. */
export interface SegmentMeta {
  readonly fileNumber: number;
  readonly fileBytes: number;
  /** Entries, tombstones included: the segment's ordinals are [0, keyCount). */
  readonly keyCount: number;
  readonly tombstoneCount: number;
  /** At least 1 in a segment without keys, and 0 in others. */
  readonly rangeTombstoneCount: number;
  /** Empty in a segment without keys. */
  readonly firstKey: Uint8Array;
  readonly lastKey: Uint8Array;
  /** What its entries refer to in value logs, by ascending file number. */
  readonly valueLogs: readonly ValueLogUse[];
}

/** What the Version knows of a value log without opening it. */
export interface ValueLogMeta {
  readonly fileNumber: number;
  readonly fileBytes: number;
}

/** Segments in key order, disjoint, at least one; before them, perhaps, one of range tombstones. */
export type Run = readonly SegmentMeta[];

export interface Version {
  /** Newest first. */
  readonly runs: readonly Run[];
  readonly valueLogs: readonly ValueLogMeta[];
}

/** The Version of these runs. `valueLogs` has all that their segments refer to, and perhaps others. */
export function versionOf(runs: readonly Run[], valueLogs: readonly ValueLogMeta[]): Version {
  const used = usesOf(runs);
  const live = valueLogs.filter((log) => used.has(log.fileNumber));
  return { runs, valueLogs: live.sort((a, b) => a.fileNumber - b.fileNumber) };
}

/** What segments, value logs or other parts come to together. */
export function total<
  F extends "keyCount" | "tombstoneCount" | "rangeTombstoneCount" | "fileBytes",
>(parts: readonly Readonly<Record<F, number>>[], field: F): number {
  return parts.reduce((sum, part) => sum + part[field], 0);
}

/** By file number of a value log, stored bytes of the values there that the runs refer to. */
export function usesOf(runs: readonly Run[]): Map<number, number> {
  const uses = new Map<number, number>();
  for (const { fileNumber, bytes } of runs.flat().flatMap((segment) => segment.valueLogs)) {
    uses.set(fileNumber, (uses.get(fileNumber) ?? 0) + bytes);
  }
  return uses;
}
