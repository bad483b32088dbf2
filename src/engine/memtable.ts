/**
 * Memtable: the entries of the newest writes, ordered by key, in memory.
 *
 * A tree (art/tree.ts) maps each key to the head of its *version chain*: the entries of that key,
 * newest first. A reader at a sequence number follows the chain to the first entry at or below it,
 * and so sees the moment it pinned, whatever was written since. Entries live in a second shared
 * buffer, the version heap, which only grows:
 *
 *   offset 0          4            8             12             16       16 or 24
 *          +----------+------------+-------------+--------------+--------+-------------+---------+
 *          | previous | seqno low  | seqno high, | value length | expiry | value bytes | 0 to 7  |
 *          | version  |            | flag, kind  |              |        |             | unused  |
 *          +----------+------------+-------------+--------------+--------+-------------+---------+
 *   previous     u32   reference of the next older entry of the key; 0 is none
 *   seqno low    u32   the lower 32 bits of the seqno
 *   high, kind   u32   the upper 21 bits in bits 0-20, the kind in bits 24-31; bit 23 says that the
 *                      entry expires
 *   value length u32   at most MAX_VALUE_BYTES; 0 for a tombstone
 *   expiry       u53   in 8 bytes, only where bit 23 is set
 *
 * A reference is an offset in units of 8 bytes, so that 32 bits address 32 GiB. What limits a
 * memtable is the platform: a SharedArrayBuffer of Node 20 ends at 4 GiB (MAX_HEAP_BYTES).
 *
 * After a crash the keys may not be in the tree yet (memtable-load.ts): they are *pending*. Look-ups
 * of one key ask the load then; whatever else needs the tree has it finished first.
 *
 * Range tombstones are kept beside the tree (range-tombstones.ts). They hide the entries of their
 * keys that have a lower sequence number, and all of older sources.
 *
 * Invariants:
 *   1. Seqnos ascend from write to write, so a chain descends strictly from its head.
 *   2. An entry is written whole before the tree refers to it, and never changed afterwards.
 *   3. Unit 0 of the heap is unused, so that reference 0 is none. Behind it is a tombstone without a
 *      key, RANGE_DELETED, which stands for whatever a range tombstone deleted.
 *
 * Source: multi-version timestamp ordering, Reed, "Naming and Synchronization in a Decentralized
 * Computer System" (MIT 1978), section 4; kept as a chain a key as in Neumann, Mühlbauer, Kemper,
 * "Fast Serializable Multi-Version Concurrency Control" (SIGMOD 2015), section 2.1.
 */
import { MAX_ARENA_BYTES, MIN_ARENA_BYTES } from "../art/arena.ts";
import { TreeCursor } from "../art/cursor.ts";
import { NO_VALUE, Tree } from "../art/tree.ts";
import { assert } from "../assert.ts";
import { compareRanges } from "../bytes/compare.ts";
import { copyRange } from "../bytes/copy.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import type { Cursor } from "../cursor/cursor.ts";
import type { ValueView } from "../cursor/value-view.ts";
import {
  ALWAYS,
  BEFORE_EXPIRY,
  EntryKind,
  MAX_SEQNO,
  NEVER,
  type Period,
  type SeqnoRange,
} from "../entry.ts";
import { InvalidArgumentError } from "../errors.ts";
import { MemtableFilter } from "./memtable-filter.ts";
import { type Bounds, isEmptyRange, isWithinUpper, seekToLower } from "./range.ts";
import {
  type Piece,
  RangeTombstones,
  type RangeTombstoneView,
  type SharedRangeTombstones,
} from "./range-tombstones.ts";

/** What `find` returns for a key with no version to be seen. Otherwise a version's reference. */
export const NO_VERSION = -1;

/** The largest version heap: what one SharedArrayBuffer may hold on Node 20. */
export const MAX_HEAP_BYTES: number = 2 ** 32 - 8;

const UNIT_BYTES = 8;
const UNIT_WORDS = UNIT_BYTES / 4;
const VERSION_HEADER_BYTES = 16;
/** What an entry that expires takes more. */
const EXPIRY_BYTES = 8;

