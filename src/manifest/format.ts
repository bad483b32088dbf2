/**
 * Byte layout of the manifest. Only this file knows these offsets.
 *
 * offset 0       8         12       16           32               40          48
 *        +-------+---------+--------+------------+----------------+-----------+-----------+
 *        | magic | version | length | databaseId | nextFileNumber | lastSeqno | oldestWal |
 *        +-------+---------+--------+------------+----------------+-----------+-----------+
 *        56          64             72
 *        +-----------+--------------+-------------+---------------+----------+-----+-----+---------------+----------+-----+-------+
 *        | newestWal | newestWalEnd | keyEncoding | valueEncoding | runCount | run | ... | valueLogCount | valueLog | ... | xxh32 |
 *        +-----------+--------------+-------------+---------------+----------+-----+-----+---------------+----------+-----+-------+
 * magic           8 bytes "memkvman"
 * version         u32 LE   FORMAT_VERSION
 * length          u32 LE   bytes of the whole file, at most MAX_MANIFEST_BYTES
 * databaseId      16 bytes
 * nextFileNumber  u53 LE   in 8 bytes: above every number in use
 * lastSeqno       u53 LE   in 8 bytes: of the newest write that is in a run
 * oldestWal       u53 LE   in 8 bytes: number of the oldest log that is still needed
 * newestWal       u53 LE   in 8 bytes: number of the newest log when this manifest was written
 * newestWalEnd    u53 LE   in 8 bytes: how far its records were known to be durable then
 * ...Encoding     u8 length, 1 to 255, and so many bytes of UTF-8: the encoding's name
 * runCount        u32 LE   newest first
 * run             u32 LE   number of segments, at least 1, and the segments in key order
 * valueLogCount   u32 LE   by ascending file number: all that segments refer to, and no other
 * valueLog        u53 LE   file number, u53 LE bytes of the file; each in 8 bytes
 * xxh32           u32 LE   of every byte before it
 *
 * Segment
 *        +------------+-----------+----------+----------------+---------------------+
 *        | fileNumber | fileBytes | keyCount | tombstoneCount | rangeTombstoneCount |
 *        +------------+-----------+----------+----------------+---------------------+
 *        +----------+---------+----------+-----+-----+
 *        | firstKey | lastKey | useCount | use | ... |
 *        +----------+---------+----------+-----+-----+
 * fileNumber      u53 LE   in 8 bytes
 * fileBytes       u53 LE   in 8 bytes
 * keyCount        u53 LE   in 8 bytes: entries; 0 only in the first segment of a run
 * tombstoneCount  u53 LE   in 8 bytes: at most keyCount
 * rangeTomb...    u53 LE   in 8 bytes: at least 1 where keyCount is 0, and else 0
 * ...Key          u32 LE length, at most MAX_KEY_BYTES, and so many bytes
 * useCount        u32 LE   value logs that entries refer to, by ascending file number
 * use             u53 LE   file number, u53 LE stored bytes of the values referred to; each in 8 bytes
 *
 * Magic, version and length begin every version of the format and the checksum ends it, so that a
 * newer manifest is told from a damaged one.
 */
import { checksum } from "../bytes/checksum.ts";
import { compareBytes } from "../bytes/compare.ts";
import { readU32, readU53, writeU32 } from "../bytes/fixed.ts";
import { ByteWriter } from "../bytes/writer.ts";
import { MAX_KEY_BYTES, MAX_SEQNO, type ValueLogUse } from "../entry.ts";
import { CorruptionError, UnsupportedVersionError } from "../errors.ts";
import { HEADER_BYTES } from "../wal/format.ts";
import { type Run, type SegmentMeta, usesOf, type ValueLogMeta, type Version } from "./version.ts";

/** On disk: never change or reuse a number. */
const FORMAT_VERSION = 1;

/** Room for a million segments with keys of a hundred bytes. */
export const MAX_MANIFEST_BYTES: number = 2 ** 28;

export const MAX_ENCODING_NAME_BYTES = 255;

const MAGIC: Uint8Array = new TextEncoder().encode("memkvman");
const DATABASE_ID_BYTES = 16;
const CHECKSUM_BYTES = 4;

const VERSION_OFFSET: number = MAGIC.length;
const LENGTH_OFFSET: number = VERSION_OFFSET + 4;
const DATABASE_ID_OFFSET: number = LENGTH_OFFSET + 4;

