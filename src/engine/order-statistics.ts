/**
 * Order statistics: how many keys there are in a range or before a key, and which key is the i-th.
 *
 * A `KeyOrder` answers for some sources taken together. The bottom one is the oldest run, nearly all
 * of the data, which answers from the ordinals of its segments in O(key length). What is newer lies
 * on top as a correction (`CorrectedOrder`): each newer entry changes the count of what is below it
 * by +1 (a key that was not there), -1 (a tombstone of one that was) or 0 (an overwritten value), so
 *
 *   rank(place) = rank of what is below (place) + sum of the changes of newer entries before it
 *
 * is exact without walking what is below. There are two corrections: the newer runs over the oldest
 * one, which lives as long as the Version, and the memtables over all runs, which is made anew for
 * each moment. Nothing is spent on them before the first question is asked.
 *
 * Between what is below and a correction stand the range tombstones of the latter, if there are any:
 * a `MaskedOrder` takes off the keys that they hide, by the ranks of their ends, once for each
 * stretch and however many keys it has.
 *
 * A range is answered by walking the newer entries within it, at first. Once as many were walked as
 * there are, a correction keeps the change of each entry, a byte, and checkpoints: every so many
 * entries the key, and the sum of the changes before it. From then on a question costs a binary
 * search and a walk from one checkpoint towards the next. (To rent until the rent paid is the price,
 * and then to buy, costs at most twice what the best plan in hindsight does: Karlin, Manasse,
 * Rudolph, Sleator, "Competitive Snoopy Caching", Algorithmica 3, 1988.)
 *
 * The i-th key is found from the rank, which grows from key to key: a binary search among the
 * checkpoints, then among the newer entries up to the next one, ends between two neighbouring newer
 * entries, where the answer is a key of what is below, at an index less the changes so far.
 *
 * What has expired counts as deleted: in the oldest run its ordinals are left out like those of
 * tombstones (segment/expiry-timeline.ts). So an order is true for a period, from the last expiry
 * before the moment it was made for to the next one; after that it is made anew.
 *
 * Invariant: nothing that an order was made of changes, as far as its sequence number sees.
 */
import { assert } from "../assert.ts";
import { compareBytes, compareRanges } from "../bytes/compare.ts";
import { firstPartEndingAt } from "../cursor/concat.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { eachSpan, endsAfter, Mask, type Span, type Spans, unionOf } from "../cursor/spans.ts";
import { type Bounds, isEmptyRange } from "../encoding/range.ts";
import { ALWAYS, EntryKind, type Period } from "../entry.ts";
import { total } from "../manifest/version.ts";
import { isWithin } from "../segment/expiries.ts";
import { KeyBuffer } from "../segment/key-buffer.ts";
import type { Segment } from "../segment/reader.ts";
import { hasKey, mergedCursor, type Runs } from "./reads.ts";
import { type OpenVersion, type ReadSources, segmentFor } from "./sources.ts";

/** A place between keys: just before a key, or just after it. */
export interface Place {
  readonly key: Uint8Array;
  readonly isAfter: boolean;
}

export interface KeyOrder {
  /** How many keys there are. */
  count(): number;
  /** Keys from one place to another, which is not before it; undefined is the open end. */
  countBetween(from: Place | undefined, to: Place | undefined): number;
  /** A copy of the key that `index` others sort before; `index` is below `count()`. */
  keyAt(index: number): Uint8Array;
}

/** An order as of a moment. */
export interface TimedOrder {
  readonly order: KeyOrder;
  /** Whether it is true at another moment: nothing expires between the two. */
  isTrueAt(time: number): boolean;
}

/** Orders of the runs of a Version, made when first asked for. */
const ordersOfRuns = new WeakMap<OpenVersion, TimedOrder>();

