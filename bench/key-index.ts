/**
 * The key index of a segment against plain JavaScript structures over the same keys.
 *
 *   node --import tsx bench/key-index.ts <file of sorted lines> [--keys n] [--rounds n] [--json]
 *
 * Rows: size by part; build, training included; random hits and misses, keys as bytes, against the
 * first pass of Map<string, number>.get over the same keys as strings; forward and backward scans
 * against iterating a sorted string[] through Buffer.from; keyAt. Everything is timed in each round, in
 * turn, after one round that is not counted; given are median, least and greatest. Time is what the
 * process spent on a CPU, so that other processes weigh less. Every answer is checked.
 *
 * The order of lookups is a seeded Fisher-Yates shuffle. Strings are made anew for every round, since
 * a string keeps its hash from its first lookup on.
 */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { loadChecksum } from "../src/bytes/checksum.ts";
import { KeyBuffer } from "../src/segment/key-buffer.ts";
import { KeyIndex, KeyIndexBuilder } from "../src/segment/keys.ts";
import { SymbolSampler, symbolCountFor, trainSymbols } from "../src/segment/symbol-training.ts";

const MAX_LOOKUPS = 1_000_000;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    keys: { type: "string", default: "100000000" },
    rounds: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
  },
});
const path = positionals[0];
if (path === undefined) throw new Error("usage: key-index.ts <file of sorted lines>");
const rounds = Number(options.rounds);
await loadChecksum();

/** The lines, as ranges of one buffer. */
const source = readFileSync(path);
const starts: number[] = [];
const ends: number[] = [];
for (let pos = 0; pos < source.length && starts.length < Number(options.keys); ) {
  const newline = source.indexOf(10, pos);
  const end = newline < 0 ? source.length : newline;
  starts.push(pos);
  ends.push(end);
  pos = end + 1;
}
const keyCount = starts.length;
let rawBytes = 0;
for (let i = 0; i < keyCount; i++) rawBytes += ends[i] - starts[i];

const order = shuffled(keyCount);
const lookupCount = Math.min(MAX_LOOKUPS, keyCount);
const hitKeys: Uint8Array[] = [];
const missKeys: Uint8Array[] = [];
const map = new Map<string, number>();
const sorted: string[] = [];
for (let i = 0; i < keyCount; i++) {
  const text = source.toString("latin1", starts[i], ends[i]);
  map.set(text, i);
  sorted.push(text);
}
for (let i = 0; i < lookupCount; i++) {
  const key = new Uint8Array(source.subarray(starts[order[i]], ends[order[i]]));
  hitKeys.push(key);
  missKeys.push(missOf(key));
}

const bytes = build();
const index = new KeyIndex(bytes, path, 0);
const rates = new Map<string, number[]>();
for (let round = 0; round <= rounds; round++) {
  const isCounted = round > 0;
  const hits = stringsOf(hitKeys);
  const misses = stringsOf(missKeys);
  record(isCounted, "build", keyCount, () => build());
  record(isCounted, "map hit", lookupCount, () => mapLookups(hits, true));
  record(isCounted, "hit", lookupCount, () => indexHits());
  record(isCounted, "map miss", lookupCount, () => mapLookups(misses, false));
  record(isCounted, "miss", lookupCount, () => indexMisses());
  record(isCounted, "array forward", keyCount, () => arrayScan());
  record(isCounted, "forward", keyCount, () => forwardScan());
  record(isCounted, "backward", keyCount, () => backwardScan());
  record(isCounted, "keyAt", lookupCount, () => selects());
}
report();

function build(): Uint8Array {
  const sampler = new SymbolSampler();
  let coded = 0;
  for (let i = 1; i < keyCount; i++) {
    const shared = commonPrefix(i - 1, i);
    sampler.add(source, starts[i] + shared, ends[i]);
    coded += ends[i] - starts[i] - shared;
  }
  const builder = new KeyIndexBuilder(trainSymbols(sampler.finish(), symbolCountFor(coded)));
  const key = new Uint8Array(65_536);
  for (let i = 0; i < keyCount; i++) {
    const length = ends[i] - starts[i];
    for (let j = 0; j < length; j++) key[j] = source[starts[i] + j];
    builder.add(key, length);
  }
  return new Uint8Array(Buffer.concat(builder.finish()));
}

function mapLookups(keys: readonly string[], areThere: boolean): void {
  let wrong = 0;
  for (let i = 0; i < keys.length; i++) {
    const value = map.get(keys[i]);
    if (value !== (areThere ? order[i] : undefined)) wrong++;
  }
  expectNone(wrong, "the map");
}

function indexHits(): void {
  let wrong = 0;
  for (let i = 0; i < lookupCount; i++) {
    if (index.find(hitKeys[i], hitKeys[i].length) !== order[i]) wrong++;
  }
  expectNone(wrong, "hits");
}

