/**
 * Large values: those of LARGE_VALUE_BYTES and more, outside of value blocks.
 *
 * A large value lies between two value blocks as a sequence of chunks; its ordinal's place in a
 * block holds a pointer to the first. So reading one reads nothing else, and a block of short values
 * stays small. Each chunk has a checksum of its own: a value of 1 GiB is read, checked and inflated
 * through a small buffer.
 *
 * Chunk
 * offset 0       4        8          9
 *        +-------+--------+----------+-----------------+
 *        | xxh32 | length | encoding | stored          |
 *        +-------+--------+----------+-----------------+
 * xxh32     u32 LE   of every byte after it
 * length    u32 LE   bytes of the whole chunk, at most MAX_CHUNK_BYTES
 * encoding  u8       BlockEncoding.raw, or .deflate: a raw deflate stream with the dictionary
 * stored             CHUNK_VALUE_BYTES of the value, or what is left of it in the last chunk
 */
import { checksum } from "../bytes/checksum.ts";
import { readU32, writeU32 } from "../bytes/fixed.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import type { File } from "../io/file-system.ts";
import { deflate, inflateInto } from "./deflate.ts";
import { expectAtLeast, expectAtMost, expectChecksum, expectNumber } from "./format.ts";
import {
  BLOCK_HEADER_BYTES,
  BlockEncoding,
  ENCODING_OFFSET,
  type LargeValuePlace,
} from "./value-block.ts";

/** Bytes of the value in each chunk but the last. */
const CHUNK_VALUE_BYTES = 65_536;
/** A chunk is stored raw where deflating gains nothing, so it is never longer. */
const MAX_CHUNK_BYTES: number = BLOCK_HEADER_BYTES + CHUNK_VALUE_BYTES;
/** One read takes this much: four raw chunks, or many deflated ones. */
const READ_WINDOW_BYTES = 4 * MAX_CHUNK_BYTES;
/** The most that deflate shrinks (zlib's technical details). */
const MAX_DEFLATE_FACTOR = 1032;

/** Appends the chunks of `value`. */
export function writeLargeValue(
  output: ByteWriter,
  value: Uint8Array,
  isCompressing: boolean,
  dictionary: Uint8Array,
): void {
  // A value whose first chunk does not shrink is taken for compressed already: no more is tried.
  let isShrinking = isCompressing;
  for (let start = 0; start < value.length; start += CHUNK_VALUE_BYTES) {
    const chunk = value.subarray(start, Math.min(value.length, start + CHUNK_VALUE_BYTES));
    const chunkStart = output.length;
    output.u32(0);
    output.u32(0);
    const deflated = isShrinking ? deflate(chunk, dictionary) : undefined;
    if (start === 0) isShrinking = deflated !== undefined;
    output.u8(deflated === undefined ? BlockEncoding.raw : BlockEncoding.deflate);
    output.append(deflated ?? chunk);
    writeU32(output.buffer, chunkStart + 4, output.length - chunkStart);
    writeU32(output.buffer, chunkStart, checksum(output.buffer, chunkStart + 4, output.length));
  }
}

/** Reads a whole value into a new array. Throws CorruptionError. */
export function readLargeValue(
  file: File,
  place: LargeValuePlace,
  dictionary: Uint8Array,
): Uint8Array {
  const { offset, length, storedLength } = place;
  const limit = offset + storedLength;
  // Deflate cannot shrink more, so a damaged length asks for no memory that the file does not justify.
  expectAtMost(limit, file.size(), "end of a large value", file.path, offset);
  expectAtMost(length, storedLength * MAX_DEFLATE_FACTOR, "large value", file.path, offset);
  const value = new Uint8Array(length);
  const window = new Uint8Array(Math.min(READ_WINDOW_BYTES, storedLength));
  let windowOffset = offset;
  let windowEnd = 0;
  let pos = 0;
  let filled = 0;
  while (filled < length) {
    if (chunkBytesAt(window, pos, windowEnd) > windowEnd - pos) {
      windowOffset += pos;
      pos = 0;
      const wanted = Math.min(window.length, limit - windowOffset);
      windowEnd = file.readSync(window.subarray(0, wanted), windowOffset);
    }
    const chunkOffset = windowOffset + pos;
    const chunkBytes = chunkBytesAt(window, pos, windowEnd);
    expectAtLeast(chunkBytes, BLOCK_HEADER_BYTES, "length of a chunk", file.path, chunkOffset);
    expectAtMost(chunkBytes, windowEnd - pos, "length of a chunk", file.path, chunkOffset);
    const end = Math.min(length, filled + CHUNK_VALUE_BYTES);
    const chunk = window.subarray(pos, pos + chunkBytes);
    readChunk(chunk, dictionary, value.subarray(filled, end), file.path, chunkOffset);
    filled = end;
    pos += chunkBytes;
  }
  expectNumber(windowOffset + pos, limit, "end of a large value", file.path, offset);
  return value;
}

/** What the chunk at `pos` says of its length; more than there is where the header is cut off. */
function chunkBytesAt(window: Uint8Array, pos: number, windowEnd: number): number {
  if (windowEnd - pos < BLOCK_HEADER_BYTES) return MAX_CHUNK_BYTES + 1;
  return readU32(window, pos + 4);
}

function readChunk(
  chunk: Uint8Array,
  dictionary: Uint8Array,
  target: Uint8Array,
  file: string,
  fileOffset: number,
): void {
  const what = "chunk of a large value";
  expectChecksum(chunk, 4, chunk.length, readU32(chunk, 0), what, file, fileOffset);
  const stored = chunk.subarray(BLOCK_HEADER_BYTES);
  if (chunk[ENCODING_OFFSET] === BlockEncoding.deflate) {
    inflateInto(stored, dictionary, target, 0, file, fileOffset);
  } else {
    expectNumber(stored.length, target.length, "bytes of a chunk", file, fileOffset);
    target.set(stored);
  }
}
