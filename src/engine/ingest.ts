/**
 * Ingest: puts everything that other databases hold into this one, in one step.
 *
 * Large stores are built in parts, each by a process of its own (`memkv build`), and put together
 * here. What takes time is done beside reads and writes; then, at one moment, all entries become
 * visible, as if each had been put then: newer than everything in the database, and, of a key that
 * several sources have, the last source's.
 *
 * 1. Each source is read as it is at that moment, without its lock (`openStore`, read-only).
 * 2. Its entries become a run of segments of this database. A segment that is alone with its keys
 *    is copied as it is, under another header, after it was verified (segment/copy.ts); all else is
 *    merged and written anew, as a compaction does: sources of several runs or with writes in their
 *    logs, segments with tombstones, expiries, or values in value logs. Nothing that is deleted in a
 *    source, or has expired, comes along, so an ingest deletes nothing.
 * 3. While no write can come in between: the memtable is flushed, the runs are given the next
 *    sequence numbers, and are installed before all others, by one manifest. Sources whose keys do
 *    not overlap share a run.
 *
 * Until the manifest is replaced no file that was written is named anywhere: a failure removes them,
 * after a crash the next open does. Transactions that began before it are run again, since what
 * they read may have changed.
 *
 * Source of the idea: RocksDB's IngestExternalFile.
 */
import { setImmediate } from "node:timers/promises";
import { compareBytes } from "../bytes/compare.ts";
import { type OutputOptions, type RunOutput, RunWriter } from "../compaction/output.ts";
import { UNNUMBERED } from "../entry.ts";
import { JobControl } from "../jobs/job-control.ts";
import { outputOf } from "../jobs/jobs.ts";
import type { Run, SegmentMeta } from "../manifest/version.ts";
import { withPauses } from "../pieces.ts";
import { stampSegment } from "../segment/copy.ts";
import type { Segment } from "../segment/reader.ts";
import type { ValueLogSource } from "../segment/value-log.ts";
import { type IngestPart, type IngestSource, openSource } from "./ingest-source.ts";
import type { IngestOptions } from "./options.ts";
import type { Store } from "./store.ts";
import type { AddedFiles } from "./versions.ts";

/** What `ingest` put into the database. */
export interface IngestReport {
  /** Entries that are new segments' now. */
  readonly entries: number;
  /** Segments that they are in, and how many of these were copied as they were. */
  readonly segments: number;
  readonly copiedSegments: number;
  /** Bytes of segments and value logs. */
  readonly bytes: number;
}

/**
 * Puts the entries of the sources, the last of them the newest, into the store. Throws what opening a
 * source throws, CorruptionError, and what a flush throws; nothing changed then.
 */
export async function ingestInto(
  store: Store,
  paths: readonly string[],
  options: IngestOptions,
): Promise<IngestReport> {
  const sources: IngestSource[] = [];
  try {
    for (const path of paths) sources.push(await openSource(store, path));
    return await new Ingest(store, options).run(sources);
  } finally {
    // Nothing was written there; and what was done here is done.
    for (const source of sources) await source.close().catch(() => {});
  }
}

class Ingest {
  private readonly store: Store;
  private readonly options: IngestOptions;
  private readonly output: OutputOptions;
  /** File numbers that were taken. */
  private readonly announced: number[] = [];
  private readonly written: RunOutput[] = [];
  /** Whether the files are the business of who installs them. */
  private isHandedOver = false;
  private entries = 0;
  private entriesDone = 0;
  private copiedSegments = 0;

  constructor(store: Store, options: IngestOptions) {
    this.store = store;
    this.options = options;
    const fileNumbers = { take: () => this.takeFileNumber() };
    const output = outputOf({ ...store.jobContext, fileNumbers }, giveWay, new JobControl());
    this.output = { ...output, pause: (entryCount) => this.pause(entryCount) };
  }

  async run(sources: readonly IngestSource[]): Promise<IngestReport> {
    const { store, written } = this;
    this.entries = sum(sources.flatMap(({ parts }) => parts).map(({ keyCount }) => keyCount));
    try {
      for (const source of sources) {
        const output = await this.write(source);
        if (output.run.length > 0) written.push(output);
      }
      if (written.length > 0) await store.committer.exclusive(() => this.attach());
    } catch (error) {
      if (!this.isHandedOver) await store.versions.removeFiles(this.files);
      throw error;
    } finally {
      store.versions.release(this.announced);
    }
    const { segments, valueLogs } = this.files;
    return {
      entries: sum(segments.map(({ keyCount }) => keyCount)),
      segments: segments.length,
      copiedSegments: this.copiedSegments,
      bytes: sum([...segments, ...valueLogs].map(({ fileBytes }) => fileBytes)),
    };
  }

