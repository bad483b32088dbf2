/**
 * Carries out a choice: merges runs into one new run, streaming.
 *
 * 1. The plan (`plan.ts`) parts the inputs into units: segments to carry over, segments to merge; and
 *    says which value logs are left (`value-logs.ts`).
 * 2. A uniform sample of what is merged trains the coders of the new segments once for the whole run.
 * 3. Each unit is merged by a MergeCursor over one ConcatCursor a run; newer hides older. What range
 *    tombstones of newer inputs cover is passed over by seeking (MaskedCursor), and not read.
 * 4. The new run has the range tombstones of all inputs, joined; its entries are newer than they.
 * 5. What has expired is a tombstone. Tombstones of both kinds are dropped where no run older than
 *    the merge exists.
 * 6. RunWriter cuts the output into segments. Nothing is installed here: the caller writes the
 *    manifest, swaps the Version, and only then removes the inputs.
 *
 * Memory is bounded by a block a source, the writer's buffers, and the key index being built.
 */
import { compareBytes } from "../bytes/compare.ts";
import { ConcatCursor } from "../cursor/concat.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { MaskedCursor } from "../cursor/masked.ts";
import { MergeCursor } from "../cursor/merge.ts";
import { eachSpan, Mask, type Span, unionOf } from "../cursor/spans.ts";
import { MAX_SEQNO, type SeqnoRange } from "../entry.ts";
import type { SegmentMeta, ValueLogMeta } from "../manifest/version.ts";
import {
  LONG_MEAN_BYTES,
  type SegmentCoders,
  trainCoders,
  type ValueCompression,
} from "../segment/coders.ts";
import { EntrySample } from "../segment/entry-sample.ts";
import type { RangeTombstones } from "../segment/range-tombstones.ts";
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
  /** What has expired by then is a tombstone. */
  readonly time: number;
  /** Whether what quick coders wrote is written anew, even where there is nothing to merge it with. */
  readonly recodeQuick: boolean;
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
  const { dropTombstones } = job;
  const inputs = inputsOf(job);
  const { units, leftLogs } = planOf(job, inputs);
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
      const { largeValueBytes } = job.output;
      coders ??= trainOn(mergedSegments(units, inputs), { ...job, largeValueBytes });
      const source = sourceOf(unit.segments, inputs, job.time);
      await writer.writeAll(source, coders, dropTombstones, openLogs);
    }
    const deleting = job.runs.flat().filter((segment) => segment.meta.rangeTombstoneCount > 0);
    if (!dropTombstones && deleting.length > 0) {
      await writer.writeRangeTombstones(unionOf(deleting.flatMap(spansOf)), seqnosOf(deleting));
    }
    return await writer.finish();
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

interface Inputs {
  /** Segments with keys, by run, and by file number. */
  readonly runs: readonly (readonly Segment[])[];
  readonly opened: ReadonlyMap<number, Segment>;
  /** Of each run, newest first. */
  readonly rangeTombstones: readonly (RangeTombstones | undefined)[];
}

function inputsOf(job: CompactionJob): Inputs {
  const runs = job.runs.map((run) => run.filter((segment) => segment.meta.keyCount > 0));
  const opened = new Map<number, Segment>();
  for (const segment of runs.flat()) opened.set(segment.meta.fileNumber, segment);
  return { runs, opened, rangeTombstones: job.runs.map((run) => run.at(0)?.rangeTombstones) };
}

function planOf(
  job: CompactionJob,
  inputs: Inputs,
): { readonly units: readonly Unit[]; readonly leftLogs: readonly ValueLogMeta[] } {
  const { valueLogs } = job;
  const runs = inputs.runs.map((run) => run.map((segment) => segment.meta));
  const garbage = garbageLogs(runs, valueLogs, job.maxGarbageShare);
  const leftLogs = new Set(garbage.map((log) => log.fileNumber));
  const clearable = inputs.runs.flat().filter((segment) => isWorthClearing(segment, job));
  const recoded = inputs.runs
    .flat()
    .filter((segment) =>
      job.recodeQuick ? segment.properties.isQuick : isLeftUncoded(segment, job.compression),
    );
  const units = planCompaction(runs, {
    dropTombstones: job.dropTombstones,
    segmentBytes: job.output.segmentBytes,
    leftLogs,
    expired: new Set(clearable.map((segment) => segment.meta.fileNumber)),
    recoded: new Set(recoded.map((segment) => segment.meta.fileNumber)),
    rangeTombstones: inputs.rangeTombstones,
  });
  const merged: SegmentMeta[] = [];
  const carried: SegmentMeta[] = [];
  for (const unit of units) {
    if (unit.kind === "carry") carried.push(unit.segment);
    else merged.push(...unit.segments.map(({ meta }) => meta));
  }
  const small = smallLogs(merged, carried, valueLogs, job.output.segmentBytes);
  return { units, leftLogs: [...garbage, ...small.filter((log) => !leftLogs.has(log.fileNumber))] };
}

/**
 * Share of expired entries from which on a segment is rewritten to make tombstones of them, which
 * frees their values. The least that `countExpired` tells from a single one.
 */
const EXPIRED_SHARE = 1 / 4;

/** Whether a segment that could be carried over is rewritten, for what has expired in it. */
function isWorthClearing(segment: Segment, { dropTombstones, time }: CompactionJob): boolean {
  const expired = segment.countExpired(time);
  if (expired === 0) return false;
  return dropTombstones || expired >= segment.meta.keyCount * EXPIRED_SHARE;
}

/**
 * Whether a flush left the long values of a segment as they are, for a compaction to code. Others
 * that do not shrink may be taken for them: they are written anew once, with coders that know.
 */
