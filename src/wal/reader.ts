/**
 * Replays a log, and tells damage from what a crash may legally leave.
 *
 * A crash may lose any part of what was written and not synced: the last record may be torn, one
 * before it may be missing although it is whole, and the end may be zeros. Nobody was promised
 * those records. Bytes that were synced must be there. Each record says how many bytes were known to
 * be synced when it was written, so after a bad record the reader scans the rest of the log for whole
 * records, and looks at the greatest of these marks:
 *
 * 1. The bad record lies below it: bytes that were durable are gone. This is corruption.
 * 2. It does not, or there is no whole record: the log ends where the bad record begins. What
 *    follows is dropped and reported; it is never replayed, since it depends on what was lost.
 *
 * Only the newest log can have a legal loss, since a log is synced before the next one is created.
 * The next one's header also says how far the records of this one went then (`end`), and for the
 * newest the manifest says how far they were durable when it was written, so that a log that lost
 * whole records at its end is found out. What follows `end` in a log that is not the newest may be
 * left of a write that failed. Whole records there are replayed all the same: they were written
 * because the next log could not be used after all, and what is left of that one has no records.
 *
 * Zeros up to the end are space that was taken ahead, and no loss.
 *
 * The scan tries every offset, but reads no payload unless 24 bits of the frame agree, so it costs
 * about 1 ns a byte; what chance lets through is bounded by MAX_SCAN_FACTOR times the log. Memory is
 * one buffer as large as the largest record, and never larger than the log.
 */
import { compareBytes } from "../bytes/compare.ts";
import type { FileIdentity } from "../entry.ts";
import { CorruptionError, UnsupportedVersionError } from "../errors.ts";
import type { File, FileSystem } from "../io/file-system.ts";
import {
  decodeHeader,
  durableOf,
  encodeHeader,
  FORMAT_VERSION,
  framedLength,
  HEADER_BYTES,
  isWhole,
  logSalt,
  MAX_LOG_BYTES,
  type PreviousLog,
  RECORD_HEADER_BYTES,
} from "./format.ts";

/** What replaying does about a record that is not whole. */
export type RecoveryMode =
  /** A legal loss at the end of the newest log is dropped; anything else is a CorruptionError. */
  | "tolerate-tail"
  /** Any loss is a CorruptionError: every log must end with a whole record. */
  | "absolute"
  /** The log, and all later ones, end at the first bad record, whatever the cause. */
  | "point-in-time"
  /** Bad records are skipped; every whole one is replayed. Not a prefix of history. */
  | "salvage";

export interface ReplayOptions {
  readonly fileSystem: FileSystem;
  readonly path: string;
  readonly identity: FileIdentity;
  /** Whether no log follows: only then may its end be lost. */
  readonly isNewest: boolean;
  /**
   * Whole records reach at least up to here, as the header of the next log (`readPreviousLog`) or the
   * manifest says.
   */
  readonly end?: number | undefined;
  readonly mode: RecoveryMode;
  /** Lets other work run; awaited after every few mebibytes. Default: none. */
  readonly pause?: (() => Promise<void>) | undefined;
}

export interface WalReport {
  readonly identity: FileIdentity;
  /** Records replayed, and the bytes of their payloads. */
  readonly records: number;
  readonly bytes: number;
  /** Where the log ends: after the last record replayed, or after the header. */
  readonly endOffset: number;
  /** Where the file ends. */
  readonly fileBytes: number;
  /** Bytes that were not replayed, up to the last one that is not zero. 0 if nothing was dropped. */
  readonly droppedBytes: number;
  /** Where the first of them is, and what was wrong there; undefined if nothing was dropped. */
  readonly droppedOffset: number | undefined;
  readonly reason: string | undefined;
  /** Whether there is neither a header nor a record; `cutTail` writes a header. */
  readonly isHeaderLost: boolean;
  /** Whether later logs must not be replayed: "point-in-time" met a bad record. */
  readonly isStopped: boolean;
}

/** Bytes read at a time. */
const CHUNK_BYTES: number = 2 ** 20;

/** Bytes replayed between two pauses: some tens of milliseconds. */
const PAUSE_BYTES: number = 2 ** 20;

const WORD_BYTES = 4;

/** How many times the log's bytes a scan may check before it gives up and calls it corruption. */
const MAX_SCAN_FACTOR = 8;