const EXPIRES: number = 1 << 23;
const SEQNO_HIGH = 0x1f_ffff;

const NO_BYTES = new Uint8Array(0);

/** The version that `find` returns for a key whose newest write is a range tombstone. */
const RANGE_DELETED = 1;
/** First unit of the heap that an entry may have. */
const FIRST_UNIT: number = RANGE_DELETED + VERSION_HEADER_BYTES / UNIT_BYTES;

/**
 * What `canHold` reckons for a key beyond its bytes, and how often it counts those. The tree mostly
 * takes less than a key's own bytes; should it take more than reckoned, it moves to a larger arena.
 */
const KEY_OVERHEAD_BYTES = 64;
const KEY_BYTES_FACTOR = 2;

/** A filter is begun with at most so many keys, which takes 0.3 ms. Those that follow are added. */
const MAX_FIRST_FILTERED_KEYS = 2048;

/**
 * A memtable that is filled to less than the share takes a group of writes that goes beyond its
 * capacity, up to the stretch: to seal it half empty would make twice as many runs of batches that are
 * nearly as large as it (10 KB values, a thousand a batch: 1.3 times the CPU time of a fill). Smaller
 * groups find room in what is left, so they never go beyond.
 */
const STRETCH_SHARE = 3 / 4;
const MAX_STRETCH = 3 / 2;

/** More than an empty memtable's `byteLength`, the tree's first region included. */
const EMPTY_BYTES = 2 * MIN_ARENA_BYTES;

/**
 * A memtable that is full at `capacityBytes`, or has room for one batch if that needs more; a large
 * group may take it to half as much again. Throws InvalidArgumentError where the batch is too large
 * for any memtable.
 */
export function createMemtable(
  capacityBytes: number,
  operationCount: number,
  keyBytes: number,
  valueBytes: number,
): Memtable {
  if (UNIT_BYTES + heapBytesFor(operationCount, valueBytes) > MAX_HEAP_BYTES) {
    throw new InvalidArgumentError(
      `a batch of ${operationCount} operations with ${valueBytes} bytes of values is too large: ` +
        `a memtable holds ${MAX_HEAP_BYTES} bytes, ${VERSION_HEADER_BYTES + UNIT_BYTES - 1} of them for each operation`,
    );
  }
  const batchBytes = EMPTY_BYTES + bytesFor(operationCount, keyBytes, valueBytes);
  return new Memtable(capacityBytes, Math.max(capacityBytes * MAX_STRETCH, batchBytes));
}

/** The keys of a memtable that are not in its tree yet. */
export interface PendingKeys {
  readonly count: number;
  /** What the tree will take, at least. */
  readonly treeBytes: number;
  /** Reference of the newest entry of key[0, length), or NO_VALUE. */
  find(key: Uint8Array, length: number): number;
  /** Brings the tree on for some milliseconds; false once all keys are in it. */
  step(tree: Tree): boolean;
  /** Says that the next step begins anew, with an empty tree. */
  restart(): void;
}

/** A sealed memtable, as it is handed to another thread. */
export interface SharedMemtable extends SeqnoRange {
  readonly capacityBytes: number;
  readonly reservedBytes: number;
  readonly arena: SharedArrayBuffer;
  readonly heap: SharedArrayBuffer;
  readonly rangeTombstones: SharedRangeTombstones;
}

export class Memtable {
  /** Sequence numbers of the first and last entry; 0 while there is none. */
  firstSeqno: number;
  lastSeqno: number;
  /** Entries that are tombstones, shadowed ones included: at least the number of deleted keys. */
  tombstoneCount: number;
  /** Entries, shadowed ones included. */
  entryCount: number;
  /** The earliest and the latest expiry of its entries; NEVER and BEFORE_EXPIRY if none expires. */
  firstExpiry: number;
  lastExpiry: number;
  private readonly rangeTombstones: RangeTombstones;

