/**
 * ResidentSections: what an open segment keeps in memory, read into one shared buffer and checked.
 *
 * Header and footer say where the sections lie; all but the value blocks lie together at the end of
 * the file, so one stretch of the file is one buffer, in which every section is read in place. It is
 * a SharedArrayBuffer, so that another thread that opens the file need not read and check it again.
 *
 * A segment that was just written, or is to be verified, is read whole. Those that a database finds
 * when it is opened are read on demand: each section when it is first asked for, and the pages of the
 * key index one by one, so that an open hardly takes longer for much data than for little. What was
 * not read takes no memory: the system gives a buffer its pages when they are written to.
 */
import { setImmediate } from "node:timers/promises";
import type { FileIdentity } from "../entry.ts";
import { CorruptionError } from "../errors.ts";
import type { File } from "../io/file-system.ts";
import {
  checkHeader,
  decodeFooter,
  encodeHeader,
  expectAtLeast,
  expectChecksum,
  expectNumber,
  FOOTER_BYTES,
  HEADER_BYTES,
  hasSectionSum,
  headerSum,
  identityOf,
  readWhole,
  SECTION_COUNT,
  Section,
  type SectionPlace,
} from "./format.ts";

/** Loading pauses for other work after so much, which takes about a millisecond. */
const LOAD_STEP_BYTES = 2 << 20;

const SECTION_NAMES = [
  "value blocks",
  "key index",
  "filter",
  "block index",
  "value symbols",
  "dictionary",
  "tombstones",
  "range tombstones",
  "expiries",
  "properties",
] as const;

/** The sections of an open segment, as they are handed to another thread. */
export interface SharedSections {
  readonly places: readonly SectionPlace[];
  readonly memory: SharedArrayBuffer;
  /** Where in the file the memory begins. */
  readonly offset: number;
}

export class ResidentSections {
  /** By `Section`. */
  readonly places: readonly SectionPlace[];
  private readonly file: File;
  /** The file from the end of the value blocks to the footer. */
  private readonly buffer: Uint8Array<SharedArrayBuffer>;
  private readonly bufferOffset: number;
  /** By `Section`: whether it was read and checked. */
  private readonly areChecked: boolean[];
  /** Whether all of it was read. */
  private isWhole: boolean;
  private isFilterSound: boolean;

  /**
   * Reads and checks header and footer, and each section when it is asked for. Throws CorruptionError
   * or UnsupportedVersionError.
   *
   * Where `isHeaderNeeded` is false, a damaged header is no error: the footer says as much.
   */
  static onDemand(file: File, identity: FileIdentity, isHeaderNeeded = true): ResidentSections {
    const { path } = file;
    const fileBytes = file.size();
    expectAtLeast(fileBytes, HEADER_BYTES + FOOTER_BYTES, "length of a segment", path, 0);
    const header = new Uint8Array(HEADER_BYTES);
    readWhole(file, header, 0);
    if (isHeaderNeeded || identityOf(header) !== undefined) checkHeader(header, identity, path);
    const footer = new Uint8Array(FOOTER_BYTES);
    const footerOffset = fileBytes - FOOTER_BYTES;
    readWhole(file, footer, footerOffset);
    const places = decodeFooter(footer, fileBytes, headerSum(encodeHeader(identity)), path);
    const blocks = places[Section.valueBlocks];
    const bufferOffset = blocks.offset + blocks.length;
    const memory = new SharedArrayBuffer(footerOffset - bufferOffset);
    return new ResidentSections(file, places, memory, bufferOffset, false);
  }

  /**
   * Reads and checks header, footer and all sections. Throws CorruptionError or
   * UnsupportedVersionError. Memory: the sections' bytes, which the file's own size bounds.
   *
   * Where `onDamage` is given, it is told of damage that entries can be read without: of the filter,
   * which is then empty, and of the padding. A damaged header is none then.
   */
  static async load(
    file: File,
    identity: FileIdentity,
    onDamage?: (damage: CorruptionError) => void,
  ): Promise<ResidentSections> {
    const sections = ResidentSections.onDemand(file, identity, onDamage === undefined);
    const { buffer, bufferOffset } = sections;
    for (let pos = 0; pos < buffer.length; pos += LOAD_STEP_BYTES) {
      if (pos > 0) await setImmediate();
      readWhole(file, buffer.subarray(pos, pos + LOAD_STEP_BYTES), bufferOffset + pos);
    }
    sections.isWhole = true;
    for (const section of Object.values(Section)) {
      if (section !== Section.filter && hasSectionSum(section)) sections.check(section);
    }
    sections.isFilterSound = forgive(() => sections.check(Section.filter), onDamage);
    forgive(() => sections.checkPadding(), onDamage);
    return sections;
  }

