/**
 * ValueDecoder: one value out of a block's image, and the scratch space it is decoded in.
 *
 * Values stored as they are come back as views of the image; coded ones as views of the decoder's
 * scratch space, valid until its next call. Whoever promises a view for longer has a decoder of its
 * own: a point reader one, each cursor one.
 */
import type { ValuePlace } from "../entry.ts";
import { CorruptionError } from "../errors.ts";
import { packedAt, writeInteger } from "./packed-integers.ts";
import { MAX_STRING_HEADER_BYTES, writeStringHeader } from "./string-header.ts";
import { MAX_SYMBOL_BYTES } from "./symbol-codes.ts";
import type { SymbolTable } from "./symbols.ts";
import { BlockEncoding, readPointer, VALUE_LIMIT_BYTES, ValueLocation } from "./value-block.ts";

const NO_BYTES = new Uint8Array(0);

export class ValueDecoder {
  /** Where the value lies for which `decode` returned undefined last. */
  place: ValuePlace;
  private readonly symbols: SymbolTable | undefined;
  private readonly location: ValueLocation;
  /** A coded value is decoded to here, behind room for its header. Made at first use. */
  private decoded: Uint8Array;
  /** The same bytes. */
  private view: DataView;

  constructor(symbols: SymbolTable | undefined) {
    this.place = { fileNumber: 0, offset: 0, length: 0, storedLength: 0 };
    this.symbols = symbols;
    this.location = new ValueLocation();
    this.decoded = NO_BYTES;
    this.view = new DataView(NO_BYTES.buffer);
  }

  /**
   * Value `position` of the image in bytes[start, end), whose entry has key[0, keyLength); undefined
   * for one in a value log, whose `place` is set then. `file` and `fileOffset` (of the block) are for errors.
   */
  decode(
    bytes: Uint8Array,
    start: number,
    end: number,
    position: number,
    key: Uint8Array,
    keyLength: number,
    file: string,
    fileOffset: number,
  ): Uint8Array | undefined {
    const { location, symbols } = this;
    const encoding = bytes[start];
    if (encoding === BlockEncoding.integers) {
      const integer = packedAt(bytes, start + 1, end, position);
      if (Number.isNaN(integer)) throwDamaged(position, file, fileOffset);
      const target = this.scratch();
      return target.subarray(0, writeInteger(target, 0, integer));
    }
    if (!location.find(bytes, start, end, position)) throwDamaged(position, file, fileOffset);
    const from = location.start;
    const to = from + location.length;
    if (location.isLarge) {
      this.place = readPointer(bytes, from);
      return undefined;
    }
    if (encoding === BlockEncoding.raw) return bytes.subarray(from, to);
    const isCoded = encoding === BlockEncoding.symbols || encoding === BlockEncoding.text;
    if (symbols === undefined || !isCoded) throwDamaged(position, file, fileOffset);
    const decoded = this.scratch();
    const textStart = MAX_STRING_HEADER_BYTES;
    const textEnd = symbols.decodeWithKeyInto(
      bytes,
      from,
      to,
      key,
      keyLength,
      this.view,
      textStart,
    );
    if (textEnd < 0) throwDamaged(position, file, fileOffset);
    if (encoding === BlockEncoding.symbols || location.isBare) {
      return decoded.subarray(textStart, textEnd);
    }
    return decoded.subarray(writeStringHeader(decoded, textStart, textEnd - textStart), textEnd);
  }

  private scratch(): Uint8Array {
    if (this.decoded.length === 0) {
      this.decoded = new Uint8Array(MAX_STRING_HEADER_BYTES + VALUE_LIMIT_BYTES + MAX_SYMBOL_BYTES);
      this.view = new DataView(this.decoded.buffer);
    }
    return this.decoded;
  }
}

function throwDamaged(position: number, file: string, offset: number): never {
  throw new CorruptionError("damaged value block", {
    file,
    offset,
    expected: `value ${position} of the block`,
    actual: "bytes that are no such value",
  });
}