/** The keys that the moment sees, in their order. */
export function orderOver(
  { memtables, version }: ReadSources,
  seqno: number,
  time: number,
): TimedOrder {
  let runs = ordersOfRuns.get(version);
  if (runs === undefined || !runs.isTrueAt(time)) {
    runs = orderOfRuns(version, time);
    ordersOfRuns.set(version, runs);
  }
  const hiding = memtables.map((memtable) => memtable.deletedRanges(seqno));
  const { order, mask } = maskOrder(runs.order, hiding);
  const entryCount = total(memtables, "keyCount");
  const { isTrueAt } = runs;
  if (entryCount === 0) return { order, isTrueAt };
  const below = { memtables: [], version };
  const cursor = mergedCursor(memtables, NO_RUNS, seqno, time);
  const corrected = new CorrectedOrder(
    order,
    cursor,
    entryCount,
    (key, length) =>
      mask?.covering(key, length) === undefined && hasKey(below, seqno, time, key, length),
  );
  // It costs a look at each entry, and many orders are asked once: after it there is a write.
  let period: Period | undefined;
  return {
    order: corrected,
    isTrueAt: (other) => {
      if (other === time) return true;
      if (!isTrueAt(other)) return false;
      period ??= overlapOf(memtables.map((memtable) => memtable.expiryPeriodAt(time)));
      return isWithin(period, other);
    },
  };
}

function overlapOf(periods: readonly Period[]): Period {
  let { from, until } = ALWAYS;
  for (const period of periods) {
    from = Math.max(from, period.from);
    until = Math.min(until, period.until);
  }
  return { from, until };
}

const NO_RUNS: Runs = { runs: [], rangeTombstones: [] };

/** What is left of an order, and what hides the rest of it, if anything does. */
function maskOrder(
  order: KeyOrder,
  hiding: readonly (Spans | undefined)[],
): { readonly order: KeyOrder; readonly mask: Mask | undefined } {
  const sets = hiding.filter((spans) => spans !== undefined);
  if (sets.length === 0) return { order, mask: undefined };
  const stretches = unionOf(sets.flatMap((spans) => [...eachSpan(spans)]));
  return { order: new MaskedOrder(order, stretches), mask: new Mask(sets) };
}

/** Exact number of keys within the bounds. */
export function countWithin(order: KeyOrder, bounds: Bounds): number {
  if (isEmptyRange(bounds)) return 0;
  const { lower, upper } = bounds;
  return order.countBetween(
    lower === undefined ? undefined : { key: lower.key, isAfter: !lower.isInclusive },
    upper === undefined ? undefined : { key: upper.key, isAfter: upper.isInclusive },
  );
}

/** Exact number of keys that sort before the key, which need not be there. */
export function rankOf(order: KeyOrder, key: Uint8Array): number {
  return order.countBetween(undefined, { key, isAfter: false });
}

/**
 * `size` different indexes below `count`, every set of them equally likely, ascending; all of them
 * if there are no more. Floyd's algorithm: Bentley, "Programming Pearls: A Sample of Brilliance",
 * CACM 30 (9), 1987. `random` gives numbers from 0 up to, but not including, 1.
 */
export function sampleIndexes(count: number, size: number, random: () => number): number[] {
  const chosen = new Set<number>();
  for (let i = Math.max(0, count - size); i < count; i++) {
    const candidate = Math.floor(random() * (i + 1));
    chosen.add(chosen.has(candidate) ? i : candidate);
  }
  return [...chosen].sort((a, b) => a - b);
}

function orderOfRuns(version: OpenVersion, time: number): TimedOrder {
  const { runs, rangeTombstones } = version;
  const oldest = runs.at(-1) ?? [];
  const newer = { runs: runs.slice(0, -1), rangeTombstones: rangeTombstones.slice(0, -1) };
  const { order, mask } = maskOrder(new RunOrder(oldest, time), newer.rangeTombstones);
  const period = overlapOf(runs.flat().map((segment) => segment.expiryPeriodAt(time)));
  const isTrueAt = (other: number): boolean => isWithin(period, other);
  const entryCount = newer.runs.flat().reduce((sum, { meta }) => sum + meta.keyCount, 0);
  if (entryCount === 0) return { order, isTrueAt };
  const corrected = new CorrectedOrder(
    order,
    mergedCursor([], newer, 0, time),
    entryCount,
    (key, length) =>
      mask?.covering(key, length) === undefined && isPutIn(oldest, time, key, length),
  );
  return { order: corrected, isTrueAt };
}

