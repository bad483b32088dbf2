import fc from "fast-check";
import { Packr } from "msgpackr/pack";
import { describe, expect, test } from "vitest";
import { NOT_PLAIN, PlainDecoder } from "../../src/encoding/plain-msgpack-decoder.ts";
import { createValueCodec } from "../../src/encoding/value-codec.ts";

const packr = new Packr({
  useRecords: false,
  moreTypes: true,
  copyBuffers: true,
  variableMapSize: true,
});

/** One for all tests: what it remembers of others must not matter. */
const decoder = new PlainDecoder();

/** What the decoder makes of the bytes, in the middle of others. */
function decoded(bytes: Uint8Array): unknown {
  const around = new Uint8Array(bytes.length + 8).fill(0xc0);
  around.set(bytes, 3);
  return decoder.decode(around, 3, 3 + bytes.length);
}

/** What the library makes of the bytes; NOT_PLAIN for an error. */
function unpacked(bytes: Uint8Array): unknown {
  try {
    return packr.unpack(bytes);
  } catch {
    return NOT_PLAIN;
  }
}

function packed(value: unknown): Uint8Array {
  return new Uint8Array(packr.pack(value));
}

/** That it has the value that the library has, names in the same order. */
function expectSame(bytes: Uint8Array): void {
  const value = decoded(bytes);
  expect(value).toStrictEqual(packr.unpack(bytes));
  expect(JSON.stringify(value)).toBe(JSON.stringify(packr.unpack(bytes)));
}

describe("plain bytes are the value that the library makes of them", () => {
  const numbers = [
    ...[7, 8, 15, 16, 31, 32, 53].flatMap((bits) => [2 ** bits - 1, 2 ** bits, 2 ** bits + 1]),
    ...[0, 1, 0x1f, 0x20, 0.5, 1e300, Number.NaN, Number.POSITIVE_INFINITY],
  ];
  test.each(numbers.flatMap((value) => [value, -value, -value - 1]))("number %d", (value) => {
    expectSame(packed(value));
    expectSame(packed([value, { value }]));
  });

  test.each([0, 1, 12, 13, 31, 32, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 4096])(
    "text of %d units, of one to four bytes each",
    (length) => {
      for (const unit of ["x", "\u00e9", "\u20ac", "\u{1f600}"]) {
        const text = unit.repeat(Math.floor(length / unit.length));
        expectSame(packed(["before", text, "behind", text]));
      }
    },
  );

  test.each([0, 1, 15, 16, 255, 256, 4096])("an array and an object of %d", (length) => {
    const array = Array.from({ length }, (_, i) => i);
    expectSame(packed(array));
    expectSame(packed(Object.fromEntries(array.map((i) => [`n${i}`, i]))));
    expectSame(packed(array.map((i) => ({ [`n${i % 5}`]: `text ${i}` }))));
  });

  test.each([
    [[undefined, null, true, false]],
    [new Array(2)],
    [{ "": 1, "1": 2, "0": 3, constructor: 4, toString: 5, "\u00e9": 6 }],
    [{ a: { a: { a: 1 }, b: { b: [] } }, b: [{}, { a: {} }] }],
    [[31, 32, 36, 255].map((length) => ({ ["x".repeat(length)]: length, b: 1 }))],
  ])("%j", (value) => {
    expectSame(packed(value));
  });

  test("whatever it is", () => {
    const anyPlain = fc.jsonValue({ maxDepth: 5 }).filter((value) => !hasProto(value));
    fc.assert(
      fc.property(anyPlain, (value) => {
        expectSame(packed(value));
      }),
      { numRuns: 2000 },
    );
  });

  test("objects of one kind, some without some properties, with more names than are remembered", () => {
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 2000; i++) {
        const object = {
          id: i,
          [`name ${i}`]: "x",
          ...(i % 3 === 0 ? { b: 1 } : {}),
          c: [{ d: i }],
        };
        expectSame(packed(object));
      }
    }
  });

  test("a name that comes twice: the last value, in the place of the first", () => {
    expectSame(Uint8Array.of(0x83, 0xa1, 0x61, 1, 0xa1, 0x62, 2, 0xa1, 0x61, 3));
  });
});

