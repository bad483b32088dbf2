/**
 * Ordered keys: values of several types, and tuples of them, as bytes that sort as the values do.
 *
 * ```
 * key      element                          without the end marks below
 * element  null       08
 *          false      10
 *          true       11
 *          number     28 to b8, see below   numbers and bigints in one order
 *          Date       c0 number             milliseconds since 1970
 *          string     c8 UTF-8 escaped 00   in order of code points, as "utf8" keys
 *          bytes      d0 bytes escaped 00
 *          tuple      d8 elements 00        a tuple before what it begins
 * escaped: 00 is written 01 01, and 01 is 01 02, so that 00 marks the end and sorts first.
 * ```
 * No element's bytes begin another's. At the end of a key the end mark of a string, byte array or
 * tuple is left out; so a tuple's key begins the keys of exactly the tuples that begin with its
 * elements, and a string's key those of the strings that begin with it: prefix ranges are theirs.
 *
 * A number other than 0 is ±(1 + f) * 2^e with 0 <= f < 1, be it a double or a bigint:
 * ```
 * -Infinity  28        ZERO 70, then 00 for a number, 01 for a bigint        Infinity  b8
 * positive   71 u16    e + 1074 if e < -16
 *            72 to b1  72 + e + 16: small numbers take two bytes
 *            b2 u24    e if e > 47
 *            and then f, six bits a byte, to the last that is not 0: bits << 2 | 02 where more follow,
 *            00 at the end of a number, 01 at the end of a bigint
 * negative   all bytes complemented, the first to e0 - it, and the two ends exchanged
 * ```
 * So 1 sorts before 1n, and both before 1.5. -0 is 0. NaN, invalid dates and lone surrogates are
 * refused. On disk: never change any of these.
 *
 * After the tuple layer of FoundationDB (design/tuple.md), which has the same types but keeps whole
 * numbers and doubles apart. Of the packages on npm none serves: ordered-binary 1.6 gives dates and
 * 0n back as numbers and orders -0 wrongly; charwise 3 and bytewise have no bigints, and charwise
 * cannot hold a NUL (properties of test/encoding/ordered-keys.test.ts, run against each).
 */
import { MAX_KEY_BYTES } from "../entry.ts";
import { CorruptionError, InvalidArgumentError } from "../errors.ts";
import { decodeUtf8, describe, isWellFormed, type KeyCodec, tooLong } from "./key-codec.ts";

/** What an ordered key can be. */
export type OrderedKey =
  | null
  | boolean
  | number
  | bigint
  | string
  | Date
  | Uint8Array
  | readonly OrderedKey[];

const END = 0x00;
const ESCAPE = 0x01;
const NULL = 0x08;
const FALSE = 0x10;
const TRUE = 0x11;
const NEGATIVE_INFINITY = 0x28;
const ZERO = 0x70;
const POSITIVE_INFINITY = 0xb8;
const DATE = 0xc0;
const STRING = 0xc8;
const BYTES = 0xd0;
const TUPLE = 0xd8;

const TINY: number = ZERO + 1;
const FIRST_MIDDLE: number = TINY + 1;
const MIN_MIDDLE_EXPONENT = -16;
const MAX_MIDDLE_EXPONENT = 47;
const BIG: number = FIRST_MIDDLE + MAX_MIDDLE_EXPONENT - MIN_MIDDLE_EXPONENT + 1;
const MIN_EXPONENT = -1074;
const MAX_EXPONENT: number = 2 ** 24 - 1;

const BITS_PER_BYTE = 6;
const GROUP = 2 ** BITS_PER_BYTE;
const NUMBER_ENDS = 0;
const BIGINT_ENDS = 1;
const CONTINUES = 2;

/** Deeper tuples are refused, since the encoder recurses. */
const MAX_DEPTH = 64;

const textEncoder = new TextEncoder();
const double = new Float64Array(1);
/** The halves of `double`: the upper one is at index UPPER. */
const halves = new Uint32Array(double.buffer);
const UPPER: number = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 1 : 0;

export class OrderedKeyCodec implements KeyCodec<OrderedKey> {
  readonly name = "ordered";
  readonly isText = false;
  buffer: Uint8Array = new Uint8Array(256);
  private pos = 0;
  /** The key being decoded: bytes[pos, end). */
  private bytes: Uint8Array = this.buffer;
  private end = 0;

