/**
 * Publication: how changes become visible, and what they replace is given back.
 *
 * A block is written whole before any slot refers to it; storing its reference in one slot is what
 * makes it reachable. The block that the slot referred to before is then *released*: it is free at
 * once in a tree that only this thread reads, and retired (epochs.ts) in a shared one, until no
 * reader can be in it.
 *
 * Source: the writers of ROWEX: Leis, Scheibner, Kemper, Neumann, "The ART of Practical
 * Synchronization" (DaMoN 2016), section 4.
 */
import { type Arena, HEADER_BUCKET_CHANGES } from "./arena.ts";
import { blockBytes, type ValueBytes } from "./bucket.ts";
import { RetiredBlocks } from "./epochs.ts";
import { nodeBytes } from "./node.ts";
import type { Pool } from "./pool.ts";

export class Publication {
  readonly arena: Arena;
  readonly valueBytes: ValueBytes;
  /** Blocks that readers in other threads may still see; undefined while there are none. */
  private retired: RetiredBlocks | undefined;
  private reusesAtOnce: boolean;

  constructor(arena: Arena, valueBytes: ValueBytes) {
    this.arena = arena;
    this.valueBytes = valueBytes;
    this.retired = undefined;
    this.reusesAtOnce = false;
  }

  /** Whether other threads may read. */
  get isShared(): boolean {
    return this.retired !== undefined;
  }

  /** From now on other threads may read. */
  share(reusesAtOnce: boolean): void {
    this.reusesAtOnce = reusesAtOnce;
    this.retired ??= new RetiredBlocks(this.arena);
  }

  /** The same for another arena. */
  moveTo(arena: Arena): Publication {
    const publication = new Publication(arena, this.valueBytes);
    if (this.isShared) publication.share(this.reusesAtOnce);
    return publication;
  }

  /** Bytes of blocks that wait for readers to leave. */
  get retiredBytes(): number {
    return this.retired?.byteLength ?? 0;
  }

  /** The blocks that wait for readers to leave, for tests. */
  retiredRanges(): { start: number; end: number }[] {
    return this.retired?.ranges() ?? [];
  }

  /** The one way in which a block becomes reachable: everything it refers to is whole by now. */
  publish(slot: number, ref: number): void {
    Atomics.store(this.arena.words, slot, ref);
  }

  /**
   * Comes between the two stores by which keys pass from one bucket to another. A reader on its way
   * may have seen neither the new place of a key nor its old one; it then misses the key, but sees
   * that this number has changed since it set out, and looks again.
   */
  countBucketChange(): void {
    Atomics.add(this.arena.words, HEADER_BUCKET_CHANGES, 1);
  }

  releaseBucket(bucket: number): void {
    const { buckets, words } = this.arena;
    this.release(buckets, bucket, blockBytes(words, bucket, this.valueBytes));
  }

  releaseNode(node: number): void {
    const { nodes, words } = this.arena;
    this.release(nodes, node, (nodeBytes(words, node) + 15) & ~15);
  }

  /** Gives back a bucket that no slot ever referred to. */
  discardBucket(bucket: number): void {
    const { buckets, words } = this.arena;
    buckets.free(bucket, blockBytes(words, bucket, this.valueBytes));
  }

  private release(pool: Pool, block: number, size: number): void {
    if (this.retired === undefined || this.reusesAtOnce) pool.free(block, size);
    else this.retired.add(pool, block, size);
  }
}
