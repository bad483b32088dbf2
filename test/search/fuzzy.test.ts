import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvalidArgumentError } from "../../src/errors.ts";
import { DEAD, matches } from "../../src/search/automaton.ts";
import { fuzzy } from "../../src/search/fuzzy.ts";
import { CHARACTERS, texts, utf8 } from "./texts.ts";

/** The edit distance by its usual table, over code points. */
function editDistance(a: string, b: string): number {
  const source = Array.from(a);
  const target = Array.from(b);
  let row = [0, ...target.map((_, i) => i + 1)];
  source.forEach((character, i) => {
    const next = [i + 1];
    target.forEach((other, j) => {
      next.push(Math.min(next[j] + 1, row[j + 1] + 1, row[j] + (character === other ? 0 : 1)));
    });
    row = next;
  });
  return row[target.length];
}

describe("fuzzy", () => {
  test.each([0, 1, 2, 3])(
    "with distance %i matches what the table of distances says",
    (distance) => {
      const edits = fc.array(fc.tuple(fc.nat(12), fc.nat(2), fc.constantFrom(...CHARACTERS)), {
        maxLength: 5,
      });
      let near = 0;
      fc.assert(
        fc.property(texts(12), edits, (text, changes) => {
          const characters = Array.from(text);
          for (const [place, kind, character] of changes) {
            if (kind === 0) characters.splice(place, 1);
            else if (kind === 1) characters.splice(place, 0, character);
            else characters.splice(place, 1, character);
          }
          const key = characters.join("");
          const isNear = editDistance(text, key) <= distance;
          if (isNear) near++;
          expect(matches(fuzzy(text, distance), utf8(key))).toBe(isNear);
        }),
        { numRuns: 2000 },
      );
      expect(near).toBeGreaterThan(100);
    },
  );

  test("counts places beyond the thirty-second", () => {
    const text = CHARACTERS.join("").repeat(20);
    for (const at of [0, 30, 31, 32, 33, 63, 64, 65, 127, 199]) {
      const changed = Array.from(text);
      changed[at] = "x";
      expect(matches(fuzzy(text, 1), utf8(changed.join("")))).toBe(true);
      expect(matches(fuzzy(text, 0), utf8(changed.join("")))).toBe(false);
      changed.splice((at + 57) % 200, 1);
      expect(matches(fuzzy(text, 2), utf8(changed.join("")))).toBe(true);
      expect(matches(fuzzy(text, 1), utf8(changed.join("")))).toBe(false);
    }
  });

  test("is dead as soon as no key can match", () => {
    const automaton = fuzzy("abcdef", 1);
    let state = automaton.start;
    for (const byte of utf8("xy")) state = automaton.step(state, byte);
    expect(state).toBe(DEAD);
    expect(automaton.step(DEAD, 0x61)).toBe(DEAD);
  });

  test.each([
    ["a byte that begins nothing", [0x61, 0x80]],
    ["an overlong form", [0x61, 0xc0, 0xaf]],
    ["half of a surrogate pair", [0x61, 0xed, 0xa0, 0x80]],
    ["a code point beyond the last", [0x61, 0xf4, 0x90, 0x80, 0x80]],
    ["a character cut off", [0x61, 0xe8, 0xaa]],
  ])("does not match %s", (_, key) => {
    expect(matches(fuzzy("a", 3), Uint8Array.from(key))).toBe(false);
  });

  test.each<[string, () => unknown]>([
    ["a distance above 3", () => fuzzy("a", 4)],
    ["a distance below 0", () => fuzzy("a", -1)],
    ["a distance between two", () => fuzzy("a", 1.5)],
    ["a text that is none", () => fuzzy(7 as never, 1)],
    ["a text too long", () => fuzzy("a".repeat(257), 1)],
    ["half of a surrogate pair", () => fuzzy("\ud800", 1)],
  ])("refuses %s", (_, call) => {
    expect(call).toThrow(InvalidArgumentError);
  });
});
