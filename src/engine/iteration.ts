/**
 * Iteration over a range, as users see it: entries, keys or values, either way.
 *
 * An iterable is a recipe; its iterator is what reads. The moment that an iteration sees is taken
 * when the iterator is made, which is when a `for...of` begins, and held until it ends: at the last
 * entry, on `break`, or by `return()`. Writes made meanwhile are not seen.
 *
 * Entries are read ahead in small batches (entry-batch.ts): one entry at first, then twice as many
 * each time, and all of a short limit at once, as long as they are small. An error is kept until
 * the entries before it were taken. Reading calls code of the user's, encodings and automata.
 * Should that end the iteration it is from, what the iteration has is let go of when the reading is
 * over.
 *
 * Tombstones are passed one by one, but a long stretch of them only once: see dead-range.ts.
 *
 * A search is an iteration whose keys an automaton must match. Going forward it seeks past stretches
 * of keys that cannot match, so that its cost follows the answer; going backward it tests every key.
 */
import { compareRanges } from "../bytes/compare.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { describe } from "../encoding/key-codec.ts";
import {
  type Bounds,
  type Iteration,
  isEmptyRange,
  isWithinLower,
  isWithinUpper,
  seekToLower,
  seekToUpper,
} from "../encoding/range.ts";
import { EntryKind } from "../entry.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { Automaton } from "../search/automaton.ts";
import { KeyFilter } from "../search/key-filter.ts";
import type { Codecs } from "./codecs.ts";
import type { DeadRange } from "./dead-range.ts";
import {
  canTakeRuns,
  type EntryBatch,
  giveBackBatch,
  mostEntries,
  takeBatch,
} from "./entry-batch.ts";
import { toUserError } from "./io-error.ts";
import { cursorOver } from "./reads.ts";
import type { ReadSources } from "./sources.ts";

/** A moment that is held on to: reads of it stay possible until `release`. */
export interface Pin {
  readonly sources: ReadSources;
  readonly seqno: number;
  /** What has expired by then is not seen. */
  readonly time: number;
  /** Throws ClosedError once what the pin was taken from is closed. */
  checkOpen(): void;
  release(): void;
  /** Lets go of the pin, with a warning, should `owner` be collected as garbage before `release`. */
  watch(owner: object): void;
  /** What is known to be deleted; undefined where writes are seen that it is not shown. */
  readonly dead: DeadRange | undefined;
  /** Keys in [start, end) were seen to be deleted; `end` undefined for all from `start` on. */
  learnDead(start: Uint8Array, end: Uint8Array | undefined): void;
  /** Told of each iteration, if it is to be known how far it went; undefined once that is over. */
  observe?: ((observation: () => Bounds | undefined) => void) | undefined;
}

/** What to make of an entry, and of which parts of it. */
export interface Projection<K, V, T> {
  readonly hasKeys: boolean;
  readonly hasValues: boolean;
  of(batch: EntryBatch<K, V>, index: number): T;
}

export class EntryIterable<K, V, T> implements Iterable<T> {
  private readonly takePin: () => Pin;
  private readonly iteration: Iteration;
  private readonly codecs: Codecs<K, V>;
  private readonly project: Projection<K, V, T>;
  private readonly automaton: Automaton | undefined;

  /** With an `automaton`, only the keys that it matches. */
  constructor(
    takePin: () => Pin,
    iteration: Iteration,
    codecs: Codecs<K, V>,
    project: Projection<K, V, T>,
    automaton?: Automaton,
  ) {
    this.takePin = takePin;
    this.iteration = iteration;
    this.codecs = codecs;
    this.project = project;
    this.automaton = automaton;
  }

  [Symbol.iterator](): EntryIterator<K, V, T> {
    const filter = this.automaton === undefined ? undefined : new KeyFilter(this.automaton);
    return new EntryIterator(this.takePin(), this.iteration, this.codecs, this.project, filter);
  }
}

/** Tombstones in a row that are worth remembering: a step over one costs a tenth of a seek. */
const LONG_STRETCH = 32;

const NO_BYTES = new Uint8Array(0);

export class EntryIterator<K, V, T> implements IterableIterator<T> {
  private readonly pin: Pin;
  private readonly iteration: Iteration;
  private readonly codecs: Codecs<K, V>;
  private readonly project: Projection<K, V, T>;
  private readonly cursor: Cursor;
  private readonly filter: KeyFilter | undefined;
  /** Entries read ahead, of which those before `taken` were yielded. */
  private readonly batch: EntryBatch<K, V>;
  private taken: number;
  /** How many entries are read next, and at most. */
  private batchEntries: number;
  private readonly mostEntries: number;
  /** What reading threw behind the entries of the batch. */
  private failure: unknown;
  /** Entries that may still be read. */
  private remaining: number;
  /** Tombstones passed since the last entry, and the first of their keys. */
  private passedCount: number;
  private firstPassed: Uint8Array;
  private isStarted: boolean;
  /** Whether the range was found to have no more entries. */
  private isAtEnd: boolean;
  private isDone: boolean;
  /** Whether `readAhead` is running, which needs what the iteration has. */
  private isReading: boolean;
  private isLetGo: boolean;
  /** What `observed` said at the end, where somebody asked to know. */
  private seen: Bounds | undefined;

