/**
 * Random concurrent transactions over a few keys, and the history of what they saw and did.
 *
 * Each reads keys and ranges and appends its number to the lists of others (checker.ts). Bodies pause
 * between their steps, so that they overlap; some give up. Flushes and writes outside of transactions
 * go on meanwhile.
 */
import { setImmediate } from "node:timers/promises";
import {
  ConflictError,
  type Database,
  type File,
  type OpenMode,
  open,
  type Transaction,
} from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { Random } from "../../src/testing/random.ts";
import type { Committed, Versions } from "./checker.ts";

type Lists = Database<string, Versions>;
type ListTransaction = Transaction<string, Versions>;

/** Some are written to from the start, some only ever appear in the middle of a range. */
const KEYS: readonly string[] = Array.from(
  { length: 12 },
  (_, i) => `key${`${i}`.padStart(2, "0")}`,
);

const WORKERS = 6;
const TRANSACTIONS_EACH = 8;

export interface Outcome {
  readonly history: readonly Committed[];
  readonly end: ReadonlyMap<string, Versions>;
  readonly runs: number;
  readonly conflicts: number;
}

class GaveUp extends Error {}

/** A disk whose syncs take a while, so that transactions gather in groups. */
class SlowFileSystem extends MemoryFileSystem {
  private readonly turns: number;

  constructor(turns: number) {
    super();
    this.turns = turns;
  }

  override async open(path: string, mode: OpenMode): Promise<File> {
    const file = await super.open(path, mode);
    const sync = file.sync.bind(file);
    file.sync = async (): Promise<void> => {
      for (let i = 0; i < this.turns; i++) await setImmediate();
      await sync();
    };
    return file;
  }
}

export async function runWorkload(seed: number): Promise<Outcome> {
  const random = new Random(seed);
  const database: Lists = await open<string, Versions>("store", {
    fileSystem: new SlowFileSystem(random.below(6)),
    memtableBytes: 2 ** 17,
    durability: random.oneIn(2) ? "sync" : "os",
  });
  const history: Committed[] = [];
  let nextId = 1;
  let runs = 0;
  let conflicts = 0;
  const worker = async (): Promise<void> => {
    for (let i = 0; i < TRANSACTIONS_EACH; i++) {
      const options = { retries: 2, backOff: () => pause(random) } as const;
      try {
        const committed = await database.transaction(async (transaction) => {
          runs++;
          // A number for each run, so that what an aborted one wrote is told apart.
          const recorder = new Recorder(nextId++, transaction);
          const steps = 1 + random.below(5);
          for (let step = 0; step < steps; step++) {
            recorder.step(random);
            await pause(random);
          }
          if (random.oneIn(10)) throw new GaveUp();
          return recorder;
        }, options);
        history.push(committed);
      } catch (error) {
        if (error instanceof ConflictError) conflicts++;
        else if (!(error instanceof GaveUp)) throw error;
      }
      await pause(random);
    }
  };
  const disturb = async (): Promise<void> => {
    for (let i = 0; i < 6; i++) {
      for (let turns = random.below(20); turns > 0; turns--) await setImmediate();
      await (random.oneIn(3) ? database.flush() : database.put(`other${i}`, []));
    }
  };
  await Promise.all([disturb(), ...Array.from({ length: WORKERS }, worker)]);
  const end = new Map(KEYS.map((key) => [key, database.get(key) ?? []]));
  await database.close();
  return { history, end, runs, conflicts };
}

async function pause(random: Random): Promise<void> {
  for (let turns = random.below(3); turns > 0; turns--) await setImmediate();
}

/** One run of a transaction's body. */
class Recorder implements Committed {
  readonly id: number;
  readonly reads = new Map<string, Versions>();
  readonly writes = new Set<string>();
  private readonly transaction: ListTransaction;

  constructor(id: number, transaction: ListTransaction) {
    this.id = id;
    this.transaction = transaction;
  }

  step(random: Random): void {
    const key = KEYS[random.below(KEYS.length)];
    const kind = random.below(6);
    if (kind < 2) this.append(key);
    else if (kind === 2) this.see(key, this.transaction.get(key));
    else if (kind === 3) this.readFrom(key, 1 + random.below(3), random.oneIn(2));
    else if (kind === 4) this.readFirst(key);
    else this.countFrom(key);
  }

  private append(key: string): void {
    const versions = this.transaction.get(key);
    this.see(key, versions);
    if (this.writes.has(key)) return;
    this.transaction.put(key, [...(versions ?? []), this.id]);
    this.writes.add(key);
  }

  /** What the database had for the key; the own write is not of interest. */
  private see(key: string, versions: Versions = []): void {
    if (!this.writes.has(key)) this.reads.set(key, versions);
  }

  /** Some keys from one on, either way: those passed over are known not to be there. */
  private readFrom(key: string, limit: number, reverse: boolean): void {
    const range = reverse ? { prefix: "key", lte: key } : { prefix: "key", gte: key };
    const entries = [...this.transaction.entries({ ...range, reverse, limit })];
    const last = entries.length < limit ? undefined : entries.at(-1)?.[0];
    const found = new Map(entries);
    for (const other of KEYS) {
      const isBeforeEnd = last === undefined || (reverse ? other >= last : other <= last);
      const isInRange = reverse ? other <= key : other >= key;
      if (isInRange && isBeforeEnd) this.see(other, found.get(other));
    }
  }

  /** The first key of a range, left by `break`. */
  private readFirst(from: string): void {
    let first: string | undefined;
    for (const [key, versions] of this.transaction.entries({ prefix: "key", gt: from })) {
      first = key;
      this.see(key, versions);
      break;
    }
    for (const key of KEYS) {
      if (key > from && (first === undefined || key < first)) this.see(key);
    }
  }

  /** A count says of each key only whether it is there: known for sure where none or all are. */
  private countFrom(from: string): void {
    const count = this.transaction.count({ prefix: "key", gte: from });
    const others = KEYS.filter((key) => key >= from);
    if (count === 0) for (const key of others) this.see(key);
  }
}
