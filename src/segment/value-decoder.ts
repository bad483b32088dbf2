/**
 * ValueDecoder: the values of a block's image, one by one.
 *
 * Values stored as they are come back as views of the image; coded ones are appended to what the
 * reader gives for it.
 */

import type { ByteWriter } from "../bytes/writer.ts";
import type { EntryRun } from "../cursor/entry-run.ts";
import type { ValueView } from "../cursor/value-view.ts";
import type { ValuePlace } from "../entry.ts";
import { CorruptionError } from "../errors.ts";
import { MAX_SYMBOL_BYTES } from "../symbols/codes.ts";
import type { SymbolTable } from "../symbols/table.ts";
import { MAX_INTEGER_BYTES, packedAt, writeInteger } from "./packed-integers.ts";
import { MAX_STRING_HEADER_BYTES, writeStringHeader } from "./string-header.ts";
import {
  BlockEncoding,
  isPlain,
  MAX_SHORT_SIZE,
  readPointer,
  VALUE_LIMIT_BYTES,
  ValueLocation,
} from "./value-block.ts";

const NO_BYTES = new Uint8Array(0);
const NO_PLACES = new Int32Array(0);
const NO_PLACE: ValuePlace = { fileNumber: 0, offset: 0, length: 0, storedLength: 0 };
/** Room for a coded value, its header in front, and what is copied too much behind it. */
const DECODED_ROOM: number = MAX_STRING_HEADER_BYTES + VALUE_LIMIT_BYTES + MAX_SYMBOL_BYTES;

export class ValueDecoder {
  /** Where the value lies for which `decode` returned false last. */
  place: ValuePlace;
  private readonly symbols: SymbolTable | undefined;
  private readonly location: ValueLocation;
  /** The values that `openRun` found: the first of them, how many, and where they are in the image. */
  private firstFound: number;
  private found: number;
  private starts: Int32Array;
  private lengths: Int32Array;
  /** The image is bytes[start, end), and its first byte `encoding`. */
  private bytes: Uint8Array;
  private start: number;
  private end: number;
  private encoding: number;

  constructor(symbols: SymbolTable | undefined) {
    this.place = NO_PLACE;
    this.symbols = symbols;
    this.location = new ValueLocation();
    this.firstFound = 0;
    this.found = 0;
    this.starts = NO_PLACES;
    this.lengths = NO_PLACES;
    this.bytes = NO_BYTES;
    this.start = 0;
    this.end = 0;
    this.encoding = 0;
  }

  /** Makes bytes[start, end) the image whose values are decoded. */
  open(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.encoding = bytes[start];
    if (this.encoding !== BlockEncoding.integers) this.location.open(bytes, start, end);
  }

  /**
   * Points `view` at value `position` of the image, whose entry has key[0, keyLength); false for one
   * in a value log, whose `place` is set then. `file` and `fileOffset` (of the block) are for errors.
   */
  decode(
    position: number,
    key: Uint8Array,
    keyLength: number,
    view: ValueView,
    file: string,
    fileOffset: number,
  ): boolean {
    const { location, bytes, encoding, symbols } = this;
    const { decoded } = view;
    if (encoding === BlockEncoding.integers) {
      this.decodeInteger(position, view, file, fileOffset);
      return true;
    }
    if (!location.find(position)) throwDamaged(position, file, fileOffset);
    const from = location.start;
    const to = from + location.length;
    if (location.isLarge) {
      this.place = readPointer(bytes, from);
      return false;
    }
    if (isPlain(encoding)) {
      view.set(bytes, from, to);
      return true;
    }
    const isCoded = encoding === BlockEncoding.symbols || encoding === BlockEncoding.text;
    if (symbols === undefined || !isCoded) throwDamaged(position, file, fileOffset);
    const hasHeader = encoding === BlockEncoding.text && !location.isBare;
    const start = decoded.reserve(DECODED_ROOM + (to - from) * MAX_SYMBOL_BYTES);
    const textStart = hasHeader ? start + MAX_STRING_HEADER_BYTES : start;
    const textEnd = symbols.decodeWithKeyInto(
      bytes,
      from,
      to,
      key,
      keyLength,
      decoded.view,
      textStart,
    );
    if (textEnd < 0) throwDamaged(position, file, fileOffset);
    decoded.length = textEnd;
    view.set(decoded.buffer, hasHeader ? prependHeader(decoded, textStart) : start, textEnd);
    return true;
  }

