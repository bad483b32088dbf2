/**
 * The values of a segment: size, and reads of one value against deflated blocks of 16 KiB.
 *
 *   node --import tsx bench/values.ts [<pairs.tsv or .tsv.gz>] [--pairs n] [--rounds n] [--json]
 *
 * Data sets, from pairs of name and URL (by default those in data/): `texts` are the URLs as msgpack
 * strings; `objects` small msgpack maps with name and URL; `documents` maps of about 1 KB, made up
 * from the pairs with seeded choices. Sizes are in % of the values' bytes as msgpack, all blocks,
 * tables and indexes counted; `store` is the whole file against keys and values together.
 *
 * `cold` reads one value with nothing in the block cache (the file is in the page cache), `hot` with
 * everything in it; both in true random order, seeded. `deflate 16K` is what is usual: blocks of
 * 16 KiB deflated at level 1, checked and inflated whole for each read. Everything is timed in each
 * round, in turn, after one round that is not counted; given is the median. Every answer is checked.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { deflateRawSync, gunzipSync, inflateRawSync } from "node:zlib";
import { Packr } from "msgpackr";
import { checksum, loadChecksum } from "../src/bytes/checksum.ts";
import { compareBytes } from "../src/bytes/compare.ts";
import type { Cursor } from "../src/cursor/cursor.ts";
import { EntryKind } from "../src/entry.ts";
import type { File } from "../src/io/file-system.ts";
import { NodeFileSystem } from "../src/io/node.ts";
import { BlockCache } from "../src/segment/block-cache.ts";
import { trainCoders, type ValueCompression } from "../src/segment/coders.ts";
import { EntrySample } from "../src/segment/entry-sample.ts";
import { Section } from "../src/segment/format.ts";
import { Segment } from "../src/segment/reader.ts";
import { SegmentWriter } from "../src/segment/writer.ts";

interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

const COLD_READS = 5000;
const HOT_READS = 200_000;
const BASELINE_BLOCK_BYTES = 16_384;
const MAX_DOCUMENTS = 20_000;
const COMPRESSIONS: readonly ValueCompression[] = ["auto", "none", "deflate"];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    pairs: { type: "string", default: "100000000" },
    rounds: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
  },
});
const bundled = fileURLToPath(new URL("../data/npm-repositories.tsv.gz", import.meta.url));
const rounds = Number(options.rounds);
await loadChecksum();

const fileSystem = new NodeFileSystem();
const directory = mkdtempSync(join(tmpdir(), "memkv-bench-values-"));
const identity = { databaseId: new Uint8Array(16).fill(7), fileNumber: 1 };
const packr = new Packr({ useRecords: false });
const pairs = readPairs(positionals[0] ?? bundled, Number(options.pairs));
const random = seeded(0x2545f491);

const results: Record<string, Record<string, number | string>> = {};
async function measureSet(name: string, unsorted: Entry[]): Promise<void> {
  const entries = unsorted.sort((a, b) => compareBytes(a.key, b.key));
  const rawValues = entries.reduce((sum, { value }) => sum + value.length, 0);
  const rawKeys = entries.reduce((sum, { key }) => sum + key.length, 0);
  const baseline = await DeflatedBlocks.write(entries, join(directory, `${name}.deflated`));
  const times = new Map<string, number[]>();
  const order = Uint32Array.from({ length: HOT_READS }, () =>
    Math.floor(random() * entries.length),
  );

  for (const compression of COMPRESSIONS) {
    const path = join(directory, `${name}-${compression}.seg`);
    const written = await writeSegment(entries, path, compression);
    const blockCache = new BlockCache(0);
    const cold = await Segment.open({ fileSystem, path, identity, blockCache });
    const hot = await Segment.open({
      fileSystem,
      path,
      identity,
      blockCache: new BlockCache(Math.max(1 << 20, rawValues * 2)),
    });
    readSegment(hot, entries, order, HOT_READS);
    for (let round = 0; round <= rounds; round++) {
      const record = (what: string, reads: number, run: () => void): void => {
        const start = performance.now();
        run();
        const microseconds = ((performance.now() - start) * 1000) / reads;
        if (round > 0) times.set(what, [...(times.get(what) ?? []), microseconds]);
      };
      record(`${compression} baseline`, COLD_READS, () =>
        baseline.read(entries, order, COLD_READS),
      );
      record(`${compression} cold`, COLD_READS, () =>
        readSegment(cold, entries, order, COLD_READS),
      );
      record(`${compression} hot`, HOT_READS, () => readSegment(hot, entries, order, HOT_READS));
      record(`${compression} scan`, entries.length, () => scanSegment(cold, entries));
    }
    const coldTime = median(times.get(`${compression} cold`));
    const sizeOf = (section: Section): number => cold.sections[section].length;
    const valueBytes =
      sizeOf(Section.valueBlocks) +
      sizeOf(Section.blockIndex) +
      sizeOf(Section.valueSymbols) +
      sizeOf(Section.dictionary);
    results[`${name}, ${compression}`] = {
      encoding: written.encoding,
      "mean bytes": Math.round(rawValues / entries.length),
      "size %": percent(valueBytes, rawValues),
      "store %": percent(cold.meta.fileBytes, rawKeys + rawValues),
      "deflate 16K %": percent(baseline.bytes, rawValues),
      "train ms": Math.round(written.trainMs),
      "write MB/s": Number((rawValues / 1000 / written.writeMs).toFixed(1)),
      "scan M/s": Number((1 / median(times.get(`${compression} scan`))).toFixed(2)),
      "hot us": Number(median(times.get(`${compression} hot`)).toFixed(2)),
      "cold us": Number(coldTime.toFixed(2)),
      "faster than deflate 16K": Number(
        (median(times.get(`${compression} baseline`)) / coldTime).toFixed(1),
      ),
    };
    await cold.close();
    await hot.close();
  }
  await baseline.close();
}

async function writeSegment(
  entries: readonly Entry[],
  path: string,
  compression: ValueCompression,
): Promise<{ trainMs: number; writeMs: number; encoding: number }> {
  const start = performance.now();
  const sample = new EntrySample();
  const cursor = new EntryCursor(entries);
  const windows = 1024;
  for (let i = 0; i < windows && !sample.isFull; i++) {
    cursor.position = Math.floor((i * entries.length) / windows);
    sample.takeWindow(cursor, 16);
  }
  const coders = trainCoders(sample, { keyCount: entries.length }, { compression });
  const trained = performance.now();
  const writer = await SegmentWriter.create({ fileSystem, path, identity, coders });
  for (const { key, value } of entries) {
    writer.add(key, key.length, EntryKind.put, value);
    if (writer.pendingBytes > 1 << 20) await writer.drain();
  }
  await writer.finish();
  const end = performance.now();
  return { trainMs: trained - start, writeMs: end - trained, encoding: coders.valueEncoding };
}

function readSegment(
  segment: Segment,
  entries: readonly Entry[],
  order: Uint32Array,
  reads: number,
): void {
  for (let i = 0; i < reads; i++) {
    const { key, value } = entries[order[i]];
    expectEqual(segment.valueAt(order[i], key, key.length), value);
  }
}

function scanSegment(segment: Segment, entries: readonly Entry[]): void {
  const cursor = segment.cursor();
  let at = 0;
  for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
    expectEqual(cursor.value(), entries[at++].value);
  }
  if (at !== entries.length) throw new Error("a scan that ends early");
}

/** Values in blocks of 16 KiB, each deflated at level 1 with a checksum, and an index in memory. */
class DeflatedBlocks {
  readonly bytes: number;
  private readonly file: File;
  /** First value and file offset of each block, and the end. */
  private readonly firsts: number[];
  private readonly offsets: number[];
  private readonly sums: number[];
  /** Where each value begins in its block. */
  private readonly starts: Uint32Array;

