import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Automaton,
  type Database,
  fuzzy,
  glob,
  InvalidArgumentError,
  open,
  regex,
  startsWith,
} from "../../src/index.ts";
import { matches } from "../../src/search/automaton.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Keys of a small alphabet, so that patterns hit, neighbours share prefixes, and some are empty. */
const keys = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c", "é"), maxLength: 6 }), {
  maxLength: 60,
});

const patterns: [string, Automaton][] = [
  ["startsWith", startsWith("ab")],
  ["startsWith nothing", startsWith("")],
  ["glob", glob("a*c")],
  ["regex with a literal prefix", regex("ab.*")],
  ["regex without one", regex(".*bc.*")],
  ["regex of choices", regex("(a|é)(b|c)?")],
  ["fuzzy", fuzzy("abc", 1)],
  ["fuzzy two", fuzzy("éab", 2)],
];

/** A database whose entries lie in memtable and several runs, with some of them deleted. */
async function fill(parts: readonly (readonly string[])[]): Promise<[Database, Set<string>]> {
  const database = await open(":memory:", { durability: "os", compactionTrigger: 64 });
  const live = new Set<string>();
  for (const [index, part] of parts.entries()) {
    for (const key of part) {
      await database.put(key, index);
      live.add(key);
    }
    const deleted = part[0];
    if (deleted !== undefined && index > 0) {
      await database.delete(deleted);
      live.delete(deleted);
    }
    if (index < parts.length - 1) await database.flush();
  }
  return [database, live];
}

describe("search", () => {
  test.each(patterns)("%s finds what testing every key finds, in order", async (_, pattern) => {
    await fc.assert(
      fc.asyncProperty(fc.array(keys, { maxLength: 3 }), fc.boolean(), async (parts, reverse) => {
        const [database, live] = await fill(parts);
        const expected = [...database.keys({ reverse })].filter(
          (key) => live.has(key) && matches(pattern, encode(key)),
        );
        const found = [...database.search(pattern, { reverse })];
        expect(found.map(([key]) => key)).toEqual(expected);
        for (const [key, value] of found) expect(value).toBe(database.get(key));
        await database.close();
      }),
      { numRuns: 40 },
    );
  });

  test("stays within its range and its limit", async () => {
    const [database] = await fill([
      ["ab", "abc", "ac", "b", "bab"],
      ["abb", "ba"],
    ]);
    const found = (range: object): string[] =>
      [...database.search(regex(".*b.*"), range)].map(([key]) => key);
    expect(found({ gt: "ab", lt: "b" })).toEqual(["abc"]);
    expect(found({ prefix: "ba", reverse: true })).toEqual(["bab", "ba"]);
    expect(found({ limit: 2 })).toEqual(["ab", "abc"]);
    await database.close();
  });

  test("reads a snapshot's moment", async () => {
    const database = await open(":memory:", { durability: "os" });
    await database.put("ab", 1);
    const snapshot = database.snapshot();
    await database.put("ac", 2);
    expect([...snapshot.search(startsWith("a"))]).toEqual([["ab", 1]]);
    snapshot.close();
    await database.close();
  });

  test.each([
    ["a string", "a.*"],
    ["a RegExp", /a/],
    ["undefined", undefined],
  ])("refuses %s as a pattern", async (_, pattern) => {
    const database = await open(":memory:");
    expect(() => database.search(pattern as unknown as Automaton)).toThrow(InvalidArgumentError);
    await database.close();
  });
});
