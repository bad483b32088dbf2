import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checksum } from "../../src/bytes/checksum.ts";
import { readU16, writeU16, writeU32 } from "../../src/bytes/fixed.ts";
import { ByteWriter } from "../../src/bytes/writer.ts";
import { CorruptionError } from "../../src/errors.ts";
import { atOnce } from "../../src/pieces.ts";
import { MAX_SYMBOL_BYTES, MAX_SYMBOLS, MIN_SYMBOLS } from "../../src/symbols/codes.ts";
import type { Parse } from "../../src/symbols/encoder.ts";
import { SymbolTable, singleByteTable, storedSymbolTableBytes } from "../../src/symbols/table.ts";
import { learnSymbols, SymbolSampler, symbolCountFor } from "../../src/symbols/training.ts";

const utf8 = new TextEncoder();

/** URL-like strings whose parts come from small sets, so that there is something to learn. */
function sampleStrings(count: number): Uint8Array[] {
  const hosts = ["github.com", "gitlab.com", "bitbucket.org", "example.net"];
  const words = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "parser",
    "loader",
    "plugin",
    "react",
    "-",
    "_",
  ];
  let state = 12345;
  const next = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % limit;
  };
  const strings: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    let text = `https://${hosts[next(hosts.length)]}/`;
    for (let part = 0; part < 4; part++) text += words[next(words.length)];
    strings.push(utf8.encode(`${text}${next(1000)}`));
  }
  return strings;
}

function trained(count = 2000, maxSymbols = 1000, parse?: Parse): SymbolTable {
  const sampler = new SymbolSampler();
  for (const string of sampleStrings(count)) sampler.add(string, 0, string.length);
  return atOnce(learnSymbols(sampler.finish(), maxSymbols, parse));
}

const table = trained();
const greedy = trained(2000, 1000, "greedy");
const untrained = atOnce(learnSymbols(new SymbolSampler(64).finish(), 0));

function encode(symbols: SymbolTable, text: Uint8Array): Uint8Array {
  const codes = new Uint8Array(text.length * 2 + 3);
  return codes.slice(3, symbols.encodeInto(text, 0, text.length, codes, 3));
}

function decode(symbols: SymbolTable, codes: Uint8Array, room: number): Uint8Array | number {
  const target = new Uint8Array(room + 5);
  const view = new DataView(target.buffer, 0, room + 2);
  const end = symbols.decodeWithKeyInto(codes, 0, codes.length, new Uint8Array(0), 0, view, 2);
  return end < 0 ? end : target.slice(2, end);
}

function serialized(symbols: SymbolTable): Uint8Array {
  const writer = new ByteWriter(1);
  symbols.serialize(writer);
  return writer.take();
}

