/**
 * MemtableLoad: fills a new memtable with many writes at once, as recovery does from the logs.
 *
 * Each write goes into the version heap at once, as `Memtable.add` puts it there. Its key goes into a
 * list, and into a hash table, which leads a later write of the same key to the one before it, and
 * reads by key to the newest. So the memtable answers `find` as soon as the writes are there.
 *
 * For all else it needs its tree: the keys are sorted (bytes/key-sort.ts), and the tree is made from
 * them in order (art/sorted-load.ts), which takes about a third of the time of as many insertions.
 * That can be done step by step, while the memtable is read; whoever needs the tree before it is
 * there has what is left of it done at once (`Memtable.tree`). Then the load is let go of.
 *
 * Memory beside the memtable until then: the keys, and 20 to 44 bytes each. It is shared memory for the
 * reason that BlockCache gives.
 */
import { SortedLoad } from "../art/sorted-load.ts";
import { NO_VALUE, type Tree } from "../art/tree.ts";
import { assert } from "../assert.ts";
import { KeySort } from "../bytes/key-sort.ts";
import { type EntryKind, NEVER } from "../entry.ts";
import type { OperationTarget } from "../wal/batch.ts";
import type { Memtable, PendingKeys } from "./memtable.ts";

/**
 * The lists have room at first for as many keys as a full memtable mostly has: to grow takes time. It
 * costs no memory until something is written to it.
 */
const USUAL_ENTRY_BYTES = 64;
const MIN_FIRST_COUNT: number = 2 ** 10;
const MIN_FIRST_KEY_BYTES: number = 2 ** 16;

/**
 * Slots of the hash table at first, and how many times as many there are next: at most half of them are
 * taken. A table for all keys of a full memtable is touched all over by the first few, page by page: an
 * open with 170,000 writes in its logs took a tenth longer.
 */
const FIRST_SLOTS: number = 2 ** 16;
const SLOTS_GROWTH = 4;
/** A slot without a key. In others is the index of one, plus 1. */
const FREE = 0;

/** More go into another memtable: an arena holds the tree of so many, whatever they are. */
const MAX_KEY_BYTES = 2 ** 30;

/**
 * A tree takes at least about half the bytes of its keys. Counting no more makes one memtable of what
 * was one; where it takes more, the memtable is somewhat larger than its capacity.
 */
const LEAST_TREE_PART = 1 / 2;

/** Keys put into the tree in one step: some milliseconds. */
const STEP_KEYS: number = 2 ** 14;

export class MemtableLoad implements OperationTarget, PendingKeys {
  readonly memtable: Memtable;
  private readonly seed: number;
  /** The keys, one after the other: key i ends at ends[i]. */
  private keys: Uint8Array;
  private ends: Uint32Array;
  /** Where in the version heap its newest entry is. */
  private refs: Uint32Array;
  private hashes: Uint32Array;
  private slots: Uint32Array;
  private keyBytes: number;
  /** Keys that are there. */
  count: number;
  /** Set once there are no more writes to come. */
  private order: KeySort | undefined;
  private tree: SortedLoad | undefined;
  /** Keys that are in the tree. */
  private placed: number;

  /**
   * `memtable` is new. Whoever chooses the keys must not know `seed`, or could choose ones that all
   * have one hash.
   */
  constructor(memtable: Memtable, seed: number) {
    this.memtable = memtable;
    this.seed = seed;
    const { capacityBytes } = memtable;
    const usualCount = Math.max(MIN_FIRST_COUNT, capacityBytes / USUAL_ENTRY_BYTES);
    const firstCount = 2 ** Math.ceil(Math.log2(usualCount));
    this.keys = sharedBytes(Math.max(MIN_FIRST_KEY_BYTES, capacityBytes / 2));
    this.ends = sharedWords(firstCount);
    this.refs = sharedWords(firstCount);
    this.hashes = sharedWords(firstCount);
    this.slots = sharedWords(FIRST_SLOTS);
    this.keyBytes = 0;
    this.count = 0;
    this.order = undefined;
    this.tree = undefined;
    this.placed = 0;
    memtable.pend(this);
  }

  /** What the tree will take, at least. */
  get treeBytes(): number {
    return Math.ceil(this.keyBytes * LEAST_TREE_PART);
  }