  readonly capacityBytes: number;
  private readonly reservedBytes: number;
  /** Without the keys that are pending: `tree` has them. */
  private ownTree: Tree;
  private pending: PendingKeys | undefined;
  /** Whether a step of the tree is under way, or failed half way. */
  private isSettling: boolean;
  /** Of all keys in the tree, once somebody has asked with a hash. */
  private filter: MemtableFilter | undefined;
  private readonly heapBytes: Uint8Array;
  private readonly heapWords: Uint32Array;
  /** First free unit of the heap. */
  private heapTop: number;
  /** A closed cursor, for who asks for one next. */
  private spareCursor: MemtableCursor | undefined;

  /**
   * `capacityBytes` is when it is full. `reservedBytes` is what a first batch may take instead, and
   * large groups in part; it is reserved for the heap, and twice for the tree, which costs address
   * space but no memory: a page is backed by memory once something is written to it.
   */
  constructor(
    capacityBytes: number,
    reservedBytes: number = capacityBytes,
    shared?: SharedMemtable,
  ) {
    this.firstSeqno = shared?.firstSeqno ?? 0;
    this.lastSeqno = shared?.lastSeqno ?? 0;
    this.tombstoneCount = 0;
    this.entryCount = 0;
    this.firstExpiry = NEVER;
    this.lastExpiry = BEFORE_EXPIRY;
    this.rangeTombstones = new RangeTombstones(shared?.rangeTombstones);
    this.spareCursor = undefined;
    this.capacityBytes = capacityBytes;
    this.reservedBytes = reservedBytes;
    this.pending = undefined;
    this.isSettling = false;
    this.filter = undefined;
    this.ownTree = shared === undefined ? createTree(reservedBytes) : Tree.attach(shared.arena);
    const heapBytes = Math.max(reservedBytes, MIN_ARENA_BYTES);
    const heap =
      shared?.heap ?? new SharedArrayBuffer(Math.min(alignUp(heapBytes), MAX_HEAP_BYTES));
    this.heapBytes = new Uint8Array(heap);
    this.heapWords = new Uint32Array(heap);
    this.heapTop = FIRST_UNIT;
    if (shared === undefined) {
      this.heapWords[RANGE_DELETED * UNIT_WORDS + 2] = EntryKind.tombstone << 24;
    }
  }

  /** Says that the memtable, which is new, gets its keys from a load. */
  pend(keys: PendingKeys): void {
    assert(this.ownTree.size === 0, "only a new memtable is loaded");
    this.pending = keys;
  }

  /** Whether keys are pending: what needs the tree takes longer then. */
  get isPending(): boolean {
    return this.pending !== undefined;
  }

  /** Brings the tree on for some milliseconds, where keys are pending. */
  settleStep(): void {
    const { pending } = this;
    if (pending === undefined) return;
    if (this.isSettling) {
      // A step failed, be it that the stack of a reader who needs the tree was full. What is there of
      // the tree may be half of a change.
      this.ownTree = createTree(this.reservedBytes);
      pending.restart();
    }
    this.isSettling = true;
    if (!pending.step(this.ownTree)) this.pending = undefined;
    this.isSettling = false;
  }

  /** The tree, which is finished first where keys are pending. */
  private get tree(): Tree {
    while (this.pending !== undefined) this.settleStep();
    return this.ownTree;
  }

  /** What another thread needs to read this memtable, which must be sealed. Nothing is copied. */
  share(): SharedMemtable {
    const { firstSeqno, lastSeqno, capacityBytes, reservedBytes } = this;
    const arena = this.tree.arena.buffer;
    const heap = this.heapBytes.buffer as SharedArrayBuffer;
    const rangeTombstones = this.rangeTombstones.share();
    return { firstSeqno, lastSeqno, capacityBytes, reservedBytes, arena, heap, rangeTombstones };
  }