/** What a manifest says. */
export interface Manifest {
  /** 16 random bytes, in every file of the database. */
  readonly databaseId: Uint8Array;
  /** Names, 1 to 255 bytes of UTF-8, of the encodings the database was founded with. */
  readonly keyEncoding: string;
  readonly valueEncoding: string;
  /** Above every file number that this manifest knows to be in use. */
  readonly nextFileNumber: number;
  /** Sequence number of the newest write that is in a run. */
  readonly lastSeqno: number;
  /** File number of the oldest log that has writes which are in no run; at most newestWal. */
  readonly oldestWal: number;
  /** File number of the newest log when this was written, and how far it was durable then. */
  readonly newestWal: number;
  readonly newestWalEnd: number;
  readonly version: Version;
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  const writer = new ByteWriter();
  writer.append(MAGIC);
  writer.u32(FORMAT_VERSION);
  writer.u32(0); // The length, known at the end.
  writer.append(manifest.databaseId);
  writer.u53(manifest.nextFileNumber);
  writer.u53(manifest.lastSeqno);
  writer.u53(manifest.oldestWal);
  writer.u53(manifest.newestWal);
  writer.u53(manifest.newestWalEnd);
  for (const name of [manifest.keyEncoding, manifest.valueEncoding]) {
    const bytes = new TextEncoder().encode(name);
    writer.u8(bytes.length);
    writer.append(bytes);
  }
  writer.u32(manifest.version.runs.length);
  for (const run of manifest.version.runs) {
    writer.u32(run.length);
    for (const meta of run) writeSegment(writer, meta);
  }
  writer.u32(manifest.version.valueLogs.length);
  for (const { fileNumber, fileBytes } of manifest.version.valueLogs) {
    writer.u53(fileNumber);
    writer.u53(fileBytes);
  }
  writeU32(writer.buffer, LENGTH_OFFSET, writer.length + CHECKSUM_BYTES);
  writer.u32(checksum(writer.buffer, 0, writer.length));
  return writer.take();
}

function writeSegment(writer: ByteWriter, meta: SegmentMeta): void {
  writer.u53(meta.fileNumber);
  writer.u53(meta.fileBytes);
  writer.u53(meta.keyCount);
  writer.u53(meta.tombstoneCount);
  writer.u53(meta.rangeTombstoneCount);
  for (const key of [meta.firstKey, meta.lastKey]) {
    writer.u32(key.length);
    writer.append(key);
  }
  writer.u32(meta.valueLogs.length);
  for (const { fileNumber, bytes } of meta.valueLogs) {
    writer.u53(fileNumber);
    writer.u53(bytes);
  }
}

/** Decodes the whole file `bytes`, found at `path`. Throws CorruptionError or UnsupportedVersionError. */
export function decodeManifest(bytes: Uint8Array, path: string): Manifest {
  const decoder = new Decoder(bytes, path);
  decoder.checkFrame();
  const manifest: Manifest = {
    databaseId: decoder.bytesOf(DATABASE_ID_BYTES),
    nextFileNumber: decoder.u53(),
    lastSeqno: decoder.u53(),
    oldestWal: decoder.u53(),
    newestWal: decoder.u53(),
    newestWalEnd: decoder.u53(),
    keyEncoding: decoder.name(),
    valueEncoding: decoder.name(),
    version: { runs: decoder.runs(), valueLogs: decoder.valueLogs() },
  };
  decoder.checkEnd();
  const fault = faultOf(manifest);
  if (fault !== undefined) throw decoder.corruption(0, "a valid manifest", fault);
  return manifest;
}

