/**
 * KeyOrder: the keys of a memtable's table (key-table.ts), put in order step by step, while the
 * memtable is read, and written to.
 *
 * The newest entries are gone through in the order in which they came, which the version heap has them
 * in, and sorted by their keys (bytes/key-sort.ts); keys that came in order need no sorting. Then either
 *
 *   - a flush goes through them, in the background (SortedKeys), or
 *   - a tree is made of them (TreeLoad), for whoever needs their order on this thread and writes on.
 *     That takes half the time of as many insertions. What was written since the beginning
 *     is inserted then, as the version heap has it behind all else.
 */
import { KeyBuffer } from "../art/key-buffer.ts";
import { SortedLoad } from "../art/sorted-load.ts";
import type { Tree } from "../art/tree.ts";
import { compareRanges } from "../bytes/compare.ts";
import { KeySort } from "../bytes/key-sort.ts";
import type { KeyWalk } from "./cursor.ts";
import type { SharedKeyTable } from "./key-table.ts";
import type { VersionHeap } from "./version-heap.ts";

/** Keys put into the tree in one step, in order and in none: some milliseconds. */
const STEP_KEYS: number = 2 ** 14;
const STEP_INSERTIONS: number = 2 ** 12;

/** Keys whose entries are touched at once, before a walk comes to them. */
const GROUP_KEYS = 32;

export class KeyOrder {
  readonly versions: VersionHeap;
  /** Of the newest entry of each key: in the order of the keys, once no step is left. */
  readonly refs: Uint32Array;
  /** Reference of the first entry that is not among them, since it came later. */
  readonly end: number;
  private sort: KeySort | undefined;

  /** `maxAtOnce`: how many keys are sorted in one step; as for KeySort. */
  constructor(versions: VersionHeap, { count, isAscending }: SharedKeyTable, maxAtOnce?: number) {
    this.versions = versions;
    this.end = versions.end;
    this.refs = versions.heads(count);
    this.sort = isAscending ? undefined : new KeySort(versions, this.refs, maxAtOnce);
  }

  /** Sorts on for some milliseconds; false once all are in order. */
  step(): boolean {
    const { sort, refs } = this;
    if (sort === undefined) return false;
    if (sort.step()) return true;
    for (let i = 0; i < refs.length; i++) refs[i] = sort.at(i);
    this.sort = undefined;
    return false;
  }
}

/** Makes a tree of the keys, and of those that come meanwhile. */
export class TreeLoad {
  private readonly order: KeyOrder;
  private readonly tree: Tree;
  private readonly load: SortedLoad;
  /** Keys of the order that are in the tree. */
  private placed: number;
  /** Reference of the first entry after the order's end that is not. */
  private next: number;

  /** `tree` is empty, and nobody's until the last step. */
  constructor(order: KeyOrder, tree: Tree) {
    this.order = order;
    this.tree = tree;
    this.load = new SortedLoad(tree, order.versions.keyBytes);
    this.placed = 0;
    this.next = order.end;
  }

  /** Brings the tree on for some milliseconds; false once all keys are there. */
  step(): boolean {
    const { order } = this;
    if (order.step()) return true;
    const { length } = order.refs;
    if (this.placed < length) {
      this.place(Math.min(this.placed + STEP_KEYS, length));
      if (this.placed < length) return true;
      this.load.finish();
    }
    return this.insertLater();
  }

  /** Puts the keys up to that rank into the tree. */
  private place(end: number): void {
    const { load, order } = this;
    const { refs, versions } = order;
    for (let i = this.placed; i < end; i++) {
      load.add(versions.keyStart(refs[i]), versions.keyEnd(refs[i]), refs[i]);
    }
    this.placed = end;
  }

  /** Inserts some of the keys that came later; false if these were all. */
  private insertLater(): boolean {
    const { tree, order } = this;
    const { versions } = order;
    for (let count = 0; count < STEP_INSERTIONS && this.next < versions.end; count++) {
      const ref = this.next;
      if (versions.leads(ref)) {
        tree.locate(versions.keyBytes, versions.keyStart(ref), versions.keyEnd(ref));
        tree.assign(ref);
      }
      this.next = versions.unitAfter(ref);
    }
    return this.next < versions.end;
  }
}

/** A walk over the keys of an order that has no step left. */
export class SortedKeys implements KeyWalk {
  isValid: boolean;
  private readonly order: KeyOrder;
  private readonly buffer: KeyBuffer;
  private rank: number;

  constructor(order: KeyOrder) {
    this.isValid = false;
    this.order = order;
    this.buffer = new KeyBuffer();
    this.rank = 0;
  }

  get key(): Uint8Array {
    return this.buffer.bytes;
  }

  get keyLength(): number {
    return this.buffer.length;
  }

  get value(): number {
    return this.order.refs[this.rank];
  }

  get isFirstInBucket(): boolean {
    return this.rank % GROUP_KEYS === 0;
  }

  leftInBucket(): number {
    const groupEnd = this.rank - (this.rank % GROUP_KEYS) + GROUP_KEYS;
    return Math.min(groupEnd, this.order.refs.length) - 1 - this.rank;
  }

  valueAfter(count: number): number {
    return this.order.refs[this.rank + count];
  }

  seekToFirst(): void {
    this.moveTo(0);
  }

  seekToLast(): void {
    this.moveTo(this.order.refs.length - 1);
  }

  seek(key: Uint8Array, length: number): void {
    this.moveTo(this.rankOf(key, length));
  }

  seekForPrev(key: Uint8Array, length: number): void {
    const rank = this.rankOf(key, length);
    this.moveTo(rank);
    const isThere =
      this.isValid && compareRanges(this.key, 0, this.keyLength, key, 0, length) === 0;
    if (!isThere) this.moveTo(rank - 1);
  }

  next(): void {
    this.moveTo(this.rank + 1);
  }

  prev(): void {
    this.moveTo(this.rank - 1);
  }

  /** How many keys are before key[0, length). */
  private rankOf(key: Uint8Array, length: number): number {
    const { versions, refs } = this.order;
    const { keyBytes } = versions;
    let start = 0;
    let end = refs.length;
    while (start < end) {
      const middle = (start + end) >>> 1;
      const keyStart = versions.keyStart(refs[middle]);
      const keyEnd = versions.keyEnd(refs[middle]);
      if (compareRanges(keyBytes, keyStart, keyEnd, key, 0, length) < 0) start = middle + 1;
      else end = middle;
    }
    return start;
  }

  private moveTo(rank: number): void {
    const { versions, refs } = this.order;
    this.rank = rank;
    this.isValid = rank >= 0 && rank < refs.length;
    if (!this.isValid) return;
    const start = versions.keyStart(refs[rank]);
    this.buffer.splice(0, versions.keyBytes, start, versions.keyEnd(refs[rank]) - start);
  }
}
