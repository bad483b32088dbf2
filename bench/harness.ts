/**
 * What the benches share: arguments, data, seeded order, fair timing, tables.
 *
 * Contenders are timed in slices, in turn: a few thousand operations of one, then of the next, in an
 * order that rotates. So whatever else the machine does hits all of them alike, and the ratios within
 * one run are what counts. Time is what the process spent on a CPU.
 */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";

export interface BenchOptions {
  /** Directory with urls.txt, names.txt and paths.txt, a key a line; undefined: bundled sample. */
  readonly data: string | undefined;
  readonly json: boolean;
  readonly rounds: number;
  /** At most this many keys of each set. */
  readonly keys: number;
  /** At most this many look-ups in a round. */
  readonly lookups: number;
  /** What else was said, such as the names of sets. */
  readonly names: readonly string[];
}

/** Options of the command line. `--quick` stands for few keys, few look-ups and three rounds. */
export function readOptions(maxKeys = 2_000_000): BenchOptions {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      data: { type: "string" },
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      keys: { type: "string" },
    },
  });
  const { quick } = values;
  return {
    data: values.data,
    json: values.json,
    rounds: Number(values.rounds ?? (quick ? 3 : 5)),
    keys: Number(values.keys ?? (quick ? 100_000 : maxKeys)),
    lookups: quick ? 100_000 : 1_000_000,
    names: positionals,
  };
}

/** Keys, in one buffer: key i is bytes[starts[i], starts[i + 1]). */
export interface KeySet {
  readonly bytes: Uint8Array;
  readonly starts: Int32Array;
}

export function keyCount(keys: KeySet): number {
  return keys.starts.length - 1;
}

export function keyAt(keys: KeySet, i: number): Uint8Array {
  return keys.bytes.subarray(keys.starts[i], keys.starts[i + 1]);
}

export function toKeySet(list: readonly Uint8Array[]): KeySet {
  const starts = new Int32Array(list.length + 1);
  list.forEach((key, i) => {
    starts[i + 1] = starts[i] + key.length;
  });
  const bytes = new Uint8Array(starts[list.length]);
  list.forEach((key, i) => {
    bytes.set(key, starts[i]);
  });
  return { bytes, starts };
}

/** The same keys in another order, laid out in that order. */
export function reorder(keys: KeySet, order: Int32Array): KeySet {
  return toKeySet(Array.from(order, (i) => keyAt(keys, i)));
}

/** Views of keys [from, to). */
export function toViews(keys: KeySet, from: number, to: number): Uint8Array[] {
  return Array.from({ length: to - from }, (_, i) => keyAt(keys, from + i));
}

/** New strings of keys [from, to); new, since a string keeps its hash from its first lookup on. */
export function toStrings(keys: KeySet, from: number, to: number): string[] {
  const { bytes, starts } = keys;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: to - from }, (_, i) =>
    buffer.toString("latin1", starts[from + i], starts[from + i + 1]),
  );
}

export type DataSet = "urls" | "names" | "paths";

/**
 * Real keys, sorted and distinct: a file of the data directory, else what the bundled sample has.
 * Undefined where there are none. Of more keys than asked for, a uniform part is taken.
 */
export function loadKeys(
  name: DataSet,
  options: Pick<BenchOptions, "data" | "keys">,
): KeySet | undefined {
  let lines: Buffer[];
  if (options.data !== undefined) {
    lines = splitLines(readFileSync(join(options.data, `${name}.txt`)));
  } else {
    const column = { names: 0, urls: 1, paths: -1 }[name];
    if (column < 0) return undefined;
    const sample = new URL("../data/npm-repositories.tsv.gz", import.meta.url);
    const pairs = splitLines(gunzipSync(readFileSync(sample)));
    const values = pairs.map((line) => {
      const tab = line.indexOf(9);
      return column === 0 ? line.subarray(0, tab) : line.subarray(tab + 1);
    });
    lines = values
      .sort((a, b) => a.compare(b))
      .filter((key, i) => i === 0 || key.compare(values[i - 1]) !== 0);
  }
  if (lines.length > options.keys) {
    const random = new Random(1);
    const order = random.permutation(lines.length).subarray(0, options.keys).sort();
    lines = Array.from(order, (i) => lines[i]);
  }
  return toKeySet(lines);
}

function splitLines(text: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let start = 0;
  for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, start)) {
    lines.push(text.subarray(start, end));
    start = end + 1;
  }
  return lines;
}

/** A seeded generator: mulberry32. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** An integer in [0, bound). */
  below(bound: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000) * bound);
  }

  /** 0 to count - 1, shuffled by Fisher and Yates. */
  permutation(count: number): Int32Array {
    const order = Int32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const swapped = order[i];
      order[i] = order[j];
      order[j] = swapped;
    }
    return order;
  }
}

