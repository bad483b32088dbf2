/**
 * Reading the elements of states in place; state-writer.ts is the other half, format.ts draws them.
 *
 * Positions count from the start of the states. What is read is checked only where a wrong byte
 * could make a walk go back or run on for ever, and it cannot: every element leads forward. A walk
 * that leaves the states meets `undefined`, which is no element.
 */
import { BRANCH, COUNT_WIDTHS, GOTO } from "./format.ts";

/** Where a transition to END leads: no position, since END has none of its own there. */
export const END_TARGET = -1;

/** The fields of a BRANCH element; an object that is reused from branch to branch. */
export class Branch {
  /** Number of transitions, 2 to 257 (257 is no branch that was ever written). */
  count: number;
  /** Position of the first label. */
  labels: number;
  /** Position after the element, where the last transition leads. */
  end: number;
  /** Position of the first offset, and from one offset to the next. */
  private offsets: number;
  private stride: number;
  private offsetWidth: number;
  private keyCountWidth: number;

  constructor() {
    this.count = 0;
    this.labels = 0;
    this.end = 0;
    this.offsets = 0;
    this.stride = 0;
    this.offsetWidth = 0;
    this.keyCountWidth = 0;
  }

  /** Reads the branch at `pos`. */
  read(states: Uint8Array, pos: number): void {
    const element = states[pos];
    const countField = (element >> 4) & 3;
    const isWide = countField === 3;
    const count = (isWide ? states[pos + 1] : countField) + 2;
    const labels = pos + (isWide ? 2 : 1);
    const offsetWidth = ((element >> 2) & 3) + 1;
    const keyCountWidth = COUNT_WIDTHS[element & 3];
    const stride = offsetWidth + keyCountWidth;
    this.count = count;
    this.labels = labels;
    this.offsets = labels + count;
    this.stride = stride;
    this.offsetWidth = offsetWidth;
    this.keyCountWidth = keyCountWidth;
    this.end = labels + count + (count - 1) * stride;
  }

  /** Where transition `index` leads: a position, or END_TARGET. */
  target(states: Uint8Array, index: number): number {
    if (index === this.count - 1) return this.end;
    const offset = readInteger(states, this.offsets + index * this.stride, this.offsetWidth);
    return offset === 0 ? END_TARGET : this.end + offset - 1;
  }

  /** Keys below the transitions before `index`. */
  keysBefore(states: Uint8Array, index: number): number {
    const { keyCountWidth } = this;
    if (index === 0 || keyCountWidth === 0) return index;
    return readInteger(states, this.offsets + index * this.stride - keyCountWidth, keyCountWidth);
  }

  /** The last transition before which there are at most `count` keys. */
  lastWithKeysBefore(states: Uint8Array, count: number): number {
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.keysBefore(states, middle) <= count) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** Whether an element is a GOTO. */
export function isGoto(element: number): boolean {
  return element >= GOTO && element < GOTO + 4;
}

/** Position after the GOTO at `pos`. */
export function gotoEnd(states: Uint8Array, pos: number): number {
  return pos + 2 + states[pos] - GOTO;
}

/** Where the GOTO at `pos` leads. */
export function gotoTarget(states: Uint8Array, pos: number): number {
  const width = states[pos] - GOTO + 1;
  return pos + 1 + width + readInteger(states, pos + 1, width);
}

/** Whether an element is a BRANCH. */
export function isBranch(element: number): boolean {
  return element >= BRANCH;
}

/** Little-endian, of 1 to 4 bytes; never negative. */
export function readInteger(bytes: Uint8Array, pos: number, width: number): number {
  switch (width) {
    case 1:
      return bytes[pos];
    case 2:
      return bytes[pos] | (bytes[pos + 1] << 8);
    case 3:
      return bytes[pos] | (bytes[pos + 1] << 8) | (bytes[pos + 2] << 16);
    default:
      return (
        (bytes[pos] | (bytes[pos + 1] << 8) | (bytes[pos + 2] << 16) | (bytes[pos + 3] << 24)) >>> 0
      );
  }
}
