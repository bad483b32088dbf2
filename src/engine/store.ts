/**
 * Store: the database below the encodings. Bytes in, bytes out.
 *
 * It owns the directory's lock, the sources that reads look at, the log and memtable that writes go
 * to, and the parts that move data from one to the other: `Committer` (writes), `Background` (flush
 * and compaction) and `VersionStore` (the live Version). `Database` puts keys and values of the
 * user's types on top.
 *
 * Invariants:
 * 1. `sources.memtables[0]` is the memtable being written, and `wal` the log of its newest writes.
 * 2. Every write above the manifest's lastSeqno is in a memtable and in a log from oldestWal on.
 * 3. `visibleSeqno` is the newest write that readers see; it never goes back.
 */
import { randomBytes } from "node:crypto";
import { loadChecksum } from "../bytes/checksum.ts";
import { ClosedError, DatabaseError, InvalidArgumentError, ReadOnlyError } from "../errors.ts";
import { type DirectoryLock, type FileSystem, joinPath } from "../io/file-system.ts";
import { BlockCache } from "../segment/block-cache.ts";
import { WalWriter } from "../wal/writer.ts";
import { Background, type BackgroundEvents, type BackgroundHost } from "./background.ts";
import { type CommitHost, Committer } from "./commit.ts";
import { FileNumbers } from "./file-numbers.ts";
import { walFileName } from "./files.ts";
import { InlineRunner, type JobContext, type JobRunner } from "./jobs.ts";
import { createMemtable, type Memtable } from "./memtable.ts";
import type { ResolvedOptions } from "./options.ts";
import {
  findManifest,
  notFound,
  type Recovered,
  type RecoveredLog,
  type RecoveryReport,
  recover,
} from "./recovery.ts";
import type { Sources } from "./sources.ts";
import { VersionStore } from "./versions.ts";
import { WorkerRunner } from "./worker-runner.ts";

/** Options of the store: those of `open`, with the encodings reduced to their names. */
export interface StoreOptions
  extends Omit<ResolvedOptions<unknown, unknown>, "keyEncoding" | "valueEncoding" | "fileSystem"> {
  readonly keyEncoding: string;
  readonly valueEncoding: string;
}

/** Space a log takes ahead where each write is synced: a sync of space that is there already is faster. */
const LOG_STEP_BYTES = 2 ** 22;

/** With more logs than this to replay, their writes are flushed at open: small sessions add up. */
const MAX_LOGS_AT_OPEN = 8;

/** Memtables above this size are flushed by `close`; smaller ones stay in the log. */
const FLUSH_AT_CLOSE_BYTES = 2 ** 20;

export class Store implements CommitHost, BackgroundHost {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly options: StoreOptions;
  readonly versions: VersionStore;
  readonly blockCache: BlockCache;
  readonly recovery: RecoveryReport;
  readonly jobs: JobRunner;
  readonly background: Background;
  readonly committer: Committer;
  sources: Sources;
  visibleSeqno: number;
  private readonly events: BackgroundEvents;
  private readonly fileNumbers: FileNumbers;
  private readonly directoryLock: DirectoryLock;
  /** The log being written; undefined until the first write. */
  private log: WalWriter | undefined;
  /** The logs that are still needed, oldest first; the last one's end is that of `log`, if open. */
  private logs: RecoveredLog[];
  private readonly firstLogs: WeakMap<Memtable, number>;
  private closing: Promise<void> | undefined;

  private constructor(
    fileSystem: FileSystem,
    directory: string,
    options: StoreOptions,
    lock: DirectoryLock,
    versions: VersionStore,
    fileNumbers: FileNumbers,
    blockCache: BlockCache,
    recovered: Recovered,
    events: BackgroundEvents,
  ) {
    this.fileSystem = fileSystem;
    this.directory = directory;
    this.options = options;
    this.directoryLock = lock;
    this.versions = versions;
    this.blockCache = blockCache;
    this.recovery = recovered.report;
    this.events = events;
    this.log = undefined;
    this.logs = [...recovered.logs];
    this.firstLogs = new WeakMap();
    for (const { memtable, firstLog } of recovered.memtables) {
      this.firstLogs.set(memtable, firstLog);
    }
    const memtables = recovered.memtables.map(({ memtable }) => memtable);
    if (memtables.length === 0) memtables.push(createMemtable(options.memtableBytes, 0, 0, 0));
    this.sources = { memtables, version: versions.current };
    this.visibleSeqno = recovered.lastSeqno;
    this.committer = new Committer(this, recovered.lastSeqno);
    this.fileNumbers = fileNumbers;
    const context: JobContext = {
      fileSystem,
      directory,
      databaseId: versions.manifest.databaseId,
      fileNumbers,
      segmentBytes: options.segmentBytes,
      compression: options.compression,
    };
    this.jobs =
      options.background === "worker"
        ? new WorkerRunner(context, (fileNumber) => versions.isLive(fileNumber))
        : new InlineRunner(context);
    this.background = new Background(this, events);
  }

