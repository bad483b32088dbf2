import { describe, expect, it } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { KeySort } from "../../src/bytes/key-sort.ts";
import { Random, SHAPES } from "../art/shapes.ts";

/** The indexes of keys, in order: these are their references. `watch` may put something in the place of their bytes. */
function sort(
  keys: readonly Uint8Array[],
  maxAtOnce?: number,
  watch: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes,
): number[] {
  const bytes = new Uint8Array(keys.reduce((total, key) => total + key.length, 0));
  const ends = new Uint32Array(keys.length);
  let end = 0;
  keys.forEach((key, i) => {
    bytes.set(key, end);
    end += key.length;
    ends[i] = end;
  });
  const source = {
    keyBytes: watch(bytes),
    keyStart: (i: number) => (i === 0 ? 0 : ends[i - 1]),
    keyEnd: (i: number) => ends[i],
  };
  const sorting = new KeySort(
    source,
    Uint32Array.from(keys, (_, i) => i),
    maxAtOnce,
  );
  while (sorting.step());
  return keys.map((_, i) => sorting.at(i));
}

function expectSorted(keys: readonly Uint8Array[]): void {
  const expected = keys.map((_, i) => i);
  expected.sort((a, b) => compareBytes(keys[a], keys[b]) || a - b);
  expect(sort(keys)).toEqual(expected);
  // As if they were so many that they are parted first.
  expect(sort(keys, 40)).toEqual(expected);
  expect(sort(keys, 1)).toEqual(expected);
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe("KeySort", () => {
  it("sorts no key, and one", () => {
    expect(sort([])).toEqual([]);
    expect(sort([bytes(7)])).toEqual([0]);
  });

  it.each([
    ["the empty key before zeros", [bytes(0, 0), bytes(0), bytes(), bytes(0, 0, 0)]],
    ["a prefix before what it begins, at a chunk's end", [bytes(1, 2, 3, 4, 0), bytes(1, 2, 3, 4)]],
    ["zeros at a chunk's end", [bytes(1, 2, 3, 0), bytes(1, 2, 3), bytes(1, 2, 3, 0, 0)]],
    ["bytes as unsigned", [bytes(255), bytes(127), bytes(128), bytes(0)]],
    ["bytes of the fourth place as unsigned", [bytes(9, 9, 9, 255), bytes(9, 9, 9, 1)]],
  ])("puts %s", (_, keys) => {
    expectSorted(keys);
    expectSorted(keys.toReversed());
  });

  it("keeps equal keys in the order in which they came, however many", () => {
    const text = new TextEncoder();
    const names = ["", "a", "abcd", "abcdefgh", "abcdefghi"].map((name) => text.encode(name));
    expectSorted(Array.from({ length: 500 }, (_, i) => names[i % names.length]));
  });

  it.each(Object.keys(SHAPES))("sorts %s, some of them twice", (shape) => {
    const random = new Random(7);
    const keys = SHAPES[shape](500, random);
    const copies = keys.filter(() => random.below(3) === 0);
    expectSorted(random.shuffle([...keys, ...copies]));
  });

  it("sorts long keys that differ late, without recursion", () => {
    const keys = Array.from({ length: 40 }, (_, i) => {
      const key = new Uint8Array(65_536);
      key[65_535 - (i % 20) * 1000] = i + 1;
      return key;
    });
    expectSorted(keys);
  });

  it.each([
    ["prefixes of each other, longest first", (i: number) => new Uint8Array(300 - i)],
    [
      "as long and differ the sooner the later they come",
      (i: number) => new Uint8Array(300).fill(1, 299 - i),
    ],
  ])("reads each byte of keys a few times, also where they are %s", (_, makeKey) => {
    const keys = Array.from({ length: 300 }, (_, i) => makeKey(i));
    const total = keys.reduce((sum, key) => sum + key.length, 0);
    let reads = 0;
    const watch = (bytes: Uint8Array): Uint8Array =>
      new Proxy(bytes, {
        get(target, name) {
          reads++;
          return target[Number(name)];
        },
      });
    const expected = keys.map((_, i) => i);
    expected.sort((a, b) => compareBytes(keys[a], keys[b]) || a - b);
    expect(sort(keys, undefined, watch)).toEqual(expected);
    expect(reads).toBeLessThan(20 * total);
  });
});
