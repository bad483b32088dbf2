/**
 * FrozenLayer against plain JavaScript structures over the same keys: size, lookups, scans, searches.
 *
 *   npm run bench -- fst [--data DIR] [--keys N] [--rounds N] [--json]
 *
 * Sizes are in % of the keys' own bytes, for keys and ordinals: with the default registry, with one
 * of 2,097,152 cells, and with the default one but not packed. Lookups take keys as bytes, in a
 * shuffled order, and are compared with Map<string, number>.get of the same keys as strings, made
 * anew for each round, since a string keeps its hash from its first lookup on. Scans go over all keys
 * with a cursor, and are compared with going over a sorted string[] through Buffer.from. Searches
 * are compared with a scan of all keys by the cursor: "1/300" is a search in a 300th of its time.
 * Every answer is checked. Figures are medians over the rounds; a ratio is the median of the ratios of
 * single rounds. Only with all names (--data DIR --keys 8000000) do they compare with the README's.
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
  interleave,
  type KeySet,
  keyAt,
  keyCount,
  loadKeys,
  median,
  printTable,
  Random,
  readOptions,
  reorder,
  toKeySet,
  toStrings,
} from "./harness.ts";

const LOOKUPS = 1_000_000;
const LARGE_REGISTRY_CELLS = 2_097_152;

/** Searches of one kind, of which the median counts. */
const SEARCHES = 21;

const options = readOptions();
await loadChecksum();

function build(keys: KeySet, options: FrozenLayerBuilderOptions = {}): Uint8Array {
  const builder = new FrozenLayerBuilder({ ...options, values: false });
  for (let i = 0; i < keyCount(keys); i++) builder.insert(keyAt(keys, i));
  return builder.finish();
}

