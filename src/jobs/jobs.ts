/**
 * The work of a flush and of a compaction, wherever it runs: sources in, the segments of a new run
 * and their value logs out. Nothing is installed here.
 *
 * `JobRunner` is how the background asks for it. `InlineRunner` does it on the calling thread,
 * giving way to other work in between; `WorkerRunner` (worker-runner.ts) hands it to a worker
 * thread, which calls the same two functions. Both write the same.
 */
import { setImmediate } from "node:timers/promises";
import {
  type Boundaries,
  type OutputOptions,
  type RunOutput,
  RunWriter,
} from "../compaction/output.ts";
import {
  type CompactionOutput,
  runCompaction,
  samplesOfSegments,
  splitSegment,
} from "../compaction/run.ts";
import type { Step } from "../compaction/steps.ts";
import type { UsedLog } from "../compaction/value-logs.ts";
import { eachSpan } from "../cursor/spans.ts";
import { MAX_SEQNO } from "../entry.ts";
import { ClosedError } from "../errors.ts";
import { type FileSystem, joinPath } from "../io/file-system.ts";
import type { FileNumbers } from "../manifest/file-numbers.ts";
import { segmentFileName, valueLogFileName } from "../manifest/files.ts";
import type { Run, ValueLogMeta } from "../manifest/version.ts";
import type { Memtable } from "../memtable/memtable.ts";
import type { Samples } from "../segment/coder-memory.ts";
import { type SegmentCoders, UNCODED, type ValueCompression } from "../segment/coders.ts";
import type { Segment } from "../segment/reader.ts";
import type { SharedSections } from "../segment/resident-sections.ts";
import { ValueLog } from "../segment/value-log.ts";
import { ValueLogWriter } from "../segment/value-log-writer.ts";
import { SegmentWriter } from "../segment/writer.ts";
import type { JobControl } from "./job-control.ts";
import type { MergeCoders } from "./merge-coders.ts";

/** What a job needs besides its sources. */
export interface JobContext {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly databaseId: Uint8Array;
  readonly fileNumbers: FileNumbers;
  readonly segmentBytes: number;
  readonly largeValueBytes: number;
  readonly compression: ValueCompression;
  /** What merges learnt. */
  readonly mergeCoders: MergeCoders;
}

/** What a flush is to do, besides the memtable that it writes. */
export interface FlushTask {
  /** Whether no run can hold any of its keys. */
  readonly dropTombstones: boolean;
  /** What has expired by then is a tombstone. */
  readonly time: number;
  /** Where segments are best cut: first keys of those of the largest run. */
  readonly boundaries: readonly Uint8Array[];
}

/** What a step of a compaction is to do, besides the runs that it merges. */
export interface CompactionTask {
  /** Of the merge that the step is of: no other has it while the database is open. */
  readonly mergeId: number;
  /** Whether the one segment there is is written anew as several, or what there is merged. */
  readonly kind: Step["kind"];
  /** Where the step ends; undefined if it is the last. */
  readonly end: Uint8Array | undefined;
  readonly boundaries: Boundaries;
  /** What has expired by then is a tombstone. */
  readonly time: number;
  /** Whether no run older than those merged can hold any of their keys. */
  readonly dropTombstones: boolean;
  /** The value logs that none but the runs of the merge refer to. */
  readonly valueLogs: readonly UsedLog[];
  /** Value logs with a greater share of garbage are left, at any cost. */
  readonly maxGarbageShare: number;
}

/** What a job wrote, and what of it another thread has read and checked already. */
export interface JobOutput extends RunOutput {
  /** Of a compaction: what else the runs have then. */
  readonly kept?: readonly Run[];
  /** By file number; of some of the segments that were written, or none. */
  readonly sections?: ReadonlyMap<number, SharedSections>;
}

/** What a step of a compaction reads. */
export interface StepInputs {
  /** Newest first: of each run what the step takes, after all its range tombstones. */
  readonly runs: readonly (readonly Segment[])[];
  /** The segments of the whole merge from which its coders are learnt, unless they have been. */
  readonly samples: readonly Segment[];
}

/** Runs jobs, one flush and one compaction at a time. A failed job, or a cancelled one, leaves no files. */
export interface JobRunner {
  /** Whether jobs take none of the calling thread's time. */
  readonly isApart: boolean;
  /** The run of a sealed memtable. Empty if it has nothing to write. */
  flush(memtable: Memtable, task: FlushTask, control: JobControl): Promise<JobOutput>;
  /** A step of a merge (compaction/steps.ts). */
  compact(inputs: StepInputs, task: CompactionTask, control: JobControl): Promise<JobOutput>;
  /** Whether a job would begin at once; else it takes time, and memory that stays until `close`. */
  readonly isReady: boolean;
  /** Is told that a memtable has begun to fill: who needs time to be ready for a job takes it now. */
  prepare(): void;
  /** No job is running, and none follows soon. */
  close(): Promise<void>;
}

/**
 * Share of its full size from which on a segment ends where one of the largest run begins, and in a
 * merge that reaches the oldest run. Smaller ones would be many; larger ones seldom begin where others do.
 */
export const MIN_SHARE: number = 1 / 4;
export const MIN_SHARE_OLDEST: number = 1 / 2;

/** Gives way to other work. Called about once a millisecond. */
export type Pause = () => Promise<void>;

const NO_BYTES = new Uint8Array(0);

