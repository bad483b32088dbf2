import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { SeparatorFst, SeparatorList } from "../../src/segment/separator-fst.ts";

const utf8 = new TextEncoder();

function fstOf(separators: readonly Uint8Array[]): SeparatorFst {
  const list = new SeparatorList();
  for (const separator of separators) list.add(separator, separator.length);
  const built = list.build();
  const shared = new Uint8Array(new SharedArrayBuffer(built.length + 8), 3);
  shared.set(built, 2);
  return new SeparatorFst(shared, 2, separators.length);
}

function sorted(keys: readonly Uint8Array[]): Uint8Array[] {
  const unique = new Map(keys.map((key) => [Buffer.from(key).toString("latin1"), key]));
  return [...unique.values()].filter((key) => key.length > 0).sort(compareBytes);
}

function commonPrefix(a: Uint8Array, b: Uint8Array): number {
  let i = 0;
  while (i < a.length && i < b.length && a[i] === b[i]) i++;
  return i;
}

/** Checks the answers for every query, and for neighbours of every separator. */
function check(separators: readonly Uint8Array[], queries: readonly Uint8Array[]): void {
  const fst = fstOf(separators);
  const near = separators.flatMap((s) => [
    s,
    s.subarray(0, -1),
    Uint8Array.of(...s, 0),
    Uint8Array.of(...s.subarray(0, -1), (s.at(-1) ?? 0) + 1),
    Uint8Array.of(...s.subarray(0, -1), (s.at(-1) ?? 0) - 1, 255),
  ]);
  for (const query of [...queries, ...near]) {
    let floor = 0;
    while (floor < separators.length && compareBytes(separators[floor], query) <= 0) floor++;
    expect(fst.floor(query, query.length)).toBe(floor);
    expect(fst.matched).toBe(floor === 0 ? 0 : commonPrefix(separators[floor - 1], query));
  }
}

describe("SeparatorFst", () => {
  it("finds page 0 for every key where there are no separators", () => {
    check([], [new Uint8Array(0), utf8.encode("a")]);
  });

  it("finds the floor of every key and what they share", () => {
    const key = fc.oneof(
      fc.uint8Array({ maxLength: 3 }),
      fc.uint8Array({ maxLength: 8, max: 2 }),
      fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 40 }).map((s) => utf8.encode(s)),
    );
    fc.assert(
      fc.property(fc.array(key, { maxLength: 60 }), fc.array(key), (keys, queries) => {
        check(sorted(keys), queries);
      }),
      { numRuns: 300 },
    );
  });

  it("branches on every byte, in lists and tables of any width", () => {
    for (const branchCount of [1, 4, 5, 6, 7, 254, 255, 256]) {
      for (const tailLength of [0, 1, 300]) {
        const separators: Uint8Array[] = [];
        for (let i = 0; i < branchCount; i++) {
          const separator = new Uint8Array(3 + tailLength).fill(i);
          separator.set([7, 8, branchCount === 256 ? i : 255 - i]);
          separators.push(separator);
        }
        check(sorted(separators), [Uint8Array.of(7, 8), Uint8Array.of(7, 9), Uint8Array.of(7)]);
      }
    }
  });

  it("holds labels, leaves and offsets beyond 64 KiB", () => {
    const common = new Uint8Array(40_000).fill(1);
    const separators: Uint8Array[] = [];
    for (let i = 0; i < 8; i++) {
      const separator = new Uint8Array(65_537 - i).fill(1);
      separator[40_000] = i;
      separators.push(separator);
    }
    check([common, ...separators], [new Uint8Array(65_536).fill(1), common.subarray(1)]);
  });

  it("holds separators that are prefixes of each other, to any depth", () => {
    const separators: Uint8Array[] = [];
    for (let length = 1; length <= 3000; length++) separators.push(new Uint8Array(length).fill(7));
    const fst = fstOf(separators);
    const key = new Uint8Array(4000).fill(7);
    for (const length of [0, 1, 2, 1500, 2999, 3000, 3001, 4000]) {
      expect(fst.floor(key, length)).toBe(Math.min(length, 3000));
      expect(fst.matched).toBe(Math.min(length, 3000));
    }
  });

  it("keeps labels that are written when its buffer must grow", () => {
    // Tables of branches far apart take more than the buffer was made for; labels of every length,
    // those that need an escape too, come to be the bytes that no longer fit.
    const lengths = [0, 1, 9, 40, 70];
    const separators = Array.from({ length: 400 }, (_, i) => {
      const label = new Uint8Array(lengths[i % lengths.length] ?? 0).fill(97 + (i % 7));
      return Uint8Array.of(1 + Math.floor(i / 10), (i % 10) * 28, ...label);
    });
    for (let count = 10; count <= separators.length; count += 13) {
      check(sorted(separators.slice(0, count)), []);
    }
  });
});
