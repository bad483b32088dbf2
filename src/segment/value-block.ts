/**
 * Value block: the values of consecutive ordinals, stored so that any one is read on its own.
 *
 * Stored block
 * offset 0       4        8          9               length
 *        +-------+--------+----------+-----------------+
 *        | xxh32 | length | encoding | body            |
 *        +-------+--------+----------+-----------------+
 * xxh32     u32 LE   of every byte after it
 * length    u32 LE   bytes of the whole block, at most MAX_BLOCK_BYTES
 * encoding  u8       see `BlockEncoding`
 *
 * Body
 * offset 0       2                 2 + 2 x (groups - 1)    ... + count
 *        +-------+---------------------+-----------------+-----------------+
 *        | count | group starts        | sizes           | stored values   |
 *        +-------+---------------------+-----------------+-----------------+
 * count         u16 LE   values in the block, 1 or more
 * group starts  u16 LE   each, for every 16 values but the first 16: where they begin in the stored values
 * sizes         u8       each: 0..252 bytes of the stored value, or
 *                        SAME   nothing is stored: the value equals the one before it;
 *                               never the first of a group
 *                        LONG   u16 LE in front of the stored value: its bytes in the low 15 bits;
 *                               the top bit (BARE) is set where a text block's value is no text
 *                        LARGE  the stored value says where the value lies in a value log: u53 LE
 *                               file number, u53 LE offset in the file, each in 8 bytes; u32 LE
 *                               bytes of the value, u32 LE bytes of its chunks
 *
 * What the stored bytes of a value are is up to the encoding: themselves; or symbol codes and key
 * tokens (symbols/table.ts), decoded with the entry's key; or, in a text block, the codes of a msgpack
 * string without its header. A deflate block's body is u32 LE inflated bytes, at most
 * MAX_BLOCK_BYTES, then the raw deflate stream, with the segment's dictionary, of such a body with
 * the values themselves.
 *
 * A block of integers has another body (packed-integers.ts), and no value of it has stored bytes. So
 * has one of which all values are equal: a set has no others.
 *
 * Body of equal values
 * offset 0       2               end
 *        +-------+---------------+
 *        | count | the value     |
 *        +-------+---------------+
 *
 * In memory a block is an *image*: the encoding byte and an inflated body.
 *
 * A value's position is its group's start plus at most 15 sizes: one byte a value instead of two.
 */
import { readU16, readU32, readU53, writeU32, writeU53 } from "../bytes/fixed.ts";
import type { ValuePlace } from "../entry.ts";
import type { SymbolTable } from "../symbols/table.ts";
import { inflateInto } from "./deflate.ts";
import { expectAtMost, expectChecksum, expectNumber } from "./format.ts";

/** How a block's values are stored. On disk: never change or reuse a number; 0 is never written. */
export const BlockEncoding = {
  raw: 1,
  deflate: 2,
  symbols: 3,
  text: 4,
  integers: 5,
  equal: 6,
} as const;
export type BlockEncoding = (typeof BlockEncoding)[keyof typeof BlockEncoding];

/** Whether values lie in such an image as they are. */
export function isPlain(encoding: number): boolean {
  return encoding === BlockEncoding.raw || encoding === BlockEncoding.equal;
}

/** Values in blocks are shorter than this; others lie in value logs. */
export const VALUE_LIMIT_BYTES = 8192;

/**
 * Above the size at which a block is closed by more than the largest stored value: codes take at most
 * twice the value. Starts within it fit a u16.
 */
export const MAX_BLOCK_BYTES = 32_768;

export const BLOCK_HEADER_BYTES: number = 4 + 4 + 1;
const ENCODING_OFFSET = 8;
export const GROUP_SHIFT = 4;
export const GROUP_MASK = 15;
export const SIZE_SAME = 253;
export const SIZE_LONG = 254;
export const SIZE_LARGE = 255;
export const MAX_SHORT_SIZE = 252;
export const LONG_BARE = 0x8000;
export const POINTER_BYTES: number = 8 + 8 + 4 + 4;

const NO_BYTES = new Uint8Array(0);

/** How the values of a segment are coded. */
export interface ValueCoders {
  /** What blocks are encoded as, where it makes them smaller. */
  readonly valueEncoding: BlockEncoding;
  /** Where the encoding is by symbols. */
  readonly valueSymbols: SymbolTable | undefined;
  /** What deflating starts from; may be empty. */
  readonly dictionary: Uint8Array;
}

/**
 * Checks a stored block, read from `fileOffset`, and returns its image: a view of `stored`, or an
 * inflated copy. The caller vouches for BLOCK_HEADER_BYTES. Throws CorruptionError.
 */
export function blockImage(
  stored: Uint8Array,
  dictionary: Uint8Array,
  file: string,
  fileOffset: number,
): Uint8Array {
  const { length } = stored;
  expectNumber(readU32(stored, 4), length, "length of a value block", file, fileOffset);
  const what = "value block";
  expectChecksum(stored, 4, length, readU32(stored, 0), what, file, fileOffset);
  if (stored[ENCODING_OFFSET] !== BlockEncoding.deflate) {
    return stored.subarray(ENCODING_OFFSET, length);
  }
  const bodyBytes = readU32(stored, BLOCK_HEADER_BYTES);
  expectAtMost(bodyBytes, MAX_BLOCK_BYTES, "inflated bytes of a value block", file, fileOffset);
  const deflated = stored.subarray(BLOCK_HEADER_BYTES + 4, length);
  const image = new Uint8Array(1 + bodyBytes);
  image[0] = BlockEncoding.raw;
  inflateInto(deflated, dictionary, image, 1, file, fileOffset);
  return image;
}

/**
 * Where the values of an image lie. One object serves many images and look-ups. It remembers the last
 * answer, so that who asks for one value after the other adds up each size once.
 */
