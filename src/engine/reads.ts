/**
 * Reads at a moment: point lookups and cursors over memtables and runs.
 *
 * A moment is a `Sources` and a sequence number: writes above the number are not seen. Both the
 * database (now) and a snapshot (then) read through here. A point lookup goes through the sources
 * newest first, and the first that knows the key, as a put or as a tombstone, decides.
 */
import { ConcatCursor } from "../cursor/concat.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { MergeCursor } from "../cursor/merge.ts";
import { EntryKind } from "../entry.ts";
import { keyHash } from "../segment/filter.ts";
import type { Segment } from "../segment/reader.ts";
import type { ChunkReader } from "../segment/value-log.ts";
import { type NewestEntries, type ReadSources, segmentFor } from "./sources.ts";

/** A view of the value's bytes, valid until the next read; undefined where the key is absent. */
export function findValue(
  sources: ReadSources,
  seqno: number,
  key: Uint8Array,
  length: number,
): Uint8Array | undefined {
  for (const memtable of sources.memtables) {
    const ref = memtable.find(key, length, seqno);
    if (ref >= 0) {
      return memtable.kindOf(ref) === EntryKind.put ? memtable.valueOf(ref) : undefined;
    }
  }
  const { runs } = sources.version;
  if (runs.length === 0) return undefined;
  const hash = keyHash(key, length);
  for (const run of runs) {
    const segment = segmentFor(run, key, length);
    if (segment === undefined) continue;
    const ordinal = segment.find(key, length, hash);
    if (ordinal >= 0) {
      return segment.kindAt(ordinal) === EntryKind.put
        ? segment.valueAt(ordinal, key, length)
        : undefined;
    }
  }
  return undefined;
}

/**
 * The value's bytes, which stay as they are as long as the sources are held; or, if it lies in a value
 * log, its chunks, of which none is read yet.
 */
export function findStoredValue(
  sources: ReadSources,
  seqno: number,
  key: Uint8Array,
  length: number,
): Uint8Array | ChunkReader | undefined {
  for (const memtable of sources.memtables) {
    const ref = memtable.find(key, length, seqno);
    if (ref >= 0) {
      return memtable.kindOf(ref) === EntryKind.put ? memtable.valueOf(ref) : undefined;
    }
  }
  for (const run of sources.version.runs) {
    const segment = segmentFor(run, key, length);
    const ordinal = segment?.find(key, length, keyHash(key, length)) ?? -1;
    if (segment === undefined || ordinal < 0) continue;
    if (segment.kindAt(ordinal) !== EntryKind.put) return undefined;
    const value = segment.storedValueAt(ordinal, key, length);
    return value instanceof Uint8Array ? value.slice() : segment.chunksOf(value);
  }
  return undefined;
}

/** Whether the key is there. */
export function hasKey(
  sources: ReadSources,
  seqno: number,
  key: Uint8Array,
  length: number,
): boolean {
  for (const memtable of sources.memtables) {
    const ref = memtable.find(key, length, seqno);
    if (ref >= 0) return memtable.kindOf(ref) === EntryKind.put;
  }
  const { runs } = sources.version;
  if (runs.length === 0) return false;
  const hash = keyHash(key, length);
  for (const run of runs) {
    const segment = segmentFor(run, key, length);
    if (segment === undefined) continue;
    const ordinal = segment.find(key, length, hash);
    if (ordinal >= 0) return segment.kindAt(ordinal) === EntryKind.put;
  }
  return false;
}

/** A cursor over everything, newest entries hiding older ones; tombstones are still in it. */
export function cursorOver({ memtables, version }: ReadSources, seqno: number): Cursor {
  return mergedCursor(memtables, version.runs, seqno);
}

/** A cursor over some memtables and runs, each newest first; all memtables are newer than the runs. */
export function mergedCursor(
  memtables: readonly NewestEntries[],
  runs: readonly (readonly Segment[])[],
  seqno: number,
): Cursor {
  const cursors: Cursor[] = [];
  for (const memtable of memtables) {
    if (memtable.keyCount > 0) cursors.push(memtable.cursor(seqno));
  }
  for (const run of runs) cursors.push(runCursor(run));
  return cursors.length === 1 ? cursors[0] : new MergeCursor(cursors);
}

function runCursor(run: readonly Segment[]): Cursor {
  return run.length === 1 ? run[0].cursor() : new ConcatCursor(run);
}
