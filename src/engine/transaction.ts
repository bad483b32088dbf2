/**
 * Transaction: reads at one moment and writes of its own, committed all together or not at all.
 *
 * Optimistic: nothing is locked. A transaction reads the database as it was when it began, with its
 * own writes on top, and remembers which keys and ranges it read. When it is committed, its place in
 * the order of writes is fixed, and if anything it read was written between its beginning and that
 * place, it conflicts: nothing of it is written, and its body is run again from a new beginning.
 * So every transaction that commits might as well have run alone, at its place in the log: they are
 * serializable, in the order of the log, without write skew and without phantoms (backward
 * validation: Kung and Robinson, "On Optimistic Methods for Concurrency Control", ACM TODS 6 (2),
 * 1981; ranges included, as Adya's PL-3 demands, "Weak Consistency", MIT 1999, section 3.2.4).
 *
 * Time stands still in a transaction: what expires while it runs is there to its end, and that is no
 * conflict.
 *
 * One that only reads is serializable where it began and is not checked. Of two that conflict the
 * one that is first in the log commits, so some transaction always gets on.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { EVERYTHING, type KeyRange, toBounds, toDeletedSpan } from "../encoding/range.ts";
import { ClosedError, ConflictError, InvalidArgumentError } from "../errors.ts";
import type { Codecs } from "./codecs.ts";
import type { Pin } from "./iteration.ts";
import {
  type Durability,
  type ResolvedTransactionOptions,
  resolveTtl,
  type SampleOptions,
  type TtlOption,
} from "./options.ts";
import type { PinKind } from "./pins.ts";
import { ReadSet } from "./read-set.ts";
import { type Moment, ReadView } from "./read-view.ts";
import type { Beginning } from "./recent-writes.ts";
import type { ReadSources } from "./sources.ts";
import type { Store } from "./store.ts";
import { WriteSet } from "./write-set.ts";

/**
 * What the body of `db.transaction` is given. Reads as a database and sees its own writes; every
 * method throws ClosedError once the body has ended.
 */
export class Transaction<K = string, V = unknown> extends ReadView<K, V> {
  private readonly store: Store;
  private readonly held: Pin;
  private readonly beginning: Beginning;
  private readonly reads: ReadSet;
  private readonly writes: WriteSet;
  /** Of iterations and streams, which the body may have left half-way. */
  private readonly pins: Pin[];
  private sources: ReadSources;
  private isOver: boolean;

  /** Use `db.transaction`. `pin` is let go of at the end. */
  constructor(store: Store, codecs: Codecs<K, V>, pin: Pin) {
    super(codecs);
    this.store = store;
    this.held = pin;
    this.beginning = store.recentWrites.begin(pin.seqno);
    this.reads = new ReadSet();
    this.writes = new WriteSet();
    this.pins = [];
    this.sources = pin.sources;
    this.isOver = false;
  }

  /** Whether the body has not ended. */
  get isLive(): boolean {
    return !this.isOver;
  }

  /** Whether the transaction is one of this store. */
  isOf(store: Store): boolean {
    return this.store === store;
  }

  /**
   * Stores a value under a key, when the transaction commits. The transaction sees it at once. A
   * `ttl` counts from this call.
   *
   * @throws InvalidArgumentError as `db.put`; the transaction is as before.
   */
  put(key: K, value: V, options?: TtlOption): void {
    this.checkLive();
    const ttl = resolveTtl(options);
    const { key: keyCodec, value: valueCodec } = this.codecs;
    // The key last: clock and value may run the user's code, which may read and so encode other keys.
    const expiry = this.store.expiryAfter(ttl);
    const bytes = valueCodec.encode(value);
    const length = keyCodec.encode(key);
    this.writes.put(keyCodec.buffer, length, bytes, expiry);
    this.sourcesChanged();
  }

  /** Removes a key, when the transaction commits. No error if it is not there. */
  delete(key: K): void {
    this.checkLive();
    const keyCodec = this.codecs.key;
    const length = keyCodec.encode(key);
    this.writes.delete(keyCodec.buffer, length);
    this.sourcesChanged();
  }

  /**
   * Removes every key of a range, when the transaction commits, whoever wrote it. The range is not
   * read by that: a key that others put into it meanwhile is deleted, and is no conflict.
   *
   * @throws InvalidArgumentError as `db.deleteRange`; the transaction is as before.
   */
  deleteRange(range: KeyRange<K>): void {
    this.checkLive();
    const span = toDeletedSpan(range, this.codecs.key);
    if (span === undefined) return;
    this.writes.deleteRange(span);
    this.sourcesChanged();
  }

  override get(key: K): V | undefined {
    this.readKey(key);
    return super.get(key);
  }

  override getMany(keys: readonly K[]): (V | undefined)[] {
    // What is no array is refused below.
    if (Array.isArray(keys)) for (const key of keys) this.readKey(key);
    return super.getMany(keys);
  }

