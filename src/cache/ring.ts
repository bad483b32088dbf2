/**
 * CacheRing: what reads keep in memory, value blocks and rows, within one hard budget of bytes.
 *
 * Both lie in one ring, each entry behind the one that was put in before it; the oldest give way. One
 * that was found since it was put in moves to the head instead of leaving, once: first in, first out
 * with a second chance, which is CLOCK (Corbato 1968) where the hand moves the entry. So there is no
 * fragmentation, no object per entry, nothing for the garbage collector; and how much of the budget
 * blocks have, and how much rows, follows from what is found.
 *
 * Where something has to give way, an entry is let in only at its second miss: what is read once
 * pushes nothing out, and reads all over a set far larger than the ring pay for no copies. Of longer
 * rows only some are let in then, for as much pushes out as much (engine/row-cache.ts). If too
 * much of what lies in its way was found, it is not let in: a read must not walk the whole ring.
 *
 *   row    header u32 | key | value | 0 to 3 unused
 *          header: key length in bits 0-11, value length in bits 12-28
 *   block  header u32 | file number u32, u32 | block u32 | image | 0 to 3 unused
 *          header: length of the image in bits 0-28
 *   Of both headers bit 29: taken out; bit 30: a block; bit 31: found since it was put in.
 *
 * Positions are counted in units of 4 bytes and only grow; an entry's offset in the memory is its
 * position less that of the lap's start. One that begins in a lap's last units goes on behind them,
 * where there is room for the rest of it. Nothing is walked whole, so that no read pauses; but once
 * in 16 GiB of entries positions come to their end, and all is forgotten.
 *
 * BlockCache and RowCache say what entries mean. Whoever holds an entry, or bytes of one, may do so
 * as long as `changeCount` stays.
 *
 * Invariants:
 * 1. Entries tail <= position < head lie whole and do not overlap; head - tail is at most the ring.
 * 2. An entry is found only through a slot of its kind's table that has its position. A row's
 *    position is `rowsFrom` or more.
 * 3. Memory and tables are the budget, but for one that is too small for a set of each table.
 *
 * Source: admission at the second miss is that of 2Q: Johnson, Shasha, "2Q: A Low Overhead High
 * Performance Buffer Management Replacement Algorithm" (VLDB 1994), section 2.2, the queue A1out.
 */
import { assert } from "../assert.ts";
import { checksum } from "../bytes/checksum.ts";
import { CacheTable, NOWHERE, SET_BYTES } from "./table.ts";

export const UNIT_BYTES = 4;

export const ROW_HEADER_UNITS = 1;
const KEY_LENGTH_BITS = 12;
export const KEY_LENGTH_MASK: number = 2 ** KEY_LENGTH_BITS - 1;
const VALUE_LENGTH_MASK: number = 2 ** 17 - 1;

export const BLOCK_HEADER_UNITS = 4;
const BLOCK_LENGTH_MASK: number = 2 ** 29 - 1;

const GONE: number = 2 ** 29;
const BLOCK: number = 2 ** 30;
export const FOUND: number = 2 ** 31;

/** One set for rows for so many bytes of the budget: seven of a name and a URL take about as much. */
const BYTES_PER_ROW_SET = 512;
/** And for blocks: those of 4 KiB and more take at most half of the slots. */
const BYTES_PER_BLOCK_SET = 14_336;

/** The largest entry. In a small ring it is not more than this part of it. */
const MAX_ENTRY_BYTES = 65_536;
const MAX_ENTRY_PART = 8;

/** How many entries may move to make room for one; and one more for so many units of it. */
const MIN_MOVES = 8;
const UNITS_PER_MOVE = 16;

/** Positions stay below 2^32: from here on, one insertion and what it moves cannot reach it. */
export const LAST_POSITION: number = 2 ** 32 - 2 ** 25;

export class CacheRing {
  readonly capacityBytes: number;
  readonly rowTable: CacheTable;
  readonly blockTable: CacheTable;
  readonly words: Uint32Array;
  /**
   * The same memory as `words`. Reserved whole, but the system backs only pages that were written. It
   * is shared memory because V8 would take an ArrayBuffer of that size for garbage to come, and
   * collect all of the user's heap at once: the most that opening a database cost.
   */
  readonly memory: Uint8Array;
  readonly maxEntryUnits: number;
  /** Units of the ring. Behind them is room for the rest of an entry that begins in the last. */
  readonly ringUnits: number;
  /** Grows whenever entries move or leave: what is known of where they lie may then be wrong. */
  changeCount: number;
  tail: number;
  head: number;
  /** Rows before it were taken out all at once. */
  rowsFrom: number;
  /** Position of the ring's first unit in the lap of the head. */
  private lapStart: number;
  private rowUnits: number;
  private blockUnits: number;

