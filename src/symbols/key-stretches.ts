/**
 * KeyStretches: the longest stretch of an entry's key that a position of its value repeats.
 *
 * Many values contain their key or a part of it (a package's name in its URL). `index` links the
 * key's positions by a hash of the four bytes that begin there; `longest` walks the chain of the
 * value's four bytes. Chains are cut at eight steps, keys indexed to 4 KiB and stretches cut at 256
 * bytes, so that no key makes encoding slow; what is missed costs size, not correctness.
 */

/** Shorter stretches are seldom worth a token's two bytes (4 makes npm's URLs 0.6% larger). */
const MIN_STRETCH_BYTES = 5;
/** Bytes that a chain's positions have in common. */
const HASHED_BYTES = 4;

const MAX_STRETCH_BYTES = 256;
const MAX_INDEXED_BYTES = 4096;
const MAX_CHAIN_STEPS = 8;
const HASH_BITS = 10;
const MAX_GENERATION = 0x7fff;

export class KeyStretches {
  /** Where the stretch that `longest` found begins in the key. */
  offset = 0;

  private key: Uint8Array = new Uint8Array(0);
  private keyLength = 0;
  /** generation << 16 | position, for the last position of each hash; stale generations are empty. */
  private readonly heads = new Int32Array(1 << HASH_BITS);
  /** The position before this one with the same hash, or -1. */
  private readonly previous = new Int32Array(MAX_INDEXED_BYTES);
  private generation = 0;

  /** Makes key[0, length) the key that `longest` looks in. It must not change meanwhile. */
  index(key: Uint8Array, length: number): void {
    const { heads, previous } = this;
    this.key = key;
    this.keyLength = length;
    if (this.generation === MAX_GENERATION) {
      heads.fill(0);
      this.generation = 0;
    }
    const generation = ++this.generation;
    const last = Math.min(length, MAX_INDEXED_BYTES) - HASHED_BYTES;
    for (let pos = 0; pos <= last; pos++) {
      const slot = hashOfFour(key, pos);
      const head = heads[slot];
      previous[pos] = head >> 16 === generation ? head & 0xffff : -1;
      heads[slot] = (generation << 16) | pos;
    }
  }

  /** Bytes of the key behind a stretch of `length` bytes at `offset`. */
  tail(length: number): number {
    return this.keyLength - this.offset - length;
  }

  /** Length of the longest stretch that source[pos, end) begins with, or 0; sets `offset`. */
  longest(source: Uint8Array, pos: number, end: number): number {
    if (end - pos < MIN_STRETCH_BYTES) return 0;
    const head = this.heads[hashOfFour(source, pos)];
    if (head >> 16 !== this.generation) return 0;
    const { key, keyLength } = this;
    let best = 0;
    let candidate = head & 0xffff;
    for (let step = 0; step < MAX_CHAIN_STEPS && candidate >= 0; step++) {
      const limit = Math.min(end - pos, keyLength - candidate, MAX_STRETCH_BYTES);
      let len = 0;
      while (len < limit && key[candidate + len] === source[pos + len]) len++;
      if (len > best) {
        best = len;
        this.offset = candidate;
      }
      candidate = this.previous[candidate];
    }
    return best >= MIN_STRETCH_BYTES ? best : 0;
  }
}

function hashOfFour(bytes: Uint8Array, pos: number): number {
  const word = bytes[pos] | (bytes[pos + 1] << 8) | (bytes[pos + 2] << 16) | (bytes[pos + 3] << 24);
  return Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);
}
