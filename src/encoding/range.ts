/**
 * Ranges of keys: what users write, checked, and what the engine walks.
 *
 * A user's range has gt or gte, lt or lte, and a prefix; they are intersected. The engine's bounds
 * are bytes with a flag each, since "after k" has no key of its own when k is as long as a key can
 * be.
 */
import { compareBytes, compareRanges, prefixEnd } from "../bytes/compare.ts";
import type { Cursor } from "../cursor/cursor.ts";
import type { Span } from "../cursor/spans.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import { InvalidArgumentError } from "../errors.ts";
import { checkNames } from "../names.ts";
import { describe, type KeyCodec } from "./key-codec.ts";

/** A range of keys. Every field is optional; all that are given must hold. */
export interface KeyRange<K> {
  /** Keys after this one. */
  readonly gt?: K | undefined;
  /** Keys at or after this one. */
  readonly gte?: K | undefined;
  /** Keys before this one. */
  readonly lt?: K | undefined;
  /** Keys at or before this one. */
  readonly lte?: K | undefined;
  /** Keys that begin with this one's bytes. */
  readonly prefix?: K | undefined;
}

/** A range of keys, and how to go through it. */
export interface IterationRange<K> extends KeyRange<K> {
  /** From the last key to the first. Default false. */
  readonly reverse?: boolean | undefined;
  /** At most this many entries; -1 or Infinity for all. Default all. */
  readonly limit?: number | undefined;
}

/** One end of a range: a key, and whether the key itself is within. */
export interface Bound {
  readonly key: Uint8Array;
  readonly isInclusive: boolean;
}

/** A checked range in bytes; an end that is undefined is open. */
export interface Bounds {
  readonly lower: Bound | undefined;
  readonly upper: Bound | undefined;
}

/** The range of all keys. */
export const EVERYTHING: Bounds = { lower: undefined, upper: undefined };

const KEY_RANGE_FIELDS = ["gt", "gte", "lt", "lte", "prefix"];
const ITERATION_FIELDS = [...KEY_RANGE_FIELDS, "reverse", "limit"];

/** Bounds of a range. Throws InvalidArgumentError for a field that is unknown or of the wrong type. */
export function toBounds<K>(
  range: KeyRange<K> | undefined,
  codec: KeyCodec<K>,
  accepted: readonly string[] = KEY_RANGE_FIELDS,
): Bounds {
  if (range === undefined) return EVERYTHING;
  checkFields(range, accepted);
  let lower: Bound | undefined;
  let upper: Bound | undefined;
  const { gte, gt, lte, lt } = range;
  if (gte !== undefined) lower = { key: encoded(gte, codec), isInclusive: true };
  if (gt !== undefined) {
    lower = greaterLower(lower, { key: encoded(gt, codec), isInclusive: false });
  }
  if (lte !== undefined) upper = { key: encoded(lte, codec), isInclusive: true };
  if (lt !== undefined) {
    upper = lesserUpper(upper, { key: encoded(lt, codec), isInclusive: false });
  }
  if (range.prefix !== undefined) {
    const prefix = encoded(range.prefix, codec);
    lower = greaterLower(lower, { key: prefix, isInclusive: true });
    const end = prefixEnd(prefix);
    if (end !== undefined) upper = lesserUpper(upper, { key: end, isInclusive: false });
  }
  return { lower, upper };
}

/** The bytes of a key, as an array of its own. */
function encoded<K>(key: K, codec: KeyCodec<K>): Uint8Array {
  // The length first: encoding may replace the buffer.
  const length = codec.encode(key);
  return codec.buffer.slice(0, length);
}

/**
 * The keys that a deletion of a range covers; undefined where it covers none. `accepted`: fields that
 * may be there besides the bounds.
 *
 * Stricter than a range to read: it must be given, and a bound that is there must have a value, since
 * one that was meant to be there and is not would delete far more than was asked for. For the same
 * reason an object without bounds must be a plain one.
 */
export function toDeletedSpan<K>(
  range: KeyRange<K>,
  codec: KeyCodec<K>,
  accepted: readonly string[] = [],
): Span | undefined {
  checkFields(range, [...KEY_RANGE_FIELDS, ...accepted]);
  checkIsRange(range);
  const bounds: KeyRange<K> = range;
  for (const field of Object.keys(bounds)) {
    if (Reflect.get(bounds, field) === undefined) {
      throw new InvalidArgumentError(
        `${field} is undefined: leave it out to delete without such a bound`,
      );
    }
  }
  const { lower, upper } = toBounds(range, codec, [...KEY_RANGE_FIELDS, ...accepted]);
  const start = lower === undefined ? new Uint8Array(0) : firstKeyWithin(lower);
  if (start === undefined) return undefined;
  if (upper === undefined) return { start, end: undefined };
  const end = upper.isInclusive ? nextKey(upper.key) : upper.key;
  return end !== undefined && compareBytes(start, end) >= 0 ? undefined : { start, end };
}

