/**
 * Packed integers: the body of a block in which every value is an integer, in msgpack's shortest
 * form.
 *
 * offset 0       2         10      11
 *        +-------+---------+-------+--------------------+
 *        | count | minimum | width | offsets            |
 *        +-------+---------+-------+--------------------+
 * count    u16 LE   values in the block, 1 or more
 * minimum  f64 LE   the least of them, an integer within 2^53 of 0
 * width    u8       bytes of each offset, 0 to MAX_WIDTH
 * offsets  width bytes each, LE: value - minimum. A tombstone's is of no meaning.
 *
 * msgpack writes an integer in one to five bytes, and beyond 32 bits as a float of nine. A value
 * counts as an integer only if it is exactly what `writeInteger` writes, so that it can be rebuilt.
 */
import type { ByteWriter } from "../bytes/writer.ts";

/** The longest form of an integer: a float64. */
export const MAX_INTEGER_BYTES = 9;

const COUNT_BYTES = 2;
const WIDTH_OFFSET = COUNT_BYTES + 8;
const OFFSETS_OFFSET = WIDTH_OFFSET + 1;
/** Differences below 2^53 need no more. */
const MAX_WIDTH = 7;

const UINT_8 = 0xcc;
const UINT_16 = 0xcd;
const UINT_32 = 0xce;
const INT_8 = 0xd0;
const INT_16 = 0xd1;
const INT_32 = 0xd2;
const FLOAT_64 = 0xcb;

const scratch = new Uint8Array(MAX_INTEGER_BYTES);
const scratchView = new DataView(scratch.buffer);

/** The integer that `value` is the shortest msgpack form of, or NaN. */
export function integerOf(value: Uint8Array): number {
  const integer = anyIntegerOf(value);
  if (Number.isNaN(integer) || writeInteger(scratch, 0, integer) !== value.length)
    return Number.NaN;
  for (let i = 0; i < value.length; i++) {
    if (scratch[i] !== value[i]) return Number.NaN;
  }
  return integer;
}

/** The integer that `value` is any msgpack form of, or NaN. */
function anyIntegerOf(value: Uint8Array): number {
  const { length } = value;
  if (length === 0 || length > MAX_INTEGER_BYTES) return Number.NaN;
  const first = value[0];
  if (length === 1) return first < 0x80 ? first : first >= 0xe0 ? first - 0x100 : Number.NaN;
  scratch.set(value);
  if (length === 2 && first === UINT_8) return scratchView.getUint8(1);
  if (length === 2 && first === INT_8) return scratchView.getInt8(1);
  if (length === 3 && first === UINT_16) return scratchView.getUint16(1);
  if (length === 3 && first === INT_16) return scratchView.getInt16(1);
  if (length === 5 && first === UINT_32) return scratchView.getUint32(1);
  if (length === 5 && first === INT_32) return scratchView.getInt32(1);
  if (length !== 9 || first !== FLOAT_64) return Number.NaN;
  const float = scratchView.getFloat64(1);
  return Number.isSafeInteger(float) && !Object.is(float, -0) ? float : Number.NaN;
}

/** Writes the shortest msgpack form of an integer; returns the position after it. */
export function writeInteger(target: Uint8Array, pos: number, integer: number): number {
  if (integer >= -0x20 && integer < 0x80) {
    target[pos] = integer;
    return pos + 1;
  }
  if (integer >= -0x80 && integer < 0x100) {
    target[pos] = integer < 0 ? INT_8 : UINT_8;
    target[pos + 1] = integer;
    return pos + 2;
  }
  if (integer >= -0x8000 && integer < 0x1_0000) {
    target[pos] = integer < 0 ? INT_16 : UINT_16;
    target[pos + 1] = integer >> 8;
    target[pos + 2] = integer;
    return pos + 3;
  }
  if (integer >= -0x8000_0000 && integer < 0x1_0000_0000) {
    target[pos] = integer < 0 ? INT_32 : UINT_32;
    for (let i = 0; i < 4; i++) target[pos + 1 + i] = integer >>> (24 - 8 * i);
    return pos + 5;
  }
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  target[pos] = FLOAT_64;
  view.setFloat64(pos + 1, integer);
  return pos + 9;
}

/** Appends a body of integers[0, count), each within 2^53 of 0. False if they lie too far apart. */
export function appendPacked(output: ByteWriter, integers: Float64Array, count: number): boolean {
  let minimum = integers[0];
  let maximum = integers[0];
  for (let i = 1; i < count; i++) {
    minimum = Math.min(minimum, integers[i]);
    maximum = Math.max(maximum, integers[i]);
  }
  if (!Number.isSafeInteger(maximum - minimum)) return false;
  let width = 0;
  for (let rest = maximum - minimum; rest > 0; rest = Math.floor(rest / 0x100)) width++;
  output.u16(count);
  const floatPos = output.reserve(8);
  const { buffer } = output;
  new DataView(buffer.buffer, buffer.byteOffset).setFloat64(floatPos, minimum, true);
  output.length += 8;
  output.u8(width);
  for (let i = 0; i < count; i++) {
    let rest = integers[i] - minimum;
    for (let byte = 0; byte < width; byte++) {
      output.u8(rest % 0x100);
      rest = Math.floor(rest / 0x100);
    }
  }
  return true;
}

/** Integer `index` of the body in bytes[body, end); NaN where there is none. */
export function packedAt(bytes: Uint8Array, body: number, end: number, index: number): number {
  if (end - body < OFFSETS_OFFSET) return Number.NaN;
  const width = bytes[body + WIDTH_OFFSET];
  const count = bytes[body] | (bytes[body + 1] << 8);
  const start = body + OFFSETS_OFFSET + index * width;
  if (width > MAX_WIDTH || index >= count || start + width > end) return Number.NaN;
  let offset = 0;
  for (let byte = width - 1; byte >= 0; byte--) offset = offset * 0x100 + bytes[start + byte];
  for (let i = 0; i < 8; i++) scratch[i] = bytes[body + COUNT_BYTES + i];
  const integer = scratchView.getFloat64(0, true) + offset;
  return Number.isSafeInteger(integer) ? integer : Number.NaN;
}