function expectEqual(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: expected ${expected}, found ${actual}`);
}

/** Nanoseconds of one call. */
function time(call: () => void): number {
  return interleave([call], 1)[0];
}

interface Sizes {
  readonly keys: number;
  readonly rawBytes: number;
  readonly layer: number;
  readonly large: number;
  readonly unpacked: number;
}

function sizes(keys: KeySet, bytes: Uint8Array): Sizes {
  const percent = (length: number): number => (100 * length) / keys.bytes.length;
  return {
    keys: keyCount(keys),
    rawBytes: keys.bytes.length,
    layer: percent(bytes.length),
    large: percent(build(keys, { registryCells: LARGE_REGISTRY_CELLS }).length),
    unpacked: percent(build(keys, { pack: false }).length),
  };
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
  const count = keyCount(keys);
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
  expectEqual(scanned, keys.bytes.length, "bytes scanned");
  expectEqual(plainScanned, keys.bytes.length, "bytes of strings");
  cursor.seekToLast();
  scanned = 0;
  const backward = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++, cursor.prev()) scanned += cursor.keyLength;
      },
      (from, to) => {
        for (let i = from; i < to; i++) {
          plainScanned += Buffer.from(sorted[count - 1 - i], "latin1").length;
        }
      },
    ],
    count,
  );
  expectEqual(scanned, keys.bytes.length, "bytes scanned backward");
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
  const built = time(() => build(keys)) / count;
  return {
    hit: [hit[0], hit[1]],
    miss: [miss[0], miss[1]],
    "scan forward": [forward[0], forward[1]],
    "scan backward": [backward[0], backward[1]],
    keyAt: [select, undefined],
    build: [built, undefined],
  };
}

/** A key with one byte changed, near its end or anywhere, that is not in the map. */
function missOf(key: Uint8Array, map: Map<string, number>, random: Random): Uint8Array {
  for (;;) {
    const miss = key.slice();
    if (miss.length > 0) miss[random.below(miss.length)] = 0x61 + random.below(26);
    if (!map.has(Buffer.from(miss).toString("latin1"))) return miss;
    key = miss.length > 0 ? miss : Uint8Array.of(0x61);
  }
}

function searches(
  name: DataSet,
  keys: KeySet,
  random: Random,
): [name: string, automata: Automaton[]][] {
  // Names as people search for them; whole keys of the others.
  const isWanted = name === "names" ? /^[a-z-]{6,12}$/ : /^[\x20-\x7e]{20,60}$/;
  const words: string[] = [];
  while (words.length < SEARCHES) {
    const text = Buffer.from(keyAt(keys, random.below(keyCount(keys)))).toString();
    if (isWanted.test(text)) words.push(text);
  }
  const misspelt = words.map((word) => {
    const at = random.below(word.length);
    return `${word.slice(0, at)}q${word.slice(at + 1)}`;
  });
  const prefixOf = (word: string): string => word.slice(0, name === "names" ? 4 : word.length / 2);
  const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  return [
    ["fuzzy distance 1", misspelt.map((word) => fuzzy(word, 1))],
    ["fuzzy distance 2", misspelt.map((word) => fuzzy(word, 2))],
    ["fuzzy distance 3", misspelt.map((word) => fuzzy(word, 3))],
    [
      name === "names" ? "regex, prefix of 4 bytes" : "regex, half the key as prefix",
      words.map((word) => regex(`${escaped(prefixOf(word))}.*${escaped(word.slice(-1))}`)),
    ],
    ["regex .*abc.*", [regex(".*abc.*")]],
  ];
}

interface SearchRow {
  readonly found: number;
  readonly micros: number;
  readonly scans: number;
}

function search(layer: FrozenLayer, automata: readonly Automaton[]): SearchRow {
  const rows = automata.map((automaton) => {
    let found = 0;
    let passed = 0;
    const [searched, scanned] = interleave(
      [
        () => {
          for (const _ of layer.search(automaton)) found++;
        },
        () => {
          const cursor = layer.cursor();
          for (cursor.seekToFirst(); cursor.isValid; cursor.next()) passed++;
        },
      ],
      1,
    );
    expectEqual(passed, layer.size, "keys scanned");
    return { found, micros: searched / 1000, scans: searched / scanned };
  });
  return {
    found: median(rows.map((row) => row.found)),
    micros: median(rows.map((row) => row.micros)),
    scans: median(rows.map((row) => row.scans)),
  };
}

function share(ratio: number): string {
  return ratio < 1 ? `1/${(1 / ratio).toFixed(ratio < 0.1 ? 0 : 1)}` : ratio.toFixed(2);
}

const results: Record<string, unknown>[] = [];
for (const name of ["urls", "names", "paths"] as DataSet[]) {
  const keys = loadKeys(name, options);
  if (keys === undefined) continue;
  const random = new Random(42);
  const bytes = build(keys);
  const strings = toStrings(keys, 0, keyCount(keys));
  const map = new Map(strings.map((key, i) => [key, i]));
  const order = random.permutation(keyCount(keys)).subarray(0, LOOKUPS);
  const hits = reorder(keys, order);
  const misses = toKeySet(
    Array.from(order, (ordinal) => missOf(keyAt(keys, ordinal), map, random)),
  );
  const layer = new FrozenLayer(bytes);
  const workload = { keys, layer, order, hits, misses, map, sorted: strings };
  // The first round warms up what the compiler and the caches have to learn.
  const rounds = Array.from({ length: options.rounds + 1 }, () => round(workload)).slice(1);
  const speeds = Object.keys(rounds[0]).map((row) => {
    const nanos = median(rounds.map((figures) => figures[row][0]));
    const ratios = rounds.flatMap((figures) => {
      const [own, plain] = figures[row];
      return plain === undefined ? [] : [plain / own];
    });
    return {
      row,
      millionsPerSecond: 1000 / nanos,
      ratio: ratios.length === 0 ? undefined : median(ratios),
    };
  });
  results.push({
    name,
    sizes: sizes(keys, bytes),
    openMs: time(() => new FrozenLayer(bytes)) / 1e6,
    speeds,
    searches: searches(name, keys, random).map(([kind, automata]) => ({
      kind,
      ...search(layer, automata),
    })),
  });
}

if (options.json) {
  console.log(JSON.stringify({ machine: describeMachine(), options, results }, null, 2));
} else {
  print(results as unknown as readonly Result[]);
}

interface Result {
  readonly name: string;
  readonly sizes: Sizes;
  readonly openMs: number;
  readonly speeds: { row: string; millionsPerSecond: number; ratio: number | undefined }[];
  readonly searches: ({ kind: string } & SearchRow)[];
}

function print(all: readonly Result[]): void {
  const { node, cpu, cpus } = describeMachine();
  console.log(`Node ${node}, ${cpus} x ${cpu}; medians of ${options.rounds} rounds\n`);
  printTable(
    all.map(({ name, sizes, openMs }) => ({
      keys: name,
      count: sizes.keys,
      "raw bytes": sizes.rawBytes,
      "size %": sizes.layer.toFixed(1),
      "large registry %": sizes.large.toFixed(1),
      "not packed %": sizes.unpacked.toFixed(1),
      "open ms": openMs.toFixed(1),
    })),
  );
  console.log();
  printTable(
    all.flatMap(({ name, speeds }) =>
      speeds.map(({ row, millionsPerSecond, ratio }) => ({
        keys: name,
        workload: row,
        "M/s": millionsPerSecond.toFixed(2),
        "times plain JS": ratio === undefined ? "" : ratio.toFixed(2),
      })),
    ),
  );
  console.log();
  printTable(
    all.flatMap(({ name, searches }) =>
      searches.map(({ kind, found, micros, scans }) => ({
        keys: name,
        search: kind,
        found,
        us: micros.toFixed(0),
        "of a scan": share(scans),
      })),
    ),
  );
}
