/**
 * ArenaArt against Map and sorted-btree over the same keys: memory, inserts, lookups, walks.
 *
 *   npm run bench -- art [--data DIR] [--keys N] [--rounds N] [--json]
 *
 * ArenaArt takes keys as bytes, Map and sorted-btree (nodes of 256) take the same keys as strings.
 * Both are made shortly before they are used, outside the timing, and the strings looked up are not
 * the objects that were inserted: as in any program, whose keys have just come from elsewhere. Every
 * answer is checked. Figures are medians over the rounds; a ratio is the median of the ratios of
 * single rounds.
 */
import BTreeModule from "sorted-btree";
import { ArenaArt } from "../src/art/arena-art.ts";
import { ArenaArtReader } from "../src/art/arena-art-reader.ts";
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
  toViews,
} from "./harness.ts";

const BTree = BTreeModule.default;
type StringTree = InstanceType<typeof BTree<string, number>>;

const RESERVED_BYTES = 2 ** 29;
const SEEKS = 100_000;
const SEEK_KEYS = 10;
const GROUP = 64;

const options = readOptions();
const random = new Random(42);
const urls = loadKeys("urls", options);
if (urls === undefined) throw new Error("there are no URLs");

function fill(keys: KeySet): ArenaArt {
  const map = new ArenaArt({ capacityBytes: RESERVED_BYTES });
  for (let i = 0; i < keyCount(keys); i++) map.set(keyAt(keys, i), i);
  return map;
}

function expectEqual(actual: number, expected: number, what: string): void {
  if (actual !== expected) throw new Error(`${what}: expected ${expected}, found ${actual}`);
}

// Memory: bytes beyond the keys' own, a key. Values of 8 bytes are inside.

function integers(count: number, make: (key: Uint8Array, i: number) => void): KeySet {
  return toKeySet(
    Array.from({ length: count }, (_, i) => {
      const key = new Uint8Array(8);
      make(key, i);
      return key;
    }),
  );
}

function overheads(): Record<string, number> {
  const sets: [string, KeySet | undefined][] = (["urls", "paths", "names"] as DataSet[]).map(
    (name) => [name, loadKeys(name, options)],
  );
  sets.push([
    "random 8 bytes",
    integers(1_000_000, (key) => {
      for (let i = 0; i < 8; i++) key[i] = random.below(256);
    }),
  ]);
  sets.push([
    "sequential integers",
    integers(1_000_000, (key, i) => {
      new DataView(key.buffer).setUint32(4, i);
    }),
  ]);
  const bytesByName: Record<string, number> = {};
  for (const [name, keys] of sets) {
    if (keys === undefined) continue;
    const map = fill(reorder(keys, random.permutation(keyCount(keys))));
    bytesByName[name] = (map.byteLength - keys.bytes.length) / map.size;
  }
  return bytesByName;
}

// Time.

type Row = "insert" | "get" | "miss" | "iterate" | "seek + 10" | "sorted insert" | "getMany(64)";
type Figures = Record<string, number>;

