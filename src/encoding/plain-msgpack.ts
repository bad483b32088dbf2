/**
 * PlainEncoder: msgpack of what JSON has: null, booleans, numbers, strings, arrays and plain objects.
 *
 * Most values are that and small, and to check them, to encode them by a library that knows all
 * types, and to copy the outcome costs twice as much as one pass that does nothing else. What the pass
 * meets beside that (dates, sets, bytes, classes, text without a UTF-8 form) ends it without a result,
 * and so does what is deep or large: then the library encodes all of it, or says what is wrong.
 *
 * The bytes are those that msgpackr makes (test/encoding/plain-msgpack.test.ts), so that it decodes them
 * and so that a value has one encoding, which conditional writes compare.
 *
 * Source: msgpack specification, https://github.com/msgpack/msgpack/blob/master/spec.md
 */
import { MAX_BYTES_PER_UNIT, writeText } from "../bytes/text.ts";
import { ByteWriter } from "../bytes/writer.ts";
import { isWellFormed } from "./key-codec.ts";

/** The bytes that begin a value, of which some are joined with a length below 2^4 or 2^5. */
export const Format = {
  shortMap: 0x80,
  shortArray: 0x90,
  shortText: 0xa0,
  nil: 0xc0,
  no: 0xc2,
  yes: 0xc3,
  float64: 0xcb,
  uint8: 0xcc,
  uint16: 0xcd,
  uint32: 0xce,
  int8: 0xd0,
  int16: 0xd1,
  int32: 0xd2,
  /** An extension of one byte; msgpackr's type 0 is `undefined`. */
  extension1: 0xd4,
  text8: 0xd9,
  text16: 0xda,
  array16: 0xdc,
  map16: 0xde,
} as const;

/** What is nested deeper is left to the library, and so is longer text, and what has more bytes. */
export const MAX_DEPTH = 32;
const MAX_TEXT_UNITS = 2 ** 12;
const MAX_BYTES = 2 ** 16;
/** Most elements of an array and properties of an object: more would have too many bytes. */
const MAX_COUNT: number = 2 ** 16 - 1;

export class PlainEncoder {
  private readonly writer: ByteWriter;
  private isEncoding: boolean;

  constructor() {
    this.writer = new ByteWriter(512);
    this.isEncoding = false;
  }

  /** A view of the value's bytes, good until the next `encode`; undefined where it is not plain. */
  encode(value: unknown): Uint8Array | undefined {
    // A getter of the value may encode another.
    if (this.isEncoding) return undefined;
    this.isEncoding = true;
    this.writer.reset();
    try {
      return this.append(value, 0) ? this.writer.bytes : undefined;
    } finally {
      this.isEncoding = false;
    }
  }

  /** Whether the value is plain; then it was appended. */
  private append(value: unknown, depth: number): boolean {
    const { writer } = this;
    if (writer.length > MAX_BYTES) return false;
    switch (typeof value) {
      case "string":
        return this.appendText(value);
      case "number":
        this.appendNumber(value);
        return true;
      case "boolean":
        writer.u8(value ? Format.yes : Format.no);
        return true;
      case "undefined":
        if (depth === 0) return false;
        writer.u8(Format.extension1);
        writer.u16(0);
        return true;
      case "object":
        if (value === null) {
          writer.u8(Format.nil);
          return true;
        }
        if (depth === MAX_DEPTH) return false;
        if (Array.isArray(value)) return this.appendArray(value, depth + 1);
        return this.appendObject(value, depth + 1);
      default:
        return false;
    }
  }

  private appendArray(array: readonly unknown[], depth: number): boolean {
    const { length } = array;
    if (array.constructor !== Array || length > MAX_COUNT) return false;
    this.appendCount(length, Format.shortArray, Format.array16);
    for (let i = 0; i < length; i++) {
      if (!this.append(array[i], depth)) return false;
    }
    return true;
  }

  private appendObject(object: object, depth: number): boolean {
    const isPlain =
      Object.getPrototypeOf(object) === Object.prototype && object.constructor === Object;
    if (!isPlain) return false;
    const names = Object.keys(object);
    if (names.length > MAX_COUNT) return false;
    this.appendCount(names.length, Format.shortMap, Format.map16);
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      if (name === "__proto__" || !this.appendText(name)) return false;
      if (!this.append((object as Record<string, unknown>)[name], depth)) return false;
    }
    return true;
  }

  /** How many there are in an array or a map, in the shorter form that can hold it. */
  private appendCount(count: number, short: number, long: number): void {
    if (count < 0x10) this.writer.u8(short | count);
    else this.appendBigEndian(long, count, 2);
  }

  private appendText(text: string): boolean {
    const units = text.length;
    if (units > MAX_TEXT_UNITS) return false;
    const { writer } = this;
    const pos = writer.reserve(MAX_TEXT_HEADER_BYTES + units * MAX_BYTES_PER_UNIT);
    const { buffer } = writer;
    // Its bytes are as many as its units, or more.
    const start = pos + textHeaderBytes(units);
    const length = writeText(buffer, start, text) - start;
    // What is as long as its units is ASCII.
    if (length !== units && !isWellFormed(text)) return false;
    const movedTo = pos + textHeaderBytes(length);
    if (movedTo !== start) buffer.copyWithin(movedTo, start, start + length);
    if (length < 0x20) {
      buffer[pos] = Format.shortText | length;
    } else if (length < 0x100) {
      buffer[pos] = Format.text8;
      buffer[pos + 1] = length;
    } else {
      buffer[pos] = Format.text16;
      buffer[pos + 1] = length >>> 8;
      buffer[pos + 2] = length;
    }
    writer.length = movedTo + length;
    return true;
  }

  private appendNumber(value: number): void {
    const { writer } = this;
    if (value >>> 0 === value) {
      if (value < 0x80) writer.u8(value);
      else if (value < 0x100) this.appendBigEndian(Format.uint8, value, 1);
      else if (value < 0x1_0000) this.appendBigEndian(Format.uint16, value, 2);
      else this.appendBigEndian(Format.uint32, value, 4);
    } else if (value >> 0 === value) {
      if (value >= -0x20) writer.u8(value);
      else if (value >= -0x80) this.appendBigEndian(Format.int8, value, 1);
      else if (value >= -0x8000) this.appendBigEndian(Format.int16, value, 2);
      else this.appendBigEndian(Format.int32, value, 4);
    } else {
      const pos = writer.reserve(9);
      writer.buffer[pos] = Format.float64;
      writer.view.setFloat64(pos + 1, value);
      writer.length = pos + 9;
    }
  }

  /** Appends a format and the low `count` bytes of a value, the highest first. */
  private appendBigEndian(format: number, value: number, count: number): void {
    const { writer } = this;
    const pos = writer.reserve(1 + count);
    const { buffer } = writer;
    buffer[pos] = format;
    for (let i = 0; i < count; i++) buffer[pos + count - i] = value >>> (8 * i);
    writer.length = pos + 1 + count;
  }
}

/** Bytes before a text of so many. No text here has more than 2^16. */
function textHeaderBytes(length: number): number {
  if (length < 0x20) return 1;
  return length < 0x100 ? 2 : MAX_TEXT_HEADER_BYTES;
}

const MAX_TEXT_HEADER_BYTES = 3;
