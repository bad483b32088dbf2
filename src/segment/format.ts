/**
 * Byte layout of a segment file: its header, its sections and its footer. Value logs have the same
 * header.
 *
 * Value blocks are written as entries stream in; what is known only at the end (key index, filter,
 * block index and so on) follows them, and the footer says how long each section is. A reader
 * starts from the footer, loads everything behind the value blocks, and reads value blocks on
 * demand. Only this file knows these offsets.
 *
 *        +--------+--------------+-----------+--------+-------------+---------------+
 *        | header | value blocks | key index | filter | block index | value symbols |
 *        +--------+--------------+-----------+--------+-------------+---------------+
 *        | dictionary | tombstones | range tombstones | expiries | properties | footer |
 *        +------------+------------+------------------+----------+------------+--------+
 *
 * Each section begins at a multiple of 8: zeros fill the gap before it, and before the footer. A
 * section may be empty (no filter, no tombstones, nothing that expires). Sections lie in this order
 * without gaps, so their lengths give their offsets, and the lengths must add up to the file's.
 *
 * A segment holds entries, or range tombstones and no keys.
 *
 * Header
 * offset 0       8         12         20           28           44       48
 *        +-------+---------+----------+------------+------------+--------+
 *        | magic | version | reserved | fileNumber | databaseId | xxh32  |
 *        +-------+---------+----------+------------+------------+--------+
 * magic       8 bytes "memkvseg"; "memkvval" for a value log
 * version     u32 LE   FORMAT_VERSION
 * reserved    8 bytes  zero
 * fileNumber  u53 LE   in 8 bytes
 * databaseId  16 bytes
 * xxh32       u32 LE   of every byte before it
 *
 * Footer, the last FOOTER_BYTES of the file
 * offset 0        8                10 x 12       120           124     128     136
 *        +--------+-------+-- ... --+-------------+-------+-------+
 *        | length | xxh32 |         | headerXxh32 | xxh32 | magic |
 *        +--------+-------+-- ... --+-------------+-------+-------+
 * length       u53 LE   bytes of the section, in the order of `Section`
 * xxh32        u32 LE   of the section's bytes; 0 for value blocks and key index, whose blocks and
 *                       pages have sums of their own, checked when they are first read
 * headerXxh32  u32 LE   the header's sum, so that a footer proves it belongs to its header
 * xxh32        u32 LE   of every byte of the footer before it
 * magic        8 bytes "memkvend"
 *
 * Properties
 * offset 0          4                8                     12         20           28           36
 *        +----------+----------------+---------------------+----------+------------+------------+
 *        | keyCount | tombstoneCount | rangeTombstoneCount | keyBytes | valueBytes | firstSeqno |
 *        +----------+----------------+---------------------+----------+------------+------------+
 *        36          44          45         45 + 4 + length of it, and so on
 *        +-----------+-----------+----------+---------+------------+----------+
 *        | lastSeqno | isUncoded | firstKey | lastKey | coverStart | coverEnd |
 *        +-----------+-----------+----------+---------+------------+----------+
 *        +----------+------------+-------+-----
 *        | logCount | fileNumber | bytes | ...
 *        +----------+------------+-------+-----
 * keyCount        u32 LE   entries, tombstones included; at most MAX_KEY_COUNT
 * tombstoneCount  u32 LE   at most keyCount
 * rangeTomb...    u32 LE   at least 1 where keyCount is 0, and else 0
 * keyBytes        u53 LE   sum of the lengths of all keys
 * valueBytes      u53 LE   sum of the lengths of all values, as the engine gave them
 * ...Seqno        u53 LE   in 8 bytes: the writes that the entries come from are [first, last];
 *                          1 <= first <= last. Both 2^53 - 1 before an ingest has numbered them
 * isUncoded       u8       whether a flush left to a compaction what coding would make smaller: 0 or 1
 * ...Key, cover.. u32 LE length, and so many bytes; at most MAX_KEY_BYTES, coverEnd one more. Empty
 *                 where keyCount is 0
 * logCount        u32 LE   value logs that entries refer to; for each, in ascending order,
 * fileNumber      u53 LE   in 8 bytes: its number, at least 1
 * bytes           u53 LE   in 8 bytes: stored bytes of the values there that are referred to
 *
 * A segment *covers* the keys in [coverStart, coverEnd): what it says of one of them, be it nothing,
 * is all there is of the writes [firstSeqno, lastSeqno]. So a segment that was merged into this one
 * is told from one that was not, even where the manifest that knew it is lost: its interval of
 * sequence numbers lies within this one's. A segment of range tombstones covers no key, and answers
 * for those among its writes that delete ranges.
 *
 * Dictionary: empty, or u32 LE bytes of the dictionary (at most MAX_DICTIONARY_BYTES), then the raw
 * deflate stream of it, or itself where deflating does not shorten it.
 *
 * Tombstones, and the ordinals that expire: one bit an ordinal, lowest bit first, in
 * (keyCount + 7) >> 3 bytes; empty if there are none. The bits beyond keyCount are zero.
 *
 * The other sections are drawn where they are written: value blocks in value-block.ts, the block
 * index in block-index.ts, the filter in filter.ts, the key index in keys.ts, the symbols in
 * symbols/table.ts, range tombstones in range-tombstones.ts and expiries in expiries.ts.
 */
