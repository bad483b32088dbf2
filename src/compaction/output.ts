/**
 * RunWriter: sorted entries in, the segments of one run out, and the value logs of its large values.
 * Flush and compaction both end here.
 *
 * It cuts a segment or log when it has reached its target size, a segment perhaps before, where one
 * of an older run begins: if the segments of different runs begin at the same keys, a merge of them
 * falls apart into small ones (steps.ts). It hands output to the file system when
 * about a mebibyte has gathered, and gives way to other work after every stretch of input, so that a
 * large merge neither holds memory nor the thread. When the job fails or is cancelled, `abandon`
 * leaves no file behind.
 *
 * Each segment records the writes and the range of keys that it answers for. The segments of one
 * source share out its keys without gaps, those of tombstones that were dropped included.
 * A value that is large and lies in no value log yet goes into one; of one that does, the entry
 * takes over where it lies, unless the log is one that is to be left. A log is synced before a
 * segment that refers to it is complete.
 */
import { compareRanges, successor } from "../bytes/compare.ts";
import type { Cursor } from "../cursor/cursor.ts";
import type { Span } from "../cursor/spans.ts";
import { ValueView } from "../cursor/value-view.ts";
import { EntryKind, type SeqnoRange, type ValuePlace } from "../entry.ts";
import type { Run, SegmentMeta, ValueLogMeta } from "../manifest/version.ts";
import { type SegmentCoders, UNCODED } from "../segment/coders.ts";
import type { ValueLogSource } from "../segment/value-log.ts";
import type { ValueLogWriter } from "../segment/value-log-writer.ts";
import type { SegmentWriter } from "../segment/writer.ts";

export interface OutputOptions {
  /** Size at which a segment or value log is cut, a segment by a quarter later where it has boundaries. */
  readonly segmentBytes: number;
  /** Values of this length and more go into value logs; at most VALUE_LIMIT_BYTES. */
  readonly largeValueBytes: number;
  /** Where else segments are cut. Default: nowhere. */
  readonly boundaries?: Boundaries | undefined;
  /** Makes the next segment of the run, under a file number never used before. */
  create(
    coders: SegmentCoders,
    seqnos: SeqnoRange,
    coverStart: Uint8Array | undefined,
  ): Promise<SegmentWriter>;
  /** Makes a value log, likewise. */
  createValueLog(): Promise<ValueLogWriter>;
  /** Removes a finished segment that will not be used. */
  remove(meta: SegmentMeta): Promise<void>;
  /** Removes a finished value log that will not be used. */
  removeValueLog(meta: ValueLogMeta): Promise<void>;
  /** Lets other work run; told of the entries since the last time. Rejects when the job is cancelled. */
  pause(entryCount: number): Promise<void>;
}

/** Keys at which segments are cut before they have their full size. */
export interface Boundaries {
  /** Ascending: a segment that is large enough ends before the first key at or after one of them. */
  readonly keys: readonly Uint8Array[];
  /** How large that is. */
  readonly minBytes: number;
}

/** Where entries come from: all writes of a range of sequence numbers to a range of keys. */
export interface Source {
  readonly cursor: Cursor;
  readonly seqnos: SeqnoRange;
  /** At or before the first key, and at or after the last, of what the source was made of. */
  readonly firstKey: Uint8Array;
  readonly lastKey: Uint8Array;
}

/** The way of one source into segments. */
interface Pass {
  readonly cursor: Cursor;
  readonly seqnos: SeqnoRange;
  readonly coders: SegmentCoders;
  readonly dropTombstones: boolean;
  readonly leftLogs: ValueLogSource;
  readonly view: ValueView;
  /** From where on the next segment answers for keys. */
  coverStart: Uint8Array;
  /** Bytes of input, and entries, since the last pause. */
  work: number;
  entryCount: number;
}

/** What a job wrote. */
export interface RunOutput {
  /** Segments in key order; empty if there was nothing to write. */
  readonly run: Run;
  /** Value logs that were made for it. */
  readonly valueLogs: readonly ValueLogMeta[];
}

/** No value logs are left. */
const NONE_LEFT: ValueLogSource = new Map();

/** Bytes of input between two pauses, at most: about a millisecond of work. */
const PAUSE_BYTES = 2 ** 16;
/** Output gathered before it is written. */
const DRAIN_BYTES = 2 ** 20;
/**
 * How far a segment may outgrow its size to reach a boundary. Runs of like size have a segment end at
 * about the same key: without that it would as often end before the boundary as at it.
 */
const MAX_STRETCH = 5 / 4;
/** What an entry costs beside its bytes. */
const ENTRY_COST_BYTES = 16;