/** What makes a manifest invalid, or undefined. */
export function faultOf(manifest: Manifest): string | undefined {
  const { databaseId, nextFileNumber, lastSeqno, version } = manifest;
  const { oldestWal, newestWal, newestWalEnd } = manifest;
  if (databaseId.length !== DATABASE_ID_BYTES) return `an id of ${databaseId.length} bytes`;
  if (!isCount(nextFileNumber, 1)) return `next file number ${nextFileNumber}`;
  if (!isCount(lastSeqno, 0) || lastSeqno > MAX_SEQNO) return `sequence number ${lastSeqno}`;
  if (!isCount(oldestWal, 1) || oldestWal > newestWal) return `oldest log ${oldestWal}`;
  if (!isCount(newestWal, 1) || newestWal >= nextFileNumber) return `newest log ${newestWal}`;
  if (!isCount(newestWalEnd, HEADER_BYTES)) return `newest log up to ${newestWalEnd}`;
  for (const name of [manifest.keyEncoding, manifest.valueEncoding]) {
    const { length } = new TextEncoder().encode(name);
    if (length === 0 || length > MAX_ENCODING_NAME_BYTES) return `encoding name "${name}"`;
  }
  const numbers = new Set<number>();
  for (const run of version.runs) {
    if (run.length === 0) return "a run without segments";
    let previous: SegmentMeta | undefined;
    for (const meta of run) {
      const fault = segmentFault(meta, previous);
      if (fault !== undefined) return `${fault} in segment ${meta.fileNumber}`;
      if (meta.fileNumber >= nextFileNumber) return `segment ${meta.fileNumber} from the future`;
      if (numbers.has(meta.fileNumber)) return `segment ${meta.fileNumber} twice`;
      numbers.add(meta.fileNumber);
      previous = meta;
    }
  }
  for (const meta of version.valueLogs) {
    if (meta.fileNumber >= nextFileNumber) return `value log ${meta.fileNumber} from the future`;
    if (numbers.has(meta.fileNumber)) return `value log ${meta.fileNumber} twice`;
    numbers.add(meta.fileNumber);
  }
  return valueLogFault(version);
}

function valueLogFault({ runs, valueLogs }: Version): string | undefined {
  const used = usesOf(runs);
  let previous = 0;
  for (const { fileNumber, fileBytes } of valueLogs) {
    if (!isCount(fileNumber, previous + 1)) return `value log ${fileNumber} after ${previous}`;
    const bytes = used.get(fileNumber);
    if (bytes === undefined) return `value log ${fileNumber}, to which no segment refers`;
    if (!isCount(fileBytes, 1) || bytes > fileBytes) {
      return `${bytes} bytes in use of the ${fileBytes} of value log ${fileNumber}`;
    }
    used.delete(fileNumber);
    previous = fileNumber;
  }
  const [missing] = used.keys();
  return missing === undefined ? undefined : `a use of value log ${missing}, which it has not`;
}

function segmentFault(meta: SegmentMeta, previous: SegmentMeta | undefined): string | undefined {
  const { fileNumber, fileBytes, keyCount, tombstoneCount, rangeTombstoneCount } = meta;
  if (!isCount(fileNumber, 1)) return "a bad number";
  if (!isCount(fileBytes, 1)) return `size ${fileBytes}`;
  if (!isCount(keyCount, 0)) return `${keyCount} keys`;
  if (!isCount(tombstoneCount, 0) || tombstoneCount > keyCount)
    return `${tombstoneCount} tombstones`;
  const isOfRanges = keyCount === 0;
  if (isOfRanges && previous !== undefined) return "no keys behind others";
  if (!isCount(rangeTombstoneCount, 0) || isOfRanges !== rangeTombstoneCount > 0) {
    return `${rangeTombstoneCount} range tombstones beside ${keyCount} keys`;
  }
  return keyFault(meta, previous);
}

function keyFault(meta: SegmentMeta, previous: SegmentMeta | undefined): string | undefined {
  const { keyCount, firstKey, lastKey } = meta;
  if (Math.max(firstKey.length, lastKey.length) > MAX_KEY_BYTES) return "a key too long";
  let previousLog = 0;
  for (const use of meta.valueLogs) {
    if (!isCount(use.fileNumber, previousLog + 1)) return "value logs that are not in order";
    if (!isCount(use.bytes, 1)) return `${use.bytes} bytes of a value log`;
    previousLog = use.fileNumber;
  }
  if (keyCount === 0) {
    const isNothing = firstKey.length + lastKey.length + meta.valueLogs.length === 0;
    return isNothing ? undefined : "keys or values of none";
  }
  const order = compareBytes(firstKey, lastKey);
  if (keyCount === 1 ? order !== 0 : order >= 0) return "keys that are not in order";
  const isBehindKeys = previous !== undefined && previous.keyCount > 0;
  if (isBehindKeys && compareBytes(previous.lastKey, firstKey) >= 0) {
    return "keys that overlap the segment before";
  }
  return undefined;
}

