/**
 * Memtable: the entries of the newest writes, ordered by key, in memory.
 *
 * A tree (art/tree.ts) maps each key to the newest of its versions, which lie in a heap
 * (version-heap.ts) and lead to older ones.
 *
 * After a crash the keys may not be in the tree yet (memtable/load.ts): they are *pending*. Look-ups
 * of one key ask the load then; whatever else needs the tree has it finished first.
 *
 * Range tombstones are kept beside the tree (range-tombstones.ts). They hide the entries of their
 * keys that have a lower sequence number, and all of older sources.
 *
 * Invariants:
 *   1. Seqnos ascend from write to write.
 *   2. An entry is whole, and linked to the one before, before the tree refers to it.
 */
import { MAX_ARENA_BYTES, MIN_ARENA_BYTES } from "../art/arena.ts";
import { TreeCursor } from "../art/cursor.ts";
import { NO_VALUE, Tree } from "../art/tree.ts";
import { assert } from "../assert.ts";
import type { ValueView } from "../cursor/value-view.ts";
import { type Bounds, isEmptyRange, isWithinUpper, seekToLower } from "../encoding/range.ts";
import { type EntryKind, MAX_SEQNO, NEVER, type Period, type SeqnoRange } from "../entry.ts";
import { InvalidArgumentError } from "../errors.ts";
import { MemtableCursor } from "./cursor.ts";
import { MemtableFilter } from "./filter.ts";
import {
  RangeTombstones,
  type RangeTombstoneView,
  type SharedRangeTombstones,
} from "./range-tombstones.ts";
import {
  EMPTY_HEAP_BYTES,
  ENTRY_OVERHEAD_BYTES,
  MAX_HEAP_BYTES,
  NO_VERSION,
  RANGE_DELETED,
  type SharedHeap,
  VersionHeap,
} from "./version-heap.ts";

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
 * group may take it to half as much again. Unless a batch needs more, it lies in the memory of another
 * that nobody reads any more, if `takeSpare` has such. Throws InvalidArgumentError where the batch is
 * too large for any memtable.
 */
