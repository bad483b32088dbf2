/**
 * Writes of a group that happen only on a condition, and what such a condition can see.
 *
 * Whether a conditional write happens is decided when its group's turn to be committed has come.
 * Everything before the group is in memtables by then and is read from there; what stands in the
 * group before the write is not, and is what `GroupWrites` has. So each write is decided by exactly
 * the writes before it in the log, and a group of conditional writes still shares one sync.
 *
 * A write whose condition does not hold is taken out of the record before the record is appended.
 */
import { compareBytes } from "../bytes/compare.ts";
import { contains, type Span } from "../cursor/spans.ts";
import { type Bounds, overlaps } from "../encoding/range.ts";
import { EntryKind } from "../entry.ts";
import type { OperationTarget, RecordBuilder, RecordMark } from "../wal/batch.ts";

/** Whether a write happens, by what is committed and what stands before it in its group. */
export type Condition = (earlier: GroupWrites) => boolean;

/** A write of a group, from one mark of its record to another. */
export class ConditionalWrite {
  readonly condition: Condition;
  readonly start: RecordMark;
  readonly end: RecordMark;
  /** Whether it happens, once that is decided. */
  isDone: boolean;
  /** What the condition threw: then the write does not happen. */
  failure: unknown;

  constructor(condition: Condition, start: RecordMark, end: RecordMark) {
    this.condition = condition;
    this.start = start;
    this.end = end;
    this.isDone = false;
    this.failure = undefined;
  }
}

/** Decides each write, in their order, and leaves in the record what happens. */
export function decide(record: RecordBuilder, writes: readonly ConditionalWrite[]): void {
  const earlier = new GroupWrites();
  let seen = record.startMark;
  for (const write of writes) {
    record.read(seen, write.start, earlier);
    try {
      write.isDone = write.condition(earlier);
    } catch (error) {
      write.failure = error;
    }
    seen = write.isDone ? write.start : write.end;
  }
  // From the last to the first, so that the marks of those to come still hold.
  for (const write of writes.toReversed()) {
    if (!write.isDone) record.remove(write.start, write.end);
  }
}

/** A key as a string of its bytes, to look it up by. */
export function toMapKey(key: Uint8Array, start: number, end: number): string {
  return latin1Slice.call(key, start, end);
}

/** The bytes that `toMapKey` made a string of. */
export function fromMapKey(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

const { latin1Slice } = Buffer.prototype as Buffer & {
  latin1Slice(this: Uint8Array, start: number, end: number): string;
};

/** A value, as a view of the record, and when it expires. */
interface GroupValue {
  readonly bytes: Uint8Array;
  readonly expiry: number;
  /** How many ranges were deleted before. */
  readonly deletedBefore: number;
}

export class GroupWrites implements OperationTarget {
  /** What each key is given last but for ranges that are deleted after it; undefined for a tombstone. */
  private readonly values = new Map<string, GroupValue | undefined>();
  private readonly deleted: Span[] = [];

  deleteRange(start: Uint8Array, end: Uint8Array | undefined): void {
    this.deleted.push({ start, end });
  }

  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    _seqno: number,
    kind: EntryKind,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
  ): void {
    const isPut = kind === EntryKind.put;
    this.values.set(
      toMapKey(key, keyStart, keyEnd),
      isPut
        ? {
            bytes: value.subarray(valueStart, valueEnd),
            expiry,
            deletedBefore: this.deleted.length,
          }
        : undefined,
    );
  }

  /** Whether the key is written, be it by a tombstone. */
  has(mapKey: string): boolean {
    return this.values.has(mapKey) || this.isDeleted(mapKey, 0);
  }

  /**
   * The value that the key is given, if `has` says that it is written; undefined if it is deleted, or
   * has expired at the moment `time`.
   */
  valueOf(mapKey: string, time: number): Uint8Array | undefined {
    const value = this.values.get(mapKey);
    if (value === undefined || value.expiry <= time) return undefined;
    return this.isDeleted(mapKey, value.deletedBefore) ? undefined : value.bytes;
  }

  /** Whether a key within the bounds is written. Walks all keys: a group has few. */
  hasWithin(bounds: Bounds): boolean {
    if (this.deleted.some((span) => overlaps(bounds, span))) return true;
    const { lower, upper } = bounds;
    for (const mapKey of this.values.keys()) {
      const key = fromMapKey(mapKey);
      const fromLower = lower === undefined ? 1 : compareBytes(key, lower.key);
      const toUpper = upper === undefined ? -1 : compareBytes(key, upper.key);
      const isWithin =
        (fromLower > 0 || (fromLower === 0 && lower?.isInclusive === true)) &&
        (toUpper < 0 || (toUpper === 0 && upper?.isInclusive === true));
      if (isWithin) return true;
    }
    return false;
  }

  /** Whether a range with the key in it is deleted after the first so many. */
  private isDeleted(mapKey: string, first: number): boolean {
    const { deleted } = this;
    if (deleted.length === first) return false;
    const key = fromMapKey(mapKey);
    for (let i = first; i < deleted.length; i++) {
      if (contains(deleted[i], key)) return true;
    }
    return false;
  }
}
