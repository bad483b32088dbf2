/**
 * Which value logs a merge of runs leaves: it moves what their entries refer to into new logs, so
 * that the old ones can be removed. Pure.
 *
 * How much of a log is garbage follows from what all segments of the Version use of it. Two kinds are
 * left, of those that no run but the merged ones refers to:
 *
 * 1. logs that are mostly garbage, whatever it costs: their segments are not carried over;
 * 2. small logs that a step of the merge can leave without rewriting a segment for it, if there are
 *    several, since each is a file that is open.
 *
 * Moving values out of a log that is half garbage writes as many bytes as it frees. So it pays for
 * itself, and values take about twice their space at most.
 */
import {
  type Run,
  type SegmentMeta,
  usesOf,
  type ValueLogMeta,
  type Version,
} from "../manifest/version.ts";
import { HEADER_BYTES } from "../segment/format.ts";

/** What share of a value log may be garbage before a compaction clears it, and before `compact` does. */
export const MAX_GARBAGE_SHARE: number = 1 / 2;
export const MAX_GARBAGE_SHARE_MANUAL: number = 1 / 10;

/**
 * Logs with less in use than this share of their target size are small. A quarter wrote values of 6
 * kB 0.8 times more where memtables had an eighth of the target.
 */
const SMALL_SHARE = 1 / 16;

/** A value log, and how much of it is in use. */
export interface UsedLog extends ValueLogMeta {
  readonly usedBytes: number;
}

/** The logs that some runs of a Version refer to, and no others. */
export function logsOf(runs: readonly Run[], version: Version): UsedLog[] {
  const uses = usesOf(runs);
  const others = usesOf(version.runs.filter((run) => !runs.includes(run)));
  return version.valueLogs.flatMap((log) => {
    const usedBytes = uses.get(log.fileNumber);
    return usedBytes === undefined || others.has(log.fileNumber) ? [] : [{ ...log, usedBytes }];
  });
}

/** Those of which more than `maxGarbageShare` is garbage. */
export function garbageLogs(logs: readonly UsedLog[], maxGarbageShare: number): UsedLog[] {
  return logs.filter(
    ({ fileBytes, usedBytes }) => usedBytes < (fileBytes - HEADER_BYTES) * (1 - maxGarbageShare),
  );
}

/**
 * Bytes that clearing the logs of a run that are mostly garbage frees, less those that it writes:
 * what they have in use, and the segments that use them. Negative where it is not worth it; 0 if
 * there are no such logs.
 */
export function clearingGain(run: Run, version: Version): number {
  if (version.valueLogs.length === 0) return 0;
  const logs = garbageLogs(logsOf([run], version), MAX_GARBAGE_SHARE);
  if (logs.length === 0) return 0;
  const left = new Set(logs.map((log) => log.fileNumber));
  let gain = 0;
  for (const { fileBytes, usedBytes } of logs) gain += fileBytes - 2 * usedBytes;
  for (const segment of run) {
    if (segment.valueLogs.some(({ fileNumber }) => left.has(fileNumber))) gain -= segment.fileBytes;
  }
  return gain;
}

/** Small logs to which none but segments in `merged` refer; none if there is only one. */
export function smallLogs(
  merged: readonly SegmentMeta[],
  logs: readonly UsedLog[],
  segmentBytes: number,
): UsedLog[] {
  const uses = usesOf([merged]);
  const small = logs.filter(({ fileNumber, usedBytes }) => {
    return usedBytes < segmentBytes * SMALL_SHARE && uses.get(fileNumber) === usedBytes;
  });
  return small.length > 1 ? small : [];
}
