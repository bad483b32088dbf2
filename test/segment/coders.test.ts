import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { ByteWriter } from "../../src/bytes/writer.ts";
import { atOnce, type Pieces } from "../../src/pieces.ts";
import {
  learnCoders,
  type SegmentCoders,
  type ValueCompression,
} from "../../src/segment/coders.ts";
import { EntrySample } from "../../src/segment/entry-sample.ts";
import { Section } from "../../src/segment/format.ts";
import { BlockEncoding } from "../../src/segment/value-block.ts";
import { build, bytesOf, type Entry, EntryCursor } from "./segments.ts";

const packr = new Packr({ useRecords: false });
const pack = (value: unknown): Uint8Array => new Uint8Array(packr.pack(value));

/** Words that no small table of symbols can hold all of, as in prose. */
function words(count: number, seed: number): string {
  let state = seed * 2 + 1;
  return Array.from({ length: count }, () => {
    state = Math.imul(state, 0x9e3779b1) + 0x85ebca77;
    return (Math.abs(state ^ (state >>> 13)) % 46_656).toString(36).padStart(3, "x");
  }).join(" ");
}

function noise(length: number, seed: number): Uint8Array {
  let state = seed * 2 + 1;
  return Uint8Array.from({ length }, () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x297a2d39;
    return state >>> 24;
  });
}

function entriesOf(count: number, makeValue: (i: number) => Uint8Array | undefined): Entry[] {
  return Array.from({ length: count }, (_, i) => ({
    key: bytesOf(`key-${String(i).padStart(6, "0")}`),
    value: makeValue(i),
  }));
}

function sampleOf(entries: readonly Entry[]): EntrySample {
  const sample = new EntrySample();
  const cursor = new EntryCursor(entries);
  cursor.seekToFirst();
  sample.takeWindow(cursor, entries.length);
  return sample;
}

function encodingFor(entries: readonly Entry[], compression: ValueCompression = "auto"): number {
  return atOnce(learnCoders(sampleOf(entries), { keyCount: entries.length }, { compression }))
    .valueEncoding;
}

const TEXTS = entriesOf(3000, (i) => pack(`https://example.org/owner-${i % 97}/repository-${i}`));
const OBJECTS = entriesOf(3000, (i) =>
  pack({ license: "MIT", owner: `owner-${(i * 7) % 97}`, title: words(2, i) }),
);
const DOCUMENTS = entriesOf(500, (i) => pack({ id: i, title: words(5, i), text: words(200, i) }));
const INTEGERS = entriesOf(1000, (i) => pack(i * 1013));
const NOISE = entriesOf(1000, (i) => noise(40, i));

describe("the encoding of values", () => {
  test.each<[string, readonly Entry[], BlockEncoding]>([
    ["short texts", TEXTS, BlockEncoding.text],
    ["short objects", OBJECTS, BlockEncoding.symbols],
    ["documents", DOCUMENTS, BlockEncoding.deflate],
    ["integers", INTEGERS, BlockEncoding.integers],
    ["noise", NOISE, BlockEncoding.raw],
    ["nothing but tombstones", entriesOf(100, () => undefined), BlockEncoding.raw],
    ["nothing at all", [], BlockEncoding.raw],
  ])("of %s is the one that suits them", (_, entries, expected) => {
    expect(encodingFor(entries)).toBe(expected);
  });

  test("is what was asked for, whatever the sample says", () => {
    expect(encodingFor(TEXTS, "none")).toBe(BlockEncoding.raw);
    expect(encodingFor(TEXTS, "deflate")).toBe(BlockEncoding.deflate);
    expect(encodingFor(DOCUMENTS, "symbols")).toBe(BlockEncoding.symbols);
    expect(encodingFor(NOISE, "symbols")).toBe(BlockEncoding.symbols);
  });

  test.each([
    ["short texts", TEXTS, 0.3],
    ["short objects", OBJECTS, 0.5],
    ["documents", DOCUMENTS, 0.7],
    ["integers", INTEGERS, 0.9],
    ["noise", NOISE, 1.1],
  ])("keeps %s within the size it should", async (_, entries, limit) => {
    const segment = await build(entries);
    const sections: Section[] = [
      Section.valueBlocks,
      Section.blockIndex,
      Section.valueSymbols,
      Section.dictionary,
    ];
    let stored = 0;
    for (const section of sections) stored += segment.sections[section].length;
    expect(stored / segment.properties.valueBytes).toBeLessThan(limit);
  });
});

