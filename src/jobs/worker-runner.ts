/**
 * WorkerRunner: runs jobs in a background thread (worker.ts).
 *
 * The thread is started by the first job, or while the first memtable fills, and kept until the
 * database is closed; one that was started to code what an open found uncoded, until that is done. If
 * it dies, the jobs it had fail, which the background reports and tries again when it is next woken,
 * with a new thread; what they had written is removed first. Nothing is lost: a job's sources stay
 * until its result is installed.
 */
import { Worker, type WorkerOptions } from "node:worker_threads";
import { DatabaseError, InvalidArgumentError } from "../errors.ts";
import { joinPath } from "../io/file-system.ts";
import { parseFileName } from "../manifest/files.ts";
import type { Memtable } from "../memtable/memtable.ts";
import type { Segment } from "../segment/reader.ts";
import type { JobControl } from "./job-control.ts";
import type {
  CompactionTask,
  FlushTask,
  JobContext,
  JobOutput,
  JobRunner,
  StepInputs,
} from "./jobs.ts";
import {
  fromPortable,
  type JobRequest,
  type SharedSegment,
  type WorkerRequest,
  type WorkerResponse,
  type WorkerSetup,
} from "./worker-protocol.ts";

interface PendingJob {
  /** File numbers below this existed before the job. */
  readonly firstFileNumber: number;
  resolve(output: JobOutput): void;
  reject(reason: unknown): void;
}

/** Who knows which files are in use, and whether the directory is still ours. */
export interface FileOwner {
  /** Whether a segment or value log is, or is about to be, part of the database. */
  isLive(fileNumber: number): boolean;
  /** Rejects once the directory may be another process's. */
  confirmLock(): Promise<void>;
}

export class WorkerRunner implements JobRunner {
  readonly isApart = true;
  private readonly context: JobContext;
  private readonly owner: FileOwner;
  private readonly pending = new Map<number, PendingJob>();
  private worker: Worker | undefined;
  private nextId = 1;
  /** Resolves when the thread that was let go last has ended. */
  private ending: Promise<void> = Promise.resolve();

  constructor(context: JobContext, owner: FileOwner) {
    this.context = context;
    this.owner = owner;
  }

  flush(memtable: Memtable, task: FlushTask, { shared: control }: JobControl): Promise<JobOutput> {
    const id = this.nextId++;
    return this.run({ kind: "flush", id, memtable: memtable.share(), task, control });
  }

  compact(
    inputs: StepInputs,
    task: CompactionTask,
    { shared: control }: JobControl,
  ): Promise<JobOutput> {
    const id = this.nextId++;
    const runs = inputs.runs.map((run) => run.map(shareSegment));
    const samples = inputs.samples.map(shareSegment);
    return this.run({ kind: "compact", id, runs, samples, task, control });
  }

  get isReady(): boolean {
    return this.worker !== undefined;
  }

  prepare(): void {
    const worker = this.worker ?? this.start();
    if (this.pending.size === 0) worker.unref();
  }

  /**
   * Has the thread end by itself. One that is terminated while it deflates takes the process with it
   * (Node 20: "Assertion failed: init_done_" in node_zlib.cc).
   */
  async close(): Promise<void> {
    const { worker } = this;
    this.worker = undefined;
    if (worker !== undefined) {
      this.ending = new Promise((resolve) => {
        worker.once("exit", () => resolve());
      });
      worker.ref();
      worker.postMessage({ kind: "end" } satisfies WorkerRequest);
    }
    await this.ending;
  }

  private run(request: JobRequest): Promise<JobOutput> {
    const worker = this.worker ?? this.start();
    const firstFileNumber = this.context.fileNumbers.upcoming;
    return new Promise<JobOutput>((resolve, reject) => {
      this.pending.set(request.id, { firstFileNumber, resolve, reject });
      worker.ref();
      worker.postMessage(request);
    });
  }

  private start(): Worker {
    const { directory, databaseId, fileNumbers, segmentBytes, largeValueBytes, compression } =
      this.context;
    const setup: WorkerSetup = {
      directory,
      databaseId,
      fileNumbers: fileNumbers.shared,
      segmentBytes,
      largeValueBytes,
      compression,
    };
    const worker = startThread(setup);
    this.worker = worker;
    worker.on("message", (response: WorkerResponse) => this.settle(response));
    worker.on("error", (error) => this.fail(worker, error));
    worker.on("exit", (code) => this.fail(worker, new Error(`it ended with exit code ${code}`)));
    return worker;
  }

  private settle(response: WorkerResponse): void {
    const job = this.pending.get(response.id);
    if (job === undefined) return;
    this.pending.delete(response.id);
    // An idle thread does not keep the process alive.
    if (this.pending.size === 0) this.worker?.unref();
    if ("output" in response) job.resolve(response.output);
    else job.reject(fromPortable(response.error));
  }

