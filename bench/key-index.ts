/**
 * The key index of a segment against plain JavaScript structures over the same keys.
 *
 *   npm run bench -- key-index [--data DIR] [--keys N] [--rounds N] [--quick] [--json] [SET ...]
 *
 * For urls, names and paths: the size by part, in % of the keys' own bytes, and the build, training
 * included; it learns from windows of keys spread evenly, as the engine does. For each SET (default:
 * urls), one million lookups in a shuffled order, keys as bytes, against Map<string, number>.get of
 * the same keys as strings, made anew for each round, since a string keeps its hash from its first
 * lookup on; `with filter` asks the point-lookup filter first, as a segment does where a key is
 * probably absent, and counts the hash of the key in. Scans go over all keys, against going over a
 * sorted string[] through Buffer.from. For paths: a segment of all keys is opened, and the time of
 * reading the bytes that it keeps is taken off.
 *
 * A miss is a key with one byte changed, near its end or anywhere. Every answer is checked. Figures
 * are medians over the rounds, with least and greatest; one round more comes first and is not
 * counted. Only all keys (--data DIR) compare with the README's.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadChecksum } from "../src/bytes/checksum.ts";
import { EntryKind } from "../src/entry.ts";
import { NodeFileSystem } from "../src/io/node.ts";
import { BlockCache } from "../src/segment/block-cache.ts";
import { Filter, FilterBuilder, keyHash } from "../src/segment/filter.ts";
import { KeyBuffer } from "../src/segment/key-buffer.ts";
import { KeyIndex, KeyIndexBuilder } from "../src/segment/keys.ts";
import { Segment } from "../src/segment/reader.ts";
import { SymbolSampler, symbolCountFor, trainSymbols } from "../src/segment/symbol-training.ts";
import type { SymbolTable } from "../src/segment/symbols.ts";
import { BlockEncoding } from "../src/segment/value-block.ts";
import { DEFAULT_FILTER_BITS_PER_KEY, SegmentWriter } from "../src/segment/writer.ts";
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
  missOf,
  printFigures,
  Random,
  readOptions,
  reorder,
  toKeySet,
  toStrings,
} from "./harness.ts";

/** Keys that training looks at: windows enough to fill its sample. */
const SAMPLE_WINDOWS = 43_000;
const WINDOW_KEYS = 16;

/** The bars, by set. */
const SIZE_BARS: Record<DataSet, number> = { urls: 19, names: 27, paths: 10 };
const BUILD_BARS: Partial<Record<DataSet, number>> = { urls: 0.75, paths: 1 };

const options = readOptions(10_000_000);
await loadChecksum();
const lookedUp = options.names.length > 0 ? options.names : ["urls"];

function train(keys: KeySet): SymbolTable {
  const { bytes, starts } = keys;
  const count = keyCount(keys);
  const sampler = new SymbolSampler();
  const windows = Math.min(SAMPLE_WINDOWS, Math.ceil(count / WINDOW_KEYS));
  let sampled = 0;
  let sampledBytes = 0;
  for (let window = 0; window < windows; window++) {
    const first = Math.floor((count * window) / windows);
    for (let i = first + 1; i < Math.min(first + WINDOW_KEYS, count); i++) {
      const end = starts[i + 1];
      let pos = starts[i];
      for (let before = starts[i - 1]; pos < end && bytes[pos] === bytes[before]; before++) pos++;
      sampler.add(bytes, pos, end);
      sampled++;
      sampledBytes += end - pos;
    }
  }
  const total = sampled === 0 ? 0 : (sampledBytes / sampled) * count;
  return trainSymbols(sampler.finish(), symbolCountFor(total));
}

function build(keys: KeySet): Uint8Array[] {
  const { bytes, starts } = keys;
  const builder = new KeyIndexBuilder(train(keys));
  const key = new Uint8Array(65_536);
  for (let i = 0; i < keyCount(keys); i++) {
    const start = starts[i];
    const length = starts[i + 1] - start;
    for (let j = 0; j < length; j++) key[j] = bytes[start + j];
    builder.add(key, length);
  }
  return builder.finish();
}

function measureSize(set: DataSet, keys: KeySet, index: KeyIndex): Figure[] {
  const percent = (part: number): number => (100 * part) / keys.bytes.length;
  const { top, symbols, pages } = index.sizes();
  const rows: [string, number, number?][] = [
    ["size", index.byteLength, SIZE_BARS[set]],
    ["- transducer", top],
    ["- symbols", symbols],
    ["- pages", pages],
    ["in memory", index.memoryBytes],
  ];
  return rows.map(([row, bytes, bar]) =>
    figureOf({ set, row, unit: "% of keys", bar, isCeiling: true }, [percent(bytes)]),
  );
}

