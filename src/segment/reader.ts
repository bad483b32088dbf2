/**
 * Segment: one open segment file.
 *
 * Everything behind the value blocks (key index, filter, block index, symbols, tombstones) is read,
 * at open or on demand, into one SharedArrayBuffer, checked against its checksums, and read in place
 * from there (resident-sections.ts). Value blocks are read on demand through the block cache, and each
 * is checked when it is read. Large values lie in value logs, which others keep open.
 *
 * Look-ups are synchronous and not re-entrant; the views that they return say how long they live.
 */
import { assert } from "../assert.ts";
import { BlockCache } from "../cache/block-cache.ts";
import type { ValueView } from "../cursor/value-view.ts";
import {
  ALWAYS,
  BEFORE_EXPIRY,
  EntryKind,
  type FileIdentity,
  NEVER,
  type Period,
  type ValuePlace,
} from "../entry.ts";
import type { CorruptionError } from "../errors.ts";
import type { File, FileSystem } from "../io/file-system.ts";
import type { SymbolTable } from "../symbols/table.ts";
import { SymbolTables } from "../symbols/tables.ts";
import { BlockIndex } from "./block-index.ts";
import { type CopyTarget, copySegment } from "./copy.ts";
import { SegmentCursor } from "./cursor.ts";
import { readDictionary } from "./dictionary.ts";
import { Expiries } from "./expiries.ts";
import { FILTER_BLOCK_BYTES, Filter } from "./filter.ts";
import {
  decodeProperties,
  expectNumber,
  type Properties,
  Section,
  type SectionPlace,
} from "./format.ts";
import type { KeyBuffer } from "./key-buffer.ts";
import { KeyIndex, type KeyIndexSizes, readKeyIndexHead } from "./keys.ts";
import { OrdinalSet } from "./ordinal-set.ts";
import { RangeTombstones } from "./range-tombstones.ts";
import { ResidentSections, type SharedSections } from "./resident-sections.ts";
import type { ChunkReader, ValueLogSource } from "./value-log.ts";
import { ValueReader } from "./value-reader.ts";
import { type VerifiedSegment, verifyEntries } from "./verify.ts";
import type { FinishedSegment } from "./writer.ts";

const NO_VALUE = new Uint8Array(0);

/**
 * Look-ups of a segment on demand before its filter is read. It is read and checked whole, 1 ms for
 * 1 MB: what some hundred of the look-ups cost that it saves, which a process that makes a few would
 * wait for in vain.
 */
const UNFILTERED_LOOKUPS = 64;

/**
 * So many keys that were found one after the other, and the filter is not asked until one is absent:
 * it would say "maybe" for the price of one more cache line, a twentieth of a get that comes from
 * memory. An absent key then costs a look-up in the key index, which is why it takes so many.
 */
const FOUND_IN_A_ROW = 32;

export interface SegmentOpenOptions {
  readonly fileSystem: FileSystem;
  readonly path: string;
  /** Who the file must be. */
  readonly identity: FileIdentity;
  /** Shared by the segments of a database. */
  readonly blockCache: BlockCache;
  /** Likewise. Default: it shares none. */
  readonly symbolTables?: SymbolTables;
  /** Has the logs that the segment refers to, as long as values are read. */
  readonly valueLogs: ValueLogSource;
  /** What `share` gave of this file in another thread: it was read and checked there. */
  readonly sections?: SharedSections | undefined;
  /** Whether what it keeps in memory is read when it is first needed, and damage found then. */
  readonly isOnDemand?: boolean;
  /** For repair: told of damage that entries can be read without, which is then no error. */
  readonly onDamage?: (damage: CorruptionError) => void;
}

/**
 * Bytes that an open segment holds in memory, by part; or will hold, of what is read on demand. Blocks
 * in the cache are not among them.
 */
export interface SegmentMemory {
  readonly keyIndex: number;
  readonly filter: number;
  /** Block index, value symbols and dictionary. */
  readonly valueIndex: number;
  /** Tombstones of both kinds, and expiries. */
  readonly tombstones: number;
}

