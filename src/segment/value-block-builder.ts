/**
 * ValueBlockBuilder: values in, one stored value block after the other out.
 *
 * Values are gathered as they are and, where the encoding codes each on its own, coded as well: at
 * the end of the block the smaller of both is written. Codes that the same symbols made before are
 * copied: coding is a third of the time of merging npm's names and URLs. The layout is drawn in
 * value-block.ts.
 */
import { assert } from "../assert.ts";
import { checksum } from "../bytes/checksum.ts";
import { writeU16, writeU32 } from "../bytes/fixed.ts";
import { WordCopy } from "../bytes/word-copy.ts";
import { ByteWriter } from "../bytes/writer.ts";
import type { ValueView } from "../cursor/value-view.ts";
import type { ValuePlace } from "../entry.ts";
import type { SymbolTable } from "../symbols/table.ts";
import { deflate } from "./deflate.ts";
import { appendPacked, integerOf } from "./packed-integers.ts";
import { stringHeaderBytes } from "./string-header.ts";
import {
  BlockEncoding,
  GROUP_MASK,
  GROUP_SHIFT,
  LONG_BARE,
  MAX_BLOCK_BYTES,
  MAX_SHORT_SIZE,
  POINTER_BYTES,
  SIZE_LARGE,
  SIZE_LONG,
  SIZE_SAME,
  type ValueCoders,
  writePointer,
} from "./value-block.ts";

/** A block is closed at this size: a point read reads 4 KiB, or inflates 8 (bench/values.ts). */
const TARGET_BYTES = 4096;
const DEFLATE_TARGET_BYTES = 8192;

/** Room for the value count of a block. */
const COUNT_BYTES = 2;

/** Gathers values until the block is full, then appends it to the output. */
export class ValueBlockBuilder {
  /** Values added since the last `finish`. */
  count: number;
  private readonly encoding: BlockEncoding;
  private readonly symbols: SymbolTable | undefined;
  private readonly dictionary: Uint8Array;
  private readonly targetBytes: number;
  /** What the body will hold: the values as they are, and coded if this encoding codes. */
  private readonly raw: BodyBuilder;
  private readonly coded: BodyBuilder;
  /** Where the last value that was not SAME lies in the raw values; -1 if there is none. */
  private previousStart: number;
  private previousEnd: number;
  /** Whether all values so far are equal. */
  private areEqual: boolean;
  /** The values, as long as all are integers, where blocks are of integers. */
  private integers: Float64Array;
  private integerCount: number;
  /** Whether its codes are free of key tokens, so that it decodes with any entry's key. */
  private isPreviousPlain: boolean;

  constructor(coders: ValueCoders) {
    const encoding = coders.valueEncoding;
    this.count = 0;
    this.encoding = encoding;
    this.symbols = coders.valueSymbols;
    this.dictionary = coders.dictionary;
    this.targetBytes = encoding === BlockEncoding.deflate ? DEFLATE_TARGET_BYTES : TARGET_BYTES;
    this.raw = new BodyBuilder();
    this.coded = new BodyBuilder();
    this.previousStart = -1;
    this.previousEnd = -1;
    this.isPreviousPlain = false;
    this.areEqual = true;
    this.integers = new Float64Array(encoding === BlockEncoding.integers ? 1024 : 0);
    this.integerCount = 0;
  }

  /** Bytes the block would have now, before deflating. */
  get bytes(): number {
    return this.symbols === undefined ? this.raw.bytes : this.coded.bytes;
  }

  get isFull(): boolean {
    return this.bytes >= this.targetBytes;
  }

  /**
   * Adds source[start, end), shorter than VALUE_LIMIT_BYTES, of the entry with key[0, keyLength).
   * `view` shows the same value, and perhaps codes.
   */
  add(
    source: Uint8Array,
    start: number,
    end: number,
    key: Uint8Array,
    keyLength: number,
    view?: ValueView,
  ): void {
    const { symbols } = this;
    if (this.encoding === BlockEncoding.integers) {
      this.addInteger(integerOf(source.subarray(start, end)));
    }
    // The first of a group is stored even if it repeats, so that a look-up never leaves its group.
    const isFirstOfGroup = (this.count & GROUP_MASK) === 0;
    const isSame = this.isSameAsPrevious(source, start, end);
    this.areEqual = this.areEqual && (isSame || this.count === 0);
    this.count++;
    if (isSame && !isFirstOfGroup) {
      if (symbols !== undefined && !this.isPreviousPlain) {
        // Key tokens mean the key of the entry that is read, which is another one from here on.
        this.coded.dropLast();
        this.addCoded(symbols, source, start, end, key, 0);
        this.isPreviousPlain = true;
      }
      this.raw.addSame();
      this.coded.addSame();
      return;
    }
    this.raw.addCopy(source, start, end);
    this.previousEnd = this.raw.valuesEnd;
    this.previousStart = this.previousEnd - (end - start);
    this.isPreviousPlain = false;
    if (symbols === undefined) return;
    if (view !== undefined && view.coder === symbols && view.codeKind === this.encoding) {
      this.coded.addCopy(view.codes, view.codesStart, view.codesEnd);
    } else {
      this.addCoded(symbols, source, start, end, key, keyLength);
    }
  }

