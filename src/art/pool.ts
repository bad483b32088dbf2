/**
 * Pool: which bytes of its regions are free, for blocks of one kind.
 *
 * A block is a multiple of 16 bytes and begins at one. Its owner knows its size (the headers of
 * nodes and buckets tell it), so a block carries no size of its own. A block comes from the first of
 * these that can give it:
 *
 *   1. the list of freed blocks of exactly that size. A structure that changes at random frees and
 *      asks for the same few dozen sizes, so this is where nearly all come from;
 *   2. the current region, a stretch of free bytes carved from its start;
 *   3. another stretch of at least 2 KiB, or the largest freed block, which becomes the region;
 *   4. a *sweep*, which joins free neighbours: it marks what is free in a bitmap and reads that in
 *      address order;
 *   5. the arena, which extends the pool.
 *
 * Lists of exact sizes alone collapse when all blocks grow in step, as they do under keys in
 * bit-reversed or random order: each size is freed a moment before the next larger one is wanted,
 * and nothing is reused. A sweep costs a cache miss for each free block; so it waits until a
 * sixteenth of the pool is free, and a thirty-second more than the last one left.
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

/** Blocks and stretches of this size and above are kept apart from the lists. */
const MIN_STRETCH_BYTES = 2048;

/** How many stretches are looked at for one that is large enough. */
const MAX_STRETCHES_TRIED = 64;

/** When to sweep, as parts of the pool, and at least how much must lie free. */
const SWEEP_FRACTION = 1 / 16;
const SWEEP_STEP_FRACTION = 1 / 32;
const SWEEP_MIN_BYTES = 16_384;

export class Pool {
  /** Bytes of the pool in no block. */
  freeBytes: number;
  /** Bytes of all its regions. */
  byteLength: number;

  private readonly arena: Arena;
  private readonly words: Int32Array;
  /** Offset of the first freed block of n * 16 bytes, at index n; 0 where there is none. */
  private readonly lists: Int32Array;
  /** The current region. */
  private regionStart: number;
  private regionEnd: number;
  /** Further stretches of free bytes, as pairs of start and end. */
  private readonly stretches: number[];
  /** What the last sweep left free in pieces too small to be stretches. */
  private unjoinedBytes: number;

  constructor(arena: Arena) {
    this.freeBytes = 0;
    this.byteLength = 0;
    this.arena = arena;
    this.words = arena.words;
    this.lists = new Int32Array(MIN_STRETCH_BYTES / 16);
    this.regionStart = 0;
    this.regionEnd = 0;
    this.stretches = [];
    this.unjoinedBytes = 0;
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
    const open = [this.regionStart, this.regionEnd, ...this.stretches];
    for (let i = 0; i < open.length; i += 2) {
      if (open[i] < open[i + 1]) ranges.push({ start: open[i], end: open[i + 1] });
    }
    return ranges;
  }

  private list(block: number, units: number): void {
    if (units < this.lists.length) {
      this.words[block >> 2] = this.lists[units];
      this.lists[units] = block;
    } else {
      this.stretches.push(block, block + (units << 4));
    }
  }

  /** Makes the current region one of at least `size` bytes. */
  private nextRegion(size: number): void {
    if (this.regionEnd > this.regionStart) {
      this.list(this.regionStart, (this.regionEnd - this.regionStart) >>> 4);
    }
    if (this.takeStretch(size) || this.takeListed(size)) return;
    const { freeBytes, byteLength, unjoinedBytes } = this;
    if (
      freeBytes > byteLength * SWEEP_FRACTION &&
      freeBytes > unjoinedBytes + Math.max(SWEEP_MIN_BYTES, byteLength * SWEEP_STEP_FRACTION)
    ) {
      this.sweep();
      if (this.takeStretch(size) || this.takeListed(size)) return;
    }
    this.regionStart = this.arena.top;
    this.regionEnd = this.arena.extend(size);
    this.freeBytes += this.regionEnd - this.regionStart;
    this.byteLength += this.regionEnd - this.regionStart;
  }

  /** Makes a stretch of at least `size` bytes the region, if there is one. */
  private takeStretch(size: number): boolean {
    const { stretches } = this;
    const last = Math.max(0, stretches.length - 2 * MAX_STRETCHES_TRIED);
    for (let i = stretches.length - 2; i >= last; i -= 2) {
      if (stretches[i + 1] - stretches[i] < size) continue;
      this.regionStart = stretches[i];
      this.regionEnd = stretches[i + 1];
      const end = stretches.pop() as number;
      const start = stretches.pop() as number;
      if (i < stretches.length) {
        stretches[i] = start;
        stretches[i + 1] = end;
      }
      return true;
    }
    return false;
  }

  /** Makes the largest freed block the region, if it has `size` bytes. */
  private takeListed(size: number): boolean {
    const { lists } = this;
    for (let units = lists.length - 1; units << 4 >= size; units--) {
      const block = lists[units];
      if (block === 0) continue;
      lists[units] = this.words[block >> 2];
      this.regionStart = block;
      this.regionEnd = block + (units << 4);
      return true;
    }
    return false;
  }

  /** Joins neighbouring free blocks. O(free blocks + arena / 512). */
  private sweep(): void {
    this.regionStart = 0;
    this.regionEnd = 0;
    const isFree = new Int32Array((this.arena.top >>> 9) + 2);
    for (const { start, end } of this.freeRanges()) setBits(isFree, start >>> 4, end >>> 4);
    this.lists.fill(0);
    this.stretches.length = 0;
    this.unjoinedBytes = 0;
    const unitCount = this.arena.top >>> 4;
    for (let unit = nextBit(isFree, 0, unitCount); unit < unitCount; ) {
      const end = nextClearBit(isFree, unit);
      this.list(unit << 4, end - unit);
      if (end - unit < this.lists.length) this.unjoinedBytes += (end - unit) << 4;
      unit = nextBit(isFree, end, unitCount);
    }
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
