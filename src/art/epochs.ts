/**
 * Epochs: when a block that readers in other threads may still see can be used again.
 *
 * The writer never changes a published block; it publishes another one and *retires* the old. A
 * reader may be in the middle of it. So the arena's header counts epochs, and each reader has a slot
 * there in which it writes the epoch it found when it entered, and 0 when it leaves. A block retired
 * in epoch e can be seen only by readers that entered in e or before: once every slot is 0 or above
 * e, the block is freed.
 *
 *   HEADER_EPOCH   1 ─────── 2 ─────── 3 ─────── 4       the writer's clock
 *   reader A           [entered in 1 ................    pins what was retired in 1, 2, 3, ...
 *   reader B                       [entered in 2]        pins nothing any more
 *
 * A reader enters for one lookup or for one bucket of a scan, so it is out again within
 * microseconds, unless its thread is stopped while it is inside. It must not pin memory without
 * bound then: once EVICTION_BYTES wait, the writer *evicts* every reader of an earlier epoch, by
 * swapping its slot to EVICTED, and counts it no more. The reader finds that out when it leaves,
 * throws away what it read (which may be anything by then, but is bounded) and starts again. So a
 * reader never waits for the writer, the writer never waits for a reader, and what waits for readers
 * stays below EVICTION_BYTES and one epoch.
 *
 * While no reader has a slot, nothing waits: a block is freed as soon as it is retired.
 *
 * Why no block is freed too early: a reader stores its slot before it loads the root, and the writer
 * stores the new reference before it loads the slots, all four sequentially consistent. If the
 * writer saw the slot empty, then the reader's load of the root, and all after it, see the new
 * reference. The same holds of the count of readers, which one raises before it first enters.
 *
 * Source: Fraser, "Practical lock-freedom" (Cambridge 2004), section 5.2.3; eviction in place of
 * waiting is DEBRA+'s neutralisation, Brown, "Reclaiming Memory for Lock-Free Data Structures"
 * (PODC 2015), with a check at the end in place of a signal.
 */
import { assert } from "../assert.ts";
import {
  type Arena,
  HEADER_EPOCH,
  HEADER_READER_COUNT,
  HEADER_READERS,
  MAX_READERS,
  READER_STRIDE_WORDS,
} from "./arena.ts";
import type { Pool } from "./pool.ts";

/** An epoch ends once this many bytes were retired in it: few enough to be in the cache when reused. */
const EPOCH_BYTES = 32_768;

/** Readers inside are evicted once this many retired bytes wait for them. */
export const EVICTION_BYTES: number = 4 * 2 ** 20;

/** Values of a reader's slot other than an epoch. */
const OUTSIDE = 0;
const EVICTED = -1;

/** Values of the word after it: whether a reader has taken the slot. */
const VACANT = 0;
const TAKEN = 1;

const ENTRY_WORDS = 4;
const BUCKETS = 0;
const NODES = 1;

/** The writer's side: the blocks that wait. */
export class RetiredBlocks {
  /** Bytes of blocks that wait. */
  byteLength: number;

  private readonly arena: Arena;
  /** ENTRY_WORDS for each block: its offset, its size, its epoch, its pool. Oldest first. */
  private queue: Int32Array;
  /** The blocks that wait are queue[head, tail). */
  private head: number;
  private tail: number;
  private epoch: number;
  private epochBytes: number;

  constructor(arena: Arena) {
    this.byteLength = 0;
    this.arena = arena;
    this.queue = new Int32Array(256 * ENTRY_WORDS);
    this.head = 0;
    this.tail = 0;
    this.epoch = 1;
    this.epochBytes = 0;
    Atomics.store(arena.words, HEADER_EPOCH, this.epoch);
  }

  /** Takes a block that no slot refers to any more; frees it when no reader can be in it. */
  add(pool: Pool, block: number, size: number): void {
    if (Atomics.load(this.arena.words, HEADER_READER_COUNT) === 0) {
      if (this.byteLength > 0) this.freeBefore(this.epoch + 1);
      pool.free(block, size);
      return;
    }
    if (this.tail === this.queue.length) this.makeRoom();
    const { queue, tail } = this;
    queue[tail] = block;
    queue[tail + 1] = size;
    queue[tail + 2] = this.epoch;
    queue[tail + 3] = pool === this.arena.nodes ? NODES : BUCKETS;
    this.tail = tail + ENTRY_WORDS;
    this.byteLength += size;
    this.epochBytes += size;
    if (this.epochBytes >= EPOCH_BYTES) this.nextEpoch();
  }

