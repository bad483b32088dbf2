import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checksum } from "../../src/bytes/checksum.ts";
import { compareBytes } from "../../src/bytes/compare.ts";
import { readU32, writeU32 } from "../../src/bytes/fixed.ts";
import { ByteWriter } from "../../src/bytes/writer.ts";
import { CorruptionError, DatabaseError } from "../../src/errors.ts";
import { atOnce } from "../../src/pieces.ts";
import { KeyBuffer } from "../../src/segment/key-buffer.ts";
import type { KeyCursor } from "../../src/segment/key-cursor.ts";
import { KeyIndex, KeyIndexBuilder } from "../../src/segment/keys.ts";
import type { SymbolTable } from "../../src/symbols/table.ts";
import { learnSymbols, SymbolSampler, symbolCountFor } from "../../src/symbols/training.ts";
import { keyShapes, seededRandom, sortedUnique } from "./key-shapes.ts";

/** Where the head has these fields: see keys.ts. */
const HEAD_BYTES_OFFSET = 4;
const CODE_BYTES_OFFSET = 24;

const letters = (text: string): Uint8Array => new TextEncoder().encode(text);

function symbolsFor(keys: readonly Uint8Array[]): SymbolTable {
  const sampler = new SymbolSampler(1 << 16);
  let bytes = 0;
  for (const key of keys) {
    sampler.add(key, key.length >> 1, key.length);
    bytes += key.length;
  }
  return atOnce(learnSymbols(sampler.finish(), symbolCountFor(bytes / 2)));
}

function build(keys: readonly Uint8Array[], symbols: SymbolTable = symbolsFor(keys)): Uint8Array {
  const builder = new KeyIndexBuilder(symbols);
  // The caller's buffer is longer than the key, and changes after the call.
  const buffer = new Uint8Array(65_540);
  for (const key of keys) {
    buffer.set(key);
    builder.add(buffer, key.length);
  }
  return new Uint8Array(Buffer.concat(builder.finish()));
}

/** The index on shared memory, at an odd offset, with other bytes around it. */
function open(bytes: Uint8Array): KeyIndex {
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 30)).fill(0xee);
  shared.set(bytes, 13);
  return new KeyIndex(shared.subarray(13, 13 + bytes.length), "test.seg", 4096);
}

