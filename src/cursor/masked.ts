/**
 * MaskedCursor: a source without the entries that range tombstones of newer sources cover.
 *
 * Where the source comes to stand in a covered stretch it seeks to the stretch's other side, so what
 * is covered costs one seek however many entries it holds. Between covered stretches a move costs one
 * comparison more than the source's own: the cursor remembers the gap that it is in. Runs end with
 * the gap.
 */
import { compareRanges } from "../bytes/compare.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import type { EntryKind, ValuePlace } from "../entry.ts";
import type { Cursor } from "./cursor.ts";
import type { EntryRun, RunBound } from "./entry-run.ts";
import type { Mask } from "./spans.ts";
import type { ValueView } from "./value-view.ts";

export class MaskedCursor implements Cursor {
  private readonly source: Cursor;
  private readonly mask: Mask;
  /** Whether the gap is that of the current key. Its ends are covered; an open one is undefined. */
  private isGapKnown: boolean;
  private gapStart: Uint8Array | undefined;
  private gapEnd: Uint8Array | undefined;
  /** Whether all that is left in the direction of travel is covered. */
  private isOff: boolean;

  constructor(source: Cursor, mask: Mask) {
    this.source = source;
    this.mask = mask;
    this.isGapKnown = false;
    this.gapStart = undefined;
    this.gapEnd = undefined;
    this.isOff = true;
  }

  get isValid(): boolean {
    return !this.isOff && this.source.isValid;
  }

  get key(): Uint8Array {
    return this.source.key;
  }

  get keyLength(): number {
    return this.source.keyLength;
  }

  get kind(): EntryKind {
    return this.source.kind;
  }

  get expiry(): number {
    return this.source.expiry;
  }

  appendKey(output: ByteWriter): void {
    this.source.appendKey(output);
  }

  value(): Uint8Array {
    return this.source.value();
  }

  viewValue(view: ValueView): void {
    this.source.viewValue(view);
  }

  viewStored(view: ValueView): ValuePlace | undefined {
    return this.source.viewStored(view);
  }

  seekToFirst(): void {
    this.source.seekToFirst();
    this.settle(true);
  }

  seekToLast(): void {
    this.source.seekToLast();
    this.settle(false);
  }

  seek(key: Uint8Array, length: number): void {
    this.source.seek(key, length);
    this.settle(true);
  }

  seekForPrev(key: Uint8Array, length: number): void {
    this.source.seekForPrev(key, length);
    this.settle(false);
  }

  next(): void {
    const { source } = this;
    source.next();
    if (!source.isValid || (this.isGapKnown && this.isBeforeGapEnd())) return;
    this.settle(true);
  }

  prev(): void {
    const { source } = this;
    source.prev();
    if (!source.isValid || (this.isGapKnown && this.isAfterGapStart())) return;
    this.settle(false);
  }

  readRun(run: EntryRun, count: number, bound: RunBound | undefined): number {
    if (!this.isGapKnown) return 0;
    return this.source.readRun?.(run, count, this.nearerBound(run, bound)) ?? 0;
  }

  peek(run: EntryRun, count: number, bound: RunBound | undefined): number {
    if (!this.isGapKnown) return 0;
    return this.source.peek?.(run, count, this.nearerBound(run, bound)) ?? 0;
  }

  appendValues(run: EntryRun, skip: number, count: number): number {
    return this.source.appendValues?.(run, skip, count) ?? 0;
  }

  moveAhead(run: EntryRun, slot: number, skip: number): void {
    this.source.moveAhead?.(run, slot, skip);
  }

  close(): void {
    this.source.close?.();
  }

  /**
   * The end of the gap in a run's direction, if that is before the bound: forward the first key that
   * is no longer in it, backward the last that is.
   */
  private nearerBound(run: EntryRun, bound: RunBound | undefined): RunBound | undefined {
    const { isReverse } = run;
    const end = isReverse ? this.gapStart : this.gapEnd;
    if (end === undefined) return bound;
    if (bound !== undefined) {
      const order = compareRanges(end, 0, end.length, bound.key, 0, bound.length);
      if (isReverse ? order <= 0 : order > 0) return bound;
    }
    return { key: end, length: end.length, isInclusive: isReverse };
  }

  private isBeforeGapEnd(): boolean {
    const { source, gapEnd } = this;
    if (gapEnd === undefined) return true;
    return compareRanges(source.key, 0, source.keyLength, gapEnd, 0, gapEnd.length) < 0;
  }

  private isAfterGapStart(): boolean {
    const { source, gapStart } = this;
    if (gapStart === undefined) return true;
    return compareRanges(source.key, 0, source.keyLength, gapStart, 0, gapStart.length) >= 0;
  }

  /** Moves on, from where the source stands, to an entry that is not covered, and learns its gap. */
  private settle(isForward: boolean): void {
    const { source, mask } = this;
    this.isGapKnown = false;
    this.isOff = false;
    while (source.isValid) {
      const covered = mask.covering(source.key, source.keyLength);
      if (covered === undefined) {
        this.isGapKnown = true;
        this.gapStart = mask.endBefore(source.key, source.keyLength);
        this.gapEnd = mask.after(source.key, source.keyLength)?.start;
        return;
      }
      if (!isForward) {
        moveBefore(source, covered.start);
      } else if (covered.end !== undefined) {
        source.seek(covered.end, covered.end.length);
      } else {
        this.isOff = true;
        return;
      }
    }
  }
}

/** Moves to the last entry before a key. */
function moveBefore(cursor: Cursor, key: Uint8Array): void {
  cursor.seekForPrev(key, key.length);
  const isAtKey =
    cursor.isValid && compareRanges(cursor.key, 0, cursor.keyLength, key, 0, key.length) === 0;
  if (isAtKey) cursor.prev();
}