/**
 * Calls `onRecord` with the payload of each record, in order; the payload is a view that is valid
 * during the call. Rejects with CorruptionError as `mode` says, and in every mode with
 * UnsupportedVersionError for a log of a newer format. Records before a bad one have been handed out
 * by the time it rejects.
 */
export async function replayWal(
  options: ReplayOptions,
  onRecord: (payload: Uint8Array, offset: number) => void,
): Promise<WalReport> {
  const file = await options.fileSystem.open(options.path, "read");
  try {
    return await new Replay(options, file).run(onRecord);
  } finally {
    await file.close();
  }
}

/**
 * What the header of a log says of the log before it; undefined if it says nothing: the first log, or
 * a header that is not whole. Rejects with CorruptionError if the header is another file's.
 */
export async function readPreviousLog(
  fileSystem: FileSystem,
  path: string,
  identity: FileIdentity,
): Promise<PreviousLog | undefined> {
  const file = await fileSystem.open(path, "read");
  try {
    const bytes = new Uint8Array(HEADER_BYTES);
    file.readSync(bytes, 0);
    const header = decodeHeader(bytes);
    if (header === undefined) return undefined;
    if (header.version !== FORMAT_VERSION) {
      throw new UnsupportedVersionError(path, header.version, FORMAT_VERSION);
    }
    const damage = identityDamage(header.identity, identity);
    if (damage !== undefined) throw corruption(path, damage);
    return header.previous;
  } finally {
    await file.close();
  }
}

/**
 * Makes the log end where its report says that it does, and durable up to there. Must be done before
 * the next log is created, since a log that is not the newest may not end in a torn record, and
 * since writes that are synced to the next one must not outlive these.
 */