  /** What `load` made of the same file, here or in another thread. Throws CorruptionError if it is not. */
  static from({ places, memory, offset }: SharedSections, file: File): ResidentSections {
    const fileBytes = offset + memory.byteLength + FOOTER_BYTES;
    expectNumber(file.size(), fileBytes, "length of a segment", file.path, 0);
    return new ResidentSections(file, places, memory, offset, true);
  }

  /** For `from`, in another thread: nothing is copied. Undefined where not all of it was read. */
  share(): SharedSections | undefined {
    const { places, buffer, bufferOffset } = this;
    return this.isWhole ? { places, memory: buffer.buffer, offset: bufferOffset } : undefined;
  }

  private constructor(
    file: File,
    places: readonly SectionPlace[],
    memory: SharedArrayBuffer,
    bufferOffset: number,
    isWhole: boolean,
  ) {
    this.file = file;
    this.places = places;
    this.buffer = new Uint8Array(memory);
    this.bufferOffset = bufferOffset;
    this.areChecked = places.map(() => isWhole);
    this.isWhole = isWhole;
    this.isFilterSound = true;
  }

  /** The checked bytes of a section that has a sum. Throws CorruptionError. */
  bytes(section: Section): Uint8Array {
    if (section === Section.filter && !this.isFilterSound) return NO_FILTER;
    const bytes = this.view(section);
    if (!this.areChecked[section]) {
      readWhole(this.file, bytes, this.places[section].offset);
      this.check(section);
    }
    return bytes;
  }

  /**
   * The key index, whose parts have sums of their own: undefined where all of it was read, else what
   * reads a part of it, from `start` to `end` in its bytes, into them.
   */
  get readKeyIndex(): ((start: number, end: number) => void) | undefined {
    if (this.isWhole) return undefined;
    const bytes = this.keyIndex;
    const { offset } = this.places[Section.keyIndex];
    return (start, end) => readWhole(this.file, bytes.subarray(start, end), offset + start);
  }

  /** Bytes of the key index, of which those that `readKeyIndex` is for are zeros until it was called. */
  get keyIndex(): Uint8Array {
    return this.view(Section.keyIndex);
  }

  private view(section: Section): Uint8Array {
    const { offset, length } = this.places[section];
    const start = offset - this.bufferOffset;
    return this.buffer.subarray(start, start + length);
  }

  private check(section: Section): void {
    const { offset, length, checksum } = this.places[section];
    const start = offset - this.bufferOffset;
    const what = SECTION_NAMES[section];
    expectChecksum(this.buffer, start, start + length, checksum, what, this.file.path, offset);
    this.areChecked[section] = true;
  }

  /** The bytes between sections must be zeros. */
  private checkPadding(): void {
    const { buffer, bufferOffset, places } = this;
    const { path } = this.file;
    let pos = 0;
    for (let section = 1; section <= SECTION_COUNT; section++) {
      const isLast = section === SECTION_COUNT;
      const end = isLast ? buffer.length : places[section].offset - bufferOffset;
      for (; pos < end; pos++) expectNumber(buffer[pos], 0, "padding", path, bufferOffset + pos);
      if (!isLast) pos = end + places[section].length;
    }
  }
}

const NO_FILTER = new Uint8Array(0);

/** Whether a check passed. Throws what it throws, unless that is damage that `onDamage` is told of. */
function forgive(check: () => void, onDamage?: (damage: CorruptionError) => void): boolean {
  try {
    check();
    return true;
  } catch (error) {
    if (onDamage === undefined || !(error instanceof CorruptionError)) throw error;
    onDamage(error);
    return false;
  }
}
