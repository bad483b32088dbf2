/**
 * Tree: an ordered map from byte strings to numbers, in one shared buffer. It is the memtable's
 * index and the core of the public ArenaArt.
 *
 *                     root
 *                      │                  inner nodes (node.ts): a radix tree over the separators
 *                ┌─────┴─────┐            of the buckets, a few percent of all bytes, mostly in
 *             node           node         the processor's cache
 *            ┌──┼──┐       ┌──┴──┐
 *            ▼  ▼  ▼       ▼     ▼
 *          [..][..][..]  [..]   [..]      buckets (bucket.ts): up to 32 front-coded keys each, and
 *                                         their values
 *
 * A lookup is a *floor* search in the radix tree: the bucket with the largest separator at or before
 * the key is the only one that can hold it. On the way down it remembers the nearest smaller sibling
 * (`fallbackSlot`); where the key turns out to sort before everything in the subtree it is in, the
 * floor is the last bucket of that sibling. Then one scan of the bucket decides.
 *
 * An insertion writes the bucket anew with the key in it and stores its reference in the slot of the
 * old one. A bucket that has become too large is split in two, and the right part's separator goes
 * into the radix tree. A deletion does the reverse: small neighbours merge and a separator goes.
 * Most inserts therefore touch one bucket and one slot, whatever the shape of the keys.
 *
 * Invariants (checked by `verify` in verify.ts, with those of arena, node and bucket):
 *   1. The separators of the buckets, in tree order, ascend strictly; the first is empty.
 *   2. A bucket's keys are at or after its separator and before the next bucket's.
 *   3. `size` is the sum of the buckets' counts.
 *   4. Every block is reachable from the root, freed or retired, and only one of these.
 *   5. An operation that cannot be finished in the arena moves the tree to another one before it
 *      changes anything.
 *
 * Sources: Leis, Kemper, Neumann, "The Adaptive Radix Tree" (ICDE 2013); Askitis and Sinha,
 * "HAT-trie" (ACSC 2007) for buckets below a trie; Leis, Scheibner, Kemper, Neumann, "The ART of
 * Practical Synchronization" (DaMoN 2016), ROWEX, for readers that never wait for the writer.
 */
import { assert } from "../assert.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import {
  Arena,
  HEADER_BUCKET_CHANGES,
  HEADER_MOVED,
  HEADER_ROOT,
  HEADER_SIZE,
  HEADER_VALUE_BYTES,
  MAX_ARENA_BYTES,
} from "./arena.ts";
import {
  ABSENT,
  BEFORE,
  BucketSearch,
  blockBytes,
  canMerge,
  chooseSplit,
  copyBucket,
  copyLeftPart,
  copyRightPart,
  countOf,
  createBucket,
  insertKey,
  isOverfull,
  isSparse,
  mergeBuckets,
  removeKey,
  separatorPos,
  tailLengthAt,
  tailPosAt,
  valuesWord,
} from "./bucket.ts";
import { RetiredBlocks } from "./epochs.ts";
import { KeyBuffer } from "./key-buffer.ts";
import {
  bucketOf,
  bucketRef,
  childCountOf,
  childSlot,
  createNode,
  floorLabel,
  hintsPos,
  isBucket,
  labelsPos,
  nodeBytes,
  prefixLengthOf,
  prefixPos,
  setChild,
  terminatorSlot,
  withChild,
  withoutChild,
  withPrefix,
} from "./node.ts";
import type { Pool } from "./pool.ts";

/** Bytes of a value: u32 or u53. */
export type ValueBytes = 4 | 8;

/** What no key maps to. */
export const NO_VALUE = -1;

/** The most that one operation allocates, the keys' own bytes aside: two buckets and four nodes. */
const OPERATION_BYTES = 16_384;

/** When a tree that may compact does so; below the least size it is not worth the while. */
const COMPACTION_FRACTION = 1 / 5;
const MIN_COMPACTION_BYTES = 262_144;

/** Keys that `getMany` looks up side by side: more than the loads that a processor has in flight. */
const GROUP_KEYS = 16;

/** No path is longer: a reader that was evicted may be led in circles, but not for ever. */
const MAX_DEPTH = MAX_KEY_BYTES + 1;

/** How often the bytes of the longest key may appear in what one operation allocates. */
const OPERATION_KEY_COPIES = 10;

export class Tree {
  arena: Arena;
  readonly valueBytes: ValueBytes;
  /** Whether to move to a new arena also when this one is merely fragmented; see `makeRoom`. */
  compacts: boolean;
  size: number;
  /** Grows with every change of keys or buckets: a cursor that sees another number seeks anew. */
  changeCount: number;

