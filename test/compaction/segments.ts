/** Segments for tests of compaction: written and read for real, over the file system in memory. */

import { BlockCache } from "../../src/cache/block-cache.ts";
import {
  type OutputOptions,
  type RunOutput,
  RunWriter,
  type Source,
} from "../../src/compaction/output.ts";
import { sampleOf } from "../../src/compaction/run.ts";
import { ConcatCursor } from "../../src/cursor/concat.ts";
import { eachSpan, type Span } from "../../src/cursor/spans.ts";
import { BEFORE_EXPIRY } from "../../src/entry.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import type { SegmentMeta } from "../../src/manifest/version.ts";
import { atOnce } from "../../src/pieces.ts";
import { learnCoders, UNCODED, type ValueCompression } from "../../src/segment/coders.ts";
import { Segment } from "../../src/segment/reader.ts";
import { ValueLog } from "../../src/segment/value-log.ts";
import { ValueLogWriter } from "../../src/segment/value-log-writer.ts";
import { SegmentWriter } from "../../src/segment/writer.ts";
import { SymbolTables } from "../../src/symbols/tables.ts";
import { ArrayCursor, type ArrayEntry, read } from "../cursor/array-cursor.ts";

const databaseId = Uint8Array.from({ length: 16 }, (_, i) => i);

/** Values of this length and more go into value logs here. */
export const LARGE_VALUE_BYTES = 300;

export class Files {
  readonly fileSystem: MemoryFileSystem = new MemoryFileSystem();
  pauses = 0;
  /** Called at each pause. */
  onPause: () => void = () => {};
  /** Of the segments that are opened from now on. */
  symbolTables: SymbolTables = new SymbolTables();
  private nextFileNumber = 1;
  private nextSeqno = 1;
  private readonly blockCache = new BlockCache(2 ** 16);
  /** Value logs that are open. */
  private readonly valueLogs = new Map<number, ValueLog>();

  output(segmentBytes: number): OutputOptions {
    const pause = async (): Promise<void> => {
      this.pauses++;
      this.onPause();
    };
    return {
      segmentBytes,
      largeValueBytes: LARGE_VALUE_BYTES,
      createValueLog: () => {
        const fileNumber = this.nextFileNumber++;
        return ValueLogWriter.create({
          fileSystem: this.fileSystem,
          path: `${fileNumber}`,
          identity: { databaseId, fileNumber },
          isCompressing: true,
          pause,
        });
      },
      create: (coders, seqnos, coverStart) => {
        const fileNumber = this.nextFileNumber++;
        return SegmentWriter.create({
          fileSystem: this.fileSystem,
          path: `${fileNumber}`,
          identity: { databaseId, fileNumber },
          coders,
          seqnos,
          coverStart,
        });
      },
      remove: ({ fileNumber }) => this.fileSystem.remove(`${fileNumber}`),
      removeValueLog: ({ fileNumber }) => this.fileSystem.remove(`${fileNumber}`),
      pause,
    };
  }

  /**
   * A run of the entries, none of them large, and of range tombstones, which delete none of them. A
   * segment begins with the first entry at or after each of `cuts`. `isUncoded`: as flushes write.
   */
  async write(
    entries: readonly ArrayEntry[],
    segmentBytes: number,
    deleted: readonly Span[] = [],
    isUncoded = false,
    compression: ValueCompression = "none",
    cuts: readonly Uint8Array[] = [],
  ): Promise<readonly SegmentMeta[]> {
    return (await this.writeAll(entries, segmentBytes, deleted, isUncoded, compression, cuts)).run;
  }

