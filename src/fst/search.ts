/**
 * FrozenSearch: the keys of a frozen layer that an automaton matches, in order.
 *
 * A depth-first walk over the states of the layer and of the automaton at once: it goes down a
 * transition only if the automaton lives through its bytes. So it visits the beginnings of keys
 * that could still match, and of nothing else. A range of ordinals cuts off what lies before and
 * after it: the counts of a branch say which ordinals lie below each transition.
 *
 * The stack holds a place for every branch on the way down, with the transition to try next; when
 * the walk goes backward, also one for every final state, whose key comes after all that go on.
 */
import { type Automaton, DEAD } from "../search/automaton.ts";
import { Branch, END_TARGET, gotoTarget } from "./elements.ts";
import { BRANCH, END, ESCAPE, FINAL, GOTO, MAX_SYMBOL_BYTES, MAX_SYMBOLS } from "./format.ts";
import type { StateReader } from "./state-reader.ts";

/** What a walk returns when nothing below matches. */
const NOWHERE = -2;

/**
 * States whose steps by a symbol are remembered: patterns that hold for most keys have few states,
 * and without this they take a half more time. More would make short searches longer.
 */
const CACHED_STATES = 64;
const UNKNOWN = -1;

/** Fields of a place on the stack. */
const POSITION = 0;
/** The transition to try next. */
const INDEX = 1;
const KEY_LENGTH = 2;
const STATE = 3;
/** Ordinal of the first key below. */
const LOW = 4;
const FIELDS = 5;

export class FrozenSearch {
  /** Buffer whose first `keyLength` bytes are the key that `next` found. */
  readonly key: Uint8Array;
  keyLength: number;
  /** Its rank. */
  ordinal: number;

  /** The key's bytes again: see FrozenCursor. */
  private readonly view: DataView;
  private readonly reader: StateReader;
  private readonly automaton: Automaton;
  private readonly branch: Branch;
  /** By state, if it is below CACHED_STATES, and symbol: the state after it, or UNKNOWN. */
  private readonly steps: Int32Array;
  /** Only keys with ordinals from `start` up to, but not including, `end`. */
  private readonly start: number;
  private readonly end: number;
  private readonly isReverse: boolean;
  private stack: Int32Array;
  private depth: number;
  /** Where the walk goes on: a position with the state and the ordinal there, or NOWHERE. */
  private position: number;
  private state: number;
  private low: number;

  constructor(
    reader: StateReader,
    automaton: Automaton,
    start: number,
    end: number,
    isReverse: boolean,
  ) {
    this.key = new Uint8Array(reader.longestKeyBytes + MAX_SYMBOL_BYTES);
    this.view = new DataView(this.key.buffer);
    this.keyLength = 0;
    this.ordinal = 0;
    this.reader = reader;
    this.automaton = automaton;
    this.branch = new Branch();
    this.steps = new Int32Array(CACHED_STATES * MAX_SYMBOLS).fill(UNKNOWN);
    this.start = start;
    this.end = end;
    this.isReverse = isReverse;
    this.stack = new Int32Array(32 * FIELDS);
    this.depth = 0;
    this.position = start < end && automaton.start !== DEAD ? 0 : NOWHERE;
    this.state = automaton.start;
    this.low = 0;
  }

  /** Moves to the next key that matches; false if there is none. */
  next(): boolean {
    do {
      if (this.position !== NOWHERE && this.descend()) return true;
    } while (this.ascend());
    return false;
  }

  /**
   * Goes down from `position`. True at a key that matches, with the place to go on from in
   * `position`. False where the automaton died, and at a branch, which is put on the stack.
   */
  private descend(): boolean {
    const { reader, automaton, key, view, steps, isReverse } = this;
    const { states, longestKeyBytes: longest } = reader;
    const { lengths, words } = reader.symbols;
    let pos = this.position;
    let state = this.state;
    let low = this.low;
    let length = this.keyLength;
    this.position = NOWHERE;
    while (pos !== END_TARGET) {
      const element = states[pos];
      if (element < GOTO) {
        if (length > longest) throw this.lengthError(pos);
        const cached = state < CACHED_STATES ? steps[state * MAX_SYMBOLS + element] : UNKNOWN;
        state = cached === UNKNOWN ? this.stepSymbol(state, element) : cached;
        if (state === DEAD) return false;
        view.setInt32(length, words[2 * element], true);
        view.setInt32(length + 4, words[2 * element + 1], true);
        length += lengths[element];
        pos++;
      } else if (element >= BRANCH) {
        this.branch.read(states, pos);
        this.push(pos, isReverse ? this.branch.count - 1 : 0, length, state, low);
        return false;
      } else if (element === END) {
        break;
      } else if (element === FINAL) {
        if (isReverse) {
          this.push(pos, 0, length, state, low);
        } else if (this.arrive(length, state, low)) {
          this.position = pos + 1;
          this.state = state;
          this.low = low + 1;
          return true;
        }
        low++;
        pos++;
      } else if (element === ESCAPE) {
        state = automaton.step(state, states[pos + 1]);
        if (state === DEAD) return false;
        key[length++] = states[pos + 1];
        pos += 2;
      } else if (element < ESCAPE) {
        pos = gotoTarget(states, pos);
      } else {
        throw reader.damage(pos, "an element");
      }
    }
    return this.arrive(length, state, low);
  }

