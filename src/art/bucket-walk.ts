/**
 * BucketWalk: the buckets of a tree in order, fetched a few ahead.
 *
 * Neighbours in order lie anywhere in the arena, so a walk over them would wait for memory at each.
 * But the nodes above them are in the processor's caches. So the walk goes through the nodes alone,
 * finds the next few buckets, and touches the cache lines of all of them before it hands out the
 * first: they arrive side by side, and the walk waits once. It begins with one bucket at a time,
 * since most walks are short.
 */
import type { Arena } from "./arena.ts";
import { touchBuckets } from "./bucket.ts";
import type { Descent } from "./descent.ts";

/** With four a walk takes 3 % longer, more gains nothing: bench/art.ts. */
const MAX_AHEAD = 8;

export class BucketWalk {
  /** At the last bucket found. */
  private readonly descent: Descent;
  /** Buckets found and not handed out yet are ahead[handed, found). */
  private readonly ahead: Int32Array;
  private handed: number;
  private found: number;
  /** How many to find next time. */
  private wanted: number;
  /** Some use must be made of what is touched, or the loads would be left out. */
  touched: number;

  constructor(descent: Descent) {
    this.descent = descent;
    this.ahead = new Int32Array(MAX_AHEAD);
    this.handed = 0;
    this.found = 0;
    this.wanted = 1;
    this.touched = 0;
  }

  /** Makes the next bucket the one after where the descent is. */
  start(): void {
    this.handed = 0;
    this.found = 0;
    this.wanted = 1;
  }

  /** The next bucket, or 0. */
  next(arena: Arena): number {
    if (this.handed === this.found) this.lookAhead(arena);
    return this.handed < this.found ? this.ahead[this.handed++] : 0;
  }

  private lookAhead(arena: Arena): void {
    const { descent, ahead, wanted } = this;
    let found = 0;
    while (found < wanted) {
      descent.next(arena);
      const { bucket } = descent;
      if (bucket === 0) break;
      ahead[found++] = bucket;
    }
    this.handed = 0;
    this.found = found;
    this.wanted = Math.min(2 * wanted, MAX_AHEAD);
    this.touched = touchBuckets(arena.words, ahead, found);
  }
}