  private get files(): AddedFiles {
    return {
      segments: this.written.flatMap(({ run }) => run),
      valueLogs: this.written.flatMap(({ valueLogs }) => valueLogs),
    };
  }

  /** Makes a run of the source's entries. */
  private async write({ parts, valueLogs }: IngestSource): Promise<RunOutput> {
    const writer = new RunWriter(this.output);
    try {
      for (const part of parts) {
        const { segment, keyCount } = part;
        if (segment !== undefined && isPlain(segment)) {
          writer.adopt(await this.copy(segment));
          this.advance(keyCount);
        } else {
          await this.rewrite(part, valueLogs, writer);
        }
      }
      return await writer.finish();
    } catch (error) {
      await writer.abandon();
      throw error;
    }
  }

  private async copy(segment: Segment): Promise<SegmentMeta> {
    if (this.options.verify !== false) await segment.verify(() => this.store.checkWritable());
    const { fileSystem, databaseId } = this.store.jobContext;
    const fileNumber = this.takeFileNumber();
    const copied = await segment.copyTo({
      fileSystem,
      path: this.store.versions.pathOf({ fileNumber }),
      identity: { databaseId, fileNumber },
      pause: () => this.pause(0),
    });
    this.copiedSegments++;
    return copied;
  }

  /** Writes what is not deleted of a part, with values out of the source's value logs. */
  private async rewrite(
    part: IngestPart,
    valueLogs: ValueLogSource,
    writer: RunWriter,
  ): Promise<void> {
    const cursor = part.cursor();
    cursor.seekToLast();
    if (!cursor.isValid) return;
    const lastKey = cursor.key.slice(0, cursor.keyLength);
    cursor.seekToFirst();
    const firstKey = cursor.key.slice(0, cursor.keyLength);
    const coders = await withPauses(part.learn(this.store.jobContext), () => this.pause(0));
    const source = { cursor, seqnos: UNNUMBERED, firstKey, lastKey };
    await writer.writeAll(source, coders, true, valueLogs);
  }

  /** Installs what was written. No write may come in between. */
  private async attach(): Promise<void> {
    const { store, written } = this;
    store.checkWritable();
    if (!store.memtable.isEmpty) await store.rotation.rotate();
    await store.background.flushSealed();
    store.checkWritable();
    let seqno = store.visibleSeqno;
    for (const { run } of written) {
      seqno++;
      for (const { fileNumber } of run) await this.stamp(fileNumber, seqno);
    }
    const { valueLogs } = this.files;
    this.isHandedOver = true;
    await store.attach(joinedRuns(written.map(({ run }) => run)), valueLogs, seqno);
  }

  private async stamp(fileNumber: number, seqno: number): Promise<void> {
    const { fileSystem, databaseId } = this.store.jobContext;
    const path = this.store.versions.pathOf({ fileNumber });
    const seqnos = { firstSeqno: seqno, lastSeqno: seqno };
    await stampSegment(fileSystem, path, { databaseId, fileNumber }, seqnos);
  }

  private takeFileNumber(): number {
    const fileNumber = this.store.jobContext.fileNumbers.take();
    this.store.versions.announce(fileNumber);
    this.announced.push(fileNumber);
    return fileNumber;
  }

  private async pause(entryCount: number): Promise<void> {
    this.advance(entryCount);
    await giveWay();
    this.store.checkWritable();
  }

  private advance(entryCount: number): void {
    if (entryCount === 0) return;
    this.entriesDone += entryCount;
    const { entriesDone, entries } = this;
    this.options.onProgress?.({ entriesDone, entries });
  }
}

function giveWay(): Promise<void> {
  return setImmediate();
}

/** Whether every entry is there to be read, now and always, and all of it is in the segment. */
function isPlain({ meta, hasExpiries }: Segment): boolean {
  return meta.tombstoneCount === 0 && meta.valueLogs.length === 0 && !hasExpiries;
}

/**
 * Runs, newest first, of the runs of the sources, oldest first: each joins the newest before it, if
 * none of their keys overlap.
 */
function joinedRuns(runs: readonly Run[]): Run[] {
  const joined: Run[] = [];
  for (const run of runs) {
    const newest = joined.at(0) ?? [];
    const both = [...newest, ...run].sort((a, b) => compareBytes(a.firstKey, b.firstKey));
    const isDisjoint = both.every(
      ({ firstKey }, i) => i === 0 || compareBytes(both[i - 1].lastKey, firstKey) < 0,
    );
    if (isDisjoint) joined.splice(0, 1, both);
    else joined.unshift(run);
  }
  return joined;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
