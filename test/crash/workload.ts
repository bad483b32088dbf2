/**
 * A seeded life of a database: several processes in succession write, flush, compact, read and end,
 * well or badly. Its crash points are collected with what must hold for each.
 */
import type { Store } from "../../src/engine/store.ts";
import { Turns } from "../../src/engine/turns.ts";
import { ClosedError, DatabaseError } from "../../src/errors.ts";
import type { BatchOperation, OpenOptions, PutOptions } from "../../src/index.ts";
import type { CrashModel, CrashPoint } from "../../src/testing/crash-file-system.ts";
import { CrashFileSystem } from "../../src/testing/crash-file-system.ts";
import { Random } from "../../src/testing/random.ts";
import {
  contentOf,
  EARLY,
  fingerprintOf,
  LATE,
  openTest,
  type TestClock,
  type TestDatabase,
  Violation,
} from "./check.ts";
import { type Expectation, History, type RangeDeletion, type Write } from "./history.ts";
import { Process } from "./process.ts";

/** A moment at which the machine may crash. */
export interface Moment {
  readonly point: CrashPoint;
  readonly expectation: Expectation;
  /** What is about to happen to the disk. */
  readonly operation: string;
}

export interface WorkloadOptions {
  readonly seed: number;
  readonly model: CrashModel;
  /** Processes that live on the disk, one after the other. */
  readonly lives: number;
  /** What each of them does. */
  readonly stepsPerLife: number;
}

/** Few enough that they are overwritten and deleted often. */
const KEY_COUNT = 24;

/** Runs a workload to its end and returns its moments, the last one after the end. */
export async function runWorkload(options: WorkloadOptions): Promise<Moment[]> {
  const moments: Moment[] = [];
  const history = new History();
  const take = (operation: string): void => {
    moments.push({ point: disk.crashPoint(), expectation: history.expectation(), operation });
  };
  const disk: CrashFileSystem = new CrashFileSystem({
    model: options.model,
    onOperation: ({ kind, path }) => {
      take(`${kind} ${path}`);
      life?.countOperation(kind);
    },
  });
  const random = new Random(options.seed);
  let life: Life | undefined;
  const stopIdling = options.seed % 2 === 0 ? seemIdle() : () => {};
  try {
    for (let i = 0; i < options.lives; i++) {
      life = new Life(disk, history, random, LIVES[i % LIVES.length]);
      await life.run(options.stepsPerLife);
    }
  } finally {
    stopIdling();
  }
  take("the end");
  return moments;
}

/**
 * Lets the event loop seem idle whenever somebody asks, so that syncs block the thread, which those of
 * a disk in memory never would. Returns what ends that.
 */
function seemIdle(): () => void {
  const { eventLoopUtilization } = performance;
  performance.eventLoopUtilization = () => ({
    idle: performance.now(),
    active: 0,
    utilization: 0,
  });
  return () => {
    performance.eventLoopUtilization = eventLoopUtilization;
  };
}

/** What processes differ in. */
interface Manner {
  readonly options: OpenOptions<string, string>;
  /** See Process. */
  readonly syncTurns: number;
  /** Length of the longest values. */
  readonly longBytes: number;
  /** Whether runs that flushes left uncoded are coded, as by a thread, when little else happens. */
  readonly isCoding: boolean;
}

/** Values stay in segments, of which a run has several: a merge takes steps. */
const MANY_SEGMENTS = { largeValueBytes: 4096, segmentBytes: 512, maxCompactionBytes: 512 };

/** Runs stay uncoded for long, and several are coded at once, in steps. */
const LITTLE_MERGED = { ...MANY_SEGMENTS, compactionTrigger: 8, maxMergeWidth: 8 };

/** The third has values for which a log is synced ahead, and writes while logs are synced. */
const LIVES: readonly Manner[] = [
  { options: {}, syncTurns: 0, longBytes: 20_000, isCoding: false },
  { options: MANY_SEGMENTS, syncTurns: 0, longBytes: 20_000, isCoding: true },
  { options: LITTLE_MERGED, syncTurns: 3, longBytes: 40_000, isCoding: true },
];

/** Operations, of any kind or of those on names, after which a process may be killed at work. */
const MAX_OPERATIONS_TO_DEATH = 200;
const MAX_NAME_OPERATIONS_TO_DEATH = 30;
const NAME_OPERATIONS: ReadonlySet<string> = new Set(["rename", "remove", "syncDirectory"]);

