/**
 * RunWriter: sorted entries in, the segments of one run out. Flush and compaction both end here.
 *
 * It cuts a segment when it has reached its target size, hands output to the file system when about
 * a mebibyte has gathered, and gives way to other work after every stretch of input, so that a
 * large merge neither holds memory nor the thread. When the job fails or is cancelled, `abandon`
 * leaves no file behind.
 */
import type { Cursor } from "../cursor/cursor.ts";
import { EntryKind } from "../entry.ts";
import type { SegmentMeta } from "../manifest/version.ts";
import type { SegmentCoders } from "../segment/coders.ts";
import type { SegmentWriter } from "../segment/writer.ts";

export interface OutputOptions {
  /** Size at which a segment is cut. */
  readonly segmentBytes: number;
  /** Makes the next file of the run, under a file number never used before. */
  create(coders: SegmentCoders): Promise<SegmentWriter>;
  /** Removes a finished file that will not be used. */
  remove(meta: SegmentMeta): Promise<void>;
  /** Lets other work run; rejects when the job is cancelled. */
  pause(): Promise<void>;
}

/** Bytes of input between two pauses: about a millisecond of work. */
const PAUSE_BYTES = 2 ** 16;
/** Output gathered before it is written. */
const DRAIN_BYTES = 2 ** 20;
/** What an entry costs beside its bytes. */
const ENTRY_COST_BYTES = 16;

export class RunWriter {
  private readonly options: OutputOptions;
  private readonly finished: SegmentMeta[] = [];
  private writer: SegmentWriter | undefined;
  /** Segments carried over: in the run, but not ours to remove. */
  private readonly carried: Set<SegmentMeta> = new Set();

  constructor(options: OutputOptions) {
    this.options = options;
  }

  /** Appends every entry of the cursor, but for tombstones where they are dropped. */
  async writeAll(cursor: Cursor, coders: SegmentCoders, dropTombstones: boolean): Promise<void> {
    let work = 0;
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      const kind = cursor.kind;
      work += cursor.keyLength + ENTRY_COST_BYTES;
      if (!(dropTombstones && kind === EntryKind.tombstone)) {
        this.writer ??= await this.options.create(coders);
        const value = cursor.value();
        this.writer.add(cursor.key, cursor.keyLength, kind, value);
        work += value.length;
      }
      if (work >= PAUSE_BYTES) {
        work = 0;
        await this.rest();
      }
    }
  }

  /** Makes an existing segment the next part of the run. Its keys sort after all written so far. */
  async carry(segment: SegmentMeta): Promise<void> {
    await this.cut();
    this.carried.add(segment);
    this.finished.push(segment);
  }

  /** Completes the run: its segments in key order; empty if there was nothing to write. */
  async finish(): Promise<SegmentMeta[]> {
    await this.cut();
    return this.finished;
  }

  /** Removes everything that was written. */
  async abandon(): Promise<void> {
    const writer = this.writer;
    this.writer = undefined;
    // A file that cannot be removed is an orphan for the next open; why the job failed tells more.
    await writer?.abandon().catch(() => {});
    for (const meta of this.finished) {
      if (!this.carried.has(meta)) await this.options.remove(meta);
    }
    this.finished.length = 0;
  }

  private async rest(): Promise<void> {
    const writer = this.writer;
    if (writer !== undefined) {
      if (writer.estimatedBytes >= this.options.segmentBytes) await this.cut();
      else if (writer.pendingBytes >= DRAIN_BYTES) await writer.drain();
    }
    await this.options.pause();
  }

  private async cut(): Promise<void> {
    const writer = this.writer;
    if (writer === undefined) return;
    this.finished.push(await writer.finish());
    this.writer = undefined;
  }
}