  /** As `write`: the run, and its value logs. */
  async writeAll(
    entries: readonly ArrayEntry[],
    segmentBytes: number,
    deleted: readonly Span[] = [],
    isUncoded = false,
    compression: ValueCompression = "none",
    cuts: readonly Uint8Array[] = [],
  ): Promise<RunOutput> {
    const boundaries = { keys: cuts, minBytes: 0 };
    const writer = new RunWriter({ ...this.output(segmentBytes), boundaries });
    const options = { compression, largeValueBytes: LARGE_VALUE_BYTES } as const;
    const keyCount = entries.length;
    const sample = atOnce(sampleOf(new ArrayCursor(entries), keyCount, options));
    const coders = isUncoded ? UNCODED : atOnce(learnCoders(sample, { keyCount }, options));
    const source = this.source(entries);
    await writer.writeAll(source, coders, false);
    await writer.writeRangeTombstones(deleted, source.seqnos);
    return await writer.finish();
  }

  /** The entries as those of writes that come after all before. */
  source(entries: readonly ArrayEntry[]): Source {
    const firstSeqno = this.nextSeqno;
    this.nextSeqno += Math.max(1, entries.length);
    return {
      cursor: new ArrayCursor(entries),
      seqnos: { firstSeqno, lastSeqno: this.nextSeqno - 1 },
      firstKey: entries.at(0)?.key ?? new Uint8Array(),
      lastKey: entries.at(-1)?.key ?? new Uint8Array(),
    };
  }

  async openValueLog({ fileNumber }: { readonly fileNumber: number }): Promise<ValueLog> {
    const { fileSystem } = this;
    const identity = { databaseId, fileNumber };
    return await ValueLog.open({ fileSystem, path: `${fileNumber}`, identity });
  }

  async open(meta: SegmentMeta): Promise<Segment> {
    const { fileNumber } = meta;
    for (const log of meta.valueLogs) {
      this.valueLogs.set(log.fileNumber, await this.openValueLog(log));
    }
    return await Segment.open({
      fileSystem: this.fileSystem,
      path: `${fileNumber}`,
      identity: { databaseId, fileNumber },
      blockCache: this.blockCache,
      symbolTables: this.symbolTables,
      valueLogs: this.valueLogs,
    });
  }

  openAll(run: readonly SegmentMeta[]): Promise<Segment[]> {
    return Promise.all(run.map((meta) => this.open(meta)));
  }

  /** Every entry of a run, in order. */
  async entriesOf(run: readonly SegmentMeta[]): Promise<ArrayEntry[]> {
    const keyed = run.filter((meta) => meta.keyCount > 0);
    const cursor = new ConcatCursor(await this.openAll(keyed), BEFORE_EXPIRY);
    const entries: ArrayEntry[] = [];
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      const entry = read(cursor);
      if (entry !== undefined) entries.push(entry);
    }
    return entries;
  }

  /** What a run deletes from older ones. */
  async rangesOf(run: readonly SegmentMeta[]): Promise<Span[]> {
    const [first] = await this.openAll(run.slice(0, 1));
    const ranges = first?.rangeTombstones;
    return ranges === undefined ? [] : [...eachSpan(ranges)];
  }

  /** Changes a byte of a file. */
  async damage(fileNumber: number, offset: number): Promise<void> {
    const file = await this.fileSystem.open(`${fileNumber}`, "update");
    const byte = new Uint8Array(1);
    file.readSync(byte, offset);
    file.writeSync(Uint8Array.of(byte[0] ^ 1), offset);
    await file.close();
  }

  async names(): Promise<number[]> {
    return (await this.fileSystem.list("")).map(Number).sort((a, b) => a - b);
  }
}

/** The key `i` in four bytes, and a value of `length` bytes that says `i`. */
export function entryOf(i: number, length = 20): ArrayEntry {
  const key = Uint8Array.of(i >>> 24, i >>> 16, i >>> 8, i);
  const value = new Uint8Array(length);
  for (let pos = 0; pos < length; pos++) value[pos] = Math.imul(i + pos, 0x9e3779b1) >>> 24;
  return { key, kind: 1, value };
}

export function tombstoneOf(i: number): ArrayEntry {
  return { key: entryOf(i).key, kind: 2, value: new Uint8Array(0) };
}
