/**
 * What an iteration waits for, and what writes cost, with each `memtableIndex`: a database is filled
 * without a pause, and now and then ten keys are iterated over, or none ever are.
 *
 * `npm run bench -- memtable-index [--keys n] [--data pairs.tsv] [--rounds n] [--json]`: pairs as of
 * `npm run bench -- compare`, in batches of 1,000, with the options as they come otherwise, and
 * durability "os". Wall time, on the real disk: median of the rounds, and the least and the most.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "../src/index.ts";
import { makePairs, type Pairs } from "./compare/data.ts";
import { describeMachine, median, printProgress, printTable, readOptions } from "./harness.ts";

const BATCH = 1000;
/** Batches between two iterations: a million pairs, more than two memtables hold. */
const BATCHES_BETWEEN = 1000;
const ITERATED_KEYS = 10;

interface Contender {
  readonly memtableIndex: "hash" | "tree";
  readonly iterates: boolean;
  readonly pairsPerSecond: number[];
  readonly longestMs: number[];
}

const options = readOptions();
const contenders: Contender[] = (["hash", "tree"] as const).flatMap((memtableIndex) =>
  [true, false].map((iterates) => ({ memtableIndex, iterates, pairsPerSecond: [], longestMs: [] })),
);
const pairs = makePairs(options.keys, options.data);
for (let round = 0; round < options.rounds; round++) {
  printProgress(`round ${round + 1} of ${options.rounds}`);
  for (let i = 0; i < contenders.length; i++) {
    await fill(contenders[(round + i) % contenders.length], pairs);
  }
}

if (options.json) {
  console.log(JSON.stringify({ machine: describeMachine(), contenders }, undefined, 2));
} else {
  const { node, cpu, cpus } = describeMachine();
  console.log(`${options.keys} pairs, ${options.rounds} rounds, Node ${node}, ${cpus} x ${cpu}`);
  printTable(
    contenders.map(({ memtableIndex, iterates, pairsPerSecond, longestMs }) => ({
      memtableIndex,
      iterations: iterates ? `every ${BATCHES_BETWEEN * BATCH} pairs` : "none",
      "pairs a second": spread(pairsPerSecond.map(Math.round)),
      "longest, ms": iterates ? spread(longestMs.map((ms) => Number(ms.toFixed(1)))) : "",
    })),
  );
}

async function fill(contender: Contender, { keys, values }: Pairs): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "memkv-memtable-index-"));
  try {
    const database = await open<string, string>(directory, {
      valueEncoding: "utf8",
      durability: "os",
      memtableIndex: contender.memtableIndex,
    });
    let longest = 0;
    const start = performance.now();
    for (let i = 0; i < keys.length; i += BATCH) {
      const batch = keys
        .slice(i, i + BATCH)
        .map((key, k) => ({ type: "put" as const, key, value: values[i + k] }));
      await database.batch(batch);
      if (!contender.iterates || (i / BATCH) % BATCHES_BETWEEN !== BATCHES_BETWEEN - 1) continue;
      const before = performance.now();
      const found = [...database.keys({ gte: keys[i], limit: ITERATED_KEYS })];
      longest = Math.max(longest, performance.now() - before);
      if (found[0] !== keys[i]) throw new Error(`${keys[i]} was written and is not there`);
    }
    contender.pairsPerSecond.push(keys.length / ((performance.now() - start) / 1000));
    contender.longestMs.push(longest);
    await database.close();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** "median (least to most)" */
function spread(numbers: readonly number[]): string {
  return `${median(numbers)} (${Math.min(...numbers)} to ${Math.max(...numbers)})`;
}