describe("SymbolTable", () => {
  it("gives back any bytes, at no more than two bytes of code for one", () => {
    for (const symbols of [table, greedy, untrained]) {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), (text) => {
          const codes = encode(symbols, text);
          expect(codes.length).toBeLessThanOrEqual(text.length * 2);
          expect(decode(symbols, codes, text.length)).toEqual(text);
        }),
      );
    }
  });

  it("codes what it was trained on in under a third", () => {
    let raw = 0;
    let coded = 0;
    for (const text of sampleStrings(2000)) {
      const codes = encode(table, text);
      expect(decode(table, codes, text.length)).toEqual(text);
      raw += text.length;
      coded += codes.length;
    }
    expect(coded / raw).toBeLessThan(1 / 3);
  });

  it("takes the longest symbol at each position where the parse is greedy", () => {
    const spelled = new Set<string>();
    for (let c = 0; c < greedy.count; c++) {
      const spelling = greedy.bytes.subarray(c * 16, c * 16 + greedy.lengths[c]);
      spelled.add(Buffer.from(spelling).toString("latin1"));
    }
    let shortestBytes = 0;
    let greedyBytes = 0;
    for (const text of sampleStrings(200)) {
      const latin1 = Buffer.from(text).toString("latin1");
      const expected: string[] = [];
      for (let pos = 0; pos < latin1.length; pos += expected[expected.length - 1].length) {
        let length = Math.min(16, latin1.length - pos);
        while (!spelled.has(latin1.slice(pos, pos + length))) length--;
        expected.push(latin1.slice(pos, pos + length));
      }
      const codes = encode(greedy, text);
      let found = 0;
      for (let pos = 0; pos < codes.length; pos += codes[pos] < 192 ? 1 : 2) found++;
      expect(found).toBe(expected.length);
      expect(decode(greedy, codes, text.length)).toEqual(text);
      greedyBytes += codes.length;
      shortestBytes += encode(table, text).length;
    }
    expect(greedyBytes).toBeGreaterThan(shortestBytes);
    expect(greedyBytes).toBeLessThan(shortestBytes * 1.15);
  });

  it("finds the cheapest sequence of codes", () => {
    const { count, bytes, lengths } = table;
    const spelled = new Map<string, number>();
    for (let c = 0; c < count; c++) {
      const spelling = Buffer.from(bytes.subarray(c * 16, c * 16 + lengths[c])).toString("latin1");
      expect(spelled.has(spelling)).toBe(false);
      spelled.set(spelling, c < 192 ? 1 : 2);
    }
    for (const text of sampleStrings(50)) {
      const latin1 = Buffer.from(text).toString("latin1");
      const costs = [0];
      for (let end = 1; end <= latin1.length; end++) {
        costs[end] = Number.POSITIVE_INFINITY;
        for (let start = Math.max(0, end - 16); start < end; start++) {
          const cost = spelled.get(latin1.slice(start, end));
          if (cost !== undefined) costs[end] = Math.min(costs[end], costs[start] + cost);
        }
      }
      expect(encode(table, text).length).toBe(costs[latin1.length]);
    }
  });

  it("codes texts longer than a parse window", () => {
    for (const length of [4095, 4096, 4097, 8192, 70_000]) {
      const text = new Uint8Array(length);
      for (let i = 0; i < length; i++) text[i] = (i * i) >> 3;
      expect(decode(table, encode(table, text), length)).toEqual(text);
    }
  });

  it("codes stretches of the key as tokens, wherever they lie", () => {
    const filler = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(200);
    const keys = ["parser", "@scope/parser", `${filler}!`, "", "abc", `x${"abcd".repeat(9)}`];
    for (const keyText of keys) {
      const key = utf8.encode(keyText);
      const values = [
        keyText,
        `https://github.com/someone/${keyText}`,
        keyText.slice(3),
        keyText.slice(0, -2),
        `${keyText.slice(16, 40)}/${keyText.slice(20, 25)}`,
        keyText.slice(5000, 5300) + keyText.slice(4090, 4100),
        keyText.repeat(3),
      ];
      for (const value of values) {
        const text = utf8.encode(value);
        const codes = new Uint8Array(text.length * 2 + 1);
        const end = table.encodeWithKeyInto(text, 0, text.length, key, key.length, codes, 1);
        const target = new Uint8Array(text.length);
        expect(
          table.decodeWithKeyInto(codes, 1, end, key, key.length, new DataView(target.buffer), 0),
        ).toBe(text.length);
        expect(target).toEqual(text);
      }
    }
  });

  it("makes a value that repeats its key two bytes longer than the rest", () => {
    const key = utf8.encode("qqzzxxwwkk");
    const text = utf8.encode("https://github.com/qqzzxxwwkk");
    const prefix = encode(table, utf8.encode("https://github.com/"));
    const codes = new Uint8Array(100);
    const end = table.encodeWithKeyInto(text, 0, text.length, key, key.length, codes, 0);
    expect(end).toBe(prefix.length + 2);
  });

  it("gives back any value with any key", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 60 });
    fc.assert(
      fc.property(letters, letters, (keyText, valueText) => {
        const key = utf8.encode(keyText);
        const text = utf8.encode(valueText);
        const codes = new Uint8Array(text.length * 2);
        const end = table.encodeWithKeyInto(text, 0, text.length, key, key.length, codes, 0);
        const target = new Uint8Array(text.length);
        expect(
          table.decodeWithKeyInto(codes, 0, end, key, key.length, new DataView(target.buffer), 0),
        ).toBe(text.length);
        expect(target).toEqual(text);
      }),
    );
  });

  it("refuses codes that are cut off, unknown or tokens, and a target without room", () => {
    const unknown = MAX_SYMBOLS - 1 - 192;
    expect(decode(table, Uint8Array.of(192), 100)).toBe(-1);
    expect(decode(table, Uint8Array.of(192 + (unknown >> 8), unknown & 255), 100)).toBe(-1);
    expect(decode(table, Uint8Array.of(255, 0), 100)).toBe(-1);
    const text = utf8.encode("https://github.com/alpha");
    expect(decode(table, encode(table, text), text.length - 1)).toBe(-1);
  });

  it("refuses tokens that are cut off or leave the key, and never writes past the target", () => {
    const key = utf8.encode("0123456789");
    const refused = [
      [255],
      [255, 0xa0], // begins at the key's end
      [255, 0x0a], // ends at the key's start
      [255, 0x66],
      [255, 0xf0], // no varint
      [255, 0xf0, 0x80],
      [255, 0xff, 0x01],
      [255, 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ];
    for (const codes of refused) {
      const target = new Uint8Array(100);
      const source = Uint8Array.from(codes);
      expect(
        table.decodeWithKeyInto(source, 0, source.length, key, 10, new DataView(target.buffer), 0),
      ).toBe(-1);
    }
    const whole = Uint8Array.of(255, 0);
    expect(table.decodeWithKeyInto(whole, 0, 2, key, 10, new DataView(new ArrayBuffer(9)), 0)).toBe(
      -1,
    );
    expect(
      table.decodeWithKeyInto(whole, 0, 2, key, 10, new DataView(new ArrayBuffer(10)), 0),
    ).toBe(10);
  });

  /** Decodes by words, with the room that this asks for and zeros behind the key. */
  function decodeByWords(codes: Uint8Array, key: Uint8Array, room: number): Uint8Array | number {
    const keys = new Uint8Array(key.length + 5);
    keys.set(key, 2);
    const target = new Uint8Array(room);
    const view = new DataView(target.buffer);
    const keyView = new DataView(keys.buffer);
    const end = codes.length;
    const to = table.decodeWordsWithKey(codes, 0, end, keyView, 2, 2 + key.length, view, 1);
    return to < 0 ? to : target.slice(1, to);
  }

  it("gives back by words what it coded with any key", () => {
    const letters = fc.string({
      unit: fc.constantFrom("a", "b", "alpha", "https://", "\u00ff"),
      maxLength: 40,
    });
    fc.assert(
      fc.property(letters, letters, fc.boolean(), (keyText, valueText, hasKey) => {
        const key = utf8.encode(keyText);
        const text = utf8.encode(hasKey ? `${keyText}${valueText}${keyText}` : valueText);
        const codes = new Uint8Array(text.length * 2);
        const end = table.encodeWithKeyInto(text, 0, text.length, key, key.length, codes, 0);
        const room = 1 + text.length + (end + 1) * 16;
        expect(decodeByWords(codes.slice(0, end), key, room)).toEqual(text);
      }),
    );
  });

  it("refuses by words what is cut off, unknown, or a token of no stretch or without room", () => {
    const key = utf8.encode("0123456789");
    const unknown = MAX_SYMBOLS - 1 - 192;
    const refused = [
      [192],
      [97, 254],
      [192 + (unknown >> 8), unknown & 255],
      [255],
      [97, 255],
      [255, 0xa0],
      [255, 0x0a],
      [255, 0xf0],
      [255, 0xff, 0x01],
    ];
    for (const codes of refused) {
      expect(decodeByWords(Uint8Array.from(codes), key, 200)).toBe(-1);
    }
    // What comes after the first one may be four codes of the longest symbol, as far as is known.
    const tokens = Uint8Array.of(255, 0, 255, 0, 255, 0);
    expect(decodeByWords(tokens, key, 1 + 10 + 5 * 16)).toEqual(
      utf8.encode("012345678901234567890123456789"),
    );
    expect(decodeByWords(tokens, key, 1 + 10 + 5 * 16 - 1)).toBe(-1);
  });

  it("gives back symbols that are no numbers when taken for floats, with room or without", () => {
    const noNumbers = [
      [1, 2, 3, 4, 5, 6, 0xf1, 0x7f],
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
      [0, 0, 0, 0, 0, 1, 0xf0, 0xff],
    ].map((bytes) => Uint8Array.from(bytes));
    const sampler = new SymbolSampler();
    for (let i = 0; i < 3000; i++) sampler.add(noNumbers[i % 3], 0, 8);
    const binary = atOnce(learnSymbols(sampler.finish(), 1000));
    for (const bytes of noNumbers) {
      const codes = encode(binary, bytes);
      expect(codes.length).toBeLessThan(3);
      expect(decode(binary, codes, bytes.length)).toEqual(bytes);
      expect(decode(binary, codes, 200)).toEqual(bytes);
    }
    const mixed = Uint8Array.from(noNumbers.flatMap((bytes) => [...bytes, 7, 0xff]));
    expect(decode(binary, encode(binary, mixed), 1000)).toEqual(mixed);
  });

  it("decodes any number of codes, tokens among them, and refuses any that is damaged or cut off", () => {
    const key = utf8.encode("0123456789");
    for (const symbols of [table, trained(20_000, MAX_SYMBOLS), untrained]) {
      /** A piece of codes and what it stands for; undefined where it stands for nothing. */
      const codeOf = (code: number) =>
        code < 192 ? [code] : [192 + ((code - 192) >> 8), (code - 192) & 255];
      const symbol = fc.nat(symbols.count - 1).map((code) => ({
        codes: codeOf(code),
        text: [...symbols.bytes.subarray(code * 16, code * 16 + symbols.lengths[code])],
      }));
      const token = fc.tuple(fc.nat(4), fc.nat(4)).map(([offset, tail]) => ({
        codes: [255, (offset << 4) | tail],
        text: [...key.subarray(offset, key.length - tail)],
      }));
      const unknown = fc
        .integer({ min: symbols.count, max: MAX_SYMBOLS - 1 })
        .map((code) => ({ codes: codeOf(code), text: undefined }));
      const piece = fc.oneof(
        { arbitrary: symbol, weight: 400 },
        { arbitrary: token, weight: 4 },
        ...(symbols.count < MAX_SYMBOLS ? [{ arbitrary: unknown, weight: 1 }] : []),
      );
      fc.assert(
        fc.property(
          fc.array(piece, { maxLength: 300, size: "max" }),
          fc.boolean(),
          fc.nat(7),
          (pieces, isCut, offset) => {
            const whole = pieces.flatMap(({ codes }) => codes);
            const isDamaged = pieces.some(({ text }) => text === undefined);
            const isTorn = isCut && (pieces.at(-1)?.codes.length ?? 0) > 1;
            const codes = isTorn ? whole.slice(0, -1) : whole;
            const text = Uint8Array.from(pieces.flatMap((part) => part.text ?? []));
            // What lies behind the codes must not be taken for some of them.
            const shared = new Uint8Array(new SharedArrayBuffer(codes.length + offset + 9), offset);
            shared.fill(97).set(codes, 1);
            for (const source of [shared, Uint8Array.from([0, ...codes])]) {
              // With all the room that whole floats take, and with no more than what it makes.
              for (const room of [(codes.length + 1) * 16 + text.length, text.length]) {
                const target = new Uint8Array(room + 3).fill(9);
                const view = new DataView(target.buffer, 0, room + 2);
                const end = symbols.decodeWithKeyInto(
                  source,
                  1,
                  1 + codes.length,
                  key,
                  key.length,
                  view,
                  2,
                );
                expect(target[0] + target[1] + target[room + 2]).toBe(27);
                if (isDamaged || isTorn) expect(end).toBe(-1);
                else expect(target.slice(2, end)).toEqual(text);
              }
            }
          },
        ),
      );
    }
  });

  it("ends at a key token where codes have none by right, and says where", () => {
    const target = new DataView(new ArrayBuffer(100));
    const letter = encode(table, utf8.encode("a"));
    const codes = Uint8Array.of(...letter, 255, 0);
    expect(table.decodeWords(codes, 0, codes.length, target, 0)).toBe(1);
    expect(table.codesEnd).toBe(letter.length);
  });

  it("is the same table once stored and read back, at any offset of shared memory", () => {
    for (const symbols of [table, untrained, trained(20_000, MAX_SYMBOLS), trained(10, 300)]) {
      const stored = serialized(symbols);
      expect(storedSymbolTableBytes(stored, 0)).toBe(stored.length);
      const shared = new Uint8Array(new SharedArrayBuffer(stored.length + 20), 7);
      shared.set(stored, 3);
      const back = SymbolTable.deserialize(shared, 3, shared.length, "x");
      expect(back.count).toBe(symbols.count);
      expect(back.words).toEqual(symbols.words);
      expect(back.lengths).toEqual(symbols.lengths);
      expect(serialized(back)).toEqual(stored);
    }
  });

  it("unpacks symbols that were stored in any order, one by one and then all", () => {
    const symbols = trained(20_000, MAX_SYMBOLS);
    const stored = serialized(symbols);
    const codes = Array.from({ length: symbols.count }, (_, code) => code);
    const order = fc.shuffledSubarray(codes, { minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(order, (order) => {
        const back = SymbolTable.deserialize(stored, 0, stored.length, "x");
        const { heads } = symbols;
        for (const code of order) {
          if (back.heads[code] === 0) back.unpack(code);
          expect(back.heads[code]).toBe(heads[code]);
          const at = code * MAX_SYMBOL_BYTES;
          expect(back.lengths[code]).toBe(symbols.lengths[code]);
          const end = at + MAX_SYMBOL_BYTES;
          expect(back.bytes.slice(at, end)).toEqual(symbols.bytes.slice(at, end));
        }
      }),
    );
  });

  it("refuses a stored table whose symbols break a rule, though its checksum holds", () => {
    const stored = serialized(trained(50, 300));
    const refuse = (count: number, at: number, values: number[], length = stored.length): void => {
      const bytes = new Uint8Array(stored.length + 1);
      bytes.set(stored);
      bytes.set(values, at);
      writeU16(bytes, 8, count);
      writeU32(bytes, 4, length);
      writeU32(bytes, 0, checksum(bytes, 4, length));
      expect(() => SymbolTable.deserialize(bytes, 0, length, "x")).toThrow("damaged symbol table");
    };
    const count = readU16(stored, 8);
    const singles = 10;
    const longer = singles + 32;
    // Too few symbols, or not as many as are there, or too many singles with one byte.
    refuse(MIN_SYMBOLS - 1, 0, []);
    refuse(count + 1, 0, []);
    refuse(count, 0, [], stored.length - 1);
    refuse(count, 0, [], stored.length + 1);
    refuse(count, singles, new Array(32).fill(255));
    // The first shares bytes with none, or all it has, or has one byte.
    refuse(count, longer, [stored[longer] | 0x10]);
    refuse(count, longer, [0x11]);
    refuse(count, longer, [0]);
  });

  it("refuses every stored table with a byte changed or missing", () => {
    const stored = serialized(trained(50, 300));
    for (let i = 0; i < stored.length; i++) {
      const damaged = stored.slice();
      damaged[i] ^= 1 << (i & 7);
      expect(() => SymbolTable.deserialize(damaged, 0, damaged.length, "x")).toThrow(
        CorruptionError,
      );
      expect(() => SymbolTable.deserialize(stored, 0, i, "x")).toThrow(CorruptionError);
    }
  });
});

