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
 * A lookup goes down to the one bucket that can hold the key (descent.ts), and one scan of the bucket
 * decides (BucketSearch). An insertion writes the bucket anew with the key in it (bucket-changes.ts)
 * and stores its reference in the slot of the old one (publication.ts). A bucket that has become too
 * large is split in two (bucket-balance.ts), and the right part's separator goes into the radix tree
 * (separators.ts). A deletion does the reverse: small neighbours merge and a separator goes. Most
 * inserts therefore touch one bucket and one slot, whatever the shape of the keys. Keys that arrive
 * in order are appended without a lookup (append-run.ts).
 *
 * Where the time goes, for keys in random order among a million URLs (samples of perf over the calls
 * of bench/art.ts; 17 nodes a descent, the upper 12 of which nearly all URLs share):
 *
 *                                    get     insert   seek and ten keys
 *   descent                          43 %     32 %      37 %    half of it waits for the lower nodes
 *   waiting for the bucket           21 %     19 %      29 %    a page and ten lines nobody was at
 *   searching the bucket             26 %     12 %      12 %    20 keys, 4 of them compared
 *   writing it anew                           30 %              600 bytes, in five pieces
 *   decoding keys                                       15 %
 *   all else                         10 %      7 %       7 %    splits, among others
 *
 * So an insertion is a lookup that misses and a half: what a `Map` of strings does not do, and takes
 * some 60 bytes more a key for, is the descent and the writing. Most of both is waiting or branches
 * that nothing predicts, so that fewer instructions alone gain little.
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
import { AppendRun, NO_RUN } from "./append-run.ts";
import {
  Arena,
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
  countForReader,
  countOf,
  decodeKey,
  hasSpareUnits,
  isOverfull,
  isSparse,
  readValue,
  separatorPos,
  tailLengthAt,
  tailPosAt,
  touchBucket,
  type ValueBytes,
  valuesEnd,
  writeValue,
} from "./bucket.ts";
import { BucketBalance } from "./bucket-balance.ts";
import {
  appendKey,
  copyPacked,
  copyWithSlack,
  createBucket,
  insertKey,
  removeKey,
} from "./bucket-changes.ts";
import { Descent } from "./descent.ts";
import { GROUP_KEYS, GroupLookup } from "./group-lookup.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { bucketOf, bucketRef } from "./node.ts";
import { Publication } from "./publication.ts";
import { copyTree } from "./relocation.ts";
import { insertSeparator } from "./separators.ts";

/** What no key maps to. */
export const NO_VALUE = -1;

/** The most that one operation allocates, the keys' own bytes aside: four buckets and four nodes. */
const OPERATION_BYTES = 16_384;

/** When a tree that may compact does so; below the least size it is not worth the while. */
const COMPACTION_FRACTION = 1 / 5;
const MIN_COMPACTION_BYTES = 262_144;

/** How often the bytes of the longest key may appear in what one operation allocates. */
const OPERATION_KEY_COPIES = 10;

export class Tree {
  arena: Arena;
  readonly valueBytes: ValueBytes;
  /** Whether another thread writes. */
  private readonly isAttached: boolean;
  /** Whether to move to a new arena also when this one is merely fragmented; see `makeRoom`. */
  compacts: boolean;
  size: number;
  /** Grows with every change of keys or buckets: a cursor that sees another number seeks anew. */
  changeCount: number;

  private publication: Publication;
  private balance: BucketBalance;
  private readonly descent: Descent;
  private readonly search: BucketSearch;
  private readonly run: AppendRun;
  private readonly keyBuffer: KeyBuffer;
  private longestKey: number;
  /** The change count at the last move. */
  private movedAt: number;

  private readonly group: GroupLookup;
  /** Some use must be made of what is touched, or the loads would be left out. */
  touched: number;

  /** Slot of the bucket that `find` searched. */
  private foundSlot: number;

