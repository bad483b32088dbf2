/**
 * Golden segments: the bytes of small files, as annotated hex dumps in `golden/`. They change only
 * with the format: run with MEMKV_UPDATE_GOLDEN=1 to rewrite them, and review the difference.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readU32 } from "../../src/bytes/fixed.ts";
import { eachSpan } from "../../src/cursor/spans.ts";
import type { ValueCompression } from "../../src/segment/coders.ts";
import { FOOTER_BYTES, HEADER_BYTES, Section } from "../../src/segment/format.ts";
import type { Segment } from "../../src/segment/reader.ts";
import {
  bytesOf,
  type Entry,
  fileBytes,
  fileSystemWith,
  isSame,
  lookUp,
  openSegment,
  VALUE_LOG_PATH,
  write,
  writeRanges,
} from "./segments.ts";

const url = (name: string): string => `https://example.org/${name}`;

/** A msgpack string of less than 32 bytes. */
const text = (value: string): Uint8Array => Uint8Array.of(0xa0 | value.length, ...bytesOf(value));

/** Each kind of short entry that the format knows. */
const SHORT_ENTRIES: readonly Entry[] = [
  { key: bytesOf(""), value: bytesOf("") },
  { key: bytesOf("alpha"), value: text(url("alpha")) },
  { key: bytesOf("alphabet"), value: text(url("alpha")) },
  { key: bytesOf("beta"), value: text(url("beta")) },
  { key: bytesOf("delta"), value: undefined },
  { key: bytesOf("epsilon"), value: Uint8Array.of(0xcd, 0x03, 0xe8) },
  { key: bytesOf("gamma"), value: new Uint8Array(300).fill(0x79) },
  { key: bytesOf("omega"), value: text(url("omega")) },
];

const LARGE_ENTRY: Entry = { key: bytesOf("zeta"), value: new Uint8Array(5000).fill(0x78) };

/** Two that expire, half a second apart. */
const EXPIRING_ENTRIES: readonly Entry[] = SHORT_ENTRIES.map((entry, i) =>
  i === 1 || i === 6 ? { ...entry, expiry: 1_700_000_000_000 + i * 100 } : entry,
);

/** A set: keys, all with the same value. */
const EQUAL_ENTRIES: readonly Entry[] = SHORT_ENTRIES.map(({ key }) => ({
  key,
  value: text("here"),
}));

const GOLDEN: readonly {
  readonly name: string;
  readonly compression: ValueCompression;
  readonly entries: readonly Entry[];
  /** Deflate may choose other bytes with each version of Node: any that inflate to the same. */
  readonly isExact: boolean;
}[] = [
  { name: "none", compression: "none", entries: SHORT_ENTRIES, isExact: true },
  { name: "symbols", compression: "symbols", entries: SHORT_ENTRIES, isExact: true },
  { name: "expiries", compression: "none", entries: EXPIRING_ENTRIES, isExact: true },
  { name: "equal", compression: "auto", entries: EQUAL_ENTRIES, isExact: true },
  {
    name: "deflate",
    compression: "deflate",
    entries: [...SHORT_ENTRIES, LARGE_ENTRY],
    isExact: false,
  },
];

const LOG_DUMP = new URL("golden/value-log.txt", import.meta.url);

describe.each(GOLDEN)("the golden segment $name", (golden) => {
  const { name, compression, entries, isExact } = golden;
  const path = new URL(`golden/segment-${name}.txt`, import.meta.url);
  const isUpdating = process.env["MEMKV_UPDATE_GOLDEN"] === "1";

  test.runIf(isExact || isUpdating)("is what the writer writes", async () => {
    const { fileSystem } = await write(entries, { compression });
    const dump = annotate(await fileBytes(fileSystem), await openSegment(fileSystem));
    if (isUpdating) writeFileSync(path, dump);
    expect(dump).toBe(readFileSync(path, "utf8"));
    if (isUpdating && !isExact) {
      writeFileSync(LOG_DUMP, annotateLog(await fileBytes(fileSystem, VALUE_LOG_PATH)));
    }
  });

  test("is read as it was written", async () => {
    const bytes = parseDump(readFileSync(path, "utf8"));
    const logBytes = parseDump(readFileSync(LOG_DUMP, "utf8"));
    const segment = await openSegment(await fileSystemWith(bytes, logBytes));
    expect(segment.meta.keyCount).toBe(entries.length);
    for (const entry of entries) expect(isSame(lookUp(segment, entry.key), entry)).toBe(true);
    await segment.verify();
  });
});

