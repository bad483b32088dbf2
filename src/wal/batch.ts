/**
 * The commit record: the operations of one group of writes, encoded once.
 *
 * The same bytes are appended to the WAL and then read back to apply them to the memtable, and again
 * at recovery. A group is atomic: it is one WAL record, so it is there whole or not at all.
 *
 * ```
 * offset 0                 RECORD_HEADER_BYTES    + 8        + 12
 *        +-----------------+----------------------+----------+--------------+
 *        | frame (wal)     | first seqno u53 LE   | count u32| operations   |
 *        +-----------------+----------------------+----------+--------------+
 * operation:  kind u8 (OperationKind) | key length varint | key | and then, for
 *   put             value length varint | value
 *   expiringPut     expiry u53 LE in 8 bytes, at least 1 and below NEVER | value length varint | value
 *   rangeTombstone  end length + 1 varint, 0 where the range has no end | end. The key is its start.
 * ```
 * Operation i of the record has sequence number first + i.
 */
import { readU32, readU53, writeU32, writeU53 } from "../bytes/fixed.ts";
import { MAX_BYTES_PER_UNIT, writeText } from "../bytes/text.ts";
import { MAX_VARINT_BYTES, VarintReader, varintSize, writeVarint } from "../bytes/varint.ts";
import { ByteWriter } from "../bytes/writer.ts";
import type { Span } from "../cursor/spans.ts";
import { EntryKind, MAX_KEY_BYTES, MAX_SEQNO, MAX_VALUE_BYTES, NEVER } from "../entry.ts";
import { CorruptionError, InvalidArgumentError } from "../errors.ts";
import { RECORD_HEADER_BYTES } from "./format.ts";

/** What an operation does. On disk: never change or reuse a number. */
const OperationKind = {
  put: EntryKind.put,
  tombstone: EntryKind.tombstone,
  /** Deletes the keys from its key up to its end. */
  rangeTombstone: 3,
  /** A put that expires. */
  expiringPut: 4,
} as const;
type OperationKind = (typeof OperationKind)[keyof typeof OperationKind];

const SEQNO_OFFSET = 0;
const COUNT_OFFSET = SEQNO_OFFSET + 8;
const OPERATIONS_OFFSET = COUNT_OFFSET + 4;

/** What an operation that expires takes more than another, here and in a memtable. */
const EXPIRY_BYTES = 8;

/** Bytes of a commit record: one value of the greatest size and its key fit. */
const MAX_RECORD_BYTES: number = MAX_VALUE_BYTES + 2 ** 20;

/** Operations of one batch, and bytes of its keys: what a memtable can certainly hold. */
const MAX_BATCH_OPERATIONS: number = 2 ** 22;
const MAX_BATCH_KEY_BYTES: number = 2 ** 28;

/** Of a longer text its bytes are counted first: three times its units would be a lot of room. */
const MAX_SHORT_UNITS = 2 ** 12;

/** The most room that is made for operations that are yet to come. */
const MAX_EXPECTED_BYTES = 2 ** 24;
/** How much more room is made than the first operations suggest. */
const EXPECTED_MARGIN = 1.1;

/** Operations being gathered into one commit record. */
export class RecordBuilder {
  /** The record: room for the WAL's frame, then the payload. */
  readonly writer: ByteWriter;
  operationCount = 0;
  /** Bytes of all keys, and of all values and expiries: what a memtable needs to know to make room. */
  keyBytes = 0;
  valueBytes = 0;

  constructor() {
    this.writer = new ByteWriter(512);
    this.writer.reserve(RECORD_HEADER_BYTES + OPERATIONS_OFFSET);
    this.writer.length = RECORD_HEADER_BYTES + OPERATIONS_OFFSET;
  }