  /** What `locate` found, for `assign` and `remove`. The key is the caller's and still unchanged. */
  private locatedSlot: number;
  private locatedRank: number;
  private locatedKey: Uint8Array;
  private locatedStart: number;
  private locatedEnd: number;
  /** Bytes shared with the last key of the run that the key continues, or NO_RUN. */
  private locatedInRun: number;

  private constructor(arena: Arena, valueBytes: ValueBytes, isAttached: boolean) {
    this.arena = arena;
    this.valueBytes = valueBytes;
    this.isAttached = isAttached;
    this.compacts = false;
    this.size = arena.words[HEADER_SIZE];
    this.changeCount = 0;
    this.publication = new Publication(arena, valueBytes);
    this.balance = new BucketBalance(this.publication);
    this.descent = new Descent();
    this.search = new BucketSearch();
    this.run = new AppendRun();
    this.keyBuffer = new KeyBuffer();
    this.longestKey = 0;
    this.movedAt = 0;
    this.group = new GroupLookup();
    this.touched = 0;
    this.foundSlot = HEADER_ROOT;
    this.locatedSlot = HEADER_ROOT;
    this.locatedRank = ABSENT;
    this.locatedKey = this.keyBuffer.bytes;
    this.locatedStart = 0;
    this.locatedEnd = 0;
    this.locatedInRun = NO_RUN;
  }

  /** An empty tree in an arena of `capacity` bytes; `spare` as for `Arena.create`. */
  static create(capacity: number, valueBytes: ValueBytes, spare?: SharedArrayBuffer): Tree {
    const arena = Arena.create(capacity, spare);
    arena.words[HEADER_VALUE_BYTES] = valueBytes;
    return new Tree(arena, valueBytes, false);
  }

  /**
   * The tree that another thread made in `buffer`, to be read: as it is for ever, if that thread
   * changes it no more; else by an ArenaArtReader, which knows what else to mind.
   */
  static attach(buffer: SharedArrayBuffer): Tree {
    const arena = Arena.attach(buffer);
    return new Tree(arena, arena.words[HEADER_VALUE_BYTES] as ValueBytes, true);
  }

  /**
   * From now on, readers in other threads may read `arena.buffer`: blocks are reused only once no
   * reader can be in them. `reusesAtOnce` is for the test that shows what happens otherwise.
   */
  share(options: { reusesAtOnce?: boolean } = {}): void {
    this.publication.share(options.reusesAtOnce ?? false);
  }

  /** Bytes of blocks that wait for readers to leave. */
  get retiredBytes(): number {
    return this.publication.retiredBytes;
  }

  /** The blocks that wait for readers to leave, for tests. */
  retiredRanges(): { start: number; end: number }[] {
    return this.publication.retiredRanges();
  }

  /** Bytes of the arena that were handed out at least once: what the tree costs in memory. */
  get byteLength(): number {
    return this.arena.top;
  }

  /** The value of key[start, end), or NO_VALUE. */
  get(key: Uint8Array, start: number, end: number): number {
    const rank = this.find(key, start, end);
    return rank < 0 ? NO_VALUE : this.valueAt(this.descent.bucket, rank);
  }

  /** Puts the value of keys[i] into values[i], or undefined: a group of keys at a time. */
  getMany(keys: readonly Uint8Array[], values: (number | undefined)[]): void {
    for (let group = 0; group < keys.length; group += GROUP_KEYS) {
      const end = Math.min(group + GROUP_KEYS, keys.length);
      this.group.descend(this.arena, keys, group, end);
      for (let i = group; i < end; i++) values[i] = this.valueInGroup(keys[i], i - group);
    }
  }

