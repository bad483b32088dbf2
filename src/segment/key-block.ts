/**
 * KeyBlock: one leaf block opened, whose keys are made one by one.
 *
 * What the block's separator has of a key is decoded only where the block's own entries do not have
 * it, and then by the chain of separators that do: see coded-entries.ts.
 */
import type { ByteWriter } from "../bytes/writer.ts";
import type { KeyBuffer } from "./key-buffer.ts";
import { BLOCK_KEYS, PAGE_BLOCKS, PAGE_KEYS } from "./key-page.ts";
import { KeyPageReader } from "./key-page-reader.ts";
import type { SymbolTable } from "./symbols.ts";

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

export class KeyBlock {
  /** Number of the open block in the segment, or NO_BLOCK. */
  private block: number;
  /** Keys of the block that are known: the first ones. */
  private entryCount: number;
  private readonly pages: KeyPages;
  private readonly reader: KeyPageReader;

  constructor(pages: KeyPages) {
    this.block = NO_BLOCK;
    this.entryCount = 0;
    this.pages = pages;
    this.reader = new KeyPageReader(pages.bytes, pages.symbols);
  }

  /** Opens block `block` of the segment; its first `entryCount` keys may then be asked for. */
  open(block: number, entryCount: number): void {
    if (block === this.block && entryCount <= this.entryCount) return;
    const { pages, reader } = this;
    this.block = NO_BLOCK;
    const page = Math.floor(block / PAGE_BLOCKS);
    const pageKeys = Math.min(PAGE_KEYS, pages.keyCount - page * PAGE_KEYS);
    reader.openBlock(pages.openPage(page), pageKeys, block % PAGE_BLOCKS);
    reader.parseEntries(blockKeys(block, pages.keyCount), entryCount);
    this.block = block;
    this.entryCount = entryCount;
  }

  /** Bytes that key i shares with the one before it. */
  sharedBytes(i: number): number {
    return this.reader.entries.shared[i];
  }

  /** Makes `target` key i, if it is key i - 1 now. */
  decodeNext(i: number, target: KeyBuffer): void {
    if (!this.reader.entries.decodeNext(i, target)) this.throwDamaged();
  }

  /** Makes `target` key i, if its first `known` bytes are right already. */
  decode(i: number, known: number, target: KeyBuffer): void {
    const { reader, pages } = this;
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
    let known = shared[i];
    for (let k = i - 1; k > j; k--) known = Math.min(known, shared[k]);
    this.decode(j, known, target);
  }

  /** Appends key i to `output`, where key i - 1 begins at `previous`. */
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
