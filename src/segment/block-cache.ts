/**
 * BlockCache: recently read value blocks of all segments, within a hard budget of bytes.
 *
 * One arena of exactly the budget, used as a ring: a new block is written at the head, and the
 * oldest blocks give way at the tail. A block that was found since it was last written moves to the
 * head instead of leaving, once: first in, first out with a second chance, which is CLOCK (Corbato
 * 1968) where the hand moves the block. So there is no fragmentation, no object per block, nothing
 * for the garbage collector, and a hit costs a hash probe and a flag: 10 ns against 100 for a Map
 * kept in order of use.
 *
 * The caller fills in what it inserts:
 *
 *   let slot = cache.find(file, block);
 *   if (slot < 0) { slot = cache.insert(file, block, length); ...read into cache.memory... }
 *   ...use memory[start(slot), end(slot)) until the next insert...
 *
 * A slot, and the bytes behind it, are valid until the next `insert`, `remove` or `drop`.
 *
 * Invariants:
 * 1. Slots tail, tail + 1, ... (modulo the slot count) hold blocks in the order they were written.
 * 2. Their bytes do not overlap, and lie in ring order too: no block crosses the arena's end.
 * 3. A slot whose file is NO_FILE was removed; its bytes are free once the tail passes it.
 */

/** Blocks larger than this part of the budget are not cached: they would push out everything. */
const MAX_BLOCK_PART = 8;
/** One slot for this many bytes of budget. Blocks of 4 KiB and more fill the arena before the slots. */
const BYTES_PER_SLOT = 2048;
const MIN_SLOTS = 16;

const NONE = -1;
const MAX_INT32 = 0x7fff_ffff;
const NO_FILE = -1;

export class BlockCache {
  readonly capacityBytes: number;
  /**
   * The arena. Reserved whole, but the system backs only pages that were written. It is shared memory
   * because V8 would take an ArrayBuffer of that size for garbage to come, and collect all of the
   * user's heap at once: the most that opening a database cost.
   */
  readonly memory: Uint8Array;
  hits: number;
  misses: number;
  /** Grows whenever a block is put in, moved or taken out: what slots say may then be wrong. */
  changeCount: number;

  private liveBytes: number;
  private readonly slotCount: number;
  private readonly files: Float64Array;
  private readonly blocks: Int32Array;
  private readonly starts: Float64Array;
  private readonly lengths: Uint32Array;
  private readonly isReferenced: Uint8Array;
  /** Hash table: first slot of each bucket, and the next slot of the same bucket. */
  private readonly buckets: Int32Array;
  private readonly nextInBucket: Int32Array;
  private tail: number;
  private used: number;
  /** Where the next block goes in the arena. */
  private head: number;
  /** Holds a block while it moves from the tail to the head. Grows to the largest that did. */
  private moving: Uint8Array;
  /** For `room`. */
  private passing: Uint8Array;

