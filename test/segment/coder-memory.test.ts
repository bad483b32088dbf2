import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { CoderMemory } from "../../src/segment/coder-memory.ts";
import { codingRates, trainCoders } from "../../src/segment/coders.ts";
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

/** A sample of entries of a kind, other ones for each seed. Of documents fewer, since they are long. */
function sampleOf(make: Make, seed: number): EntrySample {
  const count = make === documents ? 1000 : 2000;
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
const otherLinks: Make = (i, word) => [`name-${word()}-${i}`, `ÄÖÜ/${word()}/${word()}/ß/${i}`];
const otherKeys: Make = (i, word) => [`ÄÖÜ/${i}/${word()}`, links(i, word)[1]];
const documents: Make = (i, word) => [
  `name-${word()}-${i}`,
  { id: i, title: `a title ${word()}`, text: `and some text that says ${word()} `.repeat(30) },
];

const AUTO = { compression: "auto", effort: "quick" } as const;

describe("CoderMemory", () => {
  test.each([
    ["links", links, BlockEncoding.text],
    ["numbers", numbers, BlockEncoding.integers],
    ["documents", documents, BlockEncoding.raw],
  ])("codes %s with what it learnt from others like them", (_, make, encoding) => {
    const memory = new CoderMemory();
    const first = memory.codersFor(sampleOf(make, 1), { keyCount: 2000 }, AUTO);
    expect(first.valueEncoding).toBe(encoding);
    for (let seed = 2; seed < 6; seed++) {
      const keyCount = 1000 * seed - 500;
      const coders = memory.codersFor(sampleOf(make, seed), { keyCount }, AUTO);
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
    const before = memory.codersFor(sampleOf(links, 1), expected, AUTO);
    const sample = sampleOf(make, 2);
    const after = memory.codersFor(sample, expected, AUTO);
    expect(after === before).toBe(false);
    // As well as if there had been nothing before.
    const fresh = trainCoders(sample, expected, AUTO);
    expect(codingRates(sample, expected, after)).toEqual(codingRates(sample, expected, fresh));
  });

  test("learns anew where documents, which it leaves as they are, give way to links", () => {
    const memory = new CoderMemory();
    const expected = { keyCount: 2000 };
    const first = memory.codersFor(sampleOf(documents, 1), expected, AUTO);
    expect(first.valueEncoding).toBe(BlockEncoding.raw);
    const second = memory.codersFor(sampleOf(links, 2), expected, AUTO);
    expect(second.valueEncoding).toBe(BlockEncoding.text);
  });

  test("asks again whether values shrink that did not", () => {
    const memory = new CoderMemory();
    const expected = { keyCount: 2000 };
    const first = memory.codersFor(sampleOf(noise, 1), expected, AUTO);
    expect(first.valueEncoding).toBe(BlockEncoding.raw);
    const second = memory.codersFor(sampleOf(links, 2), expected, AUTO);
    expect(second.valueEncoding).toBe(BlockEncoding.text);
  });

  test("takes samples without keys or values", () => {
    const memory = new CoderMemory();
    for (let i = 0; i < 3; i++) {
      const sample = new EntrySample();
      const coders = memory.codersFor(sample, { keyCount: 1 }, AUTO);
      expect(coders.valueEncoding).toBe(BlockEncoding.raw);
    }
  });
});