  encode(key: OrderedKey): number {
    this.pos = 0;
    this.append(key, 0);
    if (this.pos > MAX_KEY_BYTES) throw tooLong(`${this.pos} bytes`);
    return this.pos;
  }

  decode(bytes: Uint8Array, length: number): OrderedKey {
    this.bytes = bytes;
    this.pos = 0;
    this.end = length;
    const key = this.read(0);
    if (this.pos !== length) throw this.damaged("the end of the key");
    return key;
  }

  /** `depth`: of tuples around the element; 0 for the key itself. */
  private append(element: OrderedKey, depth: number): void {
    switch (typeof element) {
      case "string":
        this.appendString(element, depth);
        return;
      case "number":
        this.appendNumber(element, NUMBER_ENDS);
        return;
      case "bigint":
        this.appendBigint(element);
        return;
      case "boolean":
        this.push(element ? TRUE : FALSE);
        return;
      default:
        if (element === null) this.push(NULL);
        else if (Array.isArray(element)) this.appendTuple(element, depth);
        else if (element instanceof Uint8Array) this.appendBytes(element, depth);
        else if (element instanceof Date) this.appendDate(element);
        else throw cannotHold(describe(element));
    }
  }

  private appendTuple(tuple: readonly OrderedKey[], depth: number): void {
    if (depth === MAX_DEPTH) throw cannotHold(`tuples more than ${MAX_DEPTH} deep`);
    this.push(TUPLE);
    for (let i = 0; i < tuple.length; i++) this.append(tuple[i], depth + 1);
    if (depth > 0) this.push(END);
  }

  private appendString(text: string, depth: number): void {
    if (!isWellFormed(text)) throw cannotHold("a string with a lone surrogate");
    if (text.length > MAX_KEY_BYTES) throw tooLong(`${text.length} characters`);
    this.push(STRING);
    this.reserve(text.length * 3);
    const start = this.pos;
    this.pos += textEncoder.encodeInto(text, this.buffer.subarray(start)).written;
    this.escapeFrom(start);
    if (depth > 0) this.push(END);
  }

  private appendBytes(bytes: Uint8Array, depth: number): void {
    if (bytes.length > MAX_KEY_BYTES) throw tooLong(`${bytes.length} bytes`);
    this.push(BYTES);
    this.reserve(bytes.length);
    const start = this.pos;
    this.buffer.set(bytes, start);
    this.pos += bytes.length;
    this.escapeFrom(start);
    if (depth > 0) this.push(END);
  }

  /** Escapes the bytes from `start` on. */
  private escapeFrom(start: number): void {
    let count = 0;
    for (let i = start; i < this.pos; i++) if (this.buffer[i] <= ESCAPE) count++;
    if (count === 0) return;
    this.reserve(count);
    const { buffer } = this;
    let target = this.pos + count;
    // From the end, so that nothing is overwritten before it is moved.
    for (let i = this.pos - 1; i >= start; i--) {
      const byte = buffer[i];
      if (byte <= ESCAPE) {
        buffer[--target] = byte + 1;
        buffer[--target] = ESCAPE;
      } else {
        buffer[--target] = byte;
      }
    }
    this.pos += count;
  }

  private appendDate(date: Date): void {
    const time = date.getTime();
    if (Number.isNaN(time)) throw cannotHold("an invalid date");
    this.push(DATE);
    this.appendNumber(time, NUMBER_ENDS);
  }

  /** `ends` says what the number is: a number, or a bigint that a number holds exactly. */
  private appendNumber(value: number, ends: number): void {
    if (value === 0) {
      this.push(ZERO);
      this.push(ends);
    } else if (value === Number.POSITIVE_INFINITY) {
      this.push(POSITIVE_INFINITY);
    } else if (value === Number.NEGATIVE_INFINITY) {
      this.push(NEGATIVE_INFINITY);
    } else if (Number.isNaN(value)) {
      throw cannotHold("NaN");
    } else {
      const magnitude = Math.abs(value);
      const exponent = exponentOf(magnitude);
      const invert = value < 0 ? 0xff : 0;
      this.appendExponent(exponent, value < 0);
      const endFlag = value < 0 ? BIGINT_ENDS - ends : ends;
      // Exact: a division by a power of two, in two steps where one would be beyond all doubles.
      let fraction =
        (exponent < -1022
          ? (magnitude * 2 ** 54) / powerOfTwo(exponent + 54)
          : magnitude / powerOfTwo(exponent)) - 1;
      do {
        const scaled = fraction * GROUP;
        const bits = Math.floor(scaled);
        fraction = scaled - bits;
        this.push(((bits << 2) | (fraction === 0 ? endFlag : CONTINUES)) ^ invert);
      } while (fraction !== 0);
    }
  }