  /** With a capacity of 0 nothing is cached. */
  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
    this.memory = new Uint8Array(new SharedArrayBuffer(capacityBytes));
    this.hits = 0;
    this.misses = 0;
    this.changeCount = 0;
    this.liveBytes = 0;
    const slotCount = Math.max(MIN_SLOTS, Math.ceil(capacityBytes / BYTES_PER_SLOT));
    this.slotCount = slotCount;
    this.files = new Float64Array(slotCount).fill(NO_FILE);
    this.blocks = new Int32Array(slotCount);
    this.starts = new Float64Array(slotCount);
    this.lengths = new Uint32Array(slotCount);
    this.isReferenced = new Uint8Array(slotCount);
    this.buckets = new Int32Array(2 ** Math.ceil(Math.log2(slotCount))).fill(NONE);
    this.nextInBucket = new Int32Array(slotCount).fill(NONE);
    this.tail = 0;
    this.used = 0;
    this.head = 0;
    this.moving = new Uint8Array(0);
    this.passing = new Uint8Array(0);
  }

  /** Bytes of the blocks held now; never more than `capacityBytes`. */
  get bytes(): number {
    return this.liveBytes;
  }

  /** The largest block that is cached. */
  get maxBlockBytes(): number {
    return Math.floor(this.capacityBytes / MAX_BLOCK_PART);
  }

  /** Slot of a file's block, or -1. Counts a hit or a miss. */
  find(fileNumber: number, block: number): number {
    const slot = this.lookUp(fileNumber, block);
    if (slot < 0) {
      this.misses++;
      return NONE;
    }
    this.hits++;
    this.isReferenced[slot] = 1;
    return slot;
  }

  /** As `find`, but leaves no trace: a scan that passes by must not make a block stay. */
  peek(fileNumber: number, block: number): number {
    return this.lookUp(fileNumber, block);
  }

  /**
   * As a small integer wherever it is one: V8 takes what comes out of an array of doubles for a
   * fraction, and what is computed from it too, so that every position in a block would be one.
   */
  start(slot: number): number {
    const start = this.starts[slot];
    return start <= MAX_INT32 ? start | 0 : start;
  }

  end(slot: number): number {
    return this.start(slot) + this.lengths[slot];
  }

  /**
   * Makes room for a block that is not in the cache and returns its slot, or -1 if it is larger than
   * `maxBlockBytes`. The caller fills memory[start(slot), end(slot)), or calls `remove`.
   */
  insert(fileNumber: number, block: number, length: number): number {
    if (length > this.maxBlockBytes) return NONE;
    this.changeCount++;
    while (!this.hasRoom(length)) this.evict();
    return this.place(fileNumber, block, length);
  }

  /**
   * Room for what is read past the cache, until the next call: one for all files. It grows to the
   * most that was asked for, which is the largest chunk of a value.
   */
  room(length: number): Uint8Array {
    if (length > this.passing.length) this.passing = new Uint8Array(length);
    return this.passing.subarray(0, length);
  }

  /** Takes a block out again. */
  remove(slot: number): void {
    this.changeCount++;
    this.unlink(slot);
    this.liveBytes -= this.lengths[slot];
    this.files[slot] = NO_FILE;
  }

  /** Takes out all blocks of a file. O(slots). */
  drop(fileNumber: number): void {
    const { files, slotCount } = this;
    for (let slot = 0; slot < slotCount; slot++) {
      if (files[slot] === fileNumber) this.remove(slot);
    }
  }

  private lookUp(fileNumber: number, block: number): number {
    let slot = this.buckets[this.bucketOf(fileNumber, block)];
    while (slot >= 0 && (this.blocks[slot] !== block || this.files[slot] !== fileNumber)) {
      slot = this.nextInBucket[slot];
    }
    return slot;
  }

  private bucketOf(fileNumber: number, block: number): number {
    const mixed = Math.imul(block ^ Math.imul(fileNumber | 0, 0x85ebca77), 0x9e3779b1);
    return (mixed ^ (mixed >>> 15)) & (this.buckets.length - 1);
  }

  /** Whether `length` bytes are free at the head; moves the head to the start where they are there. */
  private hasRoom(length: number): boolean {
    if (this.used === 0) {
      this.head = 0;
      return true;
    }
    if (this.used === this.slotCount) return false;
    const tailStart = this.starts[this.tail];
    if (this.head <= tailStart) return tailStart - this.head >= length;
    if (this.capacityBytes - this.head >= length) return true;
    if (tailStart < length) return false;
    this.head = 0;
    return true;
  }

  private place(fileNumber: number, block: number, length: number): number {
    const slot = (this.tail + this.used) % this.slotCount;
    this.used++;
    this.files[slot] = fileNumber;
    this.blocks[slot] = block;
    this.starts[slot] = this.head;
    this.lengths[slot] = length;
    this.isReferenced[slot] = 0;
    this.head += length;
    this.liveBytes += length;
    const bucket = this.bucketOf(fileNumber, block);
    this.nextInBucket[slot] = this.buckets[bucket];
    this.buckets[bucket] = slot;
    return slot;
  }

  /** Frees the oldest slot; a block found since it was written moves to the head. */
  private evict(): void {
    const slot = this.tail;
    if (this.files[slot] === NO_FILE || this.isReferenced[slot] === 0) {
      this.release();
      return;
    }
    const { memory } = this;
    const fileNumber = this.files[slot];
    const block = this.blocks[slot];
    const length = this.lengths[slot];
    const start = this.starts[slot];
    if (length > this.moving.length) this.moving = new Uint8Array(length);
    const { moving } = this;
    moving.set(memory.subarray(start, start + length));
    this.release();
    // Blocks in the way of a second chance get none themselves, so that this ends.
    while (!this.hasRoom(length)) this.release();
    memory.set(moving.subarray(0, length), this.starts[this.place(fileNumber, block, length)]);
  }

  /** Frees the slot at the tail. */
  private release(): void {
    const slot = this.tail;
    if (this.files[slot] !== NO_FILE) this.remove(slot);
    this.tail = (slot + 1) % this.slotCount;
    this.used--;
  }

  private unlink(slot: number): void {
    const { buckets, nextInBucket } = this;
    const bucket = this.bucketOf(this.files[slot], this.blocks[slot]);
    let before = NONE;
    for (let at = buckets[bucket]; at !== slot; at = nextInBucket[at]) before = at;
    if (before === NONE) buckets[bucket] = nextInBucket[slot];
    else nextInBucket[before] = nextInBucket[slot];
  }
}
