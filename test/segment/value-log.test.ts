import { beforeEach, describe, expect, test } from "vitest";
import { BlockCache } from "../../src/cache/block-cache.ts";
import type { FileIdentity, ValuePlace } from "../../src/entry.ts";
import { CorruptionError, UnsupportedVersionError } from "../../src/errors.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { HEADER_BYTES } from "../../src/segment/format.ts";
import { Segment } from "../../src/segment/reader.ts";
import { ValueLog } from "../../src/segment/value-log.ts";
import { ValueLogWriter } from "../../src/segment/value-log-writer.ts";
import {
  build,
  bytesOf,
  type Entry,
  entryAt,
  fileBytes,
  IDENTITY,
  isSame,
  lookUp,
  openSegment,
  PATH,
  VALUE_LOG_PATH,
  write,
} from "./segments.ts";

const CHUNK = 65_536;
const LOG_PATH = "a.vlog";

let fileSystem: MemoryFileSystem;

beforeEach(() => {
  fileSystem = new MemoryFileSystem();
});

function noise(length: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length }, () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x297a2d39;
    return state >>> 24;
  });
}

function create(isCompressing: boolean, path = LOG_PATH): Promise<ValueLogWriter> {
  const pause = (): Promise<void> => Promise.resolve();
  return ValueLogWriter.create({ fileSystem, path, identity: IDENTITY, isCompressing, pause });
}

function openLog(identity: FileIdentity = IDENTITY, path = LOG_PATH): Promise<ValueLog> {
  return ValueLog.open({ fileSystem, path, identity });
}

/** A log with these values, and where each is. */
async function store(
  values: readonly Uint8Array[],
  isCompressing: boolean,
): Promise<[ValueLog, ValuePlace[]]> {
  fileSystem = new MemoryFileSystem();
  const writer = await create(isCompressing);
  const places: ValuePlace[] = [];
  for (const value of values) places.push(await writer.append(value));
  const finished = await writer.finish();
  const log = await openLog();
  expect(log.meta).toEqual(finished);
  expect(finished.fileBytes).toBe((await fileSystem.stat(LOG_PATH))?.size);
  return [log, places];
}

function expectSame(found: Uint8Array, value: Uint8Array): void {
  expect(Buffer.compare(found, value)).toBe(0);
}

const LENGTHS = [1, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK, 4 * CHUNK + 100, 20 * CHUNK + 7];
const SHAPES: [string, (length: number) => Uint8Array][] = [
  ["noise", noise],
  ["repeating bytes", (length) => Uint8Array.from({ length }, (_, i) => (i >> 3) & 31)],
  [
    "noise, then zeros",
    (length) => new Uint8Array(length).fill(0).map((_, i) => (i < CHUNK ? i * i : 0)),
  ],
];

describe.each(SHAPES)("values of %s", (_, make) => {
  test.each([false, true])("are read as they were written, compressed: %s", async (compressed) => {
    const values = LENGTHS.map(make);
    const [log, places] = await store(values, compressed);
    for (const [i, place] of places.entries()) expectSame(log.read(place), values[i]);
    await log.close();
  });

  test("are copied as they are stored", async () => {
    const values = LENGTHS.map(make);
    const [log, places] = await store(values, true);
    const writer = await create(false, "b.vlog");
    const copies: ValuePlace[] = [];
    for (const place of places.toReversed()) copies.push(await writer.copy(log, place));
    await writer.finish();
    const copy = await openLog(IDENTITY, "b.vlog");
    for (const [i, place] of copies.toReversed().entries()) {
      expectSame(copy.read(place), values[i]);
      expect(place.storedLength).toBe(places[i].storedLength);
    }
  });
});

