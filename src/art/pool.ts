/**
 * Pool: which bytes of its regions are free, for blocks of one kind.
 *
 * A block is a multiple of 16 bytes and begins at one. Its owner knows its size (the headers of
 * nodes and buckets tell it), so a block carries no size of its own. Three places give a block:
 *
 *   1. the list of freed blocks of exactly that size. A structure that changes at random frees and
 *      asks for the same few dozen sizes, so this is where nearly all come from;
 *   2. the current region, a stretch of free bytes carved from its start;
 *   3. the next region: one that a sweep found, else a new one from the arena.
 *
 * Lists of exact sizes alone collapse when all blocks grow in step, as they do under keys in
 * bit-reversed order: each size is freed a moment before the next larger one is wanted, and nothing
 * is ever reused. So once a sixteenth of the pool lies free, a *sweep* marks the free blocks in a
 * bitmap, reads the bitmap in address order, and joins neighbours into regions.
 *
 * Invariants:
 *   1. Every byte of the pool's regions is in one live or retired block, or free.
 *   2. `freeBytes` counts the freed blocks and the regions not carved yet.
 *   3. A block on a list holds the next one's offset in its first word; 0 ends a list.
 *
 * Source: segregated free lists, and coalescing deferred until it pays: Wilson, Johnstone, Neely,
 * Boles, "Dynamic Storage Allocation: A Survey and Critical Review" (IWMM 1995), sections 3.6, 3.11.
 */
import { assert } from "../assert.ts";
import type { Arena } from "./arena.ts";

/** A sweep waits until this part of the pool is free: bench/art.ts. */
const SWEEP_FRACTION = 1 / 16;

/** ... and until there is this much, so that small trees are not swept over and over. */
const SWEEP_MIN_BYTES = 65_536;

/** Joined neighbours up to this size go back to the lists, larger ones become regions. */
const MIN_REGION_BYTES = 2048;

export class Pool {
  /** Bytes of the pool in no block. */
  freeBytes: number;
  /** Bytes of all its regions. */
  byteLength: number;

  private readonly arena: Arena;
  private readonly words: Int32Array;
  /** Offset of the first freed block of n * 16 bytes, at index n; 0 where there is none. */
  private lists: Int32Array;
  /** The current region. */
  private regionStart: number;
  private regionEnd: number;
  /** Further regions, as pairs of start and end. */
  private readonly regions: number[];
  /** No sweep until this many bytes are free: the last one could not join what was free then. */
  private sweepThreshold: number;

  constructor(arena: Arena) {
    this.freeBytes = 0;
    this.byteLength = 0;
    this.arena = arena;
    this.words = arena.words;
    this.lists = new Int32Array(128);
    this.regionStart = 0;
    this.regionEnd = 0;
    this.regions = [];
    this.sweepThreshold = SWEEP_MIN_BYTES;
  }

  /**
   * Offset of a block of at least `byteCount` bytes, its contents undefined. The caller has asked
   * the arena's `hasRoom` for all blocks of one operation before it allocates the first.
   */
  allocate(byteCount: number): number {
    const units = (byteCount + 15) >>> 4;
    const size = units << 4;
    this.freeBytes -= size;
    if (units < this.lists.length) {
      const block = this.lists[units];
      if (block !== 0) {
        this.lists[units] = this.words[block >> 2];
        return block;
      }
    }
    if (this.regionEnd - this.regionStart < size) this.nextRegion(size);
    const block = this.regionStart;
    this.regionStart = block + size;
    return block;
  }

  /** Gives back a block that nothing reads any more. */
  free(block: number, byteCount: number): void {
    const units = (byteCount + 15) >>> 4;
    this.freeBytes += units << 4;
    this.list(block, units);
  }

