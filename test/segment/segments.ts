/** Segments built in memory from lists of entries, for the tests of this folder. */
import { compareBytes } from "../../src/bytes/compare.ts";
import { ByteWriter } from "../../src/bytes/writer.ts";
import { BlockCache } from "../../src/cache/block-cache.ts";
import type { Cursor } from "../../src/cursor/cursor.ts";
import type { Span } from "../../src/cursor/spans.ts";
import { ValueView } from "../../src/cursor/value-view.ts";
import {
  BEFORE_EXPIRY,
  EntryKind,
  type FileIdentity,
  NEVER,
  type SeqnoRange,
} from "../../src/entry.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { atOnce } from "../../src/pieces.ts";
import { learnCoders, UNCODED, type ValueCompression } from "../../src/segment/coders.ts";
import { EntrySample } from "../../src/segment/entry-sample.ts";
import { Segment } from "../../src/segment/reader.ts";
import { ValueLog } from "../../src/segment/value-log.ts";
import { ValueLogWriter } from "../../src/segment/value-log-writer.ts";
import { type FinishedSegment, SegmentWriter } from "../../src/segment/writer.ts";

export interface Entry {
  readonly key: Uint8Array;
  /** Undefined for a tombstone. */
  readonly value: Uint8Array | undefined;
  /** Default: NEVER. */
  readonly expiry?: number;
}

export const PATH = "db/000012.seg";
export const VALUE_LOG_NUMBER = 112;
export const VALUE_LOG_PATH = "db/000112.vlog";

/** Values of this length and more go into a value log here. */
export const LARGE_VALUE_BYTES = 4096;
/** The value log of segment 12 is file 112. */
const VALUE_LOG_OFFSET = 100;

export const IDENTITY: FileIdentity = {
  databaseId: Uint8Array.from({ length: 16 }, (_, i) => 0xd0 + i),
  fileNumber: 12,
};

/** The writes that test segments are said to come from. */
export const SEQNOS: SeqnoRange = { firstSeqno: 7, lastSeqno: 2 ** 40 };

const NO_BYTES = new Uint8Array(0);

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Entries in key order, of each key the last given. */
export function sorted(entries: readonly Entry[]): Entry[] {
  const byKey = new Map(entries.map((entry) => [Buffer.from(entry.key).toString("hex"), entry]));
  return [...byKey.values()].sort((a, b) => compareBytes(a.key, b.key));
}

/** A cursor over sorted entries. */
export class EntryCursor implements Cursor {
  position = -1;
  private readonly entries: readonly Entry[];

  constructor(entries: readonly Entry[]) {
    this.entries = entries;
  }

  get isValid(): boolean {
    return this.position >= 0 && this.position < this.entries.length;
  }

  get key(): Uint8Array {
    return this.entries[this.position].key;
  }

  get keyLength(): number {
    return this.key.length;
  }

  get kind(): EntryKind {
    return this.entries[this.position].value === undefined ? EntryKind.tombstone : EntryKind.put;
  }

  get expiry(): number {
    return this.entries[this.position].expiry ?? NEVER;
  }

  seekToFirst(): void {
    this.position = 0;
  }

  seekToLast(): void {
    this.position = this.entries.length - 1;
  }

  seek(key: Uint8Array, length: number): void {
    const target = key.subarray(0, length);
    this.position = this.entries.filter((entry) => compareBytes(entry.key, target) < 0).length;
  }

  seekForPrev(key: Uint8Array, length: number): void {
    const target = key.subarray(0, length);
    this.position = this.entries.filter((entry) => compareBytes(entry.key, target) <= 0).length - 1;
  }

  next(): void {
    this.position++;
  }

  prev(): void {
    this.position--;
  }

  appendKey(output: ByteWriter): void {
    output.append(this.key, 0, this.keyLength);
  }

  value(): Uint8Array {
    return this.entries[this.position].value ?? NO_BYTES;
  }

