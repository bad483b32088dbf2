/**
 * BlockCache: the images of value blocks that were read lately, of all segments, in a CacheRing.
 *
 * The caller fills in what it inserts, with bytes that were checked:
 *
 *   let slot = cache.find(file, block);
 *   if (slot < 0) { slot = cache.insert(file, block, length); ...copy into cache.memory... }
 *   ...use memory[start(slot), end(slot))...
 *
 * A slot is the block's place in the ring. It, and the bytes behind it, are valid as long as
 * `changeCount` stays, which any insertion may change: of a row too.
 */
import {
  BLOCK_HEADER_UNITS,
  blockLengthOf,
  blockUnitsOf,
  CacheRing,
  FOUND,
  hashOfBlock,
  UNIT_BYTES,
} from "./ring.ts";
import { NOWHERE, SLOT_WORDS, SLOTS_WORDS } from "./table.ts";

const NONE = -1;

export class BlockCache {
  readonly ring: CacheRing;
  /** The ring's memory. */
  readonly memory: Uint8Array;
  hits: number;
  misses: number;
  /** For `room`. */
  private passing: Uint8Array;

  /** Makes the ring, which rows may share. With a capacity of 0 nothing is cached. */
  constructor(capacityBytes: number, firstPosition?: number) {
    this.ring = new CacheRing(capacityBytes, firstPosition);
    this.memory = this.ring.memory;
    this.hits = 0;
    this.misses = 0;
    this.passing = new Uint8Array(0);
  }

  /** Bytes of the blocks held now. */
  get bytes(): number {
    return this.ring.blockBytes;
  }

  /** See CacheRing. */
  get changeCount(): number {
    return this.ring.changeCount;
  }

  /** The largest block that is cached. */
  get maxBlockBytes(): number {
    return (this.ring.maxEntryUnits - BLOCK_HEADER_UNITS) * UNIT_BYTES;
  }

  /** Slot of a file's block, or -1. Counts a hit or a miss. */
  find(fileNumber: number, block: number): number {
    const hash = hashOfBlock(fileNumber, block);
    const at = this.lookUp(hash, fileNumber, block);
    if (at < 0) {
      this.misses++;
      return NONE;
    }
    this.hits++;
    const { ring } = this;
    const { words, blockTable } = ring;
    const slot = ring.wordOf(blockTable.words[at + 1]);
    const header = words[slot];
    if (header < FOUND) words[slot] = header + FOUND;
    blockTable.moveForward(at, blockTable.slotsOf(hash));
    return slot;
  }

  /** As `find`, but leaves no trace: a scan that passes by must not make a block stay. */
  peek(fileNumber: number, block: number): number {
    const { ring } = this;
    const at = this.lookUp(hashOfBlock(fileNumber, block), fileNumber, block);
    return at < 0 ? NONE : ring.wordOf(ring.blockTable.words[at + 1]);
  }

  start(slot: number): number {
    return (slot + BLOCK_HEADER_UNITS) * UNIT_BYTES;
  }

  end(slot: number): number {
    return this.start(slot) + blockLengthOf(this.ring.words[slot]);
  }

  /**
   * Makes room for a block that `find` has just missed and returns its slot; -1 if it is larger than
   * `maxBlockBytes`, or not let in. The caller fills memory[start(slot), end(slot)).
   */
  insert(fileNumber: number, block: number, length: number): number {
    const { ring } = this;
    const units = blockUnitsOf(length);
    if (units > ring.maxEntryUnits) return NONE;
    const hash = hashOfBlock(fileNumber, block);
    if (!ring.hasRoom(units) && !ring.blockTable.wasMissed(hash)) return NONE;
    return ring.makeRoom(units) ? ring.putBlock(hash, fileNumber, block, length) : NONE;
  }

  /**
   * Room for what is read past the cache, until the next call: one for all files. It grows to the
   * most that was asked for, which is the largest chunk of a value.
   */
  room(length: number): Uint8Array {
    if (length > this.passing.length) this.passing = new Uint8Array(length);
    return this.passing.subarray(0, length);
  }

  /** Takes out all blocks of a file, which has so many. O(that many), whatever else is here. */
  drop(fileNumber: number, blockCount: number): void {
    const { ring } = this;
    const table = ring.blockTable.words;
    for (let block = 0; block < blockCount; block++) {
      const at = this.lookUp(hashOfBlock(fileNumber, block), fileNumber, block);
      if (at < 0) continue;
      ring.remove(ring.wordOf(table[at + 1]));
      table[at + 1] = NOWHERE;
    }
  }

  /** Index in the table of the block's slot there, or -1. */
  private lookUp(hash: number, fileNumber: number, block: number): number {
    const { ring } = this;
    const { words, blockTable, tail } = ring;
    const table = blockTable.words;
    const first = blockTable.slotsOf(hash);
    const end = first + SLOTS_WORDS;
    for (let at = first; at < end; at += SLOT_WORDS) {
      if (table[at] !== hash || table[at + 1] < tail) continue;
      const slot = ring.wordOf(table[at + 1]);
      if (words[slot + 3] === block && this.isOf(slot, fileNumber)) return at;
    }
    return NONE;
  }

  private isOf(slot: number, fileNumber: number): boolean {
    const { words } = this.ring;
    return (
      words[slot + 1] === fileNumber >>> 0 &&
      words[slot + 2] === Math.floor(fileNumber / 0x1_0000_0000)
    );
  }
}
