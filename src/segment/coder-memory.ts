/**
 * CoderMemory: the coders of the segment before, for the next one like it.
 *
 * Learning takes two thirds of the time of flushing a small memtable (1 MiB of npm's names and
 * URLs), and what memtables hold seldom changes from one to the next. So each new sample is first
 * coded with what was learnt last: while that does about as well as it did when it was learnt, and
 * the segment is of like size, nothing is learnt anew.
 *
 * The first are learnt from the first part of a memtable, while it fills: with random keys its
 * segment takes 0.8% more bytes (npm's names and URLs, a twelfth of 8.6 MB); where keys come in
 * order the first are like no others, and are learnt anew.
 *
 * What was learnt from the very entries of a segment codes them better than what was learnt from
 * others: by 1 to 2% with memtables of 1 MiB, by 6 to 8% with 16. A compaction, which learns from all
 * that it merges, gets that back.
 */
import {
  type CodingOptions,
  type CodingRates,
  codingRates,
  type SegmentCoders,
  trainCoders,
} from "./coders.ts";
import type { EntrySample } from "./entry-sample.ts";
import { BlockEncoding } from "./value-block.ts";

/** How much longer codes may be than those of what was learnt from, and how much shorter. */
const MAX_LOSS = 1.1;
const MAX_GAIN = 0.8;
/** How many times as many keys, or as few, are of like size: tables are scaled to it. */
const MAX_SIZE_FACTOR = 2;

interface Learnt {
  readonly coders: SegmentCoders;
  readonly keyCount: number;
  /** How they did with the sample that they were learnt from. */
  readonly rates: CodingRates;
}

export class CoderMemory {
  private learnt: Learnt | undefined;

  constructor() {
    this.learnt = undefined;
  }

  /** Coders for a segment of so many keys, of which there is a sample. */
  codersFor(
    sample: EntrySample,
    expected: { readonly keyCount: number },
    options: CodingOptions,
  ): SegmentCoders {
    const { learnt } = this;
    const { keyCount } = expected;
    if (learnt !== undefined && isLike(learnt, sample, keyCount)) return learnt.coders;
    const coders = trainCoders(sample, expected, options);
    const rates = codingRates(sample, expected, coders);
    // Whether something that was stored raw, though short, would shrink now, only learning tells.
    const isWorthKeeping =
      coders.valueEncoding !== BlockEncoding.raw || rates.areLong || options.compression === "none";
    this.learnt = isWorthKeeping ? { coders, keyCount, rates } : undefined;
    return coders;
  }
}

function isLike(learnt: Learnt, sample: EntrySample, keyCount: number): boolean {
  const sizeFactor = keyCount / learnt.keyCount;
  if (sizeFactor > MAX_SIZE_FACTOR || sizeFactor < 1 / MAX_SIZE_FACTOR) return false;
  const before = learnt.rates;
  const { keys, values, areLong } = codingRates(sample, { keyCount }, learnt.coders);
  return areLong === before.areLong && isAbout(keys, before.keys) && isAbout(values, before.values);
}

function isAbout(rate: number, before: number): boolean {
  return rate <= before * MAX_LOSS && rate >= before * MAX_GAIN;
}
