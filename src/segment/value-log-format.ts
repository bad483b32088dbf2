/**
 * Byte layout of a value log: the file beside the segments that holds large values.
 *
 *        +--------+-------+-------+-- ... --+
 *        | header | value | value |         |
 *        +--------+-------+-------+-- ... --+
 * header   as of a segment (format.ts), with the magic "memkvval"
 * value    one chunk after the other, without gaps
 *
 * Chunk
 * offset 0       4        8          9                length
 *        +-------+--------+----------+-----------------+
 *        | xxh32 | length | encoding | stored          |
 *        +-------+--------+----------+-----------------+
 * xxh32     u32 LE   of every byte after it
 * length    u32 LE   bytes of the whole chunk, at most MAX_CHUNK_BYTES
 * encoding  u8       BlockEncoding.raw, or .deflate: a raw deflate stream
 * stored             CHUNK_VALUE_BYTES of the value, or what is left of it in the last chunk
 *
 * What says where a value begins, how long it is and how many bytes its chunks take is the entry in
 * its segment (`ValuePlace`); how long the file is, the manifest. So a log needs no index, and a
 * chunk's own checksum is all that a part of a value needs: a value of 1 GiB is written, copied,
 * read and checked through a small buffer.
 */
import { checksum } from "../bytes/checksum.ts";
import { readU32, writeU32 } from "../bytes/fixed.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import type { ValueView } from "../cursor/value-view.ts";
import { deflate, inflateInto } from "./deflate.ts";
import { expectAtLeast, expectAtMost, expectChecksum, expectNumber } from "./format.ts";
import { BlockEncoding } from "./value-block.ts";

/** Bytes of the value in each chunk but the last. */
export const CHUNK_VALUE_BYTES = 65_536;

const LENGTH_OFFSET = 4;
const ENCODING_OFFSET: number = LENGTH_OFFSET + 4;
export const CHUNK_HEADER_BYTES: number = ENCODING_OFFSET + 1;
/** A chunk is stored raw where deflating gains nothing, so it is never longer. */
export const MAX_CHUNK_BYTES: number = CHUNK_HEADER_BYTES + CHUNK_VALUE_BYTES;

/** The most that deflate shrinks (zlib's technical details). */
export const MAX_DEFLATE_FACTOR = 1032;

const NO_DICTIONARY = new Uint8Array(0);

/** Appends a chunk with these bytes of a value; returns whether it was deflated. */
export function appendChunk(
  output: ByteWriter,
  bytes: Uint8Array,
  isCompressing: boolean,
): boolean {
  const start = output.length;
  const deflated = isCompressing ? deflate(bytes, NO_DICTIONARY) : undefined;
  output.u32(0);
  output.u32(CHUNK_HEADER_BYTES + (deflated ?? bytes).length);
  output.u8(deflated === undefined ? BlockEncoding.raw : BlockEncoding.deflate);
  output.append(deflated ?? bytes);
  writeU32(output.buffer, start, checksum(output.buffer, start + LENGTH_OFFSET, output.length));
  return deflated !== undefined;
}

/** What the chunk at `pos` says of its length; more than there is where its header is cut off. */
export function chunkBytesAt(bytes: Uint8Array, pos: number, end: number): number {
  if (end - pos < CHUNK_HEADER_BYTES) return MAX_CHUNK_BYTES + 1;
  return readU32(bytes, pos + LENGTH_OFFSET);
}

/** Checks the chunk bytes[0, length), all that its header says of it. Throws CorruptionError. */
export function checkChunk(chunk: Uint8Array, file: string, fileOffset: number): void {
  const what = "chunk of a value";
  const { length } = chunk;
  expectAtLeast(length, CHUNK_HEADER_BYTES, "length of a chunk", file, fileOffset);
  expectAtMost(length, MAX_CHUNK_BYTES, "length of a chunk", file, fileOffset);
  expectChecksum(chunk, LENGTH_OFFSET, length, readU32(chunk, 0), what, file, fileOffset);
}

/** Decodes a checked chunk into all of `target`. Throws CorruptionError. */
export function decodeChunk(
  chunk: Uint8Array,
  target: Uint8Array,
  file: string,
  fileOffset: number,
): void {
  const stored = chunk.subarray(CHUNK_HEADER_BYTES);
  const encoding = chunk[ENCODING_OFFSET];
  if (encoding === BlockEncoding.deflate) {
    inflateInto(stored, NO_DICTIONARY, target, 0, file, fileOffset);
    return;
  }
  expectNumber(encoding, BlockEncoding.raw, "encoding of a chunk", file, fileOffset);
  expectNumber(stored.length, target.length, "bytes of a chunk", file, fileOffset);
  target.set(stored);
}

/**
 * Points `view` at the `length` bytes of a value that are all in one checked chunk: in the chunk, or
 * where they must be inflated, in a new array. Throws CorruptionError.
 */
export function viewChunk(
  chunk: Uint8Array,
  length: number,
  view: ValueView,
  file: string,
  fileOffset: number,
): void {
  if (chunk[ENCODING_OFFSET] === BlockEncoding.raw) {
    const stored = chunk.length - CHUNK_HEADER_BYTES;
    expectNumber(stored, length, "bytes of a chunk", file, fileOffset);
    view.set(chunk, CHUNK_HEADER_BYTES, chunk.length);
    return;
  }
  const value = new Uint8Array(length);
  decodeChunk(chunk, value, file, fileOffset);
  view.set(value, 0, length);
}
