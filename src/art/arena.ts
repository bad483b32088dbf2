/**
 * Arena: the one shared buffer that a tree lives in, and who owns which bytes of it.
 *
 * The buffer is reserved at its full size when it is made. The operating system backs a page only
 * once it is touched, so a large reservation costs no memory, and a buffer that never moves keeps
 * every reader's view of it valid. (A growable SharedArrayBuffer is three times slower to read.)
 *
 *   0            HEADER_BYTES                     top                      capacity
 *   +------------+--------------------------------+------------------------+
 *   | header     | blocks: live, or on a list     | never touched          |
 *   +------------+--------------------------------+------------------------+
 *
 * A block is a multiple of 16 bytes and begins at one. Its owner knows its size (the headers of
 * nodes and buckets tell it), so a block carries no size of its own. Three places give a block:
 *
 *   1. the list of freed blocks of exactly that size. A structure that changes at random frees and
 *      asks for the same few dozen sizes, so this is where nearly all come from;
 *   2. the current region, a stretch of free bytes carved from its start;
 *   3. the next region: one that a sweep found, else 64 KiB more from `top`.
 *
 * Lists of exact sizes alone collapse when all blocks grow in step, as they do under keys in
 * bit-reversed order: each size is freed a moment before the next larger one is wanted, and nothing
 * is ever reused. So once a sixteenth of what was taken from `top` lies free, a *sweep* marks the
 * free blocks in a bitmap, reads the bitmap in address order, and joins neighbours into regions.
 *
 * Invariants:
 *   1. Every byte in [HEADER_BYTES, top) belongs to one live block, one freed block, one retired
 *      block, or one region.
 *   2. `freeBytes` is the sum of the freed blocks and of the regions, the current one included.
 *   3. A block on a list holds the next one's offset in its first word; 0 ends a list.
 *   4. Only the thread that made the arena allocates or frees; other threads only read.
 */
import { assert } from "../assert.ts";

/** Blocks begin at multiples of this and are multiples of this. */
export const BLOCK_ALIGNMENT = 16;

/** Word indexes of the header's fields; every other part of the header is zero. */
export const HEADER_MAGIC = 0;
export const HEADER_ROOT = 1;
export const HEADER_VALUE_BYTES = 2;
export const HEADER_SIZE = 3;
export const HEADER_BYTES = 64;

/** "ART1" read as a little-endian word. */
const MAGIC = 0x31545241;

/** Offsets must stay within 31 bits: V8 keeps them in integer registers only there. */
export const MAX_ARENA_BYTES: number = 2 ** 31 - 65_536;
export const MIN_ARENA_BYTES = 65_536;

/** What a region from `top` measures; small, so that `top` says what is really in use. */
const REGION_BYTES = 65_536;

/** A sweep waits until this part of the bytes below `top` is free: bench/art.ts. */
const SWEEP_FRACTION = 1 / 16;

/** Runs of free bytes up to this size go back to the lists, longer ones become regions. */
const MIN_REGION_BYTES = 2048;

export class Arena {
  readonly buffer: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  /** The same bytes as aligned words. Signed: every word but a value is below 2^31. */
  readonly words: Int32Array;
  readonly capacity: number;

  /** Bytes below this were handed out at least once; those above were never touched. */
  top: number;
  /** Bytes of freed blocks and regions: below `top`, and in no use. */
  freeBytes: number;

  /** Offset of the first freed block of n * 16 bytes, at index n; 0 where there is none. */
  private lists: Int32Array;
  private regionStart: number;
  private regionEnd: number;
  /** Further regions, as pairs of start and end. */
  private readonly regions: number[];
  /** No sweep until this many bytes are free: the last one could not join what was free then. */
  private sweepThreshold: number;

  /** `shared` is the buffer of an arena of another thread, which may then be read here. */
  constructor(capacity: number, shared?: SharedArrayBuffer) {
    assert(capacity >= MIN_ARENA_BYTES && capacity <= MAX_ARENA_BYTES, "arena size within limits");
    this.capacity = Math.floor(capacity / BLOCK_ALIGNMENT) * BLOCK_ALIGNMENT;
    this.buffer = shared ?? new SharedArrayBuffer(this.capacity);
    this.bytes = new Uint8Array(this.buffer);
    this.words = new Int32Array(this.buffer);
    this.top = HEADER_BYTES;
    this.freeBytes = 0;
    this.lists = new Int32Array(128);
    this.regionStart = 0;
    this.regionEnd = 0;
    this.regions = [];
    this.sweepThreshold = REGION_BYTES;
    if (shared === undefined) this.words[HEADER_MAGIC] = MAGIC;
    else assert(this.words[HEADER_MAGIC] === MAGIC, "the buffer holds an arena");
  }

  /** Bytes in live and retired blocks and the header. */
  get liveBytes(): number {
    return this.top - this.freeBytes;
  }

  /**
   * Whether blocks of `byteCount` bytes in all can be allocated, whatever their sizes: a region
   * that is given up for a block leaves fewer bytes unused than the block has, hence twice.
   */
  hasRoom(byteCount: number): boolean {
    return this.capacity - this.top >= 2 * byteCount + REGION_BYTES;
  }

  /**
   * Offset of a block of at least `byteCount` bytes, its contents undefined. The caller has asked
   * `hasRoom` for all the blocks of one operation before it allocates the first.
   */
  allocate(byteCount: number): number {
    const units = (byteCount + 15) >>> 4;
    if (units < this.lists.length) {
      const block = this.lists[units];
      if (block !== 0) {
        this.lists[units] = this.words[block >> 2];
        this.freeBytes -= units << 4;
        return block;
      }
    }
    const size = units << 4;
    if (this.regionEnd - this.regionStart < size) this.nextRegion(size);
    const block = this.regionStart;
    this.regionStart = block + size;
    this.freeBytes -= size;
    return block;
  }

