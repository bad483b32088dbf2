/**
 * FrozenLayer against plain JavaScript structures over the same keys: size, lookups, scans, searches.
 *
 *   npm run bench -- frozen-layer [--data DIR] [--keys N] [--rounds N] [--quick] [--json] [SET ...]
 *
 * For urls, names and paths: sizes in % of the keys' own bytes, for keys and ordinals, with the
 * default registry, with one of 2,097,152 cells, and with the default one but not packed; and the
 * build. For each SET (default: urls), lookups and scans: see key-workload.ts. Searches, in URLs and
 * names, are compared with a scan of all keys by the cursor: 0.01 is a search in a hundredth of its
 * time. What is searched for are keys with one letter changed, and beginnings of keys.
 *
 * Every answer is checked. Figures are medians over the rounds, with least and greatest; one round
 * more comes first and is not counted. Only all keys (--data DIR) compare with the README's.
 */
import { loadChecksum } from "../src/bytes/checksum.ts";
import {
  FrozenLayer,
  FrozenLayerBuilder,
  type FrozenLayerBuilderOptions,
} from "../src/fst/index.ts";
import type { Automaton } from "../src/search/automaton.ts";
import { fuzzy } from "../src/search/fuzzy.ts";
import { regex } from "../src/search/regex.ts";
import {
  cpuMicros,
  type DataSet,
  describeMachine,
  expectEqual,
  type Figure,
  figureOf,
  interleave,
  type KeySet,
  keyAt,
  keyCount,
  loadKeys,
  printFigures,
  printProgress,
  Random,
  readOptions,
} from "./harness.ts";
import { type KeyStructure, measureKeySpeeds, prepareKeys } from "./key-workload.ts";

const LARGE_REGISTRY_CELLS = 2_097_152;

/** Searches of one kind in a round. */
const SEARCHES = 21;

/** In which sets is searched: for what keys, and how many bytes of them a regex begins with. */
const SEARCHED: Partial<Record<DataSet, { readonly words: RegExp; readonly prefixBytes: number }>> =
  {
    urls: { words: /^https:..github\.com.[a-z-]{6,12}.[a-z-]{6,12}$/, prefixBytes: 23 },
    names: { words: /^[a-z-]{6,12}$/, prefixBytes: 4 },
  };

/** The bars, by set: with the default registry, and with a large one. */
const SIZE_BARS: Record<DataSet, readonly [number, number]> = {
  urls: [40.5, 36],
  names: [57, 51],
  paths: [11.2, 9.2],
};

const options = readOptions(10_000_000);
await loadChecksum();
const lookedUp = options.names.length > 0 ? options.names : ["urls"];

function build(keys: KeySet, options: FrozenLayerBuilderOptions = {}): Uint8Array {
  const builder = new FrozenLayerBuilder({ ...options, values: false });
  for (let i = 0; i < keyCount(keys); i++) builder.insert(keyAt(keys, i));
  return builder.finish();
}

/** Sizes, and the rates of the builds. The first build warms up; a large registry is timed once. */
function measureBuilds(set: DataSet, keys: KeySet): Figure[] {
  const [sizeBar, largeSizeBar] = SIZE_BARS[set];
  const builds = [
    { name: "", rounds: options.rounds, sizeBar, rateBar: 1, options: {} },
    { name: ", not packed", rounds: options.rounds, options: { pack: false } },
    {
      name: ", large registry",
      rounds: 1,
      sizeBar: largeSizeBar,
      options: { registryCells: LARGE_REGISTRY_CELLS },
    },
  ];
  build(keys);
  return builds.flatMap(({ name, rounds, sizeBar, rateBar, options }) => {
    printProgress(`${set}: build${name}`);
    let size = 0;
    const rates: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const before = cpuMicros();
      size = build(keys, options).length;
      rates.push(keyCount(keys) / (cpuMicros() - before));
    }
    const sizeName = { set, row: `size${name}`, unit: "% of keys", bar: sizeBar, isCeiling: true };
    return [
      figureOf(sizeName, [(100 * size) / keys.bytes.length]),
      figureOf({ set, row: `build${name}`, unit: "M keys/s", bar: rateBar }, rates),
    ];
  });
}

