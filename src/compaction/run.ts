/**
 * Carries out a step of a merge (steps.ts): merges parts of neighbouring runs into a part of the
 * oldest of them, or splits a segment; streaming.
 *
 * 1. The plan (`plan.ts`) parts the inputs into units: segments to carry over, segments to merge; and
 *    says which value logs are left (`value-logs.ts`).
 * 2. The coders of the new segments were learnt from a uniform sample of the whole merge, or of one
 *    before it.
 * 3. Each unit is merged by a MergeCursor over one ConcatCursor a run; newer hides older. What range
 *    tombstones of newer inputs cover is passed over by seeking (MaskedCursor), and not read.
 * 4. The oldest run gets the range tombstones of the others, up to where the step ends: its entries
 *    are newer than they. The others keep those beyond.
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
import { clip, eachSpan, Mask, type Span, unionOf } from "../cursor/spans.ts";
import { MAX_SEQNO, type SeqnoRange } from "../entry.ts";
import { type Run, type SegmentMeta, usesOf, type ValueLogMeta } from "../manifest/version.ts";
import type { Pieces } from "../pieces.ts";
import type { Samples } from "../segment/coder-memory.ts";
import { learnCoders, type SegmentCoders, type ValueCompression } from "../segment/coders.ts";
import { EntrySample } from "../segment/entry-sample.ts";
import type { RangeTombstones } from "../segment/range-tombstones.ts";
import type { Segment } from "../segment/reader.ts";
import type { ValueLog } from "../segment/value-log.ts";
import { type OutputOptions, type RunOutput, RunWriter, type Source } from "./output.ts";
import { type PlannedSegment, type PlanOptions, planCompaction, type Unit } from "./plan.ts";
import type { StepOutput } from "./steps.ts";
import { garbageLogs, smallLogs, type UsedLog } from "./value-logs.ts";

export interface CompactionJob {
  /**
   * The runs of the merge, newest first: of each the segments to merge, in key order, and before
   * them all its range tombstones.
   */
  readonly runs: readonly (readonly Segment[])[];
  /** Where the step ends: keys from there on are not touched. Default: it is the last. */
  readonly end?: Uint8Array | undefined;
  /** Whether no older run can hold any of their keys. */
  readonly dropTombstones: boolean;
  /** What has expired by then is a tombstone. */
  readonly time: number;
  readonly output: OutputOptions;
  /** The value logs that none but the merged runs refer to. */
  readonly valueLogs: readonly UsedLog[];
  /** Logs with a greater share of garbage are left, at any cost. */
  readonly maxGarbageShare: number;
  /** Opens a value log to move values out of it. The caller closes it. */
  openValueLog(meta: ValueLogMeta): Promise<ValueLog>;
  /** The coders of the merge. */
  coders(): Promise<SegmentCoders>;
}

/** What a step of a merge wrote. */
export interface CompactionOutput extends RunOutput, StepOutput {}

/**
 * What is new in the oldest run: segments that were written and segments carried over, none if
 * nothing is left; and which range tombstones the others keep.
 */
