/**
 * What a database consists of, in numbers. Everything here is kept up to date anyway, so asking is
 * cheap. Memory figures count the bytes that the structures allocate: arenas and buffers, not the
 * process's resident size.
 */
import { estimateSpace } from "../compaction/pick.ts";
import type { JobProgress } from "../jobs/job-control.ts";
import { type Run, total, usesOf, type Version } from "../manifest/version.ts";
import { Section } from "../segment/format.ts";
import type { SymbolTable } from "../symbols/table.ts";
import type { CompactionProgress } from "./compactions.ts";
import type { PinStats } from "./pins.ts";
import type { OpenVersion } from "./sources.ts";
import type { Store } from "./store.ts";

/** One run, newest first in `DatabaseStats.runs`. */
export interface RunStats {
  readonly segmentCount: number;
  /** Entries, tombstones included. */
  readonly keyCount: number;
  readonly tombstoneCount: number;
  /** Disjoint ranges of keys that the run deletes from older ones. */
  readonly rangeTombstoneCount: number;
  readonly fileBytes: number;
}

/** A kind of what is cached: what there is of it, and how often it was asked for with and without success. */
export interface CacheStats {
  readonly bytes: number;
  readonly hits: number;
  readonly misses: number;
}

export interface DatabaseStats {
  /** Newest first. Each entry is in one run; a key may be in several, the newest of which counts. */
  readonly runs: readonly RunStats[];
  /** Keys in memtables, sealed ones included. */
  readonly memtableKeyCount: number;
  /** Bytes of memory, by part. Of the memtables, also the memory that waits for the next ones. */
  readonly memory: {
    readonly memtables: number;
    readonly keyIndex: number;
    readonly filter: number;
    readonly valueIndex: number;
    readonly blockCache: number;
    readonly total: number;
  };
  /** Bytes of files, by part; `other` is what the segments hold beside the parts named. */
  readonly disk: {
    readonly log: number;
    readonly keyIndex: number;
    /**
     * What the key index consists of: the transducers that find a page of keys, the symbol tables,
     * headers (lengths, positions and checksums), and the codes of the keys.
     */
    readonly keyIndexParts: {
      readonly transducer: number;
      readonly symbols: number;
      readonly headers: number;
      readonly codes: number;
    };
    readonly filter: number;
    readonly values: number;
    /** Value logs, whose parts in use and garbage `DatabaseStats.valueLogs` has. */
    readonly valueLogs: number;
    readonly other: number;
    readonly total: number;
  };
  /** The logs that hold large values. */
  readonly valueLogs: {
    readonly count: number;
    readonly fileBytes: number;
    /** Bytes of values that segments refer to; the rest is garbage, which compactions clear. */
    readonly usedBytes: number;
  };
  /** What reads keep in memory: `bytes` of `capacityBytes`, the tables that find it included. */
  readonly blockCache: {
    readonly capacityBytes: number;
    readonly bytes: number;
    readonly blocks: CacheStats;
    readonly rows: CacheStats;
  };
  /** Bytes written since the open. */
  readonly written: {
    /** Keys and values of acknowledged writes. */
    readonly user: number;
    readonly log: number;
    readonly flush: number;
    readonly compaction: number;
    /** What `ingest` wrote; no part of the amplification. */
    readonly ingest: number;
  };
  readonly amplification: {
    /** Bytes written for each of the user's, since the open. 0 before the first write. */
    readonly write: number;
    /** Memtables and runs that a look-up asks, at most; filters spare it most of the runs. */
    readonly read: number;
    /**
     * Bytes that the runs hold, however coded, for each that certainly lives, at most: all that is
     * newer than the oldest run counts as hiding something there, and what has expired as dead. 1
     * for a single run of which nothing has expired, or none; all bytes, where none certainly lives.
     */
    readonly space: number;
  };
  /** What the background is doing. */
  readonly background: {
    readonly flush: JobProgress | undefined;
    readonly compaction: CompactionProgress | undefined;
    /** Memtables that wait for their flush, the one being flushed included. */
    readonly sealedMemtables: number;
  };
  /** Moments that are held on to, and what they keep that nothing else needs; oldest first. */
  readonly pinned: readonly PinStats[];
  /** Sequence number of the newest visible write: how many writes this database has had. */
  readonly lastSeqno: number;
}

