/**
 * Packing: writes finished states once more, with symbols chosen for them.
 *
 * About half of the bytes of states are stretches of transitions that are the only one of their
 * state: the ends of keys that nothing shares. While the states are built each such byte takes one
 * element, because any of them may turn out to be where another state leads. Once all are built it
 * is known which places are led to, and between two of them a stretch can be written as symbols
 * (symbols.ts): URLs take a fifth fewer bytes, and a reader takes fewer steps.
 *
 * Three passes, each linear in the bytes:
 * 1. Forward: mark which elements are led to, and which are more than one byte of a key.
 * 2. Train the symbols on stretches taken evenly from all of the states.
 * 3. Backward, from mark to mark, so that what a state leads to is written before it: code the
 *    stretch behind a marked element, and write that element again with the new addresses, which
 *    are often shorter.
 *
 * Memory: three bits for each byte of the states, new addresses of about half of their size, and the
 * result.
 */
import { ESCAPE, GOTO } from "./format.ts";
import { Branch, END_TARGET, gotoEnd, gotoTarget, isBranch, isGoto } from "./state-reader.ts";
import { END_ADDRESS, StateWriter, Transitions } from "./state-writer.ts";
import { SymbolCoder, type SymbolTable, trainSymbols } from "./symbols.ts";

export interface PackedStates {
  /** The encoded symbol table; empty if the states were left as they are. */
  readonly symbols: Uint8Array;
  readonly states: Uint8Array;
}

/** A table takes up to 1.6 KB, which fewer states could not earn back. */
const MIN_PACKED_BYTES = 4096;

/** Bytes of states that are looked at for training, in parts that are spread evenly. */
const SAMPLE_BYTES = 1 << 17;
const SAMPLE_PART_BYTES = 256;

/** The smaller of `states` as they are, and packed. `states` must have no symbols yet. */
export function pack(states: Uint8Array): PackedStates {
  const unpacked = { symbols: new Uint8Array(0), states };
  if (states.length < MIN_PACKED_BYTES) return unpacked;
  const marks = mark(states);
  const table = train(states, marks);
  const symbols = table.encode();
  const packed = rewrite(states, marks, table);
  return symbols.length + packed.length < states.length ? { symbols, states: packed } : unpacked;
}

/** Marks the elements that are more than a byte of a key, and the entries. */
function mark(states: Uint8Array): Marks {
  const marks = new Marks(states.length);
  const branch = new Branch();
  let pos = 0;
  while (pos < states.length) {
    const element = states[pos];
    if (element < GOTO) {
      pos++;
    } else if (element === ESCAPE) {
      pos += 2;
    } else if (isBranch(element)) {
      marks.addOther(pos);
      branch.read(states, pos);
      for (let i = 0; i < branch.count - 1; i++) {
        const target = branch.target(states, i);
        if (target !== END_TARGET) marks.addEntry(target);
      }
      pos = branch.end;
    } else {
      marks.addOther(pos);
      if (isGoto(element)) marks.addEntry(gotoTarget(states, pos));
      pos = elementEnd(states, pos);
    }
  }
  marks.countEntries();
  return marks;
}

/** Gathers stretches from all over the states, and trains symbols on them. */
function train(states: Uint8Array, marks: Marks): SymbolTable {
  const parts = Math.ceil(Math.min(states.length, SAMPLE_BYTES) / SAMPLE_PART_BYTES);
  const sample = new Uint8Array(parts * SAMPLE_PART_BYTES);
  const ends: number[] = [];
  const branch = new Branch();
  let length = 0;
  for (let part = 0; part < parts; part++) {
    const start = Math.floor((states.length * part) / parts);
    const end = Math.min(start + SAMPLE_PART_BYTES, states.length);
    let pos = start;
    // What a part begins with may be the middle of an element.
    if (start > 0) while (pos < end && !marks.has(pos)) pos++;
    while (pos < end) {
      const element = states[pos];
      if (marks.has(pos)) ends.push(length);
      if (element < GOTO || element === ESCAPE) sample[length++] = byteOf(states, pos);
      if (isBranch(element)) {
        branch.read(states, pos);
        pos = branch.end;
      } else {
        pos = elementEnd(states, pos);
      }
    }
    ends.push(length);
  }
  return trainSymbols(sample.subarray(0, length), ends);
}