function measureBuild(set: DataSet, keys: KeySet): Figure {
  const rates = Array.from(
    { length: options.rounds },
    () => (1000 * keyCount(keys)) / interleave([() => build(keys)], 1)[0],
  );
  return figureOf({ set, row: "build", unit: "M keys/s", bar: BUILD_BARS[set] }, rates);
}

/** Rates and ratios of lookups and scans, one of each a round. */
function measureSpeeds(set: DataSet, keys: KeySet, index: KeyIndex): Figure[] {
  const count = keyCount(keys);
  const random = new Random(42);
  const sorted = toStrings(keys, 0, count);
  const map = new Map(sorted.map((key, i) => [key, i]));
  const order = random.permutation(count).subarray(0, options.lookups);
  const hits = reorder(keys, order);
  const misses = toKeySet(
    Array.from(order, (ordinal) => missOf(keyAt(keys, ordinal), map, random)),
  );
  const filters = new FilterBuilder();
  for (let i = 0; i < count; i++) {
    filters.add(keyHash(keyAt(keys, i), keys.starts[i + 1] - keys.starts[i]));
  }
  const filter = new Filter(filters.finish(DEFAULT_FILTER_BITS_PER_KEY));
  const contenders = { keys, index, filter, order, hits, misses, map, sorted };

  const rounds = Array.from({ length: options.rounds + 1 }, () => speeds(contenders)).slice(1);
  const rows: [string, keyof ReturnType<typeof speeds>, keyof ReturnType<typeof speeds>][] = [
    ["hit", "hit", "mapHit"],
    ["hit, with filter", "filteredHit", "mapHit"],
    ["miss", "miss", "mapMiss"],
    ["miss, with filter", "filteredMiss", "mapMiss"],
    ["scan forward", "forward", "arrayForward"],
    ["scan backward", "backward", "arrayBackward"],
  ];
  const figures = rows.flatMap(([row, own, plain]) => {
    const isLookup = !row.startsWith("scan");
    const bar = row === "scan forward" ? 9 : undefined;
    const against = isLookup ? "x Map.get" : "x string[]";
    return [
      figureOf(
        { set, row, unit: "M/s", bar },
        rounds.map((round) => 1000 / round[own]),
      ),
      figureOf(
        { set, row, unit: against, bar: isLookup ? 1.4 : undefined },
        rounds.map((round) => round[plain] / round[own]),
      ),
    ];
  });
  return [
    ...figures,
    figureOf(
      { set, row: "scan backward", unit: "x forward", bar: 0.5 },
      rounds.map((round) => round.forward / round.backward),
    ),
    figureOf(
      { set, row: "keyAt", unit: "M/s", bar: 0.45 },
      rounds.map((round) => 1000 / round.select),
    ),
  ];
}

interface Contenders {
  readonly keys: KeySet;
  readonly index: KeyIndex;
  readonly filter: Filter;
  readonly order: Int32Array;
  readonly hits: KeySet;
  readonly misses: KeySet;
  readonly map: ReadonlyMap<string, number>;
  readonly sorted: readonly string[];
}

/** Nanoseconds for an operation of each kind. */
function speeds({ keys, index, filter, order, hits, misses, map, sorted }: Contenders) {
  const count = keyCount(keys);
  const lookups = keyCount(hits);
  const hitViews = Array.from({ length: lookups }, (_, i) => keyAt(hits, i));
  const missViews = Array.from({ length: lookups }, (_, i) => keyAt(misses, i));
  // Two sets of strings, for the two times that the map is asked.
  const hitStrings = toStrings(hits, 0, lookups);
  const missStrings = toStrings(misses, 0, lookups);
  const [mapHit, hit, filteredHit] = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++) expectEqual(map.get(hitStrings[i]), order[i], "map hit");
      },
      (from, to) => {
        for (let i = from; i < to; i++) {
          expectEqual(index.find(hitViews[i], hitViews[i].length), order[i], "hit");
        }
      },
      (from, to) => {
        for (let i = from; i < to; i++) {
          const key = hitViews[i];
          const mayBeThere = filter.mayContain(keyHash(key, key.length));
          expectEqual(mayBeThere ? index.find(key, key.length) : -1, order[i], "filtered hit");
        }
      },
    ],
    lookups,
  );
  const [mapMiss, miss, filteredMiss] = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++) expectEqual(map.get(missStrings[i]), undefined, "map miss");
      },
      (from, to) => {
        for (let i = from; i < to; i++) {
          expectEqual(index.find(missViews[i], missViews[i].length), -1, "miss");
        }
      },
      (from, to) => {
        for (let i = from; i < to; i++) {
          const key = missViews[i];
          const mayBeThere = filter.mayContain(keyHash(key, key.length));
          expectEqual(mayBeThere ? index.find(key, key.length) : -1, -1, "filtered miss");
        }
      },
    ],
    lookups,
  );
  let scanned = 0;
  const ascending = index.cursor();
  ascending.seekToFirst();
  const [forward, arrayForward] = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++, ascending.next()) scanned += ascending.keyLength;
      },
      (from, to) => {
        for (let i = from; i < to; i++) scanned += Buffer.from(sorted[i], "latin1").length;
      },
    ],
    count,
  );
  const descending = index.cursor();
  descending.seekToLast();
  const [backward, arrayBackward] = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++, descending.prev()) scanned += descending.keyLength;
      },
      (from, to) => {
        for (let i = from; i < to; i++) {
          scanned += Buffer.from(sorted[count - 1 - i], "latin1").length;
        }
      },
    ],
    count,
  );
  expectEqual(scanned, 4 * keys.bytes.length, "bytes scanned");
  const target = new KeyBuffer();
  const [select] = interleave(
    [
      (from, to) => {
        for (let i = from; i < to; i++) {
          index.keyAt(order[i], target);
          expectEqual(target.length, hitViews[i].length, "keyAt");
        }
      },
    ],
    lookups,
  );
  return {
    mapHit,
    hit,
    filteredHit,
    mapMiss,
    miss,
    filteredMiss,
    forward,
    arrayForward,
    backward,
    arrayBackward,
    select,
  };
}

