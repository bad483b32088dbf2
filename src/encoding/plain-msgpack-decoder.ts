/**
 * PlainDecoder: values of the plain msgpack that PlainEncoder makes, in one pass.
 *
 * A library that knows all types makes each name and text of an object on its own, which is most of
 * what decoding costs. Here
 * - a name is not decoded at all where it is known: objects of a kind have their names in one order,
 *   so each name that was seen remembers the one that came next, whose bytes are compared in place;
 * - texts are parts of one string, made of all bytes of the value at once. A part keeps the whole
 *   alive, so that string has WINDOW_BYTES at most, and longer texts are made by themselves.
 *
 * What the pass does not know (dates, sets, bytes, bigints), what is nested deep, and what is no whole
 * value ends it without a result: then the library decodes all of it, or says what is wrong.
 *
 * Invariant: a slot of the names is empty, or has the bytes of a name and the text that they are.
 */
import { decodeLatin1, decodeUtf8 } from "./key-codec.ts";
import { Format, MAX_DEPTH } from "./plain-msgpack.ts";

/** What `decode` returns for bytes that are not plain. */
export const NOT_PLAIN: unique symbol = Symbol("not plain");

/** Names that are remembered; each has its place by its hash, and gives it up to the next there. */
const NAME_COUNT = 1024;
/** Of a short text with its header, which is what names mostly are. Longer ones are not remembered. */
const NAME_BYTES = 32;

/** How much of a value is made one string at a time. */
const WINDOW_BYTES = 1024;
const MAX_SHARED_BYTES = 256;

export class PlainDecoder {
  /** Name i is names[i * NAME_BYTES], its header, and behind it; a header of 0 is an empty slot. */
  private readonly names: Uint8Array;
  private readonly nameTexts: string[];
  /** The name that came after it last. */
  private readonly followers: Uint16Array;
  /** The name that was read last. */
  private lastName: number;
  /** What is decoded is bytes[pos, end). */
  private bytes: Uint8Array;
  private pos: number;
  private end: number;
  /** The string of bytes[windowStart, windowEnd), each byte a character. */
  private window: string;
  private windowStart: number;
  private windowEnd: number;
  private readonly float: Float64Array;
  private readonly floatBytes: DataView;

  constructor() {
    this.names = new Uint8Array(NAME_COUNT * NAME_BYTES);
    this.nameTexts = new Array(NAME_COUNT).fill("");
    this.followers = new Uint16Array(NAME_COUNT);
    this.lastName = 0;
    this.bytes = NO_BYTES;
    this.pos = 0;
    this.end = 0;
    this.window = "";
    this.windowStart = 0;
    this.windowEnd = 0;
    this.float = new Float64Array(1);
    this.floatBytes = new DataView(this.float.buffer);
  }

  /** The value that bytes[start, end) are, of which nothing is kept; NOT_PLAIN where that is not known. */
  decode(bytes: Uint8Array, start: number, end: number): unknown {
    this.bytes = bytes;
    this.pos = start;
    this.end = end;
    // The last call may not have come to its end: the stack is the caller's, and may have been full.
    this.windowEnd = 0;
    const value = this.read(0);
    this.bytes = NO_BYTES;
    this.window = "";
    return this.pos === end ? value : NOT_PLAIN;
  }

  /** The value at `pos`. What lies beyond `end` may be read, but then `pos` comes to be there. */
  private read(depth: number): unknown {
    const { bytes } = this;
    const format = bytes[this.pos++];
    if (format < 0x80) return format;
    if (format < Format.shortArray) return this.readObject(format & 0x0f, depth);
    if (format < Format.shortText) return this.readArray(format & 0x0f, depth);
    if (format < Format.nil) return this.readText(format & 0x1f);
    switch (format) {
      case Format.nil:
        return null;
      case Format.no:
        return false;
      case Format.yes:
        return true;
      case Format.float64:
        return this.readFloat();
      case Format.uint8:
        return this.readUnsigned(1);
      case Format.uint16:
        return this.readUnsigned(2);
      case Format.uint32:
        return this.readUnsigned(4) >>> 0;
      case Format.int8:
        return (this.readUnsigned(1) << 24) >> 24;
      case Format.int16:
        return (this.readUnsigned(2) << 16) >> 16;
      case Format.int32:
        return this.readUnsigned(4);
      case Format.extension1:
        return this.readUnsigned(2) === 0 ? undefined : NOT_PLAIN;
      case Format.text8:
        return this.readText(this.readUnsigned(1));
      case Format.text16:
        return this.readText(this.readUnsigned(2));
      case Format.array16:
        return this.readArray(this.readUnsigned(2), depth);
      case Format.map16:
        return this.readObject(this.readUnsigned(2), depth);
      default:
        return format >= 0xe0 ? format - 0x100 : NOT_PLAIN;
    }
  }

