import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { ByteWriter } from "../../src/bytes/writer.ts";
import { EntryRun } from "../../src/cursor/entry-run.ts";
import { ValueView } from "../../src/cursor/value-view.ts";
import type { ValuePlace } from "../../src/entry.ts";
import { CorruptionError } from "../../src/errors.ts";
import { atOnce } from "../../src/pieces.ts";
import {
  BlockEncoding,
  blockImage,
  imageCount,
  MAX_BLOCK_BYTES,
  VALUE_LIMIT_BYTES,
} from "../../src/segment/value-block.ts";
import { ValueBlockBuilder } from "../../src/segment/value-block-builder.ts";
import { ValueDecoder } from "../../src/segment/value-decoder.ts";
import type { SymbolTable } from "../../src/symbols/table.ts";
import { learnSymbols, SymbolSampler } from "../../src/symbols/training.ts";

type Entry = readonly [key: string, value: Uint8Array | ValuePlace];

const packr = new Packr({ useRecords: false });
const pack = (value: unknown): Uint8Array => new Uint8Array(packr.pack(value));
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

function symbolsFor(texts: readonly string[]): SymbolTable {
  const sampler = new SymbolSampler();
  for (const text of texts) sampler.add(bytesOf(text), 0, bytesOf(text).length);
  return atOnce(learnSymbols(sampler.finish(), 1024));
}

const url = (i: number): string => `https://github.com/owner-${i % 7}/package-${i}`;
const symbols = symbolsFor(Array.from({ length: 200 }, (_, i) => url(i)));

const dictionary = bytesOf(url(3) + url(4));

/** Stores entries until the block is full; returns the stored block and how many it holds. */
function store(encoding: BlockEncoding, entries: readonly Entry[]): [Uint8Array, number] {
  const isCoded = encoding === BlockEncoding.symbols || encoding === BlockEncoding.text;
  const builder = new ValueBlockBuilder({
    valueEncoding: encoding,
    valueSymbols: isCoded ? symbols : undefined,
    dictionary,
  });
  for (const [key, value] of entries) {
    if (builder.isFull) break;
    if (value instanceof Uint8Array)
      builder.add(value, 0, value.length, bytesOf(key), bytesOf(key).length);
    else builder.addPointer(value);
  }
  const { count } = builder;
  const output = new ByteWriter();
  builder.finish(output);
  expect(builder.count).toBe(0);
  return [output.take(), count];
}

function load(stored: Uint8Array, entries: readonly Entry[]): unknown[] {
  const image = blockImage(stored, dictionary, "file", 0);
  expect(imageCount(image)).toBe(entries.length);
  const decoder = new ValueDecoder(symbols);
  const at = (i: number): unknown => {
    const key = bytesOf(entries[i][0]);
    const view = new ValueView();
    const isHere = decoder.decode(i, key, key.length, view, "file", 0);
    return isHere ? view.bytes.slice(view.start, view.end) : decoder.place;
  };
  decoder.open(image, 0, image.length);
  const inOrder = entries.map((_, i) => at(i));
  // It remembers where it was: whatever the order, the values are the same.
  for (let i = entries.length - 1; i >= 0; i--) expect(at(i)).toEqual(inOrder[i]);
  for (let i = 0; i < entries.length; i++) {
    const other = (i * 37) % entries.length;
    expect(at(other)).toEqual(inOrder[other]);
  }
  return inOrder;
}

const ENCODINGS = Object.entries(BlockEncoding);

