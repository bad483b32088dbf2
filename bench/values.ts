/**
 * The values of a segment: size, and reads of one value against deflated blocks of 16 KiB.
 *
 *   npm run bench -- values [--data DIR] [--keys N] [--rounds N] [--quick] [--json] [COMPRESSION | SET ...]
 *
 * Data sets (all, or each SET), from pairs of name and URL (DIR/pairs.tsv, or the bundled sample): `texts` are the URLs
 * as msgpack strings; `objects` small msgpack maps; `documents` maps of about 1 KB, made up from the
 * pairs with seeded choices. Sizes are in % of the values' bytes as msgpack, all blocks, tables and
 * indexes counted; `store` is the whole file against keys and values together.
 *
 * `cold` reads one value with nothing in the block cache (the file is in the page cache), `hot` with
 * everything in it, both in shuffled order; `scan` walks with a cursor, without a cache. `16K blocks`
 * is what is usual: blocks of 16 KiB deflated at level 1, checked and inflated whole for each read.
 * `times faster` compares its reads with cold ones: the median over rounds of ratios within a round.
 * Every answer is checked.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateRawSync, gunzipSync, inflateRawSync } from "node:zlib";
import { Packr } from "msgpackr";
import { checksum, loadChecksum } from "../src/bytes/checksum.ts";
import { compareBytes } from "../src/bytes/compare.ts";
import type { ByteWriter } from "../src/bytes/writer.ts";
import { BlockCache } from "../src/cache/block-cache.ts";
import type { Cursor } from "../src/cursor/cursor.ts";
import { ValueView } from "../src/cursor/value-view.ts";
import { EntryKind, NEVER } from "../src/entry.ts";
import type { File } from "../src/io/file-system.ts";
import { NodeFileSystem } from "../src/io/node.ts";
import { atOnce } from "../src/pieces.ts";
import { learnCoders, type ValueCompression } from "../src/segment/coders.ts";
import { EntrySample } from "../src/segment/entry-sample.ts";
import { Section } from "../src/segment/format.ts";
import { Segment } from "../src/segment/reader.ts";
import { BlockEncoding } from "../src/segment/value-block.ts";
import { SegmentWriter } from "../src/segment/writer.ts";
import {
  describeMachine,
  interleave,
  median,
  printProgress,
  printTable,
  Random,
  readOptions,
  type Work,
} from "./harness.ts";

interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** One way to store a data set, and what was measured of it. */
interface Contender {
  readonly compression: ValueCompression;
  readonly encoding: string;
  /** Microseconds of CPU for each entry. */
  readonly writeMicros: number;
  readonly cold: Segment;
  readonly hot: Segment;
  readonly coldNanos: number[];
  readonly hotNanos: number[];
  readonly scanNanos: number[];
  readonly timesFaster: number[];
}

const COLD_READS = 2000;
const COLD_SLICE = 100;
const HOT_READS = 100_000;
const BASELINE_BLOCK_BYTES = 16_384;
const MAX_DOCUMENTS = 20_000;
const SAMPLE_WINDOWS = 1024;
const WINDOW_ENTRIES = 16;
const ALL_COMPRESSIONS: readonly ValueCompression[] = ["auto", "none", "symbols", "deflate"];

const options = readOptions(3_000_000);
const compressions = namedOr(ALL_COMPRESSIONS);
const sets = namedOr(["texts", "objects", "documents"]);
await loadChecksum();
const fileSystem = new NodeFileSystem();
const directory = mkdtempSync(join(tmpdir(), "memkv-bench-values-"));
const identity = { databaseId: new Uint8Array(16).fill(7), fileNumber: 1 };
const packr = new Packr({ useRecords: false });
const random = new Random(7);
const pairs = readPairs();