  /** The blocks that wait, for tests. */
  ranges(): { start: number; end: number }[] {
    const ranges: { start: number; end: number }[] = [];
    for (let i = this.head; i < this.tail; i += ENTRY_WORDS) {
      ranges.push({ start: this.queue[i], end: this.queue[i] + this.queue[i + 1] });
    }
    return ranges;
  }

  private makeRoom(): void {
    const { queue, head, tail } = this;
    if (head < queue.length / 2) this.queue = new Int32Array(2 * queue.length);
    this.queue.set(queue.subarray(head, tail));
    this.head = 0;
    this.tail = tail - head;
  }

  private nextEpoch(): void {
    this.epoch++;
    this.epochBytes = 0;
    Atomics.store(this.arena.words, HEADER_EPOCH, this.epoch);
    this.freeBefore(this.oldestEpoch());
    if (this.byteLength >= EVICTION_BYTES) {
      this.evict();
      this.freeBefore(this.oldestEpoch());
    }
  }

  /** The earliest epoch that a reader is in; the current one, if none is in an earlier. */
  private oldestEpoch(): number {
    const { words } = this.arena;
    let oldest = this.epoch;
    for (let i = 0; i < MAX_READERS; i++) {
      const epoch = Atomics.load(words, slotOf(i));
      if (epoch > 0 && epoch < oldest) oldest = epoch;
    }
    return oldest;
  }

  private evict(): void {
    const { words } = this.arena;
    for (let i = 0; i < MAX_READERS; i++) {
      const epoch = Atomics.load(words, slotOf(i));
      if (epoch > 0 && epoch < this.epoch) {
        Atomics.compareExchange(words, slotOf(i), epoch, EVICTED);
      }
    }
  }

  private freeBefore(epoch: number): void {
    const { queue, tail, arena } = this;
    let { head } = this;
    for (; head < tail && queue[head + 2] < epoch; head += ENTRY_WORDS) {
      const pool = queue[head + 3] === NODES ? arena.nodes : arena.buckets;
      pool.free(queue[head], queue[head + 1]);
      this.byteLength -= queue[head + 1];
    }
    this.head = head;
  }
}

/** A reader's side: its slot. */
export class EpochReader {
  private readonly words: Int32Array;
  private readonly slot: number;

  /** Takes a slot; throws RangeError if all MAX_READERS are taken. */
  constructor(words: Int32Array) {
    this.words = words;
    this.slot = -1;
    for (let i = 0; i < MAX_READERS && this.slot < 0; i++) {
      const taken = Atomics.compareExchange(words, slotOf(i) + 1, VACANT, TAKEN);
      if (taken === VACANT) this.slot = slotOf(i);
    }
    if (this.slot < 0) throw new RangeError(`an arena has at most ${MAX_READERS} readers`);
    Atomics.add(words, HEADER_READER_COUNT, 1);
  }

  /** From here to `leave`, blocks that are reachable now stay as they are. */
  enter(): void {
    Atomics.store(this.words, this.slot, Atomics.load(this.words, HEADER_EPOCH));
  }

  /** Whether what was read since `enter` is good; if not, the reader was evicted meanwhile. */
  leave(): boolean {
    const before = Atomics.exchange(this.words, this.slot, OUTSIDE);
    return before !== EVICTED;
  }

  /** Gives the slot back, for another reader. */
  close(): void {
    assert(Atomics.load(this.words, this.slot) === OUTSIDE, "a reader closes when it is outside");
    Atomics.sub(this.words, HEADER_READER_COUNT, 1);
    Atomics.store(this.words, this.slot + 1, VACANT);
  }
}

/** Word index of a reader's slot. */
function slotOf(reader: number): number {
  return HEADER_READERS + reader * READER_STRIDE_WORDS;
}
