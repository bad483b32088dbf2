import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { createKeyCodec, decodeUtf8, type KeyCodec } from "../../src/encoding/key-codec.ts";
import { createValueCodec, type ValueCodec } from "../../src/encoding/value-codec.ts";

/** The bytes in a buffer that is larger, and shared if asked: what a memtable hands out. */
function placed(bytes: Uint8Array, isShared: boolean): Uint8Array {
  const size = bytes.length + 11;
  const buffer = isShared ? new SharedArrayBuffer(size) : new ArrayBuffer(size);
  const all = new Uint8Array(buffer).fill(0xee);
  all.set(bytes, 5);
  return all.subarray(5, 5 + bytes.length);
}

function encoded<K>(codec: KeyCodec<K>, key: K): Uint8Array {
  const length = codec.encode(key);
  return codec.buffer.slice(0, length);
}

const anyText = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.string({ unit: "binary", maxLength: 30 }).map((text) => text.repeat(20)),
);

describe("utf8 keys", () => {
  const codec = createKeyCodec<string>("utf8");

  test("are their UTF-8 bytes, from any buffer and back", () => {
    fc.assert(
      fc.property(anyText, fc.boolean(), (key, isShared) => {
        const bytes = encoded(codec, key);
        expect(Buffer.from(bytes).equals(Buffer.from(key, "utf8"))).toBe(true);
        expect(codec.decode(placed(bytes, isShared), bytes.length)).toBe(key);
      }),
      { numRuns: 500 },
    );
  });

  test("of every length about the switch from one way of encoding to the other", () => {
    for (let length = 0; length < 60; length++) {
      for (const last of ["", "x", "\u00e9", "\u{1f600}"]) {
        const key = "k".repeat(length) + last;
        expect(Buffer.from(encoded(codec, key)).toString("utf8")).toBe(key);
      }
    }
  });

  test("sort by code point, not by UTF-16 unit", () => {
    const order = ["", "\0", "a", "ab", "b", "\u00e9", "\uffff", "\u{10000}", "\u{10ffff}"];
    const bytes = order.map((key) => encoded(codec, key));
    for (let i = 1; i < bytes.length; i++) {
      expect(compareBytes(bytes[i - 1], bytes[i])).toBeLessThan(0);
    }
  });
});

test("long texts are decoded alike, ASCII or not, wherever another character is", () => {
  for (const length of [2046, 2047, 2048, 2049, 5000, 65_537, 2 ** 19, 2 ** 19 + 1]) {
    const ascii = Array.from({ length }, (_, i) => String.fromCharCode((i * 7) % 128)).join("");
    const texts = [
      ascii,
      `\u00e9${ascii.slice(2)}`,
      `${ascii.slice(2)}\u00ff`,
      `${ascii}\u{1f600}`,
    ];
    texts.push(`${ascii.slice(0, length / 2)}\u4e2d${ascii.slice(length / 2)}`);
    for (const text of texts) {
      for (const isShared of [false, true]) {
        const bytes = placed(Buffer.from(text, "utf8"), isShared);
        expect(decodeUtf8(bytes, 0, bytes.length) === text).toBe(true);
        expect(decodeUtf8(bytes, 1, bytes.length)).toBe(Buffer.from(bytes).toString("utf8", 1));
      }
    }
  }
});

describe("binary and custom keys", () => {
  test("are copied in and out", () => {
    const codec = createKeyCodec<Uint8Array>("binary");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1000 }), fc.boolean(), (key, isShared) => {
        const view = placed(key, isShared);
        const bytes = encoded(codec, view);
        expect(bytes).toEqual(key);
        const decoded = codec.decode(placed(bytes, isShared), bytes.length);
        expect(decoded).toEqual(key);
        expect(decoded.buffer).not.toBe(view.buffer);
      }),
    );
  });

  test("of a custom encoding get bytes of their own to decode", () => {
    const codec = createKeyCodec<number>({
      name: "big-endian",
      encode: (key) => Uint8Array.of(key >>> 24, key >>> 16, key >>> 8, key),
      decode: (bytes) => new DataView(bytes.buffer).getUint32(0),
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.boolean(), (key, isShared) => {
        expect(codec.decode(placed(encoded(codec, key), isShared), 4)).toBe(key);
      }),
    );
  });
});

/** Encodes, encodes something else, and decodes from a buffer that is overwritten afterwards. */
function roundTrip<V>(codec: ValueCodec<V>, value: V, other: V, isShared: boolean): V {
  const bytes = codec.encode(value).slice();
  codec.encode(other);
  const view = placed(bytes, isShared);
  const decoded = codec.decode(view, 0, view.length);
  view.fill(0xee);
  return decoded;
}