  /**
   * A value that is a string is well-formed text, whose UTF-8 is stored. `expiry`: NEVER for a put
   * that does not expire.
   */
  put(key: Uint8Array, keyLength: number, value: Uint8Array | string, expiry: number): void {
    if (expiry === NEVER) {
      this.appendKey(OperationKind.put, key, keyLength);
    } else {
      this.appendKey(OperationKind.expiringPut, key, keyLength);
      this.writer.u53(expiry);
      this.valueBytes += EXPIRY_BYTES;
    }
    if (typeof value === "string") {
      this.appendText(value);
    } else {
      this.writer.varint(value.length);
      this.writer.append(value);
      this.valueBytes += value.length;
    }
  }

  delete(key: Uint8Array, keyLength: number): void {
    this.appendKey(OperationKind.tombstone, key, keyLength);
  }

  deleteRange({ start, end }: Span): void {
    this.appendKey(OperationKind.rangeTombstone, start, start.length);
    this.writer.varint(end === undefined ? 0 : end.length + 1);
    if (end !== undefined) this.writer.append(end);
    this.keyBytes += end?.length ?? 0;
  }

  /** Bytes of the operations. */
  get contentBytes(): number {
    return this.writer.length - RECORD_HEADER_BYTES - OPERATIONS_OFFSET;
  }

  /** Makes the record as new, for other operations. */
  reset(): void {
    this.rewind({
      length: RECORD_HEADER_BYTES + OPERATIONS_OFFSET,
      operationCount: 0,
      keyBytes: 0,
      valueBytes: 0,
    });
  }

  /** Makes room for `count` operations like those since the mark: to grow by steps copies them all. */
  expect(count: number, mark: RecordMark): void {
    const length = this.writer.length - mark.length;
    const bytes = (length * count) / (this.operationCount - mark.operationCount);
    this.writer.reserve(Math.min(Math.ceil(bytes * EXPECTED_MARGIN), MAX_EXPECTED_BYTES));
  }

  /** Takes back every operation after the first `mark.operationCount`. */
  rewind(mark: RecordMark): void {
    this.writer.length = mark.length;
    this.operationCount = mark.operationCount;
    this.keyBytes = mark.keyBytes;
    this.valueBytes = mark.valueBytes;
  }

  /** Throws once what was added since the mark is more than one batch may have. */
  checkBatch(mark: RecordMark): void {
    const limits = [
      [this.operationCount - mark.operationCount, MAX_BATCH_OPERATIONS, "operations"],
      [this.keyBytes - mark.keyBytes, MAX_BATCH_KEY_BYTES, "bytes of keys"],
      [this.writer.length - mark.length, MAX_RECORD_BYTES, "bytes"],
    ] as const;
    for (const [found, limit, unit] of limits) {
      if (found > limit) {
        throw new InvalidArgumentError(`a batch has at most ${limit} ${unit}: split it`);
      }
    }
  }

  /** The mark of a record without operations. */
  get startMark(): RecordMark {
    const length = RECORD_HEADER_BYTES + OPERATIONS_OFFSET;
    return { length, operationCount: 0, keyBytes: 0, valueBytes: 0 };
  }

  mark(): RecordMark {
    return {
      length: this.writer.length,
      operationCount: this.operationCount,
      keyBytes: this.keyBytes,
      valueBytes: this.valueBytes,
    };
  }

  /** Completes the payload's head, once the group's place in the order of writes is known. */
  number(firstSeqno: number): void {
    writeU53(this.writer.buffer, RECORD_HEADER_BYTES + SEQNO_OFFSET, firstSeqno);
    writeU32(this.writer.buffer, RECORD_HEADER_BYTES + COUNT_OFFSET, this.operationCount);
  }

  /** Hands the operations between two marks to `target`, numbered as if the record were the first. */
  read(start: RecordMark, end: RecordMark, target: OperationTarget): void {
    if (start.operationCount === end.operationCount) return;
    this.number(1);
    this.reader("<memory>").applyFrom(
      start.length,
      start.operationCount,
      end.operationCount,
      target,
    );
  }

