/**
 * Where reads look: memtables and open runs, newest first, as immutable lists.
 *
 * The database holds one `Sources` and replaces it when a memtable is sealed or flushed or a
 * compaction is installed. Whoever keeps reading from one (a snapshot, an iteration) pins it; the
 * memtables it names live as long as it does, and the files of its runs leave the disk only when
 * the last `OpenVersion` that names them is let go.
 *
 * Invariants:
 * 1. A segment or value log is open exactly as long as some OpenVersion with holders names it.
 * 2. A file is removed only after the manifest stopped naming it (installing comes first) and no
 *    OpenVersion does.
 */
import { compareRanges } from "../bytes/compare.ts";
import type { Contents } from "../compaction/pick.ts";
import { firstPartEndingAt } from "../cursor/concat.ts";
import type { Cursor } from "../cursor/cursor.ts";
import type { Spans } from "../cursor/spans.ts";
import type { ValueView } from "../cursor/value-view.ts";
import type { EntryKind, Period } from "../entry.ts";
import type { Version } from "../manifest/version.ts";
import type { Memtable } from "../memtable/memtable.ts";
import type { RangeTombstones } from "../segment/range-tombstones.ts";
import type { Segment } from "../segment/reader.ts";
import type { ValueLog } from "../segment/value-log.ts";
import { estimateRangeDeleted } from "./range-deleted.ts";
import type { FileMeta } from "./version-files.ts";

/** What reads ask of a memtable. A transaction's own writes answer it too. */
export interface NewestEntries {
  /** Keys, deleted ones included. */
  readonly keyCount: number;
  /**
   * Reference of the newest entry of key[0, length) at or below `seqno`, or below 0. `hash`, the key's
   * `keyHash`, may spare the search: worth it where the key is probably absent.
   */
  find(key: Uint8Array, length: number, seqno: number, hash?: number): number;
  /** What the entry is at a moment: a tombstone, if it has expired by then. */
  kindOf(ref: number, time: number): EntryKind;
  /** When the entry expires, or NEVER. */
  expiryOf(ref: number): number;
  /** A period around a moment in which no entry expires, be it one that newer ones hide. */
  expiryPeriodAt(time: number): Period;
  valueOf(ref: number): Uint8Array;
  /** Points `view` at what `valueOf` returns. */
  viewValue(ref: number, view: ValueView): void;
  /**
   * A cursor over the newest entry at or below `seqno` of each key, tombstones included. What has
   * expired at the moment `time` is a tombstone.
   */
  cursor(seqno: number, time: number): Cursor;
  /** What range tombstones at or below `seqno` delete of older sources; undefined if nothing. */
  deletedRanges(seqno: number): Spans | undefined;
}

/** What reads need of sources. */
export interface ReadSources {
  /** Newest first. */
  readonly memtables: readonly NewestEntries[];
  readonly version: OpenVersion;
}

export interface Sources extends ReadSources {
  /** The one being written first, then the sealed ones, newest first. */
  readonly memtables: readonly Memtable[];
  readonly version: OpenVersion;
}

/** A Version with its files open, counted by holders. */
export class OpenVersion {
  readonly version: Version;
  /** As `version.runs`: newest first, each run's segments in key order. Only those with keys. */
  readonly runs: readonly (readonly Segment[])[];
  /** What each of the runs deletes from those older than it. */
  readonly rangeTombstones: readonly (RangeTombstones | undefined)[];
  /** As `runs`, with the segments that hold range tombstones. */
  readonly files: readonly (readonly Segment[])[];
  /** Whether any entry in it expires. */
  readonly hasExpiries: boolean;
  private rangeDeleted: number | undefined;
  /** Has the value logs that its segments refer to. */
  readonly valueLogs: OpenFiles<ValueLog>;
  private readonly segments: OpenFiles<Segment>;
  private holders: number;

