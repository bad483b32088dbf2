/**
 * CoderMemory: the coders of what was merged before, for the next merge.
 *
 * Learning takes a third of the time of merging half a million entries; and what a database holds
 * seldom changes from one merge to the next. So a few of the new entries are first coded with what was
 * learnt last: while that does about as well as it did when it was learnt, and the size is alike,
 * nothing is learnt anew, but for every now and then. Of npm's names and URLs, what was learnt from
 * half of 480,000 codes the other half in 0.5% more bytes than what is learnt from it, and both
 * together in 0.5% more; from a quarter, 4%.
 */
import type { Pieces } from "../pieces.ts";
import {
  type CodingOptions,
  type CodingRates,
  codingRates,
  learnCoders,
  type SegmentCoders,
} from "./coders.ts";
import type { EntrySample } from "./entry-sample.ts";
import { BlockEncoding } from "./value-block.ts";

/**
 * How many times as long codes may be as those of what was learnt from. Samples of the same data
 * differ by 1 to 2%.
 */
const MAX_LOSS = 1.05;
/** How much shorter: what has become simpler may be worth learning, too. */
const MAX_GAIN = 0.8;
/** How many times as many keys, or as few, are of like size: tables are scaled to it. */
const MAX_SIZE_FACTOR = 2;
/** From so many keys on a table of any size is worth its bytes. */
const LARGE_KEY_COUNT = 1 << 17;
/**
 * How often coders are taken over. Those that were learnt from noise do as well with a text as with
 * noise, so that it does not show how much others would do better.
 */
const MAX_USES = 16;

/** What is to be coded, as far as it need be seen for that. */
export interface Samples {
  /** Keys of all of it. */
  readonly keyCount: number;
  /** A few entries, which show how well coders do; of segments that have enough, others than `many` has. */
  few(): Pieces<EntrySample>;
  /** As many as are learnt from. */
  many(): Pieces<EntrySample>;
}

interface Learnt {
  readonly coders: SegmentCoders;
  readonly keyCount: number;
  /** How they did with `few` of the samples that they were learnt from. */
  readonly rates: CodingRates;
  /** How often they were taken over. */
  uses: number;
}

export class CoderMemory {
  private learnt: Learnt | undefined;

  constructor() {
    this.learnt = undefined;
  }

  /** Coders for what the samples are of. */
  *codersFor(samples: Samples, options: CodingOptions): Pieces<SegmentCoders> {
    const { learnt } = this;
    const few = yield* samples.few();
    if (learnt !== undefined && isLike(learnt, samples, few)) {
      learnt.uses++;
      return learnt.coders;
    }
    const { keyCount } = samples;
    const coders = yield* learnCoders(yield* samples.many(), { keyCount }, options);
    yield;
    const rates = codingRates(few, { keyCount }, coders);
    // Whether something that did not shrink would shrink now, only learning tells.
    const isWorthKeeping =
      coders.valueEncoding !== BlockEncoding.raw || options.compression === "none";
    this.learnt = isWorthKeeping ? { coders, keyCount, rates, uses: 0 } : undefined;
    return coders;
  }
}

function isLike(learnt: Learnt, { keyCount }: Samples, few: EntrySample): boolean {
  const leastCount = Math.min(learnt.keyCount, LARGE_KEY_COUNT) / MAX_SIZE_FACTOR;
  if (keyCount < leastCount || keyCount > learnt.keyCount * MAX_SIZE_FACTOR) return false;
  if (learnt.uses === MAX_USES) return false;
  const before = learnt.rates;
  const rates = codingRates(few, { keyCount }, learnt.coders);
  return (
    rates.areLong === before.areLong &&
    rates.areIntegers === before.areIntegers &&
    isAbout(rates.keys, before.keys) &&
    isAbout(rates.values, before.values)
  );
}

function isAbout(rate: number, before: number): boolean {
  return rate <= before * MAX_LOSS && rate >= before * MAX_GAIN;
}