function rankIn(keys: readonly Uint8Array[], key: Uint8Array): number {
  let lo = 0;
  let hi = keys.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (compareBytes(keys[mid], key) < 0) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

function keyOf(cursor: KeyCursor): Uint8Array {
  return cursor.key.slice(0, cursor.keyLength);
}

/** Comparing as Buffers: expect's own comparison takes minutes on keys of 64 KiB. */
function expectKey(actual: Uint8Array, length: number, expected: Uint8Array): void {
  if (Buffer.compare(actual.subarray(0, length), expected) !== 0) {
    expect(Buffer.from(actual.subarray(0, length)).toString("latin1")).toBe(
      Buffer.from(expected).toString("latin1"),
    );
  }
}

/** Keys near `key` that are not it: cut, extended, with one byte changed at one of several places. */
function mutations(key: Uint8Array, random: (limit: number) => number): Uint8Array[] {
  const near: Uint8Array[] = [];
  if (key.length < 65_536) near.push(Uint8Array.of(...key.subarray(0, 300), 0));
  if (key.length > 0) {
    near.push(key.slice(0, -1), key.slice(0, random(key.length)));
    const places = new Set([0, key.length - 1, random(key.length), random(key.length)]);
    for (const place of places) {
      for (const step of [1, 255, 128]) {
        const changed = key.slice();
        changed[place] += step;
        near.push(changed);
      }
    }
  }
  return near;
}

/** Every place, or of many an even choice. */
function some(count: number, most: number): number[] {
  const step = Math.max(1, Math.floor(count / most));
  const places: number[] = [];
  for (let i = 0; i < count; i += step) places.push(i);
  if (count > 0) places.push(count - 1);
  return places;
}

describe.each([...keyShapes()])("KeyIndex of %s", (_name, keys) => {
  const index = open(build(keys));

  it("knows every key by its ordinal, both ways", () => {
    expect(index.keyCount).toBe(keys.length);
    const buffer = new KeyBuffer();
    keys.forEach((key, ordinal) => {
      if (index.find(key, key.length) !== ordinal) expect.fail(`key ${ordinal} is not found`);
      if (index.rank(key, key.length) !== ordinal) expect.fail(`key ${ordinal} has another rank`);
    });
    for (const ordinal of some(keys.length, 2000)) {
      index.keyAt(ordinal, buffer);
      expectKey(buffer.bytes, buffer.length, keys[ordinal]);
    }
  });

  it("misses what is not there, and ranks it", () => {
    const random = seededRandom(7);
    for (const i of some(keys.length, 300)) {
      for (const query of mutations(keys[i], random)) {
        const rank = rankIn(keys, query);
        const isThere = rank < keys.length && compareBytes(keys[rank], query) === 0;
        if (index.rank(query, query.length) !== rank) expect.fail(`near ${i}: not ${rank}`);
        if (index.find(query, query.length) !== (isThere ? rank : -1)) expect.fail(`near ${i}`);
      }
    }
  });

  it("walks forward and backward over all keys", () => {
    const cursor = index.cursor();
    expect(cursor.isValid).toBe(false);
    let ordinal = 0;
    for (cursor.seekToFirst(); cursor.isValid; cursor.next(), ordinal++) {
      if (cursor.ordinal !== ordinal) expect.fail(`${cursor.ordinal} is not ${ordinal}`);
      expectKey(cursor.key, cursor.keyLength, keys[ordinal]);
    }
    expect(ordinal).toBe(keys.length);
    for (cursor.seekToLast(); cursor.isValid; cursor.prev()) {
      ordinal--;
      expectKey(cursor.key, cursor.keyLength, keys[ordinal]);
    }
    expect(ordinal).toBe(0);
  });

  it("walks both ways from any seek", () => {
    const random = seededRandom(3);
    const cursor = index.cursor();
    for (const i of some(keys.length, 25)) {
      for (const query of [keys[i], ...mutations(keys[i], random).slice(0, 5)]) {
        const rank = rankIn(keys, query);
        const isThere = rank < keys.length && compareBytes(keys[rank], query) === 0;
        cursor.seek(query, query.length);
        expectWalk(cursor, keys, rank, random);
        cursor.seekForPrev(query, query.length);
        expectWalk(cursor, keys, isThere ? rank : rank - 1, random);
        cursor.seekToOrdinal(i);
        expectWalk(cursor, keys, i, random);
      }
    }
  });

  it("walks on from any seek over the blocks behind it, and back over those before", () => {
    const cursor = index.cursor();
    for (const i of some(keys.length, 25)) {
      const end = Math.min(i + 70, keys.length - 1);
      const start = Math.max(i - 40, 0);
      cursor.seek(keys[i], keys[i].length);
      for (let at = i; at < end; at++, cursor.next()) {
        expectKey(cursor.key, cursor.keyLength, keys[at]);
      }
      for (let at = end; at > start; at--, cursor.prev()) {
        expectKey(cursor.key, cursor.keyLength, keys[at]);
      }
      expect(cursor.ordinal).toBe(start);
    }
  });

  it("verifies, and its sizes add up", () => {
    index.verify();
    const { transducer, symbols, headers, codes } = index.sizes();
    expect(transducer + symbols + headers + codes).toBe(index.byteLength);
  });
});

/** Expects the cursor at keys[at], then where a few random steps lead. */
function expectWalk(
  cursor: KeyCursor,
  keys: readonly Uint8Array[],
  at: number,
  random: (limit: number) => number,
): void {
  let place = at;
  for (let step = 0; step < 12; step++) {
    expect(cursor.isValid).toBe(place >= 0 && place < keys.length);
    if (!cursor.isValid) return;
    expect(cursor.ordinal).toBe(place);
    expectKey(cursor.key, cursor.keyLength, keys[place]);
    if (random(2) === 0) {
      cursor.next();
      place++;
    } else {
      cursor.prev();
      place--;
    }
  }
}

describe("KeyIndex", () => {
  it("answers as a sorted array does, for any keys and any symbols", () => {
    const key = fc.oneof(
      fc.uint8Array({ maxLength: 6, max: 3 }),
      fc.uint8Array({ maxLength: 20 }),
      fc
        .string({ unit: fc.constantFrom("a", "b", "cd"), maxLength: 30 })
        .map((s) => new TextEncoder().encode(s)),
    );
    const keyList = fc.array(key, { maxLength: 150 });
    fc.assert(
      fc.property(keyList, keyList, keyList, (some, trainedOn, queries) => {
        const keys = sortedUnique(some);
        const index = open(build(keys, symbolsFor(trainedOn)));
        const cursor = index.cursor();
        for (const query of [...keys, ...queries]) {
          const rank = rankIn(keys, query);
          expect(index.rank(query, query.length)).toBe(rank);
          cursor.seek(query, query.length);
          expect(cursor.isValid).toBe(rank < keys.length);
          if (cursor.isValid) expect(keyOf(cursor)).toEqual(keys[rank]);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("estimates what it will take", () => {
    const shapes = keyShapes();
    for (const name of ["none", "one", "a page and one", "texts", "long common prefix"]) {
      const keys = shapes.get(name) ?? [];
      const builder = new KeyIndexBuilder(symbolsFor(keys));
      for (const key of keys) builder.add(key, key.length);
      const estimated = builder.estimatedBytes;
      const actual = Buffer.concat(builder.finish()).length;
      expect(Math.abs(actual - estimated)).toBeLessThan(4096 + estimated / 10);
    }
  });

  it("hands out an index in parts of a megabyte, never in one", () => {
    const builder = new KeyIndexBuilder(symbolsFor([]));
    const key = new Uint8Array(8);
    const random = seededRandom(5);
    for (let i = 0; i < 400_000; i++) {
      new DataView(key.buffer).setUint32(0, i);
      for (let at = 4; at < 8; at++) key[at] = random(256);
      builder.add(key, 8);
    }
    const parts = builder.finish();
    expect(parts.length).toBeGreaterThan(3);
    expect(Math.max(...parts.map((part) => part.length))).toBeLessThan(1.1 * 2 ** 20);
    const index = open(Buffer.concat(parts));
    expect(index.keyCount).toBe(400_000);
    expect(index.find(key, 8)).toBe(399_999);
  });

  it("refuses keys that do not ascend", () => {
    for (const [first, second] of [
      ["b", "a"],
      ["b", "b"],
      ["ba", "b"],
      ["", ""],
    ]) {
      const builder = new KeyIndexBuilder(symbolsFor([]));
      builder.add(letters(first), first.length);
      expect(() => builder.add(letters(second), second.length)).toThrow(DatabaseError);
    }
  });

  it("lets many cursors walk at once", () => {
    const keys = keyShapes().get("texts") ?? [];
    const index = open(build(keys));
    const forward = index.cursor();
    const backward = index.cursor();
    backward.seekToLast();
    forward.seekToFirst();
    for (let i = 0; i < keys.length; i++) {
      expectKey(forward.key, forward.keyLength, keys[i]);
      expectKey(backward.key, backward.keyLength, keys[keys.length - 1 - i]);
      forward.next();
      backward.prev();
    }
  });

  it("answers right or throws CorruptionError, whichever byte is damaged", () => {
    const keys = keyShapes().get("a page and one") ?? [];
    const bytes = build(keys, atOnce(learnSymbols(new SymbolSampler(1).finish(), 0)));
    const headBytes = readU32(bytes, HEAD_BYTES_OFFSET);
    expect(keys.length).toBeGreaterThan(512);
    for (let i = 0; i < bytes.length; i++) {
      const damaged = bytes.slice();
      damaged[i] ^= 1 << (i & 7);
      if (i < headBytes) {
        expect(() => open(damaged)).toThrow(CorruptionError);
        continue;
      }
      // In a page: every key of it is refused, every other page still answers.
      const opened = open(damaged);
      let refused = 0;
      for (let ordinal = 0; ordinal < keys.length; ordinal += 512) {
        try {
          expect(opened.find(keys[ordinal], keys[ordinal].length)).toBe(ordinal);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptionError);
          if (error instanceof CorruptionError) {
            expect(error.file).toBe("test.seg");
            expect(error.offset).toBeGreaterThanOrEqual(4096 + headBytes);
          }
          refused++;
        }
      }
      expect(refused).toBe(1);
      if (i % 50 === 0) expect(() => opened.verify()).toThrow(CorruptionError);
    }
  });

  it("tells headers from codes", () => {
    const keys = sortedUnique(["", "a", "abc", "abd", "b".repeat(400)].map(letters));
    const table = symbolsFor(keys);
    const { transducer, symbols, headers, codes } = open(build(keys, table)).sizes();
    const target = new Uint8Array(800);
    const coded = [
      [letters(""), 0],
      [letters("a"), 0],
      [letters("abc"), 1],
      [letters("abd"), 2],
      [letters("b".repeat(400)), 0],
    ] as const;
    const codeLengths = coded.map(([key, shared]) =>
      table.encodeInto(key, shared, key.length, target, 0),
    );
    const stored = new ByteWriter();
    table.serialize(stored);
    expect(transducer).toBe(0);
    expect(symbols).toBe(stored.length);
    expect(codes).toBe(codeLengths.reduce((sum, length) => sum + length));
    // Head and one page end; head of the page and one record; base and five headers; one escape.
    expect(headers).toBe(28 + 4 + (12 + 5) + (1 + 5) + 1);
  });

  it("refuses a count of codes that is not true", () => {
    const bytes = build(keyShapes().get("a page and one") ?? []);
    const codes = readU32(bytes, CODE_BYTES_OFFSET);
    const headBytes = readU32(bytes, HEAD_BYTES_OFFSET);
    const withCount = (count: number): Uint8Array => {
      const changed = bytes.slice();
      writeU32(changed, CODE_BYTES_OFFSET, count);
      writeU32(changed, 0, checksum(changed, HEAD_BYTES_OFFSET, headBytes));
      return changed;
    };
    open(withCount(codes)).verify();
    for (const count of [0, codes - 1, codes + 1]) {
      expect(() => open(withCount(count)).verify()).toThrow(CorruptionError);
    }
    expect(() => open(withCount(bytes.length - headBytes + 1))).toThrow(CorruptionError);
  });

  it("refuses a page whose lengths are not true, though its checksum is", () => {
    // What the keys share is longer than 16,383 bytes, so that its varints have three bytes.
    const prefix = "p".repeat(20_000);
    const keys = Array.from({ length: 70 }, (_, i) => letters(`${prefix}${i + 10}`));
    const bytes = build(keys);
    const page = readU32(bytes, HEAD_BYTES_OFFSET);
    const blocks = page + readU32(bytes, page + 4);
    const [first, second, third] = [page + 12, page + 17, page + 22];
    const secondCodes = page + 27;
    const thirdShared = secondCodes + 2 + (bytes[secondCodes] & 127) + bytes[secondCodes + 1] * 128;
    const changes: readonly (readonly [offset: number, by: number][])[] = [
      // Where the blocks begin; how long the first separator is.
      [[page + 4, 1]],
      [[page + 8, 1]],
      // Bytes of a separator's codes; bytes that one shares with the one before, above the limit.
      [[secondCodes + 1, 1]],
      [[thirdShared + 2, 100]],
      // Ends of blocks: of the last, and between two.
      [[third + 3, 1]],
      [
        [first + 3, 1],
        [second + 3, -1],
      ],
      // Bytes that all keys of a block share, above the limit; bytes of a key's codes.
      [[blocks + 2, 100]],
      [[blocks + 4, 1]],
    ];
    const withChanges = (places: (typeof changes)[number]): Uint8Array => {
      const changed = bytes.slice();
      for (const [offset, by] of places) changed[offset] += by;
      writeU32(changed, page, checksum(changed, page + 4));
      return changed;
    };
    expect(open(withChanges([])).find(keys[39], keys[39].length)).toBe(39);
    for (const places of changes) {
      const index = open(withChanges(places));
      expect(() => index.find(keys[39], keys[39].length), `${places}`).toThrow(CorruptionError);
    }
  });

  it("refuses bytes that are cut off", () => {
    const bytes = build(keyShapes().get("a page and one") ?? []);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => new KeyIndex(bytes.subarray(0, length), "x", 0)).toThrow(CorruptionError);
    }
  });
});
