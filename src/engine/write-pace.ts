/**
 * WritePace: whether small records are written on the calling thread.
 *
 * A write into the page cache takes a microsecond, the thread pool's round trip 26; so the calling
 * thread writes, as long as the disk is well. Where it stalls (dirty pages over the system's limit, a
 * busy or failing device), write() blocks, for seconds even, and so would every timer and socket of
 * the process. So once writes were slow, they go through the thread pool for a while, and then one is
 * tried again.
 *
 * A few slow writes prove little: the thread may have lost its CPU. On a machine with more to run
 * than cores one write in a thousand is slow for that reason, and if those sent writes to the
 * thread pool, each would cost four times as much CPU just where there is too little. So what
 * counts is their share, of the writes or of the time.
 *
 * Pure: times are handed in, in milliseconds of any monotonic clock.
 */

/** A write that takes longer is slow: a thousand times the usual. */
const SLOW_MS = 5;
/** So many slow writes within WINDOW_MS are a stall, if they are one in SLOW_SHARE of all. */
const SLOW_COUNT = 3;
const SLOW_SHARE = 100;
const WINDOW_MS = 1000;
/** And so are slow writes that together take so long: of small ones, few wait for a throttled disk. */
const SLOW_TOTAL_MS: number = WINDOW_MS / 4;
/** A write that takes longer is a stall by itself. */
const STALLED_MS = 100;
/** How long writes then go through the thread pool, from the last slow one on. */
const PAUSE_MS = 1000;

export class WritePace {
  /** The end of the window's first write. */
  private windowStart = Number.NEGATIVE_INFINITY;
  private count = 0;
  private slowCount = 0;
  private slowTotalMs = 0;
  private asynchronousUntil = Number.NEGATIVE_INFINITY;

  /** Whether a write that begins now may block the thread. */
  mayBlock(now: number): boolean {
    return now >= this.asynchronousUntil;
  }

  /** Learns from a write, on whichever thread it was. */
  note(start: number, end: number): void {
    if (end - this.windowStart > WINDOW_MS) this.beginWindow(end);
    this.count++;
    const duration = end - start;
    if (duration <= SLOW_MS) return;
    this.slowCount++;
    this.slowTotalMs += duration;
    // While writes go through the thread pool, one slow write puts off the next attempt.
    const leastCount = this.mayBlock(end) ? SLOW_COUNT : 1;
    const isStalled =
      duration > STALLED_MS ||
      this.slowTotalMs >= SLOW_TOTAL_MS ||
      (this.slowCount >= leastCount && this.slowCount * SLOW_SHARE >= this.count);
    if (isStalled) this.asynchronousUntil = end + PAUSE_MS;
  }

  private beginWindow(start: number): void {
    this.windowStart = start;
    this.count = 0;
    this.slowCount = 0;
    this.slowTotalMs = 0;
  }
}
