/** Sets of keys whose shapes differ: what a structure over sorted keys has to cope with. */
import { compareBytes } from "../../src/bytes/compare.ts";

const utf8 = new TextEncoder();

/** A seeded generator: the same numbers at every run. */
export function seededRandom(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** Sorted, each key once. */
export function sortedUnique(keys: Iterable<Uint8Array>): Uint8Array[] {
  const sorted = [...keys].sort(compareBytes);
  return sorted.filter((key, i) => i === 0 || compareBytes(sorted[i - 1], key) !== 0);
}

function many(count: number, make: (i: number) => Uint8Array | string): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    const key = make(i);
    keys.push(typeof key === "string" ? utf8.encode(key) : key);
  }
  return sortedUnique(keys);
}

export function keyShapes(): Map<string, Uint8Array[]> {
  const random = seededRandom(1);
  const words = ["react", "parser", "-", "@", "/", "plugin", "core", "http", "://", ".com", "x"];
  const text = (parts: number): string => {
    let result = "";
    for (let i = 0; i < parts; i++) result += words[random(words.length)];
    return result;
  };
  const bytes = (length: number, kinds: number): Uint8Array =>
    Uint8Array.from({ length }, () => random(kinds));
  const long = "long common prefix of every key, ".repeat(40);
  const huge = (length: number, last: number): Uint8Array => {
    const key = new Uint8Array(length).fill(97);
    for (let i = 0; i < length; i += 997) key[i] = 98 + ((i * 7) % 13);
    key[length - 1] = last;
    return key;
  };
  return new Map([
    ["none", []],
    ["only the empty key", [new Uint8Array(0)]],
    ["one", [utf8.encode("one")]],
    ["a block", many(32, (i) => `key${i}`)],
    ["a block and one", many(33, (i) => `key${i}`)],
    ["a page", many(512, (i) => `key${i}`)],
    ["a page and one", many(513, (i) => `key${i}`)],
    ["texts", many(5000, () => `https://${text(2 + random(8))}${random(1000)}`)],
    ["short random bytes", many(5000, () => bytes(random(9), 256))],
    ["two letters", many(3000, () => bytes(random(14), 2))],
    [
      "every one and two bytes",
      many(65_792, (i) => (i < 256 ? Uint8Array.of(i) : Uint8Array.of(i - 256, (i - 256) >> 8))),
    ],
    ["sequential integers", many(3000, (i) => Uint8Array.of(0, 0, i >> 8, i))],
    ["prefixes of each other", many(1500, (i) => "ab".repeat(i))],
    ["0xff", many(1200, (i) => new Uint8Array(i).fill(255))],
    ["long common prefix", many(2000, (i) => `${long}${i * 7}`)],
    [
      "lengths about an escape",
      many(3000, (i) => `${"p".repeat(i % 40)}${i}${"q".repeat((i * 13) % 40)}`),
    ],
    [
      "64 KiB keys among short ones",
      sortedUnique([
        ...many(300, (i) => `a${i}`),
        ...many(40, (i) => huge(65_536, i)),
        ...many(40, (i) => huge(65_535 - i, 7)),
        new Uint8Array(65_536).fill(255),
      ]),
    ],
  ]);
}