function isPutIn(run: readonly Segment[], time: number, key: Uint8Array, length: number): boolean {
  const segment = segmentFor(run, key, length);
  if (segment === undefined) return false;
  const ordinal = segment.find(key, length);
  return ordinal >= 0 && segment.kindAt(ordinal, time) === EntryKind.put;
}

/** One run at a moment, by the ordinals of its segments. */
class RunOrder implements KeyOrder {
  private readonly run: readonly Segment[];
  /** Puts in the segments before each; one more than there are segments. */
  private readonly putsBefore: readonly number[];
  private readonly time: number;
  private readonly buffer: KeyBuffer;

  constructor(run: readonly Segment[], time: number) {
    this.run = run;
    this.time = time;
    const putsBefore = [0];
    for (const [i, { meta }] of run.entries()) {
      putsBefore.push(putsBefore[i] + meta.keyCount - this.hiddenBefore(i, meta.keyCount));
    }
    this.putsBefore = putsBefore;
    this.buffer = new KeyBuffer();
  }

  count(): number {
    return this.putsBefore[this.run.length];
  }

  countBetween(from: Place | undefined, to: Place | undefined): number {
    const start = from === undefined ? 0 : this.rank(from);
    return (to === undefined ? this.count() : this.rank(to)) - start;
  }

  keyAt(index: number): Uint8Array {
    const { putsBefore, buffer } = this;
    const segmentIndex = lastIndexWhere(this.run.length, (i) => putsBefore[i] <= index);
    assert(segmentIndex >= 0, "the index is that of a key");
    const segment = this.run[segmentIndex];
    const putIndex = index - putsBefore[segmentIndex];
    // Of the ordinals with that many puts before them, hidden ones first, the last is the put.
    const ordinal = lastIndexWhere(
      segment.meta.keyCount,
      (i) => i - this.hiddenBefore(segmentIndex, i) <= putIndex,
    );
    segment.keyAt(ordinal, buffer);
    return buffer.bytes.slice(0, buffer.length);
  }

  private rank({ key, isAfter }: Place): number {
    const { run, putsBefore } = this;
    const index = firstPartEndingAt(run, key, key.length);
    if (index === run.length) return putsBefore[index];
    const segment = run[index];
    if (compareBytes(segment.firstKey, key) > 0) return putsBefore[index];
    let ordinal = segment.rank(key, key.length);
    if (isAfter && segment.find(key, key.length) >= 0) ordinal++;
    return putsBefore[index] + ordinal - this.hiddenBefore(index, ordinal);
  }

  /** Tombstones, and what has expired, among the first ordinals of a segment. */
  private hiddenBefore(segmentIndex: number, ordinal: number): number {
    const segment = this.run[segmentIndex];
    return segment.tombstonesBefore(ordinal) + segment.countExpiredBefore(ordinal, this.time);
  }
}

/** An order without the keys in some stretches. */
class MaskedOrder implements KeyOrder {
  private readonly older: KeyOrder;
  /** Disjoint, in order. */
  private readonly stretches: readonly Span[];
  /** Keys of the older order in the stretches before each; one more than there are stretches. */
  private hiddenBefore: readonly number[] | undefined;

  constructor(older: KeyOrder, stretches: readonly Span[]) {
    this.older = older;
    this.stretches = stretches;
    this.hiddenBefore = undefined;
  }

  count(): number {
    return this.countBetween(undefined, undefined);
  }

  countBetween(from: Place | undefined, to: Place | undefined): number {
    const hidden = this.hiddenUpTo(to) - (from === undefined ? 0 : this.hiddenUpTo(from));
    return this.older.countBetween(from, to) - hidden;
  }

  keyAt(index: number): Uint8Array {
    const { older, stretches } = this;
    const hiddenBefore = this.hiddenCounts();
    // The stretches that as many keys or fewer are before; the key is behind the last of them.
    const at = lastIndexWhere(
      stretches.length,
      (i) => rankOf(older, stretches[i].start) - hiddenBefore[i] <= index,
    );
    return older.keyAt(index + hiddenBefore[at + 1]);
  }

