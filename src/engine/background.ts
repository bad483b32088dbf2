/**
 * Background work: when sealed memtables are flushed and runs compacted. Writers that outrun it are held
 * back (stalls.ts).
 *
 * Two loops, at most one of each at a time, so that a long compaction never keeps a memtable from
 * being flushed. A loop is woken when there may be work and ends when there is none. A failure ends
 * it too: it is reported, and the next write that needs room, the next flush or the next wake tries
 * again; nothing is lost meanwhile, since the memtable and its log stay.
 *
 * Flushes leave what they write uncoded (segment/coders.ts), since a merge is to code it, and writers
 * may wait for them. What no merge is due for is coded by itself once nothing has been flushed or
 * merged for a while, where that takes none of the calling thread's time.
 */
import { successor } from "../bytes/compare.ts";
import {
  type Choice,
  type PickOptions,
  pickCompaction,
  pickUncoded,
  withPartners,
} from "../compaction/pick.ts";
import { planOptionsOf, seqnosOf } from "../compaction/run.ts";
import { nextStep, type Step } from "../compaction/steps.ts";
import {
  garbageLogs,
  logsOf,
  MAX_GARBAGE_SHARE,
  MAX_GARBAGE_SHARE_MANUAL,
} from "../compaction/value-logs.ts";
import { type Bounds, isEmptyRange, overlaps } from "../encoding/range.ts";
import { ClosedError } from "../errors.ts";
import { JobControl } from "../jobs/job-control.ts";
import type { JobOutput, JobRunner } from "../jobs/jobs.ts";
import { Merge } from "../jobs/merge.ts";
import { boundariesOf, filesOf, flushBoundaries, samplesOf } from "../jobs/step-inputs.ts";
import {
  type Run,
  type SegmentMeta,
  total,
  usesOf,
  type ValueLogMeta,
  versionOf,
} from "../manifest/version.ts";
import type { Memtable } from "../memtable/memtable.ts";
import type { Segment } from "../segment/reader.ts";
import type { Sources } from "./sources.ts";
import { type StallEvent, Stalls } from "./stalls.ts";
import type { Turns } from "./turns.ts";
import { isPoisoning, type VersionStore } from "./versions.ts";
import type { WriteGuard } from "./write-guard.ts";

/** Reported when a memtable became a run. */
export interface FlushEvent {
  /** Entries written, tombstones included. */
  readonly keyCount: number;
  /** Bytes of the memtable. */
  readonly memtableBytes: number;
  /** Bytes of the files, value logs included. */
  readonly fileBytes: number;
}

/** Reported when a step of a merge of runs was done. A small merge is one step. */
export interface CompactionEvent {
  /**
   * `"space"`: much may be hidden, or was deleted. `"size"`: several runs are of like size. `"count"`:
   * there are too many. `"garbage"`: value logs are mostly garbage. `"coding"`: a flush left a run
   * uncoded, and nothing else is due. `"manual"`: `compact()`.
   */
  readonly reason: Choice["reason"];
  /** Runs that the merge is of. */
  readonly runCount: number;
  /** Which step of the merge it was, from 1. */
  readonly step: number;
  /** Bytes of the merge's segments that are left to go through: 0 once it is done. */
  readonly remainingBytes: number;
  /** Entries and bytes of segments that went into the step and came out. */
  readonly inputKeyCount: number;
  readonly outputKeyCount: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
  /** Bytes of segments that were read and written anew, at most; the rest was taken over as it was. */
  readonly rewrittenBytes: number;
}

/** A flush or compaction under way. */
export interface JobProgress {
  /** Entries that go in. */
  readonly entryCount: number;
  /** How many of them have been gone through; those that newer ones hide are not counted. */
  readonly entriesDone: number;
}

