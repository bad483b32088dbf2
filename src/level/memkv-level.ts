/**
 * MemkvLevel: a memkv database behind the interface of abstract-level 3, for what is written for
 * Level (y-leveldb, sublevels, hooks and so on).
 *
 * abstract-level does the public part (encodings, events, hooks, sublevels, deferred open) and calls
 * the methods here, whose names begin with an underscore, with keys and values already in one of the
 * formats of views.ts. The database underneath stores bytes ("binary"), so one directory may be read
 * under any of Level's encodings, and by memkv's own `open` with `keyEncoding: "binary"` and
 * `valueEncoding: "binary"`.
 *
 * What differs from LevelDB: reads are synchronous underneath (`getSync` costs what `get` costs), and
 * a read never waits for the thread pool.
 */
import { type AbstractDatabaseOptions, AbstractLevel } from "abstract-level";
import {
  type BatchOperation,
  ClosedError,
  type Database,
  type DatabaseStats,
  type IterationRange,
  type OpenOptions,
  open,
  type TtlOption,
  type WriteOptions,
} from "../index.ts";
import {
  LevelIterator,
  LevelKeyIterator,
  type LevelRange,
  LevelValueIterator,
  lowerEnd,
  upperEnd,
} from "./iterators.ts";
import { LevelSnapshot } from "./snapshot.ts";
import {
  type Data,
  type Formats,
  Moment,
  type SnapshotView,
  toBytes,
  type View,
  type Views,
  viewsOf,
} from "./views.ts";

type OwnOptions = Omit<OpenOptions, "keyEncoding" | "valueEncoding">;

/** LevelDB's bindings have a `compression` too, which is true or false. */
type LevelOptions = Omit<OwnOptions, "compression"> & {
  readonly compression?: OwnOptions["compression"] | boolean;
};
const COMPRESSION = { true: "auto", false: "none" } as const;

/**
 * Options of the constructor: Level's own, and those of memkv's `open` but for the encodings. Others
 * are left to the `postopen` hooks, as Level does.
 */
export interface MemkvLevelOptions<K, V>
  extends AbstractDatabaseOptions<K, V>,
    Omit<LevelOptions, "createIfMissing" | "errorIfExists"> {}

/** The names of memkv's own options. */
const OPEN_OPTIONS: Record<keyof OwnOptions, true> = {
  durability: true,
  ttl: true,
  recovery: true,
  memtableBytes: true,
  memtableIndex: true,
  blockCacheBytes: true,
  segmentBytes: true,
  largeValueBytes: true,
  compactionTrigger: true,
  sizeRatio: true,
  minMergeWidth: true,
  maxMergeWidth: true,
  maxSizeAmplificationPercent: true,
  maxCompactionBytes: true,
  compression: true,
  background: true,
  createIfMissing: true,
  errorIfExists: true,
  readOnly: true,
  fileSystem: true,
  logger: true,
  now: true,
};

/** Options of a write. */
export interface MemkvWriteOptions {
  /**
   * True: the write has reached the disk when its promise resolves. False: it has reached the
   * operating system. Default: as the option `durability` of the constructor, which is "os" unless
   * it is given, as users of LevelDB expect.
   */
  readonly sync?: boolean | undefined;
}

/** abstract-level leaves it to its implementations to say which options of their own a write takes. */
declare module "abstract-level" {
  interface AbstractPutOptions<K, V> extends MemkvWriteOptions, TtlOption {}
  interface AbstractDelOptions<K> extends MemkvWriteOptions {}
  interface AbstractBatchOptions<K, V> extends MemkvWriteOptions, TtlOption {}
  interface AbstractBatchPutOperation<TDatabase, K, V> extends TtlOption {}
  interface AbstractChainedBatchPutOptions<TDatabase, K, V> extends TtlOption {}
  interface AbstractClearOptions<K> extends MemkvWriteOptions {}
  interface AbstractChainedBatchWriteOptions extends MemkvWriteOptions {}
}

interface ReadOptions extends Formats {
  readonly snapshot?: LevelSnapshot | null | undefined;
}

interface PutOperation extends Formats, TtlOption {
  readonly type: "put";
  readonly key: Data;
  readonly value: Data;
}

interface DelOperation extends Formats {
  readonly type: "del";
  readonly key: Data;
}

