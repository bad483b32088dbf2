/**
 * What `open` does once there is a manifest (founding.ts), before the database can be used: replay the
 * logs, remove what no one needs.
 *
 * 1. The manifest names the live segments and value logs, which must be there, and the oldest log that
 *    is still needed.
 * 2. Logs from the oldest needed on are replayed in order into memtables. Each record's sequence
 *    numbers must follow on those before, so a log that is missing is noticed; what the runs hold
 *    already is skipped.
 * 3. A legal torn tail (docs/durability.md) is cut off the newest log, so that it is never mistaken
 *    for damage once newer logs follow it. A log that ends where the manifest says, durable, as
 *    `close` leaves it, has none.
 * 4. Files of ours that the manifest does not name are removed: outputs of work that a crash cut
 *    short, and logs whose writes are all in runs.
 *
 * Every step may be cut short by a crash and is then done again from the start at the next open.
 */
import { setImmediate } from "node:timers/promises";
import { readU32 } from "../bytes/fixed.ts";
import type { SeqnoRange } from "../entry.ts";
import { CorruptionError } from "../errors.ts";
import { type FileSystem, joinPath } from "../io/file-system.ts";
import { TEMPORARY_SUFFIX } from "../io/replace.ts";
import {
  type NumberedFile,
  parseFileName,
  segmentFileName,
  valueLogFileName,
  walFileName,
} from "../manifest/files.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { createMemtable, type Memtable } from "../memtable/memtable.ts";
import { RecordReader } from "../wal/batch.ts";
import { HEADER_BYTES, type PreviousLog } from "../wal/format.ts";
import { cutTail, readPreviousLog, replayWal, type WalReport } from "../wal/reader.ts";
import { isAsFounded } from "./founding.ts";
import type { LogExtent } from "./logs.ts";
import type { ResolvedOptions } from "./options.ts";

export type RecoverOptions = Pick<
  ResolvedOptions<unknown, unknown>,
  "readOnly" | "recovery" | "memtableBytes" | "now"
>;

/** What the last open found and did. */
export interface RecoveryReport {
  /** Whether the database was founded by this open. */
  readonly created: boolean;
  /** Log records, the bytes of their contents, and the writes in them, that were replayed. */
  readonly recordsReplayed: number;
  readonly bytesReplayed: number;
  readonly writesReplayed: number;
  /** Sequence number of the newest write that is there: writes are counted from 1. */
  readonly lastSeqno: number;
  /** Bytes at the end of, or inside, logs that were not replayed; one element for each log with any. */
  readonly dropped: readonly DroppedBytes[];
  /**
   * Writes that are known to be gone although later ones are there, or were. Only the modes
   * "point-in-time" and "salvage" go on without them.
   */
  readonly missing: readonly SeqnoRange[];
  /** Names of files that were removed because nothing refers to them. */
  readonly orphansRemoved: readonly string[];
  /** What all of that took, by the clock of the option `now`. */
  readonly durationMs: number;
}

/** Bytes of a log that were not replayed, and why that is legal. */
export interface DroppedBytes {
  readonly file: string;
  /** Where the first of them is, and how many they are; as far as is known if the file is missing. */
  readonly offset: number;
  readonly bytes: number;
  /** Sequence number of the last write before them. */
  readonly afterSeqno: number;
  readonly reason: string;
}

/** Writes that were replayed, and the oldest log that has any of them. */
export interface RecoveredMemtable {
  readonly memtable: Memtable;
  readonly firstLog: number;
}

export interface Recovered {
  readonly manifest: Manifest;
  /** Newest first; each but the first is full, and the keys of some are pending. None if nothing was replayed. */
  readonly memtables: readonly RecoveredMemtable[];
  readonly lastSeqno: number;
  readonly nextFileNumber: number;
  /** The logs that are still needed, oldest first, and where the records of each end. */
  readonly logs: readonly LogExtent[];
  /**
   * Whether records were left out that a later replay would stumble over, as "point-in-time" and
   * "salvage" may: what was recovered must be flushed and the logs dropped before new writes.
   */
  readonly mustRebase: boolean;
  readonly report: RecoveryReport;
}

/**
 * Replays the logs and cleans up. The files of the manifest's Version are opened by the caller.
 * `confirmLock` rejects once the directory may be another process's; it is asked before anything is
 * changed.
 */
