/**
 * Filter: whether a key may be in a segment, so that a lookup walks only segments likely to have it.
 *
 * A split-block Bloom filter: the hash chooses a block of 32 bytes and, in each of the block's eight
 * 32-bit words, one bit. A query touches one cache line and stops at the first zero: two probes for
 * most misses. At 10 bits a key about 1 in 100 absent keys passes.
 *
 * Source: Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007), section
 * 3, in the form that Apache Parquet specifies (BloomFilter.md: SBBF), with 32-bit hashes.
 *
 * offset 0        32       64
 *        +--------+--------+-- ... --+
 *        | block  | block  |         |     block = 8 words u32 LE
 *        +--------+--------+-- ... --+
 * hash   h = xxh32 of the key; block number = floor(h * blockCount / 2^32)
 * bits   in word i the bit (mix(h) * SALTS[i] mod 2^32) >> 27
 */
import { checksum } from "../bytes/checksum.ts";

/** A filter is a whole number of blocks. */
export const FILTER_BLOCK_BYTES = 32;
const WORDS_PER_BLOCK = 8;

/** On disk: never change. The odd multipliers of Parquet's SBBF. */
const SALTS: Int32Array = Int32Array.of(
  0x47b6137b,
  0x44974d91,
  0x8824ad5b,
  0xa2b7289d,
  0x705495c7,
  0x2df1424b,
  0x9efc4947,
  0x5c6bfb31,
);

/** The hash of key[0, length) that every segment's filter is asked with. On disk: never change. */
export function keyHash(key: Uint8Array, length: number): number {
  return checksum(key, 0, length);
}

/** Bytes of a filter for `keyCount` keys. */
export function filterBytes(keyCount: number, bitsPerKey: number): number {
  return Math.ceil((keyCount * bitsPerKey) / (8 * FILTER_BLOCK_BYTES)) * FILTER_BLOCK_BYTES;
}

/** Collects the hashes of a segment's keys: 4 bytes a key until `finish`. */
export class FilterBuilder {
  private hashes: Uint32Array;
  private count: number;

  constructor() {
    this.hashes = new Uint32Array(1024);
    this.count = 0;
  }

  add(hash: number): void {
    if (this.count === this.hashes.length) {
      const grown = new Uint32Array(this.count * 2);
      grown.set(this.hashes);
      this.hashes = grown;
    }
    this.hashes[this.count++] = hash;
  }

  /** The filter's bytes. */
  finish(bitsPerKey: number): Uint8Array {
    const bytes = new Uint8Array(filterBytes(this.count, bitsPerKey));
    const filter = new Filter(bytes);
    for (let i = 0; i < this.count; i++) filter.add(this.hashes[i]);
    return bytes;
  }
}

/** A filter, read in place. Its owner has checked its checksum. */
export class Filter {
  private readonly bytes: Uint8Array;
  private readonly blockCount: number;

  /** Takes a whole number of blocks; none means that every key may be there. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.blockCount = bytes.length / FILTER_BLOCK_BYTES;
  }

  get byteLength(): number {
    return this.bytes.length;
  }

  /** Adds a key's hash. The filter must have a block, and bytes that are its owner's to change. */
  add(hash: number): void {
    const { bytes } = this;
    const mixed = mix(hash);
    const block = blockOffset(hash, this.blockCount);
    for (let word = 0; word < WORDS_PER_BLOCK; word++) {
      const bit = Math.imul(mixed, SALTS[word]) >>> 27;
      bytes[block + word * 4 + (bit >> 3)] |= 1 << (bit & 7);
    }
  }

  /** False only if no key with this hash was added. */
  mayContain(hash: number): boolean {
    const { bytes, blockCount } = this;
    if (blockCount === 0) return true;
    const mixed = mix(hash);
    const block = blockOffset(hash, blockCount);
    for (let word = 0; word < WORDS_PER_BLOCK; word++) {
      const bit = Math.imul(mixed, SALTS[word]) >>> 27;
      if ((bytes[block + word * 4 + (bit >> 3)] & (1 << (bit & 7))) === 0) return false;
    }
    return true;
  }
}

/** Keys of one block share their hash's top bits; mixing lets the low bits reach every probe. */
function mix(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  return mixed ^ (mixed >>> 15);
}

function blockOffset(hash: number, blockCount: number): number {
  return Math.floor((hash * blockCount) / 0x1_0000_0000) * FILTER_BLOCK_BYTES;
}
