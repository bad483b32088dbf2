/**
 * RowCache: the values of keys that were read lately, in front of memtables and runs, within a hard
 * budget of bytes. It saves a look-up in the key index and the decoding of a value.
 *
 * Rows are bytes: the encoded key, and the encoded value as the source showed it. So a row serves
 * every encoding, each read decodes a value of its own, and there is no object per row for the
 * garbage collector. They lie in a ring, each behind the one that was put in before it; the oldest
 * give way. One that was found since it was put in moves to the head instead of leaving: first in,
 * first out with a second chance, which is CLOCK (Corbato 1968) where the hand moves the row.
 *
 * Where something has to give way, a key is let in only at its second miss: keys that are read once
 * push nothing out, and reads all over a set far larger than the cache pay for no copies.
 *
 * A table says where rows are. The key's hash chooses a set of it, which fills one cache line: the
 * hashes that were missed last, and slots.
 *
 *   set    missed u32 | missed before it u32 | 7 slots
 *   slot   hash u32 | position u32: that of the row in the ring
 *   row    header u32 | key | value | 0 to 3 unused
 *   header key length in bits 0-11, value length in bits 12-30, bit 31: found since it was put in
 *
 * A slot whose row is found changes places with the one before it, and where all are taken the last
 * one gives way: what is found most stays, without a counter (McCabe 1965, the transposition rule).
 *
 * Positions are counted in units of 4 bytes and only grow; a row's offset in the ring is its
 * position less that of the lap's start. So a row that leaves need not be looked for in the table:
 * its slot has a position before the tail. Nothing is rehashed or walked whole, so that no read
 * pauses; but once in 16 GiB of rows positions come to their end, and all is forgotten.
 *
 * Invariants:
 * 1. A row has the value that readers see at the write `seqno`, the newest, and one that never
 *    expires. Every write is shown to the cache (`add`, `deleteRange`) before readers see it, and
 *    `seqno` is raised as they do; who reads at another write neither asks nor puts in.
 * 2. Rows tail <= position < head lie whole and do not overlap; head - tail is at most the ring.
 * 3. A row is found only through a slot that has its position.
 *
 * Source: the row cache of RocksDB (Options::row_cache), which lies behind the memtables, a row for
 * each file; here writes take rows out, so that a row answers for all sources. Admission at the
 * second miss is that of 2Q: Johnson, Shasha, "2Q: A Low Overhead High Performance Buffer
 * Management Replacement Algorithm" (VLDB 1994), section 2.2, the queue A1out.
 */
import { assert } from "../assert.ts";
import { checksum } from "../bytes/checksum.ts";
import type { ValueView } from "../cursor/value-view.ts";
import type { OperationTarget } from "./batch.ts";

const UNIT_BYTES = 4;

const SLOT_WORDS = 2;
/** Words of a set: two hashes that were missed, and seven slots. */
const SLOTS_OFFSET = 2;
const SET_WORDS = 16;
const SET_BYTES: number = SET_WORDS * 4;
/** One set for so many bytes of the budget: seven rows of a name and a URL take about as much. */
const BYTES_PER_SET = 512;

/** Rows up to this size are taken, but in a small cache not more than this part of it. */
const MAX_SMALL_ROW_BYTES = 4096;
const MAX_SMALL_ROW_PART = 8;
/** Larger ones cost little to read anew, for what they push out: only up to this part of the cache. */
const MAX_LARGE_ROW_PART = 256;
/** And no larger than this. */
const MAX_LARGE_ROW_BYTES = 65_536;
const KEY_LENGTH_BITS = 12;
const KEY_LENGTH_MASK: number = 2 ** KEY_LENGTH_BITS - 1;
const VALUE_LENGTH_MASK: number = 2 ** 19 - 1;
const FOUND: number = 2 ** 31;

/**
 * Rows that get a second chance to make room for one. What lies in the way beyond that gets none: a
 * read must not walk the whole ring where all was found.
 */
const MAX_SECOND_CHANCES = 8;

/** Positions stay below 2^32: from here on, one insertion and the rows it moves cannot reach it. */
const LAST_POSITION: number = 2 ** 32 - 2 ** 19;
/** No row is there: the tail is always behind it. */
const NOWHERE = 0;

export class RowCache implements OperationTarget {
  readonly capacityBytes: number;
  /** Of the newest write that readers see. Whoever reads at it may ask. */
  seqno: number;
  hits: number;
  misses: number;
  private readonly setCount: number;
  private readonly table: Uint32Array;
  private readonly words: Uint32Array;
  /** The same memory as `words`. */
  private readonly ring: Uint8Array;
  /** Units of the ring. Behind them is room for the rest of a row that begins in the last. */
  private readonly ringUnits: number;
  private readonly maxRowUnits: number;
  private tail: number;
  private head: number;
  /** Position of the ring's first unit in the lap of the head. */
  private lapStart: number;