  /** Has one holder: the caller. */
  constructor(version: Version, segments: OpenFiles<Segment>, valueLogs: OpenFiles<ValueLog>) {
    this.version = version;
    this.segments = segments;
    this.valueLogs = valueLogs;
    for (const meta of version.valueLogs) valueLogs.hold(meta);
    this.files = version.runs.map((run) => run.map((meta) => segments.hold(meta)));
    this.runs = this.files.map((run) => run.filter((segment) => segment.meta.keyCount > 0));
    this.rangeTombstones = this.files.map((run) => run.at(0)?.rangeTombstones);
    this.hasExpiries = this.runs.some((run) => run.some((segment) => segment.hasExpiries));
    this.holders = 1;
  }

  /** Keys of the oldest run that range tombstones of newer runs delete, about. */
  private get rangeDeletedCount(): number {
    this.rangeDeleted ??= estimateRangeDeleted(this.runs, this.rangeTombstones);
    return this.rangeDeleted;
  }

  /**
   * What decides which runs to merge at a moment. Entries of newer runs that have expired by then may
   * each hide one of the oldest.
   */
  contents(time: number): Contents {
    const sizes = this.files.map((run) =>
      run.reduce((total, { contentBytes }) => total + contentBytes, 0),
    );
    return { sizes, hiddenCount: this.rangeDeletedCount + this.countExpired(time) };
  }

  /** Entries that have expired at a moment, at the least. */
  countExpired(time: number): number {
    if (!this.hasExpiries) return 0;
    return this.runs.flat().reduce((sum, segment) => sum + segment.countExpired(time), 0);
  }

  hold(): void {
    this.holders++;
  }

  release(): void {
    this.holders--;
    if (this.holders > 0) return;
    for (const meta of this.version.runs.flat()) this.segments.release(meta);
    for (const meta of this.version.valueLogs) this.valueLogs.release(meta);
  }
}

/** Files of one kind that are open, each with the number of OpenVersions that name it. */
export class OpenFiles<F extends { readonly meta: FileMeta }> {
  private readonly byNumber = new Map<number, { readonly file: F; holders: number }>();
  private readonly discard: (file: F) => void;

  /** `discard` is called with a file that nobody names any more, to close and remove it. */
  constructor(discard: (file: F) => void) {
    this.discard = discard;
  }

  /** Adds a file that was just opened; nobody holds it yet. */
  add(file: F): void {
    this.byNumber.set(file.meta.fileNumber, { file, holders: 0 });
  }

  has(fileNumber: number): boolean {
    return this.byNumber.has(fileNumber);
  }

  get(fileNumber: number): F | undefined {
    return this.byNumber.get(fileNumber)?.file;
  }

  /** Takes out a file that nobody holds, for the caller to close; undefined if it is not open. */
  drop(meta: FileMeta): F | undefined {
    const entry = this.byNumber.get(meta.fileNumber);
    this.byNumber.delete(meta.fileNumber);
    return entry?.file;
  }

  hold(meta: FileMeta): F {
    const entry = this.entry(meta);
    entry.holders++;
    return entry.file;
  }

  release(meta: FileMeta): void {
    const entry = this.entry(meta);
    entry.holders--;
    if (entry.holders > 0) return;
    this.byNumber.delete(meta.fileNumber);
    this.discard(entry.file);
  }

  /** Every open file, in no order. */
  all(): F[] {
    return [...this.byNumber.values()].map((entry) => entry.file);
  }

  private entry(meta: FileMeta): { readonly file: F; holders: number } {
    const entry = this.byNumber.get(meta.fileNumber);
    if (entry === undefined) throw new RangeError(`file ${meta.fileNumber} is not open`);
    return entry;
  }
}

/** The segment of a run that may hold key[0, length), or undefined. */
export function segmentFor(
  run: readonly Segment[],
  key: Uint8Array,
  length: number,
): Segment | undefined {
  const index = firstPartEndingAt(run, key, length);
  if (index === run.length) return undefined;
  const firstKey = run[index].firstKey;
  return compareRanges(firstKey, 0, firstKey.length, key, 0, length) > 0 ? undefined : run[index];
}
