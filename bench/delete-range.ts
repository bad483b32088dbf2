/**
 * Deleted ranges: what reads beside them cost, against the same keys never having been there and
 * against the same keys deleted one by one; and a queue whose head is deleted forever, which is where
 * tombstones make other stores slow (RocksDB's issue 10300).
 *
 * `npm run bench -- delete-range [--keys n] [--json]`. Times are what the process spent on a CPU, in
 * microseconds for each question; compaction is kept from clearing the tombstones away.
 */
import { type Database, open } from "../src/index.ts";
import { MemoryFileSystem } from "../src/io/memory.ts";
import { printTable, readOptions } from "./harness.ts";

type TextDatabase = Database<string, string>;

const QUESTIONS = 500;
/** Keys before the deleted ones, and as many behind them. */
const BESIDE = 30_000;
const MAX_DELETED = 300_000;
const QUEUE_LENGTH = 1000;
const QUEUE_STEP = 10;

const options = readOptions();
const deletedCount = Math.min(options.keys, MAX_DELETED);
const keyOf = (i: number): string => `key ${String(i).padStart(9, "0")}`;
const FIRST = keyOf(BESIDE);
const END = keyOf(BESIDE + deletedCount);

const WAYS: Record<string, (database: TextDatabase) => Promise<void>> = {
  "never there": async () => {},
  "range, in the memtable": (database) => database.deleteRange({ gte: FIRST, lt: END }),
  "range, in a newer run": async (database) => {
    await database.deleteRange({ gte: FIRST, lt: END });
    await database.flush();
  },
  "one by one, in a newer run": async (database) => {
    for (let i = BESIDE; i < BESIDE + deletedCount; i++) {
      const promise = database.delete(keyOf(i));
      if (i % 1000 === 0) await promise;
    }
    await database.flush();
  },
};

const QUESTIONS_OF: Record<string, (database: TextDatabase) => unknown> = {
  "next key": (database) => [...database.keys({ gte: FIRST, limit: 1 })],
  "10 entries": (database) => [...database.entries({ gte: FIRST, limit: 10 })],
  "10 backwards": (database) => [...database.entries({ lt: END, limit: 10, reverse: true })],
  "get, deleted": (database) => database.get(FIRST),
  "get, beside": (database) => database.get(keyOf(1)),
};

const reads = await measureReads();
const queue = await measureQueue();
if (options.json) {
  console.log(JSON.stringify({ deletedCount, reads, queue }, undefined, 2));
} else {
  console.log(`${deletedCount} deleted keys between ${BESIDE} and ${BESIDE} others`);
  printTable(reads);
  console.log(
    `\na queue of ${QUEUE_LENGTH}: put ${QUEUE_STEP}, look at the head, delete ${QUEUE_STEP}`,
  );
  printTable(queue);
}

async function openEmpty(): Promise<TextDatabase> {
  return await open<string, string>("bench", {
    fileSystem: new MemoryFileSystem(),
    valueEncoding: "utf8",
    durability: "os",
    compactionTrigger: 64,
    maxSizeAmplificationPercent: 1000,
  });
}

async function measureReads(): Promise<Record<string, string | number>[]> {
  const databases: [string, TextDatabase][] = [];
  for (const [way, remove] of Object.entries(WAYS)) {
    const database = await openEmpty();
    for (let i = 0; i < 2 * BESIDE + deletedCount; i++) {
      const isAbsent = way === "never there" && i >= BESIDE && i < BESIDE + deletedCount;
      if (isAbsent) continue;
      const promise = database.put(keyOf(i), `value ${i}`);
      if (i % 1000 === 0) await promise;
    }
    await database.flush();
    await remove(database);
    databases.push([way, database]);
  }
  const rows = databases.map(([way]): Record<string, string | number> => ({ deleted: way }));
  for (const [name, ask] of Object.entries(QUESTIONS_OF)) {
    const best = databases.map(() => Number.POSITIVE_INFINITY);
    for (let round = 0; round < options.rounds; round++) {
      for (const [i, [, database]] of databases.entries()) {
        best[i] = Math.min(
          best[i],
          timeOf(() => ask(database)),
        );
      }
    }
    for (const [i, time] of best.entries()) rows[i][name] = time.toFixed(1);
  }
  for (const [, database] of databases) await database.close();
  return rows;
}

/** Microseconds of CPU for each question; fewer are asked where each takes long. */
function timeOf(ask: () => unknown): number {
  const start = process.cpuUsage();
  let asked = 0;
  let spent = 0;
  while (asked < QUESTIONS && spent < 200_000) {
    ask();
    asked++;
    const { user, system } = process.cpuUsage(start);
    spent = user + system;
  }
  return spent / asked;
}

async function measureQueue(): Promise<Record<string, string | number>[]> {
  const rows: Record<string, string | number>[] = [];
  for (const way of ["one by one", "by range"]) {
    const database = await openEmpty();
    const row: Record<string, string | number> = { deleted: way };
    let tail = 0;
    for (const parts of [1, 2, 3, 4]) {
      const until = Math.floor((deletedCount * parts) / 4);
      const start = process.cpuUsage();
      const before = tail;
      while (tail < until) {
        const batch = Array.from({ length: QUEUE_STEP }, () => {
          const key = keyOf(tail++);
          return { type: "put" as const, key, value: key };
        });
        await database.batch(batch);
        if (tail <= QUEUE_LENGTH) continue;
        const heads = [...database.keys({ limit: QUEUE_STEP })];
        if (way === "by range") await database.deleteRange({ lte: heads[heads.length - 1] });
        else await database.batch(heads.map((key) => ({ type: "delete", key })));
      }
      const { user, system } = process.cpuUsage(start);
      row[`us each, to ${tail}`] = ((user + system) / (tail - before)).toFixed(1);
    }
    rows.push(row);
    await database.close();
  }
  return rows;
}