describe("what is not plain is left to the library", () => {
  let deep: unknown = 1;
  for (let i = 0; i < 33; i++) deep = [deep];
  const cases: [name: string, bytes: Uint8Array][] = [
    ["a bigint", packed(2n ** 60n)],
    ["a negative bigint", packed(-(2n ** 60n))],
    ["a date", packed(new Date(0))],
    ["a set", packed(new Set([1]))],
    ["bytes", packed(Uint8Array.of(1))],
    ["an error", packed(new RangeError("x"))],
    ["a regular expression", packed(/a/)],
    ["a float of four bytes", Uint8Array.of(0xca, 0x3f, 0x80, 0, 0)],
    ["a name of 256 bytes", packed({ ["x".repeat(256)]: 1 })],
    ["a short name with a long header", Uint8Array.of(0x81, 0xd9, 1, 0x61, 1)],
    ["a name that is a number", Uint8Array.of(0x81, 1, 1)],
    ["a name that is a prototype's", packed(JSON.parse('{"__proto__": {"a": 1}}'))],
    ["a text of 2^16 bytes", packed("x".repeat(2 ** 16))],
    ["an array of 2^16", packed(new Array(2 ** 16).fill(1))],
    ["what is nested deep", packed(deep)],
    ["nothing", new Uint8Array(0)],
    ["more than a value", Uint8Array.of(1, 1)],
  ];
  for (const [name, bytes] of cases) {
    test(name, () => {
      expect(decoded(bytes)).toBe(NOT_PLAIN);
      expect(decoded(Uint8Array.of(0x92, 0, ...bytes.subarray(0, 100)))).toBe(NOT_PLAIN);
      // And nothing of it is left.
      expectSame(packed({ a: 1, b: ["c"] }));
    });
  }
});

test("what is cut off, or has a wrong byte, is no other value than to the library", () => {
  const anyBytes = fc
    .jsonValue({ maxDepth: 3 })
    .filter((value) => !hasProto(value))
    .map(packed);
  fc.assert(
    fc.property(anyBytes, fc.nat(), fc.nat(255), (bytes, at, byte) => {
      const cut = bytes.subarray(0, at % bytes.length);
      const wrong = bytes.with(at % bytes.length, byte);
      for (const damaged of [cut, wrong]) {
        const value = decoded(damaged);
        // Of bytes that are no UTF-8 each makes a text of its own.
        if (value === NOT_PLAIN || JSON.stringify(value)?.includes("\ufffd")) continue;
        expect(value).toStrictEqual(unpacked(damaged));
      }
    }),
    { numRuns: 5000 },
  );
});

test("the codec decodes plain values, others, and those in others, from any memory", () => {
  const codec = createValueCodec<unknown>("msgpack");
  const values = [
    { a: 1, when: new Date(5), b: ["x", 2n ** 60n] },
    { a: 1, b: ["x", "\u00e9".repeat(100)], "a longer name than is remembered by the decoder": {} },
    [Uint8Array.of(1, 2), new Set(["a"])],
    "text",
  ];
  for (const value of values) {
    const bytes = new Uint8Array(codec.encode(value));
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 5), 5);
    shared.set(bytes);
    expect(codec.decode(shared, 0, shared.length)).toStrictEqual(value);
  }
});

/**
 * The texts of a value whose decoding ended in a full stack were found again in the next value, at
 * the same places.
 */
test("a value that is decoded on a full stack leaves nothing to the next", () => {
  const objectOf = (text: string) => packed({ a: text, b: [[[[[[[[{ c: text }]]]]]]]], d: text });
  const [first, second] = [objectOf("x".repeat(20)), objectOf("y".repeat(20))];
  let failures = 0;
  const dive = (): void => {
    decoder.decode(first, 0, first.length);
    dive();
  };
  for (let frames = 0; frames < 10; frames++) {
    // Each time the stack ends in another place.
    const diveFrom = (left: number): void => (left > 0 ? diveFrom(left - 1) : dive());
    try {
      diveFrom(frames);
    } catch (error) {
      expect(error).toBeInstanceOf(RangeError);
      failures++;
    }
    expectSame(second);
  }
  expect(failures).toBe(10);
});

function hasProto(value: unknown): boolean {
  return JSON.stringify(value).includes('"__proto__"');
}