  constructor(
    pin: Pin,
    iteration: Iteration,
    codecs: Codecs<K, V>,
    project: Projection<K, V, T>,
    filter: KeyFilter | undefined,
  ) {
    this.pin = pin;
    this.iteration = iteration;
    this.codecs = codecs;
    this.project = project;
    this.cursor = openCursor(pin);
    this.filter = filter;
    this.batch = takeBatch();
    this.taken = 0;
    this.mostEntries = mostEntries(project);
    this.batchEntries = iteration.limit === Number.POSITIVE_INFINITY ? 1 : this.mostEntries;
    this.failure = undefined;
    this.remaining = iteration.limit;
    this.passedCount = 0;
    this.firstPassed = NO_BYTES;
    this.isStarted = false;
    this.isAtEnd = false;
    this.isDone = false;
    this.isReading = false;
    this.isLetGo = false;
    this.seen = undefined;
    pin.watch(this);
    pin.observe?.(() => this.observed());
  }

  next(): IteratorResult<T, undefined> {
    this.checkNotReading();
    if (this.isDone) return { done: true, value: undefined };
    try {
      this.pin.checkOpen();
      if (this.taken === this.batch.count && !this.readAhead()) return this.return();
      return { done: false, value: this.project.of(this.batch, this.taken++) };
    } catch (error) {
      // A loop that ends by an error does not call return().
      this.return();
      throw toUserError(error, "read");
    }
  }

  /**
   * Appends the next items to `items`, until it has `length` of them, or with Infinity to the last
   * one. False where there were not so many: then the iteration is over.
   *
   * True does not say that there are more. Who takes exactly as many as there are has not reached the
   * end, and the moment stays held until a further call finds nothing, or until `return()`.
   *
   * @throws InvalidArgumentError unless `items` is an array and `length` a whole number from 1, or
   * Infinity; nothing was read, and the iteration can go on.
   */
  nextMany(items: T[], length: number): boolean {
    checkItems(items, length);
    this.checkNotReading();
    if (this.isDone) return false;
    const { batch, project } = this;
    try {
      this.pin.checkOpen();
      while (items.length < length) {
        // The array may be of a class whose `push` ends the iteration.
        if (this.isDone || (this.taken === batch.count && !this.readAhead())) {
          this.return();
          return false;
        }
        items.push(project.of(batch, this.taken++));
      }
      return true;
    } catch (error) {
      this.return();
      throw toUserError(error, "read");
    }
  }

  /** Ends the iteration and lets go of its moment. Idempotent. */
  return(): IteratorResult<T, undefined> {
    this.isDone = true;
    if (!this.isReading) this.letGo();
    return { done: true, value: undefined };
  }

  [Symbol.iterator](): this {
    return this;
  }

  [Symbol.dispose](): void {
    this.return();
  }

  /** An encoding or automaton that asks for the next entry while the next ones are being read. */
  private checkNotReading(): void {
    if (!this.isReading) return;
    throw new InvalidArgumentError("an iterator cannot be advanced by what it calls to read");
  }

  private letGo(): void {
    if (this.isLetGo) return;
    // Before the cursor is closed: from then on it may be another's.
    if (this.pin.observe !== undefined) this.seen = this.observed();
    this.isLetGo = true;
    giveBackBatch(this.batch);
    this.cursor.close?.();
    this.pin.release();
  }

  /** The part of the range that was read so far; undefined for none. */
  private observed(): Bounds | undefined {
    const { cursor, isStarted, isAtEnd } = this;
    const { bounds, isReverse } = this.iteration;
    if (this.isLetGo) return this.seen;
    if (!isStarted) return undefined;
    if (isAtEnd || !cursor.isValid) return bounds;
    const last = { key: cursor.key.slice(0, cursor.keyLength), isInclusive: true };
    return isReverse ? { ...bounds, lower: last } : { ...bounds, upper: last };
  }

  /** Whether there is no more to read, which a batch may have come to before it was full. */
  private get isExhausted(): boolean {
    return this.remaining <= 0 || this.isAtEnd;
  }

  /** Fills the batch, all of which was taken, with the next entries; false where there are none, or it was ended. */
  private readAhead(): boolean {
    if (this.failure !== undefined) throw this.failure;
    if (this.isExhausted) return false;
    const { batch, cursor, codecs, pin } = this;
    const { hasKeys, hasValues } = this.project;
    const canRun = this.filter === undefined && canTakeRuns(codecs, hasValues);
    batch.clear();
    this.taken = 0;
    // Who is to know how far the iteration went must not see it read ahead.
    const count = pin.observe === undefined ? this.batchEntries : 1;
    this.batchEntries = Math.min(count * 2, this.mostEntries);
    this.isReading = true;
    try {
      while (batch.count < count && !batch.isFull && !this.isDone && this.advance()) {
        const read = canRun ? this.readRun(count - batch.count) : 0;
        this.remaining -= read;
        if (read > 0 && batch.endsBlock && this.remaining > count) break;
        if (read > 0) continue;
        this.remaining--;
        batch.add(cursor, codecs, hasKeys, hasValues);
      }
    } catch (error) {
      if (batch.count === 0) throw error;
      this.failure = error;
    } finally {
      this.isReading = false;
    }
    if (this.isDone) return false;
    batch.join();
    return batch.count > 0;
  }

