/**
 * `npm run bench -- level`: what abstract-level's interface costs, and how it compares.
 *
 * Contenders: memkv's own API, MemkvLevel over the same kind of store, and classic-level (LevelDB)
 * where `npm install --prefix bench/compare` has brought it. All hold the same pairs, with keys and
 * values as UTF-8, and are reopened before they are read. Slices of each workload are run in turn and
 * timed by the clock, since classic-level works in threads; every answer is counted and summed.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import type { AbstractLevel } from "abstract-level";
import { type Database, open } from "../src/index.ts";
import { MemkvLevel } from "../src/level/index.ts";
import { describeMachine, loadKeys, median, printTable, Random, toStrings } from "./harness.ts";

const { values: args } = parseArgs({
  allowPositionals: true,
  options: {
    /** key<TAB>value lines; without it, the URLs of the bundled sample, each its own value. */
    data: { type: "string" },
    pairs: { type: "string", default: "200000" },
    rounds: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
  },
});
const rounds = Number(args.rounds);

type Pair = readonly [key: string, value: string];
type Level = AbstractLevel<unknown, string, string>;

/** One of the stores, as the workloads see it. Reads give the characters that were read. */
interface Contender {
  readonly name: string;
  fill(pairs: readonly Pair[]): Promise<void>;
  reopen(): Promise<void>;
  get(keys: readonly string[]): Promise<number>;
  getMany(keys: readonly string[]): Promise<number>;
  scan(limit: number): Promise<number>;
  scanKeys(limit: number): Promise<number>;
  scanEach(limit: number): Promise<number>;
  seek(keys: readonly string[]): Promise<number>;
  close(): Promise<void>;
}

const WRITE_BUFFER_BYTES = 2 ** 22;
const SEEK_ENTRIES = 10;

class CoreContender implements Contender {
  readonly name = "memkv";
  private readonly directory: string;
  private db: Database<string, string>;

  private constructor(directory: string, db: Database<string, string>) {
    this.directory = directory;
    this.db = db;
  }

  static async create(directory: string): Promise<CoreContender> {
    return new CoreContender(directory, await CoreContender.open(directory));
  }

  private static open(directory: string): Promise<Database<string, string>> {
    const memtableBytes = WRITE_BUFFER_BYTES;
    return open(directory, { valueEncoding: "utf8", durability: "os", memtableBytes });
  }

  async fill(pairs: readonly Pair[]): Promise<void> {
    await this.db.batch(pairs.map(([key, value]) => ({ type: "put", key, value })));
  }

  async reopen(): Promise<void> {
    await this.db.compact();
    await this.db.close();
    this.db = await CoreContender.open(this.directory);
  }

  async get(keys: readonly string[]): Promise<number> {
    let sum = 0;
    for (const key of keys) sum += this.db.get(key)?.length ?? 0;
    return sum;
  }

  async getMany(keys: readonly string[]): Promise<number> {
    return sumOf(this.db.getMany(keys));
  }

  async scan(limit: number): Promise<number> {
    let sum = 0;
    for (const [key, value] of this.db.entries({ limit })) sum += key.length + value.length;
    return sum;
  }

  async scanKeys(limit: number): Promise<number> {
    // Gathered, as `all` does.
    return sumOf([...this.db.keys({ limit })]);
  }

  scanEach(limit: number): Promise<number> {
    return this.scan(limit);
  }

  async seek(keys: readonly string[]): Promise<number> {
    let sum = 0;
    for (const gte of keys) {
      for (const [key] of this.db.entries({ gte, limit: SEEK_ENTRIES })) sum += key.length;
    }
    return sum;
  }

  close(): Promise<void> {
    return this.db.close();
  }
}

class LevelContender implements Contender {
  readonly name: string;
  private db: Level;
  private readonly create: () => Level;

  constructor(name: string, create: () => Level) {
    this.name = name;
    this.create = create;
    this.db = create();
  }

  async fill(pairs: readonly Pair[]): Promise<void> {
    await this.db.batch(pairs.map(([key, value]) => ({ type: "put", key, value })));
  }

  async reopen(): Promise<void> {
    const compacting = this.db as { compact?(): Promise<void> } & {
      compactRange?(start: string, end: string): Promise<void>;
    };
    if (compacting.compact !== undefined) await compacting.compact();
    else await compacting.compactRange?.("\0", "\u{10ffff}");
    await this.db.close();
    this.db = this.create();
    await this.db.open();
  }

  async get(keys: readonly string[]): Promise<number> {
    let sum = 0;
    for (const key of keys) sum += (await this.db.get(key))?.length ?? 0;
    return sum;
  }

  async getMany(keys: readonly string[]): Promise<number> {
    return sumOf(await this.db.getMany([...keys]));
  }

  async scan(limit: number): Promise<number> {
    const iterator = this.db.iterator({ limit });
    let sum = 0;
    for (;;) {
      const entries = await iterator.nextv(1000);
      if (entries.length === 0) break;
      for (const [key, value] of entries) sum += key.length + value.length;
    }
    await iterator.close();
    return sum;
  }

  async scanKeys(limit: number): Promise<number> {
    return sumOf(await this.db.keys({ limit }).all());
  }

  async scanEach(limit: number): Promise<number> {
    let sum = 0;
    for await (const [key, value] of this.db.iterator({ limit })) sum += key.length + value.length;
    return sum;
  }

  async seek(keys: readonly string[]): Promise<number> {
    let sum = 0;
    for (const gte of keys) {
      const entries = await this.db.iterator({ gte, limit: SEEK_ENTRIES }).all();
      for (const [key] of entries) sum += key.length;
    }
    return sum;
  }

