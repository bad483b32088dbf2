/**
 * StoredSymbols: the symbols of a stored table, each of which is unpacked when it is first needed.
 *
 * table.ts draws the bytes. A look-up needs some twenty symbols of up to 16,320, and tables are among
 * the first things that a process reads, when all code is new and slow: to unpack all of them would
 * take longer than the rest of the first look-up. So at first it is only found where each begins, and
 * that they keep the rules. A symbol's bytes are its own behind those that it shares with the one
 * before it; these are that one's own, behind what it shares in turn, and so on.
 */
import { readU16 } from "../bytes/fixed.ts";
import {
  MAX_SYMBOL_BYTES,
  MAX_SYMBOLS,
  MIN_SYMBOLS,
  ONE_BYTE_CODES,
  type SymbolList,
} from "./codes.ts";

/** Symbols that one call finds: V8 compiles what is called again and again sooner than a long loop. */
const STEP_SYMBOLS = 64;

export class StoredSymbols implements SymbolList {
  readonly count: number;
  /** As in a `SymbolList`; zeros where a symbol is not unpacked. */
  readonly bytes: Uint8Array;
  readonly lengths: Uint8Array;
  private readonly source: Uint8Array;
  /** Where the header of each longer symbol is in the source. */
  private readonly starts: Uint32Array;

  private constructor(source: Uint8Array, count: number) {
    this.count = count;
    this.bytes = new Uint8Array(count * MAX_SYMBOL_BYTES);
    this.lengths = new Uint8Array(count);
    this.source = source;
    this.starts = new Uint32Array(count);
  }

  /**
   * Finds the symbols of a table whose checksum holds: its count is at `countOffset`, the singles at
   * `singlesOffset`, and the longer symbols are source[start, end). `source` must not change. Undefined
   * if the symbols break a rule.
   */
  static find(
    source: Uint8Array,
    countOffset: number,
    singlesOffset: number,
    start: number,
    end: number,
  ): StoredSymbols | undefined {
    const count = readU16(source, countOffset);
    if (count < MIN_SYMBOLS || count > MAX_SYMBOLS) return undefined;
    const symbols = new StoredSymbols(source, count);
    const { bytes, lengths, starts } = symbols;
    let pos = start;
    let code = 0;
    for (const isOneByte of [true, false]) {
      const groupEnd = isOneByte ? ONE_BYTE_CODES : count;
      for (let byte = 0; byte < 256; byte++) {
        const hasOneByte = ((source[singlesOffset + (byte >> 3)] >> (byte & 7)) & 1) === 1;
        if (hasOneByte !== isOneByte) continue;
        if (code === groupEnd) return undefined;
        bytes[code * MAX_SYMBOL_BYTES] = byte;
        lengths[code++] = 1;
      }
      for (let isFirst = true; code < groupEnd; isFirst = false) {
        const stepEnd = Math.min(code + STEP_SYMBOLS, groupEnd);
        const previousLength = isFirst ? 0 : (source[starts[code - 1]] & 15) + 1;
        pos = findLongerSymbols(source, pos, end, starts, code, stepEnd, previousLength);
        if (pos < 0) return undefined;
        code = stepEnd;
      }
    }
    return pos === end ? symbols : undefined;
  }

  /** Bytes of what it keeps beside the symbols. */
  get byteLength(): number {
    return this.starts.byteLength;
  }

  /** Unpacks the symbol of a code. */
  unpack(code: number): void {
    const { source, starts, bytes, lengths } = this;
    if (lengths[code] > 0) return;
    const length = (source[starts[code]] & 15) + 1;
    const at = code * MAX_SYMBOL_BYTES - 1;
    // From the last byte to the first, down to the one where a symbol is known, or shares none.
    let needed = length;
    for (let c = code; needed > 0; c--) {
      if (lengths[c] > 0) {
        for (const from = c * MAX_SYMBOL_BYTES - 1; needed > 0; needed--) {
          bytes[at + needed] = bytes[from + needed];
        }
      } else {
        const start = starts[c];
        for (const shared = source[start] >> 4; needed > shared; needed--) {
          bytes[at + needed] = source[start + needed - shared];
        }
      }
    }
    lengths[code] = length;
  }

  /** Unpacks all of them. */
  unpackAll(): void {
    for (let code = 0; code < this.count; code++) this.unpack(code);
  }
}

/**
 * Finds the symbols of the codes [code, endCode), the first after one of `previousLength`; returns where
 * they end, or -1.
 */
function findLongerSymbols(
  source: Uint8Array,
  pos: number,
  end: number,
  starts: Uint32Array,
  code: number,
  endCode: number,
  previousLength: number,
): number {
  for (; code < endCode; code++) {
    if (pos >= end) return -1;
    const header = source[pos];
    const shared = header >> 4;
    const len = (header & 15) + 1;
    if (shared >= len || len === 1 || shared > previousLength) return -1;
    starts[code] = pos;
    pos += 1 + len - shared;
    previousLength = len;
  }
  return pos;
}