function isLeftUncoded({ meta, properties }: Segment, compression: ValueCompression): boolean {
  const { isQuick, keyCount, valueBytes } = properties;
  const logBytes = meta.valueLogs.reduce((total, { bytes }) => total + bytes, 0);
  const areLong = valueBytes - logBytes >= keyCount * LONG_MEAN_BYTES;
  return compression === "auto" && isQuick && areLong && meta.fileBytes >= valueBytes - logBytes;
}

function mergedSegments(units: readonly Unit[], inputs: Inputs): Segment[] {
  return units.flatMap((unit) =>
    unit.kind === "carry" ? [] : unit.segments.map(({ meta }) => segmentOf(meta, inputs)),
  );
}

function segmentOf({ fileNumber }: SegmentMeta, { opened }: Inputs): Segment {
  const segment = opened.get(fileNumber);
  if (segment === undefined) throw new RangeError(`segment ${fileNumber} is not open`);
  return segment;
}

function spansOf({ rangeTombstones }: Segment): Span[] {
  return rangeTombstones === undefined ? [] : [...eachSpan(rangeTombstones)];
}

/** From the first write that any of the segments answers for to the last. */
function seqnosOf(segments: readonly Segment[]): SeqnoRange {
  let firstSeqno = MAX_SEQNO;
  let lastSeqno = 0;
  for (const { properties } of segments) {
    firstSeqno = Math.min(firstSeqno, properties.firstSeqno);
    lastSeqno = Math.max(lastSeqno, properties.lastSeqno);
  }
  return { firstSeqno, lastSeqno };
}

function sourceOf(planned: readonly PlannedSegment[], inputs: Inputs, time: number): Source {
  const runs = new Map<number, Segment[]>();
  const first = planned[0].meta;
  let { lastKey } = first;
  for (const { meta, age } of planned) {
    const segment = segmentOf(meta, inputs);
    const run = runs.get(age);
    if (run === undefined) runs.set(age, [segment]);
    else run.push(segment);
    if (compareBytes(meta.lastKey, lastKey) > 0) lastKey = meta.lastKey;
  }
  const newestFirst = [...runs].sort(([a], [b]) => a - b);
  const cursors = newestFirst.map(([age, run]) => {
    const newer = inputs.rangeTombstones.slice(0, age).filter((each) => each !== undefined);
    const cursor = new ConcatCursor(run, time);
    return newer.length === 0 ? cursor : new MaskedCursor(cursor, new Mask(newer));
  });
  const cursor = cursors.length === 1 ? cursors[0] : new MergeCursor(cursors);
  const seqnos = seqnosOf([...runs.values()].flat());
  return { cursor, seqnos, firstKey: first.firstKey, lastKey };
}

/** Stretches of neighbouring entries in the sample of a small input, and entries in each. */
const SAMPLE_WINDOWS = 1024;
const WINDOW_ENTRIES = 16;
/** Of a large input one entry in so many is looked at, until the sample is full. */
const SAMPLE_STRIDE = 4;
/** Multiplying by the golden ratio scatters evenly however early one stops (TAOCP 3, section 6.4). */
const GOLDEN_RATIO = 0.618_033_988_749_894_8;

export interface TrainingOptions {
  readonly compression: ValueCompression;
  /** Values of this length and more are not coded with the rest. */
  readonly largeValueBytes: number;
  /** What has expired by then is a tombstone. */
  readonly time: number;
}

/** Learns from a uniform sample of all entries. Takes no longer for many than for some. */
export function trainOn(segments: readonly Segment[], options: TrainingOptions): SegmentCoders {
  const keyCount = segments.reduce((total, segment) => total + segment.meta.keyCount, 0);
  const sample = new EntrySample(options.largeValueBytes);
  // A small input is taken about once, not again and again.
  const all = Math.ceil(keyCount / WINDOW_ENTRIES);
  const windows = Math.min(all, Math.max(SAMPLE_WINDOWS, Math.ceil(all / SAMPLE_STRIDE)));
  const cursors = segments.map((segment) => segment.cursor(options.time));
  for (let i = 0; i < windows && !sample.isFull; i++) {
    let ordinal = Math.floor(((i * GOLDEN_RATIO) % 1) * keyCount);
    let at = 0;
    for (; ordinal >= segments[at].meta.keyCount; at++) ordinal -= segments[at].meta.keyCount;
    cursors[at].seekToOrdinal(ordinal);
    sample.takeWindow(cursors[at], WINDOW_ENTRIES);
  }
  for (const cursor of cursors) cursor.close();
  return trainCoders(sample, { keyCount }, { compression: options.compression });
}

/** A cursor over a source without ordinals. */
export interface SampledCursor extends Cursor {
  /** Moves on as `next` does so many times, if that can be done sooner. */
  skip?(count: number): void;
}

/** Samples a source that has no ordinals, in one pass: windows evenly spread over `keyCount`. It blocks the thread. */
export function sampleOf(
  cursor: SampledCursor,
  keyCount: number,
  options: { readonly largeValueBytes: number },
): EntrySample {
  const sample = new EntrySample(options.largeValueBytes);
  const stride = Math.max(WINDOW_ENTRIES, Math.floor(keyCount / SAMPLE_WINDOWS));
  cursor.seekToFirst();
  while (cursor.isValid && !sample.isFull) {
    sample.takeWindow(cursor, WINDOW_ENTRIES);
    const skipped = stride - WINDOW_ENTRIES;
    if (cursor.skip !== undefined) cursor.skip(skipped);
    else for (let i = 0; i < skipped && cursor.isValid; i++) cursor.next();
  }
  return sample;
}
