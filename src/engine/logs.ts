/**
 * Logs: the logs that are still needed, of which the newest takes the writes.
 *
 * An open database has no log of its own until its first write, so that reading alone leaves no
 * trace. A new log is durable, by header and by name, before a record goes into it, and its header
 * states which log came before and where that one's records end; so a log that is missing, or that
 * lost its end, is noticed at recovery.
 *
 * Invariant: every log but the newest is wholly synced. Recovery relies on it to tell damage from a
 * torn end. (The caller syncs before `startNext`, since a failed sync is the caller's to act on.)
 */
import { assert } from "../assert.ts";
import { type FileSystem, joinPath } from "../io/file-system.ts";
import { WalWriter, type WalWriterOptions } from "../wal/writer.ts";
import type { FileNumbers } from "./file-numbers.ts";
import { walFileName } from "./files.ts";

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
  /** Rejects once the directory may be another process's. */
  readonly confirmLock: () => Promise<void>;
  /** Told that it is unknown whether a log is durable; returns the error to throw. */
  readonly poison: (cause: unknown) => Error;
  /** Told of a log that could not be removed; the next open removes it. */
  readonly onLeftover: (path: string, cause: unknown) => void;
}

export class Logs {
  private readonly options: LogsOptions;
  /** Oldest first. The end of the newest is that of `writer`, if there is one. */
  private extents: LogExtent[];
  private writer: WalWriter | undefined;

  /** `recovered`: the logs that recovery replayed, oldest first. */
  constructor(options: LogsOptions, recovered: readonly LogExtent[]) {
    this.options = options;
    this.extents = [...recovered];
    this.writer = undefined;
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

  /** The newest log, and how far it is durable. */
  get durable(): LogExtent | undefined {
    const newest = this.extents.at(-1);
    const { writer } = this;
    if (newest === undefined || writer === undefined) return newest;
    return { fileNumber: newest.fileNumber, end: writer.durableSize };
  }

  get bytes(): number {
    return this.list().reduce((total, log) => total + log.end, 0);
  }

  /** Starts the next log, which takes the writes from here on, and returns its file number. */
  async startNext(): Promise<number> {
    const { fileSystem, directory } = this.options;
    // Another process that took the directory over may be about to use the same number.
    await this.options.confirmLock();
    const options = this.nextOptions();
    const writer = await WalWriter.create(options);
    try {
      await writer.sync();
      await fileSystem.syncDirectory(directory);
      await this.options.confirmLock();
    } catch (error) {
      await writer.close().catch((cause: unknown) => this.options.onLeftover(writer.path, cause));
      throw this.options.poison(error);
    }
    await this.adopt(writer, options.identity.fileNumber)?.close();
    return options.identity.fileNumber;
  }

  /** As `startNext`, blocking the thread. The lock is certainly held. */
  startNextSync(): number {
    const { fileSystem, directory, onLeftover, poison } = this.options;
    const options = this.nextOptions();
    const writer = WalWriter.createSync(options);
    const close = (log: WalWriter): void => {
      log.close().catch((cause: unknown) => onLeftover(log.path, cause));
    };
    try {
      writer.syncSync();
      fileSystem.syncDirectorySync(directory);
    } catch (error) {
      close(writer);
      throw poison(error);
    }
    const previous = this.adopt(writer, options.identity.fileNumber);
    if (previous !== undefined) close(previous);
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

  /** Makes the writer, which is durable, the newest. Returns the one before. */
  private adopt(writer: WalWriter, fileNumber: number): WalWriter | undefined {
    const previous = this.writer;
    // The list as it is now: logs may have been removed while this one was made durable.
    this.extents = [...this.list(), { fileNumber, end: writer.size }];
    this.writer = writer;
    return previous;
  }

  /** Removes the logs below a number, whose writes are all in runs. */
  async removeBelow(fileNumber: number): Promise<void> {
    const { fileSystem, directory, onLeftover } = this.options;
    const removable = this.extents.filter((log) => log.fileNumber < fileNumber);
    if (removable.length === 0) return;
    await this.options.confirmLock();
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

  /** Closes the log that takes writes. Does not sync. */
  async close(): Promise<void> {
    const { writer } = this;
    if (writer === undefined) return;
    this.extents = this.list();
    this.writer = undefined;
    await writer.close();
  }
}