  viewValue(view: ValueView): void {
    const value = this.value();
    view.set(value, 0, value.length);
  }

  viewStored(view: ValueView): undefined {
    this.viewValue(view);
  }
}

/** What a source would show of a value. */
export function viewOf(value: Uint8Array): ValueView {
  const view = new ValueView();
  view.set(value, 0, value.length);
  return view;
}

export interface BuildOptions {
  readonly compression?: ValueCompression;
  readonly filterBitsPerKey?: number;
  readonly fileSystem?: MemoryFileSystem;
  /** Default: those of IDENTITY and PATH. */
  readonly fileNumber?: number;
  readonly path?: string;
}

/** Writes sorted entries to a file, and returns its file system and what the writer said. */
export async function write(
  entries: readonly Entry[],
  options: BuildOptions = {},
): Promise<{ readonly fileSystem: MemoryFileSystem; readonly finished: FinishedSegment }> {
  const fileSystem = options.fileSystem ?? new MemoryFileSystem();
  await fileSystem.createDirectory("db");
  const sample = new EntrySample();
  const cursor = new EntryCursor(entries);
  cursor.seekToFirst();
  sample.takeWindow(cursor, entries.length);
  const compression = options.compression ?? "auto";
  const coders = atOnce(learnCoders(sample, { keyCount: entries.length }, { compression }));
  const filterBitsPerKey = options.filterBitsPerKey ?? 10;
  const writer = await SegmentWriter.create({
    fileSystem,
    path: options.path ?? PATH,
    identity: { ...IDENTITY, fileNumber: options.fileNumber ?? IDENTITY.fileNumber },
    coders,
    seqnos: SEQNOS,
    filterBitsPerKey,
  });
  const logNumber = VALUE_LOG_OFFSET + (options.fileNumber ?? IDENTITY.fileNumber);
  let log: ValueLogWriter | undefined;
  for (const { key, value, expiry } of entries) {
    const kind = value === undefined ? EntryKind.tombstone : EntryKind.put;
    if (value !== undefined && value.length >= LARGE_VALUE_BYTES) {
      log ??= await ValueLogWriter.create({
        fileSystem,
        path: `db/000${logNumber}.vlog`,
        identity: { ...IDENTITY, fileNumber: logNumber },
        isCompressing: compression !== "none",
        pause: () => Promise.resolve(),
      });
      writer.addPlaced(key, key.length, await log.append(value), expiry);
    } else {
      writer.add(key, key.length, kind, viewOf(value ?? NO_BYTES), expiry);
    }
    if (writer.pendingBytes > 1 << 16) await writer.drain();
  }
  await log?.finish();
  return { fileSystem, finished: await writer.finish() };
}

/** Opens every value log there is. */
export async function openValueLogs(fileSystem: MemoryFileSystem): Promise<Map<number, ValueLog>> {
  const logs = new Map<number, ValueLog>();
  for (const name of await fileSystem.list("db")) {
    if (!name.endsWith(".vlog")) continue;
    const fileNumber = Number.parseInt(name, 10);
    const identity = { ...IDENTITY, fileNumber };
    logs.set(fileNumber, await ValueLog.open({ fileSystem, path: `db/${name}`, identity }));
  }
  return logs;
}

export async function openSegment(
  fileSystem: MemoryFileSystem,
  blockCache: BlockCache = new BlockCache(1 << 20),
  isOnDemand = false,
): Promise<Segment> {
  return await Segment.open({
    fileSystem,
    path: PATH,
    identity: IDENTITY,
    blockCache,
    valueLogs: await openValueLogs(fileSystem),
    isOnDemand,
  });
}

/** Writes a segment of range tombstones, which must be disjoint and in order. */
export async function writeRanges(spans: readonly Span[]): Promise<MemoryFileSystem> {
  const fileSystem = new MemoryFileSystem();
  await fileSystem.createDirectory("db");
  const writer = await SegmentWriter.create({
    fileSystem,
    path: PATH,
    identity: IDENTITY,
    coders: UNCODED,
    seqnos: SEQNOS,
  });
  for (const span of spans) writer.addRangeTombstone(span);
  await writer.finish();
  return fileSystem;
}

