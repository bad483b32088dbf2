/**
 * ReadView: the read methods that a database and a snapshot have in common.
 *
 * The database reads at the newest visible write, a snapshot at the moment it was taken; that, and
 * when reading ends, is all that differs, and is what the two abstract members say.
 */
import { ValueView } from "../cursor/value-view.ts";
import { describe } from "../encoding/key-codec.ts";
import { type IterationRange, type KeyRange, toBounds, toIteration } from "../encoding/range.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { Automaton } from "../search/automaton.ts";
import { keyHash } from "../segment/filter.ts";
import type { Codecs } from "./codecs.ts";
import { toUserError } from "./io-error.ts";
import { EntryIterable, type Pin, type Projection } from "./iteration.ts";
import { resolveRandom, type SampleOptions } from "./options.ts";
import {
  countWithin,
  type KeyOrder,
  orderOver,
  rankOf,
  sampleIndexes,
  type TimedOrder,
} from "./order-statistics.ts";
import type { PinKind } from "./pins.ts";
import { Found, findStoredValue, findValue, hasKey } from "./reads.ts";
import type { RowCache } from "./row-cache.ts";
import type { ReadSources } from "./sources.ts";
import { valueStream } from "./value-stream.ts";

/** Where the value that was read last is. Reads are synchronous, so that one serves all. */
const found = new ValueView();

/** Keys of `getMany` that are fetched side by side. With 100 all are about as fast from 16 on. */
const GROUP_KEYS = 32;

/** Where and when to read. */
export interface Moment {
  readonly sources: ReadSources;
  /** The newest write that is seen. */
  readonly visibleSeqno: number;
  /** In milliseconds since 1970; what has expired by then is not seen. */
  readonly time: number;
  /** Values found lately, for who reads at its `seqno`. A moment of the past has none. */
  readonly rows?: RowCache | undefined;
}

export abstract class ReadView<K, V> {
  protected readonly codecs: Codecs<K, V>;
  /** What was found out of the order of keys, and at which write. Goes with the sources. */
  private readonly orders: WeakMap<
    ReadSources,
    { readonly seqno: number; readonly timed: TimedOrder }
  >;
  /** Without a meaning: the compiler would leave out loads whose values go nowhere. */
  protected touched: number;

  protected constructor(codecs: Codecs<K, V>) {
    this.codecs = codecs;
    this.orders = new WeakMap();
    this.touched = 0;
  }

  /** The moment to read at. Throws ClosedError when reading is over. */
  protected abstract moment(): Moment;

  /** Holds the moment for an iteration. Throws ClosedError when reading is over. */
  protected abstract pin(kind: PinKind): Pin;

  /**
   * The value of a key, or undefined if the key is not there.
   *
   * Synchronous: from memory, or with one read of one value block. Cost: O(key length) for each
   * source looked at; a filter spares most runs that do not have the key.
   *
   * @throws InvalidArgumentError (MEMKV_INVALID_ARGUMENT) for a key that the encoding cannot hold.
   * @throws ClosedError (MEMKV_CLOSED) after close.
   * @throws CorruptionError (MEMKV_CORRUPTION) if the block is damaged.
   * @throws DatabaseError MEMKV_IO if it cannot be read.
   */
  get(key: K): V | undefined {
    const { sources, visibleSeqno, time, rows } = this.moment();
    return this.read(key, sources, visibleSeqno, time, rows);
  }

  /**
   * The values of several keys, in their order; undefined for a key that is not there. All are read
   * at one moment. Errors as for `get`.
   *
   * Cost: that of `get` for each key. Where the keys are strings made long ago, they are fetched from
   * memory side by side, which spares about a tenth of that.
   */
  getMany(keys: readonly K[]): (V | undefined)[] {
    const { sources, visibleSeqno, time, rows } = this.moment();
    if (!Array.isArray(keys)) {
      throw new InvalidArgumentError(`getMany takes an array of keys, not ${describe(keys)}`);
    }
    const values = new Array<V | undefined>(keys.length).fill(undefined);
    for (let i = 0; i < values.length; i++) {
      if (i % GROUP_KEYS === 0) this.touched = touchKeys(keys, i, values.length);
      values[i] = this.read(keys[i], sources, visibleSeqno, time, rows);
    }
    return values;
  }

  /**
   * The bytes of a value as a stream, or undefined if the key is not there: for values too large to
   * be held whole. They are the bytes that the value encoding made: of `"binary"` the value itself,
   * of `"utf8"` and `"json"` the text in UTF-8, of `"msgpack"` its msgpack form.
   *
   * Pieces have at most 64 KiB and are the caller's own. Each is read when it is asked for, and
   * checked before it is handed out; memory does not grow with the value. The stream shows the
   * value as it was at the call, whatever is written meanwhile; until it is read to its end or
   * cancelled, it keeps what it reads on disk. It fails with ClosedError once the database or
   * snapshot is closed, and with CorruptionError if the value is damaged. Other errors as for
   * `get`.
   */
  getStream(key: K): ReadableStream<Uint8Array> | undefined {
    const { sources, visibleSeqno, time } = this.moment();
    const { key: codec } = this.codecs;
    const length = codec.encode(key);
    try {
      const value = findStoredValue(sources, visibleSeqno, time, codec.buffer, length);
      return value === undefined ? undefined : valueStream(value, this.pin("stream"));
    } catch (error) {
      throw toUserError(error, "read");
    }
  }

