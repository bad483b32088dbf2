/**
 * What the benches of sorted keys share: lookups and scans of one structure against a Map and a
 * sorted array over the same keys.
 *
 * Lookups are shuffled and take keys as bytes; they are compared with Map<string, number>.get of the
 * same keys as strings, made anew for each round, since a string keeps its hash from its first lookup
 * on. A miss is a key with one byte changed, near its end or anywhere. Scans go over the first keys
 * with a cursor, both ways, and are compared with going over a sorted string[] through Buffer.from.
 * Every answer is checked. One round more comes first and is not counted.
 */
import {
  type BenchOptions,
  type DataSet,
  expectEqual,
  type Figure,
  figureOf,
  interleave,
  type KeySet,
  keyAt,
  keyCount,
  missOf,
  printProgress,
  Random,
  reorder,
  toKeySet,
  toStrings,
  toViews,
  type Work,
} from "./harness.ts";

/** Keys that a round scans, at most. */
const SCANNED_KEYS = 2_000_000;

export interface KeyWorkload {
  readonly set: DataSet;
  readonly keys: KeySet;
  readonly sorted: readonly string[];
  readonly map: ReadonlyMap<string, number>;
  /** Ordinals of the keys looked up. */
  readonly order: Int32Array;
  readonly hits: readonly Uint8Array[];
  readonly misses: readonly Uint8Array[];
  /** The same keys in one buffer each, which strings are made of. */
  readonly hitKeys: KeySet;
  readonly missKeys: KeySet;
}

/** A structure over the keys of a workload. */
export interface KeyStructure {
  /** Ways to look keys up, by name: each sets ordinals[i] to the ordinal of keys[i], or to -1. */
  readonly lookups: Readonly<Record<string, Lookup>>;
  cursor(): KeyWalk;
  /** Makes the key of that ordinal, and returns its length. */
  keyLengthAt(ordinal: number): number;
}

/** Looks keys [from, to) up. */
export type Lookup = (
  keys: readonly Uint8Array[],
  from: number,
  to: number,
  ordinals: Int32Array,
) => void;

export interface KeyWalk {
  readonly keyLength: number;
  seekToFirst(): void;
  seekToLast(): void;
  next(): void;
  prev(): void;
}

/** What the figures should reach, by row and unit. */
export type KeyBars = Readonly<Record<string, number>>;

export function prepareKeys(set: DataSet, keys: KeySet, options: BenchOptions): KeyWorkload {
  const random = new Random(42);
  const sorted = toStrings(keys, 0, keyCount(keys));
  const map = new Map(sorted.map((key, i) => [key, i]));
  const order = random.permutation(keyCount(keys)).subarray(0, options.lookups);
  const hitKeys = reorder(keys, order);
  const missKeys = toKeySet(
    Array.from(order, (ordinal) => missOf(keyAt(keys, ordinal), map, random)),
  );
  const hits = toViews(hitKeys, 0, order.length);
  const misses = toViews(missKeys, 0, order.length);
  return { set, keys, sorted, map, order, hits, misses, hitKeys, missKeys };
}

/** Rates of the structure, and ratios to the plain ones, one of each a round. */
export function measureKeySpeeds(
  workload: KeyWorkload,
  structure: KeyStructure,
  bars: KeyBars,
  options: BenchOptions,
): Figure[] {
  const rounds: Round[] = [];
  for (let i = 0; i <= options.rounds; i++) {
    printProgress(`${workload.set}: lookups and scans, round ${i} of ${options.rounds}`);
    rounds.push(round(workload, structure));
  }
  rounds.shift();
  const { set } = workload;
  return Object.keys(rounds[0]).flatMap((row) => {
    const figure = (unit: string, valueIn: (timing: Timing, round: Round) => number): Figure => {
      const name = { set, row, unit, bar: bars[`${row}, ${unit}`] };
      return figureOf(
        name,
        rounds.map((round) => valueIn(round[row], round)),
      );
    };
    const figures = [figure("M/s", ({ nanos }) => 1000 / nanos)];
    const { plain } = rounds[0][row];
    if (plain !== undefined) {
      figures.push(figure(plain.name, ({ nanos, plain }) => (plain?.nanos ?? 0) / nanos));
    }
    if (row === BACKWARD) {
      figures.push(figure("x forward", ({ nanos }, round) => round[FORWARD].nanos / nanos));
    }
    return figures;
  });
}

