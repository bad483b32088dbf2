/**
 * KeyPageBuilder: up to 512 keys in, the bytes of one page out. The layout is in key-page.ts.
 */
import { checksum } from "../bytes/checksum.ts";
import { writeU32 } from "../bytes/fixed.ts";
import { varintSize } from "../bytes/varint.ts";
import { ByteWriter } from "../bytes/writer.ts";
import { BLOCK_KEYS, HEADER_ESCAPE, PAGE_KEYS, PAGE_SUM_BYTES } from "./key-page.ts";
import type { SymbolTable } from "./symbols.ts";

export class KeyPageBuilder {
  /** Keys in the page so far. */
  keyCount: number;

  private readonly symbols: SymbolTable;
  /** The separator of block 0, with its length before it. */
  private readonly separator: ByteWriter;
  /** Directory entries of the blocks that are complete. */
  private readonly directory: ByteWriter;
  private readonly blocks: ByteWriter;
  /** Separator of the block being filled, and of the one before it. */
  private blockSeparator: Uint8Array;
  private blockSeparatorLength: number;
  private sharedWithPrevious: number;
  /** The block being filled: what each key shares with the one before, and its codes. */
  private readonly shared: Uint32Array;
  private readonly codeEnds: Uint32Array;
  private readonly codes: ByteWriter;

  constructor(symbols: SymbolTable) {
    this.keyCount = 0;
    this.symbols = symbols;
    this.separator = new ByteWriter(256);
    this.directory = new ByteWriter(1024);
    this.blocks = new ByteWriter(16_384);
    this.blockSeparator = new Uint8Array(256);
    this.blockSeparatorLength = 0;
    this.sharedWithPrevious = 0;
    this.shared = new Uint32Array(BLOCK_KEYS);
    this.codeEnds = new Uint32Array(BLOCK_KEYS);
    this.codes = new ByteWriter(2048);
  }

  get isFull(): boolean {
    return this.keyCount === PAGE_KEYS;
  }

  /** About the bytes that `finish` would append. */
  get estimatedBytes(): number {
    return this.directory.length + this.blocks.length + this.codes.length + BLOCK_KEYS;
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
    const { separator, directory, blocks } = this;
    const start = writer.length;
    const before = PAGE_SUM_BYTES + separator.length + directory.length;
    // The offset counts its own bytes too.
    let blocksOffset = before + 1;
    while (before + varintSize(blocksOffset) > blocksOffset) blocksOffset++;
    writer.u32(0);
    writer.varint(blocksOffset);
    writer.append(separator.buffer, 0, separator.length);
    writer.append(directory.buffer, 0, directory.length);
    writer.append(blocks.buffer, 0, blocks.length);
    writeU32(writer.buffer, start, checksum(writer.buffer, start + PAGE_SUM_BYTES, writer.length));
    this.keyCount = 0;
    separator.reset();
    directory.reset();
    blocks.reset();
  }

  private openBlock(key: Uint8Array, separatorLength: number): void {
    if (this.keyCount === 1) {
      this.separator.varint(separatorLength);
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
    const { blocks, directory, shared, codeEnds, codes } = this;
    const start = blocks.length;
    const base = bestBase(shared, count);
    blocks.varint(base);
    for (let i = 0; i < count; i++) {
      const codeLength = codeEnds[i] - (i === 0 ? 0 : codeEnds[i - 1]);
      const upper = i === 0 ? 0 : isEscaped(shared[i], base) ? HEADER_ESCAPE : shared[i] - base;
      blocks.u8((upper << 4) | Math.min(codeLength, HEADER_ESCAPE));
    }
    for (let i = 0; i < count; i++) {
      const from = i === 0 ? 0 : codeEnds[i - 1];
      if (i > 0 && isEscaped(shared[i], base)) blocks.varint(shared[i]);
      if (codeEnds[i] - from >= HEADER_ESCAPE) blocks.varint(codeEnds[i] - from - HEADER_ESCAPE);
      blocks.append(codes.buffer, from, codeEnds[i]);
    }
    codes.reset();
    const blockLength = blocks.length - start;
    if (this.keyCount > BLOCK_KEYS) {
      const { blockSeparator, sharedWithPrevious } = this;
      const from = codes.reserve(this.blockSeparatorLength * 2);
      const end = this.symbols.encodeInto(
        blockSeparator,
        sharedWithPrevious,
        this.blockSeparatorLength,
        codes.buffer,
        from,
      );
      directory.varint(sharedWithPrevious);
      directory.varint(end - from);
      directory.varint(blockLength);
      directory.append(codes.buffer, from, end);
    } else {
      directory.varint(blockLength);
    }
  }
}

function isEscaped(shared: number, base: number): boolean {
  return shared < base || shared - base >= HEADER_ESCAPE;
}

/** The base with the fewest escapes among the keys behind the first; the least of these. */
function bestBase(shared: Uint32Array, count: number): number {
  let best = 0;
  let bestCount = -1;
  for (let candidate = 1; candidate < count; candidate++) {
    const base = shared[candidate];
    let fitting = 0;
    for (let i = 1; i < count; i++) if (!isEscaped(shared[i], base)) fitting++;
    if (fitting > bestCount || (fitting === bestCount && base < best)) {
      best = base;
      bestCount = fitting;
    }
  }
  return best;
}