  /** As `Memtable.canHold`. */
  canHold(operationCount: number, keyBytes: number, valueBytes: number): boolean {
    if (this.count > 0 && this.keyBytes + keyBytes > MAX_KEY_BYTES) return false;
    return this.memtable.canHold(operationCount, keyBytes, valueBytes);
  }

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
    const { memtable } = this;
    const ref = memtable.appendEntry(seqno, kind, value, valueStart, valueEnd, expiry);
    const hash = this.hashOf(key, keyStart, keyEnd);
    const slot = this.slotOf(key, keyStart, keyEnd, hash);
    const index = this.slots[slot] - 1;
    if (index >= 0) {
      memtable.versions.link(ref, this.refs[index]);
      this.refs[index] = ref;
    } else {
      this.addKey(key, keyStart, keyEnd, hash, slot, ref);
    }
    if (memtable.rangeTombstoneCount > 0) memtable.noteEntry(key, keyStart, keyEnd);
  }

  deleteRange(
    start: Uint8Array,
    end: Uint8Array | undefined,
    seqno: number,
    firstSeqno: number,
  ): void {
    this.memtable.deleteRange(start, end, seqno, firstSeqno);
  }

  /** Reference of the newest entry of key[0, length), or NO_VALUE. */
  find(key: Uint8Array, length: number): number {
    const slot = this.slotOf(key, 0, length, this.hashOf(key, 0, length));
    const index = this.slots[slot] - 1;
    return index < 0 ? NO_VALUE : this.refs[index];
  }

  /**
   * Brings the tree on for some milliseconds; false once it is there. To sort very many keys that
   * begin alike takes longer. There can be no more writes after the first step.
   */
  step(tree: Tree): boolean {
    const { count } = this;
    this.order ??= new KeySort(this.keys, this.ends, count);
    if (this.order.step()) return true;
    this.tree ??= new SortedLoad(tree, this.keys);
    const end = Math.min(this.placed + STEP_KEYS, count);
    this.place(this.order, this.tree, this.placed, end);
    this.placed = end;
    if (end < count) return true;
    this.tree.finish();
    return false;
  }

  restart(): void {
    this.order = undefined;
    this.tree = undefined;
    this.placed = 0;
  }

  /** Puts the keys of rank [from, to) into the tree. */
  private place(order: KeySort, tree: SortedLoad, from: number, to: number): void {
    const { ends, refs } = this;
    for (let i = from; i < to; i++) {
      const index = order.at(i);
      tree.add(index === 0 ? 0 : ends[index - 1], ends[index], refs[index]);
    }
  }

  private addKey(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    hash: number,
    slot: number,
    ref: number,
  ): void {
    assert(this.order === undefined, "all writes come before the first step");
    const index = this.count++;
    const start = this.keyBytes;
    const end = start + keyEnd - keyStart;
    if (end > this.keys.length) this.keys = grown(sharedBytes(2 * end), this.keys);
    const { keys } = this;
    for (let from = keyStart, to = start; to < end; from++, to++) keys[to] = key[from];
    this.keyBytes = end;
    this.ends[index] = end;
    this.refs[index] = ref;
    this.hashes[index] = hash;
    this.slots[slot] = index + 1;
    if (this.count === this.ends.length) this.growLists();
    if (2 * this.count === this.slots.length) this.growSlots();
  }

  private growLists(): void {
    const count = 2 * this.ends.length;
    this.ends = grown(sharedWords(count), this.ends);
    this.refs = grown(sharedWords(count), this.refs);
    this.hashes = grown(sharedWords(count), this.hashes);
  }

  private growSlots(): void {
    const { hashes, count } = this;
    const slots = sharedWords(SLOTS_GROWTH * this.slots.length);
    const mask = slots.length - 1;
    for (let i = 0; i < count; i++) {
      let slot = hashes[i] & mask;
      while (slots[slot] !== FREE) slot = (slot + 1) & mask;
      slots[slot] = i + 1;
    }
    this.slots = slots;
  }

  /** The slot that has the key, or the free one where it belongs. */
  private slotOf(key: Uint8Array, keyStart: number, keyEnd: number, hash: number): number {
    const { slots, hashes } = this;
    const mask = slots.length - 1;
    let slot = hash & mask;
    for (;;) {
      const index = slots[slot] - 1;
      if (index < 0) return slot;
      if (hashes[index] === hash && this.isKey(index, key, keyStart, keyEnd)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  private isKey(index: number, key: Uint8Array, keyStart: number, keyEnd: number): boolean {
    const { keys, ends } = this;
    const start = index === 0 ? 0 : ends[index - 1];
    if (ends[index] - start !== keyEnd - keyStart) return false;
    let from = keyStart;
    for (let to = start; from < keyEnd && keys[to] === key[from]; to++) from++;
    return from === keyEnd;
  }

  /**
   * A multiplicative hash whose beginning is secret. Of two bytes at a time: they cannot undo what those
   * before them made of its 32 bits, for any beginning, as four could.
   */
  private hashOf(key: Uint8Array, start: number, end: number): number {
    let hash = this.seed ^ (end - start);
    let pos = start;
    for (; pos + 1 < end; pos += 2) {
      hash = Math.imul(hash ^ key[pos] ^ (key[pos + 1] << 8), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    if (pos < end) hash = Math.imul(hash ^ key[pos], 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    return (hash ^ (hash >>> 13)) >>> 0;
  }
}

function sharedBytes(length: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(length));
}

function sharedWords(count: number): Uint32Array {
  return new Uint32Array(new SharedArrayBuffer(4 * count));
}

function grown<T extends Uint8Array | Uint32Array>(larger: T, array: T): T {
  larger.set(array);
  return larger;
}
