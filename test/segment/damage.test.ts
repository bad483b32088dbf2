import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { BlockCache } from "../../src/cache/block-cache.ts";
import { eachSpan } from "../../src/cursor/spans.ts";
import { CorruptionError, UnsupportedVersionError } from "../../src/errors.ts";
import type { MemoryFileSystem } from "../../src/io/memory.ts";
import type { ValueCompression } from "../../src/segment/coders.ts";
import { FOOTER_BYTES, FORMAT_VERSION } from "../../src/segment/format.ts";
import { Segment } from "../../src/segment/reader.ts";
import {
  bytesOf,
  type Entry,
  entryAt,
  fileBytes,
  fileSystemWith,
  IDENTITY,
  isSame,
  lookUp,
  openSegment,
  PATH,
  VALUE_LOG_PATH,
  write,
  writeRanges,
} from "./segments.ts";

const packr = new Packr({ useRecords: false });
const pack = (value: unknown): Uint8Array => new Uint8Array(packr.pack(value));

/** A little of everything short: texts, repeats, tombstones, other types. */
const SHORT: readonly Entry[] = Array.from({ length: 40 }, (_, i) => {
  const key = `name-${String(i).padStart(3, "0")}`;
  const values = [
    pack(`https://example.org/${key}`),
    pack(`https://example.org/${key}`),
    undefined,
    pack({ id: i }),
    pack("https://example.org/again"),
    pack("https://example.org/again"),
  ];
  return { key: bytesOf(key), value: values[i % values.length] };
});

/** The same and a large value, which is short once it is deflated. */
const MIXED: readonly Entry[] = SHORT.map((entry, i) =>
  i === 28 ? { key: entry.key, value: new Uint8Array(4096).fill(i) } : entry,
);

const INTEGERS: readonly Entry[] = SHORT.map(({ key }, i) => ({
  key,
  value: i % 7 === 3 ? undefined : pack(i * 1_000_003),
}));

/** Some that expire, among them the first and the last. */
const EXPIRING: readonly Entry[] = SHORT.map((entry, i) =>
  i % 3 === 0 && entry.value !== undefined
    ? { ...entry, expiry: 1_700_000_000_000 + i * i * 1000 }
    : entry,
);

const ABSENT = ["", "name-0000", "name-030x", "zzz"].map(bytesOf);

/**
 * Opens the bytes as a segment, with those of its value log, and reads it in every way. All answers must be right, or the reading
 * must end in CorruptionError or UnsupportedVersionError; anything else fails. Returns how it ended.
 */
async function readAll(
  bytes: Uint8Array,
  entries: readonly Entry[],
  logBytes?: Uint8Array,
  isOnDemand = false,
): Promise<"right" | "refused"> {
  const fileSystem = await fileSystemWith(bytes, logBytes);
  const wrong: string[] = [];
  const expectRight = (isRight: boolean, what: string): void => {
    if (!isRight) wrong.push(what);
  };
  let outcome: "right" | "refused" = "right";
  const attempt = async (read: () => unknown): Promise<void> => {
    try {
      await read();
    } catch (error) {
      if (!(error instanceof CorruptionError) && !(error instanceof UnsupportedVersionError)) {
        throw error;
      }
      outcome = "refused";
    }
  };
  await attempt(async () => {
    const segment = await openSegment(fileSystem, new BlockCache(1 << 20), isOnDemand);
    for (const entry of entries) {
      await attempt(() => expectRight(isSame(lookUp(segment, entry.key), entry), "get"));
    }
    for (const key of ABSENT) {
      await attempt(() => expectRight(segment.find(key, key.length) === -1, "miss"));
    }
    await attempt(() => {
      let count = 0;
      const cursor = segment.cursor();
      for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
        expectRight(isSame(entryAt(cursor), entries[count++]), "scan");
      }
      expectRight(count === entries.length, "length of the scan");
    });
    await attempt(() => {
      let count = entries.length;
      const cursor = segment.cursor();
      for (cursor.seekToLast(); cursor.isValid; cursor.prev()) {
        expectRight(isSame(entryAt(cursor), entries[--count]), "reverse scan");
      }
      expectRight(count === 0, "length of the reverse scan");
    });
    await segment.verify();
  });
  expect(wrong).toEqual([]);
  return outcome;
}

/** The bytes of the value log beside a segment, if there is one. */
async function logBytes(fileSystem: MemoryFileSystem): Promise<Uint8Array | undefined> {
  const facts = await fileSystem.stat(VALUE_LOG_PATH);
  return facts === undefined ? undefined : await fileBytes(fileSystem, VALUE_LOG_PATH);
}

const SHAPES: readonly [string, readonly Entry[], ValueCompression][] = [
  ["raw values", SHORT, "none"],
  ["symbols", MIXED, "symbols"],
  ["deflated values", MIXED, "deflate"],
  ["integers", INTEGERS, "auto"],
  ["entries that expire", EXPIRING, "none"],
];

