import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import {
  type Database,
  InvalidArgumentError,
  type KeyEncodingOption,
  type OpenOptions,
  open,
  repair,
  type ValueEncodingOption,
} from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { openFor } from "./harness.ts";

type AnyDatabase = Database<unknown, unknown>;
type AnyOptions = OpenOptions<unknown, unknown>;

/** Expects the write to be refused, and the database to be as if it had never been asked. */
async function expectRefused(
  options: AnyOptions,
  write: (database: AnyDatabase) => Promise<void>,
  message: RegExp,
): Promise<void> {
  const fileSystem = new MemoryFileSystem();
  const database = await openFor<unknown, unknown>("store", { ...options, fileSystem });
  const before = database.stats();
  const refusal = write(database);
  await expect(refusal).rejects.toThrow(InvalidArgumentError);
  await expect(refusal).rejects.toThrow(message);
  await expect(refusal).rejects.toMatchObject({ code: "MEMKV_INVALID_ARGUMENT" });
  expect(database.stats()).toEqual(before);
  await database.close();
  const again = await openFor<unknown, unknown>("store", { ...options, fileSystem });
  expect(again.count()).toBe(0);
  expect(again.recovery.recordsReplayed).toBe(0);
}

describe("a key", () => {
  const encodings: [string, KeyEncodingOption<unknown>, (length: number) => unknown][] = [
    ["utf8", "utf8", (length) => "k".repeat(length)],
    [
      "utf8 beyond ASCII",
      "utf8",
      (length) => "\u00e9".repeat(length >> 1) + "k".repeat(length & 1),
    ],
    ["binary", "binary", (length) => new Uint8Array(length).fill(0xff)],
    [
      "a custom encoding",
      {
        name: "length",
        encode: (length) => new Uint8Array(length as number),
        decode: (bytes) => bytes.length,
      },
      (length) => length,
    ],
  ];

  test.each(encodings)("of 0 to 65,536 bytes works: %s", async (_, keyEncoding, keyOf) => {
    const fileSystem = new MemoryFileSystem();
    const options: AnyOptions = { keyEncoding, valueEncoding: "utf8", fileSystem };
    // 257 and more do not fit the buffer that a codec begins with.
    const lengths = [0, 1, 255, 256, 257, 4096, 65_535, 65_536];
    let database = await openFor<unknown, unknown>("store", options);
    for (const length of lengths) await database.put(keyOf(length), `value ${length}`);
    for (const step of ["memtable", "log", "segment", "segment after reopening"]) {
      for (const length of lengths) {
        expect(database.get(keyOf(length)), `${length} bytes in the ${step}`).toBe(
          `value ${length}`,
        );
        expect(database.has(keyOf(length))).toBe(true);
      }
      expect([...database.values()]).toEqual(lengths.map((length) => `value ${length}`));
      expect([...database.keys()].map(comparable)).toEqual(lengths.map(keyOf).map(comparable));
      expect([...database.values({ gt: keyOf(65_535) })]).toEqual(["value 65536"]);
      if (step === "log") await database.compact();
      if (step !== "segment") {
        await database.close();
        database = await openFor<unknown, unknown>("store", options);
      }
    }
    for (const length of lengths) await database.delete(keyOf(length));
    expect(database.count()).toBe(0);
  });

  test.each(encodings)("of 65,537 bytes is refused: %s", async (_, keyEncoding, keyOf) => {
    const key = keyOf(65_537);
    const options: AnyOptions = { keyEncoding };
    await expectRefused(options, (database) => database.put(key, "value"), /65536 bytes/);
    await expectRefused(options, (database) => database.delete(key), /65536 bytes/);
    const database = await openFor<unknown, unknown>(":memory:", options);
    expect(() => database.get(key)).toThrow(InvalidArgumentError);
    expect(() => database.has(key)).toThrow(/65536 bytes/);
    expect(() => database.getMany([key])).toThrow(/65536 bytes/);
    expect(() => database.entries({ gte: key })).toThrow(/65536 bytes/);
    expect(() => database.count({ prefix: key })).toThrow(/65536 bytes/);
  });

  const unencodable: [string, AnyOptions, unknown, RegExp][] = [
    ["a lone high surrogate", {}, "\ud800", /lone surrogate/],
    ["a lone low surrogate in a long key", {}, `${"k".repeat(100)}\udc00`, /lone surrogate/],
    ["a number", {}, 5, /must be a string, not number 5/],
    ["undefined", {}, undefined, /must be a string, not undefined/],
    ["bytes as utf8", {}, new Uint8Array(1), /must be a string, not an object \(Uint8Array\)/],
    ["a string as binary", { keyEncoding: "binary" }, "k", /must be a Uint8Array, not string k/],
    ["an ArrayBuffer", { keyEncoding: "binary" }, new ArrayBuffer(1), /must be a Uint8Array/],
    [
      "one that a custom encoding throws at",
      { keyEncoding: { name: "picky", encode: failing, decode: failing } },
      "k",
      /keyEncoding "picky" cannot encode the key/,
    ],
    [
      "one that a custom encoding makes no bytes of",
      { keyEncoding: { name: "odd", encode: () => [] as never, decode: failing } },
      "k",
      /keyEncoding "odd" must encode to a Uint8Array/,
    ],
  ];

  test.each(unencodable)("is refused if it is %s", async (_, options, key, message) => {
    await expectRefused(options, (database) => database.put(key, "value"), message);
    await expectRefused(options, (database) => database.delete(key), message);
    const database = await openFor<unknown, unknown>(":memory:", options);
    expect(() => database.get(key)).toThrow(message);
    expect(() => database.entries({ lte: key ?? 1 })).toThrow(InvalidArgumentError);
  });
});

