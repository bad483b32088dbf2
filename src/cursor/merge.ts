/**
 * MergeCursor: k cursors as one, in key order, the newest entry of each key hiding the older ones.
 * This is the streaming sorted union that reads over memtables and runs, and compaction, consist of.
 *
 * The sources stand in a binary heap by (key, age); the root is the merge's position. A move
 * advances the root's source and sifts it down; sources left standing at the root's key are older
 * and are moved on too, so a key is yielded once. A change of direction re-seeks every source around
 * the current key. A step costs O(log k) comparisons (Knuth, TAOCP 3, section 5.4.1), and one while
 * the same source goes on: then the lesser of the root's children, which is remembered, is still the
 * next. Where each source stands is kept here too: to ask it costs more than to compare.
 *
 * Invariants, while valid:
 * 1. Every source in the heap stands at an entry, and none sorts before (backward: after) the root.
 * 2. No source but the root stands at the root's key.
 * 3. Every source not in the heap is off its end in the direction of travel.
 */
import { commonPrefixLength, compareRanges } from "../bytes/compare.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import type { EntryKind, ValuePlace } from "../entry.ts";
import type { Cursor } from "./cursor.ts";
import type { EntryRun } from "./entry-run.ts";
import type { ValueView } from "./value-view.ts";

const NO_BYTES = new Uint8Array(0);

/**
 * Entries that a run is to be expected to have: fewer are read faster one by one. In the scans of
 * YCSB's E over six runs of like size (bench compare, ycsb-e), 2 gains less than 3, and 4 no more.
 */
const SHORTEST_RUN = 3;

export class MergeCursor implements Cursor {
  /** Newest first: at equal keys the lower index wins. */
  private readonly sources: readonly Cursor[];
  /** Indexes into `sources`, as a binary heap; the first `heapSize` are in use. */
  private readonly heap: number[];
  private heapSize: number;
  /** Position in the heap of the lesser of the root's children; 0 where that is not known. */
  private runnerUp: number;
  /** The key of each source: keys[i][0, lengths[i]). */
  private readonly keys: Uint8Array[];
  private readonly lengths: number[];
  private isForward: boolean;
  /** Entries in a row that came from the root's source, and of each source, when it was the root last. */
  private stay: number;
  private readonly stays: number[];
  /** Copy of the current key while sources are re-seeked around it. */
  private pivot: Uint8Array;

  /** `sources`: newest first. Their order of age decides which entry of a key is seen. */
  constructor(sources: readonly Cursor[]) {
    this.sources = sources;
    // Arrays of the usual kind: a merge of two is made for each short range, and a typed one is slow to make.
    this.heap = sources.map(() => 0);
    this.heapSize = 0;
    this.runnerUp = 0;
    this.keys = sources.map(() => NO_BYTES);
    this.lengths = sources.map(() => 0);
    this.isForward = true;
    this.stay = 1;
    this.stays = sources.map(() => SHORTEST_RUN);
    this.pivot = NO_BYTES;
  }

  get isValid(): boolean {
    return this.heapSize > 0;
  }

  get key(): Uint8Array {
    return this.keys[this.heap[0]];
  }

