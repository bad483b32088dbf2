/**
 * The three iterators of abstract-level: entries, keys and values.
 *
 * Each is a thin class over a `LevelCursor`, which reads the database's own iterator in blocks: what
 * abstract-level asks for with `nextv` is one synchronous loop. The moment is pinned when the
 * iterator is made. Reading is synchronous, so a loop over it would keep timers and sockets waiting:
 * the cursor lets the event loop have its turn after every YIELD_ENTRIES entries.
 */
import { setImmediate } from "node:timers/promises";
import {
  AbstractIterator,
  type AbstractIteratorOptions,
  AbstractKeyIterator,
  type AbstractKeyIteratorOptions,
  AbstractValueIterator,
  type AbstractValueIteratorOptions,
} from "abstract-level";
import type { IterationRange } from "../index.ts";
import type { MemkvLevel } from "./memkv-level.ts";
import type { LevelSnapshot } from "./snapshot.ts";
import {
  type Data,
  type Format,
  type Formats,
  type Moment,
  type SnapshotView,
  toBytes,
  toText,
} from "./views.ts";

/** About a millisecond of reading. */
const YIELD_ENTRIES = 1024;

/** What abstract-level hands to `_iterator` and its kin: the ends of the range are encoded. */
export interface LevelRange {
  readonly gt?: Data;
  readonly gte?: Data;
  readonly lt?: Data;
  readonly lte?: Data;
  readonly reverse: boolean;
  readonly limit: number;
  readonly keyEncoding: Format;
  readonly valueEncoding: Format;
  readonly keys?: boolean;
  readonly values?: boolean;
  readonly signal?: AbortSignal | null;
  readonly snapshot?: LevelSnapshot | null;
}

/** What is asked of an iterator of the database. */
interface Items<T> {
  nextMany(items: T[], length: number): boolean;
  return(): void;
}

/** How an iterator reads: which parts of the entries, and the same part with its key as text. */
interface Reading<T> {
  read(view: SnapshotView, range: IterationRange<Data>): Items<T>;
  withTextKey(item: T): T;
}

type Database = MemkvLevel<unknown, unknown>;
type Entry = [key: Data | undefined, value: Data | undefined];

/** A position in a range of one moment. */
class LevelCursor<T> {
  private readonly moment: Moment;
  private readonly range: LevelRange;
  private readonly reading: Reading<T>;
  /** Makes the iterator from where it is to begin. */
  private open: () => Items<T>;
  private iterator: Items<T> | undefined;
  private unyielded: number;
  /** What reading failed with: the end was not reached, so it is told whenever more is asked for. */
  private failure: { readonly error: unknown } | undefined;

  /** Takes over the moment, unless it is that of the range's explicit snapshot. */
  constructor(moment: Moment, range: LevelRange, reading: Reading<T>) {
    this.moment = moment;
    this.range = withOwnEnds(range);
    this.reading = reading;
    this.open = (): Items<T> => this.iterate(this.range, this.range);
    this.iterator = undefined;
    this.unyielded = 0;
    this.failure = undefined;
  }

  async next(): Promise<T | undefined> {
    if (this.range.signal != null) await this.checkSignal();
    if (++this.unyielded > YIELD_ENTRIES) await this.rest();
    const items: T[] = [];
    this.read(items, 1);
    return items.at(0);
  }

  /** Up to so many of the next items; fewer at the end, and before one that cannot be read. */
  async take(count: number): Promise<T[]> {
    if (this.range.signal != null) await this.checkSignal();
    const items: T[] = [];
    while (items.length < count) {
      if (this.unyielded >= YIELD_ENTRIES) await this.rest();
      const from = items.length;
      const hasMore = this.read(items, Math.min(count, from + YIELD_ENTRIES - this.unyielded));
      this.unyielded += items.length - from;
      if (!hasMore) break;
    }
    return items;
  }

  /** As `take`, but all that there are or none. */
  async takeAll(count: number): Promise<T[]> {
    const items = await this.take(count);
    if (this.failure !== undefined) throw this.failure.error;
    return items;
  }

  /**
   * Moves to the target, or the next key in the iterator's direction; off the end if it is outside.
   * Nothing is read before it is asked for: then it is told, by its code, if the snapshot is closed.
   */
  seek(target: Data): void {
    this.stop();
    this.failure = undefined;
    const { range } = this;
    const own = copyOf(target);
    const bytes = toBytes(own);
    if (!isWithin(bytes, range)) this.open = (): Items<T> => NO_ITEMS;
    else if ((typeof own === "string") === (range.keyEncoding === "utf8")) {
      this.open = (): Items<T> => this.iterate(range, endsFrom(own, range));
    } else {
      this.open = (): Items<T> => this.iterateByBytes(endsFrom(bytes, range));
    }
  }

