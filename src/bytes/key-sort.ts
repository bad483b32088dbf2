/**
 * KeySort: the order of many keys that lie in one array, by their bytes; of equal ones, the order of
 * their references.
 *
 * Keys become numbers of 64 bits, which the engine's own sort of a BigUint64Array puts in order: it
 * is compiled ahead, so that the first sort of a process is as fast as the thousandth. (No BigInt is
 * made: the numbers are written and read as pairs of words.)
 *
 *   63                      32 31            29 28            0
 *   +-------------------------+----------------+--------------+
 *   | next four bytes of key  | how many there | reference    |
 *   +-------------------------+----------------+--------------+
 *
 * Where a key ends sooner, zeros take the place of its bytes, and the count tells it from one that has
 * zeros there. Keys that agree in the upper 35 bits are one *group*: if the count is below four they
 * are equal, and in order; else what follows the four bytes decides. Small groups are sorted by
 * insertion, larger ones in the same way as the whole, after the bytes that all of the group share. So
 * large a group that one call of the sort would hold up other work is first parted by its next byte.
 *
 * Source: multikey sorting with a cache of the next bytes, Ng and Kakehi, "Cache Efficient Radix Sort
 * for String Sorting" (IEICE Transactions 2007).
 */
import { assert } from "../assert.ts";

const IS_LITTLE: boolean = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
/** Which of the two words of a number is the upper one. */
const UPPER: number = IS_LITTLE ? 1 : 0;
const LOWER: number = 1 - UPPER;

const CHUNK_BYTES = 4;
const REF_BITS = 29;
const REF_MASK: number = 2 ** REF_BITS - 1;

/** Up to so many keys insertion is faster than a call of the sort. */
const MAX_INSERTION = 12;

/** More keys are parted first: the sort takes about 0.1 us for each. */
const MAX_SORTED_AT_ONCE: number = 2 ** 18;
/** What a part may have next: no byte, or one of 256. */
const PART_COUNT = 257;

/** Bytes of a group's keys that are looked at first, to see how many all of them share. */
const FIRST_COMPARED_BYTES = 32;

/** Keys looked at in one `step`: some milliseconds. */
const STEP_KEYS: number = 2 ** 14;

/** Keys in one array, each with a reference of up to 29 bits: that of `ref` is bytes[start, end). */
export interface KeySource {
  readonly keyBytes: Uint8Array;
  keyStart(ref: number): number;
  keyEnd(ref: number): number;
}

export class KeySort {
  private readonly source: KeySource;
  private readonly keys: Uint8Array;
  private readonly maxAtOnce: number;
  private readonly numbers: BigUint64Array;
  /** The same memory as `numbers`. */
  private readonly words: Uint32Array;
  /** Groups that are still to be sorted, three numbers each: start, end, and the depth. */
  private readonly groups: number[];

  /**
   * Of the keys with these references. A group of more than `maxAtOnce` is parted; tests have it done
   * to small ones.
   */
  constructor(source: KeySource, refs: Uint32Array, maxAtOnce: number = MAX_SORTED_AT_ONCE) {
    const { length: count } = refs;
    this.source = source;
    this.keys = source.keyBytes;
    this.maxAtOnce = maxAtOnce;
    this.numbers = new BigUint64Array(count);
    this.words = new Uint32Array(this.numbers.buffer);
    for (let i = 0; i < count; i++) {
      assert(refs[i] <= REF_MASK, "a reference takes 29 bits");
      this.words[2 * i + LOWER] = refs[i];
    }
    this.groups = count > 1 ? [0, count, 0] : [];
  }

  /**
   * Sorts on for some milliseconds; false once all is in order. To part a very large group takes
   * longer, about 20 ns a key.
   */
  step(): boolean {
    const { groups } = this;
    let passed = 0;
    while (groups.length > 0 && passed < STEP_KEYS) {
      const depth = groups.pop() as number;
      const end = groups.pop() as number;
      const start = groups.pop() as number;
      this.sortGroup(start, end, depth);
      passed += end - start;
    }
    return groups.length > 0;
  }

  /** Reference of the key of rank i, once all are in order. */
  at(i: number): number {
    return this.words[2 * i + LOWER] & REF_MASK;
  }

  /** Sorts the numbers [start, end), whose keys agree in their first `depth` bytes. */
  private sortGroup(start: number, end: number, depth: number): void {
    const { words, groups } = this;
    const shared = this.sharedBytes(start, end, depth);
    if (end - start > this.maxAtOnce) {
      this.part(start, end, shared);
      return;
    }
    this.fill(start, end, shared);
    this.numbers.subarray(start, end).sort();
    for (let i = start; i < end; ) {
      const upper = words[2 * i + UPPER];
      const lower = words[2 * i + LOWER] >>> REF_BITS;
      let j = i + 1;
      while (
        j < end &&
        words[2 * j + UPPER] === upper &&
        words[2 * j + LOWER] >>> REF_BITS === lower
      ) {
        j++;
      }
      if (j - i > 1 && lower === CHUNK_BYTES) {
        if (j - i <= MAX_INSERTION) this.insertionSort(i, j, shared + CHUNK_BYTES);
        else groups.push(i, j, shared + CHUNK_BYTES);
      }
      i = j;
    }
  }

