/**
 * Range tombstones of a segment: the spans of keys that its run deletes from older runs.
 *
 * They are disjoint, do not touch, and are in key order, so a look-up is a binary search. The section
 * is read in place; beside it, four positions for each are kept.
 *
 *        +-------------+-------+---------------+-----+-------------+-- ...
 *        | startLength | start | endLength + 1 | end | startLength | start
 *        +-------------+-------+---------------+-----+-------------+-- ...
 * startLength    varint  at most MAX_KEY_BYTES
 * start                  the first key that is deleted
 * endLength + 1  varint  at most MAX_KEY_BYTES + 1; 0: there is no end, in the last one only
 * end                    the first key after `start` that is not deleted
 */
import { compareBytes, compareRanges } from "../bytes/compare.ts";
import { VarintReader } from "../bytes/varint.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import type { Span, Spans } from "../cursor/spans.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import { expectAtMost, expectNumber, throwDamage } from "./format.ts";

/** The least that one takes: an empty start, and no end. */
const MIN_BYTES = 2;

/** Appends one, whose start sorts after the end of the one before. */
export function appendRangeTombstone(output: ByteWriter, { start, end }: Span): void {
  output.varint(start.length);
  output.append(start);
  output.varint(end === undefined ? 0 : end.length + 1);
  if (end !== undefined) output.append(end);
}

export class RangeTombstones implements Spans {
  readonly count: number;
  private readonly bytes: Uint8Array;
  /** Where start and end of each begin and end in `bytes`; there is no end where these are equal to 0. */
  private readonly positions: Uint32Array;

  /** Takes the section, whose checksum the caller has checked. Throws CorruptionError. */
  constructor(bytes: Uint8Array, count: number, file: string, fileOffset: number) {
    const possible = Math.floor(bytes.length / MIN_BYTES);
    expectAtMost(count, possible, "number of range tombstones", file, fileOffset);
    this.count = count;
    this.bytes = bytes;
    this.positions = new Uint32Array(count * FIELDS);
    const reader = new VarintReader();
    for (let i = 0; i < count; i++) {
      if (this.readOne(reader, i) && this.isInOrder(i)) continue;
      const actual = `other bytes in ${i}`;
      throwDamage("range tombstones", file, fileOffset, "a range tombstone", actual);
    }
    expectNumber(reader.pos, bytes.length, "end of the range tombstones", file, fileOffset);
  }

  get byteLength(): number {
    return this.bytes.byteLength + this.positions.byteLength;
  }

  floor(key: Uint8Array, length: number): Span | undefined {
    const index = this.countUpTo(key, length) - 1;
    return index < 0 ? undefined : this.at(index);
  }

  after(key: Uint8Array, length: number): Span | undefined {
    const index = this.countUpTo(key, length);
    return index === this.count ? undefined : this.at(index);
  }

  /** Whether key[0, length) is deleted from older runs. */
  covers(key: Uint8Array, length: number): boolean {
    const index = this.countUpTo(key, length) - 1;
    if (index < 0) return false;
    const endStart = this.positions[index * FIELDS + END_START];
    const endEnd = this.positions[index * FIELDS + END_END];
    return endEnd === 0 || compareRanges(this.bytes, endStart, endEnd, key, 0, length) > 0;
  }

  /** The range tombstone at an index below the count. */
  at(index: number): Span {
    const { bytes, positions } = this;
    const i = index * FIELDS;
    const end =
      positions[i + END_END] === 0
        ? undefined
        : bytes.subarray(positions[i + END_START], positions[i + END_END]);
    return { start: bytes.subarray(positions[i + START_START], positions[i + START_END]), end };
  }

  /** Number of spans that start at or before key[0, length). */
  private countUpTo(key: Uint8Array, length: number): number {
    const { bytes, positions } = this;
    let lo = 0;
    let hi = this.count;
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      const i = mid * FIELDS;
      const start = positions[i + START_START];
      if (compareRanges(bytes, start, positions[i + START_END], key, 0, length) <= 0) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  }

  private readOne(reader: VarintReader, index: number): boolean {
    const { bytes, positions } = this;
    const i = index * FIELDS;
    const startLength = reader.read(bytes, bytes.length);
    if (startLength < 0 || startLength > MAX_KEY_BYTES) return false;
    positions[i + START_START] = reader.pos;
    reader.pos += startLength;
    positions[i + START_END] = reader.pos;
    const endLength = reader.read(bytes, bytes.length) - 1;
    if (endLength < -1 || endLength > MAX_KEY_BYTES) return false;
    if (endLength === -1) return index === this.count - 1;
    positions[i + END_START] = reader.pos;
    reader.pos += endLength;
    positions[i + END_END] = reader.pos;
    return reader.pos <= bytes.length;
  }

  /** Whether the span is not empty, and neither overlaps nor touches the one before it. */
  private isInOrder(index: number): boolean {
    const { start, end } = this.at(index);
    if (end !== undefined && compareBytes(start, end) >= 0) return false;
    const endBefore = index === 0 ? undefined : this.at(index - 1).end;
    return endBefore === undefined || compareBytes(endBefore, start) < 0;
  }
}

/** Positions of each range tombstone. An end is never at 0, since a length stands before it. */
const START_START = 0;
const START_END = 1;
const END_START = 2;
const END_END = 3;
const FIELDS = 4;
