/**
 * Order statistics: count, rank, at and sample, by how much lies in newer runs and in the memtable,
 * against walking the keys, which is what a store without ordinals does.
 *
 * `npm run bench -- count [--data directory] [--keys n] [--json]`. A question is first asked of a
 * database that knows nothing yet ("first"), then many times ("next"). Time is what the process
 * spent on a CPU; the walk is timed in the same run. In the last layout there are as many entries more
 * that expire, one before each count and rank.
 */
import { open } from "../src/index.ts";
import { MemoryFileSystem } from "../src/io/memory.ts";
import { keyCount, loadKeys, printTable, Random, readOptions, toStrings } from "./harness.ts";

const QUESTIONS = 2000;
const MAX_KEYS = 300_000;

/** Parts of the keys in the oldest run, in three newer runs and in the memtable. */
const LAYOUTS: readonly {
  readonly name: string;
  readonly newer: number;
  readonly memory: number;
  readonly isExpiring?: true;
}[] = [
  { name: "one run", newer: 0, memory: 0 },
  { name: "+ 10 % in 3 newer runs", newer: 0.1, memory: 0 },
  { name: "+ 10 % in the memtable", newer: 0, memory: 0.1 },
  { name: "+ 10 % in each", newer: 0.1, memory: 0.1 },
  { name: "one run that expires", newer: 0, memory: 0, isExpiring: true },
];

const options = readOptions();
const stored = loadKeys("urls", options);
if (stored === undefined) throw new Error("there is no sample of urls");
const all = toStrings(stored, 0, keyCount(stored));
const stride = Math.max(1, all.length / MAX_KEYS);
const keys = Array.from(
  { length: Math.min(all.length, MAX_KEYS) },
  (_, i) => all[Math.floor(i * stride)],
);
const random = new Random(11);
const rows: Record<string, string | number>[] = [];
for (const layout of LAYOUTS) rows.push(await measure(layout));
if (options.json) console.log(JSON.stringify({ keys: keys.length, rows }, undefined, 2));
else {
  console.log(`${keys.length} urls, microseconds for each question`);
  printTable(rows);
}

async function measure({
  name,
  newer,
  memory,
  isExpiring,
}: (typeof LAYOUTS)[number]): Promise<Record<string, string | number>> {
  let time = 0;
  const database = await open<string, string>("bench", {
    now: () => time,
    fileSystem: new MemoryFileSystem(),
    valueEncoding: "utf8",
    durability: "os",
    memtableBytes: 2 ** 28,
    compactionTrigger: 64,
  });
  const order = random.permutation(keys.length);
  const put = async (from: number, to: number): Promise<void> => {
    for (let i = Math.floor(from); i < Math.floor(to); i += 10_000) {
      const part = order.subarray(i, Math.min(Math.floor(to), i + 10_000));
      await database.batch(Array.from(part, (at) => ({ type: "put", key: keys[at], value: "1" })));
    }
  };
  const newerKeys = newer * keys.length;
  const memoryKeys = memory * keys.length;
  const oldest = keys.length - newerKeys - memoryKeys;
  await put(0, oldest);
  for (let i = 0; isExpiring && i < keys.length; i += 10_000) {
    await database.batch(
      // They sort after every url.
      Array.from({ length: 10_000 }, (_, j) => ({
        type: "put",
        key: `~ ${(i + j) * 7919}`,
        value: "1",
        ttl: 1 + i + j,
      })),
    );
  }
  await database.compact();
  for (let run = 0; run < 3 && newer > 0; run++) {
    await put(oldest + (run * newerKeys) / 3, oldest + ((run + 1) * newerKeys) / 3);
    await database.flush();
  }
  await put(keys.length - memoryKeys, keys.length);

  const somewhere = (): string => {
    time++;
    return keys[random.below(keys.length)];
  };
  const firstCount = micros(1, () => database.count({ gte: somewhere() }));
  const firstAt = micros(1, () => database.at(random.below(keys.length)));
  const row = {
    layout: name,
    "first count": firstCount,
    "first at": firstAt,
    "next count": micros(QUESTIONS, () =>
      database.count({ gte: somewhere(), lt: "https://gitlab" }),
    ),
    "next rank": micros(QUESTIONS, () => database.rank(somewhere())),
    "next at": micros(QUESTIONS, () => database.at(random.below(keys.length))),
    "sample key": rounded(micros(1, () => database.sample(QUESTIONS)) / QUESTIONS),
    "walk all keys": micros(1, () => {
      let count = 0;
      for (const _ of database.keys()) count++;
      if (count !== database.count()) throw new Error("a wrong count");
    }),
  };
  for (let i = 0; i < 1000; i++) {
    const index = random.below(keys.length);
    if (database.at(index) !== keys[index] || database.rank(keys[index]) !== index) {
      throw new Error("a wrong answer");
    }
  }
  await database.close();
  return row;
}

function micros(times: number, work: () => void): number {
  const before = process.cpuUsage();
  for (let i = 0; i < times; i++) work();
  const { user, system } = process.cpuUsage(before);
  return rounded((user + system) / times);
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
