/**
 * Cursor: a position in an ordered source of entries. The one interface that memtables, segments,
 * runs and merges of them share.
 *
 * A cursor is at an entry (`isValid`) or off either end. Keys are unique within a cursor: a source
 * yields one entry for a key, the newest that the cursor may see, tombstones included. A put that has
 * expired by the moment of the cursor is a tombstone.
 *
 * Lifetime: `key` and the bytes that `value()` returns are views, valid until the cursor's next
 * move. Who keeps them copies them.
 */
import type { ByteWriter } from "../bytes/writer.ts";
import type { EntryKind, ValuePlace } from "../entry.ts";
import type { EntryRun, RunBound } from "./entry-run.ts";
import type { ValueView } from "./value-view.ts";

export interface Cursor {
  /** Whether the cursor is at an entry. Everything below `kind` needs it to be. */
  readonly isValid: boolean;
  /** Buffer whose first `keyLength` bytes are the entry's key. The buffer may change on any move. */
  readonly key: Uint8Array;
  readonly keyLength: number;
  readonly kind: EntryKind;
  /** When the entry expires; NEVER for a put that does not, and for a tombstone. */
  readonly expiry: number;

  /** Moves to the first entry. */
  seekToFirst(): void;
  /** Moves to the last entry. */
  seekToLast(): void;
  /** Moves to the first entry at or after key[0, length). */
  seek(key: Uint8Array, length: number): void;
  /** Moves to the last entry at or before key[0, length). */
  seekForPrev(key: Uint8Array, length: number): void;
  /** Moves to the next entry; off the end after the last. */
  next(): void;
  /** Moves to the previous entry; off the end before the first. */
  prev(): void;

  /** Appends the key. */
  appendKey(output: ByteWriter): void;

  /**
   * The value's bytes, as the engine encoded them: a view, valid until the next move. Empty for a
   * tombstone. May read and decode a block; throws CorruptionError if the block is damaged.
   */
  value(): Uint8Array;

  /** Points `view` at what `value()` returns, without making an object. */
  viewValue(view: ValueView): void;

  /**
   * As `viewValue`; but a value that is kept in a value log is not read: the answer is where it lies.
   * For those who pass values on without looking at them. May also show the value's codes: the caller
   * resets `view` before.
   */
  viewStored(view: ValueView): ValuePlace | undefined;

  /**
   * Appends the entry that the cursor is at, and those that follow in the run's direction, to
   * `run`: at most `count` and as many as there is room for, only puts, and none beyond the bound.
   * Returns how many, after which the cursor may only be moved on to the entry behind them. 0, and
   * nothing was done, where entries are to be read one by one. Throws CorruptionError, before which
   * no entry was appended. Optional.
   */
  readRun?(run: EntryRun, count: number, bound: RunBound | undefined): number;

  /**
   * Appends the keys of the entry that the cursor is at, and of those that follow in the run's
   * direction, behind the entries of `run`, whose count stays: at most `count`, which is 1 or more, and
   * as `readRun` otherwise. The first is within the bound. Returns how many. The cursor may then be
   * asked for nothing but their values, until `moveAhead`, which must follow unless the answer was 0.
   * Throws CorruptionError. Optional, and there only with the two below.
   */
  peek?(run: EntryRun, count: number, bound: RunBound | undefined): number;

  /**
   * Appends to `run`, which has their keys behind its entries, the values of `count` entries that were
   * peeked at, from the one on that lies `skip` ahead. Returns how many there was room for, and
   * counts them in the run. Throws CorruptionError.
   */
  appendValues?(run: EntryRun, skip: number, count: number): number;

  /** Moves `skip` entries ahead, to one that was peeked at: its key is that of `slot` of `run`. */
  moveAhead?(run: EntryRun, slot: number, skip: number): void;

  /**
   * Ends the use of the cursor: a source may give it, with its scratch space, to whoever asks for a
   * cursor next. Optional: a cursor that is let go without it is only made anew.
   */
  close?(): void;
}