  private valueInGroup(key: Uint8Array, index: number): number | undefined {
    const { arena, search, group } = this;
    let rank = BEFORE;
    let bucket = bucketOf(group.refs[index]);
    if (bucket > 0) {
      const count = this.countOf(bucket);
      rank = search.find(arena.bytes, bucket, count, key, 0, key.length, group.known[index]);
    }
    if (rank === BEFORE) {
      rank = this.find(key, 0, key.length);
      bucket = this.descent.bucket;
    }
    return rank < 0 ? undefined : this.valueAt(bucket, rank);
  }

  /**
   * Finds key[start, end) and remembers where: returns its value, or NO_VALUE. `assign` or `remove`
   * may follow, with nothing in between and the key's bytes unchanged.
   */
  locate(key: Uint8Array, start: number, end: number): number {
    this.locatedKey = key;
    this.locatedStart = start;
    this.locatedEnd = end;
    this.locatedInRun = this.run.follows(key, start, end);
    if (this.locatedInRun !== NO_RUN) {
      this.locatedSlot = this.run.slot;
      this.locatedRank = ABSENT;
      return NO_VALUE;
    }
    const rank = this.find(key, start, end);
    this.locatedSlot = this.foundSlot;
    this.locatedRank = rank;
    return rank < 0 ? NO_VALUE : this.valueAt(this.descent.bucket, rank);
  }

  /** Gives the located key its value, and inserts it if it is not there. */
  assign(value: number): void {
    if (this.locatedRank < 0) this.insertLocated(value);
    else this.replaceLocated(value);
  }

  /** Removes the located key, which is there. */
  remove(): void {
    assert(this.locatedRank >= 0, "only a key that was found is removed");
    if (this.makeRoom(0)) this.locate(this.locatedKey, this.locatedStart, this.locatedEnd);
    this.endRun();
    const { arena, valueBytes, publication, search } = this;
    const bucket = bucketOf(arena.words[this.locatedSlot]);
    const shrunk = removeKey(arena, valueBytes, bucket, search, this.locatedKey, this.locatedStart);
    this.changeCount++;
    this.setSize(this.size - 1);
    if (countOf(arena.words, shrunk) === 0) {
      this.balance.remove(bucket, shrunk);
    } else {
      publication.publish(this.locatedSlot, bucketRef(shrunk));
      publication.releaseBucket(bucket);
      if (isSparse(arena.bytes, arena.words, shrunk)) this.balance.mergeWithNeighbour(shrunk);
    }
  }

  /**
   * The arena, with room for a bucket that `attachLast` is to get, whose longest key has so many bytes.
   * For SortedLoad.
   */
  prepareBucket(longestKey: number): Arena {
    this.makeRoom(longestKey);
    return this.arena;
  }

  /**
   * Makes a bucket of `count` keys the last one: they sort after every key that is here. Its separator
   * is key[0, separatorLength), which is empty for the first bucket.
   */
  attachLast(bucket: number, count: number, key: Uint8Array, separatorLength: number): void {
    this.changeCount++;
    this.setSize(this.size + count);
    if (separatorLength === 0) this.publication.publish(HEADER_ROOT, bucketRef(bucket));
    else insertSeparator(this.publication, key, separatorLength, bucket);
  }

  /** Forgets every key. The arena is replaced by an empty one of the same capacity. */
  clear(): void {
    this.replaceArena(Arena.create(this.arena.capacity));
    this.setSize(0);
    this.longestKey = 0;
    this.changeCount++;
  }

  /**
   * Takes `descent` to the bucket that holds key[start, end) if any does, if there is one at all.
   * `search` says where in it the key is or belongs.
   */
  seek(key: Uint8Array, start: number, end: number, descent: Descent, search: BucketSearch): void {
    descent.floor(this.arena, key, start, end, 0);
    this.findInFloor(key, start, end, descent, search);
  }

  // Finding.

  /** Rank of key[start, end) in its bucket, or ABSENT; `descent` has the bucket, if there is one. */
  private find(key: Uint8Array, start: number, end: number): number {
    const { descent, search } = this;
    this.foundSlot = descent.floor(this.arena, key, start, end, 0);
    return this.findInFloor(key, start, end, descent, search);
  }