  /** Blocks that readers in other threads may still see; undefined while there are none. */
  private retired: RetiredBlocks | undefined;
  private reusesAtOnce: boolean;
  private readonly search: BucketSearch;
  private readonly leftKey: KeyBuffer;
  private readonly rightKey: KeyBuffer;
  private longestKey: number;
  /** Whether the last insertion was of the last key of all, which then is `lastKey`. */
  private isAppending: boolean;
  private readonly lastKey: KeyBuffer;
  /** The change count at the last move. */
  private movedAt: number;

  /** What `getMany` found for each key of a group. */
  private readonly groupRefs: Int32Array;
  private readonly groupKnown: Int32Array;
  private readonly groupFallbacks: Int32Array;
  private readonly groupFallbackKnown: Int32Array;
  private touched: number;

  /**
   * The reference that `floor`, `firstSlot` or `lastSlot` saw in the slot they returned. A reader in
   * another thread must use this one: by now the slot may hold a node, or nothing.
   */
  private foundRef: number;
  /** What `floor` found besides. */
  private known: number;
  private fallbackSlot: number;
  private fallbackKnown: number;

  /** What `locate` found, for `assign` and `remove`. The key is the caller's and still unchanged. */
  private locatedSlot: number;
  private locatedRank: number;
  private locatedKey: Uint8Array;
  private locatedStart: number;
  private locatedEnd: number;

  /** `shared` is the buffer of a tree that another thread made and changes no more, to be read. */
  constructor(capacity: number, valueBytes: ValueBytes, shared?: SharedArrayBuffer) {
    this.arena = new Arena(shared?.byteLength ?? capacity, shared);
    if (shared === undefined) this.arena.words[HEADER_VALUE_BYTES] = valueBytes;
    this.valueBytes = valueBytes;
    this.compacts = false;
    this.size = this.arena.words[HEADER_SIZE];
    this.changeCount = 0;
    this.retired = undefined;
    this.reusesAtOnce = false;
    this.search = new BucketSearch();
    this.leftKey = new KeyBuffer();
    this.rightKey = new KeyBuffer();
    this.longestKey = 0;
    this.isAppending = false;
    this.lastKey = new KeyBuffer();
    this.movedAt = 0;
    this.groupRefs = new Int32Array(GROUP_KEYS);
    this.groupKnown = new Int32Array(GROUP_KEYS);
    this.groupFallbacks = new Int32Array(GROUP_KEYS);
    this.groupFallbackKnown = new Int32Array(GROUP_KEYS);
    this.touched = 0;
    this.foundRef = 0;
    this.known = 0;
    this.fallbackSlot = 0;
    this.fallbackKnown = 0;
    this.locatedSlot = 0;
    this.locatedRank = ABSENT;
    this.locatedKey = this.leftKey.bytes;
    this.locatedStart = 0;
    this.locatedEnd = 0;
  }

  /**
   * From now on, readers in other threads may read `arena.buffer` with a `TreeReader`: blocks are
   * reused only once no reader can be in them. `reusesAtOnce` is for the test that shows what
   * happens otherwise.
   */
  share(options: { reusesAtOnce?: boolean } = {}): void {
    this.reusesAtOnce = options.reusesAtOnce ?? false;
    this.retired ??= new RetiredBlocks(this.arena);
  }

  /** Bytes of blocks that wait for readers to leave. */
  get retiredBytes(): number {
    return this.retired?.byteLength ?? 0;
  }

  /** The blocks that wait for readers to leave, for tests. */
  retiredRanges(): { start: number; end: number }[] {
    return this.retired?.ranges() ?? [];
  }

  /** Bytes of the arena that were handed out at least once: what the tree costs in memory. */
  get byteLength(): number {
    return this.arena.top;
  }

  /** The value of key[start, end), or NO_VALUE. */
  get(key: Uint8Array, start: number, end: number): number {
    this.floor(key, start, end);
    return this.findInFloor(key, start, end);
  }

  /** The value of key[start, end), for which `floor` was just called. */
  private findInFloor(key: Uint8Array, start: number, end: number): number {
    const { bytes, words } = this.arena;
    if (this.foundRef === 0) return NO_VALUE;
    let bucket = bucketOf(this.foundRef);
    const search = this.search;
    let rank = search.find(bytes, words, bucket, key, start, end, this.known);
    if (rank === BEFORE) {
      this.lastSlot(this.fallbackSlot);
      bucket = bucketOf(this.foundRef);
      rank = search.find(bytes, words, bucket, key, start, end, this.fallbackKnown);
    }
    return rank < 0 ? NO_VALUE : this.readValue(bucket, rank);
  }