  /** Adds a place for an entry without a value. */
  addNothing(): void {
    if (this.encoding === BlockEncoding.integers && this.integerCount === this.count) {
      this.addInteger(this.count === 0 ? 0 : this.integers[this.count - 1]);
    }
    this.count++;
    this.areEqual = false;
    this.previousStart = -1;
    this.raw.addStored(0, false);
    this.coded.addStored(0, false);
  }

  /** Adds a pointer to a value in a value log. */
  addPointer(place: ValuePlace): void {
    this.count++;
    this.areEqual = false;
    this.previousStart = -1;
    this.raw.addPointer(place);
    this.coded.addPointer(place);
  }

  /** Appends the stored block to `output` and starts the next one. */
  finish(output: ByteWriter): void {
    const start = output.length;
    output.u32(0);
    output.u32(0);
    this.appendBody(output);
    const length = output.length - start;
    assert(length <= MAX_BLOCK_BYTES, "a value block is within its limit");
    writeU32(output.buffer, start + 4, length);
    writeU32(output.buffer, start, checksum(output.buffer, start + 4, output.length));
    this.count = 0;
    this.integerCount = 0;
    this.areEqual = true;
    this.previousStart = -1;
    this.raw.reset();
    this.coded.reset();
  }

  private isSameAsPrevious(source: Uint8Array, start: number, end: number): boolean {
    const { previousStart, previousEnd } = this;
    if (previousStart < 0 || previousEnd - previousStart !== end - start) return false;
    const { buffer } = this.raw;
    for (let i = start; i < end; i++) {
      if (buffer[previousStart + i - start] !== source[i]) return false;
    }
    return true;
  }

  /** Codes with tokens for stretches of key[0, keyLength). */
  private addCoded(
    symbols: SymbolTable,
    source: Uint8Array,
    sourceStart: number,
    sourceEnd: number,
    key: Uint8Array,
    keyLength: number,
  ): void {
    const isText = this.encoding === BlockEncoding.text;
    const headerBytes = isText ? stringHeaderBytes(source, sourceStart, sourceEnd) : 0;
    const start = this.coded.reserve((sourceEnd - sourceStart) * 2);
    const target = this.coded.buffer;
    const end = symbols.encodeWithKeyInto(
      source,
      sourceStart + headerBytes,
      sourceEnd,
      key,
      keyLength,
      target,
      start,
    );
    this.coded.addStored(end - start, isText && headerBytes === 0);
  }

  /** Appends the encoding and the body: raw unless the block's encoding makes it smaller. */
  private appendBody(output: ByteWriter): void {
    if (this.appendEqual(output)) return;
    switch (this.encoding) {
      case BlockEncoding.integers:
        if (this.appendIntegers(output)) return;
        break;
      case BlockEncoding.deflate:
        if (this.appendDeflated(output)) return;
        break;
      default:
        if (this.symbols === undefined || this.coded.bytes >= this.raw.bytes) break;
        output.u8(this.encoding);
        this.coded.appendTo(output);
        return;
    }
    output.u8(BlockEncoding.raw);
    this.raw.appendTo(output);
  }

  /** Appends a block of equal values, if it is one and that makes it half as large, or less. */
  private appendEqual(output: ByteWriter): boolean {
    const { previousStart, previousEnd } = this;
    if (!this.areEqual || previousStart < 0) return false;
    if (2 * (COUNT_BYTES + previousEnd - previousStart) > this.bytes) return false;
    output.u8(BlockEncoding.equal);
    output.u16(this.count);
    output.append(this.raw.buffer, previousStart, previousEnd);
    return true;
  }

  /** Adds the next integer, unless a value before was none, or this is NaN. */
  private addInteger(integer: number): void {
    const { count } = this;
    if (this.integerCount < count || Number.isNaN(integer)) return;
    if (count === this.integers.length) {
      const grown = new Float64Array(count * 2);
      grown.set(this.integers);
      this.integers = grown;
    }
    this.integers[count] = integer;
    this.integerCount = count + 1;
  }

