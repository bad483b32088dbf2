/**
 * Logs: the logs that are still needed, of which the newest takes the writes.
 *
 * An open database has no log of its own until its first write, so that reading alone leaves no
 * trace. The header of a new log states which log came before and where that one's records end; so a
 * log that is missing, or that lost its end, is noticed at recovery.
 *
 * A new log takes records at once, while its header and its name are made durable: what a crash
 * leaves of it until then is the torn end of the log before it, at worst all that it had. A log of
 * writes that nobody asks to be synced is synced as it grows, so that its last sync, which the next
 * log has to wait for, has little to do. Both go on beside the writes.
 *
 * Invariants:
 * 1. Every log but the newest is wholly synced before the next one exists. Recovery relies on it to
 *    tell damage from a torn end.
 * 2. The newest log `isFounded`, durable by header and by name, before a sync of its records is said
 *    to be done, before the manifest names it, and before the log after it exists.
 * 3. One sync at a time, and none after one that failed: the system reports a failure once, and to
 *    whichever asks first (docs/durability.md).
 */
import { assert } from "../assert.ts";
import { type FileSystem, joinPath } from "../io/file-system.ts";
import type { FileNumbers } from "../manifest/file-numbers.ts";
import { walFileName } from "../manifest/files.ts";
import { WalWriter, type WalWriterOptions } from "../wal/writer.ts";
import type { WriteGuard } from "./write-guard.ts";

/** A log, and where its records end. */
export interface LogExtent {
  readonly fileNumber: number;
  readonly end: number;
}

export interface LogsOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly databaseId: Uint8Array;
  readonly fileNumbers: FileNumbers;
  /** Space that a log takes ahead; see WalWriterOptions. */
  readonly preallocateBytes: number;
  /** With so much that is not durable, a log is synced without being asked. */
  readonly aheadBytes: number;
  /** Told where it is unknown whether a log is durable; no log is synced after that. */
  readonly guard: Pick<WriteGuard, "checkWritable" | "confirmLock" | "poison">;
  /** Told of such an error where no caller waits for the sync. */
  readonly onFailure: (error: unknown) => void;
  /** Told of a log that could not be removed; the next open removes it. */
  readonly onLeftover: (path: string, cause: unknown) => void;
}

export class Logs {
  private readonly options: LogsOptions;
  /** Oldest first. The end of the newest is that of `writer`, if there is one. */
  private extents: LogExtent[];
  private writer: WalWriter | undefined;
  /** Whether the newest log is durable by header and by name. */
  private isFounded: boolean;
  /** The sync under way. */
  private syncing: Promise<void> | undefined;

  /** `recovered`: the logs that recovery replayed, oldest first. */
  constructor(options: LogsOptions, recovered: readonly LogExtent[]) {
    this.options = options;
    this.extents = [...recovered];
    this.writer = undefined;
    this.isFounded = true;
    this.syncing = undefined;
  }

  /** Whether there is a log that takes writes. */
  get isWritable(): boolean {
    return this.writer !== undefined;
  }

  /** The log that takes writes. */
  get newest(): WalWriter {
    assert(this.writer !== undefined, "a log was started before the first write");
    return this.writer;
  }

  /** The logs, oldest first, with their present ends. */
  list(): LogExtent[] {
    const { writer } = this;
    if (writer === undefined) return [...this.extents];
    const newest = this.extents.at(-1);
    assert(newest !== undefined, "the log being written is among the logs");
    return [...this.extents.slice(0, -1), { fileNumber: newest.fileNumber, end: writer.size }];
  }

  /** The newest log that certainly exists after a crash, and how far it is durable. */
  get durable(): LogExtent | undefined {
    const newest = this.extents.at(-1);
    const { writer } = this;
    if (newest === undefined || writer === undefined) return newest;
    if (!this.isFounded) return this.extents.at(-2);
    return { fileNumber: newest.fileNumber, end: writer.durableSize };
  }

  /** Whether a sync is under way. No other may begin, so one that blocks the thread may not. */
  get isSyncing(): boolean {
    return this.syncing !== undefined;
  }

  /** Makes everything that is in the newest log durable. When it rejects, writes are refused. */
  async sync(): Promise<void> {
    // Whoever began it hears of its failure, and so does the next sync, which is this one.
    while (this.syncing !== undefined) await this.syncing.catch(ignore);
    await this.startSync();
  }