describe("singleByteTable", () => {
  it("codes a byte as itself, or as two bytes, which what it stores decodes", () => {
    const table = singleByteTable();
    const writer = new ByteWriter();
    table.serialize(writer);
    const stored = SymbolTable.deserialize(writer.bytes, 0, writer.length, "file", 0);
    const text = Uint8Array.from({ length: 512 }, (_, i) => (i * 7) & 255);
    const codes = new Uint8Array(1024);
    const length = table.encodeInto(text, 0, text.length, codes, 0);
    expect(length).toBe(512 + 2 * 64);
    expect(table.encodeInto(utf8.encode("as it is"), 0, 8, codes, length)).toBe(length + 8);
    expect(codes.slice(length, length + 8)).toEqual(utf8.encode("as it is"));
    const decoded = new Uint8Array(512);
    const end = stored.decodeWithKeyInto(
      codes,
      0,
      length,
      new Uint8Array(0),
      0,
      new DataView(decoded.buffer),
      0,
    );
    expect(end).toBe(512);
    expect(decoded).toEqual(text);
    // As the parse of any other table would choose.
    const parsed = new Uint8Array(1024);
    expect(stored.encodeInto(text, 0, text.length, parsed, 0)).toBe(length);
    expect(parsed.slice(0, length)).toEqual(codes.slice(0, length));
  });
});

