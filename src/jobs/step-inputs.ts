/**
 * What a flush or a step of a merge is given beside its entries: which segments it reads, what its
 * coders learn from, and where its output is cut.
 *
 * Segments are cut where those of the largest run begin, so that few keys of one segment lie in two
 * of another run, and a step can take few segments (compaction/steps.ts).
 */
import type { Boundaries } from "../compaction/output.ts";
import { type PlanOptions, planCompaction } from "../compaction/plan.ts";
import { mergedSegments } from "../compaction/run.ts";
import type { Step } from "../compaction/steps.ts";
import { type Run, total } from "../manifest/version.ts";
import type { Segment } from "../segment/reader.ts";
import { MIN_SHARE, MIN_SHARE_OLDEST } from "./jobs.ts";

/** Of each run its range tombstones, if the step merges, and what the step takes. */
export function filesOf(step: Step, files: readonly (readonly Segment[])[]): readonly Segment[][] {
  if (step.kind === "split") {
    const { segment, age } = step;
    return [files[age].filter(({ meta }) => meta.fileNumber === segment.fileNumber)];
  }
  const taken = new Set(step.runs.flat().map((meta) => meta.fileNumber));
  return files.map((run) =>
    run.filter(({ meta }) => meta.rangeTombstoneCount > 0 || taken.has(meta.fileNumber)),
  );
}

/** What a merge writes anew: its coders are learnt from that. */
export function samplesOf(files: readonly (readonly Segment[])[], options: PlanOptions): Segment[] {
  const runs = files.map((run) => run.map(({ meta }) => meta).filter((meta) => meta.keyCount > 0));
  const merged = new Set(mergedSegments(planCompaction(runs, options)));
  return files.flat().filter(({ meta }) => merged.has(meta));
}

/** Where what a step writes is cut: a split where it says, the rest where the largest run is. */
export function boundariesOf(
  step: Step,
  runs: readonly Run[],
  isOldest: boolean,
  segmentBytes: number,
): Boundaries {
  if (step.kind === "split") return { keys: step.cuts, minBytes: 0 };
  const minShare = isOldest ? MIN_SHARE_OLDEST : MIN_SHARE;
  return { keys: flushBoundaries(runs), minBytes: segmentBytes * minShare };
}

/** Where what a flush writes is cut: where the run is that it will be merged with in the end. */
export function flushBoundaries(runs: readonly Run[]): Uint8Array[] {
  return firstKeys(largestOf(runs));
}

/** The run with most in its files, which most others will be merged with: it is best cut where that is. */
function largestOf(runs: readonly Run[]): Run {
  let largest: Run = [];
  let most = 0;
  for (const run of runs) {
    const bytes = total(run, "fileBytes");
    if (bytes >= most) [largest, most] = [run, bytes];
  }
  return largest;
}

/** Copies, since a thread that is sent a view is sent all that it is a view of. */
function firstKeys(run: Run): Uint8Array[] {
  return run.filter((meta) => meta.keyCount > 0).map((meta) => meta.firstKey.slice());
}
