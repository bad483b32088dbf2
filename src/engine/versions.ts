/**
 * VersionStore: the live Version, on disk and open, and the only way to change it.
 *
 * An edit makes the next manifest out of the current one, in this order, which is what makes a
 * crash at any point harmless: new segments and value logs are complete and synced; their names are
 * synced (the directory); the manifest is replaced, atomically and synced; the new Version is
 * swapped in; and only then are files that it no longer names removed. Edits run one after the
 * other.
 *
 * The manifest also records the next file number, so that none is used twice
 * (manifest/file-numbers.ts), and the newest log with its durable end, so that a log that is missing
 * or cut short is noticed.
 */
import type { BlockCache } from "../cache/block-cache.ts";
import { DatabaseError } from "../errors.ts";
import type { DirectoryLock, FileSystem } from "../io/file-system.ts";
import type { FileNumbers } from "../manifest/file-numbers.ts";
import { type Manifest, readManifest, writeManifest } from "../manifest/manifest.ts";
import type { SegmentMeta, ValueLogMeta } from "../manifest/version.ts";
import type { Segment, SegmentOpenOptions } from "../segment/reader.ts";
import type { SharedSections } from "../segment/resident-sections.ts";
import type { ValueLog } from "../segment/value-log.ts";
import type { SymbolTables } from "../symbols/tables.ts";
import type { LogExtent } from "./logs.ts";
import { OpenFiles, OpenVersion } from "./sources.ts";
import {
  type FileMeta,
  type FilePlace,
  openSegment,
  openValueLog,
  segmentPath,
  valueLogPath,
} from "./version-files.ts";

export interface VersionStoreOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly blockCache: BlockCache;
  readonly symbolTables: SymbolTables;
  /** The newest log, and how far it is durable: each manifest says it, so that a loss is noticed. */
  readonly durableLog: () => LogExtent | undefined;
  /** The manifest is replaced, and files are removed, only while it is certainly held. */
  readonly lock: DirectoryLock;
  /** Called when a file could not be closed or removed; it is removed at the next open. */
  readonly onLeftover: (path: string, cause: unknown) => void;
}

/** Files of a change, complete and synced, but not yet their names. */
export interface AddedFiles {
  readonly segments: readonly SegmentMeta[];
  readonly valueLogs: readonly ValueLogMeta[];
  /** By file number: what need not be read of the segments, since another thread has. */
  readonly sections?: ReadonlyMap<number, SharedSections> | undefined;
}

export class VersionStore {
  private readonly options: VersionStoreOptions;
  private readonly segments: OpenFiles<Segment>;
  private readonly valueLogs: OpenFiles<ValueLog>;
  private manifestNow: Manifest;
  private openNow: OpenVersion;
  private readonly fileNumbers: FileNumbers;
  /** Resolves when the last edit asked for has settled. */
  private lastTask: Promise<void> = Promise.resolve();
  /** File numbers of segments and value logs that were announced. */
  private readonly arriving = new Set<number>();
  /** Files being closed and removed. */
  private readonly removals = new Set<Promise<void>>();
  private isClosing = false;
  /** Set once it is unknown which manifest a crash would find: none is written any more. */
  private uncertainty: DatabaseError | undefined;

  private constructor(manifest: Manifest, fileNumbers: FileNumbers, options: VersionStoreOptions) {
    this.options = options;
    this.segments = new OpenFiles((segment) => this.discard(segment));
    this.valueLogs = new OpenFiles((log) => this.discard(log));
    this.manifestNow = manifest;
    this.fileNumbers = fileNumbers;
    this.openNow = this.openVersion({ runs: [], valueLogs: [] });
  }

  /** Opens every file of the manifest's Version. `fileNumbers` begin above every file there is. */
  static async open(
    manifest: Manifest,
    fileNumbers: FileNumbers,
    options: VersionStoreOptions,
  ): Promise<VersionStore> {
    const store = new VersionStore(manifest, fileNumbers, options);
    try {
      for (const meta of manifest.version.valueLogs) await store.openValueLog(meta);
      // What was in memory before may be much, and little of it may be asked for.
      for (const meta of manifest.version.runs.flat()) {
        await store.openSegment(meta, { isOnDemand: true });
      }
    } catch (error) {
      await store.closeFiles();
      throw error;
    }
    store.openNow = store.openVersion(manifest.version);
    return store;
  }

