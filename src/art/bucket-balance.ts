/**
 * BucketBalance: how a bucket becomes two when it is too large, and two become one when they are
 * small.
 *
 *   split                                          merge
 *        m                    m  p                      m  p               m
 *        │             =>     │  │                      │  │        =>     │
 *   [m n o | p q r]        [m n o][p q r]            [m n][p q]        [m n p q]
 *
 * Either takes more than one store to publish, and a reader in another thread may come between them.
 * So the stores are ordered such that each key is in a bucket that readers are led to throughout, and
 * a count is raised between them for the reader that was on its way before (publication.ts).
 */
import type { Arena } from "./arena.ts";
import { canMerge, separatorPos, tailLengthAt, type ValueBytes } from "./bucket.ts";
import { chooseSplit, copyLeftPart, copyRightPart, mergeBuckets } from "./bucket-changes.ts";
import { Descent } from "./descent.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { bucketRef } from "./node.ts";
import type { Publication } from "./publication.ts";
import { insertSeparator, removeSeparator } from "./separators.ts";

export class BucketBalance {
  /** Where the last split has put the key that made it necessary. */
  insertedBucket: number;
  insertedRank: number;
  private readonly publication: Publication;
  private readonly arena: Arena;
  private readonly valueBytes: ValueBytes;
  private readonly descent: Descent;
  private readonly leftKey: KeyBuffer;
  private readonly rightKey: KeyBuffer;

  constructor(publication: Publication) {
    this.insertedBucket = 0;
    this.insertedRank = 0;
    this.publication = publication;
    this.arena = publication.arena;
    this.valueBytes = publication.valueBytes;
    this.descent = new Descent();
    this.leftKey = new KeyBuffer();
    this.rightKey = new KeyBuffer();
  }

  /**
   * Replaces `bucket` by the two parts of `grown`, which is it with one more key, of rank
   * `insertedRank`, and was never published. The right part is published first: a reader finds each
   * key in the old bucket or in a part of the new.
   */
  split(bucket: number, grown: number, insertedRank: number): void {
    const { arena, valueBytes, publication, rightKey: separator } = this;
    const cut = chooseSplit(arena.bytes, arena.words, grown, insertedRank);
    const right = copyRightPart(arena, valueBytes, grown, cut, separator);
    const left = copyLeftPart(arena, valueBytes, grown, cut);
    publication.discardBucket(grown);
    insertSeparator(publication, separator.bytes, separator.length, right);
    publication.countBucketChange();
    publication.publish(this.descent.slotOf(arena, bucket), bucketRef(left));
    publication.releaseBucket(bucket);
    const isInRight = insertedRank >= cut;
    this.insertedBucket = isInRight ? right : left;
    this.insertedRank = isInRight ? insertedRank - cut : insertedRank;
  }

  /** Takes out a bucket that lost its last key; `empty` is its copy without it. */
  remove(bucket: number, empty: number): void {
    const { arena, publication, leftKey } = this;
    const isFirst = tailLengthAt(arena.bytes, separatorPos(bucket)) === 0;
    const next = isFirst ? this.descent.after(arena, bucket) : 0;
    if (next !== 0) {
      // The first separator is always the empty one, so the next bucket's keys move under it.
      this.replace(bucket, empty, next);
    } else {
      publication.countBucketChange();
      removeSeparator(publication, bucket, leftKey);
      publication.releaseBucket(bucket);
    }
    publication.discardBucket(empty);
  }

  /** Makes one bucket of a small one and a neighbour, if there is one that is small enough. */
  mergeWithNeighbour(bucket: number): void {
    const { arena, descent } = this;
    const { bytes, words } = arena;
    const next = descent.after(arena, bucket);
    if (next !== 0 && canMerge(bytes, words, bucket, next)) {
      this.replace(bucket, bucket, next);
      return;
    }
    const previous = descent.before(arena, bucket);
    if (previous !== 0 && canMerge(bytes, words, previous, bucket)) {
      this.replace(previous, previous, bucket);
    }
  }

  /**
   * Replaces the neighbours `left` and `right` by one bucket with the keys of `leftKeys` and `right`.
   * It is published in the left one's place before the right one's separator goes, so that a reader
   * finds each key throughout.
   */
  private replace(left: number, leftKeys: number, right: number): void {
    const { arena, valueBytes, publication, leftKey, rightKey } = this;
    const merged = mergeBuckets(arena, valueBytes, leftKeys, right, leftKey, rightKey);
    publication.publish(this.descent.slotOf(arena, left), bucketRef(merged));
    publication.countBucketChange();
    removeSeparator(publication, right, leftKey);
    publication.releaseBucket(left);
    publication.releaseBucket(right);
  }
}
