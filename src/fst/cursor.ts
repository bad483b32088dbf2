/**
 * FrozenCursor: a position among the keys of a frozen layer, that moves both ways.
 *
 * The path from the root to the current key is a stack of the places where it could go another
 * way: a branch with the index of the transition taken, and a final state that it goes on from (the
 * key that ends there comes before all that go on). The next key is the first below the next
 * transition of the deepest branch that has one; the previous key is the last below the one before,
 * or the final state itself. Stretches without a choice are not on the stack.
 *
 * Invariants:
 * 1. `key[0, keyLength)` is the current key, and `ordinal` its rank.
 * 2. The stack has a place for every choice above the current key, none for the key's own end.
 */

import { Branch, END_TARGET, gotoTarget } from "./elements.ts";
import { BRANCH, END, ESCAPE, FINAL, GOTO, MAX_SYMBOL_BYTES } from "./format.ts";
import type { StateReader } from "./state-reader.ts";

/** Choices on the stack to begin with; the keys of a dictionary seldom have more than a dozen. */
const INITIAL_DEPTH = 32;

/** The transition taken from a final state that is no branch. */
const FINAL_INDEX = -1;

export class FrozenCursor {
  /** Whether the cursor is at a key. */
  isValid: boolean;
  /** Buffer whose first `keyLength` bytes are the current key; valid until the cursor moves. */
  readonly key: Uint8Array;
  keyLength: number;
  /** Rank of the current key. */
  ordinal: number;

  /**
   * The key's bytes again. A symbol is written as two words, whatever its length, and the next one
   * over what is too much: a loop over its bytes would end where no processor can foresee, and
   * take a quarter more time for a scan. The key has room for that beyond the longest one.
   */
  private readonly view: DataView;
  private readonly reader: StateReader;
  private readonly branch: Branch;
  /**
   * The stack: position of the choice, length of the key up to it, the transition taken (FINAL_INDEX
   * for a final state), and how many transitions come after. With these two a move passes over
   * choices that are used up without a look at their bytes.
   */
  private positions: Int32Array;
  private keyLengths: Int32Array;
  private indexes: Int32Array;
  private remaining: Int32Array;
  private depth: number;
  /** Where the current key ends, if others go on from there; else -1. */
  private finalPosition: number;

  constructor(reader: StateReader) {
    this.isValid = false;
    this.key = new Uint8Array(reader.longestKeyBytes + MAX_SYMBOL_BYTES);
    this.view = new DataView(this.key.buffer);
    this.keyLength = 0;
    this.ordinal = 0;
    this.reader = reader;
    this.branch = new Branch();
    this.positions = new Int32Array(INITIAL_DEPTH);
    this.keyLengths = new Int32Array(INITIAL_DEPTH);
    this.indexes = new Int32Array(INITIAL_DEPTH);
    this.remaining = new Int32Array(INITIAL_DEPTH);
    this.depth = 0;
    this.finalPosition = -1;
  }

  /** Moves to the first key. */
  seekToFirst(): void {
    this.seekToOrdinal(0);
  }

  /** Moves to the last key. */
  seekToLast(): void {
    this.seekToOrdinal(this.reader.keyCount - 1);
  }

  /** Moves to the first key at or after key[0, length); off the end if there is none. */
  seek(key: Uint8Array, length: number): void {
    this.seekToOrdinal(this.reader.rank(key, length));
  }

  /** Moves to the last key at or before key[0, length); off the end if there is none. */
  seekForPrev(key: Uint8Array, length: number): void {
    const rank = this.reader.rank(key, length);
    this.seekToOrdinal(this.reader.isFound ? rank : rank - 1);
  }

  /** Moves to the key with this rank; off the end if there is none. */
  seekToOrdinal(ordinal: number): void {
    this.depth = 0;
    this.ordinal = ordinal;
    this.isValid = Number.isInteger(ordinal) && ordinal >= 0 && ordinal < this.reader.keyCount;
    if (!this.isValid) return;
    const { reader, branch, key, view } = this;
    const longest = reader.longestKeyBytes;
    const { states } = reader;
    const { lengths, words } = reader.symbols;
    // Keys at the current place that come before the one sought.
    let before = ordinal;
    let length = 0;
    let pos = 0;
    for (;;) {
      const element = states[pos];
      if (element < GOTO) {
        if (length > longest) throw this.lengthError(pos);
        view.setInt32(length, words[2 * element], true);
        view.setInt32(length + 4, words[2 * element + 1], true);
        length += lengths[element];
        pos++;
      } else if (element >= BRANCH) {
        branch.read(states, pos);
        const index = branch.lastWithKeysBefore(states, before);
        before -= branch.keysBefore(states, index);
        this.push(pos, length, index, branch.count - 1 - index);
        key[length++] = states[branch.labels + index];
        pos = branch.target(states, index);
        if (pos === END_TARGET) break;
      } else if (element === END) {
        break;
      } else if (element === FINAL) {
        if (before === 0) break;
        before--;
        this.push(pos, length, FINAL_INDEX, 0);
        pos++;
      } else if (element === ESCAPE) {
        key[length++] = states[pos + 1];
        pos += 2;
      } else if (element < ESCAPE) {
        pos = gotoTarget(states, pos);
      } else {
        throw reader.damage(pos, "an element");
      }
    }
    if (before !== 0) throw reader.damage(pos, "counts that add up to the keys");
    this.arrive(pos, length);
  }

