/**
 * Database: what users open. Keys and values of their types over the byte store.
 *
 * Reads are synchronous and see every write that was acknowledged. Writes return a promise that
 * resolves when the write is as durable as asked; a rejected write did not happen. `open` makes one.
 */
import type { EventEmitter } from "node:events";
import { describe, type KeyEncodingOption } from "../encoding/key-codec.ts";
import { type KeyRange, toBounds } from "../encoding/range.ts";
import type { ValueEncodingOption } from "../encoding/value-codec.ts";
import { InvalidArgumentError } from "../errors.ts";
import { unknownName } from "../names.ts";
import type { RecordBuilder } from "../wal/batch.ts";
import type { FlushEvent } from "./background.ts";
import { type CheckpointProgress, type CheckpointReport, checkpointStore } from "./checkpoint.ts";
import { type Codecs, createCodecs, type Encodings, type KeyOf, type ValueOf } from "./codecs.ts";
import type { CompactionEvent } from "./compactions.ts";
import { type IngestReport, ingestInto } from "./ingest.ts";
import { toUserError, withUserErrors } from "./io-error.ts";
import type { Pin } from "./iteration.ts";
import {
  checkIngest,
  checkPath,
  checkProgress,
  type IfAbsent,
  type IfValue,
  type IngestOptions,
  type PutOptions,
  resolveDurability,
  resolvePut,
  resolveTransaction,
  resolveWrite,
  type TransactionOptions,
  type TtlOption,
  type WriteOptions,
} from "./options.ts";
import type { PinKind, WarningEvent } from "./pins.ts";
import { type Moment, ReadView } from "./read-view.ts";
import type { RecoveryReport } from "./recovery.ts";
import { shareMoment } from "./shared-snapshot.ts";
import { Snapshot } from "./snapshot.ts";
import type { StallEvent } from "./stalls.ts";
import { type DatabaseStats, readStats } from "./stats.ts";
import type { Store } from "./store.ts";
import { runTransaction, Transaction } from "./transaction.ts";
import { hasValue } from "./value-condition.ts";
import { type VerifyProgress, type VerifyReport, verifyStore } from "./verify.ts";
import { type BatchOperation, WriteEncoder } from "./write-encoder.ts";

/** What a database emits. */
export interface DatabaseEvents {
  /** A memtable became a run. */
  readonly flush: [event: FlushEvent];
  /** Runs were merged. */
  readonly compaction: [event: CompactionEvent];
  /** Writers began, or ceased, to be held back because flushes or compactions fall behind. */
  readonly stall: [event: StallEvent];
  /** A snapshot, iteration or stream was never closed, and let go of as it became garbage. */
  readonly warning: [event: WarningEvent];
  /**
   * Background work failed, or the lock was lost. The database goes on as far as it can: reads
   * always, writes unless they throw. Without a listener the error is only logged.
   */
  readonly error: [error: unknown];
}

const EVENTS = Object.keys({
  flush: true,
  compaction: true,
  stall: true,
  warning: true,
  error: true,
} satisfies Record<keyof DatabaseEvents, true>);

export class Database<K = string, V = unknown> extends ReadView<K, V> {
  private readonly store: Store;
  private readonly encoder: WriteEncoder<K, V>;
  private readonly emitter: EventEmitter;
  private closing: Promise<void> | undefined;

  /** Use `open`. */
  constructor(store: Store, codecs: Codecs<K, V>, emitter: EventEmitter) {
    super(codecs);
    this.store = store;
    this.encoder = new WriteEncoder(store, codecs);
    this.emitter = emitter;
    this.closing = undefined;
  }

  /** Directory of the database; `:memory:` for one in memory. */
  get location(): string {
    return this.store.directory;
  }

  /** What the open that made this database found: records replayed, bytes dropped, orphans removed. */
  get recovery(): RecoveryReport {
    return this.store.recovery;
  }

