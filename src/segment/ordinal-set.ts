/**
 * OrdinalSet: some of the ordinals of a segment, such as those of its tombstones; which they are, and
 * how many lie before an ordinal.
 *
 * A bitmap (drawn in format.ts) answers the first; counts for every 64 bytes of it, made when it is
 * loaded, answer the second with at most 64 bytes left to count. An empty set has no bitmap at all.
 */
import { expectNumber } from "./format.ts";

const BYTES_PER_COUNT_SHIFT = 6;
const ORDINALS_PER_COUNT_SHIFT = 9;

/** Set bits of every byte. */
const POPULATION: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0;
  for (let rest = byte; rest > 0; rest &= rest - 1) count++;
  return count;
});

export class OrdinalSetBuilder {
  count: number;
  private bits: Uint8Array;

  constructor() {
    this.count = 0;
    this.bits = new Uint8Array(1024);
  }

  add(ordinal: number): void {
    const byte = ordinal >> 3;
    if (byte >= this.bits.length) {
      const grown = new Uint8Array(Math.max(byte + 1, this.bits.length * 2));
      grown.set(this.bits);
      this.bits = grown;
    }
    this.bits[byte] |= 1 << (ordinal & 7);
    this.count++;
  }

  /** The bitmap for a segment of `keyCount` keys: no bytes if the set is empty. */
  finish(keyCount: number): Uint8Array {
    const section = new Uint8Array(this.count === 0 ? 0 : (keyCount + 7) >> 3);
    section.set(this.bits.subarray(0, section.length));
    return section;
  }
}

export class OrdinalSet {
  readonly count: number;
  private readonly bits: Uint8Array;
  /** Members before each 64 bytes of the bitmap. */
  private readonly counts: Uint32Array;

  /**
   * Takes the bitmap, whose checksum the caller has checked. `what` the ordinals are is said in the
   * CorruptionError that is thrown for a bitmap of another length or count.
   */
  constructor(
    bits: Uint8Array,
    keyCount: number,
    expectedCount: number,
    what: string,
    file: string,
    fileOffset: number,
  ) {
    const expectedBytes = expectedCount === 0 ? 0 : (keyCount + 7) >> 3;
    expectNumber(bits.length, expectedBytes, `length of the ${what}`, file, fileOffset);
    this.bits = bits;
    this.counts = new Uint32Array(Math.ceil(bits.length / (1 << BYTES_PER_COUNT_SHIFT)));
    let count = 0;
    for (let i = 0; i < bits.length; i++) {
      if ((i & ((1 << BYTES_PER_COUNT_SHIFT) - 1)) === 0) {
        this.counts[i >> BYTES_PER_COUNT_SHIFT] = count;
      }
      count += POPULATION[bits[i]];
    }
    expectNumber(count, expectedCount, `number of ${what}`, file, fileOffset);
    const spareBits = bits.length === 0 ? 0 : bits[bits.length - 1] >> (((keyCount - 1) & 7) + 1);
    expectNumber(spareBits, 0, `bits behind the ${what}`, file, fileOffset);
    this.count = count;
  }

  get byteLength(): number {
    return this.bits.byteLength + this.counts.byteLength;
  }

  has(ordinal: number): boolean {
    return this.count > 0 && (this.bits[ordinal >> 3] & (1 << (ordinal & 7))) !== 0;
  }

  /** Members among ordinals [0, ordinal). `ordinal` may be the key count. */
  before(ordinal: number): number {
    const { bits, counts } = this;
    if (this.count === 0 || ordinal === 0) return 0;
    const group = Math.min(ordinal >> ORDINALS_PER_COUNT_SHIFT, counts.length - 1);
    return counts[group] + countBits(bits, group << BYTES_PER_COUNT_SHIFT, ordinal);
  }
}

/** Set bits of a bitmap from a byte on, up to and without the bit `ordinal`. */
export function countBits(bits: Uint8Array, start: number, ordinal: number): number {
  const last = ordinal >> 3;
  let count = 0;
  for (let i = start; i < last; i++) count += POPULATION[bits[i]];
  if ((ordinal & 7) !== 0) count += POPULATION[bits[last] & ((1 << (ordinal & 7)) - 1)];
  return count;
}
