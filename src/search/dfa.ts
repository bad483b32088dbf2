/**
 * Dfa: the deterministic automaton of a pattern, as a table.
 *
 * A pattern first becomes a nondeterministic automaton over bytes (Thompson's construction), whose
 * states are then followed all at once: each set of states that some input leads to is one state
 * of the table (the subset construction). Afterwards matching costs one look-up a byte, and never
 * goes back. States from which no match can be reached become DEAD, so that a search turns back as
 * early as it can. Bytes that the pattern never tells apart are one class while the table is made.
 *
 * The table of a pattern can be exponential in its length, `.*a.{20}` for example. So its size and
 * the work of making it are bounded, and a pattern that would exceed the bounds is an error: no
 * pattern can take more than a fraction of a second or a few megabytes.
 *
 * Sources: K. Thompson, "Regular Expression Search Algorithm" (1968); M. Rabin and D. Scott, "Finite
 * Automata and Their Decision Problems" (1959).
 */
import { InvalidArgumentError } from "../errors.ts";
import { type Automaton, DEAD } from "./automaton.ts";
import { type CodePointRange, complement, type Pattern } from "./pattern.ts";
import { type ByteRange, utf8Sequences } from "./utf8.ts";

/** States of the nondeterministic automaton. */
const MAX_NFA_STATES = 50_000;

/**
 * Parts of the pattern that become states, and transitions, each as often as it is repeated. What
 * matches only the empty text becomes none: without this bound `(((){1000}){1000}){1000}` would be
 * repeated for hours.
 */
const MAX_ADDITIONS = 1_000_000;

/** States of the table, which takes 512 bytes for each. */
const MAX_DFA_STATES = 10_000;

/** States looked at while the table is made, about 50 million a second. */
const MAX_WORK = 20_000_000;

export class Dfa implements Automaton {
  readonly start: number;
  /** States, DEAD included. */
  readonly stateCount: number;
  /** By state and byte, the next state. */
  private readonly table: Uint16Array;
  private readonly accepting: Uint8Array;

  constructor(start: number, table: Uint16Array, accepting: Uint8Array) {
    this.start = start;
    this.stateCount = accepting.length;
    this.table = table;
    this.accepting = accepting;
  }

  step(state: number, byte: number): number {
    return this.table[(state << 8) | byte];
  }

  isMatch(state: number): boolean {
    return this.accepting[state] === 1;
  }
}

/**
 * The automaton of the keys that `pattern` matches as a whole, in UTF-8. `source` is what the user
 * wrote, for the InvalidArgumentError that is thrown when the automaton would be too large.
 */
export function compile(pattern: Pattern, source: string): Dfa {
  const nfa = new Nfa(source);
  const accept = nfa.addState();
  const start = nfa.add(pattern, accept);
  return trim(determinize(nfa, start, accept));
}

/**
 * A nondeterministic automaton: each state has transitions by a range of bytes, and states that it
 * is at the same time. Parts are added from the last to the first, each given what follows it.
 */
class Nfa {
  readonly source: string;
  /** By state: first byte, last byte and target of each transition, one after the other. */
  readonly transitions: number[][];
  /** By state: the states that being in it is being in as well. */
  readonly jumps: number[][];
  private additions: number;
  /** Of the sets of characters so far: one is added as often as it is repeated. */
  private readonly sequences: Map<readonly CodePointRange[], readonly ByteRange[][]>;

  constructor(source: string) {
    this.source = source;
    this.transitions = [];
    this.jumps = [];
    this.additions = 0;
    this.sequences = new Map();
  }

  addState(): number {
    if (this.transitions.length === MAX_NFA_STATES) throw tooLarge(this.source);
    this.transitions.push([]);
    this.jumps.push([]);
    return this.transitions.length - 1;
  }

  /** Adds `pattern` before the state `next`, and returns the state to begin it from. */
  add(pattern: Pattern, next: number): number {
    if (++this.additions > MAX_ADDITIONS) throw tooLarge(this.source);
    switch (pattern.kind) {
      case "characters":
        return this.addCharacters(pattern.ranges, next);
      case "sequence":
        return pattern.parts.reduceRight((target, part) => this.add(part, target), next);
      case "choice": {
        const start = this.addState();
        for (const option of pattern.options) this.jumps[start].push(this.add(option, next));
        return start;
      }
      case "repeat":
        return this.addRepeat(pattern.part, pattern.least, pattern.most, next);
    }
  }

  /** Endings that sequences of bytes have in common become the same states: `.` needs 8, not 20. */
  private addCharacters(ranges: readonly CodePointRange[], next: number): number {
    const start = this.addState();
    const endings = new Map<string, number>();
    const sequences = this.sequencesOf(ranges);
    this.additions += sequences.length;
    for (const sequence of sequences) {
      let target = next;
      for (let i = sequence.length - 1; i > 0; i--) {
        const { first, last } = sequence[i];
        const name = `${first} ${last} ${target}`;
        let state = endings.get(name);
        if (state === undefined) {
          state = this.addState();
          this.transitions[state].push(first, last, target);
          endings.set(name, state);
        }
        target = state;
      }
      this.transitions[start].push(sequence[0].first, sequence[0].last, target);
    }
    return start;
  }

  /** The bytes of the characters in any of the ranges, each once, however often the pattern names it. */
  private sequencesOf(ranges: readonly CodePointRange[]): readonly ByteRange[][] {
    let sequences = this.sequences.get(ranges);
    if (sequences === undefined) {
      sequences = complement(complement(ranges)).flatMap(utf8Sequences);
      this.sequences.set(ranges, sequences);
    }
    return sequences;
  }