  /** All that is free, in no order; checks invariants 2 and 3. */
  freeRanges(): { start: number; end: number }[] {
    const ranges: { start: number; end: number }[] = [];
    for (let units = 1; units < this.lists.length; units++) {
      for (let block = this.lists[units]; block !== 0; block = this.words[block >> 2]) {
        assert(block % 16 === 0 && block < this.arena.top, "a freed block is in the arena");
        ranges.push({ start: block, end: block + units * 16 });
      }
    }
    const open = [this.regionStart, this.regionEnd, ...this.regions];
    for (let i = 0; i < open.length; i += 2) {
      if (open[i] < open[i + 1]) ranges.push({ start: open[i], end: open[i + 1] });
    }
    return ranges;
  }

  private list(block: number, units: number): void {
    if (units >= this.lists.length) this.growLists(units);
    this.words[block >> 2] = this.lists[units];
    this.lists[units] = block;
  }

  private growLists(units: number): void {
    const grown = new Int32Array(Math.max(units + 1, this.lists.length * 2));
    grown.set(this.lists);
    this.lists = grown;
  }

  /** Makes the current region one of at least `size` bytes. */
  private nextRegion(size: number): void {
    this.closeRegion();
    if (this.freeBytes > this.byteLength * SWEEP_FRACTION && this.freeBytes > this.sweepThreshold) {
      this.sweep();
    }
    while (this.regions.length > 0) {
      this.regionEnd = this.regions.pop() as number;
      this.regionStart = this.regions.pop() as number;
      if (this.regionEnd - this.regionStart >= size) return;
      this.closeRegion();
    }
    this.regionStart = this.arena.top;
    this.regionEnd = this.arena.extend(size);
    this.freeBytes += this.regionEnd - this.regionStart;
    this.byteLength += this.regionEnd - this.regionStart;
  }

  /** Puts what is left of the current region on a list. */
  private closeRegion(): void {
    const size = this.regionEnd - this.regionStart;
    if (size > 0) this.list(this.regionStart, size >>> 4);
    this.regionStart = 0;
    this.regionEnd = 0;
  }

  /** Joins neighbouring free blocks. O(free blocks + arena / 512). */
  private sweep(): void {
    const isFree = new Int32Array((this.arena.top >>> 9) + 2);
    for (const { start, end } of this.freeRanges()) setBits(isFree, start >>> 4, end >>> 4);
    this.lists.fill(0);
    this.regions.length = 0;
    const unitCount = this.arena.top >>> 4;
    let listedBytes = 0;
    for (let unit = nextBit(isFree, 0, unitCount); unit < unitCount; ) {
      const end = nextClearBit(isFree, unit);
      const size = (end - unit) << 4;
      if (size < MIN_REGION_BYTES) {
        this.list(unit << 4, end - unit);
        listedBytes += size;
      } else {
        this.regions.push(unit << 4, end << 4);
      }
      unit = nextBit(isFree, end, unitCount);
    }
    // What stayed in small pieces would stay so again: wait until there is half as much anew.
    this.sweepThreshold = Math.max(SWEEP_MIN_BYTES, listedBytes * 1.5);
  }
}

/** Sets bits [from, to). */
function setBits(bitmap: Int32Array, from: number, to: number): void {
  let bit = from;
  while (bit < to) {
    if ((bit & 31) === 0 && to - bit >= 32) {
      bitmap[bit >>> 5] = -1;
      bit += 32;
    } else {
      bitmap[bit >>> 5] |= 1 << (bit & 31);
      bit++;
    }
  }
}

/** Index of the first set bit at or after `from`; `limit` or more, if there is none below it. */
function nextBit(bitmap: Int32Array, from: number, limit: number): number {
  let bit = from;
  while (bit < limit) {
    const word = bitmap[bit >>> 5] >>> (bit & 31);
    if (word !== 0) return bit + 31 - Math.clz32(word & -word);
    bit = (bit | 31) + 1;
  }
  return limit;
}

/** Index of the first clear bit at or after `from`. The bitmap ends with a clear word. */
function nextClearBit(bitmap: Int32Array, from: number): number {
  let bit = from;
  for (;;) {
    const inverted = ~bitmap[bit >>> 5] >>> (bit & 31);
    if (inverted !== 0) return bit + 31 - Math.clz32(inverted & -inverted);
    bit = (bit | 31) + 1;
  }
}
