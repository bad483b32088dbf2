/**
 * RowCache: the values of keys that were read lately, in front of memtables and runs, in a CacheRing.
 * It saves a look-up in the key index and the decoding of a value.
 *
 * Rows are bytes: the encoded key, and the encoded value as the source showed it. So a row serves
 * every encoding, each read decodes a value of its own, and there is no object per row for the
 * garbage collector.
 *
 * Invariants:
 * 1. A row has the value that readers see at the write `seqno`, the newest, and one that never
 *    expires. Every write is shown to the cache (`add`, `deleteRange`) before readers see it, and
 *    `seqno` is raised as they do; who reads at another write neither asks nor puts in.
 *
 * Source: the row cache of RocksDB (Options::row_cache), which lies behind the memtables, a row for
 * each file; here writes change rows or take them out, so that a row answers for all sources.
 */
import { checksum } from "../bytes/checksum.ts";
import {
  type CacheRing,
  FOUND,
  KEY_LENGTH_MASK,
  keyLengthOf,
  ROW_HEADER_UNITS,
  rowUnitsOf,
  UNIT_BYTES,
  valueLengthOf,
} from "../cache/ring.ts";
import { NOWHERE, SLOT_WORDS, SLOTS_WORDS } from "../cache/table.ts";
import type { ValueView } from "../cursor/value-view.ts";
import { EntryKind, NEVER } from "../entry.ts";
import type { OperationTarget } from "../wal/batch.ts";

/** Rows up to this size are taken. */
const MAX_SMALL_ROW_BYTES = 4096;
/** Larger ones cost little to read anew, for what they push out: only up to this part of the ring. */
const MAX_LARGE_ROW_PART = 256;

/**
 * Where something has to give way, a longer row is let in at one in so many misses that as much is put
 * in for each as of short ones. What it costs to put a row in, and to move what it must not push out,
 * goes with its length; what it spares does not. Values of 1 KB, gets of all keys alike 1.2 times and
 * of some more than of others (zipfian) 1.1 times as fast, of 10 KB 1.4 and 1.2 times, with as many hits.
 */
const UNITS_PER_MISS: number = 128 / UNIT_BYTES;

/**
 * Which misses those are goes by the key's hash and how many there were, as by chance: to let in each
 * n-th would, of rows of two lengths that are read in turn, let in all of one and none of the other.
 * 2^32 divided by the golden ratio, whose multiples fall evenly over 2^32, lets in each key in its turn
 * (Knuth, "The Art of Computer Programming", volume 3, section 6.4).
 */
const GOLDEN_STEP = 0x9e37_79b1;
const HASHES = 2 ** 32;

const NONE = -1;

export class RowCache implements OperationTarget {
  /** Of the newest write that readers see. Whoever reads at it may ask. */
  seqno: number;
  hits: number;
  misses: number;
  private readonly ring: CacheRing;
  private readonly maxRowUnits: number;
  /** Misses of longer rows for which something would have had to give way. */
  private longMisses: number;
  /** Holds a value of the ring's while room is made in it. Grows to the longest that was. */
  private passing: Uint8Array;

  constructor(ring: CacheRing, seqno: number) {
    this.ring = ring;
    this.seqno = seqno;
    this.hits = 0;
    this.misses = 0;
    this.longMisses = 0;
    const largestBytes = Math.max(MAX_SMALL_ROW_BYTES, ring.memory.length / MAX_LARGE_ROW_PART);
    this.maxRowUnits = Math.min(Math.floor(largestBytes / UNIT_BYTES), ring.maxEntryUnits);
    this.passing = new Uint8Array(0);
  }

  /** Bytes of the rows held now. */
  get bytes(): number {
    return this.ring.rowBytes;
  }

  get isEmpty(): boolean {
    return this.bytes === 0;
  }

  /**
   * Points `view` at the value of key[0, length), until the next write and as long as the ring's
   * `changeCount` stays; false if it is not here. `hash` is the key's `keyHash`. Counts a hit or a miss.
   */
  find(key: Uint8Array, length: number, hash: number, view: ValueView): boolean {
    const at = this.lookUp(hash, key, 0, length);
    if (at < 0) {
      this.misses++;
      return false;
    }
    this.hits++;
    const { ring } = this;
    const { words, rowTable } = ring;
    const row = ring.wordOf(rowTable.words[at + 1]);
    const header = words[row];
    if (header < FOUND) words[row] = header + FOUND;
    rowTable.moveForward(at, rowTable.slotsOf(hash));
    const start = (row + ROW_HEADER_UNITS) * UNIT_BYTES + length;
    view.set(ring.memory, start, start + valueLengthOf(header));
    return true;
  }