  /** The state after all bytes of a symbol, which is remembered for the states with low numbers. */
  private stepSymbol(state: number, symbol: number): number {
    const { starts, bytes } = this.reader.symbols;
    let next = state;
    for (let at = starts[symbol]; at < starts[symbol + 1] && next !== DEAD; at++) {
      next = this.automaton.step(next, bytes[at]);
    }
    if (state < CACHED_STATES) this.steps[state * MAX_SYMBOLS + symbol] = next;
    return next;
  }

  /** Sets `position` to what comes next of the deepest place on the stack that has it. */
  private ascend(): boolean {
    while (this.depth > 0) {
      const top = (this.depth - 1) * FIELDS;
      if (this.isReverse && this.reader.states[this.stack[top + POSITION]] === FINAL) {
        this.depth--;
        this.position = END_TARGET;
        this.state = this.stack[top + STATE];
        this.low = this.stack[top + LOW];
        this.keyLength = this.stack[top + KEY_LENGTH];
        return true;
      }
      if (this.isReverse ? this.takePrevious(top) : this.takeNext(top)) return true;
      this.depth--;
    }
    return false;
  }

  /** Takes the next transition of the branch at `top` that could lead to a match. */
  private takeNext(top: number): boolean {
    const { branch, stack, start, end } = this;
    const { states } = this.reader;
    branch.read(states, stack[top + POSITION]);
    const low = stack[top + LOW];
    for (let index = stack[top + INDEX]; index < branch.count; index++) {
      if (low + branch.keysBefore(states, index) >= end) return false;
      const isBefore =
        index < branch.count - 1 && low + branch.keysBefore(states, index + 1) <= start;
      if (!isBefore && this.take(top, index)) {
        stack[top + INDEX] = index + 1;
        return true;
      }
    }
    return false;
  }

  /** The same, towards the first. */
  private takePrevious(top: number): boolean {
    const { branch, stack, start, end } = this;
    const { states } = this.reader;
    branch.read(states, stack[top + POSITION]);
    const low = stack[top + LOW];
    for (let index = stack[top + INDEX]; index >= 0; index--) {
      const isBefore =
        index < branch.count - 1 && low + branch.keysBefore(states, index + 1) <= start;
      if (isBefore) return false;
      if (low + branch.keysBefore(states, index) < end && this.take(top, index)) {
        stack[top + INDEX] = index - 1;
        return true;
      }
    }
    return false;
  }

  /** Takes the transition of the branch just read, unless the automaton dies of its label. */
  private take(top: number, index: number): boolean {
    const { branch, stack } = this;
    const { states } = this.reader;
    const label = states[branch.labels + index];
    const state = this.automaton.step(stack[top + STATE], label);
    if (state === DEAD) return false;
    const length = stack[top + KEY_LENGTH];
    this.key[length] = label;
    this.keyLength = length + 1;
    this.state = state;
    this.low = stack[top + LOW] + branch.keysBefore(states, index);
    this.position = branch.target(states, index);
    return true;
  }

  /** Makes a key that ends here the current one, if it matches and is within the range. */
  private arrive(length: number, state: number, ordinal: number): boolean {
    if (ordinal < this.start || ordinal >= this.end || !this.automaton.isMatch(state)) return false;
    if (length > this.reader.longestKeyBytes) throw this.lengthError(0);
    this.keyLength = length;
    this.ordinal = ordinal;
    return true;
  }

  private push(pos: number, index: number, length: number, state: number, low: number): void {
    const top = this.depth * FIELDS;
    if (top === this.stack.length) this.grow();
    const { stack } = this;
    stack[top + POSITION] = pos;
    stack[top + INDEX] = index;
    stack[top + KEY_LENGTH] = length;
    stack[top + STATE] = state;
    stack[top + LOW] = low;
    this.depth++;
  }

  private lengthError(pos: number): Error {
    return this.reader.damage(pos, `keys of at most ${this.reader.longestKeyBytes} bytes`);
  }

  private grow(): void {
    // A byte of a key leaves at most a branch and a final state behind it.
    if (this.depth > 2 * (this.reader.longestKeyBytes + 1)) throw this.lengthError(0);
    const grown = new Int32Array(this.stack.length * 2);
    grown.set(this.stack);
    this.stack = grown;
  }
}