  /**
   * The same of a memtable that is still written to: a copy of the entries so far, without range
   * tombstones. Copying takes about a tenth of a millisecond for each mebibyte.
   */
  shareCopy(): SharedMemtable {
    const { firstSeqno, lastSeqno, capacityBytes, reservedBytes } = this;
    const arena = this.tree.arena.copy();
    const heap = (this.heapBytes.buffer as SharedArrayBuffer).slice(0, this.heapTop * UNIT_BYTES);
    const rangeTombstones = new RangeTombstones().share();
    return { firstSeqno, lastSeqno, capacityBytes, reservedBytes, arena, heap, rangeTombstones };
  }

  /** A memtable that another thread shared, for `find`, `cursor` and `deletedRanges` alone. */
  static from(shared: SharedMemtable): Memtable {
    return new Memtable(shared.capacityBytes, shared.reservedBytes, shared);
  }

  /** Whether there is nothing to read or to flush. */
  get isEmpty(): boolean {
    return this.keyCount === 0 && this.rangeTombstones.isEmpty;
  }

  get rangeTombstoneCount(): number {
    return this.rangeTombstones.count;
  }

  /** Keys with entries, deleted ones included. */
  get keyCount(): number {
    return this.pending?.count ?? this.ownTree.size;
  }

  /** Bytes of memory in use by keys, structure, entries and values. */
  get byteLength(): number {
    const treeBytes = this.ownTree.byteLength + (this.pending?.treeBytes ?? 0);
    const filterBytes = this.filter?.byteLength ?? 0;
    return treeBytes + filterBytes + this.heapTop * UNIT_BYTES + this.rangeTombstones.byteLength;
  }

  /**
   * Whether that many more entries, with keys of `keyBytes` and values of `valueBytes` in all, leave
   * the memtable at or below its capacity, or what it may be stretched to; an empty one also says so
   * of a batch that it was created for. O(1) and conservative: it takes every key for a new one.
   */
  canHold(operationCount: number, keyBytes: number, valueBytes: number): boolean {
    const { byteLength, capacityBytes, reservedBytes } = this;
    const isNew = this.entryCount === 0 && this.rangeTombstones.isEmpty;
    let limit = capacityBytes;
    if (isNew) limit = reservedBytes;
    else if (byteLength < capacityBytes * STRETCH_SHARE) {
      limit = Math.min(reservedBytes, capacityBytes * MAX_STRETCH);
    }
    return (
      byteLength + bytesFor(operationCount, keyBytes, valueBytes) <= limit &&
      this.heapTop * UNIT_BYTES + heapBytesFor(operationCount, valueBytes) <= this.heapBytes.length
    );
  }

