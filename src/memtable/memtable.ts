/**
 * Memtable: the entries of the newest writes, in memory.
 *
 * A hash table (key-table.ts), or a tree (art/tree.ts), maps each key to the newest of its versions,
 * which lie in a heap (version-heap.ts) and lead to older ones. The table is what it begins with: to
 * write to it costs a quarter. Whoever asks for the order of the keys has a tree made of it
 * (key-order.ts), which the memtable has from then on; and so that who asks again and again need not
 * wait for that each time, the memtable after one that was asked has a tree from the beginning. A flush
 * sorts the keys of a table in the background.
 *
 * Range tombstones are kept beside the keys (range-tombstones.ts). They hide the entries of their
 * keys that have a lower sequence number, and all of older sources.
 *
 * Invariants:
 *   1. Seqnos ascend from write to write.
 *   2. An entry is whole, and linked to the one before, before the table or the tree refers to it.
 */
import { MAX_ARENA_BYTES, MIN_ARENA_BYTES } from "../art/arena.ts";
import { TreeCursor } from "../art/cursor.ts";
import { NO_VALUE, Tree } from "../art/tree.ts";
import { assert } from "../assert.ts";
import type { ValueView } from "../cursor/value-view.ts";
import { type Bounds, isEmptyRange, isWithinUpper, seekToLower } from "../encoding/range.ts";
import { type EntryKind, MAX_SEQNO, NEVER, type Period, type SeqnoRange } from "../entry.ts";
import { InvalidArgumentError } from "../errors.ts";
import { type CursorOwner, MemtableCursor } from "./cursor.ts";
import { MemtableFilter } from "./filter.ts";
import { KeyOrder, SortedKeys, TreeLoad } from "./key-order.ts";
import { KeyTable, type SharedKeyTable } from "./key-table.ts";
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
 * What `canHold` reckons for a key in the table or in the tree: so much, and its bytes. The tree mostly
 * takes less than a key's own bytes; should it take more than reckoned, it moves to a larger arena.
 */
const KEY_OVERHEAD_BYTES = 64;

/** Keys that are sorted in one step while a tree is made of them: seven milliseconds. */
const MAX_SORTED_KEYS: number = 2 ** 16;

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
 * that nobody reads any more, if `kind.takeSpare` has such. Throws InvalidArgumentError where the batch
 * is too large for any memtable.
 */
export function createMemtable(
  capacityBytes: number,
  operationCount: number,
  keyBytes: number,
  valueBytes: number,
  kind: MemtableKind = {},
): Memtable {
  const contentBytes = keyBytes + valueBytes;
  if (EMPTY_HEAP_BYTES + heapBytesFor(operationCount, contentBytes) > MAX_HEAP_BYTES) {
    throw new InvalidArgumentError(
      `a batch of ${operationCount} operations with ${contentBytes} bytes of keys and values is too ` +
        `large: a memtable holds ${MAX_HEAP_BYTES} bytes, ${ENTRY_OVERHEAD_BYTES} of them for each ` +
        `operation`,
    );
  }
  const batchBytes = EMPTY_BYTES + bytesFor(operationCount, keyBytes, valueBytes);
  const usualBytes = capacityBytes * MAX_STRETCH;
  if (batchBytes > usualBytes) return new Memtable(capacityBytes, batchBytes, kind);
  return new Memtable(capacityBytes, usualBytes, kind, kind.takeSpare?.());
}

export interface MemtableKind {
  /** Of the hash of its keys: nobody who chooses these must know it. */
  readonly hashSeed?: number;
  /** Whether it has its keys in order from the beginning. */
  readonly hasTree?: boolean;
  readonly takeSpare?: () => MemtableBuffers | undefined;
}

/** The memory of a memtable. */
export interface MemtableBuffers {
  readonly heap: SharedArrayBuffer;
  /** Of a tree, and of a table, if there ever was one. */
  readonly arena: SharedArrayBuffer | undefined;
  readonly table: SharedArrayBuffer | undefined;
  /** Bytes that the system has given them: those that some memtable has used. */
  readonly byteLength: number;
}