  /** Reads the entry that the cursor is at, and what it can of those behind it; returns how many. */
  private readRun(count: number): number {
    const { batch, codecs, project } = this;
    const { bounds, isReverse } = this.iteration;
    const wanted = Math.min(count, this.remaining);
    if (wanted < 2) return 0;
    const bound = isReverse ? bounds.lower : bounds.upper;
    return batch.addRun(this.cursor, codecs, wanted, project, isReverse, bound);
  }

  /** Moves to the next entry to yield; false where there is none. */
  private advance(): boolean {
    if (this.isExhausted) return false;
    const cursor = this.cursor;
    const { bounds, isReverse } = this.iteration;
    if (!this.isStarted) {
      this.isStarted = true;
      if (isEmptyRange(bounds)) return false;
      if (isReverse) seekToUpper(cursor, bounds.upper);
      else seekToLower(cursor, bounds.lower);
    } else {
      this.step(cursor);
    }
    const isSearch = this.filter !== undefined;
    while (this.remaining > 0 && cursor.isValid && this.isWithin(cursor)) {
      const isMatch = this.filter === undefined || this.filter.test(cursor.key, cursor.keyLength);
      if (isMatch && cursor.kind === EntryKind.put) {
        this.endStretch();
        return true;
      }
      if (isSearch) this.step(cursor);
      else this.passTombstone(cursor);
    }
    this.endStretch();
    this.isAtEnd = true;
    return false;
  }

  private passTombstone(cursor: Cursor): void {
    const { dead, seqno, time } = this.pin;
    const { isReverse } = this.iteration;
    if (dead?.leave(cursor, seqno, time, isReverse)) return;
    if (this.passedCount++ === 0) this.firstPassed = cursor.key.slice(0, cursor.keyLength);
    this.step(cursor);
  }

  /** Remembers a long stretch of tombstones that the cursor has just left. */
  private endStretch(): void {
    const { passedCount } = this;
    this.passedCount = 0;
    if (passedCount < LONG_STRETCH || this.pin.dead === undefined) return;
    const { cursor, firstPassed } = this;
    const left = cursor.isValid ? cursor.key.slice(0, cursor.keyLength) : undefined;
    if (this.iteration.isReverse) {
      this.pin.learnDead(left === undefined ? NO_BYTES : after(left), after(firstPassed));
    } else {
      this.pin.learnDead(firstPassed, left);
    }
  }

  private step(cursor: Cursor): void {
    const { filter } = this;
    if (this.iteration.isReverse) cursor.prev();
    else if (filter === undefined || !filter.isDead) cursor.next();
    else if (filter.findNext()) skipTo(cursor, filter.nextKey, filter.nextKeyLength);
    else this.remaining = 0;
  }

  private isWithin(cursor: Cursor): boolean {
    const { bounds, isReverse } = this.iteration;
    return isReverse ? isWithinLower(cursor, bounds.lower) : isWithinUpper(cursor, bounds.upper);
  }
}

/** A cursor over what is pinned; if there can be none, the pin is let go. */
function openCursor(pin: Pin): Cursor {
  try {
    return cursorOver(pin.sources, pin.seqno, pin.time);
  } catch (error) {
    pin.release();
    throw toUserError(error, "read");
  }
}

/** Checks what `nextMany` is called with, which the types of JavaScript callers do not. */
function checkItems(items: unknown, length: unknown): void {
  if (!Array.isArray(items)) {
    throw new InvalidArgumentError(`items must be an array, not ${describe(items)}`);
  }
  const isCount =
    length === Number.POSITIVE_INFINITY || (Number.isInteger(length) && Number(length) >= 1);
  if (!isCount) {
    throw new InvalidArgumentError(
      `length must be a whole number from 1, or Infinity for all, not ${describe(length)}`,
    );
  }
}

/** The least key after this one. */
function after(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

/** Steps to take before seeking: the next candidate is often near, and a step is cheaper. */
const STEPS_BEFORE_SEEK = 4;

/** Moves forward to the first entry at or after key[0, length), which is ahead. */
function skipTo(cursor: Cursor, key: Uint8Array, length: number): void {
  for (let i = 0; i < STEPS_BEFORE_SEEK; i++) {
    cursor.next();
    if (!cursor.isValid || compareRanges(cursor.key, 0, cursor.keyLength, key, 0, length) >= 0) {
      return;
    }
  }
  cursor.seek(key, length);
}