  close(): Promise<void> {
    return this.db.close();
  }
}

function sumOf(texts: readonly (string | undefined)[]): number {
  return texts.reduce((sum, text) => sum + (text?.length ?? 0), 0);
}

function loadPairs(): Pair[] {
  const count = Number(args.pairs);
  if (args.data === undefined) {
    const keys = loadKeys("urls", { data: undefined, keys: count });
    if (keys === undefined) throw new Error("the bundled sample has no URLs");
    return toStrings(keys, 0, keys.starts.length - 1).map((key) => [key, key]);
  }
  const lines = readFileSync(args.data, "utf8").split("\n", count);
  return lines
    .filter((line) => line.includes("\t"))
    .map((line) => line.split("\t") as [string, string]);
}

/** classic-level, if it is there. */
async function classicLevel(): Promise<
  (new (directory: string, options: object) => Level) | undefined
> {
  try {
    const require = createRequire(new URL("compare/package.json", import.meta.url));
    const module = (await import(pathToFileURL(require.resolve("classic-level")).href)) as {
      ClassicLevel: new (directory: string, options: object) => Level;
    };
    return module.ClassicLevel;
  } catch {
    console.error("classic-level is not there (npm install --prefix bench/compare): left out");
    return undefined;
  }
}

const root = mkdtempSync(join(tmpdir(), "memkv-bench-level-"));
const random = new Random(1);
const sorted = loadPairs();
const pairs = Array.from(random.permutation(sorted.length), (i) => sorted[i]);
const keys = Array.from(random.permutation(pairs.length), (i) => pairs[i][0]);

const Classic = await classicLevel();
const contenders: Contender[] = [
  await CoreContender.create(join(root, "core")),
  new LevelContender(
    "memkv/level",
    // The types of hooks and sublevels name the implementation.
    () =>
      new MemkvLevel(join(root, "level"), {
        memtableBytes: WRITE_BUFFER_BYTES,
      }) as unknown as Level,
  ),
];
if (Classic !== undefined) {
  const options = { writeBufferSize: WRITE_BUFFER_BYTES, cacheSize: 2 ** 25 };
  contenders.push(
    new LevelContender("classic-level", () => new Classic(join(root, "classic"), options)),
  );
}

interface Row {
  readonly workload: string;
  /** Operations a second of each contender, by name; of each round. */
  readonly rates: Record<string, number[]>;
}

/** Runs slices [from, to) of every contender in turn; operations a second of each. */
async function measure(
  count: number,
  sliceSize: number,
  work: (contender: Contender, from: number, to: number) => Promise<number>,
): Promise<number[]> {
  const millis = contenders.map(() => 0);
  for (let from = 0, turn = 0; from < count; from += sliceSize, turn++) {
    const to = Math.min(from + sliceSize, count);
    const sums = new Set<number>();
    for (let i = 0; i < contenders.length; i++) {
      const which = (i + turn) % contenders.length;
      const before = performance.now();
      sums.add(await work(contenders[which], from, to));
      millis[which] += performance.now() - before;
    }
    if (sums.size !== 1) throw new Error(`the answers differ: ${[...sums].join(", ")}`);
  }
  return millis.map((time) => (count / time) * 1000);
}

const rows: Row[] = [];
function note(workload: string, rates: readonly number[]): void {
  let row = rows.find((other) => other.workload === workload);
  if (row === undefined) {
    row = { workload, rates: Object.fromEntries(contenders.map(({ name }) => [name, []])) };
    rows.push(row);
  }
  for (const [i, { name }] of contenders.entries()) row.rates[name].push(rates[i]);
}

const BATCH = 1000;
const READS = Math.min(keys.length, 50_000);

// Filled once: a store that is filled again does other work.
note(
  "batch of 1,000 puts",
  await measure(pairs.length, BATCH, async (contender, from, to) => {
    await contender.fill(pairs.slice(from, to));
    return to;
  }),
);
for (const contender of contenders) await contender.reopen();
for (let round = 0; round < rounds; round++) {
  const slice = (from: number, to: number): string[] => keys.slice(from, to);
  note("get, awaited", await measure(READS, 2000, (c, from, to) => c.get(slice(from, to))));
  note("getMany(100)", await measure(READS, 100, (c, from, to) => c.getMany(slice(from, to))));
  note("seek + 10", await measure(READS / 10, 500, (c, from, to) => c.seek(slice(from, to))));
  const count = pairs.length;
  note("scan, nextv(1000)", await measure(count, count, (c) => c.scan(count)));
  note("keys().all()", await measure(count, count, (c) => c.scanKeys(count)));
  note("for await", await measure(count, count, (c) => c.scanEach(count)));
}
for (const contender of contenders) await contender.close();
rmSync(root, { recursive: true });

const table = rows.map(({ workload, rates }) => {
  const at = (name: string): number => median(rates[name]);
  const cells: Record<string, string> = { workload };
  for (const { name } of contenders) cells[`${name}, k/s`] = (at(name) / 1000).toFixed(0);
  cells["level / core"] = (at("memkv/level") / at("memkv")).toFixed(2);
  if (Classic !== undefined) {
    cells["level / classic"] = (at("memkv/level") / at("classic-level")).toFixed(2);
  }
  const own = rates["memkv/level"];
  const spread = (Math.max(...own) - Math.min(...own)) / at("memkv/level");
  cells["spread"] = `${(spread * 100).toFixed(0)} %`;
  return cells;
});
if (args.json) {
  console.log(JSON.stringify({ machine: describeMachine(), pairs: pairs.length, rounds, rows }));
} else {
  console.log(`${pairs.length} pairs, ${rounds} rounds; entries or keys a second, medians\n`);
  printTable(table);
}