  private appendBigint(value: bigint): void {
    const number = Number(value);
    if (Number.isSafeInteger(number)) {
      this.appendNumber(number, BIGINT_ENDS);
      return;
    }
    const isNegative = value < 0n;
    const bits = (isNegative ? -value : value).toString(2);
    const exponent = bits.length - 1;
    if (exponent > MAX_EXPONENT) throw tooLong("a bigint beyond 2^16777216");
    this.appendExponent(exponent, isNegative);
    const last = Math.max(1, bits.lastIndexOf("1"));
    const invert = isNegative ? 0xff : 0;
    const endFlag = isNegative ? NUMBER_ENDS : BIGINT_ENDS;
    for (let start = 1; start <= last; start += BITS_PER_BYTE) {
      const end = start + BITS_PER_BYTE;
      const group = Number.parseInt(bits.slice(start, end).padEnd(BITS_PER_BYTE, "0"), 2);
      this.push(((group << 2) | (end > last ? endFlag : CONTINUES)) ^ invert);
    }
  }

  private appendExponent(exponent: number, isNegative: boolean): void {
    const invert = isNegative ? 0xff : 0;
    const mark = (tag: number): void => this.push(isNegative ? 2 * ZERO - tag : tag);
    if (exponent < MIN_MIDDLE_EXPONENT) {
      const biased = exponent - MIN_EXPONENT;
      mark(TINY);
      this.push((biased >>> 8) ^ invert);
      this.push((biased & 0xff) ^ invert);
    } else if (exponent <= MAX_MIDDLE_EXPONENT) {
      mark(FIRST_MIDDLE + exponent - MIN_MIDDLE_EXPONENT);
    } else {
      mark(BIG);
      this.push((exponent >>> 16) ^ invert);
      this.push(((exponent >>> 8) & 0xff) ^ invert);
      this.push((exponent & 0xff) ^ invert);
    }
  }

  private push(byte: number): void {
    if (this.pos === this.buffer.length) this.reserve(1);
    this.buffer[this.pos++] = byte;
  }

  /** Makes room. A key that is too long already is not made longer. */
  private reserve(count: number): void {
    if (this.pos > MAX_KEY_BYTES) throw tooLong(`more than ${MAX_KEY_BYTES} bytes`);
    if (this.pos + count <= this.buffer.length) return;
    const grown = new Uint8Array(Math.max(this.buffer.length * 2, this.pos + count));
    grown.set(this.buffer.subarray(0, this.pos));
    this.buffer = grown;
  }

  private read(depth: number): OrderedKey {
    const tag = this.next();
    if (tag >= NEGATIVE_INFINITY && tag <= POSITIVE_INFINITY) return this.readNumber(tag);
    switch (tag) {
      case NULL:
        return null;
      case FALSE:
        return false;
      case TRUE:
        return true;
      case DATE:
        return new Date(Number(this.readNumber(this.next())));
      case STRING: {
        const text = this.readEscaped(depth);
        return decodeUtf8(text, 0, text.length);
      }
      case BYTES:
        return this.readEscaped(depth);
      case TUPLE:
        return this.readTuple(depth);
      default:
        this.pos--;
        throw this.damaged("the type of an element");
    }
  }

  private readTuple(depth: number): OrderedKey[] {
    if (depth === MAX_DEPTH) throw this.damaged(`tuples at most ${MAX_DEPTH} deep`);
    const tuple: OrderedKey[] = [];
    while (depth === 0 ? this.pos < this.end : this.peek() !== END)
      tuple.push(this.read(depth + 1));
    if (depth > 0) this.pos++;
    return tuple;
  }

  /** A copy of the bytes up to the end mark, which is left out at the end of a key. */
  private readEscaped(depth: number): Uint8Array {
    const { bytes } = this;
    const start = this.pos;
    let stop = start;
    let escapes = 0;
    while (stop < this.end && bytes[stop] !== END) {
      if (bytes[stop] === ESCAPE) {
        escapes++;
        stop++;
      }
      stop++;
    }
    this.pos = Math.min(stop, this.end);
    const isWhole = depth === 0 ? stop === this.end : stop < this.end;
    if (!isWhole) throw this.damaged("the end of a string or byte array");
    if (depth > 0) this.pos++;
    const result = new Uint8Array(stop - start - escapes);
    for (let i = start, target = 0; i < stop; i++, target++) {
      result[target] = bytes[i] === ESCAPE ? bytes[++i] - 1 : bytes[i];
    }
    return result;
  }

