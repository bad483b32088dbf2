/**
 * SymbolTable: short strings that are frequent in a segment, each with a code of one or two bytes.
 *
 * Key suffixes and values are stored as sequences of codes (symbols/codes.ts). Every single byte is a
 * symbol, so any bytes can be coded without an escape, at worst two bytes for one. Decoding copies
 * symbols; it needs no state, so each string is decoded on its own.
 *
 * Stored, a table is:
 *
 * offset 0        4        8       10        42
 *        +--------+--------+-------+---------+------------------+
 *        | xxh32  | length | count | singles | longer symbols   |
 *        +--------+--------+-------+---------+------------------+
 * xxh32    u32 LE   of every byte after it
 * length   u32 LE   bytes of the whole table, this header included, at most MAX_STORED_BYTES
 * count    u16 LE   symbols, MIN_SYMBOLS to MAX_SYMBOLS; the first 192 have one-byte codes
 * singles  32 bytes bit b (of byte b >> 3, lowest first) is set where byte b has a one-byte code
 * longer symbols    those with one-byte codes, then those with two-byte codes; each group sorted and
 *                   front-coded: u8 (bytes shared with the one before << 4 | length - 1), then the
 *                   bytes that are not shared. The first of a group shares none.
 *
 * The symbol of a code follows from the order: in each group first the single bytes, ascending,
 * then the longer symbols, ascending.
 *
 * The idea is FSST's (Boncz, Neumann, Leis: "FSST: Fast Random Access String Compression", VLDB
 * 2020) with 16,320 symbols in place of 255.
 */
import { checksum } from "../bytes/checksum.ts";
import { compareRanges } from "../bytes/compare.ts";
import { readU32, writeU32 } from "../bytes/fixed.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import { CorruptionError } from "../errors.ts";
import {
  IS_LITTLE_ENDIAN,
  KEY_TOKEN,
  MAX_SYMBOL_BYTES,
  MAX_SYMBOLS,
  ONE_BYTE_CODES,
  type SymbolList,
  singleBytes,
} from "./codes.ts";
import { type Parse, SymbolEncoder } from "./encoder.ts";
import { KeyToken } from "./key-token.ts";
import { StoredSymbols } from "./stored.ts";

/**
 * What decoding loops compare with. V8 knows the constants of a loop's own module, but loads those of
 * others each time: scans take a fifteenth less so (bench compare, readseq).
 */
const IS_LITTLE: boolean = IS_LITTLE_ENDIAN;
const TWO_BYTE_START: number = ONE_BYTE_CODES;
const LAST_ONE_BYTE: number = ONE_BYTE_CODES - 1;
const TOKEN_START: number = KEY_TOKEN;

/** Two codes take so many bytes at most. */
const MAX_PAIR_BYTES = 4;
/** Fewer codes are decoded one by one: to begin in pairs and go on singly takes longer for 100 B values. */
const MIN_PAIRED_BYTES = 128;

/**
 * Symbols of a stored table that are unpacked one by one before all are: about what three first gets
 * need. One takes some microseconds in new code, all of them three milliseconds.
 */
const SINGLE_UNPACKS = 128;

const LENGTH_OFFSET = 4;
const COUNT_OFFSET = LENGTH_OFFSET + 4;
const SINGLES_OFFSET = COUNT_OFFSET + 2;
const SYMBOLS_OFFSET = SINGLES_OFFSET + 32;
const MAX_STORED_BYTES = SYMBOLS_OFFSET + MAX_SYMBOLS * (MAX_SYMBOL_BYTES + 1);

export class SymbolTable implements SymbolList {
  /** Number of symbols, MIN_SYMBOLS to MAX_SYMBOLS; codes are below it. */
  readonly count: number;
  /** Symbol c is bytes[c * 16, c * 16 + lengths[c]); zeros where it is not unpacked. */
  readonly bytes: Uint8Array;
  readonly lengths: Uint8Array;
  private readonly integers: Int32Array;
  /**
   * The same bytes as floats: symbol c is floats[c * 2, c * 2 + 2). Undefined where one of them is no
   * number, of which there are many that JavaScript need not tell apart, or not all are unpacked.
   */
  private floats: Float64Array | undefined;
  /** The symbols as they are stored, until all are unpacked; and how often one was unpacked. */
  private packed: StoredSymbols | undefined;
  private unpackedCount: number;
  private headsMade: Int32Array | undefined;
  private readonly parse: Parse;
  /** What only encoding needs, made at the first encoding. */
  private encoder: SymbolEncoder | undefined;
  /** Where `decodeWords` ended last. */
  codesEnd: number;
  private readonly token: KeyToken;