/** A contender's share of a workload: operations [from, to). */
export type Work = (from: number, to: number) => void;

export interface Interleaving {
  /** Operations of one contender at a time. Default 16,384. */
  readonly sliceSize?: number;
  /** Makes ready what the contenders need for a slice; not timed. */
  readonly prepare?: Work;
}

/** Nanoseconds for each of `count` operations, for each contender, timed in slices in turn. */
export function interleave(
  works: readonly Work[],
  count: number,
  options: Interleaving = {},
): number[] {
  const { sliceSize = 16_384, prepare } = options;
  const micros = works.map(() => 0);
  for (let from = 0, turn = 0; from < count; from += sliceSize, turn++) {
    const to = Math.min(from + sliceSize, count);
    prepare?.(from, to);
    for (let i = 0; i < works.length; i++) {
      const contender = (i + turn) % works.length;
      const before = cpuMicros();
      works[contender](from, to);
      micros[contender] += cpuMicros() - before;
    }
  }
  return micros.map((total) => (total * 1000) / count);
}

/** Microseconds that the process has spent on a CPU. */
export function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >>> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Throws unless a contender's answer is right. */
export function expectEqual(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: expected ${expected}, found ${actual}`);
}

/**
 * A key with one byte changed, near its end or anywhere, that is not in the map. What would be in it
 * becomes longer: of one-letter names there may be none that is not there.
 */
export function missOf(key: Uint8Array, map: Map<string, number>, random: Random): Uint8Array {
  for (;;) {
    const miss = key.slice();
    if (miss.length > 0) miss[random.below(miss.length)] = 0x61 + random.below(26);
    if (!map.has(Buffer.from(miss).toString("latin1"))) return miss;
    key = Uint8Array.of(...miss, 0x61);
  }
}

/** Says on the standard error stream what a long bench is at: its output is for the figures. */
export function printProgress(what: string): void {
  const seconds = process.uptime().toFixed(0).padStart(4);
  process.stderr.write(`${seconds} s  ${what}\n`);
}

/** What a figure is of. */
export interface FigureName {
  /** The keys or values that it was taken on. */
  readonly set: string;
  readonly row: string;
  readonly unit: string;
  /** What it should reach; undefined where nothing is asked. */
  readonly bar?: number | undefined;
  /** Whether less is better. */
  readonly isCeiling?: boolean;
}

/** One line of a bench's table: the median over its rounds, and how far they are apart. */
export interface Figure extends FigureName {
  readonly median: number;
  readonly least: number;
  readonly greatest: number;
}

export function figureOf(name: FigureName, values: readonly number[]): Figure {
  const least = Math.min(...values);
  return { ...name, median: median(values), least, greatest: Math.max(...values) };
}

/** Prints figures as a table, with the machine that they were taken on. */
export function printFigures(figures: readonly Figure[], options: BenchOptions): void {
  const { node, cpu, cpus } = describeMachine();
  console.log(`Node ${node}, ${cpus} x ${cpu}; medians of ${options.rounds} rounds\n`);
  printTable(
    figures.map((figure) => ({
      keys: figure.set,
      figure: figure.row,
      unit: figure.unit,
      bar: barOf(figure),
      median: threeDigits(figure.median),
      least: threeDigits(figure.least),
      greatest: threeDigits(figure.greatest),
      met: { true: "yes", false: "no", undefined: "" }[`${isMet(figure)}`],
    })),
  );
}

/** What a figure should reach; empty where nothing is asked. */
export function barOf({ bar, isCeiling }: Figure): string {
  return bar === undefined ? "" : `${isCeiling ? "<=" : ">="} ${threeDigits(bar)}`;
}

/** Whether it does; undefined where nothing is asked. */
export function isMet({ bar, isCeiling, median }: Figure): boolean | undefined {
  if (bar === undefined) return undefined;
  return isCeiling ? median <= bar : median >= bar;
}

export function threeDigits(value: number): string {
  const digits = Math.max(0, Math.min(5, 2 - Math.floor(Math.log10(Math.abs(value) || 1))));
  return value.toFixed(digits);
}

/** What every result must state about where it was taken. */
export function describeMachine(): { node: string; cpu: string; cpus: number } {
  return { node: process.version, cpu: cpus().at(0)?.model ?? "unknown", cpus: cpus().length };
}

/** Prints rows of named cells as a Markdown table. */
export function printTable(rows: readonly Record<string, string | number>[]): void {
  const names = Object.keys(rows.at(0) ?? {});
  const widths = names.map((name) =>
    Math.max(name.length, ...rows.map((row) => String(row[name]).length)),
  );
  const line = (cells: string[]) =>
    console.log(`| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`);
  line(names);
  line(widths.map((width) => "-".repeat(width)));
  for (const row of rows) line(names.map((name) => String(row[name])));
}
