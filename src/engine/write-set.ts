/**
 * WriteSet: the writes of a transaction that is under way, as the newest source of its reads.
 *
 * It answers as a memtable does (sources.ts, `NewestEntries`), so every read over memtables and runs
 * works over it as it is. A reference is the index of a write in `writes`, which only grows; the
 * newest write of each key is in a map, and in key order in an array that is made when a cursor is
 * asked for, or a range deleted, and never changed afterwards: a cursor keeps to the writes made
 * before it. A range that is deleted takes the writes before it out of both, so what is there is newer
 * than all of them.
 */
import { compareBytes, compareRanges } from "../bytes/compare.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { eachSpan, isCovered, type Span, type Spans } from "../cursor/spans.ts";
import type { ValueView } from "../cursor/value-view.ts";
import { ALWAYS, EntryKind, NEVER, type Period } from "../entry.ts";
import { RangeTombstones } from "../memtable/range-tombstones.ts";
import { NO_VERSION } from "../memtable/version-heap.ts";
import type { RecordBuilder } from "../wal/batch.ts";
import { toMapKey } from "./group-writes.ts";
import type { NewestEntries } from "./sources.ts";

interface Write {
  readonly key: Uint8Array;
  readonly kind: EntryKind;
  readonly value: Uint8Array;
  readonly expiry: number;
}

const NO_VALUE = new Uint8Array(0);

/** Reference of what stands for every key that a range tombstone deleted. */
const RANGE_DELETED = 0;

export class WriteSet implements NewestEntries {
  private readonly writes: Write[] = [
    { key: NO_VALUE, kind: EntryKind.tombstone, value: NO_VALUE, expiry: NEVER },
  ];
  /** Reference of the newest write of each key. */
  private readonly newest = new Map<string, number>();
  /** References of the first `sortedCount` writes, less those overwritten, in key order. */
  private sorted: readonly number[] = [];
  private sortedCount = 1;
  /** Numbered from 1 on. */
  private readonly ranges = new RangeTombstones();

  get isEmpty(): boolean {
    return this.newest.size === 0 && this.ranges.isEmpty;
  }

  get keyCount(): number {
    return this.newest.size;
  }

  /** Key and value are copied. `expiry`: NEVER for a put that does not expire. */
  put(key: Uint8Array, length: number, value: Uint8Array, expiry: number): void {
    this.add(key, length, EntryKind.put, new Uint8Array(value), expiry);
  }

  delete(key: Uint8Array, length: number): void {
    this.add(key, length, EntryKind.tombstone, NO_VALUE, NEVER);
  }

  deleteRange(span: Span): void {
    this.ranges.add(span.start, span.end, this.ranges.count + 1);
    const { writes } = this;
    const sorted = this.inOrder();
    const from = firstAtOrAfter(writes, sorted, span.start, span.start.length);
    const end =
      span.end === undefined
        ? sorted.length
        : firstAtOrAfter(writes, sorted, span.end, span.end.length);
    for (const ref of sorted.slice(from, end)) this.newest.delete(mapKeyOf(writes[ref]));
    this.sorted = sorted.toSpliced(from, end - from);
  }

  /** Whether key[0, length) is written, be it by a range tombstone. */
  has(key: Uint8Array, length: number): boolean {
    return this.find(key, length) !== NO_VERSION;
  }

  /** Adds what is deleted by ranges, and then the newest write of each key, to a commit record. */
  appendTo(record: RecordBuilder): void {
    const start = record.mark();
    const deleted = this.deletedRanges();
    if (deleted !== undefined) for (const span of eachSpan(deleted)) record.deleteRange(span);
    for (const ref of this.newest.values()) {
      const { key, kind, value, expiry } = this.writes[ref];
      if (kind === EntryKind.put) record.put(key, key.length, value, expiry);
      else record.delete(key, key.length);
    }
    record.checkBatch(start);
  }

  find(key: Uint8Array, length: number): number {
    const ref = this.newest.get(toMapKey(key, 0, length));
    if (ref !== undefined) return ref;
    const deleted = this.deletedRanges();
    return deleted !== undefined && isCovered(deleted, key, length) ? RANGE_DELETED : NO_VERSION;
  }

  deletedRanges(): Spans | undefined {
    return this.ranges.at(Number.POSITIVE_INFINITY);
  }

  kindOf(ref: number, time: number): EntryKind {
    return kindAt(this.writes[ref], time);
  }

  expiryOf(ref: number): number {
    return this.writes[ref].expiry;
  }