export async function recover(
  fileSystem: FileSystem,
  directory: string,
  manifest: Manifest,
  created: boolean,
  mode: RecoverOptions,
  confirmLock: () => Promise<void>,
): Promise<Recovered> {
  const startMs = mode.now();
  const names = await fileSystem.list(directory);
  checkVersion(directory, manifest, names);
  const files = names.map(parseFileName).filter((file) => file !== undefined);
  const replayed = await replayLogs(fileSystem, directory, manifest, files, mode);
  let orphansRemoved: string[] = [];
  if (!mode.readOnly) {
    await confirmLock();
    orphansRemoved = orphansAmong(names, manifest);
    // The manifest just read may have been renamed, but not synced, before a crash of the process. Its
    // name must be durable before anything that only the manifest before it refers to is removed; and
    // where there was none before it, before there is a log that only a database has.
    const isChanged = replayed.ends.length > 0 || orphansRemoved.length > 0;
    const isNew = !created && isAsFounded(manifest);
    if (isChanged || isNew) await fileSystem.syncDirectory(directory);
    for (const { path, report } of replayed.ends) await cutTail(fileSystem, path, report);
    await removeFiles(fileSystem, directory, orphansRemoved);
  }
  const { replay, dropped, recordsReplayed, bytesReplayed } = replayed;
  return {
    manifest,
    memtables: replay.memtables,
    lastSeqno: replay.lastSeqno,
    nextFileNumber: Math.max(manifest.nextFileNumber, ...files.map((file) => file.fileNumber + 1)),
    logs: replayed.logs,
    mustRebase: replay.gaps.length > 0 || (dropped.length > 0 && allowsGaps(mode.recovery)),
    report: {
      created,
      recordsReplayed,
      bytesReplayed,
      writesReplayed: replay.writeCount,
      lastSeqno: replay.lastSeqno,
      dropped,
      missing: replay.gaps,
      orphansRemoved,
      durationMs: mode.now() - startMs,
    },
  };
}

interface ReplayedLogs {
  readonly replay: Replay;
  readonly logs: readonly LogExtent[];
  /** Logs whose ends may be torn, to be cut. */
  readonly ends: readonly { readonly path: string; readonly report: WalReport }[];
  readonly dropped: readonly DroppedBytes[];
  readonly recordsReplayed: number;
  readonly bytesReplayed: number;
}

async function replayLogs(
  fileSystem: FileSystem,
  directory: string,
  manifest: Manifest,
  files: readonly NumberedFile[],
  mode: RecoverOptions,
): Promise<ReplayedLogs> {
  const replay = new Replay(manifest, mode);
  const logs: LogExtent[] = [];
  const ends: { path: string; report: WalReport }[] = [];
  const dropped: DroppedBytes[] = [];
  let recordsReplayed = 0;
  let bytesReplayed = 0;
  let isStopped = false;
  const needed = files
    .filter((file) => file.kind === "wal" && file.fileNumber >= manifest.oldestWal)
    .sort((a, b) => a.fileNumber - b.fileNumber);
  const chain = await chainLogs(fileSystem, directory, manifest, needed, mode);
  for (const { fileNumber, end, isNewest, isMissing } of chain) {
    const path = joinPath(directory, walFileName(fileNumber));
    const afterSeqno = replay.lastSeqno;
    if (isMissing || isStopped) {
      const bytes = isMissing ? (end ?? 0) : ((await fileSystem.stat(path))?.size ?? 0);
      const reason = isMissing ? "a log is missing" : "an earlier log is damaged";
      dropped.push({ file: path, offset: 0, bytes, afterSeqno, reason });
      isStopped ||= mode.recovery === "point-in-time";
      continue;
    }
    const report = await replayWal(
      {
        fileSystem,
        path,
        identity: { databaseId: manifest.databaseId, fileNumber },
        isNewest,
        end,
        mode: mode.recovery,
        pause: () => setImmediate(),
      },
      (payload, offset) => replay.apply(payload, path, offset, fileNumber),
    );
    isStopped = report.isStopped;
    recordsReplayed += report.records;
    bytesReplayed += report.bytes;
    // A writer that is just creating a log has not written its header, nor will who only reads.
    const isBeingCreated = mode.readOnly && isHeaderMissing(report);
    if (!isBeingCreated) logs.push({ fileNumber, end: report.endOffset });
    if (report.reason !== undefined) dropped.push(describeDropped(path, report, afterSeqno));
    if (isNewest && !isDurable(manifest, fileNumber, report)) ends.push({ path, report });
  }
  return { replay, logs, ends, dropped, recordsReplayed, bytesReplayed };
}