  close(): Promise<void> {
    this.stop();
    if (this.range.snapshot == null) this.moment.release();
    return Promise.resolve();
  }

  /** Reads on until there are `length` items; false at the end. Throws where nothing could be read. */
  private read(items: T[], length: number): boolean {
    if (this.failure !== undefined) throw this.failure.error;
    const from = items.length;
    try {
      return this.started().nextMany(items, length);
    } catch (error) {
      this.failure = { error };
      if (items.length === from) throw error;
      return false;
    }
  }

  private started(): Items<T> {
    this.iterator ??= this.open();
    return this.iterator;
  }

  /** abstract-level itself stops at the limit: here it says how much to read at once. */
  private iterate(formats: Formats, ends: IterationRange<Data>): Items<T> {
    const { reverse, limit } = this.range;
    const { gte, lte } = ends;
    const gt = gte === undefined ? ends.gt : undefined;
    const lt = lte === undefined ? ends.lt : undefined;
    return this.reading.read(this.moment.of(formats), { gt, gte, lt, lte, reverse, limit });
  }

  /** For ends that are bytes: text is made of the keys afterwards, where that is what is asked for. */
  private iterateByBytes(ends: IterationRange<Data>): Items<T> {
    const { keyEncoding, valueEncoding } = this.range;
    const items = this.iterate({ keyEncoding: "view", valueEncoding }, ends);
    if (keyEncoding !== "utf8") return items;
    return new MappedItems(items, (item) => this.reading.withTextKey(item));
  }

  private stop(): void {
    this.iterator?.return();
    this.iterator = undefined;
  }

  /** Lets the event loop have its turn. */
  private async rest(): Promise<void> {
    this.unyielded = 0;
    await setImmediate();
    await this.checkSignal();
  }

  /** Throws if the read was aborted, also in the step that began it: it has not read anything yet. */
  private async checkSignal(): Promise<void> {
    await undefined;
    if (this.range.signal?.aborted === true) throw new AbortError();
  }
}

function iteratorOf<T>(iterable: { [Symbol.iterator](): Items<T> }): Items<T> {
  return iterable[Symbol.iterator]();
}

/** Items made of others. */
class MappedItems<S, T> implements Items<T> {
  private readonly source: Items<S>;
  private readonly map: (item: S) => T;

  constructor(source: Items<S>, map: (item: S) => T) {
    this.source = source;
    this.map = map;
  }

  nextMany(items: T[], length: number): boolean {
    const more: S[] = [];
    try {
      return this.source.nextMany(more, length - items.length);
    } finally {
      // Those before one that could not be read, too.
      for (const item of more) items.push(this.map(item));
    }
  }

  return(): void {
    this.source.return();
  }
}

const NO_ITEMS: Items<never> = {
  nextMany: () => false,
  return: () => {},
};

/** abstract-level's own is not exported; `code` and `name` are what its users look at. */
class AbortError extends Error {
  readonly code = "LEVEL_ABORTED";
  override readonly name = "AbortError";

  constructor() {
    super("Operation has been aborted");
  }
}

/** The lower end of a range; where a user gives two, abstract-level has `gte` go before `gt`. */
export function lowerEnd({ gt, gte }: LevelRange): IterationRange<Data> {
  return gte !== undefined ? { gte } : gt !== undefined ? { gt } : {};
}

export function upperEnd({ lt, lte }: LevelRange): IterationRange<Data> {
  return lte !== undefined ? { lte } : lt !== undefined ? { lt } : {};
}

/** The range with ends that the user's later changes to its bytes do not reach. */
function withOwnEnds(range: LevelRange): LevelRange {
  if (range.keyEncoding === "utf8") return range;
  const { gt, gte, lt, lte } = range;
  const ends: Record<string, Data> = {};
  for (const [end, key] of Object.entries({ gt, gte, lt, lte })) {
    if (key !== undefined) ends[end] = copyOf(key);
  }
  return { ...range, ...ends };
}

function copyOf(data: Data): Data {
  return typeof data === "string" ? data : new Uint8Array(data);
}

