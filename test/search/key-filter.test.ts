import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Automaton, matches } from "../../src/search/automaton.ts";
import { fuzzy } from "../../src/search/fuzzy.ts";
import { glob } from "../../src/search/glob.ts";
import { KeyFilter } from "../../src/search/key-filter.ts";
import { regex } from "../../src/search/regex.ts";
import { startsWith } from "../../src/search/starts-with.ts";
import { texts, utf8 } from "./texts.ts";

/** The keys that match, and how many were looked at, by the loop that KeyFilter's header shows. */
function search(keys: readonly Uint8Array[], automaton: Automaton): [number[], number] {
  const filter = new KeyFilter(automaton);
  const found: number[] = [];
  let looked = 0;
  let at = 0;
  while (at < keys.length) {
    looked++;
    if (filter.test(keys[at], keys[at].length)) found.push(at);
    if (!filter.isDead) {
      at++;
    } else if (filter.findNext()) {
      const next = filter.nextKey.subarray(0, filter.nextKeyLength);
      expect(Buffer.compare(next, keys[at])).toBeGreaterThan(0);
      while (at < keys.length && Buffer.compare(keys[at], next) < 0) at++;
    } else {
      break;
    }
  }
  return [found, looked];
}

const automata = fc.oneof(
  fc.tuple(texts(6), fc.nat(2)).map(([text, distance]) => fuzzy(text, distance)),
  texts(4).map((text) => startsWith(text)),
  fc
    .constantFrom("a.*", ".*b", "[ab]+/.*", "(é|語).*😀", "[]", "", ".*")
    .map((source) => regex(source)),
  fc.constantFrom("a*", "*/b*", "??", "{a,b/}*").map((source) => glob(source)),
);

describe("a key filter", () => {
  test("finds the keys that match, and never skips one", () => {
    fc.assert(
      fc.property(fc.array(texts(6), { maxLength: 60 }), automata, (some, automaton) => {
        const keys = [...new Set(some)].map(utf8).sort(Buffer.compare);
        const expected = keys.flatMap((key, i) => (matches(automaton, key) ? [i] : []));
        expect(search(keys, automaton)[0]).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
  });

  test("looks at few keys where few could match", () => {
    const keys = Array.from({ length: 10_000 }, (_, i) => utf8(String(i).padStart(4, "0")));
    expect(search(keys, startsWith("123"))).toEqual([
      Array.from({ length: 10 }, (_, i) => 1230 + i),
      // 0000, 1000 and 1200 on the way, these ten, and 1240.
      14,
    ]);
    const [found, looked] = search(keys, regex("[37]5.1"));
    expect(found.length).toBe(20);
    expect(looked).toBeLessThan(100);
  });

  test("takes keys longer than those before, up to 64 KiB", () => {
    const long = new Uint8Array(65_536).fill(0x61);
    const other = long.slice();
    other[65_535] = 0x62;
    expect(search([utf8("a"), long, other, utf8("b")], regex("a*b"))[0]).toEqual([2, 3]);
    expect(search([long, utf8("b")], regex("a{3}.?|b"))[0]).toEqual([1]);
  });

  test("takes bytes that are no text", () => {
    const keys = [Uint8Array.of(0), Uint8Array.of(0x61, 0xff, 0xff), Uint8Array.of(0xff, 0xff)];
    expect(search(keys, startsWith(Uint8Array.of(0xff)))[0]).toEqual([2]);
    expect(search(keys, regex("a.*"))[0]).toEqual([]);
  });
});
