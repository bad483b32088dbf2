/**
 * Background work: when sealed memtables are flushed and runs compacted, and how writers are held
 * back when they outrun it.
 *
 * Two loops, at most one of each at a time, so that a long compaction never keeps a memtable from
 * being flushed. A loop is woken when there may be work and ends when there is none. A failure ends
 * it too: it is reported, and the next write that needs room, the next flush or the next wake tries
 * again; nothing is lost meanwhile, since the memtable and its log stay.
 */
import { type Choice, pickCompaction } from "../compaction/pick.ts";
import { ClosedError } from "../errors.ts";
import type { SegmentMeta } from "../manifest/version.ts";
import type { JobRunner } from "./jobs.ts";
import type { Memtable } from "./memtable.ts";
import type { OpenVersion, Sources } from "./sources.ts";
import { isPoisoning, type VersionStore } from "./versions.ts";

/** Reported when a memtable became a run. */
export interface FlushEvent {
  /** Entries written, tombstones included. */
  readonly keyCount: number;
  /** Bytes of the memtable. */
  readonly memtableBytes: number;
  /** Bytes of the files. */
  readonly fileBytes: number;
}

/** Reported when runs were merged. */
export interface CompactionEvent {
  readonly reason: Choice["reason"];
  /** Runs that were merged, and entries and bytes that went in and came out. */
  readonly runCount: number;
  readonly inputKeyCount: number;
  readonly outputKeyCount: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
}

/** Reported when writers begin to wait for a flush. */
export interface StallEvent {
  readonly sealedMemtables: number;
}

export interface BackgroundEvents {
  flush(event: FlushEvent): void;
  compaction(event: CompactionEvent): void;
  stall(event: StallEvent): void;
  error(error: unknown): void;
}

/** What background work needs of the store. */
export interface BackgroundHost {
  readonly versions: VersionStore;
  /** Who does the work of flushes and compactions. */
  readonly jobs: JobRunner;
  readonly compactionTrigger: number;
  readonly sources: Sources;
  replaceSources(sources: Sources): void;
  /** File number of the oldest log that holds writes of the memtable. */
  firstLogOf(memtable: Memtable): number;
  /** Removes logs below a number: their writes are all in runs. */
  removeLogsBelow(fileNumber: number): Promise<void>;
  /** Called when it is unknown what a crash would find on disk. */
  poison(cause: unknown): void;
}

/** Sealed memtables that may wait; a write that would seal another waits with them. */
const MAX_SEALED_MEMTABLES = 2;

export class Background {
  private readonly host: BackgroundHost;
  private readonly events: BackgroundEvents;
  private flushing: Promise<void> | undefined;
  private compacting: Promise<void> | undefined;
  private readonly cancellation = new AbortController();

  constructor(host: BackgroundHost, events: BackgroundEvents) {
    this.host = host;
    this.events = events;
  }

  /** Starts what is due. Failures are reported as `error` events. */
  wake(): void {
    if (this.cancellation.signal.aborted) return;
    // Both report their failures themselves, once, however many wait for them.
    if (this.sealedCount > 0) this.flushSealed().catch(ignore);
    if (this.pick() !== undefined) this.compactDue().catch(ignore);
  }

  /** Whether another memtable may be sealed. */
  get hasRoom(): boolean {
    return this.sealedCount < MAX_SEALED_MEMTABLES;
  }

  /** Resolves when another memtable may be sealed; rejects if flushing fails. */
  async waitForRoom(): Promise<void> {
    if (this.hasRoom) return;
    this.events.stall({ sealedMemtables: this.sealedCount });
    while (!this.hasRoom) await this.flushSealed();
  }

  /** Flushes every sealed memtable, oldest first. */
  flushSealed(): Promise<void> {
    if (this.sealedCount === 0) return this.flushing ?? Promise.resolve();
    this.flushing ??= this.runFlushes();
    return this.flushing;
  }

  /** Merges all runs into one, after whatever is being merged. */
  async compactAll(): Promise<void> {
    while (this.compacting !== undefined) await this.compacting.catch(ignore);
    this.cancellation.signal.throwIfAborted();
    const { runs } = this.host.versions.current.version;
    const hasTombstones = runs.some((run) => run.some((meta) => meta.tombstoneCount > 0));
    if (runs.length < 2 && !hasTombstones) return;
    await this.startCompaction(() =>
      this.compact({ start: 0, end: runs.length, reason: "manual" }),
    );
  }

  /** Cancels compaction, lets a flush end, and starts nothing more. */
  async stop(): Promise<void> {
    this.cancellation.abort(new ClosedError("the database was closed during the compaction"));
    await this.compacting?.catch(ignore);
    await this.flushing?.catch(ignore);
    await this.host.jobs.close();
  }

