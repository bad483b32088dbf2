/**
 * verifyEntries: walks every entry of a segment and checks what no checksum can: that keys ascend
 * and have the ordinals they should, that look-ups and filter find them, that every value decodes,
 * those in value logs included, and that the properties are true. On the way every page of keys,
 * every block and every chunk of a value is read and its checksum checked.
 */
import { setImmediate } from "node:timers/promises";
import { compareBytes, compareRanges } from "../bytes/compare.ts";
import { ValueView } from "../cursor/value-view.ts";
import { EntryKind, NEVER, type ValuePlace } from "../entry.ts";
import { CorruptionError } from "../errors.ts";
import type { File } from "../io/file-system.ts";
import { SegmentCursor } from "./cursor.ts";
import { type Expiries, quartilesOf } from "./expiries.ts";
import { type Filter, keyHash } from "./filter.ts";
import type { Properties } from "./format.ts";
import type { KeyIndex } from "./keys.ts";
import type { OrdinalSet } from "./ordinal-set.ts";
import type { ValueReader } from "./value-reader.ts";

/** Entries between pauses for other work, about a millisecond. */
const STEP_ENTRIES = 512;

export interface VerifiedSegment {
  readonly keys: number;
  /** Bytes of the file, and of the values in value logs. */
  readonly bytes: number;
}

/** The parts of an open segment. */
export interface VerifiedParts {
  readonly file: File;
  readonly keys: KeyIndex;
  readonly filter: Filter;
  readonly tombstones: OrdinalSet;
  readonly expiries: Expiries | undefined;
  readonly values: ValueReader;
  readonly properties: Properties;
}

/** Throws CorruptionError at the first fact that does not hold. */
export async function verifyEntries(
  parts: VerifiedParts,
  onProgress: (bytes: number) => void,
): Promise<VerifiedSegment> {
  const { file, keys, filter, tombstones, expiries, values, properties } = parts;
  const cursor = new SegmentCursor(keys, tombstones, expiries, values);
  const { index } = values;
  const view = new ValueView();
  let previous: Uint8Array = new Uint8Array(0);
  let count = 0;
  let keyBytes = 0;
  let valueBytes = 0;
  const logBytes = new Map<number, number>();
  let allLogBytes = 0;
  const found = new Float64Array(expiries?.count ?? 0);
  let expiryCount = 0;
  let block = 0;
  for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
    const { key, keyLength } = cursor;
    expectFact(count < properties.keyCount, "at most as many keys as it says", file);
    expectFact(cursor.ordinal === count, "ordinals that count up", file);
    if (count > 0) {
      const order = compareRanges(previous, 0, previous.length, key, 0, keyLength);
      expectFact(order < 0, "ascending keys", file);
    }
    previous = key.slice(0, keyLength);
    if (count === 0) {
      expectFact(compareBytes(previous, properties.firstKey) === 0, "its first key first", file);
    }
    expectFact(keys.find(key, keyLength) === count, "to find each key", file);
    expectFact(filter.mayContain(keyHash(key, keyLength)), "a filter that passes each key", file);
    keyBytes += keyLength;
    view.reset();
    const place = cursor.viewStored(view);
    valueBytes += place?.length ?? view.end - view.start;
    if (place !== undefined) {
      const report = (bytes: number): void =>
        onProgress(index.offsets[block] + allLogBytes + bytes);
      await verifyLarge(values, place, report);
      logBytes.set(place.fileNumber, (logBytes.get(place.fileNumber) ?? 0) + place.storedLength);
      allLogBytes += place.storedLength;
    }
    if (cursor.expiry !== NEVER) {
      expectFact(cursor.kind === EntryKind.put, "no tombstone that expires", file);
      found[expiryCount++] = cursor.expiry;
    }
    count++;
    if (count === index.firstOrdinals[block + 1]) {
      onProgress(index.offsets[block] + index.lengths[block] + allLogBytes);
      block++;
    }
    if (count % STEP_ENTRIES === 0) await setImmediate();
  }
  expectFact(compareBytes(previous, properties.lastKey) === 0, "its last key last", file);
  expectFact(count === properties.keyCount, "as many keys as it says", file);
  expectFact(keys.areCodesCounted, "as many bytes of codes as its key index says", file);
  expectFact(keyBytes === properties.keyBytes, "as many bytes of keys as it says", file);
  expectFact(valueBytes === properties.valueBytes, "as many bytes of values as it says", file);
  if (expiries !== undefined) {
    const quartiles = quartilesOf(found);
    const areTrue = expiries.quartiles.every((quartile, i) => quartile === quartiles[i]);
    expectFact(areTrue, "the quartiles of expiries that it says", file);
  }
  const { valueLogs } = properties;
  const areUsesTrue =
    valueLogs.length === logBytes.size &&
    valueLogs.every(({ fileNumber, bytes }) => logBytes.get(fileNumber) === bytes);
  expectFact(areUsesTrue, "the bytes of each value log that it says", file);
  return { keys: count, bytes: file.size() + allLogBytes };
}

/** Reads, checks and decodes every chunk of a value. */
async function verifyLarge(
  values: ValueReader,
  place: ValuePlace,
  onProgress: (bytes: number) => void,
): Promise<void> {
  const chunks = values.chunksOf(place);
  let bytes = 0;
  while (chunks.next()) {
    chunks.decodeInto(new Uint8Array(chunks.valueEnd - chunks.valueStart));
    bytes += chunks.chunk.length;
    onProgress(bytes);
    await setImmediate();
  }
}

function expectFact(isTrue: boolean, expected: string, file: File): void {
  if (isTrue) return;
  const facts = { file: file.path, offset: 0, expected, actual: "otherwise" };
  throw new CorruptionError("damaged segment", facts);
}
