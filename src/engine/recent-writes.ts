/**
 * RecentWrites: what was written since a transaction began, for as long as one is under way.
 *
 * Segments know no sequence numbers, but memtables do, and whatever was written after a moment is in
 * the memtables that have been written to since. Those that are flushed meanwhile are kept here until
 * no transaction is left that began before their last write. So writers pay nothing for transactions,
 * and a transaction that ends soon costs a look at the newest memtable.
 *
 * So that a forgotten transaction does not keep everything in memory, only a few flushed memtables
 * are kept: a transaction that began before the others can no longer be judged, and must fail.
 */
import type { Memtable } from "../memtable/memtable.ts";

/** A transaction under way: the newest write that it sees. */
export interface Beginning {
  readonly seqno: number;
}

/** Flushed memtables that are kept: as many as may wait for their flush. */
const MAX_KEPT = 2;

export class RecentWrites {
  /** In the order they began, so that the first is the oldest. */
  private readonly live = new Set<Beginning>();
  /** Flushed, oldest first. */
  private kept: readonly Memtable[] = [];
  /** Whoever began before this write cannot be told what was written since. */
  private horizon = 0;

  /** Whether the memtable is kept for transactions. */
  holds(memtable: Memtable): boolean {
    return this.kept.includes(memtable);
  }

  begin(seqno: number): Beginning {
    const beginning = { seqno };
    this.live.add(beginning);
    return beginning;
  }

  /** Idempotent. */
  end(beginning: Beginning): void {
    if (!this.live.delete(beginning)) return;
    const oldest = this.oldestSeqno();
    this.kept = this.kept.filter((memtable) => memtable.lastSeqno > oldest);
  }

  /** To be called with each memtable that was flushed, in their order. */
  retire(memtable: Memtable): void {
    if (memtable.lastSeqno <= this.oldestSeqno()) return;
    this.kept = [...this.kept, memtable];
    if (this.kept.length <= MAX_KEPT) return;
    this.overlook(this.kept[0].lastSeqno);
    this.kept = this.kept.slice(1);
  }

  /**
   * The memtables that hold every write after `seqno`, with older ones among them, given those that
   * are not flushed; undefined if some are gone.
   */
  since(seqno: number, unflushed: readonly Memtable[]): readonly Memtable[] | undefined {
    if (seqno < this.horizon) return undefined;
    return [...unflushed, ...this.kept].filter((memtable) => memtable.lastSeqno > seqno);
  }

  /** What was written up to `seqno` is not in memtables: whoever began before it cannot be judged. */
  overlook(seqno: number): void {
    // Memtables that were kept before an ingest are given up after it.
    this.horizon = Math.max(this.horizon, seqno);
  }

  private oldestSeqno(): number {
    for (const { seqno } of this.live) return seqno;
    return Number.POSITIVE_INFINITY;
  }
}
