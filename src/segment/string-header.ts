/**
 * The header that msgpack puts before a string, taken off before coding and put back after.
 *
 * Most values are strings, and each begins with its length: a byte that differs from value to value
 * right before the text they share, so that no symbol can span it. The length is known anyway.
 *
 * Headers, by the length of the text: 0xa0 | length below 32; 0xd9 u8 below 256; 0xda u16 BE, the
 * longest an inline value can have. Only the shortest form is taken off: it alone can be rebuilt.
 */

const FIX_STRING = 0xa0;
const FIX_STRING_MAX = 31;
const STRING_8 = 0xd9;
const STRING_16 = 0xda;

/** Longest header there is. */
export const MAX_STRING_HEADER_BYTES = 3;

/** Length of the header if value[start, end) is a whole msgpack string with the shortest header, or 0. */
export function stringHeaderBytes(
  value: Uint8Array,
  start = 0,
  end: number = value.length,
): number {
  const total = end - start;
  if (total === 0) return 0;
  const first = value[start];
  if (first >= FIX_STRING && first <= FIX_STRING + FIX_STRING_MAX) {
    return first - FIX_STRING === total - 1 ? 1 : 0;
  }
  if (first === STRING_8 && total >= 2) {
    const length = value[start + 1];
    return length > FIX_STRING_MAX && length === total - 2 ? 2 : 0;
  }
  if (first === STRING_16 && total >= 3) {
    const length = (value[start + 1] << 8) | value[start + 2];
    return length > 0xff && length === total - 3 ? 3 : 0;
  }
  return 0;
}

/** Writes the header of a text of `length` bytes so that it ends at `end`; returns where it starts. */
export function writeStringHeader(target: Uint8Array, end: number, length: number): number {
  if (length <= FIX_STRING_MAX) {
    target[end - 1] = FIX_STRING | length;
    return end - 1;
  }
  if (length <= 0xff) {
    target[end - 2] = STRING_8;
    target[end - 1] = length;
    return end - 2;
  }
  target[end - 3] = STRING_16;
  target[end - 2] = length >>> 8;
  target[end - 1] = length;
  return end - 3;
}
