import { describe, expect, test } from "vitest";
import { InvalidArgumentError } from "../../src/errors.ts";
import { matches } from "../../src/search/automaton.ts";
import { glob } from "../../src/search/glob.ts";
import { startsWith } from "../../src/search/starts-with.ts";
import { utf8 } from "./texts.ts";

describe("glob", () => {
  test.each<[string, string[], string[]]>([
    ["", [""], ["a"]],
    ["*", ["", "a", "é語😀"], ["/", "a/b"]],
    ["**", ["", "/", "a/b/c"], []],
    ["*.js", ["a.js", ".js"], ["a/b.js", "a.jsx"]],
    ["src/**.ts", ["src/a.ts", "src/b/c.ts"], ["a.ts", "src/a.js"]],
    ["src/**/*.ts", ["src/b/c.ts", "src/b/d/c.ts"], ["src/a.ts"]],
    ["a?c", ["abc", "a語c"], ["ac", "a/c", "abbc"]],
    ["[a-c]x", ["ax", "cx"], ["dx", "x"]],
    ["[!a-c]x", ["dx", "éx"], ["ax", "/x", "x"]],
    ["[^a]", ["b"], ["a", "/"]],
    ["[]a]", ["]", "a"], ["b"]],
    ["[a-]", ["a", "-"], ["b"]],
    ["[\\]-]", ["]", "-"], ["\\"]],
    ["{a,b*,}c", ["ac", "bc", "bxxc", "c"], ["xc", "a,c"]],
    ["{a,{b,c}d}", ["a", "bd", "cd"], ["b", "d"]],
    ["{a", [], []],
    ["a,b", ["a,b"], ["a"]],
    ["a}b", ["a}b"], ["ab"]],
    ["\\*\\?\\{\\[\\\\", ["*?{[\\"], ["a"]],
    ["a.b", ["a.b"], ["axb"]],
  ])("%j", (source, some, others) => {
    if (source === "{a") {
      expect(() => glob(source)).toThrow(/expected }/);
      return;
    }
    const automaton = glob(source);
    for (const key of some) expect(matches(automaton, utf8(key)), key).toBe(true);
    for (const key of others) expect(matches(automaton, utf8(key)), key).toBe(false);
  });

  test.each([
    ["[a", /unexpected end/],
    ["[", /unexpected end/],
    ["[]", /unexpected end/],
    ["[b-a]", /out of order/],
    ["{a,b", /expected }/],
    ["a\\", /unexpected end/],
    ["\ud800", /surrogate/],
    ["{".repeat(300) + "}".repeat(300), /deeper than 200/],
    [`${"?".repeat(30)}${"*a".repeat(3)}${"?".repeat(30)}`, /more than 10000 states/],
  ])("refuses %j", (source, message) => {
    expect(() => glob(source)).toThrow(InvalidArgumentError);
    expect(() => glob(source)).toThrow(message);
  });
});

describe("startsWith", () => {
  test.each<[string | Uint8Array, string, boolean]>([
    ["", "", true],
    ["", "a", true],
    ["ab", "a", false],
    ["ab", "ab", true],
    ["ab", "abc", true],
    ["ab", "b", false],
    ["語", "語😀", true],
    [Uint8Array.of(0xe8), "語", true],
  ])("%j on %j is %s", (prefix, key, expected) => {
    expect(matches(startsWith(prefix), utf8(key))).toBe(expected);
  });

  test.each([utf8("ab"), Buffer.from("ab")])("keeps a copy of the prefix", (prefix) => {
    const automaton = startsWith(prefix);
    prefix[0] = 0x78;
    expect(matches(automaton, utf8("abc"))).toBe(true);
  });

  test("refuses what is neither text nor bytes", () => {
    expect(() => startsWith(7 as never)).toThrow(InvalidArgumentError);
  });
});
