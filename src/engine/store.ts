/**
 * Store: the database below the encodings. Bytes in, bytes out.
 *
 * It owns the directory's lock, the sources that reads look at, the log and memtable that writes go
 * to, and the parts that move data from one to the other: `Committer` (writes), `Rotation` (the next
 * log and memtable), `Background` (flush and compaction) and `VersionStore` (the live Version).
 * `Database` puts keys and values of the user's types on top.
 *
 * Invariants:
 * 1. `sources.memtables[0]` is the memtable being written, and `wal` the log of its newest writes.
 * 2. Every write above the manifest's lastSeqno is in a memtable and in a log from oldestWal on.
 * 3. `visibleSeqno` is the newest write that readers see; it never goes back.
 */
import { setImmediate, setTimeout } from "node:timers/promises";
import type { BlockCache } from "../cache/block-cache.ts";
import type { PickOptions } from "../compaction/pick.ts";
import type { Bounds } from "../encoding/range.ts";
import { BEFORE_EXPIRY, NEVER } from "../entry.ts";
import { ClosedError, InvalidArgumentError, ReadOnlyError } from "../errors.ts";
import type { DirectoryLock, FileSystem } from "../io/file-system.ts";
import { InlineRunner, type JobContext, type JobRunner } from "../jobs/jobs.ts";
import { MergeCoders } from "../jobs/merge-coders.ts";
import { WorkerRunner } from "../jobs/worker-runner.ts";
import type { FileNumbers } from "../manifest/file-numbers.ts";
import type { Run, ValueLogMeta } from "../manifest/version.ts";
import { createMemtable, type Memtable } from "../memtable/memtable.ts";
import type { SymbolTables } from "../symbols/tables.ts";
import type { WalWriter } from "../wal/writer.ts";
import { Background, type BackgroundEvents, type BackgroundHost } from "./background.ts";
import { type CommitHost, Committer } from "./commit.ts";
import { DeadRange } from "./dead-range.ts";
import { writeChannel } from "./diagnostics.ts";
import { Logs } from "./logs.ts";
import type { ResolvedOptions } from "./options.ts";
import { Pins, type WarningEvent } from "./pins.ts";
import { RecentWrites } from "./recent-writes.ts";
import { hashSeedOf, type Recovered, type RecoveryReport } from "./recovery.ts";
import { Rotation, type RotationHost } from "./rotation.ts";
import { RowCache } from "./row-cache.ts";
import { Settling } from "./settling.ts";
import type { Sources } from "./sources.ts";
import { SpareBuffers } from "./spare-buffers.ts";
import { Turns } from "./turns.ts";
import { isPoisoning, type VersionStore } from "./versions.ts";
import { WriteGuard } from "./write-guard.ts";

/** What the store tells of. */
export interface StoreEvents extends BackgroundEvents {
  warning(event: WarningEvent): void;
  closed(): void;
}

/** For a store whose every failure is thrown by a call that waits for it. */
export const NO_EVENTS: StoreEvents = {
  flush: ignore,
  compaction: ignore,
  stall: ignore,
  warning: ignore,
  error: ignore,
  closed: ignore,
};

function ignore(): void {
  // What fails is also thrown by the call that waits for it.
}

/** Options of the store: those of `open`, with the encodings reduced to their names. */
export interface StoreOptions
  extends Omit<ResolvedOptions<unknown, unknown>, "keyEncoding" | "valueEncoding" | "fileSystem"> {
  readonly keyEncoding: string;
  readonly valueEncoding: string;
}

/** Space a log takes ahead where each write is synced: a sync of space that is there already is faster. */
const LOG_STEP_BYTES = 2 ** 18;

/** A log is synced ahead whenever it has grown by so much, or by this part of a memtable. */
const SYNC_AHEAD_BYTES = 2 ** 20;
const SYNC_AHEAD_PART = 1 / 4;

/** Writes of so many bytes may wait to be committed, and of `memtableBytes` if that is more. */
const MIN_PENDING_BYTES = 2 ** 24;

/** With more logs than this to replay, their writes are flushed at open: small sessions add up. */
const MAX_LOGS_AT_OPEN = 8;

/** Memtables above this size are flushed by `close`; smaller ones stay in the log. */
const FLUSH_AT_CLOSE_BYTES = 2 ** 20;

/**
 * The background is told that a flush will come when the first memtable has this size, from which on
 * `close` would flush it, or this part of what it may have.
 */
const PREPARE_BYTES: number = FLUSH_AT_CLOSE_BYTES;
const PREPARE_PART = 1 / 8;

/** Of all databases of the process. */
const codingTurns = new Turns();

