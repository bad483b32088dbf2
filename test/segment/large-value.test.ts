import { describe, expect, test } from "vitest";
import { ByteWriter } from "../../src/bytes/writer.ts";
import { CorruptionError } from "../../src/errors.ts";
import type { File } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { readLargeValue, writeLargeValue } from "../../src/segment/large-value.ts";
import type { LargeValuePlace } from "../../src/segment/value-block.ts";
import {
  build,
  bytesOf,
  type Entry,
  entryAt,
  fileBytes,
  isSame,
  lookUp,
  openSegment,
  PATH,
  write,
} from "./segments.ts";

const NO_DICTIONARY = new Uint8Array(0);
const CHUNK = 65_536;

function noise(length: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length }, () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x297a2d39;
    return state >>> 24;
  });
}

/** Stores a value behind ten other bytes. */
async function store(
  value: Uint8Array,
  isCompressing: boolean,
  dictionary: Uint8Array,
): Promise<[File, LargeValuePlace]> {
  const output = new ByteWriter();
  output.append(new Uint8Array(10).fill(0xee));
  writeLargeValue(output, value, isCompressing, dictionary);
  const storedLength = output.length - 10;
  output.append(new Uint8Array(10).fill(0xee));
  const fileSystem = new MemoryFileSystem();
  const file = await fileSystem.open("file", "create");
  file.writeSync(output.bytes, 0);
  return [file, { offset: 10, length: value.length, storedLength }];
}

const LENGTHS = [4096, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK, 4 * CHUNK + 100, 12 * CHUNK + 7];
const SHAPES: [string, (length: number) => Uint8Array][] = [
  ["noise", noise],
  ["repeating bytes", (length) => Uint8Array.from({ length }, (_, i) => (i >> 3) & 31)],
  [
    "noise, then zeros",
    (length) => new Uint8Array(length).fill(0).map((_, i) => (i < CHUNK ? i * i : 0)),
  ],
];

describe.each(SHAPES)("a large value of %s", (_, make) => {
  test.each(LENGTHS)("of %i bytes is read as it was written", async (length) => {
    const value = make(length);
    for (const dictionary of [NO_DICTIONARY, value.slice(0, 1000)]) {
      for (const isCompressing of [false, true]) {
        const [file, place] = await store(value, isCompressing, dictionary);
        const read = readLargeValue(file, place, dictionary);
        expect(Buffer.compare(read, value)).toBe(0);
      }
    }
  });
});

describe("a large value", () => {
  test("that does not shrink costs nine bytes a chunk", async () => {
    const [, place] = await store(noise(2 * CHUNK), true, NO_DICTIONARY);
    expect(place.storedLength).toBe(2 * CHUNK + 2 * 9);
  });

  test("with any byte of a header changed, or any part cut off, is corruption", async () => {
    const value = Uint8Array.from({ length: CHUNK + 5000 }, (_, i) => i >> 4);
    for (const isCompressing of [false, true]) {
      const [file, place] = await store(value, isCompressing, NO_DICTIONARY);
      const { offset, length, storedLength } = place;
      const byte = new Uint8Array(1);
      for (let i = 0; i < 40; i++) {
        const position = offset + (i < 20 ? i : storedLength - 40 + i);
        file.readSync(byte, position);
        file.writeSync(Uint8Array.of(byte[0] ^ (1 << (i % 8))), position);
        expect(() => readLargeValue(file, place, NO_DICTIONARY)).toThrow(CorruptionError);
        file.writeSync(byte, position);
      }
      const wrong: LargeValuePlace[] = [
        { offset, length, storedLength: storedLength - 1 },
        { offset, length, storedLength: storedLength + 1 },
        { offset, length: length - 1, storedLength },
        { offset, length: length + 1, storedLength },
        { offset, length: 2 ** 32 - 1, storedLength },
        { offset, length, storedLength: 2 ** 32 - 1 },
        { offset: offset + 1, length, storedLength },
      ];
      for (const elsewhere of wrong) {
        expect(() => readLargeValue(file, elsewhere, NO_DICTIONARY)).toThrow(CorruptionError);
      }
      await file.truncate(offset + storedLength - 1);
      expect(() => readLargeValue(file, place, NO_DICTIONARY)).toThrow(CorruptionError);
    }
  });

  test("that lies among short ones leaves their blocks small, and is read in any order", async () => {
    const entries: Entry[] = Array.from({ length: 400 }, (_, i) => ({
      key: bytesOf(`key-${String(i).padStart(4, "0")}`),
      value: i % 40 === 7 ? noise(5000 + i) : bytesOf(`short value ${i * 7919}`),
    }));
    const segment = await build(entries, { compression: "none" });
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

  test("that is damaged hides no other value", async () => {
    const entries: Entry[] = [
      { key: bytesOf("a"), value: bytesOf("short") },
      { key: bytesOf("b"), value: noise(10_000) },
      { key: bytesOf("c"), value: bytesOf("short too") },
    ];
    const { fileSystem } = await write(entries);
    const bytes = await fileBytes(fileSystem);
    const file = await fileSystem.open(PATH, "update");
    file.writeSync(Uint8Array.of(bytes[1000] ^ 1), 1000);
    const segment = await openSegment(fileSystem);
    expect(isSame(lookUp(segment, entries[0].key), entries[0])).toBe(true);
    expect(isSame(lookUp(segment, entries[2].key), entries[2])).toBe(true);
    expect(() => lookUp(segment, entries[1].key)).toThrow(CorruptionError);
    await expect(segment.verify()).rejects.toThrow(CorruptionError);
  });
});