  /** Whether a key is there. As `get`, without reading the value. */
  has(key: K): boolean {
    const { sources, visibleSeqno, time } = this.moment();
    const length = this.codecs.key.encode(key);
    try {
      return hasKey(sources, visibleSeqno, time, this.codecs.key.buffer, length);
    } catch (error) {
      throw toUserError(error, "read");
    }
  }

  /**
   * The entries of a range, as `[key, value]`, in key order or, with `reverse`, against it.
   *
   * Lazy: nothing is read before the first step, and then a few entries at a time. The moment is
   * taken when an iteration begins and kept until it ends, so writes made meanwhile are not seen; end
   * it with `break`, `return()` or by reaching the end. A string that comes out of it may keep its
   * neighbours in memory, about 1.5 KiB at most together with itself.
   *
   * @throws InvalidArgumentError for an unknown or ill-typed range option.
   */
  entries(range?: IterationRange<K>): EntryIterable<K, V, [key: K, value: V]> {
    return this.iterate(range, ENTRY as Projection<K, V, [K, V]>);
  }

  /** The keys of a range. As `entries`; values are not read. */
  keys(range?: IterationRange<K>): EntryIterable<K, V, K> {
    return this.iterate(range, KEY as Projection<K, V, K>);
  }

  /** The values of a range. As `entries`. */
  values(range?: IterationRange<K>): EntryIterable<K, V, V> {
    return this.iterate(range, VALUE as Projection<K, V, V>);
  }

  /**
   * The entries of a range whose keys match a pattern, as `[key, value]` in key order.
   *
   * A pattern is made by `startsWith`, `glob`, `regex` or `fuzzy`, or is any `Automaton` over the
   * bytes of encoded keys. Lazy, and at one moment, as `entries`. Going forward the cost follows the
   * keys that could match, not all keys; with `reverse` every key of the range is tested.
   *
   * @throws InvalidArgumentError for what is not a pattern, and for a range as in `entries`.
   */
  search(pattern: Automaton, range?: IterationRange<K>): EntryIterable<K, V, [key: K, value: V]> {
    const candidate: Partial<Automaton> | null | undefined = pattern;
    if (typeof candidate?.step !== "function" || typeof candidate.isMatch !== "function") {
      throw new InvalidArgumentError(
        `a pattern is made by startsWith, glob, regex or fuzzy; this is ${describe(pattern)}`,
      );
    }
    return this.iterate(range, ENTRY as Projection<K, V, [K, V]>, pattern);
  }

  /**
   * The exact number of keys in a range.
   *
   * Cost: O(key length) by ordinals in the oldest run, which has nearly all of the data, so it is
   * immediate after `compact`. What memtables and newer runs hold in the range is walked, until as
   * much was walked as they hold; from then on it is a binary search there too, until the next write
   * for memtables, and the next flush or compaction for runs.
   *
   * Where entries expire, each expiry begins that walk anew. In the oldest run an answer costs as
   * much more as has expired since the last, and the first one after an expiry sorts all that will
   * expire, about 0.1 s for a million entries. Two snapshots of different times that are asked in
   * turn cost each time what expired between them; one beside the database does not.
   */
  count(range?: KeyRange<K>): number {
    this.moment();
    const bounds = toBounds(range, this.codecs.key);
    return this.ask((order) => countWithin(order, bounds));
  }

  /**
   * The exact number of keys that sort before a key, which need not be there itself. So
   * `at(rank(key))` is the key, if it is there. Cost as for `count({ lt: key })`.
   *
   * @throws InvalidArgumentError for a key that the encoding cannot hold.
   */
  rank(key: K): number {
    this.moment();
    const length = this.codecs.key.encode(key);
    const bytes = this.codecs.key.buffer.slice(0, length);
    return this.ask((order) => rankOf(order, bytes));
  }