  private addRepeat(part: Pattern, least: number, most: number, next: number): number {
    let start = next;
    if (most === Number.POSITIVE_INFINITY) {
      start = this.addState();
      this.jumps[start].push(this.add(part, start), next);
    } else {
      for (let i = least; i < most; i++) {
        const optional = this.addState();
        this.jumps[optional].push(this.add(part, start), next);
        start = optional;
      }
    }
    for (let i = 0; i < least; i++) start = this.add(part, start);
    return start;
  }
}

/** A row for each set of states, of which the first is no state at all, a column for each class. */
interface Table {
  /** By byte, its column. */
  readonly classOf: Uint8Array;
  readonly rows: number[][];
  readonly accepting: boolean[];
}

const EMPTY_SET = 0;
const START_SET = 1;

function determinize(nfa: Nfa, start: number, accept: number): Table {
  const { classOf, classCount, firstBytes } = classesOf(nfa);
  const closure = new Closure(nfa);
  const sets: number[][] = [[]];
  const numbers = new Map<string, number>([["", EMPTY_SET]]);
  const accepting: boolean[] = [false];
  const numberOf = (set: number[]): number => {
    const name = set.join();
    let number = numbers.get(name);
    if (number === undefined) {
      if (sets.length === MAX_DFA_STATES) throw tooLarge(nfa.source);
      number = sets.length;
      numbers.set(name, number);
      sets.push(set);
      accepting.push(set.includes(accept));
    }
    return number;
  };
  numberOf(closure.of([start]));
  const rows: number[][] = [];
  for (let number = 0; number < sets.length; number++) {
    const row: number[] = [];
    for (let column = 0; column < classCount; column++) {
      const targets: number[] = [];
      for (const state of sets[number]) {
        const transitions = nfa.transitions[state];
        closure.work += 1 + transitions.length;
        for (let i = 0; i < transitions.length; i += 3) {
          const isWithin =
            transitions[i] <= firstBytes[column] && firstBytes[column] <= transitions[i + 1];
          if (isWithin) targets.push(transitions[i + 2]);
        }
      }
      row.push(numberOf(closure.of(targets)));
    }
    rows.push(row);
  }
  return { classOf, rows, accepting };
}

/** Finds the states that being in some is being in, and counts the work of all this. */
class Closure {
  work: number;
  private readonly nfa: Nfa;
  /** The round in which a state was last seen: a set that is emptied by counting on. */
  private readonly seen: Int32Array;
  private round: number;

  constructor(nfa: Nfa) {
    this.work = 0;
    this.nfa = nfa;
    this.seen = new Int32Array(nfa.jumps.length);
    this.round = 0;
  }

  /** The states with transitions or without jumps among those reached, in ascending order. */
  of(states: readonly number[]): number[] {
    const { jumps } = this.nfa;
    const round = ++this.round;
    const pending = [...states];
    const reached: number[] = [];
    for (let state = pending.pop(); state !== undefined; state = pending.pop()) {
      if (this.seen[state] === round) continue;
      this.seen[state] = round;
      if (jumps[state].length === 0) reached.push(state);
      else pending.push(...jumps[state]);
      if (++this.work > MAX_WORK) throw tooLarge(this.nfa.source);
    }
    return reached.sort((a, b) => a - b);
  }
}

/** Bytes that no transition tells apart, as classes. */
function classesOf(nfa: Nfa): { classOf: Uint8Array; classCount: number; firstBytes: number[] } {
  const isFirst = new Uint8Array(257);
  isFirst[0] = 1;
  for (const transitions of nfa.transitions) {
    for (let i = 0; i < transitions.length; i += 3) {
      isFirst[transitions[i]] = 1;
      isFirst[transitions[i + 1] + 1] = 1;
    }
  }
  const classOf = new Uint8Array(256);
  const firstBytes: number[] = [];
  for (let byte = 0; byte < 256; byte++) {
    if (isFirst[byte] === 1) firstBytes.push(byte);
    classOf[byte] = firstBytes.length - 1;
  }
  return { classOf, classCount: firstBytes.length, firstBytes };
}

/** Makes every state from which no match can be reached DEAD, and numbers the others anew. */
function trim({ classOf, rows, accepting }: Table): Dfa {
  const sources: number[][] = rows.map(() => []);
  rows.forEach((row, state) => {
    for (const target of row) sources[target].push(state);
  });
  const isLive = [...accepting];
  const pending = isLive.flatMap((live, state) => (live ? [state] : []));
  for (let state = pending.pop(); state !== undefined; state = pending.pop()) {
    for (const source of sources[state]) {
      if (!isLive[source]) {
        isLive[source] = true;
        pending.push(source);
      }
    }
  }
  let count = DEAD + 1;
  const numbers = isLive.map((live) => (live ? count++ : DEAD));
  const table = new Uint16Array(count * 256);
  const isAccepting = new Uint8Array(count);
  rows.forEach((row, state) => {
    if (!isLive[state]) return;
    for (let byte = 0; byte < 256; byte++) {
      table[numbers[state] * 256 + byte] = numbers[row[classOf[byte]]];
    }
    isAccepting[numbers[state]] = accepting[state] ? 1 : 0;
  });
  return new Dfa(numbers[START_SET], table, isAccepting);
}

function tooLarge(source: string): InvalidArgumentError {
  return new InvalidArgumentError(
    `the pattern ${JSON.stringify(source)} needs an automaton of more than ${MAX_DFA_STATES} states, or too much work to make it`,
  );
}
