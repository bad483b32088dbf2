/**
 * How a merge of runs goes by steps, each of which reads and writes a bounded amount and is
 * installed by itself. Pure.
 *
 * Segments of the merge whose key ranges overlap, directly or through others, form a group. A step
 * takes some groups in key order: what it writes takes the place of their segments in the oldest of
 * the runs, while the newer ones merely lose theirs. No other segment of the merge has a key where
 * the step wrote, and no other run lies between those of the merge, so newer still hides older. The
 * next step begins where this one ended; the last leaves only the oldest run. So a step that was
 * installed is never done again, whatever becomes of the merge.
 *
 *        before              step 1 wrote xy         step 2 wrote z
 *   run i   [a][b ][ c]      run i         [ c]
 *   run j   [ d ][e][f]      run j   [x][y][f]       run j   [x][y][z]
 *
 * A step takes no more than `stepBytes` of segments that are rewritten, unless one segment of each
 * run is more than that. A group that is larger is divided first: a split step writes one of its
 * segments anew as several, in its own run. Where to cut follows from the group: of the first keys
 * of its segments that come before too much, the one where the fewest bytes are to be cut for the
 * most that comes off. One segment of each run always comes off, because the first of them that
 * ends does so before any of those that follow begins. Each split makes more segments of the same
 * keys, so this comes to an end.
 *
 * The range tombstones of a run hide older runs, but not the entries of their own. So those before
 * the step's end move down with the entries, to the oldest run of the merge.
 */
import { compareBytes } from "../bytes/compare.ts";
import { type Run, type SegmentMeta, total } from "../manifest/version.ts";
import {
  isWorthCarrying,
  overlappingGroups,
  type PlannedSegment,
  type PlanOptions,
  remainingSegments,
} from "./plan.ts";

/** Merges what the runs have from where the step before ended up to `end`. */
export interface MergeStep {
  readonly kind: "merge";
  /** Of each run, newest first, the segments that go in. */
  readonly runs: readonly Run[];
  /** All keys of the merge below it have been gone through then; undefined if there are no others. */
  readonly end: Uint8Array | undefined;
  /** Bytes of segments that are rewritten, at most. */
  readonly rewrittenBytes: number;
}

/** Writes a segment anew as several, so that what overlaps it can be merged by parts. */
export interface SplitStep {
  readonly kind: "split";
  readonly segment: SegmentMeta;
  /** Which of the runs has it. */
  readonly age: number;
  /** A new segment begins with the first key at or after each; ascending. */
  readonly cuts: readonly Uint8Array[];
  readonly rewrittenBytes: number;
}

export type Step = MergeStep | SplitStep;

/** What a step wrote. */
export interface StepOutput {
  /** What takes the place of the segments that went in; first, perhaps, range tombstones. */
  readonly run: Run;
  /** The range tombstones that each run but the oldest keeps: a segment or none. Empty: as they are. */
  readonly kept: readonly Run[];
}

export interface StepOptions extends PlanOptions {
  /** Bytes of segments that a step may rewrite. */
  readonly stepBytes: number;
}

/** Unless the user says otherwise, a step rewrites so many times the size at which segments are cut. */
export const STEP_SEGMENTS = 8;

/**
 * The next step of a merge of all the runs, newest first, of which everything below `start` has been
 * gone through.
 */
export function nextStep(
  runs: readonly Run[],
  start: Uint8Array | undefined,
  options: StepOptions,
): Step {
  const ahead = runs.map((run) => run.filter((meta) => isAhead(meta, start)));
  const groups = overlappingGroups(remainingSegments(ahead, options.rangeTombstones ?? []));
  let rewrittenBytes = 0;
  let end: Uint8Array | undefined;
  for (const group of groups) {
    const only = group.length === 1 ? group[0] : undefined;
    if (only !== undefined && isWorthCarrying(only, options)) continue;
    const bytes = sumBytes(group);
    const limit = Math.max(options.stepBytes, oneOfEachRun(group));
    if (bytes > limit && rewrittenBytes === 0) return split(group, limit);
    if (rewrittenBytes > 0 && rewrittenBytes + bytes > options.stepBytes) {
      end = group[0].meta.firstKey;
      break;
    }
    rewrittenBytes += bytes;
  }
  return { kind: "merge", runs: ahead.map((run) => upTo(run, end)), end, rewrittenBytes };
}