/** Whether a log has no header yet, and nothing behind it. */
function isHeaderMissing({ isHeaderLost, fileBytes, droppedBytes }: WalReport): boolean {
  return isHeaderLost && (fileBytes < HEADER_BYTES || droppedBytes === 0);
}

/** Whether the manifest knows that all of a log is durable, so that nothing is to be cut or synced. */
function isDurable(manifest: Manifest, fileNumber: number, report: WalReport): boolean {
  const { isHeaderLost, endOffset, fileBytes } = report;
  if (fileNumber !== manifest.newestWal || isHeaderLost || fileBytes !== endOffset) return false;
  return endOffset <= manifest.newestWalEnd;
}

/** Throws where a segment or value log of the manifest is missing. */
function checkVersion(directory: string, manifest: Manifest, names: readonly string[]): void {
  const present = new Set(names);
  for (const name of namesIn(manifest)) {
    if (present.has(name)) continue;
    const what = parseFileName(name)?.kind === "segment" ? "segment" : "value log";
    throw new CorruptionError(`a ${what} is missing`, {
      file: joinPath(directory, name),
      offset: 0,
      expected: `a ${what} that the manifest names`,
      actual: "no such file",
    });
  }
}

/** Names of the segments and value logs of a manifest's Version. */
export function namesIn({ version }: Pick<Manifest, "version">): string[] {
  return [
    ...version.runs.flat().map((meta) => segmentFileName(meta.fileNumber)),
    ...version.valueLogs.map((meta) => valueLogFileName(meta.fileNumber)),
  ];
}

/** Whether a mode may leave out records that others follow. */
function allowsGaps(recovery: RecoverOptions["recovery"]): boolean {
  return recovery === "point-in-time" || recovery === "salvage";
}

interface LogInChain {
  readonly fileNumber: number;
  /** How far its records reach at least, if the next log's header or the manifest says so. */
  readonly end: number | undefined;
  /** Whether its end may be torn. */
  readonly isNewest: boolean;
  /** Only where the mode allows it. */
  readonly isMissing: boolean;
}

/**
 * The logs to replay, oldest first, each with the end that the header of the next one states.
 *
 * The chain is followed from the newest log back: each header names the log before it. A log that
 * the chain passes over is one whose creation failed, or another process's whose lock was lost; if
 * it has no record it does not matter. Throws where a log is missing, one that a header names, or the
 * oldest or the newest that the manifest knows, unless the mode allows that.
 */
async function chainLogs(
  fileSystem: FileSystem,
  directory: string,
  manifest: Manifest,
  logs: readonly NumberedFile[],
  mode: RecoverOptions,
): Promise<LogInChain[]> {
  const { databaseId, oldestWal, newestWal, newestWalEnd } = manifest;
  const chain: LogInChain[] = [];
  const named: { fileNumber: number; end: number | undefined }[] = [
    { fileNumber: newestWal, end: newestWalEnd },
    { fileNumber: oldestWal, end: undefined },
  ];
  let next: PreviousLog | undefined;
  for (const { name, fileNumber } of [...logs].reverse()) {
    const path = joinPath(directory, name);
    if (next !== undefined && fileNumber > next.fileNumber) {
      const size = (await fileSystem.stat(path))?.size ?? 0;
      if (size <= HEADER_BYTES) continue;
      if (!allowsGaps(mode.recovery)) throw strangeLog(path);
    }
    // A crash may tear the header of a log that was just created; the one before is then the newest
    // that can hold records. So is the one before a log whose torn header was replaced at an open.
    const isNewest = chain.length === 0 || (chain.length === 1 && next === undefined);
    const ends = next?.fileNumber === fileNumber ? [next.end] : [];
    if (fileNumber === newestWal) ends.push(newestWalEnd);
    const end = ends.length > 0 ? Math.max(...ends) : undefined;
    chain.unshift({ fileNumber, end, isNewest, isMissing: false });
    next = await readPreviousLog(fileSystem, path, { databaseId, fileNumber });
    if (next !== undefined && next.fileNumber >= oldestWal) named.push(next);
  }
  for (const { fileNumber, end } of named) {
    if (chain.some((log) => log.fileNumber === fileNumber)) continue;
    if (!allowsGaps(mode.recovery)) throw missingLog(directory, fileNumber);
    chain.push({ fileNumber, end, isNewest: false, isMissing: true });
  }
  return chain.sort((a, b) => a.fileNumber - b.fileNumber);
}