export class RunWriter {
  private readonly options: OutputOptions;
  private readonly pauseBytes: number;
  private readonly finished: SegmentMeta[] = [];
  private readonly finishedLogs: ValueLogMeta[] = [];
  private rangeTombstones: SegmentMeta | undefined;
  private readonly aside: SegmentMeta[] = [];
  private writer: SegmentWriter | undefined;
  /** Whether the segment being written ends before the next entry. */
  private isFull = false;
  /** Whether it ends at the next boundary. */
  private isLarge = false;
  /** Of the boundaries, the first after the entries so far. */
  private nextBoundary = 0;
  private log: ValueLogWriter | undefined;
  /** Segments carried over: in the run, but not ours to remove. */
  private readonly carried: Set<SegmentMeta> = new Set();

  constructor(options: OutputOptions) {
    this.options = options;
    this.pauseBytes = Math.min(PAUSE_BYTES, options.segmentBytes);
    this.rangeTombstones = undefined;
  }

  /**
   * Appends every entry of the source, but for tombstones where they are dropped. Values are moved
   * out of the logs that `leftLogs` has.
   */
  async writeAll(
    source: Source,
    coders: SegmentCoders,
    dropTombstones: boolean,
    leftLogs: ValueLogSource = NONE_LEFT,
  ): Promise<void> {
    const { cursor, seqnos, firstKey, lastKey } = source;
    const pass: Pass = {
      cursor,
      seqnos,
      coders,
      dropTombstones,
      leftLogs,
      view: new ValueView(),
      coverStart: firstKey,
      work: 0,
      entryCount: 0,
    };
    cursor.seekToFirst();
    while (cursor.isValid) {
      this.addAtOnce(pass);
      if (pass.work >= this.pauseBytes) await this.rest(pass);
      else if (cursor.isValid) await this.addSlowly(pass);
    }
    await this.options.pause(pass.entryCount);
    await this.cut(successor(lastKey));
  }

  /**
   * Adds entries until a pause is due, or up to one that something has to be waited for.
   *
   * The inner loop of flushes and merges. It neither waits nor calls what is another function in each
   * job: as part of `writeAll` it was compiled anew with every flush, a tenth of the time of a fill of
   * 500,000 pairs.
   */
  private addAtOnce(pass: Pass): void {
    const { writer, pauseBytes } = this;
    const { cursor, view, dropTombstones } = pass;
    const { largeValueBytes } = this.options;
    while (cursor.isValid && pass.work < pauseBytes) {
      const kind = cursor.kind;
      let valueLength = 0;
      if (!(dropTombstones && kind === EntryKind.tombstone)) {
        if (writer === undefined || this.isFull) return;
        if (this.isLarge && this.isAtBoundary(cursor)) return;
        view.reset();
        const place = cursor.viewStored(view);
        valueLength = view.end - view.start;
        if (place !== undefined || valueLength >= largeValueBytes) return;
        writer.add(cursor.key, cursor.keyLength, kind, view, cursor.expiry);
      }
      this.passEntry(pass, valueLength);
    }
  }

  /** Has a segment ready for the next entry, and adds it if its value lies, or is to lie, in a log. */
  private async addSlowly(pass: Pass): Promise<void> {
    const { cursor, view } = pass;
    if (this.isFull || (this.isLarge && this.isAtBoundary(cursor))) {
      // What was dropped in between is the business of the segment before.
      pass.coverStart = cursor.key.slice(0, cursor.keyLength);
      await this.cut(pass.coverStart);
    }
    if (this.writer === undefined) {
      this.writer = await this.options.create(pass.coders, pass.seqnos, pass.coverStart);
      this.passBoundaries(cursor);
      this.isLarge = this.options.boundaries?.minBytes === 0;
    }
    view.reset();
    const place = cursor.viewStored(view);
    if (place === undefined && view.end - view.start < this.options.largeValueBytes) return;
    const newPlace = await this.placeOf(place ?? view, pass.leftLogs);
    this.writer.addPlaced(cursor.key, cursor.keyLength, newPlace, cursor.expiry);
    this.passEntry(pass, 0);
  }

  /** Moves on from an entry that was added, or dropped. */
  private passEntry(pass: Pass, valueLength: number): void {
    const { cursor } = pass;
    pass.entryCount++;
    pass.work += cursor.keyLength + ENTRY_COST_BYTES + valueLength;
    if (pass.work >= this.pauseBytes) this.noteSize(cursor);
    cursor.next();
  }

  /** Gives the run its range tombstones, disjoint and in order: those of the writes `seqnos`. */
  async writeRangeTombstones(spans: readonly Span[], seqnos: SeqnoRange): Promise<void> {
    if (spans.length === 0) return;
    this.rangeTombstones = await this.writeSpans(spans, seqnos);
  }

  /** Makes existing range tombstones those of the run. */
  carryRangeTombstones(segment: SegmentMeta): void {
    this.carried.add(segment);
    this.rangeTombstones = segment;
  }