  /**
   * Stores a value under a key, replacing what was there.
   *
   * Resolves when the write is as durable as asked: after fdatasync for `"sync"`, after write() for
   * `"os"`. Writes that are under way together share one system call and at most one sync.
   *
   * With a `ttl` the entry is gone so many milliseconds after the call: reads no longer see it from
   * then on, as if it had been deleted, and its space comes back with flushes and compactions. A
   * snapshot, a transaction and an iteration keep to the time at which they began. Time is that of
   * the option `now`, usually the machine's clock: if that is set back, entries live longer by as
   * much, and one that had expired may show again unless a flush or compaction has dropped it.
   *
   * @example
   * ```ts
   * import { open } from "memkv";
   *
   * let time = Date.now();
   * const db = await open<string, string>(":memory:", { ttl: 60_000, now: () => time });
   * await db.put("session", "ada"); // gone after a minute
   * await db.put("code", "1234", { ttl: 5_000 }); // gone after five seconds
   * await db.put("name", "Ada", { ttl: Infinity }); // stays
   * time += 10_000;
   * console.log([...db.keys()], db.count()); // [ 'name', 'session' ] 2
   * await db.close();
   * ```
   *
   * @throws InvalidArgumentError (MEMKV_INVALID_ARGUMENT): the key or value cannot be encoded, or is
   *   too long (keys 64 KiB, values 1 GiB); `undefined` is not a value; the `ttl` is negative or not a
   *   number. Nothing was written.
   * @throws ClosedError, ReadOnlyError, LockedError: the database takes no writes. (If the lock is
   *   lost while this write is under way, it is unknown whether it survives.)
   * @throws DatabaseError MEMKV_IO: the log could not be written (disk full); the write did not
   *   happen, and later ones may. MEMKV_BUSY: writes of `memtableBytes`, and of 16 MiB, wait
   *   already; this one did not happen. MEMKV_POISONED: a sync failed; whether this write survives is
   *   unknown until the database is reopened, and no later one is taken.
   */
  put(key: K, value: V, options?: PutOptions): Promise<void>;
  /**
   * Stores a value under a key if the key is not there (`ifAbsent: true`), or if it has the value
   * that `get` returned for it (`ifValue`). Resolves to whether that was so, and so whether the value
   * was written. Durability and errors as without a condition.
   *
   * It is decided when the write's turn comes, by every write before it and by no other: of several
   * that ask for the same, one is done. Values are compared as they are encoded, so with `"msgpack"`
   * and `"json"` the order of an object's properties counts.
   *
   * @example
   * ```ts
   * import { open } from "memkv";
   *
   * const db = await open<string, number>(":memory:");
   * await db.put("visits", 1, { ifAbsent: true }); // true
   * for (;;) {
   *   const before = db.get("visits");
   *   if (await db.put("visits", (before ?? 0) + 1, { ifValue: before })) break;
   * }
   * console.log(db.get("visits")); // 2
   * await db.close();
   * ```
   */
  put(key: K, value: V, options: IfAbsent | (IfValue<V> & TtlOption)): Promise<boolean>;
  put(key: K, value: V, options?: PutOptions & Partial<IfAbsent & IfValue<V>>): Promise<unknown> {
    // Nearly every put: there is nothing to resolve.
    if (options === undefined) {
      return this.write((record) => this.encoder.put(record, key, value, undefined), undefined);
    }
    return this.writeKey("put", key, options, (record, ttl) =>
      this.encoder.put(record, key, value, ttl),
    );
  }

  /** Removes a key; no error if it is not there. Durability and errors as for `put`. */
  delete(key: K, options?: WriteOptions): Promise<void>;
  /** Removes a key if it has a value, as `put` with `ifValue`; resolves to whether it had. */
  delete(key: K, options: IfValue<V>): Promise<boolean>;
  delete(key: K, options?: WriteOptions & Partial<IfValue<V>>): Promise<unknown> {
    return this.writeKey("delete", key, options, (record) => this.encoder.delete(record, key));
  }

  /**
   * Removes every key of a range, at once and for the cost of one small write, however many there
   * are. `{}` is everything. Reads pass what is deleted in one step; its space comes back with the
   * compactions that reach it, at the latest with `compact`. A range whose bounds contradict each
   * other has no keys: nothing is written. Durability and errors as for `put`, and
   *
   * @throws InvalidArgumentError for an unknown option, and for a bound that is `undefined`: one that
   *   is missing by mistake would delete more than was meant.
   */
  deleteRange(range: KeyRange<K>, options?: WriteOptions): Promise<void> {
    return this.write((record) => this.encoder.deleteRange(record, range), options);
  }

  /**
   * Applies operations in order, all or none: readers see them at once, and so does recovery. If
   * one of them is bad, be it by a field that is not known, nothing of the batch is written. Every
   * `ttl` counts from one moment, so equal ones expire together. Durability and errors as for `put`.
   * A batch has at most 2^22 operations, 2^28 bytes of keys, and 2^30 bytes in all.
   */
  batch(operations: readonly BatchOperation<K, V>[], options?: WriteOptions): Promise<void> {
    return this.write((record) => this.encoder.batch(record, operations), options);
  }