/** A memtable that does not change, as it is handed to another thread. */
export interface SharedMemtable extends SeqnoRange {
  readonly capacityBytes: number;
  readonly reservedBytes: number;
  /** Of its two indexes the one that it has. */
  readonly arena: SharedArrayBuffer | undefined;
  readonly table: SharedKeyTable | undefined;
  readonly heap: SharedHeap;
  readonly rangeTombstones: SharedRangeTombstones;
}

/** Has no use for a closed cursor. */
const NOBODY: CursorOwner = { giveBack: () => {} };

export class Memtable {
  /** Sequence numbers of the first and last entry; 0 while there is none. */
  firstSeqno: number;
  lastSeqno: number;
  readonly versions: VersionHeap;
  private readonly rangeTombstones: RangeTombstones;

  readonly capacityBytes: number;
  private readonly reservedBytes: number;
  /** Has the keys, unless the tree has them. */
  private table: KeyTable | undefined;
  /** Made of the keys of the table, step by step. */
  private load: TreeLoad | undefined;
  /** Whether a step of the load is under way, or failed half way. */
  private isLoading: boolean;
  /** While there is a table, what the load has made of it so far. */
  private ownTree: Tree | undefined;
  /** Whether anybody has asked for the order of the keys. */
  isWalked: boolean;
  /** Of all keys in the tree, once somebody has asked with a hash. */
  private filter: MemtableFilter | undefined;
  /** A closed cursor over the tree, for who asks for one next. */
  private spareCursor: MemtableCursor | undefined;
  /** Memory for the one of tree and table that it does not have. */
  private spareArena: SharedArrayBuffer | undefined;
  private spareTable: SharedArrayBuffer | undefined;
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
    { hashSeed = 0, hasTree = false }: MemtableKind = {},
    spare?: MemtableBuffers,
    shared?: SharedMemtable,
  ) {
    this.firstSeqno = shared?.firstSeqno ?? 0;
    this.lastSeqno = shared?.lastSeqno ?? 0;
    this.rangeTombstones = new RangeTombstones(shared?.rangeTombstones);
    this.spareCursor = undefined;
    this.spareArena = spare?.arena;
    this.spareTable = spare?.table;
    this.usedBefore = spare?.byteLength ?? 0;
    this.capacityBytes = capacityBytes;
    this.reservedBytes = reservedBytes;
    this.load = undefined;
    this.isLoading = false;
    this.isWalked = false;
    this.filter = undefined;
    if (shared !== undefined) {
      const { arena, table, heap } = shared;
      this.versions = VersionHeap.attach(heap);
      this.ownTree = arena && Tree.attach(arena);
      this.table = table && KeyTable.attach(this.versions, table);
      return;
    }
    this.versions = VersionHeap.create(Math.max(reservedBytes, MIN_ARENA_BYTES), spare?.heap);
    this.table = hasTree ? undefined : KeyTable.create(this.versions, hashSeed, spare?.table);
    this.ownTree = hasTree ? this.createTree() : undefined;
  }

  private createTree(): Tree {
    const arenaBytes = Math.max(2 * this.reservedBytes, MIN_ARENA_BYTES);
    return Tree.create(Math.min(arenaBytes, MAX_ARENA_BYTES), 4, this.spareArena);
  }

  /** Whether it has no tree: what needs the order of the keys takes longer then. */
  get isUnordered(): boolean {
    return this.table !== undefined;
  }

  /**
   * Brings the tree on, where there is none, for some milliseconds, or tens of them where there are
   * millions of keys. Writes may come between steps.
   */
  orderStep(): void {
    const { table } = this;
    if (table === undefined) return;
    // Where a step failed, be it that the stack of a reader who needs the tree was full, what is there
    // of the tree may be half of a change.
    if (this.isLoading) this.dropLoad();
    if (this.load === undefined) {
      const order = new KeyOrder(this.versions, table, MAX_SORTED_KEYS);
      this.ownTree = this.createTree();
      this.load = new TreeLoad(order, this.ownTree);
      return;
    }
    this.isLoading = true;
    if (!this.load.step()) {
      assert(this.ownTree?.size === table.count, "the tree has all keys");
      this.spareTable = table.buffer;
      this.table = undefined;
      this.load = undefined;
    }
    this.isLoading = false;
  }

  /** Lets go of a tree that is not whole. */
  private dropLoad(): void {
    this.spareArena = this.ownTree?.arena.buffer;
    this.ownTree = undefined;
    this.load = undefined;
    this.isLoading = false;
  }

  /** The tree, which is made first where there is none. */
  private get tree(): Tree {
    while (this.table !== undefined) this.orderStep();
    const { ownTree } = this;
    assert(ownTree !== undefined, "the keys are in a table or in a tree");
    return ownTree;
  }

  /** Its memory, for another memtable, if it is as large as that of any other. */
  get buffers(): MemtableBuffers | undefined {
    const { ownTree, versions, capacityBytes, reservedBytes } = this;
    if (reservedBytes > capacityBytes * MAX_STRETCH) return undefined;
    const table = this.table?.buffer ?? this.spareTable;
    const arena = ownTree?.arena.buffer ?? this.spareArena;
    const usedBytes = versions.byteLength + (ownTree?.byteLength ?? 0) + (table?.byteLength ?? 0);
    return {
      heap: versions.buffer,
      arena,
      table,
      byteLength: Math.max(usedBytes, this.usedBefore),
    };
  }

  /** What another thread needs to read this memtable, which must be sealed. Nothing is copied. */
  share(): SharedMemtable {
    const heap = this.versions.share();
    const arena = this.table === undefined ? this.tree.arena.buffer : undefined;
    return this.sharedAs(heap, arena, MAX_SEQNO);
  }

  /**
   * The same of a memtable that is still written to, or whose memory others will have: a copy of the
   * entries so far, and of the range tombstones those that a reader at `seqno` sees. Copying takes
   * about a tenth of a millisecond for each mebibyte.
   */
  shareCopy(seqno: number): SharedMemtable {
    const heap = this.versions.shareCopy();
    const arena = this.table === undefined ? this.tree.arena.copy() : undefined;
    return this.sharedAs(heap, arena, seqno);
  }

  private sharedAs(
    heap: SharedHeap,
    arena: SharedArrayBuffer | undefined,
    seqno: number,
  ): SharedMemtable {
    const { firstSeqno, lastSeqno, capacityBytes, reservedBytes } = this;
    const table = this.table?.share();
    const rangeTombstones = this.rangeTombstones.share(seqno);
    const limits = { capacityBytes, reservedBytes };
    return { firstSeqno, lastSeqno, ...limits, arena, table, heap, rangeTombstones };
  }

  /** A memtable that another thread shared, to be read. */
  static from(shared: SharedMemtable): Memtable {
    return new Memtable(shared.capacityBytes, shared.reservedBytes, {}, undefined, shared);
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
    return this.table?.count ?? this.tree.size;
  }

  /** Bytes of memory in use by keys, structure, entries and values. */
  get byteLength(): number {
    const filterBytes = this.filter?.byteLength ?? 0;
    const { indexBytes, versions, rangeTombstones } = this;
    return indexBytes + filterBytes + versions.byteLength + rangeTombstones.byteLength;
  }

  /** Bytes of the tree, or of the table, or of both while there is a load. */
  private get indexBytes(): number {
    return (this.ownTree?.byteLength ?? 0) + (this.table?.byteLength ?? 0);
  }

  /**
   * Whether that many more entries, with keys of `keyBytes` and values of `valueBytes` in all, leave
   * the memtable at or below its capacity, or what it may be stretched to; an empty one also says so
   * of a batch that it was created for. O(1) and conservative: it takes every key for a new one.
   */
  canHold(operationCount: number, keyBytes: number, valueBytes: number): boolean {
    const { byteLength, capacityBytes, reservedBytes } = this;
    // A table may have to double for a single key: what that takes more than is reckoned for each.
    const tableBytes = this.table?.growthBytesFor(operationCount) ?? 0;
    const growthBytes = Math.max(0, tableBytes - operationCount * KEY_OVERHEAD_BYTES);
    const isNew = this.versions.entryCount === 0 && this.rangeTombstones.isEmpty;
    let limit = capacityBytes;
    if (isNew) limit = reservedBytes;
    else if (byteLength < capacityBytes * STRETCH_SHARE) {
      limit = Math.min(reservedBytes, capacityBytes * MAX_STRETCH);
    }
    return (
      byteLength + growthBytes + bytesFor(operationCount, keyBytes, valueBytes) <= limit &&
      this.versions.hasRoom(heapBytesFor(operationCount, keyBytes + valueBytes))
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
    this.noteSeqno(seqno);
    const { versions, table } = this;
    if (table !== undefined) {
      const ref = versions.appendWithKey(
        key,
        keyStart,
        keyEnd,
        seqno,
        kind,
        value,
        valueStart,
        valueEnd,
        expiry,
      );
      table.add(key, keyStart, keyEnd, ref);
    } else {
      this.filter?.add(key, keyStart, keyEnd);
      const { tree } = this;
      const previous = tree.locate(key, keyStart, keyEnd);
      const ref = versions.append(seqno, kind, value, valueStart, valueEnd, expiry);
      if (previous !== NO_VALUE) versions.link(ref, previous);
      tree.assign(ref);
    }
    if (!this.rangeTombstones.isEmpty) this.rangeTombstones.noteEntry(key, keyStart, keyEnd);
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
    this.isWalked = true;
    const cursor = new MemtableCursor(NOBODY, new TreeCursor(this.tree), this.versions);
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
    if (this.table !== undefined) return this.table.count > 0;
    const { tree } = this;
    if (tree.size === 0) return false;
    if (this.filter === undefined) {
      if (tree.size > MAX_FIRST_FILTERED_KEYS) return true;
      // Kept once it has all keys: on a full stack of a reader it gets some.
      const filter = new MemtableFilter(this.capacityBytes);
      const cursor = new TreeCursor(tree);
      for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
        filter.add(cursor.key, 0, cursor.keyLength);
      }
      this.filter = filter;
    }
    return this.filter.mayContain(hash);
  }

  /** Reference of the newest entry of key[0, length), or -1. */
  private headOf(key: Uint8Array, length: number): number {
    const { table } = this;
    if (table === undefined || !table.isSearchable) return this.tree.get(key, 0, length);
    return table.find(key, 0, length);
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
    this.isWalked = true;
    const cursor =
      this.spareCursor ?? new MemtableCursor(this, new TreeCursor(this.tree), this.versions);
    this.spareCursor = undefined;
    cursor.reopen(seqno, time, this.deletedRanges(seqno));
    return cursor;
  }

  /** The order of the keys, for `orderedCursor`; undefined where the tree has it. */
  order(): KeyOrder | undefined {
    return this.table === undefined ? undefined : new KeyOrder(this.versions, this.table);
  }

  /** As `cursor` at the newest seqno, of a sealed memtable; `order` has no step left. */
  orderedCursor(order: KeyOrder, time: number): MemtableCursor {
    const cursor = new MemtableCursor(NOBODY, new SortedKeys(order), this.versions);
    cursor.reopen(MAX_SEQNO, time, this.deletedRanges(MAX_SEQNO));
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

function heapBytesFor(operationCount: number, contentBytes: number): number {
  return operationCount * ENTRY_OVERHEAD_BYTES + contentBytes;
}

/** Bytes that a batch takes in all, at most: in the heap, and in the table or the tree. */
function bytesFor(operationCount: number, keyBytes: number, valueBytes: number): number {
  const heapBytes = heapBytesFor(operationCount, keyBytes + valueBytes);
  return heapBytes + operationCount * KEY_OVERHEAD_BYTES + keyBytes;
}
