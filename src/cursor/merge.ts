/**
 * MergeCursor: k cursors as one, in key order, the newest entry of each key hiding the older ones.
 * This is the streaming sorted union that reads over memtables and runs, and compaction, consist of.
 *
 * The sources stand in a binary heap by (key, age); the root is the merge's position. A move
 * advances the root's source and sifts it down; sources left standing at the root's key are older
 * and are moved on too, so a key is yielded once. A change of direction re-seeks every source around
 * the current key. A step costs O(log k) comparisons (Knuth, TAOCP 3, section 5.4.1).
 *
 * Invariants, while valid:
 * 1. Every source in the heap stands at an entry, and none sorts before (backward: after) the root.
 * 2. No source but the root stands at the root's key.
 * 3. Every source not in the heap is off its end in the direction of travel.
 */
import { commonPrefixLength, compareRanges } from "../bytes/compare.ts";
import type { EntryKind, ValuePlace } from "../entry.ts";
import type { Cursor } from "./cursor.ts";

export class MergeCursor implements Cursor {
  /** Newest first: at equal keys the lower index wins. */
  private readonly sources: readonly Cursor[];
  /** Indexes into `sources`, as a binary heap; the first `heapSize` are in use. */
  private readonly heap: Int32Array;
  private heapSize: number;
  private isForward: boolean;
  /** Copy of the current key while sources are re-seeked around it. */
  private pivot: Uint8Array;

  /** `sources`: newest first. Their order of age decides which entry of a key is seen. */
  constructor(sources: readonly Cursor[]) {
    this.sources = sources;
    this.heap = new Int32Array(sources.length);
    this.heapSize = 0;
    this.isForward = true;
    this.pivot = new Uint8Array(64);
  }

  get isValid(): boolean {
    return this.heapSize > 0;
  }

  get key(): Uint8Array {
    return this.sources[this.heap[0]].key;
  }

  get keyLength(): number {
    return this.sources[this.heap[0]].keyLength;
  }

  get kind(): EntryKind {
    return this.sources[this.heap[0]].kind;
  }

  get expiry(): number {
    return this.sources[this.heap[0]].expiry;
  }

  /** Index, in the list given to the constructor, of the source that the entry comes from. */
  get sourceIndex(): number {
    return this.heap[0];
  }

  value(): Uint8Array {
    return this.sources[this.heap[0]].value();
  }

  storedValue(): Uint8Array | ValuePlace {
    return this.sources[this.heap[0]].storedValue();
  }

  seekToFirst(): void {
    for (const source of this.sources) source.seekToFirst();
    this.build(true);
  }

  seekToLast(): void {
    for (const source of this.sources) source.seekToLast();
    this.build(false);
  }

  seek(key: Uint8Array, length: number): void {
    for (const source of this.sources) source.seek(key, length);
    this.build(true);
  }

  seekForPrev(key: Uint8Array, length: number): void {
    for (const source of this.sources) source.seekForPrev(key, length);
    this.build(false);
  }

  next(): void {
    if (this.isForward) {
      this.advance(0);
      this.skipHidden();
    } else {
      this.turn(true);
    }
  }

  prev(): void {
    if (this.isForward) {
      this.turn(false);
    } else {
      this.advance(0);
      this.skipHidden();
    }
  }

  close(): void {
    this.heapSize = 0;
    for (const source of this.sources) source.close?.();
  }

  /** Puts every source past the current key in the new direction. */
  private turn(isForward: boolean): void {
    const len = this.keyLength;
    if (this.pivot.length < len) this.pivot = new Uint8Array(len * 2);
    const pivot = this.pivot;
    pivot.set(this.key.subarray(0, len));
    for (const source of this.sources) {
      if (isForward) source.seek(pivot, len);
      else source.seekForPrev(pivot, len);
      const isAtPivot =
        source.isValid && compareRanges(source.key, 0, source.keyLength, pivot, 0, len) === 0;
      if (isAtPivot) {
        if (isForward) source.next();
        else source.prev();
      }
    }
    this.build(isForward);
  }

  /** Makes the heap anew from the sources' positions. */
  private build(isForward: boolean): void {
    this.isForward = isForward;
    this.heapSize = 0;
    for (let i = 0; i < this.sources.length; i++) {
      if (this.sources[i].isValid) this.heap[this.heapSize++] = i;
    }
    for (let i = (this.heapSize >> 1) - 1; i >= 0; i--) this.siftDown(i);
    this.skipHidden();
  }

  /** Moves the source at heap position `i` one step and restores the heap. */
  private advance(i: number): void {
    const source = this.sources[this.heap[i]];
    if (this.isForward) source.next();
    else source.prev();
    if (!source.isValid) this.heap[i] = this.heap[--this.heapSize];
    if (i < this.heapSize) this.siftDown(i);
  }

  /** Moves on the older sources that stand at the root's key. They are found among its children. */
  private skipHidden(): void {
    while (this.heapSize > 1 && this.isRootKey(1)) this.advance(1);
    while (this.heapSize > 2 && this.isRootKey(2)) this.advance(2);
  }

  private isRootKey(i: number): boolean {
    const root = this.sources[this.heap[0]];
    const other = this.sources[this.heap[i]];
    const len = root.keyLength;
    if (other.keyLength !== len) return false;
    const a = root.key;
    const b = other.key;
    // Neighbours in key order differ late: the last byte tells most of them apart.
    if (len > 0 && a[len - 1] !== b[len - 1]) return false;
    return commonPrefixLength(a, 0, len, b, 0, len) === len;
  }

  private siftDown(start: number): void {
    const heap = this.heap;
    const size = this.heapSize;
    const moved = heap[start];
    let i = start;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      if (child + 1 < size && this.isBefore(heap[child + 1], heap[child])) child++;
      if (!this.isBefore(heap[child], moved)) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = moved;
  }

  /** Whether source x is yielded before source y: by key in the direction of travel, then by age. */
  private isBefore(x: number, y: number): boolean {
    const a = this.sources[x];
    const b = this.sources[y];
    const order = compareRanges(a.key, 0, a.keyLength, b.key, 0, b.keyLength);
    if (order === 0) return x < y;
    return this.isForward === order < 0;
  }
}
