/**
 * Compactions: when runs are merged, and how a merge goes on, step by step.
 *
 * One merge at a time, in one of the two loops of background.ts.
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
import type { JobProgress } from "../jobs/job-control.ts";
import type { JobOutput, JobRunner } from "../jobs/jobs.ts";
import { Merge } from "../jobs/merge.ts";
import { boundariesOf, filesOf, samplesOf } from "../jobs/step-inputs.ts";
import { type Run, type SegmentMeta, total, usesOf } from "../manifest/version.ts";
import type { Segment } from "../segment/reader.ts";
import type { Installer } from "./installer.ts";
import type { Stalls } from "./stalls.ts";
import type { Turns } from "./turns.ts";
import type { VersionStore } from "./versions.ts";
import type { WriteGuard } from "./write-guard.ts";

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

export interface CompactionProgress extends JobProgress {
  readonly reason: Choice["reason"];
  readonly runCount: number;
  readonly inputBytes: number;
  /** Steps of the merge that are done, and stay so whatever happens. */
  readonly stepCount: number;
}

export interface CompactionEvents {
  compaction(event: CompactionEvent): void;
  error(error: unknown): void;
}

/** What compactions need of the store. */
export interface CompactionHost {
  readonly versions: VersionStore;
  readonly jobs: JobRunner;
  readonly policy: PickOptions;
  readonly guard: Pick<WriteGuard, "isWritable" | "confirmLock">;
  /** Size at which segments are cut. */
  readonly segmentBytes: number;
  /** Bytes of segments that a step of a compaction rewrites. */
  readonly maxCompactionBytes: number;
  /**
   * One database of the process codes runs that are uncoded at a time: many that are opened together
   * would all begin after a second, each with a thread and what learning takes.
   */
  readonly codingTurns: Turns;
  /** What has expired by then is gone. */
  readonly time: number;
  /**
   * Resolves after so many milliseconds, or once the signal is aborted. `isAwaited`: whether the process
   * is to stay alive for it; default true.
   */
  delay(milliseconds: number, signal: AbortSignal, isAwaited?: boolean): Promise<void>;
}

/**
 * How long nothing is flushed or merged before runs that are uncoded are coded by themselves. A run that
 * others follow sooner is better coded by the merge that will take them all.
 */
const QUIET_MS = 1000;

export class Compactions {
  private readonly host: CompactionHost;
  private readonly installer: Installer;
  private readonly stalls: Pick<Stalls, "isCompactionUrgent" | "stopReason">;
  private readonly events: CompactionEvents;
  private readonly isFlushing: () => boolean;
  private compacting: Promise<void> | undefined;
  private merging: Merge | undefined;
  private nextMergeId = 1;
  /** Manual compactions that wait for the one under way. */
  private manualWaiting = 0;
  private isAwaitingQuiet = false;
  /** Whether there may be work that came while a compaction was under way. */
  private wasWokenMeanwhile = false;
  private readonly cancellation = new AbortController();
  /** Bytes of files that were installed since the open. */
  installedBytes = 0;

  constructor(
    host: CompactionHost,
    installer: Installer,
    stalls: Pick<Stalls, "isCompactionUrgent" | "stopReason">,
    events: CompactionEvents,
    isFlushing: () => boolean,
  ) {
    this.host = host;
    this.installer = installer;
    this.stalls = stalls;
    this.events = events;
    this.isFlushing = isFlushing;
  }

  /** Starts what is due. */
  wake(): void {
    if (this.compacting === undefined) this.compactOrCode();
    else this.wasWokenMeanwhile = true;
  }

  /** To be called when there are other memtables or runs than before: writers may come to wait. */
  hurryIfUrgent(): void {
    if (this.stalls.isCompactionUrgent) this.merging?.hurry();
  }

  /** The compaction under way. */
  get progress(): CompactionProgress | undefined {
    if (this.merging === undefined) return undefined;
    const { reason, runCount, inputBytes, stepCount, entryCount, entriesDone } = this.merging;
    return { reason, runCount, inputBytes, stepCount, entryCount, entriesDone };
  }

  /** Merges until nothing is due, or waits for what is being merged. */
  compactDue(): Promise<void> {
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

  /** Cancels what is under way, and starts nothing more; resolves when that has ended. */
  async stop(): Promise<void> {
    this.cancellation.abort(new ClosedError("the database was closed during the compaction"));
    await this.compacting?.catch(ignore);
  }

  /** To decide may take reading, of what an open left to be read; if that fails the next wake tries again. */
  private get isCompactionDue(): boolean {
    try {
      return this.pick() !== undefined;
    } catch (error) {
      this.events.error(error);
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
    for (let seen = -1; seen !== this.installer.count; ) {
      seen = this.installer.count;
      await this.host.delay(QUIET_MS, signal, false);
    }
    const endTurn = await this.host.codingTurns.take();
    this.isAwaitingQuiet = false;
    try {
      // What is under way looks again when it ends.
      if (signal.aborted || this.isFlushing() || this.compacting !== undefined) return;
      if (!guard.isWritable) return;
      const { isReady } = jobs;
      await this.startCompaction(async () => {
        // The write before it, which looked, may be long ago: a process may have slept since.
        await guard.confirmLock();
        const choice = this.uncoded;
        if (choice !== undefined) await this.compact(choice);
      });
      // Who does nothing but read has no use for a thread.
      const isIdle = !this.isFlushing() && this.compacting === undefined;
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

  private startCompaction(work: () => Promise<void>): Promise<void> {
    this.compacting = work()
      .catch((error: unknown) => {
        this.events.error(error);
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
    await this.installer.install(
      { run: written, ...others },
      (runs) => merge.runsAfter(runs, step, output),
      {},
    );
    merge.advance(step, runsBefore, output);
    merge.hasWritten ||= written.some((meta) => meta.keyCount > 0);
    this.installedBytes += total(written, "fileBytes") + total(others.valueLogs, "fileBytes");
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