  /**
   * Puts in what `view` shows for key[0, length), which `find` has just missed; if something has to
   * give way for it, only at the second miss, or where it is long at one of those that follow. What it
   * shows may lie in the ring, as a value of a block does; the view is good until the next change.
   */
  insert(key: Uint8Array, length: number, hash: number, view: ValueView): void {
    const { ring } = this;
    const { memory } = ring;
    const valueLength = view.end - view.start;
    const units = rowUnitsOf(length, valueLength);
    if (units > this.maxRowUnits || length > KEY_LENGTH_MASK) return;
    if (!ring.hasRoom(units) && !this.mayPushOut(hash, units)) return;
    if (view.bytes === memory) this.takeAside(view);
    if (!ring.makeRoom(units)) return;
    const row = ring.putRow(hash, length, valueLength);
    const keyStart = (row + ROW_HEADER_UNITS) * UNIT_BYTES;
    copy(key, 0, length, memory, keyStart);
    copy(view.bytes, view.start, view.end, memory, keyStart + length);
  }

  /**
   * A write to a key is applied: its row gets the new value, if that takes as much room and does not
   * expire, or is taken out. What was taken out counts as missed once.
   */
  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    _seqno: number,
    kind: EntryKind,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
  ): void {
    const hash = checksum(key, keyStart, keyEnd);
    const at = this.lookUp(hash, key, keyStart, keyEnd);
    if (at < 0) return;
    const { ring } = this;
    const { rowTable } = ring;
    const row = ring.wordOf(rowTable.words[at + 1]);
    const isLasting = kind === EntryKind.put && expiry === NEVER;
    if (isLasting && ring.setValueLength(row, valueEnd - valueStart)) {
      const start = (row + ROW_HEADER_UNITS) * UNIT_BYTES + keyEnd - keyStart;
      copy(value, valueStart, valueEnd, ring.memory, start);
    } else {
      ring.remove(row);
      rowTable.words[at + 1] = NOWHERE;
      rowTable.noteMissed(hash);
    }
  }

  /** A range is deleted: takes out everything. */
  deleteRange(): void {
    this.ring.removeRows();
  }

  /** Index in the table of the slot of the key's row, of which there is one at most, or -1. */
  private lookUp(hash: number, key: Uint8Array, keyStart: number, keyEnd: number): number {
    const { ring } = this;
    const { rowTable, tail, rowsFrom } = ring;
    const table = rowTable.words;
    const from = Math.max(tail, rowsFrom);
    const first = rowTable.slotsOf(hash);
    const end = first + SLOTS_WORDS;
    for (let at = first; at < end; at += SLOT_WORDS) {
      if (table[at] !== hash || table[at + 1] < from) continue;
      if (this.hasKey(ring.wordOf(table[at + 1]), key, keyStart, keyEnd)) return at;
    }
    return NONE;
  }

  private hasKey(row: number, key: Uint8Array, keyStart: number, keyEnd: number): boolean {
    const { words, memory } = this.ring;
    if (keyLengthOf(words[row]) !== keyEnd - keyStart) return false;
    const start = (row + ROW_HEADER_UNITS) * UNIT_BYTES - keyStart;
    for (let i = keyStart; i < keyEnd; i++) if (memory[start + i] !== key[i]) return false;
    return true;
  }

  /** Whether a row that was missed is let in, though something has to give way for it. */
  private mayPushOut(hash: number, units: number): boolean {
    if (!this.ring.rowTable.wasMissed(hash)) return false;
    if (units <= UNITS_PER_MISS) return true;
    const chance = (hash + Math.imul(this.longMisses++, GOLDEN_STEP)) >>> 0;
    return chance * units < UNITS_PER_MISS * HASHES;
  }

  /** Points the view at a copy of what it shows, which is good until the next call. */
  private takeAside(view: ValueView): void {
    const length = view.end - view.start;
    if (length > this.passing.length) this.passing = new Uint8Array(length * 2);
    copy(view.bytes, view.start, view.end, this.passing, 0);
    view.set(this.passing, 0, length);
  }
}

/** Up to this many bytes a loop beats the view that `set` needs, as in ByteWriter. */
const LOOP_MAX_BYTES = 64;

function copy(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  pos: number,
): void {
  if (end - start <= LOOP_MAX_BYTES) {
    for (let i = start; i < end; i++) target[pos + i - start] = source[i];
  } else {
    target.set(source.subarray(start, end), pos);
  }
}
