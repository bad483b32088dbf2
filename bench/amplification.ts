/**
 * What the compaction policy costs: bytes written for each of the user's, runs a read may look
 * through, and bytes on disk for each live one, under steady loads and several settings.
 *
 * `npm run bench -- amplification [--keys 100000] [--json]`. Counts, not times: the machine does not
 * matter. Each load writes `keys` entries of 150 bytes through memtables of 1 MiB, as if those were
 * 64 MiB and the load 64 times as long.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { type BatchOperation, open } from "../src/index.ts";
import { printTable, Random, readOptions } from "./harness.ts";

const options = readOptions();
const WRITES = Math.min(options.keys, 100_000);
const BATCH_SIZE = 100;
/** Keys that a load overwrites, or has in its queue. */
const KEYS = WRITES / 10;

type Operation = Exclude<BatchOperation<string, string>, { readonly type: "deleteRange" }>;

const digits = (i: number): string => `key ${String(i).padStart(10, "0")}`;

/** The i-th operation of a load. */
const LOADS: Record<string, (i: number, random: Random) => Operation> = {
  fillseq: (i, random) => put(i, random),
  fillrandom: (i, random) => put(Math.imul(i, 0x9e37_79b1) >>> 0, random),
  overwrite: (_, random) => put(random.below(KEYS), random),
  "overwrite, skewed": (_, random) =>
    put(Math.floor(KEYS ** (random.below(2 ** 20) / 2 ** 20)), random),
  "queue (put, delete the oldest)": (i, random) =>
    i % 2 === 0 ? put(i / 2, random) : { type: "delete", key: digits((i - 1) / 2 - KEYS / 5) },
  "half deletes": (_, random) =>
    random.below(2) === 0
      ? put(random.below(KEYS), random)
      : { type: "delete", key: digits(random.below(KEYS)) },
};

const SETTINGS = {
  default: {},
  "compactionTrigger 8": { compactionTrigger: 8 },
  "minMergeWidth 2": { minMergeWidth: 2 },
  "maxSizeAmplificationPercent 25": { maxSizeAmplificationPercent: 25 },
  "maxSizeAmplificationPercent 200": { maxSizeAmplificationPercent: 200 },
} as const;

/** Random hexadecimal: what compression takes half of. */
function put(i: number, random: Random): Operation {
  let value = "";
  for (let j = 0; j < 17; j++)
    value += random
      .below(2 ** 32)
      .toString(16)
      .padStart(8, "0");
  return { type: "put", key: digits(i), value };
}

interface Result {
  readonly load: string;
  readonly setting: string;
  readonly writeAmplification: number;
  readonly runsMax: number;
  readonly runsMean: number;
  readonly spaceMax: number;
}

async function measure(load: string, setting: keyof typeof SETTINGS): Promise<Result> {
  const directory = mkdtempSync(join(tmpdir(), "memkv-amplification-"));
  try {
    const database = await open(directory, {
      valueEncoding: "utf8",
      durability: "os",
      memtableBytes: 2 ** 20,
      segmentBytes: 2 ** 20,
      compression: "none",
      ...SETTINGS[setting],
    });
    const random = new Random(1);
    const operationOf = LOADS[load];
    const runs: number[] = [];
    const live = new Set<string>();
    let spaceMax = 1;
    for (let i = 0; i < WRITES; i += BATCH_SIZE) {
      const batch = Array.from({ length: BATCH_SIZE }, (_, j) => operationOf(i + j, random));
      for (const { type, key } of batch) {
        if (type === "put") live.add(key);
        else live.delete(key);
      }
      await database.batch(batch);
      const { background, disk } = database.stats();
      runs.push(database.stats().runs.length);
      // Where the background is at rest, and there are several memtables of data.
      if (background.compaction === undefined && i > KEYS) {
        spaceMax = Math.max(spaceMax, (disk.total - disk.log) / (live.size * ENTRY_BYTES));
      }
      // Writers leave the background its turn, as in a load that it can carry.
      while (database.stats().background.sealedMemtables > 0) await setImmediate();
    }
    await database.flush();
    while (database.stats().background.compaction !== undefined) await setImmediate();
    const { amplification } = database.stats();
    await database.close();
    return {
      load,
      setting,
      writeAmplification: amplification.write,
      runsMax: Math.max(...runs),
      runsMean: runs.reduce((sum, count) => sum + count, 0) / runs.length,
      spaceMax,
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What an entry takes in a run that has nothing else. */
const ENTRY_BYTES = 143;

const results: Result[] = [];
for (const setting of Object.keys(SETTINGS) as (keyof typeof SETTINGS)[]) {
  for (const load of Object.keys(LOADS)) results.push(await measure(load, setting));
}
if (options.json) console.log(JSON.stringify({ writes: WRITES, results }, null, 2));
else {
  printTable(
    results.map(({ load, setting, writeAmplification, runsMax, runsMean, spaceMax }) => ({
      setting,
      load,
      "bytes written / user's": writeAmplification.toFixed(2),
      "runs, mean": runsMean.toFixed(1),
      "runs, most": runsMax,
      "disk / live, most": spaceMax.toFixed(2),
    })),
  );
}
