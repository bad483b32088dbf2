/**
 * Descent: the ways from the root of a tree down to a bucket.
 *
 * A lookup is a *floor* search in the radix tree: the bucket with the largest separator at or before
 * the key is the only one that can hold it. On the way down it remembers the nearest smaller sibling
 * (`fallbackSlot`); where the key turns out to sort before everything in the subtree it is in, the
 * floor is the last bucket of that sibling.
 *
 *        node                 the key goes on with "m": it can only be below "k", the last label at or
 *      b  k  q                before it, and below "k" in the last bucket of all;
 *      |  |  |                with "k" it goes down there, and "b" is what it falls back to, should
 *      .  .  .                all separators below "k" sort after it
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
  labelsPos,
  prefixLengthOf,
  terminatorSlot,
} from "./node.ts";

/** No path is longer: a reader that was evicted may be led in circles, but not for ever. */
const MAX_DEPTH = MAX_KEY_BYTES + 1;

/** Where a descent ended. Reused from descent to descent, since a function returns one number. */
export class Descent {
  /**
   * The reference that was in the slot which `floor`, `last` or `first` returned. A reader in another
   * thread must use this one: by now the slot may hold a node, or nothing.
   */
  ref = 0;
  /** That slot, and the node that it is in; 0, if that is not known. */
  slot = 0;
  node = 0;
  /** How many bytes the key of `floor` and the bucket's separator are known to share. */
  known = 0;
  /** Where to look if the separator sorts after the key; 0, if it does not for certain. */
  fallbackSlot = 0;
  /** `known`, for the last bucket below `fallbackSlot`. */
  fallbackKnown = 0;

  /** The bucket found, or 0. */
  get bucket(): number {
    return this.ref === 0 ? 0 : bucketOf(this.ref);
  }

  /**
   * Slot of the only bucket that can hold key[start, end), except that the bucket's separator may
   * still sort after the key: then it is the last bucket below `fallbackSlot`, and there is one. In
   * an empty tree the slot is the root's, which holds 0.
   */
  floor(arena: Arena, key: Uint8Array, start: number, end: number): number {
    const { bytes, words } = arena;
    let slot = HEADER_ROOT;
    let ref = words[HEADER_ROOT];
    let pos = start;
    let fallback = 0;
    let fallbackPos = start;
    let node = 0;
    this.ref = ref;
    this.slot = slot;
    this.node = 0;
    if (ref === 0) return slot;
    while ((ref & 1) === 0) {
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
          if (i === end - pos || key[pos + i] < bytes[prefix + i]) break;
          this.known = pos + i - start;
          return this.last(arena, slot, node);
        }
        pos += prefixLength;
      }
      const terminator = (ref >> 2) + 1;
      const terminatorRef = words[terminator];
      const byte = pos < end ? key[pos] : 0;
      const index = pos < end ? floorLabel(bytes, labels, count, byte) : -1;
      if (index < 0) {
        if (terminatorRef === 0) break;
        this.ref = terminatorRef;
        this.slot = terminator;
        this.node = ref;
        this.fallbackSlot = fallback;
        this.known = pos - start;
        return terminator;
      }
      const child = (ref >> 2) + 2 + index;
      if (bytes[labels + index] !== byte) {
        this.known = pos - start;
        return this.last(arena, child, ref);
      }
      if (index > 0) {
        fallback = child - 1;
        fallbackPos = pos;
      } else if (terminatorRef !== 0) {
        fallback = terminator;
        fallbackPos = pos;
      }
      pos++;
      const hint = bytes[labels + count + index];
      if (hint > 0 && (pos === end || key[pos] < hint)) {
        ref = 0;
        break;
      }
      slot = child;
      node = ref;
      ref = words[child];
    }
    if (isBucket(ref)) {
      this.ref = ref;
      this.slot = slot;
      this.node = node;
      this.fallbackSlot = fallback;
      this.fallbackKnown = fallbackPos - start;
      this.known = pos - start;
      return slot;
    }
    this.known = fallbackPos - start;
    return this.last(arena, fallback, 0);
  }

  /** Slot of the last bucket in the subtree at `slot`, which is in `node`. */
  last(arena: Arena, slot: number, node: number): number {
    const { words } = arena;
    let ref = words[slot];
    this.slot = slot;
    this.node = node;
    for (let depth = 0; ref !== 0 && !isBucket(ref) && depth <= MAX_DEPTH; depth++) {
      const count = childCountOf(words, ref);
      this.node = ref;
      this.slot = count === 0 ? terminatorSlot(ref) : childSlot(ref, count - 1);
      ref = words[this.slot];
    }
    this.ref = ref;
    return this.slot;
  }

  /** Slot of the first bucket in the subtree at `slot`, which is in `node`. */
  first(arena: Arena, slot: number, node: number): number {
    const { words } = arena;
    let ref = words[slot];
    this.slot = slot;
    this.node = node;
    for (let depth = 0; ref !== 0 && !isBucket(ref) && depth <= MAX_DEPTH; depth++) {
      this.node = ref;
      this.slot = words[terminatorSlot(ref)] === 0 ? childSlot(ref, 0) : terminatorSlot(ref);
      ref = words[this.slot];
    }
    this.ref = ref;
    return this.slot;
  }

  /**
   * Finds the bucket after `bucket`, or none. Mostly it is the next child of the same node; so the
   * caller tells where a descent has found the bucket, or 0 and 0.
   */
  next(arena: Arena, bucket: number, slot: number, node: number): void {
    const { bytes, words } = arena;
    if (node !== 0 && slot + 1 < childSlot(node, childCountOf(words, node))) {
      this.first(arena, slot + 1, node);
      return;
    }
    const start = tailPosAt(bytes, separatorPos(bucket));
    const end = start + tailLengthAt(bytes, separatorPos(bucket));
    let larger = 0;
    let largerNode = 0;
    let pos = start;
    let ref = words[HEADER_ROOT];
    while (ref !== 0 && !isBucket(ref)) {
      pos += prefixLengthOf(words, ref);
      if (pos >= end) {
        larger = childSlot(ref, 0);
        largerNode = ref;
        break;
      }
      const count = childCountOf(words, ref);
      const index = floorLabel(bytes, labelsPos(words, ref), count, bytes[pos]);
      if (index + 1 < count) {
        larger = childSlot(ref, index + 1);
        largerNode = ref;
      }
      ref = words[childSlot(ref, index)];
      pos++;
    }
    if (larger === 0) this.ref = 0;
    else this.first(arena, larger, largerNode);
  }

  /** Finds the bucket before `bucket`, or none. */
  previous(arena: Arena, bucket: number): void {
    const { bytes } = arena;
    const start = tailPosAt(bytes, separatorPos(bucket));
    this.floor(arena, bytes, start, start + tailLengthAt(bytes, separatorPos(bucket)));
    if (this.fallbackSlot === 0) this.ref = 0;
    else this.last(arena, this.fallbackSlot, 0);
  }

  /** Slot that holds the reference of `bucket`. */
  slotOf(arena: Arena, bucket: number): number {
    const { bytes, words } = arena;
    const start = tailPosAt(bytes, separatorPos(bucket));
    const end = start + tailLengthAt(bytes, separatorPos(bucket));
    const slot = this.floor(arena, bytes, start, end);
    assert(words[slot] === bucketRef(bucket), "a separator leads to its bucket");
    return slot;
  }
}
