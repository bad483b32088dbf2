/**
 * LEB128: seven bits a byte, lowest first, the top bit set on all but the last byte.
 *
 * A value is a u53 (at most 8 bytes). Reading is by a reused `VarintReader`, since a function can
 * return only one number and the caller needs the new position too. Damaged bytes never make a
 * reader run past `end`: `read` returns -1 where the bytes are no varint.
 */

/** Bytes that a u53 takes at most. */
export const MAX_VARINT_BYTES = 8;

/** Bytes that `value` takes as a varint: 1 to 8. */
export function varintSize(value: number): number {
  let size = 1;
  while (value >= 0x80) {
    value = Math.floor(value / 0x80);
    size++;
  }
  return size;
}

/** Writes `value` (a u53) at `pos` and returns the position after it. The caller vouches for room. */
export function writeVarint(bytes: Uint8Array, pos: number, value: number): number {
  while (value >= 0x8000_0000) {
    bytes[pos++] = (value % 0x80) | 0x80;
    value = Math.floor(value / 0x80);
  }
  while (value >= 0x80) {
    bytes[pos++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  bytes[pos++] = value;
  return pos;
}

/** A position in a range of bytes, from which varints are read one after the other. */
export class VarintReader {
  pos = 0;

  /** Reads the varint at `this.pos`, ending before `end`, and moves past it; -1 if there is none. */
  read(bytes: Uint8Array, end: number): number {
    let pos = this.pos;
    if (pos < end) {
      const byte = bytes[pos];
      if (byte < 0x80) {
        this.pos = pos + 1;
        return byte;
      }
    }
    let value = 0;
    let scale = 1;
    while (pos < end) {
      const byte = bytes[pos++];
      value += (byte & 0x7f) * scale;
      if (value > Number.MAX_SAFE_INTEGER) return -1;
      if (byte < 0x80) {
        this.pos = pos;
        return value;
      }
      scale *= 0x80;
      if (scale > 2 ** 49) return -1;
    }
    return -1;
  }
}
