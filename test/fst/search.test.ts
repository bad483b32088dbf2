import { describe, expect, test } from "vitest";
import { FrozenLayer, FrozenLayerBuilder, type FrozenRange } from "../../src/fst/index.ts";
import { type Automaton, DEAD, matches } from "../../src/search/automaton.ts";
import { fuzzy } from "../../src/search/fuzzy.ts";
import { glob } from "../../src/search/glob.ts";
import { regex } from "../../src/search/regex.ts";
import { startsWith } from "../../src/search/starts-with.ts";
import { neighbours, random, shapes, utf8 } from "./shapes.ts";

function build(keys: readonly Uint8Array[]): FrozenLayer {
  const builder = new FrozenLayerBuilder({ values: false });
  for (const key of keys) builder.insert(key);
  return new FrozenLayer(builder.finish());
}

/** Every key whose bytes add up to a multiple of five, whatever the bytes. */
const SUMS: Automaton = {
  start: 1,
  step: (state, byte) => (state === DEAD ? DEAD : 1 + ((state - 1 + byte) % 5)),
  isMatch: (state) => state === 1,
};

const AUTOMATA: [string, Automaton][] = [
  ["sums", SUMS],
  ["all text", regex(".*")],
  ["nothing", regex("[]")],
  ["the empty key", regex("")],
  ["an ending", regex(".*(git|a|1)")],
  ["a beginning", startsWith("https://b")],
  ["a middle", glob("**a/**")],
  ["near a word", fuzzy("abab", 2)],
  ["near a path", fuzzy("/core/node", 3)],
];

/** The largest would take most of the time and add no case to those of the others. */
const SMALL = shapes().filter(([, keys]) => keys.length <= 20_000);

describe.each(SMALL)("%s", (_, keys) => {
  const layer = build(keys);

  test.each(AUTOMATA)("%s: a search finds the keys that match, both ways", (_, automaton) => {
    const expected = keys.flatMap((key, i) => (matches(automaton, key) ? [i] : []));
    const found = Array.from(layer.search(automaton));
    expect(found.map(([, value]) => value)).toEqual(expected);
    expect(found.every(([key, value]) => Buffer.compare(key, keys[value]) === 0)).toBe(true);
    const backward = Array.from(layer.search(automaton, { reverse: true }));
    expect(backward.map(([, value]) => value)).toEqual(expected.toReversed());
    expect(backward.every(([key, value]) => Buffer.compare(key, keys[value]) === 0)).toBe(true);
  });

  test("a search within a range finds those of its keys that match", () => {
    const next = random(29);
    const near = neighbours(keys, 31, 10);
    const isMatch = keys.map((key) => matches(SUMS, key));
    for (let i = 0; i < 30; i++) {
      const range: FrozenRange = {
        ...(next(2) === 0 && { gt: near[next(near.length)] }),
        ...(next(2) === 0 && { lte: near[next(near.length)] }),
        ...(next(2) === 0 && { limit: next(20) }),
        reverse: next(2) === 0,
      };
      const { limit, ...unlimited } = range;
      const expected = Array.from(layer.entries(unlimited), ([, value]) => value)
        .filter((value) => isMatch[value])
        .slice(0, limit);
      expect(Array.from(layer.search(SUMS, range), ([, value]) => value)).toEqual(expected);
    }
  });
});

test("a search takes steps for the keys that could match, not for all", () => {
  const keys = Array.from({ length: 100_000 }, (_, i) => utf8(String(i).padStart(5, "0")));
  let steps = 0;
  const prefix = startsWith("123");
  const counting: Automaton = {
    start: prefix.start,
    step: (state, byte) => {
      steps++;
      return prefix.step(state, byte);
    },
    isMatch: (state) => prefix.isMatch(state),
  };
  expect(Array.from(build(keys).search(counting)).length).toBe(100);
  expect(steps).toBeLessThan(3 * 10 + 10 + 100 + 10);
});
