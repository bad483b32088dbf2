/**
 * SegmentWriter: sorted entries in, one segment file out.
 *
 * Value blocks go to the file as they fill; the key index and everything else that is known only at
 * the end are gathered in memory (a few bytes a key) and follow in `finish`. `add` is synchronous and
 * writes nothing: output waits until the caller drains it, so that the caller decides when to wait
 * and the inner loop has no promises.
 *
 * A file is a segment only when `finish` has resolved: then it is synced and closed. Before that its
 * footer is missing, and opening it is an error. The directory is the caller's to sync.
 */
import { assert } from "../assert.ts";
import { checksum } from "../bytes/checksum.ts";
import { successor } from "../bytes/compare.ts";
import { ByteWriter } from "../bytes/writer.ts";
import type { Span } from "../cursor/spans.ts";
import type { ValueView } from "../cursor/value-view.ts";
import {
  EntryKind,
  type FileIdentity,
  MAX_KEY_BYTES,
  NEVER,
  type SeqnoRange,
  type ValueLogUse,
  type ValuePlace,
} from "../entry.ts";
import type { File, FileSystem } from "../io/file-system.ts";
import type { SegmentCoders } from "./coders.ts";
import { writeDictionary } from "./dictionary.ts";
import { ExpiryBuilder } from "./expiries.ts";
import { FilterBuilder, filterBytes, keyHash } from "./filter.ts";
import {
  alignSection,
  encodeFooter,
  encodeHeader,
  encodeProperties,
  FOOTER_BYTES,
  HEADER_BYTES,
  hasSectionSum,
  headerSum,
  MAX_KEY_COUNT,
  type Properties,
  SECTION_COUNT,
  Section,
} from "./format.ts";
import { KeyIndexBuilder } from "./keys.ts";
import { OrdinalSetBuilder } from "./ordinal-set.ts";
import { appendRangeTombstone } from "./range-tombstones.ts";
import { ValueWriter } from "./value-writer.ts";

/** About 1 absent key in 100 passes. */
export const DEFAULT_FILTER_BITS_PER_KEY = 10;

/** What a finished segment is, for the manifest. */
export interface FinishedSegment {
  readonly fileNumber: number;
  readonly fileBytes: number;
  readonly keyCount: number;
  readonly tombstoneCount: number;
  readonly rangeTombstoneCount: number;
  readonly firstKey: Uint8Array;
  readonly lastKey: Uint8Array;
  /** By ascending file number. */
  readonly valueLogs: readonly ValueLogUse[];
}

export interface SegmentWriterOptions {
  readonly fileSystem: FileSystem;
  readonly path: string;
  readonly identity: FileIdentity;
  readonly coders: SegmentCoders;
  /** The writes that the entries come from. */
  readonly seqnos: SeqnoRange;
  /** Keys from here up to the first one have no entry of these writes. Default: the first key. */
  readonly coverStart?: Uint8Array | undefined;
  /** Size of the point-lookup filter; 0 for none. Default DEFAULT_FILTER_BITS_PER_KEY. */
  readonly filterBitsPerKey?: number;
}

export class SegmentWriter {
  private readonly fileSystem: FileSystem;
  private readonly file: File;
  private readonly fileNumber: number;
  private readonly headerChecksum: number;
  private readonly coders: SegmentCoders;
  private readonly seqnos: SeqnoRange;
  private readonly coverStart: Uint8Array | undefined;
  private readonly filterBitsPerKey: number;
  private readonly keys: KeyIndexBuilder;
  private readonly values: ValueWriter;
  private readonly filter: FilterBuilder;
  private readonly tombstones: OrdinalSetBuilder;
  private readonly expiries: ExpiryBuilder;
  private readonly rangeTombstones: ByteWriter;
  private rangeTombstoneCount: number;
  private count: number;
  private keyBytes: number;
  private valueBytes: number;
  private firstKey: Uint8Array;