  /** `firstPosition`: where positions begin, at least 1. Tests begin at their end. */
  constructor(capacityBytes: number, firstPosition: number = NOWHERE + 1) {
    this.capacityBytes = capacityBytes;
    const rowSets = Math.max(1, Math.floor(capacityBytes / BYTES_PER_ROW_SET));
    const blockSets = Math.max(1, Math.floor(capacityBytes / BYTES_PER_BLOCK_SET));
    this.rowTable = new CacheTable(rowSets);
    this.blockTable = new CacheTable(blockSets);
    const tableBytes = (rowSets + blockSets) * SET_BYTES;
    const units = Math.max(0, Math.floor((capacityBytes - tableBytes) / UNIT_BYTES));
    this.maxEntryUnits = Math.min(Math.floor(units / MAX_ENTRY_PART), MAX_ENTRY_BYTES / UNIT_BYTES);
    this.ringUnits = units - this.maxEntryUnits;
    this.words = new Uint32Array(new SharedArrayBuffer(units * UNIT_BYTES));
    this.memory = new Uint8Array(this.words.buffer);
    this.changeCount = 0;
    this.tail = firstPosition;
    this.head = firstPosition;
    this.rowsFrom = firstPosition;
    this.lapStart = firstPosition - 1;
    this.rowUnits = 0;
    this.blockUnits = 0;
  }

  /** Bytes of the tables and of the entries held now; never more than `capacityBytes`. */
  get bytes(): number {
    const { head, tail, rowTable, blockTable } = this;
    if (head === tail) return 0;
    return rowTable.byteLength + blockTable.byteLength + this.rowBytes + this.blockBytes;
  }

  get rowBytes(): number {
    return this.rowUnits * UNIT_BYTES;
  }

  get blockBytes(): number {
    return this.blockUnits * UNIT_BYTES;
  }

  /** Index in `words` of an entry that is there, or of the head. */
  wordOf(position: number): number {
    const offset = position - this.lapStart;
    return offset < 0 ? offset + this.ringUnits : offset;
  }

  hasRoom(units: number): boolean {
    return this.head + units - this.tail <= this.ringUnits;
  }

  /**
   * Makes room for an entry that is not there, of at most `maxEntryUnits`; false if too much of what
   * lies in its way was found.
   */
  makeRoom(units: number): boolean {
    if (this.head > LAST_POSITION) this.restart();
    let moves = MIN_MOVES + Math.floor(units / UNITS_PER_MOVE);
    while (!this.hasRoom(units)) {
      if (moves === 0) return false;
      if (this.evict()) moves--;
    }
    return true;
  }

  /** Puts a row where `makeRoom` has made room, and returns its index in `words`. */
  putRow(hash: number, keyLength: number, valueLength: number): number {
    const { head } = this;
    const word = this.wordOf(head);
    this.words[word] = keyLength + (valueLength << KEY_LENGTH_BITS);
    this.rowTable.put(hash, head, Math.max(this.tail, this.rowsFrom));
    const units = rowUnitsOf(keyLength, valueLength);
    this.rowUnits += units;
    this.advance(units);
    return word;
  }

  /** As `putRow`. */
  putBlock(hash: number, fileNumber: number, block: number, length: number): number {
    const { words, head } = this;
    const word = this.wordOf(head);
    words[word] = length + BLOCK;
    words[word + 1] = fileNumber;
    words[word + 2] = Math.floor(fileNumber / 0x1_0000_0000);
    words[word + 3] = block;
    this.blockTable.put(hash, head, this.tail);
    const units = blockUnitsOf(length);
    this.blockUnits += units;
    this.advance(units);
    return word;
  }