describe.each(SHAPES)("a small segment of %s", (_, entries, compression) => {
  test("is read right as it is", async () => {
    const { fileSystem } = await write(entries, { compression });
    const log = await logBytes(fileSystem);
    const bytes = await fileBytes(fileSystem);
    expect(await readAll(bytes, entries, log)).toBe("right");
    expect(await readAll(bytes, entries, log, true)).toBe("right");
  });

  test("with any byte changed gives right answers or refuses, and verify always refuses", async () => {
    const { fileSystem } = await write(entries, { compression });
    const bytes = await fileBytes(fileSystem);
    const log = await logBytes(fileSystem);
    for (let i = 0; i < bytes.length; i++) {
      const damaged = bytes.slice();
      damaged[i] ^= 1 << (i % 8);
      expect(await readAll(damaged, entries, log), `byte ${i}`).toBe("refused");
      expect(await readAll(damaged, entries, log, true), `byte ${i}`).toBe("refused");
    }
    for (let i = 0; i < (log?.length ?? 0); i++) {
      const damaged = log?.slice() ?? new Uint8Array(0);
      damaged[i] ^= 1 << (i % 8);
      expect(await readAll(bytes, entries, damaged), `byte ${i} of the log`).toBe("refused");
    }
  }, 120_000);

  test("cut off anywhere, or with bytes behind it, is refused at open", async () => {
    const { fileSystem } = await write(entries, { compression });
    const bytes = await fileBytes(fileSystem);
    const shapes = [Uint8Array.of(...bytes, 0), Uint8Array.of(...bytes, ...bytes)];
    for (let length = 0; length < bytes.length; length += length < 200 ? 1 : 37) {
      shapes.push(bytes.slice(0, length));
    }
    for (const shape of shapes) {
      for (const isOnDemand of [false, true]) {
        const opening = openSegment(await fileSystemWith(shape), new BlockCache(0), isOnDemand);
        await expect(opening).rejects.toThrow(CorruptionError);
      }
    }
  });
});

describe("a small segment of range tombstones", () => {
  const SPANS = [
    { start: bytesOf("a"), end: bytesOf("b") },
    { start: bytesOf("ca"), end: bytesOf("name-020") },
    { start: bytesOf("x"), end: undefined },
  ];

  /** As `readAll`. */
  async function readRanges(bytes: Uint8Array): Promise<"right" | "refused"> {
    try {
      const segment = await openSegment(await fileSystemWith(bytes));
      const { rangeTombstones } = segment;
      expect(rangeTombstones === undefined ? [] : [...eachSpan(rangeTombstones)]).toEqual(SPANS);
      await segment.verify();
      return "right";
    } catch (error) {
      if (error instanceof CorruptionError || error instanceof UnsupportedVersionError) {
        return "refused";
      }
      throw error;
    }
  }

  test("with any byte changed, or cut off anywhere, is refused", async () => {
    const bytes = await fileBytes(await writeRanges(SPANS));
    expect(await readRanges(bytes)).toBe("right");
    for (let i = 0; i < bytes.length; i++) {
      const damaged = bytes.slice();
      damaged[i] ^= 1 << (i % 8);
      expect(await readRanges(damaged), `byte ${i}`).toBe("refused");
      expect(await readRanges(bytes.slice(0, i)), `${i} bytes`).toBe("refused");
    }
  });
});

describe("a segment that is another than expected", () => {
  test.each([
    ["database", { ...IDENTITY, databaseId: new Uint8Array(16) }],
    ["file number", { ...IDENTITY, fileNumber: 13 }],
  ])("by its %s is refused at open", async (_, identity) => {
    const { fileSystem } = await write(SHORT);
    const blockCache = new BlockCache(1 << 16);
    const valueLogs = new Map();
    const opening = Segment.open({ fileSystem, path: PATH, identity, blockCache, valueLogs });
    await expect(opening).rejects.toThrow(CorruptionError);
  });

  test("by its version says which is found and supported", async () => {
    const bytes = await fileBytes((await write(SHORT)).fileSystem);
    bytes[8] = FORMAT_VERSION + 1;
    const error: unknown = await openSegment(await fileSystemWith(bytes)).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(UnsupportedVersionError);
    expect(error).toMatchObject({ found: FORMAT_VERSION + 1, supported: FORMAT_VERSION });
  });

  test("by its footer, which differs only in the file it belongs to, is refused at open", async () => {
    const bytes = await fileBytes((await write(SHORT)).fileSystem);
    const other = await fileBytes((await write(SHORT, { fileNumber: 13 })).fileSystem);
    expect(other.length).toBe(bytes.length);
    const swapped = bytes.slice();
    const footer = bytes.length - FOOTER_BYTES;
    swapped.set(other.subarray(footer), footer);
    await expect(openSegment(await fileSystemWith(swapped))).rejects.toThrow(CorruptionError);
  });

  test("by all its bytes is refused at open", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 1000 }), async (bytes) => {
        await expect(openSegment(await fileSystemWith(bytes))).rejects.toThrow(CorruptionError);
      }),
    );
  });
});