  /** The same once a descent has gone to the key's floor. */
  private findInFloor(
    key: Uint8Array,
    start: number,
    end: number,
    descent: Descent,
    search: BucketSearch,
  ): number {
    const { arena } = this;
    const { bytes, words } = arena;
    if (descent.ref === 0) return ABSENT;
    let bucket = bucketOf(descent.ref);
    this.touched ^= touchBucket(words, bucket);
    const rank = search.find(bytes, bucket, this.countOf(bucket), key, start, end, descent.known);
    if (rank !== BEFORE) return rank;
    this.foundSlot = descent.previous(arena);
    // A reader may come too late: the terminator that it falls back to is gone.
    if (descent.ref === 0) return ABSENT;
    bucket = bucketOf(descent.ref);
    return search.find(bytes, bucket, this.countOf(bucket), key, start, end, descent.known);
  }

  /** How many keys a bucket has that may be looked at. */
  countOf(bucket: number): number {
    const { words } = this.arena;
    return this.isAttached ? countForReader(words, bucket) : countOf(words, bucket);
  }

  private valueAt(bucket: number, rank: number): number {
    const { words } = this.arena;
    return readValue(words, valuesEnd(words, bucket, this.valueBytes), rank, this.valueBytes);
  }

  private setValueAt(bucket: number, rank: number, value: number): void {
    const { words } = this.arena;
    writeValue(words, valuesEnd(words, bucket, this.valueBytes), rank, this.valueBytes, value);
  }

  // Changing.

  private replaceLocated(value: number): void {
    const { arena, valueBytes, publication } = this;
    if (!publication.isShared || valueBytes === 4) {
      // Of four bytes nobody sees a part, and whoever asks meanwhile may get either value.
      this.setValueAt(bucketOf(arena.words[this.locatedSlot]), this.locatedRank, value);
      return;
    }
    // Two words cannot be stored as one, and a reader must not see half of a value.
    if (this.makeRoom(0)) {
      this.locate(this.locatedKey, this.locatedStart, this.locatedEnd);
      this.replaceLocated(value);
      return;
    }
    this.endRun();
    const bucket = bucketOf(arena.words[this.locatedSlot]);
    const copy = copyPacked(arena, valueBytes, bucket);
    this.setValueAt(copy, this.locatedRank, value);
    publication.publish(this.locatedSlot, bucketRef(copy));
    publication.releaseBucket(bucket);
    this.changeCount++;
  }

  private insertLocated(value: number): void {
    const { locatedKey: key, locatedStart: start, locatedEnd: end } = this;
    if (this.makeRoom(end - start)) this.locate(key, start, end);
    this.changeCount++;
    this.setSize(this.size + 1);
    const { search, run } = this;
    const { words } = this.arena;
    if (words[HEADER_ROOT] === 0) {
      this.insertFirst(value);
    } else if (this.locatedInRun !== NO_RUN) {
      this.appendLocated(value, this.locatedInRun);
    } else {
      const bucket = bucketOf(words[this.locatedSlot]);
      const isLast = search.index === countOf(words, bucket);
      if (isLast && run.mayBegin(bucket, search.index)) {
        this.beginRun(bucket);
        this.appendLocated(value, search.shared);
      } else {
        this.insertInside(value);
      }
    }
  }

  private insertFirst(value: number): void {
    const { arena, valueBytes, locatedKey, locatedStart, locatedEnd } = this;
    const bucket = createBucket(arena, valueBytes, locatedKey, locatedStart, locatedEnd, 0);
    this.setValueAt(bucket, 0, value);
    this.publication.publish(HEADER_ROOT, bucketRef(bucket));
    this.run.noteInsertion(bucket, 0);
  }

