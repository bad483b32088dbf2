/**
 * Memtable: the entries of the newest writes, ordered by key, in memory.
 *
 * A tree (art/tree.ts) maps each key to the head of its *version chain*: the entries of that key,
 * newest first. A reader at a sequence number follows the chain to the first entry at or below it,
 * and so sees the moment it pinned, whatever was written since. Entries live in a second shared
 * buffer, the version heap, which only grows:
 *
 *   offset 0          4            8             12             16
 *          +----------+------------+-------------+--------------+-------------+---------+
 *          | previous | seqno low  | seqno high, | value length | value bytes | 0 to 7  |
 *          | version  |            | kind        |              |             | unused  |
 *          +----------+------------+-------------+--------------+-------------+---------+
 *   previous     u32   reference of the next older entry of the key; 0 is none
 *   seqno low    u32   the lower 32 bits of the seqno
 *   high, kind   u32   the upper 21 bits in bits 0-20, the kind in bits 24-31
 *   value length u32   at most MAX_VALUE_BYTES; 0 for a tombstone
 *
 * A reference is an offset in units of 8 bytes, so that 32 bits address 32 GiB. What limits a
 * memtable is the platform: a SharedArrayBuffer of Node 20 ends at 4 GiB (MAX_HEAP_BYTES).
 *
 * Invariants:
 *   1. Seqnos ascend from `add` to `add`, so a chain descends strictly from its head.
 *   2. An entry is written whole before the tree refers to it, and never changed afterwards.
 *   3. Unit 0 of the heap is unused, so that reference 0 is none.
 *
 * Source: multi-version timestamp ordering, Reed, "Naming and Synchronization in a Decentralized
 * Computer System" (MIT 1978), section 4; kept as a chain a key as in Neumann, Mühlbauer, Kemper,
 * "Fast Serializable Multi-Version Concurrency Control" (SIGMOD 2015), section 2.1.
 */
import { MAX_ARENA_BYTES, MIN_ARENA_BYTES } from "../art/arena.ts";
import { TreeCursor } from "../art/cursor.ts";
import { NO_VALUE, Tree } from "../art/tree.ts";
import { assert } from "../assert.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { EntryKind, MAX_SEQNO, type SeqnoRange } from "../entry.ts";
import { InvalidArgumentError } from "../errors.ts";
import { type Bounds, isEmptyRange, isWithinUpper, seekToLower } from "./range.ts";

/** What `find` returns for a key with no version to be seen. Otherwise a version's reference. */
export const NO_VERSION = -1;

/** The largest version heap: what one SharedArrayBuffer may hold on Node 20. */
export const MAX_HEAP_BYTES: number = 2 ** 32 - 8;

const UNIT_BYTES = 8;
const UNIT_WORDS = UNIT_BYTES / 4;
const VERSION_HEADER_BYTES = 16;

/**
 * What `canHold` reckons for a key beyond its bytes, and how often it counts those. The tree mostly
 * takes less than a key's own bytes; should it take more than reckoned, it moves to a larger arena.
 */
const KEY_OVERHEAD_BYTES = 64;
const KEY_BYTES_FACTOR = 2;

/** More than an empty memtable's `byteLength`, the tree's first region included. */
const EMPTY_BYTES = 2 * MIN_ARENA_BYTES;

/**
 * A memtable that is full at `capacityBytes`, or has room for one batch if that needs more. Throws
 * InvalidArgumentError where the batch is too large for any memtable.
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
  return new Memtable(capacityBytes, Math.max(capacityBytes, batchBytes));
}

/** A sealed memtable, as it is handed to another thread. */
export interface SharedMemtable extends SeqnoRange {
  readonly capacityBytes: number;
  readonly reservedBytes: number;
  readonly arena: SharedArrayBuffer;
  readonly heap: SharedArrayBuffer;
}

export class Memtable {
  /** Sequence numbers of the first and last entry; 0 while there is none. */
  firstSeqno: number;
  lastSeqno: number;
  /** Entries that are tombstones, shadowed ones included: at least the number of deleted keys. */
  tombstoneCount: number;
  /** Entries, shadowed ones included. */
  entryCount: number;

