/**
 * SymbolTable: short strings that are frequent in a segment, each with a code of one or two bytes.
 *
 * Key suffixes and values are stored as sequences of codes. Every single byte is a symbol, so any
 * bytes can be coded without an escape, at worst two bytes for one. Decoding copies symbols; it
 * needs no state, so each string is decoded on its own. Encoding finds the shortest sequence of
 * codes: from the end of the text to its start, the cheapest of the symbols that begin here plus
 * what is left behind it (greedy longest match costs 6% more).
 *
 * Codes, on disk (never change or reuse):
 *
 *   first byte 0..191     one-byte code: symbol of that number
 *   first byte 192..254   two-byte code: symbol 192 + (first - 192) * 256 + second
 *   first byte 255        key token, in values only: stands for key[offset, keyLength - tail)
 *
 *      +-----+-------------------------+-----------------+---------------+
 *      | 255 | offset nibble | tail    | offset - 15     | tail - 15     |
 *      +-----+-------------------------+-----------------+---------------+
 *                 u8, offset high        varint, where     varint, where
 *                                        the nibble is 15  the nibble is 15
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
import { readU16, readU32, writeU32 } from "../bytes/fixed.ts";
import { VarintReader, varintSize, writeVarint } from "../bytes/varint.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import { CorruptionError } from "../errors.ts";
import { KeyStretches } from "./key-stretches.ts";
import {
  LABEL_MASK,
  LABEL_USED,
  SYMBOL_SHIFT,
  type SymbolList,
  SymbolTrie,
} from "./symbol-trie.ts";

/** Longest symbol, and the room each symbol has in memory. */
export const MAX_SYMBOL_BYTES = 16;
/** First bytes below this are a code of their own. */
export const ONE_BYTE_CODES = 192;
/** First byte of a key token. */
const KEY_TOKEN = 255;
/** Most symbols a table can have: 192 with one byte, 63 x 256 with two. */
export const MAX_SYMBOLS: number = ONE_BYTE_CODES + (KEY_TOKEN - ONE_BYTE_CODES) * 256;
/** Fewest symbols a table can have: the single bytes. */
export const MIN_SYMBOLS = 256;

const LENGTH_OFFSET = 4;
const COUNT_OFFSET = LENGTH_OFFSET + 4;
const SINGLES_OFFSET = COUNT_OFFSET + 2;
const SYMBOLS_OFFSET = SINGLES_OFFSET + 32;
const MAX_STORED_BYTES = SYMBOLS_OFFSET + MAX_SYMBOLS * (MAX_SYMBOL_BYTES + 1);

/** Longer texts are parsed in windows of this many bytes; no symbol crosses a window's end. */
const PARSE_WINDOW_BYTES = 4096;
/** A parse's choice that is no symbol but a stretch of the key. */
const TOKEN_CHOICE = 0xffff;
const NIBBLE_ESCAPE = 15;

export class SymbolTable implements SymbolList {
  /** Number of symbols, MIN_SYMBOLS to MAX_SYMBOLS; codes are below it. */
  readonly count: number;
  /** Symbol c is bytes[c * 16, c * 16 + lengths[c]). */
  readonly bytes: Uint8Array;
  readonly lengths: Uint8Array;
  /** What only encoding needs, made at the first encoding. */
  private encoder: SymbolEncoder | undefined;
  private readonly varints: VarintReader;

  /** Takes symbols in code order; the caller vouches that all 256 single bytes are among them. */
  constructor(symbols: SymbolList) {
    this.count = symbols.count;
    this.bytes = symbols.bytes;
    this.lengths = symbols.lengths;
    this.encoder = undefined;
    this.varints = new VarintReader();
  }

  get symbolCount(): number {
    return this.count;
  }

  /** Bytes held in memory for decoding. Encoding holds about 1.5 MB more at 16,320 symbols. */
  get byteLength(): number {
    return this.bytes.byteLength + this.lengths.byteLength;
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
    this.encoder ??= new SymbolEncoder(this);
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
    this.encoder ??= new SymbolEncoder(this);
    return this.encoder.encodeWithKeyInto(source, start, end, key, keyLength, target, targetPos);
  }

  /**
   * Decodes codes[pos, end) into `target` at `targetPos` and returns the position after; -1 where a
   * code is unknown or cut off, or `target` has no room.
   */
  decodeInto(
    codes: Uint8Array,
    pos: number,
    end: number,
    target: Uint8Array,
    targetPos: number,
  ): number {
    const { bytes, lengths, count } = this;
    const targetEnd = target.length;
    while (pos < end) {
      let code = codes[pos++];
      if (code >= ONE_BYTE_CODES) {
        if (code === KEY_TOKEN || pos === end) return -1;
        code = ONE_BYTE_CODES + ((code - ONE_BYTE_CODES) << 8) + codes[pos++];
      }
      if (code >= count) return -1;
      const len = lengths[code];
      if (targetPos + len > targetEnd) return -1;
      const from = code << 4;
      for (let i = 0; i < len; i++) target[targetPos + i] = bytes[from + i];
      targetPos += len;
    }
    return targetPos;
  }