  /**
   * Takes symbols in code order, in bytes that are aligned to floats. The caller vouches that all 256
   * single bytes are among them. `parse` is how `encodeInto` and `encodeWithKeyInto` do their work.
   * `packed` are the same symbols where they are not unpacked.
   */
  constructor(symbols: SymbolList, parse: Parse = "shortest", packed?: StoredSymbols) {
    this.parse = parse;
    this.count = symbols.count;
    this.bytes = symbols.bytes;
    this.lengths = symbols.lengths;
    this.integers = new Int32Array(this.bytes.buffer, this.bytes.byteOffset, symbols.count * 4);
    this.floats = packed === undefined ? floatsOf(symbols) : undefined;
    this.packed = packed;
    this.unpackedCount = 0;
    this.headsMade = undefined;
    this.encoder = undefined;
    this.codesEnd = 0;
    this.token = new KeyToken();
  }

  /** The same bytes as words: symbol c is words[c * 4, c * 4 + 4), zeros behind its end. All are unpacked. */
  get words(): Int32Array {
    if (this.packed !== undefined) this.unpackAll();
    return this.integers;
  }

  /**
   * The first bytes of each symbol, low to high, and its length, in one word: symbols of up to three
   * bytes are compared by this alone, in a quarter of the cache lines. 0 where `unpack` is to be called
   * first. Made at first use, since values have none.
   */
  get heads(): Int32Array {
    this.headsMade ??= this.packed === undefined ? makeHeads(this) : new Int32Array(this.count);
    return this.headsMade;
  }

  /** Unpacks the symbol of a code, and its head; after some calls, all of them. */
  unpack(code: number): void {
    const { packed, headsMade } = this;
    if (packed === undefined || ++this.unpackedCount > SINGLE_UNPACKS) {
      this.unpackAll();
      return;
    }
    packed.unpack(code);
    if (headsMade !== undefined) headsMade[code] = headOf(this, code);
  }

  private unpackAll(): void {
    const { packed } = this;
    if (packed === undefined) return;
    packed.unpackAll();
    this.packed = undefined;
    this.floats = floatsOf(packed);
    if (this.headsMade !== undefined) this.headsMade = makeHeads(this);
  }

  /** Bytes held in memory for decoding. Encoding holds about 1.5 MB more at 16,320 symbols. */
  get byteLength(): number {
    const headBytes = this.headsMade?.byteLength ?? 0;
    const packedBytes = this.packed?.byteLength ?? 0;
    return this.bytes.byteLength + this.lengths.byteLength + headBytes + packedBytes;
  }

  /**
   * Codes source[start, end) into `target` at `targetPos` and returns the position after. The caller
   * vouches for (end - start) * 2 bytes of room.
   */
  encodeInto(
    source: Uint8Array,
    start: number,
    end: number,
    target: Uint8Array,
    targetPos: number,
  ): number {
    this.encoder ??= this.makeEncoder();
    return this.encoder.encodeInto(source, start, end, target, targetPos);
  }

  /**
   * As `encodeInto`, but stretches that source repeats from key[0, keyLength) may become key tokens.
   * The result is decoded with the same key by `decodeWithKeyInto`.
   */
  encodeWithKeyInto(
    source: Uint8Array,
    start: number,
    end: number,
    key: Uint8Array,
    keyLength: number,
    target: Uint8Array,
    targetPos: number,
  ): number {
    this.encoder ??= this.makeEncoder();
    return this.encoder.encodeWithKeyInto(source, start, end, key, keyLength, target, targetPos);
  }

  /**
   * Decodes codes[pos, end), which `encodeWithKeyInto` made with key[0, keyLength), into `target` at
   * `targetPos` and returns the position after; -1 where a code is unknown or cut off, or `target` has
   * no room. Fastest where it has the room that `decodeWords` asks for.
   */
  decodeWithKeyInto(
    codes: Uint8Array,
    pos: number,
    end: number,
    key: Uint8Array,
    keyLength: number,
    target: DataView,
    targetPos: number,
  ): number {
    const { token } = this;
    for (;;) {
      const hasRoom = targetPos + (end - pos + 1) * MAX_SYMBOL_BYTES <= target.byteLength;
      if (hasRoom && end - pos >= MIN_PAIRED_BYTES) {
        targetPos = this.decodePairs(codes, pos, end, target, targetPos);
        pos = this.codesEnd;
      }
      targetPos = hasRoom
        ? this.decodeWords(codes, pos, end, target, targetPos)
        : this.decodeBytes(codes, pos, end, target, targetPos);
      if (targetPos < 0 || this.codesEnd === end) return targetPos;
      if (!token.read(codes, this.codesEnd + 1, end, 0, keyLength)) return -1;
      const { start, length } = token;
      if (targetPos + length > target.byteLength) return -1;
      for (let i = 0; i < length; i++) target.setUint8(targetPos + i, key[start + i]);
      targetPos += length;
      pos = token.codesEnd;
    }
  }

