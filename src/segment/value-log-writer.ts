/**
 * ValueLogWriter: large values in, one value log out.
 *
 * Values go through a buffer of about a mebibyte, so that one of 1 GiB takes no more memory than one
 * of 64 KiB. The file is a value log that segments may refer to once `sync` or `finish` has resolved;
 * the directory is the caller's to sync. After a method has rejected there is nothing to do but
 * `abandon`.
 */
import { assert } from "../assert.ts";
import { ByteWriter } from "../bytes/writer.ts";
import { type FileIdentity, MAX_VALUE_BYTES, type ValuePlace } from "../entry.ts";
import type { File, FileSystem } from "../io/file-system.ts";
import { encodeHeader } from "./format.ts";
import type { FinishedValueLog, ValueLog } from "./value-log.ts";
import { appendChunk, CHUNK_VALUE_BYTES } from "./value-log-format.ts";

/** Output gathered before it is written. */
const DRAIN_BYTES = 2 ** 20;

/**
 * After so many values in a row that did not shrink, only one in so many is tried: to find out that
 * 6 kB do not shrink takes longer than all else that is done with them.
 */
const MAX_FAILED_TRIALS = 16;

export interface ValueLogWriterOptions {
  readonly fileSystem: FileSystem;
  readonly path: string;
  readonly identity: FileIdentity;
  /** Whether values are deflated that shrink. */
  readonly isCompressing: boolean;
  /** Lets other work run; rejects when the job is cancelled. Called after each chunk. */
  pause(): Promise<void>;
}

export class ValueLogWriter {
  private readonly options: ValueLogWriterOptions;
  private readonly file: File;
  private readonly output: ByteWriter;
  /** Where the first byte of `output` belongs in the file. */
  private outputOffset: number;
  /** Values since the last one that shrank. */
  private failedTrials: number;

  /** Creates the file, which must not exist. */
  static async create(options: ValueLogWriterOptions): Promise<ValueLogWriter> {
    return new ValueLogWriter(options, await options.fileSystem.open(options.path, "create"));
  }

  private constructor(options: ValueLogWriterOptions, file: File) {
    this.options = options;
    this.file = file;
    this.output = new ByteWriter(1 << 16);
    this.output.append(encodeHeader(options.identity, "value log"));
    this.outputOffset = 0;
    this.failedTrials = 0;
  }

  /** Bytes that the file has, or will have once all is written. */
  get bytes(): number {
    return this.outputOffset + this.output.length;
  }

  /** Appends a value, which must not change meanwhile. */
  async append(value: Uint8Array): Promise<ValuePlace> {
    assert(value.length > 0, "a value in a value log is not empty");
    assert(value.length <= MAX_VALUE_BYTES, "a value in a value log is within its limit");
    const offset = this.bytes;
    // A value whose first chunk does not shrink is taken for compressed already: no more is tried.
    let isShrinking = this.options.isCompressing && this.isWorthTrying;
    for (let start = 0; start < value.length; start += CHUNK_VALUE_BYTES) {
      const end = Math.min(value.length, start + CHUNK_VALUE_BYTES);
      const wasDeflated = appendChunk(this.output, value.subarray(start, end), isShrinking);
      if (start === 0) {
        isShrinking = wasDeflated;
        this.failedTrials = wasDeflated ? 0 : this.failedTrials + 1;
      }
      if (end < value.length) await this.rest();
    }
    return this.placeFrom(offset, value.length);
  }

  /** Appends a value of another log as it is stored there, chunk by chunk, each one checked. */
  async copy(log: ValueLog, place: ValuePlace): Promise<ValuePlace> {
    const offset = this.bytes;
    const chunks = log.chunks(place);
    while (chunks.next()) {
      this.output.append(chunks.chunk);
      if (!chunks.isAtEnd) await this.rest();
    }
    return this.placeFrom(offset, place.length);
  }

  /** Makes all values appended so far durable. */
  async sync(): Promise<void> {
    await this.drain();
    await this.file.sync();
  }

  /** Completes, syncs and closes the file. */
  async finish(): Promise<FinishedValueLog> {
    await this.sync();
    await this.file.close();
    return { fileNumber: this.options.identity.fileNumber, fileBytes: this.bytes };
  }

  /** Closes and removes the file. */
  async abandon(): Promise<void> {
    await this.file.close();
    await this.options.fileSystem.remove(this.file.path);
  }

  private get isWorthTrying(): boolean {
    const { failedTrials } = this;
    return failedTrials < MAX_FAILED_TRIALS || failedTrials % MAX_FAILED_TRIALS === 0;
  }

  private async placeFrom(offset: number, length: number): Promise<ValuePlace> {
    const { fileNumber } = this.options.identity;
    const place = { fileNumber, offset, length, storedLength: this.bytes - offset };
    await this.rest();
    return place;
  }

  private async rest(): Promise<void> {
    if (this.output.length >= DRAIN_BYTES) await this.drain();
    await this.options.pause();
  }

  private async drain(): Promise<void> {
    const { output } = this;
    if (output.length === 0) return;
    await this.file.write(output.bytes, this.outputOffset);
    this.outputOffset += output.length;
    output.reset();
  }
}