const SHAPES: [string, readonly Entry[]][] = [
  ["one empty value", [["k", new Uint8Array(0)]]],
  ["only empty values", Array.from({ length: 40 }, (_, i) => [`${i}`, new Uint8Array(0)] as const)],
  [
    "texts with their keys",
    Array.from({ length: 60 }, (_, i) => [`package-${i}`, pack(url(i))] as const),
  ],
  [
    "the same text under keys it contains",
    Array.from({ length: 50 }, (_, i) => [`package-${i % 3}`, pack(url(1))] as const),
  ],
  [
    "texts, numbers and objects",
    Array.from({ length: 64 }, (_, i) => [`${i}`, pack([url(i), i * 1000, { i }][i % 3])] as const),
  ],
  [
    "texts of 15, 16 and 17 groups",
    Array.from({ length: 257 }, (_, i) => [`${i}`, pack(`${i}`)] as const),
  ],
  [
    "values around the longest short size",
    [250, 251, 252, 253, 254, 255, 256].map((n) => [`${n}`, new Uint8Array(n).fill(n)] as const),
  ],
  [
    "the longest inline values",
    [1, 2].map((n) => [`${n}`, new Uint8Array(VALUE_LIMIT_BYTES - 1).fill(n)] as const),
  ],
  [
    "integers",
    Array.from({ length: 70 }, (_, i) => [`${i}`, pack(i * i * 7919 - 50_000)] as const),
  ],
  [
    "pointers between values",
    [
      ["a", pack("text")],
      ["b", { fileNumber: 2 ** 45, offset: 2 ** 40 + 5, length: 2 ** 30, storedLength: 2 ** 30 }],
      ["c", pack("text")],
      ["d", { fileNumber: 7, offset: 48, length: 4096, storedLength: 100 }],
    ],
  ],
];

describe.each(ENCODINGS)("a block of encoding %s", (_, encoding) => {
  test.each(SHAPES)("returns %s", (_, entries) => {
    const [stored, count] = store(encoding, entries);
    const held = entries.slice(0, count);
    expect(load(stored, held)).toEqual(held.map(([, value]) => value));
  });

  test("returns any values", () => {
    const value = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.uint8Array({ minLength: 250, maxLength: 260 }),
      fc.string({ maxLength: 60 }).map(pack),
      fc.nat(50).map((i) => pack(url(i))),
      fc.constantFrom(new Uint8Array(0), pack("again")),
    );
    const key = fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.nat(50).map((i) => `package-${i}`),
    );
    const entries = fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 80 });
    fc.assert(
      fc.property(entries, (entries) => {
        const [stored, count] = store(encoding, entries);
        const held = entries.slice(0, count);
        expect(load(stored, held)).toEqual(held.map(([, value]) => value));
      }),
    );
  });

  test("stays within its limit with the largest of values", () => {
    const random = new Uint8Array(VALUE_LIMIT_BYTES - 1);
    for (let i = 0; i < random.length; i++) random[i] = Math.imul(i, 0x9e3779b1) >>> 24;
    const entries = Array.from({ length: 20 }, (_, i) => [`${i}`, random.slice(i)] as const);
    expect(store(encoding, entries)[0].length).toBeLessThanOrEqual(MAX_BLOCK_BYTES);
  });

  test("with any byte changed is corruption", () => {
    const [stored, count] = store(encoding, SHAPES[2][1]);
    expect(count).toBeGreaterThan(0);
    for (let i = 0; i < stored.length; i++) {
      const damaged = stored.slice();
      damaged[i] ^= 1 << (i % 8);
      expect(() => blockImage(damaged, dictionary, "file", 0)).toThrow(CorruptionError);
    }
  });
});