  private appendIntegers(output: ByteWriter): boolean {
    const { count } = this;
    if (this.integerCount < count) return false;
    const start = output.length;
    output.u8(BlockEncoding.integers);
    if (appendPacked(output, this.integers, count)) return true;
    output.length = start;
    return false;
  }

  private appendDeflated(output: ByteWriter): boolean {
    const body = new ByteWriter(this.raw.bytes);
    this.raw.appendTo(body);
    const deflated = deflate(body.bytes, this.dictionary);
    if (deflated === undefined) return false;
    output.u8(BlockEncoding.deflate);
    output.u32(body.length);
    output.append(deflated);
    return true;
  }
}

/** The sizes and stored values of one body. */
class BodyBuilder {
  /** The stored values so far lie in buffer[0, valuesEnd). */
  buffer: Uint8Array;
  valuesEnd: number;
  private sizes: Uint8Array;
  private groupStarts: Uint32Array;
  private count: number;
  /** Where the last stored value begins. */
  private lastStart: number;
  /** From a source of the merge, or the memtable of a flush. */
  private readonly wordCopy: WordCopy;

  constructor() {
    this.buffer = new Uint8Array(2 * MAX_BLOCK_BYTES);
    this.valuesEnd = 0;
    this.sizes = new Uint8Array(1024);
    this.groupStarts = new Uint32Array(64);
    this.count = 0;
    this.lastStart = 0;
    this.wordCopy = new WordCopy();
  }

  /** Bytes of the body. */
  get bytes(): number {
    return 2 + 2 * (Math.max(0, this.count - 1) >> GROUP_SHIFT) + this.count + this.valuesEnd;
  }

  /** Makes room for a stored value of at most `length` bytes and returns where to put it. */
  reserve(length: number): number {
    const needed = this.valuesEnd + 2 + length;
    if (needed > this.buffer.length) {
      const grown = new Uint8Array(needed * 2);
      grown.set(this.buffer.subarray(0, this.valuesEnd));
      this.buffer = grown;
    }
    return this.valuesEnd;
  }

  /** Takes the `length` bytes that the caller put where `reserve` said. */
  addStored(length: number, isBare: boolean): void {
    const start = this.valuesEnd;
    this.lastStart = start;
    if (length <= MAX_SHORT_SIZE && !isBare) {
      this.addSize(length);
      this.valuesEnd = start + length;
      return;
    }
    this.buffer.copyWithin(start + 2, start, start + length);
    writeU16(this.buffer, start, isBare ? length | LONG_BARE : length);
    this.addSize(SIZE_LONG);
    this.valuesEnd = start + 2 + length;
  }

  /** Adds a copy of source[start, end). */
  addCopy(source: Uint8Array, start: number, end: number): void {
    const length = end - start;
    const target = this.reserve(length);
    this.wordCopy.copy(this.buffer, target, source, start, end);
    this.addStored(length, false);
  }

  addSame(): void {
    this.addSize(SIZE_SAME);
  }

  /** Takes back the last stored value. */
  dropLast(): void {
    this.count--;
    this.valuesEnd = this.lastStart;
  }

  addPointer(place: ValuePlace): void {
    const start = this.reserve(POINTER_BYTES);
    writePointer(this.buffer, start, place);
    this.addSize(SIZE_LARGE);
    this.valuesEnd = start + POINTER_BYTES;
  }

  appendTo(output: ByteWriter): void {
    const { count } = this;
    output.u16(count);
    const groupCount = (count - 1) >> GROUP_SHIFT;
    for (let group = 1; group <= groupCount; group++) output.u16(this.groupStarts[group]);
    output.append(this.sizes, 0, count);
    output.append(this.buffer, 0, this.valuesEnd);
  }

  reset(): void {
    this.count = 0;
    this.valuesEnd = 0;
  }

  /** Counts a value that begins at `valuesEnd`. */
  private addSize(size: number): void {
    if (this.count === this.sizes.length) {
      const sizes = new Uint8Array(this.count * 2);
      sizes.set(this.sizes);
      this.sizes = sizes;
      const groupStarts = new Uint32Array(this.groupStarts.length * 2);
      groupStarts.set(this.groupStarts);
      this.groupStarts = groupStarts;
    }
    if ((this.count & GROUP_MASK) === 0) {
      this.groupStarts[this.count >> GROUP_SHIFT] = this.valuesEnd;
    }
    this.sizes[this.count++] = size;
  }
}
