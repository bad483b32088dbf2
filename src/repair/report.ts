/**
 * What `repair` has to say: what was brought over, what was lost, and what was left aside.
 */
import type { SeqnoRange } from "../entry.ts";
import { CorruptionError } from "../errors.ts";

/** What could not be brought over. */
export interface RepairLoss {
  readonly file: string;
  /** Where the damage was met; 0 for a whole file. */
  readonly offset: number;
  /** Entries, or bytes of a log, that are lost; undefined where that is unknown. */
  readonly entries: number | undefined;
  readonly bytes: number | undefined;
  /** The lost keys lie in this range, both ends included; undefined where that is unknown. */
  readonly firstKey: Uint8Array | undefined;
  readonly lastKey: Uint8Array | undefined;
  /**
   * Whether keys in that range (any key, where there is none) may show an older value than they had,
   * or one that was deleted. False where the keys are known that lost their values.
   */
  readonly mayShowOlder: boolean;
  readonly reason: string;
}

/** A file that is not part of the database, and why. */
export interface IgnoredFile {
  readonly file: string;
  readonly reason: string;
}

/** What `repair` found and did. */
export interface RepairReport {
  /** "used", or why not; "stale" is an older one, whose segments are gone. */
  readonly manifest: "used" | "stale" | "damaged" | "missing";
  /** Keys in the new database, which was verified. */
  readonly keys: number;
  /** Segments and logs that were read, entries and writes that were taken from them. */
  readonly segments: number;
  readonly logs: number;
  readonly entries: number;
  readonly writes: number;
  readonly lost: readonly RepairLoss[];
  /** Writes of which nothing is left, by their place in the order of writes; as far as is known. */
  readonly missing: readonly SeqnoRange[];
  readonly ignored: readonly IgnoredFile[];
}

/** A loss for the reason that an error gives, in the file that it names, or else in `file`. */
export function lossOf(file: string, cause: unknown): RepairLoss {
  const offset = cause instanceof Error && "offset" in cause ? Number(cause.offset) : 0;
  return {
    file: cause instanceof CorruptionError ? cause.file : file,
    offset,
    entries: undefined,
    bytes: undefined,
    firstKey: undefined,
    lastKey: undefined,
    mayShowOlder: true,
    reason: cause instanceof Error ? cause.message : String(cause),
  };
}