/** Milliseconds to open a segment of all keys, without those of reading what it keeps in memory. */
async function measureOpening(set: DataSet, keys: KeySet): Promise<Figure[]> {
  const directory = mkdtempSync(join(tmpdir(), "memkv-bench-key-index-"));
  const path = join(directory, "000001.seg");
  const fileSystem = new NodeFileSystem();
  const identity = { databaseId: new Uint8Array(16).fill(7), fileNumber: 1 };
  try {
    await writeSegment(keys, { fileSystem, path, identity });
    const opening: number[] = [];
    const reading: number[] = [];
    for (let round = 0; round <= options.rounds; round++) {
      const blockCache = new BlockCache(0);
      let before = cpuMicros();
      const segment = await Segment.open({
        fileSystem,
        path,
        identity,
        blockCache,
        valueLogs: new Map(),
      });
      const opened = (cpuMicros() - before) / 1000;
      expectEqual(segment.meta.keyCount, keyCount(keys), "keys of the segment");
      const start = segment.sections[1].offset;
      const bytes = new Uint8Array(new SharedArrayBuffer(segment.meta.fileBytes - start));
      const file = await fileSystem.open(path, "read");
      before = cpuMicros();
      expectEqual(file.readSync(bytes, start), bytes.length, "bytes read");
      const read = (cpuMicros() - before) / 1000;
      await file.close();
      await segment.close();
      if (round === 0) continue;
      opening.push(opened - read);
      reading.push(read);
    }
    const row = `open ${(keyCount(keys) / 1e6).toFixed(1)} M keys`;
    return [
      figureOf({ set, row, unit: "ms past reading", bar: 20, isCeiling: true }, opening),
      figureOf({ set, row, unit: "ms of reading", isCeiling: true }, reading),
    ];
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function writeSegment(
  keys: KeySet,
  place: Pick<Parameters<typeof SegmentWriter.create>[0], "fileSystem" | "path" | "identity">,
): Promise<void> {
  const coders = {
    keySymbols: train(keys),
    valueEncoding: BlockEncoding.raw,
    valueSymbols: undefined,
    dictionary: new Uint8Array(0),
    isCompressing: false,
  };
  const seqnos = { firstSeqno: 1, lastSeqno: keyCount(keys) };
  const writer = await SegmentWriter.create({ ...place, coders, seqnos });
  const noValue = new Uint8Array(0);
  for (let i = 0; i < keyCount(keys); i++) {
    const key = keyAt(keys, i);
    writer.add(key, key.length, EntryKind.put, noValue);
    if (writer.pendingBytes > 1 << 20) await writer.drain();
  }
  await writer.finish();
}

const figures: Figure[] = [];
for (const set of ["urls", "names", "paths"] as DataSet[]) {
  const keys = loadKeys(set, options);
  if (keys === undefined) continue;
  const index = new KeyIndex(new Uint8Array(Buffer.concat(build(keys))), set, 0);
  figures.push(...measureSize(set, keys, index), measureBuild(set, keys));
  if (lookedUp.includes(set)) figures.push(...measureSpeeds(set, keys, index));
  if (set === "paths" || options.data === undefined) {
    figures.push(...(await measureOpening(set, keys)));
  }
}
if (options.json) {
  console.log(JSON.stringify({ machine: describeMachine(), options, figures }, null, 2));
} else {
  printFigures(figures, options);
}
