/**
 * The code space of symbols: which bytes stand for what.
 *
 * On disk, never change or reuse:
 *
 *   first byte 0..191     one-byte code: symbol of that number
 *   first byte 192..254   two-byte code: symbol 192 + (first - 192) * 256 + second
 *   first byte 255        key token, in values only: stands for key[offset, keyLength - tail)
 *
 *      +-----+---------------+--------------+--------------+
 *      | 255 | nibbles       | offset - 15  | tail - 15    |
 *      +-----+---------------+--------------+--------------+
 *        u8    u8: offset in   varint, where  varint, where
 *              the high four   the nibble     the nibble
 *              bits, then tail is 15          is 15
 */
import { type VarintReader, writeVarint } from "../bytes/varint.ts";

/** Longest symbol, and the room each symbol has in memory. */
export const MAX_SYMBOL_BYTES = 16;
/** First bytes below this are a code of their own. */
export const ONE_BYTE_CODES = 192;
/** First byte of a key token. */
export const KEY_TOKEN = 255;
/** Most symbols a table can have: 192 with one byte, 63 x 256 with two. */
export const MAX_SYMBOLS: number = ONE_BYTE_CODES + (KEY_TOKEN - ONE_BYTE_CODES) * 256;
/** Fewest symbols a table can have: the single bytes. */
export const MIN_SYMBOLS = 256;
/** A nibble of a key token that says: a varint follows. */
export const NIBBLE_ESCAPE = 15;

/** The machine's own order, in which symbols are copied by words. */
export const IS_LITTLE_ENDIAN: boolean = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** Symbols as parallel arrays: symbol c is bytes[c * 16, c * 16 + lengths[c]). */
export interface SymbolList {
  readonly count: number;
  readonly bytes: Uint8Array;
  readonly lengths: Uint8Array;
}

/** All single bytes, in their order. */
export function singleBytes(): SymbolList {
  const bytes = new Uint8Array(MIN_SYMBOLS * MAX_SYMBOL_BYTES);
  for (let byte = 0; byte < MIN_SYMBOLS; byte++) bytes[byte * MAX_SYMBOL_BYTES] = byte;
  return { count: MIN_SYMBOLS, bytes, lengths: new Uint8Array(MIN_SYMBOLS).fill(1) };
}

/** Writes a token at `pos` and returns the position after it. */
export function writeToken(target: Uint8Array, pos: number, offset: number, tail: number): number {
  target[pos++] = KEY_TOKEN;
  target[pos++] = (Math.min(offset, NIBBLE_ESCAPE) << 4) | Math.min(tail, NIBBLE_ESCAPE);
  if (offset >= NIBBLE_ESCAPE) pos = writeVarint(target, pos, offset - NIBBLE_ESCAPE);
  if (tail >= NIBBLE_ESCAPE) pos = writeVarint(target, pos, tail - NIBBLE_ESCAPE);
  return pos;
}

/**
 * The varint of a token. Infinite where the bytes are no varint, so that the length that follows
 * from it is refused.
 */
export function readExtra(varints: VarintReader, codes: Uint8Array, end: number): number {
  const value = varints.read(codes, end);
  return value < 0 ? Number.POSITIVE_INFINITY : value;
}