export async function runCompaction(job: CompactionJob): Promise<CompactionOutput> {
  const { dropTombstones } = job;
  const inputs = inputsOf(job);
  const { units, leftLogs } = planOf(job, inputs);
  const openLogs = new Map<number, ValueLog>();
  for (const meta of leftLogs) openLogs.set(meta.fileNumber, await job.openValueLog(meta));
  const writer = new RunWriter(job.output);
  try {
    for (const unit of units) {
      if (unit.kind === "carry") {
        writer.carry(unit.segment);
        continue;
      }
      const source = sourceOf(unit.segments, inputs, job.time);
      await writer.writeAll(source, await job.coders(), dropTombstones, openLogs);
    }
    if (!dropTombstones) await sinkRangeTombstones(job, writer);
    const kept = await keepRangeTombstones(job, writer);
    return { ...(await writer.finish()), kept };
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

export interface SplitJob extends Pick<CompactionJob, "time" | "coders"> {
  readonly segment: Segment;
  /** Its boundaries are where to cut. */
  readonly output: OutputOptions;
}

/** Writes a segment anew as several. */
export async function splitSegment(job: SplitJob): Promise<CompactionOutput> {
  const { segment, time } = job;
  const { firstKey, lastKey } = segment.meta;
  const writer = new RunWriter(job.output);
  try {
    const cursor = segment.cursor(time);
    const source = { cursor, seqnos: seqnosOf([segment]), firstKey, lastKey };
    await writer.writeAll(source, await job.coders(), false);
    cursor.close();
    return { ...(await writer.finish()), kept: [] };
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

/** Gives the oldest run the range tombstones of the newer ones, up to the end of the step. */
async function sinkRangeTombstones(job: CompactionJob, writer: RunWriter): Promise<void> {
  const own = job.runs.at(-1)?.find(hasRangeTombstones);
  const sinking = job.runs
    .slice(0, -1)
    .flatMap((run) => run.filter(hasRangeTombstones))
    .map((segment) => ({ segment, spans: clip(spansOf(segment), undefined, job.end) }))
    .filter(({ spans }) => spans.length > 0);
  if (sinking.length === 0) {
    if (own !== undefined) writer.carryRangeTombstones(own.meta);
    return;
  }
  const spans = sinking.flatMap((part) => part.spans);
  const segments = sinking.map(({ segment }) => segment);
  if (own === undefined) await writer.writeRangeTombstones(unionOf(spans), seqnosOf(segments));
  else {
    const all = unionOf([...spansOf(own), ...spans]);
    await writer.writeRangeTombstones(all, seqnosOf([own, ...segments]));
  }
}

/** The range tombstones of each run but the oldest from the end of the step on. */
async function keepRangeTombstones(job: CompactionJob, writer: RunWriter): Promise<Run[]> {
  const { runs, end } = job;
  const kept: Run[] = [];
  for (const run of runs.slice(0, -1)) {
    const segment = run.find(hasRangeTombstones);
    const spans =
      segment === undefined || end === undefined ? [] : clip(spansOf(segment), end, undefined);
    if (segment === undefined || spans.length === 0) kept.push([]);
    else if (compareBytes(spans[0].start, spansOf(segment)[0].start) === 0)
      kept.push([segment.meta]);
    else kept.push([await writer.writeAside(spans, seqnosOf([segment]))]);
  }
  return kept;
}

function hasRangeTombstones({ meta }: Segment): boolean {
  return meta.rangeTombstoneCount > 0;
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
  const options = planOptionsOf(job.runs, job, job.output.segmentBytes);
  const units = planCompaction(runs, options);
  const merged = mergedSegments(units);
  const uses = usesOf([merged]);
  const garbage = valueLogs.filter(
    ({ fileNumber }) => options.leftLogs.has(fileNumber) && uses.has(fileNumber),
  );
  const small = smallLogs(merged, valueLogs, job.output.segmentBytes);
  const others = small.filter((log) => !options.leftLogs.has(log.fileNumber));
  return { units, leftLogs: [...garbage, ...others] };
}

/** What of the runs is to be written anew, even where nothing overlaps it. */
export function planOptionsOf(
  runs: readonly (readonly Segment[])[],
  job: Pick<CompactionJob, "dropTombstones" | "time" | "valueLogs" | "maxGarbageShare">,
  segmentBytes: number,
): PlanOptions {
  const keyed = runs.flat().filter((segment) => segment.meta.keyCount > 0);
  const garbage = garbageLogs(job.valueLogs, job.maxGarbageShare);
  const clearable = keyed.filter((segment) => isWorthClearing(segment, job));
  const uncoded = keyed.filter((segment) => segment.properties.isUncoded);
  return {
    dropTombstones: job.dropTombstones,
    segmentBytes,
    leftLogs: new Set(garbage.map((log) => log.fileNumber)),
    expired: new Set(clearable.map((segment) => segment.meta.fileNumber)),
    uncoded: new Set(uncoded.map((segment) => segment.meta.fileNumber)),
    rangeTombstones: runs.map((run) => run.at(0)?.rangeTombstones),
  };
}

/**
 * Share of expired entries from which on a segment is rewritten to make tombstones of them, which
 * frees their values. The least that `countExpired` tells from a single one.
 */
const EXPIRED_SHARE = 1 / 4;

/** Whether a segment that could be carried over is rewritten, for what has expired in it. */
function isWorthClearing(
  segment: Segment,
  { dropTombstones, time }: Pick<CompactionJob, "dropTombstones" | "time">,
): boolean {
  const expired = segment.countExpired(time);
  if (expired === 0) return false;
  return dropTombstones || expired >= segment.meta.keyCount * EXPIRED_SHARE;
}

/** The segments that a plan does not carry over. */
export function mergedSegments(units: readonly Unit[]): SegmentMeta[] {
  return units.flatMap((unit) =>
    unit.kind === "carry" ? [] : unit.segments.map(({ meta }) => meta),
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
export function seqnosOf(segments: readonly Segment[]): SeqnoRange {
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
/** Stretches that show how well coders do. */
const FEW_WINDOWS = 512;
/** Stretches that are taken in about a millisecond. */
const PIECE_WINDOWS = 64;
/** Entries that are gone through in as long, if all are taken. */
const PIECE_ENTRIES: number = PIECE_WINDOWS * WINDOW_ENTRIES;
/** Multiplying by the golden ratio scatters evenly however early one stops (TAOCP 3, section 6.4). */
const GOLDEN_RATIO = 0.618_033_988_749_894_8;

export interface SamplingOptions {
  /** Values of this length and more are not coded with the rest. */
  readonly largeValueBytes: number;
  /** What has expired by then is a tombstone. */
  readonly time: number;
}

export interface TrainingOptions extends SamplingOptions {
  readonly compression: ValueCompression;
}

/** Learns from a uniform sample of all entries. Takes no longer for many than for some. */
export function* learnFrom(
  inputs: readonly Segment[],
  options: TrainingOptions,
): Pieces<SegmentCoders> {
  const samples = samplesOfSegments(inputs, options);
  const { compression } = options;
  return yield* learnCoders(yield* samples.many(), samples, { compression });
}

/** Uniform samples of all entries, as large for many as for some. */
export function samplesOfSegments(inputs: readonly Segment[], options: SamplingOptions): Samples {
  const segments = inputs.filter((segment) => segment.meta.keyCount > 0);
  const keyCount = segments.reduce((total, segment) => total + segment.meta.keyCount, 0);
  // A small input is taken about once, not again and again.
  const all = Math.ceil(keyCount / WINDOW_ENTRIES);
  const manyWindows = Math.min(all, Math.max(SAMPLE_WINDOWS, Math.ceil(all / SAMPLE_STRIDE)));
  const take = function* (first: number, windows: number): Pieces<EntrySample> {
    const sample = new EntrySample(options.largeValueBytes);
    const cursors = segments.map((segment) => segment.cursor(options.time));
    for (let i = first; i < first + windows && !sample.isFull; i++) {
      let ordinal = Math.floor(((i * GOLDEN_RATIO) % 1) * keyCount);
      let at = 0;
      for (; ordinal >= segments[at].meta.keyCount; at++) ordinal -= segments[at].meta.keyCount;
      cursors[at].seekToOrdinal(ordinal);
      sample.takeWindow(cursors[at], WINDOW_ENTRIES);
      if (i % PIECE_WINDOWS === 0) yield;
    }
    for (const cursor of cursors) cursor.close();
    return sample;
  };
  return {
    keyCount,
    few: () => take(manyWindows, Math.min(all, FEW_WINDOWS)),
    many: () => take(0, manyWindows),
  };
}

/** A sample of a source without ordinals, of `keyCount` entries: windows evenly spread, in one pass. */
export function* sampleOf(
  cursor: Cursor,
  keyCount: number,
  { largeValueBytes }: Pick<SamplingOptions, "largeValueBytes">,
): Pieces<EntrySample> {
  const sample = new EntrySample(largeValueBytes);
  const stride = Math.max(WINDOW_ENTRIES, Math.floor(keyCount / SAMPLE_WINDOWS));
  let passed = 0;
  cursor.seekToFirst();
  while (cursor.isValid && !sample.isFull) {
    sample.takeWindow(cursor, WINDOW_ENTRIES);
    for (let i = WINDOW_ENTRIES; i < stride && cursor.isValid; i++) cursor.next();
    passed += stride;
    if (passed < PIECE_ENTRIES) continue;
    passed = 0;
    yield;
  }
  return sample;
}