export function readStats(store: Store): DatabaseStats {
  const { memtables, version } = store.sources;
  const memory = {
    memtables: store.spareBuffers.byteLength,
    keyIndex: 0,
    filter: 0,
    valueIndex: 0,
  };
  for (const memtable of memtables) memory.memtables += memtable.byteLength;
  const parts = { transducer: 0, symbols: 0, headers: 0, codes: 0 };
  const disk = { keyIndex: 0, filter: 0, values: 0, segments: 0 };
  const tables = new Set<SymbolTable>();
  for (const segment of version.files.flat()) {
    const { keyIndex, filter, valueIndex } = segment.memory(tables);
    memory.keyIndex += keyIndex;
    memory.filter += filter;
    memory.valueIndex += valueIndex;
    const { sections } = segment;
    disk.keyIndex += sections[Section.keyIndex].length;
    disk.filter += sections[Section.filter].length;
    disk.values +=
      sections[Section.valueBlocks].length +
      sections[Section.blockIndex].length +
      sections[Section.valueSymbols].length +
      sections[Section.dictionary].length;
    const sizes = segment.keyIndexSizes;
    parts.transducer += sizes.transducer;
    parts.symbols += sizes.symbols;
    parts.headers += sizes.headers;
    parts.codes += sizes.codes;
    disk.segments += segment.meta.fileBytes;
  }
  const { capacityBytes, bytes } = store.blockCache.ring;
  const blocks = statsOfCache(store.blockCache);
  const rows = store.rows === undefined ? NO_CACHE : statsOfCache(store.rows);
  const valueLogs = statsOfValueLogs(version.version);
  return {
    runs: version.version.runs.map(statsOfRun),
    memtableKeyCount: total(memtables, "keyCount"),
    memory: { ...memory, blockCache: bytes, total: sum(memory) + bytes },
    disk: {
      log: store.logs.bytes,
      keyIndex: disk.keyIndex,
      keyIndexParts: parts,
      filter: disk.filter,
      values: disk.values,
      valueLogs: valueLogs.fileBytes,
      other: disk.segments - disk.keyIndex - disk.filter - disk.values,
      total: store.logs.bytes + disk.segments + valueLogs.fileBytes,
    },
    valueLogs,
    blockCache: { capacityBytes, bytes, blocks, rows },
    written: writtenBytes(store),
    amplification: {
      write: writeAmplification(store),
      read: memtables.length + version.version.runs.length,
      space: spaceAmplification(version, store.time),
    },
    background: {
      flush: store.background.flushProgress,
      compaction: store.background.compactions.progress,
      sealedMemtables: memtables.length - 1,
    },
    pinned: store.pins.stats(store.sources),
    lastSeqno: store.visibleSeqno,
  };
}

const NO_CACHE: CacheStats = { bytes: 0, hits: 0, misses: 0 };

function statsOfCache({ bytes, hits, misses }: CacheStats): CacheStats {
  return { bytes, hits, misses };
}

function statsOfValueLogs({ runs, valueLogs }: Version): DatabaseStats["valueLogs"] {
  let usedBytes = 0;
  for (const bytes of usesOf(runs).values()) usedBytes += bytes;
  const fileBytes = total(valueLogs, "fileBytes");
  return { count: valueLogs.length, fileBytes, usedBytes };
}

function writtenBytes({ committer, background }: Store): DatabaseStats["written"] {
  return {
    user: committer.records.userBytes,
    log: committer.records.logBytes,
    flush: background.flushedBytes,
    compaction: background.compactions.installedBytes,
    ingest: background.ingestedBytes,
  };
}

function writeAmplification(store: Store): number {
  const { user, log, flush, compaction } = writtenBytes(store);
  return user === 0 ? 0 : (log + flush + compaction) / user;
}

function spaceAmplification(current: OpenVersion, time: number): number {
  const space = estimateSpace(current.version, current.contents(time));
  const { newerBytes, deletedBytes, liveBytes } = space;
  const bytes = newerBytes + deletedBytes + liveBytes;
  return bytes === 0 ? 1 : bytes / Math.max(1, liveBytes);
}

function statsOfRun(run: Run): RunStats {
  return {
    segmentCount: run.length,
    keyCount: total(run, "keyCount"),
    tombstoneCount: total(run, "tombstoneCount"),
    rangeTombstoneCount: total(run, "rangeTombstoneCount"),
    fileBytes: total(run, "fileBytes"),
  };
}

function sum(parts: Readonly<Record<string, number>>): number {
  return Object.values(parts).reduce((total, bytes) => total + bytes, 0);
}
