/**
 * Transactions and writes on a condition, against the same writes without: what isolation costs.
 *
 * `npm run bench -- transactions [--rounds n] [--json]`. Each contender moves an amount from one
 * account to another, or adds to a counter; the contenders of a workload take turns, and the sum is
 * checked in the end. Time is wall time, on the real disk, median of the rounds.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Database, type Durability, open } from "../src/index.ts";
import { describeMachine, median, printTable, Random, readOptions } from "./harness.ts";

const ACCOUNTS = 10_000;
const OPERATIONS: Readonly<Record<Durability, number>> = { os: 4_000, sync: 1_000 };

/** Of the operations, what is done where nearly each waits for others: it says enough. */
const CONTENDED_SHARE = 0.1;

type Accounts = Database<string, number>;

interface Contender {
  readonly name: string;
  /** Keys to choose from: few are contended. */
  readonly accounts: number;
  readonly isExact: boolean;
  operate(database: Accounts, from: string, to: string): Promise<unknown>;
}

let conflicts = 0;

const transfer = (database: Accounts, from: string, to: string): Promise<unknown> => {
  let runs = 0;
  return database.transaction(
    (transaction) => {
      if (runs++ > 0) conflicts++;
      transaction.put(from, (transaction.get(from) ?? 0) - 1);
      transaction.put(to, (transaction.get(to) ?? 0) + 1);
    },
    { retries: 1000 },
  );
};

const CONTENDERS: readonly Contender[] = [
  {
    name: "2 gets, then a batch of 2 (no isolation)",
    accounts: ACCOUNTS,
    isExact: false,
    operate: (database, from, to) =>
      database.batch([
        { type: "put", key: from, value: (database.get(from) ?? 0) - 1 },
        { type: "put", key: to, value: (database.get(to) ?? 0) + 1 },
      ]),
  },
  {
    name: "transaction of 2 gets and 2 puts",
    accounts: ACCOUNTS,
    isExact: true,
    operate: transfer,
  },
  { name: "the same, on 20 accounts", accounts: 20, isExact: true, operate: transfer },
  {
    name: "put with ifValue, until it is done",
    accounts: ACCOUNTS,
    isExact: true,
    operate: async (database, from, to) => {
      for (const [key, amount] of [
        [from, -1],
        [to, 1],
      ] as const) {
        for (;;) {
          const before = database.get(key);
          if (await database.put(key, (before ?? 0) + amount, { ifValue: before })) break;
          conflicts++;
        }
      }
    },
  },
  {
    name: "transaction that counts and reads 10 keys",
    accounts: ACCOUNTS,
    isExact: true,
    operate: (database, from) =>
      database.transaction((transaction) => {
        let sum = transaction.count({ gte: from });
        for (const value of transaction.values({ gte: from, limit: 10 })) sum += value;
        return sum;
      }),
  },
];

const options = readOptions();
const rows: Record<string, string | number>[] = [];
for (const durability of ["os", "sync"] as const) {
  for (const clients of [1, 64]) {
    const rates = CONTENDERS.map((): number[] => []);
    const retried = CONTENDERS.map(() => 0);
    for (let round = 0; round <= options.rounds; round++) {
      for (const [i, contender] of CONTENDERS.entries()) {
        conflicts = 0;
        const rate = await measure(contender, durability, clients, round);
        // The first round warms up.
        if (round === 0) continue;
        rates[i].push(rate);
        retried[i] += conflicts;
      }
    }
    for (const [i, contender] of CONTENDERS.entries()) {
      const operations = countOf(contender, durability, clients) * options.rounds;
      rows.push({
        durability,
        clients,
        what: contender.name,
        "a second": Math.round(median(rates[i])),
        "of the first": Number((median(rates[i]) / median(rates[0])).toFixed(2)),
        "run again %": Number(((100 * retried[i]) / operations).toFixed(1)),
      });
    }
  }
}
if (options.json) console.log(JSON.stringify({ ...describeMachine(), rows }, undefined, 2));
else {
  console.log(JSON.stringify(describeMachine()));
  printTable(rows);
}

function countOf({ accounts }: Contender, durability: Durability, clients: number): number {
  const isAlone = clients === 1 && durability === "sync";
  const share = accounts < ACCOUNTS ? CONTENDED_SHARE : isAlone ? 0.25 : 1;
  return OPERATIONS[durability] * share;
}

/** Operations a second. */
async function measure(
  contender: Contender,
  durability: Durability,
  clients: number,
  seed: number,
): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), "memkv-bench-transactions-"));
  try {
    const database = await open<string, number>(directory, { durability });
    const keys = Array.from({ length: contender.accounts }, (_, i) => `account ${i}`);
    await database.batch(keys.map((key) => ({ type: "put", key, value: 100 })));
    const count = countOf(contender, durability, clients);
    const random = new Random(seed);
    let remaining = count;
    const client = async (): Promise<void> => {
      while (remaining-- > 0) {
        const from = random.below(keys.length);
        const to = (from + 1 + random.below(keys.length - 1)) % keys.length;
        await contender.operate(database, keys[from], keys[to]);
      }
    };
    const start = performance.now();
    await Promise.all(Array.from({ length: clients }, client));
    const seconds = (performance.now() - start) / 1000;
    let sum = 0;
    for (const value of database.values()) sum += value;
    if (contender.isExact && sum !== 100 * keys.length) throw new Error(`a sum of ${sum}`);
    await database.close();
    return count / seconds;
  } finally {
    rmSync(directory, { recursive: true });
  }
}
