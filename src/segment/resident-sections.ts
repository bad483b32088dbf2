/**
 * ResidentSections: what an open segment keeps in memory, read into one shared buffer and checked.
 *
 * Header and footer say where the sections lie; all but the value blocks lie together at the end of
 * the file, so one stretch of the file is one buffer, in which every section is read in place. It is
 * a SharedArrayBuffer, so that another thread that opens the file need not read and check it again.
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
  /** The file from the end of the value blocks to the footer. */
  private readonly buffer: Uint8Array<SharedArrayBuffer>;
  private readonly bufferOffset: number;
  private isFilterSound: boolean;

  /**
   * Reads and checks header, footer and sections. Throws CorruptionError or UnsupportedVersionError.
   * Memory: the sections' bytes, which the file's own size bounds.
   *
   * Where `onDamage` is given, it is told of damage that entries can be read without: of the filter,
   * which is then empty, and of the padding. A damaged header is none then, since the footer says as
   * much.
   */
  static async load(
    file: File,
    identity: FileIdentity,
    onDamage?: (damage: CorruptionError) => void,
  ): Promise<ResidentSections> {
    const { path } = file;
    const fileBytes = file.size();
    expectAtLeast(fileBytes, HEADER_BYTES + FOOTER_BYTES, "length of a segment", path, 0);
    const header = new Uint8Array(HEADER_BYTES);
    readWhole(file, header, 0);
    if (onDamage === undefined || identityOf(header) !== undefined) {
      checkHeader(header, identity, path);
    }
    const footer = new Uint8Array(FOOTER_BYTES);
    const footerOffset = fileBytes - FOOTER_BYTES;
    readWhole(file, footer, footerOffset);
    const places = decodeFooter(footer, fileBytes, headerSum(encodeHeader(identity)), path);

    const blocks = places[Section.valueBlocks];
    const bufferOffset = blocks.offset + blocks.length;
    const buffer = new Uint8Array(new SharedArrayBuffer(footerOffset - bufferOffset));
    for (let pos = 0; pos < buffer.length; pos += LOAD_STEP_BYTES) {
      if (pos > 0) await setImmediate();
      readWhole(file, buffer.subarray(pos, pos + LOAD_STEP_BYTES), bufferOffset + pos);
    }
    const sections = new ResidentSections(places, buffer, bufferOffset);
    for (const section of Object.values(Section)) {
      if (section !== Section.filter && hasSectionSum(section)) sections.check(section, path);
    }
    sections.isFilterSound = forgive(() => sections.check(Section.filter, path), onDamage);
    forgive(() => sections.checkPadding(path), onDamage);
    return sections;
  }

  /** What `load` made of the same file, here or in another thread. Throws CorruptionError if it is not. */
  static from({ places, memory, offset }: SharedSections, file: File): ResidentSections {
    const fileBytes = offset + memory.byteLength + FOOTER_BYTES;
    expectNumber(file.size(), fileBytes, "length of a segment", file.path, 0);
    return new ResidentSections(places, new Uint8Array(memory), offset);
  }

  /** For `from`, in another thread. Nothing is copied. */
  share(): SharedSections {
    const { places, buffer, bufferOffset } = this;
    return { places, memory: buffer.buffer, offset: bufferOffset };
  }

  private constructor(
    places: readonly SectionPlace[],
    buffer: Uint8Array<SharedArrayBuffer>,
    bufferOffset: number,
  ) {
    this.places = places;
    this.buffer = buffer;
    this.bufferOffset = bufferOffset;
    this.isFilterSound = true;
  }

  /** The bytes of a section that is not the value blocks. */
  bytes(section: Section): Uint8Array {
    const { offset, length } = this.places[section];
    const start = offset - this.bufferOffset;
    if (section === Section.filter && !this.isFilterSound) return NO_FILTER;
    return this.buffer.subarray(start, start + length);
  }

  private check(section: Section, file: string): void {
    const { offset, length, checksum } = this.places[section];
    const start = offset - this.bufferOffset;
    const what = SECTION_NAMES[section];
    expectChecksum(this.buffer, start, start + length, checksum, what, file, offset);
  }

  /** The bytes between sections must be zeros. */
  private checkPadding(file: string): void {
    const { buffer, bufferOffset, places } = this;
    let pos = 0;
    for (let section = 1; section <= SECTION_COUNT; section++) {
      const isLast = section === SECTION_COUNT;
      const end = isLast ? buffer.length : places[section].offset - bufferOffset;
      for (; pos < end; pos++) expectNumber(buffer[pos], 0, "padding", file, bufferOffset + pos);
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
