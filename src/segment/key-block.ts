/**
 * KeyBlock: one leaf block opened, whose keys are made one by one.
 *
 * What the block's separator has of a key is decoded only where the block's own entries do not have
 * it, and then by the chain of separators that do: see coded-entries.ts.
 *
 * Where a search has just found a key, or the block before was walked to its end, the block is opened
 * at that key: it and those behind it are parsed as they are asked for, each made from the one before.
 * Only a step back needs the whole block.
 */
import type { ByteWriter } from "../bytes/writer.ts";
import type { SymbolTable } from "../symbols/table.ts";
import type { KeyBuffer } from "./key-buffer.ts";
import { BLOCK_KEYS, PAGE_BLOCKS, PAGE_KEYS } from "./key-page.ts";
import { KeyPageReader } from "./key-page-reader.ts";

/** What a block needs of its index. */
export interface KeyPages {
  readonly bytes: Uint8Array;
  readonly symbols: SymbolTable;
  readonly keyCount: number;
  /** Checks page `page` before its first use, and returns where it begins. */
  openPage(page: number): number;
  /** Throws CorruptionError for page `page`. */
  throwDamagedPage(page: number): never;
}

const NO_BLOCK = -1;

/** Keys that are parsed at once, where it is not known how many will be asked for. */
const PARSED_KEYS = 8;

export class KeyBlock {
  /** Number of the open block in the segment, or NO_BLOCK. */
  private block: number;
  /** Keys [0, entryCount) of the block are known, or if it is not whole, some before that are not. */
  private entryCount: number;
  /** Whether the first keys, and the separators, are known. */
  private isWhole: boolean;
  private readonly pages: KeyPages;
  private readonly reader: KeyPageReader;

  constructor(pages: KeyPages) {
    this.block = NO_BLOCK;
    this.entryCount = 0;
    this.isWhole = false;
    this.pages = pages;
    this.reader = new KeyPageReader(pages.bytes, pages.symbols);
  }

  /** Opens block `block` of the segment; its first `entryCount` keys may then be asked for. */
  open(block: number, entryCount: number): void {
    if (block === this.block && this.isWhole && entryCount <= this.entryCount) return;
    const { pages, reader } = this;
    this.block = NO_BLOCK;
    const page = Math.floor(block / PAGE_BLOCKS);
    const pageKeys = Math.min(PAGE_KEYS, pages.keyCount - page * PAGE_KEYS);
    reader.openBlock(pages.openPage(page), pageKeys, block % PAGE_BLOCKS);
    reader.beginEntries(blockKeys(block, pages.keyCount));
    reader.parseEntries(0, entryCount);
    this.block = block;
    this.entryCount = entryCount;
    this.isWhole = true;
  }

  /**
   * Opens block `block` at key i, to which `search` has just come. Key i and those behind it may be
   * asked for; whatever else is asked opens the block anew.
   */
  openAt(block: number, i: number, search: KeyPageReader): void {
    this.reader.goOnFrom(search);
    this.block = block;
    this.entryCount = i;
    this.isWhole = false;
  }

  /** Opens block `block` as `openAt`, at its first key. It lies behind the one that is open, if any is. */
  openNext(block: number): void {
    const { pages, reader } = this;
    if (this.block !== block - 1 || this.entryCount < BLOCK_KEYS) {
      this.open(block, blockKeys(block, pages.keyCount));
      return;
    }
    this.block = NO_BLOCK;
    if (block % PAGE_BLOCKS === 0) reader.openFirstBlock(pages.openPage(block / PAGE_BLOCKS));
    else reader.blockStart = reader.entryPos;
    reader.beginEntries(blockKeys(block, pages.keyCount));
    this.block = block;
    this.entryCount = 0;
    this.isWhole = false;
  }

  /** Makes known the keys up to key i, which is at or behind the one that the block was opened at. */
  parseTo(i: number): void {
    const { entryCount } = this;
    if (i < entryCount) return;
    const end = Math.min(blockKeys(this.block, this.pages.keyCount), i + PARSED_KEYS);
    this.reader.parseEntries(entryCount, end);
    this.entryCount = end;
  }

  /** Bytes that key i, which is known, shares with the one before it. */
  sharedBytes(i: number): number {
    return this.reader.entries.shared[i];
  }

  /** Makes `target` key i, if it has the bytes that this shares with key i - 1. */
  decodeNext(i: number, target: KeyBuffer): void {
    this.parseTo(i);
    if (!this.reader.entries.decodeNext(i, target)) this.throwDamaged();
  }

  /** Makes `target` key i, if its first `known` bytes are right already. */
  decode(i: number, known: number, target: KeyBuffer): void {
    const { reader, pages } = this;
    this.open(this.block, i + 1);
    const { entries, separators } = reader;
    if (entries.findChain(i, known) > known) {
      const needed = separators.findChain(reader.blockIndex, known);
      if (needed > known) {
        target.write(known, pages.bytes, reader.separatorStart + known, needed - known);
      }
      if (!separators.decodeChain(target)) this.throwDamaged();
    }
    if (!entries.decodeChain(target)) this.throwDamaged();
  }

  /** Makes `target`, which is key i now, key j, which is before it. */
  decodeBack(i: number, j: number, target: KeyBuffer): void {
    const { shared } = this.reader.entries;
    this.open(this.block, i + 1);
    let known = shared[i];
    for (let k = i - 1; k > j; k--) known = Math.min(known, shared[k]);
    this.decode(j, known, target);
  }

  /** Appends key i, which is known, to `output`, where key i - 1 begins at `previous`. */
  appendNext(i: number, output: ByteWriter, previous: number): void {
    if (!this.reader.entries.appendNext(i, output, previous)) this.throwDamaged();
  }

  private throwDamaged(): never {
    return this.pages.throwDamagedPage(Math.floor(this.block / PAGE_BLOCKS));
  }
}

/** Keys of block `block` in a segment of `keyCount`. */
export function blockKeys(block: number, keyCount: number): number {
  return Math.min(BLOCK_KEYS, keyCount - block * BLOCK_KEYS);
}