async function measureSet(
  name: string,
  unsorted: Entry[],
): Promise<Record<string, string | number>[]> {
  const entries = unsorted.sort((a, b) => compareBytes(a.key, b.key));
  const order = random.permutation(entries.length);
  const coldReads = Math.min(COLD_READS, entries.length);
  const hotReads = Math.min(HOT_READS, entries.length);
  const baseline = await DeflatedBlocks.write(entries, join(directory, `${name}.deflated`));
  const contenders: Contender[] = [];
  for (const compression of compressions) {
    printProgress(`${name}: writing a segment, ${compression}`);
    contenders.push(await prepare(name, entries, compression));
  }
  for (let round = 0; round <= options.rounds; round++) {
    printProgress(`${name}: reads and scans, round ${round} of ${options.rounds}`);
    const works = contenders.map(({ cold }) => reads(cold, entries, order));
    const cold = interleave([...works, baseline.reads(entries, order)], coldReads, {
      sliceSize: COLD_SLICE,
    });
    const hot = interleave(
      contenders.map((contender) => reads(contender.hot, entries, order)),
      hotReads,
    );
    const scan = interleave(
      contenders.map((contender) => scans(contender.cold, entries)),
      entries.length,
    );
    // The first round warms up: code and, for hot reads, the cache.
    if (round === 0) continue;
    for (const [i, contender] of contenders.entries()) {
      contender.coldNanos.push(cold[i]);
      contender.hotNanos.push(hot[i]);
      contender.scanNanos.push(scan[i]);
      contender.timesFaster.push(cold[contenders.length] / cold[i]);
    }
  }
  const rows = contenders.map((contender) => rowOf(name, entries, contender, baseline));
  for (const { cold, hot } of contenders) {
    await cold.close();
    await hot.close();
  }
  await baseline.close();
  return rows;
}

async function prepare(
  name: string,
  entries: readonly Entry[],
  compression: ValueCompression,
): Promise<Contender> {
  const path = join(directory, `${name}-${compression}.seg`);
  const before = process.cpuUsage();
  const encoding = await writeSegment(entries, path, compression);
  const { user, system } = process.cpuUsage(before);
  const open = async (capacityBytes: number): Promise<Segment> =>
    await Segment.open({
      fileSystem,
      path,
      identity,
      blockCache: new BlockCache(capacityBytes),
      valueLogs: new Map(),
    });
  return {
    compression,
    encoding,
    writeMicros: (user + system) / entries.length,
    cold: await open(0),
    hot: await open(1 << 29),
    coldNanos: [],
    hotNanos: [],
    scanNanos: [],
    timesFaster: [],
  };
}

/** Writes a segment, training included; returns the encoding of its values. */
async function writeSegment(
  entries: readonly Entry[],
  path: string,
  compression: ValueCompression,
): Promise<string> {
  const sample = new EntrySample();
  const cursor = new EntryCursor(entries);
  for (let i = 0; i < SAMPLE_WINDOWS && !sample.isFull; i++) {
    cursor.position = Math.floor((i * entries.length) / SAMPLE_WINDOWS);
    sample.takeWindow(cursor, WINDOW_ENTRIES);
  }
  const coders = atOnce(learnCoders(sample, { keyCount: entries.length }, { compression }));
  const seqnos = { firstSeqno: 1, lastSeqno: entries.length };
  const writer = await SegmentWriter.create({ fileSystem, path, identity, coders, seqnos });
  const view = new ValueView();
  for (const { key, value } of entries) {
    view.set(value, 0, value.length);
    writer.add(key, key.length, EntryKind.put, view);
    if (writer.pendingBytes > 1 << 20) await writer.drain();
  }
  await writer.finish();
  const names = Object.entries(BlockEncoding);
  return names.find(([, number]) => number === coders.valueEncoding)?.[0] ?? "";
}

function reads(segment: Segment, entries: readonly Entry[], order: Int32Array): Work {
  const view = new ValueView();
  return (from, to) => {
    for (let i = from; i < to; i++) {
      const { key, value } = entries[order[i]];
      view.decoded.reset();
      segment.viewValue(order[i], key, key.length, view);
      expectEqual(view.bytes.subarray(view.start, view.end), value);
    }
  };
}

function scans(segment: Segment, entries: readonly Entry[]): Work {
  const cursor = segment.cursor();
  return (from, to) => {
    cursor.seekToOrdinal(from);
    for (let i = from; i < to; i++) {
      expectEqual(cursor.value(), entries[i].value);
      cursor.next();
    }
  };
}