import { checksum } from "../bytes/checksum.ts";
import { compareBytes } from "../bytes/compare.ts";
import { readU32, readU53, writeU32, writeU53 } from "../bytes/fixed.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import {
  type FileIdentity,
  MAX_KEY_BYTES,
  MAX_SEQNO,
  type SeqnoRange,
  type ValueLogUse,
} from "../entry.ts";
import { CorruptionError, UnsupportedVersionError } from "../errors.ts";
import type { File } from "../io/file-system.ts";

/** On disk: raised by one with every change of the format. */
export const FORMAT_VERSION = 1;

/** The kinds of file that begin with this header. */
export type HeaderKind = "segment" | "value log";

const HEADER_MAGICS: Readonly<Record<HeaderKind, Uint8Array>> = {
  segment: new TextEncoder().encode("memkvseg"),
  "value log": new TextEncoder().encode("memkvval"),
};
const FOOTER_MAGIC: Uint8Array = new TextEncoder().encode("memkvend");
const MAGIC_BYTES = 8;
const SECTION_ALIGNMENT = 8;

const VERSION_OFFSET = MAGIC_BYTES;
const RESERVED_OFFSET = VERSION_OFFSET + 4;
const FILE_NUMBER_OFFSET = RESERVED_OFFSET + 8;
const DATABASE_ID_OFFSET = FILE_NUMBER_OFFSET + 8;
const DATABASE_ID_BYTES = 16;
const HEADER_SUM_OFFSET = DATABASE_ID_OFFSET + DATABASE_ID_BYTES;
export const HEADER_BYTES: number = HEADER_SUM_OFFSET + 4;

/** Order of the sections in the file and in the footer. On disk: never change or reuse a number. */
export const Section = {
  valueBlocks: 0,
  keyIndex: 1,
  filter: 2,
  blockIndex: 3,
  valueSymbols: 4,
  dictionary: 5,
  tombstones: 6,
  rangeTombstones: 7,
  expiries: 8,
  properties: 9,
} as const;
export type Section = (typeof Section)[keyof typeof Section];
export const SECTION_COUNT = 10;

const SECTION_ENTRY_BYTES = 8 + 4;
const FOOTER_HEADER_SUM_OFFSET = SECTION_COUNT * SECTION_ENTRY_BYTES;
const FOOTER_SUM_OFFSET = FOOTER_HEADER_SUM_OFFSET + 4;
const FOOTER_MAGIC_OFFSET = FOOTER_SUM_OFFSET + 4;
export const FOOTER_BYTES: number = FOOTER_MAGIC_OFFSET + MAGIC_BYTES;

const TOMBSTONE_COUNT_OFFSET = 4;
const RANGE_TOMBSTONE_COUNT_OFFSET = TOMBSTONE_COUNT_OFFSET + 4;
const KEY_BYTES_OFFSET = RANGE_TOMBSTONE_COUNT_OFFSET + 4;
const VALUE_BYTES_OFFSET = KEY_BYTES_OFFSET + 8;
const FIRST_SEQNO_OFFSET = VALUE_BYTES_OFFSET + 8;
const LAST_SEQNO_OFFSET = FIRST_SEQNO_OFFSET + 8;
const UNCODED_OFFSET = LAST_SEQNO_OFFSET + 8;
const KEYS_OFFSET = UNCODED_OFFSET + 1;
const KEY_LENGTH_BYTES = 4;
const MIN_PROPERTIES_BYTES = KEYS_OFFSET + 4 * KEY_LENGTH_BYTES + 4;
const VALUE_LOG_USE_BYTES = 8 + 8;

/** Ordinals stay small integers in V8, and bit positions of ordinals stay u32. */
export const MAX_KEY_COUNT: number = 2 ** 30;