function structureOf(layer: FrozenLayer): KeyStructure {
  return {
    lookups: {
      "": (views, from, to, ordinals) => {
        for (let i = from; i < to; i++) ordinals[i] = layer.get(views[i]) ?? -1;
      },
    },
    cursor: () => layer.cursor(),
    keyLengthAt: (ordinal) => layer.keyAt(ordinal).length,
  };
}

interface SearchKind {
  readonly row: string;
  readonly bar?: number;
  readonly patterns: readonly Automaton[];
}

/** Searches as people do them, with the bar of each in names. */
function searches(set: DataSet, keys: KeySet, random: Random): SearchKind[] {
  const searched = SEARCHED[set];
  if (searched === undefined) return [];
  const { prefixBytes } = searched;
  const words: string[] = [];
  while (words.length < SEARCHES) {
    const text = Buffer.from(keyAt(keys, random.below(keyCount(keys)))).toString();
    if (searched.words.test(text)) words.push(text);
  }
  const misspelt = words.map((word) => {
    const at = random.below(word.length);
    return `${word.slice(0, at)}q${word.slice(at + 1)}`;
  });
  const fuzzies = (distance: number): Automaton[] => misspelt.map((word) => fuzzy(word, distance));
  const literal = (text: string): string => text.replaceAll(".", "\\.");
  const withPrefix = words.map((word) =>
    regex(`${literal(word.slice(0, prefixBytes))}.*${word.slice(-1)}`),
  );
  const kinds: SearchKind[] = [
    { row: "fuzzy distance 1", bar: 1 / 50, patterns: fuzzies(1) },
    { row: "fuzzy distance 2", bar: 1 / 5, patterns: fuzzies(2) },
    { row: "fuzzy distance 3", patterns: fuzzies(3) },
    { row: `regex, prefix of ${prefixBytes} bytes`, bar: 1 / 50, patterns: withPrefix },
    { row: "regex .*abc.*", bar: 2, patterns: [regex(".*abc.*")] },
  ];
  return set === "names" ? kinds : kinds.map(({ row, patterns }) => ({ row, patterns }));
}

/** Searches and a scan of all keys, once a round; a search's time is the mean over its patterns. */
function measureSearches(set: DataSet, keys: KeySet, layer: FrozenLayer): Figure[] {
  const kinds = searches(set, keys, new Random(42));
  const found = kinds.map(() => 0);
  const micros: number[][] = kinds.map(() => []);
  const shares: number[][] = kinds.map(() => []);
  for (let round = 0; round <= options.rounds; round++) {
    printProgress(`${set}: searches, round ${round} of ${options.rounds}`);
    const works = kinds.map(({ patterns }, i) => () => {
      let count = 0;
      for (const pattern of patterns) for (const _ of layer.search(pattern)) count++;
      found[i] = count / patterns.length;
    });
    const scan = (): void => {
      let passed = 0;
      const cursor = layer.cursor();
      for (cursor.seekToFirst(); cursor.isValid; cursor.next()) passed++;
      expectEqual(passed, layer.size, "keys scanned");
    };
    const nanos = interleave([...works, scan], 1);
    if (round === 0) continue;
    for (const [i, { patterns }] of kinds.entries()) {
      const mean = nanos[i] / patterns.length;
      micros[i].push(mean / 1000);
      shares[i].push(mean / nanos[kinds.length]);
    }
  }
  return kinds.flatMap(({ row, bar }, i) => [
    figureOf({ set, row, unit: "of a scan", bar, isCeiling: true }, shares[i]),
    figureOf({ set, row, unit: "us", isCeiling: true }, micros[i]),
    figureOf({ set, row, unit: "keys found" }, [found[i]]),
  ]);
}

const figures: Figure[] = [];
for (const set of ["urls", "names", "paths"] as DataSet[]) {
  printProgress(`${set}: loading`);
  const keys = loadKeys(set, options);
  if (keys === undefined) continue;
  figures.push(...measureBuilds(set, keys));
  if (!lookedUp.includes(set) && SEARCHED[set] === undefined) continue;
  const layer = new FrozenLayer(build(keys));
  if (lookedUp.includes(set)) {
    const workload = prepareKeys(set, keys, options);
    figures.push(...measureKeySpeeds(workload, structureOf(layer), {}, options));
  }
  if (SEARCHED[set] !== undefined) figures.push(...measureSearches(set, keys, layer));
}
if (options.json) {
  console.log(JSON.stringify({ machine: describeMachine(), options, figures }, null, 2));
} else {
  printFigures(figures, options);
}
