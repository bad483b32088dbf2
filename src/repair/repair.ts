/**
 * repair: builds a new database out of what is whole in a damaged one. The damaged one is only read.
 *
 * What can be read is written again in the order of time, so that newer hides older as it did: the
 * segments from the oldest run to the newest, and the records of the logs where their sequence
 * numbers put them. A value that is known to have been overwritten by one that is lost is not brought
 * back. Where it is not even known which keys were lost, older values of keys in that range may
 * show; the report says where.
 *
 * With a manifest, the live segments and their order are known. Without it they follow from what each
 * segment says of itself: its sequence numbers, and the keys for which it has all there is of them.
 * So a segment that was merged into another, and was left behind, is told from one that was not: what
 * the newer one answers for is not taken from it. Only where a merge left nothing at all of a
 * segment (every key was deleted) and its file was left behind does nothing tell that it is not live.
 */
import { assert } from "../assert.ts";
import { loadChecksum } from "../bytes/checksum.ts";
import { eachSpan, type Span } from "../cursor/spans.ts";
import { EVERYTHING } from "../encoding/range.ts";
import { notFound } from "../engine/founding.ts";
import { withUserErrors } from "../engine/io-error.ts";
import { openStore } from "../engine/open-store.ts";
import { checkPath, checkRepair, resolveOptions } from "../engine/options.ts";
import { NO_EVENTS, type Store } from "../engine/store.ts";
import { verifyStore } from "../engine/verify.ts";
import { EntryKind, MAX_SEQNO, type SeqnoRange } from "../entry.ts";
import { InvalidArgumentError } from "../errors.ts";
import { type DirectoryLock, type FileSystem, joinPath } from "../io/file-system.ts";
import { NodeFileSystem } from "../io/node.ts";
import { systemErrorCode } from "../io/system-error.ts";
import { isWithin } from "../io/within.ts";
import { MANIFEST_NAME } from "../manifest/manifest.ts";
import type { Segment } from "../segment/reader.ts";
import { isDamage, knows, type SalvageLoss, salvageEntries } from "../segment/salvage.ts";
import { RecordReader } from "../wal/batch.ts";
import { type ReplayOptions, replayWal } from "../wal/reader.ts";
import { type IgnoredFile, lossOf, type RepairLoss, type RepairReport } from "./report.ts";
import { type Findings, type FoundLog, type FoundSegment, placeInTime, survey } from "./survey.ts";

export interface RepairOptions {
  /** Where both directories are. Default: the system's. */
  readonly fileSystem?: FileSystem | undefined;
  /**
   * Names of the encodings that the database was created with, where the manifest that knows them is
   * lost. Default "utf8" and "msgpack".
   */
  readonly keyEncoding?: string | undefined;
  readonly valueEncoding?: string | undefined;
  /** Where the new database is flushed and compacted; as for `open`. */
  readonly background?: "worker" | "inline" | undefined;
  /** The clock by which entries expire; as for `open`. */
  readonly now?: (() => number) | undefined;
  readonly onProgress?: ((progress: RepairProgress) => void) | undefined;
}

/** How far `repair` has come. */
export interface RepairProgress {
  /** Bytes of the damaged database's files, read and in all. */
  readonly bytesDone: number;
  readonly bytes: number;
}

/**
 * Makes a new database in `target` out of what can be read of the one in `directory`, which is not
 * changed. `target` must be empty or not exist. Takes time and space as writing all entries does. What
 * `onProgress` throws ends it, and `target` is empty again. A process that is killed meanwhile leaves a
 * part there, which opens: remove it.
 *
 * @throws InvalidArgumentError for a bad option, and for a target that is the directory or lies in it.
 * @throws LockedError: the damaged database is open.
 * @throws DatabaseError MEMKV_NOT_FOUND, MEMKV_NOT_A_DATABASE: there is nothing to repair.
 *   MEMKV_EXISTS: there is a database in `target`. MEMKV_IO: see the cause; `target` is empty again.
 * @throws UnsupportedVersionError: a newer memkv wrote the files.
 */
