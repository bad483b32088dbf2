import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CorruptionError } from "../../src/errors.ts";
import { ESCAPE } from "../../src/fst/format.ts";
import { SymbolCoder, SymbolTable, trainSymbols } from "../../src/fst/symbols.ts";
import { utf8 } from "./shapes.ts";

/** In what a test calls coded, a byte that no symbol covers is this plus the byte. */
const ESCAPED = 0x100;

function code(coder: SymbolCoder, stretch: Uint8Array): number[] {
  coder.stretch.set(stretch);
  const elements = coder.elements.subarray(0, coder.code(stretch.length));
  const coded: number[] = [];
  for (let i = 0; i < elements.length; i++) {
    coded.push(elements[i] === ESCAPE ? ESCAPED + elements[++i] : elements[i]);
  }
  return coded;
}

function decode(table: SymbolTable, coded: readonly number[]): Uint8Array {
  return Uint8Array.from(
    coded.flatMap((code) =>
      code >= ESCAPED
        ? [code - ESCAPED]
        : [...table.bytes.subarray(table.starts[code], table.starts[code + 1])],
    ),
  );
}

/** The symbols and bytes by taking the longest that matches, from the first place on. */
function longestFirst(symbols: readonly Uint8Array[], stretch: Uint8Array): number[] {
  const coded: number[] = [];
  for (let at = 0; at < stretch.length; ) {
    let best = ESCAPED + stretch[at];
    let length = 0;
    symbols.forEach((symbol, i) => {
      const part = stretch.subarray(at, at + symbol.length);
      if (symbol.length > length && Buffer.compare(part, symbol) === 0) {
        best = i;
        length = symbol.length;
      }
    });
    coded.push(best);
    at += Math.max(1, length);
  }
  return coded;
}

describe("a coder", () => {
  const letters = fc.integer({ min: 0, max: 3 }).map((i) => [0x00, 0x61, 0x62, 0xff][i]);
  const text = (minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> =>
    fc.array(letters, { minLength, maxLength }).map((bytes) => Uint8Array.from(bytes));

  test("takes the longest symbol at each place, and nothing but the stretch", () => {
    const distinct = fc.uniqueArray(text(1, 8), {
      selector: (symbol) => Buffer.from(symbol).toString("hex"),
      maxLength: 30,
    });
    fc.assert(
      fc.property(distinct, fc.array(text(0, 40), { maxLength: 5 }), (symbols, stretches) => {
        const table = SymbolTable.of(symbols);
        const coder = new SymbolCoder(table);
        for (const stretch of stretches) {
          const coded = code(coder, stretch);
          expect(decode(table, coded)).toEqual(stretch);
          expect(coded).toEqual(longestFirst(symbols, stretch));
        }
      }),
    );
  });
});

describe("training", () => {
  test("finds the strings that a sample is made of", () => {
    const sample = utf8("node-module/".repeat(500));
    const table = trainSymbols(sample, [sample.length]);
    const coded = code(new SymbolCoder(table), sample.subarray(0, 1200));
    expect(coded.length).toBeLessThan(1200 / 5);
    expect(decode(table, coded)).toEqual(sample.subarray(0, 1200));
  });

  test("joins nothing across the end of a stretch", () => {
    const sample = utf8("ab".repeat(1000));
    const ends = Array.from({ length: 1000 }, (_, i) => 2 * i + 2);
    const table = trainSymbols(sample, ends);
    const texts = Array.from({ length: table.count }, (_, i) =>
      Buffer.from(table.bytes.subarray(table.starts[i], table.starts[i + 1])).toString(),
    );
    expect(texts).toEqual(["ab"]);
  });

  test("of nothing gives no symbols", () => {
    expect(trainSymbols(new Uint8Array(0), []).count).toBe(0);
  });
});

describe("a table", () => {
  test("is read back", () => {
    const table = SymbolTable.of([utf8("a"), utf8("abcdefgh"), Uint8Array.of(0, 255)]);
    const read = SymbolTable.decode(table.encode(), "file", 0);
    expect(read).toEqual(table);
  });

  test("without bytes is the identity", () => {
    const table = SymbolTable.decode(new Uint8Array(0), "file", 0);
    expect(table.count).toBe(0xb8);
    expect(decode(table, [0, 65, 0xb7])).toEqual(Uint8Array.of(0, 65, 0xb7));
  });

  test.each([
    ["a length of 0", [1, 0]],
    ["a length above 8", [1, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ["bytes missing", [2, 2, 2, 1, 1, 1]],
    ["bytes left over", [1, 1, 1, 1]],
    ["more symbols than there are elements", [255, ...new Array<number>(510).fill(1)]],
  ])("with %s is damaged", (_, bytes) => {
    expect(() => SymbolTable.decode(Uint8Array.from(bytes), "file", 0)).toThrow(CorruptionError);
  });
});