  /** `firstPosition`: where positions begin, at least 1. Tests begin at their end. */
  constructor(capacityBytes: number, seqno: number, firstPosition: number = NOWHERE + 1) {
    this.capacityBytes = capacityBytes;
    this.seqno = seqno;
    this.hits = 0;
    this.misses = 0;
    this.setCount = Math.max(1, Math.floor(capacityBytes / BYTES_PER_SET));
    const rowBytes = Math.max(0, capacityBytes - this.setCount * SET_BYTES);
    const smallBytes = Math.min(MAX_SMALL_ROW_BYTES, rowBytes / MAX_SMALL_ROW_PART);
    const largeBytes = Math.min(MAX_LARGE_ROW_BYTES, rowBytes / MAX_LARGE_ROW_PART);
    this.maxRowUnits = Math.floor(Math.max(smallBytes, largeBytes) / UNIT_BYTES);
    const units = Math.floor(rowBytes / UNIT_BYTES);
    this.ringUnits = units - this.maxRowUnits;
    // Shared memory for the reason that BlockCache gives.
    this.table = new Uint32Array(new SharedArrayBuffer(this.setCount * SET_BYTES));
    this.words = new Uint32Array(new SharedArrayBuffer(units * UNIT_BYTES));
    this.ring = new Uint8Array(this.words.buffer);
    this.tail = firstPosition;
    this.head = firstPosition;
    this.lapStart = firstPosition - 1;
  }

  /** Bytes of the table and of the rows held now; never more than `capacityBytes`. */
  get bytes(): number {
    return this.isEmpty ? 0 : this.table.byteLength + (this.head - this.tail) * UNIT_BYTES;
  }

  get isEmpty(): boolean {
    return this.head === this.tail;
  }

  /**
   * Points `view` at the value of key[0, length), until the next `insert`; false if it is not here.
   * `hash` is the key's `keyHash`. Counts a hit or a miss.
   */
  find(key: Uint8Array, length: number, hash: number, view: ValueView): boolean {
    const { table, words, tail } = this;
    const set = this.setOf(hash);
    const setEnd = set + SET_WORDS;
    for (let slot = set + SLOTS_OFFSET; slot < setEnd; slot += SLOT_WORDS) {
      if (table[slot] !== hash || table[slot + 1] < tail) continue;
      const row = this.wordOf(table[slot + 1]);
      const header = words[row];
      if (!this.hasKey(row, header, key, length)) continue;
      if (header < FOUND) words[row] = header + FOUND;
      this.hits++;
      if (slot > set + SLOTS_OFFSET) this.moveForward(slot);
      const start = (row + 1) * UNIT_BYTES + length;
      view.set(this.ring, start, start + valueLengthOf(header));
      return true;
    }
    this.misses++;
    return false;
  }

  /**
   * Puts in what `view` shows for key[0, length), which `find` has just missed; if something has to
   * give way for it, only at the second miss.
   */
  insert(key: Uint8Array, length: number, hash: number, view: ValueView): void {
    const { bytes, start, end } = view;
    const units = unitsOf(length, end - start);
    if (units > this.maxRowUnits || length > KEY_LENGTH_MASK) return;
    if (!this.hasRoom(units) && !this.wasMissed(hash)) return;
    if (this.head > LAST_POSITION) this.restart();
    this.makeRoom(units);
    const row = this.wordOf(this.head);
    this.words[row] = length + ((end - start) << KEY_LENGTH_BITS);
    const keyStart = (row + 1) * UNIT_BYTES;
    copy(key, 0, length, this.ring, keyStart);
    copy(bytes, start, end, this.ring, keyStart + length);
    const slot = this.freeSlot(hash);
    this.table[slot] = hash;
    this.table[slot + 1] = this.head;
    this.advance(units);
  }

  /**
   * A write to a key is applied: takes its row out, and any other with its hash. What was here is let
   * in again at its first miss.
   */
  add(key: Uint8Array, keyStart: number, keyEnd: number): void {
    const { table } = this;
    const hash = checksum(key, keyStart, keyEnd);
    const set = this.setOf(hash);
    const end = set + SET_WORDS;
    for (let slot = set + SLOTS_OFFSET; slot < end; slot += SLOT_WORDS) {
      if (table[slot] !== hash || table[slot + 1] === NOWHERE) continue;
      table[slot + 1] = NOWHERE;
      this.noteMissed(set, hash);
    }
  }