  /**
   * Puts the value of keys[i] into values[i], or undefined. The buckets of a group of keys are found
   * first and their cache lines touched, all before the first is searched: the processor fetches them
   * side by side, where one lookup after the other would wait for each.
   */
  getMany(keys: readonly Uint8Array[], values: (number | undefined)[]): void {
    const { words } = this.arena;
    const { groupRefs, groupKnown, groupFallbacks, groupFallbackKnown } = this;
    for (let group = 0; group < keys.length; group += GROUP_KEYS) {
      const count = Math.min(GROUP_KEYS, keys.length - group);
      for (let i = 0; i < count; i++) {
        const key = keys[group + i];
        this.floor(key, 0, key.length);
        groupRefs[i] = this.foundRef;
        groupKnown[i] = this.known;
        groupFallbacks[i] = this.fallbackSlot;
        groupFallbackKnown[i] = this.fallbackKnown;
      }
      for (let i = 0; i < count; i++) {
        const word = groupRefs[i] >> 2;
        // Some use must be made of what is loaded, or the loads would be left out.
        this.touched ^= words[word] ^ words[word + 32] ^ words[word + 64] ^ words[word + 96];
      }
      for (let i = 0; i < count; i++) {
        const key = keys[group + i];
        this.foundRef = groupRefs[i];
        this.known = groupKnown[i];
        this.fallbackSlot = groupFallbacks[i];
        this.fallbackKnown = groupFallbackKnown[i];
        const value = this.findInFloor(key, 0, key.length);
        values[group + i] = value === NO_VALUE ? undefined : value;
      }
    }
  }

  /**
   * Finds key[start, end) and remembers where: returns its value, or NO_VALUE. `assign` or `remove`
   * may follow, with nothing in between and the key's bytes unchanged.
   */
  locate(key: Uint8Array, start: number, end: number): number {
    const { bytes, words } = this.arena;
    this.locatedKey = key;
    this.locatedStart = start;
    this.locatedEnd = end;
    if (this.isAppending && this.locateAtEnd(key, start, end)) return NO_VALUE;
    let slot = this.floor(key, start, end);
    let ref = this.foundRef;
    let rank = ABSENT;
    if (ref !== 0) {
      const search = this.search;
      rank = search.find(bytes, words, bucketOf(ref), key, start, end, this.known);
      if (rank === BEFORE) {
        slot = this.lastSlot(this.fallbackSlot);
        ref = this.foundRef;
        rank = search.find(bytes, words, bucketOf(ref), key, start, end, this.fallbackKnown);
      }
    }
    this.locatedSlot = slot;
    this.locatedRank = rank;
    return rank < 0 ? NO_VALUE : this.readValue(bucketOf(ref), rank);
  }

  /**
   * The short way for keys that arrive in order: whether the key sorts after all others, in which
   * case it belongs at the end of the last bucket.
   */
  private locateAtEnd(key: Uint8Array, start: number, end: number): boolean {
    const { bytes: last, length } = this.lastKey;
    const limit = Math.min(length, end - start);
    let shared = 0;
    while (shared < limit && last[shared] === key[start + shared]) shared++;
    if (shared === end - start) return false;
    if (shared < length && key[start + shared] < last[shared]) return false;
    this.locatedSlot = this.lastSlot(HEADER_ROOT);
    this.locatedRank = ABSENT;
    this.search.moveToEnd(this.arena.words, bucketOf(this.foundRef), shared);
    return true;
  }

  /** Gives the located key its value, and inserts it if it is not there. */
  assign(value: number): void {
    if (this.locatedRank < 0) {
      this.insertLocated(value);
    } else {
      this.replaceLocated(value);
    }
  }

  /** Removes the located key, which is there. */
  remove(): void {
    assert(this.locatedRank >= 0, "only a key that was found is removed");
    if (this.makeRoom(0)) this.locate(this.locatedKey, this.locatedStart, this.locatedEnd);
    const { arena, valueBytes } = this;
    const bucket = bucketOf(arena.words[this.locatedSlot]);
    const shrunk = removeKey(
      arena,
      valueBytes,
      bucket,
      this.search,
      this.locatedKey,
      this.locatedStart,
    );
    this.isAppending = false;
    this.changeCount++;
    this.setSize(this.size - 1);
    if (countOf(arena.words, shrunk) === 0) {
      this.removeBucket(bucket, shrunk);
    } else {
      this.publish(this.locatedSlot, bucketRef(shrunk));
      this.releaseBucket(bucket);
      if (isSparse(arena.bytes, arena.words, shrunk)) this.mergeWithNeighbour(shrunk);
    }
  }

  /** Forgets every key. The arena is replaced by an empty one of the same capacity. */
  clear(): void {
    this.replaceArena(new Arena(this.arena.capacity));
    this.setSize(0);
    this.longestKey = 0;
    this.isAppending = false;
    this.changeCount++;
  }

