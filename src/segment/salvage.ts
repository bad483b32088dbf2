/**
 * Salvage: the entries of a damaged segment that can be read still, and what cannot.
 *
 * Keys come from whole pages, values from whole blocks. A page of keys that is damaged, or that the
 * disk no longer gives, is passed over: its entries are lost, and which keys they had is unknown but
 * for the range. A value that cannot be read is lost alone: its key is known, and that it had a value
 * newer than older segments have.
 */
import { compareRanges } from "../bytes/compare.ts";
import { EntryKind, NEVER } from "../entry.ts";
import { CorruptionError } from "../errors.ts";
import { systemErrorCode } from "../io/system-error.ts";
import { PAGE_KEYS } from "./key-page.ts";
import type { Segment } from "./reader.ts";

/** An entry; the object and its bytes are those of the next one after the next step. */
export interface SalvagedEntry {
  key: Uint8Array;
  keyLength: number;
  kind: EntryKind;
  /** NEVER for a put that does not expire, and for a tombstone. */
  expiry: number;
  /** Undefined: lost. Empty for a tombstone. */
  value: Uint8Array | undefined;
}

/** A stretch of entries that cannot be read. */
export interface SalvageLoss {
  /** Whether the keys are lost too. */
  readonly isKeyLost: boolean;
  readonly entryCount: number;
  /** Where the keys are lost: the nearest ones before and after that are not. */
  readonly firstKey: Uint8Array;
  readonly lastKey: Uint8Array;
  readonly cause: unknown;
}

/** Whether an error says that bytes on the disk are not what they were. */
export function isDamage(error: unknown): boolean {
  return error instanceof CorruptionError || systemErrorCode(error) === "EIO";
}

/** Every entry that can be read, in order. `onLoss` is told of each stretch that cannot. */
export function* salvageEntries(
  segment: Segment,
  onLoss: (loss: SalvageLoss) => void,
): Generator<SalvagedEntry, void> {
  const { keyCount, firstKey, lastKey } = segment.meta;
  const cursor = segment.cursor();
  const entry: SalvagedEntry = {
    key: firstKey,
    keyLength: 0,
    kind: EntryKind.put,
    expiry: NEVER,
    value: undefined,
  };
  const losses = new Losses(onLoss);
  let previousKey = firstKey;
  for (let page = 0; page * PAGE_KEYS < keyCount; page++) {
    const start = page * PAGE_KEYS;
    const end = Math.min(start + PAGE_KEYS, keyCount);
    const damage = attempt(() => cursor.seekToOrdinal(start));
    if (damage !== undefined) {
      losses.addKeys(previousKey, end - start, damage.cause);
      continue;
    }
    for (let ordinal = start; ordinal < end; ordinal++) {
      // Within a page that was checked, moving reads nothing.
      if (ordinal > start) cursor.next();
      entry.key = cursor.key;
      entry.keyLength = cursor.keyLength;
      entry.kind = cursor.kind;
      entry.expiry = cursor.expiry;
      const lost = attempt(() => {
        entry.value = cursor.value();
      });
      if (lost !== undefined) entry.value = undefined;
      const isLast = ordinal === end - 1;
      if (lost !== undefined || isLast || losses.isOpen) {
        const key = cursor.key.slice(0, cursor.keyLength);
        if (isLast) previousKey = key;
        losses.reach(key, lost?.cause);
      }
      yield entry;
    }
  }
  losses.end(lastKey);
}

interface Damage {
  readonly cause: unknown;
}

/** What went wrong, if that was damage. */
function attempt(read: () => void): Damage | undefined {
  try {
    read();
    return undefined;
  } catch (cause) {
    if (!isDamage(cause)) throw cause;
    return { cause };
  }
}

/** Joins what is lost in a row. */
class Losses {
  readonly #onLoss: (loss: SalvageLoss) => void;
  #open:
    | { isKeyLost: boolean; entryCount: number; firstKey: Uint8Array; cause: unknown }
    | undefined;
  #lastKey: Uint8Array;

  constructor(onLoss: (loss: SalvageLoss) => void) {
    this.#onLoss = onLoss;
    this.#open = undefined;
    this.#lastKey = new Uint8Array(0);
  }

  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  /** Entries after `previousKey` are lost with their keys. */
  addKeys(previousKey: Uint8Array, entryCount: number, cause: unknown): void {
    if (this.#open?.isKeyLost === false) this.end(this.#lastKey);
    this.#open ??= { isKeyLost: true, entryCount: 0, firstKey: previousKey, cause };
    this.#open.entryCount += entryCount;
  }

  /** The next entry has this key; its value is lost if there is a cause. */
  reach(key: Uint8Array, cause: unknown): void {
    if (this.#open?.isKeyLost) this.end(key);
    if (cause === undefined) {
      this.end(this.#lastKey);
      return;
    }
    this.#open ??= { isKeyLost: false, entryCount: 0, firstKey: key, cause };
    this.#open.entryCount++;
    this.#lastKey = key;
  }

  end(lastKey: Uint8Array): void {
    if (this.#open === undefined) return;
    const end = this.#open.isKeyLost ? lastKey : this.#lastKey;
    this.#onLoss({ ...this.#open, lastKey: end });
    this.#open = undefined;
  }
}

/** Whether a segment can tell that it has key[0, length), or that it has not. */
export function knows(segment: Segment, key: Uint8Array, length: number): boolean {
  const { coverStart, coverEnd } = segment.properties;
  const isCovered =
    compareRanges(coverStart, 0, coverStart.length, key, 0, length) <= 0 &&
    compareRanges(key, 0, length, coverEnd, 0, coverEnd.length) < 0;
  return isCovered && attempt(() => segment.find(key, length)) === undefined;
}