export interface CompactionProgress extends JobProgress {
  readonly reason: Choice["reason"];
  readonly runCount: number;
  readonly inputBytes: number;
  /** Steps of the merge that are done, and stay so whatever happens. */
  readonly stepCount: number;
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
  readonly policy: PickOptions;
  readonly guard: Pick<WriteGuard, "isWritable" | "confirmLock">;
  /** Size at which segments are cut. */
  readonly segmentBytes: number;
  /** Bytes of segments that a step of a compaction rewrites. */
  readonly maxCompactionBytes: number;
  readonly sources: Sources;
  /**
   * One database of the process codes runs that are uncoded at a time: many that are opened together
   * would all begin after a second, each with a thread and what learning takes.
   */
  readonly codingTurns: Turns;
  /** What has expired by then is gone. */
  readonly time: number;
  replaceSources(sources: Sources): void;
  readonly rotation: {
    /** File number of the oldest log that holds writes of the memtable. */
    firstLogOf(memtable: Memtable): number;
  };
  /** Resolves once a manifest may call any log the oldest needed. */
  logFounded(): Promise<void>;
  /** Removes logs below a number: their writes are all in runs. */
  removeLogsBelow(fileNumber: number): Promise<void>;
  /** Milliseconds of a monotonic clock. */
  now(): number;
  /**
   * Resolves after so many milliseconds, or once the signal is aborted. `isAwaited`: whether the process
   * is to stay alive for it; default true.
   */
  delay(milliseconds: number, signal: AbortSignal, isAwaited?: boolean): Promise<void>;
  /** Called when it is unknown what a crash would find on disk. */
  poison(cause: unknown): void;
}

/**
 * How long nothing is flushed or merged before runs that are uncoded are coded by themselves. A run that
 * others follow sooner is better coded by the merge that will take them all.
 */
const QUIET_MS = 1000;

export class Background {
  private readonly host: BackgroundHost;
  private readonly events: BackgroundEvents;
  private flushing: Promise<void> | undefined;
  private compacting: Promise<void> | undefined;
  /** Manual compactions that wait for the one under way. */
  private manualWaiting = 0;
  private readonly cancellation = new AbortController();
  /** Bytes of files that flushes, compactions and ingests have installed since the open. */
  flushedBytes = 0;
  compactedBytes = 0;
  ingestedBytes = 0;
  private flushUnderWay: { readonly entryCount: number; readonly control: JobControl } | undefined;
  private merging: Merge | undefined;
  private nextMergeId = 1;
  /** Counts what is installed, to tell whether anything was since. */
  private installCount = 0;
  private isAwaitingQuiet = false;
  /** Whether there may be work that came while a compaction was under way. */
  private wasWokenMeanwhile = false;
  /** How writers are held back. */
  readonly stalls: Stalls;

  constructor(host: BackgroundHost, events: BackgroundEvents) {
    this.host = host;
    this.events = events;
    this.stalls = new Stalls(host, (event) => events.stall(event));
  }