describe("learnSymbols", () => {
  it("is deterministic", () => {
    expect(serialized(trained())).toEqual(serialized(trained()));
  });

  it("keeps to the number of symbols asked for, and always has the single bytes", () => {
    for (const maxSymbols of [0, MIN_SYMBOLS, MIN_SYMBOLS + 1, 700, MAX_SYMBOLS, 1e6]) {
      const symbols = trained(5000, maxSymbols);
      expect(symbols.count).toBeGreaterThanOrEqual(MIN_SYMBOLS);
      expect(symbols.count).toBeLessThanOrEqual(
        Math.max(MIN_SYMBOLS, Math.min(MAX_SYMBOLS, maxSymbols)),
      );
      const singles = new Set<number>();
      for (let c = 0; c < symbols.count; c++) {
        if (symbols.lengths[c] === 1) singles.add(symbols.bytes[c * 16]);
      }
      expect(singles.size).toBe(256);
    }
  });

  it("learns from strings of any bytes and lengths, empty ones among them", () => {
    const strings = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 60 });
    fc.assert(
      fc.property(strings, (texts) => {
        const sampler = new SymbolSampler(1024);
        for (const text of texts) sampler.add(text, 0, text.length);
        const symbols = atOnce(learnSymbols(sampler.finish(), symbolCountFor(10_000)));
        const back = SymbolTable.deserialize(serialized(symbols), 0, 1 << 20, "x");
        for (const text of texts) {
          expect(decode(back, encode(symbols, text), text.length)).toEqual(text);
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe("SymbolSampler", () => {
  it("keeps all while there is room, then every n-th, evenly spread", () => {
    const sampler = new SymbolSampler(1600);
    const text = new Uint8Array(4);
    for (let i = 0; i < 10_000; i++) {
      new DataView(text.buffer).setUint32(0, i);
      sampler.add(text, 0, 4);
      if (i === 399) expect(sampler.finish().count).toBe(400);
    }
    const { bytes, ends, count } = sampler.finish();
    expect(count).toBeGreaterThan(200);
    const view = new DataView(bytes.buffer);
    const stride = view.getUint32(4) - view.getUint32(0);
    expect(stride).toBe(32);
    for (let i = 0; i < count; i++) {
      expect(ends[i]).toBe(i * 4 + 4);
      expect(view.getUint32(i * 4)).toBe(i * stride);
    }
  });

  it("takes the front of a string that is too long for it", () => {
    const sampler = new SymbolSampler(1600);
    sampler.add(new Uint8Array(5000), 0, 5000);
    expect(sampler.finish().ends[0]).toBe(100);
  });
});
