/**
 * Background work: flushes of sealed memtables, and compactions (compactions.ts), side by side.
 * Writers that outrun it are held back (stalls.ts).
 *
 * Two loops, at most one of each at a time, so that a long compaction never keeps a memtable from
 * being flushed. A loop is woken when there may be work and ends when there is none. A failure ends
 * it too: it is reported, and the next write that needs room, the next flush or the next wake tries
 * again; nothing is lost meanwhile, since the memtable and its log stay.
 */
import { ClosedError } from "../errors.ts";
import { JobControl, type JobProgress } from "../jobs/job-control.ts";
import { flushBoundaries } from "../jobs/step-inputs.ts";
import { type Run, total, type ValueLogMeta } from "../manifest/version.ts";
import type { Memtable } from "../memtable/memtable.ts";
import { type CompactionEvents, type CompactionHost, Compactions } from "./compactions.ts";
import { Installer, type InstallHost } from "./installer.ts";
import { type StallEvent, Stalls } from "./stalls.ts";

/** Reported when a memtable became a run. */
export interface FlushEvent {
  /** Entries written, tombstones included. */
  readonly keyCount: number;
  /** Bytes of the memtable. */
  readonly memtableBytes: number;
  /** Bytes of the files, value logs included. */
  readonly fileBytes: number;
}

export interface BackgroundEvents extends CompactionEvents {
  flush(event: FlushEvent): void;
  stall(event: StallEvent): void;
}

/** What background work needs of the store. */
export interface BackgroundHost extends CompactionHost, InstallHost {
  readonly rotation: {
    /** File number of the oldest log that holds writes of the memtable. */
    firstLogOf(memtable: Memtable): number;
  };
  /** Removes logs below a number: their writes are all in runs. */
  removeLogsBelow(fileNumber: number): Promise<void>;
  /** Milliseconds of a monotonic clock. */
  now(): number;
}

export class Background {
  private readonly host: BackgroundHost;
  private readonly events: BackgroundEvents;
  private flushing: Promise<void> | undefined;
  private flushUnderWay: { readonly entryCount: number; readonly control: JobControl } | undefined;
  private isStopped = false;
  /** Bytes of files that flushes and ingests have installed since the open. */
  flushedBytes = 0;
  ingestedBytes = 0;
  private readonly installer: Installer;
  /** How writers are held back. */
  readonly stalls: Stalls;
  readonly compactions: Compactions;

  constructor(host: BackgroundHost, events: BackgroundEvents) {
    this.host = host;
    this.events = events;
    this.installer = new Installer(host, () => this.updateStalls());
    this.stalls = new Stalls(host, (event) => events.stall(event));
    this.compactions = new Compactions(
      host,
      this.installer,
      this.stalls,
      {
        compaction: (event) => events.compaction(event),
        error: (error) => this.report(error),
      },
      () => this.flushing !== undefined,
    );
  }

  /** Starts what is due. Failures are reported as `error` events. */
  wake(): void {
    if (this.isStopped) return;
    // Both report their failures themselves, once, however many wait for them.
    if (this.sealedCount > 0) this.flushSealed().catch(ignore);
    this.compactions.wake();
    this.updateStalls();
  }

  /** Whether another memtable may be sealed. */
  get hasRoom(): boolean {
    return this.stalls.stopReason === undefined;
  }

  /** Resolves when another memtable may be sealed; rejects if flushing, or compaction, fails. */
  async waitForRoom(): Promise<void> {
    if (this.hasRoom) return;
    try {
      for (;;) {
        const reason = this.stalls.stopReason;
        if (reason === undefined) return;
        this.stalls.report("stop", reason);
        await (reason === "memtables" ? this.flushSealed() : this.compactions.compactDue());
      }
    } finally {
      this.stalls.report("stop", undefined);
    }
  }

  /** The flush under way. */
  get flushProgress(): JobProgress | undefined {
    if (this.flushUnderWay === undefined) return undefined;
    const { entryCount, control } = this.flushUnderWay;
    return { entryCount, entriesDone: control.entryCount };
  }

  /** Flushes every sealed memtable, oldest first. */
  flushSealed(): Promise<void> {
    if (this.sealedCount === 0) return this.flushing ?? Promise.resolve();
    this.flushing ??= this.runFlushes();
    return this.flushing;
  }

  /**
   * Installs runs that were written elsewhere, newest first, as newer than all that are there; their
   * newest write is `lastSeqno`. To be called while no memtable has any write, and no write can come.
   * `onInstalled` is called in the step that shows them to readers. If it rejects, the files are
   * removed, or the database is poisoned.
   */
  async attach(
    runs: readonly Run[],
    valueLogs: readonly ValueLogMeta[],
    lastSeqno: number,
    onInstalled: () => void,
  ): Promise<void> {
    await this.installer.install(
      { run: runs.flat(), valueLogs },
      (older) => [...runs, ...older],
      { lastSeqno },
      undefined,
      onInstalled,
    );
    this.ingestedBytes += total(runs.flat(), "fileBytes") + total(valueLogs, "fileBytes");
    this.wake();
  }

  /** Cancels compaction, lets a flush end, and starts nothing more. */
  async stop(): Promise<void> {
    this.isStopped = true;
    await this.compactions.stop();
    await this.flushing?.catch(ignore);
    await this.host.jobs.close();
  }

  private get sealedCount(): number {
    return this.host.sources.memtables.length - 1;
  }

  /** To be called when there are other memtables or runs than before. */
  private updateStalls(): void {
    this.compactions.hurryIfUrgent();
    this.stalls.updateSlowDown();
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
    const oldestWal = host.rotation.firstLogOf(memtables[memtables.length - 2]);
    const control = new JobControl();
    const start = host.now();
    this.flushUnderWay = { entryCount: memtable.keyCount, control };
    const { runs } = host.versions.current.version;
    const dropTombstones = runs.length === 0;
    const boundaries = flushBoundaries(runs);
    const output = await host.jobs
      .flush(memtable, { dropTombstones, time: host.time, boundaries }, control)
      .finally(() => {
        this.flushUnderWay = undefined;
      });
    const { run, valueLogs } = output;
    await this.installer.install(
      output,
      (older) => (run.length > 0 ? [run, ...older] : older),
      { oldestWal, lastSeqno: Math.max(memtable.lastSeqno, host.versions.manifest.lastSeqno) },
      memtable,
    );
    this.flushedBytes += total(run, "fileBytes") + total(valueLogs, "fileBytes");
    this.stalls.noteFlush(memtable.byteLength, host.now() - start);
    await host.removeLogsBelow(oldestWal);
    this.events.flush({
      keyCount: total(run, "keyCount"),
      memtableBytes: memtable.byteLength,
      fileBytes: total(run, "fileBytes") + total(valueLogs, "fileBytes"),
    });
  }
}

function ignore(): void {
  // For failures that were reported where they arose, and where there is nothing to add.
}
