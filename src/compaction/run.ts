/**
 * Carries out a choice: merges runs into one new run, streaming.
 *
 * 1. The plan (`plan.ts`) parts the inputs into units: segments to carry over, segments to merge; and
 *    says which value logs are left (`value-logs.ts`).
 * 2. A uniform sample of all inputs trains the coders of the new segments once for the whole run.
 * 3. Each unit is merged by a MergeCursor over one ConcatCursor a run; newer hides older.
 * 4. Tombstones are dropped where no run older than the merge exists.
 * 5. RunWriter cuts the output into segments. Nothing is installed here: the caller writes the
 *    manifest, swaps the Version, and only then removes the inputs.
 *
 * Memory is bounded by a block a source, the writer's buffers, and the key index being built.
 */
import { compareBytes } from "../bytes/compare.ts";
import { ConcatCursor } from "../cursor/concat.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { MergeCursor } from "../cursor/merge.ts";
import { MAX_SEQNO } from "../entry.ts";
import type { SegmentMeta, ValueLogMeta } from "../manifest/version.ts";
import { type SegmentCoders, trainCoders, type ValueCompression } from "../segment/coders.ts";
import { EntrySample } from "../segment/entry-sample.ts";
import type { Segment } from "../segment/reader.ts";
import type { ValueLog } from "../segment/value-log.ts";
import { type OutputOptions, type RunOutput, RunWriter, type Source } from "./output.ts";
import { type PlannedSegment, planCompaction, type Unit } from "./plan.ts";
import { garbageLogs, smallLogs } from "./value-logs.ts";

export interface CompactionJob {
  /** The runs to merge, newest first, each with its segments in key order. */
  readonly runs: readonly (readonly Segment[])[];
  /** Whether no older run can hold any of their keys. */
  readonly dropTombstones: boolean;
  readonly compression: ValueCompression;
  readonly output: OutputOptions;
  /** All value logs that the runs refer to, and perhaps others. */
  readonly valueLogs: readonly ValueLogMeta[];
  /** Logs with a greater share of garbage are left, at any cost. */
  readonly maxGarbageShare: number;
  /** Opens a value log to move values out of it. The caller closes it. */
  openValueLog(meta: ValueLogMeta): Promise<ValueLog>;
}

/** The new run: segments that were written and segments carried over. Empty if nothing is left. */
export async function runCompaction(job: CompactionJob): Promise<RunOutput> {
  const opened = new Map<number, Segment>();
  for (const segment of job.runs.flat()) opened.set(segment.meta.fileNumber, segment);
  const { units, leftLogs } = planOf(job);
  const openLogs = new Map<number, ValueLog>();
  for (const meta of leftLogs) openLogs.set(meta.fileNumber, await job.openValueLog(meta));
  const writer = new RunWriter(job.output);
  try {
    let coders: SegmentCoders | undefined;
    for (const unit of units) {
      if (unit.kind === "carry") {
        writer.carry(unit.segment);
        continue;
      }
      coders ??= trainOn(job);
      const source = sourceOf(unit.segments, opened);
      await writer.writeAll(source, coders, job.dropTombstones, openLogs);
    }
    return await writer.finish();
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

function planOf(job: CompactionJob): {
  readonly units: readonly Unit[];
  readonly leftLogs: readonly ValueLogMeta[];
} {
  const { dropTombstones, valueLogs } = job;
  const { segmentBytes } = job.output;
  const runs = job.runs.map((run) => run.map((segment) => segment.meta));
  const garbage = garbageLogs(runs, valueLogs, job.maxGarbageShare);
  const leftLogs = new Set(garbage.map((log) => log.fileNumber));
  const units = planCompaction(runs, { dropTombstones, segmentBytes, leftLogs });
  const merged: SegmentMeta[] = [];
  const carried: SegmentMeta[] = [];
  for (const unit of units) {
    if (unit.kind === "carry") carried.push(unit.segment);
    else merged.push(...unit.segments.map(({ meta }) => meta));
  }
  const small = smallLogs(merged, carried, valueLogs, segmentBytes);
  return { units, leftLogs: [...garbage, ...small.filter((log) => !leftLogs.has(log.fileNumber))] };
}

function sourceOf(planned: readonly PlannedSegment[], opened: Map<number, Segment>): Source {
  const runs = new Map<number, Segment[]>();
  const first = planned[0].meta;
  let { lastKey } = first;
  let firstSeqno = MAX_SEQNO;
  let lastSeqno = 0;
  for (const { meta, age } of planned) {
    const segment = opened.get(meta.fileNumber);
    if (segment === undefined) throw new RangeError(`segment ${meta.fileNumber} is not open`);
    const run = runs.get(age);
    if (run === undefined) runs.set(age, [segment]);
    else run.push(segment);
    if (compareBytes(meta.lastKey, lastKey) > 0) lastKey = meta.lastKey;
    firstSeqno = Math.min(firstSeqno, segment.properties.firstSeqno);
    lastSeqno = Math.max(lastSeqno, segment.properties.lastSeqno);
  }
  const newestFirst = [...runs].sort(([a], [b]) => a - b);
  const cursors = newestFirst.map(([, run]) => new ConcatCursor(run));
  const cursor = cursors.length === 1 ? cursors[0] : new MergeCursor(cursors);
  return { cursor, seqnos: { firstSeqno, lastSeqno }, firstKey: first.firstKey, lastKey };
}

/** Stretches of neighbouring entries in the sample, and entries in each. */
const SAMPLE_WINDOWS = 1024;
const WINDOW_ENTRIES = 16;
/** Multiplying by the golden ratio scatters evenly however early one stops (TAOCP 3, section 6.4). */
const GOLDEN_RATIO = 0.618_033_988_749_894_8;

function trainOn(job: CompactionJob): SegmentCoders {
  const segments = job.runs.flat();
  const keyCount = segments.reduce((total, segment) => total + segment.meta.keyCount, 0);
  const sample = new EntrySample(job.output.largeValueBytes);
  // A small input is taken about once, not again and again.
  const windows = Math.min(SAMPLE_WINDOWS, Math.ceil(keyCount / WINDOW_ENTRIES));
  for (let i = 0; i < windows && !sample.isFull; i++) {
    let ordinal = Math.floor(((i * GOLDEN_RATIO) % 1) * keyCount);
    for (const segment of segments) {
      if (ordinal < segment.meta.keyCount) {
        const cursor = segment.cursor();
        cursor.seekToOrdinal(ordinal);
        sample.takeWindow(cursor, WINDOW_ENTRIES);
        break;
      }
      ordinal -= segment.meta.keyCount;
    }
  }
  return trainCoders(sample, { keyCount }, { compression: job.compression });
}

/** Learns from a source that has no ordinals, in one pass: windows evenly spread over `keyCount`. */
export function trainOnCursor(
  cursor: Cursor,
  keyCount: number,
  options: { readonly compression: ValueCompression; readonly largeValueBytes: number },
): SegmentCoders {
  const sample = new EntrySample(options.largeValueBytes);
  const stride = Math.max(WINDOW_ENTRIES, Math.floor(keyCount / SAMPLE_WINDOWS));
  cursor.seekToFirst();
  while (cursor.isValid && !sample.isFull) {
    sample.takeWindow(cursor, WINDOW_ENTRIES);
    for (let i = WINDOW_ENTRIES; i < stride && cursor.isValid; i++) cursor.next();
  }
  return trainCoders(sample, { keyCount }, options);
}