  /** As `sync`, blocking the thread. For when none `isSyncing`. */
  syncSync(): void {
    assert(!this.isSyncing, "one sync at a time");
    const { fileSystem, directory } = this.options;
    this.options.guard.checkWritable();
    try {
      const { newest } = this;
      if (newest.durableSize < newest.size) newest.syncSync();
      if (!this.isFounded) fileSystem.syncDirectorySync(directory);
    } catch (error) {
      throw this.options.guard.poison(error);
    }
    this.isFounded = true;
  }

  /** Begins to sync, where that has become worth it. */
  syncAhead(): void {
    const { size, durableSize } = this.newest;
    if (size - durableSize < this.options.aheadBytes || this.isSyncing) return;
    this.startSync().catch(this.options.onFailure);
  }

  /** Resolves once the newest log is durable by header and by name, so that a manifest may name it. */
  async founded(): Promise<void> {
    if (this.isFounded) return;
    await this.syncing?.catch(ignore);
    this.options.guard.checkWritable();
  }

  private startSync(): Promise<void> {
    this.syncing = this.runSync(this.newest).finally(() => {
      this.syncing = undefined;
    });
    return this.syncing;
  }

  private async runSync(writer: WalWriter): Promise<void> {
    const { fileSystem, directory } = this.options;
    this.options.guard.checkWritable();
    try {
      if (writer.durableSize < writer.size) await writer.sync();
      if (!this.isFounded) await fileSystem.syncDirectory(directory);
    } catch (error) {
      throw this.options.guard.poison(error);
    }
    this.isFounded = true;
  }

  get bytes(): number {
    return this.list().reduce((total, log) => total + log.end, 0);
  }

  /**
   * Syncs the newest log and starts the next, which takes the writes from here on; `founded` tells
   * when it is durable. Returns its file number.
   */
  async startNext(): Promise<number> {
    if (this.isWritable) await this.sync();
    // Another process that took the directory over may be about to use the same number.
    await this.options.guard.confirmLock();
    const options = this.nextOptions();
    const writer = await WalWriter.create(options);
    const previous = this.adopt(writer, options.identity.fileNumber);
    this.startSync().catch(this.options.onFailure);
    await previous?.close();
    return options.identity.fileNumber;
  }

  /** As `startNext`, blocking the thread, until the log is durable. The lock is certainly held. */
  startNextSync(): number {
    if (this.isWritable) this.syncSync();
    const options = this.nextOptions();
    const writer = WalWriter.createSync(options);
    const previous = this.adopt(writer, options.identity.fileNumber);
    previous?.close().catch((cause: unknown) => this.options.onLeftover(previous.path, cause));
    this.syncSync();
    return options.identity.fileNumber;
  }

  private nextOptions(): WalWriterOptions {
    const { fileSystem, directory, databaseId, fileNumbers, preallocateBytes } = this.options;
    const fileNumber = fileNumbers.take();
    return {
      fileSystem,
      path: joinPath(directory, walFileName(fileNumber)),
      identity: { databaseId, fileNumber },
      previous: this.list().at(-1),
      preallocateBytes,
    };
  }

  /** Makes the writer, which is to be founded, the newest. Returns the one before. */
  private adopt(writer: WalWriter, fileNumber: number): WalWriter | undefined {
    const previous = this.writer;
    // The list as it is now: logs may have been removed while this one was created.
    this.extents = [...this.list(), { fileNumber, end: writer.size }];
    this.writer = writer;
    this.isFounded = false;
    return previous;
  }

  /** Removes the logs below a number, whose writes are all in runs. */
  async removeBelow(fileNumber: number): Promise<void> {
    const { fileSystem, directory, onLeftover } = this.options;
    const removable = this.extents.filter((log) => log.fileNumber < fileNumber);
    if (removable.length === 0) return;
    await this.options.guard.confirmLock();
    // They are no longer needed from here on, whether or not their files are gone already.
    this.extents = this.extents.filter((log) => log.fileNumber >= fileNumber);
    const kept: LogExtent[] = [];
    for (const log of removable) {
      const path = joinPath(directory, walFileName(log.fileNumber));
      try {
        await fileSystem.remove(path);
      } catch (cause) {
        onLeftover(path, cause);
        kept.push(log);
      }
    }
    // Those that are still there are tried again with the next.
    this.extents = [...kept, ...this.extents];
    await fileSystem.syncDirectory(directory);
  }

  /** Closes the log that takes writes. Does not sync, but waits for the sync under way. */
  async close(): Promise<void> {
    await this.syncing?.catch(ignore);
    const { writer } = this;
    if (writer === undefined) return;
    this.extents = this.list();
    this.writer = undefined;
    await writer.close();
  }
}

function ignore(): void {
  // Of a sync that others have begun.
}