  /** Moves to the next key; off the end after the last. The cursor must be at a key. */
  next(): void {
    this.ordinal++;
    if (this.finalPosition >= 0) {
      this.push(this.finalPosition, this.keyLength, FINAL_INDEX, 0);
      this.descendToFirst(this.finalPosition + 1, this.keyLength);
      return;
    }
    const { remaining } = this;
    let top = this.depth - 1;
    while (top >= 0 && remaining[top] === 0) top--;
    if (top < 0) {
      this.isValid = false;
      return;
    }
    const { branch } = this;
    const { states } = this.reader;
    const index = this.indexes[top] + 1;
    this.indexes[top] = index;
    remaining[top]--;
    this.depth = top + 1;
    branch.read(states, this.positions[top]);
    const length = this.keyLengths[top];
    this.key[length] = states[branch.labels + index];
    this.descendToFirst(branch.target(states, index), length + 1);
  }

  /** Moves to the previous key; off the end before the first. The cursor must be at a key. */
  prev(): void {
    this.ordinal--;
    const { indexes } = this;
    let top = this.depth - 1;
    while (top >= 0 && indexes[top] === 0) top--;
    if (top < 0) {
      this.isValid = false;
      return;
    }
    const { branch } = this;
    const { states } = this.reader;
    const length = this.keyLengths[top];
    if (indexes[top] === FINAL_INDEX) {
      this.depth = top;
      this.arrive(this.positions[top], length);
      return;
    }
    const index = indexes[top] - 1;
    indexes[top] = index;
    this.remaining[top]++;
    this.depth = top + 1;
    branch.read(states, this.positions[top]);
    this.key[length] = states[branch.labels + index];
    this.descendToLast(branch.target(states, index), length + 1);
  }

  /** Moves to the first key below `start`, which key[0, keyLength) leads to. */
  private descendToFirst(start: number, keyLength: number): void {
    const { reader, branch, key, view } = this;
    const longest = reader.longestKeyBytes;
    const { states } = reader;
    const { lengths, words } = reader.symbols;
    let length = keyLength;
    let pos = start;
    while (pos !== END_TARGET) {
      const element = states[pos];
      if (element < GOTO) {
        if (length > longest) throw this.lengthError(pos);
        view.setInt32(length, words[2 * element], true);
        view.setInt32(length + 4, words[2 * element + 1], true);
        length += lengths[element];
        pos++;
      } else if (element >= BRANCH) {
        branch.read(states, pos);
        this.push(pos, length, 0, branch.count - 1);
        key[length++] = states[branch.labels];
        pos = branch.target(states, 0);
      } else if (element === END || element === FINAL) {
        break;
      } else if (element === ESCAPE) {
        key[length++] = states[pos + 1];
        pos += 2;
      } else if (element < ESCAPE) {
        pos = gotoTarget(states, pos);
      } else {
        throw reader.damage(pos, "an element");
      }
    }
    this.arrive(pos, length);
  }

  /**
   * Moves to the last key below `start`, which key[0, keyLength) leads to. (One loop for both ways
   * makes a scan forward 8 % slower: bench frozen-layer, URLs.)
   */
  private descendToLast(start: number, keyLength: number): void {
    const { reader, branch, key, view } = this;
    const longest = reader.longestKeyBytes;
    const { states } = reader;
    const { lengths, words } = reader.symbols;
    let length = keyLength;
    let pos = start;
    while (pos !== END_TARGET) {
      const element = states[pos];
      if (element < GOTO) {
        if (length > longest) throw this.lengthError(pos);
        view.setInt32(length, words[2 * element], true);
        view.setInt32(length + 4, words[2 * element + 1], true);
        length += lengths[element];
        pos++;
      } else if (element >= BRANCH) {
        branch.read(states, pos);
        const index = branch.count - 1;
        this.push(pos, length, index, 0);
        key[length++] = states[branch.labels + index];
        pos = branch.end;
      } else if (element === END) {
        break;
      } else if (element === FINAL) {
        this.push(pos, length, FINAL_INDEX, 0);
        pos++;
      } else if (element === ESCAPE) {
        key[length++] = states[pos + 1];
        pos += 2;
      } else if (element < ESCAPE) {
        pos = gotoTarget(states, pos);
      } else {
        throw reader.damage(pos, "an element");
      }
    }
    this.arrive(pos, length);
  }

  /** Makes the key that ends at `pos`, an END or a FINAL, the current one. */
  private arrive(pos: number, length: number): void {
    const { reader } = this;
    if (length > reader.longestKeyBytes) throw this.lengthError(pos);
    this.keyLength = length;
    this.finalPosition = pos !== END_TARGET && reader.states[pos] === FINAL ? pos : -1;
  }

  private push(pos: number, length: number, index: number, remaining: number): void {
    const top = this.depth;
    if (top === this.positions.length) this.grow();
    this.positions[top] = pos;
    this.keyLengths[top] = length;
    this.indexes[top] = index;
    this.remaining[top] = remaining;
    this.depth = top + 1;
  }

  private lengthError(pos: number): Error {
    return this.reader.damage(pos, `keys of at most ${this.reader.longestKeyBytes} bytes`);
  }

  private grow(): void {
    const { reader, depth } = this;
    // A byte of a key leaves at most a branch and a final state behind it.
    if (depth > 2 * (reader.longestKeyBytes + 1)) throw this.lengthError(this.positions[depth - 1]);
    this.positions = copyDoubled(this.positions);
    this.keyLengths = copyDoubled(this.keyLengths);
    this.indexes = copyDoubled(this.indexes);
    this.remaining = copyDoubled(this.remaining);
  }
}

function copyDoubled(values: Int32Array): Int32Array {
  const doubled = new Int32Array(values.length * 2);
  doubled.set(values);
  return doubled;
}
