/**
 * UTF-8: ranges of code points as sequences of ranges of bytes.
 *
 * The code points from U+0800 to U+FFFF, for instance, are E0 A0-BF 80-BF, then E1-EC 80-BF 80-BF,
 * then ED 80-9F 80-BF and EE-EF 80-BF 80-BF: any bytes of one sequence, each from its range, are
 * one of these characters, and each of them is one such. Surrogates have no form in UTF-8.
 *
 * A range is split until all encodings in it have one length and are a product of ranges of bytes:
 * at the ends of the lengths, around the surrogates, and wherever a trailing byte does not run
 * over all of its values.
 *
 * Source: the same method in Russ Cox, RE2, and Rust's regex-syntax (utf8.rs).
 */
import type { CodePointRange } from "./pattern.ts";

/** Bytes from `first` to `last`, both included. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/** Code points that are encoded in 1, 2, 3 and 4 bytes, without the surrogates. */
const LENGTHS: readonly CodePointRange[] = [
  { first: 0, last: 0x7f },
  { first: 0x80, last: 0x7ff },
  { first: 0x800, last: 0xd7ff },
  { first: 0xe000, last: 0xffff },
  { first: 0x10000, last: 0x10ffff },
];

/** Bits that a trailing byte carries. */
const TRAILING_BITS = 6;

/** The sequences that encode the code points of a range. */
export function utf8Sequences(range: CodePointRange): ByteRange[][] {
  const sequences: ByteRange[][] = [];
  for (const part of LENGTHS) {
    const first = Math.max(range.first, part.first);
    const last = Math.min(range.last, part.last);
    if (first <= last) split(first, last, sequences);
  }
  return sequences;
}

/** Adds the sequences for code points that are encoded in the same number of bytes. */
function split(first: number, last: number, sequences: ByteRange[][]): void {
  const low = encode(first);
  const high = encode(last);
  for (let trailing = 1; trailing < low.length; trailing++) {
    const mask = 2 ** (TRAILING_BITS * trailing) - 1;
    // Only within one block of trailing bytes, or over whole blocks, is it a product of ranges.
    if (Math.floor(first / (mask + 1)) === Math.floor(last / (mask + 1))) continue;
    if ((first & mask) !== 0) {
      split(first, first | mask, sequences);
      split((first | mask) + 1, last, sequences);
      return;
    }
    if ((last & mask) !== mask) {
      split(first, (last & ~mask) - 1, sequences);
      split(last & ~mask, last, sequences);
      return;
    }
  }
  sequences.push(low.map((byte, i) => ({ first: byte, last: high[i] })));
}

function encode(codePoint: number): number[] {
  return [...new TextEncoder().encode(String.fromCodePoint(codePoint))];
}
