/**
 * ValueLog: an open value log, which holds the large values of the segments that refer to it.
 *
 * Values of a few KiB and more are written once, when a memtable is flushed, and stay where they
 * are while compaction rewrites the segments around them and copies the references: so a large value
 * is not written again and again (Lu et al., "WiscKey: Separating Keys from Values in SSD-conscious
 * Storage", FAST 2016). A log is immutable once its job has finished it. It is part of the database
 * as long as a segment of a live Version refers to it; what no entry refers to any more is garbage,
 * and compaction moves the rest out of a log that is mostly garbage (compaction/value-logs.ts).
 *
 * Nothing of a log is in memory. A value is read exactly, through `ChunkReader`; one that is a single
 * chunk is shown where it was read to.
 */
import type { ValueView } from "../cursor/value-view.ts";
import type { FileIdentity, ValuePlace } from "../entry.ts";
import type { File, FileSystem } from "../io/file-system.ts";
import { checkHeader, expectAtLeast, expectAtMost, expectNumber, HEADER_BYTES } from "./format.ts";
import {
  CHUNK_HEADER_BYTES,
  CHUNK_VALUE_BYTES,
  checkChunk,
  chunkBytesAt,
  decodeChunk,
  MAX_CHUNK_BYTES,
  MAX_DEFLATE_FACTOR,
  viewChunk,
} from "./value-log-format.ts";

/** One read takes this much: four raw chunks, or many deflated ones. */
const READ_WINDOW_BYTES = 4 * MAX_CHUNK_BYTES;

/** What a finished value log is, for the manifest. */
export interface FinishedValueLog {
  readonly fileNumber: number;
  readonly fileBytes: number;
}

/** Value logs that are open, by file number. */
export interface ValueLogSource {
  get(fileNumber: number): ValueLog | undefined;
}

export interface ValueLogOpenOptions {
  readonly fileSystem: FileSystem;
  readonly path: string;
  /** Who the file must be. */
  readonly identity: FileIdentity;
}

export class ValueLog {
  readonly meta: FinishedValueLog;
  private readonly file: File;

