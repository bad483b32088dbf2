/**
 * KeyIndex: all keys of a segment, in order, in a fraction of their size; a key's place among them is
 * its ordinal.
 *
 * Two levels. Pages of 512 keys hold them front-coded and symbol-coded (key-page.ts); a transducer
 * over the pages' separators finds a key's page (separator-fst.ts). A search is a walk down the
 * transducer, a scan of one page's directory and a scan of one block of 32 keys; it carries the
 * number of bytes matched so far from one to the next, so that no byte of the key is compared
 * twice. All of it is read in place from one buffer, which may lie in shared memory.
 *
 *        0       4           8            12         16          20         24          28
 *        +-------+-----------+------------+----------+-----------+----------+-----------+-----------+
 *        | xxh32 | headBytes | totalBytes | keyCount | pageCount | fstBytes | codeBytes | page ends |
 *        +-------+-----------+------------+----------+-----------+----------+-----------+-----------+
 *        +------------+--------------+--------+---
 *        | transducer | symbol table | page 0 | ...
 *        +------------+--------------+--------+---
 * xxh32       u32 LE  of every byte of the head after it: up to page 0
 * headBytes   u32 LE  bytes from the start to page 0
 * totalBytes  u32 LE  bytes of the whole index, at most MAX_INDEX_BYTES
 * keyCount    u32 LE  at least 1 unless the index is empty
 * pageCount   u32 LE  keyCount / 512, rounded up
 * fstBytes    u32 LE  bytes of the transducer
 * codeBytes   u32 LE  bytes of codes and separators in all pages: what is not lengths and sums there
 * page ends   u32 LE each: from the start of page 0 to the end of each page
 *
 * The head is checked when the index is opened; each page, which has a checksum of its own, before
 * its first use. So opening costs about 25 bytes of reading for 512 keys, and no byte is believed
 * unchecked.
 */
import { assert } from "../assert.ts";
import { checksum } from "../bytes/checksum.ts";
import { compareRanges } from "../bytes/compare.ts";
import { readU32, writeU32 } from "../bytes/fixed.ts";
import { ByteWriter } from "../bytes/writer.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import { CorruptionError } from "../errors.ts";
import type { SymbolTable } from "../symbols/table.ts";
import { SymbolTables } from "../symbols/tables.ts";
import { KeyBlock } from "./key-block.ts";
import type { KeyBuffer } from "./key-buffer.ts";
import { KeyCursor } from "./key-cursor.ts";
import { BLOCK_KEYS, PAGE_BLOCKS, PAGE_KEYS, PAGE_SUM_BYTES } from "./key-page.ts";
import { KeyPageBuilder } from "./key-page-builder.ts";
import { KeyPageReader } from "./key-page-reader.ts";
import { SeparatorFst, SeparatorList } from "./separator-fst.ts";

const HEAD_BYTES_OFFSET = 4;
const TOTAL_BYTES_OFFSET = HEAD_BYTES_OFFSET + 4;
const KEY_COUNT_OFFSET = TOTAL_BYTES_OFFSET + 4;
const PAGE_COUNT_OFFSET = KEY_COUNT_OFFSET + 4;
const FST_BYTES_OFFSET = PAGE_COUNT_OFFSET + 4;
const CODE_BYTES_OFFSET = FST_BYTES_OFFSET + 4;
const PAGE_ENDS_OFFSET = CODE_BYTES_OFFSET + 4;

/** Positions are u32. A segment is far smaller: runs are cut at about 64 MiB. */
const MAX_INDEX_BYTES = 0xffff_ffff;

/** Pages wait in chunks of this size, so that gathering them never copies all that is there. */
const CHUNK_BYTES = 1 << 20;

/** What a key index takes, in bytes, by part. */
export interface KeyIndexSizes {
  /** The transducer over the pages' separators. */
  readonly transducer: number;
  /** The symbol table as stored. */
  readonly symbols: number;
  /** Numbers: those of the head, the page ends, and the lengths and sums in pages. */
  readonly headers: number;
  /** The codes of keys, and the separators in pages. */
  readonly codes: number;
}