export async function repair(
  directory: string,
  target: string,
  options: RepairOptions = {},
): Promise<RepairReport> {
  for (const path of [directory, target]) checkPath("a directory", path);
  checkRepair(options);
  await loadChecksum();
  const fileSystem = options.fileSystem ?? new NodeFileSystem();
  return await withUserErrors("repair", () =>
    new Repair(fileSystem, directory, target, options).run(),
  );
}

/** Bytes written between two waits. */
const STEP_BYTES = 2 ** 20;
/** What an entry costs beside its bytes. */
const ENTRY_COST_BYTES = 32;

class Repair {
  private readonly fileSystem: FileSystem;
  private readonly directory: string;
  private readonly target: string;
  private readonly options: RepairOptions;
  private readonly lost: RepairLoss[] = [];
  private readonly ignored: IgnoredFile[] = [];
  private readonly covered = new Coverage();
  private entries = 0;
  private writes = 0;
  private bytesDone = 0;
  private bytes = 0;
  /** Segments that were not brought over yet, oldest first. */
  private waiting: FoundSegment[] = [];
  private lock: DirectoryLock | undefined;
  private output: Output | undefined;

  constructor(fileSystem: FileSystem, directory: string, target: string, options: RepairOptions) {
    this.fileSystem = fileSystem;
    this.directory = directory;
    this.target = target;
    this.options = options;
  }

  async run(): Promise<RepairReport> {
    const { fileSystem, directory, target } = this;
    const facts = await fileSystem.stat(directory);
    if (facts === undefined || !facts.isDirectory) throw notFound(directory);
    if (await isWithin(fileSystem, target, directory)) {
      throw new InvalidArgumentError(
        "repair writes a new directory: give it one outside the old one",
      );
    }
    this.lock = await lockSource(fileSystem, directory);
    try {
      const findings = await survey(fileSystem, directory, {
        lost: (loss) => this.lost.push(loss),
        ignored: (file, reason) => this.ignored.push({ file, reason }),
      });
      try {
        return await this.transfer(findings);
      } finally {
        await findings.close();
      }
    } finally {
      await this.lock?.release();
    }
  }

  private async transfer(findings: Findings): Promise<RepairReport> {
    const { fileSystem, target } = this;
    const store = await openStore(fileSystem, target, this.storeOptions(findings), NO_EVENTS);
    this.output = new Output(store);
    let keys: number;
    try {
      await this.bringOver(findings);
      await this.output.settle();
      this.tellProgress();
      await store.compact(EVERYTHING);
      this.tellProgress();
      keys = (await verifyStore(store, () => this.tellProgress())).keys;
      await store.close();
      this.tellProgress();
    } catch (error) {
      await store.close().catch(() => {});
      await discard(fileSystem, target);
      throw error;
    }
    return {
      manifest: findings.manifestState,
      keys,
      segments: findings.segments.length,
      logs: findings.logs.length,
      entries: this.entries,
      writes: this.writes,
      lost: this.lost,
      missing: this.covered.gaps(),
      ignored: this.ignored,
    };
  }

  private storeOptions({ encodings }: Findings): Parameters<typeof openStore>[2] {
    const { fileSystem, background, now } = this.options;
    const { keyEncoding = "utf8", valueEncoding = "msgpack" } = encodings ?? this.options;
    return {
      ...resolveOptions({ fileSystem, background, now, errorIfExists: true, durability: "os" }),
      keyEncoding,
      valueEncoding,
    };
  }

  private async bringOver({ manifest, segments, logs }: Findings): Promise<void> {
    this.waiting = [...segments];
    // What a manifest says to be in runs is covered; what is lost of that is reported by itself.
    if (manifest !== undefined) this.covered.add(1, manifest.lastSeqno);
    for (const { segment } of segments) {
      this.covered.add(segment.properties.firstSeqno, segment.properties.lastSeqno);
    }
    this.bytes =
      segments.reduce((total, { segment }) => total + segment.meta.fileBytes, 0) +
      logs.reduce((total, log) => total + log.bytes, 0);
    const progress = (fileBytes: number): void => {
      this.bytesDone += fileBytes;
      this.tellProgress();
    };
    for (const log of logs) {
      await this.takeLog(log, segments, progress);
    }
    await this.takeSegmentsBefore(MAX_SEQNO + 1, progress);
  }

