/**
 * StateReader: walks the states of a frozen layer for a key.
 *
 * A walk knows `low` and `high`: the keys that it can still reach have the ordinals from `low` up
 * to, but not including, `high`. A branch narrows them by its counts, a final state passed through
 * adds one to `low`. Where the walk gets stuck, every key still in reach sorts on one side of the
 * key sought, so that one of the two is its rank: a miss costs no more than a hit.
 */
import { BRANCH, damaged, END, ESCAPE, FINAL, GOTO } from "./format.ts";
import { Branch, END_TARGET, gotoTarget } from "./state-reader.ts";
import type { SymbolTable } from "./symbols.ts";

export class StateReader {
  readonly states: Uint8Array;
  readonly symbols: SymbolTable;
  readonly keyCount: number;
  readonly longestKeyBytes: number;
  /** Whether the key that `rank` was last asked for is there. */
  isFound: boolean;

  private readonly branch: Branch;
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
    this.branch = new Branch();
    this.file = file;
    this.offset = offset;
  }

  /** Number of keys that sort before key[0, length); sets `isFound`. */
  rank(key: Uint8Array, length: number): number {
    const { states, branch } = this;
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
        const label = key[matched++];
        branch.read(states, pos);
        const index = branch.firstAtOrAbove(states, label);
        if (index === branch.count) return high;
        if (index < branch.count - 1) high = low + branch.keysBefore(states, index + 1);
        low += branch.keysBefore(states, index);
        if (states[branch.labels + index] !== label) return low;
        pos = branch.target(states, index);
        if (pos === END_TARGET) {
          this.isFound = matched === length;
          return this.isFound ? low : high;
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
