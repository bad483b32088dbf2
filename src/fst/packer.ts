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
 * 1. Forward: mark where elements begin, and which of them are led to.
 * 2. Train the symbols on stretches taken evenly from all of the states.
 * 3. Backward, so that what a state leads to is written before it: code stretches, and write the
 *    other elements again with the new addresses, which are often shorter.
 *
 * Memory: the marks, as large as the states; the addresses, about half of that; and the result.
 */
import { ESCAPE, GOTO } from "./format.ts";
import { Branch, END_TARGET, gotoEnd, gotoTarget, isBranch, isGoto } from "./state-reader.ts";
import { END_ADDRESS, StateWriter, Transitions } from "./state-writer.ts";
import { ESCAPED, SymbolCoder, type SymbolTable, trainSymbols } from "./symbols.ts";

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

/** What the byte at a position is, in marks: 0 for one that no element begins with. */
const MARK_BYTE = 1;
const MARK_OTHER = 2;
/** Added to the mark of an element that an address leads to. */
const MARK_ENTRY = 4;

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

/** Marks each element, and which of them an address leads to: these come after what leads there. */
function mark(states: Uint8Array): Uint8Array {
  const marks = new Uint8Array(states.length);
  const branch = new Branch();
  let pos = 0;
  while (pos < states.length) {
    const element = states[pos];
    if (element < GOTO) {
      marks[pos++] |= MARK_BYTE;
    } else if (isBranch(element)) {
      marks[pos] |= MARK_OTHER;
      branch.read(states, pos);
      for (let i = 0; i < branch.count - 1; i++) {
        const target = branch.target(states, i);
        if (target !== END_TARGET) marks[target] = MARK_ENTRY;
      }
      pos = branch.end;
    } else if (isGoto(element)) {
      marks[pos] |= MARK_OTHER;
      marks[gotoTarget(states, pos)] = MARK_ENTRY;
      pos = gotoEnd(states, pos);
    } else {
      marks[pos] |= element === ESCAPE ? MARK_BYTE : MARK_OTHER;
      pos += element === ESCAPE ? 2 : 1;
    }
  }
  return marks;
}

/** Gathers stretches from all over the states, and trains symbols on them. */
function train(states: Uint8Array, marks: Uint8Array): SymbolTable {
  const parts = Math.ceil(Math.min(states.length, SAMPLE_BYTES) / SAMPLE_PART_BYTES);
  const sample = new Uint8Array(parts * SAMPLE_PART_BYTES);
  const ends: number[] = [];
  let length = 0;
  for (let part = 0; part < parts; part++) {
    const start = Math.floor((states.length * part) / parts);
    const end = Math.min(start + SAMPLE_PART_BYTES, states.length);
    for (let pos = start; pos < end; pos++) {
      if (marks[pos] === 0) continue;
      if (marks[pos] !== MARK_BYTE) ends.push(length);
      if ((marks[pos] & MARK_BYTE) !== 0) sample[length++] = byteOf(states, pos);
    }
    ends.push(length);
  }
  return trainSymbols(sample.subarray(0, length), ends);
}

/** Writes all elements again, from the last to the first, and returns the bytes. */
function rewrite(states: Uint8Array, marks: Uint8Array, table: SymbolTable): Uint8Array {
  const writer = new StateWriter();
  const coder = new SymbolCoder(table);
  const branch = new Branch();
  const transitions = new Transitions();
  const addresses = new AddressMap(marks);

  for (let pos = states.length - 1; pos >= 0; pos--) {
    const kind = marks[pos];
    if (kind === 0) continue;
    if ((kind & MARK_BYTE) !== 0) {
      coder.prepend(byteOf(states, pos));
      if (kind === MARK_BYTE && !coder.isFull) continue;
      writeStretch(coder, writer);
    } else {
      writeStretch(coder, writer);
      const element = states[pos];
      if (isBranch(element)) {
        branch.read(states, pos);
        transitions.length = 0;
        for (let i = 0; i < branch.count - 1; i++) {
          const target = branch.target(states, i);
          transitions.push(
            states[branch.labels + i],
            target === END_TARGET ? END_ADDRESS : addresses.get(target),
            branch.keysBefore(states, i + 1) - branch.keysBefore(states, i),
          );
        }
        // What the last transition leads to was just written, and no count is kept for it.
        transitions.push(states[branch.labels + branch.count - 1], writer.length, 0);
        writer.branch(transitions, 0);
      } else if (isGoto(element)) {
        writer.follow(addresses.get(gotoTarget(states, pos)));
      } else {
        writer.element(element);
      }
    }
    if (kind >= MARK_ENTRY) addresses.setPrevious(writer.length);
  }
  writeStretch(coder, writer);
  return writer.bytes;
}

/** Writes the stretch that the coder was given before what was written last. */
function writeStretch(coder: SymbolCoder, writer: StateWriter): void {
  const { coded } = coder;
  for (let i = coder.finish() - 1; i >= 0; i--) {
    const code = coded[i];
    if (code >= ESCAPED) writer.escape(code - ESCAPED);
    else writer.element(code);
  }
}

/** The byte that the element at `pos` takes. */
function byteOf(states: Uint8Array, pos: number): number {
  const element = states[pos];
  return element === ESCAPE ? states[pos + 1] : element;
}

/** The new address of each entry: a place that an address leads to. They are set from the last on. */
class AddressMap {
  /** For 32 positions each: a bit for each that is an entry, and the number of entries before. */
  private readonly words: Int32Array;
  private readonly addresses: Int32Array;
  private unset: number;

  constructor(marks: Uint8Array) {
    const count = Math.ceil(marks.length / 32);
    this.words = new Int32Array(2 * count);
    let entries = 0;
    for (let word = 0; word < count; word++) {
      const end = Math.min(marks.length, 32 * (word + 1));
      let bits = 0;
      this.words[2 * word + 1] = entries;
      for (let pos = 32 * word; pos < end; pos++) {
        if (marks[pos] < MARK_ENTRY) continue;
        bits |= 1 << (pos & 31);
        entries++;
      }
      this.words[2 * word] = bits;
    }
    this.addresses = new Int32Array(entries);
    this.unset = entries;
  }

  /** Sets the address of the last entry that has none yet. */
  setPrevious(address: number): void {
    this.addresses[--this.unset] = address;
  }

  /** The address of the entry at `pos`. */
  get(pos: number): number {
    const word = (pos >>> 5) << 1;
    const bitsBefore = this.words[word] & ((1 << (pos & 31)) - 1);
    return this.addresses[this.words[word + 1] + bitCount(bitsBefore)];
  }
}

/** Ones in 32 bits: sums of neighbours, in twos, fours and eights, then all by a product. */
function bitCount(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