  /** Asks too whether to go on: what it throws ends the repair. */
  private tellProgress(): void {
    const { bytesDone, bytes } = this;
    this.options.onProgress?.({ bytesDone, bytes });
  }

  /** Brings over the segments all of whose writes came before one. */
  private async takeSegmentsBefore(
    seqno: number,
    progress: (fileBytes: number) => void,
  ): Promise<void> {
    for (
      let next = this.waiting.at(0);
      next !== undefined && placeInTime(next.segment) < seqno;
      next = this.waiting.at(0)
    ) {
      this.waiting.shift();
      await this.takeSegment(next);
      progress(next.segment.meta.fileBytes);
    }
  }

  private async takeSegment({ segment, newer }: FoundSegment): Promise<void> {
    if (segment.rangeTombstones !== undefined) {
      for (const span of eachSpan(segment.rangeTombstones)) await this.write(span);
      return;
    }
    let hidden = 0;
    const entries = salvageEntries(segment, (loss) => this.addLoss(segment, loss));
    for (const { key, keyLength, kind, value, expiry } of entries) {
      if (newer.some((other) => knows(other, key, keyLength))) {
        hidden++;
        continue;
      }
      this.entries++;
      // A value that is lost hides older ones all the same.
      const isPut = kind === EntryKind.put && value !== undefined;
      const written = isPut ? value : undefined;
      await this.write({ key: key.subarray(0, keyLength), value: written, expiry });
    }
    if (hidden === 0) return;
    const reason = `${hidden} of its ${segment.meta.keyCount} entries were merged into a newer segment`;
    this.ignored.push({ file: segment.path, reason });
  }

  private addLoss(segment: Segment, loss: SalvageLoss): void {
    const { isKeyLost, entryCount, firstKey, lastKey, cause } = loss;
    this.lost.push({
      ...lossOf(segment.path, cause),
      entries: entryCount,
      firstKey,
      lastKey,
      mayShowOlder: isKeyLost,
    });
  }

  /** Brings over the writes of a log, and before each the segments that are older. */
  private async takeLog(
    { path, identity, isNewest, end, bytes }: FoundLog,
    segments: readonly FoundSegment[],
    progress: (fileBytes: number) => void,
  ): Promise<void> {
    let records: RecordReader[] = [];
    const takeRecords = async (): Promise<void> => {
      const batch = records;
      records = [];
      for (const record of batch) await this.takeRecord(record, segments, progress);
    };
    const options: ReplayOptions = {
      fileSystem: this.fileSystem,
      path,
      identity,
      isNewest,
      end,
      mode: "salvage",
      pause: takeRecords,
    };
    try {
      const report = await replayWal(options, (payload, offset) => {
        records.push(new RecordReader(payload.slice(), path, offset));
      });
      if (report.reason !== undefined) {
        this.lost.push({
          ...lossOf(path, undefined),
          offset: report.droppedOffset ?? report.endOffset,
          bytes: report.droppedBytes,
          mayShowOlder: true,
          reason: report.reason,
        });
      }
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.lost.push(lossOf(path, error));
    }
    await takeRecords();
    progress(bytes);
  }

  private async takeRecord(
    record: RecordReader,
    segments: readonly FoundSegment[],
    progress: (fileBytes: number) => void,
  ): Promise<void> {
    const operations: (Write & { readonly seqno: number })[] = [];
    record.apply({
      add: (bytes, keyStart, keyEnd, seqno, kind, values, valueStart, valueEnd, expiry) => {
        const isPut = kind === EntryKind.put;
        operations.push({
          seqno,
          key: bytes.subarray(keyStart, keyEnd),
          value: isPut ? values.subarray(valueStart, valueEnd) : undefined,
          expiry,
        });
      },
      deleteRange: (start, end, seqno) => operations.push({ seqno, start, end }),
    });
    this.covered.add(record.firstSeqno, record.firstSeqno + record.operationCount - 1);
    for (const operation of operations) {
      const { seqno } = operation;
      await this.takeSegmentsBefore(seqno, progress);
      // What a range tombstone deletes at its place in time it may be asked to delete again.
      const isFlushed =
        "key" in operation &&
        segments.some(
          ({ segment }) =>
            segment.properties.firstSeqno <= seqno &&
            seqno <= segment.properties.lastSeqno &&
            knows(segment, operation.key, operation.key.length),
        );
      if (isFlushed) continue;
      this.writes++;
      await this.write(operation);
    }
  }

