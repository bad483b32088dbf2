import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, test, vi } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { BlockCache } from "../../src/cache/block-cache.ts";
import { EntryKind, MAX_KEY_BYTES } from "../../src/entry.ts";
import { CorruptionError, DatabaseError } from "../../src/errors.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { atOnce } from "../../src/pieces.ts";
import { learnCoders, type ValueCompression } from "../../src/segment/coders.ts";
import { EntrySample } from "../../src/segment/entry-sample.ts";
import { keyHash } from "../../src/segment/filter.ts";
import { HEADER_BYTES, Section } from "../../src/segment/format.ts";
import { KeyBuffer } from "../../src/segment/key-buffer.ts";
import { Segment } from "../../src/segment/reader.ts";
import { SegmentWriter } from "../../src/segment/writer.ts";
import {
  build,
  bytesOf,
  type Entry,
  EntryCursor,
  entryAt,
  fileBytes,
  IDENTITY,
  isSame,
  lookUp,
  openSegment,
  openValueLogs,
  PATH,
  SEQNOS,
  sorted,
  VALUE_LOG_NUMBER,
  VALUE_LOG_PATH,
  viewOf,
  write,
} from "./segments.ts";

const COMPRESSIONS: readonly ValueCompression[] = ["auto", "none", "symbols", "deflate"];

const packr = new Packr({ useRecords: false });
const pack = (value: unknown): Uint8Array => new Uint8Array(packr.pack(value));

function filled(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => Math.imul(i + seed, 0x9e3779b1) >>> 24);
}

function urlEntries(count: number): Entry[] {
  const name = (i: number): string => `package-${String(i).padStart(6, "0")}`;
  return Array.from({ length: count }, (_, i) => ({
    key: bytesOf(name(i)),
    value:
      i % 97 === 5 ? undefined : pack(`https://github.com/owner-${i % 31}/${name(i - (i % 3))}`),
  }));
}

const SHAPES: [string, readonly Entry[]][] = [
  ["one entry", [{ key: bytesOf("k"), value: bytesOf("v") }]],
  ["one tombstone", [{ key: bytesOf("k"), value: undefined }]],
  ["the empty key and the empty value", [{ key: bytesOf(""), value: bytesOf("") }]],
  ["2,000 texts and tombstones", urlEntries(2000)],
  [
    "3,000 integers and tombstones",
    Array.from({ length: 3000 }, (_, i) => ({
      key: bytesOf(`counter/${String(i).padStart(5, "0")}`),
      value: i % 50 === 0 ? undefined : pack(1_700_000_000_000 + i * 977),
    })),
  ],
  [
    "documents of about 1 KB",
    Array.from({ length: 300 }, (_, i) => ({
      key: bytesOf(`doc/${String(i).padStart(4, "0")}`),
      value: pack({ id: i, text: `document ${i} of many `.repeat(40 + (i % 9)), tags: ["a", "b"] }),
    })),
  ],
  [
    "values of every size around the limits",
    [0, 1, 252, 253, 4095, 4096, 4097, 65_535, 65_536, 65_537, 300_000].map((length, i) => ({
      key: bytesOf(`size ${String(length).padStart(7)}`),
      value: i % 2 === 0 ? filled(length, i) : new Uint8Array(length).fill(i),
    })),
  ],
  [
    "the longest keys",
    [0, 1, 2].map((i) => ({
      key: new Uint8Array(MAX_KEY_BYTES).fill(0x61).fill(0x61 + i, MAX_KEY_BYTES - 1),
      value: bytesOf(`${i}`),
    })),
  ],
  [
    "keys and values in shared memory",
    urlEntries(100).map(({ key, value }) => ({ key: shared(key), value: value && shared(value) })),
  ],
];

function shared(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length + 3), 3);
  copy.set(bytes);
  return copy;
}

