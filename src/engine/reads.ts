/**
 * Reads at a moment: point lookups and cursors over memtables and runs.
 *
 * A moment is a `Sources`, a sequence number and a time: writes above the number are not seen, and
 * what has expired by the time is a tombstone. Both the
 * database (now) and a snapshot (then) read through here. A point lookup goes through the sources
 * newest first, and the first that knows the key, as a put, as a tombstone or by a range tombstone,
 * decides. In a run an entry is newer than the run's range tombstones, which hide older runs only.
 */
import { ConcatCursor } from "../cursor/concat.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { MaskedCursor } from "../cursor/masked.ts";
import { MergeCursor } from "../cursor/merge.ts";
import { Mask, type Spans } from "../cursor/spans.ts";
import type { ValueView } from "../cursor/value-view.ts";
import { EntryKind, NEVER } from "../entry.ts";
import { keyHash } from "../segment/filter.ts";
import type { Segment } from "../segment/reader.ts";
import type { ChunkReader } from "../segment/value-log.ts";
import { type NewestEntries, type OpenVersion, type ReadSources, segmentFor } from "./sources.ts";

/** What `findValue` found: nothing, a value that never expires, or one that will. */
export const Found = { nothing: 0, lasting: 1, expiring: 2 } as const;
export type Found = (typeof Found)[keyof typeof Found];

/**
 * Points `view` at the value's bytes, until the next read, unless the key is absent. `hash` is the
 * key's `keyHash`.
 */
export function findValue(
  sources: ReadSources,
  seqno: number,
  time: number,
  key: Uint8Array,
  length: number,
  hash: number,
  view: ValueView,
): Found {
  for (const memtable of sources.memtables) {
    const ref = memtable.find(key, length, seqno, hash);
    if (ref >= 0) {
      if (memtable.kindOf(ref, time) !== EntryKind.put) return Found.nothing;
      memtable.viewValue(ref, view);
      return memtable.expiryOf(ref) === NEVER ? Found.lasting : Found.expiring;
    }
  }
  const { runs, rangeTombstones } = sources.version;
  for (let i = 0; i < runs.length; i++) {
    const segment = segmentFor(runs[i], key, length);
    const ordinal = segment === undefined ? -1 : segment.find(key, length, hash);
    if (segment !== undefined && ordinal >= 0) {
      if (segment.kindAt(ordinal, time) !== EntryKind.put) return Found.nothing;
      segment.viewValue(ordinal, key, length, view);
      return segment.expiryAt(ordinal) === NEVER ? Found.lasting : Found.expiring;
    }
    if (rangeTombstones[i]?.covers(key, length)) return Found.nothing;
  }
  return Found.nothing;
}

/**
 * The value's bytes, which stay as they are as long as the sources are held; or, if it lies in a
 * value log, its chunks, of which none is read yet.
 */
export function findStoredValue(
  sources: ReadSources,
  seqno: number,
  time: number,
  key: Uint8Array,
  length: number,
): Uint8Array | ChunkReader | undefined {
  for (const memtable of sources.memtables) {
    const ref = memtable.find(key, length, seqno);
    if (ref >= 0) {
      return memtable.kindOf(ref, time) === EntryKind.put ? memtable.valueOf(ref) : undefined;
    }
  }
  const { runs, rangeTombstones } = sources.version;
  for (let i = 0; i < runs.length; i++) {
    const segment = segmentFor(runs[i], key, length);
    const ordinal = segment?.find(key, length, keyHash(key, length)) ?? -1;
    if (segment !== undefined && ordinal >= 0) {
      if (segment.kindAt(ordinal, time) !== EntryKind.put) return undefined;
      const value = segment.storedValueAt(ordinal, key, length);
      return value instanceof Uint8Array ? value.slice() : segment.chunksOf(value);
    }
    if (rangeTombstones[i]?.covers(key, length)) return undefined;
  }
  return undefined;
}

/** Whether the key is there. */
export function hasKey(
  sources: ReadSources,
  seqno: number,
  time: number,
  key: Uint8Array,
  length: number,
): boolean {
  const hash = keyHash(key, length);
  for (const memtable of sources.memtables) {
    const ref = memtable.find(key, length, seqno, hash);
    if (ref >= 0) return memtable.kindOf(ref, time) === EntryKind.put;
  }
  const { runs, rangeTombstones } = sources.version;
  for (let i = 0; i < runs.length; i++) {
    const segment = segmentFor(runs[i], key, length);
    const ordinal = segment === undefined ? -1 : segment.find(key, length, hash);
    if (segment !== undefined && ordinal >= 0)
      return segment.kindAt(ordinal, time) === EntryKind.put;
    if (rangeTombstones[i]?.covers(key, length)) return false;
  }
  return false;
}

/** A cursor over everything, newest entries hiding older ones; tombstones are still in it. */
export function cursorOver(sources: ReadSources, seqno: number, time: number): Cursor {
  return mergedCursor(sources.memtables, sources.version, seqno, time);
}

/** Runs, newest first, and what each deletes from those older than it. */
export type Runs = Pick<OpenVersion, "runs" | "rangeTombstones">;

/** A cursor over some memtables and runs, each newest first; all memtables are newer than the runs. */
export function mergedCursor(
  memtables: readonly NewestEntries[],
  { runs, rangeTombstones }: Runs,
  seqno: number,
  time: number,
): Cursor {
  const cursors: Cursor[] = [];
  /** Range tombstones of the sources so far: they hide what follows. */
  const hiding: Spans[] = [];
  for (const memtable of memtables) {
    if (memtable.keyCount > 0) cursors.push(masked(memtable.cursor(seqno, time), hiding));
    const deleted = memtable.deletedRanges(seqno);
    if (deleted !== undefined) hiding.push(deleted);
  }
  for (let i = 0; i < runs.length; i++) {
    if (runs[i].length > 0) cursors.push(masked(runCursor(runs[i], time), hiding));
    const deleted = rangeTombstones[i];
    if (deleted !== undefined) hiding.push(deleted);
  }
  return cursors.length === 1 ? cursors[0] : new MergeCursor(cursors);
}

/** The cursor without what is hidden now. */
function masked(cursor: Cursor, hiding: readonly Spans[]): Cursor {
  return hiding.length === 0 ? cursor : new MaskedCursor(cursor, new Mask([...hiding]));
}

function runCursor(run: readonly Segment[], time: number): Cursor {
  return run.length === 1 ? run[0].cursor(time) : new ConcatCursor(run, time);
}