type Operation = PutOperation | DelOperation;

const BYTES = { keyEncoding: "view", valueEncoding: "view" } as const;

/** Keys that `clear` removes in one batch, where it cannot be one range. */
const CLEAR_BATCH_KEYS = 1000;

export class MemkvLevel<K = string, V = string> extends AbstractLevel<Data, K, V> {
  /** Directory of the database; `:memory:` for one in memory. */
  readonly location: string;
  private opened: Database<Uint8Array, Uint8Array> | undefined;
  private views: Views<View> | undefined;

  /**
   * A database in `location`, opened on its own in the next tick, as Level does.
   *
   * The promise of `open()` rejects with LEVEL_DATABASE_NOT_OPEN, whose cause is what memkv's `open`
   * would have thrown: InvalidArgumentError, LockedError, CorruptionError and so on.
   */
  constructor(location: string, options?: MemkvLevelOptions<K, V>) {
    super(
      {
        encodings: { utf8: true, view: true },
        implicitSnapshots: true,
        explicitSnapshots: true,
        permanence: location !== ":memory:",
        seek: true,
        has: true,
        getSync: true,
        createIfMissing: true,
        errorIfExists: true,
        signals: { iterators: true },
        additionalMethods: { count: true, compact: true, stats: true },
      } as ConstructorParameters<typeof AbstractLevel>[0],
      options,
    );
    this.location = location;
    this.opened = undefined;
    this.views = undefined;
  }

  /** The database underneath, for what Level has no method for; undefined while it is not open. */
  get database(): Database<Uint8Array, Uint8Array> | undefined {
    return this.opened;
  }

  /**
   * The exact number of keys in a range given in the database's default key encoding. Needs an open
   * database. Cost: see memkv's `count`.
   */
  count(range: { gt?: K; gte?: K; lt?: K; lte?: K } = {}): number {
    const encoding = this.keyEncoding();
    const encoded: Record<string, Uint8Array> = {};
    for (const [end, key] of Object.entries(range)) {
      encoded[end] = toBytes(encoding.encode(key as K) as Data);
    }
    return this.live.count(encoded);
  }

  /** As memkv's `compact`. */
  compact(): Promise<void> {
    return this.live.compact();
  }

  /** As memkv's `stats`. */
  stats(): DatabaseStats {
    return this.live.stats();
  }

  async _open(options: Record<string, unknown>): Promise<void> {
    const known = Object.entries(options).filter(([name]) => Object.hasOwn(OPEN_OPTIONS, name));
    const { compression, ...own } = Object.fromEntries(known) as LevelOptions;
    this.opened = await open(this.location, {
      durability: "os",
      ...own,
      compression: typeof compression === "boolean" ? COMPRESSION[`${compression}`] : compression,
      keyEncoding: "binary",
      valueEncoding: "binary",
    });
    this.views = viewsOf(this.opened);
  }

  async _close(): Promise<void> {
    await this.opened?.close();
    this.opened = undefined;
    this.views = undefined;
  }

  _get(key: Data, options: ReadOptions): Promise<Data | undefined> {
    return promiseOf(() => this.readView(options).get(key));
  }

  _getSync(key: Data, options: ReadOptions): Data | undefined {
    return this.readView(options).get(key);
  }

  _getMany(keys: readonly Data[], options: ReadOptions): Promise<(Data | undefined)[]> {
    return promiseOf(() => this.readView(options).getMany(keys));
  }

  _has(key: Data, options: ReadOptions): Promise<boolean> {
    return promiseOf(() => this.readView(options).has(key));
  }

  _hasMany(keys: readonly Data[], options: ReadOptions): Promise<boolean[]> {
    return promiseOf(() => {
      const view = this.readView(options);
      return keys.map((key) => view.has(key));
    });
  }

  _put(key: Data, value: Data, options: Formats & MemkvWriteOptions & TtlOption): Promise<void> {
    const { ttl } = options;
    const write = writeOptions(options);
    return this.view(options).put(key, value, ttl === undefined ? write : { ...write, ttl });
  }

  _del(key: Data, options: Formats & MemkvWriteOptions): Promise<void> {
    return this.view(options).delete(key, writeOptions(options));
  }