  /** Reads the operations in place. To be called when they are numbered. */
  reader(file: string): RecordReader {
    const { buffer, length } = this.writer;
    return new RecordReader(buffer, file, 0, RECORD_HEADER_BYTES, length);
  }

  /** Takes out the operations between two marks. Marks from the second on hold no longer. */
  remove(start: RecordMark, end: RecordMark): void {
    this.writer.buffer.copyWithin(start.length, end.length, this.writer.length);
    this.writer.length -= end.length - start.length;
    this.operationCount -= end.operationCount - start.operationCount;
    this.keyBytes -= end.keyBytes - start.keyBytes;
    this.valueBytes -= end.valueBytes - start.valueBytes;
  }

  private appendKey(kind: OperationKind, key: Uint8Array, keyLength: number): void {
    const { writer } = this;
    const pos = writer.reserve(1 + MAX_VARINT_BYTES);
    writer.buffer[pos] = kind;
    writer.length = writeVarint(writer.buffer, pos + 1, keyLength);
    writer.append(key, 0, keyLength);
    this.keyBytes += keyLength;
    this.operationCount++;
  }

  /** Appends a text with its length before it. How long that is, is known only once the text is there. */
  private appendText(text: string): void {
    const { writer } = this;
    const isShort = text.length <= MAX_SHORT_UNITS;
    const maxBytes = isShort ? text.length * MAX_BYTES_PER_UNIT : Buffer.byteLength(text, "utf8");
    const pos = writer.reserve(MAX_VARINT_BYTES + maxBytes);
    const { buffer } = writer;
    const start = pos + varintSize(isShort ? text.length : maxBytes);
    const length = writeText(buffer, start, text) - start;
    const movedTo = pos + varintSize(length);
    if (movedTo !== start) buffer.copyWithin(movedTo, start, start + length);
    writeVarint(buffer, pos, length);
    writer.length = movedTo + length;
    this.valueBytes += length;
  }
}

/** A point in a record's making that `rewind` goes back to. */
export interface RecordMark {
  readonly length: number;
  readonly operationCount: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
}

/** What a record's operations are read into: a memtable, as the engine applies them. */
export interface OperationTarget {
  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    seqno: number,
    kind: EntryKind,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    /** NEVER for a put that does not expire, and for a tombstone. */
    expiry: number,
  ): void;
  /**
   * Deletes the keys of [start, end), or from `start` on. The arrays are the target's to keep.
   * `firstSeqno`: of the record's first operation.
   */
  deleteRange(
    start: Uint8Array,
    end: Uint8Array | undefined,
    seqno: number,
    firstSeqno: number,
  ): void;
}

/** A record's payload, checked as far as its head. */
export class RecordReader {
  readonly firstSeqno: number;
  readonly operationCount: number;
  private readonly bytes: Uint8Array;
  private readonly start: number;
  private readonly end: number;
  private readonly file: string;
  private readonly offset: number;