/** One process. */
class Life {
  readonly #process: Process;
  readonly #history: History;
  readonly #random: Random;
  readonly #manner: Manner;
  /** What was asked for and not waited for. */
  #pending: Promise<unknown>[] = [];
  /** What went wrong while the process was alive. */
  #failure: unknown;
  /** The process is killed when so many operations have been made, or so many on names. */
  #operationsToDeath: number;
  readonly #countsNamesOnly: boolean;
  readonly #clock: TestClock = { time: EARLY };

  constructor(disk: CrashFileSystem, history: History, random: Random, manner: Manner) {
    this.#manner = manner;
    this.#process = new Process(disk, manner.syncTurns);
    this.#history = history;
    this.#random = random;
    this.#countsNamesOnly = random.oneIn(2);
    const limit = this.#countsNamesOnly ? MAX_NAME_OPERATIONS_TO_DEATH : MAX_OPERATIONS_TO_DEATH;
    this.#operationsToDeath = random.oneIn(3) ? Number.POSITIVE_INFINITY : 1 + random.below(limit);
  }

  /** The operation that is under way when the process is killed still happens. */
  countOperation(kind: string): void {
    if (this.#countsNamesOnly && !NAME_OPERATIONS.has(kind)) return;
    if (--this.#operationsToDeath === 0) this.#process.kill();
  }

  async run(steps: number): Promise<void> {
    const work = this.#work(steps);
    // A dead process has no failures, and its work never ends.
    await Promise.race([this.#process.death, work]);
    work.catch(() => {});
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #work(steps: number): Promise<void> {
    const database = await openTest(this.#process, this.#clock, this.#manner.options);
    if (this.#manner.isCoding) codeSoon(database);
    this.#recovered(database);
    for (let i = 0; i < steps && this.#process.isAlive; i++) await this.#step(database);
    if (!this.#process.isAlive) return;
    if (this.#random.oneIn(2)) {
      this.#process.kill();
      return;
    }
    await database.close();
    await Promise.all(this.#pending);
    // A database that was closed well is durable.
    this.#history.sync(this.#history.length);
  }

  /** The process before may have been killed: it lost what it had not acknowledged, or part of it. */
  #recovered(database: TestDatabase): void {
    const { fingerprints, acknowledged, submitted } = this.#history.expectation();
    const fingerprint = this.#atLate(() => fingerprintOf(contentOf(database)));
    let count = submitted;
    while (count >= acknowledged && fingerprints[count] !== fingerprint) count--;
    if (count < acknowledged) {
      throw new Violation(`a process that was killed lost some of ${acknowledged} writes`);
    }
    this.#history.recovered(count);
  }

  async #step(database: TestDatabase): Promise<void> {
    const random = this.#random;
    const kind = random.below(100);
    if (kind < 40) this.#put(database);
    else if (kind < 47) this.#delete(database);
    else if (kind < 50) this.#deleteRange(database);
    else if (kind < 62) this.#batch(database);
    else if (kind < 80) await this.#settle(database);
    else if (kind < 86) this.#background(database.flush());
    else if (kind < 89) this.#compact(database);
    else if (kind < 93) this.#sync(database);
    else if (kind < 96) await this.#snapshot(database);
    else {
      const count = random.below(6);
      if (kind === 96) this.#clock.time = count < 3 ? EARLY : LATE;
      await turns(count);
    }
  }

  #put(database: TestDatabase): void {
    const key = this.#key();
    const value = this.#value();
    const isBlocking = this.#random.oneIn(4);
    const ttl = this.#ttl();
    this.#write([{ key, value: ttl === undefined ? value : undefined }], (durability) =>
      isBlocking
        ? putBlocking(database, key, value, { durability, ttl })
        : database.put(key, value, { durability, ttl }),
    );
  }

  #delete(database: TestDatabase): void {
    const key = this.#key();
    const write = { key, value: undefined };
    this.#write([write], (durability) => database.delete(key, { durability }));
  }

  #deleteRange(database: TestDatabase): void {
    const deletion = this.#range();
    const { start: gte, end: lt } = deletion;
    this.#write([deletion], (durability) => database.deleteRange({ gte, lt }, { durability }));
  }

  #batch(database: TestDatabase): void {
    const writes: (Write | RangeDeletion)[] = [];
    const operations: BatchOperation<string, string>[] = [];
    for (let i = 0; i <= this.#random.below(6); i++) {
      if (this.#random.oneIn(12)) {
        const deletion = this.#range();
        writes.push(deletion);
        operations.push({ type: "deleteRange", gte: deletion.start, lt: deletion.end });
      }
      const key = this.#key();
      if (this.#random.oneIn(4)) {
        writes.push({ key, value: undefined });
        operations.push({ type: "delete", key });
      } else {
        const value = this.#value();
        const ttl = this.#ttl();
        writes.push({ key, value: ttl === undefined ? value : undefined });
        operations.push({ type: "put", key, value, ttl });
      }
    }
    this.#write(writes, (durability) => database.batch(operations, { durability }));
  }

  #write(
    writes: readonly (Write | RangeDeletion)[],
    write: (durability: "sync" | "os") => Promise<void>,
  ): void {
    const durability = this.#random.oneIn(2) ? "sync" : "os";
    // Before the write, which may touch the disk at once.
    const count = this.#history.submit(writes);
    const promise = write(durability);
    this.#background(promise.then(() => this.#history.acknowledge(count, durability === "sync")));
  }

  /** Closing the database cancels it. */
  #compact(database: TestDatabase): void {
    this.#background(
      database.compact().catch((error: unknown) => {
        if (!(error instanceof ClosedError)) throw error;
      }),
    );
  }

  #sync(database: TestDatabase): void {
    const { acknowledged } = this.#history;
    this.#background(database.sync().then(() => this.#history.sync(acknowledged)));
  }

  /** Waits for everything asked for; the database must then show all of it. */
  async #settle(database: TestDatabase): Promise<void> {
    await Promise.all(this.#pending);
    this.#pending = [];
    const shown = this.#atLate(() => fingerprintOf(contentOf(database)));
    if (shown !== this.#history.fingerprint) {
      throw new Violation("a database that runs does not show what was written");
    }
  }

  /** A snapshot shows its moment, whatever happens afterwards. */
  async #snapshot(database: TestDatabase): Promise<void> {
    await this.#settle(database);
    const expected = this.#history.fingerprint;
    const snapshot = this.#atLate(() => database.snapshot());
    this.#put(database);
    this.#delete(database);
    if (this.#random.oneIn(2)) this.#compact(database);
    await this.#settle(database);
    const shown = fingerprintOf(new Map(snapshot.entries()));
    snapshot.close();
    if (shown !== expected) throw new Violation("a snapshot shows another moment");
  }

  /** Is waited for by `settle`; of a process that is killed it never ends. */
  #background(promise: Promise<unknown>): void {
    this.#pending.push(promise);
    promise.catch((error: unknown) => {
      if (this.#process.isAlive) this.#failure ??= error;
    });
  }

  /** What a read shows when all that expires has. */
  #atLate<T>(read: () => T): T {
    const { time } = this.#clock;
    this.#clock.time = LATE;
    const result = read();
    this.#clock.time = time;
    return result;
  }

  /** Mostly none. Draws no random number, so that a seed leads to the same steps with it and without. */
  #ttl(): number | undefined {
    return this.#history.length % 8 === 5 ? LATE - this.#clock.time : undefined;
  }

  #key(): string {
    return `key ${this.#random.below(KEY_COUNT)}`;
  }

  /** Mostly a few keys; at times all. */
  #range(): RangeDeletion {
    if (this.#random.oneIn(10)) return { start: "key", end: "kez" };
    const [a, b] = [this.#key(), this.#key()];
    return a <= b ? { start: a, end: `${b}~` } : { start: b, end: a };
  }

  /** Unlike any other value; mostly short, at times beyond what a block or a group holds. */
  #value(): string {
    const lengths = [0, 10, 100, 100, 500, 3_000];
    const length = this.#random.oneIn(60)
      ? this.#manner.longBytes
      : lengths[this.#random.below(lengths.length)];
    return `${this.#history.length}.${this.#random.next()}`.padEnd(length, "abc ");
  }
}

/** Turns of the event loop that stand for the second in which nothing happens. */
const QUIET_TURNS = 1;

/**
 * Has jobs count as done by a thread, for which alone runs are coded by themselves, and no clock pass.
 * A process that is killed never ends its turn to code, which is no other's business.
 */
function codeSoon(database: TestDatabase): void {
  const store: Store = Reflect.get(database, "store");
  Object.assign(store.jobs, { isApart: true });
  Object.assign(store, { codingTurns: new Turns(), delay: () => turns(QUIET_TURNS) });
}

/** Puts with `putSync`, or with `put` where that would have to wait. */
async function putBlocking(
  database: TestDatabase,
  key: string,
  value: string,
  options: PutOptions,
): Promise<void> {
  try {
    database.putSync(key, value, options);
  } catch (error) {
    if (!(error instanceof DatabaseError && error.code === "MEMKV_BUSY")) throw error;
    await database.put(key, value, options);
  }
}

/** Lets the event loop turn. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