  /** Creates the file, which must not exist. */
  static async create(options: SegmentWriterOptions): Promise<SegmentWriter> {
    const file = await options.fileSystem.open(options.path, "create");
    return new SegmentWriter(options, file);
  }

  private constructor(options: SegmentWriterOptions, file: File) {
    const header = encodeHeader(options.identity);
    this.fileSystem = options.fileSystem;
    this.file = file;
    this.fileNumber = options.identity.fileNumber;
    this.headerChecksum = headerSum(header);
    this.coders = options.coders;
    this.seqnos = options.seqnos;
    this.coverStart = options.coverStart;
    this.filterBitsPerKey = options.filterBitsPerKey ?? DEFAULT_FILTER_BITS_PER_KEY;
    this.keys = new KeyIndexBuilder(options.coders.keySymbols);
    this.values = new ValueWriter(options.coders, header);
    this.filter = new FilterBuilder();
    this.tombstones = new OrdinalSetBuilder();
    this.expiries = new ExpiryBuilder();
    this.rangeTombstones = new ByteWriter();
    this.rangeTombstoneCount = 0;
    this.count = 0;
    this.keyBytes = 0;
    this.valueBytes = 0;
    this.firstKey = new Uint8Array(0);
  }

  get keyCount(): number {
    return this.count;
  }

  /** About what the file would have if it were finished now. */
  get estimatedBytes(): number {
    const filter = filterBytes(this.count, this.filterBitsPerKey);
    const { values, keys, expiries } = this;
    const columns = values.estimatedBytes + keys.estimatedBytes + expiries.estimatedBytes;
    return columns + filter + FOOTER_BYTES;
  }

  /** Output that waits for `drain`. */
  get pendingBytes(): number {
    return this.values.output.length;
  }

  /**
   * Adds the entry of key[0, keyLength), which must sort after all before it (the key index asserts
   * it), with the value that `view` shows, shorter than VALUE_LIMIT_BYTES. A tombstone's value is not
   * kept, and its expiry is NEVER. Both arrays may change after the call.
   */
  add(
    key: Uint8Array,
    keyLength: number,
    kind: EntryKind,
    view: ValueView,
    expiry: number = NEVER,
  ): void {
    this.addKey(key, keyLength, expiry);
    this.values.add(key, keyLength, kind, view);
    if (kind === EntryKind.tombstone) this.tombstones.add(this.count - 1);
    else this.valueBytes += view.end - view.start;
  }

  /** As `add`, for a put whose value lies in a value log. */
  addPlaced(key: Uint8Array, keyLength: number, place: ValuePlace, expiry: number = NEVER): void {
    this.addKey(key, keyLength, expiry);
    this.values.addPlace(place);
    this.valueBytes += place.length;
  }

  /**
   * Adds a range tombstone, to a segment without entries. It must start after the end of the one
   * before. The arrays may change after the call.
   */
  addRangeTombstone(span: Span): void {
    assert(this.count === 0, "a segment has entries or range tombstones");
    appendRangeTombstone(this.rangeTombstones, span);
    this.rangeTombstoneCount++;
  }

  /**
   * Writes what is pending. To be awaited before the next call of any method. After it or `finish` has
   * rejected, there is nothing to do but `abandon`.
   */
  async drain(): Promise<void> {
    const { values } = this;
    const { output } = values;
    const { length } = output;
    if (length === 0) return;
    await this.file.write(output.bytes, values.outputOffset);
    assert(output.length === length, "nothing is added while a segment is drained");
    values.outputOffset += length;
    output.reset();
  }

