/**
 * YCSB's core workloads A to F (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", 2010):
 * mixes of reads, updates, inserts, short scans and read-modify-writes over keys drawn by Zipf's law,
 * or, in D, the newest most. Sixteen clients share the event loop; each waits for its write.
 *
 * The sequence of operations is drawn before the clock starts and is the same for every store.
 */
import { Random } from "../harness.ts";
import type { Pairs } from "./data.ts";
import type { Store } from "./store.ts";

/** Operations made ready. */
export interface Plan {
  readonly operations: number;
  run(store: Store): Promise<void>;
  /** Throws if a key that was there was not found, or a scan was short. */
  check(): void;
}

export interface Mix {
  readonly name: string;
  plan(pairs: Pairs): Plan;
}

type Kind = "read" | "update" | "insert" | "scan" | "modify";

const CLIENTS = 16;
const ZIPF_THETA = 0.99;
const LONGEST_SCAN = 100;

function mix(
  name: string,
  operations: number,
  first: Kind,
  second: Kind,
  secondPart: number,
  isLatest = false,
): Mix {
  return {
    name,
    plan(pairs: Pairs): Plan {
      const random = new Random(7);
      const count = pairs.keys.length;
      const zipf = new Zipf(count, random);
      const scatter = random.permutation(count);
      const kinds: Kind[] = [];
      const keys: string[] = [];
      const inserted: string[] = [];
      const lengths: number[] = [];
      for (let i = 0; i < operations; i++) {
        const kind = random.below(100) < secondPart ? second : first;
        kinds.push(kind);
        lengths.push(1 + random.below(LONGEST_SCAN));
        if (kind === "insert") {
          const base = pairs.keys[random.below(count)];
          inserted.push(Buffer.from(`${base}/${inserted.length}`).toString());
          keys.push(inserted[inserted.length - 1]);
        } else if (isLatest) {
          // Rank 0 is the newest, a few behind: an insert may still be on its way.
          const age = zipf.next() + CLIENTS;
          const isNew = age < inserted.length;
          keys.push(isNew ? inserted[inserted.length - 1 - age] : pairs.keys[zipf.next()]);
        } else {
          keys.push(pairs.keys[scatter[zipf.next()]]);
        }
      }
      return new OperationPlan(kinds, keys, lengths, pairs.values);
    },
  };
}

export const YCSB: readonly Mix[] = [
  mix("a", 400_000, "read", "update", 50),
  mix("b", 400_000, "read", "update", 5),
  mix("c", 400_000, "read", "update", 0),
  mix("d", 400_000, "read", "insert", 5, true),
  mix("e", 40_000, "scan", "insert", 5),
  mix("f", 400_000, "read", "modify", 50),
];

class OperationPlan implements Plan {
  readonly operations: number;
  private readonly kinds: readonly Kind[];
  private readonly keys: readonly string[];
  private readonly lengths: readonly number[];
  private readonly values: readonly string[];
  private next = 0;
  private missing = 0;

  constructor(
    kinds: readonly Kind[],
    keys: readonly string[],
    lengths: readonly number[],
    values: readonly string[],
  ) {
    this.operations = kinds.length;
    this.kinds = kinds;
    this.keys = keys;
    this.lengths = lengths;
    this.values = values;
  }

  async run(store: Store): Promise<void> {
    await Promise.all(Array.from({ length: CLIENTS }, () => this.runClient(store)));
  }

  check(): void {
    if (this.missing > 0) throw new Error(`${this.missing} keys were not found`);
  }

  private async runClient(store: Store): Promise<void> {
    while (this.next < this.operations) {
      const i = this.next++;
      const key = this.keys[i];
      const value = this.values[i % this.values.length];
      switch (this.kinds[i]) {
        case "read":
          if (store.get(key) === undefined) this.missing++;
          break;
        case "update":
        case "insert":
          await store.put(key, value);
          break;
        case "modify":
          if (store.get(key) === undefined) this.missing++;
          await store.put(key, value);
          break;
        case "scan": {
          let found = 0;
          await store.scan({ gte: key, limit: this.lengths[i] }, () => found++);
          if (found === 0) this.missing++;
          break;
        }
      }
    }
  }
}

/**
 * Ranks by Zipf's law, as YCSB draws them: Gray et al., "Quickly Generating Billion-Record Synthetic
 * Databases" (1994), section 3.2.
 */
class Zipf {
  private readonly count: number;
  private readonly random: Random;
  private readonly zeta: number;
  private readonly eta: number;

  constructor(count: number, random: Random) {
    this.count = count;
    this.random = random;
    let zeta = 0;
    for (let i = 1; i <= count; i++) zeta += 1 / i ** ZIPF_THETA;
    this.zeta = zeta;
    const zetaOfTwo = 1 + 0.5 ** ZIPF_THETA;
    this.eta = (1 - (2 / count) ** (1 - ZIPF_THETA)) / (1 - zetaOfTwo / zeta);
  }

  /** A rank from 0, small ones far more often. */
  next(): number {
    const unit = this.random.below(2 ** 30) / 2 ** 30;
    const scaled = unit * this.zeta;
    if (scaled < 1) return 0;
    if (scaled < 1 + 0.5 ** ZIPF_THETA) return 1;
    const rank = this.count * (this.eta * unit - this.eta + 1) ** (1 / (1 - ZIPF_THETA));
    return Math.min(this.count - 1, Math.floor(rank));
  }
}
