/**
 * The work of a flush and of a compaction, wherever it runs: sources in, the segments of a new run
 * out. Nothing is installed here.
 *
 * `JobRunner` is how the background asks for it. `InlineRunner` does it on the calling thread, giving
 * way to other work in between; `WorkerRunner` (worker-runner.ts) hands it to a worker thread, which
 * calls the same two functions. Both write the same bytes.
 */
import { setImmediate } from "node:timers/promises";
import { type OutputOptions, RunWriter } from "../compaction/output.ts";
import { runCompaction, trainOnCursor } from "../compaction/run.ts";
import { MAX_SEQNO } from "../entry.ts";
import { type FileSystem, joinPath } from "../io/file-system.ts";
import type { SegmentMeta } from "../manifest/version.ts";
import type { ValueCompression } from "../segment/coders.ts";
import type { Segment } from "../segment/reader.ts";
import { SegmentWriter } from "../segment/writer.ts";
import type { FileNumbers } from "./file-numbers.ts";
import { segmentFileName } from "./files.ts";
import type { Memtable } from "./memtable.ts";

/** What a job needs besides its sources. */
export interface JobContext {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly databaseId: Uint8Array;
  readonly fileNumbers: FileNumbers;
  readonly segmentBytes: number;
  readonly compression: ValueCompression;
}

/** Runs jobs, one flush and one compaction at a time. A failed job leaves no files. */
export interface JobRunner {
  /** The segments of a sealed memtable. Empty if it has nothing to write. */
  flush(memtable: Memtable, dropTombstones: boolean): Promise<SegmentMeta[]>;
  /** The segments of the runs' union, newest first hiding older. Rejects once `signal` is aborted. */
  compact(
    runs: readonly (readonly Segment[])[],
    dropTombstones: boolean,
    signal: AbortSignal,
  ): Promise<SegmentMeta[]>;
  /** No job is running, and none follows. */
  close(): Promise<void>;
}

/** Gives way to other work; rejects when the job is cancelled. Called about once a millisecond. */
export type Pause = () => Promise<void>;

export async function flushMemtable(
  memtable: Memtable,
  dropTombstones: boolean,
  context: JobContext,
  pause: Pause,
): Promise<SegmentMeta[]> {
  if (memtable.keyCount === 0) return [];
  const coders = trainOnCursor(memtable.cursor(MAX_SEQNO), memtable.keyCount, context);
  const writer = new RunWriter(outputOf(context, pause));
  const cursor = memtable.cursor(MAX_SEQNO);
  cursor.seekToLast();
  const lastKey = cursor.key.slice(0, cursor.keyLength);
  cursor.seekToFirst();
  const firstKey = cursor.key.slice(0, cursor.keyLength);
  try {
    const source = { cursor, seqnos: memtable, firstKey, lastKey };
    await writer.writeAll(source, coders, dropTombstones);
    return writer.finish();
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

export function compactRuns(
  runs: readonly (readonly Segment[])[],
  dropTombstones: boolean,
  context: JobContext,
  pause: Pause,
): Promise<SegmentMeta[]> {
  const { compression } = context;
  return runCompaction({ runs, dropTombstones, compression, output: outputOf(context, pause) });
}

function outputOf(context: JobContext, pause: Pause): OutputOptions {
  const { fileSystem, directory, databaseId, fileNumbers, segmentBytes } = context;
  const pathOf = (fileNumber: number): string => joinPath(directory, segmentFileName(fileNumber));
  return {
    segmentBytes,
    create: (coders, seqnos, coverStart) => {
      const fileNumber = fileNumbers.take();
      const path = pathOf(fileNumber);
      const identity = { databaseId, fileNumber };
      return SegmentWriter.create({ fileSystem, path, identity, coders, seqnos, coverStart });
    },
    remove: (meta) => fileSystem.remove(pathOf(meta.fileNumber)),
    pause,
  };
}

export class InlineRunner implements JobRunner {
  private readonly context: JobContext;

  constructor(context: JobContext) {
    this.context = context;
  }

  flush(memtable: Memtable, dropTombstones: boolean): Promise<SegmentMeta[]> {
    return flushMemtable(memtable, dropTombstones, this.context, () => setImmediate());
  }

  compact(
    runs: readonly (readonly Segment[])[],
    dropTombstones: boolean,
    signal: AbortSignal,
  ): Promise<SegmentMeta[]> {
    return compactRuns(runs, dropTombstones, this.context, async () => {
      await setImmediate();
      signal.throwIfAborted();
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
