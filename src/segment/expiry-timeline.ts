/**
 * ExpiryTimeline: which ordinals of a segment have expired at a moment, and how many of them lie
 * before an ordinal.
 *
 * It stands at one moment, and is moved to others: what expires in between is put into a bitmap, or
 * taken out of it if the way leads back, in the order of time. Counts of the bitmap's groups of 64
 * bytes are a Fenwick tree, in which a change and a sum both take O(log n) (Fenwick, "A New Data
 * Structure for Cumulative Frequency Tables", Software: Practice and Experience 24 (3), 1994). So a
 * move costs as much as has expired, and a question little, however many entries there are.
 *
 * Memory: 4 bytes an entry that expires, which several timelines may share, and an eighth of a byte
 * an ordinal.
 */
import { countBits } from "./ordinal-set.ts";

const GROUP_SHIFT = 9;
const GROUP_BYTES_SHIFT = GROUP_SHIFT - 3;

export class ExpiryTimeline {
  /** What expires, in the order in which it does. Not changed, so that several may share it. */
  readonly ordinals: Uint32Array;
  private readonly expiryOf: (ordinal: number) => number;
  /** Which have expired. */
  private readonly bits: Uint8Array;
  /** Node i has the sum of the groups (i - lowest bit of i, i]; groups count from 1. */
  private readonly sums: Uint32Array;
  /** How many have expired: so many of `ordinals`. */
  private expiredCount: number;

  /** `ordinals` in the order of their expiries. Stands before all of them. */
  constructor(ordinals: Uint32Array, keyCount: number, expiryOf: (ordinal: number) => number) {
    this.ordinals = ordinals;
    this.expiryOf = expiryOf;
    this.bits = new Uint8Array((keyCount + 7) >> 3);
    this.sums = new Uint32Array((keyCount >> GROUP_SHIFT) + 2);
    this.expiredCount = 0;
  }

  /** Bytes of memory beside `ordinals`. */
  get byteLength(): number {
    return this.bits.byteLength + this.sums.byteLength;
  }

  /** The last expiry up to the moment it stands at; minus infinity if there is none. */
  get from(): number {
    return this.expiredCount === 0
      ? Number.NEGATIVE_INFINITY
      : this.expiryOf(this.ordinals[this.expiredCount - 1]);
  }

  /** The first expiry after that moment, or infinity. */
  get until(): number {
    return this.expiredCount === this.ordinals.length
      ? Number.POSITIVE_INFINITY
      : this.expiryOf(this.ordinals[this.expiredCount]);
  }

  moveTo(time: number): void {
    while (this.until <= time) this.add(this.ordinals[this.expiredCount++], 1);
    while (this.from > time) this.add(this.ordinals[--this.expiredCount], -1);
  }

  /** How many have expired among ordinals [0, ordinal). `ordinal` may be the key count. */
  before(ordinal: number): number {
    const { bits, sums } = this;
    let count = 0;
    for (let i = ordinal >> GROUP_SHIFT; i > 0; i &= i - 1) count += sums[i];
    const start = (ordinal >> GROUP_SHIFT) << GROUP_BYTES_SHIFT;
    return count + countBits(bits, start, ordinal);
  }

  private add(ordinal: number, change: number): void {
    const { bits, sums } = this;
    bits[ordinal >> 3] ^= 1 << (ordinal & 7);
    for (let i = (ordinal >> GROUP_SHIFT) + 1; i < sums.length; i += i & -i) sums[i] += change;
  }
}