/** Reads the bytes [start, end) of an index to where they belong. Throws what reading throws. */
export type ReadPart = (start: number, end: number) => void;

export class KeyIndex {
  readonly keyCount: number;
  /** Bytes of the index as stored; `memoryBytes` has what is held beside them. */
  readonly byteLength: number;
  readonly bytes: Uint8Array;
  readonly symbols: SymbolTable;

  /** What look-ups search pages with: after `locate`, what that came to. */
  readonly search: KeyPageReader;

  private readonly file: string;
  private readonly fileOffset: number;
  private readonly readPart: ReadPart | undefined;
  private readonly pageCount: number;
  private readonly pagesStart: number;
  private readonly fst: SeparatorFst;
  /** Where each page begins, if it was checked, or 0. */
  private readonly pageStarts: Uint32Array;
  /** Bytes of codes and separators in the pages that were checked. */
  private checkedCodeBytes: number;
  /** The block that `keyAt` opened last. */
  private readonly block: KeyBlock;

  /**
   * Opens the index in `bytes`, which is read in place and must not change. `fileOffset` is where it
   * begins in `file`, for errors. Its symbols are one with those among `tables` that are the same.
   * Throws CorruptionError where the head is damaged.
   *
   * Where `readPart` is given, it is called for each part of the bytes before that is looked at, and
   * must put it there: for the head now, for each page before its first use.
   */
  constructor(
    bytes: Uint8Array,
    file: string,
    fileOffset: number,
    tables: SymbolTables = new SymbolTables(),
    readPart?: ReadPart,
  ) {
    const head = readKeyIndexHead(bytes, file, fileOffset, readPart);
    const fstStart = PAGE_ENDS_OFFSET + head.pageCount * 4;
    const symbolsStart = fstStart + head.fstBytes;
    this.keyCount = head.keyCount;
    this.byteLength = head.totalBytes;
    this.bytes = bytes;
    this.symbols = tables.read(
      bytes,
      symbolsStart,
      head.headBytes,
      file,
      fileOffset + symbolsStart,
    );
    this.file = file;
    this.fileOffset = fileOffset;
    this.readPart = readPart;
    this.pageCount = head.pageCount;
    this.pagesStart = head.headBytes;
    this.fst = new SeparatorFst(bytes, fstStart, Math.max(0, head.pageCount - 1));
    this.search = new KeyPageReader(bytes, this.symbols);
    this.pageStarts = new Uint32Array(head.pageCount);
    this.checkedCodeBytes = 0;
    this.block = new KeyBlock(this);
  }

  /** Bytes held in memory: the index as stored, and the symbols as decoding needs them. */
  get memoryBytes(): number {
    return this.byteLength + this.symbols.byteLength + this.pageStarts.byteLength;
  }

  sizes(): KeyIndexSizes {
    const { bytes, byteLength, pagesStart } = this;
    const transducer = readU32(bytes, FST_BYTES_OFFSET);
    const codes = readU32(bytes, CODE_BYTES_OFFSET);
    const numbers = PAGE_ENDS_OFFSET + this.pageCount * 4;
    return {
      transducer,
      symbols: pagesStart - numbers - transducer,
      headers: numbers + byteLength - pagesStart - codes,
      codes,
    };
  }

  /** Whether the bytes of codes are as many as the head says. Known once every page was opened. */
  get areCodesCounted(): boolean {
    return this.checkedCodeBytes === readU32(this.bytes, CODE_BYTES_OFFSET);
  }

  /** Ordinal of key[0, length), or -1 if it is not there. */
  find(key: Uint8Array, length: number): number {
    const place = this.locate(key, length);
    return place >= 0 ? place : -1;
  }