export class Segment {
  readonly meta: FinishedSegment;
  readonly properties: Properties;
  /** Bytes in the file, by section. */
  readonly sections: readonly SectionPlace[];
  /** What it deletes from older runs; undefined in a segment of entries. */
  readonly rangeTombstones: RangeTombstones | undefined;
  private readonly file: File;
  private readonly identity: FileIdentity;
  private readonly blockCache: BlockCache;
  private readonly symbolTables: SymbolTables;
  private readonly valueLogs: ValueLogSource;
  private resident: ResidentSections;
  /** Undefined until it was read. */
  private filterNow: Filter | undefined;
  private unfilteredCount: number;
  /** Look-ups since the last absent key, up to FOUND_IN_A_ROW. */
  private foundCount: number;
  private tombstones: OrdinalSet;
  /** Undefined where nothing expires. */
  private expiries: Expiries | undefined;
  /** Settles once all sections are in memory; undefined before anybody asked for that. */
  private wholeness: Promise<SharedSections> | undefined;
  /** Made at first use: see `keys` and `values`. */
  private keyIndex: KeyIndex | undefined;
  private valueReader: ValueReader | undefined;
  /** A cursor that was closed: making one costs more than a short scan. */
  private spareCursor: SegmentCursor | undefined;

  /**
   * Opens and checks the file; value blocks are not read, and pages of keys not checked before they
   * are used. On demand it is checked that the file is this one, as long as it should be, and what its
   * properties are. Throws CorruptionError if it is damaged, or another file than `identity` says, and
   * UnsupportedVersionError if a newer memkv wrote it.
   */
  static async open(options: SegmentOpenOptions): Promise<Segment> {
    const file = await options.fileSystem.open(options.path, "read");
    try {
      const { identity, blockCache, valueLogs, sections, isOnDemand = false, onDamage } = options;
      const { symbolTables = new SymbolTables() } = options;
      let resident: ResidentSections;
      if (isOnDemand) resident = ResidentSections.onDemand(file, identity);
      else if (sections !== undefined) resident = ResidentSections.from(sections, file);
      else resident = await ResidentSections.load(file, identity, onDamage);
      const segment = new Segment(file, resident, identity, blockCache, symbolTables, valueLogs);
      if (!isOnDemand) segment.checkParts();
      return segment;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  private constructor(
    file: File,
    resident: ResidentSections,
    identity: FileIdentity,
    blockCache: BlockCache,
    symbolTables: SymbolTables,
    valueLogs: ValueLogSource,
  ) {
    const { path } = file;
    const { places } = resident;
    this.file = file;
    this.spareCursor = undefined;
    this.identity = identity;
    this.blockCache = blockCache;
    this.symbolTables = symbolTables;
    this.valueLogs = valueLogs;
    this.resident = resident;
    this.keyIndex = undefined;
    this.valueReader = undefined;
    this.sections = places;

    const propertiesOffset = places[Section.properties].offset;
    this.properties = decodeProperties(resident.bytes(Section.properties), path, propertiesOffset);
    const { keyCount, tombstoneCount, rangeTombstoneCount, firstKey, lastKey } = this.properties;
    this.meta = {
      fileNumber: identity.fileNumber,
      fileBytes: file.size(),
      keyCount,
      tombstoneCount,
      rangeTombstoneCount,
      firstKey,
      lastKey,
      valueLogs: this.properties.valueLogs,
    };

    this.filterNow = undefined;
    this.unfilteredCount = 0;
    this.foundCount = 0;
    this.wholeness = undefined;
    this.tombstones = readTombstones(resident, this.properties, path);
    this.expiries = readExpiries(resident, this.properties, path);

    const ranges = new RangeTombstones(
      resident.bytes(Section.rangeTombstones),
      rangeTombstoneCount,
      path,
      places[Section.rangeTombstones].offset,
    );
    this.rangeTombstones = rangeTombstoneCount === 0 ? undefined : ranges;
  }

  /** Symbol tables that are `counted` are not counted again; the others are counted from now on. */
  memory(counted: Set<SymbolTable> = new Set()): SegmentMemory {
    const { sections, keyIndex, valueReader, rangeTombstones, expiries } = this;
    const marks = (rangeTombstones?.byteLength ?? 0) + (expiries?.byteLength ?? 0);
    const known = (table: SymbolTable | undefined): number => {
      if (table === undefined) return 0;
      if (counted.has(table)) return table.byteLength;
      counted.add(table);
      return 0;
    };
    return {
      keyIndex:
        keyIndex === undefined
          ? sections[Section.keyIndex].length
          : keyIndex.memoryBytes - known(keyIndex.symbols),
      filter: this.filterNow?.byteLength ?? sections[Section.filter].length,
      valueIndex:
        valueReader === undefined
          ? valueIndexBytes(sections)
          : valueReader.memoryBytes - known(valueReader.symbols),
      tombstones: this.tombstones.byteLength + marks,
    };
  }

  /**
   * What is in memory of the file, for another thread that opens it: nothing is copied. Undefined where
   * not all is there that could be.
   */
  shareSections(): SharedSections | undefined {
    return this.resident.share();
  }

  /** The same of all that could be in memory: what was read on demand so far is read whole first. */
  async shareAllSections(): Promise<SharedSections> {
    const shared = this.shareSections();
    if (shared !== undefined) return shared;
    this.wholeness ??= this.readAll();
    try {
      return await this.wholeness;
    } catch (error) {
      this.wholeness = undefined;
      throw error;
    }
  }

  get path(): string {
    return this.file.path;
  }

  /** Bytes of its keys, and of its values but those in value logs, however they are coded. */
  get contentBytes(): number {
    const { keyBytes, valueBytes, valueLogs } = this.properties;
    const logBytes = valueLogs.reduce((total, { bytes }) => total + bytes, 0);
    // What a log stores of a value may be longer, by what frames it.
    return keyBytes + Math.max(0, valueBytes - logBytes);
  }

  get firstKey(): Uint8Array {
    return this.meta.firstKey;
  }

  get lastKey(): Uint8Array {
    return this.meta.lastKey;
  }

  /**
   * Ordinal of key[0, length), or -1. `hash`, the key's `keyHash`, lets the filter be asked first,
   * which it is where keys are absent now and then. Without it only the key index is asked.
   */
  find(key: Uint8Array, length: number, hash?: number): number {
    const isFiltered = hash !== undefined && this.foundCount < FOUND_IN_A_ROW;
    const ordinal = isFiltered && !this.mayContain(hash) ? -1 : this.keys.find(key, length);
    if (ordinal < 0) this.foundCount = 0;
    else if (this.foundCount < FOUND_IN_A_ROW) this.foundCount++;
    return ordinal;
  }

  /** False only if no key with this `keyHash` is here. */
  mayContain(hash: number): boolean {
    const { filterNow } = this;
    return filterNow === undefined ? this.mayContainUnread(hash) : filterNow.mayContain(hash);
  }

  /** What the entry at `ordinal` is at a moment: a tombstone, if it has expired by then. O(1). */
  kindAt(ordinal: number, time: number): EntryKind {
    const { tombstones, expiries } = this;
    const isHidden = tombstones.has(ordinal) || expiries?.hasExpired(ordinal, time);
    return isHidden ? EntryKind.tombstone : EntryKind.put;
  }

  /** When the entry at `ordinal` expires, or NEVER. O(1). */
  expiryAt(ordinal: number): number {
    return this.expiries?.at(ordinal) ?? NEVER;
  }

  /** Whether some of its entries expire. */
  get hasExpiries(): boolean {
    return this.expiries !== undefined;
  }

  /** How many entries have expired at a moment, at the least. O(1). */
  countExpired(time: number): number {
    return this.expiries?.countExpired(time) ?? 0;
  }

  /**
   * How many entries have expired at a moment among ordinals [0, ordinal), exactly; `ordinal` may
   * be the key count. Costs as much as expires between the moment and the one that was asked about
   * before, of those of the present or of the past; the first call sorts all that expires.
   */
  countExpiredBefore(ordinal: number, time: number): number {
    return this.expiries?.countExpiredBefore(ordinal, time) ?? 0;
  }

  /** The longest period around a moment in which nothing expires. */
  expiryPeriodAt(time: number): Period {
    return this.expiries?.periodAt(time) ?? ALWAYS;
  }

  /**
   * Points `view` at the value at `ordinal`, whose entry has key[0, keyLength); at nothing for a
   * tombstone. Good until the next value that is read from a segment with the same block cache. At
   * most one read of the file, and as many of a value log as the value takes. Throws
   * CorruptionError.
   */
  viewValue(ordinal: number, key: Uint8Array, keyLength: number, view: ValueView): void {
    if (this.tombstones.has(ordinal)) view.clear();
    else this.values.viewValue(ordinal, key, keyLength, view);
  }

  /** The value at `ordinal` as an array, valid as long; but a value in a value log is not read: the answer is where it lies. */
  storedValueAt(ordinal: number, key: Uint8Array, keyLength: number): Uint8Array | ValuePlace {
    if (this.tombstones.has(ordinal)) return NO_VALUE;
    return this.values.storedValueAt(ordinal, key, keyLength);
  }

  /** The chunks of a value whose place `storedValueAt` gave. Throws CorruptionError. */
  chunksOf(place: ValuePlace): ChunkReader {
    return this.values.chunksOf(place);
  }

  /** Number of keys that sort before key[0, length). */
  rank(key: Uint8Array, length: number): number {
    return this.keys.rank(key, length);
  }

  /** Makes `target` the key at `ordinal`. */
  keyAt(ordinal: number, target: KeyBuffer): void {
    this.keys.keyAt(ordinal, target);
  }

  /** Bytes of the key index in the file, by part. */
  get keyIndexSizes(): KeyIndexSizes {
    return this.keys.sizes();
  }

  /** Number of tombstones among ordinals [0, ordinal). `ordinal` may be the key count. */
  tombstonesBefore(ordinal: number): number {
    return this.tombstones.before(ordinal);
  }

  /**
   * A new cursor, off the end, to which what has expired at a moment is a tombstone. Cursors are
   * independent of each other and of look-ups.
   */
  cursor(time: number = BEFORE_EXPIRY): SegmentCursor {
    const spare = this.spareCursor;
    if (spare === undefined) {
      const { keys, tombstones, expiries, values } = this;
      return new SegmentCursor(keys, tombstones, expiries, values, time, (closed) => {
        // One of before `readAll` would keep what was read before.
        if (keys === this.keyIndex) this.spareCursor = closed;
      });
    }
    this.spareCursor = undefined;
    spare.reopen(time);
    return spare;
  }

  /**
   * Reads the whole file again, past memory and cache, and the values in value logs that it refers
   * to, and checks every checksum, the order of keys, ordinals, counts and what the properties say.
   * Throws CorruptionError at the first damage. Pauses for other work; `onProgress` is told of the
   * bytes checked so far, those in value logs included. Meanwhile the segment's index is in memory
   * twice.
   */
  async verify(onProgress?: (bytes: number) => void): Promise<VerifiedSegment> {
    const { file, identity, valueLogs } = this;
    const resident = await ResidentSections.load(file, identity);
    const tables = new SymbolTables();
    const again = new Segment(file, resident, identity, new BlockCache(0), tables, valueLogs);
    const { keys, filter, tombstones, expiries, values, properties } = again;
    const parts = { file, keys, filter, tombstones, expiries, values, properties };
    return await verifyEntries(parts, onProgress ?? (() => {}));
  }

  /**
   * Writes its entries as the segment of another database (copy.ts), one that has no value logs of
   * this one: it must not refer to any.
   */
  async copyTo(target: CopyTarget): Promise<FinishedSegment> {
    assert(this.meta.valueLogs.length === 0, "a segment that is copied has its values");
    const fileBytes = await copySegment(this.file, this.sections, this.properties, target);
    return { ...this.meta, fileNumber: target.identity.fileNumber, fileBytes };
  }

  /** Closes the file and takes its blocks out of the cache. */
  async close(): Promise<void> {
    this.valueReader?.dropBlocks();
    await this.file.close();
  }

  /**
   * Reads and checks all sections, into other memory than what was read on demand: so nothing that is
   * in use is read over. Look-ups and cursors that are made from then on go by that.
   */
  private async readAll(): Promise<SharedSections> {
    const { file, identity, properties, path } = this;
    const resident = await ResidentSections.load(file, identity);
    const shared = resident.share();
    assert(shared !== undefined, "all that was loaded can be shared");
    this.resident = resident;
    this.tombstones = readTombstones(resident, properties, path);
    this.expiries = readExpiries(resident, properties, path);
    this.filterNow = this.openFilter();
    this.keyIndex = undefined;
    this.spareCursor = undefined;
    if (this.valueReader !== undefined) this.valueReader = this.openValues();
    return shared;
  }

  /** Checks those parts that are read already, and only unpacked when they are needed. */
  private checkParts(): void {
    const { keyIndex } = this.resident;
    const head = readKeyIndexHead(keyIndex, this.path, this.sections[Section.keyIndex].offset);
    this.expectKeys(head.totalBytes, head.keyCount);
    this.filterNow = this.openFilter();
  }

  private mayContainUnread(hash: number): boolean {
    this.unfilteredCount++;
    return this.unfilteredCount <= UNFILTERED_LOOKUPS || this.filter.mayContain(hash);
  }

  private get filter(): Filter {
    this.filterNow ??= this.openFilter();
    return this.filterNow;
  }

  private openFilter(): Filter {
    const bytes = this.resident.bytes(Section.filter);
    const rest = bytes.length % FILTER_BLOCK_BYTES;
    const { offset } = this.sections[Section.filter];
    expectNumber(rest, 0, "bytes of a cut filter block", this.path, offset);
    return new Filter(bytes);
  }

  /**
   * The key index, whose symbols are unpacked at first use: most of what opening would cost, for
   * segments that may not be asked.
   */
  private get keys(): KeyIndex {
    this.keyIndex ??= this.openKeys();
    return this.keyIndex;
  }

  private openKeys(): KeyIndex {
    const { path, symbolTables } = this;
    const { keyIndex, readKeyIndex } = this.resident;
    const { offset } = this.sections[Section.keyIndex];
    const keys = new KeyIndex(keyIndex, path, offset, symbolTables, readKeyIndex);
    this.expectKeys(keys.byteLength, keys.keyCount);
    return keys;
  }

  /** Throws CorruptionError unless the key index is as long, and has as many keys, as it should. */
  private expectKeys(totalBytes: number, keyCount: number): void {
    const { offset, length } = this.sections[Section.keyIndex];
    expectNumber(totalBytes, length, "length of the key index", this.path, offset);
    const expected = this.properties.keyCount;
    expectNumber(keyCount, expected, "keys in the key index", this.path, offset);
  }

  /** The values, whose index and symbols are unpacked at first use. */
  private get values(): ValueReader {
    this.valueReader ??= this.openValues();
    return this.valueReader;
  }

  private openValues(): ValueReader {
    const { resident, sections, path } = this;
    const blocks = sections[Section.valueBlocks];
    const blockIndex = new BlockIndex(
      resident.bytes(Section.blockIndex),
      this.properties.keyCount,
      blocks.offset + blocks.length,
      path,
      sections[Section.blockIndex].offset,
    );
    const table = resident.bytes(Section.valueSymbols);
    const tableOffset = sections[Section.valueSymbols].offset;
    const symbols =
      table.length === 0
        ? undefined
        : this.symbolTables.read(table, 0, table.length, path, tableOffset);
    const dictionary = readDictionary(
      resident.bytes(Section.dictionary),
      path,
      sections[Section.dictionary].offset,
    );
    return new ValueReader(
      this.file,
      this.identity.fileNumber,
      blockIndex,
      symbols,
      dictionary,
      this.blockCache,
      this.valueLogs,
    );
  }
}

function readTombstones(
  resident: ResidentSections,
  { keyCount, tombstoneCount }: Properties,
  path: string,
): OrdinalSet {
  const bytes = resident.bytes(Section.tombstones);
  const { offset } = resident.places[Section.tombstones];
  return new OrdinalSet(bytes, keyCount, tombstoneCount, "tombstones", path, offset);
}

/** Undefined where nothing expires. */
function readExpiries(
  resident: ResidentSections,
  { keyCount }: Properties,
  path: string,
): Expiries | undefined {
  const bytes = resident.bytes(Section.expiries);
  if (bytes.length === 0) return undefined;
  return new Expiries(bytes, keyCount, path, resident.places[Section.expiries].offset);
}

/** Bytes that the value index takes before it is unpacked. */
function valueIndexBytes(sections: readonly SectionPlace[]): number {
  return (
    sections[Section.blockIndex].length +
    sections[Section.valueSymbols].length +
    sections[Section.dictionary].length
  );
}
