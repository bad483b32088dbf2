/**
 * What is left of a damaged database: which files are whole enough to be read, which of them are
 * live, and in which order they were written.
 */
import { compareBytes } from "../bytes/compare.ts";
import { BlockCache } from "../cache/block-cache.ts";
import { type FileIdentity, UNNUMBERED } from "../entry.ts";
import { CorruptionError, DatabaseError } from "../errors.ts";
import { type FileSystem, joinPath } from "../io/file-system.ts";
import {
  type NumberedFile,
  parseFileName,
  segmentFileName,
  walFileName,
} from "../manifest/files.ts";
import { MANIFEST_NAME, type Manifest, readManifest } from "../manifest/manifest.ts";
import { identityOf, HEADER_BYTES as SEGMENT_HEADER_BYTES } from "../segment/format.ts";
import { Segment } from "../segment/reader.ts";
import { isDamage } from "../segment/salvage.ts";
import { ValueLog } from "../segment/value-log.ts";
import { decodeHeader, HEADER_BYTES as LOG_HEADER_BYTES, type LogHeader } from "../wal/format.ts";
import { lossOf, type RepairLoss, type RepairReport } from "./report.ts";

export interface Findings {
  /** The manifest, if it is whole and no older than the segments. */
  readonly manifest: Manifest | undefined;
  readonly manifestState: RepairReport["manifest"];
  /** What any manifest says, since it is so for good. */
  readonly encodings: Pick<Manifest, "keyEncoding" | "valueEncoding"> | undefined;
  /** Oldest first. */
  readonly segments: readonly FoundSegment[];
  readonly logs: readonly FoundLog[];
  /** Lets go of what was opened. */
  close(): Promise<void>;
}

/** A segment that can be read, perhaps not everywhere. */
export interface FoundSegment {
  readonly segment: Segment;
  /** Segments that it was merged into, for all or some of its keys. */
  readonly newer: readonly Segment[];
}

export interface FoundLog {
  readonly path: string;
  readonly identity: FileIdentity;
  readonly isNewest: boolean;
  /** How far its records reach at least, if that is known. */
  readonly end: number | undefined;
  readonly bytes: number;
}

/** Who is told of what the survey cannot use. */
export interface SurveyNotes {
  lost(loss: RepairLoss): void;
  ignored(file: string, reason: string): void;
}

/** Opens every segment and value log that can be read. */
export async function survey(
  fileSystem: FileSystem,
  directory: string,
  notes: SurveyNotes,
): Promise<Findings> {
  return await new Survey(fileSystem, directory, notes).run();
}

/** Bytes of value blocks in memory while entries are read in order. */
const BLOCK_CACHE_BYTES = 2 ** 20;

class Survey {
  private readonly fileSystem: FileSystem;
  private readonly directory: string;
  private readonly notes: SurveyNotes;
  private files: readonly NumberedFile[] = [];
  private readonly opened = new Map<number, Segment>();
  private readonly valueLogs = new Map<number, ValueLog>();
  /** Why segments cannot be opened. */
  private readonly failures = new Map<number, unknown>();

  constructor(fileSystem: FileSystem, directory: string, notes: SurveyNotes) {
    this.fileSystem = fileSystem;
    this.directory = directory;
    this.notes = notes;
  }