describe("a block of integers", () => {
  test("falls back to raw where one value is none, or is large", () => {
    const numbers = Array.from({ length: 20 }, (_, i) => [`${i}`, pack(i * 1000)] as const);
    const place = { fileNumber: 7, offset: 48, length: 4096, storedLength: 4105 };
    const encodingOf = (entries: readonly Entry[]): number =>
      store(BlockEncoding.integers, entries)[0][8];
    expect(encodingOf(numbers)).toBe(BlockEncoding.integers);
    expect(encodingOf([...numbers, ["text", pack("text")], ...numbers])).toBe(BlockEncoding.raw);
    expect(encodingOf([...numbers, ["large", place], ...numbers])).toBe(BlockEncoding.raw);
    expect(
      encodingOf([
        ["far", pack(-2)],
        ["away", pack(2 ** 53 - 1)],
      ]),
    ).toBe(BlockEncoding.raw);
  });

  test("starts anew after a block", () => {
    const builder = new ValueBlockBuilder({
      valueEncoding: BlockEncoding.integers,
      valueSymbols: undefined,
      dictionary: new Uint8Array(0),
    });
    const blocks = [
      [pack(1), pack(2), pack(3)],
      [pack("text"), pack(4)],
      [pack(5), pack(6)],
    ].map((values) => {
      const output = new ByteWriter();
      for (const value of values) builder.add(value, 0, value.length, bytesOf("k"), 1);
      builder.finish(output);
      expect(
        load(
          output.bytes,
          values.map((value) => ["k", value] as const),
        ),
      ).toEqual(values);
      return output.bytes[8];
    });
    const { integers, raw } = BlockEncoding;
    expect(blocks).toEqual([integers, raw, integers]);
  });

  test("keeps its places for entries without a value", () => {
    const builder = new ValueBlockBuilder({
      valueEncoding: BlockEncoding.integers,
      valueSymbols: undefined,
      dictionary: new Uint8Array(0),
    });
    builder.addNothing();
    builder.add(pack(500), 0, pack(500).length, bytesOf("k"), 1);
    builder.addNothing();
    builder.add(pack(600), 0, pack(600).length, bytesOf("l"), 1);
    const output = new ByteWriter();
    builder.finish(output);
    const image = blockImage(output.take(), dictionary, "file", 0);
    expect(image[0]).toBe(BlockEncoding.integers);
    const decoder = new ValueDecoder(undefined);
    decoder.open(image, 0, image.length);
    const at = (i: number): unknown => {
      const view = new ValueView();
      decoder.decode(i, bytesOf("k"), 1, view, "file", 0);
      return view.bytes.slice(view.start, view.end);
    };
    expect([at(1), at(3)]).toEqual([pack(500), pack(600)]);
  });
});