export function createMemtable(
  capacityBytes: number,
  operationCount: number,
  keyBytes: number,
  valueBytes: number,
  takeSpare: () => MemtableBuffers | undefined = () => undefined,
): Memtable {
  if (EMPTY_HEAP_BYTES + heapBytesFor(operationCount, valueBytes) > MAX_HEAP_BYTES) {
    throw new InvalidArgumentError(
      `a batch of ${operationCount} operations with ${valueBytes} bytes of values is too large: ` +
        `a memtable holds ${MAX_HEAP_BYTES} bytes, ${ENTRY_OVERHEAD_BYTES} of them for each operation`,
    );
  }
  const batchBytes = EMPTY_BYTES + bytesFor(operationCount, keyBytes, valueBytes);
  const usualBytes = capacityBytes * MAX_STRETCH;
  if (batchBytes > usualBytes) return new Memtable(capacityBytes, batchBytes);
  return new Memtable(capacityBytes, usualBytes, undefined, takeSpare());
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

/** The memory of a memtable. */
export interface MemtableBuffers {
  readonly arena: SharedArrayBuffer;
  readonly heap: SharedArrayBuffer;
  /** Bytes that the system has given them: those that some memtable has used. */
  readonly byteLength: number;
}

/** A memtable that does not change, as it is handed to another thread. */
export interface SharedMemtable extends SeqnoRange {
  readonly capacityBytes: number;
  readonly reservedBytes: number;
  readonly arena: SharedArrayBuffer;
  readonly heap: SharedHeap;
  readonly rangeTombstones: SharedRangeTombstones;
}

export class Memtable {
  /** Sequence numbers of the first and last entry; 0 while there is none. */
  firstSeqno: number;
  lastSeqno: number;
  readonly versions: VersionHeap;
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
  /** A closed cursor, for who asks for one next. */
  private spareCursor: MemtableCursor | undefined;
  /** Bytes of its memory that memtables before it have used. */
  private readonly usedBefore: number;

  /**
   * `capacityBytes` is when it is full. `reservedBytes` is what a first batch may take instead, and
   * large groups in part; it is reserved for the heap, and twice for the tree, which costs address
   * space but no memory: a page is backed by memory once something is written to it.
   */
  constructor(
    capacityBytes: number,
    reservedBytes: number = capacityBytes,
    shared?: SharedMemtable,
    spare?: MemtableBuffers,
  ) {
    this.firstSeqno = shared?.firstSeqno ?? 0;
    this.lastSeqno = shared?.lastSeqno ?? 0;
    this.rangeTombstones = new RangeTombstones(shared?.rangeTombstones);
    this.spareCursor = undefined;
    this.usedBefore = spare?.byteLength ?? 0;
    this.capacityBytes = capacityBytes;
    this.reservedBytes = reservedBytes;
    this.pending = undefined;
    this.isSettling = false;
    this.filter = undefined;
    this.ownTree =
      shared === undefined ? createTree(reservedBytes, spare?.arena) : Tree.attach(shared.arena);
    this.versions =
      shared === undefined
        ? VersionHeap.create(Math.max(reservedBytes, MIN_ARENA_BYTES), spare?.heap)
        : VersionHeap.attach(shared.heap);
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

  /** Its memory, for another memtable, if it is as large as that of any other. */
  get buffers(): MemtableBuffers | undefined {
    const { ownTree, versions, capacityBytes, reservedBytes } = this;
    if (reservedBytes > capacityBytes * MAX_STRETCH) return undefined;
    const byteLength = Math.max(ownTree.byteLength + versions.byteLength, this.usedBefore);
    return { arena: ownTree.arena.buffer, heap: versions.buffer, byteLength };
  }

  /** What another thread needs to read this memtable, which must be sealed. Nothing is copied. */
  share(): SharedMemtable {
    const { firstSeqno, lastSeqno, capacityBytes, reservedBytes } = this;
    const arena = this.tree.arena.buffer;
    const heap = this.versions.share();
    const rangeTombstones = this.rangeTombstones.share(MAX_SEQNO);
    return { firstSeqno, lastSeqno, capacityBytes, reservedBytes, arena, heap, rangeTombstones };
  }

  /**
   * The same of a memtable that is still written to, or whose memory others will have: a copy of the
   * entries so far, and of the range tombstones those that a reader at `seqno` sees. Copying takes
   * about a tenth of a millisecond for each mebibyte.
   */
  shareCopy(seqno: number): SharedMemtable {
    const { firstSeqno, lastSeqno, capacityBytes, reservedBytes } = this;
    const arena = this.tree.arena.copy();
    const heap = this.versions.shareCopy();
    const rangeTombstones = this.rangeTombstones.share(seqno);
    return { firstSeqno, lastSeqno, capacityBytes, reservedBytes, arena, heap, rangeTombstones };
  }

  /** A memtable that another thread shared, to be read. */
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
    return treeBytes + filterBytes + this.versions.byteLength + this.rangeTombstones.byteLength;
  }

  /**
   * Whether that many more entries, with keys of `keyBytes` and values of `valueBytes` in all, leave
   * the memtable at or below its capacity, or what it may be stretched to; an empty one also says so
   * of a batch that it was created for. O(1) and conservative: it takes every key for a new one.
   */
  canHold(operationCount: number, keyBytes: number, valueBytes: number): boolean {
    const { byteLength, capacityBytes, reservedBytes } = this;
    const isNew = this.versions.entryCount === 0 && this.rangeTombstones.isEmpty;
    let limit = capacityBytes;
    if (isNew) limit = reservedBytes;
    else if (byteLength < capacityBytes * STRETCH_SHARE) {
      limit = Math.min(reservedBytes, capacityBytes * MAX_STRETCH);
    }
    return (
      byteLength + bytesFor(operationCount, keyBytes, valueBytes) <= limit &&
      this.versions.hasRoom(heapBytesFor(operationCount, valueBytes))
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
    if (previous !== NO_VALUE) this.versions.link(ref, previous);
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
    return this.versions.append(seqno, kind, value, valueStart, valueEnd, expiry);
  }

  /** Tells the range tombstones, if there are any, of a newer entry. */
  noteEntry(key: Uint8Array, keyStart: number, keyEnd: number): void {
    this.rangeTombstones.noteEntry(key, keyStart, keyEnd);
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
    const ref = head === NO_VALUE ? NO_VERSION : this.versions.visible(head, seqno);
    if (this.rangeTombstones.isEmpty) return ref;
    const deletedAt = this.rangeTombstones.at(seqno)?.seqnoOver(key, length) ?? 0;
    const writtenAt = ref === NO_VERSION ? 0 : this.versions.seqnoOf(ref);
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
    return head !== NO_VALUE && this.versions.seqnoOf(head) > seqno;
  }

  /** Whether a key within the bounds was written after `seqno`. Walks the entries before the first. */
  isRangeWrittenSince(seqno: number, bounds: Bounds): boolean {
    if (isEmptyRange(bounds)) return false;
    const deleted = this.deletedRanges(MAX_SEQNO);
    if (deleted?.isWrittenSince(seqno, bounds)) return true;
    const cursor = new MemtableCursor(this, new TreeCursor(this.tree), this.versions);
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

  /** What the entry is at a moment: a tombstone, if it has expired by then. */
  kindOf(ref: number, time: number): EntryKind {
    return this.versions.kindOf(ref, time);
  }

  /** When the entry expires, or NEVER. */
  expiryOf(ref: number): number {
    return this.versions.expiryOf(ref);
  }

  /** A period around a moment in which no entry expires, be it one that newer ones hide. */
  expiryPeriodAt(time: number): Period {
    return this.versions.expiryPeriodAt(time);
  }

  /** A view of the entry's value; it stays valid, and unchanged, as long as the memtable. */
  valueOf(ref: number): Uint8Array {
    return this.versions.valueOf(ref);
  }

  /** Points `view` at what `valueOf` returns. */
  viewValue(ref: number, view: ValueView): void {
    this.versions.viewValue(ref, view);
  }

  /**
   * A cursor over the newest entry at or below `seqno` of each key, tombstones included, but for what
   * range tombstones deleted. What has expired at the moment `time` is a tombstone. It stays right
   * while there are writes between its moves.
   */
  cursor(seqno: number, time: number): MemtableCursor {
    const cursor =
      this.spareCursor ?? new MemtableCursor(this, new TreeCursor(this.tree), this.versions);
    this.spareCursor = undefined;
    cursor.reopen(seqno, time, this.deletedRanges(seqno));
    return cursor;
  }

  /** Takes a closed cursor for who asks for one next: its scratch space costs as much as a seek. */
  giveBack(cursor: MemtableCursor): void {
    this.spareCursor = cursor;
  }

  private noteSeqno(seqno: number): void {
    assert(seqno > this.lastSeqno, "sequence numbers ascend");
    if (this.lastSeqno === 0) this.firstSeqno = seqno;
    this.lastSeqno = seqno;
  }
}

function createTree(reservedBytes: number, spare?: SharedArrayBuffer): Tree {
  const arenaBytes = Math.max(2 * reservedBytes, MIN_ARENA_BYTES);
  return Tree.create(Math.min(arenaBytes, MAX_ARENA_BYTES), 4, spare);
}

function heapBytesFor(operationCount: number, valueBytes: number): number {
  return operationCount * ENTRY_OVERHEAD_BYTES + valueBytes;
}

/** Bytes that a batch takes in all, at most. */
function bytesFor(operationCount: number, keyBytes: number, valueBytes: number): number {
  return (
    heapBytesFor(operationCount, valueBytes) +
    operationCount * KEY_OVERHEAD_BYTES +
    keyBytes * KEY_BYTES_FACTOR
  );
}
