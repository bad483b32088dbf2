/**
 * Which value logs a merge of runs leaves: it moves what their entries refer to into new logs, so
 * that the old ones can be removed. Pure.
 *
 * All that refers to a log is in one run, so the runs of a merge tell how much of it is garbage. Two
 * kinds are left:
 *
 * 1. logs that are mostly garbage, whatever it costs: their segments are not carried over;
 * 2. small logs that the merge can leave without rewriting a segment for it, if there are several,
 *    since each is a file that is open.
 *
 * Moving values out of a log that is half garbage writes as many bytes as it frees. So it pays for
 * itself, and values take about twice their space at most.
 */
import { type Run, type SegmentMeta, usesOf, type ValueLogMeta } from "../manifest/version.ts";
import { HEADER_BYTES } from "../segment/format.ts";

/** What share of a value log may be garbage before a compaction clears it, and before `compact` does. */
export const MAX_GARBAGE_SHARE: number = 1 / 2;
export const MAX_GARBAGE_SHARE_MANUAL: number = 1 / 10;

/**
 * Logs with less in use than this share of their target size are small. A quarter wrote values of 6
 * kB 0.8 times more where memtables had an eighth of the target.
 */
const SMALL_SHARE = 1 / 16;

/** Of the logs that the runs refer to, those of which more than `maxGarbageShare` is garbage. */
export function garbageLogs(
  runs: readonly Run[],
  valueLogs: readonly ValueLogMeta[],
  maxGarbageShare: number,
): ValueLogMeta[] {
  const used = usesOf(runs);
  return valueLogs.filter(({ fileNumber, fileBytes }) => {
    const bytes = used.get(fileNumber);
    return bytes !== undefined && bytes < (fileBytes - HEADER_BYTES) * (1 - maxGarbageShare);
  });
}

/**
 * Bytes that clearing the logs of a run that are mostly garbage frees, less those that it writes:
 * what they have in use, and the segments that use them. Negative where it is not worth it; 0 if
 * there are no such logs.
 */
export function clearingGain(run: Run, valueLogs: readonly ValueLogMeta[]): number {
  const logs = garbageLogs([run], valueLogs, MAX_GARBAGE_SHARE);
  if (logs.length === 0) return 0;
  const used = usesOf([run]);
  const left = new Set(logs.map((log) => log.fileNumber));
  let gain = 0;
  for (const { fileNumber, fileBytes } of logs) gain += fileBytes - 2 * (used.get(fileNumber) ?? 0);
  for (const segment of run) {
    if (segment.valueLogs.some(({ fileNumber }) => left.has(fileNumber))) gain -= segment.fileBytes;
  }
  return gain;
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
