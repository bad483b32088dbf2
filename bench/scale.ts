/**
 * How cost grows with the number of keys: `npm run bench -- scale --keys 1m,10m,50m`.
 *
 *   [--data keys.txt] [--directory /tmp] [--gets 200000]
 *
 * For each size: keys that look like URLs are made from a seed, each from its number alone, so that
 * none is kept (or they are the lines of a file); they are put in no order, in batches of 1,000; then
 * another process opens the store and reads it. Prints what each key cost, and whether that is flat
 * over the sizes: at most 1.5 times the least.
 *
 * Disk: about 60 bytes a key at the peak, while the last compaction merges; memory: about 10 bytes a
 * key and the memtables.
 */
import { execFileSync, fork } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { NameGenerator } from "./compare/data.ts";
import { directoryBytes, rest } from "./compare/disk.ts";
import { describeMachine, printTable, Random } from "./harness.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const BATCH = 1000;
const MEBIBYTE = 2 ** 20;
/** What a figure may be of the least of its kind, to be called flat. */
const FLAT = 1.5;

interface Built {
  readonly buildMicros: number;
}

interface Opened {
  readonly openMs: number;
  /** By part, in bytes. */
  readonly memory: Record<string, number>;
  readonly residentBytes: number;
  readonly p50: number;
  readonly p99: number;
  readonly runs: number;
}

const { values: flags } = parseArgs({
  options: {
    keys: { type: "string", default: "1m,10m" },
    data: { type: "string" },
    directory: { type: "string", default: tmpdir() },
    gets: { type: "string", default: "200000" },
    phase: { type: "string" },
    count: { type: "string", default: "0" },
  },
});

if (flags.phase === undefined) await compareSizes();
else {
  const keyAt = flags.data === undefined ? generatedKeys() : fileKeys(flags.data);
  const count = Number(flags.count);
  const done = flags.phase === "build" ? await build(keyAt, count) : await read(keyAt, count);
  process.send?.(done, undefined, {}, () => process.exit(0));
}

async function compareSizes(): Promise<void> {
  execFileSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: "inherit" });
  const { node, cpu, cpus } = describeMachine();
  console.log(`Node ${node}, ${cpus} x ${cpu}\n`);
  const rows: Record<string, string | number>[] = [];
  for (const size of flags.keys.split(",")) {
    const count = parseCount(size);
    const directory = mkdtempSync(join(flags.directory, "memkv-scale-"));
    try {
      const { buildMicros } = await runPhase<Built>("build", directory, count);
      const diskBytes = directoryBytes(directory);
      const opened = await runPhase<Opened>("read", directory, count);
      const { memory } = opened;
      const perKey = (bytes: number): number => round(bytes / count);
      rows.push({
        keys: size,
        "build us/key": round(buildMicros / count),
        runs: opened.runs,
        "disk B/key": perKey(diskBytes),
        "key index B/key": perKey(memory["keyIndex"] ?? 0),
        "filter B/key": perKey(memory["filter"] ?? 0),
        "value index B/key": perKey(memory["valueIndex"] ?? 0),
        "resident MiB": Math.round(opened.residentBytes / MEBIBYTE),
        "open ms": round(opened.openMs),
        "get p50 us": round(opened.p50),
        "get p99 us": round(opened.p99),
      });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
  printTable(rows);
  for (const name of Object.keys(rows.at(0) ?? {})) {
    if (!name.includes("/key") && !name.startsWith("get")) continue;
    const figures = rows.map((row) => Number(row[name]));
    const growth = Math.max(...figures) / Math.min(...figures);
    console.log(`${name}: ${growth <= FLAT ? "flat" : "NOT flat"} (${growth.toFixed(2)}x)`);
  }
}

function runPhase<T>(phase: string, directory: string, count: number): Promise<T> {
  const flagsOfPhase = ["--phase", phase, "--directory", directory, "--count", String(count)];
  if (flags.data !== undefined) flagsOfPhase.push("--data", flags.data);
  flagsOfPhase.push("--gets", flags.gets);
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), flagsOfPhase, {
      cwd: root,
      execArgv: ["--import", "tsx"],
    });
    child.on("message", (message) => resolve(message as T));
    child.on("exit", (code) => reject(new Error(`${phase} ended with ${code}`)));
  });
}

/** Fills the store and leaves it when it has come to rest. Microseconds until then. */
async function build(keyAt: (i: number) => string, count: number): Promise<Built> {
  const { open } = await loadMemkv();
  mkdirSync(flags.directory, { recursive: true });
  const start = performance.now();
  const database = await open(flags.directory, { valueEncoding: "utf8", durability: "os" });
  for (let from = 0; from < count; from += BATCH) {
    const length = Math.min(BATCH, count - from);
    await database.batch(
      Array.from({ length }, (_, i) => ({
        type: "put",
        key: keyAt(from + i),
        value: valueAt(from + i),
      })),
    );
  }
  await database.flush();
  await rest();
  const buildMicros = (performance.now() - start) * 1000;
  await database.close();
  return { buildMicros };
}

async function read(keyAt: (i: number) => string, count: number): Promise<Opened> {
  const { open } = await loadMemkv();
  const start = performance.now();
  const database = await open(flags.directory, { valueEncoding: "utf8", durability: "os" });
  const openMs = performance.now() - start;
  await rest();
  const random = new Random(3);
  const micros: number[] = [];
  for (let i = 0; i < Number(flags.gets); i++) {
    const k = random.below(count);
    const key = keyAt(k);
    const before = performance.now();
    const value = database.get(key);
    micros.push((performance.now() - before) * 1000);
    if (value !== valueAt(k)) throw new Error(`${key} has another value`);
  }
  micros.sort((a, b) => a - b);
  const { memory, runs } = database.stats();
  const opened = {
    openMs,
    memory: { ...memory },
    residentBytes: process.memoryUsage().rss,
    p50: micros[Math.floor(micros.length * 0.5)],
    p99: micros[Math.floor(micros.length * 0.99)],
    runs: runs.length,
  };
  await database.close();
  return opened;
}

async function loadMemkv(): Promise<typeof import("../src/index.ts")> {
  return await import(new URL("../dist/index.js", import.meta.url).href);
}

function valueAt(i: number): string {
  return `${Math.imul(i, 0x9e3779b1) >>> 0}`;
}

/** Key i, of any below 2^32: a URL whose last part is i, scattered; so keys are distinct. */
function generatedKeys(): (i: number) => string {
  const generator = new NameGenerator(1);
  const owners = Array.from({ length: 1 << 16 }, () => generator.owner());
  const names = Array.from({ length: 1 << 16 }, () => generator.name());
  return (i) => {
    const scattered = Math.imul(i, 0x9e3779b1) >>> 0;
    const mixed = Math.imul(scattered ^ (scattered >>> 15), 0x2c1b3c6d) >>> 0;
    const owner = owners[mixed >>> 16];
    return `https://github.com/${owner}/${names[mixed & 0xffff]}-${scattered.toString(36)}`;
  };
}

function fileKeys(file: string): (i: number) => string {
  const text = readFileSync(file);
  const starts = [0];
  for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, end + 1)) starts.push(end + 1);
  const order = new Random(2).permutation(starts.length - 1);
  return (i) => text.toString("utf8", starts[order[i]], starts[order[i] + 1] - 1);
}

function parseCount(text: string): number {
  const match = /^(\d+)([mk]?)$/.exec(text);
  if (match === null) throw new Error(`--keys takes sizes such as 1m,10m; not ${text}`);
  return Number(match[1]) * ({ m: 1e6, k: 1e3 }[match[2]] ?? 1);
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}