export async function flushMemtable(
  memtable: Memtable,
  { dropTombstones, time, boundaries }: FlushTask,
  context: JobContext,
  pause: Pause,
  control: JobControl,
): Promise<RunOutput> {
  if (memtable.isEmpty) return { run: [], valueLogs: [] };
  const output = outputOf(context, pause, control);
  const writer = new RunWriter({
    ...output,
    boundaries: { keys: boundaries, minBytes: context.segmentBytes * MIN_SHARE },
  });
  const order = memtable.order();
  while (order?.step() === true) await output.pause(0);
  const cursor =
    order === undefined ? memtable.cursor(MAX_SEQNO, time) : memtable.orderedCursor(order, time);
  // Empty where a range tombstone deleted all that there is.
  cursor.seekToLast();
  const lastKey = cursor.isValid ? cursor.key.slice(0, cursor.keyLength) : NO_BYTES;
  cursor.seekToFirst();
  try {
    if (cursor.isValid) {
      const firstKey = cursor.key.slice(0, cursor.keyLength);
      const source = { cursor, seqnos: memtable, firstKey, lastKey };
      await writer.writeAll(source, UNCODED, dropTombstones);
    }
    const deleted = memtable.deletedRanges(MAX_SEQNO);
    if (deleted !== undefined && !dropTombstones) {
      await writer.writeRangeTombstones([...eachSpan(deleted)], memtable);
    }
    return await writer.finish();
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

/**
 * A step of a compaction. `openSamples` opens what the merge's coders are learnt from: nothing after
 * the first step, from where on only a thread that began later learns, of what it reads itself.
 */
export async function compactRuns(
  runs: readonly (readonly Segment[])[],
  task: CompactionTask,
  context: JobContext,
  pause: Pause,
  control: JobControl,
  openSamples: () => Promise<readonly Segment[]>,
): Promise<CompactionOutput> {
  const { compression, largeValueBytes, fileSystem, directory, databaseId } = context;
  const opened: ValueLog[] = [];
  const openValueLog = async ({ fileNumber }: ValueLogMeta): Promise<ValueLog> => {
    const path = joinPath(directory, valueLogFileName(fileNumber));
    const log = await ValueLog.open({ fileSystem, path, identity: { databaseId, fileNumber } });
    opened.push(log);
    return log;
  };
  const output = { ...outputOf(context, pause, control), boundaries: task.boundaries };
  const sample = async (): Promise<Samples> => {
    const samples = await openSamples();
    const known = samples.length > 0 ? samples : runs.flat();
    return samplesOfSegments(known, { largeValueBytes, time: task.time });
  };
  const coders = (): Promise<SegmentCoders> =>
    context.mergeCoders.codersFor(task.mergeId, sample, { compression }, () => output.pause(0));
  try {
    if (task.kind === "split") {
      return await splitSegment({ segment: runs[0][0], time: task.time, output, coders });
    }
    return await runCompaction({ runs, ...task, output, openValueLog, coders });
  } finally {
    for (const log of opened) await log.close();
  }
}

/** What the output of a job needs of its context. */
export interface OutputContext extends Omit<JobContext, "fileNumbers" | "mergeCoders"> {
  readonly fileNumbers: Pick<FileNumbers, "take">;
}

/** Where and how a job writes. */
export function outputOf(
  context: OutputContext,
  giveWay: Pause,
  control: JobControl,
): OutputOptions {
  const { fileSystem, directory, databaseId, fileNumbers } = context;
  const pause = async (entryCount: number): Promise<void> => {
    control.advance(entryCount);
    await giveWay();
    if (control.isCancelled) throw new ClosedError();
  };
  const pathOf = (fileNumber: number): string => joinPath(directory, segmentFileName(fileNumber));
  const logPathOf = (fileNumber: number): string =>
    joinPath(directory, valueLogFileName(fileNumber));
  return {
    segmentBytes: context.segmentBytes,
    largeValueBytes: context.largeValueBytes,
    create: (coders, seqnos, coverStart) => {
      const fileNumber = fileNumbers.take();
      const path = pathOf(fileNumber);
      const identity = { databaseId, fileNumber };
      return SegmentWriter.create({ fileSystem, path, identity, coders, seqnos, coverStart });
    },
    createValueLog: () => {
      const fileNumber = fileNumbers.take();
      return ValueLogWriter.create({
        fileSystem,
        path: logPathOf(fileNumber),
        identity: { databaseId, fileNumber },
        isCompressing: context.compression === "deflate",
        pause: () => pause(0),
      });
    },
    remove: (meta) => fileSystem.remove(pathOf(meta.fileNumber)),
    removeValueLog: (meta) => fileSystem.remove(logPathOf(meta.fileNumber)),
    pause,
  };
}

export class InlineRunner implements JobRunner {
  readonly isApart = false;
  readonly isReady = true;
  private readonly context: JobContext;

  constructor(context: JobContext) {
    this.context = context;
  }

  flush(memtable: Memtable, task: FlushTask, control: JobControl): Promise<RunOutput> {
    return flushMemtable(memtable, task, this.context, () => setImmediate(), control);
  }

  compact(
    { runs, samples }: StepInputs,
    task: CompactionTask,
    control: JobControl,
  ): Promise<JobOutput> {
    const pause = (): Promise<void> => setImmediate();
    return compactRuns(runs, task, this.context, pause, control, async () => samples);
  }

  prepare(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }
}