/** Long arrays of bytes take `toEqual` seconds; strings do not. */
function comparable(key: unknown): unknown {
  return key instanceof Uint8Array ? Buffer.from(key).toString("latin1") : key;
}

/** An instance of a class whose toJSON returns `form`. */
function withForm(form: unknown, base: object = {}): object {
  const prototype = Object.create(Object.getPrototypeOf(base), { toJSON: { value: () => form } });
  return Object.setPrototypeOf(base, prototype);
}

function failing(): never {
  throw new TypeError("not this one");
}

describe("a value", () => {
  const circular: { self?: unknown } = {};
  circular.self = circular;
  let deep: unknown = 1;
  for (let i = 0; i < 300; i++) deep = [deep];

  const refused: [string, ValueEncodingOption<unknown>, unknown][] = [
    ["undefined", "msgpack", undefined],
    ["a function", "msgpack", () => 1],
    ["a symbol", "msgpack", Symbol("s")],
    ["a lone surrogate", "msgpack", "\ud800"],
    ["a lone surrogate inside", "msgpack", { a: [1, { b: "\udfff" }] }],
    ["a property name with a lone surrogate", "msgpack", { "\ud800": 1 }],
    ["a property __proto__", "msgpack", JSON.parse('{"__proto__": 1}')],
    ["a function inside", "msgpack", { a: [() => 1] }],
    ["a function in a set", "msgpack", new Set([() => 1])],
    ["a Map", "msgpack", new Map([[1, 2]])],
    ["a Map inside", "msgpack", [new Map()]],
    ["a WeakMap", "msgpack", new WeakMap()],
    ["a promise", "msgpack", Promise.resolve()],
    ["a WeakRef", "msgpack", new WeakRef({})],
    ["a SharedArrayBuffer", "msgpack", { a: new SharedArrayBuffer(4) }],
    ["a number in an object", "msgpack", [Object(1)]],
    ["a string in an object", "msgpack", Object("text")],
    ["a boolean in an object", "msgpack", Object(false)],
    ["a bigint in an object", "msgpack", Object(1n)],
    ["a symbol in an object", "msgpack", Object(Symbol("s"))],
    ["a class of byte arrays", "msgpack", new (class Hash extends Uint8Array {})(4)],
    ["a class of typed arrays inside", "msgpack", { a: new (class extends Float64Array {})(1) }],
    ["a lone surrogate in a pattern", "msgpack", new RegExp(String.fromCharCode(0xd800))],
    ["a Map of another realm", "msgpack", runInNewContext("new Map([[1, 2]])")],
    ["a date of another realm", "msgpack", { a: runInNewContext("new Date(0)") }],
    ["a set of another realm", "msgpack", runInNewContext("[new Set([1])]")],
    ["bytes of another realm", "msgpack", runInNewContext("Uint8Array.of(1)")],
    [
      "a date of a class of another realm",
      "msgpack",
      runInNewContext("new (class D extends Date {})()"),
    ],
    [
      "what its toJSON throws at",
      "msgpack",
      {
        a: new (class {
          toJSON = failing;
        })(),
      },
    ],
    ["a Map from toJSON", "msgpack", { a: withForm(new Map()) }],
    ["undefined from toJSON", "msgpack", withForm(undefined)],
    ["a lone surrogate from toJSON", "msgpack", [withForm("\ud800")]],
    ["a lone surrogate from a set's toJSON", "msgpack", withForm("\ud800", new Set())],
    ["a circle", "msgpack", circular],
    ["300 levels", "msgpack", deep],
    ["undefined", "json", undefined],
    ["a function", "json", () => 1],
    ["a symbol", "json", Symbol("s")],
    ["a bigint", "json", 1n],
    ["a bigint inside", "json", { a: [1n] }],
    ["a circle", "json", circular],
    ["a number", "utf8", 1],
    ["undefined", "utf8", undefined],
    ["a lone surrogate", "utf8", "a\ud800"],
    ["a string", "binary", "bytes"],
    ["an ArrayBuffer", "binary", new ArrayBuffer(4)],
    ["a DataView", "binary", new DataView(new ArrayBuffer(4))],
    ["null", "binary", null],
    ["undefined", { name: "own", encode: () => new Uint8Array(1), decode: failing }, undefined],
    ["what it throws at", { name: "own", encode: failing, decode: failing }, 1],
    ["what it makes no bytes of", { name: "own", encode: () => "" as never, decode: failing }, 1],
  ];

  test.each(refused)("%s is refused by %j", async (_, valueEncoding, value) => {
    const name = typeof valueEncoding === "string" ? valueEncoding : valueEncoding.name;
    const message = new RegExp(`valueEncoding "${name}"`);
    await expectRefused({ valueEncoding }, (database) => database.put("k", value), message);
  });

  test("of a class that calls itself Map is none of another realm", async () => {
    class Observable {
      readonly size = 1;
      readonly [Symbol.toStringTag] = "Map";
    }
    class Serialized extends Observable {
      toJSON(): unknown {
        return [["a", 1]];
      }
    }
    const database = await openFor<string, unknown>(":memory:");
    await database.put("plain", new Observable());
    await database.put("form", { a: new Serialized() });
    expect(database.get("plain")).toEqual({ size: 1 });
    expect(database.get("form")).toEqual({ a: [["a", 1]] });
  });
});