  /** Opens or founds the database in a directory. */
  static async open(
    fileSystem: FileSystem,
    directory: string,
    options: StoreOptions,
    events: BackgroundEvents,
  ): Promise<Store> {
    await loadChecksum();
    const found = await fileSystem.stat(directory);
    if (found !== undefined && !found.isDirectory) {
      throw new DatabaseError(
        "MEMKV_NOT_A_DATABASE",
        `${directory} is a file: a database is a directory`,
      );
    }
    if (!options.createIfMissing || options.readOnly) {
      if (found === undefined) throw notFound(directory);
    } else {
      await fileSystem.createDirectory(directory);
    }
    let store: Store | undefined;
    let lostCause: Error | undefined;
    const lock = options.readOnly
      ? UNLOCKED
      : await fileSystem.lock(directory, (cause) => {
          lostCause = cause;
          store?.loseLock(cause);
        });
    try {
      store = await Store.openLocked(fileSystem, directory, options, lock, events);
      if (lostCause !== undefined) store.loseLock(lostCause);
      return store;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  private static async openLocked(
    fileSystem: FileSystem,
    directory: string,
    options: StoreOptions,
    lock: DirectoryLock,
    events: BackgroundEvents,
  ): Promise<Store> {
    const { manifest, created } = await findManifest(fileSystem, directory, options, () => ({
      keyEncoding: options.keyEncoding,
      valueEncoding: options.valueEncoding,
      databaseId: randomBytes(16),
    }));
    checkEncoding("keyEncoding", manifest.keyEncoding, options.keyEncoding);
    checkEncoding("valueEncoding", manifest.valueEncoding, options.valueEncoding);
    const recovered = await recover(fileSystem, directory, manifest, created, options);
    const blockCache = new BlockCache(options.blockCacheBytes);
    const fileNumbers = FileNumbers.from(recovered.nextFileNumber);
    const versions = await VersionStore.open(manifest, fileNumbers, {
      fileSystem,
      directory,
      blockCache,
      lock,
      onLeftover: (path, cause) => options.logger.warn?.(`${path} was left over: ${String(cause)}`),
    });
    const store = new Store(
      fileSystem,
      directory,
      options,
      lock,
      versions,
      fileNumbers,
      blockCache,
      recovered,
      events,
    );
    try {
      if (!options.readOnly) await store.start(recovered);
    } catch (error) {
      await store.background.stop();
      await versions.close();
      throw error;
    }
    return store;
  }

  /** Sees to what recovery left to do. */
  private async start(recovered: Recovered): Promise<void> {
    if (recovered.mustRebase || recovered.logs.length > MAX_LOGS_AT_OPEN) {
      await this.committer.exclusive(() => this.rotate(0, 0, 0));
      await this.background.flushSealed();
    } else {
      this.background.wake();
    }
  }

  get memtable(): Memtable {
    return this.sources.memtables[0];
  }

  /** Whether log and memtable take one more record with these totals before they are rotated. */
  hasRoom(
    recordBytes: number,
    operationCount: number,
    keyBytes: number,
    valueBytes: number,
  ): boolean {
    const { memtable } = this;
    const isFull = memtable.byteLength >= this.options.memtableBytes && memtable.keyCount > 0;
    return (
      !isFull &&
      memtable.canHold(operationCount, keyBytes, valueBytes) &&
      this.wal.hasRoom(recordBytes)
    );
  }

  /** Throws if there is no log yet; `prepareLog` makes one. */
  get wal(): WalWriter {
    if (this.log === undefined) throw new ReadOnlyError();
    return this.log;
  }

  get isLogReady(): boolean {
    return this.log !== undefined;
  }

  /** Creates the log of the first write since the open. */
  async prepareLog(): Promise<void> {
    if (this.log !== undefined) return;
    this.log = await this.createLog();
    const { fileNumber } = this.logs[this.logs.length - 1];
    if (!this.firstLogs.has(this.memtable)) this.firstLogs.set(this.memtable, fileNumber);
  }

  get lock(): DirectoryLock {
    return this.directoryLock;
  }

  get compactionTrigger(): number {
    return this.options.compactionTrigger;
  }

  get isClosed(): boolean {
    return this.closing !== undefined;
  }

  checkOpen(): void {
    if (this.closing !== undefined) throw new ClosedError();
  }

  checkWritable(): void {
    this.checkOpen();
    if (this.options.readOnly) throw new ReadOnlyError();
    this.committer.checkWritable();
  }

  /** Bytes of the logs that are still needed. */
  get logBytes(): number {
    return this.logsNow().reduce((total, log) => total + log.end, 0);
  }

  /** The logs that are still needed, oldest first, with the present end of each. */
  logsNow(): RecoveredLog[] {
    const { log } = this;
    return this.logs.map((known, i) =>
      log !== undefined && i === this.logs.length - 1 ? { ...known, end: log.size } : known,
    );
  }

  publish(lastSeqno: number): void {
    this.visibleSeqno = lastSeqno;
  }

  replaceSources(sources: Sources): void {
    this.sources = sources;
  }

  firstLogOf(memtable: Memtable): number {
    // A memtable without a log of its own has no writes yet: no log is needed for it.
    return this.firstLogs.get(memtable) ?? (this.logs.at(-1)?.fileNumber ?? 0) + 1;
  }

  poison(cause: unknown): void {
    this.committer.poisonWith(cause);
  }

  async rotate(operationCount: number, keyBytes: number, valueBytes: number): Promise<void> {
    this.committer.checkWritable();
    await this.background.waitForRoom();
    const memtable = createMemtable(
      this.options.memtableBytes,
      operationCount,
      keyBytes,
      valueBytes,
    );
    // Every log but the newest is wholly durable: recovery relies on it to tell damage from a tail.
    if (this.log !== undefined) await this.committer.syncLog();
    const previous = this.log;
    this.log = await this.createLog();
    this.firstLogs.set(memtable, this.logs[this.logs.length - 1].fileNumber);
    this.sources = { ...this.sources, memtables: [memtable, ...this.sources.memtables] };
    await previous?.close();
    this.background.wake();
  }

  /** Moves every write accepted so far from memory into runs. */
  async flush(): Promise<void> {
    await this.committer.exclusive(async () => {
      if (this.memtable.keyCount > 0) await this.rotate(0, 0, 0);
    });
    await this.background.flushSealed();
  }

  /** Makes every write acknowledged so far durable. */
  async sync(): Promise<void> {
    await this.committer.exclusive(async () => {
      if (this.log !== undefined) await this.committer.syncLog();
    });
  }

  /** Flushes, and merges all runs into one. */
  async compact(): Promise<void> {
    await this.flush();
    await this.background.compactAll();
  }

  async removeLogsBelow(fileNumber: number): Promise<void> {
    const removable = this.logs.filter((log) => log.fileNumber < fileNumber);
    if (removable.length === 0) return;
    await this.committer.confirmLock();
    this.logs = this.logs.filter((log) => log.fileNumber >= fileNumber);
    for (const log of removable) {
      await this.fileSystem.remove(joinPath(this.directory, walFileName(log.fileNumber)));
    }
    await this.fileSystem.syncDirectory(this.directory);
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
    if (!this.options.readOnly) {
      await attempt(() => this.committer.exclusive(() => this.finishWriting()));
      await attempt(() => this.background.stop());
      await attempt(async () => this.log?.close());
    }
    await attempt(() => this.versions.close());
    await attempt(() => this.directoryLock.release());
    if (failures.length > 0) throw failures[0];
  }

  /** Leaves little to replay at the next open. What cannot be flushed is in the log all the same. */
  private async finishWriting(): Promise<void> {
    if (!this.committer.isWritable) return;
    if (this.memtable.byteLength >= FLUSH_AT_CLOSE_BYTES) {
      try {
        await this.rotate(0, 0, 0);
        await this.background.flushSealed();
      } catch (error) {
        this.events.error(error);
      }
    }
    if (this.log !== undefined && this.committer.isWritable) await this.committer.syncLog();
  }

  /** Creates the next log, durable by name and header; its header vouches for the one before it. */
  private async createLog(): Promise<WalWriter> {
    const fileNumber = this.fileNumbers.take();
    const log = await WalWriter.create({
      fileSystem: this.fileSystem,
      path: joinPath(this.directory, walFileName(fileNumber)),
      identity: { databaseId: this.versions.manifest.databaseId, fileNumber },
      previous: this.previousLog(),
      preallocateBytes:
        this.options.durability === "sync"
          ? Math.min(LOG_STEP_BYTES, this.options.memtableBytes)
          : 0,
    });
    try {
      await log.sync();
      await this.fileSystem.syncDirectory(this.directory);
    } catch (error) {
      await log.close();
      throw this.committer.poisonWith(error);
    }
    this.logs.push({ fileNumber, end: log.size });
    return log;
  }

  /** The newest log so far, with its end as it is now. */
  private previousLog(): RecoveredLog | undefined {
    const newest = this.logs.at(-1);
    if (newest === undefined) return undefined;
    const previous = { fileNumber: newest.fileNumber, end: this.log?.size ?? newest.end };
    this.logs[this.logs.length - 1] = previous;
    return previous;
  }

  private loseLock(cause: Error): void {
    this.events.error(this.committer.fence(cause));
  }
}

/** The lock of a read-only open, which takes none and writes nothing. */
const UNLOCKED: DirectoryLock = {
  isHeld: () => false,
  confirm: () => Promise.reject(new ReadOnlyError()),
  release: () => Promise.resolve(),
};

function checkEncoding(option: string, recorded: string, asked: string): void {
  if (recorded === asked) return;
  throw new InvalidArgumentError(
    `the database was created with ${option} "${recorded}", so it cannot be opened with "${asked}"`,
  );
}