  static async write(entries: readonly Entry[], path: string): Promise<DeflatedBlocks> {
    const file = await fileSystem.open(path, "create");
    return new DeflatedBlocks(file, entries);
  }

  private constructor(file: File, entries: readonly Entry[]) {
    this.file = file;
    this.firsts = [0];
    this.offsets = [0];
    this.sums = [];
    this.starts = new Uint32Array(entries.length);
    let values: Uint8Array[] = [];
    let blockBytes = 0;
    let offset = 0;
    for (const [i, { value }] of entries.entries()) {
      this.starts[i] = blockBytes;
      values.push(value);
      blockBytes += value.length;
      if (blockBytes < BASELINE_BLOCK_BYTES && i < entries.length - 1) continue;
      const stored = deflateRawSync(Buffer.concat(values), { level: 1 });
      file.writeSync(stored, offset);
      offset += stored.length;
      this.sums.push(checksum(stored));
      this.firsts.push(i + 1);
      this.offsets.push(offset);
      values = [];
      blockBytes = 0;
    }
    // One byte for the length of each value, as the segment has, and eight for each block.
    this.bytes = offset + entries.length + this.sums.length * 8;
  }

  read(entries: readonly Entry[], order: Uint32Array, reads: number): void {
    for (let i = 0; i < reads; i++) {
      const { value } = entries[order[i]];
      expectEqual(this.valueAt(order[i], value.length), value);
    }
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  private valueAt(ordinal: number, length: number): Uint8Array {
    let lo = 0;
    let hi = this.sums.length;
    while (hi - lo > 1) {
      const mid = (lo + hi) >>> 1;
      if (this.firsts[mid] <= ordinal) lo = mid;
      else hi = mid;
    }
    const stored = new Uint8Array(this.offsets[lo + 1] - this.offsets[lo]);
    this.file.readSync(stored, this.offsets[lo]);
    if (checksum(stored) !== this.sums[lo]) throw new Error("a wrong checksum");
    const start = this.starts[ordinal];
    return inflateRawSync(stored).subarray(start, start + length);
  }
}

/** What sampling needs of a cursor. */
class EntryCursor implements Cursor {
  position = 0;
  readonly kind: EntryKind = EntryKind.put;
  private readonly entries: readonly Entry[];