test("bytes that were transferred are refused as keys and values, empty ones are not", async () => {
  const bytes = Uint8Array.of(1, 2);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  const own = { name: "own", encode: (value: unknown) => value as Uint8Array, decode: failing };
  const empty = new Uint8Array(0);
  for (const options of [
    { keyEncoding: "binary", valueEncoding: "binary" } as const,
    { keyEncoding: { ...own, name: "keys" }, valueEncoding: own },
  ]) {
    await expectRefused(options, (database) => database.put(empty, bytes), /were transferred/);
    await expectRefused(options, (database) => database.put(bytes, empty), /were transferred/);
    const database = await openFor<unknown, unknown>(":memory:", options);
    await database.put(empty, empty);
    expect(database.has(new Uint8Array(new SharedArrayBuffer(0)))).toBe(true);
  }
});

describe("a batch", () => {
  const good = { type: "put", key: "good", value: 1 };
  const bad: [string, unknown, RegExp][] = [
    ["a bad key", { type: "put", key: 7, value: 1 }, /operation 1 of the batch: a key must be/],
    ["a key that is too long", { type: "delete", key: "k".repeat(65_537) }, /operation 1.*65536/],
    ["a lone surrogate", { type: "delete", key: "\ud800" }, /operation 1.*lone surrogate/],
    ["a bad value", { type: "put", key: "k", value: undefined }, /operation 1.*cannot hold undef/],
    [
      "an unknown type",
      { type: "merge", key: "k" },
      /operation 1.*"put", "delete" or "deleteRange", not string m/,
    ],
    [
      "no type",
      { key: "k", value: 1 },
      /operation 1.*"put", "delete" or "deleteRange", not undefined/,
    ],
    [
      "a field that is not known",
      { type: "put", key: "k", value: 1, TTL: 60_000 },
      /operation 1 of the batch: unknown field "TTL": accepted are type, key, value, ttl$/,
    ],
    [
      "a field of a write's options",
      { type: "delete", key: "k", durability: "sync" },
      /operation 1 of the batch: unknown field "durability"/,
    ],
    ["no operation", null, /operation 1 of the batch: must be an object, not null/],
    ["undefined", undefined, /operation 1 of the batch: must be an object, not undefined/],
    ["a number", 5, /operation 1 of the batch: must be an object, not number 5/],
  ];

  test.each(bad)("with %s writes nothing", async (_, operation, message) => {
    const operations = [good, operation, good] as never;
    await expectRefused({}, (database) => database.batch(operations), message);
  });

  test("takes what a class adds to its operations, and a value beside a delete", async () => {
    class Delete {
      readonly type = "delete";
      readonly value = undefined;
      readonly key: string;
      constructor(key: string) {
        this.key = key;
      }
    }
    Object.defineProperty(Delete.prototype, "note", { value: "mine", enumerable: true });
    const database = await openFor<string, unknown>(":memory:");
    await database.batch([{ type: "put", key: "k", value: 1 }, new Delete("k")]);
    expect(database.has("k")).toBe(false);
  });

  test("that is no array is refused", async () => {
    await expectRefused({}, (database) => database.batch("batch" as never), /takes an array/);
  });

  test("that is refused takes nothing along of the writes beside it", async () => {
    const database = await openFor<string, unknown>(":memory:");
    const before = database.put("before", 1);
    const refused = database.batch([
      { type: "put", key: "before", value: 2 },
      { type: "put", key: "k", value: undefined },
    ]);
    const after = database.put("after", 3);
    await expect(refused).rejects.toThrow(InvalidArgumentError);
    await Promise.all([before, after]);
    expect([...database.entries()]).toEqual([
      ["after", 3],
      ["before", 1],
    ]);
    expect(database.stats().lastSeqno).toBe(2);
  });
});