/** What a store is made of; see open-store.ts. */
export interface StoreParts {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly options: StoreOptions;
  readonly events: StoreEvents;
  readonly lock: DirectoryLock;
  readonly versions: VersionStore;
  readonly fileNumbers: FileNumbers;
  readonly blockCache: BlockCache;
  readonly symbolTables: SymbolTables;
  readonly recovered: Recovered;
}

export class Store implements CommitHost, RotationHost, BackgroundHost {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly options: StoreOptions;
  readonly versions: VersionStore;
  readonly blockCache: BlockCache;
  readonly recovery: RecoveryReport;
  readonly jobs: JobRunner;
  readonly codingTurns: Turns;
  readonly background: Background;
  readonly guard: WriteGuard;
  readonly committer: Committer;
  readonly rotation: Rotation;
  readonly settling: Settling;
  readonly hashSeed: number;
  readonly recentWrites: RecentWrites;
  readonly spareBuffers: SpareBuffers;
  readonly dead: DeadRange;
  readonly rows: RowCache | undefined;
  readonly pins: Pins;
  sources: Sources;
  visibleSeqno: number;
  /** Whether anything that was written, since the open or before, expires. */
  private hasExpiries: boolean;
  /** Whether the background was told that a flush will come. */
  private isPrepared: boolean;
  private readonly events: StoreEvents;
  private readonly directoryLock: DirectoryLock;
  readonly logs: Logs;
  /** What jobs need besides their sources. */
  readonly jobContext: JobContext;
  /** Ingests under way. */
  private readonly ingests: Set<Promise<unknown>>;
  private closing: Promise<void> | undefined;

  constructor(parts: StoreParts) {
    const { fileSystem, directory, options, events, versions, fileNumbers, recovered } = parts;
    this.fileSystem = fileSystem;
    this.directory = directory;
    this.options = options;
    this.directoryLock = parts.lock;
    this.versions = versions;
    this.blockCache = parts.blockCache;
    this.recovery = recovered.report;
    this.events = events;
    const hashSeed = hashSeedOf(versions.manifest);
    this.hashSeed = hashSeed;
    const memtables = recovered.memtables.map(({ memtable }) => memtable);
    if (memtables.length === 0) {
      const hasTree = options.memtableIndex === "tree";
      memtables.push(createMemtable(options.memtableBytes, 0, 0, 0, { hashSeed, hasTree }));
    }
    this.sources = { memtables, version: versions.current };
    this.visibleSeqno = recovered.lastSeqno;
    this.hasExpiries =
      versions.current.hasExpiries ||
      memtables.some((memtable) => memtable.versions.lastExpiry > 0);
    this.isPrepared = false;
    this.guard = new WriteGuard(parts.lock);
    this.committer = new Committer(this, recovered.lastSeqno);
    this.recentWrites = new RecentWrites();
    this.spareBuffers = new SpareBuffers(
      (memtable) => this.pins.holds(memtable) || this.recentWrites.holds(memtable),
    );
    this.dead = new DeadRange();
    this.rows =
      options.blockCacheBytes > 0
        ? new RowCache(parts.blockCache.ring, recovered.lastSeqno)
        : undefined;
    this.pins = new Pins(
      options.now,
      () => this.checkOpen(),
      (event) => events.warning(event),
      this.dead,
      () => this.visibleSeqno,
    );
    const { databaseId } = versions.manifest;
    this.logs = new Logs(
      {
        fileSystem,
        directory,
        databaseId,
        fileNumbers,
        preallocateBytes:
          options.durability === "sync" ? Math.min(LOG_STEP_BYTES, options.memtableBytes) : 0,
        aheadBytes: Math.min(SYNC_AHEAD_BYTES, options.memtableBytes * SYNC_AHEAD_PART),
        guard: this.guard,
        onFailure: (error) => events.error(error),
        onLeftover: (path, cause) => reportLeftover(options, path, cause),
      },
      recovered.logs,
    );
    this.ingests = new Set();
    this.jobContext = {
      fileSystem,
      directory,
      databaseId,
      fileNumbers,
      segmentBytes: options.segmentBytes,
      largeValueBytes: options.largeValueBytes,
      compression: options.compression,
      mergeCoders: new MergeCoders(parts.symbolTables),
    };
    this.jobs =
      options.background === "worker"
        ? new WorkerRunner(this.jobContext, {
            isLive: (fileNumber) => versions.isLive(fileNumber),
            confirmLock: () => this.guard.confirmLock(),
          })
        : new InlineRunner(this.jobContext);
    this.codingTurns = codingTurns;
    this.background = new Background(this, events);
    this.rotation = new Rotation(this, recovered.memtables);
    this.settling = new Settling(this, (error) => events.error(error));
  }