  private readonly capacityBytes: number;
  private readonly reservedBytes: number;
  private readonly tree: Tree;
  private readonly heapBytes: Uint8Array;
  private readonly heapWords: Uint32Array;
  /** First free unit of the heap. */
  private heapTop: number;

  /**
   * `capacityBytes` is when it is full. `reservedBytes` is what a first batch may take instead; it
   * is reserved for the heap, and twice for the tree, which costs address space but no memory: a
   * page is backed by memory once something is written to it.
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
    this.capacityBytes = capacityBytes;
    this.reservedBytes = reservedBytes;
    const arenaBytes = Math.max(2 * reservedBytes, MIN_ARENA_BYTES);
    this.tree =
      shared === undefined
        ? Tree.create(Math.min(arenaBytes, MAX_ARENA_BYTES), 4)
        : Tree.attach(shared.arena);
    const heapBytes = Math.max(reservedBytes, MIN_ARENA_BYTES);
    const heap =
      shared?.heap ?? new SharedArrayBuffer(Math.min(alignUp(heapBytes), MAX_HEAP_BYTES));
    this.heapBytes = new Uint8Array(heap);
    this.heapWords = new Uint32Array(heap);
    this.heapTop = 1;
  }

  /** What another thread needs to read this memtable, which must be sealed. Nothing is copied. */
  share(): SharedMemtable {
    const { firstSeqno, lastSeqno, capacityBytes, reservedBytes } = this;
    const arena = this.tree.arena.buffer;
    const heap = this.heapBytes.buffer as SharedArrayBuffer;
    return { firstSeqno, lastSeqno, capacityBytes, reservedBytes, arena, heap };
  }

  /** A memtable that another thread shared, for `find` and `cursor` alone. */
  static from(shared: SharedMemtable): Memtable {
    return new Memtable(shared.capacityBytes, shared.reservedBytes, shared);
  }

  /** Keys, deleted ones included. */
  get keyCount(): number {
    return this.tree.size;
  }

  /** Bytes of memory in use by keys, structure, entries and values. */
  get byteLength(): number {
    return this.tree.byteLength + this.heapTop * UNIT_BYTES;
  }

  /**
   * Whether that many more entries, with keys of `keyBytes` and values of `valueBytes` in all, leave
   * the memtable at or below its capacity; an empty one also says so of a batch that it was created
   * for. O(1) and conservative: it takes every key for a new one.
   */
  canHold(operationCount: number, keyBytes: number, valueBytes: number): boolean {
    const limit = this.entryCount === 0 ? this.reservedBytes : this.capacityBytes;
    return (
      this.byteLength + bytesFor(operationCount, keyBytes, valueBytes) <= limit &&
      this.heapTop * UNIT_BYTES + heapBytesFor(operationCount, valueBytes) <= this.heapBytes.length
    );
  }

  /**
   * Adds an entry for key[keyStart, keyEnd) with the value value[valueStart, valueEnd), which is
   * empty for a tombstone. Both are copied. The caller has asked `canHold`, and `seqno` is above all
   * before it.
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
  ): void {
    assert(seqno > this.lastSeqno, "sequence numbers ascend");
    const ref = this.heapTop;
    const valueLength = valueEnd - valueStart;
    const end = ref * UNIT_BYTES + VERSION_HEADER_BYTES + valueLength;
    assert(end <= this.heapBytes.length, "the caller asked canHold");
    const previous = this.tree.locate(key, keyStart, keyEnd);
    const words = this.heapWords;
    const word = ref * UNIT_WORDS;
    words[word] = previous === NO_VALUE ? 0 : previous;
    words[word + 1] = seqno % 0x1_0000_0000;
    words[word + 2] = Math.floor(seqno / 0x1_0000_0000) | (kind << 24);
    words[word + 3] = valueLength;
    this.copyValue(end - valueLength, value, valueStart, valueEnd);
    this.tree.assign(ref);
    this.heapTop = Math.ceil(end / UNIT_BYTES);
    if (this.entryCount === 0) this.firstSeqno = seqno;
    this.lastSeqno = seqno;
    this.entryCount++;
    if (kind === EntryKind.tombstone) this.tombstoneCount++;
  }

  /** Reference of the newest entry of key[0, length) at or below `seqno`, or NO_VERSION. */
  find(key: Uint8Array, length: number, seqno: number): number {
    const head = this.tree.get(key, 0, length);
    return head === NO_VALUE ? NO_VERSION : this.visible(head, seqno);
  }