  /**
   * Decodes codes[pos, end) into `target` at `targetPos`, up to the first key token, and returns the
   * position after; -1 where a code is unknown or cut off. `codesEnd` says where in the codes it
   * ended. The caller vouches for room for the longest symbol for each byte of the codes and one more.
   *
   * No branch depends on whether a code has two bytes, or a symbol more than eight: such would be
   * guessed wrong so often that decoding takes one and a half times as long. Nor is there a call:
   * after one, V8 loads the arrays' fields anew. A symbol is copied as two floats, which takes 3.1 ns
   * where four integers take 5.1 (values of 1 KB); what is copied too much is overwritten by the next.
   */
  decodeWords(
    codes: Uint8Array,
    pos: number,
    end: number,
    target: DataView,
    targetPos: number,
  ): number {
    const { floats, lengths, count } = this;
    if (floats === undefined) return this.decodeIntegers(codes, pos, end, target, targetPos);
    while (pos < end) {
      const first = codes[pos];
      // -1 for a code of two bytes, else 0.
      const more = (LAST_ONE_BYTE - first) >> 31;
      const code = first + (more & ((first - TWO_BYTE_START) * 255 + codes[pos - more]));
      if (code >= count) {
        // A token has the form of a code above those that there can be.
        if (first === TOKEN_START) break;
        return -1;
      }
      pos += 1 - more;
      const len = lengths[code];
      const float = code << 1;
      target.setFloat64(targetPos, floats[float], IS_LITTLE);
      target.setFloat64(targetPos + 8, floats[float + 1], IS_LITTLE);
      targetPos += len;
    }
    this.codesEnd = pos;
    return pos <= end ? targetPos : -1;
  }

  /**
   * As `decodeWords`, two codes at a time, as far as there are: up to the last few codes, or the first
   * thing that is not two of them, which are for `decodeWords`. After a write through a DataView V8
   * checks anew what it knows of each array: so all that two codes need is read before anything is
   * written. 4.7 ns a code of 1 KB values, where one at a time takes 5.4; three or four, no less.
   */
  private decodePairs(
    codes: Uint8Array,
    pos: number,
    end: number,
    target: DataView,
    targetPos: number,
  ): number {
    const { floats, lengths, count } = this;
    if (floats !== undefined) {
      for (const pairEnd = end - MAX_PAIR_BYTES; pos <= pairEnd; ) {
        const first1 = codes[pos];
        const more1 = (LAST_ONE_BYTE - first1) >> 31;
        const code1 = first1 + (more1 & ((first1 - TWO_BYTE_START) * 255 + codes[pos + 1]));
        const pos2 = pos + 1 - more1;
        const first2 = codes[pos2];
        const more2 = (LAST_ONE_BYTE - first2) >> 31;
        const code2 = first2 + (more2 & ((first2 - TWO_BYTE_START) * 255 + codes[pos2 + 1]));
        if (code1 >= count || code2 >= count) break;
        pos = pos2 + 1 - more2;
        const targetPos2 = targetPos + lengths[code1];
        const targetEnd = targetPos2 + lengths[code2];
        const low1 = floats[code1 << 1];
        const high1 = floats[(code1 << 1) + 1];
        const low2 = floats[code2 << 1];
        const high2 = floats[(code2 << 1) + 1];
        target.setFloat64(targetPos, low1, IS_LITTLE);
        target.setFloat64(targetPos + 8, high1, IS_LITTLE);
        target.setFloat64(targetPos2, low2, IS_LITTLE);
        target.setFloat64(targetPos2 + 8, high2, IS_LITTLE);
        targetPos = targetEnd;
      }
    }
    this.codesEnd = pos;
    return targetPos;
  }

