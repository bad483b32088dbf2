import fc from "fast-check";
import { Packr } from "msgpackr/pack";
import { describe, expect, test } from "vitest";
import { PlainEncoder } from "../../src/encoding/plain-msgpack.ts";
import { createValueCodec } from "../../src/encoding/value-codec.ts";

const packr = new Packr({
  useRecords: false,
  moreTypes: true,
  copyBuffers: true,
  variableMapSize: true,
});

/** What the library makes of the value. */
function packed(value: unknown): Uint8Array {
  return new Uint8Array(packr.pack(value));
}

function encoded(encoder: PlainEncoder, value: unknown): Uint8Array | undefined {
  const bytes = encoder.encode(value);
  return bytes === undefined ? undefined : new Uint8Array(bytes);
}

const edges = [0, 1, 15, 16, 31, 32, 127, 128, 255, 256, 4095, 4096];

describe("a plain value has the bytes that the library gives it", () => {
  const encoder = new PlainEncoder();

  const numbers = [
    ...[7, 8, 15, 16, 31, 32, 53].flatMap((bits) => [2 ** bits - 1, 2 ** bits, 2 ** bits + 1]),
    ...[0, 1, 0x1f, 0x20, 0.5, 1e300, Number.NaN, Number.POSITIVE_INFINITY],
  ];
  test.each(numbers.flatMap((value) => [value, -value, -value - 1]))("number %d", (value) => {
    expect(encoded(encoder, value)).toEqual(packed(value));
  });

  test.each(edges)("text of %d units, of one to four bytes each", (length) => {
    for (const unit of ["x", "\u00e9", "\u20ac", "\u{1f600}"]) {
      const text = unit.repeat(Math.floor(length / unit.length));
      expect(encoded(encoder, text)).toEqual(packed(text));
      expect(encoded(encoder, { [text]: text })).toEqual(packed({ [text]: text }));
    }
  });

  test.each(edges)("an array and an object of %d", (length) => {
    const array = Array.from({ length }, (_, i) => i);
    const object = Object.fromEntries(array.map((i) => [`n${i}`, i]));
    expect(encoded(encoder, array)).toEqual(packed(array));
    expect(encoded(encoder, object)).toEqual(packed(object));
  });

  test("an array that is too long for the short forms", () => {
    const array = new Array(2 ** 16).fill(1);
    const codec = createValueCodec<unknown>("msgpack");
    expect(new Uint8Array(codec.encode(array))).toEqual(packed(array));
  });

  test.each([
    [[undefined, null]],
    [new Array(2)],
    [{ a: undefined, b: [{}, []] }],
    [true],
    [false],
  ])("%j", (value) => {
    expect(encoded(encoder, value)).toEqual(packed(value));
  });

  test("whatever it is", () => {
    const anyPlain = fc.jsonValue({ maxDepth: 5 }).filter((value) => !hasProto(value));
    fc.assert(
      fc.property(anyPlain, (value) => {
        const bytes = encoded(encoder, value);
        expect(bytes).toEqual(packed(value));
        const again = JSON.stringify(packr.unpack(bytes ?? new Uint8Array(0)));
        expect(again).toBe(JSON.stringify(value));
      }),
      { numRuns: 1000 },
    );
  });
});

function hasProto(value: unknown): boolean {
  return JSON.stringify(value).includes('"__proto__"');
}

describe("what is not plain is left to the library", () => {
  class Point {
    readonly x = 1;
  }
  class List extends Array<number> {}
  const cases: [name: string, value: unknown][] = [
    ["a bigint", 1n],
    ["a function", () => 1],
    ["a date", new Date(0)],
    ["a set", new Set([1])],
    ["a map", new Map()],
    ["bytes", Uint8Array.of(1)],
    ["a regular expression", /a/],
    ["an instance of a class", new Point()],
    ["an array of a class", List.of(1)],
    ["an object without a prototype", Object.create(null)],
    ["an object with a constructor of its own", { constructor: 1 }],
    ["a property named __proto__", JSON.parse('{"__proto__": 1}')],
    ["a lone surrogate", "\ud800"],
    ["a name with a lone surrogate", { "\ud800": 1 }],
    ["a long text", "x".repeat(4097)],
    ["many bytes", new Array(70_000).fill(1)],
  ];
  for (const [name, value] of cases) {
    test(name, () => {
      const encoder = new PlainEncoder();
      expect(encoder.encode(value)).toBeUndefined();
      expect(encoder.encode([0, { a: value }])).toBeUndefined();
      // And nothing of it is left.
      expect(encoded(encoder, { a: 1 })).toEqual(packed({ a: 1 }));
    });
  }

  test("undefined by itself", () => {
    expect(new PlainEncoder().encode(undefined)).toBeUndefined();
  });

  test("what is nested deep, or in itself", () => {
    const encoder = new PlainEncoder();
    let deep: unknown = 1;
    for (let i = 0; i < 32; i++) deep = [deep];
    expect(encoded(encoder, deep)).toEqual(packed(deep));
    expect(encoder.encode([deep])).toBeUndefined();
    const circular: unknown[] = [];
    circular.push(circular);
    expect(encoder.encode(circular)).toBeUndefined();
  });
});

test("a getter may encode another value, or throw", () => {
  const codec = createValueCodec<unknown>("msgpack");
  const value = {
    before: "x".repeat(100),
    get other(): number {
      return codec.encode({ inner: [1, 2, 3] }).length;
    },
    after: "y",
  };
  const copy = { before: value.before, other: value.other, after: "y" };
  expect(new Uint8Array(codec.encode(value))).toEqual(packed(copy));
  const failing = {
    get broken(): number {
      throw new RangeError("broken");
    },
  };
  expect(() => codec.encode(failing)).toThrow(RangeError);
  expect(new Uint8Array(codec.encode({ a: 1 }))).toEqual(packed({ a: 1 }));
});