/** Writes all elements again, from the last to the first, and returns the bytes. */
function rewrite(states: Uint8Array, marks: Marks, table: SymbolTable): Uint8Array {
  const writer = new StateWriter(states.length);
  const coder = new SymbolCoder(table);
  const branch = new Branch();
  const transitions = new Transitions();
  // What lies from here on has been written.
  let limit = states.length;
  for (let pos = marks.before(limit); pos >= 0; pos = marks.before(pos)) {
    const element = states[pos];
    if (isBranch(element)) {
      branch.read(states, pos);
      writeStretch(states, branch.end, limit, coder, writer);
      transitions.length = 0;
      let keysBefore = 0;
      for (let i = 0; i < branch.count - 1; i++) {
        const target = branch.target(states, i);
        const keysBeforeNext = branch.keysBefore(states, i + 1);
        transitions.push(
          states[branch.labels + i],
          target === END_TARGET ? END_ADDRESS : marks.address(target),
          keysBeforeNext - keysBefore,
        );
        keysBefore = keysBeforeNext;
      }
      // What the last transition leads to was just written, and no count is kept for it.
      transitions.push(states[branch.labels + branch.count - 1], writer.length, 0);
      writer.branch(transitions, 0);
    } else if (element < GOTO || element === ESCAPE) {
      writeStretch(states, pos, limit, coder, writer);
    } else {
      writeStretch(states, elementEnd(states, pos), limit, coder, writer);
      if (isGoto(element)) writer.follow(marks.address(gotoTarget(states, pos)));
      else writer.element(element);
    }
    if (marks.isEntry(pos)) marks.setPreviousAddress(writer.length);
    limit = pos;
  }
  writeStretch(states, 0, limit, coder, writer);
  return writer.bytes;
}

/** Writes the bytes that states[start, end) take, one after the other, as symbols. */
function writeStretch(
  states: Uint8Array,
  start: number,
  end: number,
  coder: SymbolCoder,
  writer: StateWriter,
): void {
  if (start === end) return;
  const { stretch } = coder;
  let length = 0;
  for (let pos = start; pos < end; pos++) {
    if (states[pos] === ESCAPE) pos++;
    stretch[length++] = states[pos];
  }
  writer.elements(coder.elements, coder.code(length));
}

/** Position after the element at `pos`, which is no branch. */
function elementEnd(states: Uint8Array, pos: number): number {
  const element = states[pos];
  if (isGoto(element)) return gotoEnd(states, pos);
  return element === ESCAPE ? pos + 2 : pos + 1;
}

/** The byte that the element at `pos` takes. */
function byteOf(states: Uint8Array, pos: number): number {
  const element = states[pos];
  return element === ESCAPE ? states[pos + 1] : element;
}

/**
 * Marked positions, in bits: entries, which an address leads to, and other elements that are more
 * than a byte of a key. All else is bytes of keys, or within an element. With the entries go their
 * new addresses, which are set from the last one on.
 */
class Marks {
  private readonly others: Int32Array;
  /** For 32 positions each: a bit for each that is an entry, and the number of entries before. */
  private readonly entries: Int32Array;
  private addresses: Int32Array;
  private unset: number;

  constructor(length: number) {
    const words = Math.ceil(length / 32);
    this.others = new Int32Array(words);
    this.entries = new Int32Array(2 * words);
    this.addresses = new Int32Array(0);
    this.unset = 0;
  }

  addOther(pos: number): void {
    this.others[pos >>> 5] |= 1 << (pos & 31);
  }

  addEntry(pos: number): void {
    this.entries[(pos >>> 5) << 1] |= 1 << (pos & 31);
  }

  /** Makes room for the addresses, once all entries are there. */
  countEntries(): void {
    const { entries } = this;
    let count = 0;
    for (let word = 0; word < entries.length; word += 2) {
      entries[word + 1] = count;
      count += bitCount(entries[word]);
    }
    this.addresses = new Int32Array(count);
    this.unset = count;
  }

  has(pos: number): boolean {
    const word = pos >>> 5;
    return (((this.others[word] | this.entries[word << 1]) >>> (pos & 31)) & 1) === 1;
  }

  isEntry(pos: number): boolean {
    return ((this.entries[(pos >>> 5) << 1] >>> (pos & 31)) & 1) === 1;
  }

  /** The last marked position before `pos`, or -1. */
  before(pos: number): number {
    const { others, entries } = this;
    let word = pos >>> 5;
    let bits = (others[word] | entries[word << 1]) & ((1 << (pos & 31)) - 1);
    while (bits === 0) {
      if (--word < 0) return -1;
      bits = others[word] | entries[word << 1];
    }
    return (word << 5) + 31 - Math.clz32(bits);
  }

  /** Sets the address of the last entry that has none yet. */
  setPreviousAddress(address: number): void {
    this.addresses[--this.unset] = address;
  }

  /** The address of the entry at `pos`. */
  address(pos: number): number {
    const word = (pos >>> 5) << 1;
    const bitsBefore = this.entries[word] & ((1 << (pos & 31)) - 1);
    return this.addresses[this.entries[word + 1] + bitCount(bitsBefore)];
  }
}

/** Ones in 32 bits: sums of neighbours, in twos, fours and eights, then all by a product. */
function bitCount(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