  private async write(write: Write): Promise<void> {
    assert(this.output !== undefined, "the new database is open");
    const pending = this.output.write(write);
    if (pending === undefined) return;
    await pending;
    // Nobody may change what is read.
    await this.lock?.confirm();
    this.tellProgress();
  }
}

/** A value for a key and when it expires, or undefined to delete it; or a range to delete. */
type Write =
  | {
      readonly key: Uint8Array;
      readonly value: Uint8Array | undefined;
      readonly expiry: number;
    }
  | Span;

/** Writes to the new database, many under way at a time. */
class Output {
  private readonly store: Store;
  private pending: Promise<void> | undefined;
  private failure: unknown;
  private bytes = 0;

  constructor(store: Store) {
    this.store = store;
  }

  /** Adds a write. A promise must be awaited before the next. */
  write(write: Write): Promise<void> | undefined {
    const promise = this.store.committer.write((record) => {
      if ("start" in write) record.deleteRange(write);
      else if (write.value === undefined) record.delete(write.key, write.key.length);
      else record.put(write.key, write.key.length, write.value, write.expiry);
    }, "os");
    if (promise !== this.pending) {
      this.pending = promise;
      promise.catch((error: unknown) => {
        this.failure ??= error;
      });
    }
    this.bytes += ENTRY_COST_BYTES;
    if ("key" in write) this.bytes += write.key.length + (write.value?.length ?? 0);
    return this.bytes >= STEP_BYTES ? this.settle() : undefined;
  }

  async settle(): Promise<void> {
    this.bytes = 0;
    await this.pending;
    if (this.failure !== undefined) throw this.failure;
  }
}

/** Sequence numbers of which something is known. */
class Coverage {
  #ranges: SeqnoRange[] = [];

  add(firstSeqno: number, lastSeqno: number): void {
    if (lastSeqno < firstSeqno) return;
    const last = this.#ranges.at(-1);
    if (last !== undefined && last.firstSeqno <= firstSeqno && firstSeqno <= last.lastSeqno + 1) {
      // The usual case: records in order.
      const end = Math.max(last.lastSeqno, lastSeqno);
      this.#ranges[this.#ranges.length - 1] = { firstSeqno: last.firstSeqno, lastSeqno: end };
    } else {
      this.#ranges.push({ firstSeqno, lastSeqno });
    }
  }

  gaps(): SeqnoRange[] {
    const gaps: SeqnoRange[] = [];
    let known = 0;
    for (const range of this.#ranges.sort((a, b) => a.firstSeqno - b.firstSeqno)) {
      if (range.firstSeqno > known + 1) {
        gaps.push({ firstSeqno: known + 1, lastSeqno: range.firstSeqno - 1 });
      }
      known = Math.max(known, range.lastSeqno);
    }
    return gaps;
  }
}

/** A directory that cannot be written to by anyone needs no lock. */
async function lockSource(
  fileSystem: FileSystem,
  directory: string,
): Promise<DirectoryLock | undefined> {
  try {
    return await fileSystem.lock(directory, () => {});
  } catch (error) {
    if (systemErrorCode(error) === "EROFS") return undefined;
    throw error;
  }
}

/** Removes what was written of the new database, its manifest first, so that no half of one opens. */
async function discard(fileSystem: FileSystem, target: string): Promise<void> {
  const names = await fileSystem.list(target).catch(() => []);
  const isManifest = (name: string): number => (name === MANIFEST_NAME ? 0 : 1);
  for (const name of [...names].sort((a, b) => isManifest(a) - isManifest(b))) {
    await fileSystem.remove(joinPath(target, name)).catch(() => {});
  }
}