  /** Ordinal of key[0, length), or ~(number of keys below it). */
  locate(key: Uint8Array, length: number): number {
    const { fst, search, keyCount } = this;
    if (keyCount === 0) return ~0;
    const page = fst.floor(key, length);
    const pageStart = this.openPage(page);
    const pageKey = page * PAGE_KEYS;
    const blockCount = Math.min(PAGE_BLOCKS, Math.ceil((keyCount - pageKey) / BLOCK_KEYS));
    search.findBlock(pageStart, blockCount, key, length, fst.matched);
    const blockKey = pageKey + search.blockIndex * BLOCK_KEYS;
    const place = search.findKey(Math.min(BLOCK_KEYS, keyCount - blockKey), key, length);
    return place >= 0 ? blockKey + place : place - blockKey;
  }

  /** Number of keys below key[0, length). */
  rank(key: Uint8Array, length: number): number {
    const place = this.locate(key, length);
    return place >= 0 ? place : ~place;
  }

  /** Makes `target` the key of that ordinal, which must be below the key count. */
  keyAt(ordinal: number, target: KeyBuffer): void {
    assert(ordinal >= 0 && ordinal < this.keyCount, "an ordinal is below the key count");
    const block = Math.floor(ordinal / BLOCK_KEYS);
    const i = ordinal - block * BLOCK_KEYS;
    this.block.open(block, i + 1);
    this.block.decode(i, 0, target);
  }

  /** A cursor off the end. Any number may be in use at once. */
  cursor(): KeyCursor {
    return new KeyCursor(this);
  }

  /** Checks page `page` before its first use, and returns where it begins. */
  openPage(page: number): number {
    const start = this.pageStarts[page];
    return start > 0 ? start : this.checkPage(page);
  }

  throwDamagedPage(page: number): never {
    throw this.damaged(page, "codes of symbols", "something else");
  }

  /**
   * Reads everything: every page's checksum, every key, their order, that each key is found at
   * its ordinal, and the count of codes. Throws CorruptionError where something does not hold.
   */
  verify(): void {
    const cursor = this.cursor();
    let previous = new Uint8Array(0);
    let previousLength = -1;
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      const { key, keyLength, ordinal } = cursor;
      const page = Math.floor(ordinal / PAGE_KEYS);
      const order =
        previousLength < 0 ? -1 : compareRanges(previous, 0, previousLength, key, 0, keyLength);
      if (order >= 0) throw this.damaged(page, "ascending keys", `key ${ordinal} out of order`);
      if (this.find(key, keyLength) !== ordinal) {
        throw this.damaged(page, `key ${ordinal} where a search looks`, "another");
      }
      if (keyLength > previous.length) previous = new Uint8Array(keyLength * 2);
      previous.set(key.subarray(0, keyLength));
      previousLength = keyLength;
    }
    if (!this.areCodesCounted) {
      throw new CorruptionError("damaged key index", {
        file: this.file,
        offset: this.fileOffset + CODE_BYTES_OFFSET,
        expected: `${this.checkedCodeBytes} bytes of codes`,
        actual: `${readU32(this.bytes, CODE_BYTES_OFFSET)}`,
      });
    }
  }

  private pageStart(page: number): number {
    if (page === 0) return this.pagesStart;
    return this.pagesStart + readU32(this.bytes, PAGE_ENDS_OFFSET + (page - 1) * 4);
  }

  private checkPage(page: number): number {
    const { bytes, keyCount } = this;
    const start = this.pageStart(page);
    const end = this.pagesStart + readU32(bytes, PAGE_ENDS_OFFSET + page * 4);
    if (end - start < PAGE_SUM_BYTES || end > this.byteLength) {
      throw this.damaged(page, "a page within the index", `bytes ${start} to ${end}`);
    }
    this.readPart?.(start, end);
    const stored = readU32(bytes, start);
    const sum = checksum(bytes, start + PAGE_SUM_BYTES, end);
    if (sum !== stored) throw this.damaged(page, `checksum ${stored}`, `${sum}`);
    const pageKeys = Math.min(PAGE_KEYS, keyCount - page * PAGE_KEYS);
    const codeBytes = this.search.countCodes(start, end, pageKeys);
    if (codeBytes < 0) throw this.damaged(page, "lengths within the page", "others");
    this.checkedCodeBytes += codeBytes;
    this.pageStarts[page] = start;
    return start;
  }

  private damaged(page: number, expected: string, actual: string): CorruptionError {
    const offset = this.fileOffset + this.pageStart(page);
    return new CorruptionError("damaged page of keys", {
      file: this.file,
      offset,
      expected,
      actual,
    });
  }
}