/** Where a section lies in the file. */
export interface SectionPlace {
  readonly offset: number;
  readonly length: number;
  /** 0 where `hasSectionSum` is false. */
  readonly checksum: number;
}

/** Facts of the whole segment. Its entries come from the writes [firstSeqno, lastSeqno]. */
export interface Properties extends SeqnoRange {
  readonly keyCount: number;
  readonly tombstoneCount: number;
  readonly rangeTombstoneCount: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  /** Whether a flush left keys and values as they came, for a compaction to code. */
  readonly isUncoded: boolean;
  readonly firstKey: Uint8Array;
  readonly lastKey: Uint8Array;
  /** Keys in [coverStart, coverEnd) have no entry of those writes but the ones that are here. */
  readonly coverStart: Uint8Array;
  readonly coverEnd: Uint8Array;
  /** By ascending file number. */
  readonly valueLogs: readonly ValueLogUse[];
}

/** The first multiple of the section alignment at or after `offset`. */
export function alignSection(offset: number): number {
  return Math.ceil(offset / SECTION_ALIGNMENT) * SECTION_ALIGNMENT;
}

export function encodeHeader(identity: FileIdentity, kind: HeaderKind = "segment"): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  header.set(HEADER_MAGICS[kind]);
  writeU32(header, VERSION_OFFSET, FORMAT_VERSION);
  writeU53(header, FILE_NUMBER_OFFSET, identity.fileNumber);
  header.set(identity.databaseId, DATABASE_ID_OFFSET);
  writeU32(header, HEADER_SUM_OFFSET, checksum(header, 0, HEADER_SUM_OFFSET));
  return header;
}

/**
 * Checks that `header` begins a file of that kind, and that one. Throws CorruptionError or
 * UnsupportedVersionError.
 */
export function checkHeader(
  header: Uint8Array,
  identity: FileIdentity,
  file: string,
  kind: HeaderKind = "segment",
): void {
  const what = `${kind} header`;
  expectMagic(header, 0, HEADER_MAGICS[kind], what, file, 0);
  const version = readU32(header, VERSION_OFFSET);
  if (version > FORMAT_VERSION) {
    throw new UnsupportedVersionError(file, version, FORMAT_VERSION);
  }
  expectNumber(version, FORMAT_VERSION, `${kind} version`, file, VERSION_OFFSET);
  expectChecksum(header, 0, HEADER_SUM_OFFSET, headerSum(header), what, file, 0);
  expectNumber(readU53(header, RESERVED_OFFSET), 0, "reserved bytes", file, RESERVED_OFFSET);
  const fileNumber = readU53(header, FILE_NUMBER_OFFSET);
  expectNumber(fileNumber, identity.fileNumber, "file number", file, FILE_NUMBER_OFFSET);
  const databaseId = header.subarray(DATABASE_ID_OFFSET, HEADER_SUM_OFFSET);
  expectText(hex(databaseId), hex(identity.databaseId), "database id", file, DATABASE_ID_OFFSET);
}

/** Who a header says that its file is; undefined where the bytes are no header, or are damaged. */
export function identityOf(
  header: Uint8Array,
  kind: HeaderKind = "segment",
): FileIdentity | undefined {
  if (header.length < HEADER_BYTES) return undefined;
  if (HEADER_MAGICS[kind].some((byte, i) => header[i] !== byte)) return undefined;
  if (headerSum(header) !== checksum(header, 0, HEADER_SUM_OFFSET)) return undefined;
  return {
    databaseId: header.slice(DATABASE_ID_OFFSET, HEADER_SUM_OFFSET),
    fileNumber: readU53(header, FILE_NUMBER_OFFSET),
  };
}

/** The sum that ends the header; the footer repeats it. */
export function headerSum(header: Uint8Array): number {
  return readU32(header, HEADER_SUM_OFFSET);
}

/** Whether the footer has a sum of the section: not of those whose parts have sums of their own. */
export function hasSectionSum(section: Section): boolean {
  return section !== Section.valueBlocks && section !== Section.keyIndex;
}

/** Lengths and sums are by section; a section without a sum has 0. */
export function encodeFooter(
  lengths: readonly number[],
  sums: readonly number[],
  headerChecksum: number,
): Uint8Array {
  const footer = new Uint8Array(FOOTER_BYTES);
  for (let section = 0; section < SECTION_COUNT; section++) {
    writeU53(footer, section * SECTION_ENTRY_BYTES, lengths[section]);
    writeU32(footer, section * SECTION_ENTRY_BYTES + 8, sums[section]);
  }
  writeU32(footer, FOOTER_HEADER_SUM_OFFSET, headerChecksum);
  writeU32(footer, FOOTER_SUM_OFFSET, checksum(footer, 0, FOOTER_SUM_OFFSET));
  footer.set(FOOTER_MAGIC, FOOTER_MAGIC_OFFSET);
  return footer;
}

