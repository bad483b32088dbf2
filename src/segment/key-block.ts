/**
 * KeyBlock: one leaf block opened, from which single keys are made without decoding the others.
 *
 * Key i is the end of a chain: its codes give its bytes from shared[i] on; those before come from the
 * last key before it that shares less, and so on down, and at last from the block's separator. Only
 * the keys of that chain are decoded, four of 32 on average, the first of them first, so that each
 * overwrites what the one before has too much.
 */
import { KeyBuffer } from "./key-buffer.ts";
import { BLOCK_KEYS, PAGE_BLOCKS } from "./key-page.ts";
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
  private readonly pages: KeyPages;
  private readonly reader: KeyPageReader;
  private readonly separator: KeyBuffer;
  /** The keys to decode, last first. */
  private readonly chain: Uint8Array;

  constructor(pages: KeyPages) {
    this.block = NO_BLOCK;
    this.pages = pages;
    this.reader = new KeyPageReader(pages.bytes, pages.symbols);
    this.separator = new KeyBuffer();
    this.chain = new Uint8Array(BLOCK_KEYS);
  }

  /** Opens block `block` of the segment, unless it is open. */
  open(block: number): void {
    if (block === this.block) return;
    const { pages, reader } = this;
    this.block = NO_BLOCK;
    const page = Math.floor(block / PAGE_BLOCKS);
    const pageStart = pages.openPage(page);
    const isSound = reader.openBlock(pageStart, block % PAGE_BLOCKS, this.separator);
    if (!isSound) pages.throwDamagedPage(page);
    reader.parseEntries(Math.min(BLOCK_KEYS, pages.keyCount - block * BLOCK_KEYS));
    this.block = block;
  }

  /** Bytes that key i shares with the one before it. */
  sharedBytes(i: number): number {
    return this.reader.shared[i];
  }

  /** Makes `target` key i, if it is key i - 1 now. */
  decodeNext(i: number, target: KeyBuffer): void {
    const { reader, pages } = this;
    const { bytes, symbols } = pages;
    const { codeStarts, codeEnds, shared } = reader;
    if (target.decode(symbols, bytes, codeStarts[i], codeEnds[i], shared[i]) < 0) {
      pages.throwDamagedPage(Math.floor(this.block / PAGE_BLOCKS));
    }
  }

  /** Makes `target` key i, if its first `known` bytes are right already. */
  decode(i: number, known: number, target: KeyBuffer): void {
    const { chain } = this;
    const { shared } = this.reader;
    let depth = 0;
    let needed = Number.POSITIVE_INFINITY;
    for (let j = i; j >= 0 && needed > known; j--) {
      if (shared[j] < needed) {
        chain[depth++] = j;
        needed = shared[j];
      }
    }
    if (needed > known) target.write(known, this.separator.bytes, known, needed - known);
    while (depth > 0) this.decodeNext(chain[--depth], target);
  }
}
