/**
 * ReadView: the read methods that a database and a snapshot have in common.
 *
 * The database reads at the newest visible write, a snapshot at the moment it was taken; that, and
 * when reading ends, is all that differs, and is what the two abstract members say.
 */
import type { Cursor } from "../cursor/cursor.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { Automaton } from "../search/automaton.ts";
import { toUserError } from "./io-error.ts";
import { type Codecs, EntryIterable, type Pin, type Projection } from "./iteration.ts";
import { describe } from "./key-codec.ts";
import { type IterationRange, type KeyRange, toBounds, toIteration } from "./range.ts";
import { countWithin, findValue, hasKey } from "./reads.ts";
import type { Sources } from "./sources.ts";

/** Where and when to read. */
export interface Moment {
  readonly sources: Sources;
  /** The newest write that is seen. */
  readonly visibleSeqno: number;
}

export abstract class ReadView<K, V> {
  protected readonly codecs: Codecs<K, V>;

  protected constructor(codecs: Codecs<K, V>) {
    this.codecs = codecs;
  }

  /** The moment to read at. Throws ClosedError when reading is over. */
  protected abstract moment(): Moment;

  /** Holds the moment for an iteration. Throws ClosedError when reading is over. */
  protected abstract pin(): Pin;

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
    const { sources, visibleSeqno } = this.moment();
    const { key: keyCodec, value: valueCodec } = this.codecs;
    const length = keyCodec.encode(key);
    let bytes: Uint8Array | undefined;
    try {
      bytes = findValue(sources, visibleSeqno, keyCodec.buffer, length);
    } catch (error) {
      throw toUserError(error, "read");
    }
    return bytes === undefined ? undefined : valueCodec.decode(bytes);
  }

  /**
   * The values of several keys, in their order; undefined for a key that is not there. All are read
   * at one moment. Errors as for `get`.
   */
  getMany(keys: readonly K[]): (V | undefined)[] {
    this.moment();
    if (!Array.isArray(keys)) {
      throw new InvalidArgumentError(`getMany takes an array of keys, not ${describe(keys)}`);
    }
    return keys.map((key) => this.get(key));
  }

  /** Whether a key is there. As `get`, without reading the value. */
  has(key: K): boolean {
    const { sources, visibleSeqno } = this.moment();
    const length = this.codecs.key.encode(key);
    return hasKey(sources, visibleSeqno, this.codecs.key.buffer, length);
  }

  /**
   * The entries of a range, as `[key, value]`, in key order or, with `reverse`, against it.
   *
   * Lazy: nothing is read before the first step, and each step reads about one entry. The moment is
   * taken when an iteration begins and kept until it ends, so writes made meanwhile are not seen;
   * end it with `break`, `return()` or by reaching the end.
   *
   * @throws InvalidArgumentError for an unknown or ill-typed range option.
   */
  entries(range?: IterationRange<K>): EntryIterable<K, V, [key: K, value: V]> {
    return this.iterate(range, projectEntry);
  }

  /** The keys of a range. As `entries`; values are not read. */
  keys(range?: IterationRange<K>): EntryIterable<K, V, K> {
    return this.iterate(range, projectKey);
  }

  /** The values of a range. As `entries`. */
  values(range?: IterationRange<K>): EntryIterable<K, V, V> {
    return this.iterate(range, projectValue);
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
    return this.iterate(range, projectEntry, pattern);
  }

  /**
   * The exact number of keys in a range.
   *
   * Cost: O(key length) by ordinals in the oldest run, and one step for each entry that memtables
   * and newer runs hold in the range; so it is immediate after `compact`.
   */
  count(range?: KeyRange<K>): number {
    const { sources, visibleSeqno } = this.moment();
    return countWithin(sources, visibleSeqno, toBounds(range, this.codecs.key));
  }

  private iterate<T>(
    range: IterationRange<K> | undefined,
    project: Projection<K, V, T>,
    automaton?: Automaton,
  ): EntryIterable<K, V, T> {
    this.moment();
    const iteration = toIteration(range, this.codecs.key);
    return new EntryIterable(() => this.pin(), iteration, this.codecs, project, automaton);
  }
}

function projectEntry<K, V>(cursor: Cursor, codecs: Codecs<K, V>): [K, V] {
  return [projectKey(cursor, codecs), projectValue(cursor, codecs)];
}

function projectKey<K, V>(cursor: Cursor, codecs: Codecs<K, V>): K {
  return codecs.key.decode(cursor.key, cursor.keyLength);
}

function projectValue<K, V>(cursor: Cursor, codecs: Codecs<K, V>): V {
  return codecs.value.decode(cursor.value());
}