/** Places of all sections, by `Section`. Throws CorruptionError. */
export function decodeFooter(
  footer: Uint8Array,
  fileBytes: number,
  headerChecksum: number,
  file: string,
): readonly SectionPlace[] {
  const footerOffset = fileBytes - FOOTER_BYTES;
  expectMagic(footer, FOOTER_MAGIC_OFFSET, FOOTER_MAGIC, "segment footer", file, footerOffset);
  const sum = readU32(footer, FOOTER_SUM_OFFSET);
  expectChecksum(footer, 0, FOOTER_SUM_OFFSET, sum, "segment footer", file, footerOffset);
  const ownHeader = readU32(footer, FOOTER_HEADER_SUM_OFFSET);
  const sumOffset = footerOffset + FOOTER_HEADER_SUM_OFFSET;
  expectNumber(ownHeader, headerChecksum, "header sum in the footer", file, sumOffset);
  const places: SectionPlace[] = [];
  let offset = HEADER_BYTES;
  for (let section = 0; section < SECTION_COUNT; section++) {
    const length = readU53(footer, section * SECTION_ENTRY_BYTES);
    offset = alignSection(offset);
    const checksum = readU32(footer, section * SECTION_ENTRY_BYTES + 8);
    if (!hasSectionSum(section as Section)) {
      expectNumber(checksum, 0, "sum of a section without one", file, footerOffset);
    }
    places.push({ offset, length, checksum });
    offset += length;
  }
  expectNumber(alignSection(offset), footerOffset, "end of the sections", file, footerOffset);
  return places;
}

export function encodeProperties(writer: ByteWriter, properties: Properties): void {
  writer.u32(properties.keyCount);
  writer.u32(properties.tombstoneCount);
  writer.u32(properties.rangeTombstoneCount);
  writer.u53(properties.keyBytes);
  writer.u53(properties.valueBytes);
  writer.u53(properties.firstSeqno);
  writer.u53(properties.lastSeqno);
  writer.u8(properties.isUncoded ? 1 : 0);
  const { firstKey, lastKey, coverStart, coverEnd } = properties;
  for (const key of [firstKey, lastKey, coverStart, coverEnd]) {
    writer.u32(key.length);
    writer.append(key);
  }
  writer.u32(properties.valueLogs.length);
  for (const { fileNumber, bytes } of properties.valueLogs) {
    writer.u53(fileNumber);
    writer.u53(bytes);
  }
}

/** Decodes the section, whose checksum the caller has checked. Throws CorruptionError. */
export function decodeProperties(bytes: Uint8Array, file: string, fileOffset: number): Properties {
  const end = bytes.length;
  expectAtLeast(end, MIN_PROPERTIES_BYTES, "length of the properties", file, fileOffset);
  const keyCount = readU32(bytes, 0);
  expectAtMost(keyCount, MAX_KEY_COUNT, "key count", file, fileOffset);
  const tombstoneCount = readU32(bytes, TOMBSTONE_COUNT_OFFSET);
  expectAtMost(tombstoneCount, keyCount, "tombstone count", file, fileOffset);
  const rangeTombstoneCount = readU32(bytes, RANGE_TOMBSTONE_COUNT_OFFSET);
  const what = "number of range tombstones";
  if (keyCount === 0) expectAtLeast(rangeTombstoneCount, 1, what, file, fileOffset);
  else expectNumber(rangeTombstoneCount, 0, what, file, fileOffset);
  const lastSeqno = readU53(bytes, LAST_SEQNO_OFFSET);
  expectAtMost(lastSeqno, MAX_SEQNO, "last sequence number", file, fileOffset);
  const firstSeqno = readU53(bytes, FIRST_SEQNO_OFFSET);
  expectAtLeast(firstSeqno, 1, "first sequence number", file, fileOffset);
  expectAtMost(firstSeqno, lastSeqno, "first sequence number", file, fileOffset);
  const isUncoded = bytes[UNCODED_OFFSET];
  expectAtMost(isUncoded, 1, "whether it was left uncoded", file, fileOffset);
  let pos = KEYS_OFFSET;
  const nextKey = (what: string, limit: number): Uint8Array => {
    const start = pos + KEY_LENGTH_BYTES;
    expectAtMost(start, end, `offset of the ${what}`, file, fileOffset);
    const length = readU32(bytes, pos);
    expectAtMost(length, keyCount === 0 ? 0 : limit, `length of the ${what}`, file, fileOffset);
    pos = start + length;
    expectAtMost(pos, end, `end of the ${what}`, file, fileOffset);
    return bytes.slice(start, pos);
  };
  const firstKey = nextKey("first key", MAX_KEY_BYTES);
  const lastKey = nextKey("last key", MAX_KEY_BYTES);
  const coverStart = nextKey("start of the cover", MAX_KEY_BYTES);
  const coverEnd = nextKey("end of the cover", MAX_KEY_BYTES + 1);
  const logsStart = pos + 4;
  expectAtMost(logsStart, end, "end of the keys", file, fileOffset);
  const logBytes = readU32(bytes, pos) * VALUE_LOG_USE_BYTES;
  expectNumber(logsStart + logBytes, end, "end of the properties", file, fileOffset);
  const isCovered =
    keyCount === 0 ||
    (compareBytes(coverStart, firstKey) <= 0 && compareBytes(lastKey, coverEnd) < 0);
  expectNumber(isCovered ? 1 : 0, 1, "that it covers its own keys", file, fileOffset);
  return {
    keyCount,
    tombstoneCount,
    rangeTombstoneCount,
    keyBytes: readU53(bytes, KEY_BYTES_OFFSET),
    valueBytes: readU53(bytes, VALUE_BYTES_OFFSET),
    firstSeqno,
    lastSeqno,
    isUncoded: isUncoded === 1,
    firstKey,
    lastKey,
    coverStart,
    coverEnd,
    valueLogs: decodeValueLogs(bytes, logsStart, file, fileOffset),
  };
}

