/**
 * FrozenLayer: an immutable sorted map from byte strings to integers, smaller than its keys.
 *
 * It reads the bytes that `FrozenLayerBuilder.finish` made in place: opening checks them and
 * allocates a few hundred bytes, whatever their size. The bytes may lie in a SharedArrayBuffer, so
 * that any number of threads read the same. They must not change while a layer uses them.
 *
 * A range of keys is a range of ordinals, found by two walks; so counting a range costs no more.
 *
 * Limits: keys of 0 to 65,536 bytes, at most 2^31 - 1 of them; values from 0 to 2^53 - 1; at most
 * 2 GiB of states and 4 GiB of values.
 */
import { prefixEnd } from "../bytes/compare.ts";
import { InvalidArgumentError } from "../errors.ts";
import { checkNames } from "../names.ts";
import type { Automaton } from "../search/automaton.ts";
import { FrozenCursor } from "./cursor.ts";
import { checkBody, damaged, HEADER_BYTES, type Header, readHeader } from "./format.ts";
import { FrozenSearch } from "./search.ts";
import { StateReader } from "./state-reader.ts";
import { SymbolTable } from "./symbols.ts";
import { ValuesReader } from "./values.ts";

export interface FrozenLayerOptions {
  /**
   * Whether to check the sum of all bytes (default): a pass over them, at about 1 GB/s. With
   * `false` only the header is checked, for bytes that were verified before, in another thread for
   * instance; `verify` can be called later. What a layer answers from bytes that are damaged and
   * were not verified is undefined, but for this: it returns or throws, in bounded time and memory.
   */
  readonly verify?: boolean;
  /** The path that errors name. Default "<memory>". */
  readonly file?: string;
}

/** Which keys, and in which order; bounds compare byte by byte. All keys, ascending, by default. */
export interface FrozenRange {
  readonly gt?: Uint8Array;
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  readonly lte?: Uint8Array;
  /** Only keys that begin with these bytes. */
  readonly prefix?: Uint8Array;
  /** From the last key to the first. */
  readonly reverse?: boolean;
  /** At most so many keys, of those that come first. */
  readonly limit?: number;
}

/** What a layer's bytes are spent on. */
export interface FrozenLayerStats {
  readonly keyCount: number;
  readonly longestKeyBytes: number;
  readonly headerBytes: number;
  /** The table of symbols that the states are written with. */
  readonly symbolBytes: number;
  /** The transducer: keys and ordinals. */
  readonly stateBytes: number;
  /** The values of your own; 0 in a set. */
  readonly valueBytes: number;
}

const LAYER_OPTIONS: readonly string[] = ["verify", "file"];

const RANGE_OPTIONS: readonly string[] = ["gt", "gte", "lt", "lte", "prefix", "reverse", "limit"];

export class FrozenLayer {
  /** Number of keys. */
  readonly size: number;
  /** Bytes of the layer: all that it takes, in memory or in a file. */
  readonly byteLength: number;

  private readonly bytes: Uint8Array;
  private readonly file: string;
  private readonly header: Header;
  private readonly reader: StateReader;
  private readonly values: ValuesReader | undefined;
  /** For single lookups; whoever iterates has a cursor of their own. */
  private readonly lookup: FrozenCursor;

  /**
   * Opens what `FrozenLayerBuilder.finish` returned. `bytes` is used in place.
   *
   * Throws CorruptionError for bytes that are not whole, and UnsupportedVersionError for those of
   * a newer memkv; InvalidArgumentError for an option that is unknown.
   */
  constructor(bytes: Uint8Array, options: FrozenLayerOptions = {}) {
    if (!(bytes instanceof Uint8Array)) {
      throw new InvalidArgumentError(`a frozen layer is a Uint8Array, not ${typeof bytes}`);
    }
    checkNames(options, "option", LAYER_OPTIONS);
    const file = options.file ?? "<memory>";
    const header = readHeader(bytes, file);
    if (options.verify ?? true) checkBody(bytes, file);
    const statesStart = HEADER_BYTES + header.symbolBytes;
    const valuesStart = statesStart + header.stateBytes;
    const symbols = bytes.subarray(HEADER_BYTES, statesStart);
    this.size = header.keyCount;
    this.byteLength = bytes.length;
    this.bytes = bytes;
    this.file = file;
    this.header = header;
    this.reader = new StateReader(
      bytes.subarray(statesStart, valuesStart),
      SymbolTable.decode(symbols, file, HEADER_BYTES),
      header.keyCount,
      header.longestKeyBytes,
      file,
      statesStart,
    );
    this.values = header.hasValues
      ? new ValuesReader(bytes.subarray(valuesStart), header.keyCount, file, valuesStart)
      : undefined;
    this.lookup = new FrozenCursor(this.reader);
  }

