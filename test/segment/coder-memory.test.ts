import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { atOnce, type Pieces } from "../../src/pieces.ts";
import { CoderMemory, type Samples } from "../../src/segment/coder-memory.ts";
import {
  type CodingOptions,
  codingRates,
  learnCoders,
  type SegmentCoders,
} from "../../src/segment/coders.ts";
import { EntrySample } from "../../src/segment/entry-sample.ts";
import { BlockEncoding } from "../../src/segment/value-block.ts";
import { Random } from "../../src/testing/random.ts";
import { bytesOf, EntryCursor } from "./segments.ts";

const packr = new Packr({ useRecords: false });
const pack = (value: unknown): Uint8Array => new Uint8Array(packr.pack(value));

const WORDS = Array.from({ length: 300 }, (_, i) => Math.imul(i + 7, 0x9e3779b1).toString(36));

/** Random words of these, always the same for a seed. */
function wordsFor(seed: number): () => string {
  const random = new Random(seed);
  return () => WORDS[random.below(WORDS.length)];
}

type Make = (i: number, word: () => string) => [key: string, value: unknown];

/** A sample of entries of a kind, other ones for each seed. Of long values fewer. */
function sampleOf(make: Make, seed: number): EntrySample {
  const count = make === documents || make === longNoise ? 1000 : 2000;
  const word = wordsFor(seed);
  const entries = Array.from({ length: count }, (_, i) => {
    const [key, value] = make(i, word);
    return { key: bytesOf(key), value: pack(value) };
  });
  entries.sort((a, b) => Buffer.compare(a.key, b.key));
  const sample = new EntrySample();
  const cursor = new EntryCursor(entries);
  cursor.seekToFirst();
  sample.takeWindow(cursor, count);
  return sample;
}

const links: Make = (i, word) => [
  `name-${word()}-${i}`,
  `https://github.com/owner-${i % 40}/${word()}`,
];
const numbers: Make = (i, word) => [`name-${word()}-${i}`, i * 1000];
const noise: Make = (i, word) => {
  const random = new Random(i);
  return [`name-${word()}-${i}`, Uint8Array.from({ length: 40 }, () => random.below(256))];
};
const longNoise: Make = (i, word) => {
  const random = new Random(i);
  return [`name-${word()}-${i}`, Uint8Array.from({ length: 400 }, () => random.below(256))];
};
/** Which are hardly smaller in a block of integers than one by one. */
const anyNumbers: Make = (i, word) => [`name-${word()}-${i}`, i % 2 === 0 ? i % 90 : 2 ** 41 + i];
const otherLinks: Make = (i, word) => [`name-${word()}-${i}`, `ÄÖÜ/${word()}/${word()}/ß/${i}`];
const otherKeys: Make = (i, word) => [`ÄÖÜ/${i}/${word()}`, links(i, word)[1]];
const documents: Make = (i, word) => [
  `name-${word()}-${i}`,
  { id: i, title: `a title ${word()}`, text: `and some text that says ${word()} `.repeat(30) },
];

const AUTO = { compression: "auto" } as const;

/** A sample that is taken in a piece. */
function* taken(sample: EntrySample): Pieces<EntrySample> {
  yield;
  return sample;
}

/** All of a sample, by which to see and to learn, for so many keys. */
function all(sample: EntrySample, keyCount: number): Samples {
  return { keyCount, few: () => taken(sample), many: () => taken(sample) };
}

function codersFor(memory: CoderMemory, samples: Samples, options: CodingOptions): SegmentCoders {
  return atOnce(memory.codersFor(samples, options));
}