function isCount(value: number, least: number): boolean {
  return Number.isSafeInteger(value) && value >= least;
}

/** A position in the file's bytes; every read checks that it stays inside. */
class Decoder {
  private readonly bytes: Uint8Array;
  private readonly path: string;
  private pos: number;
  /** Where the checksum begins. */
  private readonly end: number;

  constructor(bytes: Uint8Array, path: string) {
    this.bytes = bytes;
    this.path = path;
    this.pos = DATABASE_ID_OFFSET;
    this.end = bytes.length - CHECKSUM_BYTES;
  }

  /** Magic, length, checksum, and only then the version. */
  checkFrame(): void {
    const { bytes, end } = this;
    if (end < DATABASE_ID_OFFSET) {
      throw this.corruption(0, "a manifest", `${bytes.length} bytes`);
    }
    if (MAGIC.some((byte, i) => bytes[i] !== byte)) {
      throw this.corruption(0, 'a manifest ("memkvman")', "another beginning");
    }
    const length = readU32(bytes, LENGTH_OFFSET);
    if (length !== bytes.length) {
      throw this.corruption(LENGTH_OFFSET, `${bytes.length} bytes`, `${length}`);
    }
    const expected = readU32(bytes, end);
    const actual = checksum(bytes, 0, end);
    if (actual !== expected) {
      throw this.corruption(end, `checksum ${expected}`, `${actual}`);
    }
    const version = readU32(bytes, VERSION_OFFSET);
    if (version !== FORMAT_VERSION) {
      throw new UnsupportedVersionError(this.path, version, FORMAT_VERSION);
    }
  }

  checkEnd(): void {
    if (this.pos !== this.end) {
      throw this.corruption(this.pos, "the end", `${this.end - this.pos} more bytes`);
    }
  }

  u53(): number {
    return readU53(this.bytes, this.take(8));
  }

  u32(): number {
    return readU32(this.bytes, this.take(4));
  }

  /** A copy of the next `count` bytes. */
  bytesOf(count: number): Uint8Array {
    const pos = this.take(count);
    return this.bytes.slice(pos, pos + count);
  }

  name(): string {
    const pos = this.take(1);
    const bytes = this.bytesOf(this.bytes[pos]);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch (error) {
      throw this.corruption(pos, "a name in UTF-8", "other bytes", { cause: error });
    }
  }

  key(): Uint8Array {
    const start = this.pos;
    const length = this.u32();
    if (length > MAX_KEY_BYTES)
      throw this.corruption(start, `at most ${MAX_KEY_BYTES}`, `${length}`);
    return this.bytesOf(length);
  }

  runs(): Run[] {
    const runs: Run[] = [];
    // Counts are not trusted for more than a loop that ends with the bytes.
    for (let left = this.u32(); left > 0; left--) {
      const run: SegmentMeta[] = [];
      for (let segments = this.u32(); segments > 0; segments--) run.push(this.segment());
      runs.push(run);
    }
    return runs;
  }

  valueLogs(): ValueLogMeta[] {
    const logs: ValueLogMeta[] = [];
    for (let left = this.u32(); left > 0; left--) {
      logs.push({ fileNumber: this.u53(), fileBytes: this.u53() });
    }
    return logs;
  }

  corruption(
    offset: number,
    expected: string,
    actual: string,
    options?: { cause: unknown },
  ): CorruptionError {
    const facts = { file: this.path, offset, expected, actual };
    return new CorruptionError("the manifest is damaged", facts, options);
  }

  private segment(): SegmentMeta {
    return {
      fileNumber: this.u53(),
      fileBytes: this.u53(),
      keyCount: this.u53(),
      tombstoneCount: this.u53(),
      rangeTombstoneCount: this.u53(),
      firstKey: this.key(),
      lastKey: this.key(),
      valueLogs: this.uses(),
    };
  }

  private uses(): ValueLogUse[] {
    const uses: ValueLogUse[] = [];
    for (let left = this.u32(); left > 0; left--) {
      uses.push({ fileNumber: this.u53(), bytes: this.u53() });
    }
    return uses;
  }

  /** Position of the next `count` bytes, which are then behind. */
  private take(count: number): number {
    const { pos } = this;
    if (count > this.end - pos) throw this.corruption(pos, `${count} bytes`, `${this.end - pos}`);
    this.pos = pos + count;
    return pos;
  }
}
