/**
 * startsWith: the keys that begin with given bytes.
 */
import { InvalidArgumentError } from "../errors.ts";
import { type Automaton, DEAD } from "./automaton.ts";

/** Matches the keys that begin with `prefix`, given as bytes or as text in UTF-8. */
export function startsWith(prefix: string | Uint8Array): Automaton {
  if (typeof prefix === "string") return new StartsWith(new TextEncoder().encode(prefix));
  if (prefix instanceof Uint8Array) return new StartsWith(new Uint8Array(prefix));
  throw new InvalidArgumentError(`a prefix is a string or a Uint8Array, not ${typeof prefix}`);
}

/** The state is one more than the bytes that were matched. */
class StartsWith implements Automaton {
  readonly start: number;
  private readonly prefix: Uint8Array;

  constructor(prefix: Uint8Array) {
    this.start = 1;
    this.prefix = prefix;
  }

  step(state: number, byte: number): number {
    if (state > this.prefix.length) return state;
    return state !== DEAD && this.prefix[state - 1] === byte ? state + 1 : DEAD;
  }

  isMatch(state: number): boolean {
    return state > this.prefix.length;
  }
}