function missingLog(directory: string, fileNumber: number): CorruptionError {
  return new CorruptionError("a log is missing", {
    file: joinPath(directory, walFileName(fileNumber)),
    offset: 0,
    expected: "a log that the manifest or the log after it names",
    actual: "no such file",
  });
}

function strangeLog(file: string): CorruptionError {
  return new CorruptionError("a log is not one of this database's present ones", {
    file,
    offset: 0,
    expected: "no records, as the log after it names another as the one before it",
    actual: "more than a header",
  });
}

function describeDropped(file: string, wal: WalReport, afterSeqno: number): DroppedBytes {
  const { endOffset, droppedOffset = endOffset, droppedBytes: bytes, reason = "" } = wal;
  return { file, offset: droppedOffset, bytes, afterSeqno, reason };
}

/** Files of ours that nothing refers to. Files that are not ours are left alone. */
function orphansAmong(names: readonly string[], manifest: Manifest): string[] {
  const live = new Set(namesIn(manifest));
  return names.filter((name) => {
    if (name === `MANIFEST${TEMPORARY_SUFFIX}`) return true;
    const file = parseFileName(name);
    if (file === undefined) return false;
    return file.kind === "wal" ? file.fileNumber < manifest.oldestWal : !live.has(name);
  });
}

async function removeFiles(
  fileSystem: FileSystem,
  directory: string,
  names: readonly string[],
): Promise<void> {
  for (const name of names) await fileSystem.remove(joinPath(directory, name));
  if (names.length > 0) await fileSystem.syncDirectory(directory);
}

/** Of the hash of keys in memtables: as random as the id, which nothing that is read or scanned tells. */
export function hashSeedOf({ databaseId }: Pick<Manifest, "databaseId">): number {
  return readU32(databaseId, 0);
}

/** Records into memtables. */
class Replay {
  /** Newest first. */
  memtables: RecoveredMemtable[] = [];
  lastSeqno: number;
  writeCount = 0;
  /** Writes that are missing in the middle: only in modes that allow it. */
  readonly gaps: SeqnoRange[] = [];
  private readonly flushedSeqno: number;
  private readonly mode: RecoverOptions;
  private readonly hashSeed: number;

  constructor(manifest: Manifest, mode: RecoverOptions) {
    this.hashSeed = hashSeedOf(manifest);
    this.flushedSeqno = manifest.lastSeqno;
    this.lastSeqno = manifest.lastSeqno;
    this.mode = mode;
  }

  apply(payload: Uint8Array, path: string, offset: number, fileNumber: number): void {
    const { recovery } = this.mode;
    if (recovery === "point-in-time" && this.gaps.length > 0) return;
    const record = new RecordReader(payload, path, offset);
    const lastSeqno = record.firstSeqno + record.operationCount - 1;
    if (lastSeqno <= this.flushedSeqno) return;
    const expectedSeqno = this.lastSeqno + 1;
    if (record.firstSeqno !== expectedSeqno) {
      const isForward = record.firstSeqno > expectedSeqno;
      if (!isForward || !allowsGaps(recovery)) {
        throw new CorruptionError("writes are missing before this log record", {
          file: path,
          offset,
          expected: `sequence number ${expectedSeqno}`,
          actual: `${record.firstSeqno}`,
        });
      }
      this.gaps.push({ firstSeqno: expectedSeqno, lastSeqno: record.firstSeqno - 1 });
      if (recovery === "point-in-time") return;
    }
    record.apply(this.memtableFor(record, fileNumber));
    this.lastSeqno = lastSeqno;
    this.writeCount += record.operationCount;
  }

  private memtableFor(record: RecordReader, fileNumber: number): Memtable {
    const { operationCount, contentBytes } = record;
    const newest = this.memtables.at(0)?.memtable;
    // What of the content is values takes no more than keys do.
    if (newest?.canHold(operationCount, contentBytes, 0)) return newest;
    const { memtableBytes } = this.mode;
    const { hashSeed } = this;
    const memtable = createMemtable(memtableBytes, operationCount, contentBytes, 0, { hashSeed });
    this.memtables.unshift({ memtable, firstLog: fileNumber });
    return memtable;
  }
}
