/**
 * glob: patterns as a shell has for file names.
 *
 * The syntax is in the docstring of `glob`.
 */
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
import { PatternParser } from "./pattern-parser.ts";

const SLASH: CodePointRange = { first: 0x2f, last: 0x2f };

const NOT_SLASH: Pattern = { kind: "characters", ranges: complement([SLASH]) };

/** Braces within braces: more would exhaust the stack of those who walk the pattern. */
const MAX_DEPTH = 200;

/**
 * Matches the keys that the glob matches as a whole, read as UTF-8.
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
 *
 * Throws InvalidArgumentError for a bracket or brace that is not closed, a backslash at the end,
 * and a pattern whose automaton would have more than 10,000 states.
 */
export function glob(source: string): Automaton {
  return compile(new GlobParser(source).parse(), source);
}

class GlobParser extends PatternParser {
  private depth: number;

  constructor(source: string) {
    super(source, "glob");
    this.depth = 0;
  }

  parse(): Pattern {
    return this.sequence();
  }

  /** Everything up to the end; in braces, up to the comma or brace that ends the part. */
  private sequence(): Pattern {
    const parts: Pattern[] = [];
    while (!this.isAtEnd) {
      if (this.depth > 0 && (this.peek() === "," || this.peek() === "}")) break;
      parts.push(this.part(this.next()));
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
      const isRange = this.peek() === "-" && this.characters[this.pos + 1] !== "]";
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
}