  /**
   * As `put`, blocking the thread: on return the write is as durable as asked, and so is every write
   * before it. Blocks for the time of one write() with `"os"`, of an fdatasync with `"sync"`; now and
   * then, where a memtable is full, for the syncs of a new log.
   *
   * @throws what `put` rejects with; and MEMKV_BUSY where it would have to wait, be it for an
   *   asynchronous write or a flush that is under way or, in a loop that gives the event loop no turn,
   *   for memtables to be flushed. Nothing was written then: `await put(...)` does the same and waits.
   */
  putSync(key: K, value: V, options?: PutOptions): void {
    const { store } = this;
    store.checkWritable();
    const { ttl, durability } = resolvePut(options, store.options.durability);
    store.committer.writeSync((record) => this.encoder.put(record, key, value, ttl), durability);
  }

  /** As `delete`, blocking the thread. Durability and errors as for `putSync`. */
  deleteSync(key: K, options?: WriteOptions): void {
    this.writeSync((record) => this.encoder.delete(record, key), options);
  }

  /** As `batch`, blocking the thread. Durability and errors as for `putSync`. */
  batchSync(operations: readonly BatchOperation<K, V>[], options?: WriteOptions): void {
    this.writeSync((record) => this.encoder.batch(record, operations), options);
  }

  /**
   * Runs `body` with a transaction, and commits what it wrote, all or none, if nothing that it read
   * was written by others meanwhile. If something was, the body is run again. Resolves to what the
   * run that committed returned, as durable as asked.
   *
   * Transactions are serializable: each might as well have run alone. That holds for keys and for
   * ranges that were read, keys that were not there included, and against writes outside of
   * transactions too. The body reads and writes through the transaction; what it does to anything
   * else it does at every run. If it throws, nothing is written, and `transaction` rejects with what
   * it threw. Time stands still in it: what expires while it runs is there to its end, and that is no
   * conflict.
   *
   * Nothing is locked, and writers pay nothing. At the commit, each key and range that was read is
   * looked up in the memtables written to since the beginning. One that is under way while more than
   * two memtables are flushed can no longer be judged, and counts as a conflict.
   *
   * @example
   * ```ts
   * import { open } from "memkv";
   *
   * const db = await open<string, number>(":memory:");
   * await db.batch([
   *   { type: "put", key: "alice", value: 10 },
   *   { type: "put", key: "bob", value: 0 },
   * ]);
   * const transfer = async (from: string, to: string, amount: number) =>
   *   db.transaction((tx) => {
   *     const balance = tx.get(from) ?? 0;
   *     if (balance < amount) throw new Error(`${from} has only ${balance}`);
   *     tx.put(from, balance - amount);
   *     tx.put(to, (tx.get(to) ?? 0) + amount);
   *   });
   * await Promise.all([transfer("alice", "bob", 3), transfer("alice", "bob", 4)]);
   * console.log(db.getMany(["alice", "bob"])); // [3, 7]
   * await db.close();
   * ```
   *
   * @throws ConflictError (MEMKV_CONFLICT) when there was a conflict at every try; nothing of it was
   *   written.
   * @throws InvalidArgumentError for a transaction within the body of another, an unknown option,
   *   and where it writes more than a batch may have.
   * @throws ClosedError, ReadOnlyError, LockedError, DatabaseError as `put`.
   */
  async transaction<T>(
    body: (transaction: Transaction<K, V>) => T | Promise<T>,
    options?: TransactionOptions,
  ): Promise<T> {
    const { store } = this;
    store.checkWritable();
    if (typeof body !== "function") {
      throw new InvalidArgumentError(`transaction takes a function, not ${describe(body)}`);
    }
    const begin = (): Transaction<K, V> => {
      store.checkWritable();
      const { sources, visibleSeqno, pins } = store;
      // The clock is asked even if nothing expires yet: what the transaction writes may.
      const pin = pins.take("transaction", sources, visibleSeqno, store.clockTime);
      return new Transaction(store, this.codecs, pin);
    };
    const resolved = resolveTransaction(options, store.options.durability);
    return await runTransaction(store, begin, body, resolved);
  }

