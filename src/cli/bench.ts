/**
 * `memkv bench`: how fast a store is here, on this machine and disk, with data made up.
 *
 * Workloads are named as in LevelDB's db_bench, and so are keys (16 digits) and values (half of each
 * can be compressed away). Reads come after a reopen. Every answer is checked.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { type Command, Option } from "commander";
import { type Database, open } from "../index.ts";
import { Random } from "../testing/random.ts";
import { type Context, DataError, UsageError } from "./context.ts";
import { interruptible } from "./interrupt.ts";
import { type Key, Notation } from "./notation.ts";
import { startProgress } from "./progress.ts";
import { addExamples, wholeNumber, withStore } from "./store.ts";
import { formatBytes, formatCount, formatTable } from "./text.ts";

interface BenchOptions {
  readonly keys: number;
  readonly valueBytes: number;
  readonly batch: number;
  readonly durability: "os" | "sync";
  readonly seed: number;
  readonly json?: true;
  readonly quiet?: true;
}

interface Result {
  readonly workload: string;
  readonly operations: number;
  readonly seconds: number;
}

type Store = Database<Key, unknown>;

/** What commands take for granted, so that they read what this one leaves. */
const ENCODINGS = { keyEncoding: "utf8", valueEncoding: "msgpack" } as const;
const NOTATION = new Notation(ENCODINGS.keyEncoding, ENCODINGS.valueEncoding);

/** Distinct values: enough that their repetition is not what is measured. */
const VALUE_COUNT = 4096;
/** Entries that a seek reads. */
const SEEK_ENTRIES = 10;
const KEY_DIGITS = 16;
/** Operations between two moves of the progress bar. */
const STEP = 1000;

export function addBench(program: Command, context: Context): void {
  const command = program
    .command("bench [directory]")
    .description(
      "measure a store of made-up data: fills it at random, reopens it, reads it in several ways",
    )
    .option("--keys <n>", "keys", wholeNumber, 200_000)
    .option("--value-bytes <n>", "bytes of each value", wholeNumber, 100)
    .option("--batch <n>", "puts in a batch", wholeNumber, 1000)
    .addOption(
      new Option("--durability <when>", "when a batch is acknowledged")
        .choices(["os", "sync"])
        .default("os"),
    )
    .option("--seed <n>", "another seed, another order", wholeNumber, 1)
    .option("--json", "print { keys, valueBytes, ..., results, diskBytes } as JSON")
    .option("--quiet", "no progress bar")
    .action(async (directory: string | undefined, options: BenchOptions) => {
      if (options.keys === 0) throw new UsageError("--keys must be at least 1");
      if (options.batch === 0) throw new UsageError("--batch must be at least 1");
      await interruptible(async (check) => {
        const temporary =
          directory === undefined ? mkdtempSync(join(tmpdir(), "memkv-bench-")) : undefined;
        try {
          const place = directory ?? join(temporary ?? "", "store");
          const bench = new Bench(place, options, context, check);
          await bench.run();
          context.stdout.write(options.json === true ? bench.json() : bench.words());
        } finally {
          if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true });
        }
      });
    });
  addExamples(command, [
    ["memkv bench", "in a temporary directory, which is removed"],
    ["memkv bench /mnt/disk/new --durability sync", "on that disk; the store stays there"],
    ["memkv bench --keys 5000000 --value-bytes 1000 --json", "other data, for another program"],
  ]);
}

class Bench {
  private readonly directory: string;
  private readonly options: BenchOptions;
  private readonly context: Context;
  /** Throws when it is to end. */
  private readonly check: () => void;
  private readonly results: Result[] = [];
  private diskBytes = 0;
  /** Which key comes when. */
  private readonly order: Uint32Array;
  private readonly values: readonly string[];

  constructor(directory: string, options: BenchOptions, context: Context, check: () => void) {
    this.directory = directory;
    this.options = options;
    this.context = context;
    this.check = check;
    const random = new Random(options.seed);
    this.order = permutation(options.keys, random);
    this.values = Array.from({ length: VALUE_COUNT }, () => makeValue(options.valueBytes, random));
  }

