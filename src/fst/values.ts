/**
 * The values column: the u53 values of a frozen layer by ordinal, in packed blocks.
 *
 * Values are cut into blocks of 128. A block stores its smallest value once and, for each value,
 * the difference from it in as few bits as the largest difference needs. Values that lie close
 * together, such as offsets that grow with the key, take few bits wherever they start; reading one
 * is two loads. A whole block takes 16 bytes for each bit of width, so blocks begin at whole bytes.
 *
 * ```
 *         +------------------+-----+------------------+--------+-----+--------+---------+
 *         | directory entry  | ... | directory entry  | block  | ... | block  | padding |
 *         +------------------+-----+------------------+--------+-----+--------+---------+
 * entry   13 bytes, one a block:
 *         +----------+----------+-------+
 *         | smallest | start    | width |
 *         +----------+----------+-------+
 * smallest u53   smallest value of the block
 * start    u32   where the block begins, from the end of the directory
 * width    u8    bits of a difference, 0 to 53
 * block    128 differences (the last block: what is left) of `width` bits, lowest bit first
 * padding  8 zeros, so that eight bytes may be read wherever a difference begins
 * ```
 *
 * Nothing is written for a layer without keys.
 */
import { readU32, readU53, writeU32 } from "../bytes/fixed.ts";
import { ByteWriter } from "../bytes/writer.ts";
import { InvalidArgumentError } from "../errors.ts";
import { damaged } from "./format.ts";

const BLOCK_VALUES = 128;
const ENTRY_BYTES = 13;
const START_OFFSET = 8;
const WIDTH_OFFSET = 12;
const MAX_WIDTH = 53;
const PADDING_BYTES = 8;

/** Bits that are moved at once: with a shift of up to 7 they stay within a positive integer. */
const PIECE_BITS = 24;

export class ValuesWriter {
  private readonly directory: ByteWriter;
  private readonly blocks: ByteWriter;
  /** Values of the block that is being filled. */
  private readonly pending: Float64Array;
  private pendingCount: number;

  constructor() {
    this.directory = new ByteWriter();
    this.blocks = new ByteWriter();
    this.pending = new Float64Array(BLOCK_VALUES);
    this.pendingCount = 0;
  }

  /** `value` is a u53; the caller vouches for it. */
  append(value: number): void {
    this.pending[this.pendingCount++] = value;
    if (this.pendingCount === BLOCK_VALUES) this.writeBlock();
  }

  finish(): Uint8Array {
    if (this.pendingCount > 0) this.writeBlock();
    if (this.directory.length === 0) return new Uint8Array(0);
    const { directory, blocks } = this;
    const bytes = new Uint8Array(directory.length + blocks.length + PADDING_BYTES);
    bytes.set(directory.bytes, 0);
    bytes.set(blocks.bytes, directory.length);
    return bytes;
  }

  private writeBlock(): void {
    const { pending, pendingCount, directory, blocks } = this;
    let smallest = pending[0];
    let largest = pending[0];
    for (let i = 1; i < pendingCount; i++) {
      smallest = Math.min(smallest, pending[i]);
      largest = Math.max(largest, pending[i]);
    }
    const width = bitsOf(largest - smallest);
    if (blocks.length > 0xffff_ffff) {
      throw new InvalidArgumentError(
        "the values of a frozen layer take at most 4 GiB: divide the keys among several layers",
      );
    }
    directory.u53(smallest);
    directory.u32(blocks.length);
    directory.u8(width);
    const byteCount = Math.ceil((pendingCount * width) / 8);
    // Room for the four bytes that are written at the last difference, of which it needs fewer.
    const start = blocks.reserve(byteCount + 4);
    blocks.buffer.fill(0, start, start + byteCount + 4);
    let bit = 0;
    for (let i = 0; i < pendingCount; i++) {
      let difference = pending[i] - smallest;
      for (let left = width; left > 0; left -= PIECE_BITS) {
        const bits = Math.min(left, PIECE_BITS);
        const piece = difference % 2 ** bits;
        difference = (difference - piece) / 2 ** bits;
        const pos = start + (bit >>> 3);
        writeU32(blocks.buffer, pos, readU32(blocks.buffer, pos) | (piece << (bit & 7)));
        bit += bits;
      }
    }
    blocks.length = start + byteCount;
    this.pendingCount = 0;
  }
}

/** Reads a column in place. `offset` is where it lies in `file`, for errors alone. */
export class ValuesReader {
  private readonly bytes: Uint8Array;
  private readonly file: string;
  private readonly offset: number;
  private readonly blocksStart: number;

  constructor(bytes: Uint8Array, keyCount: number, file: string, offset: number) {
    this.bytes = bytes;
    this.file = file;
    this.offset = offset;
    this.blocksStart = Math.ceil(keyCount / BLOCK_VALUES) * ENTRY_BYTES;
    const least = keyCount === 0 ? 0 : this.blocksStart + PADDING_BYTES;
    if (bytes.length < least) {
      throw damaged(file, offset, `at least ${least} bytes of values`, `${bytes.length}`);
    }
  }

  /** The value of the key with this ordinal, which the caller has bounded. */
  read(ordinal: number): number {
    const { bytes } = this;
    const block = Math.floor(ordinal / BLOCK_VALUES);
    const entry = block * ENTRY_BYTES;
    const smallest = readU53(bytes, entry);
    const width = bytes[entry + WIDTH_OFFSET];
    const bit = (ordinal - block * BLOCK_VALUES) * width;
    const pos = this.blocksStart + readU32(bytes, entry + START_OFFSET) + (bit >>> 3);
    if (width > MAX_WIDTH || pos + PADDING_BYTES > bytes.length) throw this.damage(entry, width);
    const shift = bit & 7;
    const value = smallest + readBits(bytes, pos, shift, width);
    if (value > Number.MAX_SAFE_INTEGER) throw this.damage(entry, width);
    return value;
  }

  private damage(entry: number, width: number): Error {
    return damaged(this.file, this.offset + entry, "a block of values", `width ${width}`);
  }
}

/** `width` bits, 0 to 53, that begin `shift` bits, 0 to 7, after the start of a byte. */
function readBits(bytes: Uint8Array, pos: number, shift: number, width: number): number {
  const low = readU32(bytes, pos) >>> shift;
  const bits = width + shift;
  if (bits <= 32) return width === 32 ? low : low & (2 ** width - 1);
  const high = readU32(bytes, pos + 4) & (2 ** (bits - 32) - 1);
  return low + high * 2 ** (32 - shift);
}

/** Bits that a u53 needs: 0 for 0. */
function bitsOf(value: number): number {
  const high = Math.floor(value / 0x1_0000_0000);
  return high > 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(value);
}
