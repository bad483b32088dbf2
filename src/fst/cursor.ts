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
import { BRANCH, END, ESCAPE, FINAL, GOTO } from "./format.ts";
import type { StateReader } from "./reader.ts";
import { Branch, END_TARGET, gotoTarget } from "./state-reader.ts";

/** Choices on the stack to begin with; the keys of a dictionary seldom have more than a dozen. */
const INITIAL_DEPTH = 32;

export class FrozenCursor {
  /** Whether the cursor is at a key. */
  isValid: boolean;
  /** Buffer whose first `keyLength` bytes are the current key; valid until the cursor moves. */
  readonly key: Uint8Array;
  keyLength: number;
  /** Rank of the current key. */
  ordinal: number;

  private readonly reader: StateReader;
  private readonly branch: Branch;
  /** The stack: position of the choice, length of the key up to it, and transition taken. */
  private positions: Int32Array;
  private keyLengths: Int32Array;
  private indexes: Int32Array;
  private depth: number;
  /** Where the current key ends, if others go on from there; else -1. */
  private finalPosition: number;

  constructor(reader: StateReader) {
    this.isValid = false;
    this.key = new Uint8Array(reader.longestKeyBytes);
    this.keyLength = 0;
    this.ordinal = 0;
    this.reader = reader;
    this.branch = new Branch();
    this.positions = new Int32Array(INITIAL_DEPTH);
    this.keyLengths = new Int32Array(INITIAL_DEPTH);
    this.indexes = new Int32Array(INITIAL_DEPTH);
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
    this.isValid = ordinal >= 0 && ordinal < this.reader.keyCount;
    if (!this.isValid) return;
    const { reader, branch, key } = this;
    const { states } = reader;
    const { starts, bytes } = reader.symbols;
    // Keys at the current place that come before the one sought.
    let before = ordinal;
    let length = 0;
    let pos = 0;
    for (;;) {
      const element = states[pos];
      if (element < GOTO) {
        const end = starts[element + 1];
        for (let at = starts[element]; at < end; at++) key[length++] = bytes[at];
        pos++;
      } else if (element >= BRANCH) {
        branch.read(states, pos);
        const index = branch.lastWithKeysBefore(states, before);
        before -= branch.keysBefore(states, index);
        this.push(pos, length, index);
        key[length++] = states[branch.labels + index];
        pos = branch.target(states, index);
        if (pos === END_TARGET) break;
      } else if (element === END) {
        break;
      } else if (element === FINAL) {
        if (before === 0) break;
        before--;
        this.push(pos, length, 0);
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
    const { branch, key, positions, indexes, keyLengths } = this;
    const { states } = this.reader;
    this.ordinal++;
    if (this.finalPosition >= 0) {
      this.push(this.finalPosition, this.keyLength, 0);
      this.descendToFirst(this.finalPosition + 1, this.keyLength);
      return;
    }
    for (let top = this.depth - 1; top >= 0; top--) {
      const pos = positions[top];
      if (states[pos] === FINAL) continue;
      branch.read(states, pos);
      const index = indexes[top] + 1;
      if (index === branch.count) continue;
      indexes[top] = index;
      this.depth = top + 1;
      const length = keyLengths[top];
      key[length] = states[branch.labels + index];
      this.descendToFirst(branch.target(states, index), length + 1);
      return;
    }
    this.isValid = false;
  }

  /** Moves to the previous key; off the end before the first. The cursor must be at a key. */
  prev(): void {
    const { branch, key, positions, indexes, keyLengths } = this;
    const { states } = this.reader;
    this.ordinal--;
    for (let top = this.depth - 1; top >= 0; top--) {
      const pos = positions[top];
      const length = keyLengths[top];
      if (states[pos] === FINAL) {
        this.depth = top;
        this.arrive(pos, length);
        return;
      }
      const index = indexes[top] - 1;
      if (index < 0) continue;
      indexes[top] = index;
      this.depth = top + 1;
      branch.read(states, pos);
      key[length] = states[branch.labels + index];
      this.descendToLast(branch.target(states, index), length + 1);
      return;
    }
    this.isValid = false;
  }

  /** Moves to the first key below `start`, which key[0, keyLength) leads to. */
  private descendToFirst(start: number, keyLength: number): void {
    const { reader, branch, key } = this;
    const { states } = reader;
    const { starts, bytes } = reader.symbols;
    let length = keyLength;
    let pos = start;
    while (pos !== END_TARGET) {
      const element = states[pos];
      if (element < GOTO) {
        const end = starts[element + 1];
        for (let at = starts[element]; at < end; at++) key[length++] = bytes[at];
        pos++;
      } else if (element >= BRANCH) {
        branch.read(states, pos);
        this.push(pos, length, 0);
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

  /** Moves to the last key below `start`, which key[0, keyLength) leads to. */
  private descendToLast(start: number, keyLength: number): void {
    const { reader, branch, key } = this;
    const { states } = reader;
    const { starts, bytes } = reader.symbols;
    let length = keyLength;
    let pos = start;
    while (pos !== END_TARGET) {
      const element = states[pos];
      if (element < GOTO) {
        const end = starts[element + 1];
        for (let at = starts[element]; at < end; at++) key[length++] = bytes[at];
        pos++;
      } else if (element >= BRANCH) {
        branch.read(states, pos);
        const index = branch.count - 1;
        this.push(pos, length, index);
        key[length++] = states[branch.labels + index];
        pos = branch.end;
      } else if (element === END) {
        break;
      } else if (element === FINAL) {
        this.push(pos, length, 0);
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
    // Bytes beyond the buffer's end were dropped, so the check may come last.
    if (length > this.key.length) {
      throw reader.damage(pos, `keys of at most ${this.key.length} bytes`);
    }
    this.keyLength = length;
    this.finalPosition = pos !== END_TARGET && reader.states[pos] === FINAL ? pos : -1;
  }

  private push(pos: number, length: number, index: number): void {
    const top = this.depth;
    if (top === this.positions.length) this.grow();
    this.positions[top] = pos;
    this.keyLengths[top] = length;
    this.indexes[top] = index;
    this.depth = top + 1;
  }

  private grow(): void {
    const { reader, depth } = this;
    // A byte of a key leaves at most a branch and a final state behind it.
    if (depth > 2 * (this.key.length + 1)) {
      throw reader.damage(this.positions[depth - 1], `keys of at most ${this.key.length} bytes`);
    }
    this.positions = copyDoubled(this.positions);
    this.keyLengths = copyDoubled(this.keyLengths);
    this.indexes = copyDoubled(this.indexes);
  }
}

function copyDoubled(values: Int32Array): Int32Array {
  const doubled = new Int32Array(values.length * 2);
  doubled.set(values);
  return doubled;
}
