/**
 * Ranges of keys, as users write them, turned into where a walk starts and where it ends.
 */
import { compareRanges, prefixEnd } from "../bytes/compare.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { TreeCursor } from "./cursor.ts";

/** Which keys to visit, and in which order. Bounds combine: the narrowest counts. */
export interface KeyRange {
  /** Keys after this one. */
  readonly gt?: Uint8Array | undefined;
  /** Keys at or after this one. */
  readonly gte?: Uint8Array | undefined;
  /** Keys before this one. */
  readonly lt?: Uint8Array | undefined;
  /** Keys at or before this one. */
  readonly lte?: Uint8Array | undefined;
  /** Keys that begin with this. */
  readonly prefix?: Uint8Array | undefined;
  /** From the last to the first. Default false. */
  readonly reverse?: boolean | undefined;
  /** At most this many. Default all. */
  readonly limit?: number | undefined;
}

interface Bound {
  readonly key: Uint8Array;
  readonly isInclusive: boolean;
}

/** A range with one bound at each side, or none. */
export class ResolvedRange {
  readonly isReverse: boolean;
  readonly limit: number;
  private readonly lower: Bound | undefined;
  private readonly upper: Bound | undefined;

  constructor(range: KeyRange) {
    const { gt, gte, lt, lte, prefix, reverse = false, limit } = range;
    for (const [name, bound] of Object.entries({ gt, gte, lt, lte, prefix })) {
      if (bound !== undefined && !(bound instanceof Uint8Array)) {
        throw new InvalidArgumentError(`range.${name} must be a Uint8Array`);
      }
    }
    if (typeof reverse !== "boolean") {
      throw new InvalidArgumentError("range.reverse must be true or false");
    }
    if (limit !== undefined && !(limit >= 0)) {
      throw new InvalidArgumentError("range.limit must be a number from 0 up");
    }
    const end = prefix && prefixEnd(prefix);
    this.isReverse = reverse;
    this.limit = limit ?? Number.POSITIVE_INFINITY;
    this.lower = narrowest(1, [
      gte && { key: gte, isInclusive: true },
      gt && { key: gt, isInclusive: false },
      prefix && { key: prefix, isInclusive: true },
    ]);
    this.upper = narrowest(-1, [
      lte && { key: lte, isInclusive: true },
      lt && { key: lt, isInclusive: false },
      end && { key: end, isInclusive: false },
    ]);
  }

  /** Moves a cursor to the first key of the range, in its direction. */
  start(cursor: TreeCursor): void {
    const bound = this.isReverse ? this.upper : this.lower;
    if (bound === undefined) {
      if (this.isReverse) cursor.seekToLast();
      else cursor.seekToFirst();
      return;
    }
    const { key, isInclusive } = bound;
    if (!isInclusive) this.startAfter(cursor, key);
    else if (this.isReverse) cursor.seekForPrev(key, key.length);
    else cursor.seek(key, key.length);
  }

  /** Moves a cursor to the first key beyond `last`, in the direction of the range. */
  startAfter(cursor: TreeCursor, last: Uint8Array): void {
    if (this.isReverse) cursor.seekForPrev(last, last.length);
    else cursor.seek(last, last.length);
    // Mostly one step or none; but a reader beside a split may be led to the new bucket from the old
    // one, which still had the keys of both.
    const sign = this.isReverse ? -1 : 1;
    while (cursor.isValid && sign * compareTo(cursor.key, cursor.keyLength, last) <= 0) {
      this.step(cursor);
    }
  }

  /** Moves a cursor one key on, in the direction of the range. */
  step(cursor: TreeCursor): void {
    if (this.isReverse) cursor.prev();
    else cursor.next();
  }

  /** Whether key[0, length), reached from `start`, is still in the range. */
  holds(key: Uint8Array, length: number): boolean {
    const bound = this.isReverse ? this.lower : this.upper;
    if (bound === undefined) return true;
    const order = compareTo(key, length, bound.key);
    if (order === 0) return bound.isInclusive;
    return this.isReverse ? order > 0 : order < 0;
  }
}

/** The bound that leaves the fewest keys; `sign` is 1 for lower bounds, -1 for upper. */
function narrowest(sign: 1 | -1, bounds: (Bound | undefined)[]): Bound | undefined {
  let best: Bound | undefined;
  for (const bound of bounds) {
    if (bound === undefined) continue;
    const order = best && sign * compareTo(bound.key, bound.key.length, best.key);
    if (order === undefined || order > 0 || (order === 0 && !bound.isInclusive)) best = bound;
  }
  return best;
}

function compareTo(key: Uint8Array, length: number, other: Uint8Array): number {
  return compareRanges(key, 0, length, other, 0, other.length);
}