/** One round: nanoseconds an operation, by row and contender. */
function round(keys: KeySet): Record<Row, Figures> {
  const count = keyCount(keys);
  const inserted = reorder(keys, random.permutation(count));
  const probes = reorder(inserted, random.permutation(count));
  const misses = reorder(missingKeys(keys), random.permutation(count));
  const art = new ArenaArt({ capacityBytes: RESERVED_BYTES });
  const shared = new ArenaArt({ capacityBytes: RESERVED_BYTES });
  // While no reader has a slot, there is nothing to measure: blocks are reused at once.
  const reader = new ArenaArtReader(shared.share());
  const map = new Map<string, number>();
  const tree = new BTree<string, number>(undefined, undefined, 256);
  let views: Uint8Array[] = [];
  let strings: string[] = [];
  let stringNanos = 0;
  const prepareFrom = (source: KeySet) => (from: number, to: number) => {
    views = toViews(source, from, to);
    const makeStrings = () => {
      strings = toStrings(source, from, to);
    };
    // What it costs a program that has bytes to ask a map of strings.
    stringNanos = interleave([makeStrings], to - from, { sliceSize: to - from })[0];
  };
  const named = (names: string[], nanos: number[]): Figures => {
    const figures = Object.fromEntries(names.map((name, i) => [name, nanos[i]]));
    return { ...figures, "Map of bytes": figures["Map"] + stringNanos };
  };

  const insertInto = (target: ArenaArt) => (from: number) => {
    for (let i = 0; i < views.length; i++) target.set(views[i], from + i);
  };
  const insert = named(
    ["ArenaArt", "Map", "sorted-btree", "shared"],
    interleave(
      [
        insertInto(art),
        (from) => {
          for (let i = 0; i < strings.length; i++) map.set(strings[i], from + i);
        },
        (from) => {
          for (let i = 0; i < strings.length; i++) tree.set(strings[i], from + i);
        },
        insertInto(shared),
      ],
      count,
      { prepare: prepareFrom(inserted) },
    ),
  );
  if (!reader.isCurrent) throw new Error("the map has moved away from its reader");
  reader.close();
  const lookup = (source: KeySet, isHit: boolean): Figures => {
    const found = [0, 0, 0];
    const nanos = interleave(
      [
        () => {
          for (const key of views) if (art.get(key) !== undefined) found[0]++;
        },
        () => {
          for (const key of strings) if (map.get(key) !== undefined) found[1]++;
        },
        () => {
          for (const key of strings) if (tree.get(key) !== undefined) found[2]++;
        },
      ],
      count,
      { prepare: prepareFrom(source) },
    );
    for (const hits of found) expectEqual(hits, isHit ? count : 0, "keys found");
    return named(["ArenaArt", "Map", "sorted-btree"], nanos);
  };
  return {
    insert,
    get: lookup(probes, true),
    miss: lookup(misses, false),
    iterate: iterate(art, tree, count),
    "seek + 10": seek(art, tree, probes),
    "getMany(64)": getMany(art, probes),
    "sorted insert": sortedInsert(keys),
  };
}

/** The keys with one byte changed, so that none is there. */
function missingKeys(keys: KeySet): KeySet {
  const bytes = keys.bytes.slice();
  for (let i = 0; i < keyCount(keys); i++) {
    const length = keys.starts[i + 1] - keys.starts[i];
    if (length > 0) bytes[keys.starts[i] + random.below(length)] = 1;
  }
  return { bytes, starts: keys.starts };
}

function iterate(art: ArenaArt, tree: StringTree, count: number): Figures {
  let sum = 0;
  const [artNanos, treeNanos] = interleave(
    [
      () => {
        let visited = 0;
        art.forEach((_, length) => {
          sum += length;
          visited++;
        });
        expectEqual(visited, count, "keys visited");
      },
      () => {
        let visited = 0;
        tree.forEachPair((key) => {
          sum += key.length;
          visited++;
        });
        expectEqual(visited, count, "keys visited");
      },
    ],
    3,
    { sliceSize: 1 },
  );
  if (sum === 0) throw new Error("no keys");
  return { ArenaArt: artNanos / count, "sorted-btree": treeNanos / count };
}

function seek(art: ArenaArt, tree: StringTree, probes: KeySet): Figures {
  const count = Math.min(SEEKS, keyCount(probes));
  let views: Uint8Array[] = [];
  let strings: string[] = [];
  let sum = 0;
  const visit = (_: Uint8Array, length: number) => {
    sum += length;
  };
  const [artNanos, treeNanos] = interleave(
    [
      () => {
        for (const gte of views) art.forEach(visit, { gte, limit: SEEK_KEYS });
      },
      () => {
        for (const string of strings) {
          let left = SEEK_KEYS;
          for (const [key] of tree.entries(string)) {
            sum -= key.length;
            if (--left === 0) break;
          }
        }
      },
    ],
    count,
    {
      sliceSize: 1024,
      prepare: (from, to) => {
        views = toViews(probes, from, to);
        strings = toStrings(probes, from, to);
      },
    },
  );
  expectEqual(sum, 0, "difference of the lengths of the keys visited");
  return { ArenaArt: artNanos, "sorted-btree": treeNanos };
}

