/**
 * Little-endian integers of fixed width, read and written in place.
 *
 * A u53 is a non-negative safe integer in eight bytes; the top eleven bits are zero. Bit operators
 * give signed 32 bits, hence `>>> 0` on u32 and a multiplication, never `<<`, above 32 bits.
 * Callers vouch that the bytes exist.
 */

export function readU16(bytes: Uint8Array, pos: number): number {
  return bytes[pos] | (bytes[pos + 1] << 8);
}

export function writeU16(bytes: Uint8Array, pos: number, value: number): void {
  bytes[pos] = value;
  bytes[pos + 1] = value >>> 8;
}

export function readU32(bytes: Uint8Array, pos: number): number {
  return (
    (bytes[pos] | (bytes[pos + 1] << 8) | (bytes[pos + 2] << 16) | (bytes[pos + 3] << 24)) >>> 0
  );
}

export function writeU32(bytes: Uint8Array, pos: number, value: number): void {
  bytes[pos] = value;
  bytes[pos + 1] = value >>> 8;
  bytes[pos + 2] = value >>> 16;
  bytes[pos + 3] = value >>> 24;
}

/** May return more than Number.MAX_SAFE_INTEGER if the bytes are damaged; callers bound it. */
export function readU53(bytes: Uint8Array, pos: number): number {
  return readU32(bytes, pos) + readU32(bytes, pos + 4) * 0x1_0000_0000;
}

export function writeU53(bytes: Uint8Array, pos: number, value: number): void {
  writeU32(bytes, pos, value >>> 0);
  writeU32(bytes, pos + 4, Math.floor(value / 0x1_0000_0000));
}