function rowOf(
  name: string,
  entries: readonly Entry[],
  contender: Contender,
  baseline: DeflatedBlocks,
): Record<string, string | number> {
  const { cold, compression, encoding } = contender;
  const rawValues = entries.reduce((sum, { value }) => sum + value.length, 0);
  const rawKeys = entries.reduce((sum, { key }) => sum + key.length, 0);
  const sections: Section[] = [
    Section.valueBlocks,
    Section.blockIndex,
    Section.valueSymbols,
    Section.dictionary,
  ];
  let stored = 0;
  for (const section of sections) stored += cold.sections[section].length;
  return {
    values: name,
    compression,
    encoding,
    "mean bytes": Math.round(rawValues / entries.length),
    "size %": rounded((100 * stored) / rawValues, 2),
    "16K blocks %": rounded((100 * baseline.bytes) / rawValues, 2),
    "store %": rounded((100 * cold.meta.fileBytes) / (rawKeys + rawValues), 2),
    "write us": rounded(contender.writeMicros, 2),
    "scan us": rounded(median(contender.scanNanos) / 1000, 3),
    "hot us": rounded(median(contender.hotNanos) / 1000, 2),
    "cold us": rounded(median(contender.coldNanos) / 1000, 2),
    "times faster": rounded(median(contender.timesFaster), 1),
  };
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

  reads(entries: readonly Entry[], order: Int32Array): Work {
    return (from, to) => {
      for (let i = from; i < to; i++) {
        const { value } = entries[order[i]];
        expectEqual(this.valueAt(order[i], value.length), value);
      }
    };
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
  readonly expiry: number = NEVER;
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

  appendKey(output: ByteWriter): void {
    output.append(this.key, 0, this.keyLength);
  }

  value(): Uint8Array {
    return this.entries[this.position].value;
  }

  viewValue(view: ValueView): void {
    const value = this.value();
    view.set(value, 0, value.length);
  }

  viewStored(view: ValueView): undefined {
    this.viewValue(view);
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

/** Pairs of name and URL; of more than asked for, a uniform part. */
function readPairs(): [string, string][] {
  const stored =
    options.data === undefined
      ? gunzipSync(readFileSync(new URL("../data/npm-repositories.tsv.gz", import.meta.url)))
      : readFileSync(join(options.data, "pairs.tsv"));
  const lines = stored
    .toString("utf8")
    .split("\n")
    .filter((line) => line.includes("\t"));
  const stride = Math.max(1, lines.length / options.keys);
  const result: [string, string][] = [];
  for (let i = 0; i < lines.length; i += stride) {
    const [name, url] = lines[Math.floor(i)].split("\t");
    result.push([name, url]);
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
    Array.from({ length: count }, () => pairs[Math.min(random.below(5000), random.below(5000))][0]);
  const hex = Array.from({ length: 40 }, () => random.below(16).toString(16)).join("");
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

function expectEqual(actual: Uint8Array, expected: Uint8Array): void {
  const middle = expected.length >> 1;
  const isEqual = actual.length === expected.length && actual[middle] === expected[middle];
  if (!isEqual) throw new Error("a wrong value");
}

/** Those of `all` that the command line names, or all. */
function namedOr<T extends string>(all: readonly T[]): readonly T[] {
  const named = all.filter((name) => options.names.includes(name));
  return named.length > 0 ? named : all;
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

const rows: Record<string, string | number>[] = [];
try {
  const stride = Math.ceil(pairs.length / MAX_DOCUMENTS);
  const some = pairs.filter((_, i) => i % stride === 0);
  const entriesOf: Record<string, () => Entry[]> = {
    texts: () => pairs.map(([name, url]) => entryOf(name, url)),
    objects: () => pairs.map(objectOf),
    documents: () => some.map(documentOf),
  };
  for (const set of sets) rows.push(...(await measureSet(set, entriesOf[set]())));
} finally {
  rmSync(directory, { recursive: true });
}
if (options.json) {
  console.log(JSON.stringify({ ...describeMachine(), pairs: pairs.length, rows }, undefined, 2));
} else {
  console.log(`${pairs.length} pairs, ${JSON.stringify(describeMachine())}`);
  printTable(rows);
}