  /** As `decodeInto`, for what `encodeWithKeyInto` made with key[0, keyLength). */
  decodeWithKeyInto(
    codes: Uint8Array,
    pos: number,
    end: number,
    key: Uint8Array,
    keyLength: number,
    target: Uint8Array,
    targetPos: number,
  ): number {
    const { bytes, lengths, count, varints } = this;
    const targetEnd = target.length;
    while (pos < end) {
      let code = codes[pos++];
      if (code >= ONE_BYTE_CODES) {
        if (pos === end) return -1;
        if (code === KEY_TOKEN) {
          const nibbles = codes[pos++];
          let offset = nibbles >> 4;
          let tail = nibbles & 15;
          if (offset === NIBBLE_ESCAPE || tail === NIBBLE_ESCAPE) {
            varints.pos = pos;
            if (offset === NIBBLE_ESCAPE) offset += readExtra(varints, codes, end);
            if (tail === NIBBLE_ESCAPE) tail += readExtra(varints, codes, end);
            pos = varints.pos;
          }
          const len = keyLength - tail - offset;
          if (len <= 0 || targetPos + len > targetEnd) return -1;
          for (let i = 0; i < len; i++) target[targetPos + i] = key[offset + i];
          targetPos += len;
          continue;
        }
        code = ONE_BYTE_CODES + ((code - ONE_BYTE_CODES) << 8) + codes[pos++];
      }
      if (code >= count) return -1;
      const len = lengths[code];
      if (targetPos + len > targetEnd) return -1;
      const from = code << 4;
      for (let i = 0; i < len; i++) target[targetPos + i] = bytes[from + i];
      targetPos += len;
    }
    return targetPos;
  }