  /** Writes range tombstones, at least one, that are not the run's: another one's of the same job. */
  async writeAside(spans: readonly Span[], seqnos: SeqnoRange): Promise<SegmentMeta> {
    const meta = await this.writeSpans(spans, seqnos);
    this.aside.push(meta);
    return meta;
  }

  /** Makes an existing segment the next part of the run. Its keys sort after all written so far. */
  carry(segment: SegmentMeta): void {
    this.carried.add(segment);
    this.finished.push(segment);
  }

  /**
   * Makes a segment that was written for this run elsewhere its next part. Its keys sort after all
   * written so far.
   */
  adopt(segment: SegmentMeta): void {
    this.finished.push(segment);
  }

  /** Completes the run: its range tombstones, if it has any, come before its segments. */
  async finish(): Promise<RunOutput> {
    await this.cutLog();
    const { rangeTombstones, finished } = this;
    const run = rangeTombstones === undefined ? finished : [rangeTombstones, ...finished];
    return { run, valueLogs: this.finishedLogs };
  }

  /** Removes everything that was written. */
  async abandon(): Promise<void> {
    const { writer, log } = this;
    this.writer = undefined;
    this.log = undefined;
    // A file that cannot be removed is an orphan for the next open; why the job failed tells more.
    await writer?.abandon().catch(() => {});
    await log?.abandon().catch(() => {});
    if (this.rangeTombstones !== undefined) this.finished.push(this.rangeTombstones);
    for (const meta of [...this.finished, ...this.aside]) {
      if (!this.carried.has(meta)) await this.options.remove(meta).catch(() => {});
    }
    for (const meta of this.finishedLogs) await this.options.removeValueLog(meta).catch(() => {});
    this.finished.length = 0;
    this.finishedLogs.length = 0;
  }

  private async writeSpans(spans: readonly Span[], seqnos: SeqnoRange): Promise<SegmentMeta> {
    this.writer = await this.options.create(UNCODED, seqnos, undefined);
    for (const span of spans) this.writer.addRangeTombstone(span);
    const meta = await this.writer.finish();
    this.writer = undefined;
    return meta;
  }

  /** Where a large value lies from now on. */
  private async placeOf(
    value: ValueView | ValuePlace,
    leftLogs: ValueLogSource,
  ): Promise<ValuePlace> {
    if (value instanceof ValueView) {
      const { bytes, start, end } = value;
      return await (await this.openLog()).append(bytes.subarray(start, end));
    }
    const left = leftLogs.get(value.fileNumber);
    return left === undefined ? value : await (await this.openLog()).copy(left, value);
  }

  private async openLog(): Promise<ValueLogWriter> {
    if (this.log !== undefined && this.log.bytes >= this.options.segmentBytes) await this.cutLog();
    this.log ??= await this.options.createValueLog();
    return this.log;
  }

  /** Notes whether the segment is to end, after the cursor's entry. */
  private noteSize(cursor: Cursor): void {
    const { writer } = this;
    const { boundaries, segmentBytes } = this.options;
    if (writer === undefined) return;
    const isNearBoundary = this.nextBoundary < (boundaries?.keys.length ?? 0);
    const limit = segmentBytes * (isNearBoundary ? MAX_STRETCH : 1);
    if (writer.estimatedBytes >= limit) this.isFull = true;
    if (!this.isLarge && boundaries !== undefined) {
      this.passBoundaries(cursor);
      this.isLarge = writer.estimatedBytes >= boundaries.minBytes;
    }
  }

  private async rest(pass: Pass): Promise<void> {
    const { writer } = this;
    if (writer !== undefined && writer.pendingBytes >= DRAIN_BYTES) await writer.drain();
    await this.options.pause(pass.entryCount);
    pass.work = 0;
    pass.entryCount = 0;
  }

  /** Leaves boundaries up to the cursor's key behind. */
  private passBoundaries(cursor: Cursor): void {
    while (this.isAtBoundary(cursor)) this.nextBoundary++;
  }

  /** Whether the cursor's key is at or after the next boundary. */
  private isAtBoundary({ key, keyLength }: Cursor): boolean {
    const { nextBoundary } = this;
    const keys = this.options.boundaries?.keys;
    if (keys === undefined || nextBoundary === keys.length) return false;
    const boundary = keys[nextBoundary];
    return compareRanges(boundary, 0, boundary.length, key, 0, keyLength) <= 0;
  }

  /** Ends the segment being written, which answers for the keys below `coverEnd`. */
  private async cut(coverEnd: Uint8Array): Promise<void> {
    const writer = this.writer;
    if (writer === undefined) return;
    await this.log?.sync();
    this.finished.push(await writer.finish(coverEnd));
    this.writer = undefined;
    this.isFull = false;
    this.isLarge = false;
  }

  private async cutLog(): Promise<void> {
    const { log } = this;
    if (log === undefined) return;
    this.finishedLogs.push(await log.finish());
    this.log = undefined;
  }
}