  /**
   * Adds an entry for key[keyStart, keyEnd) with the value value[valueStart, valueEnd), which is
   * empty for a tombstone. Both are copied. The caller has asked `canHold`, counting eight
   * more bytes of a value where `expiry` is not NEVER, and `seqno` is above all before it.
   */
  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    seqno: number,
    kind: EntryKind,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number = NEVER,
  ): void {
    this.filter?.add(key, keyStart, keyEnd);
    const previous = this.tree.locate(key, keyStart, keyEnd);
    const ref = this.appendEntry(seqno, kind, value, valueStart, valueEnd, expiry);
    if (previous !== NO_VALUE) this.link(ref, previous);
    this.tree.assign(ref);
    if (!this.rangeTombstones.isEmpty) this.noteEntry(key, keyStart, keyEnd);
  }

  /**
   * As `add`, but no key leads to the entry yet, whose reference is returned. For MemtableLoad, which
   * calls `noteEntry`, and puts the key into the tree later.
   */
  appendEntry(
    seqno: number,
    kind: EntryKind,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
  ): number {
    this.noteSeqno(seqno);
    const ref = this.heapTop;
    const valueLength = valueEnd - valueStart;
    const expires = expiry !== NEVER;
    const headerBytes = VERSION_HEADER_BYTES + (expires ? EXPIRY_BYTES : 0);
    const end = ref * UNIT_BYTES + headerBytes + valueLength;
    assert(end <= this.heapBytes.length, "the caller asked canHold");
    const words = this.heapWords;
    const word = ref * UNIT_WORDS;
    words[word] = 0;
    words[word + 1] = seqno >>> 0;
    words[word + 2] = Math.floor(seqno / 0x1_0000_0000) | (kind << 24);
    words[word + 3] = valueLength;
    if (expires) this.noteExpiry(word, expiry);
    this.copyValue(end - valueLength, value, valueStart, valueEnd);
    this.heapTop = Math.ceil(end / UNIT_BYTES);
    this.entryCount++;
    if (kind === EntryKind.tombstone) this.tombstoneCount++;
    return ref;
  }

  /** Tells the range tombstones, if there are any, of a newer entry. */
  noteEntry(key: Uint8Array, keyStart: number, keyEnd: number): void {
    this.rangeTombstones.noteEntry(key, keyStart, keyEnd);
  }

  /** Says that `previous` is the next older entry of the key of `ref`. */
  link(ref: number, previous: number): void {
    this.heapWords[ref * UNIT_WORDS] = previous;
  }

  /**
   * Adds a range tombstone over [start, end), to the last key where there is no end. The arrays are
   * kept. The caller has asked `canHold`, and `seqno` is above all before it; `firstSeqno` is that of
   * its record, all of which readers see at once.
   */
  deleteRange(
    start: Uint8Array,
    end: Uint8Array | undefined,
    seqno: number,
    firstSeqno: number = seqno,
  ): void {
    this.noteSeqno(seqno);
    this.rangeTombstones.add(start, end, seqno, firstSeqno);
  }

  /**
   * Reference of the newest entry of key[0, length) at or below `seqno`, or NO_VERSION. A tombstone
   * where the newest write to the key is a range tombstone. `hash`, the key's `keyHash`, asks a filter
   * before the tree.
   */
  find(key: Uint8Array, length: number, seqno: number, hash?: number): number {
    const mayBeHere = hash === undefined || this.mayContain(hash);
    const head = mayBeHere ? this.headOf(key, length) : NO_VALUE;
    const ref = head === NO_VALUE ? NO_VERSION : this.visible(head, seqno);
    if (this.rangeTombstones.isEmpty) return ref;
    const deletedAt = this.rangeTombstones.at(seqno)?.seqnoOver(key, length) ?? 0;
    const writtenAt = ref === NO_VERSION ? 0 : this.seqnoOf(ref);
    return deletedAt > writtenAt ? RANGE_DELETED : ref;
  }

  /** What range tombstones at or below `seqno` delete of older sources; undefined if nothing. */
  deletedRanges(seqno: number): RangeTombstoneView | undefined {
    return this.rangeTombstones.at(seqno);
  }

  /** Whether the key was written, be it by a range tombstone, after `seqno`. */
  isWrittenSince(seqno: number, key: Uint8Array): boolean {
    const deletedAt = this.deletedRanges(MAX_SEQNO)?.seqnoOver(key, key.length) ?? 0;
    if (deletedAt > seqno) return true;
    const head = this.headOf(key, key.length);
    return head !== NO_VALUE && this.seqnoOf(head) > seqno;
  }

  /** Whether a key within the bounds was written after `seqno`. Walks the entries before the first. */
  isRangeWrittenSince(seqno: number, bounds: Bounds): boolean {
    if (isEmptyRange(bounds)) return false;
    const deleted = this.deletedRanges(MAX_SEQNO);
    if (deleted?.isWrittenSince(seqno, bounds)) return true;
    const cursor = new MemtableCursor(this, new TreeCursor(this.tree));
    seekToLower(cursor, bounds.lower);
    while (cursor.isValid && isWithinUpper(cursor, bounds.upper)) {
      if (cursor.entrySeqno > seqno) return true;
      cursor.next();
    }
    return false;
  }

  /**
   * False only if no key with this `keyHash` is here. The filter is begun when it is first asked, so
   * that who only writes need not keep one; unless there are many keys by then, so that no read pauses.
   */
  private mayContain(hash: number): boolean {
    if (this.pending !== undefined) return true;
    const { ownTree } = this;
    if (ownTree.size === 0) return false;
    if (this.filter === undefined) {
      if (ownTree.size > MAX_FIRST_FILTERED_KEYS) return true;
      // Kept once it has all keys: on a full stack of a reader it gets some.
      const filter = new MemtableFilter(this.capacityBytes);
      const cursor = new TreeCursor(ownTree);
      for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
        filter.add(cursor.key, 0, cursor.keyLength);
      }
      this.filter = filter;
    }
    return this.filter.mayContain(hash);
  }

  /** Reference of the newest entry of key[0, length), or NO_VALUE. */
  private headOf(key: Uint8Array, length: number): number {
    return this.pending === undefined
      ? this.ownTree.get(key, 0, length)
      : this.pending.find(key, length);
  }

  seqnoOf(ref: number): number {
    const word = ref * UNIT_WORDS;
    return (this.heapWords[word + 2] & SEQNO_HIGH) * 0x1_0000_0000 + this.heapWords[word + 1];
  }

  /** What the entry is at a moment: a tombstone, if it has expired by then. */
  kindOf(ref: number, time: number): EntryKind {
    const word = this.heapWords[ref * UNIT_WORDS + 2];
    if ((word & EXPIRES) !== 0 && this.expiryOf(ref) <= time) return EntryKind.tombstone;
    return (word >>> 24) as EntryKind;
  }

  /** When the entry expires, or NEVER. */
  expiryOf(ref: number): number {
    const word = ref * UNIT_WORDS;
    const words = this.heapWords;
    if ((words[word + 2] & EXPIRES) === 0) return NEVER;
    return words[word + 4] + words[word + 5] * 0x1_0000_0000;
  }

  /**
   * A period around a moment in which no entry expires, be it one that newer ones hide. Where some
   * have expired and others have not, it takes a look at each entry.
   */
  expiryPeriodAt(time: number): Period {
    const { firstExpiry, lastExpiry, heapTop } = this;
    if (time < firstExpiry) return { ...ALWAYS, until: firstExpiry };
    if (time >= lastExpiry) return { ...ALWAYS, from: lastExpiry };
    let from = firstExpiry;
    let until = lastExpiry;
    for (let ref = FIRST_UNIT; ref < heapTop; ref = this.endOf(ref)) {
      const expiry = this.expiryOf(ref);
      if (expiry > time) until = Math.min(until, expiry);
      else from = Math.max(from, expiry);
    }
    return { from, until };
  }

  /** A view of the entry's value; it stays valid, and unchanged, as long as the memtable. */
  valueOf(ref: number): Uint8Array {
    const start = this.valueStart(ref);
    return this.heapBytes.subarray(start, start + this.heapWords[ref * UNIT_WORDS + 3]);
  }

  /** Points `view` at what `valueOf` returns. */
  viewValue(ref: number, view: ValueView): void {
    const start = this.valueStart(ref);
    view.set(this.heapBytes, start, start + this.heapWords[ref * UNIT_WORDS + 3]);
  }

  /** Loads from the entry. What it returns has no meaning. */
  touch(ref: number): number {
    return this.heapWords[ref * UNIT_WORDS];
  }

  /** The unit behind the entry: the reference of the one that was written next. */
  private endOf(ref: number): number {
    const end = this.valueStart(ref) + this.heapWords[ref * UNIT_WORDS + 3];
    return Math.ceil(end / UNIT_BYTES);
  }

  private valueStart(ref: number): number {
    const expires = (this.heapWords[ref * UNIT_WORDS + 2] & EXPIRES) !== 0;
    return ref * UNIT_BYTES + VERSION_HEADER_BYTES + (expires ? EXPIRY_BYTES : 0);
  }

  /**
   * A cursor over the newest entry at or below `seqno` of each key, tombstones included, but for what
   * range tombstones deleted. What has expired at the moment `time` is a tombstone. It stays right
   * while there are writes between its moves.
   */
  cursor(seqno: number, time: number): MemtableCursor {
    const cursor = this.spareCursor ?? new MemtableCursor(this, new TreeCursor(this.tree));
    this.spareCursor = undefined;
    cursor.reopen(seqno, time, this.deletedRanges(seqno));
    return cursor;
  }

  /** Takes a closed cursor for who asks for one next: its scratch space costs as much as a seek. */
  giveBack(cursor: MemtableCursor): void {
    this.spareCursor = cursor;
  }

  /** The first entry of the chain from `head` at or below `seqno`, or NO_VERSION. */
  visible(head: number, seqno: number): number {
    let ref = head;
    while (ref !== 0 && this.seqnoOf(ref) > seqno) ref = this.heapWords[ref * UNIT_WORDS];
    return ref === 0 ? NO_VERSION : ref;
  }

  private noteSeqno(seqno: number): void {
    assert(seqno > this.lastSeqno, "sequence numbers ascend");
    if (this.lastSeqno === 0) this.firstSeqno = seqno;
    this.lastSeqno = seqno;
  }

  private noteExpiry(word: number, expiry: number): void {
    const words = this.heapWords;
    words[word + 2] |= EXPIRES;
    words[word + 4] = expiry % 0x1_0000_0000;
    words[word + 5] = Math.floor(expiry / 0x1_0000_0000);
    this.firstExpiry = Math.min(this.firstExpiry, expiry);
    this.lastExpiry = Math.max(this.lastExpiry, expiry);
  }

  private copyValue(target: number, value: Uint8Array, start: number, end: number): void {
    if (end - start < 64) {
      const { heapBytes } = this;
      for (let i = start; i < end; i++) heapBytes[target + i - start] = value[i];
    } else {
      copyRange(this.heapBytes, target, value, start, end);
    }
  }
}