  /** Puts the keys of a group in order of the byte at `depth`, and makes groups of those that agree. */
  private part(start: number, end: number, depth: number): void {
    const { words, groups } = this;
    // Part p will begin at starts[p]; while keys are put there, starts[p] is where the next one goes.
    const starts = new Uint32Array(PART_COUNT + 1);
    for (let i = start; i < end; i++) starts[this.partOf(this.at(i), depth) + 1]++;
    for (let p = 0; p < PART_COUNT; p++) starts[p + 1] += starts[p];
    const parted = new Uint32Array(end - start);
    for (let i = start; i < end; i++) {
      const ref = this.at(i);
      parted[starts[this.partOf(ref, depth)]++] = ref;
    }
    for (let i = start; i < end; i++) words[2 * i + LOWER] = parted[i - start];
    // Keys without a byte there are equal, and still in their order.
    for (let p = 1; p < PART_COUNT; p++) {
      if (starts[p] - starts[p - 1] > 1) {
        groups.push(start + starts[p - 1], start + starts[p], depth + 1);
      }
    }
  }

  private partOf(ref: number, depth: number): number {
    const pos = this.source.keyStart(ref) + depth;
    return pos < this.source.keyEnd(ref) ? this.keys[pos] + 1 : 0;
  }

  /**
   * How many bytes all keys of a group share, which are at least `depth`. Looks at some of them, then
   * at twice as many, so that keys which share much with the first are not compared with it to their
   * ends, for each byte that one that shares little lets the group get on.
   */
  private sharedBytes(start: number, end: number, depth: number): number {
    let shared = depth;
    for (let more = FIRST_COMPARED_BYTES; ; more *= 2) {
      const limit = shared + more;
      shared = this.sharedUpTo(limit, start, end, shared);
      if (shared < limit) return shared;
    }
  }

  /** As `sharedBytes`, but `limit` where all keys share so many or more. */
  private sharedUpTo(limit: number, start: number, end: number, depth: number): number {
    const { keys, source } = this;
    const first = source.keyStart(this.at(start));
    let shared = Math.min(limit, source.keyEnd(this.at(start)) - first);
    for (let i = start + 1; i < end && shared > depth; i++) {
      const ref = this.at(i);
      const pos = source.keyStart(ref);
      const keyLimit = Math.min(shared, source.keyEnd(ref) - pos);
      let same = depth;
      while (same < keyLimit && keys[pos + same] === keys[first + same]) same++;
      shared = same;
    }
    return shared;
  }

  /** Makes the numbers [start, end) of the bytes of their keys from `depth` on. */
  private fill(start: number, end: number, depth: number): void {
    const { keys, source, words } = this;
    for (let i = start; i < end; i++) {
      const ref = this.at(i);
      const pos = source.keyStart(ref) + depth;
      const keyEnd = source.keyEnd(ref);
      let count = CHUNK_BYTES;
      let chunk: number;
      if (pos + CHUNK_BYTES <= keyEnd) {
        chunk = (keys[pos] << 24) | (keys[pos + 1] << 16) | (keys[pos + 2] << 8) | keys[pos + 3];
      } else {
        count = keyEnd - pos;
        chunk = 0;
        for (let j = 0; j < count; j++) chunk |= keys[pos + j] << (24 - 8 * j);
      }
      words[2 * i + UPPER] = chunk;
      words[2 * i + LOWER] = (count << REF_BITS) | ref;
    }
  }

  private insertionSort(start: number, end: number, depth: number): void {
    const { words } = this;
    for (let i = start + 1; i < end; i++) {
      const number = words[2 * i + LOWER];
      const ref = number & REF_MASK;
      let j = i;
      while (j > start && this.isAfter(this.at(j - 1), ref, depth)) {
        words[2 * j + LOWER] = words[2 * j - 2 + LOWER];
        j--;
      }
      words[2 * j + LOWER] = number;
    }
  }

  /** Whether key `a`, which agrees with `b` in its first `depth` bytes and came before, sorts after. */
  private isAfter(a: number, b: number, depth: number): boolean {
    const { keys, source } = this;
    let pos = source.keyStart(a) + depth;
    let other = source.keyStart(b) + depth;
    const end = source.keyEnd(a);
    const otherEnd = source.keyEnd(b);
    while (pos < end && other < otherEnd && keys[pos] === keys[other]) {
      pos++;
      other++;
    }
    if (pos === end) return false;
    return other === otherEnd || keys[pos] > keys[other];
  }
}