describe("the golden segment of range tombstones", () => {
  const path = new URL("golden/segment-range-tombstones.txt", import.meta.url);
  const isUpdating = process.env["MEMKV_UPDATE_GOLDEN"] === "1";
  const spans = [
    { start: bytesOf(""), end: bytesOf("alpha") },
    { start: bytesOf("beta"), end: bytesOf("gamma") },
    { start: bytesOf("omega"), end: undefined },
  ];

  test("is what the writer writes", async () => {
    const fileSystem = await writeRanges(spans);
    const dump = annotate(await fileBytes(fileSystem), await openSegment(fileSystem));
    if (isUpdating) writeFileSync(path, dump);
    expect(dump).toBe(readFileSync(path, "utf8"));
  });

  test("is read as it was written", async () => {
    const bytes = parseDump(readFileSync(path, "utf8"));
    const segment = await openSegment(await fileSystemWith(bytes));
    const { rangeTombstones, meta } = segment;
    expect(meta).toMatchObject({ keyCount: 0, rangeTombstoneCount: 3 });
    expect(rangeTombstones === undefined ? [] : [...eachSpan(rangeTombstones)]).toEqual(spans);
    await segment.verify();
  });
});

/** Bytes [start, end) in hex, 16 a line, under a heading. */
function linesOf(name: string, bytes: Uint8Array, start: number, end: number): string[] {
  const lines = [`# ${name}: ${end - start} bytes`];
  for (let pos = start; pos < end; pos += 16) {
    const row = bytes.subarray(pos, Math.min(end, pos + 16));
    const hex = Array.from(row, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const ascii = Array.from(row, (byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".",
    ).join("");
    lines.push(`${String(pos).padStart(6)}  ${hex.padEnd(47)}  ${ascii}`);
  }
  return lines;
}

/** A value log with one value of one chunk. */
function annotateLog(bytes: Uint8Array): string {
  const header = linesOf("header", bytes, 0, HEADER_BYTES);
  const chunk = linesOf("a value of one chunk", bytes, HEADER_BYTES, bytes.length);
  return `${[...header, ...chunk].join("\n")}\n`;
}

/** A segment, a heading before each part. */
function annotate(bytes: Uint8Array, segment: Segment): string {
  const lines: string[] = [];
  const part = (name: string, start: number, end: number): void => {
    lines.push(...linesOf(name, bytes, start, end));
  };
  part("header", 0, HEADER_BYTES);
  let pos = HEADER_BYTES;
  for (const [name, section] of Object.entries(Section)) {
    const { offset, length } = segment.sections[section];
    if (pos < offset) part("padding", pos, offset);
    pos = offset;
    // Value blocks and chunks of large values both begin with their sum and their length.
    while (section === Section.valueBlocks && pos < offset + length) {
      const end = pos + readU32(bytes, pos + 4);
      part("value block, or chunk of a large value", pos, end);
      pos = end;
    }
    if (pos < offset + length) part(name, pos, offset + length);
    pos = offset + length;
  }
  const footerStart = bytes.length - FOOTER_BYTES;
  if (pos < footerStart) part("padding", pos, footerStart);
  part("footer", footerStart, bytes.length);
  return `${lines.join("\n")}\n`;
}

function parseDump(dump: string): Uint8Array {
  const rows = dump.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const bytes = rows.flatMap((line) => line.slice(8, 55).trim().split(" "));
  return Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 16));
}
