/**
 * Copies of segments for another database: the entries stay as they are, byte for byte; what says
 * whose segment it is, and which writes to which keys it answers for, is written anew.
 *
 * Nothing between header and properties depends on either, so a copy needs no decoding. It is made in
 * two steps, since the number of the write that it will be is known only when it is attached:
 * `copySegment` gives it another header, properties without that number, and the footer that belongs
 * to both; `stampSegment` puts the sequence numbers into the properties of a finished file.
 *
 * A copy covers its own keys and no others. What it covered beyond them were writes of the source:
 * segments of one run may cover each other's keys, as long as their writes differ, and those of the
 * copies do not.
 */
import { assert } from "../assert.ts";
import { checksum } from "../bytes/checksum.ts";
import { successor } from "../bytes/compare.ts";
import { ByteWriter } from "../bytes/writer.ts";
import { type FileIdentity, type SeqnoRange, UNNUMBERED } from "../entry.ts";
import type { File, FileSystem } from "../io/file-system.ts";
import {
  alignSection,
  checkHeader,
  decodeFooter,
  decodeProperties,
  encodeFooter,
  encodeHeader,
  encodeProperties,
  expectAtLeast,
  expectChecksum,
  FOOTER_BYTES,
  HEADER_BYTES,
  headerSum,
  type Properties,
  readWhole,
  Section,
  type SectionPlace,
} from "./format.ts";

/** Read and written at once. */
const STEP_BYTES = 2 ** 20;

export interface CopyTarget {
  readonly fileSystem: FileSystem;
  /** Must not exist. */
  readonly path: string;
  readonly identity: FileIdentity;
  /** Lets other work run; told of the bytes since the last time. What it rejects with ends the copy. */
  pause(bytes: number): Promise<void>;
}

/**
 * Writes what `source`, a segment whose sections lie at `places`, has of entries under another
 * identity, UNNUMBERED. The copy is complete and synced; its name is the caller's to sync. Resolves
 * to its length. If it rejects there is no copy.
 */
export async function copySegment(
  source: File,
  places: readonly SectionPlace[],
  properties: Properties,
  target: CopyTarget,
): Promise<number> {
  const { fileSystem, path, identity } = target;
  const { firstKey, lastKey } = properties;
  const cover = { coverStart: firstKey, coverEnd: successor(lastKey) };
  const writer = new ByteWriter();
  encodeProperties(writer, { ...properties, ...UNNUMBERED, ...cover });
  // The last section.
  const end = places[Section.properties].offset;
  const footerOffset = alignSection(end + writer.length);
  const file = await fileSystem.open(path, "create");
  try {
    const header = encodeHeader(identity);
    await file.write(header, 0);
    for (let pos = HEADER_BYTES; pos < end; pos += STEP_BYTES) {
      const bytes = new Uint8Array(Math.min(STEP_BYTES, end - pos));
      readWhole(source, bytes, pos);
      await file.write(bytes, pos);
      await target.pause(bytes.length);
    }
    await file.write(writer.bytes, end);
    const copied = withProperties(places, writer.bytes);
    // Zeros are left before it.
    await file.write(footerOf(copied, headerSum(header)), footerOffset);
    await file.sync();
    await file.close();
  } catch (error) {
    await file.close().catch(() => {});
    // Why there is no copy tells more than why a part of one is left.
    await fileSystem.remove(path).catch(() => {});
    throw error;
  }
  return footerOffset + FOOTER_BYTES;
}

/**
 * Makes a finished segment, which no database names yet, answer for the writes `seqnos`, durably.
 * Throws CorruptionError where it is not the segment that was written.
 */
export async function stampSegment(
  fileSystem: FileSystem,
  path: string,
  identity: FileIdentity,
  seqnos: SeqnoRange,
): Promise<void> {
  const file = await fileSystem.open(path, "update");
  try {
    const fileBytes = file.size();
    expectAtLeast(fileBytes, HEADER_BYTES + FOOTER_BYTES, "length of a segment", path, 0);
    const header = new Uint8Array(HEADER_BYTES);
    readWhole(file, header, 0);
    checkHeader(header, identity, path);
    const footerOffset = fileBytes - FOOTER_BYTES;
    const footer = new Uint8Array(FOOTER_BYTES);
    readWhole(file, footer, footerOffset);
    const places = decodeFooter(footer, fileBytes, headerSum(header), path);
    const { offset, length, checksum: sum } = places[Section.properties];
    const bytes = new Uint8Array(length);
    readWhole(file, bytes, offset);
    expectChecksum(bytes, 0, length, sum, "properties", path, offset);
    const writer = new ByteWriter();
    encodeProperties(writer, { ...decodeProperties(bytes, path, offset), ...seqnos });
    assert(writer.length === length, "sequence numbers have a fixed length");
    await file.write(writer.bytes, offset);
    const stamped = withProperties(places, writer.bytes);
    await file.write(footerOf(stamped, headerSum(header)), footerOffset);
    await file.sync();
  } finally {
    await file.close();
  }
}

function withProperties(places: readonly SectionPlace[], bytes: Uint8Array): SectionPlace[] {
  return places.map((place, section) =>
    section === Section.properties
      ? { ...place, length: bytes.length, checksum: checksum(bytes) }
      : place,
  );
}

function footerOf(places: readonly SectionPlace[], headerChecksum: number): Uint8Array {
  return encodeFooter(
    places.map(({ length }) => length),
    places.map((place) => place.checksum),
    headerChecksum,
  );
}