  get current(): OpenVersion {
    return this.openNow;
  }

  get manifest(): Manifest {
    return this.manifestNow;
  }

  /** Whether some Version that is in use names the segment or value log, or an edit is going to. */
  isLive(fileNumber: number): boolean {
    const { segments, valueLogs, arriving } = this;
    return segments.has(fileNumber) || valueLogs.has(fileNumber) || arriving.has(fileNumber);
  }

  /** Makes `isLive` true of a file that is being written, or was for an edit, until `release`. */
  announce(fileNumber: number): void {
    this.arriving.add(fileNumber);
  }

  /** For files that were announced: each is live by now, or removed. */
  release(fileNumbers: Iterable<number>): void {
    for (const fileNumber of fileNumbers) this.arriving.delete(fileNumber);
  }

  /**
   * The manifest as it is on disk, read between two edits. Rejects with MEMKV_POISONED where it is
   * unknown which one that should be.
   */
  readAgain(): Promise<Manifest | undefined> {
    const { fileSystem, directory } = this.options;
    return this.enqueue(async () => {
      if (this.uncertainty !== undefined) throw this.uncertainty;
      return await readManifest(fileSystem, directory);
    });
  }

  /** Path of a segment's file. */
  pathOf(meta: FileMeta): string {
    return segmentPath(this.options.directory, meta);
  }

  /** Path of a value log's file. */
  logPathOf(meta: FileMeta): string {
    return valueLogPath(this.options.directory, meta);
  }

  /** Reads the headers of all value logs of the Version again. Throws CorruptionError. */
  verifyValueLogs(version: OpenVersion): void {
    const { databaseId } = this.manifestNow;
    for (const meta of version.version.valueLogs) {
      const { fileNumber } = meta;
      const log = this.valueLogs.get(fileNumber);
      log?.verifyHeader({ databaseId, fileNumber });
    }
  }

  /**
   * Installs a change, the files of which were announced. `swap` is called with the new Version in the
   * step that makes it current.
   *
   * If it rejects with MEMKV_POISONED it is unknown which manifest a crash would find; otherwise
   * nothing changed, and the caller may remove the added files and try again.
   */
  edit(
    added: AddedFiles,
    change: (manifest: Manifest) => Manifest,
    swap: (version: OpenVersion) => void,
  ): Promise<void> {
    return this.enqueue(() => this.runEdit(added, change, swap));
  }

  /**
   * Writes a manifest that knows the newest log and how far it is durable, unless the one that is
   * there does. Rejects as `edit` does.
   */
  recordLog(): Promise<void> {
    return this.enqueue(async () => {
      const next = this.withDurableLog(this.manifestNow);
      const isKnown =
        next.newestWal === this.manifestNow.newestWal &&
        next.newestWalEnd === this.manifestNow.newestWalEnd;
      if (!isKnown) this.manifestNow = await this.replaceManifest(next);
    });
  }

  /** Removes finished files that were never installed. */
  async removeFiles({ segments, valueLogs }: AddedFiles): Promise<void> {
    const paths = [
      ...segments.map((meta) => this.pathOf(meta)),
      ...valueLogs.map((meta) => this.logPathOf(meta)),
    ];
    for (const path of paths) {
      try {
        await this.options.lock.confirm();
        await this.options.fileSystem.remove(path);
      } catch (error) {
        this.options.onLeftover(path, error);
      }
    }
  }

  /** Waits for edits and removals under way, and closes every file. No reads are possible after. */
  async close(): Promise<void> {
    await this.lastTask;
    await Promise.all(this.removals);
    this.isClosing = true;
    await this.closeFiles();
    await Promise.all(this.removals);
  }

  /** Runs a task after those before it, whether or not they failed: their callers know. */
  private enqueue<T>(task: () => Promise<T>): Promise<T> {
    const result = this.lastTask.then(task);
    this.lastTask = result.then(ignore, ignore);
    return result;
  }

