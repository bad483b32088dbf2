/** Ordered keys: the order of their bytes is the order of the values, and they come back as they were. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { OrderedKeyCodec } from "../../src/encoding/ordered-keys.ts";
import { CorruptionError, InvalidArgumentError, type OrderedKey } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { openFor } from "../engine/harness.ts";
import { parameters } from "../model/parameters.ts";

const codec = new OrderedKeyCodec();

function encode(key: OrderedKey): Uint8Array {
  const length = codec.encode(key);
  return codec.buffer.slice(0, length);
}

function decode(bytes: Uint8Array): OrderedKey {
  return codec.decode(bytes, bytes.length);
}

/** Types in their order; numbers and bigints are one. */
function typeRank(key: OrderedKey): number {
  if (key === null) return 0;
  if (typeof key === "boolean") return 1;
  if (typeof key === "number" || typeof key === "bigint") return 2;
  if (key instanceof Date) return 3;
  if (typeof key === "string") return 4;
  return key instanceof Uint8Array ? 5 : 6;
}

/** The natural order, said once more in another way. */
function compareKeys(a: OrderedKey, b: OrderedKey): number {
  const ranks = typeRank(a) - typeRank(b);
  if (ranks !== 0) return ranks;
  if (Array.isArray(a) && Array.isArray(b)) {
    for (let i = 0; i < Math.min(a.length, b.length); i++) {
      const order = compareKeys(a[i], b[i]);
      if (order !== 0) return order;
    }
    return a.length - b.length;
  }
  if (typeof a === "string" && typeof b === "string") {
    return Buffer.compare(Buffer.from(a), Buffer.from(b));
  }
  if (a instanceof Uint8Array && b instanceof Uint8Array) return compareBytes(a, b);
  // JavaScript compares a number and a bigint by their exact values.
  const [x, y] = [a, b] as [number | bigint, number | bigint];
  if (x < y) return -1;
  if (x > y) return 1;
  return Number(typeof a === "bigint") - Number(typeof b === "bigint");
}

const anyNumber: fc.Arbitrary<number> = fc
  .oneof(
    fc.double({ noNaN: true }),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.integer({ min: -300, max: 300 }),
    fc.integer({ min: -1074, max: 1023 }).map((exponent) => 2 ** exponent),
    fc.constantFrom(5e-324, -5e-324, 2 ** -1022, Number.MAX_VALUE, 0.1, 1 / 3, 2 ** 53 + 2),
  )
  .map((value) => (value === 0 ? 0 : value));

const anyBigint: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: -300n, max: 300n }),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
  fc.bigInt({ min: -(2n ** 1500n), max: 2n ** 1500n }),
  fc
    .nat(1100)
    .chain((exponent) => fc.constantFrom(-1n, 0n, 1n).map((d) => 2n ** BigInt(exponent) + d)),
);

const anyString: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: fc.constantFrom("\u0000", "\u0001", "\u0002", "a", "b"), maxLength: 5 }),
  fc.string({ unit: "binary", maxLength: 6 }),
  fc.constantFrom("\uffff", "\u{10000}", "\ue000", "é"),
);

const anyBytes: fc.Arbitrary<Uint8Array> = fc
  .array(fc.constantFrom(0, 1, 2, 254, 255), { maxLength: 5 })
  .map((bytes) => Uint8Array.from(bytes));

const anyDate: fc.Arbitrary<Date> = fc.date({ noInvalidDate: true });

const anyOrderedKey: fc.Arbitrary<OrderedKey> = fc.letrec<{ key: OrderedKey; tuple: OrderedKey }>(
  (tie) => ({
    tuple: fc.array(tie("key"), { maxLength: 4 }),
    key: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      anyNumber,
      anyBigint,
      anyString,
      anyBytes,
      anyDate,
      fc.boolean(),
      fc.constant(null),
      tie("tuple"),
    ),
  }),
).key;

const RUNS = 4000;