  /**
   * Makes sure that one operation on a key of `keyLength` bytes can be finished in this arena, or
   * moves the tree. Returns whether it has moved.
   */
  private makeRoom(keyLength: number): boolean {
    if (this.hasRoom(keyLength) && !this.isWorthCompacting()) return false;
    this.move();
    return true;
  }

  /**
   * Whether a fifth of the arena is free in pieces that nothing fits in, and there were enough
   * changes since the last move to pay for another: as many as there are buckets, about, each of
   * which wrote one. Readers in other threads would be left behind, so a shared tree does without.
   */
  private isWorthCompacting(): boolean {
    const { arena } = this;
    return (
      this.compacts &&
      this.retired === undefined &&
      arena.top > MIN_COMPACTION_BYTES &&
      arena.freeBytes > arena.top * COMPACTION_FRACTION &&
      this.changeCount - this.movedAt > this.size / 16
    );
  }

  /**
   * Whether one more operation, on a key of `keyLength` bytes, fits in the arena for certain. If
   * not, the tree moves first; that is an ordinary event.
   */
  private hasRoom(keyLength: number): boolean {
    if (keyLength > this.longestKey) this.longestKey = keyLength;
    return this.arena.hasRoom(OPERATION_BYTES + OPERATION_KEY_COPIES * this.longestKey);
  }

  // Walking from bucket to bucket, for cursors. A bucket is its offset; 0 is none.

  /** First bucket, or 0. */
  firstBucket(): number {
    this.firstSlot(HEADER_ROOT);
    return this.foundBucket();
  }

  /** Last bucket, or 0. */
  lastBucket(): number {
    this.lastSlot(HEADER_ROOT);
    return this.foundBucket();
  }

  /**
   * The bucket that holds key[start, end) if any does, or 0 if there is none at all. `search` says
   * where in it the key is or belongs.
   */
  seekBucket(key: Uint8Array, start: number, end: number, search: BucketSearch): number {
    const { bytes, words } = this.arena;
    this.floor(key, start, end);
    if (this.foundRef === 0) return 0;
    let bucket = bucketOf(this.foundRef);
    if (search.find(bytes, words, bucket, key, start, end, this.known) === BEFORE) {
      this.lastSlot(this.fallbackSlot);
      bucket = bucketOf(this.foundRef);
      search.find(bytes, words, bucket, key, start, end, this.fallbackKnown);
    }
    return bucket;
  }

  /** The bucket after `bucket`, or 0. */
  nextBucket(bucket: number): number {
    const { bytes, words } = this.arena;
    const start = tailPosAt(bytes, separatorPos(bucket));
    const end = start + tailLengthAt(bytes, separatorPos(bucket));
    let larger = 0;
    let pos = start;
    let ref = words[HEADER_ROOT];
    while (ref !== 0 && !isBucket(ref)) {
      pos += prefixLengthOf(words, ref);
      if (pos >= end) {
        larger = childSlot(ref, 0);
        break;
      }
      const count = childCountOf(words, ref);
      const index = floorLabel(bytes, labelsPos(words, ref), count, bytes[pos]);
      if (index + 1 < count) larger = childSlot(ref, index + 1);
      ref = words[childSlot(ref, index)];
      pos++;
    }
    if (larger === 0) return 0;
    this.firstSlot(larger);
    return this.foundBucket();
  }

  /** The bucket before `bucket`, or 0. */
  previousBucket(bucket: number): number {
    const { bytes } = this.arena;
    const start = tailPosAt(bytes, separatorPos(bucket));
    this.floor(bytes, start, start + tailLengthAt(bytes, separatorPos(bucket)));
    if (this.fallbackSlot === 0) return 0;
    this.lastSlot(this.fallbackSlot);
    return this.foundBucket();
  }

  private foundBucket(): number {
    return this.foundRef === 0 ? 0 : bucketOf(this.foundRef);
  }

  private readValue(bucket: number, rank: number): number {
    return this.readValueAt(valuesWord(this.arena.words, bucket, this.valueBytes), rank);
  }

  /** The value of rank `rank` of the bucket whose values begin at the word `base`. */
  readValueAt(base: number, rank: number): number {
    const { words } = this.arena;
    if (this.valueBytes === 4) return words[base + rank] >>> 0;
    const word = base + 2 * rank;
    return (words[word] >>> 0) + words[word + 1] * 0x1_0000_0000;
  }

  private writeValue(bucket: number, rank: number, value: number): void {
    const { words } = this.arena;
    const base = valuesWord(words, bucket, this.valueBytes);
    if (this.valueBytes === 4) {
      Atomics.store(words, base + rank, value | 0);
    } else {
      const word = base + 2 * rank;
      words[word] = value | 0;
      words[word + 1] = Math.floor(value / 0x1_0000_0000);
    }
  }