  /** Opens the file and checks its header. Throws CorruptionError or UnsupportedVersionError. */
  static async open({ fileSystem, path, identity }: ValueLogOpenOptions): Promise<ValueLog> {
    const file = await fileSystem.open(path, "read");
    try {
      const log = new ValueLog(file, identity.fileNumber);
      log.verifyHeader(identity);
      return log;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  private constructor(file: File, fileNumber: number) {
    this.file = file;
    this.meta = { fileNumber, fileBytes: file.size() };
  }

  get path(): string {
    return this.file.path;
  }

  /** Reads the header again and checks it. Throws CorruptionError or UnsupportedVersionError. */
  verifyHeader(identity: FileIdentity): void {
    const { file } = this;
    expectAtLeast(file.size(), HEADER_BYTES, "length of a value log", file.path, 0);
    const header = new Uint8Array(HEADER_BYTES);
    file.readSync(header, 0);
    checkHeader(header, identity, file.path, "value log");
  }

  /** A whole value in a new array. Throws CorruptionError. */
  read(place: ValuePlace): Uint8Array {
    const chunks = this.chunks(place);
    const value = new Uint8Array(place.length);
    while (chunks.next()) chunks.decodeInto(value.subarray(chunks.valueStart, chunks.valueEnd));
    return value;
  }

  /** A value's chunks, one after the other. Throws CorruptionError where there cannot be any. */
  chunks(place: ValuePlace): ChunkReader {
    this.checkPlace(place);
    return new ChunkReader(this.file, place);
  }

  /**
   * Points `view` at a value that is one chunk, out of its stored bytes, which `readStored` has read
   * from its place. Throws CorruptionError.
   */
  viewStored(stored: Uint8Array, { offset, length }: ValuePlace, view: ValueView): void {
    const { path } = this;
    const chunkBytes = chunkBytesAt(stored, 0, stored.length);
    expectNumber(chunkBytes, stored.length, "length of a chunk", path, offset);
    checkChunk(stored, path, offset);
    viewChunk(stored, length, view, path, offset);
  }

  /**
   * Reads what the log has from `offset` on into `target`: all of it, or up to the log's end. Returns
   * how much, at least the first `least` bytes. Throws CorruptionError if there are fewer.
   */
  readStored(target: Uint8Array, offset: number, least: number): number {
    const count = this.file.readSync(target, offset);
    expectAtLeast(count, least, "bytes of a value", this.path, offset);
    return count;
  }

  /** Checks that a value can be at a place, before anything is read or allocated by it. */
  checkPlace({ offset, length, storedLength }: ValuePlace): void {
    const { path } = this;
    expectAtLeast(offset, HEADER_BYTES, "start of a value", path, offset);
    expectAtMost(offset + storedLength, this.meta.fileBytes, "end of a value", path, offset);
    // Deflate cannot shrink more, so a damaged length asks for no memory that the file does not justify.
    expectAtMost(length, storedLength * MAX_DEFLATE_FACTOR, "length of a value", path, offset);
    const mostStored = length + Math.ceil(length / CHUNK_VALUE_BYTES) * CHUNK_HEADER_BYTES;
    expectAtMost(storedLength, mostStored, "stored bytes of a value", path, offset);
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

/** Walks over the chunks of one value; each is read, and its checksum checked, when it is moved to. */
export class ChunkReader {
  /** The chunk as it is stored: a view, valid until the next move. */
  chunk: Uint8Array;
  /** Of the value, the bytes [valueStart, valueEnd) are in the chunk. */
  valueStart: number;
  valueEnd: number;
  private readonly file: File;
  private readonly place: ValuePlace;
  private readonly window: Uint8Array;
  /** File offset of the window; bytes [pos, windowEnd) of it are ahead. */
  private windowOffset: number;
  private windowEnd: number;
  private pos: number;

  /** `place`: checked. */
  constructor(file: File, place: ValuePlace) {
    this.file = file;
    this.place = place;
    this.window = new Uint8Array(Math.min(READ_WINDOW_BYTES, place.storedLength));
    this.chunk = this.window;
    this.valueStart = 0;
    this.valueEnd = 0;
    this.windowOffset = place.offset;
    this.windowEnd = 0;
    this.pos = 0;
  }

  /** Whether the last chunk was moved to. */
  get isAtEnd(): boolean {
    return this.valueEnd === this.place.length;
  }

  /** Moves to the next chunk; false behind the last. Throws CorruptionError. */
  next(): boolean {
    const { file, place, window } = this;
    const limit = place.offset + place.storedLength;
    if (this.isAtEnd) {
      const end = this.windowOffset + this.pos;
      expectNumber(end, limit, "end of a value", file.path, place.offset);
      return false;
    }
    if (chunkBytesAt(window, this.pos, this.windowEnd) > this.windowEnd - this.pos) {
      this.windowOffset += this.pos;
      this.pos = 0;
      const wanted = Math.min(window.length, limit - this.windowOffset);
      this.windowEnd = file.readSync(window.subarray(0, wanted), this.windowOffset);
    }
    const { pos } = this;
    const length = chunkBytesAt(window, pos, this.windowEnd);
    const chunkOffset = this.windowOffset + pos;
    expectAtMost(length, this.windowEnd - pos, "length of a chunk", file.path, chunkOffset);
    this.chunk = window.subarray(pos, pos + length);
    checkChunk(this.chunk, file.path, chunkOffset);
    this.valueStart = this.valueEnd;
    this.valueEnd = Math.min(place.length, this.valueStart + CHUNK_VALUE_BYTES);
    this.pos = pos + length;
    return true;
  }

  /** Decodes the chunk into all of `target`, of valueEnd - valueStart bytes. Throws CorruptionError. */
  decodeInto(target: Uint8Array): void {
    const chunkOffset = this.windowOffset + this.pos - this.chunk.length;
    decodeChunk(this.chunk, target, this.file.path, chunkOffset);
  }
}