  /**
   * Shows in `view` the codes of the value that `decode` pointed it at, if it has any that coding it
   * again by the same symbols would make. Values that repeat each other are coded without their keys,
   * which they need not be elsewhere.
   */
  showCodes(position: number, view: ValueView): void {
    const { encoding, location, symbols } = this;
    const isCoded = encoding === BlockEncoding.symbols || encoding === BlockEncoding.text;
    if (!isCoded || symbols === undefined || location.isBare) return;
    if (location.isRepeated(position)) return;
    const { start, length } = location;
    view.setCodes(symbols, encoding, this.bytes, start, start + length);
  }

  /**
   * Finds `count` values from `position` on, for `appendRun`. False where they are to be decoded
   * one by one: integers, long ones, those in value logs, and where the block is damaged.
   */
  openRun(position: number, count: number): boolean {
    if (count > this.starts.length) {
      this.starts = new Int32Array(count);
      this.lengths = new Int32Array(count);
    }
    const { encoding } = this;
    const isCoded = encoding === BlockEncoding.symbols || encoding === BlockEncoding.text;
    if (isCoded ? this.symbols === undefined : !isPlain(encoding)) return false;
    this.firstFound = position;
    this.found = count;
    return this.location.findMany(position, count, this.starts, this.lengths);
  }

  /**
   * Appends `count` of the values that `openRun` found, but for the first `skip`, to a run, which has
   * the keys of its next `count` entries already; in a run backward the last value found is the
   * first. Returns how many there was room for.
   */
  appendRun(run: EntryRun, skip: number, count: number, file: string, fileOffset: number): number {
    const { bytes, start: imageStart, encoding, starts, lengths, found } = this;
    const { keys, keyStarts, keyEnds, valueStarts, valueEnds, maxBytes, isReverse } = run;
    const { decoded } = run.value;
    const symbols = isPlain(encoding) ? undefined : this.symbols;
    const headerRoom = encoding === BlockEncoding.text ? MAX_STRING_HEADER_BYTES : 0;
    decoded.reserve(maxBytes + DECODED_ROOM + MAX_SHORT_SIZE * MAX_SYMBOL_BYTES);
    let previousFrom = -1;
    let previousTo = -1;
    for (let i = 0; i < count; i++) {
      if (decoded.length >= maxBytes) return i;
      const at = isReverse ? found - 1 - skip - i : skip + i;
      const slot = run.count + i;
      const from = imageStart + starts[at];
      const to = from + lengths[at];
      if (from === previousFrom && to === previousTo) {
        // The same value again, which then has no part of a key in it.
        valueStarts[slot] = valueStarts[slot - 1];
        valueEnds[slot] = valueEnds[slot - 1];
        continue;
      }
      previousFrom = from;
      previousTo = to;
      const start = decoded.length;
      if (symbols === undefined) {
        decoded.append(bytes, from, to);
        valueStarts[slot] = start;
      } else {
        const textStart = start + headerRoom;
        const textEnd = symbols.decodeWordsWithKey(
          bytes,
          from,
          to,
          keys.view,
          keyStarts[slot],
          keyEnds[slot],
          decoded.view,
          textStart,
        );
        if (textEnd < 0) throwDamaged(this.firstFound + at, file, fileOffset);
        decoded.length = textEnd;
        valueStarts[slot] = headerRoom > 0 ? prependHeader(decoded, textStart) : start;
      }
      valueEnds[slot] = decoded.length;
    }
    return count;
  }

  private decodeInteger(position: number, view: ValueView, file: string, fileOffset: number): void {
    const integer = packedAt(this.bytes, this.start + 1, this.end, position);
    if (Number.isNaN(integer)) throwDamaged(position, file, fileOffset);
    const { decoded } = view;
    const start = decoded.reserve(MAX_INTEGER_BYTES);
    decoded.length = writeInteger(decoded.buffer, start, integer);
    view.set(decoded.buffer, start, decoded.length);
  }
}

/** Writes the header of the text that begins at `textStart`; returns where it begins. */
function prependHeader({ buffer, length }: ByteWriter, textStart: number): number {
  const start = writeStringHeader(buffer, textStart, length - textStart);
  // What is left of its room is no part of anything, and must not look like text that is not ASCII.
  for (let i = textStart - MAX_STRING_HEADER_BYTES; i < start; i++) buffer[i] = 0;
  return start;
}

function throwDamaged(position: number, file: string, offset: number): never {
  throw new CorruptionError("damaged value block", {
    file,
    offset,
    expected: `value ${position} of the block`,
    actual: "bytes that are no such value",
  });
}