  private readNumber(tag: number): number | bigint {
    if (tag === POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
    if (tag === NEGATIVE_INFINITY) return Number.NEGATIVE_INFINITY;
    if (tag === ZERO) return this.next() === BIGINT_ENDS ? 0n : 0;
    const isNegative = tag < ZERO;
    const invert = isNegative ? 0xff : 0;
    const exponent = this.readExponent(isNegative ? 2 * ZERO - tag : tag, invert);
    const start = this.pos;
    let byte = this.next() ^ invert;
    let scale = 1 / GROUP;
    let fraction = (byte >>> 2) * scale;
    while ((byte & CONTINUES) !== 0) {
      byte = this.next() ^ invert;
      scale /= GROUP;
      fraction += (byte >>> 2) * scale;
    }
    const isBigint = (byte & BIGINT_ENDS) !== (isNegative ? BIGINT_ENDS : NUMBER_ENDS);
    if (isBigint && exponent > 52) return this.bigintFrom(start, exponent, isNegative);
    const magnitude = (1 + fraction) * powerOfTwo(exponent);
    const value = isNegative ? -magnitude : magnitude;
    if (!isBigint) return value;
    if (!Number.isSafeInteger(value)) throw this.damaged("a whole number");
    return BigInt(value);
  }

  private readExponent(tag: number, invert: number): number {
    if (tag === TINY) {
      const upper = this.next() ^ invert;
      return upper * 0x100 + (this.next() ^ invert) + MIN_EXPONENT;
    }
    if (tag < BIG) return tag - FIRST_MIDDLE + MIN_MIDDLE_EXPONENT;
    if (tag > BIG) throw this.damaged("the exponent of a number");
    const upper = this.next() ^ invert;
    const middle = this.next() ^ invert;
    return upper * 0x1_0000 + middle * 0x100 + (this.next() ^ invert);
  }

  /** The bigint whose bits after the first are those of the bytes from `start` to the position. */
  private bigintFrom(start: number, exponent: number, isNegative: boolean): bigint {
    let bits = "0b1";
    for (let i = start; i < this.pos; i++) {
      const byte = this.bytes[i] ^ (isNegative ? 0xff : 0);
      bits += (byte >>> 2).toString(2).padStart(BITS_PER_BYTE, "0");
    }
    const magnitude = BigInt(bits.slice(0, exponent + 3).padEnd(exponent + 3, "0"));
    return isNegative ? -magnitude : magnitude;
  }

  private next(): number {
    if (this.pos >= this.end) throw this.damaged("more bytes");
    return this.bytes[this.pos++];
  }

  private peek(): number {
    if (this.pos >= this.end) throw this.damaged("more bytes");
    return this.bytes[this.pos];
  }

  private damaged(expected: string): CorruptionError {
    return new CorruptionError("a key that is not an ordered one", {
      file: "<memory>",
      offset: this.pos,
      expected,
      actual: this.pos < this.end ? `byte ${this.bytes[this.pos]}` : "the end",
    });
  }
}

/** The e of a positive finite double (1 + f) * 2^e. */
function exponentOf(value: number): number {
  double[0] = value;
  const biased = halves[UPPER] >>> 20;
  if (biased > 0) return biased - 1023;
  // Below 2^-1022 doubles have fewer bits: one that is 2^54 times as large has them all.
  double[0] = value * 2 ** 54;
  return (halves[UPPER] >>> 20) - 1023 - 54;
}

/** 2^exponent, exactly, for exponents of doubles. */
function powerOfTwo(exponent: number): number {
  if (exponent < -1022) return powerOfTwo(exponent + 54) / 2 ** 54;
  halves[1 - UPPER] = 0;
  halves[UPPER] = (exponent + 1023) << 20;
  return double[0];
}

function cannotHold(found: string): InvalidArgumentError {
  return new InvalidArgumentError(
    `an ordered key is null, a boolean, number, bigint, string, Date, Uint8Array or an array of these; it cannot hold ${found}`,
  );
}
