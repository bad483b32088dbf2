/**
 * DeadRange: a stretch of keys that is known to hold nothing but tombstones.
 *
 * A queue deletes at one end what it reads there: each look for its first entry would walk over every
 * tombstone that was left before it, until a compaction drops them (facebook/rocksdb#10300). So an
 * iteration that had to walk over many remembers where they began and ended, and the next one that
 * comes to that stretch goes to its end at once; what has been deleted there since, it adds.
 *
 * What is remembered is a fact about content, not about files: from the write `seqno` on, and from
 * the moment `time` on, by which something there may have expired, no key in [start, end) is there.
 * Flushes and compactions do not touch it; the first put into the stretch ends it. One stretch is
 * remembered, the last that was found.
 *
 * Invariants:
 * 1. It is learned only by a reader that sees all writes applied so far: one that came later could be
 *    a put within.
 * 2. Every write that is applied while a stretch is known is shown to it, before readers see the
 *    write.
 */
import { compareRanges } from "../bytes/compare.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { EntryKind } from "../entry.ts";
import type { OperationTarget } from "../wal/batch.ts";

export class DeadRange implements OperationTarget {
  /** Whether there is a stretch. */
  isKnown: boolean;
  private start: Uint8Array;
  /** The first key that is not in the stretch; undefined where it has no end. */
  private end: Uint8Array | undefined;
  /** Readers of this and later writes may rely on the stretch. */
  private seqno: number;
  /** As may readers of this and later moments. */
  private time: number;

  constructor() {
    this.isKnown = false;
    this.start = new Uint8Array(0);
    this.end = undefined;
    this.seqno = 0;
    this.time = 0;
  }

  /**
   * If the cursor, of a reader that sees writes up to `seqno` at the moment `time`, stands in the
   * stretch, moves it out, in the direction of travel, and returns true.
   */
  leave(cursor: Cursor, seqno: number, time: number, isReverse: boolean): boolean {
    if (!this.isKnown || seqno < this.seqno || time < this.time) return false;
    const { start, end } = this;
    if (!this.holds(cursor.key, 0, cursor.keyLength)) return false;
    if (!isReverse) {
      if (end === undefined) {
        cursor.seekToLast();
        cursor.next();
      } else {
        cursor.seek(end, end.length);
      }
    } else {
      cursor.seekForPrev(start, start.length);
      const isAtStart =
        cursor.isValid &&
        compareRanges(cursor.key, 0, cursor.keyLength, start, 0, start.length) === 0;
      if (isAtStart) cursor.prev();
    }
    return true;
  }

  /**
   * Remembers [start, end), with the stretch that is known if they meet. `seqno` is the newest write
   * applied, and the reader saw it, at the moment `time`.
   */
  learn(start: Uint8Array, end: Uint8Array | undefined, seqno: number, time: number): void {
    if (this.isKnown && this.meets(start, end)) {
      if (compare(this.start, start) > 0) this.start = start;
      if (this.end !== undefined && (end === undefined || compare(this.end, end) < 0)) {
        this.end = end;
      }
      this.time = Math.max(this.time, time);
    } else {
      this.time = time;
      this.start = start;
      this.end = end;
    }
    this.seqno = seqno;
    this.isKnown = true;
  }

  /** A write is applied: a put into the stretch ends it. */
  add(key: Uint8Array, keyStart: number, keyEnd: number, _seqno: number, kind: EntryKind): void {
    if (kind !== EntryKind.tombstone && this.isKnown && this.holds(key, keyStart, keyEnd)) {
      this.isKnown = false;
    }
  }

  /** Entries came that were not shown to it. */
  forget(): void {
    this.isKnown = false;
  }

  /** A range was deleted: what is known to be deleted still is. */
  deleteRange(): void {}

  private holds(key: Uint8Array, keyStart: number, keyEnd: number): boolean {
    const { start, end } = this;
    if (compareRanges(key, keyStart, keyEnd, start, 0, start.length) < 0) return false;
    return end === undefined || compareRanges(key, keyStart, keyEnd, end, 0, end.length) < 0;
  }

  /** Whether [start, end) and the stretch overlap or touch. */
  private meets(start: Uint8Array, end: Uint8Array | undefined): boolean {
    return (
      (this.end === undefined || compare(start, this.end) <= 0) &&
      (end === undefined || compare(this.start, end) <= 0)
    );
  }
}

function compare(a: Uint8Array, b: Uint8Array): number {
  return compareRanges(a, 0, a.length, b, 0, b.length);
}