  /**
   * The key that exactly `index` others sort before: `at(0)` is the first key. Undefined where there
   * are no more keys than that.
   *
   * Cost: a binary search over ordinals, so it is immediate after `compact`. With entries in
   * memtables or newer runs these are walked once; that holds until the next write for memtables,
   * and until the next flush or compaction for runs.
   *
   * @example
   * ```ts
   * import { open } from "memkv";
   *
   * const db = await open<string, number>(":memory:");
   * for (const [i, name] of ["ada", "bob", "eve", "tim"].entries()) await db.put(name, i);
   * console.log(db.count({ lt: "eve" }), db.rank("eve"), db.at(2)); // 2 2 eve
   * console.log(db.at(Math.floor(db.count() / 2))); // the median: eve
   * console.log(db.sample(2).length); // 2 keys drawn at random
   * await db.close();
   * ```
   *
   * @throws InvalidArgumentError for an index that is not a whole number from 0.
   */
  at(index: number): K | undefined {
    this.moment();
    if (!Number.isSafeInteger(index) || index < 0) {
      throw new InvalidArgumentError(`at takes a whole number from 0, not ${describe(index)}`);
    }
    const { key } = this.codecs;
    return this.ask((order) => {
      if (index >= order.count()) return undefined;
      const bytes = order.keyAt(index);
      return key.decode(bytes, bytes.length);
    });
  }

  /**
   * `size` different keys, every set of that many keys equally likely, in key order; all keys if
   * there are no more. `random` is called for each and returns a number from 0 up to, but not
   * including, 1, as Math.random does: one of your own with a seed makes a sample repeatable.
   *
   * Cost: as `at` for each key.
   *
   * @throws InvalidArgumentError for a size that is not a whole number from 0, or a `random` that
   *   returns anything else.
   */
  sample(size: number, options?: SampleOptions): K[] {
    this.moment();
    if (!Number.isSafeInteger(size) || size < 0) {
      throw new InvalidArgumentError(`sample takes a whole number from 0, not ${describe(size)}`);
    }
    const random = resolveRandom(options);
    const { key } = this.codecs;
    return this.ask((order) =>
      sampleIndexes(order.count(), size, random).map((index) => {
        const bytes = order.keyAt(index);
        return key.decode(bytes, bytes.length);
      }),
    );
  }

  private read(
    key: K,
    sources: ReadSources,
    seqno: number,
    time: number,
    rows: RowCache | undefined,
  ): V | undefined {
    const { key: keyCodec, value: valueCodec } = this.codecs;
    const length = keyCodec.encode(key);
    const { buffer } = keyCodec;
    const hash = keyHash(buffer, length);
    // An encoding of the user's own may have written since the moment was taken.
    const mayUseRows = rows !== undefined && rows.seqno === seqno;
    if (!mayUseRows || !rows.find(buffer, length, hash, found)) {
      found.decoded.reset();
      let outcome: Found;
      try {
        outcome = findValue(sources, seqno, time, buffer, length, hash, found);
      } catch (error) {
        throw toUserError(error, "read");
      }
      if (outcome === Found.nothing) return undefined;
      if (mayUseRows && outcome === Found.lasting) rows.insert(buffer, length, hash, found);
    }
    const { bytes, start, end } = found;
    // Decoding may read another value; and what may be large must not be kept.
    found.clear();
    return valueCodec.decode(bytes, start, end);
  }

  /** Asks the order of the keys of this moment, which is kept for the next question. */
  private ask<T>(question: (order: KeyOrder) => T): T {
    const { sources, visibleSeqno, time } = this.moment();
    try {
      let known = this.orders.get(sources);
      if (known?.seqno !== visibleSeqno || !known.timed.isTrueAt(time)) {
        known = { seqno: visibleSeqno, timed: orderOver(sources, visibleSeqno, time) };
        this.orders.set(sources, known);
      }
      return question(known.timed.order);
    } catch (error) {
      throw toUserError(error, "read");
    }
  }

  private iterate<T>(
    range: IterationRange<K> | undefined,
    project: Projection<K, V, T>,
    automaton?: Automaton,
  ): EntryIterable<K, V, T> {
    this.moment();
    const iteration = toIteration(range, this.codecs.key);
    return new EntryIterable(
      () => this.pin("iteration"),
      iteration,
      this.codecs,
      project,
      automaton,
    );
  }
}

/**
 * Loads from the strings of a group of keys, each of which may be in no cache of the processor: loads
 * in a row overlap, while a read between two of them is more than the processor looks ahead. What it
 * returns has no meaning.
 */
function touchKeys(keys: readonly unknown[], start: number, limit: number): number {
  const end = Math.min(limit, start + GROUP_KEYS);
  let touched = 0;
  for (let i = start; i < end; i++) {
    const key = keys[i];
    // A string's length lies in front of its characters.
    if (typeof key === "string") touched += key.length;
  }
  return touched;
}

const ENTRY: Projection<unknown, unknown, [unknown, unknown]> = {
  hasKeys: true,
  hasValues: true,
  of: (batch, index) => [batch.key(index), batch.value(index)],
};

const KEY: Projection<unknown, unknown, unknown> = {
  hasKeys: true,
  hasValues: false,
  of: (batch, index) => batch.key(index),
};

const VALUE: Projection<unknown, unknown, unknown> = {
  hasKeys: false,
  hasValues: true,
  of: (batch, index) => batch.value(index),
};
