import { describe, expect, test } from "vitest";
import { InvalidArgumentError } from "../../src/errors.ts";
import { BRANCH, END, ESCAPE, FINAL } from "../../src/fst/format.ts";
import { FrozenLayer, FrozenLayerBuilder } from "../../src/fst/index.ts";
import { shapes, utf8 } from "./shapes.ts";

describe("insert", () => {
  const full = new Uint8Array(65_536);
  const tooLong = new Uint8Array(65_537);
  test.each<[string, Uint8Array[], RegExp]>([
    ["a key again", [utf8("pear"), utf8("pear")], /"pear" was inserted twice/],
    ["the empty key again", [utf8(""), utf8("")], /"" was inserted twice/],
    ["a smaller key", [utf8("pear"), utf8("fig")], /"fig" was inserted after "pear"/],
    ["the beginning of the key before", [utf8("pear"), utf8("pea")], /"pea" .* after "pear"/],
    ["a signed comparison", [Uint8Array.of(0x80), Uint8Array.of(0x7f)], /0x7f .* after 0x80/],
    ["a long key again", [full, full], /0x0+\.\.\. \(65536 bytes\) was inserted twice/],
    ["a key too long", [tooLong], /at most 65536 bytes; this one has 65537/],
    ["a key that is no Uint8Array", ["a" as never], /Uint8Array, not string/],
  ])("refuses %s, and says which", (_, keys, message) => {
    const builder = new FrozenLayerBuilder();
    const insertAll = (): void => {
      for (const key of keys) builder.insert(key, 1);
    };
    expect(insertAll).toThrow(InvalidArgumentError);
    expect(() => builder.insert(keys.at(-1) ?? full, 1)).toThrow(message);
  });

  test.each([undefined, -1, 0.5, Number.NaN, 2 ** 53, "1"])("refuses the value %s", (value) => {
    const builder = new FrozenLayerBuilder();
    expect(() => builder.insert(utf8("a"), value as number)).toThrow(InvalidArgumentError);
    expect(builder.size).toBe(0);
  });

  test("takes the ordinal for a value in a set, and nothing else", () => {
    const builder = new FrozenLayerBuilder({ values: false });
    builder.insert(utf8("a"), 0);
    builder.insert(utf8("b"));
    expect(() => builder.insert(utf8("c"), 7)).toThrow(/ordinal, 2, not 7/);
    builder.insert(utf8("c"), 2);
    expect(new FrozenLayer(builder.finish()).get(utf8("c"))).toBe(2);
  });

  test("goes on after a refused key as if it had not been tried", () => {
    const builder = new FrozenLayerBuilder();
    builder.insert(utf8("b"), 1);
    expect(() => builder.insert(utf8("a"), 2)).toThrow(InvalidArgumentError);
    expect(() => builder.insert(utf8("c"), -2)).toThrow(InvalidArgumentError);
    builder.insert(utf8("bb"), 3);
    const layer = new FrozenLayer(builder.finish());
    expect([...layer]).toEqual([
      [utf8("b"), 1],
      [utf8("bb"), 3],
    ]);
  });

  test("copies the key", () => {
    const builder = new FrozenLayerBuilder();
    const key = utf8("a");
    builder.insert(key, 1);
    key[0] = 0x62;
    builder.insert(key, 2);
    expect(new FrozenLayer(builder.finish()).size).toBe(2);
  });
});

describe("a builder", () => {
  test.each([0, -1, 1.5, 2 ** 26 + 1, Number.NaN])("refuses %s registry cells", (cells) => {
    expect(() => new FrozenLayerBuilder({ registryCells: cells })).toThrow(/registryCells/);
  });

  test("cannot be used once it finished", () => {
    const builder = new FrozenLayerBuilder();
    builder.finish();
    expect(() => builder.finish()).toThrow(InvalidArgumentError);
    expect(() => builder.insert(utf8("a"), 1)).toThrow(InvalidArgumentError);
  });
});

/** States of the smallest automaton for these keys: how many sets of endings their beginnings have. */
function smallestStateCount(keys: readonly Uint8Array[]): number {
  const endings = new Map<string, string[]>();
  for (const key of keys) {
    const text = Buffer.from(key).toString("latin1");
    for (let at = 0; at <= text.length; at++) {
      const beginning = text.slice(0, at);
      endings.set(beginning, [...(endings.get(beginning) ?? []), text.slice(at)]);
    }
  }
  return new Set([...endings.values()].map((set) => JSON.stringify(set))).size;
}

/** States that were written: transitions by one byte, branches, and END. Copied tails count twice. */
function writtenStateCount(bytes: Uint8Array): number {
  let states = 1;
  for (let pos = 48; pos < bytes.length; ) {
    const element = bytes[pos];
    if (element >= BRANCH) {
      const field = (element >> 4) & 3;
      const count = field === 3 ? bytes[pos + 1] + 2 : field + 2;
      const widths = ((element >> 2) & 3) + 1 + [0, 1, 2, 4][element & 3];
      pos += (field === 3 ? 2 : 1) + count + (count - 1) * widths;
      states++;
    } else if (element === FINAL || element === END) {
      pos++;
    } else if (element <= ESCAPE && (element < 0xb8 || element === ESCAPE)) {
      pos += element === ESCAPE ? 2 : 1;
      states++;
    } else {
      pos += element - 0xb8 + 2;
    }
  }
  return states;
}

describe("with a registry for all of them, the states are as few as can be", () => {
  const small = shapes().filter(([name]) =>
    ["few letters", "paths of words", "URLs"].includes(name),
  );

  test.each(small)("%s", (_, keys) => {
    // Tails of up to three bytes are copied where an address would take as much; with a letter
    // at the end that no tail shares, none is that short.
    const some = keys.slice(0, 1500).map((key) => utf8(`${Buffer.from(key)}/the-end`));
    some.sort(Buffer.compare);
    const builder = new FrozenLayerBuilder({
      values: false,
      registryCells: 1 << 20,
      pack: false,
    });
    for (const key of some) builder.insert(key);
    expect(writtenStateCount(builder.finish())).toBe(smallestStateCount(some));
  });
});
