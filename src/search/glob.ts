/**
 * glob: patterns as a shell has for file names.
 *
 * A key matches if the whole of it does, read as UTF-8.
 *
 * | syntax | matches |
 * |---|---|
 * | `*` | any number of characters other than `/` |
 * | `**` | any number of characters |
 * | `?` | one character other than `/` |
 * | `[abc]`, `[a-z]` | one of the set |
 * | `[!a-z]`, `[^a-z]` | one character that is neither in the set nor `/` |
 * | `{a,b*,}` | one of the patterns, which may hold others |
 * | `\x` | the character x, whatever it is |
 */
import { InvalidArgumentError } from "../errors.ts";
import type { Automaton } from "./automaton.ts";
import { compile } from "./dfa.ts";
import {
  ANY_CHARACTER,
  anyNumberOf,
  type CodePointRange,
  character,
  complement,
  type Pattern,
} from "./pattern.ts";

const SLASH: CodePointRange = { first: 0x2f, last: 0x2f };

const NOT_SLASH: Pattern = { kind: "characters", ranges: complement([SLASH]) };

/** Braces within braces: more would exhaust the stack of those who walk the pattern. */
const MAX_DEPTH = 200;

/**
 * Matches the keys that the glob matches as a whole.
 *
 * Throws InvalidArgumentError for a bracket or brace that is not closed, a backslash at the end,
 * and a pattern whose automaton would have more than 10,000 states.
 */
export function glob(source: string): Automaton {
  if (typeof source !== "string") {
    throw new InvalidArgumentError(`a glob is a string, not ${typeof source}`);
  }
  return compile(new Parser(source).parse(), source);
}

class Parser {
  private readonly source: string;
  private readonly characters: readonly string[];
  private pos: number;
  private depth: number;

  constructor(source: string) {
    this.source = source;
    this.characters = Array.from(source);
    this.pos = 0;
    this.depth = 0;
  }

  parse(): Pattern {
    return this.sequence();
  }

  /** Everything up to the end; in braces, up to the comma or brace that ends the part. */
  private sequence(): Pattern {
    const parts: Pattern[] = [];
    while (this.pos < this.characters.length) {
      const next = this.characters[this.pos];
      if (this.depth > 0 && (next === "," || next === "}")) break;
      this.pos++;
      parts.push(this.part(next));
    }
    return { kind: "sequence", parts };
  }

  private part(next: string): Pattern {
    switch (next) {
      case "*":
        return anyNumberOf(this.take("*") ? ANY_CHARACTER : NOT_SLASH);
      case "?":
        return NOT_SLASH;
      case "[":
        return this.set();
      case "{":
        return this.braces();
      case "\\":
        return character(this.codePoint(this.next()));
      default:
        return character(this.codePoint(next));
    }
  }

  private set(): Pattern {
    const isNegated = this.take("!") || this.take("^");
    const ranges: CodePointRange[] = [];
    // A bracket that comes first is a member.
    do {
      const first = this.setMember();
      const isRange = this.characters[this.pos] === "-" && this.characters[this.pos + 1] !== "]";
      if (isRange) this.pos++;
      const last = isRange ? this.setMember() : first;
      if (last < first) throw this.error("a range that is out of order");
      ranges.push({ first, last });
    } while (!this.take("]"));
    return {
      kind: "characters",
      ranges: isNegated ? complement([...ranges, SLASH]) : ranges,
    };
  }

  private setMember(): number {
    const next = this.next();
    return this.codePoint(next === "\\" ? this.next() : next);
  }

  private braces(): Pattern {
    if (++this.depth > MAX_DEPTH) throw this.error(`braces deeper than ${MAX_DEPTH}`);
    const options = [this.sequence()];
    while (this.take(",")) options.push(this.sequence());
    if (!this.take("}")) throw this.error("expected }");
    this.depth--;
    return { kind: "choice", options };
  }

  /** The code point of a character, which is not half of a surrogate pair: no key has one. */
  private codePoint(text: string): number {
    const codePoint = text.codePointAt(0) ?? 0;
    if (codePoint >= 0xd800 && codePoint <= 0xdfff) throw this.error("half of a surrogate pair");
    return codePoint;
  }

  private next(): string {
    const next = this.characters[this.pos];
    if (next === undefined) throw this.error("unexpected end");
    this.pos++;
    return next;
  }

  private take(expected: string): boolean {
    if (this.characters[this.pos] !== expected) return false;
    this.pos++;
    return true;
  }

  private error(what: string): InvalidArgumentError {
    return new InvalidArgumentError(
      `in the glob ${JSON.stringify(this.source)}, at character ${this.pos}: ${what}`,
    );
  }
}