  /** Keys that are hidden before a place; undefined is the end. */
  private hiddenUpTo(place: Place | undefined): number {
    const { older, stretches } = this;
    const hiddenBefore = this.hiddenCounts();
    if (place === undefined) return hiddenBefore[stretches.length];
    const { key } = place;
    const at = lastIndexWhere(stretches.length, (i) => compareBytes(stretches[i].start, key) <= 0);
    if (at < 0) return 0;
    const stretch = stretches[at];
    if (!endsAfter(stretch, key, key.length)) return hiddenBefore[at + 1];
    return hiddenBefore[at] + older.countBetween({ key: stretch.start, isAfter: false }, place);
  }

  private hiddenCounts(): readonly number[] {
    if (this.hiddenBefore !== undefined) return this.hiddenBefore;
    const hiddenBefore = [0];
    for (const [i, { start, end }] of this.stretches.entries()) {
      const from = { key: start, isAfter: false };
      const to = end === undefined ? undefined : { key: end, isAfter: false };
      hiddenBefore.push(hiddenBefore[i] + this.older.countBetween(from, to));
    }
    this.hiddenBefore = hiddenBefore;
    return hiddenBefore;
  }
}

/** Entries from one checkpoint to the next, before there are too many checkpoints. */
const MIN_SPACING = 32;

/** Beyond either of these every other checkpoint is dropped: they take 1 to 2 MiB at most. */
const MAX_CHECKPOINTS = 2 ** 13;
const MAX_CHECKPOINT_BYTES = 2 ** 20;

/** What is known of all newer entries: a byte for each, and a key for every `spacing` of them. */
interface Checkpoints {
  readonly spacing: number;
  /** Keys of entries 0, spacing, 2 * spacing, ... */
  readonly keys: readonly Uint8Array[];
  /** Sum of the changes of the entries before each of them. */
  readonly sums: readonly number[];
  /** By how much each entry changes the number of keys. */
  readonly changes: Int8Array;
  /** Sum of all changes. */
  readonly total: number;
}

/** Newer entries over an older order. */
class CorrectedOrder implements KeyOrder {
  private readonly older: KeyOrder;
  private readonly cursor: Cursor;
  private readonly entryCount: number;
  private readonly wasThere: (key: Uint8Array, length: number) => boolean;
  private checkpoints: Checkpoints | undefined;
  /** Entries walked while there were no checkpoints. */
  private walkedCount: number;

  /** `cursor` has at most `entryCount` entries; `wasThere` says whether a key is in what is older. */
  constructor(
    older: KeyOrder,
    cursor: Cursor,
    entryCount: number,
    wasThere: (key: Uint8Array, length: number) => boolean,
  ) {
    this.older = older;
    this.cursor = cursor;
    this.entryCount = entryCount;
    this.wasThere = wasThere;
    this.checkpoints = undefined;
    this.walkedCount = 0;
  }

  count(): number {
    return this.countBetween(undefined, undefined);
  }

  countBetween(from: Place | undefined, to: Place | undefined): number {
    return this.older.countBetween(from, to) + this.changeBetween(from, to);
  }

  keyAt(index: number): Uint8Array {
    const { older, cursor } = this;
    const { spacing, keys, sums, changes } = this.checkpoints ?? this.buildCheckpoints();
    const rankAt = (key: Uint8Array, change: number): number => rankOf(older, key) + change;
    const at = lastIndexWhere(keys.length, (i) => rankAt(keys[i], sums[i]) <= index);
    if (at < 0) return older.keyAt(index);

    // The newer entries from this checkpoint to the next.
    const entries: { key: Uint8Array; sum: number; isPut: boolean }[] = [];
    let sum = sums[at];
    cursor.seek(keys[at], keys[at].length);
    for (let i = at * spacing; i < (at + 1) * spacing && cursor.isValid; i++, cursor.next()) {
      const isPut = cursor.kind === EntryKind.put;
      entries.push({ key: cursor.key.slice(0, cursor.keyLength), sum, isPut });
      sum += changes[i];
    }
    const last = lastIndexWhere(
      entries.length,
      (i) => rankAt(entries[i].key, entries[i].sum) <= index,
    );
    const entry = entries[last];
    if (entry.isPut && rankAt(entry.key, entry.sum) === index) return entry.key;
    // Between this newer entry and the next there is nothing but what is older.
    return older.keyAt(index - (last + 1 < entries.length ? entries[last + 1].sum : sum));
  }

