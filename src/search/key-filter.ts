/**
 * KeyFilter: runs an automaton over ascending keys, and says how far ahead the next that could
 * match lies. It makes any ordered source that can seek searchable.
 *
 * It remembers the state after every byte of the last key, so that a key costs only the bytes in
 * which it differs. Where the automaton dies in the middle of a key, no key with the same beginning
 * matches; the next candidate is the least byte string after all of these that the automaton lives
 * through: the longest beginning that can be followed by a greater byte, and the least such byte.
 *
 * How to use it, for a cursor with keys in ascending order:
 *
 * ```ts
 * while (cursor.isValid) {
 *   if (filter.test(cursor.key, cursor.keyLength)) yield cursor;   // a match
 *   if (!filter.isDead) cursor.next();                             // longer keys may match
 *   else if (filter.findNext()) cursor.seek(filter.nextKey, filter.nextKeyLength);
 *   else break;                                                    // no greater key matches
 * }
 * ```
 *
 * A seek costs more than a step to the next key, so a source may take some steps first.
 */
import { commonPrefixLength } from "../bytes/compare.ts";
import { type Automaton, DEAD } from "./automaton.ts";

/** Keys at first; the arrays grow with the keys. */
const INITIAL_BYTES = 256;

export class KeyFilter {
  /** Whether no key matches that begins like the key tested last, up to where it died. */
  isDead: boolean;
  /** After `findNext`: the buffer whose first `nextKeyLength` bytes are the next candidate. */
  nextKey: Uint8Array;
  nextKeyLength: number;

  private readonly automaton: Automaton;
  /** The key tested last, as far as the automaton lived, and the state before each of its bytes. */
  private key: Uint8Array;
  private states: Int32Array;
  private liveLength: number;
  /** The byte it died of. */
  private deadlyByte: number;

  constructor(automaton: Automaton) {
    this.automaton = automaton;
    this.isDead = automaton.start === DEAD;
    this.nextKey = new Uint8Array(INITIAL_BYTES);
    this.nextKeyLength = 0;
    this.key = new Uint8Array(INITIAL_BYTES);
    this.states = new Int32Array(INITIAL_BYTES + 1);
    this.states[0] = automaton.start;
    this.liveLength = 0;
    this.deadlyByte = 0;
  }

  /** Whether key[0, length) matches; sets `isDead`. */
  test(key: Uint8Array, length: number): boolean {
    if (length > this.key.length) this.grow(length);
    const { automaton, states } = this;
    const kept = this.key;
    let at = commonPrefixLength(key, 0, length, kept, 0, this.liveLength);
    let state = states[at];
    this.isDead = state === DEAD;
    while (at < length && state !== DEAD) {
      const byte = key[at];
      state = automaton.step(state, byte);
      if (state === DEAD) {
        this.isDead = true;
        this.deadlyByte = byte;
        break;
      }
      kept[at++] = byte;
      states[at] = state;
    }
    this.liveLength = at;
    return !this.isDead && automaton.isMatch(state);
  }

  /**
   * After a test that set `isDead`: finds the least byte string that is greater than all that begin
   * like the key did where it died, and that the automaton lives through. False if there is none.
   */
  findNext(): boolean {
    const { automaton, states, key } = this;
    if (automaton.start === DEAD) return false;
    let byte = this.deadlyByte;
    for (let length = this.liveLength; length >= 0; length--) {
      const state = states[length];
      for (let greater = byte + 1; greater < 256; greater++) {
        if (automaton.step(state, greater) === DEAD) continue;
        this.nextKey.set(key.subarray(0, length));
        this.nextKey[length] = greater;
        this.nextKeyLength = length + 1;
        return true;
      }
      if (length > 0) byte = key[length - 1];
    }
    return false;
  }

  private grow(length: number): void {
    const capacity = Math.max(length, 2 * this.key.length);
    const key = new Uint8Array(capacity);
    key.set(this.key);
    this.key = key;
    // A candidate may be as long as the key, since its last byte takes the place of the deadly one.
    this.nextKey = new Uint8Array(capacity);
    const states = new Int32Array(capacity + 1);
    states.set(this.states);
    this.states = states;
  }
}