/** What is left of a range from a target on, in the same format as the target. */
function endsFrom(target: Data, range: LevelRange): IterationRange<Data> {
  const convert = typeof target === "string" ? toText : toBytes;
  const rest = range.reverse ? lowerEnd(range) : upperEnd(range);
  const ends: Record<string, Data> = { [range.reverse ? "lte" : "gte"]: target };
  for (const [end, key] of Object.entries(rest)) ends[end] = convert(key as Data);
  return ends;
}

function isWithin(target: Uint8Array, range: LevelRange): boolean {
  const { gt, gte } = lowerEnd(range);
  const { lt, lte } = upperEnd(range);
  const compareTo = (end: Data): number => Buffer.compare(target, toBytes(end));
  return (
    (gte === undefined || compareTo(gte) >= 0) &&
    (gt === undefined || compareTo(gt) > 0) &&
    (lte === undefined || compareTo(lte) <= 0) &&
    (lt === undefined || compareTo(lt) < 0)
  );
}

export class LevelIterator<K, V> extends AbstractIterator<Database, K, V> {
  private readonly cursor: LevelCursor<Entry>;

  constructor(db: Database, range: LevelRange, moment: Moment) {
    super(db, range as unknown as AbstractIteratorOptions<K, V>);
    this.cursor = new LevelCursor(moment, range, new ReadEntries(range));
  }

  _next(): Promise<Entry | undefined> {
    return this.cursor.next();
  }

  _nextv(size: number): Promise<Entry[]> {
    return this.cursor.take(size);
  }

  _all(): Promise<Entry[]> {
    return this.cursor.takeAll(this.limit - this.count);
  }

  _seek(target: Data): void {
    this.cursor.seek(target);
  }

  _close(): Promise<void> {
    return this.cursor.close();
  }
}

/** Entries; a side that the user does not want is not read. */
class ReadEntries implements Reading<Entry> {
  private readonly keys: boolean;
  private readonly values: boolean;

  constructor({ keys, values }: LevelRange) {
    this.keys = keys !== false;
    this.values = values !== false;
  }

  read(view: SnapshotView, range: IterationRange<Data>): Items<Entry> {
    if (!this.values) {
      return new MappedItems(iteratorOf(view.keys(range)), (key) => [key, undefined]);
    }
    if (!this.keys) {
      return new MappedItems(iteratorOf(view.values(range)), (value) => [undefined, value]);
    }
    return iteratorOf(view.entries(range));
  }

  withTextKey([key, value]: Entry): Entry {
    return [key === undefined ? undefined : toText(key), value];
  }
}

const READ_KEYS: Reading<Data> = {
  read: (view, range) => iteratorOf(view.keys(range)),
  withTextKey: toText,
};

const READ_VALUES: Reading<Data> = {
  read: (view, range) => iteratorOf(view.values(range)),
  withTextKey: (value) => value,
};

export class LevelKeyIterator<K> extends AbstractKeyIterator<Database, K> {
  private readonly cursor: LevelCursor<Data>;

  constructor(db: Database, range: LevelRange, moment: Moment) {
    super(db, range as unknown as AbstractKeyIteratorOptions<K>);
    this.cursor = new LevelCursor(moment, range, READ_KEYS);
  }

  _next(): Promise<Data | undefined> {
    return this.cursor.next();
  }

  _nextv(size: number): Promise<Data[]> {
    return this.cursor.take(size);
  }

  _all(): Promise<Data[]> {
    return this.cursor.takeAll(this.limit - this.count);
  }

  _seek(target: Data): void {
    this.cursor.seek(target);
  }

  _close(): Promise<void> {
    return this.cursor.close();
  }
}

export class LevelValueIterator<K, V> extends AbstractValueIterator<Database, K, V> {
  private readonly cursor: LevelCursor<Data>;

  constructor(db: Database, range: LevelRange, moment: Moment) {
    super(db, range as unknown as AbstractValueIteratorOptions<K, V>);
    this.cursor = new LevelCursor(moment, range, READ_VALUES);
  }

  _next(): Promise<Data | undefined> {
    return this.cursor.next();
  }

  _nextv(size: number): Promise<Data[]> {
    return this.cursor.take(size);
  }

  _all(): Promise<Data[]> {
    return this.cursor.takeAll(this.limit - this.count);
  }

  _seek(target: Data): void {
    this.cursor.seek(target);
  }

  _close(): Promise<void> {
    return this.cursor.close();
  }
}