  get keyLength(): number {
    return this.lengths[this.heap[0]];
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

  appendKey(output: ByteWriter): void {
    this.sources[this.heap[0]].appendKey(output);
  }

  value(): Uint8Array {
    return this.sources[this.heap[0]].value();
  }

  viewValue(view: ValueView): void {
    this.sources[this.heap[0]].viewValue(view);
  }

  viewStored(view: ValueView): ValuePlace | undefined {
    return this.sources[this.heap[0]].viewStored(view);
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
    if (this.isForward) this.advanceRoot();
    else this.turn(true);
  }

  prev(): void {
    if (this.isForward) this.turn(false);
    else this.advanceRoot();
  }

  /**
   * The root's source goes on alone up to the next key of another. To read one entry as a run costs
   * more than the entry, and of sources with like shares of the keys most runs are of one: so a
   * source is expected to go on as far as it did the last time, unless it has already.
   */
  readRun(
    run: EntryRun,
    count: number,
    bound: Uint8Array | undefined,
    boundLength: number,
    isBoundInclusive: boolean,
  ): number {
    const { heap, keys, lengths } = this;
    const root = heap[0];
    const source = this.sources[root];
    if (this.stay < SHORTEST_RUN && this.stays[root] < SHORTEST_RUN) return 0;
    if (source.readRun === undefined || this.isForward === run.isReverse) return 0;
    const next = this.nextRoot();
    let read: number;
    if (next === 0 || (bound !== undefined && this.isWithin(bound, boundLength, heap[next]))) {
      read = source.readRun(run, count, bound, boundLength, isBoundInclusive);
    } else {
      read = source.readRun(run, count, keys[heap[next]], lengths[heap[next]], false);
    }
    if (read > 0) {
      this.stay += read - 1;
      this.note(root);
    }
    return read;
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
    this.stay = 1;
    this.heapSize = 0;
    this.runnerUp = 0;
    for (let i = 0; i < this.sources.length; i++) {
      if (this.note(i)) this.heap[this.heapSize++] = i;
    }
    for (let i = (this.heapSize >> 1) - 1; i >= 0; i--) this.siftDown(i);
    this.skipHidden();
  }

  /** Keeps the key at which source `index` stands; false where it is off its end. */
  private note(index: number): boolean {
    const source = this.sources[index];
    if (!source.isValid) return false;
    this.keys[index] = source.key;
    this.lengths[index] = source.keyLength;
    return true;
  }

  private advanceRoot(): void {
    const { heap, sources } = this;
    const root = heap[0];
    if (this.isForward) sources[root].next();
    else sources[root].prev();
    if (this.note(root)) {
      const next = this.nextRoot();
      if (next === 0 || this.isBefore(root, heap[next])) {
        this.stay++;
        if (next !== 0 && this.isRootKey(next)) this.skipHidden();
        return;
      }
      heap[0] = heap[next];
      heap[next] = root;
      this.siftDown(next);
    } else {
      heap[0] = heap[--this.heapSize];
      if (this.heapSize > 0) this.siftDown(0);
    }
    this.stays[root] = this.stay;
    this.stay = 1;
    this.runnerUp = 0;
    this.skipHidden();
  }

  /** Whether a bound comes before the key of source `index`, in the direction of travel. */
  private isWithin(bound: Uint8Array, boundLength: number, index: number): boolean {
    const order = compareRanges(bound, 0, boundLength, this.keys[index], 0, this.lengths[index]);
    return this.isForward ? order < 0 : order > 0;
  }

  /** Position of the lesser of the root's children; 0 where it has none. */
  private nextRoot(): number {
    const { heap, heapSize } = this;
    if (this.runnerUp === 0 && heapSize > 1) {
      this.runnerUp = heapSize > 2 && this.isBefore(heap[2], heap[1]) ? 2 : 1;
    }
    return this.runnerUp;
  }

  /** Moves the source at heap position `i`, which is not the root, one step, and restores the heap. */
  private advance(i: number): void {
    const index = this.heap[i];
    if (this.isForward) this.sources[index].next();
    else this.sources[index].prev();
    if (!this.note(index)) this.heap[i] = this.heap[--this.heapSize];
    if (i < this.heapSize) this.siftDown(i);
    this.runnerUp = 0;
  }

  /** Moves on the older sources that stand at the root's key. They are found among its children. */
  private skipHidden(): void {
    while (this.heapSize > 1 && this.isRootKey(1)) this.advance(1);
    while (this.heapSize > 2 && this.isRootKey(2)) this.advance(2);
  }

  private isRootKey(i: number): boolean {
    const { heap, keys, lengths } = this;
    const root = heap[0];
    const other = heap[i];
    const len = lengths[root];
    if (lengths[other] !== len) return false;
    const a = keys[root];
    const b = keys[other];
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
    const order = this.order(x, y);
    if (order === 0) return x < y;
    return this.isForward === order < 0;
  }

  private order(x: number, y: number): number {
    const { keys, lengths } = this;
    return compareRanges(keys[x], 0, lengths[x], keys[y], 0, lengths[y]);
  }
}
