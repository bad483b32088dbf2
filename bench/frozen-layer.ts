/**
 * FrozenLayer against plain JavaScript structures over the same keys: size, lookups, scans, searches.
 *
 *   npm run bench -- frozen-layer [--data DIR] [--keys N] [--rounds N] [--quick] [--json] [SET ...]
 *
 * For each SET (default: urls, names and paths): sizes in % of the keys' own bytes, for keys and
 * ordinals: with the default registry, with one of 2,097,152 cells, and with the default one but not
 * packed; and the build. Lookups take keys as bytes, in a shuffled order, and are compared with
 * Map<string, number>.get of the same keys as strings, made anew for each round, since a string keeps
 * its hash from its first lookup on. Scans go over the first million keys with a cursor, and are
 * compared with going over a sorted string[] through Buffer.from. Searches, in names, are compared
 * with a scan of all keys by the cursor: 0.01 is a search in a hundredth of its time.
 *
 * Every answer is checked. Figures are medians over the rounds (of searches: over patterns), with
 * least and greatest; one round more comes first and is not counted. Only all keys (--data DIR)
 * compare with the README's.
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
  missOf,
  printFigures,
  Random,
  readOptions,
  reorder,
  toKeySet,
  toStrings,
} from "./harness.ts";

const LARGE_REGISTRY_CELLS = 2_097_152;

/** Searches of one kind, of which the median counts. */
const SEARCHES = 21;

/** Keys that a round scans. */
const SCANNED_KEYS = 1_000_000;

/** The bars, by set: with the default registry, and with a large one. */
const SIZE_BARS: Record<DataSet, readonly [number, number]> = {
  urls: [40.5, 36],
  names: [57, 51],
  paths: [11.2, 9.2],
};

const options = readOptions(10_000_000);
await loadChecksum();

function build(keys: KeySet, options: FrozenLayerBuilderOptions = {}): Uint8Array {
  const builder = new FrozenLayerBuilder({ ...options, values: false });
  for (let i = 0; i < keyCount(keys); i++) builder.insert(keyAt(keys, i));
  return builder.finish();
}

/** Nanoseconds of one call. */
function time(call: () => void): number {
  return interleave([call], 1)[0];
}

function measureSizes(set: DataSet, keys: KeySet, bytes: Uint8Array): Figure[] {
  const [bar, largeBar] = SIZE_BARS[set];
  const large = build(keys, { registryCells: LARGE_REGISTRY_CELLS });
  const unpacked = build(keys, { pack: false });
  const rows: [string, Uint8Array, number?][] = [
    ["size", bytes, bar],
    ["size, large registry", large, largeBar],
    ["size, not packed", unpacked],
  ];
  return rows.map(([row, layer, bar]) =>
    figureOf({ set, row, unit: "% of keys", bar, isCeiling: true }, [
      (100 * layer.length) / keys.bytes.length,
    ]),
  );
}

/** Rates of building, without a warm-up: `measureSizes` was one. */
function measureBuild(set: DataSet, keys: KeySet, packs: boolean): Figure {
  const rates = Array.from(
    { length: options.rounds },
    () => (1000 * keyCount(keys)) / time(() => build(keys, { pack: packs })),
  );
  const name = packs ? { row: "build", bar: 1 } : { row: "build, not packed" };
  return figureOf({ set, unit: "M keys/s", ...name }, rates);
}

/** One round: nanoseconds an operation of the layer, and of the plain structure, by row. */
type Round = Record<string, readonly [layer: number, plain: number | undefined]>;

interface Workload {
  readonly keys: KeySet;
  readonly layer: FrozenLayer;
  readonly order: Int32Array;
  readonly hits: KeySet;
  readonly misses: KeySet;
  readonly map: Map<string, number>;
  readonly sorted: readonly string[];
}

function round({ keys, layer, order, hits, misses, map, sorted }: Workload): Round {
  const count = Math.min(SCANNED_KEYS, keyCount(keys));
  const lookups = keyCount(hits);
  const hitStrings = toStrings(hits, 0, lookups);
  const missStrings = toStrings(misses, 0, lookups);
  const hit = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++) expectEqual(layer.get(keyAt(hits, i)), order[i], "hit");
      },
      (from, to) => {
        for (let i = from; i < to; i++) expectEqual(map.get(hitStrings[i]), order[i], "map hit");
      },
    ],
    lookups,
  );
  const miss = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++) expectEqual(layer.get(keyAt(misses, i)), undefined, "miss");
      },
      (from, to) => {
        for (let i = from; i < to; i++) expectEqual(map.get(missStrings[i]), undefined, "map miss");
      },
    ],
    lookups,
  );
  const cursor = layer.cursor();
  cursor.seekToFirst();
  let scanned = 0;
  let plainScanned = 0;
  const forward = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++, cursor.next()) scanned += cursor.keyLength;
      },
      (from, to) => {
        for (let i = from; i < to; i++) plainScanned += Buffer.from(sorted[i], "latin1").length;
      },
    ],
    count,
  );
  expectEqual(scanned, plainScanned, "bytes scanned");
  cursor.seekToLast();
  scanned = 0;
  plainScanned = 0;
  const backward = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++, cursor.prev()) scanned += cursor.keyLength;
      },
      (from, to) => {
        for (let i = from; i < to; i++) {
          plainScanned += Buffer.from(sorted[sorted.length - 1 - i], "latin1").length;
        }
      },
    ],
    count,
  );
  expectEqual(scanned, plainScanned, "bytes scanned backward");
  const [select] = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++) {
          const length = keys.starts[order[i] + 1] - keys.starts[order[i]];
          expectEqual(layer.keyAt(order[i]).length, length, "keyAt");
        }
      },
    ],
    lookups,
  );
  return {
    hit: [hit[0], hit[1]],
    miss: [miss[0], miss[1]],
    "scan forward": [forward[0], forward[1]],
    "scan backward": [backward[0], backward[1]],
    keyAt: [select, undefined],
  };
}

