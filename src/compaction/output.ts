/**
 * RunWriter: sorted entries in, the segments of one run out, and the value logs of its large values.
 * Flush and compaction both end here.
 *
 * It cuts a segment or log when it has reached its target size, hands output to the file system when
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
import { successor } from "../bytes/compare.ts";
import type { Cursor } from "../cursor/cursor.ts";
import type { Span } from "../cursor/spans.ts";
import { ValueView } from "../cursor/value-view.ts";
import { EntryKind, type SeqnoRange, type ValuePlace } from "../entry.ts";
import type { SegmentMeta, ValueLogMeta } from "../manifest/version.ts";
import { type SegmentCoders, untrainedCoders } from "../segment/coders.ts";
import type { ValueLogSource } from "../segment/value-log.ts";
import type { ValueLogWriter } from "../segment/value-log-writer.ts";
import type { SegmentWriter } from "../segment/writer.ts";

export interface OutputOptions {
  /** Size at which a segment or value log is cut. */
  readonly segmentBytes: number;
  /** Values of this length and more go into value logs; at most VALUE_LIMIT_BYTES. */
  readonly largeValueBytes: number;
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

/** Where entries come from: all writes of a range of sequence numbers to a range of keys. */
export interface Source {
  readonly cursor: Cursor;
  readonly seqnos: SeqnoRange;
  /** At or before the first key, and at or after the last, of what the source was made of. */
  readonly firstKey: Uint8Array;
  readonly lastKey: Uint8Array;
}

/** What a job wrote. */
export interface RunOutput {
  /** Segments in key order; empty if there was nothing to write. */
  readonly run: readonly SegmentMeta[];
  /** Value logs that were made for it. */
  readonly valueLogs: readonly ValueLogMeta[];
}

/** No value logs are left. */
const NONE_LEFT: ValueLogSource = new Map();

/** Bytes of input between two pauses: about a millisecond of work. */
const PAUSE_BYTES = 2 ** 16;
/** Output gathered before it is written. */
const DRAIN_BYTES = 2 ** 20;
/** What an entry costs beside its bytes. */
const ENTRY_COST_BYTES = 16;

export class RunWriter {
  private readonly options: OutputOptions;
  private readonly finished: SegmentMeta[] = [];
  private readonly finishedLogs: ValueLogMeta[] = [];
  private rangeTombstones: SegmentMeta | undefined;
  private writer: SegmentWriter | undefined;
  /** Whether the segment being written ends before the next entry. */
  private isFull = false;
  private log: ValueLogWriter | undefined;
  /** Segments carried over: in the run, but not ours to remove. */
  private readonly carried: Set<SegmentMeta> = new Set();

  constructor(options: OutputOptions) {
    this.options = options;
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
    const { largeValueBytes } = this.options;
    const { cursor, seqnos, firstKey, lastKey } = source;
    const view = new ValueView();
    let coverStart: Uint8Array | undefined = firstKey;
    let work = 0;
    let entryCount = 0;
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      const kind = cursor.kind;
      entryCount++;
      work += cursor.keyLength + ENTRY_COST_BYTES;
      if (!(dropTombstones && kind === EntryKind.tombstone)) {
        if (this.isFull) {
          // What was dropped in between is the business of the segment before.
          coverStart = cursor.key.slice(0, cursor.keyLength);
          await this.cut(coverStart);
        }
        this.writer ??= await this.options.create(coders, seqnos, coverStart);
        view.decoded.reset();
        const place = cursor.viewStored(view);
        const valueLength = view.end - view.start;
        if (place === undefined && valueLength < largeValueBytes) {
          this.writer.add(cursor.key, cursor.keyLength, kind, view, cursor.expiry);
          work += valueLength;
        } else {
          const newPlace = await this.placeOf(place ?? view, leftLogs);
          this.writer.addPlaced(cursor.key, cursor.keyLength, newPlace, cursor.expiry);
        }
      }
      if (work >= PAUSE_BYTES) {
        await this.rest(entryCount);
        work = 0;
        entryCount = 0;
      }
    }
    await this.options.pause(entryCount);
    await this.cut(successor(lastKey));
  }

  /** Gives the run its range tombstones, disjoint and in order: those of the writes `seqnos`. */
  async writeRangeTombstones(spans: readonly Span[], seqnos: SeqnoRange): Promise<void> {
    if (spans.length === 0) return;
    this.writer = await this.options.create(untrainedCoders(), seqnos, undefined);
    for (const span of spans) this.writer.addRangeTombstone(span);
    this.rangeTombstones = await this.writer.finish();
    this.writer = undefined;
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
    for (const meta of this.finished) {
      if (!this.carried.has(meta)) await this.options.remove(meta).catch(() => {});
    }
    for (const meta of this.finishedLogs) await this.options.removeValueLog(meta).catch(() => {});
    this.finished.length = 0;
    this.finishedLogs.length = 0;
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

  private async rest(entryCount: number): Promise<void> {
    const writer = this.writer;
    if (writer !== undefined) {
      if (writer.estimatedBytes >= this.options.segmentBytes) this.isFull = true;
      if (writer.pendingBytes >= DRAIN_BYTES) await writer.drain();
    }
    await this.options.pause(entryCount);
  }

  /** Ends the segment being written, which answers for the keys below `coverEnd`. */
  private async cut(coverEnd: Uint8Array): Promise<void> {
    const writer = this.writer;
    if (writer === undefined) return;
    await this.log?.sync();
    this.finished.push(await writer.finish(coverEnd));
    this.writer = undefined;
    this.isFull = false;
  }

  private async cutLog(): Promise<void> {
    const { log } = this;
    if (log === undefined) return;
    this.finishedLogs.push(await log.finish());
    this.log = undefined;
  }
}