describe("an option", () => {
  const refused: [name: string, value: unknown, accepted: RegExp][] = [
    ["keyEncoding", "latin1", /"utf8", "binary", "ordered" or an object/],
    ["keyEncoding", { name: "x" }, /an object \{ name, encode, decode \}/],
    ["keyEncoding", { name: "utf8", encode: failing, decode: failing }, /a name of its own/],
    ["keyEncoding", { name: "", encode: failing, decode: failing }, /a name of its own/],
    ["keyEncoding", { name: "\u00e9".repeat(128), encode: failing, decode: failing }, /name/],
    ["valueEncoding", "xml", /"msgpack", "json", "utf8", "binary" or/],
    ["valueEncoding", null, /not null/],
    ["durability", "fsync", /"sync" or "os", not string fsync/],
    ["recovery", true, /"tolerate-tail" or .*, not boolean true/],
    ["memtableBytes", 1000, /a whole number from \d+ to \d+, not number 1000/],
    ["memtableBytes", 2 ** 20 + 0.5, /whole number/],
    ["memtableBytes", "64MB", /whole number.*, not string 64MB/],
    ["memtableIndex", "art", /"hash" or "tree", not string art/],
    ["blockCacheBytes", -1, /whole number from 0/],
    ["blockCacheBytes", 2 ** 32 + 1, /whole number from 0/],
    ["segmentBytes", Number.NaN, /whole number/],
    ["segmentBytes", 511, /whole number from 512/],
    ["maxCompactionBytes", 511, /whole number from 512/],
    ["largeValueBytes", 63, /whole number from 64 to 8192/],
    ["largeValueBytes", 8193, /whole number from 64 to 8192/],
    ["compactionTrigger", 1, /whole number from 2/],
    ["sizeRatio", -1, /whole number from 0 to 1000/],
    ["sizeRatio", 1001, /whole number/],
    ["minMergeWidth", 1, /whole number from 2 to 64/],
    ["maxMergeWidth", 65, /whole number from 2 to 64/],
    ["maxMergeWidth", 3, /at least minMergeWidth \(4\), not 3/],
    ["maxSizeAmplificationPercent", 9, /whole number from 10 to 1000/],
    ["compression", "zstd", /"deflate"/],
    ["background", "thread", /"worker" or "inline"/],
    ["createIfMissing", 1, /true or false, not number 1/],
    ["errorIfExists", "no", /true or false/],
    ["readOnly", null, /true or false, not null/],
    ["fileSystem", {}, /a FileSystem with open, .*syncDirectorySync, lock, not an object/],
    ["logger", "console", /a Logger object/],
  ];

  test.each(refused)("%s: %j is refused", async (name, value, accepted) => {
    const fileSystem = new MemoryFileSystem();
    const refusal = open("store", { fileSystem, [name]: value } as never);
    await expect(refusal).rejects.toThrow(InvalidArgumentError);
    await expect(refusal).rejects.toThrow(`option "${name}" must be `);
    await expect(refusal).rejects.toThrow(accepted);
    expect(await fileSystem.list("")).toEqual([]);
  });

  test.each(["createIfMising", "__proto__x", "toString"])("named %s is unknown", async (name) => {
    const refusal = open(":memory:", { [name]: true } as never);
    await expect(refusal).rejects.toThrow(InvalidArgumentError);
    await expect(refusal).rejects.toThrow(
      new RegExp(`unknown option "${name}": accepted are .*createIfMissing`),
    );
  });

  test.each([null, 5, "sync"])("object that is %j is refused", async (options) => {
    await expect(open(":memory:", options as never)).rejects.toThrow(/options must be an object/);
  });

  test.each([null, 5, "sync"])("and encodings that are %j", async (encodings) => {
    const database = await openFor<string, number>(":memory:", {});
    expect(() => database.withEncodings(encodings as never)).toThrow(InvalidArgumentError);
  });

  test("says what an empty text is", async () => {
    await expect(open("")).rejects.toThrow("directory must be a path, not an empty string");
  });

  const noPaths = [undefined, "", 7, new URL("file:///tmp"), "a\0b"];
  test.each(noPaths)("directory %j is refused", async (path) => {
    const database = await openFor(":memory:");
    const directory = path as never;
    for (const refused of [
      open(directory),
      database.checkpoint(directory),
      database.ingest([directory]),
      repair(directory, "target"),
      repair("store", directory),
    ]) {
      await expect(refused).rejects.toThrow(InvalidArgumentError);
      await expect(refused).rejects.toThrow(/(directory|source) must be a path/);
    }
  });

  test("that is undefined has its default", async () => {
    const database = await openFor(":memory:", { durability: undefined, memtableBytes: undefined });
    await database.put("a", 1, { durability: undefined });
    expect(database.get("a")).toBe(1);
  });

  test.each([
    [{ durability: "never" }, /option "durability" must be "sync" or "os", not string never/],
    [{ sync: true }, /unknown option "sync": accepted are durability/],
    ["sync", /options must be an object/],
  ])("of a write: %j is refused", async (options, message) => {
    const refusedBy = (write: (database: AnyDatabase) => Promise<void>): Promise<void> =>
      expectRefused({}, write, message);
    await refusedBy((database) => database.put("a", 1, options as never));
    await refusedBy((database) => database.delete("a", options as never));
    await refusedBy((database) => database.batch([], options as never));
  });
});