  /** The value of a key, or undefined; in a set, its ordinal. Costs O(key length). */
  get(key: Uint8Array): number | undefined {
    checkKey(key);
    const ordinal = this.reader.rank(key, key.length);
    return this.reader.isFound ? this.valueOf(ordinal) : undefined;
  }

  has(key: Uint8Array): boolean {
    checkKey(key);
    this.reader.rank(key, key.length);
    return this.reader.isFound;
  }

  /** Number of keys that sort before `key`, which need not be there. Costs O(key length). */
  rank(key: Uint8Array): number {
    checkKey(key);
    return this.reader.rank(key, key.length);
  }

  /** The key that `ordinal` keys sort before. Throws InvalidArgumentError if there is none. */
  keyAt(ordinal: number): Uint8Array {
    this.checkOrdinal(ordinal);
    const cursor = this.lookup;
    cursor.seekToOrdinal(ordinal);
    return cursor.key.slice(0, cursor.keyLength);
  }

  /** The value of the key with this ordinal. Throws InvalidArgumentError if there is none. */
  valueAt(ordinal: number): number {
    this.checkOrdinal(ordinal);
    return this.valueOf(ordinal);
  }

  /** The greatest key at or before `key`, and its value; undefined if there is none. */
  floor(key: Uint8Array): [key: Uint8Array, value: number] | undefined {
    checkKey(key);
    this.lookup.seekForPrev(key, key.length);
    return this.lookupEntry();
  }

  /** The least key at or after `key`, and its value; undefined if there is none. */
  ceiling(key: Uint8Array): [key: Uint8Array, value: number] | undefined {
    checkKey(key);
    this.lookup.seek(key, key.length);
    return this.lookupEntry();
  }

  /** Number of keys in a range, found without going over them. */
  count(range: FrozenRange = {}): number {
    const { start, end } = this.ordinals(range);
    return end - start;
  }

  /** The ordinals of a range: from `start` up to, but not including, `end`. Costs two walks. */
  ordinals(range: FrozenRange = {}): { start: number; end: number } {
    checkRange(range);
    const { gt, gte, lt, lte, prefix, limit } = range;
    let start = 0;
    let end = this.size;
    if (gte !== undefined) start = Math.max(start, this.rank(gte));
    if (gt !== undefined) start = Math.max(start, this.rankAfter(gt));
    if (lt !== undefined) end = Math.min(end, this.rank(lt));
    if (lte !== undefined) end = Math.min(end, this.rankAfter(lte));
    if (prefix !== undefined) {
      start = Math.max(start, this.rank(prefix));
      const after = prefixEnd(prefix);
      if (after !== undefined) end = Math.min(end, this.rank(after));
    }
    end = Math.max(start, end);
    if (limit === undefined || limit >= end - start) return { start, end };
    return range.reverse === true ? { start: end - limit, end } : { start, end: start + limit };
  }

  /** The keys of a range, in order; each is a copy. */
  *keys(range: FrozenRange = {}): IterableIterator<Uint8Array> {
    const cursor = this.cursor();
    let { start, end } = this.ordinals(range);
    const isReverse = range.reverse === true;
    cursor.seekToOrdinal(isReverse ? end - 1 : start);
    for (; start < end; start++) {
      if (!cursor.isValid) throw this.countError();
      yield cursor.key.slice(0, cursor.keyLength);
      if (isReverse) cursor.prev();
      else cursor.next();
    }
  }

  /** The keys of a range with their values, in order; each key is a copy. */
  *entries(range: FrozenRange = {}): IterableIterator<[key: Uint8Array, value: number]> {
    const { start, end } = this.ordinals(range);
    let ordinal = range.reverse === true ? end - 1 : start;
    const step = range.reverse === true ? -1 : 1;
    for (const key of this.keys(range)) {
      yield [key, this.valueOf(ordinal)];
      ordinal += step;
    }
  }

