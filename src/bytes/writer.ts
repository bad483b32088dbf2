/**
 * ByteWriter: an output buffer that grows.
 *
 * It doubles when full, so appending is amortised O(1). `bytes` is a view of what was written so
 * far; it is valid until the next append. `reset` keeps the buffer for reuse.
 */
import { copyRange } from "./copy.ts";
import { writeU16, writeU32, writeU53 } from "./fixed.ts";
import { MAX_VARINT_BYTES, writeVarint } from "./varint.ts";

/** Fewer bytes are copied by a loop, which needs neither a view of them nor a call. */
const LOOP_MAX_BYTES = 48;

export class ByteWriter {
  /** The whole buffer, of which the first `length` bytes are written. Replaced when it grows. */
  buffer: Uint8Array;
  /** The same bytes, for those who write several at once. */
  view: DataView;
  /** Bytes written so far. */
  length: number;

  constructor(initialBytes = 256) {
    this.buffer = new Uint8Array(initialBytes);
    this.view = new DataView(this.buffer.buffer);
    this.length = 0;
  }

  /** View of the bytes written so far; valid until the next append. */
  get bytes(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  /** Makes room for `count` more bytes and returns the position where they begin. */
  reserve(count: number): number {
    const needed = this.length + count;
    if (needed > this.buffer.length) this.grow(needed);
    return this.length;
  }

  u8(value: number): void {
    const pos = this.reserve(1);
    this.buffer[pos] = value;
    this.length = pos + 1;
  }

  u16(value: number): void {
    const pos = this.reserve(2);
    writeU16(this.buffer, pos, value);
    this.length = pos + 2;
  }

  u32(value: number): void {
    const pos = this.reserve(4);
    writeU32(this.buffer, pos, value);
    this.length = pos + 4;
  }

  u53(value: number): void {
    const pos = this.reserve(8);
    writeU53(this.buffer, pos, value);
    this.length = pos + 8;
  }

  varint(value: number): void {
    const pos = this.reserve(MAX_VARINT_BYTES);
    this.length = writeVarint(this.buffer, pos, value);
  }

  /** Appends bytes[start, end). */
  append(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    const len = end - start;
    const pos = this.reserve(len);
    if (len < LOOP_MAX_BYTES) {
      const { buffer } = this;
      for (let i = 0; i < len; i++) buffer[pos + i] = bytes[start + i];
    } else {
      copyRange(this.buffer, pos, bytes, start, end);
    }
    this.length = pos + len;
  }

  /** A copy of the bytes written so far. */
  take(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }

  reset(): void {
    this.length = 0;
  }

  private grow(needed: number): void {
    const grown = new Uint8Array(Math.max(needed, this.buffer.length * 2));
    grown.set(this.buffer.subarray(0, this.length));
    this.buffer = grown;
    this.view = new DataView(grown.buffer);
  }
}