  /** Appends the stored table. */
  serialize(writer: ByteWriter): void {
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

  /**
   * Reads the table that begins at bytes[pos] and ends at or before `end`. `storedSymbolTableBytes`
   * says where it ended. Throws CorruptionError, naming `file` and `fileOffset`, where the
   * bytes are not what `serialize` wrote.
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
    const symbols = readSymbols(bytes, pos, pos + length);
    if (symbols === undefined) return damaged("256 single bytes and sorted symbols", "other bytes");
    return symbols;
  }
}

/** Bytes of the stored table that begins at bytes[pos], unchecked: for who has just read it. */
export function storedSymbolTableBytes(bytes: Uint8Array, pos: number): number {
  return readU32(bytes, pos + LENGTH_OFFSET);
}

/**
 * Puts symbols into code order: the `oneByte` ones (by index) first, each group as the header of
 * this file says. `symbols` must include all single bytes.
 */
export function orderSymbols(symbols: SymbolList, isOneByte: Uint8Array): SymbolTable {
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
  return new SymbolTable({ count: order.length, bytes: orderedBytes, lengths: orderedLengths });
}

/** The parse and its scratch space. */
class SymbolEncoder {
  private readonly table: SymbolTable;
  private readonly trie: SymbolTrie;
  private readonly stretches = new KeyStretches();
  /** Coded bytes of the window from position i to its end, under the best parse. */
  private readonly costs = new Uint32Array(PARSE_WINDOW_BYTES + 1);
  /** The code, or TOKEN_CHOICE, that the best parse has at position i. */
  private readonly choices = new Uint16Array(PARSE_WINDOW_BYTES);
  /** Where choices[i] is TOKEN_CHOICE: the stretch of the key. */
  private readonly tokenOffsets = new Uint32Array(PARSE_WINDOW_BYTES);
  private readonly tokenLengths = new Uint32Array(PARSE_WINDOW_BYTES);

  constructor(table: SymbolTable) {
    this.table = table;
    this.trie = new SymbolTrie(table);
  }

  encodeInto(
    source: Uint8Array,
    start: number,
    end: number,
    target: Uint8Array,
    targetPos: number,
  ): number {
    for (let from = start; from < end; from += PARSE_WINDOW_BYTES) {
      const to = Math.min(end, from + PARSE_WINDOW_BYTES);
      this.parse(source, from, to, false);
      targetPos = this.emit(to - from, 0, target, targetPos);
    }
    return targetPos;
  }

  encodeWithKeyInto(
    source: Uint8Array,
    start: number,
    end: number,
    key: Uint8Array,
    keyLength: number,
    target: Uint8Array,
    targetPos: number,
  ): number {
    this.stretches.index(key, keyLength);
    for (let from = start; from < end; from += PARSE_WINDOW_BYTES) {
      const to = Math.min(end, from + PARSE_WINDOW_BYTES);
      this.parse(source, from, to, true);
      targetPos = this.emit(to - from, keyLength, target, targetPos);
    }
    return targetPos;
  }

  /** Fills `choices` for source[start, end). On equal cost the longest symbol wins: fewer copies. */
  private parse(source: Uint8Array, start: number, end: number, hasKey: boolean): void {
    const { costs, choices } = this;
    const { cells } = this.trie;
    costs[end - start] = 0;
    for (let i = end - start - 1; i >= 0; i--) {
      let pos = start + i;
      let cell = source[pos++] << 1;
      let choice = (cells[cell + 1] >> SYMBOL_SHIFT) - 1;
      let cost = (choice < ONE_BYTE_CODES ? 1 : 2) + costs[i + 1];
      for (let base = cells[cell]; base !== 0 && pos < end; base = cells[cell]) {
        const byte = source[pos];
        cell = (base + byte) << 1;
        const entry = cells[cell + 1];
        if ((entry & LABEL_MASK) !== (byte | LABEL_USED)) break;
        pos++;
        const code = (entry >> SYMBOL_SHIFT) - 1;
        if (code >= 0) {
          const costHere = (code < ONE_BYTE_CODES ? 1 : 2) + costs[pos - start];
          if (costHere <= cost) {
            cost = costHere;
            choice = code;
          }
        }
      }
      costs[i] = cost;
      choices[i] = choice;
      if (hasKey) this.tryToken(source, start, i, end);
    }
  }

  private tryToken(source: Uint8Array, start: number, i: number, end: number): void {
    const { stretches } = this;
    const len = stretches.longest(source, start + i, end);
    if (len === 0) return;
    const cost = tokenBytes(stretches.offset, stretches.tail(len)) + this.costs[i + len];
    if (cost > this.costs[i]) return;
    this.costs[i] = cost;
    this.choices[i] = TOKEN_CHOICE;
    this.tokenOffsets[i] = stretches.offset;
    this.tokenLengths[i] = len;
  }

  private emit(length: number, keyLength: number, target: Uint8Array, targetPos: number): number {
    const { choices } = this;
    const { lengths } = this.table;
    let i = 0;
    while (i < length) {
      const code = choices[i];
      if (code < ONE_BYTE_CODES) {
        target[targetPos++] = code;
        i += lengths[code];
      } else if (code !== TOKEN_CHOICE) {
        const high = code - ONE_BYTE_CODES;
        target[targetPos++] = ONE_BYTE_CODES + (high >> 8);
        target[targetPos++] = high;
        i += lengths[code];
      } else {
        const offset = this.tokenOffsets[i];
        const len = this.tokenLengths[i];
        targetPos = writeToken(target, targetPos, offset, keyLength - offset - len);
        i += len;
      }
    }
    return targetPos;
  }
}

function tokenBytes(offset: number, tail: number): number {
  return (
    2 +
    (offset < NIBBLE_ESCAPE ? 0 : varintSize(offset - NIBBLE_ESCAPE)) +
    (tail < NIBBLE_ESCAPE ? 0 : varintSize(tail - NIBBLE_ESCAPE))
  );
}

function writeToken(target: Uint8Array, pos: number, offset: number, tail: number): number {
  target[pos++] = KEY_TOKEN;
  target[pos++] = (Math.min(offset, NIBBLE_ESCAPE) << 4) | Math.min(tail, NIBBLE_ESCAPE);
  if (offset >= NIBBLE_ESCAPE) pos = writeVarint(target, pos, offset - NIBBLE_ESCAPE);
  if (tail >= NIBBLE_ESCAPE) pos = writeVarint(target, pos, tail - NIBBLE_ESCAPE);
  return pos;
}

/** Infinite where the bytes are no varint, so that the length that follows from it is refused. */
function readExtra(varints: VarintReader, codes: Uint8Array, end: number): number {
  const value = varints.read(codes, end);
  return value < 0 ? Number.POSITIVE_INFINITY : value;
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

/** The symbols of a stored table whose checksum holds, or undefined if they break a rule. */
function readSymbols(source: Uint8Array, start: number, end: number): SymbolTable | undefined {
  const count = readU16(source, start + COUNT_OFFSET);
  if (count < MIN_SYMBOLS || count > MAX_SYMBOLS) return undefined;
  const bytes = new Uint8Array(count * MAX_SYMBOL_BYTES);
  const lengths = new Uint8Array(count);
  let pos = start + SYMBOLS_OFFSET;
  let code = 0;
  for (const isOneByte of [true, false]) {
    const groupEnd = isOneByte ? ONE_BYTE_CODES : count;
    for (let byte = 0; byte < 256; byte++) {
      const hasOneByte = ((source[start + SINGLES_OFFSET + (byte >> 3)] >> (byte & 7)) & 1) === 1;
      if (hasOneByte !== isOneByte) continue;
      if (code === groupEnd) return undefined;
      bytes[code * MAX_SYMBOL_BYTES] = byte;
      lengths[code++] = 1;
    }
    for (let isFirst = true; code < groupEnd; code++, isFirst = false) {
      if (pos >= end) return undefined;
      const shared = source[pos] >> 4;
      const len = (source[pos++] & 15) + 1;
      if (shared >= len || len === 1 || pos + len - shared > end) return undefined;
      if (shared > (isFirst ? 0 : lengths[code - 1])) return undefined;
      const to = code * MAX_SYMBOL_BYTES;
      if (shared > 0) bytes.copyWithin(to, to - MAX_SYMBOL_BYTES, to - MAX_SYMBOL_BYTES + shared);
      for (let i = shared; i < len; i++) bytes[to + i] = source[pos++];
      lengths[code] = len;
    }
  }
  return pos === end ? new SymbolTable({ count, bytes, lengths }) : undefined;
}
