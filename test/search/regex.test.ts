import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvalidArgumentError } from "../../src/errors.ts";
import { type Automaton, matches } from "../../src/search/automaton.ts";
import { regex } from "../../src/search/regex.ts";
import { texts, utf8 } from "./texts.ts";

/** Random regular expressions of the syntax that both sides know. */
const { expression } = fc.letrec<{ expression: string; sequence: string; atom: string }>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 3, depthSize: "small", withCrossShrink: true },
    tie("sequence"),
    fc.tuple(tie("sequence"), tie("expression")).map(([a, b]) => `${a}|${b}`),
  ),
  sequence: fc.array(tie("atom"), { maxLength: 3 }).map((atoms) => atoms.join("")),
  atom: fc.oneof(
    { maxDepth: 3, depthSize: "small", withCrossShrink: true },
    fc
      .tuple(
        fc.constantFrom(
          "a",
          "b",
          "é",
          "語",
          "😀",
          ".",
          "[ab]",
          "[^a]",
          "[a-cé-ê]",
          "[^/😀]",
          "\\w",
          "\\D",
          "\\u{8a9e}",
          "\\x61",
          "[\\d\\-/]",
        ),
        fc.constantFrom("", "", "", "*", "+", "?", "{2}", "{1,2}", "{1,}", "*?", "{0}"),
      )
      .map(([character, count]) => character + count),
    fc
      .tuple(tie("expression"), fc.constantFrom("(", "(?:"), fc.constantFrom("", "*", "?", "{2}"))
      .map(([inner, open, count]) => `${open}${inner})${count}`),
  ),
}));

/** The automaton, unless it would be too large, as some random patterns' are. */
function regexIfSmall(source: string): Automaton | undefined {
  try {
    return regex(source);
  } catch (error) {
    if (/more than 10000 states/.test(String(error))) return undefined;
    throw error;
  }
}

describe("regex", () => {
  test("matches what JavaScript's does", () => {
    let matched = 0;
    fc.assert(
      fc.property(expression, fc.array(texts(6), { maxLength: 20 }), (source, keys) => {
        const automaton = regexIfSmall(source);
        fc.pre(automaton !== undefined);
        const reference = new RegExp(`^(?:${source})$`, "us");
        for (const key of keys) {
          const isMatch = reference.test(key);
          if (isMatch) matched++;
          expect(matches(automaton, utf8(key)), `/${source}/ on ${key}`).toBe(isMatch);
        }
      }),
      { numRuns: 400 },
    );
    expect(matched).toBeGreaterThan(200);
  });

  test.each([
    ["", "", true],
    ["", "a", false],
    ["^abc$", "abc", true],
    ["a\\.b", "axb", false],
    ["a\\.b", "a.b", true],
    [".*", "", true],
    [".", "\n", true],
    ["[]", "a", false],
    ["[^]", "a", true],
    ["\\t\\n\\r\\f\\v\\0", "\t\n\r\f\v\0", true],
    ["\\u00e9", "é", true],
    ["/\\/", "//", true],
    ["(a|b)*c", "ababc", true],
    ["a{2,4}", "aaaaa", false],
    ["a{2,4}", "aaa", true],
    ["(a*)*", "aaaa", true],
    ["(|a)+b", "aab", true],
    ["a{3,1000}", "a".repeat(1000), true],
    ["[\\]\\\\^-]+", "]\\^-", true],
    [".{3}", "語😀é", true],
  ])("%j on %j is %s", (source, key, expected) => {
    expect(matches(regex(source), utf8(key))).toBe(expected);
  });

  test("does not match what is not UTF-8", () => {
    expect(matches(regex(".*"), Uint8Array.of(0x61, 0xff))).toBe(false);
    expect(matches(regex("[^a]*"), Uint8Array.of(0xed, 0xa0, 0x80))).toBe(false);
  });

  test("of everything but one character has every other character", () => {
    const automaton = regex("[^語]");
    for (let codePoint = 0; codePoint <= 0x10ffff; codePoint += codePoint < 0x3000 ? 1 : 61) {
      if (codePoint >= 0xd800 && codePoint <= 0xdfff) continue;
      expect(matches(automaton, utf8(String.fromCodePoint(codePoint)))).toBe(codePoint !== 0x8a9e);
    }
    expect(matches(automaton, utf8("語"))).toBe(false);
  });

  test.each([
    ["(a", /expected \)/],
    ["a)", /unmatched \)/],
    ["*a", /unexpected \*/],
    ["a**", /nothing to repeat/],
    ["a{2}{3}", /nothing to repeat/],
    ["a{", /expected a number/],
    ["a{2", /expected }/],
    ["a{3,2}", /from more to fewer/],
    ["a{1001}", /1000 repetitions/],
    ["[a", /unexpected end/],
    ["[b-a]", /out of order/],
    ["[\\d-z]", /between sets/],
    ["\\", /unexpected end/],
    ["\\q", /unknown escape \\q/],
    ["\\1", /unknown escape \\1/],
    ["\\b", /unknown escape \\b/],
    ["\\p{L}", /unknown escape \\p/],
    ["\\u{110000}", /not a code point/],
    ["\\u{}", /not a code point/],
    ["\\uD83D", /surrogate/],
    ["\\x1", /not a code point/],
    ["\\01", /octal/],
    ["(?=a)", /only groups/],
    ["(?<name>a)", /only groups/],
    ["a^b", /unexpected \^/],
    ["a$b", /unexpected \$/],
    ["a]", /unexpected \]/],
    ["a}", /unexpected }/],
    ["(".repeat(300) + ")".repeat(300), /deeper than 200/],
    ["\ud800", /surrogate/],
  ])("refuses %j", (source, message) => {
    expect(() => regex(source)).toThrow(InvalidArgumentError);
    expect(() => regex(source)).toThrow(message);
  });

  test.each([
    ".*a.{20}",
    "(a{1000}){1000}",
    "(.{1,1000}){50}",
    "((a?){100}){100}b",
    "(.*a){1,300}.{12}",
    "((((){1000}){1000}){1000}){1000}",
    "((a?(){1000}){1000}){10}",
  ])("refuses %j, whose automaton would be too large, without making it", (source) => {
    expect(() => regex(source)).toThrow(/more than 10000 states/);
  });

  test("takes a set for what it holds, however often it names it", () => {
    const automaton = regex(`[${"ab-d".repeat(5000)}]{1000}`);
    expect(matches(automaton, utf8("abcd".repeat(250)))).toBe(true);
    expect(matches(automaton, utf8("abce".repeat(250)))).toBe(false);
  });

  test("refuses what is not a string", () => {
    expect(() => regex(/a/ as never)).toThrow(InvalidArgumentError);
  });
});
