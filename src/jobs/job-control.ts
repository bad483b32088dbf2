/**
 * JobControl: how the main thread follows, and cancels, a job that may run in another thread.
 *
 * Three words of shared memory: whether the job is cancelled, how many entries it has gone through,
 * and whether it is urgent.
 */

/** A flush or compaction under way. */
export interface JobProgress {
  /** Entries that go in. */
  readonly entryCount: number;
  /** How many of them have been gone through; those that newer ones hide are not counted. */
  readonly entriesDone: number;
}

export class JobControl {
  /** Give it to another thread, and make a JobControl of it there. */
  readonly shared: SharedArrayBuffer;
  private readonly words: BigInt64Array;

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(24)) {
    this.shared = shared;
    this.words = new BigInt64Array(shared);
  }

  /** The job rejects at its next pause. */
  cancel(): void {
    Atomics.store(this.words, 0, 1n);
  }

  get isCancelled(): boolean {
    return Atomics.load(this.words, 0) !== 0n;
  }

  /** A compaction then takes turns with flushes, for which it else stands still. */
  hurry(): void {
    Atomics.store(this.words, 2, 1n);
  }

  get isUrgent(): boolean {
    return Atomics.load(this.words, 2) !== 0n;
  }

  advance(entryCount: number): void {
    Atomics.add(this.words, 1, BigInt(entryCount));
  }

  /** Entries that the job has gone through. */
  get entryCount(): number {
    return Number(Atomics.load(this.words, 1));
  }
}