  _batch(operations: readonly Operation[], options: MemkvWriteOptions): Promise<void> {
    const formats = commonFormats(operations);
    if (formats !== undefined) {
      const batch = operations.map((operation) => toOperation(operation, (data) => data));
      return this.view(formats).batch(batch, writeOptions(options));
    }
    const batch = operations.map((operation) => toOperation(operation, toBytes));
    return this.live.batch(batch, writeOptions(options));
  }

  async _clear(options: LevelRange & MemkvWriteOptions): Promise<void> {
    const { reverse, limit, snapshot } = options;
    // As bytes: other encodings may have written keys that are no text.
    const range = { ...toBytesRange(lowerEnd(options)), ...toBytesRange(upperEnd(options)) };
    if (snapshot == null && !(limit >= 0 && limit < Number.POSITIVE_INFINITY)) {
      await this.live.deleteRange(range, writeOptions(options));
      return;
    }
    const view = this.readView({ ...BYTES, snapshot });
    const target = this.view(BYTES);
    let batch: BatchOperation<Data, Data>[] = [];
    for (const key of view.keys({ ...range, reverse, limit })) {
      batch.push({ type: "delete", key });
      if (batch.length < CLEAR_BATCH_KEYS) continue;
      await target.batch(batch, writeOptions(options));
      batch = [];
    }
    if (batch.length > 0) await target.batch(batch, writeOptions(options));
  }

  _iterator(range: LevelRange): LevelIterator<K, V> {
    return new LevelIterator(this as MemkvLevel<unknown, unknown>, range, this.momentOf(range));
  }

  _keys(range: LevelRange): LevelKeyIterator<K> {
    return new LevelKeyIterator(this as MemkvLevel<unknown, unknown>, range, this.momentOf(range));
  }

  _values(range: LevelRange): LevelValueIterator<K, V> {
    return new LevelValueIterator(
      this as MemkvLevel<unknown, unknown>,
      range,
      this.momentOf(range),
    );
  }

  _snapshot(options: { owner: unknown }): LevelSnapshot {
    const formats = { keyEncoding: "utf8", valueEncoding: "utf8" };
    return new LevelSnapshot(new Moment(this.view(formats).snapshot(), formats), options);
  }

  /** The user's snapshot, or a moment of now that the iterator lets go of. */
  private momentOf(range: LevelRange): Moment {
    const { snapshot } = range;
    return snapshot?.moment ?? new Moment(this.view(range).snapshot(), range);
  }

  private readView(options: ReadOptions): View | SnapshotView {
    const { snapshot } = options;
    return snapshot == null ? this.view(options) : snapshot.moment.of(options);
  }

  private view(formats: Formats): View {
    if (this.views === undefined) throw new ClosedError();
    return this.views.of(formats);
  }

  private get live(): Database<Uint8Array, Uint8Array> {
    if (this.opened === undefined) throw new ClosedError();
    return this.opened;
  }
}

function toBytesRange(range: IterationRange<Data>): IterationRange<Uint8Array> {
  return Object.fromEntries(Object.entries(range).map(([end, key]) => [end, toBytes(key as Data)]));
}

/** A promise of what a synchronous read returns or throws. */
async function promiseOf<T>(read: () => T): Promise<T> {
  return read();
}

function writeOptions({ sync }: MemkvWriteOptions): WriteOptions | undefined {
  if (sync === undefined) return undefined;
  return { durability: sync ? "sync" : "os" };
}

/** The formats that all operations of a batch share; undefined where they differ. */
function commonFormats(operations: readonly Operation[]): Formats | undefined {
  const keyEncoding = operations.at(0)?.keyEncoding;
  let valueEncoding: string | undefined;
  for (const operation of operations) {
    if (operation.keyEncoding !== keyEncoding) return undefined;
    if (operation.type === "del") continue;
    valueEncoding ??= operation.valueEncoding;
    if (operation.valueEncoding !== valueEncoding) return undefined;
  }
  return { keyEncoding, valueEncoding };
}

function toOperation<T extends Data>(
  operation: Operation,
  convert: (data: Data) => T,
): BatchOperation<T, T> {
  const key = convert(operation.key);
  if (operation.type === "del") return { type: "delete", key };
  return { type: "put", key, value: convert(operation.value), ttl: operation.ttl };
}
