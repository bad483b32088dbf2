/**
 * PatternParser: how the parsers of the pattern syntaxes (regex.ts, glob.ts) read their text: code
 * point by code point, from a place that errors name.
 */
import { InvalidArgumentError } from "../errors.ts";

export class PatternParser {
  /** The code points of the source, each as a string. */
  protected readonly characters: readonly string[];
  protected pos: number;
  private readonly source: string;
  private readonly syntax: string;

  /** `syntax` is the pattern's name in errors. Throws InvalidArgumentError unless given a string. */
  constructor(source: string, syntax: string) {
    if (typeof source !== "string") {
      throw new InvalidArgumentError(`a ${syntax} is a string, not ${typeof source}`);
    }
    this.characters = Array.from(source);
    this.pos = 0;
    this.source = source;
    this.syntax = syntax;
  }

  protected get isAtEnd(): boolean {
    return this.pos >= this.characters.length;
  }

  /** The next character, or undefined at the end. */
  protected peek(): string | undefined {
    return this.characters[this.pos];
  }

  protected next(): string {
    const next = this.peek();
    if (next === undefined) throw this.error("unexpected end");
    this.pos++;
    return next;
  }

  /** Whether the next character is the one expected; if so, goes past it. */
  protected take(expected: string): boolean {
    if (this.peek() !== expected) return false;
    this.pos++;
    return true;
  }

  /** The code point of a character, which is not half of a surrogate pair: no key has one. */
  protected codePoint(text: string): number {
    const codePoint = text.codePointAt(0) ?? 0;
    if (codePoint >= 0xd800 && codePoint <= 0xdfff) throw this.error("half of a surrogate pair");
    return codePoint;
  }

  protected error(what: string): InvalidArgumentError {
    return new InvalidArgumentError(
      `in the ${this.syntax} ${JSON.stringify(this.source)}, at character ${this.pos}: ${what}`,
    );
  }
}