describe("an option of maintenance", () => {
  test.each([
    [{ onprogress: () => {} }, /unknown option "onprogress": accepted are .*onProgress/],
    [{ onProgress: 5 }, /option "onProgress" must be a function, not number 5/],
    [5, /options must be an object, not number 5/],
    [null, /options must be an object, not null/],
  ])("that is %j is refused", async (given, message) => {
    const fileSystem = new MemoryFileSystem();
    const options = given as never;
    const database = await openFor("store", { fileSystem });
    await database.put("a", 1);
    await expect(database.verify(options)).rejects.toThrow(message);
    await expect(database.checkpoint("other", options)).rejects.toThrow(message);
    await expect(database.ingest(["other"], options)).rejects.toThrow(message);
    await database.close();
    await expect(repair("store", "other", options)).rejects.toThrow(message);
    expect(await fileSystem.stat("other")).toBeUndefined();
  });

  test.each([
    ["fileSystem", {}],
    ["keyEncoding", { name: "own" }],
    ["valueEncoding", 5],
    ["background", "thread"],
    ["now", 5],
  ])("of repair: %s as %j is refused", async (name, value) => {
    const refusal = repair("store", "other", { [name]: value } as never);
    await expect(refusal).rejects.toThrow(InvalidArgumentError);
    await expect(refusal).rejects.toThrow(`option "${name}" must be `);
  });
});