  // Descending.

  /**
   * Slot of the only bucket that can hold key[start, end), except that the bucket's separator may
   * still sort after the key: then it is the last bucket below `fallbackSlot`, and there is one.
   * `known` is how many bytes the key and the separator are known to share (`fallbackKnown` for the
   * fallback). In an empty tree the slot is the root's, which holds 0.
   */
  private floor(key: Uint8Array, start: number, end: number): number {
    const { bytes, words } = this.arena;
    let slot = HEADER_ROOT;
    let ref = words[HEADER_ROOT];
    let pos = start;
    let fallback = 0;
    let fallbackPos = start;
    this.foundRef = ref;
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
          return this.lastSlot(slot);
        }
        pos += prefixLength;
      }
      const terminator = (ref >> 2) + 1;
      const terminatorRef = words[terminator];
      const byte = pos < end ? key[pos] : 0;
      const index = pos < end ? floorLabel(bytes, labels, count, byte) : -1;
      if (index < 0) {
        if (terminatorRef === 0) break;
        this.foundRef = terminatorRef;
        this.fallbackSlot = fallback;
        this.known = pos - start;
        return terminator;
      }
      const child = (ref >> 2) + 2 + index;
      if (bytes[labels + index] !== byte) {
        this.known = pos - start;
        return this.lastSlot(child);
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
      ref = words[child];
    }
    if (isBucket(ref)) {
      this.foundRef = ref;
      this.fallbackSlot = fallback;
      this.fallbackKnown = fallbackPos - start;
      this.known = pos - start;
      return slot;
    }
    this.known = fallbackPos - start;
    return this.lastSlot(fallback);
  }

  /** Slot of the last bucket in the subtree at `slot`. */
  private lastSlot(slot: number): number {
    const { words } = this.arena;
    let last = slot;
    let ref = words[last];
    for (let depth = 0; ref !== 0 && !isBucket(ref) && depth <= MAX_DEPTH; depth++) {
      const count = childCountOf(words, ref);
      last = count === 0 ? terminatorSlot(ref) : childSlot(ref, count - 1);
      ref = words[last];
    }
    this.foundRef = ref;
    return last;
  }

  /** Slot of the first bucket in the subtree at `slot`. */
  private firstSlot(slot: number): number {
    const { words } = this.arena;
    let first = slot;
    let ref = words[first];
    for (let depth = 0; ref !== 0 && !isBucket(ref) && depth <= MAX_DEPTH; depth++) {
      const node = ref;
      first = terminatorSlot(node);
      ref = words[first];
      if (ref === 0) {
        first = childSlot(node, 0);
        ref = words[first];
      }
    }
    this.foundRef = ref;
    return first;
  }

  /** Slot that holds the reference of `bucket`. */
  private slotOf(bucket: number): number {
    const { bytes, words } = this.arena;
    const start = tailPosAt(bytes, separatorPos(bucket));
    const slot = this.floor(bytes, start, start + tailLengthAt(bytes, separatorPos(bucket)));
    assert(words[slot] === bucketRef(bucket), "a separator leads to its bucket");
    return slot;
  }

  // Changing.

  private replaceLocated(value: number): void {
    const bucket = bucketOf(this.arena.words[this.locatedSlot]);
    if (this.retired === undefined || this.valueBytes === 4) {
      this.writeValue(bucket, this.locatedRank, value);
      return;
    }
    // Two words cannot be stored as one, and a reader must not see half of a value.
    if (this.makeRoom(0)) {
      this.locate(this.locatedKey, this.locatedStart, this.locatedEnd);
      this.replaceLocated(value);
      return;
    }
    const copy = copyBucket(this.arena, this.valueBytes, bucket);
    this.writeValue(copy, this.locatedRank, value);
    this.publish(this.locatedSlot, bucketRef(copy));
    this.releaseBucket(bucket);
    this.changeCount++;
  }

  private insertLocated(value: number): void {
    const key = this.locatedKey;
    const start = this.locatedStart;
    const end = this.locatedEnd;
    if (this.makeRoom(end - start)) this.locate(key, start, end);
    const { arena, valueBytes, search } = this;
    const { bytes, words } = arena;
    this.changeCount++;
    this.setSize(this.size + 1);
    if (words[HEADER_ROOT] === 0) {
      const bucket = createBucket(arena, valueBytes, key, start, end, 0);
      this.writeValue(bucket, 0, value);
      this.publish(HEADER_ROOT, bucketRef(bucket));
      return;
    }
    const slot = this.locatedSlot;
    const bucket = bucketOf(words[slot]);
    this.isAppending =
      search.index === countOf(words, bucket) && slot === this.lastSlot(HEADER_ROOT);
    if (this.isAppending) this.lastKey.splice(0, key, start, end - start);
    const grown = insertKey(arena, valueBytes, bucket, search, key, start, end);
    this.writeValue(grown, search.index, value);
    if (isOverfull(bytes, words, grown)) {
      this.split(bucket, grown, search.index);
    } else {
      this.publish(slot, bucketRef(grown));
      this.releaseBucket(bucket);
    }
  }

  /**
   * Replaces `bucket` by the two halves of `grown`, which was never published. The right half is
   * published first: a reader finds each key in the old bucket or in a half of the new.
   */
  private split(bucket: number, grown: number, insertedIndex: number): void {
    const { arena, valueBytes } = this;
    const { bytes, words } = arena;
    const index = chooseSplit(bytes, words, grown, insertedIndex);
    const separator = this.rightKey;
    const right = copyRightPart(arena, valueBytes, grown, index, separator);
    const left = copyLeftPart(arena, valueBytes, grown, index);
    arena.buckets.free(grown, blockBytes(words, grown, valueBytes));
    this.insertSeparator(separator.bytes, separator.length, right);
    this.countBucketChange();
    this.publish(this.slotOf(bucket), bucketRef(left));
    this.releaseBucket(bucket);
  }

  /** Puts a bucket into the radix tree under its separator, which is not in there. */
  private insertSeparator(separator: Uint8Array, length: number, bucket: number): void {
    const { arena } = this;
    const { bytes, words } = arena;
    let slot = HEADER_ROOT;
    let hint = 0;
    let pos = 0;
    for (;;) {
      const ref = words[slot];
      if (isBucket(ref)) {
        const node = this.joinBuckets(bucketOf(ref), bucket, separator, pos, length);
        if (hint !== 0) bytes[hint] = 0;
        this.publish(slot, node);
        return;
      }
      const prefixLength = prefixLengthOf(words, ref);
      const prefix = prefixPos(words, ref);
      let i = 0;
      while (i < prefixLength && pos + i < length && bytes[prefix + i] === separator[pos + i]) i++;
      if (i < prefixLength) {
        const node = this.splitPrefix(ref, i, separator, pos, length, bucket);
        this.publish(slot, node);
        this.releaseNode(ref);
        return;
      }
      pos += prefixLength;
      if (pos === length) {
        assert(words[terminatorSlot(ref)] === 0, "separators differ");
        this.publish(terminatorSlot(ref), bucketRef(bucket));
        return;
      }
      const label = separator[pos];
      const labels = labelsPos(words, ref);
      const index = floorLabel(bytes, labels, childCountOf(words, ref), label);
      if (index < 0 || bytes[labels + index] !== label) {
        const byte = pos + 1 < length ? separator[pos + 1] : 0;
        const node = withChild(arena, ref, index + 1, label, byte, bucketRef(bucket));
        this.publish(slot, node);
        this.releaseNode(ref);
        return;
      }
      slot = childSlot(ref, index);
      hint = hintsPos(words, ref) + index;
      pos++;
    }
  }

  /** A node over two buckets whose separators agree before `pos`. */
  private joinBuckets(
    other: number,
    bucket: number,
    separator: Uint8Array,
    pos: number,
    length: number,
  ): number {
    const { arena } = this;
    const { bytes, words } = arena;
    const otherStart = tailPosAt(bytes, separatorPos(other));
    const otherLength = tailLengthAt(bytes, separatorPos(other));
    let fork = pos;
    while (fork < length && fork < otherLength && separator[fork] === bytes[otherStart + fork]) {
      fork++;
    }
    const byteAt = (at: number) => (at < length ? separator[at] : 0);
    const otherByteAt = (at: number) => (at < otherLength ? bytes[otherStart + at] : 0);
    if (fork === length || fork === otherLength) {
      assert(length !== otherLength, "separators differ");
      const node = createNode(arena, 1, separator, pos, fork - pos);
      if (fork === length) {
        words[terminatorSlot(node)] = bucketRef(bucket);
        setChild(arena, node, 0, otherByteAt(fork), otherByteAt(fork + 1), bucketRef(other));
      } else {
        words[terminatorSlot(node)] = bucketRef(other);
        setChild(arena, node, 0, byteAt(fork), byteAt(fork + 1), bucketRef(bucket));
      }
      return node;
    }
    const node = createNode(arena, 2, separator, pos, fork - pos);
    const index = byteAt(fork) < otherByteAt(fork) ? 0 : 1;
    setChild(arena, node, index, byteAt(fork), byteAt(fork + 1), bucketRef(bucket));
    setChild(arena, node, 1 - index, otherByteAt(fork), otherByteAt(fork + 1), bucketRef(other));
    return node;
  }

  /** A node with the first `shared` bytes of `node`'s prefix, above `node` and the bucket. */
  private splitPrefix(
    node: number,
    shared: number,
    separator: Uint8Array,
    pos: number,
    length: number,
    bucket: number,
  ): number {
    const { arena } = this;
    const { bytes, words } = arena;
    const prefix = prefixPos(words, node);
    const restLength = prefixLengthOf(words, node) - shared - 1;
    const lower = withPrefix(arena, node, bytes, prefix + shared + 1, restLength);
    const fork = pos + shared;
    const label = bytes[prefix + shared];
    if (fork === length) {
      const upper = createNode(arena, 1, separator, pos, shared);
      words[terminatorSlot(upper)] = bucketRef(bucket);
      setChild(arena, upper, 0, label, 0, lower);
      return upper;
    }
    const upper = createNode(arena, 2, separator, pos, shared);
    const index = separator[fork] < label ? 0 : 1;
    const hint = fork + 1 < length ? separator[fork + 1] : 0;
    setChild(arena, upper, index, separator[fork], hint, bucketRef(bucket));
    setChild(arena, upper, 1 - index, label, 0, lower);
    return upper;
  }

  /** Takes the separator of `bucket` out of the radix tree, and the bucket with it. */
  private removeSeparator(bucket: number): void {
    const { arena } = this;
    const { bytes, words } = arena;
    const pos = separatorPos(bucket);
    const end = tailPosAt(bytes, pos) + tailLengthAt(bytes, pos);
    let at = tailPosAt(bytes, pos);
    let nodeSlot = HEADER_ROOT;
    if (words[nodeSlot] === bucketRef(bucket)) {
      this.publish(nodeSlot, 0);
      return;
    }
    for (;;) {
      const node = words[nodeSlot];
      const count = childCountOf(words, node);
      const terminator = words[terminatorSlot(node)];
      at += prefixLengthOf(words, node);
      if (at === end) {
        assert(terminator === bucketRef(bucket), "a separator leads to its bucket");
        if (count === 1) this.collapse(nodeSlot, 0);
        else this.publish(terminatorSlot(node), 0);
        return;
      }
      const index = floorLabel(bytes, labelsPos(words, node), count, bytes[at]);
      const slot = childSlot(node, index);
      if (words[slot] !== bucketRef(bucket)) {
        nodeSlot = slot;
        at++;
        continue;
      }
      if (count === 1) {
        this.publish(nodeSlot, terminator);
        this.releaseNode(node);
      } else if (count === 2 && terminator === 0) {
        this.collapse(nodeSlot, 1 - index);
      } else {
        this.publish(nodeSlot, withoutChild(arena, node, index));
        this.releaseNode(node);
      }
      return;
    }
  }

  /** Replaces the node at `nodeSlot` by its child `index`, the only thing left below it. */
  private collapse(nodeSlot: number, index: number): void {
    const { arena } = this;
    const { bytes, words } = arena;
    const node = words[nodeSlot];
    const child = words[childSlot(node, index)];
    if (isBucket(child)) {
      this.publish(nodeSlot, child);
    } else {
      const label = labelsPos(words, node) + index;
      const joined = this.leftKey;
      const nodePrefixLength = prefixLengthOf(words, node);
      joined.splice(0, bytes, prefixPos(words, node), nodePrefixLength);
      joined.splice(nodePrefixLength, bytes, label, 1);
      joined.splice(
        nodePrefixLength + 1,
        bytes,
        prefixPos(words, child),
        prefixLengthOf(words, child),
      );
      this.publish(nodeSlot, withPrefix(arena, child, joined.bytes, 0, joined.length));
      this.releaseNode(child);
    }
    this.releaseNode(node);
  }

  /** Takes out a bucket that lost its last key; `empty` is its copy without it. */
  private removeBucket(bucket: number, empty: number): void {
    const { arena, valueBytes } = this;
    const { bytes, words } = arena;
    const isFirst = tailLengthAt(bytes, separatorPos(bucket)) === 0;
    const next = isFirst ? this.nextBucket(bucket) : 0;
    if (next !== 0) {
      // The first separator is always the empty one, so the next bucket's keys move under it.
      const merged = mergeBuckets(arena, valueBytes, empty, next, this.leftKey, this.rightKey);
      this.publish(this.slotOf(bucket), bucketRef(merged));
      this.countBucketChange();
      this.removeSeparator(next);
      this.releaseBucket(next);
    } else {
      this.countBucketChange();
      this.removeSeparator(bucket);
    }
    this.releaseBucket(bucket);
    arena.buckets.free(empty, blockBytes(words, empty, valueBytes));
  }

  private mergeWithNeighbour(bucket: number): void {
    const { bytes, words } = this.arena;
    const next = this.nextBucket(bucket);
    if (next !== 0 && canMerge(bytes, words, bucket, next)) {
      this.merge(bucket, next);
      return;
    }
    const previous = this.previousBucket(bucket);
    if (previous !== 0 && canMerge(bytes, words, previous, bucket)) this.merge(previous, bucket);
  }

  /**
   * Makes one bucket of two neighbours. It is published in the left one's place before the right
   * one's separator goes, so that a reader finds each key throughout.
   */
  private merge(left: number, right: number): void {
    const { arena, valueBytes } = this;
    const merged = mergeBuckets(arena, valueBytes, left, right, this.leftKey, this.rightKey);
    this.publish(this.slotOf(left), bucketRef(merged));
    this.countBucketChange();
    this.removeSeparator(right);
    this.releaseBucket(left);
    this.releaseBucket(right);
  }

  /** The one way in which anything becomes reachable: everything it refers to is whole by now. */
  private publish(slot: number, ref: number): void {
    Atomics.store(this.arena.words, slot, ref);
  }

  /**
   * Comes between the two stores by which keys pass from one bucket to another. A reader on its way
   * may have seen neither the new place of a key nor its old one; it then misses the key, but sees
   * that this number has changed since it set out, and looks again.
   */
  private countBucketChange(): void {
    Atomics.add(this.arena.words, HEADER_BUCKET_CHANGES, 1);
  }

  private releaseBucket(bucket: number): void {
    const { buckets, words } = this.arena;
    this.release(buckets, bucket, blockBytes(words, bucket, this.valueBytes));
  }

  private releaseNode(node: number): void {
    const { nodes, words } = this.arena;
    this.release(nodes, node, (nodeBytes(words, node) + 15) & ~15);
  }

  private release(pool: Pool, block: number, size: number): void {
    if (this.retired === undefined || this.reusesAtOnce) pool.free(block, size);
    else this.retired.add(pool, block, size);
  }

  private setSize(size: number): void {
    this.size = size;
    this.arena.words[HEADER_SIZE] = size;
  }

  // Moving to another arena.

  /**
   * Copies the tree into another arena, packed: of the same capacity if that leaves half of it
   * free, else of a larger one. Throws RangeError, with nothing changed, at MAX_ARENA_BYTES.
   */
  private move(): void {
    const reserve = 4 * (OPERATION_BYTES + OPERATION_KEY_COPIES * this.longestKey);
    const live = this.arena.liveBytes;
    if (live + reserve > MAX_ARENA_BYTES) {
      throw new RangeError(`the tree is full: an arena holds at most ${MAX_ARENA_BYTES} bytes`);
    }
    let capacity = this.arena.capacity;
    while (capacity < 2 * live + reserve && capacity < MAX_ARENA_BYTES) {
      capacity = Math.min(capacity * 2, MAX_ARENA_BYTES);
    }
    const target = new Arena(capacity);
    copyTree(this.arena, target, this.valueBytes);
    this.replaceArena(target);
    this.changeCount++;
    this.movedAt = this.changeCount;
  }

  private replaceArena(arena: Arena): void {
    arena.words[HEADER_VALUE_BYTES] = this.valueBytes;
    arena.words[HEADER_SIZE] = this.size;
    Atomics.store(this.arena.words, HEADER_MOVED, 1);
    this.arena = arena;
    if (this.retired !== undefined) this.retired = new RetiredBlocks(arena);
  }
}

/** Copies every block reachable in `source` into the empty arena `target`. */
function copyTree(source: Arena, target: Arena, valueBytes: ValueBytes): void {
  // A stack of our own: the tree is as deep as its longest separator, deeper than calls may nest.
  const slots = [HEADER_ROOT, HEADER_ROOT];
  while (slots.length > 0) {
    const targetSlot = slots.pop() as number;
    const sourceSlot = slots.pop() as number;
    const ref = source.words[sourceSlot];
    if (ref === 0) continue;
    const block = isBucket(ref) ? bucketOf(ref) : ref;
    const size = isBucket(ref)
      ? blockBytes(source.words, block, valueBytes)
      : (nodeBytes(source.words, block) + 15) & ~15;
    const pool = isBucket(ref) ? target.buckets : target.nodes;
    const copy = pool.allocate(size);
    target.bytes.set(source.bytes.subarray(block, block + size), copy);
    target.words[targetSlot] = isBucket(ref) ? bucketRef(copy) : copy;
    if (isBucket(ref)) continue;
    slots.push(terminatorSlot(block), terminatorSlot(copy));
    for (let i = childCountOf(source.words, block) - 1; i >= 0; i--) {
      slots.push(childSlot(block, i), childSlot(copy, i));
    }
  }
}
