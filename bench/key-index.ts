/**
 * The key index of a segment against plain JavaScript structures over the same keys.
 *
 *   npm run bench -- key-index [--data DIR] [--keys N] [--rounds N] [--quick] [--json] [SET ...]
 *
 * For urls, names and paths: the size by part, in % of the keys' own bytes, and the build, training
 * included; it learns from windows of keys spread evenly, as the engine does. For each SET (default:
 * urls), lookups and scans: see key-workload.ts; `with filter` asks the point-lookup filter first, as
 * a segment does where a key is probably absent, and counts the hash of the key in. For paths: a
 * segment of all keys is opened, and the time of reading the bytes that it keeps is taken off.
 *
 * Every answer is checked. Figures are medians over the rounds, with least and greatest. Only all
 * keys (--data DIR) compare with the README's.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadChecksum } from "../src/bytes/checksum.ts";
import { BlockCache } from "../src/cache/block-cache.ts";
import { ValueView } from "../src/cursor/value-view.ts";
import { EntryKind } from "../src/entry.ts";
import { NodeFileSystem } from "../src/io/node.ts";
import { atOnce } from "../src/pieces.ts";
import { Filter, FilterBuilder, keyHash } from "../src/segment/filter.ts";
import { KeyBuffer } from "../src/segment/key-buffer.ts";
import { KeyIndex, KeyIndexBuilder } from "../src/segment/keys.ts";
import { Segment } from "../src/segment/reader.ts";
import { BlockEncoding } from "../src/segment/value-block.ts";
import { DEFAULT_FILTER_BITS_PER_KEY, SegmentWriter } from "../src/segment/writer.ts";
import type { SymbolTable } from "../src/symbols/table.ts";
import { learnSymbols, SymbolSampler, symbolCountFor } from "../src/symbols/training.ts";
import {
  cpuMicros,
  type DataSet,
  describeMachine,
  expectEqual,
  type Figure,
  figureOf,
  type KeySet,
  keyAt,
  keyCount,
  loadKeys,
  printFigures,
  printProgress,
  readOptions,
} from "./harness.ts";
import { type KeyBars, type KeyStructure, measureKeySpeeds, prepareKeys } from "./key-workload.ts";

/** Keys that training looks at: windows enough to fill its sample. */
const SAMPLE_WINDOWS = 43_000;
const WINDOW_KEYS = 16;

/** The bars, by set. */
const SIZE_BARS: Record<DataSet, number> = { urls: 19, names: 27, paths: 10 };
const BUILD_BARS: Partial<Record<DataSet, number>> = { urls: 0.75, paths: 1 };
const SPEED_BARS: KeyBars = {
  "hit, x Map.get": 1.4,
  "miss, x Map.get": 1.4,
  "scan forward, M/s": 9,
  "scan backward, x forward": 0.5,
  "keyAt, M/s": 0.45,
};

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
  return atOnce(learnSymbols(sampler.finish(), symbolCountFor(total)));
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
  const { transducer, symbols, headers, codes } = index.sizes();
  const rows: [string, number, number?][] = [
    ["size", index.byteLength, SIZE_BARS[set]],
    ["- transducer", transducer],
    ["- symbols", symbols],
    ["- headers", headers],
    ["- codes", codes],
    ["in memory", index.memoryBytes],
  ];
  return rows.map(([row, bytes, bar]) =>
    figureOf({ set, row, unit: "% of keys", bar, isCeiling: true }, [percent(bytes)]),
  );
}

function measureBuild(set: DataSet, keys: KeySet): Figure {
  const rates = Array.from({ length: options.rounds }, () => {
    const before = cpuMicros();
    build(keys);
    return keyCount(keys) / (cpuMicros() - before);
  });
  return figureOf({ set, row: "build", unit: "M keys/s", bar: BUILD_BARS[set] }, rates);
}

/** The index, and the ways to look keys up. */
function structureOf(keys: KeySet, index: KeyIndex): KeyStructure {
  const filters = new FilterBuilder();
  for (let i = 0; i < keyCount(keys); i++) {
    filters.add(keyHash(keyAt(keys, i), keys.starts[i + 1] - keys.starts[i]));
  }
  const filter = new Filter(filters.finish(DEFAULT_FILTER_BITS_PER_KEY));
  const target = new KeyBuffer();
  return {
    lookups: {
      "": (views, from, to, ordinals) => {
        for (let i = from; i < to; i++) ordinals[i] = index.find(views[i], views[i].length);
      },
      ", with filter": (views, from, to, ordinals) => {
        for (let i = from; i < to; i++) {
          const key = views[i];
          const mayBeThere = filter.mayContain(keyHash(key, key.length));
          ordinals[i] = mayBeThere ? index.find(key, key.length) : -1;
        }
      },
    },
    cursor: () => index.cursor(),
    keyLengthAt: (ordinal) => {
      index.keyAt(ordinal, target);
      return target.length;
    },
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
  const noValue = new ValueView();
  for (let i = 0; i < keyCount(keys); i++) {
    const key = keyAt(keys, i);
    writer.add(key, key.length, EntryKind.put, noValue);
    if (writer.pendingBytes > 1 << 20) await writer.drain();
  }
  await writer.finish();
}

const figures: Figure[] = [];
for (const set of ["urls", "names", "paths"] as DataSet[]) {
  printProgress(`${set}: loading`);
  const keys = loadKeys(set, options);
  if (keys === undefined) continue;
  printProgress(`${set}: building`);
  const index = new KeyIndex(new Uint8Array(Buffer.concat(build(keys))), set, 0);
  figures.push(...measureSize(set, keys, index), measureBuild(set, keys));
  if (lookedUp.includes(set)) {
    const workload = prepareKeys(set, keys, options);
    figures.push(...measureKeySpeeds(workload, structureOf(keys, index), SPEED_BARS, options));
  }
  if (set === "paths" || options.data === undefined) {
    printProgress(`${set}: opening a segment`);
    figures.push(...(await measureOpening(set, keys)));
  }
}
if (options.json) {
  console.log(JSON.stringify({ machine: describeMachine(), options, figures }, null, 2));
} else {
  printFigures(figures, options);
}