  /** Takes out the entry at words[word], whose slot is the caller's to empty. Its bytes stay till it leaves. */
  remove(word: number): void {
    const header = this.words[word];
    this.words[word] = (header | GONE) >>> 0;
    if (isBlock(header)) this.blockUnits -= blockUnitsOf(blockLengthOf(header));
    else this.rowUnits -= unitsOf(header);
  }

  /** Makes a value of another length that of a row; false if it does not take as many units. */
  setValueLength(word: number, valueLength: number): boolean {
    const header = this.words[word];
    const keyLength = keyLengthOf(header);
    const grows = valueLength - valueLengthOf(header);
    if (rowUnitsOf(keyLength, valueLength) !== unitsOf(header)) return false;
    this.words[word] = header + grows * 2 ** KEY_LENGTH_BITS;
    return true;
  }

  /** Takes out all rows. */
  removeRows(): void {
    this.rowsFrom = this.head;
    this.rowUnits = 0;
    if (this.blockUnits > 0) return;
    this.tail = this.head;
    this.changeCount++;
  }

  /** Takes the entry at the tail away; or to the head, if it was found, which returns true. */
  private evict(): boolean {
    const { words, tail } = this;
    const word = this.wordOf(tail);
    const header = words[word];
    const units = unitsOf(header);
    this.changeCount++;
    this.tail = tail + units;
    if (isGone(header)) return false;
    const isRow = !isBlock(header);
    if (isRow && tail < this.rowsFrom) return false;
    if (header >= FOUND) {
      const table = isRow ? this.rowTable : this.blockTable;
      const slot = table.slotAt(this.hashOf(word, header), tail);
      if (slot >= 0) {
        const target = this.wordOf(this.head);
        words.copyWithin(target, word, word + units);
        words[target] = header - FOUND;
        table.words[slot + 1] = this.head;
        this.advance(units);
        return true;
      }
    }
    if (isRow) this.rowUnits -= units;
    else this.blockUnits -= units;
    return false;
  }

  private hashOf(word: number, header: number): number {
    const { words } = this;
    if (isBlock(header)) return hashOfBlock(words[word + 1], words[word + 3]);
    const keyStart = (word + ROW_HEADER_UNITS) * UNIT_BYTES;
    return checksum(this.memory, keyStart, keyStart + keyLengthOf(header));
  }

  private advance(units: number): void {
    this.head += units;
    if (this.head >= this.lapStart + this.ringUnits) this.lapStart += this.ringUnits;
    assert(this.head - this.tail <= this.ringUnits, "entries lie within the ring");
  }

  /** Takes out everything, and counts positions from the beginning. */
  private restart(): void {
    this.rowTable.clear();
    this.blockTable.clear();
    this.changeCount++;
    this.tail = NOWHERE + 1;
    this.head = NOWHERE + 1;
    this.rowsFrom = NOWHERE + 1;
    this.lapStart = NOWHERE;
    this.rowUnits = 0;
    this.blockUnits = 0;
  }
}

function isBlock(header: number): boolean {
  return (header & BLOCK) !== 0;
}

function isGone(header: number): boolean {
  return (header & GONE) !== 0;
}

export function keyLengthOf(header: number): number {
  return header & KEY_LENGTH_MASK;
}

export function valueLengthOf(header: number): number {
  return (header >>> KEY_LENGTH_BITS) & VALUE_LENGTH_MASK;
}

export function blockLengthOf(header: number): number {
  return header & BLOCK_LENGTH_MASK;
}

/** Units of a row. */
export function rowUnitsOf(keyLength: number, valueLength: number): number {
  return ROW_HEADER_UNITS + Math.ceil((keyLength + valueLength) / UNIT_BYTES);
}

export function blockUnitsOf(length: number): number {
  return BLOCK_HEADER_UNITS + Math.ceil(length / UNIT_BYTES);
}

/** Units of the entry that has a header. */
function unitsOf(header: number): number {
  return isBlock(header)
    ? blockUnitsOf(blockLengthOf(header))
    : rowUnitsOf(keyLengthOf(header), valueLengthOf(header));
}

/** Of the low 32 bits of a file's number. Sets are chosen by the high bits. */
export function hashOfBlock(fileNumber: number, block: number): number {
  const mixed = Math.imul(block ^ Math.imul(fileNumber | 0, 0x85eb_ca77), 0x9e37_79b1);
  return Math.imul(mixed ^ (mixed >>> 15), 0x85eb_ca6b) >>> 0;
}