function decodeValueLogs(
  bytes: Uint8Array,
  start: number,
  file: string,
  fileOffset: number,
): ValueLogUse[] {
  const uses: ValueLogUse[] = [];
  let least = 1;
  for (let pos = start; pos < bytes.length; pos += VALUE_LOG_USE_BYTES) {
    const fileNumber = readU53(bytes, pos);
    expectAtLeast(fileNumber, least, "number of a value log", file, fileOffset);
    uses.push({ fileNumber, bytes: readU53(bytes, pos + 8) });
    least = fileNumber + 1;
  }
  return uses;
}

/** Fills `target` from the file, from `offset` on. Throws CorruptionError where the file ends before. */
export function readWhole(file: File, target: Uint8Array, offset: number): void {
  const bytesRead = file.readSync(target, offset);
  expectNumber(bytesRead, target.length, "bytes in the file", file.path, offset);
}

/** Throws CorruptionError unless bytes[start, end) have the checksum `expected`. */
export function expectChecksum(
  bytes: Uint8Array,
  start: number,
  end: number,
  expected: number,
  what: string,
  file: string,
  fileOffset: number,
): void {
  const actual = checksum(bytes, start, end);
  if (actual !== expected) {
    throw new CorruptionError(`checksum of ${what}`, {
      file,
      offset: fileOffset,
      expected: expected.toString(16),
      actual: actual.toString(16),
    });
  }
}

export function expectNumber(
  actual: number,
  expected: number,
  what: string,
  file: string,
  fileOffset: number,
): void {
  if (actual !== expected) throwDamage(what, file, fileOffset, `${expected}`, `${actual}`);
}

export function expectAtLeast(
  actual: number,
  minimum: number,
  what: string,
  file: string,
  fileOffset: number,
): void {
  if (actual < minimum) throwDamage(what, file, fileOffset, `at least ${minimum}`, `${actual}`);
}

export function expectAtMost(
  actual: number,
  maximum: number,
  what: string,
  file: string,
  fileOffset: number,
): void {
  if (actual > maximum) throwDamage(what, file, fileOffset, `at most ${maximum}`, `${actual}`);
}

function expectText(
  actual: string,
  expected: string,
  what: string,
  file: string,
  fileOffset: number,
): void {
  if (actual !== expected) throwDamage(what, file, fileOffset, expected, actual);
}

function expectMagic(
  bytes: Uint8Array,
  pos: number,
  magic: Uint8Array,
  what: string,
  file: string,
  fileOffset: number,
): void {
  const found = bytes.subarray(pos, pos + MAGIC_BYTES);
  expectText(hex(found), hex(magic), `magic of the ${what}`, file, fileOffset + pos);
}

export function throwDamage(
  what: string,
  file: string,
  offset: number,
  expected: string,
  actual: string,
): never {
  throw new CorruptionError(what, { file, offset, expected, actual });
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