/** Writes and opens. */
export async function build(
  entries: readonly Entry[],
  options: BuildOptions = {},
): Promise<Segment> {
  return await openSegment((await write(entries, options)).fileSystem);
}

/** All bytes of a file. */
export async function fileBytes(
  fileSystem: MemoryFileSystem,
  path: string = PATH,
): Promise<Uint8Array> {
  const file = await fileSystem.open(path, "read");
  const bytes = new Uint8Array(file.size());
  file.readSync(bytes, 0);
  await file.close();
  return bytes;
}

/** A file system in which PATH holds `bytes`, and VALUE_LOG_PATH those of a value log if there is one. */
export async function fileSystemWith(
  bytes: Uint8Array,
  logBytes?: Uint8Array,
): Promise<MemoryFileSystem> {
  const fileSystem = new MemoryFileSystem();
  await fileSystem.createDirectory("db");
  await create(fileSystem, PATH, bytes);
  if (logBytes !== undefined) await create(fileSystem, VALUE_LOG_PATH, logBytes);
  return fileSystem;
}

async function create(
  fileSystem: MemoryFileSystem,
  path: string,
  bytes: Uint8Array,
): Promise<void> {
  const file = await fileSystem.open(path, "create");
  file.writeSync(bytes, 0);
  await file.close();
}

/** The entry as point lookups see it: what `find`, `kindAt` and `viewValue` say of the key. */
export function lookUp(segment: Segment, key: Uint8Array): Entry | undefined {
  const ordinal = segment.find(key, key.length);
  if (ordinal < 0) return undefined;
  const isPut = segment.kindAt(ordinal, BEFORE_EXPIRY) === EntryKind.put;
  const expiry = expiring(segment.expiryAt(ordinal));
  if (!isPut) return { key, value: undefined, ...expiry };
  const view = new ValueView();
  segment.viewValue(ordinal, key, key.length, view);
  return { key, value: view.bytes.slice(view.start, view.end), ...expiry };
}

/** The entry a cursor is at, copied. */
export function entryAt(cursor: Cursor): Entry {
  const isPut = cursor.kind === EntryKind.put;
  const key = cursor.key.slice(0, cursor.keyLength);
  expectAppended(cursor, key);
  const expiry = expiring(cursor.expiry);
  if (!isPut) return { key, value: undefined, ...expiry };
  const value = cursor.value().slice();
  expectViewed(cursor, value);
  return { key, value, ...expiry };
}

function expiring(expiry: number): Pick<Entry, "expiry"> {
  return expiry === NEVER ? {} : { expiry };
}

/** That `appendKey` appends the key, behind what is there. */
function expectAppended(cursor: Cursor, key: Uint8Array): void {
  const output = new ByteWriter(1);
  output.u8(7);
  cursor.appendKey(output);
  const expected = Buffer.concat([Uint8Array.of(7), key]);
  if (Buffer.compare(output.bytes, expected) !== 0) throw new Error("another key appended");
}

/** That `viewValue` shows the value, and leaves what was decoded before. */
function expectViewed(cursor: Cursor, value: Uint8Array): void {
  const view = new ValueView();
  view.decoded.u8(7);
  cursor.viewValue(view);
  const shown = view.bytes.subarray(view.start, view.end);
  if (Buffer.compare(shown, value) !== 0 || view.decoded.buffer[0] !== 7)
    throw new Error("another value");
}

/** Whether two entries are equal. (The matchers of the test runner take seconds for large arrays.) */
export function isSame(a: Entry | undefined, b: Entry | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (Buffer.compare(a.key, b.key) !== 0 || a.expiry !== b.expiry) return false;
  if (a.value === undefined || b.value === undefined) return a.value === b.value;
  return Buffer.compare(a.value, b.value) === 0;
}
