/**
 * The pairs that stores are filled with: from a file, or made up.
 *
 * A file has `key<TAB>value` lines; of more pairs than asked for a uniform part is taken. Without one,
 * pairs are made that look like npm package names and their repositories' URLs: words from a pool,
 * scopes and users that repeat as a few popular ones do, the name again in the URL. The seed makes
 * both the same in every run and process.
 *
 * Strings are made one by one from bytes: what `split` returns are slices of the whole file, which
 * every store would read more slowly than the strings of an application.
 */
import { readFileSync } from "node:fs";
import { Random } from "../harness.ts";

/** Pair i is keys[i], values[i]; keys are distinct, in no order. */
export interface Pairs {
  readonly keys: string[];
  readonly values: string[];
}

const SEED = 20;

/** `count` pairs, shuffled, from a file or made up. Throws if the file has fewer. */
export function makePairs(count: number, file: string | undefined): Pairs {
  const pairs = file === undefined ? generatePairs(count) : readPairs(file);
  if (pairs.keys.length < count) {
    throw new Error(`${file} has ${pairs.keys.length} pairs, fewer than ${count}`);
  }
  const order = new Random(SEED).permutation(pairs.keys.length).subarray(0, count);
  return {
    keys: Array.from(order, (i) => pairs.keys[i]),
    values: Array.from(order, (i) => pairs.values[i]),
  };
}

/** The pairs of a file, in its order. */
export function readPairs(file: string): Pairs {
  const text = readFileSync(file);
  const keys: string[] = [];
  const values: string[] = [];
  for (let start = 0; start < text.length; ) {
    const tab = text.indexOf(9, start);
    const newline = text.indexOf(10, start);
    const end = newline < 0 ? text.length : newline;
    if (tab < 0 || tab > end) throw new Error(`${file}: no tab in the line at byte ${start}`);
    keys.push(text.toString("utf8", start, tab));
    values.push(text.toString("utf8", tab + 1, end));
    start = end + 1;
  }
  return { keys, values };
}

/** Lines of a file, as `readPairs` takes them. */
export function formatPairs({ keys, values }: Pairs): string {
  return keys.map((key, i) => `${key}\t${values[i]}\n`).join("");
}

const ONSETS =
  "b c d f g h j k l m n p r s t v w z br ch cl cr dr fl fr gr pl pr sh st th tr".split(" ");
const VOWELS = "a e i o u a e i o ai ea ee io ou".split(" ");
const ENDS = ["", "", "", "n", "r", "s", "t", "l", "x", "ck", "ng", "st"];
const COMMON =
  "react node js cli utils core api app plugin webpack babel eslint config server client ui test vue angular types data http json parser loader css theme web component form auth".split(
    " ",
  );

/** Names made of words that recur, as real ones do; `at` says which of 2^32 names, none is special. */
export class NameGenerator {
  private readonly random: Random;
  private readonly words: string[];

  constructor(seed: number) {
    this.random = new Random(seed);
    this.words = Array.from({ length: 8000 }, () => this.makeWord());
  }

  /** A user, organisation or scope: the first ones turn up most. */
  owner(): string {
    const first = this.words[this.skewed(this.words.length)];
    return this.random.below(3) === 0 ? `${first}${this.random.below(1000)}` : first;
  }

  /** A package or page name of one to four words. */
  name(): string {
    const count = 1 + this.random.below(4);
    const parts: string[] = [];
    for (let i = 0; i < count; i++) {
      const isCommon = this.random.below(3) === 0;
      parts.push(
        isCommon
          ? COMMON[this.skewed(COMMON.length)]
          : this.words[this.random.below(this.words.length)],
      );
    }
    return parts.join("-");
  }

  below(bound: number): number {
    return this.random.below(bound);
  }

  /** An index below `bound`, small ones far more often. */
  private skewed(bound: number): number {
    const unit = this.random.below(1 << 24) / (1 << 24);
    return Math.floor(bound * unit * unit * unit);
  }

  private makeWord(): string {
    const { random } = this;
    let word = "";
    for (let syllables = 1 + random.below(3); syllables > 0; syllables--) {
      word += ONSETS[random.below(ONSETS.length)] + VOWELS[random.below(VOWELS.length)];
    }
    return word + ENDS[random.below(ENDS.length)];
  }
}

function generatePairs(count: number): Pairs {
  const generator = new NameGenerator(SEED);
  const seen = new Set<string>();
  const keys: string[] = [];
  const values: string[] = [];
  while (keys.length < count) {
    const name = generator.name();
    const owner = generator.owner();
    const key = generator.below(3) === 0 ? `@${owner}/${name}` : name;
    if (seen.has(key)) continue;
    seen.add(key);
    // Through bytes: a concatenation is a tree of parts until someone reads it.
    keys.push(flatten(key));
    values.push(flatten(`https://github.com/${owner}/${name}`));
  }
  return { keys, values };
}

function flatten(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}

/** Text of `length` characters that compresses about as JSON does; another for each `seed`. */
export function makeText(length: number, seed: number): string {
  const random = new Random(seed);
  let text = "";
  while (text.length < length) {
    const word = COMMON[random.below(COMMON.length)];
    text += `"${word}":${random.below(1_000_000)},`;
  }
  return flatten(text.slice(0, length));
}
