/**
 * Packing: writes finished states once more, with symbols chosen for them.
 *
 * About half of the bytes of states are stretches of transitions that are the only one of their
 * state: the ends of keys that nothing shares. While the states are built each such byte takes one
 * element, because any of them may turn out to be where another state leads. Once all are built it
 * is known which places are led to, and between two of them a stretch can be written as symbols
 * (symbols/table.ts): URLs take a fifth fewer bytes, and a reader takes fewer steps.
 *
 * Two passes, each linear in the bytes, by marks that were set while the states were written: of
 * elements that are led to, and of those that are more than one byte of a key (state-marks.ts).
 * 1. Train the symbols on stretches taken evenly from all of the states.
 * 2. Backward, from mark to mark, so that what a state leads to is written before it: code the
 *    stretch behind a marked element, and write that element again with the new addresses, which
 *    are often shorter.
 *
 * Memory: the marks, new addresses of about half of the states' size, and the result.
 */

import { Branch, END_TARGET, gotoEnd, gotoTarget, isBranch, isGoto } from "./elements.ts";
import { ESCAPE, GOTO } from "./format.ts";
import type { StateMarks } from "./state-marks.ts";
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
export function pack(states: Uint8Array, marks: StateMarks): PackedStates {
  const unpacked = { symbols: new Uint8Array(0), states };
  if (states.length < MIN_PACKED_BYTES) return unpacked;
  const table = train(states, marks);
  const symbols = table.encode();
  const packed = rewrite(states, marks, table);
  return symbols.length + packed.length < states.length ? { symbols, states: packed } : unpacked;
}

/** Gathers stretches from all over the states, and trains symbols on them. */
function train(states: Uint8Array, marks: StateMarks): SymbolTable {
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
    if (start > 0) while (pos < end && !marks.has(states.length - pos)) pos++;
    while (pos < end) {
      const element = states[pos];
      if (marks.has(states.length - pos)) ends.push(length);
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
function rewrite(states: Uint8Array, marks: StateMarks, table: SymbolTable): Uint8Array {
  const { length } = states;
  const writer = new StateWriter(length);
  const coder = new SymbolCoder(table);
  const branch = new Branch();
  const transitions = new Transitions();
  const addresses = marks.countTargets();
  let targetsSeen = 0;
  /** The new address of the element at `pos`, which must be a target. */
  const moved = (pos: number): number => addresses[marks.targetsBelow(length - pos)];
  // What lies from here on has been written.
  let limit = length;
  for (let address = marks.next(0); address >= 0; address = marks.next(address)) {
    const pos = length - address;
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
          target === END_TARGET ? END_ADDRESS : moved(target),
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
      if (isGoto(element)) writer.follow(moved(gotoTarget(states, pos)));
      else writer.element(element);
    }
    if (marks.isTarget(address)) addresses[targetsSeen++] = writer.length;
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