describe("msgpack values", () => {
  const codec = createValueCodec<unknown>("msgpack");

  const anyNumber = fc.oneof(
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double(),
    fc.float(),
    fc.constantFrom(0, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 31), -(2 ** 53), Number.NaN, 1e300),
  );

  const { tree: anyTree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: "small" },
      anyNumber.filter((value) => !Object.is(value, -0)),
      fc.string({ unit: "binary" }),
      fc.boolean(),
      fc.constantFrom(null),
      fc.bigInt({ min: -(2n ** 100n), max: 2n ** 100n }),
      fc.date({ noInvalidDate: true }),
      fc.uint8Array({ maxLength: 40 }),
      fc.array(tie("tree"), { maxLength: 5 }),
      fc.dictionary(
        fc.string().filter((name) => name !== "__proto__"),
        tie("tree"),
        { maxKeys: 5, noNullPrototype: true },
      ),
      fc.array(tie("tree"), { maxLength: 4 }).map((elements) => new Set(elements)),
    ),
  }));

  test("come back as they were, and keep nothing of the buffer they were read from", () => {
    fc.assert(
      fc.property(anyTree, anyTree, fc.boolean(), (value, other, isShared) => {
        expect(plain(roundTrip(codec, value, other, isShared))).toEqual(plain(value));
      }),
      { numRuns: 500 },
    );
  });

  /** Byte arrays come back as Buffers, which are Uint8Arrays: compared as such. */
  function plain(value: unknown): unknown {
    if (value instanceof Uint8Array) return Array.from(value);
    if (value instanceof Set) return new Set([...value].map(plain));
    if (Array.isArray(value)) return value.map(plain);
    if (value instanceof Date || typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, plain(child)]));
  }

  test("an instance of a class comes back as an object of its own properties", () => {
    class Place {
      readonly name = "here";
      readonly #secret = "lost";
      get secret(): string {
        return this.#secret;
      }
    }
    const instances = { place: new Place(), url: new URL("https://example.org/") };
    const read = roundTrip(codec, instances as unknown, 1, false);
    expect(read).toStrictEqual({ place: { name: "here" }, url: "https://example.org/" });
  });

  const kept: [string, unknown][] = [
    ["undefined inside", { a: undefined, b: [undefined] }],
    ["a regular expression", /a+b/gi],
    ["a typed array", Float64Array.of(1.5, -2)],
    ["clamped bytes", { a: Uint8ClampedArray.of(1, 255) }],
    ["64-bit integers", [BigInt64Array.of(-1n), BigUint64Array.of(2n ** 64n - 1n)]],
    ["a view of a buffer", new DataView(new ArrayBuffer(8), 3, 2)],
    ["a buffer", new ArrayBuffer(3)],
    ["200 levels", nested(200)],
    [
      "an object of many fields",
      Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [i, i])),
    ],
    ["a long string", "\u00e9".repeat(100_000)],
  ];

  test.each(kept)("hold %s", (_, value) => {
    expect(roundTrip(codec, value, 1, true)).toEqual(value);
  });

  function nested(depth: number): unknown {
    let value: unknown = 1;
    for (let i = 0; i < depth; i++) value = [value];
    return value;
  }
});

describe("values of other encodings", () => {
  test("json", () => {
    const codec = createValueCodec<unknown>("json");
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.boolean(), (value, other, isShared) => {
        const canonical: unknown = JSON.parse(JSON.stringify(value));
        expect(roundTrip(codec, value, other, isShared)).toEqual(canonical);
      }),
    );
    expect(roundTrip<unknown>(codec, "\ud800", 1, false)).toBe("\ud800");
  });

  test("utf8", () => {
    const codec = createValueCodec<string>("utf8");
    fc.assert(
      fc.property(anyText, anyText, fc.boolean(), (value, other, isShared) => {
        expect(roundTrip(codec, value, other, isShared)).toBe(value);
      }),
    );
  });

  test("binary", () => {
    const codec = createValueCodec<Uint8Array>("binary");
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 400 }),
        fc.uint8Array(),
        fc.boolean(),
        (value, other, isShared) => {
          expect(roundTrip(codec, value, other, isShared)).toEqual(value);
        },
      ),
    );
  });

  test("custom", () => {
    const codec = createValueCodec<Date>({
      name: "date",
      encode: (value) => new Uint8Array(Float64Array.of(value.getTime()).buffer),
      decode: (bytes) => new Date(new DataView(bytes.buffer).getFloat64(0, true)),
    });
    fc.assert(
      fc.property(fc.date({ noInvalidDate: true }), fc.boolean(), (value, isShared) => {
        expect(roundTrip(codec, value, new Date(0), isShared)).toEqual(value);
      }),
    );
  });
});

test("what a codec has appended to a record is what it encodes", () => {
  const values: [string, unknown][] = [
    ["utf8", "grüße, 😀"],
    ["json", { text: "grüße", lone: "\ud800" }],
    ["msgpack", { text: "grüße" }],
    ["binary", Uint8Array.of(1, 2)],
  ];
  for (const [name, value] of values) {
    const codec = createValueCodec(name as "json");
    const appended = codec.toAppend(value);
    const bytes = typeof appended === "string" ? Buffer.from(appended, "utf8") : appended;
    expect(Buffer.from(bytes).equals(codec.encode(value))).toBe(true);
  }
});