describe("an ordered key", () => {
  test.each<[string, fc.Arbitrary<OrderedKey>]>([
    ["numbers", anyNumber],
    ["bigints", anyBigint],
    ["numbers and bigints", fc.oneof(anyNumber, anyBigint)],
    ["strings", anyString],
    ["byte arrays", anyBytes],
    ["dates", anyDate],
    ["tuples of strings", fc.array(anyString, { maxLength: 3 })],
    ["anything", anyOrderedKey],
  ])("of %s comes back, and its bytes sort as it does", (_, any) => {
    fc.assert(
      fc.property(any, any, (a, b) => {
        const [bytesA, bytesB] = [encode(a), encode(b)];
        expect(decode(bytesA)).toEqual(a);
        expect(Math.sign(compareBytes(bytesA, bytesB))).toBe(Math.sign(compareKeys(a, b)));
      }),
      parameters(RUNS),
    );
  });

  test("begins with the bytes of a tuple just if it is a tuple that begins with its elements", () => {
    const anyTuple = fc.array(anyOrderedKey, { maxLength: 3 });
    const anyPair = fc.oneof(
      fc.tuple(anyTuple, anyOrderedKey),
      fc.tuple(anyTuple, anyTuple).map(([a, b]): [OrderedKey[], OrderedKey] => [a, [...a, ...b]]),
    );
    fc.assert(
      fc.property(anyPair, ([prefix, key]) => {
        const begins =
          Array.isArray(key) &&
          prefix.length <= key.length &&
          prefix.every((element, i) => compareKeys(element, key[i]) === 0);
        const bytes = encode(key);
        const start = encode(prefix);
        expect(start.every((byte, i) => bytes[i] === byte)).toBe(begins);
      }),
      parameters(RUNS),
    );
  });

  test("in the order of its types, at their edges", () => {
    const sorted: readonly OrderedKey[] = [
      null,
      false,
      true,
      Number.NEGATIVE_INFINITY,
      -(2n ** 1100n),
      -Number.MAX_VALUE,
      -(2n ** 53n) - 1n,
      -1.5,
      -1,
      -1n,
      -Number.MIN_VALUE,
      0,
      0n,
      Number.MIN_VALUE,
      2 ** -1022,
      0.1,
      1,
      1n,
      1.5,
      2n,
      255,
      256,
      2 ** 47,
      2 ** 48,
      2 ** 53,
      2n ** 53n + 1n,
      Number.MAX_VALUE,
      2n ** 1100n,
      Number.POSITIVE_INFINITY,
      new Date(-1),
      new Date(0),
      new Date(1.7e12),
      "",
      "\u0000",
      "\u0000\u0000",
      "\u0001",
      "a",
      "a\u0000",
      "ab",
      "b",
      new Uint8Array(0),
      Uint8Array.of(0),
      Uint8Array.of(0, 0),
      Uint8Array.of(1),
      Uint8Array.of(255),
      [],
      [null],
      [[]],
      [[], 1],
      [[null]],
      [["a"], "b"],
      [["a", "b"]],
    ];
    const byTypes = sorted.filter((key) => !Array.isArray(key));
    const tuples = sorted.filter((key) => Array.isArray(key));
    for (const list of [byTypes, tuples]) {
      for (let i = 1; i < list.length; i++) {
        const order = compareBytes(encode(list[i - 1]), encode(list[i]));
        expect(order, `${i}`).toBeLessThan(0);
      }
    }
    for (const key of sorted) expect(decode(encode(key))).toEqual(key);
  });

  test("has the bytes that were written before", () => {
    const hex = (key: OrderedKey): string => Buffer.from(encode(key)).toString("hex");
    expect(hex(null)).toBe("08");
    expect([hex(false), hex(true)]).toEqual(["10", "11"]);
    expect([hex(0), hex(0n)]).toEqual(["7000", "7001"]);
    expect([hex(1), hex(1n), hex(-1), hex(-1n)]).toEqual(["8200", "8201", "5efe", "5eff"]);
    expect([hex(1.5), hex(1000), hex(0.1)]).toEqual(["8280", "8bf4", "7e9a669a669a669a66a0"]);
    expect(hex(2 ** 48 + 1)).toBe("b20000300202020202020204");
    expect(hex(2n ** 100n)).toBe("b200006401");
    expect(hex(Number.MIN_VALUE)).toBe("71000000");
    expect(hex(new Date(1000))).toBe("c08bf4");
    expect(hex("a\u0000é")).toBe("c8610101c3a9");
    expect(hex(Uint8Array.of(0, 1, 2))).toBe("d00101010202");
    expect(hex(["user", 7, ["x"], null])).toBe("d8c87573657200" + "84c0" + "d8c8780000" + "08");
  });

  test("of -0 is that of 0, and a Buffer or a view of shared memory is a byte array", () => {
    expect(encode(-0)).toEqual(encode(0));
    expect(decode(encode(Buffer.from("ab")))).toEqual(Uint8Array.of(97, 98));
    const shared = new Uint8Array(new SharedArrayBuffer(8), 3, 2).fill(7);
    expect(decode(encode(shared))).toEqual(Uint8Array.of(7, 7));
  });

  test("may be as long as a key, and no longer", () => {
    const longest = "x".repeat(65_535);
    expect(decode(encode(longest))).toBe(longest);
    expect(() => encode(`${longest}x`)).toThrow(InvalidArgumentError);
    expect(() => encode("\u0000".repeat(40_000))).toThrow(InvalidArgumentError);
    expect(() => encode(new Uint8Array(65_536).fill(9))).toThrow(InvalidArgumentError);
    expect(() => encode(Array.from({ length: 40_000 }, () => 1))).toThrow(InvalidArgumentError);
    const large = 3n ** 200_000n;
    expect(decode(encode(large))).toBe(large);
    expect(() => encode(3n ** 300_000n)).toThrow(InvalidArgumentError);
    expect(decode(encode("after all that"))).toBe("after all that");
  });

  test.each<[string, unknown]>([
    ["NaN", Number.NaN],
    ["undefined", undefined],
    ["an object", { a: 1 }],
    ["a function", (): void => {}],
    ["a symbol", Symbol("x")],
    ["an invalid date", new Date(Number.NaN)],
    ["a lone surrogate", "a\ud800"],
    ["a tuple with undefined", [1, undefined]],
    ["a tuple with holes", new Array(2)],
    ["a float array", new Float64Array(1)],
  ])("cannot be %s", (_, key) => {
    expect(() => encode(key as OrderedKey)).toThrow(InvalidArgumentError);
  });

  test("cannot be a tuple without end", () => {
    const endless: OrderedKey[] = [];
    endless.push(endless);
    expect(() => encode(endless)).toThrow(InvalidArgumentError);
  });

  test("that is damaged is decoded to some key or refused, and never hangs", () => {
    fc.assert(
      fc.property(anyOrderedKey, fc.nat(), fc.nat(255), (key, at, byte) => {
        const bytes = encode(key);
        bytes[at % bytes.length] = byte;
        for (const damaged of [bytes, bytes.subarray(0, at % bytes.length)]) {
          try {
            decode(damaged);
          } catch (error) {
            expect(error).toBeInstanceOf(CorruptionError);
          }
        }
      }),
      parameters(5000),
    );
  });
});

