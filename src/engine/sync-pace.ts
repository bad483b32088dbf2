/**
 * SyncPace: whether the log is synced on the calling thread.
 *
 * A good disk syncs in a hundred microseconds, and the thread pool's round trip, two wake-ups of a
 * thread, takes half as long again. To block the thread for so short a time costs nothing if it would
 * have slept meanwhile; if it had other work to do, the work would wait. So each sync that is left to
 * the thread pool shows two things: how long a sync takes, and how much of that the event loop was
 * idle. A short one through which it slept vouches for the next few, which block; then another shows
 * whether that is still so.
 *
 * What blocks is bounded: a sync that turns out slow sends those of the time after it to the thread
 * pool, fifty times as long as it took, so that at most 2% of the time go to such surprises.
 *
 * Pure: times are handed in, in milliseconds of any monotonic clock.
 */

/** A sync that takes longer does not vouch for others, and is slow if it blocks. */
const SHORT_MS = 0.5;
/** What part of a sync the event loop must have been idle. */
const IDLE_PART = 1 / 2;
/** How many syncs block before another shows whether they still may. */
const VOUCHED_FOR = 15;
/** How long none blocks after a slow one, as a multiple of what it took. */
const PAUSE_FACTOR = 50;

export class SyncPace {
  /** Syncs that may still block. */
  private left = 0;
  private asynchronousUntil = Number.NEGATIVE_INFINITY;

  /** Whether a sync that begins now may block the thread. */
  mayBlock(now: number): boolean {
    return this.left > 0 && now >= this.asynchronousUntil;
  }

  /** Learns from a sync that blocked the thread. */
  noteBlocking(start: number, end: number): void {
    this.left--;
    const duration = end - start;
    if (duration <= SHORT_MS) return;
    this.left = 0;
    this.asynchronousUntil = end + duration * PAUSE_FACTOR;
  }

  /** Learns from a sync that did not, and through `idle` milliseconds of which the event loop slept. */
  noteWaited(start: number, end: number, idle: number): void {
    const duration = end - start;
    const vouches = duration <= SHORT_MS && idle >= duration * IDLE_PART;
    this.left = vouches ? VOUCHED_FOR : 0;
  }
}