/** What is stored of coders, and how they code values. */
function stored(coders: SegmentCoders): string {
  const writer = new ByteWriter();
  coders.keySymbols.serialize(writer);
  coders.valueSymbols?.serialize(writer);
  writer.append(coders.dictionary);
  return `${coders.valueEncoding} ${Buffer.from(writer.take()).toString("hex")}`;
}

describe("learning in pieces", () => {
  const MANY = entriesOf(40_000, (i) => pack(`https://example.org/${words(3, i)}/${i}`));

  test.each<[string, readonly Entry[]]>([
    ["texts", MANY],
    ["objects", OBJECTS],
    ["documents", DOCUMENTS],
    ["noise", NOISE],
    ["nothing", []],
  ])("learns the same of %s as at once, whatever is learnt in the pauses", (_, entries) => {
    const expected = { keyCount: entries.length };
    const begin = (): Pieces<SegmentCoders> =>
      learnCoders(sampleOf(entries), expected, { compression: "auto" });
    const others = learnCoders(sampleOf(MANY), { keyCount: 1e6 }, { compression: "auto" });
    const pieces = begin();
    let piece = pieces.next();
    while (piece.done !== true) {
      others.next();
      piece = pieces.next();
    }
    expect(stored(piece.value)).toBe(stored(atOnce(begin())));
  });

  test("pauses the more often the more there is to learn from", () => {
    const pausesFor = (count: number): number => {
      const sample = sampleOf(MANY.slice(0, count));
      let pauses = 0;
      const pieces = learnCoders(sample, { keyCount: 1e6 }, { compression: "auto" });
      while (pieces.next().done !== true) pauses++;
      return pauses;
    };
    expect(pausesFor(40_000)).toBeGreaterThan(pausesFor(4000) + 50);
  });
});

function suffixesOf(sample: EntrySample): Uint8Array[] {
  return Array.from({ length: sample.suffixCount }, (_, i) =>
    sample.suffixBuffer.slice(sample.suffixStart(i), sample.suffixEnd(i)),
  );
}

describe("EntrySample", () => {
  test("takes windows from where the cursor is, and moves it behind them", () => {
    const sample = new EntrySample();
    const cursor = new EntryCursor(TEXTS);
    cursor.position = 10;
    sample.takeWindow(cursor, 3);
    expect(cursor.position).toBe(13);
    cursor.position = TEXTS.length - 1;
    sample.takeWindow(cursor, 3);
    expect(cursor.isValid).toBe(false);
    expect(sample.count).toBe(4);
    const keys = [10, 11, 12, TEXTS.length - 1].map((i) => TEXTS[i]);
    for (const [i, { key, value }] of keys.entries()) {
      expect(sample.keyBytes.slice(sample.keyStart(i), sample.keyEnd(i))).toEqual(key);
      expect(sample.value(i)).toEqual(value);
    }
    // What a window's first key shares with the key before it is not known.
    expect(suffixesOf(sample)).toEqual(keys.slice(1, 3).map(({ key }) => key.slice(9)));
  });

  test("keeps some megabytes of entries, and then only suffixes of keys, up to as many", () => {
    const few = entriesOf(1000, (i) => new Uint8Array(8000).fill(i));
    const sample = sampleOf(few);
    expect(sample.count).toBeGreaterThan(500);
    expect(sample.count).toBeLessThan(600);
    expect(suffixesOf(sample).length).toBeGreaterThan(900);
    expect(sample.isFull).toBe(false);
    const long = few.map(({ key }, i) => ({
      key: Uint8Array.of(...key, ...new Uint8Array(9000).fill(i)),
      value: undefined,
    }));
    const cursor = new EntryCursor(long);
    cursor.position = 0;
    sample.takeWindow(cursor, long.length);
    expect(sample.isFull).toBe(true);
    expect(cursor.position).toBeLessThan(480);
    expect(sample.suffixBytes).toBeLessThan(4.1 * 2 ** 20);
  });

  test("leaves out values that lie, or will lie, in a value log", () => {
    const sample = new EntrySample(1000);
    const cursor = new EntryCursor(entriesOf(3, (i) => new Uint8Array(999 + i).fill(i)));
    cursor.position = 0;
    sample.takeWindow(cursor, 3);
    expect([0, 1, 2].map((i) => sample.value(i)?.length)).toEqual([999, undefined, undefined]);
    expect(sample.bytes).toBeLessThan(1100);
  });
});