describe("a database of ordered keys", () => {
  test("keeps them in order, and has prefix ranges over tuples", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openFor<OrderedKey, number>("store", {
      fileSystem,
      keyEncoding: "ordered",
    });
    const keys: readonly OrderedKey[] = [
      7,
      20,
      ["user", 7],
      ["user", 7, "name"],
      ["user", 7, new Date(0)],
      ["user", 20, "name"],
      ["users"],
      [],
      "user",
      null,
    ];
    await database.batch(keys.map((key, value) => ({ type: "put", key, value })));
    await database.flush();
    expect([...database.keys()]).toEqual(
      [...keys].sort((a, b) => compareBytes(encode(a), encode(b))),
    );
    expect([...database.keys({ prefix: ["user", 7] })]).toEqual([
      ["user", 7],
      ["user", 7, new Date(0)],
      ["user", 7, "name"],
    ]);
    expect(database.count({ prefix: ["user"] })).toBe(4);
    expect([...database.keys({ prefix: "us" })]).toEqual(["user"]);
    expect([...database.keys({ gte: 8, lt: Number.POSITIVE_INFINITY })]).toEqual([20]);
    expect([...database.keys({ gt: ["user", 7], lt: ["user", 8] })].length).toBe(2);
    expect(database.get(["user", 20, "name"])).toBe(5);
    expect(database.rank(["user", 20])).toBe(8);
    await database.close();
    await expect(openFor("store", { fileSystem })).rejects.toThrow('keyEncoding "ordered"');
  });
});