/** The numbers that a key index begins with. */
export interface KeyIndexHead {
  readonly headBytes: number;
  readonly totalBytes: number;
  readonly keyCount: number;
  readonly pageCount: number;
  readonly fstBytes: number;
}

/**
 * Checks the head of the index in `bytes` and returns its numbers. Throws CorruptionError. `readPart`
 * is as for `KeyIndex`.
 */
export function readKeyIndexHead(
  bytes: Uint8Array,
  file: string,
  offset: number,
  readPart?: ReadPart,
): KeyIndexHead {
  const damaged = (expected: string, actual: string): CorruptionError =>
    new CorruptionError("damaged key index", {
      file,
      offset,
      expected,
      actual,
    });
  if (bytes.length < PAGE_ENDS_OFFSET) {
    throw damaged(`${PAGE_ENDS_OFFSET} bytes or more`, `${bytes.length}`);
  }
  readPart?.(0, PAGE_ENDS_OFFSET);
  const headBytes = readU32(bytes, HEAD_BYTES_OFFSET);
  if (headBytes < PAGE_ENDS_OFFSET || headBytes > bytes.length) {
    throw damaged(`a head of ${PAGE_ENDS_OFFSET} to ${bytes.length} bytes`, `${headBytes}`);
  }
  readPart?.(PAGE_ENDS_OFFSET, headBytes);
  const stored = readU32(bytes, 0);
  const sum = checksum(bytes, HEAD_BYTES_OFFSET, headBytes);
  if (sum !== stored) throw damaged(`checksum ${stored}`, `${sum}`);
  const head = {
    headBytes,
    totalBytes: readU32(bytes, TOTAL_BYTES_OFFSET),
    keyCount: readU32(bytes, KEY_COUNT_OFFSET),
    pageCount: readU32(bytes, PAGE_COUNT_OFFSET),
    fstBytes: readU32(bytes, FST_BYTES_OFFSET),
  };
  if (head.totalBytes > bytes.length || head.totalBytes < headBytes) {
    throw damaged(`an index of ${headBytes} to ${bytes.length} bytes`, `${head.totalBytes}`);
  }
  if (readU32(bytes, CODE_BYTES_OFFSET) > head.totalBytes - headBytes) {
    throw damaged("codes within the pages", `${readU32(bytes, CODE_BYTES_OFFSET)} bytes`);
  }
  if (head.pageCount !== Math.ceil(head.keyCount / PAGE_KEYS)) {
    throw damaged(`pages for ${head.keyCount} keys`, `${head.pageCount}`);
  }
  if (PAGE_ENDS_OFFSET + head.pageCount * 4 + head.fstBytes > headBytes) {
    throw damaged(`tables within a head of ${headBytes} bytes`, `${head.fstBytes} and more`);
  }
  return head;
}

/**
 * Builds a key index from keys in ascending order. Beside the output it holds one page and what
 * encoding needs: a few megabytes, whatever the number of keys.
 */
export class KeyIndexBuilder {
  private keyCount: number;
  private readonly symbols: SymbolTable;
  private readonly page: KeyPageBuilder;
  private readonly separators: SeparatorList;
  private readonly pageEnds: number[];
  /** Complete pages, chunk after chunk. */
  private readonly chunks: Uint8Array[];
  private chunk: ByteWriter;
  private chunkBytes: number;
  private lastBytes: Uint8Array;
  private lastKeyLength: number;

