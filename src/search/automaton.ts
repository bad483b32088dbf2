/**
 * Automaton: a question about keys that is answered byte by byte, which is what a search asks an
 * ordered structure with.
 *
 * A search carries a state along as it goes down a trie, a transducer, or from one sorted key to
 * the next. Where the state is DEAD no key that goes on from there matches, whatever its bytes, so
 * the search turns back at once: its cost follows the keys that could match, not all keys.
 *
 * States are integers from 0 to 2^31 - 1, so that a stack of them is an Int32Array. An automaton
 * keeps nothing between calls: one may serve many searches, and any thread that has a copy.
 */

/** The state from which no key matches. */
export const DEAD = 0;

export interface Automaton {
  /** The state before the first byte; DEAD if nothing matches. */
  readonly start: number;

  /** The state after `byte` in `state`. From DEAD it is DEAD. */
  step(state: number, byte: number): number;

  /** Whether a key that ends in `state` matches. */
  isMatch(state: number): boolean;
}

/** Whether a whole key matches. */
export function matches(automaton: Automaton, key: Uint8Array): boolean {
  let state = automaton.start;
  for (let i = 0; i < key.length && state !== DEAD; i++) state = automaton.step(state, key[i]);
  return state !== DEAD && automaton.isMatch(state);
}