describe("CoderMemory", () => {
  test.each([
    ["links", links, BlockEncoding.text],
    ["numbers", numbers, BlockEncoding.integers],
    ["documents", documents, BlockEncoding.deflate],
  ])("codes %s with what it learnt from others like them", (_, make, encoding) => {
    const memory = new CoderMemory();
    const first = codersFor(memory, all(sampleOf(make, 1), 2000), AUTO);
    expect(first.valueEncoding).toBe(encoding);
    for (let seed = 2; seed < 6; seed++) {
      const keyCount = 1000 * seed - 500;
      const coders = codersFor(memory, all(sampleOf(make, seed), keyCount), AUTO);
      expect([seed, coders === first]).toEqual([seed, keyCount <= 4000]);
    }
  });

  test.each([
    ["other values", otherLinks],
    ["numbers", numbers],
    ["other keys", otherKeys],
    ["documents", documents],
    ["noise", noise],
  ])("learns anew where links give way to %s", (_, make) => {
    const memory = new CoderMemory();
    const expected = { keyCount: 2000 };
    const before = codersFor(memory, all(sampleOf(links, 1), 2000), AUTO);
    const sample = sampleOf(make, 2);
    const after = codersFor(memory, all(sample, 2000), AUTO);
    expect(after === before).toBe(false);
    // As well as if there had been nothing before.
    const fresh = atOnce(learnCoders(sample, expected, AUTO));
    expect(codingRates(sample, expected, after)).toEqual(codingRates(sample, expected, fresh));
  });

  test("asks again whether values shrink that did not", () => {
    const memory = new CoderMemory();
    const first = codersFor(memory, all(sampleOf(noise, 1), 2000), AUTO);
    expect(first.valueEncoding).toBe(BlockEncoding.raw);
    const second = codersFor(memory, all(sampleOf(links, 2), 2000), AUTO);
    expect(second.valueEncoding).toBe(BlockEncoding.text);
  });

  test.each([
    ["long random bytes", "documents", longNoise, BlockEncoding.raw, documents],
    ["numbers that hardly shrink", "links", anyNumbers, BlockEncoding.integers, links],
  ])("learns anew, to merge, where %s give way to %s", (_, _later, make, encoding, laterMake) => {
    const memory = new CoderMemory();
    const options = { compression: "auto" } as const;
    const before = codersFor(memory, all(sampleOf(make, 1), 2000), options);
    expect(before.valueEncoding).toBe(encoding);
    const sample = sampleOf(laterMake, 2);
    const after = codersFor(memory, all(sample, 2000), options);
    const fresh = atOnce(learnCoders(sample, { keyCount: 2000 }, options));
    expect(after.valueEncoding).toBe(fresh.valueEncoding);
    expect(after.valueEncoding).not.toBe(encoding);
  });

  test("learns anew now and then, however well it seems to do", () => {
    const memory = new CoderMemory();
    let learnt = 0;
    const sample = sampleOf(links, 1);
    const many = (): Pieces<EntrySample> => {
      learnt++;
      return taken(sample);
    };
    for (let i = 0; i < 100; i++) {
      codersFor(memory, { keyCount: 2000, few: () => taken(sample), many }, AUTO);
    }
    expect(learnt).toBe(6);
  });

  test.each([
    ["as many", 5000, 5000, true],
    ["twice as many", 5000, 10_000, true],
    ["more than that", 5000, 10_001, false],
    ["half as many", 5000, 2500, true],
    ["fewer than that", 5000, 2499, false],
    ["fewer, but many", 2 ** 24, 2 ** 16, true],
    ["fewer, and not many", 2 ** 24, 2 ** 16 - 1, false],
  ])("codes %s with what was learnt from %d keys", (_, before, keyCount, isKept) => {
    const memory = new CoderMemory();
    const sample = sampleOf(numbers, 1);
    const first = codersFor(memory, all(sample, before), AUTO);
    expect(codersFor(memory, all(sample, keyCount), AUTO) === first).toBe(isKept);
  });

  test("learns from many entries, and sees by a few that it need not", () => {
    const memory = new CoderMemory();
    let learnt = 0;
    const samplesFor = (make: Make, seed: number): Samples => ({
      keyCount: 2000,
      few: () => taken(sampleOf(make, seed)),
      many: () => {
        learnt++;
        return taken(sampleOf(make, seed));
      },
    });
    const kinds = [links, links, links, numbers, numbers, links];
    const counts = kinds.map((make, seed) => {
      codersFor(memory, samplesFor(make, seed), AUTO);
      return learnt;
    });
    expect(counts).toEqual([1, 1, 1, 2, 2, 3]);
  });

  test("judges by entries that were not learnt from, the first time as well", () => {
    const memory = new CoderMemory();
    const mixed: Make = (i, word) => (i % 10 === 0 ? otherLinks(i, word) : links(i, word));
    const many = (): Pieces<EntrySample> => taken(sampleOf(links, 1));
    const few = (): Pieces<EntrySample> => taken(sampleOf(mixed, 1));
    const first = codersFor(memory, { keyCount: 2000, few, many }, AUTO);
    expect(codersFor(memory, { keyCount: 2000, few, many }, AUTO)).toBe(first);
    expect(codersFor(memory, { keyCount: 2000, few: many, many }, AUTO)).not.toBe(first);
  });

  test("takes samples without keys or values", () => {
    const memory = new CoderMemory();
    for (let i = 0; i < 3; i++) {
      const sample = new EntrySample();
      const coders = codersFor(memory, all(sample, 1), AUTO);
      expect(coders.valueEncoding).toBe(BlockEncoding.raw);
    }
  });
});