/** The runs of the merge as they are once a step has been done. Empty ones are to be left out. */
export function runsAfter(runs: readonly Run[], step: Step, { run, kept }: StepOutput): Run[] {
  if (step.kind === "split") {
    return runs.map((old, age) =>
      age === step.age ? old.flatMap((meta) => (isSame(meta, step.segment) ? run : [meta])) : old,
    );
  }
  const gone = new Set(step.runs.flat().map((meta) => meta.fileNumber));
  const oldest = runs.length - 1;
  return runs.map((old, age) => {
    const keyed = old.filter((meta) => meta.keyCount > 0 && !gone.has(meta.fileNumber));
    if (age < oldest) return [...kept[age], ...keyed];
    return [...run, ...keyed].sort(inRunOrder);
  });
}

/** Range tombstones first, then by keys. */
function inRunOrder(a: SegmentMeta, b: SegmentMeta): number {
  return b.rangeTombstoneCount - a.rangeTombstoneCount || compareBytes(a.firstKey, b.firstKey);
}

function isSame(a: SegmentMeta, b: SegmentMeta): boolean {
  return a.fileNumber === b.fileNumber;
}

/** Whether a step that starts there is to go through the segment. */
export function isAhead(
  { keyCount, firstKey }: SegmentMeta,
  start: Uint8Array | undefined,
): boolean {
  return keyCount > 0 && (start === undefined || compareBytes(firstKey, start) >= 0);
}

function upTo(run: Run, end: Uint8Array | undefined): Run {
  return end === undefined ? run : run.filter((meta) => compareBytes(meta.firstKey, end) < 0);
}

/** Cuts the first segment that keeps the first part of a group from coming off. */
function split(group: readonly PlannedSegment[], limit: number): SplitStep {
  const cuts = cutsOf(group, limit);
  const straddling = group.find(({ meta }) => isCutBy(meta, cuts[0]));
  // A group hangs together: at the first key of any but its first segment another is cut.
  if (straddling === undefined) throw new RangeError("nothing keeps the group together");
  const { meta, age } = straddling;
  const inside = cuts.filter((cut) => isCutBy(meta, cut));
  return { kind: "split", segment: meta, age, cuts: inside, rewrittenBytes: meta.fileBytes };
}

function isCutBy({ firstKey, lastKey }: SegmentMeta, cut: Uint8Array): boolean {
  return compareBytes(firstKey, cut) < 0 && compareBytes(cut, lastKey) <= 0;
}

/** Where to cut a group, at first keys of its segments, so that no part has more bytes than `limit`. */
function cutsOf(group: readonly PlannedSegment[], limit: number): Uint8Array[] {
  const cuts: Uint8Array[] = [];
  /** Of the part after the last cut: its segments so far, and the best place to end it. */
  let part: PlannedSegment[] = [];
  let best:
    | { readonly cut: Uint8Array; readonly price: number; readonly index: number }
    | undefined;
  for (let i = 0; i < group.length; i++) {
    const cut = group[i].meta.firstKey;
    if (part.length > 0 && compareBytes(cut, group[i - 1].meta.firstKey) > 0) {
      const bytes = sumBytes(part);
      if (bytes > limit && best !== undefined) {
        cuts.push(best.cut);
        const from = best.cut;
        part = part.filter(({ meta }) => isCutBy(meta, from));
        i = best.index - 1;
        best = undefined;
        continue;
      }
      const price = sumBytes(part.filter(({ meta }) => isCutBy(meta, cut))) / bytes;
      const isFirst = cuts.length === 0 || compareBytes(cut, cuts[cuts.length - 1]) > 0;
      if (isFirst && (best === undefined || price <= best.price)) best = { cut, price, index: i };
    }
    part.push(group[i]);
  }
  if (best !== undefined && sumBytes(part) > limit) cuts.push(best.cut);
  return cuts;
}

function sumBytes(segments: readonly PlannedSegment[]): number {
  return total(
    segments.map(({ meta }) => meta),
    "fileBytes",
  );
}

/** Bytes of the largest segments of each run. */
function oneOfEachRun(group: readonly PlannedSegment[]): number {
  const largest = new Map<number, number>();
  for (const { meta, age } of group) {
    largest.set(age, Math.max(meta.fileBytes, largest.get(age) ?? 0));
  }
  return [...largest.values()].reduce((total, bytes) => total + bytes, 0);
}