describe("a value log", () => {
  test("takes nine bytes a chunk for what does not shrink", async () => {
    const [, [place]] = await store([noise(2 * CHUNK)], true);
    expect(place).toEqual({
      fileNumber: IDENTITY.fileNumber,
      offset: HEADER_BYTES,
      length: 2 * CHUNK,
      storedLength: 2 * CHUNK + 2 * 9,
    });
  });

  test("finds out again that values shrink, after many that did not", async () => {
    const values = Array.from({ length: 80 }, (_, i) =>
      i < 30 ? noise(5000) : new Uint8Array(5000).fill(i),
    );
    const [log, places] = await store(values, true);
    for (const [i, place] of places.entries()) expectSame(log.read(place), values[i]);
    expect(places[79].storedLength).toBeLessThan(100);
  });

  test("takes values in shared memory, at any place in it", async () => {
    const value = new Uint8Array(new SharedArrayBuffer(CHUNK + 13), 5, CHUNK + 7);
    value.set(noise(value.length));
    for (const isCompressing of [false, true]) {
      const [log, [place]] = await store([value], isCompressing);
      expectSame(log.read(place), value);
    }
  });

  test("gives way after each chunk, and holds a mebibyte or so of what it has not written", async () => {
    let pauses = 0;
    let written = 0;
    let most = 0;
    const writer = await ValueLogWriter.create({
      fileSystem,
      path: LOG_PATH,
      identity: IDENTITY,
      isCompressing: false,
      pause: async () => {
        pauses++;
        written = (await fileSystem.stat(LOG_PATH))?.size ?? 0;
        most = Math.max(most, writer.bytes - written);
      },
    });
    await writer.append(noise(50 * CHUNK));
    expect(pauses).toBe(50);
    expect(most).toBeLessThan(2 ** 20 + CHUNK);
    expect(written).toBeGreaterThan(2 ** 20);
    await writer.abandon();
    expect(await fileSystem.stat(LOG_PATH)).toBeUndefined();
  });

  test("with any byte of a value's chunks changed, or its place, is corruption", async () => {
    const value = Uint8Array.from({ length: CHUNK + 5000 }, (_, i) => i >> 4);
    for (const isCompressing of [false, true]) {
      const [log, [place]] = await store([value], isCompressing);
      const file = await fileSystem.open(LOG_PATH, "update");
      const { offset, length, storedLength } = place;
      const byte = new Uint8Array(1);
      for (let i = 0; i < 40; i++) {
        const position = offset + (i < 20 ? i : storedLength - 40 + i);
        file.readSync(byte, position);
        file.writeSync(Uint8Array.of(byte[0] ^ (1 << (i % 8))), position);
        expect(() => log.read(place)).toThrow(CorruptionError);
        file.writeSync(byte, position);
      }
      expectSame(log.read(place), value);
      const wrong: Partial<ValuePlace>[] = [
        { storedLength: storedLength - 1 },
        { storedLength: storedLength + 1 },
        { length: length - 1 },
        { length: length + 1 },
        { length: 0 },
        { length: 2 ** 32 - 1 },
        { storedLength: 2 ** 32 - 1 },
        { offset: offset + 1 },
        { offset: 0 },
        { offset: Number.MAX_SAFE_INTEGER },
      ];
      for (const change of wrong) {
        expect(() => log.read({ ...place, ...change })).toThrow(CorruptionError);
      }
      await file.truncate(offset + storedLength - 1);
      expect(() => log.read(place)).toThrow(CorruptionError);
    }
  });

  test("that is another file than expected, or none, is refused at open", async () => {
    await store([noise(5000)], true);
    const bytes = await fileBytes(fileSystem, LOG_PATH);
    const others: FileIdentity[] = [
      { ...IDENTITY, databaseId: new Uint8Array(16) },
      { ...IDENTITY, fileNumber: 13 },
    ];
    for (const identity of others) await expect(openLog(identity)).rejects.toThrow(CorruptionError);
    const file = await fileSystem.open(LOG_PATH, "update");
    for (let pos = 0; pos < HEADER_BYTES; pos++) {
      file.writeSync(Uint8Array.of(bytes[pos] ^ 4), pos);
      const error: unknown = await openLog().catch((cause: unknown) => cause);
      const isRefused =
        error instanceof CorruptionError || error instanceof UnsupportedVersionError;
      expect(isRefused).toBe(true);
      file.writeSync(bytes.subarray(pos, pos + 1), pos);
    }
    await (await openLog()).close();
    for (let length = 0; length < HEADER_BYTES; length++) {
      await file.truncate(length);
      await expect(openLog()).rejects.toThrow(CorruptionError);
    }
    const { finished } = await write([{ key: bytesOf("a"), value: bytesOf("b") }], { fileSystem });
    const segment = { ...IDENTITY, fileNumber: finished.fileNumber };
    await expect(openLog(segment, PATH)).rejects.toThrow(CorruptionError);
  });
});

describe("a segment with values in a value log", () => {
  test("keeps its blocks small, and is read in any order", async () => {
    const entries: Entry[] = Array.from({ length: 400 }, (_, i) => ({
      key: bytesOf(`key-${String(i).padStart(4, "0")}`),
      value: i % 40 === 7 ? noise(5000 + i) : bytesOf(`short value ${i * 7919}`),
    }));
    const segment = await build(entries, { compression: "none" });
    expect(segment.meta.fileBytes).toBeLessThan(30_000);
    const cursor = segment.cursor();
    let at = entries.length;
    for (cursor.seekToLast(); cursor.isValid; cursor.prev()) {
      expect(isSame(entryAt(cursor), entries[--at])).toBe(true);
    }
    for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
      expect(isSame(entryAt(cursor), entries[at++])).toBe(true);
    }
    for (const entry of entries) expect(isSame(lookUp(segment, entry.key), entry)).toBe(true);
    await segment.verify();
  });

  const entries: Entry[] = [
    { key: bytesOf("a"), value: bytesOf("short") },
    { key: bytesOf("b"), value: noise(10_000) },
    { key: bytesOf("c"), value: bytesOf("short too") },
  ];

  test("that are damaged loses no other value", async () => {
    ({ fileSystem } = await write(entries));
    const bytes = await fileBytes(fileSystem, VALUE_LOG_PATH);
    const file = await fileSystem.open(VALUE_LOG_PATH, "update");
    file.writeSync(Uint8Array.of(bytes[1000] ^ 1), 1000);
    const segment = await openSegment(fileSystem);
    expect(isSame(lookUp(segment, entries[0].key), entries[0])).toBe(true);
    expect(isSame(lookUp(segment, entries[2].key), entries[2])).toBe(true);
    expect(() => lookUp(segment, entries[1].key)).toThrow(CorruptionError);
    await expect(segment.verify()).rejects.toThrow(CorruptionError);
  });

  test("whose log is missing is corruption, for those values alone", async () => {
    ({ fileSystem } = await write(entries));
    const blockCache = new BlockCache(1 << 16);
    const options = { fileSystem, path: PATH, identity: IDENTITY, blockCache };
    const segment = await Segment.open({ ...options, valueLogs: new Map() });
    expect(isSame(lookUp(segment, entries[2].key), entries[2])).toBe(true);
    expect(() => lookUp(segment, entries[1].key)).toThrow(CorruptionError);
    await expect(segment.verify()).rejects.toThrow(CorruptionError);
  });
});
