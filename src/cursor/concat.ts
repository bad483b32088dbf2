/**
 * ConcatCursor: disjoint sources, already in key order, as one cursor. A run of segments is one.
 *
 * It has a cursor in at most one source at a time, and opens it when the position first gets there,
 * so a run of a thousand segments costs a scan no more than a run of one.
 */
import { compareRanges } from "../bytes/compare.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import type { EntryKind, ValuePlace } from "../entry.ts";
import type { Cursor } from "./cursor.ts";
import type { EntryRun, RunBound } from "./entry-run.ts";
import type { ValueView } from "./value-view.ts";

/** One source: the range of its keys, and a cursor over them. */
export interface ConcatPart {
  readonly firstKey: Uint8Array;
  readonly lastKey: Uint8Array;
  /** At a moment: what has expired by then is a tombstone. */
  cursor(time: number): Cursor;
}

export class ConcatCursor implements Cursor {
  private readonly parts: readonly ConcatPart[];
  private readonly time: number;
  private partIndex: number;
  private current: Cursor | undefined;

  /** `parts`: none empty; lastKey of each sorts before firstKey of the next. */
  constructor(parts: readonly ConcatPart[], time: number) {
    this.parts = parts;
    this.time = time;
    this.partIndex = -1;
    this.current = undefined;
  }

  get isValid(): boolean {
    return this.current?.isValid ?? false;
  }

  get key(): Uint8Array {
    return this.position().key;
  }

  get keyLength(): number {
    return this.position().keyLength;
  }

  get kind(): EntryKind {
    return this.position().kind;
  }

  get expiry(): number {
    return this.position().expiry;
  }

  appendKey(output: ByteWriter): void {
    this.position().appendKey(output);
  }

  value(): Uint8Array {
    return this.position().value();
  }

  viewValue(view: ValueView): void {
    this.position().viewValue(view);
  }

  viewStored(view: ValueView): ValuePlace | undefined {
    return this.position().viewStored(view);
  }

  seekToFirst(): void {
    this.enter(0)?.seekToFirst();
  }

  seekToLast(): void {
    this.enter(this.parts.length - 1)?.seekToLast();
  }

  seek(key: Uint8Array, length: number): void {
    this.enter(firstPartEndingAt(this.parts, key, length))?.seek(key, length);
  }

  seekForPrev(key: Uint8Array, length: number): void {
    // The part that ends at or after the key holds the answer unless it begins after the key.
    const parts = this.parts;
    let index = firstPartEndingAt(parts, key, length);
    if (index === parts.length) {
      index--;
    } else {
      const firstKey = parts[index].firstKey;
      if (compareRanges(firstKey, 0, firstKey.length, key, 0, length) > 0) index--;
    }
    this.enter(index)?.seekForPrev(key, length);
  }

  next(): void {
    const current = this.position();
    current.next();
    if (!current.isValid) this.enter(this.partIndex + 1)?.seekToFirst();
  }

  prev(): void {
    const current = this.position();
    current.prev();
    if (!current.isValid) this.enter(this.partIndex - 1)?.seekToLast();
  }

  readRun(run: EntryRun, count: number, bound: RunBound | undefined): number {
    return this.position().readRun?.(run, count, bound) ?? 0;
  }

  peek(run: EntryRun, count: number, bound: RunBound | undefined): number {
    return this.position().peek?.(run, count, bound) ?? 0;
  }

  appendValues(run: EntryRun, skip: number, count: number): number {
    return this.position().appendValues?.(run, skip, count) ?? 0;
  }

  moveAhead(run: EntryRun, slot: number, skip: number): void {
    this.position().moveAhead?.(run, slot, skip);
  }

  close(): void {
    this.enter(-1);
  }

  private position(): Cursor {
    if (this.current === undefined) throw new RangeError("the cursor is not at an entry");
    return this.current;
  }

  /** Makes `index` the current part; undefined, and off the end, where there is none. */
  private enter(index: number): Cursor | undefined {
    if (index !== this.partIndex || this.current === undefined) {
      this.current?.close?.();
      // To open the next may throw, and then a closed one, which may be another's by now, must not stay.
      this.current = undefined;
      this.partIndex = index;
      this.current =
        index >= 0 && index < this.parts.length ? this.parts[index].cursor(this.time) : undefined;
    }
    return this.current;
  }
}

/** Index of the first part whose last key is at or after key[0, length); parts.length if none is. */
export function firstPartEndingAt(
  parts: readonly { readonly lastKey: Uint8Array }[],
  key: Uint8Array,
  length: number,
): number {
  let lo = 0;
  let hi = parts.length;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    const lastKey = parts[mid].lastKey;
    if (compareRanges(lastKey, 0, lastKey.length, key, 0, length) < 0) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}