  /**
   * The database as it is now, to be read later. Cheap to take; until it is closed it keeps what it
   * sees in memory and on disk; `stats().pinned` shows what. `using` closes it. One that is forgotten
   * is closed when it becomes garbage, with a `warning` event.
   *
   * @example
   * ```ts
   * import { open } from "memkv";
   *
   * const db = await open<string, string>(":memory:");
   * await db.put("city", "Rome");
   * const before = db.snapshot();
   * await db.put("city", "Oslo");
   * console.log(before.get("city"), db.get("city")); // Rome Oslo
   * before.close();
   * await db.close();
   * ```
   */
  snapshot(): Snapshot<K, V> {
    const { store } = this;
    store.checkOpen();
    const { sources, visibleSeqno, time, pins } = store;
    return new Snapshot(this.codecs, {
      pin: (kind) => pins.take(kind, sources, visibleSeqno, time),
      share: () => shareMoment(store, sources, visibleSeqno, time),
    });
  }

  /**
   * The same database with keys and values in other encodings: what was written as text is read as
   * bytes, say. Everything else is shared; closing either closes both. What the database was created
   * with stays recorded, and it is for the caller to know that the bytes make sense.
   *
   * @throws InvalidArgumentError for an encoding that `open` would refuse.
   */
  withEncodings<
    KE extends KeyEncodingOption<unknown> = "utf8",
    VE extends ValueEncodingOption<unknown> = "msgpack",
  >(encodings: Encodings<KE, VE>): Database<KeyOf<KE>, ValueOf<VE>> {
    return new Database(this.store, createCodecs(encodings), this.emitter);
  }

  /** Makes every write acknowledged so far durable, whatever durability it asked for. */
  async sync(): Promise<void> {
    this.store.checkWritable();
    await withUserErrors("sync", () => this.store.sync());
  }

  /** Moves every write accepted so far from memory into a run. Resolves when that is durable. */
  async flush(): Promise<void> {
    this.store.checkWritable();
    await withUserErrors("flush", () => this.store.flush());
  }

  /**
   * Flushes, and merges all runs into one, dropping what was overwritten or deleted or has expired.
   * What a flush left uncoded is coded, and smaller, even where there is nothing to merge it with.
   * Takes time and disk space in proportion to what is merged; reads and writes go on meanwhile.
   *
   * With a range, nothing is merged where there is nothing to gain within it: where one run has all
   * of its keys, and its segments there hold no tombstones and nothing that has expired. Otherwise
   * more is merged than was asked for, since runs are merged whole; segments that are coded, that
   * nothing else overlaps, and of which nothing is to be dropped, are not rewritten.
   *
   * @throws InvalidArgumentError for a bad range.
   * @throws ClosedError if the database is closed before it is done; nothing is lost.
   */
  async compact(range?: KeyRange<K>): Promise<void> {
    this.store.checkWritable();
    const bounds = toBounds(range, this.codecs.key);
    await withUserErrors("compaction", () => this.store.compact(bounds));
  }

  /**
   * Makes another database in `directory` with what this one holds now: a backup that opens, or a
   * copy to try things on. `directory` is created if need be, and must be empty.
   *
   * Flushes, and then gives the files a second name where the file system can (on the same device),
   * which takes no time and no space; otherwise it copies them. Reads and writes go on meanwhile.
   * Files that are shared share the disk's faults too: a backup against those is to be copied away.
   *
   * @throws InvalidArgumentError for a bad option, and for a directory that is this database's or in it.
   * @throws DatabaseError MEMKV_EXISTS if there is something in the directory.
   * @throws LockedError if another checkpoint is being made there, or a database is open.
   * @throws ClosedError if the database is closed before it is done; no database is left there.
   */
  async checkpoint(
    directory: string,
    options: { readonly onProgress?: ((progress: CheckpointProgress) => void) | undefined } = {},
  ): Promise<CheckpointReport> {
    this.store.checkWritable();
    checkProgress(options);
    checkPath("directory", directory);
    return withUserErrors("checkpoint", () =>
      checkpointStore(this.store, directory, options.onProgress),
    );
  }

  /**
   * Puts everything that other databases hold into this one, atomically: large stores are built in
   * parts, by several processes, and put together so. Each source is the directory of a database,
   * with the same encodings as this one, or a segment file of one. The entries are newer than all
   * that is here; of a key that several sources have, the last source's counts. An ingest deletes
   * nothing, and changes nothing in the sources, which need not even be closed: what they hold as the
   * call begins is taken.
   *
   * Where a source is one run, as after `compact()`, without expiries, its segments are copied as
   * they are (but for those with values in value logs); otherwise its entries are merged and
   * written anew. Takes time and disk space in proportion to that; reads and writes go on
   * meanwhile, and writes wait only at the end, for a flush and for a sync of each new segment.
   * Transactions that began before are run again.
   *
   * @throws InvalidArgumentError for a source that is no database, is this one, or has other
   *   encodings, and for an empty list.
   * @throws DatabaseError MEMKV_NOT_FOUND where there is no source; what opening one throws.
   * @throws CorruptionError for damage in a source. In every case nothing was changed.
   * @throws ClosedError if the database is closed before it is done.
   */
  async ingest(sources: readonly string[], options: IngestOptions = {}): Promise<IngestReport> {
    this.store.checkWritable();
    checkIngest(sources, options);
    return withUserErrors("ingest", () =>
      this.store.ingest(() => ingestInto(this.store, [...sources], options)),
    );
  }