  /** The payload is bytes[start, end). `file` and `offset` say where it is from, for errors. */
  constructor(
    bytes: Uint8Array,
    file: string,
    offset: number,
    start = 0,
    end: number = bytes.length,
  ) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.file = file;
    this.offset = offset;
    if (end - start < OPERATIONS_OFFSET) {
      throw this.damaged(`at least ${OPERATIONS_OFFSET} bytes`, `${end - start}`, start);
    }
    this.firstSeqno = readU53(bytes, start + SEQNO_OFFSET);
    this.operationCount = readU32(bytes, start + COUNT_OFFSET);
    if (this.firstSeqno < 1 || this.firstSeqno + this.operationCount - 1 > MAX_SEQNO) {
      throw this.damaged("a sequence number", `${this.firstSeqno}`, start + SEQNO_OFFSET);
    }
  }

  /** Bytes of all keys and values, at most: enough to make room in a memtable before applying. */
  get contentBytes(): number {
    return this.end - this.start - OPERATIONS_OFFSET;
  }

  /** Hands every operation to `target`, in order. */
  apply(target: OperationTarget): void {
    const { start, end } = this;
    const pos = this.applyFrom(start + OPERATIONS_OFFSET, 0, this.operationCount, target);
    if (pos !== end) throw this.damaged(`the end at ${pos}`, `${end - pos} more bytes`, pos);
  }

  /** Hands operations [index, endIndex) to `target`, the first of which is at `start`; returns their end. */
  applyFrom(start: number, index: number, endIndex: number, target: OperationTarget): number {
    const { bytes, end } = this;
    const reader = new VarintReader();
    let pos = start;
    for (let i = index; i < endIndex; i++) {
      const kind = bytes[pos];
      if (pos >= end || kind < OperationKind.put || kind > OperationKind.expiringPut) {
        throw this.damaged("an operation's kind", pos < end ? `${kind}` : "the end", pos);
      }
      reader.pos = pos + 1;
      const keyLength = this.readLength(reader, MAX_KEY_BYTES);
      const keyStart = reader.pos;
      const keyEnd = keyStart + keyLength;
      reader.pos = keyEnd;
      const seqno = this.firstSeqno + i;
      if (kind === OperationKind.rangeTombstone) {
        const rangeEnd = this.readRangeEnd(reader);
        const start = bytes.slice(keyStart, keyEnd);
        target.deleteRange(start, rangeEnd, seqno, this.firstSeqno);
        pos = reader.pos;
        continue;
      }
      const expiry = kind === OperationKind.expiringPut ? this.readExpiry(reader) : NEVER;
      const entryKind = kind === OperationKind.tombstone ? EntryKind.tombstone : EntryKind.put;
      let valueLength = 0;
      if (entryKind === EntryKind.put) valueLength = this.readLength(reader, MAX_VALUE_BYTES);
      pos = reader.pos + valueLength;
      target.add(bytes, keyStart, keyEnd, seqno, entryKind, bytes, reader.pos, pos, expiry);
    }
    return pos;
  }

  /** A copy of a range tombstone's end, behind which the reader then is; undefined if it has none. */
  private readRangeEnd(reader: VarintReader): Uint8Array | undefined {
    const start = reader.pos;
    const lengthPlusOne = reader.read(this.bytes, this.end);
    if (lengthPlusOne === 0) return undefined;
    const rangeStart = reader.pos;
    const rangeEnd = rangeStart + lengthPlusOne - 1;
    if (lengthPlusOne < 0 || lengthPlusOne > MAX_KEY_BYTES + 1 || rangeEnd > this.end) {
      throw this.damaged("the end of a range within the record", `${lengthPlusOne}`, start);
    }
    reader.pos = rangeEnd;
    return this.bytes.slice(rangeStart, rangeEnd);
  }

  private readExpiry(reader: VarintReader): number {
    const start = reader.pos;
    const isThere = start + EXPIRY_BYTES <= this.end;
    const expiry = isThere ? readU53(this.bytes, start) : 0;
    if (expiry < 1 || expiry >= NEVER) {
      throw this.damaged("an expiry within the record", isThere ? `${expiry}` : "the end", start);
    }
    reader.pos = start + EXPIRY_BYTES;
    return expiry;
  }

  /** A length within `max` whose bytes are all there. */
  private readLength(reader: VarintReader, max: number): number {
    const start = reader.pos;
    const length = reader.read(this.bytes, this.end);
    if (length < 0 || length > max || reader.pos + length > this.end) {
      throw this.damaged(`a length up to ${max} within the record`, `${length}`, start);
    }
    return length;
  }

  private damaged(expected: string, actual: string, pos: number): CorruptionError {
    return new CorruptionError("damaged commit record", {
      file: this.file,
      offset: this.offset + pos - this.start,
      expected,
      actual,
    });
  }
}
