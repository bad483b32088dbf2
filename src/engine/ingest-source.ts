/**
 * What `ingest` reads: a database, or a segment file of one, in parts that follow each other in key
 * order. Nothing is locked, and nothing is changed.
 */
import { BlockCache } from "../cache/block-cache.ts";
import { learnFrom, sampleOf, type TrainingOptions } from "../compaction/run.ts";
import type { Cursor } from "../cursor/cursor.ts";
import type { FileIdentity } from "../entry.ts";
import { DatabaseError, InvalidArgumentError } from "../errors.ts";
import { directoryOf, joinPath } from "../io/file-system.ts";
import { realPathOf } from "../io/within.ts";
import { valueLogFileName } from "../manifest/files.ts";
import { total } from "../manifest/version.ts";
import type { Pieces } from "../pieces.ts";
import { learnCoders, type SegmentCoders } from "../segment/coders.ts";
import { HEADER_BYTES, identityOf, readWhole } from "../segment/format.ts";
import { Segment } from "../segment/reader.ts";
import { ValueLog, type ValueLogSource } from "../segment/value-log.ts";
import { openStore } from "./open-store.ts";
import { cursorOver } from "./reads.ts";
import { NO_EVENTS, type Store } from "./store.ts";

/** Some entries of a source. */
export interface IngestPart {
  /** Deleted ones included. */
  readonly keyCount: number;
  /** Where they are the entries of one segment, and no others. */
  readonly segment: Segment | undefined;
  cursor(): Cursor;
  /** Learns from a part of them how to code them. */
  learn(options: IngestTrainingOptions): Pieces<SegmentCoders>;
}

export type IngestTrainingOptions = Omit<TrainingOptions, "time">;

export interface IngestSource {
  readonly parts: readonly IngestPart[];
  /** Has the value logs that the parts refer to. */
  readonly valueLogs: ValueLogSource;
  close(): Promise<void>;
}

/** Throws what opening a database throws, or a segment; MEMKV_NOT_FOUND where there is nothing. */
export async function openSource(store: Store, path: string): Promise<IngestSource> {
  const { fileSystem, directory } = store;
  const facts = await fileSystem.stat(path);
  if (facts === undefined) {
    const message = `there is no database and no segment file at ${path}: check the path`;
    throw new DatabaseError("MEMKV_NOT_FOUND", message);
  }
  if (!facts.isDirectory) return await openSegment(store, path);
  if ((await realPathOf(fileSystem, path)) === (await realPathOf(fileSystem, directory))) {
    throw new InvalidArgumentError("a database cannot ingest itself");
  }
  return await openDatabase(store, path);
}

async function openDatabase(store: Store, path: string): Promise<IngestSource> {
  const options = {
    ...store.options,
    readOnly: true,
    createIfMissing: false,
    // Of the options, these speak of the store alone: a source is there, and is not taken in part.
    errorIfExists: false,
    recovery: "tolerate-tail",
  } as const;
  const source = await openStore(store.fileSystem, path, options, NO_EVENTS);
  try {
    // A cursor over a log's keys that are not in order yet would bring them in order in one go.
    await source.settling.settle();
  } catch (error) {
    await source.close();
    throw error;
  }
  const { sources, visibleSeqno, time } = source;
  const { memtables, version } = sources;
  const { valueLogs } = version;
  const segments = version.runs.flat();
  const close = (): Promise<void> => source.close();
  if (version.runs.length <= 1 && memtables.every((memtable) => memtable.isEmpty)) {
    return { parts: segments.map((segment) => segmentPart(segment, time)), valueLogs, close };
  }
  const flushedCount = total(version.version.runs.flat(), "keyCount");
  const unflushedCount = total(memtables, "keyCount");
  const keyCount = flushedCount + unflushedCount;
  const cursor = (): Cursor => cursorOver(sources, visibleSeqno, time);
  // All entries are gone through only where most of them are in memory.
  const learn = function* (options: IngestTrainingOptions): Pieces<SegmentCoders> {
    if (flushedCount >= unflushedCount) return yield* learnFrom(segments, { ...options, time });
    return yield* learnCoders(yield* sampleOf(cursor(), keyCount, options), { keyCount }, options);
  };
  return { parts: [{ keyCount, segment: undefined, cursor, learn }], valueLogs, close };
}

/** A segment file by itself, with the value logs beside it that it refers to. */
async function openSegment(store: Store, path: string): Promise<IngestSource> {
  const { fileSystem } = store;
  const identity = await readIdentity(store, path);
  const { databaseId } = identity;
  const valueLogs = new Map<number, ValueLog>();
  const blockCache = new BlockCache(0);
  const segment = await Segment.open({ fileSystem, path, identity, blockCache, valueLogs });
  const close = async (): Promise<void> => {
    await segment.close();
    for (const log of valueLogs.values()) await log.close();
  };
  try {
    for (const { fileNumber } of segment.meta.valueLogs) {
      const logPath = joinPath(directoryOf(path), valueLogFileName(fileNumber));
      const options = { fileSystem, path: logPath, identity: { databaseId, fileNumber } };
      valueLogs.set(fileNumber, await ValueLog.open(options));
    }
  } catch (error) {
    await close();
    throw error;
  }
  const hasKeys = segment.meta.keyCount > 0;
  return { parts: hasKeys ? [segmentPart(segment, store.clockTime)] : [], valueLogs, close };
}

function segmentPart(segment: Segment, time: number): IngestPart {
  return {
    keyCount: segment.meta.keyCount,
    segment,
    cursor: () => segment.cursor(time),
    learn: (options) => learnFrom([segment], { ...options, time }),
  };
}

/** Who the file says that it is. Throws InvalidArgumentError where that is no segment. */
async function readIdentity({ fileSystem }: Store, path: string): Promise<FileIdentity> {
  const file = await fileSystem.open(path, "read");
  try {
    const header = new Uint8Array(HEADER_BYTES);
    if (file.size() >= HEADER_BYTES) readWhole(file, header, 0);
    const identity = identityOf(header);
    if (identity !== undefined) return identity;
  } finally {
    await file.close();
  }
  throw new InvalidArgumentError(`${path} is neither a database nor a segment file of one`);
}
