/**
 * Version: the immutable list of live runs, newest first.
 *
 * A run is a list of segments whose key ranges do not overlap, in key order; runs overlap, and a
 * newer one hides an older. Nobody edits a Version: flush and compaction make the next one, write
 * it to the manifest, and only then swap it in (LevelDB's db/version_edit.h has the idea; a tiered
 * store has few segments, so the whole list is written each time and needs no edit log).
 *
 * Invariants:
 * 1. Within a run, lastKey of a segment sorts before firstKey of the next.
 * 2. No run is empty, and no file number occurs twice.
 */

/** What the Version knows of a segment without opening it. */
export interface SegmentMeta {
  readonly fileNumber: number;
  readonly fileBytes: number;
  /** Entries, tombstones included: the segment's ordinals are [0, keyCount). */
  readonly keyCount: number;
  readonly tombstoneCount: number;
  readonly firstKey: Uint8Array;
  readonly lastKey: Uint8Array;
}

/** Segments in key order, disjoint, at least one. */
export type Run = readonly SegmentMeta[];

export interface Version {
  /** Newest first. */
  readonly runs: readonly Run[];
}