  /** As `decodeWords`, where not all symbols are floats, or unpacked. */
  private decodeIntegers(
    codes: Uint8Array,
    pos: number,
    end: number,
    target: DataView,
    targetPos: number,
  ): number {
    if (this.packed !== undefined) return this.decodeBytes(codes, pos, end, target, targetPos);
    const { integers: words, lengths, count } = this;
    while (pos < end) {
      const first = codes[pos];
      if (first === TOKEN_START) break;
      const more = (LAST_ONE_BYTE - first) >> 31;
      const code = first + (more & ((first - TWO_BYTE_START) * 255 + codes[pos - more]));
      pos += 1 - more;
      if (code >= count) return -1;
      const len = lengths[code];
      const word = code << 2;
      target.setInt32(targetPos, words[word], IS_LITTLE);
      target.setInt32(targetPos + 4, words[word + 1], IS_LITTLE);
      target.setInt32(targetPos + 8, words[word + 2], IS_LITTLE);
      target.setInt32(targetPos + 12, words[word + 3], IS_LITTLE);
      targetPos += len;
    }
    this.codesEnd = pos;
    return pos <= end ? targetPos : -1;
  }

  /** As `decodeWords`, with no more room than what it makes; -1 also where that is too little. */
  private decodeBytes(
    codes: Uint8Array,
    pos: number,
    end: number,
    target: DataView,
    targetPos: number,
  ): number {
    const { bytes, lengths, count } = this;
    while (pos < end && codes[pos] !== TOKEN_START) {
      let code = codes[pos++];
      if (code >= TWO_BYTE_START) {
        if (pos === end) return -1;
        code = TWO_BYTE_START + ((code - TWO_BYTE_START) << 8) + codes[pos++];
      }
      if (code >= count) return -1;
      if (lengths[code] === 0) this.unpack(code);
      const len = lengths[code];
      if (targetPos + len > target.byteLength) return -1;
      const from = code << 4;
      for (let i = 0; i < len; i++) target.setUint8(targetPos + i, bytes[from + i]);
      targetPos += len;
    }
    this.codesEnd = pos;
    return targetPos;
  }

  /**
   * As `decodeWords`, for all that `encodeWithKeyInto` made with the key keys[keyStart, keyEnd),
   * behind which `keys` goes on for three bytes. Where key tokens leave less than the room that
   * `decodeWords` asks for, nothing is decoded beyond `target`, and the answer is -1.
   */
  decodeWordsWithKey(
    codes: Uint8Array,
    pos: number,
    end: number,
    keys: DataView,
    keyStart: number,
    keyEnd: number,
    target: DataView,
    targetPos: number,
  ): number {
    const { token } = this;
    for (;;) {
      targetPos = this.decodeWords(codes, pos, end, target, targetPos);
      if (targetPos < 0 || this.codesEnd === end) return targetPos;
      pos = this.codesEnd + 1;
      targetPos = token.copy(codes, pos, end, keys, keyStart, keyEnd, target, targetPos);
      if (targetPos < 0) return -1;
      pos = token.codesEnd;
    }
  }

  /** Appends the stored table. */
  serialize(writer: ByteWriter): void {
    this.unpackAll();
    const start = writer.length;
    const { count, bytes, lengths } = this;
    writer.u32(0);
    writer.u32(0);
    writer.u16(count);
    const singles = new Uint8Array(32);
    for (let c = 0; c < ONE_BYTE_CODES; c++) {
      const byte = bytes[c * MAX_SYMBOL_BYTES];
      if (lengths[c] === 1) singles[byte >> 3] |= 1 << (byte & 7);
    }
    writer.append(singles);
    writeLongerSymbols(writer, this, 0, ONE_BYTE_CODES);
    writeLongerSymbols(writer, this, ONE_BYTE_CODES, count);
    writeU32(writer.buffer, start + LENGTH_OFFSET, writer.length - start);
    writeU32(writer.buffer, start, checksum(writer.buffer, start + LENGTH_OFFSET, writer.length));
  }

  private makeEncoder(): SymbolEncoder {
    this.unpackAll();
    return new SymbolEncoder(this, this.parse);
  }

  /**
   * Reads the table that begins at bytes[pos] and ends at or before `end`. `storedSymbolTableBytes`
   * says where it ended. The bytes are kept, and must not change. Throws CorruptionError, naming `file`
   * and `fileOffset`, where they are not what `serialize` wrote.
   */
  static deserialize(
    bytes: Uint8Array,
    pos: number,
    end: number,
    file: string,
    fileOffset: number = pos,
  ): SymbolTable {
    const damaged = (expected: string, actual: string): never => {
      throw new CorruptionError("damaged symbol table", {
        file,
        offset: fileOffset,
        expected,
        actual,
      });
    };
    if (end - pos < SYMBOLS_OFFSET) damaged(`${SYMBOLS_OFFSET} bytes or more`, `${end - pos}`);
    const length = readU32(bytes, pos + LENGTH_OFFSET);
    if (length < SYMBOLS_OFFSET || length > end - pos || length > MAX_STORED_BYTES) {
      damaged(`a length of ${SYMBOLS_OFFSET} to ${end - pos}`, `${length}`);
    }
    const sum = checksum(bytes, pos + LENGTH_OFFSET, pos + length);
    const stored = readU32(bytes, pos);
    if (sum !== stored) damaged(`checksum ${stored}`, `${sum}`);
    const symbols = StoredSymbols.find(
      bytes,
      pos + COUNT_OFFSET,
      pos + SINGLES_OFFSET,
      pos + SYMBOLS_OFFSET,
      pos + length,
    );
    if (symbols === undefined) return damaged("256 single bytes and sorted symbols", "other bytes");
    return new SymbolTable(symbols, "shortest", symbols);
  }
}

