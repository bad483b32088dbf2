/**
 * Ranges of keys, as users write them, turned into where a walk starts and where it ends.
 */
import { compareRanges, prefixEnd } from "../bytes/compare.ts";
import { InvalidArgumentError } from "../errors.ts";
import { checkNames } from "../names.ts";
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
    if (typeof range !== "object" || range === null) {
      throw new InvalidArgumentError("a range must be an object");
    }
    checkNames(range, "range option", RANGE_OPTIONS);
    const { gt, gte, lt, lte, prefix, reverse = false, limit = Number.POSITIVE_INFINITY } = range;
    checkBound("gt", gt);
    checkBound("gte", gte);
    checkBound("lt", lt);
    checkBound("lte", lte);
    checkBound("prefix", prefix);
    if (typeof reverse !== "boolean") {
      throw new InvalidArgumentError("range.reverse must be true or false");
    }
    const isCount = limit === Number.POSITIVE_INFINITY || (Number.isInteger(limit) && limit >= 0);
    if (!isCount) {
      throw new InvalidArgumentError("range.limit must be an integer from 0 up, or Infinity");
    }
    const end = prefix && prefixEnd(prefix);
    this.isReverse = reverse;
    this.limit = limit;
    let lower = narrower(1, undefined, gte, true);
    lower = narrower(1, lower, gt, false);
    this.lower = narrower(1, lower, prefix, true);
    let upper = narrower(-1, undefined, lte, true);
    upper = narrower(-1, upper, lt, false);
    this.upper = narrower(-1, upper, end, false);
  }

  /** Whether `holds` can ever be false. */
  get hasEnd(): boolean {
    return (this.isReverse ? this.lower : this.upper) !== undefined;
  }

  /** Moves a cursor to the first key of the range, in its direction. */
  start(cursor: TreeCursor): void {
    const bound = this.isReverse ? this.upper : this.lower;
    if (bound === undefined) {
      if (this.isReverse) cursor.seekToLast();
      else cursor.seekToFirst();
      return;
    }
    this.startAt(cursor, bound.key, bound.isInclusive);
  }

  /** Moves a cursor to the first key beyond `last`, in the direction of the range. */
  startAfter(cursor: TreeCursor, last: Uint8Array): void {
    this.startAt(cursor, last, false);
  }

  private startAt(cursor: TreeCursor, key: Uint8Array, isInclusive: boolean): void {
    if (this.isReverse) cursor.seekForPrev(key, key.length);
    else cursor.seek(key, key.length);
    // Mostly one step or none; but a reader beside a split may be led to the new bucket from the old
    // one, which still had the keys of both, and one that goes back from the end of the map finds
    // what was appended meanwhile.
    const sign = this.isReverse ? -1 : 1;
    const least = isInclusive ? 0 : 1;
    while (cursor.isValid && sign * compareTo(cursor.key, cursor.keyLength, key) < least) {
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

const RANGE_OPTIONS: readonly string[] = ["gt", "gte", "lt", "lte", "prefix", "reverse", "limit"];

function checkBound(name: string, bound: unknown): void {
  if (bound !== undefined && !(bound instanceof Uint8Array)) {
    throw new InvalidArgumentError(`range.${name} must be a Uint8Array`);
  }
}

/** Of a bound and another at `key`, the one that leaves fewer keys; `sign` is -1 for upper bounds. */
function narrower(
  sign: 1 | -1,
  bound: Bound | undefined,
  key: Uint8Array | undefined,
  isInclusive: boolean,
): Bound | undefined {
  if (key === undefined) return bound;
  const order = bound === undefined ? 1 : sign * compareTo(key, key.length, bound.key);
  return order > 0 || (order === 0 && !isInclusive) ? { key, isInclusive } : bound;
}

function compareTo(key: Uint8Array, length: number, other: Uint8Array): number {
  return compareRanges(key, 0, length, other, 0, other.length);
}
