/**
 * Descent: the ways from the root of a tree down to a bucket, and from one to the next.
 *
 * A lookup is a *floor* search in the radix tree: the bucket with the largest separator at or before
 * the key is the only one that can hold it. The descent keeps its path; where the key turns out to
 * sort before everything in the subtree it is in, the floor is the bucket before that subtree, the
 * last one below the nearest smaller sibling on the path.
 *
 *        node                 the key goes on with "m": it can only be below "k", the last label at or
 *      b  k  q                before it, and below "k" in the last bucket of all;
 *      |  |  |                with "k" it goes down there, and "b" is where it goes back to, should
 *      .  .  .                all separators below "k" sort after it
 *
 * The path also leads to the next bucket and the previous one, without a look at any bucket. It holds
 * until the tree changes.
 *
 * Every loop here ends, and every access is within the arena, whatever the words say: a reader in
 * another thread that was evicted (epochs.ts) may follow references that mean something else by now.
 */
import { assert } from "../assert.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import { type Arena, HEADER_ROOT } from "./arena.ts";
import { separatorPos, tailLengthAt, tailPosAt } from "./bucket.ts";
import {
  bucketOf,
  bucketRef,
  childCountOf,
  childSlot,
  floorLabel,
  isBucket,
  TERMINATOR,
} from "./node.ts";

const WORDS_PER_NODE = 2;

/** No path is longer: a reader that was evicted may be led in circles, but not for ever. */
const MAX_PATH_LENGTH = (MAX_KEY_BYTES + 1) * WORDS_PER_NODE;

/** More than nearly all paths take; for others the array grows. */
const USUAL_PATH_LENGTH = 64 * WORDS_PER_NODE;

const CHILD_MASK = 0x1ff;
const LENGTH_SHIFT = 9;

/** Where a descent ended, and how it came there. Reused from descent to descent. */
export class Descent {
  /**
   * The reference that was in the slot which the last move returned; 0, if there is no such bucket.
   * A reader in another thread must use this one: by now the slot may hold a node, or nothing.
   */
  ref: number;
  /** How many bytes the key of `floor` and the bucket's separator are known to share. */
  known: number;
  /**
   * Two words for each node from the root down: the node, and the child that was taken in bits 0-8,
   * counted from the terminator, with the number of the key's bytes that led to its label above; 0
   * below where the key leads. In one array, since this is the inner loop of every lookup.
   */
  private path: Int32Array;
  /** How many words of it count. */
  private pathLength: number;

  /** How many of these are of nodes to which the key of the last `floor` leads. */
  private keyPathLength: number;

  constructor() {
    this.ref = 0;
    this.known = 0;
    this.path = new Int32Array(USUAL_PATH_LENGTH);
    this.pathLength = 0;
    this.keyPathLength = 0;
  }

  /** The bucket found, or 0. */
  get bucket(): number {
    return this.ref === 0 ? 0 : bucketOf(this.ref);
  }

  /**
   * Slot of the only bucket that can hold key[start, end), except that the bucket's separator may
   * still sort after the key: then it is the previous one, and there is one. In an empty tree the
   * slot is the root's, which holds 0.
   *
   * If the descent has done nothing since its last `floor`, and the tree has not changed, it may
   * begin where the ways part: the caller vouches that the two keys agree in their first `shared`
   * bytes.
   */
  floor(arena: Arena, key: Uint8Array, start: number, end: number, shared: number): number {
    const { bytes, words } = arena;
    let slot = HEADER_ROOT;
    let pos = start;
    let top = shared > 0 ? this.commonPathLength(shared) : 0;
    let { path } = this;
    if (top > 0) {
      const step = path[top - 1];
      slot = childSlot(path[top - 2], (step & CHILD_MASK) - 1);
      pos += (step >>> LENGTH_SHIFT) + 1;
    }
    let ref = words[slot];
    while ((ref & 1) === 0) {
      if (ref === 0) return this.stopAt(slot, 0, top);
      const header = words[ref >> 2];
      const count = header & 0x1ff;
      const prefixLength = header >>> 9;
      const labels = ref + 8 + 4 * count;
      if (prefixLength > 0) {
        const prefix = labels + 2 * count;
        const limit = Math.min(prefixLength, end - pos);
        let i = 0;
        while (i < limit && bytes[prefix + i] === key[pos + i]) i++;
        if (i < prefixLength) {
          this.keyPathLength = top;
          this.pathLength = top;
          if (i === end - pos || key[pos + i] < bytes[prefix + i]) return this.previous(arena);
          this.known = pos + i - start;
          return this.lastBelow(arena, slot);
        }
        pos += prefixLength;
      }
      const byte = pos < end ? key[pos] : 0;
      const child = pos < end ? floorLabel(bytes, labels, count, byte) : TERMINATOR;
      if (top === path.length) path = this.grow();
      path[top] = ref;
      path[top + 1] = ((pos - start) << LENGTH_SHIFT) | (child + 1);
      top += WORDS_PER_NODE;
      slot = (ref >> 2) + 2 + child;
      ref = words[slot];
      if (child < 0) {
        this.keyPathLength = top;
        this.pathLength = top;
        if (ref === 0) return this.previous(arena);
        this.known = pos - start;
        return this.stopAt(slot, ref, top);
      }
      if (bytes[labels + child] !== byte) {
        this.keyPathLength = top;
        this.pathLength = top;
        this.known = pos - start;
        return this.lastBelow(arena, slot);
      }
      pos++;
      const hint = bytes[labels + count + child];
      if (hint > 0 && (pos === end || key[pos] < hint)) {
        this.keyPathLength = top;
        this.pathLength = top;
        return this.previous(arena);
      }
    }
    this.keyPathLength = top;
    this.known = pos - start;
    return this.stopAt(slot, ref, top);
  }

