/**
 * regex: regular expressions, in the part of JavaScript's syntax that a finite automaton can match.
 *
 * The syntax is in the docstring of `regex`. Matching never backtracks: it takes one step a byte, and
 * a pattern whose automaton would be too large is refused (dfa.ts).
 */
import type { Automaton } from "./automaton.ts";
import { compile } from "./dfa.ts";
import {
  ANY_CHARACTER,
  type CodePointRange,
  character,
  complement,
  EMPTY,
  LAST_CODE_POINT,
  type Pattern,
} from "./pattern.ts";
import { PatternParser } from "./pattern-parser.ts";

const MAX_REPEATS = 1000;

/** Groups within groups: more would exhaust the stack of those who walk the pattern. */
const MAX_DEPTH = 200;

const DIGIT: readonly CodePointRange[] = [range("0", "9")];
const WORD: readonly CodePointRange[] = [
  range("0", "9"),
  range("A", "Z"),
  range("_", "_"),
  range("a", "z"),
];
const SPACE: readonly CodePointRange[] = [range("\t", "\r"), range(" ", " ")];

const SETS: Readonly<Record<string, readonly CodePointRange[]>> = {
  d: DIGIT,
  w: WORD,
  s: SPACE,
  D: complement(DIGIT),
  W: complement(WORD),
  S: complement(SPACE),
};

const CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, "0": 0 };

/** Characters that stand for themselves only after a backslash; `-` needs it in a set alone. */
const SYNTAX = "\\^$.*+?()[]{}|/";

/**
 * Matches the keys that the regular expression matches as a whole: write `.*abc.*` for keys that
 * contain abc. The text is read as with the flags `u` and `s` of JavaScript: it consists of code
 * points, and `.` is any of them. A key that is not UTF-8 matches no pattern.
 *
 * | syntax | matches |
 * |---|---|
 * | `a`, `é`, `\.`, `\/` | the character; `\ ^ $ . * + ? ( ) [ ] { } \|` need the backslash |
 * | `\n \r \t \f \v \0 \xHH \uHHHH \u{H...}` | the character with that code |
 * | `.` | any character |
 * | `[abc]`, `[a-z_]`, `[^a-z]` | one of the set, or one not of it |
 * | `\d \w \s`, `\D \W \S` | a digit, word character or white space of ASCII; any other character |
 * | `x*`, `x+`, `x?`, `x{2}`, `x{2,}`, `x{2,5}` | repetition, at most 1,000 times; a `?` after it says nothing here |
 * | `xy`, `x\|y`, `(x)`, `(?:x)` | sequence, choice, grouping |
 * | `^`, `$` | nothing: allowed where the pattern begins and ends |
 *
 * Not part of it: back-references, look-around, `\b`, `\p{...}`, named groups. They are errors, as
 * is all that JavaScript refuses with the flag `u`.
 *
 * Throws InvalidArgumentError for what is not part of that, with the place, and for a pattern whose
 * automaton would have more than 10,000 states.
 */
export function regex(source: string): Automaton {
  return compile(new RegexParser(source).parse(), source);
}

function range(first: string, last: string): CodePointRange {
  return { first: first.charCodeAt(0), last: last.charCodeAt(0) };
}

class RegexParser extends PatternParser {
  private depth: number;

  constructor(source: string) {
    super(source, "regular expression");
    this.depth = 0;
  }

  parse(): Pattern {
    const pattern = this.choice();
    if (!this.isAtEnd) throw this.error("unmatched )");
    return pattern;
  }

  private choice(): Pattern {
    if (++this.depth > MAX_DEPTH) throw this.error(`groups deeper than ${MAX_DEPTH}`);
    const options = [this.sequence()];
    while (this.take("|")) options.push(this.sequence());
    this.depth--;
    return options.length === 1 ? options[0] : { kind: "choice", options };
  }

  private sequence(): Pattern {
    const parts: Pattern[] = [];
    for (let next = this.peek(); next !== undefined; next = this.peek()) {
      if (next === "|" || next === ")") break;
      parts.push(this.repetition());
    }
    return { kind: "sequence", parts };
  }

  private repetition(): Pattern {
    if (this.isAnchor()) {
      this.pos++;
      return EMPTY;
    }
    const part = this.atom();
    const bounds = this.bounds();
    if (bounds === undefined) return part;
    this.take("?");
    if (this.bounds() !== undefined) throw this.error("nothing to repeat");
    return { kind: "repeat", part, ...bounds };
  }

  /** Whether here is a ^ that the pattern begins with, or a $ that it ends with. */
  private isAnchor(): boolean {
    const isStart = this.peek() === "^" && this.pos === 0;
    return isStart || (this.peek() === "$" && this.pos === this.characters.length - 1);
  }