  /** `symbols` codes the keys, and is stored with them. */
  constructor(symbols: SymbolTable) {
    this.keyCount = 0;
    this.symbols = symbols;
    this.page = new KeyPageBuilder(symbols);
    this.separators = new SeparatorList();
    this.pageEnds = [];
    this.chunks = [];
    this.chunk = new ByteWriter(CHUNK_BYTES / 16);
    this.chunkBytes = 0;
    this.lastBytes = new Uint8Array(256);
    this.lastKeyLength = 0;
  }

  /** About the bytes that `finish` would return. */
  get estimatedBytes(): number {
    const top = PAGE_ENDS_OFFSET + this.pageEnds.length * 8 + this.separators.byteLength;
    const pages = this.chunkBytes + this.chunk.length + this.page.estimatedBytes;
    return top + this.symbols.count * 4 + pages;
  }

  /** The key added last, or no bytes: a view, valid until the next. */
  get lastKey(): Uint8Array {
    return this.lastBytes.subarray(0, this.lastKeyLength);
  }

  /** Adds key[0, length), which must sort after all before it. */
  add(key: Uint8Array, length: number): void {
    assert(length <= MAX_KEY_BYTES, "a key is within its limit");
    const { lastBytes, lastKeyLength } = this;
    const limit = Math.min(length, lastKeyLength);
    let shared = 0;
    while (shared < limit && key[shared] === lastBytes[shared]) shared++;
    const isFirst = this.keyCount === 0;
    if (!isFirst) {
      const isAbove = shared < limit ? key[shared] > lastBytes[shared] : length > lastKeyLength;
      assert(isAbove, "keys of an index ascend");
    }
    const separatorLength = isFirst ? 0 : shared + 1;
    if (!isFirst && this.page.keyCount === 0) this.separators.add(key, separatorLength);
    this.page.add(key, length, shared, separatorLength);
    if (this.page.isFull) this.closePage();
    this.keyCount++;
    this.keepLastKey(key, shared, length);
  }

  /**
   * The index, in parts that follow each other: put together they would be there twice. The builder
   * is not to be used again.
   */
  finish(): Uint8Array[] {
    if (this.page.keyCount > 0) this.closePage();
    this.closeChunk();
    const { pageEnds, chunks } = this;
    const fst = this.separators.build();
    const head = new ByteWriter(PAGE_ENDS_OFFSET + pageEnds.length * 4 + fst.length + (1 << 17));
    head.u32(0);
    head.u32(0);
    head.u32(0);
    head.u32(this.keyCount);
    head.u32(pageEnds.length);
    head.u32(fst.length);
    head.u32(this.page.codeBytes);
    for (const end of pageEnds) head.u32(end);
    head.append(fst);
    this.symbols.serialize(head);
    const totalBytes = head.length + this.chunkBytes;
    assert(totalBytes <= MAX_INDEX_BYTES, "a key index is within its limit");
    writeU32(head.buffer, HEAD_BYTES_OFFSET, head.length);
    writeU32(head.buffer, TOTAL_BYTES_OFFSET, totalBytes);
    writeU32(head.buffer, 0, checksum(head.buffer, HEAD_BYTES_OFFSET, head.length));
    return [head.take(), ...chunks];
  }

  private closePage(): void {
    this.page.finish(this.chunk);
    this.pageEnds.push(this.chunkBytes + this.chunk.length);
    if (this.chunk.length >= CHUNK_BYTES) this.closeChunk();
  }

  private closeChunk(): void {
    this.chunks.push(this.chunk.take());
    this.chunkBytes += this.chunk.length;
    this.chunk.reset();
  }

  private keepLastKey(key: Uint8Array, shared: number, length: number): void {
    if (length > this.lastBytes.length) {
      const grown = new Uint8Array(length * 2);
      grown.set(this.lastBytes);
      this.lastBytes = grown;
    }
    const { lastBytes } = this;
    for (let i = shared; i < length; i++) lastBytes[i] = key[i];
    this.lastKeyLength = length;
  }
}