  /** Goes to the first bucket, if there is one; returns its slot. */
  first(arena: Arena): number {
    this.pathLength = 0;
    return this.firstBelow(arena, HEADER_ROOT);
  }

  /** Goes to the last bucket, if there is one; returns its slot. */
  last(arena: Arena): number {
    this.pathLength = 0;
    return this.lastBelow(arena, HEADER_ROOT);
  }

  /** Goes to the bucket after the one that the descent is at, if there is one; returns its slot. */
  next(arena: Arena): number {
    const { words } = arena;
    const { path } = this;
    while (this.pathLength > 0) {
      const node = path[this.pathLength - 2];
      const child = path[this.pathLength - 1] & CHILD_MASK;
      if (child < childCountOf(words, node)) {
        path[this.pathLength - 1]++;
        return this.firstBelow(arena, childSlot(node, child));
      }
      this.pathLength -= WORDS_PER_NODE;
    }
    return this.stopAt(HEADER_ROOT, 0, 0);
  }

  /**
   * Goes to the bucket before the one that the descent is at, if there is one; returns its slot.
   * After a `floor` its separator shares `known` bytes with the key.
   */
  previous(arena: Arena): number {
    const { words } = arena;
    const { path } = this;
    while (this.pathLength > 0) {
      const node = path[this.pathLength - 2];
      const child = (path[this.pathLength - 1] & CHILD_MASK) - 2;
      if (child >= TERMINATOR && words[childSlot(node, child)] !== 0) {
        this.known = --path[this.pathLength - 1] >>> LENGTH_SHIFT;
        this.keyPathLength = Math.min(this.keyPathLength, this.pathLength);
        return this.lastBelow(arena, childSlot(node, child));
      }
      this.pathLength -= WORDS_PER_NODE;
    }
    return this.stopAt(HEADER_ROOT, 0, 0);
  }

  /** Goes to the bucket after `bucket` and returns it, or 0. */
  after(arena: Arena, bucket: number): number {
    this.slotOf(arena, bucket);
    this.next(arena);
    return this.bucket;
  }

  /** Goes to the bucket before `bucket` and returns it, or 0. */
  before(arena: Arena, bucket: number): number {
    this.slotOf(arena, bucket);
    this.previous(arena);
    return this.bucket;
  }

  /** Slot that holds the reference of `bucket`. */
  slotOf(arena: Arena, bucket: number): number {
    const slot = this.floorOf(arena, bucket);
    assert(arena.words[slot] === bucketRef(bucket), "a separator leads to its bucket");
    return slot;
  }

  /** `floor` of the bucket's separator: in a tree that does not change, that bucket itself. */
  floorOf(arena: Arena, bucket: number): number {
    const { bytes } = arena;
    const start = tailPosAt(bytes, separatorPos(bucket));
    return this.floor(arena, bytes, start, start + tailLengthAt(bytes, separatorPos(bucket)), 0);
  }

  /** How much of the path leads to a node for a key that shares `shared` bytes with the last one. */
  private commonPathLength(shared: number): number {
    const { path } = this;
    // The last node was passed to a bucket; to each other one the child before it leads.
    let top = this.keyPathLength - WORDS_PER_NODE;
    while (top > 0 && path[top - 1] >>> LENGTH_SHIFT >= shared) top -= WORDS_PER_NODE;
    return top;
  }

  private firstBelow(arena: Arena, slot: number): number {
    const { words } = arena;
    let at = slot;
    let ref = words[at];
    while (ref !== 0 && !isBucket(ref) && this.pathLength <= MAX_PATH_LENGTH) {
      const child = words[childSlot(ref, TERMINATOR)] === 0 ? 0 : TERMINATOR;
      this.push(ref, child);
      at = childSlot(ref, child);
      ref = words[at];
    }
    return this.stopAt(at, ref, this.pathLength);
  }

  private lastBelow(arena: Arena, slot: number): number {
    const { words } = arena;
    let at = slot;
    let ref = words[at];
    while (ref !== 0 && !isBucket(ref) && this.pathLength <= MAX_PATH_LENGTH) {
      const child = childCountOf(words, ref) - 1;
      this.push(ref, child);
      at = childSlot(ref, child);
      ref = words[at];
    }
    return this.stopAt(at, ref, this.pathLength);
  }

  private stopAt(slot: number, ref: number, pathLength: number): number {
    // A path that is too long ends at a node.
    this.ref = isBucket(ref) ? ref : 0;
    this.pathLength = pathLength;
    return slot;
  }

  private push(node: number, child: number): void {
    if (this.pathLength === this.path.length) this.grow();
    this.path[this.pathLength] = node;
    this.path[this.pathLength + 1] = child + 1;
    this.pathLength += WORDS_PER_NODE;
  }

  private grow(): Int32Array {
    const larger = new Int32Array(2 * this.path.length);
    larger.set(this.path);
    this.path = larger;
    return larger;
  }
}
