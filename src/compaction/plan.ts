/**
 * How a step of a merge goes about it: which segments are merged with which, and which are carried
 * over untouched. Pure.
 *
 * Segments whose key ranges overlap, directly or through others, form a unit; units are disjoint
 * and in key order, so each is merged by itself. A unit of one segment that overlaps nothing has
 * nothing to hide and nothing to be hidden by: its file becomes part of the new run as it is.
 * So an update that touches 1% of the key space rewrites what it touches, not everything.
 *
 * Not carried over, though alone: a segment with tombstones that the merge may drop, one with
 * expired entries that are worth it, one with values in a value log that is to be left, one that a
 * flush left uncoded, and a small one (under a quarter of the target), since runs would crumble into
 * many small files over time. Small loners next to each other, or beside a merged unit, are merged
 * with it.
 *
 * Nothing smaller than a segment is carried over. A leaf block holds 32 keys, counted from the
 * segment's first, so each key that is new moves the bounds of all blocks behind it: of a million
 * names merged with 1% of new ones, 2% of the blocks are as they were if those are scattered and 12%
 * if they come in a hundred places; of four equal runs, none.
 *
 * A segment that a range tombstone of a newer run covers whole is in no unit: it is dropped without
 * being read. One that is covered in part is merged, though alone, so that its space comes back.
 */
import { compareBytes } from "../bytes/compare.ts";
import { endsAfter, Mask, type Spans } from "../cursor/spans.ts";
import type { Run, SegmentMeta } from "../manifest/version.ts";

/** A segment, and how old its run is: 0 is the newest of the merge. */
export interface PlannedSegment {
  readonly meta: SegmentMeta;
  readonly age: number;
  /** Whether range tombstones of newer runs cover a part of it. */
  readonly isCut: boolean;
}

export type Unit =
  | { readonly kind: "carry"; readonly segment: SegmentMeta }
  /** Segments in order of their first keys. */
  | { readonly kind: "merge"; readonly segments: readonly PlannedSegment[] };

export interface PlanOptions {
  readonly dropTombstones: boolean;
  readonly segmentBytes: number;
  /** File numbers of value logs that the merge must leave. */
  readonly leftLogs: ReadonlySet<number>;
  /** File numbers of segments with expired entries that are to go. Default: none. */
  readonly expired?: ReadonlySet<number>;
  /** File numbers of segments that are to be coded. Default: none. */
  readonly uncoded?: ReadonlySet<number>;
  /** Of each run, newest first. Default: none. */
  readonly rangeTombstones?: readonly (Spans | undefined)[];
}

/** Smaller loners than this share of the target are merged with their neighbours. */
const SMALL_SHARE = 1 / 4;

/** Units in key order. `runs`: newest first, without segments of range tombstones. */
export function planCompaction(runs: readonly Run[], options: PlanOptions): Unit[] {
  const units: Unit[] = [];
  for (const group of overlappingGroups(remainingSegments(runs, options.rangeTombstones ?? []))) {
    const only = group.length === 1 ? group[0] : undefined;
    if (only !== undefined && isWorthCarrying(only, options)) {
      units.push({ kind: "carry", segment: only.meta });
      continue;
    }
    const last = units.at(-1);
    if (last?.kind === "merge") {
      units[units.length - 1] = { kind: "merge", segments: [...last.segments, ...group] };
    } else {
      units.push({ kind: "merge", segments: group });
    }
  }
  return units.map(carryIfAlone(options));
}

/** A small loner that found no neighbour to join is carried over all the same: rewriting gains nothing. */
function carryIfAlone(options: PlanOptions): (unit: Unit) => Unit {
  return (unit) => {
    if (unit.kind === "carry" || unit.segments.length > 1) return unit;
    const segment = unit.segments[0];
    return mustRewrite(segment, options) ? unit : { kind: "carry", segment: segment.meta };
  };
}

/** Whether a segment that overlaps no other becomes part of the new run as it is. */
export function isWorthCarrying(segment: PlannedSegment, options: PlanOptions): boolean {
  if (mustRewrite(segment, options)) return false;
  return segment.meta.fileBytes >= options.segmentBytes * SMALL_SHARE;
}

/** Whether something in the segment, or that it refers to, is to go, or it is to be coded. */
function mustRewrite({ meta, isCut }: PlannedSegment, options: PlanOptions): boolean {
  return (
    isCut ||
    (options.dropTombstones && meta.tombstoneCount > 0) ||
    options.expired?.has(meta.fileNumber) === true ||
    options.uncoded?.has(meta.fileNumber) === true ||
    meta.valueLogs.some(({ fileNumber }) => options.leftLogs.has(fileNumber))
  );
}

/** All segments but those that a range tombstone of a newer run covers. */
export function remainingSegments(
  runs: readonly Run[],
  rangeTombstones: readonly (Spans | undefined)[],
): PlannedSegment[] {
  const remaining: PlannedSegment[] = [];
  for (const [age, run] of runs.entries()) {
    const newer = rangeTombstones.slice(0, age).filter((spans) => spans !== undefined);
    const mask = new Mask(newer);
    for (const meta of run) {
      const { firstKey, lastKey } = meta;
      const covering = mask.covering(firstKey, firstKey.length);
      if (covering !== undefined && endsAfter(covering, lastKey, lastKey.length)) continue;
      const next = covering ?? mask.after(firstKey, firstKey.length);
      const isCut = next !== undefined && compareBytes(next.start, lastKey) <= 0;
      remaining.push({ meta, age, isCut });
    }
  }
  return remaining;
}

/** Segments in order of first key, cut where nothing spans the gap. */
export function overlappingGroups(segments: PlannedSegment[]): PlannedSegment[][] {
  segments.sort((a, b) => compareBytes(a.meta.firstKey, b.meta.firstKey) || a.age - b.age);
  const groups: PlannedSegment[][] = [];
  let groupEnd: Uint8Array | undefined;
  for (const segment of segments) {
    const { firstKey, lastKey } = segment.meta;
    const group = groups.at(-1);
    if (group !== undefined && groupEnd !== undefined && compareBytes(firstKey, groupEnd) <= 0) {
      group.push(segment);
      if (compareBytes(lastKey, groupEnd) > 0) groupEnd = lastKey;
    } else {
      groups.push([segment]);
      groupEnd = lastKey;
    }
  }
  return groups;
}