export class ValueLocation {
  /** The stored value is image[start, start + length); a pointer if `isLarge`. */
  start = 0;
  length = 0;
  isLarge = false;
  /** In a text block: not a text, stored with all its bytes. */
  isBare = false;

  private bytes: Uint8Array = NO_BYTES;
  private imageStart = 0;
  private end = 0;
  private count = 0;
  /** All values are image[start, start + length). */
  private areEqual = false;
  /** Positions of the group starts, of the sizes and of the first stored value. */
  private groupStarts = 0;
  private sizes = 0;
  private values = 0;
  /** The value that the fields above tell of, or -1. */
  private found = -1;

  /** Makes bytes[imageStart, imageEnd) the image to look in; one that is too short has no values. */
  open(bytes: Uint8Array, imageStart: number, imageEnd: number): void {
    const body = imageStart + 1;
    this.bytes = bytes;
    this.imageStart = imageStart;
    this.end = imageEnd;
    this.found = -1;
    this.count = imageEnd - body < 2 ? 0 : readU16(bytes, body);
    this.areEqual = bytes[imageStart] === BlockEncoding.equal;
    if (this.areEqual) {
      this.isLarge = false;
      this.isBare = false;
      this.start = body + 2;
      this.length = imageEnd - this.start;
      return;
    }
    this.groupStarts = body + 2;
    this.sizes = this.groupStarts + 2 * ((this.count - 1) >> GROUP_SHIFT);
    this.values = this.sizes + this.count;
    if (this.values > imageEnd) this.count = 0;
  }

  /** Finds value `index`. False where the block has no such value. */
  find(index: number): boolean {
    const { bytes, sizes, end } = this;
    if (index >= this.count) return false;
    if (this.areEqual) return true;
    let wanted = index;
    while (bytes[sizes + wanted] === SIZE_SAME && (wanted & GROUP_MASK) !== 0) wanted--;
    if (wanted === this.found) return true;
    const group = wanted >> GROUP_SHIFT;
    let i = group << GROUP_SHIFT;
    let pos = this.values;
    if (this.found >= i && this.found < wanted) {
      i = this.found + 1;
      pos = this.start + this.length;
    } else if (group > 0) {
      pos += readU16(bytes, this.groupStarts + 2 * (group - 1));
    }
    for (; i < wanted; i++) {
      const size = bytes[sizes + i];
      if (size <= MAX_SHORT_SIZE) pos += size;
      else if (size === SIZE_LONG) pos += 2 + (readU16(bytes, pos) & ~LONG_BARE);
      else if (size === SIZE_LARGE) pos += POINTER_BYTES;
    }
    const size = bytes[sizes + wanted];
    this.found = -1;
    this.isBare = false;
    this.isLarge = false;
    if (size <= MAX_SHORT_SIZE) {
      this.length = size;
    } else if (size === SIZE_LARGE) {
      this.isLarge = true;
      this.length = POINTER_BYTES;
    } else if (size === SIZE_LONG && pos + 2 <= end) {
      const long = readU16(bytes, pos);
      this.isBare = (long & LONG_BARE) !== 0;
      this.length = long & ~LONG_BARE;
      pos += 2;
    } else {
      return false;
    }
    this.start = pos;
    if (pos + this.length > end) return false;
    this.found = wanted;
    return true;
  }

  /** Whether value `index`, which was found last, is stored for others as well, or by another. */
  isRepeated(index: number): boolean {
    if (this.areEqual || this.found !== index) return true;
    const next = index + 1;
    return (
      next < this.count && (next & GROUP_MASK) !== 0 && this.bytes[this.sizes + next] === SIZE_SAME
    );
  }

  /**
   * Finds `count` values from `index` on: value i has lengths[i] bytes and begins starts[i] bytes after
   * the image, which may lie behind what 31 bits tell; one that repeats the one before it starts where
   * that does. False unless the sizes of all are in one byte.
   */
  findMany(index: number, count: number, starts: Int32Array, lengths: Int32Array): boolean {
    if (!this.find(index) || this.isLarge || this.isBare || this.length > MAX_SHORT_SIZE)
      return false;
    const { bytes, imageStart, end } = this;
    if (this.areEqual) {
      starts.fill(this.start - imageStart, 0, count);
      lengths.fill(this.length, 0, count);
      return index + count <= this.count;
    }
    const sizes = this.sizes + index;
    let start = this.start - imageStart;
    let { length } = this;
    starts[0] = start;
    lengths[0] = length;
    let pos = start + length;
    for (let i = 1; i < count; i++) {
      const size = bytes[sizes + i];
      if (size !== SIZE_SAME) {
        if (size > MAX_SHORT_SIZE) return false;
        start = pos;
        length = size;
        pos += size;
      }
      starts[i] = start;
      lengths[i] = length;
    }
    return pos <= end - imageStart;
  }
}

/** The pointer at `pos` of an image. */
export function readPointer(bytes: Uint8Array, pos: number): ValuePlace {
  return {
    fileNumber: readU53(bytes, pos),
    offset: readU53(bytes, pos + 8),
    length: readU32(bytes, pos + 16),
    storedLength: readU32(bytes, pos + 20),
  };
}

/** Writes a pointer to target[pos, pos + POINTER_BYTES). */
export function writePointer(target: Uint8Array, pos: number, place: ValuePlace): void {
  writeU53(target, pos, place.fileNumber);
  writeU53(target, pos + 8, place.offset);
  writeU32(target, pos + 16, place.length);
  writeU32(target, pos + 20, place.storedLength);
}

/** Values in the block; 0 for an image too short to say. */
export function imageCount(image: Uint8Array): number {
  return image.length < 3 ? 0 : readU16(image, 1);
}