function createTree(reservedBytes: number): Tree {
  const arenaBytes = Math.max(2 * reservedBytes, MIN_ARENA_BYTES);
  return Tree.create(Math.min(arenaBytes, MAX_ARENA_BYTES), 4);
}

function alignUp(bytes: number): number {
  return Math.ceil(bytes / UNIT_BYTES) * UNIT_BYTES;
}

function heapBytesFor(operationCount: number, valueBytes: number): number {
  return operationCount * (VERSION_HEADER_BYTES + UNIT_BYTES - 1) + valueBytes;
}

/** Bytes that a batch takes in all, at most. */
function bytesFor(operationCount: number, keyBytes: number, valueBytes: number): number {
  return (
    heapBytesFor(operationCount, valueBytes) +
    operationCount * KEY_OVERHEAD_BYTES +
    keyBytes * KEY_BYTES_FACTOR
  );
}

export class MemtableCursor implements Cursor {
  private readonly memtable: Memtable;
  private readonly keys: TreeCursor;
  private seqno: number;
  private time: number;
  private deleted: RangeTombstoneView | undefined;
  /** That of the last key that was asked about. */
  private piece: Piece | undefined;
  private ref: number;
  /** Some use must be made of what is touched, or the loads would be left out. */
  touched: number;

  /** A cursor over the newest entry of each key, as if nothing expired or was deleted by range. */
  constructor(memtable: Memtable, keys: TreeCursor) {
    this.memtable = memtable;
    this.keys = keys;
    this.seqno = MAX_SEQNO;
    this.time = BEFORE_EXPIRY;
    this.deleted = undefined;
    this.piece = undefined;
    this.ref = NO_VERSION;
    this.touched = 0;
  }