export async function cutTail(
  fileSystem: FileSystem,
  path: string,
  report: WalReport,
): Promise<void> {
  const file = await fileSystem.open(path, "update");
  try {
    if (report.isHeaderLost) {
      await file.truncate(0);
      await file.write(encodeHeader(report.identity, undefined), 0);
    } else if (file.size() > report.endOffset) {
      await file.truncate(report.endOffset);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Why the bytes at an offset are not what they should be. */
interface Damage {
  readonly what: string;
  readonly offset: number;
  readonly expected: string;
  readonly actual: string;
  /** Whether no crash can explain it, wherever it is. */
  readonly isCertain: boolean;
}

/** What a scan of the bytes after a bad record found. */
interface Scan {
  /** Offset of the first whole record, or -1. */
  readonly nextRecord: number;
  /** The greatest watermark of any whole record. */
  readonly durable: number;
  /** After the last byte that is not zero; the scan's start if there is none. */
  readonly contentEnd: number;
  /** Whether it gave up because too many bytes looked like records. */
  readonly isExhausted: boolean;
}

class Replay {
  private readonly options: ReplayOptions;
  private readonly window: Window;
  private readonly salt: number;
  private readonly fileBytes: number;
  /** Records end below this. */
  private readonly limit: number;
  private records = 0;
  private bytes = 0;
  private endOffset = HEADER_BYTES;
  private droppedBytes = 0;
  private firstDropped: Damage | undefined;
  private isHeaderLost = false;
  private isStopped = false;

  constructor(options: ReplayOptions, file: File) {
    this.options = options;
    this.fileBytes = file.size();
    this.window = new Window(file, this.fileBytes);
    this.salt = logSalt(options.identity);
    this.limit = Math.min(this.fileBytes, MAX_LOG_BYTES);
  }

  async run(onRecord: (payload: Uint8Array, offset: number) => void): Promise<WalReport> {
    const { pause } = this.options;
    let pausedAt = 0;
    let offset = this.readHeader();
    while (offset >= 0 && offset < this.limit) {
      const length = this.wholeRecord(offset);
      if (length < 0) {
        offset = this.afterDamage(this.describe(offset));
        continue;
      }
      const pos = this.window.load(offset, RECORD_HEADER_BYTES + length) + RECORD_HEADER_BYTES;
      onRecord(this.window.buffer.subarray(pos, pos + length), offset);
      this.records++;
      this.bytes += length;
      offset += RECORD_HEADER_BYTES + length;
      this.endOffset = offset;
      if (pause !== undefined && offset - pausedAt >= PAUSE_BYTES) {
        pausedAt = offset;
        await pause();
      }
    }
    const { end } = this.options;
    // Shorter than the next log says, with nothing but whole records: the rest is simply gone.
    if (offset >= 0 && end !== undefined && offset < end) {
      this.afterDamage({
        what: "a log lost its end",
        offset,
        expected: `records up to offset ${end}`,
        actual: "the end of the file",
        isCertain: true,
      });
      this.droppedBytes += end - offset;
    }
    return {
      identity: this.options.identity,
      records: this.records,
      bytes: this.bytes,
      endOffset: this.endOffset,
      fileBytes: this.fileBytes,
      droppedBytes: this.droppedBytes,
      droppedOffset: this.firstDropped?.offset,
      reason: this.firstDropped?.what,
      isHeaderLost: this.isHeaderLost && this.records === 0,
      isStopped: this.isStopped,
    };
  }

  /** Returns the offset of the first record, or -1 if none can be replayed. */
  private readHeader(): number {
    const { path, identity } = this.options;
    const bytes = new Uint8Array(Math.min(HEADER_BYTES, this.fileBytes));
    bytes.set(this.window.read(0, bytes.length));
    const header = decodeHeader(bytes);
    if (header !== undefined) {
      if (header.version !== FORMAT_VERSION) {
        throw new UnsupportedVersionError(path, header.version, FORMAT_VERSION);
      }
      const damage = identityDamage(header.identity, identity);
      return damage === undefined ? HEADER_BYTES : this.afterDamage(damage);
    }
    this.isHeaderLost = true;
    return this.afterDamage({
      what: "no header of a log",
      offset: 0,
      expected: "the header of a log",
      actual: bytes.length < HEADER_BYTES ? `${bytes.length} bytes` : "damaged bytes",
      isCertain: false,
    });
  }

  /** Length of the payload of the whole record at `offset`, or -1. */
  private wholeRecord(offset: number): number {
    if (this.limit - offset < RECORD_HEADER_BYTES) return -1;
    let pos = this.window.load(offset, RECORD_HEADER_BYTES);
    const length = framedLength(this.window.buffer, pos, this.salt, offset, this.limit);
    if (length < 0) return -1;
    pos = this.window.load(offset, RECORD_HEADER_BYTES + length);
    return isWhole(this.window.buffer, pos, this.salt, offset, length) ? length : -1;
  }

  /** Decides what to do about damage; returns the offset to go on from, or -1 to end. */
  private afterDamage(damage: Damage): number {
    const { isNewest, end, mode, path } = this.options;
    const { offset } = damage;
    const isBelowEnd = end !== undefined && offset < end;
    if (!isNewest && end !== undefined && !isBelowEnd) return -1;
    const scan = this.scan(offset);
    if (scan.contentEnd === offset && !isBelowEnd && offset >= HEADER_BYTES) return -1;
    const isDurable = isBelowEnd || scan.durable > offset;
    const isCertain = damage.isCertain || !isNewest || isDurable || scan.isExhausted;
    if (mode === "absolute" || (mode === "tolerate-tail" && isCertain)) {
      throw corruption(path, damage);
    }
    const next = mode === "salvage" ? scan.nextRecord : -1;
    this.firstDropped ??= damage;
    this.droppedBytes += (next < 0 ? scan.contentEnd : next) - offset;
    if (mode === "point-in-time" && isCertain) this.isStopped = true;
    return next;
  }

  /** Looks for whole records after `start`. */
  private scan(start: number): Scan {
    const { window, limit, salt } = this;
    let nextRecord = -1;
    let durable = 0;
    let contentEnd = start;
    let budget = limit * MAX_SCAN_FACTOR;
    let offset = start;
    while (offset < limit && budget >= 0) {
      const available = Math.min(limit - offset, CHUNK_BYTES);
      const pos = window.load(offset, available);
      const bytes = window.buffer;
      // Zeros are no frame, but the first bytes of one may be.
      const zeros = zerosAt(bytes, pos, pos + available);
      let i = zeros === available ? zeros : Math.max(0, zeros - RECORD_HEADER_BYTES);
      let recordBytes = 0;
      for (; i < available; i++) {
        if (bytes[pos + i] !== 0) contentEnd = offset + i + 1;
        // The frame's last byte must be in the window.
        if (available - i < RECORD_HEADER_BYTES) continue;
        const length = framedLength(bytes, pos + i, salt, offset + i, limit);
        if (length < 0) continue;
        recordBytes = RECORD_HEADER_BYTES + length;
        break;
      }
      if (recordBytes === 0) {
        // Frames that begin at the window's end are looked at again in the next one.
        const isLast = offset + available === limit;
        offset += isLast ? available : available - RECORD_HEADER_BYTES + 1;
        continue;
      }
      offset += i;
      budget -= recordBytes;
      if (offset > start && this.wholeRecord(offset) >= 0) {
        if (nextRecord < 0) nextRecord = offset;
        const mark = durableOf(window.buffer, window.load(offset, recordBytes));
        durable = Math.max(durable, mark);
        offset += recordBytes;
        contentEnd = offset;
      } else {
        offset++;
      }
    }
    return { nextRecord, durable, contentEnd, isExhausted: budget < 0 };
  }

  private describe(offset: number): Damage {
    const rest = this.limit - offset;
    if (rest < RECORD_HEADER_BYTES) {
      return {
        what: "a log ends inside a record's frame",
        offset,
        expected: `${RECORD_HEADER_BYTES} bytes`,
        actual: `${rest} bytes`,
        isCertain: false,
      };
    }
    const pos = this.window.load(offset, RECORD_HEADER_BYTES);
    const length = framedLength(this.window.buffer, pos, this.salt, offset, this.limit);
    return {
      what: length < 0 ? "no record of this log" : "a record's checksum does not match",
      offset,
      expected: "a whole record",
      actual: length < 0 ? "bytes that are no frame" : `damage in ${length} bytes of payload`,
      isCertain: false,
    };
  }
}

/** A moving view of the file: one buffer, filled again when something outside it is asked for. */
class Window {
  buffer: Uint8Array;
  private readonly file: File;
  private readonly fileBytes: number;
  private start: number;
  private length: number;

  constructor(file: File, fileBytes: number) {
    this.buffer = new Uint8Array(Math.min(CHUNK_BYTES, fileBytes));
    this.file = file;
    this.fileBytes = fileBytes;
    this.start = 0;
    this.length = 0;
  }

  /** Position in `buffer` of the file's bytes [offset, offset + count), which must exist. */
  load(offset: number, count: number): number {
    if (offset < this.start || offset + count > this.start + this.length) {
      if (count > this.buffer.length) this.buffer = new Uint8Array(count);
      const length = Math.min(this.buffer.length, this.fileBytes - offset);
      this.start = offset;
      this.length = this.file.readSync(this.buffer.subarray(0, length), offset);
      if (this.length < count) {
        throw new CorruptionError("a log shrank while it was read", {
          file: this.file.path,
          offset: offset + this.length,
          expected: `${this.fileBytes} bytes`,
          actual: `${offset + this.length} bytes`,
        });
      }
    }
    return offset - this.start;
  }

  read(offset: number, count: number): Uint8Array {
    const pos = this.load(offset, count);
    return this.buffer.subarray(pos, pos + count);
  }
}

/** How many zeros bytes[start, end) begins with. Words, since mebibytes of space taken ahead are usual. */
function zerosAt(bytes: Uint8Array, start: number, end: number): number {
  let pos = start;
  while (pos < end && (bytes.byteOffset + pos) % WORD_BYTES !== 0 && bytes[pos] === 0) pos++;
  if ((bytes.byteOffset + pos) % WORD_BYTES === 0) {
    const wordCount = Math.floor((end - pos) / WORD_BYTES);
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + pos, wordCount);
    let i = 0;
    while (i < wordCount && words[i] === 0) i++;
    pos += i * WORD_BYTES;
  }
  while (pos < end && bytes[pos] === 0) pos++;
  return pos - start;
}

function identityDamage(found: FileIdentity, expected: FileIdentity): Damage | undefined {
  const isSameDatabase = compareBytes(found.databaseId, expected.databaseId) === 0;
  if (isSameDatabase && found.fileNumber === expected.fileNumber) return undefined;
  return {
    what: "a log is another file's",
    offset: 0,
    expected: describeIdentity(expected),
    actual: describeIdentity(found),
    isCertain: true,
  };
}

function describeIdentity({ databaseId, fileNumber }: FileIdentity): string {
  const id = Array.from(databaseId, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `number ${fileNumber} of database ${id}`;
}

function corruption(file: string, { what, offset, expected, actual }: Damage): CorruptionError {
  return new CorruptionError(what, { file, offset, expected, actual });
}
