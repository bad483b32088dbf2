/**
 * MemtableFilter: whether a key may be in a memtable, so that a look-up of one that is not there, as
 * most are, touches one cache line and does not descend the tree.
 *
 * The same filter as a segment's, but its size is fixed before the keys are known, and they are added
 * as they come. It knows of keys alone: one that passes may have no entry that a reader sees yet.
 */
import { checksum } from "../bytes/checksum.ts";
import { FILTER_BLOCK_BYTES, Filter } from "../segment/filter.ts";

/**
 * One byte of the filter for so many of the memtable: about 11 bits for each of its keys, where an
 * entry takes 90 bytes with its part of the tree, as a name and a URL do, and 4 where it takes 32,
 * which still stop two of three.
 */
const BYTES_PER_FILTER_BYTE = 64;

export class MemtableFilter {
  private readonly filter: Filter;

  /** For a memtable of so many bytes. */
  constructor(memtableBytes: number) {
    const blockCount = Math.ceil(memtableBytes / (BYTES_PER_FILTER_BYTE * FILTER_BLOCK_BYTES));
    this.filter = new Filter(new Uint8Array(Math.max(1, blockCount) * FILTER_BLOCK_BYTES));
  }

  get byteLength(): number {
    return this.filter.byteLength;
  }

  /** Adds key[start, end). */
  add(key: Uint8Array, start: number, end: number): void {
    this.filter.add(checksum(key, start, end));
  }

  /** False only if no key with this `keyHash` was added. */
  mayContain(hash: number): boolean {
    return this.filter.mayContain(hash);
  }
}