/** Searches as people do them in names, with the bar of each. */
function searches(
  keys: KeySet,
  random: Random,
): [row: string, bar: number | undefined, patterns: Automaton[]][] {
  const words: string[] = [];
  while (words.length < SEARCHES) {
    const text = Buffer.from(keyAt(keys, random.below(keyCount(keys)))).toString();
    if (/^[a-z-]{6,12}$/.test(text)) words.push(text);
  }
  const misspelt = words.map((word) => {
    const at = random.below(word.length);
    return `${word.slice(0, at)}q${word.slice(at + 1)}`;
  });
  const withPrefix = words.map((word) => regex(`${word.slice(0, 4)}.*${word.slice(-1)}`));
  return [
    ["fuzzy distance 1", 1 / 50, misspelt.map((word) => fuzzy(word, 1))],
    ["fuzzy distance 2", 1 / 5, misspelt.map((word) => fuzzy(word, 2))],
    ["fuzzy distance 3", undefined, misspelt.map((word) => fuzzy(word, 3))],
    ["regex, prefix of 4 bytes", 1 / 50, withPrefix],
    ["regex .*abc.*", 2, Array.from({ length: options.rounds }, () => regex(".*abc.*"))],
  ];
}

function measureSearches(set: DataSet, keys: KeySet, layer: FrozenLayer): Figure[] {
  return searches(keys, new Random(42)).flatMap(([row, bar, patterns]) => {
    const found: number[] = [];
    const shares: number[] = [];
    const micros: number[] = [];
    for (const pattern of patterns) {
      let count = 0;
      let passed = 0;
      const [searched, scanned] = interleave(
        [
          () => {
            for (const _ of layer.search(pattern)) count++;
          },
          () => {
            const cursor = layer.cursor();
            for (cursor.seekToFirst(); cursor.isValid; cursor.next()) passed++;
          },
        ],
        1,
      );
      expectEqual(passed, layer.size, "keys scanned");
      found.push(count);
      micros.push(searched / 1000);
      shares.push(searched / scanned);
    }
    return [
      figureOf({ set, row, unit: "of a scan", bar, isCeiling: true }, shares),
      figureOf({ set, row, unit: "us", isCeiling: true }, micros),
      figureOf({ set, row, unit: "keys found" }, found),
    ];
  });
}

function measureSpeeds(set: DataSet, keys: KeySet, layer: FrozenLayer): Figure[] {
  const random = new Random(42);
  const sorted = toStrings(keys, 0, keyCount(keys));
  const map = new Map(sorted.map((key, i) => [key, i]));
  const order = random.permutation(keyCount(keys)).subarray(0, options.lookups);
  const hits = reorder(keys, order);
  const misses = toKeySet(
    Array.from(order, (ordinal) => missOf(keyAt(keys, ordinal), map, random)),
  );
  const workload = { keys, layer, order, hits, misses, map, sorted };
  const rounds = Array.from({ length: options.rounds + 1 }, () => round(workload)).slice(1);
  return Object.keys(rounds[0]).flatMap((row) => {
    const rate = figureOf(
      { set, row, unit: "M/s" },
      rounds.map((figures) => 1000 / figures[row][0]),
    );
    const ratios = rounds.flatMap((figures) => {
      const [own, plain] = figures[row];
      return plain === undefined ? [] : [plain / own];
    });
    const unit = row.startsWith("scan") ? "x string[]" : "x Map.get";
    return ratios.length === 0 ? [rate] : [rate, figureOf({ set, row, unit }, ratios)];
  });
}

const sets = options.names.length > 0 ? options.names : ["urls", "names", "paths"];
const figures: Figure[] = [];
for (const set of sets as DataSet[]) {
  const keys = loadKeys(set, options);
  if (keys === undefined) continue;
  const bytes = build(keys);
  const layer = new FrozenLayer(bytes);
  figures.push(
    ...measureSizes(set, keys, bytes),
    measureBuild(set, keys, true),
    measureBuild(set, keys, false),
    ...measureSpeeds(set, keys, layer),
  );
  if (set === "names") figures.push(...measureSearches(set, keys, layer));
}
if (options.json) {
  console.log(JSON.stringify({ machine: describeMachine(), options, figures }, null, 2));
} else {
  printFigures(figures, options);
}
