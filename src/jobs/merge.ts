/**
 * Merge: a choice of runs to merge that is carried out by steps (compaction/steps.ts), and how far
 * it has come. It lives in memory alone: what its steps have installed is whole by itself, so a merge
 * that ends before its time, because of a failure or a close, is simply forgotten.
 *
 * Flushes and ingests put newer runs in front between two steps, and nothing else touches the runs
 * of a merge or those behind; so its place is told from the end of the list.
 */
import type { Choice } from "../compaction/pick.ts";
import { isAhead, runsAfter, type Step, type StepOutput } from "../compaction/steps.ts";
import { type Run, total } from "../manifest/version.ts";
import { JobControl } from "./job-control.ts";

export class Merge {
  readonly id: number;
  readonly reason: Choice["reason"];
  /** Runs, and entries and bytes of their segments, when it began. */
  readonly runCount: number;
  readonly entryCount: number;
  readonly inputBytes: number;
  /** Whether no run is older than those of the merge. */
  readonly isOldest: boolean;
  private readonly olderCount: number;
  /** Its runs that are left. */
  private width: number;
  private startNow: Uint8Array | undefined;
  private isDoneNow = false;
  /** Whether a step has written entries, for which it has learnt how to code them. */
  hasWritten = false;
  /** Steps that have been installed, and entries that went into those that merge. */
  stepCount = 0;
  private entriesBefore = 0;
  /** Bytes of segments that are still to be gone through. */
  remainingBytes: number;
  /** Of the step under way. */
  control: JobControl = new JobControl();
  private isSplitting = false;
  private isUrgent = false;

  constructor(id: number, choice: Choice, runs: readonly Run[]) {
    const chosen = runs.slice(choice.start, choice.end);
    this.id = id;
    this.reason = choice.reason;
    this.runCount = chosen.length;
    this.entryCount = total(chosen.flat(), "keyCount");
    this.inputBytes = total(chosen.flat(), "fileBytes");
    this.remainingBytes = this.inputBytes;
    this.isOldest = choice.end === runs.length;
    this.olderCount = runs.length - choice.end;
    this.width = chosen.length;
  }

  /** Everything below has been gone through; undefined before the first step. */
  get start(): Uint8Array | undefined {
    return this.startNow;
  }

  get isDone(): boolean {
    return this.isDoneNow;
  }

  /** Entries of the merge that have been gone through. */
  get entriesDone(): number {
    return this.entriesBefore + (this.isSplitting ? 0 : this.control.entryCount);
  }

  /** Its runs take turns with flushes from now on. */
  hurry(): void {
    this.isUrgent = true;
    this.control.hurry();
  }

  /** The control of the step that is to be taken now. */
  begin(step: Step): JobControl {
    this.control = new JobControl();
    this.isSplitting = step.kind === "split";
    if (this.isUrgent) this.control.hurry();
    return this.control;
  }

  /** What it has of a list as long as that of the runs, and what is newer and older. */
  within<T>(list: readonly T[]): { newer: readonly T[]; own: readonly T[]; older: readonly T[] } {
    const end = list.length - this.olderCount;
    const start = end - this.width;
    return { newer: list.slice(0, start), own: list.slice(start, end), older: list.slice(end) };
  }

  /** All runs once a step has been done. */
  runsAfter(runs: readonly Run[], step: Step, output: StepOutput): Run[] {
    const { newer, own, older } = this.within(runs);
    return [...newer, ...withoutEmpty(runsAfter(own, step, output)), ...older];
  }

  /** To be called when a step has been installed; `runsBefore` are all runs as they were before. */
  advance(step: Step, runsBefore: readonly Run[], output: StepOutput): void {
    const runs = withoutEmpty(runsAfter(this.within(runsBefore).own, step, output));
    this.stepCount++;
    this.width = runs.length;
    this.control = new JobControl();
    this.isSplitting = false;
    if (step.kind === "merge") {
      this.entriesBefore += total(step.runs.flat(), "keyCount");
      this.startNow = step.end;
      this.isDoneNow = step.end === undefined;
    }
    const ahead = this.isDone
      ? []
      : runs.map((run) => run.filter((meta) => isAhead(meta, this.start)));
    this.remainingBytes = total(ahead.flat(), "fileBytes");
  }
}

function withoutEmpty(runs: readonly Run[]): Run[] {
  return runs.filter((run) => run.length > 0);
}
