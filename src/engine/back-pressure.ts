/**
 * How writers are held back when they outrun the background. Pure.
 *
 * Two things pile up: sealed memtables, which take memory until they are flushed, and runs, which
 * slow reads until they are merged. Writers are slowed down before they have to stop, so that most of
 * them never meet a stop, and memory stays within the memtable being written and those that may wait.
 */
import { maxRunCount } from "../compaction/pick.ts";

/** Sealed memtables that may wait; a write that would seal another waits with them. */
export const MAX_SEALED_MEMTABLES = 2;

/** Runs from which on no memtable is sealed, for each that the policy tolerates. */
const STOP_RUNS_RATIO = 2;

/** Bytes of writes a millisecond while they are slowed down, at the least: 32 MiB a second. */
const MIN_SLOW_BYTES_PER_MS: number = 2 ** 15;

/** What a write waits for at most while memtables pile up: a 32nd of a second, or less. */
const MAX_PAID_BYTES: number = 2 ** 20;

/** What there is too much of. */
export type StallReason = "memtables" | "runs";

/** Why writes are slowed down, if they are. Runs come first: each flush adds to them. */
export function slowReason(
  sealedMemtables: number,
  runCount: number,
  compactionTrigger: number,
): StallReason | undefined {
  if (runCount > maxRunCount(compactionTrigger)) return "runs";
  return sealedMemtables >= MAX_SEALED_MEMTABLES ? "memtables" : undefined;
}

/**
 * Bytes of writes a millisecond while they are slowed down: where it is memtables that pile up, as many
 * as the last flush took away a millisecond. So what waits neither grows nor runs out.
 */
export function slowBytesPerMs(reason: StallReason, flushedBytesPerMs: number): number {
  if (reason === "runs") return MIN_SLOW_BYTES_PER_MS;
  return Math.max(MIN_SLOW_BYTES_PER_MS, flushedBytesPerMs);
}

/**
 * For how many of its bytes a write waits. Where memtables pile up, a stop is near at any rate: to slow
 * down is to share out the wait for it among many writes, of which a large batch is one.
 */
export function paidBytes(reason: StallReason | undefined, bytes: number): number {
  return reason === "memtables" ? Math.min(bytes, MAX_PAID_BYTES) : bytes;
}

/**
 * Whether there are so many runs that their merge cannot wait for flushes: so many that writes are slowed
 * down. Before that a merge that waits gains by it: it takes more runs at once when its turn comes.
 */
export function isCompactionUrgent(runCount: number, compactionTrigger: number): boolean {
  return runCount > maxRunCount(compactionTrigger);
}

/** Why no memtable may be sealed, so that writes stop once the one being written is full. */
export function stopReason(
  sealedMemtables: number,
  runCount: number,
  compactionTrigger: number,
): StallReason | undefined {
  if (sealedMemtables >= MAX_SEALED_MEMTABLES) return "memtables";
  const isOver = runCount >= maxRunCount(compactionTrigger) * STOP_RUNS_RATIO;
  return isOver ? "runs" : undefined;
}
