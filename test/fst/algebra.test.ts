import { describe, expect, test } from "vitest";
import { InvalidArgumentError } from "../../src/errors.ts";
import {
  difference,
  FrozenLayer,
  FrozenLayerBuilder,
  intersection,
  union,
} from "../../src/fst/index.ts";
import { random, sorted, utf8 } from "./shapes.ts";

function build(entries: ReadonlyMap<string, number>): FrozenLayer {
  const builder = new FrozenLayerBuilder();
  for (const key of sorted([...entries.keys()].map(utf8))) {
    builder.insert(key, entries.get(Buffer.from(key).toString()) ?? -1);
  }
  return new FrozenLayer(builder.finish());
}

/** Maps of which some are small, some empty, and all have keys in common. */
function randomMaps(seed: number): Map<string, number>[] {
  const next = random(seed);
  return Array.from({ length: next(5) }, (_, layer) => {
    const count = [0, 3, 50, 2000][next(4)];
    const entries = new Map<string, number>();
    for (let i = 0; i < count; i++) {
      entries.set(next(1500).toString(4), 1000 * layer + i);
    }
    return entries;
  });
}

const RANGES = [{}, { gte: utf8("12") }, { prefix: utf8("2") }, { gt: utf8("1"), lt: utf8("101") }];

function isWithin(key: string, range: (typeof RANGES)[number]): boolean {
  const { gt, gte, lt, prefix } = range as Record<string, Uint8Array | undefined>;
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
  return (
    (gt === undefined || key > text(gt)) &&
    (gte === undefined || key >= text(gte)) &&
    (lt === undefined || key < text(lt)) &&
    (prefix === undefined || key.startsWith(text(prefix)))
  );
}

describe.each(Array.from({ length: 30 }, (_, i) => i + 1))("layers of seed %i", (seed) => {
  const maps = randomMaps(seed);
  const layers = maps.map(build);
  const all = [...new Set(maps.flatMap((map) => [...map.keys()]))].sort((a, b) => (a < b ? -1 : 1));

  test.each(RANGES)("answer as maps do, within %o", (range) => {
    const keys = all.filter((key) => isWithin(key, range));
    const text = <V>([key, value]: [Uint8Array, V]): [string, V] => [
      Buffer.from(key).toString(),
      value,
    ];
    expect(Array.from(union(layers, range), text)).toEqual(
      keys.map((key) => [key, maps.map((map) => map.get(key))]),
    );
    expect(Array.from(intersection(layers, range), text)).toEqual(
      keys
        .filter((key) => maps.every((map) => map.has(key)))
        .map((key) => [key, maps.map((map) => map.get(key))]),
    );
    if (maps.length === 0) return;
    const [first, ...others] = maps;
    expect(Array.from(difference(layers[0], layers.slice(1), range), text)).toEqual(
      keys
        .filter((key) => first.has(key) && !others.some((map) => map.has(key)))
        .map((key) => [key, first.get(key)]),
    );
  });
});

test("an order or a limit is refused", () => {
  const layer = build(new Map([["a", 1]]));
  expect(() => [...union([layer], { reverse: true } as never)]).toThrow(InvalidArgumentError);
  expect(() => [...intersection([layer], { limit: 1 } as never)]).toThrow(InvalidArgumentError);
});

test.each<[string, () => Iterable<unknown>]>([
  ["one layer that is no array", () => union(build(new Map()) as never)],
  ["what is no layer", () => intersection([{} as never])],
  ["others that are no array", () => difference(build(new Map()), build(new Map()) as never)],
  ["no layer", () => difference(undefined as never, [])],
  ["null for a range", () => union([build(new Map())], null as never)],
])("%s is an InvalidArgumentError", (_, call) => {
  expect(() => [...call()]).toThrow(InvalidArgumentError);
});