/** Shorter symbols are numbers: a float that is none has its exponent, in its last bytes, all ones. */
const MIN_NO_NUMBER_BYTES: number = IS_LITTLE ? 8 : 2;

/**
 * The symbols as floats, unless some are none: then copies of them might have other bytes. Most symbols
 * are too short to be asked: tables are among the first things that a process reads, when code is new.
 */
function floatsOf({ count, bytes, lengths }: SymbolList): Float64Array | undefined {
  const floats = new Float64Array(bytes.buffer, bytes.byteOffset, count * 2);
  for (let c = 0; c < count; c++) {
    if (lengths[c] < MIN_NO_NUMBER_BYTES) continue;
    if (Number.isNaN(floats[2 * c]) || Number.isNaN(floats[2 * c + 1])) return undefined;
  }
  return floats;
}

function makeHeads(symbols: SymbolList): Int32Array {
  const heads = new Int32Array(symbols.count);
  for (let c = 0; c < heads.length; c++) heads[c] = headOf(symbols, c);
  return heads;
}

function headOf({ bytes, lengths }: SymbolList, code: number): number {
  const at = code * MAX_SYMBOL_BYTES;
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (lengths[code] << 24);
}

/** Bytes of the stored table that begins at bytes[pos], unchecked: for who has just read it. */
export function storedSymbolTableBytes(bytes: Uint8Array, pos: number): number {
  return readU32(bytes, pos + LENGTH_OFFSET);
}

/**
 * Puts symbols into code order: the `oneByte` ones (by index) first, each group as the header of
 * this file says. `symbols` must include all single bytes.
 */
export function orderSymbols(
  symbols: SymbolList,
  isOneByte: Uint8Array,
  parse: Parse,
): SymbolTable {
  const order: number[] = [];
  for (let i = 0; i < symbols.count; i++) order.push(i);
  const { bytes, lengths } = symbols;
  order.sort((a, b) => {
    if (isOneByte[a] !== isOneByte[b]) return isOneByte[b] - isOneByte[a];
    const isLongerA = lengths[a] > 1 ? 1 : 0;
    const isLongerB = lengths[b] > 1 ? 1 : 0;
    if (isLongerA !== isLongerB) return isLongerA - isLongerB;
    const aStart = a * MAX_SYMBOL_BYTES;
    const bStart = b * MAX_SYMBOL_BYTES;
    return compareRanges(bytes, aStart, aStart + lengths[a], bytes, bStart, bStart + lengths[b]);
  });
  const orderedBytes = new Uint8Array(symbols.count * MAX_SYMBOL_BYTES);
  const orderedLengths = new Uint8Array(symbols.count);
  for (let c = 0; c < order.length; c++) {
    const from = order[c] * MAX_SYMBOL_BYTES;
    orderedLengths[c] = lengths[order[c]];
    orderedBytes.set(bytes.subarray(from, from + orderedLengths[c]), c * MAX_SYMBOL_BYTES);
  }
  const ordered = { count: order.length, bytes: orderedBytes, lengths: orderedLengths };
  return new SymbolTable(ordered, parse);
}

function writeLongerSymbols(
  writer: ByteWriter,
  symbols: SymbolList,
  start: number,
  end: number,
): void {
  const { bytes, lengths } = symbols;
  let previous = -1;
  for (let c = start; c < end; c++) {
    const len = lengths[c];
    if (len === 1) continue;
    const from = c * MAX_SYMBOL_BYTES;
    let shared = 0;
    if (previous >= 0) {
      const before = previous * MAX_SYMBOL_BYTES;
      const limit = Math.min(len, lengths[previous]);
      while (shared < limit && bytes[before + shared] === bytes[from + shared]) shared++;
    }
    writer.u8((shared << 4) | (len - 1));
    writer.append(bytes, from + shared, from + len);
    previous = c;
  }
}

/** The table of nothing but single bytes, where the code of a byte is its number. */
export function singleByteTable(): SymbolTable {
  return new SymbolTable(singleBytes(), "bytes");
}