  /** Gives back a block that nothing reads any more. */
  free(block: number, byteCount: number): void {
    const units = (byteCount + 15) >>> 4;
    if (units >= this.lists.length) this.growLists(units);
    this.words[block >> 2] = this.lists[units];
    this.lists[units] = block;
    this.freeBytes += units << 4;
  }

  /** Checks invariants 2 and 3 and returns the offsets and sizes of all free bytes, for tests. */
  freeRanges(): { start: number; end: number }[] {
    const ranges: { start: number; end: number }[] = [];
    for (let units = 1; units < this.lists.length; units++) {
      for (let block = this.lists[units]; block !== 0; block = this.words[block >> 2]) {
        assert(block % BLOCK_ALIGNMENT === 0 && block < this.top, "a freed block is in the arena");
        ranges.push({ start: block, end: block + units * BLOCK_ALIGNMENT });
      }
    }
    const open = [this.regionStart, this.regionEnd, ...this.regions];
    for (let i = 0; i < open.length; i += 2) {
      if (open[i] < open[i + 1]) ranges.push({ start: open[i], end: open[i + 1] });
    }
    const total = ranges.reduce((sum, range) => sum + range.end - range.start, 0);
    assert(total === this.freeBytes, "free bytes are counted");
    return ranges;
  }

  /** Makes the current region one of at least `size` bytes. */
  private nextRegion(size: number): void {
    if (this.freeBytes > this.top * SWEEP_FRACTION && this.freeBytes > this.sweepThreshold) {
      this.sweep();
    } else {
      this.retireRegion();
    }
    while (this.regions.length > 0) {
      const end = this.regions.pop() as number;
      const start = this.regions.pop() as number;
      this.regionStart = start;
      this.regionEnd = end;
      if (end - start >= size) return;
      this.retireRegion();
    }
    const start = this.top;
    const end = Math.min(start + Math.max(size, REGION_BYTES), this.capacity);
    assert(end - start >= size, "the caller asked for room before it allocated");
    this.top = end;
    this.freeBytes += end - start;
    this.regionStart = start;
    this.regionEnd = end;
  }

  /** Puts what is left of the current region on a list. */
  private retireRegion(): void {
    const size = this.regionEnd - this.regionStart;
    if (size > 0) {
      this.freeBytes -= size;
      this.free(this.regionStart, size);
    }
    this.regionStart = 0;
    this.regionEnd = 0;
  }

  private growLists(units: number): void {
    const grown = new Int32Array(Math.max(units + 1, this.lists.length * 2));
    grown.set(this.lists);
    this.lists = grown;
  }

  /** Joins neighbouring free blocks. O(free blocks + top / 512). */
  private sweep(): void {
    const isFree = new Int32Array((this.top >>> 9) + 2);
    for (const { start, end } of this.freeRanges()) {
      markUnits(isFree, start >>> 4, end >>> 4);
    }
    this.lists.fill(0);
    this.regions.length = 0;
    this.regionStart = 0;
    this.regionEnd = 0;
    this.freeBytes = 0;
    const unitCount = this.top >>> 4;
    let unit = 0;
    let listedBytes = 0;
    while (unit < unitCount) {
      const word = isFree[unit >>> 5] >>> (unit & 31);
      if (word === 0) {
        unit = (unit | 31) + 1;
        continue;
      }
      unit += 31 - Math.clz32(word & -word);
      const start = unit;
      unit = endOfRun(isFree, unit);
      const size = (unit - start) << 4;
      if (size < MIN_REGION_BYTES) {
        this.free(start << 4, size);
        listedBytes += size;
      } else {
        this.regions.push(start << 4, unit << 4);
        this.freeBytes += size;
      }
    }
    // What stayed in small pieces would stay so again: wait until there is half as much anew.
    this.sweepThreshold = Math.max(REGION_BYTES, listedBytes * 1.5);
  }
}

/** Sets bits [from, to). */
function markUnits(bitmap: Int32Array, from: number, to: number): void {
  let unit = from;
  while (unit < to) {
    if ((unit & 31) === 0 && to - unit >= 32) {
      bitmap[unit >>> 5] = -1;
      unit += 32;
    } else {
      bitmap[unit >>> 5] |= 1 << (unit & 31);
      unit++;
    }
  }
}

/** Index of the first clear bit at or after `unit`. The bitmap ends with a clear word. */
function endOfRun(bitmap: Int32Array, unit: number): number {
  let pos = unit;
  for (;;) {
    const inverted = ~bitmap[pos >>> 5] >>> (pos & 31);
    if (inverted !== 0) return pos + 31 - Math.clz32(inverted & -inverted);
    pos = (pos | 31) + 1;
  }
}

/** Below this many bytes a loop is faster than the call of copyWithin: bench/art.ts. */
const COPY_WITHIN_MIN_BYTES = 32;

/** Copies bytes[source, source + len) to target; the two do not overlap. */
export function copyBytes(bytes: Uint8Array, target: number, source: number, len: number): void {
  if (len < COPY_WITHIN_MIN_BYTES) {
    for (let i = 0; i < len; i++) bytes[target + i] = bytes[source + i];
  } else {
    bytes.copyWithin(target, source, source + len);
  }
}