  async run(): Promise<Findings> {
    const { fileSystem, directory } = this;
    const names = await fileSystem.list(directory);
    this.files = names
      .map(parseFileName)
      .filter((file) => file !== undefined)
      .sort((a, b) => a.fileNumber - b.fileNumber);
    const { manifest: found, state } = await this.findManifest();
    const databaseId = found?.databaseId ?? (await this.commonId());
    if (databaseId === undefined) {
      throw new DatabaseError(
        "MEMKV_NOT_A_DATABASE",
        `${directory} has neither a manifest nor any other file of a memkv database that can be read`,
      );
    }
    try {
      await this.openValueLogs(databaseId);
      await this.openSegments(databaseId);
      const isStale = found !== undefined && this.isStale(found);
      const manifest = isStale ? undefined : found;
      const segments = manifest === undefined ? this.bySeqnos() : await this.byManifest(manifest);
      const logs = await this.findLogs(databaseId, manifest);
      const manifestState = isStale ? "stale" : state;
      const close = (): Promise<void> => this.close();
      return { manifest, manifestState, encodings: found, segments, logs, close };
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  private async close(): Promise<void> {
    for (const file of [...this.opened.values(), ...this.valueLogs.values()]) await file.close();
  }

  private pathOf(name: string): string {
    return joinPath(this.directory, name);
  }

  private async findManifest(): Promise<{
    manifest: Manifest | undefined;
    state: RepairReport["manifest"];
  }> {
    try {
      const manifest = await readManifest(this.fileSystem, this.directory);
      return { manifest, state: manifest === undefined ? "missing" : "used" };
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.notes.ignored(this.pathOf(MANIFEST_NAME), messageOf(error));
      return { manifest: undefined, state: "damaged" };
    }
  }

  /** The database that most files say they belong to. */
  private async commonId(): Promise<Uint8Array | undefined> {
    const votes = new Map<string, { id: Uint8Array; count: number }>();
    for (const { name, kind } of this.files) {
      const header = await this.readStart(name);
      const identity =
        kind === "wal"
          ? decodeHeader(header)?.identity
          : identityOf(header, kind === "segment" ? kind : "value log");
      if (identity === undefined) continue;
      const id = identity.databaseId;
      const vote = votes.get(id.join()) ?? { id, count: 0 };
      votes.set(id.join(), { id, count: vote.count + 1 });
    }
    const [winner] = [...votes.values()].sort((a, b) => b.count - a.count);
    return winner?.id;
  }

  /** A file's header, whatever its kind; less if it is shorter, nothing if it cannot be read. */
  private async readStart(name: string): Promise<Uint8Array> {
    const bytes = new Uint8Array(Math.max(LOG_HEADER_BYTES, SEGMENT_HEADER_BYTES));
    try {
      const file = await this.fileSystem.open(this.pathOf(name), "read");
      try {
        return bytes.subarray(0, file.readSync(bytes, 0));
      } finally {
        await file.close();
      }
    } catch (error) {
      if (!isDamage(error)) throw error;
      return bytes.subarray(0, 0);
    }
  }

  /** What values of a log that cannot be opened are lost is seen where segments refer to them. */
  private async openValueLogs(databaseId: Uint8Array): Promise<void> {
    const { fileSystem } = this;
    for (const { name, kind, fileNumber } of this.files) {
      if (kind !== "valueLog") continue;
      const path = this.pathOf(name);
      try {
        const header = await this.readStart(name);
        if (identityOf(header, "value log") === undefined) throw noHeader(path);
        const log = await ValueLog.open({ fileSystem, path, identity: { databaseId, fileNumber } });
        this.valueLogs.set(fileNumber, log);
      } catch (error) {
        if (!isDamage(error)) throw error;
        this.notes.ignored(path, messageOf(error));
      }
    }
  }

  private async openSegments(databaseId: Uint8Array): Promise<void> {
    const blockCache = new BlockCache(BLOCK_CACHE_BYTES);
    for (const { name, kind, fileNumber } of this.files) {
      if (kind !== "segment") continue;
      try {
        const segment = await Segment.open({
          fileSystem: this.fileSystem,
          path: this.pathOf(name),
          identity: { databaseId, fileNumber },
          blockCache,
          valueLogs: this.valueLogs,
          onDamage: () => {},
        });
        if (segment.properties.lastSeqno === UNNUMBERED.lastSeqno) {
          this.notes.ignored(segment.path, "an ingest was writing it");
          await segment.close();
        } else {
          this.opened.set(fileNumber, segment);
        }
      } catch (error) {
        if (!isDamage(error)) throw error;
        this.failures.set(fileNumber, error);
      }
    }
  }

  /** Whether the manifest is an older one: it lacks what is there, and names what is not. */
  private isStale({ version, nextFileNumber }: Manifest): boolean {
    const isGone = ({ fileNumber }: { fileNumber: number }): boolean =>
      !this.opened.has(fileNumber) && !this.failures.has(fileNumber);
    return (
      version.runs.flat().some(isGone) &&
      [...this.opened.keys()].some((fileNumber) => fileNumber >= nextFileNumber)
    );
  }

  /** The segments that the manifest names. */
  private async byManifest({ version }: Manifest): Promise<FoundSegment[]> {
    const live: Segment[] = [];
    for (const meta of version.runs.flat()) {
      const segment = this.opened.get(meta.fileNumber);
      this.opened.delete(meta.fileNumber);
      if (segment !== undefined) {
        live.push(segment);
        continue;
      }
      const path = this.pathOf(segmentFileName(meta.fileNumber));
      const cause = this.failures.get(meta.fileNumber) ?? missingFile(path);
      this.failures.delete(meta.fileNumber);
      const { keyCount: entries, firstKey, lastKey } = meta;
      const loss = lossOf(path, cause);
      // What range tombstones hid may show again, wherever they were.
      if (entries === 0) this.notes.lost({ ...loss, mayShowOlder: true });
      else this.notes.lost({ ...loss, entries, firstKey, lastKey });
    }
    for (const fileNumber of [...this.opened.keys(), ...this.failures.keys()]) {
      const path = this.pathOf(segmentFileName(fileNumber));
      this.notes.ignored(path, "the manifest does not name it");
      await this.opened.get(fileNumber)?.close();
    }
    this.opened.clear();
    for (const segment of live) this.opened.set(segment.meta.fileNumber, segment);
    return inOrder(live).map((segment) => ({ segment, newer: [] }));
  }

  /** All segments that can be opened, by what they say of themselves. */
  private bySeqnos(): FoundSegment[] {
    for (const [fileNumber, cause] of this.failures) {
      this.notes.lost(lossOf(this.pathOf(segmentFileName(fileNumber)), cause));
    }
    const segments = [...this.opened.values()];
    return inOrder(segments).map((segment) => ({
      segment,
      newer: segments.filter((other) => mayReplace(other, segment)),
    }));
  }

  private async findLogs(
    databaseId: Uint8Array,
    manifest: Manifest | undefined,
  ): Promise<FoundLog[]> {
    const logs: { name: string; fileNumber: number; header: LogHeader | undefined }[] = [];
    for (const { name, kind, fileNumber } of this.files) {
      if (kind !== "wal") continue;
      if (fileNumber < (manifest?.oldestWal ?? 0)) {
        this.notes.ignored(this.pathOf(name), "the manifest no longer needs it");
        continue;
      }
      logs.push({
        name,
        fileNumber,
        header: decodeHeader(await this.readStart(name)),
      });
    }
    const ends = new Map<number, number>();
    for (const { header } of logs) {
      if (header?.previous !== undefined) ends.set(header.previous.fileNumber, header.previous.end);
    }
    if (manifest !== undefined) {
      const { newestWal, newestWalEnd } = manifest;
      ends.set(newestWal, Math.max(newestWalEnd, ends.get(newestWal) ?? 0));
    }
    this.noteMissingLogs(logs, ends, manifest);
    const found: FoundLog[] = [];
    for (const { name, fileNumber } of logs) {
      const path = this.pathOf(name);
      found.push({
        path,
        identity: { databaseId, fileNumber },
        isNewest: fileNumber === logs.at(-1)?.fileNumber,
        end: ends.get(fileNumber),
        bytes: (await this.fileSystem.stat(path))?.size ?? 0,
      });
    }
    return found;
  }

  /** Logs that others name. Without a manifest, those before the first may have been flushed. */
  private noteMissingLogs(
    logs: readonly { readonly fileNumber: number }[],
    ends: ReadonlyMap<number, number>,
    manifest: Manifest | undefined,
  ): void {
    const oldest = manifest?.oldestWal ?? logs.at(0)?.fileNumber ?? 0;
    for (const [fileNumber, bytes] of ends) {
      if (fileNumber < oldest || logs.some((log) => log.fileNumber === fileNumber)) continue;
      const path = this.pathOf(walFileName(fileNumber));
      this.notes.lost({ ...lossOf(path, missingFile(path)), bytes });
    }
  }
}

/**
 * Oldest first, by their place in time; of those with the same, range tombstones first, and then the
 * one made first.
 */
function inOrder(segments: readonly Segment[]): Segment[] {
  return [...segments].sort(
    (a, b) =>
      placeInTime(a) - placeInTime(b) ||
      b.meta.rangeTombstoneCount - a.meta.rangeTombstoneCount ||
      a.meta.fileNumber - b.meta.fileNumber,
  );
}

/**
 * The write after which a segment is to be written again: the last of its own, so that newer hides
 * older; but the first in the case of range tombstones, since they hide older runs only, and what
 * their own run has of their writes comes after them. (What a merge left of older writes is not
 * covered by them any more, so there it does not matter.)
 */
export function placeInTime({ meta, properties }: Segment): number {
  return meta.keyCount === 0 ? properties.firstSeqno : properties.lastSeqno;
}

/** Whether a segment may have been merged into another: that one answers for its writes. */
function mayReplace(newer: Segment, older: Segment): boolean {
  const { firstSeqno, lastSeqno, coverStart, coverEnd } = newer.properties;
  return (
    newer.meta.fileNumber > older.meta.fileNumber &&
    firstSeqno <= older.properties.firstSeqno &&
    older.properties.lastSeqno <= lastSeqno &&
    compareBytes(coverStart, older.lastKey) <= 0 &&
    compareBytes(older.firstKey, coverEnd) < 0
  );
}

function missingFile(file: string): CorruptionError {
  const facts = { file, offset: 0, expected: "a file that others name", actual: "no such file" };
  return new CorruptionError("a file is missing", facts);
}

/** For a header whose version cannot be believed either. */
function noHeader(file: string): CorruptionError {
  const facts = { file, offset: 0, expected: "the header of a value log", actual: "damaged bytes" };
  return new CorruptionError("damaged value log", facts);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