  async run(): Promise<void> {
    const { batch, keys } = this.options;
    await this.withNewStore(async (store) => {
      await this.measure("fillrandom", keys, batch, (i, end) => this.fill(store, i, end));
    });
    // Reads block the thread for as long as they take, so the store is opened without a lock to keep.
    await withStore(this.directory, NOTATION, "read", this.context, async (store) => {
      await this.measure("readrandom", keys, STEP, (i, end) => {
        for (; i < end; i++) this.expect(store.get(keyOf(this.order[i])), this.order[i]);
      });
      await this.measure("readmissing", keys, STEP, (i, end) => {
        for (; i < end; i++) {
          if (store.get(`${keyOf(this.order[i])}.`) !== undefined) throw wrong(this.order[i]);
        }
      });
      const seeks = Math.ceil(keys / SEEK_ENTRIES);
      await this.measure("seekrandom", seeks, STEP / SEEK_ENTRIES, (i, end) => {
        for (; i < end; i++) this.seek(store, this.order[i]);
      });
      await this.measure("readseq", keys, keys, () => this.scan(store, false));
      await this.measure("readreverse", keys, keys, () => this.scan(store, true));
      this.diskBytes = store.stats().disk.total;
    });
  }

  json(): string {
    const { keys, valueBytes, batch, durability, seed } = this.options;
    const { results, diskBytes } = this;
    const facts = { keys, valueBytes, batch, durability, seed, results, diskBytes };
    return `${JSON.stringify(facts)}\n`;
  }

  words(): string {
    const { keys, valueBytes } = this.options;
    const rows = this.results.map(({ workload, operations, seconds }) => [
      workload,
      formatCount(operations),
      formatCount(Math.round(operations / seconds)),
      ((seconds * 1e6) / operations).toFixed(2),
    ]);
    const rawBytes = keys * (KEY_DIGITS + valueBytes);
    return [
      formatTable([["", "operations", "a second", "microseconds each"], ...rows]),
      "",
      `${formatBytes(this.diskBytes)} on disk, for ${formatBytes(rawBytes)} of keys and values`,
      "",
    ].join("\n");
  }

  private async withNewStore(use: (store: Store) => Promise<void>): Promise<void> {
    const { durability } = this.options;
    const store = await open<Key, unknown>(this.directory, {
      ...ENCODINGS,
      durability,
      errorIfExists: true,
      background: this.context.background,
    });
    try {
      await use(store);
    } finally {
      await store.close();
    }
  }

  /** Times `work` on [i, end) for all of [0, count), `step` at a time. */
  private async measure(
    workload: string,
    count: number,
    step: number,
    work: (i: number, end: number) => void | Promise<void>,
  ): Promise<void> {
    const { json, quiet } = this.options;
    const progress = startProgress(this.context, count, "keys", json !== true && quiet !== true);
    const start = performance.now();
    try {
      for (let i = 0; i < count; i += step) {
        await work(i, Math.min(count, i + step));
        progress.update(i, i);
        // Reads wait for nothing, and signals are heard between two turns of the event loop.
        await setImmediate();
        this.check();
      }
    } finally {
      progress.stop();
    }
    const seconds = (performance.now() - start) / 1000;
    this.results.push({ workload, operations: count, seconds });
  }

  private fill(store: Store, i: number, end: number): Promise<void> {
    const batch = Array.from(this.order.subarray(i, end), (k) => ({
      type: "put" as const,
      key: keyOf(k),
      value: this.valueOf(k),
    }));
    return store.batch(batch);
  }

  private seek(store: Store, first: number): void {
    let k = first;
    for (const [, value] of store.entries({ gte: keyOf(first), limit: SEEK_ENTRIES })) {
      this.expect(value, k++);
    }
    if (k !== Math.min(this.options.keys, first + SEEK_ENTRIES)) throw wrong(k);
  }

  private scan(store: Store, reverse: boolean): void {
    const { keys } = this.options;
    let k = reverse ? keys : -1;
    for (const [, value] of store.entries({ reverse })) this.expect(value, reverse ? --k : ++k);
    if (k !== (reverse ? 0 : keys - 1)) throw wrong(k);
  }

  private valueOf(k: number): string {
    return this.values[k % VALUE_COUNT];
  }

  private expect(value: unknown, k: number): void {
    if (value !== this.valueOf(k)) throw wrong(k);
  }
}

function keyOf(k: number): string {
  return String(k).padStart(KEY_DIGITS, "0");
}

/** Half of it random digits, half of it one letter. */
function makeValue(length: number, random: Random): string {
  let text = "";
  while (text.length < length / 2) text += random.next().toString(36);
  return text.slice(0, Math.ceil(length / 2)).padEnd(length, "x");
}

/** The numbers below `count` in random order (Fisher and Yates). */
function permutation(count: number, random: Random): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.below(i + 1);
    const swapped = order[i];
    order[i] = order[j];
    order[j] = swapped;
  }
  return order;
}

function wrong(k: number): DataError {
  return new DataError(`the answer for key ${keyOf(k)} is wrong: this is a bug in memkv`);
}
