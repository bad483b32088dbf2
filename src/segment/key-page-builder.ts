/**
 * KeyPageBuilder: up to 512 keys in, the bytes of one page out. The layout is in key-page.ts.
 */
import { checksum } from "../bytes/checksum.ts";
import { writeU32 } from "../bytes/fixed.ts";
import { ByteWriter } from "../bytes/writer.ts";
import type { SymbolTable } from "../symbols/table.ts";
import {
  BLOCK_KEYS,
  HEADER_ESCAPE,
  PAGE_BLOCKS,
  PAGE_KEYS,
  PAGE_SUM_BYTES,
  RECORD_BYTES,
  RECORD_ESCAPE_U8,
  RECORD_ESCAPE_U16,
  RECORDS_OFFSET,
} from "./key-page.ts";

export class KeyPageBuilder {
  /** Keys in the page so far. */
  keyCount: number;
  /** Bytes of codes and separators in the pages finished so far. */
  codeBytes: number;

  private readonly symbols: SymbolTable;
  /** The separator of block 0. */
  private readonly separator: ByteWriter;
  /** Of the blocks that are complete: their records, separators and bytes. */
  private readonly records: ByteWriter;
  private readonly separators: ByteWriter;
  private readonly blocks: ByteWriter;
  /** Separator of the block being filled, and of the one before it. */
  private blockSeparator: Uint8Array;
  private blockSeparatorLength: number;
  private sharedWithPrevious: number;
  /** The block being filled: what each key shares with the one before, and its codes. */
  private readonly shared: Uint32Array;
  private readonly sortedShared: Uint32Array;
  private readonly codeEnds: Uint32Array;
  private readonly codes: ByteWriter;

  constructor(symbols: SymbolTable) {
    this.keyCount = 0;
    this.codeBytes = 0;
    this.symbols = symbols;
    this.separator = new ByteWriter(256);
    this.records = new ByteWriter(RECORD_BYTES * PAGE_BLOCKS);
    this.separators = new ByteWriter(1024);
    this.blocks = new ByteWriter(16_384);
    this.blockSeparator = new Uint8Array(256);
    this.blockSeparatorLength = 0;
    this.sharedWithPrevious = 0;
    this.shared = new Uint32Array(BLOCK_KEYS);
    this.sortedShared = new Uint32Array(BLOCK_KEYS);
    this.codeEnds = new Uint32Array(BLOCK_KEYS);
    this.codes = new ByteWriter(2048);
  }

  get isFull(): boolean {
    return this.keyCount === PAGE_KEYS;
  }

  /** About the bytes that `finish` would append. */
  get estimatedBytes(): number {
    const directory = this.records.length + this.separators.length + this.separator.length;
    return directory + this.blocks.length + this.codes.length + BLOCK_KEYS;
  }

  /**
   * Adds key[0, length), which shares `shared` bytes with the key before it. `separatorLength` is
   * that of the separator it would have as the first key of a block: shared + 1, or 0 for the first
   * key of a segment.
   */
  add(key: Uint8Array, length: number, shared: number, separatorLength: number): void {
    const i = this.keyCount++ % BLOCK_KEYS;
    if (i === 0) this.openBlock(key, separatorLength);
    const { codes } = this;
    const pos = codes.reserve((length - shared) * 2);
    codes.length = this.symbols.encodeInto(key, shared, length, codes.buffer, pos);
    this.shared[i] = shared;
    this.codeEnds[i] = codes.length;
    if (i === BLOCK_KEYS - 1) this.closeBlock(BLOCK_KEYS);
  }

  /** Appends the page to `writer` and begins the next one. */
  finish(writer: ByteWriter): void {
    const rest = this.keyCount % BLOCK_KEYS;
    if (rest > 0) this.closeBlock(rest);
    const { separator, records, separators, blocks } = this;
    const start = writer.length;
    writer.u32(0);
    writer.u32(RECORDS_OFFSET + records.length + separators.length + separator.length);
    writer.u32(separator.length);
    this.codeBytes += separator.length;
    for (const part of [records, separators, separator, blocks]) {
      writer.append(part.buffer, 0, part.length);
      part.reset();
    }
    writeU32(writer.buffer, start, checksum(writer.buffer, start + PAGE_SUM_BYTES, writer.length));
    this.keyCount = 0;
  }