  private bounds(): { least: number; most: number } | undefined {
    if (this.take("*")) return { least: 0, most: Number.POSITIVE_INFINITY };
    if (this.take("+")) return { least: 1, most: Number.POSITIVE_INFINITY };
    if (this.take("?")) return { least: 0, most: 1 };
    if (!this.take("{")) return undefined;
    const least = this.count();
    let most = least;
    if (this.take(",")) most = this.peek() === "}" ? Number.POSITIVE_INFINITY : this.count();
    if (!this.take("}")) throw this.error("expected }");
    if (most < least) throw this.error("a repetition from more to fewer");
    return { least, most };
  }

  private count(): number {
    const start = this.pos;
    while (/^[0-9]$/.test(this.peek() ?? "")) this.pos++;
    const digits = this.characters.slice(start, this.pos).join("");
    if (digits === "") throw this.error("expected a number");
    if (Number(digits) > MAX_REPEATS) throw this.error(`more than ${MAX_REPEATS} repetitions`);
    return Number(digits);
  }

  private atom(): Pattern {
    const next = this.next();
    switch (next) {
      case ".":
        return ANY_CHARACTER;
      case "(":
        return this.group();
      case "[":
        return this.set();
      case "\\":
        return { kind: "characters", ranges: this.escape("") };
      default:
        if (SYNTAX.includes(next) && next !== "/") {
          this.pos--;
          throw this.error(`unexpected ${next}`);
        }
        return this.literal(next);
    }
  }

  private literal(text: string): Pattern {
    return character(this.codePoint(text));
  }

  private group(): Pattern {
    if (this.take("?") && !this.take(":")) throw this.error("only groups () and (?:) are known");
    const pattern = this.choice();
    if (!this.take(")")) throw this.error("expected )");
    return pattern;
  }

  private set(): Pattern {
    const isNegated = this.take("^");
    const ranges: CodePointRange[] = [];
    while (!this.take("]")) {
      const first = this.setMember();
      if (this.peek() !== "-" || this.characters[this.pos + 1] === "]") {
        ranges.push(...first);
        continue;
      }
      this.pos++;
      const last = this.setMember();
      if (!isOneCharacter(first) || !isOneCharacter(last)) {
        throw this.error("a range between sets");
      }
      if (last[0].first < first[0].first) throw this.error("a range that is out of order");
      ranges.push({ first: first[0].first, last: last[0].first });
    }
    return { kind: "characters", ranges: isNegated ? complement(ranges) : ranges };
  }

  private setMember(): readonly CodePointRange[] {
    const next = this.next();
    if (next === "\\") return this.escape("-");
    const codePoint = this.codePoint(next);
    return [{ first: codePoint, last: codePoint }];
  }

  /** What comes after a backslash; `also` may be escaped beside what always may. */
  private escape(also: string): readonly CodePointRange[] {
    const next = this.next();
    const set = Object.hasOwn(SETS, next) ? SETS[next] : undefined;
    if (set !== undefined) return set;
    let codePoint: number;
    if (Object.hasOwn(CONTROLS, next)) {
      codePoint = CONTROLS[next];
      if (next === "0" && /^[0-9]$/.test(this.peek() ?? "")) throw this.error("octal escapes");
    } else if (next === "x") {
      codePoint = this.hexadecimal(2);
    } else if (next === "u") {
      codePoint = this.take("{") ? this.braced() : this.hexadecimal(4);
    } else if (SYNTAX.includes(next) || also.includes(next)) {
      codePoint = this.codePoint(next);
    } else {
      throw this.error(`unknown escape \\${next}`);
    }
    return [{ first: codePoint, last: codePoint }];
  }

  private hexadecimal(length: number): number {
    const digits = this.characters.slice(this.pos, this.pos + length).join("");
    this.pos += length;
    return this.parseHexadecimal(digits, length);
  }

  private braced(): number {
    const start = this.pos;
    while (this.next() !== "}");
    return this.parseHexadecimal(this.characters.slice(start, this.pos - 1).join(""), 1);
  }

  private parseHexadecimal(digits: string, leastLength: number): number {
    const codePoint = Number.parseInt(digits, 16);
    const isWhole = /^[0-9a-fA-F]+$/.test(digits) && digits.length >= leastLength;
    if (!isWhole || codePoint > LAST_CODE_POINT) throw this.error("not a code point");
    return this.codePoint(String.fromCodePoint(codePoint));
  }
}

function isOneCharacter(ranges: readonly CodePointRange[]): boolean {
  return ranges.length === 1 && ranges[0].first === ranges[0].last;
}