  /** Starts what is due. Failures are reported as `error` events. */
  wake(): void {
    if (this.cancellation.signal.aborted) return;
    // Both report their failures themselves, once, however many wait for them.
    if (this.sealedCount > 0) this.flushSealed().catch(ignore);
    if (this.compacting === undefined) this.compactOrCode();
    else this.wasWokenMeanwhile = true;
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
        await (reason === "memtables" ? this.flushSealed() : this.compactDue());
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

  /** The compaction under way. */
  get compactionProgress(): CompactionProgress | undefined {
    if (this.merging === undefined) return undefined;
    const { reason, runCount, inputBytes, stepCount, entryCount, entriesDone } = this.merging;
    return { reason, runCount, inputBytes, stepCount, entryCount, entriesDone };
  }

  /** Flushes every sealed memtable, oldest first. */
  flushSealed(): Promise<void> {
    if (this.sealedCount === 0) return this.flushing ?? Promise.resolve();
    this.flushing ??= this.runFlushes();
    return this.flushing;
  }

  /**
   * Merges all runs into one, after whatever is being merged, if there is anything to gain within
   * the bounds; where these take in all segments, that is also to code what flushes left uncoded. What
   * the merge drops is garbage in value logs afterwards, which takes a second compaction to clear: one
   * that rewrites only what refers to such logs.
   */
  async compactAll(bounds: Bounds): Promise<void> {
    this.manualWaiting++;
    this.merging?.hurry();
    while (this.compacting !== undefined) await this.compacting.catch(ignore);
    this.manualWaiting--;
    this.cancellation.signal.throwIfAborted();
    await this.startCompaction(async () => {
      const { current } = this.host.versions;
      const { runs } = current.version;
      const touched = within(runs, bounds);
      const hasTombstones = touched
        .flat()
        .some((meta) => meta.tombstoneCount + meta.rangeTombstoneCount > 0);
      const { time } = this.host;
      const segments = current.runs.flat();
      const hasExpired = segments.some(
        (segment) => touches(segment.meta, bounds) && segment.countExpired(time) > 0,
      );
      // A part is no reason: all runs would be merged for it.
      const isWhole = segments.every(({ meta }) => touches(meta, bounds));
      const isUncoded = isWhole && segments.some(({ properties }) => properties.isUncoded);
      if (touched.length > 1 || hasTombstones || hasExpired || isUncoded) {
        await this.compact({ start: 0, end: runs.length, reason: "manual" });
      }
      const { version } = this.host.versions.current;
      const end = version.runs.length;
      const oldest = version.runs.slice(-1);
      const inBounds = usesOf(within(oldest, bounds));
      const logs = garbageLogs(logsOf(oldest, version), MAX_GARBAGE_SHARE_MANUAL);
      if (logs.some((log) => inBounds.has(log.fileNumber))) {
        await this.compact({ start: end - 1, end, reason: "manual" });
      }
    });
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
    await this.install(
      { run: runs.flat(), valueLogs },
      (older) => [...runs, ...older],
      { lastSeqno },
      (sources) => sources.memtables,
      onInstalled,
    );
    this.ingestedBytes += total(runs.flat(), "fileBytes") + total(valueLogs, "fileBytes");
    this.wake();
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

  /** To be called when there are other memtables or runs than before. */
  private updateStalls(): void {
    if (this.stalls.isCompactionUrgent) this.merging?.hurry();
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
    await this.install(
      output,
      (older) => (run.length > 0 ? [run, ...older] : older),
      { oldestWal, lastSeqno: Math.max(memtable.lastSeqno, host.versions.manifest.lastSeqno) },
      (sources) => sources.memtables.filter((other) => other !== memtable),
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

  /** To decide may take reading, of what an open left to be read; if that fails the next wake tries again. */
  private get isCompactionDue(): boolean {
    try {
      return this.pick() !== undefined;
    } catch (error) {
      this.report(error);
      return false;
    }
  }

  private compactOrCode(): void {
    if (this.isCompactionDue) this.compactDue().catch(ignore);
    else this.codeWhenQuiet().catch(ignore);
  }

  private pick(): Choice | undefined {
    const { versions, policy, time } = this.host;
    const { current } = versions;
    return pickCompaction(current.version, current.contents(time), policy);
  }

  /** Has runs coded that are not, once it is quiet; nothing, where that is awaited already. */
  private async codeWhenQuiet(): Promise<void> {
    const { jobs, guard } = this.host;
    if (this.isAwaitingQuiet || !jobs.isApart || this.uncoded === undefined) return;
    this.isAwaitingQuiet = true;
    const { signal } = this.cancellation;
    for (let seen = -1; seen !== this.installCount; ) {
      seen = this.installCount;
      await this.host.delay(QUIET_MS, signal, false);
    }
    const endTurn = await this.host.codingTurns.take();
    this.isAwaitingQuiet = false;
    try {
      // What is under way looks again when it ends.
      if (signal.aborted || this.flushing !== undefined || this.compacting !== undefined) return;
      if (!guard.isWritable) return;
      const { isReady } = jobs;
      await this.startCompaction(async () => {
        // The write before it, which looked, may be long ago: a process may have slept since.
        await guard.confirmLock();
        const choice = this.uncoded;
        if (choice !== undefined) await this.compact(choice);
      });
      // Who does nothing but read has no use for a thread.
      const isIdle = this.flushing === undefined && this.compacting === undefined;
      if (!isReady && isIdle) await jobs.close();
    } finally {
      endTurn();
    }
  }

  /** Runs next to each other to code, or undefined where there are none. */
  private get uncoded(): Choice | undefined {
    const { versions, policy } = this.host;
    const isUncoded = ({ properties }: Segment): boolean => properties.isUncoded;
    return pickUncoded(
      versions.current.files.map((run) => run.some(isUncoded)),
      policy,
    );
  }

  private compactDue(): Promise<void> {
    return (
      this.compacting ??
      this.startCompaction(async () => {
        for (let choice = this.pick(); choice !== undefined; choice = this.pick()) {
          await this.compact(choice);
          // Under a steady load there is always something due.
          if (this.manualWaiting > 0) break;
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
    const { compacting } = this;
    compacting
      .then(() => {
        // A manual one that waits goes first, and looks when it ends.
        if (this.manualWaiting > 0) return;
        if (this.wasWokenMeanwhile) this.compactOrCode();
        else this.codeWhenQuiet().catch(ignore);
        this.wasWokenMeanwhile = false;
      })
      // What failed is not tried again before somebody asks for something.
      .catch(ignore);
    return compacting;
  }

  private async compact(picked: Choice): Promise<void> {
    const { version, files } = this.host.versions.current;
    const { runs } = version;
    const choice = withPartners(picked, files.map(seqnosOf));
    const merge = new Merge(this.nextMergeId++, choice, runs);
    // Somebody waits for a manual one.
    if (choice.reason === "manual" || this.stalls.isCompactionUrgent) merge.hurry();
    const { signal } = this.cancellation;
    const cancel = (): void => merge.control.cancel();
    signal.addEventListener("abort", cancel);
    this.merging = merge;
    try {
      while (!merge.isDone) {
        signal.throwIfAborted();
        await this.takeStep(merge);
        // What is done is done: the manual one goes on from there. But not where writers wait for this
        // one, who would begin it again before the other's turn, and again do no more than a step.
        const isWaitedFor = this.stalls.stopReason === "runs";
        if (choice.reason !== "manual" && this.manualWaiting > 0 && !isWaitedFor) break;
        // To code can wait, what is due cannot.
        if (choice.reason === "coding" && this.isCompactionDue) break;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      this.merging = undefined;
      signal.removeEventListener("abort", cancel);
    }
  }

  /** Carries out the next step of a merge, and installs it. */
  private async takeStep(merge: Merge): Promise<void> {
    const { host } = this;
    const { segmentBytes } = host;
    const inputs = host.versions.current;
    inputs.hold();
    try {
      const { runs } = inputs.version;
      const { own } = merge.within(runs);
      const files = merge.within(inputs.files).own;
      const work = {
        time: host.time,
        dropTombstones: merge.isOldest,
        valueLogs: logsOf(own, inputs.version),
        maxGarbageShare: merge.reason === "manual" ? MAX_GARBAGE_SHARE_MANUAL : MAX_GARBAGE_SHARE,
      };
      const options = planOptionsOf(files, work, segmentBytes);
      const step = nextStep(own, merge.start, { ...options, stepBytes: host.maxCompactionBytes });
      const task = {
        ...work,
        mergeId: merge.id,
        kind: step.kind,
        end: step.kind === "merge" ? step.end : undefined,
        boundaries: boundariesOf(step, runs, merge.isOldest, segmentBytes),
      };
      const samples = merge.hasWritten ? [] : samplesOf(files, options);
      const output = await host.jobs.compact(
        { runs: filesOf(step, files), samples },
        task,
        merge.begin(step),
      );
      await this.installStep(merge, step, runs, output);
    } finally {
      inputs.release();
    }
  }

  private async installStep(
    merge: Merge,
    step: Step,
    runsBefore: readonly Run[],
    { run, kept = [], ...others }: JobOutput,
  ): Promise<void> {
    const existing = new Set(runsBefore.flat().map((meta) => meta.fileNumber));
    const written = [...run, ...kept.flat()].filter((meta) => !existing.has(meta.fileNumber));
    const output = { run, kept };
    await this.install(
      { run: written, ...others },
      (runs) => merge.runsAfter(runs, step, output),
      {},
      (sources) => sources.memtables,
    );
    merge.advance(step, runsBefore, output);
    merge.hasWritten ||= written.some((meta) => meta.keyCount > 0);
    this.compactedBytes += total(written, "fileBytes") + total(others.valueLogs, "fileBytes");
    const inputs = step.kind === "split" ? [step.segment] : step.runs.flat();
    this.events.compaction({
      reason: merge.reason,
      runCount: merge.runCount,
      step: merge.stepCount,
      remainingBytes: merge.remainingBytes,
      inputKeyCount: total(inputs, "keyCount"),
      outputKeyCount: total(run, "keyCount"),
      inputBytes: total(inputs, "fileBytes"),
      outputBytes: total(run, "fileBytes"),
      rewrittenBytes: step.rewrittenBytes,
    });
  }

  /** Makes what a job wrote part of the database, or removes it if that fails. */
  private async install(
    { run, valueLogs, sections }: JobOutput,
    changeRuns: (runs: readonly Run[]) => readonly Run[],
    progress: { readonly oldestWal?: number; readonly lastSeqno?: number },
    remainingMemtables: (sources: Sources) => readonly Memtable[],
    onInstalled: () => void = ignore,
  ): Promise<void> {
    const { host } = this;
    const added = { segments: run, valueLogs, sections };
    // From here on, since a thread that dies has what it wrote and nobody is going to use removed.
    const fileNumbers = [...run, ...valueLogs].map((meta) => meta.fileNumber);
    for (const fileNumber of fileNumbers) host.versions.announce(fileNumber);
    try {
      if (progress.oldestWal !== undefined) await host.logFounded();
      await host.versions.edit(
        added,
        (manifest) => {
          const { version } = manifest;
          const runs = changeRuns(version.runs);
          const next = versionOf(runs, [...version.valueLogs, ...valueLogs]);
          return { ...manifest, ...progress, version: next };
        },
        (version) => {
          host.replaceSources({ memtables: remainingMemtables(host.sources), version });
          this.installCount++;
          onInstalled();
          this.updateStalls();
        },
      );
    } catch (error) {
      if (isPoisoning(error)) host.poison(error);
      else await host.versions.removeFiles(added);
      throw error;
    } finally {
      host.versions.release(fileNumbers);
    }
  }
}

/** What the runs have within the bounds: whole segments, without runs that have none. */
function within(runs: readonly Run[], bounds: Bounds): readonly Run[] {
  return runs
    .map((run) => run.filter((meta) => touches(meta, bounds)))
    .filter((run) => run.length > 0);
}

/** Whether a segment may hold or delete keys within the bounds. */
function touches(meta: SegmentMeta, bounds: Bounds): boolean {
  if (isEmptyRange(bounds)) return false;
  // Range tombstones may reach beyond the keys that their segment names.
  if (meta.rangeTombstoneCount > 0) return true;
  return overlaps(bounds, { start: meta.firstKey, end: successor(meta.lastKey) });
}

function ignore(): void {
  // For failures that were reported where they arose, and where there is nothing to add.
}
