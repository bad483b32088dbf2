/**
 * Which value logs a merge of runs leaves: it moves what their entries refer to into new logs, so that
 * the old ones can be removed. Pure.
 *
 * All that refers to a log is in one run, so the runs of a merge tell how much of it is garbage. Two
 * kinds are left:
 *
 * 1. logs that are mostly garbage, whatever it costs: their segments are not carried over;
 * 2. small logs that the merge can leave without rewriting a segment for it, if there are several,
 *    since each is a file that is open.
 *
 * Moving values out of a log that is half garbage writes as many bytes as it frees, so values cost
 * at most twice their space, and are written about once more for each time they have to move.
 */
import { type Run, type SegmentMeta, usesOf, type ValueLogMeta } from "../manifest/version.ts";

/** Logs with less in use than this share of a segment's target size are small. */
const SMALL_SHARE = 1 / 4;

/** Of the logs that the runs refer to, those of which more than `maxGarbageShare` is garbage. */
export function garbageLogs(
  runs: readonly Run[],
  valueLogs: readonly ValueLogMeta[],
  maxGarbageShare: number,
): ValueLogMeta[] {
  const used = usesOf(runs);
  return valueLogs.filter(({ fileNumber, fileBytes }) => {
    const bytes = used.get(fileNumber);
    return bytes !== undefined && bytes < fileBytes * (1 - maxGarbageShare);
  });
}

/** Small logs to which none but segments in `merged` refer; none if there is only one. */
export function smallLogs(
  merged: readonly SegmentMeta[],
  carried: readonly SegmentMeta[],
  valueLogs: readonly ValueLogMeta[],
  segmentBytes: number,
): ValueLogMeta[] {
  const kept = usesOf([carried]);
  const used = usesOf([merged]);
  const small = valueLogs.filter(({ fileNumber }) => {
    const bytes = used.get(fileNumber);
    return bytes !== undefined && bytes < segmentBytes * SMALL_SHARE && !kept.has(fileNumber);
  });
  return small.length > 1 ? small : [];
}