describe.each(COMPRESSIONS)("a segment compressed by %s", (compression) => {
  test.each(SHAPES)("holds %s", async (_, entries) => {
    const { fileSystem, finished } = await write(entries, { compression });
    const tombstones = entries.filter(({ value }) => value === undefined);
    const logFileBytes = (await fileSystem.stat(VALUE_LOG_PATH))?.size;
    const logBytes = logFileBytes === undefined ? 0 : logFileBytes - HEADER_BYTES;
    expect(finished).toEqual({
      fileNumber: IDENTITY.fileNumber,
      fileBytes: (await fileBytes(fileSystem)).length,
      keyCount: entries.length,
      tombstoneCount: tombstones.length,
      rangeTombstoneCount: 0,
      firstKey: new Uint8Array(entries[0].key),
      lastKey: new Uint8Array(entries[entries.length - 1].key),
      valueLogs: logBytes === 0 ? [] : [{ fileNumber: VALUE_LOG_NUMBER, bytes: logBytes }],
    });
    const segment = await openSegment(fileSystem);
    expect(segment.meta).toEqual(finished);
    const bytes = finished.fileBytes + logBytes;
    expect(await segment.verify()).toEqual({ keys: entries.length, bytes });
    let before = 0;
    for (const [i, entry] of entries.entries()) {
      expect(segment.find(entry.key, entry.key.length)).toBe(i);
      expect(segment.rank(entry.key, entry.key.length)).toBe(i);
      expect(segment.find(entry.key, entry.key.length, keyHash(entry.key, entry.key.length))).toBe(
        i,
      );
      expect(segment.tombstonesBefore(i)).toBe(before);
      if (entry.value === undefined) before++;
      expect(isSame(lookUp(segment, entry.key), entry)).toBe(true);
    }
    expect(segment.tombstonesBefore(entries.length)).toBe(before);
    await segment.close();
  });

  test.each(SHAPES)("walks both ways over %s", async (_, entries) => {
    const segment = await build(entries, { compression });
    const cursor = segment.cursor();
    let at = 0;
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      expect(cursor.ordinal).toBe(at);
      expect(isSame(entryAt(cursor), entries[at++])).toBe(true);
    }
    expect(at).toBe(entries.length);
    for (cursor.seekToLast(); cursor.isValid; cursor.prev()) {
      expect(isSame(entryAt(cursor), entries[--at])).toBe(true);
    }
    expect(at).toBe(0);
  });

  test("gives the right entry after any moves", async () => {
    const entry = fc.record({
      key: fc.oneof(fc.uint8Array({ maxLength: 4 }), fc.string({ maxLength: 12 }).map(bytesOf)),
      value: fc.option(
        fc.oneof(
          fc.uint8Array({ maxLength: 30 }),
          fc.string().map(pack),
          fc.constant(pack("again")),
        ),
        { nil: undefined },
      ),
    });
    const move = fc.oneof(
      fc.constantFrom(
        "next" as const,
        "next" as const,
        "prev" as const,
        "first" as const,
        "last" as const,
      ),
      fc.uint8Array({ maxLength: 4 }),
      fc.nat(),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { minLength: 1, maxLength: 150 }),
        fc.array(move, { maxLength: 40 }),
        async (unsorted, moves) => {
          const entries = sorted(unsorted);
          const segment = await build(entries, { compression });
          const cursor = segment.cursor();
          const model = new EntryCursor(entries);
          for (const [i, step] of moves.entries()) {
            if (step === "next" || step === "prev") {
              if (model.isValid) {
                model[step]();
                cursor[step]();
              }
            } else if (step === "first" || step === "last") {
              const seek = step === "first" ? "seekToFirst" : "seekToLast";
              model[seek]();
              cursor[seek]();
            } else if (typeof step === "number") {
              model.position = step % entries.length;
              cursor.seekToOrdinal(step % entries.length);
            } else {
              const seek = i % 2 === 0 ? "seek" : "seekForPrev";
              model[seek](step, step.length);
              cursor[seek](step, step.length);
              expect(segment.rank(step, step.length)).toBe(
                entries.filter(({ key }) => compareBytes(key, step) < 0).length,
              );
            }
            expect(cursor.isValid).toBe(model.isValid);
            if (model.isValid) expect(entryAt(cursor)).toEqual(entryAt(model));
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("a closed cursor", () => {
  test("serves the next who asks, off the end, and two never share one", async () => {
    const entries = urlEntries(1000);
    const segment = await build(entries);
    const first = segment.cursor();
    const other = segment.cursor();
    first.seekToLast();
    first.value();
    first.close();
    first.close();
    const again = segment.cursor();
    expect(again).toBe(first);
    expect(again.isValid).toBe(false);
    expect(segment.cursor()).not.toBe(again);
    other.seekToFirst();
    again.seek(entries[500].key, entries[500].key.length);
    expect(entryAt(other)).toEqual(entries[0]);
    expect(entryAt(again)).toEqual(entries[500]);
  });
});

describe("a segment's values", () => {
  test("that a cursor gave stay valid while others read", async () => {
    const entries = urlEntries(500);
    const segment = await build(entries, { compression: "symbols" });
    const cursor = segment.cursor();
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      const value = cursor.value();
      const copy = value.slice();
      for (const { key } of entries.slice(0, 20)) lookUp(segment, key);
      expect(value).toEqual(copy);
    }
  });

  test.each(COMPRESSIONS)(
    "are right wherever a cursor seeks while the cache is full and changes (%s)",
    async (compression) => {
      // Values that do not compress, for more blocks than the cache has room for.
      const entries = urlEntries(4000).map(({ key, value }, i) => ({
        key,
        value: value && pack(Buffer.from(filled(40, i * 40)).toString("base64")),
      }));
      const { fileSystem } = await write(entries, { compression });
      const cache = new BlockCache(8 * 5000);
      const segment = await openSegment(fileSystem, cache);
      const cursor = segment.cursor();
      for (let i = 0; i < 500; i++) {
        const at = Math.imul(i, 0x9e3779b1) >>> 20;
        const entry = entries[at % entries.length];
        cursor.seek(entry.key, entry.key.length);
        const found = entryAt(cursor);
        // Another's reads take the block out of the cache between two values of it.
        for (let k = 0; k < (i % 3) * 6; k++) lookUp(segment, entries[(at + k * 619) % 4000].key);
        expect(isSame(found, entry)).toBe(true);
        cursor.next();
        if (cursor.isValid) expect(entryAt(cursor)).toEqual(entries[(at % 4000) + 1]);
      }
      expect(cache.misses).toBeGreaterThan(100);
    },
  );

  test("that are all alike stay valid too when their block leaves the cache", async () => {
    const entries = urlEntries(4000).map(({ key, value }, i) => ({
      key,
      value: i < 2000 ? bytesOf("a value of many keys") : value && filled(120, i * 120),
    }));
    const { fileSystem } = await write(entries, { compression: "none" });
    const cache = new BlockCache(8 * 5000);
    const segment = await openSegment(fileSystem, cache);
    const cursor = segment.cursor();
    cursor.seek(entries[700].key, entries[700].key.length);
    const value = cursor.value();
    for (let i = 2000; i < 4000; i++) expect(lookUp(segment, entries[i].key)).toEqual(entries[i]);
    expect(cache.misses).toBeGreaterThan(50);
    expect(value).toEqual(entries[700].value);
  });

  test("are read without any cache", async () => {
    const entries = urlEntries(300);
    const { fileSystem } = await write(entries);
    const segment = await openSegment(fileSystem, new BlockCache(0));
    for (const entry of entries) expect(lookUp(segment, entry.key)).toEqual(entry);
    const cursor = segment.cursor();
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      expect(entryAt(cursor)).toEqual(entries[cursor.ordinal]);
    }
  });

  test("that are scanned leave the cache as it is, but for where the scan began", async () => {
    const entries = urlEntries(5000);
    const { fileSystem } = await write(entries, { compression: "none" });
    const cache = new BlockCache(1 << 20);
    const segment = await openSegment(fileSystem, cache);
    const cursor = segment.cursor();
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) cursor.value();
    expect([cache.hits, cache.misses]).toEqual([0, 1]);
    expect(cache.bytes).toBeLessThan(10_000);
  });

  test("that are large are read past the cache", async () => {
    const entries = [5000, 7000, 60_000, 100_000].map((length) => ({
      key: bytesOf(`${String(length).padStart(6)}`),
      value: filled(length, length % 255),
    }));
    const { fileSystem } = await write(entries);
    const cache = new BlockCache(1 << 20);
    const segment = await openSegment(fileSystem, cache);
    for (const entry of [...entries, ...entries]) {
      expect(isSame(lookUp(segment, entry.key), entry)).toBe(true);
    }
    expect(cache.bytes).toBeLessThan(200);
    await segment.close();
    expect(cache.bytes).toBe(0);
  });
});

describe("the file of a segment", () => {
  /** A segment, and the [position, length] of each read of its file since it was opened. */
  async function watched(entries: readonly Entry[]): Promise<[Segment, [number, number][]]> {
    const { fileSystem } = await write(entries, { compression: "none" });
    const readings: [number, number][] = [];
    const open = fileSystem.open.bind(fileSystem);
    vi.spyOn(fileSystem, "open").mockImplementation(async (path, mode) => {
      const file = await open(path, mode);
      const readSync = file.readSync.bind(file);
      vi.spyOn(file, "readSync").mockImplementation((target, position) => {
        readings.push([position, target.length]);
        return readSync(target, position);
      });
      return file;
    });
    const segment = await openSegment(fileSystem);
    readings.length = 0;
    return [segment, readings];
  }

  test("is read once for a value, and not for the next of its block", async () => {
    const entries = urlEntries(2000);
    const [segment, readings] = await watched(entries);
    lookUp(segment, entries[700].key);
    lookUp(segment, entries[701].key);
    expect(readings.length).toBe(1);
    expect(readings[0][1]).toBeLessThan(4500);
  });

  test("that is cut off while it is open is corruption, not what was read before", async () => {
    const entries = urlEntries(2000);
    const { fileSystem } = await write(entries, { compression: "none" });
    const segment = await openSegment(fileSystem, new BlockCache(0));
    const { key } = entries[700];
    expect(isSame(lookUp(segment, key), entries[700])).toBe(true);
    const file = await fileSystem.open(PATH, "update");
    await file.truncate(1000);
    expect(() => lookUp(segment, key)).toThrow(CorruptionError);
    const cursor = segment.cursor();
    cursor.seek(key, key.length);
    expect(() => cursor.value()).toThrow(CorruptionError);
    expect(() => cursor.value()).toThrow(CorruptionError);
  });

  test("is not read for keys, kinds and misses", async () => {
    const entries = urlEntries(2000);
    const [segment, readings] = await watched(entries);
    const cursor = segment.cursor();
    for (cursor.seekToFirst(); cursor.isValid; cursor.next())
      expect(cursor.kind).toBeGreaterThan(0);
    lookUp(segment, bytesOf("absent"));
    lookUp(segment, entries[5].key);
    expect(entries[5].value).toBeUndefined();
    expect(readings).toEqual([]);
  });

  test.each(["forward", "backward"])("is read ahead by a scan %s, each block once", async (way) => {
    const entries = urlEntries(10_000);
    const [segment, readings] = await watched(entries);
    const cursor = segment.cursor();
    if (way === "forward") {
      for (cursor.seekToFirst(); cursor.isValid; cursor.next()) cursor.value();
    } else {
      for (cursor.seekToLast(); cursor.isValid; cursor.prev()) cursor.value();
    }
    const bytes = readings.reduce((sum, [, length]) => sum + length, 0);
    expect(bytes).toBe(segment.sections[Section.valueBlocks].length);
    expect(readings.length).toBeLessThan(bytes / 30_000);
  });

  test("is read exactly for a large value: its block and its chunks", async () => {
    const entries = [4096, 70_000, 200_000].map((length) => ({
      key: bytesOf(`size ${String(length).padStart(6)}`),
      value: filled(length, length),
    }));
    const [segment, readings] = await watched(entries);
    expect(isSame(lookUp(segment, entries[1].key), entries[1])).toBe(true);
    expect(readings.map(([, length]) => length).slice(1)).toEqual([70_000 + 2 * 9]);
    expect(readings[0][1]).toBeLessThan(150);
  });
});

describe("a segment on demand", () => {
  /** How many bytes of its file were read by each step: to open it, to look a key up, again. */
  async function bytesRead(entries: readonly Entry[]): Promise<number[]> {
    const { fileSystem } = await write(entries, { compression: "none" });
    let bytes = 0;
    const open = fileSystem.open.bind(fileSystem);
    vi.spyOn(fileSystem, "open").mockImplementation(async (path, mode) => {
      const file = await open(path, mode);
      const readSync = file.readSync.bind(file);
      vi.spyOn(file, "readSync").mockImplementation((target, position) => {
        bytes += target.length;
        return readSync(target, position);
      });
      return file;
    });
    const segment = await openSegment(fileSystem, new BlockCache(1 << 20), true);
    const steps = [bytes];
    for (let step = 0; step < 2; step++) {
      expect(isSame(lookUp(segment, entries[700].key), entries[700])).toBe(true);
      steps.push(bytes - steps.reduce((sum, count) => sum + count, 0));
    }
    return steps;
  }

  test("is opened as fast with many keys as with few", async () => {
    const [few] = await bytesRead(urlEntries(1500).filter(({ value }) => value !== undefined));
    const [many] = await bytesRead(urlEntries(9000).filter(({ value }) => value !== undefined));
    expect(few).toBeLessThan(500);
    expect(many).toBeLessThan(500);
  });

  test("reads for a look-up one page of keys, and nothing for the next", async () => {
    const entries = urlEntries(8000);
    const [, first, second] = await bytesRead(entries);
    const segment = await build(entries, { compression: "none" });
    const pages = segment.sections[Section.keyIndex].length - segment.keyIndexSizes.symbols;
    expect(first).toBeLessThan(segment.keyIndexSizes.symbols + pages / 4 + 4500);
    expect(second).toBe(0);
  });

  test("gives the entries that it gives whole, and shares nothing", async () => {
    const entries = urlEntries(3000);
    const { fileSystem } = await write(entries);
    const segment = await openSegment(fileSystem, new BlockCache(1 << 20), true);
    expect(segment.shareSections()).toBeUndefined();
    const cursor = segment.cursor();
    let count = 0;
    for (cursor.seekToFirst(); cursor.isValid; cursor.next())
      expect(isSame(entryAt(cursor), entries[count++])).toBe(true);
    expect(count).toBe(entries.length);
    expect((await openSegment(fileSystem)).shareSections()).toBeDefined();
  });

  test("is read whole once for others to share, and not read again for keys", async () => {
    const entries = urlEntries(8000);
    const { fileSystem } = await write(entries);
    let isGone = false;
    const open = fileSystem.open.bind(fileSystem);
    vi.spyOn(fileSystem, "open").mockImplementation(async (path, mode) => {
      const file = await open(path, mode);
      const readSync = file.readSync.bind(file);
      vi.spyOn(file, "readSync").mockImplementation((target, position) => {
        if (isGone) throw new Error("nothing is read");
        return readSync(target, position);
      });
      return file;
    });
    const segment = await openSegment(fileSystem, new BlockCache(1 << 20), true);
    const cursorOf = (): ReturnType<Segment["cursor"]> => {
      const cursor = segment.cursor();
      cursor.seekToFirst();
      return cursor;
    };
    const began = cursorOf();
    cursorOf().close();
    expect(lookUp(segment, entries[700].key)).toBeDefined();
    const [one, two] = await Promise.all([segment.shareAllSections(), segment.shareAllSections()]);
    expect(two.memory).toBe(one.memory);
    // What began before goes by what it read then, and is not used again; nor is what was kept.
    began.next();
    expect(isSame(entryAt(began), entries[1])).toBe(true);
    isGone = true;
    expect(segment.find(entries[7000].key, entries[7000].key.length)).toBe(7000);
    for (let pass = 0; pass < 2; pass++) {
      const cursor = cursorOf();
      let count = 0;
      for (; cursor.isValid; cursor.next()) count++;
      expect(count).toBe(entries.length);
      began.close();
    }
  });

  test("asks its filter no more while key after key is found, and again from an absent one on", async () => {
    const entries = urlEntries(200);
    const { fileSystem } = await write(entries);
    const segment = await openSegment(fileSystem);
    const asked = vi.spyOn(segment, "mayContain");
    const look = (key: Uint8Array): number =>
      segment.find(key, key.length, keyHash(key, key.length));
    const absent = bytesOf("no such key");
    for (let round = 0; round < 2; round++) {
      asked.mockClear();
      expect(look(absent)).toBe(-1);
      for (const [i, { key }] of entries.entries()) expect(look(key)).toBe(i);
      const found = asked.mock.calls.length;
      expect(found).toBeLessThan(entries.length / 2);
      expect(look(absent)).toBe(-1);
      expect(look(absent)).toBe(-1);
      expect(asked.mock.calls.length).toBe(found + 1);
    }
  });

  test("asks its filter once it was asked often, and then finds it damaged", async () => {
    const { fileSystem } = await write(urlEntries(3000));
    const whole = await openSegment(fileSystem);
    const { offset, length } = whole.sections[Section.filter];
    const file = await fileSystem.open(PATH, "update");
    const byte = new Uint8Array(1);
    file.readSync(byte, offset + length - 1);
    file.writeSync(Uint8Array.of(byte[0] ^ 1), offset + length - 1);
    const segment = await openSegment(fileSystem, new BlockCache(1 << 20), true);
    expect(segment.mayContain(1)).toBe(true);
    const askOften = (): void => {
      for (let i = 0; i < 1000; i++) segment.mayContain(i);
    };
    expect(askOften).toThrow(CorruptionError);
    expect(askOften).toThrow(CorruptionError);
    file.writeSync(byte, offset + length - 1);
    let passed = 0;
    for (let i = 0; i < 1000; i++) if (segment.mayContain(Math.imul(i, 0x9e3779b1) >>> 0)) passed++;
    expect(passed).toBeLessThan(100);
  });
});

describe("segments that share a cache", () => {
  test("of a few blocks give right values in any order of reads, walks and closing", async () => {
    const sets = [
      urlEntries(2000),
      urlEntries(3000).filter((_, i) => i % 3 === 0),
      Array.from({ length: 60 }, (_, i) => ({
        key: bytesOf(`large/${String(i).padStart(2, "0")}`),
        value: filled(3000 + i * 100, i),
      })),
    ];
    const fileSystem = new MemoryFileSystem();
    const blockCache = new BlockCache(1 << 16);
    const open = async (i: number): Promise<Segment> => {
      const identity = { ...IDENTITY, fileNumber: i };
      const path = `db/${i}.seg`;
      return await Segment.open({ fileSystem, path, identity, blockCache, valueLogs });
    };
    for (const [i, entries] of sets.entries()) {
      const compression = COMPRESSIONS[1 + i];
      await write(entries, { fileSystem, compression, fileNumber: i, path: `db/${i}.seg` });
    }
    const valueLogs = await openValueLogs(fileSystem);
    const segments = await Promise.all(sets.map((_, i) => open(i)));
    const cursors = segments.map((segment) => segment.cursor());
    let state = 1;
    const below = (bound: number): number => {
      state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x297a2d39;
      return (state >>> 0) % bound;
    };
    for (let step = 0; step < 6000; step++) {
      const i = below(sets.length);
      const entries = sets[i];
      const cursor = cursors[i];
      if (below(3) === 0) {
        if (!cursor.isValid) cursor.seekToOrdinal(below(entries.length));
        expect(isSame(entryAt(cursor), entries[cursor.ordinal])).toBe(true);
        if (below(50) === 0) cursor.seekToOrdinal(below(entries.length));
        else if (i === 0) cursor.next();
        else cursor.prev();
      } else {
        const entry = entries[below(entries.length)];
        expect(isSame(lookUp(segments[i], entry.key), entry)).toBe(true);
      }
      if (step % 1500 === 1499) {
        await segments[i].close();
        segments[i] = await open(i);
        cursors[i] = segments[i].cursor();
      }
      expect(blockCache.bytes).toBeLessThanOrEqual(1 << 16);
    }
    expect(blockCache.hits).toBeGreaterThan(300);
    expect(blockCache.misses).toBeGreaterThan(300);
    await Promise.all(segments.map(async (segment) => await segment.close()));
    expect(blockCache.bytes).toBe(0);
  });
});

describe("the filter of a segment", () => {
  test("stops most absent keys, and none without a filter", async () => {
    const entries = urlEntries(1000);
    const absent = Array.from({ length: 1000 }, (_, i) => bytesOf(`absent-${i}`));
    const passing = async (filterBitsPerKey: number): Promise<number> => {
      const segment = await build(entries, { filterBitsPerKey });
      return absent.filter((key) => segment.mayContain(keyHash(key, key.length))).length;
    };
    expect(await passing(10)).toBeLessThan(50);
    expect(await passing(0)).toBe(1000);
  });
});

describe("SegmentWriter", () => {
  async function create(fileSystem: MemoryFileSystem): Promise<SegmentWriter> {
    await fileSystem.createDirectory("db");
    const coders = atOnce(learnCoders(new EntrySample(), { keyCount: 1 }, { compression: "auto" }));
    return await SegmentWriter.create({
      fileSystem,
      path: PATH,
      identity: IDENTITY,
      coders,
      seqnos: SEQNOS,
    });
  }

  test.each([
    ["the same key again", "b"],
    ["a key before the last", "a"],
    ["a prefix of the last", ""],
  ])("refuses %s", async (_, key) => {
    const writer = await create(new MemoryFileSystem());
    writer.add(bytesOf("b"), 1, EntryKind.put, viewOf(bytesOf("v")));
    expect(() => writer.add(bytesOf(key), key.length, EntryKind.put, viewOf(bytesOf("v")))).toThrow(
      DatabaseError,
    );
  });

  test("abandons its file", async () => {
    const fileSystem = new MemoryFileSystem();
    const writer = await create(fileSystem);
    writer.add(bytesOf("k"), 1, EntryKind.put, viewOf(bytesOf("v")));
    await writer.drain();
    await writer.abandon();
    expect(await fileSystem.list("db")).toEqual([]);
  });

  test("has nothing added while it is drained", async () => {
    const writer = await create(new MemoryFileSystem());
    const drained = writer.drain();
    // As long as a block, which goes to the output at once.
    writer.add(bytesOf("k"), 1, EntryKind.put, viewOf(new Uint8Array(4096)));
    await expect(drained).rejects.toThrow("nothing is added");
    await writer.abandon();
  });

  test("foresees the size of its file", async () => {
    const entries = urlEntries(20_000);
    const fileSystem = new MemoryFileSystem();
    await fileSystem.createDirectory("db");
    const sample = new EntrySample();
    sample.takeWindow(new EntryCursor(entries), 0);
    const cursor = new EntryCursor(entries);
    cursor.seekToFirst();
    sample.takeWindow(cursor, entries.length);
    const coders = atOnce(
      learnCoders(sample, { keyCount: entries.length }, { compression: "auto" }),
    );
    const writer = await SegmentWriter.create({
      fileSystem,
      path: PATH,
      identity: IDENTITY,
      coders,
      seqnos: SEQNOS,
    });
    for (const [i, { key, value }] of entries.entries()) {
      const kind = value ? EntryKind.put : EntryKind.tombstone;
      const expiry = value && 2 ** 48 + i * 2 ** 34;
      writer.add(key, key.length, kind, viewOf(value ?? bytesOf("")), expiry);
    }
    const estimated = writer.estimatedBytes;
    const { fileBytes } = await writer.finish();
    expect(Math.abs(estimated - fileBytes)).toBeLessThan(fileBytes * 0.1);
  });
});

describe("verifying a segment", () => {
  test("reads the disk, not the cache or memory, and names what is damaged", async () => {
    const entries = urlEntries(3000);
    const { fileSystem } = await write(entries);
    const segment = await openSegment(fileSystem);
    for (const { key } of entries) lookUp(segment, key);
    await segment.verify();
    const file = await fileSystem.open(PATH, "update");
    const byte = new Uint8Array(1);
    for (const section of [Section.valueBlocks, Section.keyIndex, Section.filter]) {
      const place = segment.sections[section];
      const position = place.offset + place.length - 1;
      file.readSync(byte, position);
      file.writeSync(Uint8Array.of(byte[0] ^ 1), position);
      await expect(segment.verify()).rejects.toThrow(CorruptionError);
      file.writeSync(byte, position);
    }
    expect((await segment.verify()).keys).toBe(entries.length);
  });

  test("tells its progress through the value blocks", async () => {
    const segment = await build(urlEntries(5000), { compression: "none" });
    const told: number[] = [];
    await segment.verify((bytes) => told.push(bytes));
    const blocks = segment.sections[Section.valueBlocks];
    expect(told.at(-1)).toBe(blocks.offset + blocks.length);
    expect(told).toEqual(told.toSorted((a, b) => a - b));
    expect(told.length).toBeGreaterThan(10);
  });
});

describe("what a segment holds", () => {
  const entries = urlEntries(1000);
  const bytes = entries.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0);

  test.each(COMPRESSIONS)("is its keys and values, coded with %s", async (compression) => {
    expect((await build(entries, { compression })).contentBytes).toBe(bytes);
  });

  test("is nothing of values in value logs, which frame them", async () => {
    const large = ["a", "bc"].map((key) => ({ key: bytesOf(key), value: filled(5000, 1) }));
    expect((await build(large, { compression: "none" })).contentBytes).toBe(3);
  });
});

describe("an ordinal of a segment", () => {
  test("gives its key", async () => {
    const entries = urlEntries(1100);
    const segment = await build(entries);
    const key = new KeyBuffer();
    for (const i of [0, 1, 31, 32, 511, 512, 1099]) {
      segment.keyAt(i, key);
      expect(key.bytes.slice(0, key.length)).toEqual(entries[i].key);
    }
  });
});