  /**
   * Reads the manifest, every segment and every log that is still needed, and checks every checksum,
   * the order of keys and runs, counts and ordinals. Other calls go on meanwhile.
   *
   * @throws InvalidArgumentError for a bad option.
   * @throws CorruptionError for the first damage found, with file, offset, expected and found.
   * @throws DatabaseError MEMKV_POISONED where it is unknown which manifest a crash would find.
   */
  async verify(
    options: { readonly onProgress?: ((progress: VerifyProgress) => void) | undefined } = {},
  ): Promise<VerifyReport> {
    this.store.checkOpen();
    checkProgress(options);
    return withUserErrors("verify", () => verifyStore(this.store, options.onProgress));
  }

  /**
   * What the database consists of and has done, in numbers. Cheap, but for the first call after an
   * open: that reads the heads of key indexes, and where ranges were deleted some pages of them.
   *
   * @throws CorruptionError, DatabaseError MEMKV_IO, as `get`.
   */
  stats(): DatabaseStats {
    this.store.checkOpen();
    try {
      return readStats(this.store);
    } catch (error) {
      throw toUserError(error, "read");
    }
  }

  /**
   * Waits for the writes that were accepted, cancels compaction, and lets go of everything. Calls
   * after it throw ClosedError. Idempotent: every call returns the same promise.
   */
  close(): Promise<void> {
    this.closing ??= withUserErrors("close", () => this.store.close());
    return this.closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Calls `listener` at every such event.
   *
   * @throws InvalidArgumentError for an event that there is not.
   */
  on<E extends keyof DatabaseEvents>(
    event: E,
    listener: (...args: DatabaseEvents[E]) => void,
  ): this {
    checkEvent(event);
    this.emitter.on(event, listener);
    return this;
  }

  /** As `on`, for the next such event only. */
  once<E extends keyof DatabaseEvents>(
    event: E,
    listener: (...args: DatabaseEvents[E]) => void,
  ): this {
    checkEvent(event);
    this.emitter.once(event, listener);
    return this;
  }

  /** Takes back `on`. */
  off<E extends keyof DatabaseEvents>(
    event: E,
    listener: (...args: DatabaseEvents[E]) => void,
  ): this {
    this.emitter.off(event, listener);
    return this;
  }

  protected override moment(): Moment {
    this.store.checkOpen();
    return this.store;
  }

  protected override pin(kind: PinKind): Pin {
    const { sources, visibleSeqno, time } = this.moment();
    return this.store.pins.take(kind, sources, visibleSeqno, time);
  }

  private write(
    encode: (record: RecordBuilder) => void,
    options: WriteOptions | undefined,
  ): Promise<void> {
    try {
      this.store.checkWritable();
      const durability = resolveDurability(options, this.store.options.durability);
      return this.store.committer.write(encode, durability);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  private writeSync(
    encode: (record: RecordBuilder) => void,
    options: WriteOptions | undefined,
  ): void {
    this.store.checkWritable();
    const durability = resolveDurability(options, this.store.options.durability);
    this.store.committer.writeSync(encode, durability);
  }

  private writeKey(
    kind: "put" | "delete",
    key: K,
    options: (PutOptions & Partial<IfAbsent & IfValue<V>>) | undefined,
    encodeKey: (record: RecordBuilder, ttl: number | undefined) => void,
  ): Promise<unknown> {
    try {
      const { store } = this;
      store.checkWritable();
      const resolved = resolveWrite(kind, options, store.options.durability);
      const { ttl, durability, expectation } = resolved;
      const encode = (record: RecordBuilder): void => encodeKey(record, ttl);
      if (expectation === undefined) return store.committer.write(encode, durability);
      const condition =
        expectation === "anything"
          ? () => true
          : hasValue(store, this.codecs, key, expectation.value);
      return store.committer.writeIf(condition, encode, durability);
    } catch (error) {
      return Promise.reject(error);
    }
  }
}

/** Throws for an event that there is not: it would never come. */
function checkEvent(event: string): void {
  if (!EVENTS.includes(event)) throw unknownName(event, "event", EVENTS);
}
