/**
 * WritePace: whether small records are written on the calling thread.
 *
 * A write into the page cache takes a microsecond, the thread pool's round trip 26; so the calling
 * thread writes, as long as the disk is well. Where it stalls (dirty pages over the system's limit, a
 * busy or failing device), write() blocks, for seconds even, and so would every timer and socket of
 * the process. So once some writes in succession were slow, they go through the thread pool for a
 * while, and then one is tried again. A single slow write proves little: the thread may have lost
 * its CPU.
 *
 * Pure: times are handed in, in milliseconds of any monotonic clock.
 */

/** A write that takes longer is slow: a thousand times the usual. */
const SLOW_MS = 5;
/** So many slow writes within WINDOW_MS are a stall. */
const SLOW_COUNT = 3;
const WINDOW_MS = 1000;
/** A write that takes longer is a stall by itself. */
const STALLED_MS = 100;
/** How long writes then go through the thread pool, from the last slow one on. */
const PAUSE_MS = 1000;

export class WritePace {
  private slowCount = 0;
  private firstSlowAt = 0;
  private asynchronousUntil = Number.NEGATIVE_INFINITY;

  /** Whether a write that begins now may block the thread. */
  mayBlock(now: number): boolean {
    return now >= this.asynchronousUntil;
  }

  /** Learns from a write, on whichever thread it was. */
  note(start: number, end: number): void {
    const duration = end - start;
    if (duration <= SLOW_MS) return;
    if (end - this.firstSlowAt > WINDOW_MS) this.slowCount = 0;
    if (this.slowCount === 0) this.firstSlowAt = end;
    this.slowCount++;
    const isStalled = this.slowCount >= SLOW_COUNT || duration > STALLED_MS;
    // While writes go through the thread pool, each slow one puts off the next attempt.
    if (isStalled || !this.mayBlock(end)) this.asynchronousUntil = end + PAUSE_MS;
  }
}