  private insertInside(value: number): void {
    const { arena, valueBytes, publication, balance, search, run } = this;
    const { bytes, words } = arena;
    this.endRun();
    const bucket = bucketOf(words[this.locatedSlot]);
    const grown = insertKey(
      arena,
      valueBytes,
      bucket,
      search,
      this.locatedKey,
      this.locatedStart,
      this.locatedEnd,
    );
    this.setValueAt(grown, search.index, value);
    if (isOverfull(bytes, words, grown)) {
      balance.split(bucket, grown, search.index);
      run.noteInsertion(balance.insertedBucket, balance.insertedRank);
    } else {
      publication.publish(this.locatedSlot, bucketRef(grown));
      publication.releaseBucket(bucket);
      run.noteInsertion(grown, search.index);
    }
  }

  /** Begins a run with the last key of `bucket`, after which the located key belongs. */
  private beginRun(bucket: number): void {
    const { arena, run, keyBuffer } = this;
    const { bytes, words } = arena;
    decodeKey(arena, bucket, countOf(words, bucket) - 1, keyBuffer);
    run.begin(this.locatedSlot, keyBuffer.bytes, 0, keyBuffer.length);
    const next = this.descent.after(arena, bucket);
    if (next === 0) return;
    const separator = separatorPos(next);
    run.setLimit(bytes, tailPosAt(bytes, separator), tailLengthAt(bytes, separator));
  }

  /** Inserts the located key after the last one of the run, with which it shares `shared` bytes. */
  private appendLocated(value: number, shared: number): void {
    const { arena, valueBytes, publication, run } = this;
    const { locatedKey: key, locatedStart: start, locatedEnd: end } = this;
    const { words } = arena;
    const bucket = bucketOf(words[run.slot]);
    if (!appendKey(arena, valueBytes, bucket, shared, key, start, end, value)) {
      const spacious = hasSpareUnits(words, bucket) ? 0 : copyWithSlack(arena, valueBytes, bucket);
      if (
        spacious !== 0 &&
        appendKey(arena, valueBytes, spacious, shared, key, start, end, value)
      ) {
        publication.publish(run.slot, bucketRef(spacious));
        publication.releaseBucket(bucket);
      } else {
        if (spacious !== 0) publication.discardBucket(spacious);
        this.appendBucket(value, shared);
        return;
      }
    }
    run.advance(run.slot, key, start, end, shared);
  }

  /** Begins another bucket with the located key, after the run's, which is full. */
  private appendBucket(value: number, shared: number): void {
    const { arena, valueBytes, publication, run, keyBuffer: separator } = this;
    const { locatedKey: key, locatedStart: start, locatedEnd: end } = this;
    this.packRunBucket();
    const right = createBucket(arena, valueBytes, key, start, end, shared + 1);
    this.setValueAt(right, 0, value);
    separator.splice(0, key, start, shared + 1);
    insertSeparator(publication, separator.bytes, separator.length, right);
    run.advance(this.descent.slotOf(arena, right), key, start, end, shared);
  }

  /**
   * Ends the run, if there is one, before the located bucket is written anew. The run's bucket gives
   * its slack back, unless it is that one, where the search has left offsets.
   */
  private endRun(): void {
    const { run } = this;
    if (run.slot !== 0 && run.slot !== this.locatedSlot) this.packRunBucket();
    run.end();
  }

  private packRunBucket(): void {
    const { arena, publication, run, valueBytes } = this;
    const bucket = bucketOf(arena.words[run.slot]);
    if (!hasSpareUnits(arena.words, bucket)) return;
    publication.publish(run.slot, bucketRef(copyPacked(arena, valueBytes, bucket)));
    publication.releaseBucket(bucket);
  }

  private setSize(size: number): void {
    this.size = size;
    this.arena.words[HEADER_SIZE] = size;
  }

  // Room.

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
      !this.publication.isShared &&
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
    const target = Arena.create(capacity);
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
    this.publication = this.publication.moveTo(arena);
    this.balance = new BucketBalance(this.publication);
    this.run.end();
  }
}