  /**
   * Completes, syncs and closes the file. Something must have been added. Keys from the last one up
   * to `coverEnd` (default: just after it) have no entry of the segment's writes.
   */
  async finish(coverEnd?: Uint8Array): Promise<FinishedSegment> {
    assert(this.count + this.rangeTombstoneCount > 0, "a segment is not empty");
    const { values, count } = this;
    values.finish();
    const lengths: number[] = [values.end - HEADER_BYTES];
    const sums: number[] = [0];
    for (let section = 1; section < SECTION_COUNT; section++) {
      const isKeyIndex = section === Section.keyIndex;
      const parts = isKeyIndex ? this.keys.finish() : [this.section(section as Section, coverEnd)];
      this.padOutput();
      await this.drain();
      const start = values.outputOffset;
      for (const part of parts) {
        await this.file.write(part, values.outputOffset);
        values.outputOffset += part.length;
      }
      lengths.push(values.outputOffset - start);
      sums.push(hasSectionSum(section as Section) ? checksum(parts[0]) : 0);
    }
    this.padOutput();
    values.output.append(encodeFooter(lengths, sums, this.headerChecksum));
    await this.drain();
    const fileBytes = values.end;
    await this.file.sync();
    await this.file.close();
    return {
      fileNumber: this.fileNumber,
      fileBytes,
      keyCount: count,
      tombstoneCount: this.tombstones.count,
      rangeTombstoneCount: this.rangeTombstoneCount,
      firstKey: this.firstKey,
      lastKey: this.keys.lastKey.slice(),
      valueLogs: values.valueLogs,
    };
  }

  /** Closes and removes the file. */
  async abandon(): Promise<void> {
    await this.file.close();
    await this.fileSystem.remove(this.file.path);
  }

  /** The bytes of a section behind the key index. */
  private section(section: Section, coverEnd: Uint8Array | undefined): Uint8Array {
    const writer = new ByteWriter();
    switch (section) {
      case Section.filter:
        return this.filter.finish(this.filterBitsPerKey);
      case Section.blockIndex:
        this.values.writeIndex(writer);
        return writer.bytes;
      case Section.valueSymbols:
        this.coders.valueSymbols?.serialize(writer);
        return writer.bytes;
      case Section.dictionary:
        writeDictionary(writer, this.coders.dictionary);
        return writer.bytes;
      case Section.tombstones:
        return this.tombstones.finish(this.count);
      case Section.rangeTombstones:
        return this.rangeTombstones.bytes;
      case Section.expiries:
        return this.expiries.finish(this.count);
      case Section.properties:
        encodeProperties(writer, this.properties(coverEnd));
        return writer.bytes;
      default:
        return writer.bytes;
    }
  }

  private properties(coverEnd: Uint8Array | undefined): Properties {
    const { lastKey } = this.keys;
    const lastCovered = this.count === 0 ? lastKey : successor(lastKey);
    return {
      keyCount: this.count,
      tombstoneCount: this.tombstones.count,
      rangeTombstoneCount: this.rangeTombstoneCount,
      keyBytes: this.keyBytes,
      valueBytes: this.valueBytes,
      firstSeqno: this.seqnos.firstSeqno,
      lastSeqno: this.seqnos.lastSeqno,
      isUncoded: this.coders.isUncoded === true && this.count > 0,
      firstKey: this.firstKey,
      lastKey,
      coverStart: this.coverStart ?? this.firstKey,
      coverEnd: coverEnd ?? lastCovered,
      valueLogs: this.values.valueLogs,
    };
  }

  private addKey(key: Uint8Array, keyLength: number, expiry: number): void {
    assert(keyLength <= MAX_KEY_BYTES, "a key in a segment is within its limit");
    assert(this.count < MAX_KEY_COUNT, "a segment's keys are within their limit");
    if (this.count === 0) this.firstKey = key.slice(0, keyLength);
    this.keys.add(key, keyLength);
    this.filter.add(keyHash(key, keyLength));
    this.keyBytes += keyLength;
    if (expiry !== NEVER) this.expiries.add(this.count, expiry);
    this.count++;
  }

  /** Zeros up to where a section may begin. */
  private padOutput(): void {
    const { values } = this;
    const padding = alignSection(values.end) - values.end;
    for (let i = 0; i < padding; i++) values.output.u8(0);
  }
}