  /** Whether an entry of the key was written after `seqno`. */
  isWrittenSince(seqno: number, key: Uint8Array): boolean {
    const head = this.tree.get(key, 0, key.length);
    return head !== NO_VALUE && this.seqnoOf(head) > seqno;
  }

  /** Whether an entry within the bounds was written after `seqno`. Walks those before the first. */
  isRangeWrittenSince(seqno: number, bounds: Bounds): boolean {
    if (isEmptyRange(bounds)) return false;
    const cursor = new MemtableCursor(this, new TreeCursor(this.tree), MAX_SEQNO);
    seekToLower(cursor, bounds.lower);
    while (cursor.isValid && isWithinUpper(cursor, bounds.upper)) {
      if (cursor.entrySeqno > seqno) return true;
      cursor.next();
    }
    return false;
  }

  seqnoOf(ref: number): number {
    const word = ref * UNIT_WORDS;
    return (this.heapWords[word + 2] & 0x1f_ffff) * 0x1_0000_0000 + this.heapWords[word + 1];
  }

  kindOf(ref: number): EntryKind {
    return (this.heapWords[ref * UNIT_WORDS + 2] >>> 24) as EntryKind;
  }

  /** A view of the entry's value; it stays valid, and unchanged, as long as the memtable. */
  valueOf(ref: number): Uint8Array {
    const start = ref * UNIT_BYTES + VERSION_HEADER_BYTES;
    return this.heapBytes.subarray(start, start + this.heapWords[ref * UNIT_WORDS + 3]);
  }

  /**
   * A cursor over the newest entry at or below `seqno` of each key, tombstones included. It stays
   * right while entries are added between its moves.
   */
  cursor(seqno: number): Cursor {
    return new MemtableCursor(this, new TreeCursor(this.tree), seqno);
  }

  /** The first entry of the chain from `head` at or below `seqno`, or NO_VERSION. */
  visible(head: number, seqno: number): number {
    let ref = head;
    while (ref !== 0 && this.seqnoOf(ref) > seqno) ref = this.heapWords[ref * UNIT_WORDS];
    return ref === 0 ? NO_VERSION : ref;
  }

  private copyValue(target: number, value: Uint8Array, start: number, end: number): void {
    if (end - start < 64) {
      const { heapBytes } = this;
      for (let i = start; i < end; i++) heapBytes[target + i - start] = value[i];
    } else {
      this.heapBytes.set(value.subarray(start, end), target);
    }
  }
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

class MemtableCursor implements Cursor {
  private readonly memtable: Memtable;
  private readonly keys: TreeCursor;
  private readonly seqno: number;
  private ref: number;

  constructor(memtable: Memtable, keys: TreeCursor, seqno: number) {
    this.memtable = memtable;
    this.keys = keys;
    this.seqno = seqno;
    this.ref = NO_VERSION;
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
    return this.memtable.kindOf(this.ref);
  }

  /** Of the entry that the cursor is at. */
  get entrySeqno(): number {
    return this.memtable.seqnoOf(this.ref);
  }

  value(): Uint8Array {
    return this.memtable.valueOf(this.ref);
  }

  storedValue(): Uint8Array {
    return this.value();
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
    this.keys.next();
    this.skipForwards();
  }

  prev(): void {
    this.keys.prev();
    this.skipBackwards();
  }

  /** Moves on to a key that has a version to be seen, from the current one. */
  private skipForwards(): void {
    while (this.keys.isValid && !this.isVisible()) this.keys.next();
  }

  private skipBackwards(): void {
    while (this.keys.isValid && !this.isVisible()) this.keys.prev();
  }

  private isVisible(): boolean {
    this.ref = this.memtable.visible(this.keys.value, this.seqno);
    return this.ref !== NO_VERSION;
  }
}