/** The least key that a lower bound lets through, if there is one. */
function firstKeyWithin({ key, isInclusive }: Bound): Uint8Array | undefined {
  return isInclusive ? key : nextKey(key);
}

/** The next key in order; undefined after the last. */
function nextKey(key: Uint8Array): Uint8Array | undefined {
  // Behind a key as long as keys may be comes the next one that does not begin with it.
  if (key.length === MAX_KEY_BYTES) return prefixEnd(key);
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

/** How many entries an iteration may yield, and in which direction, beside its bounds. */
export interface Iteration {
  readonly bounds: Bounds;
  readonly isReverse: boolean;
  readonly limit: number;
}

export function toIteration<K>(
  range: IterationRange<K> | undefined,
  codec: KeyCodec<K>,
): Iteration {
  const bounds = toBounds(range, codec, ITERATION_FIELDS);
  const reverse = range?.reverse ?? false;
  if (typeof reverse !== "boolean") {
    throw new InvalidArgumentError(`reverse must be a boolean, not ${describe(reverse)}`);
  }
  const limit = range?.limit ?? -1;
  const isCount = limit === Number.POSITIVE_INFINITY || (Number.isInteger(limit) && limit >= -1);
  if (!isCount) {
    throw new InvalidArgumentError(
      `limit must be a whole number from 0, or -1 or Infinity for all, not ${describe(limit)}`,
    );
  }
  return { bounds, isReverse: reverse, limit: limit === -1 ? Number.POSITIVE_INFINITY : limit };
}

/** Whether a span, which is not empty, and bounds have keys in common; it may take no key for some. */
export function overlaps({ lower, upper }: Bounds, { start, end }: Span): boolean {
  if (lower !== undefined && end !== undefined && compareBytes(lower.key, end) >= 0) return false;
  if (upper === undefined) return true;
  const order = compareBytes(start, upper.key);
  return order < 0 || (order === 0 && upper.isInclusive);
}

/** Whether no key can be within. */
export function isEmptyRange({ lower, upper }: Bounds): boolean {
  if (lower === undefined || upper === undefined) return false;
  const order = compareBytes(lower.key, upper.key);
  return order > 0 || (order === 0 && !(lower.isInclusive && upper.isInclusive));
}

/** Moves to the first entry at or after the lower bound. */
export function seekToLower(cursor: Cursor, lower: Bound | undefined): void {
  if (lower === undefined) {
    cursor.seekToFirst();
    return;
  }
  cursor.seek(lower.key, lower.key.length);
  if (!lower.isInclusive && isAtKey(cursor, lower.key)) cursor.next();
}

/** Moves to the last entry at or before the upper bound. */
export function seekToUpper(cursor: Cursor, upper: Bound | undefined): void {
  if (upper === undefined) {
    cursor.seekToLast();
    return;
  }
  cursor.seekForPrev(upper.key, upper.key.length);
  if (!upper.isInclusive && isAtKey(cursor, upper.key)) cursor.prev();
}

/** Whether a valid cursor stands within the upper bound. */
export function isWithinUpper(cursor: Cursor, upper: Bound | undefined): boolean {
  if (upper === undefined) return true;
  const order = compareKey(cursor, upper.key);
  return order < 0 || (order === 0 && upper.isInclusive);
}

/** Whether a valid cursor stands within the lower bound. */
export function isWithinLower(cursor: Cursor, lower: Bound | undefined): boolean {
  if (lower === undefined) return true;
  const order = compareKey(cursor, lower.key);
  return order > 0 || (order === 0 && lower.isInclusive);
}

function isAtKey(cursor: Cursor, key: Uint8Array): boolean {
  return cursor.isValid && compareKey(cursor, key) === 0;
}

function compareKey(cursor: Cursor, key: Uint8Array): number {
  return compareRanges(cursor.key, 0, cursor.keyLength, key, 0, key.length);
}

function greaterLower(a: Bound | undefined, b: Bound): Bound {
  if (a === undefined) return b;
  const order = compareBytes(a.key, b.key);
  if (order === 0) return a.isInclusive ? b : a;
  return order > 0 ? a : b;
}

function lesserUpper(a: Bound | undefined, b: Bound): Bound {
  if (a === undefined) return b;
  const order = compareBytes(a.key, b.key);
  if (order === 0) return a.isInclusive ? b : a;
  return order < 0 ? a : b;
}

/** Throws for an empty array, a promise that was not awaited and such: they would mean everything. */
function checkIsRange(range: object): void {
  const prototype: unknown = Object.getPrototypeOf(range);
  const isPlain = prototype === null || prototype === Object.prototype;
  if (isPlain || KEY_RANGE_FIELDS.some((field) => Reflect.get(range, field) !== undefined)) return;
  throw new InvalidArgumentError(`a range must be a plain object, not ${describe(range)}`);
}

function checkFields(range: unknown, accepted: readonly string[]): void {
  if (typeof range !== "object" || range === null) {
    throw new InvalidArgumentError(`a range must be an object, not ${describe(range)}`);
  }
  checkNames(range, "range option", accepted);
}