function indexMisses(): void {
  let wrong = 0;
  for (let i = 0; i < lookupCount; i++) {
    if (index.find(missKeys[i], missKeys[i].length) !== -1) wrong++;
  }
  expectNone(wrong, "misses");
}

function arrayScan(): void {
  let length = 0;
  for (const text of sorted) length += Buffer.from(text, "latin1").length;
  expectNone(length - rawBytes, "the array's scan");
}

function forwardScan(): void {
  let length = 0;
  const cursor = index.cursor();
  for (cursor.seekToFirst(); cursor.isValid; cursor.next()) length += cursor.keyLength;
  expectNone(length - rawBytes, "the forward scan");
}

function backwardScan(): void {
  let length = 0;
  const cursor = index.cursor();
  for (cursor.seekToLast(); cursor.isValid; cursor.prev()) length += cursor.keyLength;
  expectNone(length - rawBytes, "the backward scan");
}

function selects(): void {
  const key = new KeyBuffer();
  let wrong = 0;
  for (let i = 0; i < lookupCount; i++) {
    index.keyAt(order[i], key);
    if (key.length !== hitKeys[i].length || key.bytes[key.length - 1] !== hitKeys[i].at(-1))
      wrong++;
  }
  expectNone(wrong, "keyAt");
}

function commonPrefix(a: number, b: number): number {
  const limit = Math.min(ends[a] - starts[a], ends[b] - starts[b]);
  let shared = 0;
  while (shared < limit && source[starts[a] + shared] === source[starts[b] + shared]) shared++;
  return shared;
}

/** The key with a byte changed, at any place, so that no key is like it. */
function missOf(key: Uint8Array): Uint8Array {
  for (let place = (key.length * 7) >> 3; ; place = (place + 1) % (key.length + 1)) {
    const miss = Uint8Array.of(...key, ...(place === key.length ? [33] : []));
    if (place < key.length) miss[place] ^= 1;
    if (!map.has(textOf(miss))) return miss;
  }
}

function stringsOf(keys: readonly Uint8Array[]): string[] {
  return keys.map(textOf);
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1");
}

/** 0 to count - 1, by Fisher and Yates. */
function shuffled(count: number): Uint32Array {
  const result = Uint32Array.from({ length: count }, (_, i) => i);
  let state = 0x2545f491;
  for (let i = count - 1; i > 0; i--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const j = Math.floor(((state >>> 0) / 2 ** 32) * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}

function record(isCounted: boolean, name: string, operations: number, run: () => void): void {
  const start = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(start);
  const rate = operations / (user + system);
  if (isCounted) rates.set(name, [...(rates.get(name) ?? []), rate]);
}

function expectNone(wrong: number, where: string): void {
  if (wrong !== 0) throw new Error(`${wrong} wrong answers of ${where}`);
}

function median(name: string): number {
  const sortedRates = (rates.get(name) ?? []).toSorted((a, b) => a - b);
  return sortedRates[sortedRates.length >> 1];
}

function report(): void {
  const sizes = index.sizes();
  const percent = (part: number): number => Number(((100 * part) / rawBytes).toFixed(3));
  const result = {
    node: process.version,
    cpu: cpus()[0].model,
    keyCount,
    rawBytes,
    sizePercent: {
      all: percent(bytes.length),
      top: percent(sizes.top),
      symbols: percent(sizes.symbols),
      pages: percent(sizes.pages),
      inMemory: percent(index.memoryBytes),
    },
    millionsPerSecond: Object.fromEntries(
      [...rates].map(([name, all]) => [
        name,
        [median(name), Math.min(...all), Math.max(...all)].map((rate) => Number(rate.toFixed(3))),
      ]),
    ),
    ratios: {
      "hit / map hit": Number((median("hit") / median("map hit")).toFixed(2)),
      "miss / map miss": Number((median("miss") / median("map miss")).toFixed(2)),
      "forward / array": Number((median("forward") / median("array forward")).toFixed(2)),
      "backward / forward": Number((median("backward") / median("forward")).toFixed(2)),
    },
  };
  if (options.json) {
    console.log(JSON.stringify(result, undefined, 2));
    return;
  }
  console.log(`${path}: ${keyCount} keys, ${rawBytes} bytes, ${process.version}, ${result.cpu}`);
  console.log("size, % of raw key bytes");
  console.table(result.sizePercent);
  console.log("millions per second");
  console.table(
    Object.fromEntries(
      Object.entries(result.millionsPerSecond).map(([name, [mid, least, most]]) => [
        name,
        { median: mid, least, most },
      ]),
    ),
  );
  console.table(result.ratios);
}