  /** Makes a closed cursor as good as new: off the end, and at a moment; `deleted` is hidden. */
  reopen(seqno: number, time: number, deleted: RangeTombstoneView | undefined): void {
    this.seqno = seqno;
    this.time = time;
    this.deleted = deleted;
    this.keys.isValid = false;
  }

  close(): void {
    // What is deleted may be of a moment that nobody else remembers.
    this.deleted = undefined;
    this.piece = undefined;
    this.memtable.giveBack(this);
  }

  get isValid(): boolean {
    return this.keys.isValid;
  }

  get key(): Uint8Array {
    return this.keys.key;
  }

  get keyLength(): number {
    return this.keys.keyLength;
  }

  get kind(): EntryKind {
    return this.memtable.kindOf(this.ref, this.time);
  }

  get expiry(): number {
    const expiry = this.memtable.expiryOf(this.ref);
    return expiry <= this.time ? NEVER : expiry;
  }

  /** Of the entry that the cursor is at. */
  get entrySeqno(): number {
    return this.memtable.seqnoOf(this.ref);
  }

  appendKey(output: ByteWriter): void {
    output.append(this.keys.key, 0, this.keys.keyLength);
  }

  value(): Uint8Array {
    return this.kind === EntryKind.put ? this.memtable.valueOf(this.ref) : NO_BYTES;
  }