  private readObject(count: number, depth: number): unknown {
    if (depth === MAX_DEPTH || count > this.end - this.pos) return NOT_PLAIN;
    const object: Record<string, unknown> = {};
    for (let i = 0; i < count; i++) {
      const name = this.readName();
      if (typeof name !== "string") return NOT_PLAIN;
      const value = this.read(depth + 1);
      if (value === NOT_PLAIN) return NOT_PLAIN;
      object[name] = value;
    }
    return object;
  }

  private readArray(count: number, depth: number): unknown {
    if (depth === MAX_DEPTH || count > this.end - this.pos) return NOT_PLAIN;
    const array: unknown[] = new Array(count);
    for (let i = 0; i < count; i++) {
      const value = this.read(depth + 1);
      if (value === NOT_PLAIN) return NOT_PLAIN;
      array[i] = value;
    }
    return array;
  }

  /** The name at `pos`; NOT_PLAIN where there is none. */
  private readName(): unknown {
    const { lastName } = this;
    let name = this.followers[lastName];
    if (!this.isNameAt(name)) {
      name = this.findName();
      if (name < 0) return this.readLongName();
      this.followers[lastName] = name;
    }
    this.lastName = name;
    this.pos += 1 + (this.names[name * NAME_BYTES] & 0x1f);
    return this.nameTexts[name];
  }

  private readLongName(): unknown {
    if (this.bytes[this.pos++] !== Format.text8) return NOT_PLAIN;
    const length = this.readUnsigned(1);
    return length < NAME_BYTES ? NOT_PLAIN : this.readText(length);
  }

  private isNameAt(name: number): boolean {
    const { bytes, names, pos } = this;
    const from = name * NAME_BYTES;
    const header = names[from];
    if (bytes[pos] !== header || header === 0) return false;
    const length = header & 0x1f;
    for (let i = 1; i <= length; i++) {
      if (bytes[pos + i] !== names[from + i]) return false;
    }
    return true;
  }

  /** The slot where the name at `pos` belongs, and now is; -1 for none. */
  private findName(): number {
    const { bytes, names, pos } = this;
    const header = bytes[pos];
    const end = pos + 1 + (header & 0x1f);
    if (header >> 5 !== Format.shortText >> 5 || end > this.end) return -1;
    let hash = header;
    for (let i = pos + 1; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
    const name = (hash ^ (hash >>> 15)) & (NAME_COUNT - 1);
    if (this.isNameAt(name)) return name;
    const text = decodeUtf8(bytes, pos + 1, end);
    // An object made property by property would take it for its prototype.
    if (text === "__proto__") return -1;
    for (let i = pos, to = name * NAME_BYTES; i < end; i++) names[to++] = bytes[i];
    this.nameTexts[name] = text;
    return name;
  }

  private readText(length: number): unknown {
    const { bytes, pos: start } = this;
    const end = start + length;
    if (end > this.end) return NOT_PLAIN;
    this.pos = end;
    let union = 0;
    for (let i = start; i < end; i++) union |= bytes[i];
    if (union >= 0x80 || length > MAX_SHARED_BYTES) return decodeUtf8(bytes, start, end);
    if (end > this.windowEnd) {
      this.windowStart = start;
      this.windowEnd = Math.min(this.end, start + WINDOW_BYTES);
      this.window = decodeLatin1(bytes, start, this.windowEnd);
    }
    return this.window.substring(start - this.windowStart, end - this.windowStart);
  }

  /** The `count` bytes at `pos` as one number, the highest first; of four, as a signed one. */
  private readUnsigned(count: number): number {
    const { bytes, pos } = this;
    let value = 0;
    for (let i = 0; i < count; i++) value = (value << 8) | bytes[pos + i];
    this.pos = pos + count;
    return value;
  }

  private readFloat(): number {
    const { bytes, pos, floatBytes } = this;
    for (let i = 0; i < 8; i++) floatBytes.setUint8(i, bytes[pos + i]);
    this.pos = pos + 8;
    return floatBytes.getFloat64(0);
  }
}

const NO_BYTES = new Uint8Array(0);
