import { describe, expect, it } from "vitest";
import { ArenaArt } from "../../src/art/arena-art.ts";
import { compareBytes } from "../../src/bytes/compare.ts";
import { InvalidArgumentError } from "../../src/errors.ts";
import { Random, SHAPES } from "./shapes.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

function filled(keys: readonly Uint8Array[]): ArenaArt {
  const map = new ArenaArt({ capacityBytes: 2 ** 20 });
  keys.forEach((key, i) => {
    map.set(key, i);
  });
  return map;
}

describe("ArenaArt", () => {
  it("maps keys to values, replaces them and forgets them", () => {
    const map = new ArenaArt();
    expect(map.get(encode("a"))).toBeUndefined();
    map
      .set(encode("a"), 1)
      .set(encode(""), Number.MAX_SAFE_INTEGER)
      .set(encode("a"), 2 ** 32);
    expect([map.size, map.get(encode("a")), map.get(encode(""))]).toEqual([
      2,
      2 ** 32,
      Number.MAX_SAFE_INTEGER,
    ]);
    expect(map.has(encode("a"))).toBe(true);
    expect(map.delete(encode("a"))).toBe(true);
    expect(map.delete(encode("a"))).toBe(false);
    expect(map.has(encode("a"))).toBe(false);
    map.clear();
    expect([map.size, [...map]]).toEqual([0, []]);
  });

  it("hands out keys that are the caller's to keep", () => {
    const map = filled([encode("a"), encode("b"), encode("c")]);
    const keys = [...map.keys()];
    map.clear();
    expect(keys.map(decode)).toEqual(["a", "b", "c"]);
  });

  it.each([
    ["set", () => new ArenaArt().set("a" as unknown as Uint8Array, 1)],
    ["set", () => new ArenaArt().set(new Uint8Array(65_537), 1)],
    ["set", () => new ArenaArt().set(encode("a"), -1)],
    ["set", () => new ArenaArt().set(encode("a"), 2 ** 53)],
    ["set", () => new ArenaArt().set(encode("a"), 1.5)],
    ["get", () => new ArenaArt().get(undefined as unknown as Uint8Array)],
    ["getMany", () => new ArenaArt().getMany([new Uint8Array(65_537)])],
    ["constructor", () => new ArenaArt({ capacityBytes: 2 ** 32 })],
    ["constructor with an unknown option", () => new ArenaArt({ capacity: 2 ** 20 } as never)],
    ["entries", () => [...new ArenaArt().entries({ gt: "a" as unknown as Uint8Array })]],
    ["entries", () => [...new ArenaArt().entries({ limit: -1 })]],
    ["entries", () => [...new ArenaArt().entries({ limit: 1.5 })]],
    ["entries", () => [...new ArenaArt().entries({ limit: "2" as unknown as number })]],
    ["entries", () => [...new ArenaArt().entries({ from: encode("a") } as never)]],
    ["entries", () => [...new ArenaArt().entries(null as never)]],
  ])("rejects what is not an argument of %s", (_, call) => {
    expect(call).toThrow(InvalidArgumentError);
  });

  it("accepts a key of 65,536 bytes", () => {
    const key = new Uint8Array(65_536).fill(7);
    expect(filled([key]).get(key)).toBe(0);
  });

  describe.each(["paths", "keys that are prefixes of each other", "binary UUIDs", "two letters"])(
    "over %s",
    (shape) => {
      const random = new Random(5);
      const keys = SHAPES[shape](800, random);
      const map = filled(keys);
      const sorted = keys.map((key, i) => ({ key, i })).sort((a, b) => compareBytes(a.key, b.key));
      const probe = () => {
        const key = keys[random.below(keys.length)];
        return key.slice(0, random.below(key.length + 1));
      };

      it("walks any range in any direction as a filter of the sorted keys would", () => {
        for (let round = 0; round < 150; round++) {
          const bounds = Object.fromEntries(
            ["gt", "gte", "lt", "lte", "prefix"]
              .filter(() => random.below(3) === 0)
              .map((name) => [name, probe()]),
          );
          const reverse = random.below(2) === 0;
          const limit = random.below(2) === 0 ? random.below(50) : undefined;
          const { gt, gte, lt, lte, prefix } = bounds;
          const expected = sorted
            .filter(
              ({ key }) =>
                (!gt || compareBytes(key, gt) > 0) &&
                (!gte || compareBytes(key, gte) >= 0) &&
                (!lt || compareBytes(key, lt) < 0) &&
                (!lte || compareBytes(key, lte) <= 0) &&
                (!prefix || decode(key).startsWith(decode(prefix))),
            )
            .map(({ key, i }) => `${decode(key)} ${i}`);
          if (reverse) expected.reverse();
          const range = { ...bounds, reverse, limit };
          const actual = [...map.entries(range)].map(([key, value]) => `${decode(key)} ${value}`);
          expect(actual).toEqual(expected.slice(0, limit));
          const visited: string[] = [];
          map.forEach((key, length, value) => {
            visited.push(`${decode(key.subarray(0, length))} ${value}`);
          }, range);
          expect(visited).toEqual(actual);
        }
      });

      it("finds the neighbours of any key", () => {
        for (let round = 0; round < 150; round++) {
          const key = probe();
          const ceiling = sorted.find((entry) => compareBytes(entry.key, key) >= 0);
          const floor = sorted.findLast((entry) => compareBytes(entry.key, key) <= 0);
          expect(map.ceiling(key)?.[1]).toBe(ceiling?.i);
          expect(map.floor(key)?.[1]).toBe(floor?.i);
        }
      });

      it("looks up many keys as it does one by one", () => {
        for (const count of [0, 1, 15, 16, 17, 64, 500]) {
          const probes = Array.from({ length: count }, (_, i) =>
            i % 3 === 0 ? probe() : keys[random.below(keys.length)],
          );
          expect(map.getMany(probes)).toEqual(probes.map((key) => map.get(key)));
          // In order and twice each, so that neighbours share all there is to share.
          const sortedProbes = [...probes, ...probes].sort(compareBytes);
          expect(map.getMany(sortedProbes)).toEqual(sortedProbes.map((key) => map.get(key)));
        }
      });
    },
  );

  it("does not grow when half the keys are deleted and inserted again, ten times over", () => {
    for (const shape of ["paths", "shuffled dense integers", "random lengths"]) {
      const random = new Random(9);
      const keys = random.shuffle(
        SHAPES[shape](shape === "random lengths" ? 4000 : 20_000, random),
      );
      const map = filled(keys);
      const before = map.byteLength;
      for (let round = 0; round < 10; round++) {
        const half = random.shuffle(keys.slice()).slice(0, keys.length / 2);
        for (const key of half) map.delete(key);
        for (const key of half) map.set(key, round);
      }
      expect(map.size).toBe(keys.length);
      expect(map.byteLength / before).toBeLessThan(1.25);
    }
  });

  it("gives memory back: deleting all but one key in a hundred leaves room for as many others", () => {
    const random = new Random(11);
    const keys = random.shuffle(SHAPES["binary UUIDs"](40_000, random));
    const map = filled(keys.slice(0, 20_000));
    const before = map.byteLength;
    keys.slice(200, 20_000).forEach((key) => {
      map.delete(key);
    });
    keys.slice(20_000).forEach((key) => {
      map.set(key, 1);
    });
    expect(map.byteLength / before).toBeLessThan(1.25);
  });

  it.each([
    "sequential integers",
    "descending integers",
    "shuffled dense integers",
    "bit-reversed integers",
    "integers inside out",
    "timestamps",
    "binary UUIDs",
    "textual UUIDs",
    "one common prefix of 200 bytes",
    "all 256 bytes at every level",
  ])("takes at most 16 bytes beyond each key, its value included: %s", (shape) => {
    const keys = SHAPES[shape](50_000, new Random(2));
    const rawBytes = keys.reduce((sum, key) => sum + key.length, 0);
    expect((filled(keys).byteLength - rawBytes) / keys.length).toBeLessThan(16);
  });

  it("may change during a walk", () => {
    const keys = SHAPES["paths"](300, new Random(1)).sort(compareBytes);
    const map = filled(keys);
    const visited: string[] = [];
    for (const [key] of map.entries()) {
      visited.push(decode(key));
      map.delete(key);
    }
    expect(visited).toEqual(keys.map(decode));
    expect(map.size).toBe(0);
  });
});