  viewValue(view: ValueView): void {
    if (this.kind === EntryKind.put) this.memtable.viewValue(this.ref, view);
    else view.clear();
  }

  viewStored(view: ValueView): undefined {
    this.viewValue(view);
  }

  seekToFirst(): void {
    this.keys.seekToFirst();
    this.skipForwards();
  }

  seekToLast(): void {
    this.keys.seekToLast();
    this.skipBackwards();
  }

  seek(key: Uint8Array, length: number): void {
    this.keys.seek(key, length);
    this.skipForwards();
  }

  seekForPrev(key: Uint8Array, length: number): void {
    this.keys.seekForPrev(key, length);
    this.skipBackwards();
  }

  next(): void {
    const { keys } = this;
    keys.next();
    if (keys.isValid && keys.isFirstInBucket) this.touchVersions();
    this.skipForwards();
  }

  /** Moves on by so many keys, and from there to one that has a version to be seen. */
  skip(count: number): void {
    this.keys.skip(count);
    this.skipForwards();
  }

  prev(): void {
    this.keys.prev();
    this.skipBackwards();
  }

  /**
   * Looks at the versions of all keys of the bucket, which lie anywhere in the heap, so that they are
   * fetched side by side and not one after the other.
   */
  private touchVersions(): void {
    const { keys, memtable } = this;
    let touched = 0;
    for (let i = keys.leftInBucket(false); i > 0; i--)
      touched ^= memtable.touch(keys.valueAfter(i));
    this.touched = touched;
  }

  /** Moves on to a key that has a version to be seen, from the current one. */
  private skipForwards(): void {
    const { keys } = this;
    while (keys.isValid && !this.isVisible()) {
      const hidden = this.deleted?.hiddenAround(keys.key, keys.keyLength);
      if (hidden === undefined) {
        keys.next();
      } else if (hidden.end !== undefined) {
        keys.seek(hidden.end, hidden.end.length);
      } else {
        keys.seekToLast();
        keys.next();
      }
    }
  }

  private skipBackwards(): void {
    const { keys } = this;
    while (keys.isValid && !this.isVisible()) {
      const hidden = this.deleted?.hiddenAround(keys.key, keys.keyLength);
      // All of the span is hidden, so its first key need not be told from the one before it.
      if (hidden !== undefined) keys.seek(hidden.start, hidden.start.length);
      keys.prev();
    }
  }

  private isVisible(): boolean {
    this.ref = this.memtable.visible(this.keys.value, this.seqno);
    if (this.ref === NO_VERSION) return false;
    return this.deleted === undefined || this.deletedAt() < this.memtable.seqnoOf(this.ref);
  }

  /** Sequence number of the newest range tombstone over the current key, or 0. */
  private deletedAt(): number {
    const { deleted, keys } = this;
    if (deleted === undefined) return 0;
    if (this.piece === undefined || !isWithin(this.piece, keys.key, keys.keyLength)) {
      this.piece = deleted.pieceAt(keys.key, keys.keyLength);
    }
    return this.piece.seqno;
  }
}

function isWithin({ start, end }: Piece, key: Uint8Array, length: number): boolean {
  return (
    (start === undefined || compareRanges(start, 0, start.length, key, 0, length) <= 0) &&
    (end === undefined || compareRanges(end, 0, end.length, key, 0, length) > 0)
  );
}