  private get sealedCount(): number {
    return this.host.sources.memtables.length - 1;
  }

  private report(error: unknown): void {
    if (!(error instanceof ClosedError)) this.events.error(error);
  }

  private async runFlushes(): Promise<void> {
    try {
      while (this.sealedCount > 0) await this.flushOldest();
    } catch (error) {
      this.report(error);
      throw error;
    } finally {
      // In the same step in which the loop ends, so that no wake falls in between.
      this.flushing = undefined;
    }
    this.wake();
  }

  private async flushOldest(): Promise<void> {
    const { host } = this;
    const { memtables } = host.sources;
    const memtable = memtables[memtables.length - 1];
    const oldestWal = host.firstLogOf(memtables[memtables.length - 2]);
    const run = await host.jobs.flush(memtable, host.versions.current.version.runs.length === 0);
    await this.install(
      run,
      (runs) => (run.length > 0 ? [run, ...runs] : runs),
      { oldestWal, lastSeqno: Math.max(memtable.lastSeqno, host.versions.manifest.lastSeqno) },
      (sources) => sources.memtables.filter((other) => other !== memtable),
    );
    await host.removeLogsBelow(oldestWal);
    this.events.flush({
      keyCount: total(run, "keyCount"),
      memtableBytes: memtable.byteLength,
      fileBytes: total(run, "fileBytes"),
    });
  }

  private pick(): Choice | undefined {
    const { versions, compactionTrigger } = this.host;
    return pickCompaction(versions.current.version, { trigger: compactionTrigger });
  }

  private compactDue(): Promise<void> {
    return (
      this.compacting ??
      this.startCompaction(async () => {
        for (let choice = this.pick(); choice !== undefined; choice = this.pick()) {
          await this.compact(choice);
        }
      })
    );
  }

  private startCompaction(work: () => Promise<void>): Promise<void> {
    this.compacting = work()
      .catch((error: unknown) => {
        this.report(error);
        throw error;
      })
      .finally(() => {
        this.compacting = undefined;
      });
    return this.compacting;
  }

  private async compact(choice: Choice): Promise<void> {
    const { host } = this;
    const inputs = host.versions.current;
    inputs.hold();
    try {
      const chosen = inputs.version.runs.slice(choice.start, choice.end);
      const run = await host.jobs.compact(
        inputs.runs.slice(choice.start, choice.end),
        choice.end === inputs.version.runs.length,
        this.cancellation.signal,
      );
      const existing = new Set(chosen.flat().map((meta) => meta.fileNumber));
      await this.install(
        run.filter((meta) => !existing.has(meta.fileNumber)),
        (runs) => {
          // Flushes may have put newer runs in front meanwhile; the chosen ones still stand together.
          const start = runs.indexOf(chosen[0]);
          const rest = runs.slice(start + chosen.length);
          return [...runs.slice(0, start), ...(run.length > 0 ? [run] : []), ...rest];
        },
        {},
        (sources) => sources.memtables,
      );
      this.events.compaction({
        reason: choice.reason,
        runCount: chosen.length,
        inputKeyCount: total(chosen.flat(), "keyCount"),
        outputKeyCount: total(run, "keyCount"),
        inputBytes: total(chosen.flat(), "fileBytes"),
        outputBytes: total(run, "fileBytes"),
      });
    } finally {
      inputs.release();
    }
  }

  /** Makes new segments part of the database, or removes them if that fails. */
  private async install(
    added: readonly SegmentMeta[],
    changeRuns: (runs: OpenVersion["version"]["runs"]) => OpenVersion["version"]["runs"],
    progress: { readonly oldestWal?: number; readonly lastSeqno?: number },
    remainingMemtables: (sources: Sources) => readonly Memtable[],
  ): Promise<void> {
    const { host } = this;
    try {
      await host.versions.edit(
        added,
        (manifest) => ({
          ...manifest,
          ...progress,
          version: { runs: changeRuns(manifest.version.runs) },
        }),
        (version) => {
          host.replaceSources({ memtables: remainingMemtables(host.sources), version });
        },
      );
    } catch (error) {
      if (isPoisoning(error)) host.poison(error);
      else for (const meta of added) await host.versions.removeFile(meta);
      throw error;
    }
  }
}

function total(segments: readonly SegmentMeta[], field: "keyCount" | "fileBytes"): number {
  return segments.reduce((sum, meta) => sum + meta[field], 0);
}

function ignore(): void {
  // For failures that were reported where they arose.
}