  /** Sees to what recovery left to do: the last step of an open. */
  async start(recovered: Recovered): Promise<void> {
    void this.settling.start();
    if (!recovered.mustRebase && recovered.logs.length <= MAX_LOGS_AT_OPEN) {
      // What is due may wait until the open has resolved: to start the thread alone takes longer.
      void setImmediate().then(() => this.background.wake());
      return;
    }
    try {
      await this.committer.exclusive(() => this.rotation.rotate());
      await this.background.flushSealed();
    } catch (error) {
      // Many small logs are housekeeping: a full disk is no reason not to open.
      if (!recovered.mustRebase) {
        this.events.error(error);
        return;
      }
      await this.background.stop();
      await this.logs.close();
      await this.versions.close();
      throw error;
    }
  }

  get memtable(): Memtable {
    return this.sources.memtables[0];
  }

  get wal(): WalWriter {
    return this.logs.newest;
  }

  async delay(milliseconds: number, signal: AbortSignal, isAwaited = true): Promise<void> {
    try {
      await setTimeout(milliseconds, undefined, { signal, ref: isAwaited });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** The process does not stay alive for it. */
  callLater(milliseconds: number, callback: () => void): () => void {
    const timer = globalThis.setTimeout(callback, milliseconds).unref();
    return () => clearTimeout(timer);
  }

  now(): number {
    return performance.now();
  }

  idleTime(): number {
    return performance.eventLoopUtilization().idle;
  }

  get maxPendingBytes(): number {
    return Math.max(this.options.memtableBytes, MIN_PENDING_BYTES);
  }

  get segmentBytes(): number {
    return this.jobContext.segmentBytes;
  }

  get maxCompactionBytes(): number {
    return this.options.maxCompactionBytes;
  }

  get policy(): PickOptions {
    return this.options;
  }

  get isSlowed(): boolean {
    return this.background.stalls.isSlowed;
  }

  slowDown(bytes: number): Promise<void> {
    return this.background.stalls.slowDown(bytes);
  }

  /** The time of what is read now. The clock is not asked where nothing expires. */
  get time(): number {
    return this.hasExpiries ? this.clockTime : BEFORE_EXPIRY;
  }

  /** What the clock says. By one that says NaN or less than 0, nothing has expired. */
  get clockTime(): number {
    const now = this.options.now();
    return now >= 0 ? now : BEFORE_EXPIRY;
  }

  /**
   * When an entry that is put with a ttl or that of the database expires: `from` that moment, or now.
   */
  expiryAfter(ttl: number = this.options.ttl, from?: number): number {
    if (ttl === Number.POSITIVE_INFINITY) return NEVER;
    const now = from ?? this.options.now();
    if (!(now >= 0 && now <= NEVER)) {
      throw new InvalidArgumentError(
        `option "now" must return milliseconds since 1970, not ${now}`,
      );
    }
    return Math.min(Math.max(1, Math.ceil(now + ttl)), NEVER);
  }

  checkOpen(): void {
    if (this.closing !== undefined) throw new ClosedError();
  }

  checkWritable(): void {
    this.checkOpen();
    if (this.options.readOnly) throw new ReadOnlyError();
    this.guard.checkWritable();
  }

  publish(lastSeqno: number): void {
    if (writeChannel.hasSubscribers) {
      const operationCount = lastSeqno - this.visibleSeqno;
      const message = { directory: this.directory, operationCount, lastSeqno };
      // A subscriber may write, which must not come in the middle of this write.
      queueMicrotask(() => writeChannel.publish(message));
    }
    if (this.memtable.versions.lastExpiry > 0) this.hasExpiries = true;
    this.visibleSeqno = lastSeqno;
    if (this.rows !== undefined) this.rows.seqno = lastSeqno;
    if (!this.isPrepared) this.prepareFlush();
    if (!this.settling.isAwake && this.memtable.isUnordered) this.settling.wake();
  }

  replaceSources(sources: Sources): void {
    for (const memtable of this.sources.memtables) {
      if (sources.memtables.includes(memtable)) continue;
      this.recentWrites.retire(memtable);
      this.spareBuffers.retire(memtable);
    }
    this.sources = sources;
  }

  poison(cause: unknown): void {
    this.guard.poison(cause);
  }

  private prepareFlush(): void {
    const { memtable, options } = this;
    const enough = Math.min(PREPARE_BYTES, options.memtableBytes * PREPARE_PART);
    if (memtable.byteLength < enough) return;
    this.isPrepared = true;
    this.jobs.prepare();
  }

  /** Moves every write accepted so far from memory into runs. Rejects with ClosedError after `close`. */
  async flush(): Promise<void> {
    this.checkOpen();
    await this.committer.exclusive(async () => {
      if (!this.memtable.isEmpty) await this.rotation.rotate();
    });
    await this.background.flushSealed();
  }

  /** Makes every write acknowledged so far durable. */
  async sync(): Promise<void> {
    await this.committer.exclusive(async () => {
      if (this.logs.isWritable) await this.logs.sync();
    });
  }

  /** Flushes, and merges all runs into one if there is anything to gain within the bounds. */
  async compact(bounds: Bounds): Promise<void> {
    await this.flush();
    await this.background.compactions.compactAll(bounds);
  }

  /** Runs what reads other databases and ends with `attach`. The store is not closed before it ends. */
  async ingest<T>(work: () => Promise<T>): Promise<T> {
    const running = work();
    this.ingests.add(running);
    try {
      return await running;
    } finally {
      this.ingests.delete(running);
    }
  }

  /**
   * Makes runs that were written elsewhere, newest first, the newest writes, numbered up to
   * `lastSeqno`. For an exclusive task that has flushed everything.
   */
  async attach(
    runs: readonly Run[],
    valueLogs: readonly ValueLogMeta[],
    lastSeqno: number,
  ): Promise<void> {
    await this.background.attach(runs, valueLogs, lastSeqno, () => {
      if (this.sources.version.hasExpiries) this.hasExpiries = true;
      // None of it was shown to those who follow what is written.
      this.dead.forget();
      this.rows?.deleteRange();
      this.recentWrites.overlook(lastSeqno);
      this.committer.records.skipTo(lastSeqno);
    });
  }

  logFounded(): Promise<void> {
    return this.logs.founded();
  }

  removeLogsBelow(fileNumber: number): Promise<void> {
    return this.logs.removeBelow(fileNumber);
  }

  /** Waits for accepted writes and a flush under way, cancels compaction, lets go of everything. */
  close(): Promise<void> {
    this.closing ??= this.runClose();
    return this.closing;
  }

  private async runClose(): Promise<void> {
    const failures: unknown[] = [];
    const attempt = async (step: () => Promise<void>): Promise<void> => {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    };
    this.settling.stop();
    if (!this.options.readOnly) {
      await attempt(() => this.committer.exclusive(() => this.finishWriting()));
      await Promise.allSettled(this.ingests);
      await attempt(() => this.background.stop());
      // Who forgets the handle may keep it for long.
      this.spareBuffers.drop();
      if (this.logs.isWritable && this.guard.isWritable) await this.recordLog();
      await attempt(() => this.logs.close());
    }
    // While files that only they held on to can still be removed.
    this.pins.releaseAll();
    await attempt(() => this.versions.close());
    await attempt(() => this.directoryLock.release());
    this.events.closed();
    if (failures.length > 0) throw failures[0];
  }

  /** Leaves little to replay at the next open. What cannot be flushed is in the log all the same. */
  private async finishWriting(): Promise<void> {
    if (!this.guard.isWritable) return;
    if (this.memtable.byteLength >= FLUSH_AT_CLOSE_BYTES) {
      try {
        await this.rotation.rotate();
        await this.background.flushSealed();
      } catch (error) {
        this.events.error(error);
      }
    }
    if (this.logs.isWritable && this.guard.isWritable) await this.logs.sync();
  }

  /**
   * Puts the newest log into the manifest, which makes its loss, or that of its end, noticeable. No
   * write waits for it, and none is less durable without it. After a rotation the flush does it.
   */
  private async recordLog(): Promise<void> {
    try {
      await this.versions.recordLog();
    } catch (error) {
      if (isPoisoning(error)) this.poison(error);
      else if (this.guard.isWritable) this.events.error(error);
    }
  }

  /** As `recordLog`, once there is a log to record. A close, which may come first, does it too. */
  async recordFounded(): Promise<void> {
    try {
      await this.logs.founded();
    } catch {
      // That has been told, and writes are refused.
      return;
    }
    if (this.closing === undefined) await this.recordLog();
  }

  /** Refuses all further writes: the directory may be another process's. */
  loseLock(cause: Error): void {
    this.events.error(this.guard.fence(cause));
  }
}

/** A file that could not be removed, or a lock that could not be given back: the next open sees to it. */
export function reportLeftover(options: StoreOptions, path: string, cause: unknown): void {
  options.logger.warn?.(`${path} was left over: ${String(cause)}`);
}
