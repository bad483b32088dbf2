/**
 * Arena: the one shared buffer that a tree lives in.
 *
 * The buffer is reserved at its full size when it is made. The operating system backs a page only
 * once it is touched, so a large reservation costs no memory, and a buffer that never moves keeps
 * every reader's view of it valid. (A growable SharedArrayBuffer is three times slower to read.)
 *
 *   0            HEADER_BYTES                            top            capacity
 *   +------------+---------+---------+-------+---------+----------------+--------+
 *   | header     | buckets | buckets | nodes | buckets | not in use     | margin |
 *   +------------+---------+---------+-------+---------+----------------+--------+
 *
 * Space is handed out from `top` upwards in regions, to two pools (pool.ts): one for buckets, one
 * for inner nodes. Nodes are a few percent of all bytes and every lookup passes several, so they
 * must stay in the processor's caches; in regions of their own they share no cache line and no page
 * with buckets, most of which are cold. Strewn between the buckets they took most of a lookup's
 * time (bench/art.ts).
 *
 * Invariants:
 *   1. Every byte in [HEADER_BYTES, top) belongs to exactly one region of one pool.
 *   2. Only the thread that made the arena allocates or frees; other threads only read.
 */
import { assert } from "../assert.ts";
import { Pool } from "./pool.ts";

/** Word indexes of the header's fields; every other part of the header is zero. */
const HEADER_MAGIC = 0;
export const HEADER_ROOT = 1;
export const HEADER_VALUE_BYTES = 2;
export const HEADER_SIZE = 3;
/** Splits and merges so far: a reader that misses a key looks whether one came between (tree.ts). */
export const HEADER_BUCKET_CHANGES = 4;
/** The writer's clock (epochs.ts); 0 while the tree was never shared. */
export const HEADER_EPOCH = 5;
/** 1 once the tree has moved to another arena, and this one is what it was at that moment. */
export const HEADER_MOVED = 6;
/** How many readers have a slot. */
export const HEADER_READER_COUNT = 7;

/** Readers' slots, each in a cache line of its own. */
export const HEADER_READERS = 16;
export const READER_STRIDE_WORDS = 16;
export const MAX_READERS = 32;
export const HEADER_BYTES: number = 4 * (HEADER_READERS + MAX_READERS * READER_STRIDE_WORDS);

/** Bytes of the buffer after `capacity`, so that whatever reads ahead of a block stays inside. */
const MARGIN_BYTES = 1024;

/** "ART1" read as a little-endian word. */
const MAGIC = 0x31545241;

/** Offsets must stay within 31 bits: V8 keeps them in integer registers only there. */
export const MAX_ARENA_BYTES: number = 2 ** 31 - 65_536;
export const MIN_ARENA_BYTES = 65_536;

export class Arena {
  readonly buffer: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  /** The same bytes as aligned words. Signed: every word but a value is below 2^31. */
  readonly words: Int32Array;
  /** The same bytes at any alignment. */
  readonly view: DataView;
  readonly capacity: number;
  readonly nodes: Pool;
  readonly buckets: Pool;
  /** Bytes below this belong to a pool; those above hold nothing of this arena. */
  top: number;

  private constructor(buffer: SharedArrayBuffer) {
    this.capacity = buffer.byteLength - MARGIN_BYTES;
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
    this.view = new DataView(buffer);
    this.top = HEADER_BYTES;
    this.nodes = new Pool(this);
    this.buckets = new Pool(this);
  }

  /**
   * An empty arena of `capacity` bytes, rounded down to whole blocks: in the buffer of an arena of that
   * size which nobody reads any more, if `spare` is one.
   */
  static create(capacity: number, spare?: SharedArrayBuffer): Arena {
    assert(capacity >= MIN_ARENA_BYTES && capacity <= MAX_ARENA_BYTES, "arena size within limits");
    const byteLength = Math.floor(capacity / 16) * 16 + MARGIN_BYTES;
    const buffer = spare?.byteLength === byteLength ? spare : new SharedArrayBuffer(byteLength);
    const arena = new Arena(buffer);
    // Of whatever else was there nothing is read before it was written.
    arena.words.fill(0, 0, HEADER_BYTES / 4);
    arena.words[HEADER_MAGIC] = MAGIC;
    return arena;
  }

  /** The arena that another thread made in `buffer`, to be read. */
  static attach(buffer: SharedArrayBuffer): Arena {
    assert(isArena(buffer), "the buffer holds an arena");
    return new Arena(buffer);
  }

  /** A copy of all blocks, as another thread may attach it. */
  copy(): SharedArrayBuffer {
    return this.buffer.slice(0, Math.max(this.top, MIN_ARENA_BYTES) + MARGIN_BYTES);
  }

  /** Bytes below `top` that no block takes. */
  get freeBytes(): number {
    return this.nodes.freeBytes + this.buckets.freeBytes;
  }

  /** Bytes of the header, and of blocks in use or retired. */
  get liveBytes(): number {
    return this.top - this.freeBytes;
  }

  /** Whether blocks of `byteCount` bytes in all can certainly be allocated, whatever their sizes. */
  hasRoom(byteCount: number): boolean {
    // A pool that gives up a region for a block leaves less unused than the block has: hence twice.
    return this.capacity - this.top >= 2 * byteCount + 2 * REGION_BYTES;
  }

  /** Takes a region of at least `size` bytes from `top` and returns where it ends. */
  extend(size: number): number {
    const end = Math.min(this.top + Math.max(size, REGION_BYTES), this.capacity);
    assert(end - this.top >= size, "the caller asked for room before it allocated");
    this.top = end;
    return end;
  }
}

/** Whether a buffer is an arena: for one that comes from a caller. */
export function isArena(buffer: SharedArrayBuffer): boolean {
  return buffer.byteLength >= MIN_ARENA_BYTES && new Int32Array(buffer, 0, 1)[0] === MAGIC;
}

/** Small beside any tree of interest, large beside any block. */
const REGION_BYTES = 16_384;

/** From this many bytes on copyWithin is faster than the loop: bench/art.ts. */
const COPY_WITHIN_MIN_BYTES = 1024;

/**
 * Copies bytes[source, source + len) to target; the two do not overlap. A DataView, because it moves
 * words at any alignment: copyWithin moves shared bytes that are not aligned alike one by one, and
 * costs 50 ns to call.
 */
export function copyBytes(view: DataView, target: number, source: number, len: number): void {
  let to = target;
  let from = source;
  const end = source + len;
  if (len >= COPY_WITHIN_MIN_BYTES) {
    new Uint8Array(view.buffer).copyWithin(to, from, end);
    return;
  }
  for (const last = end - 15; from < last; from += 16, to += 16) {
    const a = view.getInt32(from, true);
    const b = view.getInt32(from + 4, true);
    const c = view.getInt32(from + 8, true);
    const d = view.getInt32(from + 12, true);
    view.setInt32(to, a, true);
    view.setInt32(to + 4, b, true);
    view.setInt32(to + 8, c, true);
    view.setInt32(to + 12, d, true);
  }
  for (const last = end - 3; from < last; from += 4, to += 4) {
    view.setInt32(to, view.getInt32(from, true), true);
  }
  for (; from < end; from++, to++) view.setInt8(to, view.getInt8(from));
}