const FORWARD = "scan forward";
const BACKWARD = "scan backward";

/** Nanoseconds an operation of the structure, and of what it is compared with. */
interface Timing {
  readonly nanos: number;
  readonly plain?: { readonly name: string; readonly nanos: number };
}

/** Timings by row. */
type Round = Record<string, Timing>;

function round(workload: KeyWorkload, structure: KeyStructure): Round {
  const { order, hits, misses, hitKeys, missKeys } = workload;
  const none = new Int32Array(order.length).fill(-1);
  return {
    ...lookupTimings("hit", workload, structure, { views: hits, keys: hitKeys, expected: order }),
    ...lookupTimings("miss", workload, structure, {
      views: misses,
      keys: missKeys,
      expected: none,
    }),
    ...scanTimings(workload, structure),
    keyAt: selectTiming(workload, structure),
  };
}

interface Asked {
  readonly views: readonly Uint8Array[];
  readonly keys: KeySet;
  readonly expected: Int32Array;
}

function lookupTimings(
  row: string,
  { map }: KeyWorkload,
  { lookups }: KeyStructure,
  { views, keys, expected }: Asked,
): Round {
  const count = views.length;
  const strings = toStrings(keys, 0, count);
  const ordinals = new Int32Array(count);
  const names = Object.keys(lookups);
  const works = names.map((name): Work => {
    const lookup = lookups[name];
    return (from, to) => {
      lookup(views, from, to, ordinals);
      for (let i = from; i < to; i++) expectEqual(ordinals[i], expected[i], `${row}${name}`);
    };
  });
  works.push((from, to) => {
    for (let i = from; i < to; i++) expectEqual(map.get(strings[i]) ?? -1, expected[i], "map");
  });
  const nanos = interleave(works, count);
  const plain = { name: "x Map.get", nanos: nanos[names.length] };
  return Object.fromEntries(names.map((name, i) => [`${row}${name}`, { nanos: nanos[i], plain }]));
}

function scanTimings({ keys, sorted }: KeyWorkload, structure: KeyStructure): Round {
  const count = Math.min(SCANNED_KEYS, sorted.length);
  const scan = (start: (walk: KeyWalk) => void, step: (walk: KeyWalk) => void, plain: Work) => {
    const walk = structure.cursor();
    start(walk);
    const [nanos, plainNanos] = interleave(
      [
        (from, to) => {
          for (let i = from; i < to; i++) {
            scanned += walk.keyLength;
            step(walk);
          }
        },
        plain,
      ],
      count,
    );
    expectEqual(scanned, plainScanned, "bytes scanned");
    return { nanos, plain: { name: "x string[]", nanos: plainNanos } };
  };
  let scanned = 0;
  let plainScanned = 0;
  const forward = scan(
    (walk) => walk.seekToFirst(),
    (walk) => walk.next(),
    (from, to) => {
      for (let i = from; i < to; i++) plainScanned += Buffer.from(sorted[i], "latin1").length;
    },
  );
  const last = keyCount(keys) - 1;
  const backward = scan(
    (walk) => walk.seekToLast(),
    (walk) => walk.prev(),
    (from, to) => {
      for (let i = from; i < to; i++) {
        plainScanned += Buffer.from(sorted[last - i], "latin1").length;
      }
    },
  );
  return { [FORWARD]: forward, [BACKWARD]: backward };
}

function selectTiming({ order, hits }: KeyWorkload, structure: KeyStructure): Timing {
  const [nanos] = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++) {
          expectEqual(structure.keyLengthAt(order[i]), hits[i].length, "keyAt");
        }
      },
    ],
    order.length,
  );
  return { nanos };
}