  constructor(entries: readonly Entry[]) {
    this.entries = entries;
  }

  get isValid(): boolean {
    return this.position < this.entries.length;
  }

  get key(): Uint8Array {
    return this.entries[this.position].key;
  }

  get keyLength(): number {
    return this.key.length;
  }

  value(): Uint8Array {
    return this.entries[this.position].value;
  }

  next(): void {
    this.position++;
  }

  prev(): void {
    this.position--;
  }

  seekToFirst(): void {
    this.position = 0;
  }

  seekToLast(): void {
    this.position = this.entries.length - 1;
  }

  seek(): void {
    throw new Error("not needed");
  }

  seekForPrev(): void {
    throw new Error("not needed");
  }
}

function readPairs(path: string, limit: number): [string, string][] {
  const stored = readFileSync(path);
  const lines = (path.endsWith(".gz") ? gunzipSync(stored) : stored).toString("utf8").split("\n");
  const result: [string, string][] = [];
  for (const line of lines) {
    const [name, url] = line.split("\t");
    if (url !== undefined && result.length < limit) result.push([name, url]);
  }
  return result;
}

function entryOf(name: string, value: unknown): Entry {
  return { key: Buffer.from(name), value: packr.pack(value) };
}

function objectOf([name, url]: [string, string], i: number): Entry {
  return entryOf(name, { name, url, stars: i % 977, license: licenseOf(i) });
}

/** Like a registry's entry: what is fixed, what is text, and what cannot be compressed. */
function documentOf([name, url]: [string, string], i: number): Entry {
  const words = (count: number): string[] =>
    Array.from({ length: count }, () => pairs[Math.floor(random() ** 2 * 5000)][0]);
  const hex = Array.from({ length: 40 }, () => Math.floor(random() * 16).toString(16)).join("");
  return entryOf(name, {
    name,
    version: `${i % 7}.${i % 31}.${i % 11}`,
    description: words(8 + (i % 9)).join(" "),
    keywords: words(i % 6),
    repository: { type: "git", url: `git+${url}.git` },
    homepage: `${url}#readme`,
    bugs: { url: `${url}/issues` },
    license: licenseOf(i),
    dependencies: Object.fromEntries(words(i % 8).map((word) => [word, `^${i % 9}.${i % 17}.0`])),
    dist: { shasum: hex, tarball: `https://registry.npmjs.org/${name}/-/${name}-1.0.0.tgz` },
    readme: words(14).join(" "),
  });
}

function licenseOf(i: number): string {
  return ["MIT", "ISC", "Apache-2.0", "BSD-3-Clause"][i % 4];
}

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

function expectEqual(actual: Uint8Array, expected: Uint8Array): void {
  const middle = expected.length >> 1;
  const isEqual = actual.length === expected.length && actual[middle] === expected[middle];
  if (!isEqual) throw new Error("a wrong value");
}

function median(times: readonly number[] | undefined): number {
  const sorted = (times ?? []).toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function percent(part: number, whole: number): number {
  return Number(((100 * part) / whole).toFixed(2));
}

function report(): void {
  const machine = { node: process.version, cpu: cpus()[0].model, pairs: pairs.length };
  if (options.json) {
    console.log(JSON.stringify({ ...machine, results }, undefined, 2));
    return;
  }
  console.log(`${machine.pairs} pairs, Node ${machine.node}, ${machine.cpu}`);
  console.table(results);
}

try {
  await measureSet(
    "texts",
    pairs.map(([name, url]) => entryOf(name, url)),
  );
  await measureSet("objects", pairs.slice(0, 10 * MAX_DOCUMENTS).map(objectOf));
  const stride = Math.max(1, Math.floor(pairs.length / MAX_DOCUMENTS));
  await measureSet("documents", pairs.filter((_, i) => i % stride === 0).map(documentOf));
} finally {
  rmSync(directory, { recursive: true });
}
report();