  /**
   * The entries of a range whose keys the automaton matches, in order; each key is a copy. The
   * cost follows the keys that could match, not those of the range: the walk turns back wherever
   * the automaton says that no match lies below.
   */
  *search(
    automaton: Automaton,
    range: FrozenRange = {},
  ): IterableIterator<[key: Uint8Array, value: number]> {
    checkAutomaton(automaton);
    checkRange(range);
    const { limit, reverse, ...keys } = range;
    const { start, end } = this.ordinals(keys);
    const search = new FrozenSearch(this.reader, automaton, start, end, reverse === true);
    for (let left = limit ?? this.size; left > 0 && search.next(); left--) {
      yield [search.key.slice(0, search.keyLength), this.valueOf(search.ordinal)];
    }
  }

  [Symbol.iterator](): IterableIterator<[key: Uint8Array, value: number]> {
    return this.entries();
  }

  /** What the layer's bytes are spent on. */
  stats(): FrozenLayerStats {
    const { keyCount, longestKeyBytes, symbolBytes, stateBytes, valueBytes } = this.header;
    return {
      keyCount,
      longestKeyBytes,
      headerBytes: HEADER_BYTES,
      symbolBytes,
      stateBytes,
      valueBytes,
    };
  }

  /** A cursor over the keys: as `keys`, but without a copy of each. It begins off the end. */
  cursor(): FrozenCursor {
    return new FrozenCursor(this.reader);
  }

  /** Checks the sum of all bytes, and every key: that it is found, in order, with its ordinal. */
  verify(): void {
    checkBody(this.bytes, this.file);
    const { reader } = this;
    const cursor = this.cursor();
    cursor.seekToFirst();
    for (let ordinal = 0; ordinal < this.size; ordinal++) {
      if (
        !cursor.isValid ||
        reader.rank(cursor.key, cursor.keyLength) !== ordinal ||
        !reader.isFound
      ) {
        throw damaged(this.file, HEADER_BYTES, `a key with ordinal ${ordinal}`, "none");
      }
      if (this.values !== undefined) this.values.read(ordinal);
      cursor.next();
    }
    if (cursor.isValid) throw this.countError();
  }

  /** An error for states that hold more or fewer keys than the header says. */
  private countError(): Error {
    return damaged(this.file, HEADER_BYTES, `${this.size} keys`, "another number");
  }

  private lookupEntry(): [key: Uint8Array, value: number] | undefined {
    const cursor = this.lookup;
    if (!cursor.isValid) return undefined;
    return [cursor.key.slice(0, cursor.keyLength), this.valueOf(cursor.ordinal)];
  }

  private valueOf(ordinal: number): number {
    return this.values === undefined ? ordinal : this.values.read(ordinal);
  }

  /** Number of keys at or before `key`. */
  private rankAfter(key: Uint8Array): number {
    const rank = this.rank(key);
    return this.reader.isFound ? rank + 1 : rank;
  }

  private checkOrdinal(ordinal: number): void {
    if (!Number.isInteger(ordinal) || ordinal < 0 || ordinal >= this.size) {
      throw new InvalidArgumentError(
        `an ordinal is an integer from 0 to ${this.size - 1} here, not ${ordinal}`,
      );
    }
  }
}

function checkKey(key: Uint8Array): void {
  if (!(key instanceof Uint8Array)) {
    throw new InvalidArgumentError(`a key is a Uint8Array, not ${typeof key}`);
  }
}

function checkAutomaton(automaton: Partial<Automaton> | null | undefined): void {
  if (typeof automaton?.step !== "function" || typeof automaton.isMatch !== "function") {
    throw new InvalidArgumentError("a search takes a pattern: startsWith, glob, regex or fuzzy");
  }
}

function checkRange(range: FrozenRange): void {
  if (typeof range !== "object" || range === null) {
    throw new InvalidArgumentError(`a range is an object, not ${String(range)}`);
  }
  checkNames(range, "range option", RANGE_OPTIONS);
  const { limit, reverse } = range;
  if (reverse !== undefined && typeof reverse !== "boolean") {
    throw new InvalidArgumentError(`reverse is true or false, not ${String(reverse)}`);
  }
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 0)) {
    throw new InvalidArgumentError(`limit is an integer from 0, not ${limit}`);
  }
}
