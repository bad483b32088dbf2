/**
 * KeyToken: the stretch of its own key for which a key token in a value's codes stands
 * (symbols/codes.ts).
 *
 * Apart from the loops that copy symbols, since most values have few tokens, and a loop with all of
 * this in it keeps less in registers: it took one and a half times as long.
 */
import { VarintReader } from "../bytes/varint.ts";
import { MAX_SYMBOL_BYTES, NIBBLE_ESCAPE, readExtra } from "./codes.ts";

export class KeyToken {
  /** What `read` found: the stretch [start, start + length), and where the codes after it begin. */
  start: number;
  length: number;
  codesEnd: number;
  private readonly varints: VarintReader;

  constructor() {
    this.start = 0;
    this.length = 0;
    this.codesEnd = 0;
    this.varints = new VarintReader();
  }

  /**
   * Reads the token whose second byte is codes[pos], in codes that end at `end`, of a key that lies at
   * [keyStart, keyEnd). False where it is cut off, or the key has no such stretch.
   */
  read(codes: Uint8Array, pos: number, end: number, keyStart: number, keyEnd: number): boolean {
    if (pos >= end) return false;
    const nibbles = codes[pos++];
    let offset = nibbles >> 4;
    let tail = nibbles & NIBBLE_ESCAPE;
    if (offset === NIBBLE_ESCAPE || tail === NIBBLE_ESCAPE) {
      const { varints } = this;
      varints.pos = pos;
      if (offset === NIBBLE_ESCAPE) offset += readExtra(varints, codes, end);
      if (tail === NIBBLE_ESCAPE) tail += readExtra(varints, codes, end);
      pos = varints.pos;
    }
    this.start = keyStart + offset;
    this.length = keyEnd - tail - this.start;
    this.codesEnd = pos;
    return this.length > 0;
  }

  /**
   * Reads the token and appends its stretch of keys[keyStart, keyEnd) to `target` at `targetPos`, by
   * words: up to three bytes more are read and written. Returns the position after; -1 where `read`
   * is false, or there is no room for the stretch and the longest symbols for all codes that follow.
   */
  copy(
    codes: Uint8Array,
    pos: number,
    end: number,
    keys: DataView,
    keyStart: number,
    keyEnd: number,
    target: DataView,
    targetPos: number,
  ): number {
    if (!this.read(codes, pos, end, keyStart, keyEnd)) return -1;
    const { start, length } = this;
    const symbolRoom = (end - this.codesEnd + 1) * MAX_SYMBOL_BYTES;
    if (targetPos + length + symbolRoom > target.byteLength) return -1;
    for (let i = 0; i < length; i += 4) target.setInt32(targetPos + i, keys.getInt32(start + i));
    return targetPos + length;
  }
}
