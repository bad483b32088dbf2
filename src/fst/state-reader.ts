/**
 * StateReader: walks the states of a frozen layer for a key.
 *
 * A walk knows `low` and `high`: the keys that it can still reach have the ordinals from `low` up
 * to, but not including, `high`. A branch narrows them by its counts, a final state passed through
 * adds one to `low`. Where the walk gets stuck, every key still in reach sorts on one side of the
 * key sought, so that one of the two is its rank: a miss costs no more than a hit.
 */

import { gotoTarget, readInteger } from "./elements.ts";
import { BRANCH, COUNT_WIDTHS, damaged, END, ESCAPE, FINAL, GOTO } from "./format.ts";
import type { SymbolTable } from "./symbols.ts";

/** Up to here a linear search of labels beats a binary one (bench frozen-layer). */
const LINEAR_SEARCH_LABELS = 8;

export class StateReader {
  readonly states: Uint8Array;
  readonly symbols: SymbolTable;
  readonly keyCount: number;
  readonly longestKeyBytes: number;
  /** Whether the key that `rank` was last asked for is there. */
  isFound: boolean;

  private readonly file: string;
  private readonly offset: number;

  /** `offset` is where the states lie in `file`: for errors alone. */
  constructor(
    states: Uint8Array,
    symbols: SymbolTable,
    keyCount: number,
    longestKeyBytes: number,
    file: string,
    offset: number,
  ) {
    this.states = states;
    this.symbols = symbols;
    this.keyCount = keyCount;
    this.longestKeyBytes = longestKeyBytes;
    this.isFound = false;
    this.file = file;
    this.offset = offset;
  }

  /** Number of keys that sort before key[0, length); sets `isFound`. */
  rank(key: Uint8Array, length: number): number {
    const { states } = this;
    const { starts, bytes } = this.symbols;
    this.isFound = false;
    if (this.keyCount === 0) return 0;
    let low = 0;
    let high = this.keyCount;
    let matched = 0;
    let pos = 0;
    for (;;) {
      const element = states[pos];
      if (element < GOTO) {
        let at = starts[element];
        const end = starts[element + 1];
        for (; at < end; at++, matched++) {
          if (matched === length) return low;
          const difference = key[matched] - bytes[at];
          if (difference !== 0) return difference < 0 ? low : high;
        }
        pos++;
      } else if (element >= BRANCH) {
        if (matched === length) return low;
        // What Branch does, in locals: a tenth less time for a whole look-up (bench fst, hit).
        const label = key[matched++];
        const countField = (element >> 4) & 3;
        const isWide = countField === 3;
        const last = (isWide ? states[pos + 1] : countField) + 1;
        const labels = pos + (isWide ? 2 : 1);
        let index = 0;
        if (last < LINEAR_SEARCH_LABELS) {
          while (index <= last && states[labels + index] < label) index++;
        } else {
          let end = last + 1;
          while (index < end) {
            const middle = (index + end) >>> 1;
            if (states[labels + middle] < label) index = middle + 1;
            else end = middle;
          }
        }
        if (index > last) return high;
        const width = ((element >> 2) & 3) + 1;
        const countWidth = COUNT_WIDTHS[element & 3];
        const stride = width + countWidth;
        const entry = labels + last + 1 + index * stride;
        if (index < last) {
          const before = entry + width;
          high = low + (countWidth === 0 ? index + 1 : readInteger(states, before, countWidth));
        }
        if (index > 0) {
          const before = entry - countWidth;
          low += countWidth === 0 ? index : readInteger(states, before, countWidth);
        }
        if (states[labels + index] !== label) return low;
        if (index === last) {
          pos = entry;
        } else {
          const offset = readInteger(states, entry, width);
          if (offset === 0) {
            this.isFound = matched === length;
            return this.isFound ? low : high;
          }
          pos = labels + last + 1 + last * stride + offset - 1;
        }
      } else if (element === END) {
        this.isFound = matched === length;
        return this.isFound ? low : high;
      } else if (element === FINAL) {
        if (matched === length) {
          this.isFound = true;
          return low;
        }
        low++;
        pos++;
      } else if (element === ESCAPE) {
        if (matched === length) return low;
        const difference = key[matched] - states[pos + 1];
        if (difference !== 0) return difference < 0 ? low : high;
        matched++;
        pos += 2;
      } else if (element < ESCAPE) {
        pos = gotoTarget(states, pos);
      } else {
        throw this.damage(pos, "an element");
      }
    }
  }

  /** An error for states that are not what a builder writes. `pos` counts from their start. */
  damage(pos: number, expected: string): Error {
    const actual = pos < this.states.length ? `byte ${this.states[pos]}` : "the end of the states";
    return damaged(this.file, this.offset + pos, expected, actual);
  }
}