  private openBlock(key: Uint8Array, separatorLength: number): void {
    if (this.keyCount === 1) {
      this.separator.append(key, 0, separatorLength);
    } else {
      const limit = Math.min(separatorLength, this.blockSeparatorLength);
      let shared = 0;
      while (shared < limit && this.blockSeparator[shared] === key[shared]) shared++;
      this.sharedWithPrevious = shared;
    }
    if (separatorLength > this.blockSeparator.length) {
      this.blockSeparator = new Uint8Array(separatorLength * 2);
    }
    this.blockSeparator.set(key.subarray(0, separatorLength));
    this.blockSeparatorLength = separatorLength;
  }

  private closeBlock(count: number): void {
    const { blocks, shared, codeEnds, codes } = this;
    const start = blocks.length;
    this.sortedShared.set(shared);
    const base = bestBase(this.sortedShared, count);
    blocks.varint(base);
    for (let i = 0; i < count; i++) {
      const codeLength = codeEnds[i] - (i === 0 ? 0 : codeEnds[i - 1]);
      const upper = isEscaped(shared[i], base) ? HEADER_ESCAPE : shared[i] - base;
      blocks.u8((upper << 4) | Math.min(codeLength, HEADER_ESCAPE));
    }
    // Codes are copied together as far as no escape comes between them.
    let from = 0;
    for (let i = 0; i < count; i++) {
      const codeStart = i === 0 ? 0 : codeEnds[i - 1];
      const codeLength = codeEnds[i] - codeStart;
      const isSharedEscaped = isEscaped(shared[i], base);
      if (!isSharedEscaped && codeLength < HEADER_ESCAPE) continue;
      blocks.append(codes.buffer, from, codeStart);
      if (isSharedEscaped) blocks.varint(shared[i]);
      if (codeLength >= HEADER_ESCAPE) blocks.varint(codeLength - HEADER_ESCAPE);
      from = codeStart;
    }
    blocks.append(codes.buffer, from, codes.length);
    this.codeBytes += codes.length;
    codes.reset();
    this.addToDirectory(blocks.length - start);
  }

  private addToDirectory(blockLength: number): void {
    const { records, separators, blockSeparator, sharedWithPrevious, codes } = this;
    const isFirst = records.length === 0;
    const shared = isFirst ? 0 : sharedWithPrevious;
    const end = isFirst ? 0 : this.blockSeparatorLength;
    codes.reserve((end - shared) * 2);
    const codeLength = this.symbols.encodeInto(blockSeparator, shared, end, codes.buffer, 0);
    records.u8(Math.min(shared, RECORD_ESCAPE_U8));
    records.u8(isFirst ? 0 : blockSeparator[shared]);
    records.u8(Math.min(codeLength, RECORD_ESCAPE_U8));
    records.u16(Math.min(blockLength, RECORD_ESCAPE_U16));
    if (shared >= RECORD_ESCAPE_U8) separators.varint(shared);
    if (codeLength >= RECORD_ESCAPE_U8) separators.varint(codeLength);
    if (blockLength >= RECORD_ESCAPE_U16) separators.varint(blockLength);
    separators.append(codes.buffer, 0, codeLength);
    this.codeBytes += codeLength;
  }
}

function isEscaped(shared: number, base: number): boolean {
  return shared < base || shared - base >= HEADER_ESCAPE;
}

/** The base with the fewest escapes; the least of these. Reorders `shared`. */
function bestBase(shared: Uint32Array, count: number): number {
  for (let i = 1; i < count; i++) {
    const value = shared[i];
    let to = i;
    for (; to > 0 && shared[to - 1] > value; to--) shared[to] = shared[to - 1];
    shared[to] = value;
  }
  let best = 0;
  let bestCount = 0;
  let end = 0;
  for (let i = 0; i < count; i++) {
    while (end < count && !isEscaped(shared[end], shared[i])) end++;
    if (end - i > bestCount) {
      best = shared[i];
      bestCount = end - i;
    }
  }
  return best;
}
