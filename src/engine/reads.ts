/**
 * Reads at a moment: point lookups, cursors and counts over memtables and runs.
 *
 * A moment is a `Sources` and a sequence number: writes above the number are not seen. Both the
 * database (now) and a snapshot (then) read through here. A point lookup goes through the sources
 * newest first, and the first that knows the key, as a put or as a tombstone, decides.
 */
import { compareBytes } from "../bytes/compare.ts";
import { ConcatCursor, firstPartEndingAt } from "../cursor/concat.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { MergeCursor } from "../cursor/merge.ts";
import { EntryKind } from "../entry.ts";
import { keyHash } from "../segment/filter.ts";
import type { Segment } from "../segment/reader.ts";
import type { Memtable } from "./memtable.ts";
import { type Bound, type Bounds, isEmptyRange, isWithinUpper, seekToLower } from "./range.ts";
import { type Sources, segmentFor } from "./sources.ts";

/** A view of the value's bytes, valid until the next read; undefined where the key is absent. */
export function findValue(
  sources: Sources,
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

/** Whether the key is there. */
export function hasKey(sources: Sources, seqno: number, key: Uint8Array, length: number): boolean {
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
export function cursorOver({ memtables, version }: Sources, seqno: number): Cursor {
  return mergedCursor(memtables, version.runs, seqno);
}

function mergedCursor(
  memtables: readonly Memtable[],
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

/**
 * Exact number of keys within the bounds.
 *
 * The oldest run counts by ordinals, in O(key length): it is the largest, and its keys are there
 * unless something newer says otherwise. What is newer is walked: a put of a key the oldest run
 * lacks adds one, a tombstone of a key it has takes one away. So with one run and an empty memtable
 * a count is immediate, and otherwise it costs what the newer sources hold in the range.
 */
export function countWithin(sources: Sources, seqno: number, bounds: Bounds): number {
  if (isEmptyRange(bounds)) return 0;
  const { runs } = sources.version;
  const base = runs.at(-1);
  let count = base === undefined ? 0 : countRun(base, bounds);
  const cursor = mergedCursor(sources.memtables, runs.slice(0, -1), seqno);
  for (
    seekToLower(cursor, bounds.lower);
    cursor.isValid && isWithinUpper(cursor, bounds.upper);
    cursor.next()
  ) {
    const isInBase = base !== undefined && isPutIn(base, cursor.key, cursor.keyLength);
    const isPut = cursor.kind === EntryKind.put;
    if (isPut && !isInBase) count++;
    else if (!isPut && isInBase) count--;
  }
  return count;
}

function isPutIn(run: readonly Segment[], key: Uint8Array, length: number): boolean {
  const segment = segmentFor(run, key, length);
  if (segment === undefined) return false;
  const ordinal = segment.find(key, length);
  return ordinal >= 0 && segment.kindAt(ordinal) === EntryKind.put;
}

/** Puts of a run within the bounds, by ordinals. */
function countRun(run: readonly Segment[], { lower, upper }: Bounds): number {
  return (
    (upper === undefined ? putsBefore(run, run.length, undefined) : putsUpTo(run, upper, false)) -
    (lower === undefined ? 0 : putsUpTo(run, lower, true))
  );
}

/** Puts that sort before a bound; a key equal to it counts where the bound does not hold it off. */
function putsUpTo(run: readonly Segment[], bound: Bound, isLower: boolean): number {
  const { key, isInclusive } = bound;
  const index = firstPartEndingAt(run, key, key.length);
  const countsEqual = isLower ? !isInclusive : isInclusive;
  return putsBefore(run, index, (segment) => {
    if (compareBytes(segment.firstKey, key) > 0) return 0;
    const rank = segment.rank(key, key.length);
    const isEqual = countsEqual && segment.find(key, key.length) >= 0;
    return isEqual ? rank + 1 : rank;
  });
}

/** Puts of the first `index` segments, and those below an ordinal of the next one. */
function putsBefore(
  run: readonly Segment[],
  index: number,
  ordinalIn: ((segment: Segment) => number) | undefined,
): number {
  let count = 0;
  for (let i = 0; i < index; i++) count += run[i].meta.keyCount - run[i].meta.tombstoneCount;
  if (ordinalIn !== undefined && index < run.length) {
    const ordinal = ordinalIn(run[index]);
    count += ordinal - run[index].tombstonesBefore(ordinal);
  }
  return count;
}
