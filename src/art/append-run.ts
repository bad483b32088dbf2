/**
 * AppendRun: the short way for keys that arrive in order.
 *
 * A key that sorts right after the one inserted before it, with nothing of the tree in between,
 * needs no descent and no search: it belongs after the last key of the same bucket. Two comparisons
 * tell: the key is after the last one, and before the separator of the next bucket. Keys in
 * ascending order are such a *run*, all of them or those of any stretch of the tree.
 *
 *          last                      limit
 *   ... | a  b  c  d  .. slack .. | separator k ...      "e" follows; "c" and "m" do not
 *
 * While a run lasts, its bucket has slack, so that a key is written behind the others and published
 * by one store (bucket.ts). A full bucket stays behind full, and the next key begins another. A run
 * ends with the first change elsewhere; the slack is given back then.
 *
 * A run begins with the third key: that two follow each other at the end of a bucket happens to
 * random keys too now and then, and what a run needs to know costs a descent.
 */
import { KeyBuffer } from "./key-buffer.ts";

/** What `follows` returns for a key that does not. */
export const NO_RUN = -1;

export class AppendRun {
  /** Slot of the bucket at whose end the run is; 0 while there is none. */
  slot: number;
  /** The last key inserted, while there is a run. */
  private readonly last: KeyBuffer;
  /** The separator of the bucket after the run's. */
  private readonly limit: KeyBuffer;
  private hasLimit: boolean;
  /** The bucket that the last insertion wrote, and the rank of the key there; 0 after other changes. */
  private insertedBucket: number;
  private insertedRank: number;

  constructor() {
    this.slot = 0;
    this.last = new KeyBuffer();
    this.limit = new KeyBuffer();
    this.hasLimit = false;
    this.insertedBucket = 0;
    this.insertedRank = 0;
  }

  /** Bytes that key[start, end) shares with the last key of the run, or NO_RUN if it is not next. */
  follows(key: Uint8Array, start: number, end: number): number {
    if (this.slot === 0) return NO_RUN;
    const { last, limit } = this;
    const shared = sharedBytes(last, key, start, end);
    if (shared === end - start) return NO_RUN;
    if (shared < last.length && key[start + shared] < last.bytes[shared]) return NO_RUN;
    if (this.hasLimit) {
      const sharedWithLimit = sharedBytes(limit, key, start, end);
      if (sharedWithLimit === limit.length) return NO_RUN;
      const isShorter = sharedWithLimit === end - start;
      if (!isShorter && key[start + sharedWithLimit] > limit.bytes[sharedWithLimit]) return NO_RUN;
    }
    return shared;
  }

  /** Whether a key that belongs at the end of `bucket`, as rank `rank`, may begin a run. */
  mayBegin(bucket: number, rank: number): boolean {
    return bucket === this.insertedBucket && rank === this.insertedRank + 1;
  }

  /** Notes an insertion that was no part of a run. */
  noteInsertion(bucket: number, rank: number): void {
    this.insertedBucket = bucket;
    this.insertedRank = rank;
  }

  /** Begins a run whose last key is key[start, end). */
  begin(slot: number, key: Uint8Array, start: number, end: number): void {
    this.slot = slot;
    this.last.splice(0, key, start, end - start);
    this.hasLimit = false;
    this.insertedBucket = 0;
  }

  /** Tells a run that has just begun what its keys must sort before, if anything. */
  setLimit(separator: Uint8Array, start: number, length: number): void {
    this.limit.splice(0, separator, start, length);
    this.hasLimit = true;
  }

  /** Makes key[start, end) the last one; it shares `shared` bytes with the one before. */
  advance(slot: number, key: Uint8Array, start: number, end: number, shared: number): void {
    this.slot = slot;
    this.last.splice(shared, key, start + shared, end - start - shared);
  }

  end(): void {
    this.slot = 0;
    this.insertedBucket = 0;
  }
}

function sharedBytes(buffer: KeyBuffer, key: Uint8Array, start: number, end: number): number {
  const { bytes, length } = buffer;
  const limit = Math.min(length, end - start);
  let shared = 0;
  while (shared < limit && bytes[shared] === key[start + shared]) shared++;
  return shared;
}