describe("a read", () => {
  const ranges: [string, unknown, RegExp][] = [
    ["an unknown field", { from: "a" }, /unknown range option "from": accepted are gt, gte/],
    ["no object", "a", /a range must be an object, not string a/],
    ["null", null, /a range must be an object, not null/],
    ["a bad bound", { gte: 5 }, /a key must be a string/],
    ["null as a bound", { lt: null }, /a key must be a string, not null/],
    ["a bad prefix", { prefix: {} }, /a key must be a string/],
    ["reverse that is no boolean", { reverse: 1 }, /reverse must be a boolean/],
    ["a fraction as limit", { limit: 1.5 }, /limit must be a whole number/],
    ["a negative limit", { limit: -2 }, /limit must be a whole number/],
    ["a limit that is no number", { limit: "3" }, /limit must be a whole number/],
  ];

  test.each(ranges)("of a range with %s is refused", async (_, range, message) => {
    const database = await openFor(":memory:");
    for (const read of ["entries", "keys", "values"] as const) {
      expect(() => database[read](range as never)).toThrow(InvalidArgumentError);
      expect(() => database[read](range as never)).toThrow(message);
      expect(() => database.snapshot()[read](range as never)).toThrow(message);
    }
  });

  test("of a count takes neither reverse nor limit", async () => {
    const database = await openFor(":memory:");
    expect(() => database.count({ limit: 1 } as never)).toThrow(/unknown range option "limit"/);
    expect(() => database.count({ reverse: true } as never)).toThrow(InvalidArgumentError);
  });

  test("of many keys takes an array", async () => {
    const database = await openFor(":memory:");
    expect(() => database.getMany("a" as never)).toThrow(/getMany takes an array of keys/);
    expect(() => database.getMany(["a", 5 as never])).toThrow(InvalidArgumentError);
  });
});

test("an event that there is not is refused", async () => {
  const database = await openFor(":memory:");
  for (const listen of ["on", "once"] as const) {
    expect(() => database[listen]("compacted" as never, () => {})).toThrow(
      /unknown event "compacted": accepted are flush, compaction, stall, warning, error/,
    );
  }
});
