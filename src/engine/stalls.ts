/**
 * Stalls: holds writers back when they outrun flushes and compactions, by the rules of
 * back-pressure.ts, and tells when that begins and ends.
 *
 * While writes are slowed down each waits as long as its bytes may take; those that would wait for less
 * than a timer can add up. A write that would seal a memtable is stopped by who would seal it
 * (rotation.ts), until the background has made room.
 */
import type { PickOptions } from "../compaction/pick.ts";
import {
  isCompactionUrgent,
  paidBytes,
  type StallReason,
  slowBytesPerMs,
  slowReason,
  stopReason,
} from "./back-pressure.ts";
import type { Sources } from "./sources.ts";
import type { VersionStore } from "./versions.ts";

/** Reported when writers begin or cease to be held back. */
export interface StallEvent {
  readonly state: "begin" | "end";
  /** Whether writes take longer, or wait. A stop lies within a slow-down, unless its begin was skipped. */
  readonly kind: "slow" | "stop";
  /** What there is, or was, too much of: sealed memtables, for flushes; runs, for compaction. */
  readonly reason: StallReason;
  readonly sealedMemtables: number;
  readonly runs: number;
}

/** What stalls follow from. */
export interface StallHost {
  readonly sources: Sources;
  readonly versions: Pick<VersionStore, "current">;
  readonly policy: Pick<PickOptions, "compactionTrigger">;
  /** Resolves after so many milliseconds, or once the signal is aborted. */
  delay(milliseconds: number, signal: AbortSignal): Promise<void>;
}

/** Writes are delayed by whole milliseconds: what less would delay them adds up first. */
const MIN_DELAY_MS = 2;

export class Stalls {
  private readonly host: StallHost;
  private readonly onStall: (event: StallEvent) => void;
  /** The stalls that have begun, as they were reported. */
  private readonly begun = new Map<StallEvent["kind"], StallReason>();
  /** How fast the last flush was: bytes of its memtable, a millisecond. */
  private flushedBytesPerMs = 0;
  /** Bytes written during a slow-down that have not been waited for. */
  private unpaidBytes = 0;
  /** Aborted when the slow-down ends, so that no write waits longer. */
  private slowDownEnd = new AbortController();

  constructor(host: StallHost, onStall: (event: StallEvent) => void) {
    this.host = host;
    this.onStall = onStall;
  }

  /** Why no memtable may be sealed, if none may. */
  get stopReason(): StallReason | undefined {
    return stopReason(this.sealedCount, this.runCount, this.compactionTrigger);
  }

  /** Whether a compaction is not to wait for flushes. */
  get isCompactionUrgent(): boolean {
    return isCompactionUrgent(this.runCount, this.compactionTrigger);
  }

  /** Whether writes are to take longer, because the background falls behind. */
  get isSlowed(): boolean {
    return this.begun.has("slow");
  }

  /**
   * Waits for as long as a write of so many bytes may take while writes are slowed down, or until they
   * no longer are.
   */
  async slowDown(bytes: number): Promise<void> {
    const reason = this.begun.get("slow");
    this.unpaidBytes += paidBytes(reason, bytes);
    if (reason === undefined) return;
    const bytesPerMs = slowBytesPerMs(reason, this.flushedBytesPerMs);
    const delayMs = Math.floor(this.unpaidBytes / bytesPerMs);
    if (delayMs < MIN_DELAY_MS) return;
    this.unpaidBytes = 0;
    await this.host.delay(delayMs, this.slowDownEnd.signal);
  }

  /** Learns how fast flushes are. */
  noteFlush(memtableBytes: number, milliseconds: number): void {
    this.flushedBytesPerMs = memtableBytes / Math.max(1, milliseconds);
  }

  /** Begins to slow writes down, or ends it, as is right now. */
  updateSlowDown(): void {
    this.report("slow", slowReason(this.sealedCount, this.runCount, this.compactionTrigger));
    if (this.isSlowed) return;
    this.slowDownEnd.abort();
    this.slowDownEnd = new AbortController();
  }

  /** Tells of a stall that begins, or ends, with what its reason is now. */
  report(kind: StallEvent["kind"], reason: StallReason | undefined): void {
    const before = this.begun.get(kind);
    if (before === reason) return;
    const facts = { kind, sealedMemtables: this.sealedCount, runs: this.runCount };
    if (before !== undefined) this.onStall({ state: "end", reason: before, ...facts });
    if (reason === undefined) this.begun.delete(kind);
    else {
      this.begun.set(kind, reason);
      this.onStall({ state: "begin", reason, ...facts });
    }
  }

  private get sealedCount(): number {
    return this.host.sources.memtables.length - 1;
  }

  private get runCount(): number {
    return this.host.versions.current.version.runs.length;
  }

  private get compactionTrigger(): number {
    return this.host.policy.compactionTrigger;
  }
}