  private openVersion(version: Manifest["version"]): OpenVersion {
    return new OpenVersion(version, this.segments, this.valueLogs);
  }

  private async closeFiles(): Promise<void> {
    for (const segment of this.segments.all()) await segment.close();
    for (const log of this.valueLogs.all()) await log.close();
  }

  private async runEdit(
    added: AddedFiles,
    change: (manifest: Manifest) => Manifest,
    swap: (version: OpenVersion) => void,
  ): Promise<void> {
    const { fileSystem, directory } = this.options;
    if (this.uncertainty !== undefined) throw this.uncertainty;
    let next: Manifest;
    try {
      for (const meta of added.valueLogs) await this.openValueLog(meta);
      for (const meta of added.segments) {
        // Its bytes are read back, here or in another thread, before anything relies on them.
        await this.openSegment(meta, { sections: added.sections?.get(meta.fileNumber) });
      }
      if (added.segments.length > 0) await fileSystem.syncDirectory(directory);
      next = await this.replaceManifest(this.withDurableLog(change(this.manifestNow)));
    } catch (error) {
      const opened = [
        ...added.segments.map((meta) => this.segments.drop(meta)),
        ...added.valueLogs.map((meta) => this.valueLogs.drop(meta)),
      ];
      for (const file of opened) {
        // What went wrong first decides what the caller may do with the files.
        await file?.close().catch((cause: unknown) => this.options.onLeftover(file.path, cause));
      }
      throw error;
    }
    // In one step: who reads both sees the manifest of the Version that is open.
    const previous = this.openNow;
    this.manifestNow = next;
    this.openNow = this.openVersion(next.version);
    swap(this.openNow);
    previous.release();
  }

  private withDurableLog(manifest: Manifest): Manifest {
    const log = this.options.durableLog();
    if (log === undefined || log.fileNumber < manifest.newestWal) return manifest;
    const isSame = log.fileNumber === manifest.newestWal;
    const newestWalEnd = isSame ? Math.max(log.end, manifest.newestWalEnd) : log.end;
    return { ...manifest, newestWal: log.fileNumber, newestWalEnd };
  }

  /** Writes a manifest, which is the one on disk then, and returns it: the caller makes it the current one. */
  private async replaceManifest(manifest: Manifest): Promise<Manifest> {
    const { fileSystem, directory, lock } = this.options;
    if (this.uncertainty !== undefined) throw this.uncertainty;
    const next = { ...manifest, nextFileNumber: this.fileNumbers.upcoming };
    await lock.confirm();
    try {
      await writeManifest(fileSystem, directory, next);
    } catch (error) {
      if (isPoisoning(error)) this.uncertainty = error;
      throw error;
    }
    return next;
  }

  private async openSegment(
    meta: SegmentMeta,
    how: Pick<SegmentOpenOptions, "sections" | "isOnDemand">,
  ): Promise<void> {
    this.segments.add(await openSegment(meta, this.place, how));
  }

  private async openValueLog(meta: ValueLogMeta): Promise<void> {
    this.valueLogs.add(await openValueLog(meta, this.place));
  }

  private get place(): FilePlace {
    const { databaseId } = this.manifestNow;
    return { ...this.options, databaseId, valueLogs: this.valueLogs };
  }

  private discard(file: OpenFile): void {
    const { path } = file;
    const removal = this.closeAndRemove(file)
      .catch((error: unknown) => this.options.onLeftover(path, error))
      .finally(() => this.removals.delete(removal));
    this.removals.add(removal);
  }

  private async closeAndRemove(file: OpenFile): Promise<void> {
    await file.close();
    // From then on the directory may be another's; the next open removes what nothing refers to.
    if (this.isClosing) return;
    await this.options.lock.confirm();
    await this.options.fileSystem.remove(file.path);
  }
}

/** A segment or value log. */
interface OpenFile {
  readonly path: string;
  close(): Promise<void>;
}

/** Whether an error leaves it unknown what a crash would find. */
export function isPoisoning(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && error.code === "MEMKV_POISONED";
}

function ignore(): void {
  // For the outcome of a task that its caller was given.
}