  override getStream(key: K): ReadableStream<Uint8Array> | undefined {
    this.readKey(key);
    return super.getStream(key);
  }

  override has(key: K): boolean {
    this.readKey(key);
    return super.has(key);
  }

  override count(range?: KeyRange<K>): number {
    const count = super.count(range);
    this.reads.addRange(toBounds(range, this.codecs.key));
    return count;
  }

  override rank(key: K): number {
    const rank = super.rank(key);
    this.reads.addRange(toBounds({ lt: key }, this.codecs.key));
    return rank;
  }

  override at(index: number): K | undefined {
    const key = super.at(index);
    this.reads.addRange(key === undefined ? EVERYTHING : toBounds({ lte: key }, this.codecs.key));
    return key;
  }

  override sample(size: number, options?: SampleOptions): K[] {
    this.reads.addRange(EVERYTHING);
    return super.sample(size, options);
  }

  /** Ends the body's turn: no more reads and writes. */
  finish(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.held.release();
  }

  /** Writes everything, or resolves to false if something that was read was written meanwhile. */
  async commit(durability: Durability): Promise<boolean> {
    const { store, beginning, reads, writes } = this;
    if (writes.isEmpty) return true;
    // The body may have closed the database, or somebody else meanwhile.
    store.checkWritable();
    const { seqno } = beginning;
    return await store.committer.writeIf(
      (earlier) => {
        const memtables = store.recentWrites.since(seqno, store.sources.memtables);
        return memtables !== undefined && !reads.isWritten(seqno, memtables, earlier);
      },
      (record) => writes.appendTo(record),
      durability,
    );
  }

  /**
   * Lets go of everything. To be called when it is decided whether the transaction commits: up to
   * then an iteration that was left half-way is asked how far it went.
   */
  end(): void {
    this.finish();
    for (const pin of this.pins) {
      pin.observe = undefined;
      pin.release();
    }
    this.store.recentWrites.end(this.beginning);
  }

  protected override moment(): Moment {
    this.checkLive();
    const { seqno, time } = this.held;
    return { sources: this.sources, visibleSeqno: seqno, time };
  }

  protected override pin(kind: PinKind): Pin {
    this.checkLive();
    const { sources, held, reads } = this;
    const pin: Pin = {
      ...this.store.pins.take(kind, sources, held.seqno, held.time),
      // The transaction's own puts are in no range that the store knows of.
      dead: undefined,
      checkOpen: (): void => this.checkLive(),
      observe: (observation): void => reads.addObservation(observation),
    };
    this.pins.push(pin);
    return pin;
  }

  private checkLive(): void {
    if (this.isOver) throw new ClosedError("the transaction is over");
    this.held.checkOpen();
  }

  /** Remembers that a key was read, unless its value is the transaction's own. */
  private readKey(key: K): void {
    this.checkLive();
    const { key: codec } = this.codecs;
    const length = codec.encode(key);
    if (!this.writes.has(codec.buffer, length)) this.reads.addKey(codec.buffer, length);
  }

  /** What is known of the order of keys goes with the sources, so they are new ones. */
  private sourcesChanged(): void {
    const { memtables, version } = this.held.sources;
    this.sources = { memtables: [this.writes, ...memtables], version };
  }
}

/** The transaction whose body is running, across its awaits. */
const running = new AsyncLocalStorage<{ readonly isLive: boolean; isOf(store: Store): boolean }>();
let runningCount = 0;

/**
 * Runs the body until a run of it commits, and returns what that run returned.
 *
 * @throws ConflictError when there are no retries left; what the body throws, which aborts it.
 */
export async function runTransaction<K, V, T>(
  store: Store,
  begin: () => Transaction<K, V>,
  body: (transaction: Transaction<K, V>) => T | Promise<T>,
  options: ResolvedTransactionOptions,
): Promise<T> {
  const outer = running.getStore();
  if (outer?.isLive && outer.isOf(store)) {
    throw new InvalidArgumentError(
      "a transaction was begun in the body of another: use the one that the body is given",
    );
  }
  for (let retry = 0; ; retry++) {
    if (retry > 0) await options.backOff(retry);
    const transaction = begin();
    try {
      const result = await runBody(transaction, body);
      if (await transaction.commit(options.durability)) return result;
    } finally {
      transaction.end();
    }
    if (retry >= options.retries) throw new ConflictError(retry + 1);
  }
}

async function runBody<K, V, T>(
  transaction: Transaction<K, V>,
  body: (transaction: Transaction<K, V>) => T | Promise<T>,
): Promise<T> {
  // Following the body across its awaits makes every promise of the process slower on Node 20 and
  // 22, so it is switched off while no transaction runs.
  runningCount++;
  try {
    return await running.run(transaction, async () => await body(transaction));
  } finally {
    transaction.finish();
    runningCount--;
    if (runningCount === 0) running.disable();
  }
}
