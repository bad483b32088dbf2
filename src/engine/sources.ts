/**
 * Where reads look: memtables and open runs, newest first, as immutable lists.
 *
 * The database holds one `Sources` and replaces it when a memtable is sealed or flushed or a
 * compaction is installed. Whoever keeps reading from one (a snapshot, an iteration) pins it; the
 * memtables it names live as long as it does, and the files of its runs leave the disk only when
 * the last `OpenVersion` that names them is let go.
 *
 * Invariants:
 * 1. A segment is open exactly as long as some OpenVersion with holders names it.
 * 2. A file is removed only after the manifest stopped naming it (installing comes first) and no
 *    OpenVersion does.
 */
import { compareRanges } from "../bytes/compare.ts";
import { firstPartEndingAt } from "../cursor/concat.ts";
import type { SegmentMeta, Version } from "../manifest/version.ts";
import type { Segment } from "../segment/reader.ts";
import type { Memtable } from "./memtable.ts";

export interface Sources {
  /** The one being written first, then the sealed ones, newest first. */
  readonly memtables: readonly Memtable[];
  readonly version: OpenVersion;
}

/** A Version with its segments open, counted by holders. */
export class OpenVersion {
  readonly version: Version;
  /** As `version.runs`: newest first, each run's segments in key order. */
  readonly runs: readonly (readonly Segment[])[];
  private readonly segments: OpenSegments;
  private holders: number;

  /** Has one holder: the caller. */
  constructor(version: Version, segments: OpenSegments) {
    this.version = version;
    this.segments = segments;
    this.runs = version.runs.map((run) => run.map((meta) => segments.hold(meta)));
    this.holders = 1;
  }

  hold(): void {
    this.holders++;
  }

  release(): void {
    this.holders--;
    if (this.holders > 0) return;
    for (const run of this.version.runs) for (const meta of run) this.segments.release(meta);
  }
}

/** The segments that are open, each with the number of OpenVersions that name it. */
export class OpenSegments {
  private readonly byNumber = new Map<number, { readonly segment: Segment; holders: number }>();
  private readonly discard: (segment: Segment) => void;

  /** `discard` is called with a segment that nobody names any more, to close and remove it. */
  constructor(discard: (segment: Segment) => void) {
    this.discard = discard;
  }

  /** Adds a segment that was just opened; nobody holds it yet. */
  add(segment: Segment): void {
    this.byNumber.set(segment.meta.fileNumber, { segment, holders: 0 });
  }

  has(fileNumber: number): boolean {
    return this.byNumber.has(fileNumber);
  }

  /** Takes out a segment that nobody holds, for the caller to close; undefined if it is not open. */
  drop(meta: SegmentMeta): Segment | undefined {
    const entry = this.byNumber.get(meta.fileNumber);
    this.byNumber.delete(meta.fileNumber);
    return entry?.segment;
  }

  hold(meta: SegmentMeta): Segment {
    const entry = this.entry(meta);
    entry.holders++;
    return entry.segment;
  }

  release(meta: SegmentMeta): void {
    const entry = this.entry(meta);
    entry.holders--;
    if (entry.holders > 0) return;
    this.byNumber.delete(meta.fileNumber);
    this.discard(entry.segment);
  }

  /** Every open segment, in no order. */
  all(): Segment[] {
    return [...this.byNumber.values()].map((entry) => entry.segment);
  }

  private entry(meta: SegmentMeta): { readonly segment: Segment; holders: number } {
    const entry = this.byNumber.get(meta.fileNumber);
    if (entry === undefined) throw new RangeError(`segment ${meta.fileNumber} is not open`);
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