function getMany(art: ArenaArt, probes: KeySet): Figures {
  const count = keyCount(probes);
  let groups: Uint8Array[][] = [];
  let found = 0;
  const [many, single] = interleave(
    [
      () => {
        for (const keys of groups) {
          for (const value of art.getMany(keys)) if (value !== undefined) found++;
        }
      },
      () => {
        for (const keys of groups) {
          for (const key of keys) if (art.get(key) !== undefined) found++;
        }
      },
    ],
    count,
    {
      prepare: (from, to) => {
        groups = [];
        for (let i = from; i < to; i += GROUP) {
          groups.push(toViews(probes, i, Math.min(i + GROUP, to)));
        }
      },
    },
  );
  expectEqual(found, 2 * count, "keys found");
  return { ArenaArt: many, "one by one": single };
}

function sortedInsert(keys: KeySet): Figures {
  const map = new ArenaArt({ capacityBytes: RESERVED_BYTES });
  let views: Uint8Array[] = [];
  const insert = (from: number) => {
    for (let i = 0; i < views.length; i++) map.set(views[i], from + i);
  };
  const [nanos] = interleave([insert], keyCount(keys), {
    prepare: (from, to) => {
      views = toViews(keys, from, to);
    },
  });
  return { ArenaArt: nanos };
}

const bytesByName = overheads();
const rounds = Array.from({ length: options.rounds }, () => round(urls));
/** Millions of operations a second, round by round. */
const rates = (row: Row, contender = "ArenaArt") => rounds.map((r) => 1000 / r[row][contender]);
/** How many times as fast as `to` a contender is, round by round. */
const ratios = (row: Row, to: string, of = "ArenaArt") =>
  rounds.map((r) => r[row][to] / r[row][of]);

interface Figure {
  readonly figure: string;
  /** One for each round. */
  readonly values: readonly number[];
  /** As `>= 0.9`; empty where none is set. */
  readonly bar: string;
}

function isMet(value: number, bar: string): boolean {
  const [sign, limit] = bar.split(" ");
  return sign === "<=" ? value <= Number(limit) : value >= Number(limit);
}
const bars: Record<string, number> = {
  urls: -12,
  paths: -31,
  names: 3,
  "random 8 bytes": 16,
  "sequential integers": 10,
};
const figures: Figure[] = [
  ...Object.entries(bytesByName).map(([name, bytes]) => ({
    figure: `overhead, ${name}, B/key`,
    values: [bytes],
    bar: `<= ${bars[name]}`,
  })),
  ...(["insert", "get", "miss"] as const).flatMap((row) => [
    { figure: `${row}, M/s`, values: rates(row), bar: "" },
    {
      figure: `${row} / Map`,
      values: ratios(row, "Map"),
      bar: row === "miss" ? "" : ">= 0.9",
    },
    { figure: `${row} / Map, strings made of bytes`, values: ratios(row, "Map of bytes"), bar: "" },
    {
      figure: `${row} / sorted-btree`,
      values: ratios(row, "sorted-btree"),
      bar: row === "miss" ? "" : ">= 2.5",
    },
  ]),
  { figure: "iterate, M/s", values: rates("iterate"), bar: ">= 10" },
  { figure: "iterate / sorted-btree", values: ratios("iterate", "sorted-btree"), bar: ">= 1.2" },
  { figure: "sorted insert, M/s", values: rates("sorted insert"), bar: ">= 2" },
  { figure: "seek + 10 / sorted-btree", values: ratios("seek + 10", "sorted-btree"), bar: ">= 4" },
  { figure: "getMany(64) / get", values: ratios("getMany(64)", "one by one"), bar: ">= 1.3" },
  {
    figure: "insert, with a reader / without",
    values: ratios("insert", "ArenaArt", "shared"),
    bar: ">= 0.85",
  },
];

const results = figures.map(({ figure, values, bar }) => {
  const value = median(values);
  const spread = [Math.min(...values), Math.max(...values)];
  return { figure, value, spread, bar, isMet: bar === "" ? undefined : isMet(value, bar) };
});

if (options.json) {
  const context = { ...describeMachine(), keys: keyCount(urls), rounds: options.rounds };
  console.log(JSON.stringify({ context, results }));
} else {
  const { node, cpu } = describeMachine();
  console.log(`${keyCount(urls)} URLs, median of ${options.rounds} rounds; Node ${node}, ${cpu}\n`);
  printTable(
    results.map(({ figure, value, spread, bar, isMet: met }) => ({
      figure,
      median: value.toFixed(2),
      spread: spread.map((end) => end.toFixed(2)).join(" to "),
      bar,
      met: met === undefined ? "" : met ? "yes" : "no",
    })),
  );
}