describe("a block of equal values", () => {
  const equal = (count: number, value: Uint8Array): Entry[] =>
    Array.from({ length: count }, (_, i) => [`package-${i}`, value] as const);
  const encodingOf = (encoding: BlockEncoding, entries: readonly Entry[]): number =>
    store(encoding, entries)[0][8];

  test.each(ENCODINGS)("is one whatever the encoding (%s), if all are equal", (_, encoding) => {
    for (const value of [new Uint8Array(0), pack(url(1)), pack(7)]) {
      expect(encodingOf(encoding, equal(200, value))).toBe(BlockEncoding.equal);
    }
    const place = { fileNumber: 7, offset: 48, length: 4096, storedLength: 4105 };
    for (const other of [pack("other"), place]) {
      const entries = equal(100, pack(7));
      expect(encodingOf(encoding, [...entries, ["x", other]])).not.toBe(BlockEncoding.equal);
      expect(encodingOf(encoding, [["x", other], ...entries])).not.toBe(BlockEncoding.equal);
      expect(encodingOf(encoding, [...entries, ["x", other], ...entries])).not.toBe(
        BlockEncoding.equal,
      );
    }
  });

  test("of a set is a few bytes", () => {
    const [stored, count] = store(BlockEncoding.raw, equal(10_000, new Uint8Array(0)));
    expect(count).toBeGreaterThan(3000);
    expect(stored.length).toBe(11);
  });

  test("has no room for entries without a value", () => {
    const builder = new ValueBlockBuilder({
      valueEncoding: BlockEncoding.raw,
      valueSymbols: undefined,
      dictionary,
    });
    for (let i = 0; i < 40; i++) builder.add(pack(7), 0, 1, bytesOf("k"), 1);
    builder.addNothing();
    const output = new ByteWriter();
    builder.finish(output);
    expect(output.bytes[8]).toBe(BlockEncoding.raw);
  });

  test("starts anew after a block of others", () => {
    const builder = new ValueBlockBuilder({
      valueEncoding: BlockEncoding.raw,
      valueSymbols: undefined,
      dictionary,
    });
    const encodings = [[1, 2], [3], [4, 5], [6]].map((numbers) => {
      const values = Array.from({ length: 64 }, (_, i) => pack(numbers[i % numbers.length]));
      for (const value of values) builder.add(value, 0, value.length, bytesOf("k"), 1);
      const output = new ByteWriter();
      builder.finish(output);
      const entries = values.map((value) => ["k", value] as const);
      expect(load(output.bytes, entries)).toEqual(values);
      return output.bytes[8];
    });
    const { equal, raw } = BlockEncoding;
    expect(encodings).toEqual([raw, equal, raw, equal]);
  });

  test("gives a run no more values than it has", () => {
    const [stored, count] = store(BlockEncoding.raw, equal(100, pack(7)));
    const image = blockImage(stored, dictionary, "file", 0);
    const decoder = new ValueDecoder(undefined);
    decoder.open(image, 0, image.length);
    expect(decoder.openRun(0, count)).toBe(true);
    expect(decoder.openRun(1, count)).toBe(false);
  });

  test.each(["raw", "text", "symbols", "equal"] as const)(
    "is read in runs where it lies, behind 2 GiB of a large cache too: %s",
    (name) => {
      const isEqual = name === "equal";
      const values = Array.from({ length: 60 }, (_, i) => pack(url(isEqual ? 1 : i)));
      const encoding = isEqual ? BlockEncoding.raw : BlockEncoding[name];
      const [stored, count] = store(
        encoding,
        values.map((value, i) => [`package-${i}`, value] as const),
      );
      const image = blockImage(stored, dictionary, "file", 0);
      expect(image[0]).toBe(BlockEncoding[name]);
      const start = 2 ** 31;
      // Of it the system backs only what is written.
      const cache = new Uint8Array(new SharedArrayBuffer(start + image.length));
      cache.set(image, start);
      const decoder = new ValueDecoder(symbols);
      decoder.open(cache, start, start + image.length);
      for (const isReverse of [false, true]) {
        const run = new EntryRun(count, 2 ** 20);
        run.isReverse = isReverse;
        for (let i = 0; i < count; i++) {
          run.keyStarts[i] = run.keys.length;
          const key = bytesOf(`package-${isReverse ? count - 1 - i : i}`);
          run.keys.append(key, 0, key.length);
          run.keyEnds[i] = run.keys.length;
        }
        expect(decoder.openRun(0, count)).toBe(true);
        expect(decoder.appendRun(run, 0, count, "file", 0)).toBe(count);
        const read = Array.from({ length: count }, (_, i) =>
          run.value.decoded.buffer.slice(run.valueStarts[i], run.valueEnds[i]),
        );
        expect(isReverse ? read.reverse() : read).toEqual(values);
      }
    },
  );
});

describe("the size of a block", () => {
  test("a value equal to the one before takes one byte", () => {
    const one = store(BlockEncoding.raw, [["a", pack(url(1))]])[0].length;
    const two = store(BlockEncoding.raw, [
      ["a", pack(url(1))],
      ["b", pack(url(1))],
    ])[0].length;
    expect(two - one).toBe(1);
  });

  test("a text that ends in its key takes a token for it", () => {
    const key = "a-name-that-no-symbol-knows-0123456789";
    const value = pack(`https://github.com/owner-1/${key}`);
    const own = store(BlockEncoding.text, [[key, value]])[0].length;
    const other = store(BlockEncoding.text, [["x", value]])[0].length;
    expect(other - own).toBeGreaterThan(key.length / 2);
  });

  test("values that their coding would lengthen are stored raw", () => {
    const random = Uint8Array.from({ length: 1000 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24);
    for (const [, encoding] of ENCODINGS) {
      const [stored] = store(encoding, [["k", random]]);
      expect(stored.length).toBeLessThan(random.length + 20);
    }
  });
});