  private changeBetween(from: Place | undefined, to: Place | undefined): number {
    const { checkpoints } = this;
    if (checkpoints === undefined) return this.walkBetween(from, to);
    const start = from === undefined ? 0 : this.changeBefore(checkpoints, from);
    return (to === undefined ? checkpoints.total : this.changeBefore(checkpoints, to)) - start;
  }

  private walkBetween(from: Place | undefined, to: Place | undefined): number {
    const { cursor } = this;
    let change = 0;
    if (from === undefined) cursor.seekToFirst();
    else seekTo(cursor, from);
    for (; cursor.isValid && isBefore(cursor, to); cursor.next()) {
      change += this.changeAtCursor();
      this.walkedCount++;
    }
    if (this.walkedCount >= this.entryCount) this.buildCheckpoints();
    return change;
  }

  private changeBefore({ spacing, keys, sums, changes }: Checkpoints, place: Place): number {
    const { cursor } = this;
    const at = lastIndexWhere(keys.length, (i) => compareBytes(keys[i], place.key) <= 0);
    if (at < 0) return 0;
    let sum = sums[at];
    cursor.seek(keys[at], keys[at].length);
    for (let i = at * spacing; cursor.isValid && isBefore(cursor, place); cursor.next()) {
      sum += changes[i++];
    }
    return sum;
  }

  /** By how much the cursor's entry changes the number of keys. */
  private changeAtCursor(): number {
    const { cursor } = this;
    const isPut = cursor.kind === EntryKind.put;
    return Number(isPut) - Number(this.wasThere(cursor.key, cursor.keyLength));
  }

  private buildCheckpoints(): Checkpoints {
    const { cursor } = this;
    const changes = new Int8Array(this.entryCount);
    let keys: Uint8Array[] = [];
    let sums: number[] = [];
    let keyBytes = 0;
    let spacing = MIN_SPACING;
    let total = 0;
    cursor.seekToFirst();
    for (let i = 0; cursor.isValid; i++, cursor.next()) {
      if (i % spacing === 0) {
        keys.push(cursor.key.slice(0, cursor.keyLength));
        sums.push(total);
        keyBytes += cursor.keyLength;
        if (keys.length > MAX_CHECKPOINTS || keyBytes > MAX_CHECKPOINT_BYTES) {
          keys = keys.filter((_, at) => at % 2 === 0);
          sums = sums.filter((_, at) => at % 2 === 0);
          keyBytes = keys.reduce((sum, key) => sum + key.length, 0);
          spacing *= 2;
        }
      }
      changes[i] = this.changeAtCursor();
      total += changes[i];
    }
    this.checkpoints = { spacing, keys, sums, changes, total };
    return this.checkpoints;
  }
}

/** Moves to the first entry behind a place. */
function seekTo(cursor: Cursor, { key, isAfter }: Place): void {
  cursor.seek(key, key.length);
  if (isAfter && cursor.isValid && compareKey(cursor, key) === 0) cursor.next();
}

/** Whether a valid cursor stands before a place; undefined is the end. */
function isBefore(cursor: Cursor, place: Place | undefined): boolean {
  if (place === undefined) return true;
  const order = compareKey(cursor, place.key);
  return order < 0 || (order === 0 && place.isAfter);
}

function compareKey(cursor: Cursor, key: Uint8Array): number {
  return compareRanges(cursor.key, 0, cursor.keyLength, key, 0, key.length);
}

/** The last of `count` indexes for which a test holds that, once it fails, fails for all; or -1. */
function lastIndexWhere(count: number, test: (index: number) => boolean): number {
  let lo = 0;
  let hi = count;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (test(mid)) lo = mid + 1;
    else hi = mid;
  }
  return lo - 1;
}
