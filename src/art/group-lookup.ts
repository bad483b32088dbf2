/**
 * GroupLookup: many keys looked up side by side.
 *
 * Most of what a lookup waits for is its bucket, which is mostly in no cache. So the buckets of a
 * group of keys are found first and their cache lines touched, all before the first is searched: the
 * processor fetches them side by side, where one lookup after the other would wait for each. The
 * nodes are in its caches, so the descents are done one by one, each from where its way parts from
 * the one before.
 *
 *      descend         touch           search
 *   a  o─o─o─►     ┌►  ▒▒▒▒▒▒     ┌►  [a..]
 *   b    └─o─►     │   ▒▒▒▒▒▒     │   [..b.]         time is saved where ▒ overlaps
 *   c  └─o─o─►  ───┘   ▒▒▒▒▒▒  ───┘   [.c.]
 */
import type { Arena } from "./arena.ts";
import { touchBuckets } from "./bucket.ts";
import { Descent } from "./descent.ts";

/** Of 8, 16, 32 and 64 all are about as fast. */
export const GROUP_KEYS = 16;

export class GroupLookup {
  /** Of each key of the group: the reference of its floor bucket or 0, and `Descent.known`. */
  readonly refs: Int32Array;
  readonly known: Int32Array;
  /** Some use must be made of what is touched, or the loads would be left out. */
  touched: number;
  private readonly descent: Descent;

  constructor() {
    this.refs = new Int32Array(GROUP_KEYS);
    this.known = new Int32Array(GROUP_KEYS);
    this.touched = 0;
    this.descent = new Descent();
  }

  /** Finds the buckets of keys[start, end), GROUP_KEYS at most, and has them fetched. */
  descend(arena: Arena, keys: readonly Uint8Array[], start: number, end: number): void {
    const { descent, refs, known } = this;
    for (let i = start; i < end; i++) {
      const key = keys[i];
      const shared = i === start ? 0 : sharedBytes(keys[i - 1], key);
      descent.floor(arena, key, 0, key.length, shared);
      refs[i - start] = descent.ref;
      known[i - start] = descent.known;
    }
    this.touched = touchBuckets(arena.words, refs, end - start);
  }
}

/** Length of the common prefix of two keys. */
function sharedBytes(a: Uint8Array, b: Uint8Array): number {
  const limit = Math.min(a.length, b.length);
  let shared = 0;
  while (shared < limit && a[shared] === b[shared]) shared++;
  return shared;
}
