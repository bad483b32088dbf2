/**
 * How a merge of runs goes about it: which segments are merged with which, and which are carried
 * over untouched. Pure.
 *
 * Segments whose key ranges overlap, directly or through others, form a unit; units are disjoint
 * and in key order, so each is merged by itself. A unit of one segment that overlaps nothing has
 * nothing to hide and nothing to be hidden by: its file becomes part of the new run as it is.
 * So an update that touches 1% of the key space rewrites what it touches, not everything.
 *
 * Not carried over, though alone: a segment with tombstones that the merge may drop, one with values
 * in a value log that is to be left, and a small
 * one (under a quarter of the target), since runs would crumble into many small files over time.
 * Small loners next to each other, or beside a merged unit, are merged with it.
 */
import { compareBytes } from "../bytes/compare.ts";
import type { Run, SegmentMeta } from "../manifest/version.ts";

/** A segment, and how old its run is: 0 is the newest of the merge. */
export interface PlannedSegment {
  readonly meta: SegmentMeta;
  readonly age: number;
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
}

/** Smaller loners than this share of the target are merged with their neighbours. */
const SMALL_SHARE = 1 / 4;

/** Units in key order. `runs`: newest first. */
export function planCompaction(runs: readonly Run[], options: PlanOptions): Unit[] {
  const units: Unit[] = [];
  for (const group of overlappingGroups(runs)) {
    const only = group.length === 1 ? group[0].meta : undefined;
    if (only !== undefined && isWorthCarrying(only, options)) {
      units.push({ kind: "carry", segment: only });
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
    const { meta } = unit.segments[0];
    return mustRewrite(meta, options) ? unit : { kind: "carry", segment: meta };
  };
}

function mustRewrite(segment: SegmentMeta, options: PlanOptions): boolean {
  return (
    (options.dropTombstones && segment.tombstoneCount > 0) ||
    segment.valueLogs.some(({ fileNumber }) => options.leftLogs.has(fileNumber))
  );
}

function isWorthCarrying(segment: SegmentMeta, options: PlanOptions): boolean {
  if (mustRewrite(segment, options)) return false;
  return segment.fileBytes >= options.segmentBytes * SMALL_SHARE;
}

/** Segments of all runs in order of first key, cut where nothing spans the gap. */
function overlappingGroups(runs: readonly Run[]): PlannedSegment[][] {
  const segments = runs.flatMap((run, age) => run.map((meta) => ({ meta, age })));
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