  /** A range is deleted: takes out everything. */
  deleteRange(): void {
    this.tail = this.head;
  }

  /** Index in the table of the hash's set. */
  private setOf(hash: number): number {
    return Math.floor((hash * this.setCount) / 0x1_0000_0000) * SET_WORDS;
  }

  /** Index in `words` of a row that is there, or of the head. */
  private wordOf(position: number): number {
    const offset = position - this.lapStart;
    return offset < 0 ? offset + this.ringUnits : offset;
  }

  private hasKey(row: number, header: number, key: Uint8Array, length: number): boolean {
    if ((header & KEY_LENGTH_MASK) !== length) return false;
    const { ring } = this;
    const start = (row + 1) * UNIT_BYTES;
    for (let i = 0; i < length; i++) if (ring[start + i] !== key[i]) return false;
    return true;
  }

  private moveForward(slot: number): void {
    const { table } = this;
    const before = slot - SLOT_WORDS;
    const hash = table[before];
    const position = table[before + 1];
    table[before] = table[slot];
    table[before + 1] = table[slot + 1];
    table[slot] = hash;
    table[slot + 1] = position;
  }

  /** The slot of the hash's set that a new row takes: one whose row is gone, or the last. */
  private freeSlot(hash: number): number {
    const { table, tail } = this;
    const set = this.setOf(hash);
    const last = set + SET_WORDS - SLOT_WORDS;
    let slot = set + SLOTS_OFFSET;
    while (slot < last && table[slot + 1] >= tail) slot += SLOT_WORDS;
    return slot;
  }

  private hasRoom(units: number): boolean {
    return this.head + units - this.tail <= this.ringUnits;
  }

  /** Whether the hash is one of those that its set missed last; it is from now on. */
  private wasMissed(hash: number): boolean {
    const { table } = this;
    const set = this.setOf(hash);
    if (table[set] === hash || table[set + 1] === hash) return true;
    this.noteMissed(set, hash);
    return false;
  }

  private noteMissed(set: number, hash: number): void {
    this.table[set + 1] = this.table[set];
    this.table[set] = hash;
  }

  private makeRoom(units: number): void {
    let chances = MAX_SECOND_CHANCES;
    while (!this.hasRoom(units)) {
      if (this.evict(chances > 0)) chances--;
    }
  }

  /** Takes the row at the tail away; or to the head, if it was found, which returns true. */
  private evict(mayMove: boolean): boolean {
    const { table, words, tail } = this;
    const row = this.wordOf(tail);
    const header = words[row];
    const keyLength = header & KEY_LENGTH_MASK;
    const units = unitsOf(keyLength, valueLengthOf(header));
    this.tail = tail + units;
    if (!mayMove || header < FOUND) return false;
    const keyStart = (row + 1) * UNIT_BYTES;
    const hash = checksum(this.ring, keyStart, keyStart + keyLength);
    const slot = this.slotAt(hash, tail);
    if (slot < 0) return false;
    const target = this.wordOf(this.head);
    words.copyWithin(target, row, row + units);
    words[target] = header - FOUND;
    table[slot + 1] = this.head;
    this.advance(units);
    return true;
  }

  /** The slot of the row at a position, or -1: a write took it out, or a newer row has its slot. */
  private slotAt(hash: number, position: number): number {
    const { table } = this;
    const set = this.setOf(hash);
    const end = set + SET_WORDS;
    for (let slot = set + SLOTS_OFFSET; slot < end; slot += SLOT_WORDS) {
      if (table[slot + 1] === position && table[slot] === hash) return slot;
    }
    return -1;
  }

  private advance(units: number): void {
    this.head += units;
    if (this.head >= this.lapStart + this.ringUnits) this.lapStart += this.ringUnits;
    assert(this.head - this.tail <= this.ringUnits, "rows lie within the ring");
  }

  /** Takes out everything, and counts positions from the beginning. */
  private restart(): void {
    this.table.fill(NOWHERE);
    this.tail = NOWHERE + 1;
    this.head = NOWHERE + 1;
    this.lapStart = NOWHERE;
  }
}

function valueLengthOf(header: number): number {
  return (header >>> KEY_LENGTH_BITS) & VALUE_LENGTH_MASK;
}

/** Units of a row. */
function unitsOf(keyLength: number, valueLength: number): number {
  return 1 + Math.ceil((keyLength + valueLength) / UNIT_BYTES);
}

/** Up to this many bytes a loop beats the view that `set` needs, as in Memtable. */
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