  /** Fails every job of a thread that died, once what they wrote is removed. */
  private fail(worker: Worker, cause: Error): void {
    if (worker !== this.worker) return;
    this.worker = undefined;
    const jobs = [...this.pending.values()];
    this.pending.clear();
    if (jobs.length === 0) return;
    const first = Math.min(...jobs.map((job) => job.firstFileNumber));
    const end = this.context.fileNumbers.upcoming;
    const error = new DatabaseError("MEMKV_IO", describeEnd(cause), { cause });
    // What cannot be removed now is removed at the next open.
    this.removeOutputs(first, end)
      .catch(() => {})
      .finally(() => {
        for (const job of jobs) job.reject(error);
      });
  }

  /** Removes segments and value logs with file numbers in [first, end) that nobody is going to use. */
  private async removeOutputs(first: number, end: number): Promise<void> {
    const { fileSystem, directory } = this.context;
    for (const name of await fileSystem.list(directory)) {
      const file = parseFileName(name);
      if (file === undefined || file.kind === "wal") continue;
      if (file.fileNumber < first || file.fileNumber >= end) continue;
      // Before each: meanwhile it may have become unknown which files the manifest names.
      await this.owner.confirmLock();
      if (!this.owner.isLive(file.fileNumber)) await fileSystem.remove(joinPath(directory, name));
    }
  }
}

function shareSegment(segment: Segment): SharedSegment {
  return { fileNumber: segment.meta.fileNumber, sections: segment.shareSections() };
}

/** Throws where modules have no address, so that the thread's file cannot be found: before any work. */
export function checkThreadCanStart(): void {
  const url: string | undefined = import.meta.url;
  if (url !== undefined) return;
  throw new InvalidArgumentError(
    "memkv is in a CommonJS bundle, where its background thread cannot be found: define " +
      'import.meta.url in the bundle, leave memkv out of it, or open with background: "inline" ' +
      "(docs/tuning.md, Bundling)",
  );
}

/** What a thread begins with: written out where it is begun, as bundlers look for. */
const THREAD_FILE = "worker.js";

function describeEnd(cause: Error): string {
  const code = "code" in cause ? cause.code : undefined;
  if (code !== "MODULE_NOT_FOUND" && code !== "ERR_MODULE_NOT_FOUND") {
    return "the background thread died during its work";
  }
  // What follows the first line says who asked for the module, which may be the thread's file.
  const [problem] = cause.message.split("\n", 1);
  if (!problem.includes(THREAD_FILE)) return `the background thread could not start: ${problem}`;
  return (
    "the background thread could not start, since its file is not beside memkv's: a bundle " +
    "needs memkv/worker as a second entry point (docs/tuning.md, Bundling)"
  );
}

function startThread(workerData: WorkerSetup): Worker {
  if (!import.meta.url.endsWith(".ts")) {
    // Not within `new Worker`: what webpack (5.112) makes of the two together does not run.
    const file = new URL("./worker.js", import.meta.url);
    return new Worker(file, { workerData, ...threadFlags() });
  }
  // From sources, as in tests, the thread first loads what makes Node read TypeScript. Written so that
  // no bundler looks for the two files: the package has neither (scripts/build.ts checks it).
  const { resolve } = import.meta;
  const loader = resolve("tsx/esm/api");
  const entry = import.meta.url.replace(/[^/]*$/, "worker.ts");
  return new Worker(
    `import("${loader}").then(({ register }) => { register(); return import("${entry}"); })`,
    { eval: true, workerData },
  );
}

/**
 * Flags that profile a thread. A value of its own goes with the flag before it: `--cpu-prof-dir=DIR`.
 * The name of a profile is the process's: two threads would write the same file.
 */
const PROFILING = /^--(cpu|heap)-prof($|-(?!name=)[^"]*=[^"]*$)/;
/**
 * They have packages found where links lie, not where these lead; the second, those of the file that
 * a thread begins with.
 */
const KEEPING_LINKS = ["--preserve-symlinks", "--preserve-symlinks-main"] as const;

/**
 * Of the flags of the process, those in NODE_OPTIONS included, the thread takes those that profile it
 * and those that its files are found by, no others. What the process preloads (`--import`, `--require`)
 * is for the user's code, runs where nobody expects it, and takes time before the first flush: 90 ms
 * for tsx. Flags of V8 hold for all threads, given or not. Yarn's Plug'n'Play is a preload that the
 * files are found by.
 */
function threadFlags(): WorkerOptions {
  if (process.versions["pnp"] !== undefined) return {};
  const given = [...process.execArgv, ...(process.env["NODE_OPTIONS"] ?? "").split(" ")];
  const execArgv = given.filter((flag) => PROFILING.test(flag));
  if (given.includes(KEEPING_LINKS[0])) execArgv.push(...KEEPING_LINKS);
  return { execArgv, env: { ...process.env, NODE_OPTIONS: "" } };
}