  expiryPeriodAt(time: number): Period {
    let { from, until } = ALWAYS;
    for (const { expiry } of this.writes) {
      if (expiry <= time) from = Math.max(from, expiry);
      else until = Math.min(until, expiry);
    }
    return { from, until };
  }

  viewValue(ref: number, view: ValueView): void {
    const { value } = this.writes[ref];
    view.set(value, 0, value.length);
  }

  valueOf(ref: number): Uint8Array {
    return this.writes[ref].value;
  }

  cursor(_seqno: number, time: number): Cursor {
    return new WriteSetCursor(this.writes, this.inOrder(), time);
  }

  private add(
    key: Uint8Array,
    length: number,
    kind: EntryKind,
    value: Uint8Array,
    expiry: number,
  ): void {
    const ref = this.writes.length;
    this.writes.push({ key: new Uint8Array(key.subarray(0, length)), kind, value, expiry });
    this.newest.set(toMapKey(key, 0, length), ref);
  }

  /** References of the newest writes in key order: an array of its own after every change. */
  private inOrder(): readonly number[] {
    const { writes, newest, sorted } = this;
    if (this.sortedCount === writes.length) return sorted;
    const added: number[] = [];
    for (let ref = this.sortedCount; ref < writes.length; ref++) {
      if (newest.get(mapKeyOf(writes[ref])) === ref) added.push(ref);
    }
    added.sort((a, b) => compareBytes(writes[a].key, writes[b].key));
    const merged: number[] = [];
    let taken = 0;
    for (const ref of added) {
      const { key } = writes[ref];
      const index = firstAtOrAfter(writes, sorted, key, key.length);
      while (taken < index) merged.push(sorted[taken++]);
      const isThere = taken < sorted.length && compareBytes(writes[sorted[taken]].key, key) === 0;
      if (isThere) taken++;
      merged.push(ref);
    }
    while (taken < sorted.length) merged.push(sorted[taken++]);
    this.sorted = merged;
    this.sortedCount = writes.length;
    return merged;
  }
}

function mapKeyOf({ key }: Write): string {
  return toMapKey(key, 0, key.length);
}

/** Index of the first of the sorted writes at or after key[0, length). */
function firstAtOrAfter(
  writes: readonly Write[],
  sorted: readonly number[],
  key: Uint8Array,
  length: number,
): number {
  let lo = 0;
  let hi = sorted.length;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    const other = writes[sorted[mid]].key;
    if (compareRanges(other, 0, other.length, key, 0, length) < 0) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** What a write is at a moment. */
function kindAt({ kind, expiry }: Write, time: number): EntryKind {
  return expiry <= time ? EntryKind.tombstone : kind;
}

class WriteSetCursor implements Cursor {
  private readonly writes: readonly Write[];
  private readonly sorted: readonly number[];
  private readonly time: number;
  /** In `sorted`; beyond either end when the cursor is. */
  private index: number;

  constructor(writes: readonly Write[], sorted: readonly number[], time: number) {
    this.writes = writes;
    this.sorted = sorted;
    this.time = time;
    this.index = -1;
  }

  get isValid(): boolean {
    return this.index >= 0 && this.index < this.sorted.length;
  }

  get key(): Uint8Array {
    return this.write.key;
  }

  get keyLength(): number {
    return this.write.key.length;
  }

  get kind(): EntryKind {
    return kindAt(this.write, this.time);
  }

  get expiry(): number {
    const { expiry } = this.write;
    return expiry <= this.time ? NEVER : expiry;
  }

  appendKey(output: ByteWriter): void {
    output.append(this.write.key);
  }

  value(): Uint8Array {
    return this.kind === EntryKind.put ? this.write.value : NO_VALUE;
  }

  viewValue(view: ValueView): void {
    const value = this.value();
    view.set(value, 0, value.length);
  }

  viewStored(view: ValueView): undefined {
    this.viewValue(view);
  }

  seekToFirst(): void {
    this.index = 0;
  }

  seekToLast(): void {
    this.index = this.sorted.length - 1;
  }

  seek(key: Uint8Array, length: number): void {
    this.index = firstAtOrAfter(this.writes, this.sorted, key, length);
  }

  seekForPrev(key: Uint8Array, length: number): void {
    this.seek(key, length);
    const isAt = this.isValid && compareRanges(this.key, 0, this.keyLength, key, 0, length) === 0;
    if (!isAt) this.index--;
  }

  next(): void {
    this.index++;
  }

  prev(): void {
    this.index--;
  }

  private get write(): Write {
    return this.writes[this.sorted[this.index]];
  }
}
