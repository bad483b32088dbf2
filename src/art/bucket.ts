/**
 * Buckets: the leaves of the tree, each a small sorted list of keys and their values.
 *
 * A bucket holds up to 32 keys, front-coded: each key is stored as the number of bytes that it
 * shares with the key before it, and the rest. That is what makes the tree smaller than its keys,
 * since neighbours in order share most of their bytes. Before the first key stands the bucket's
 * *separator*: the shortest string that sorts after every key to the left and not after any key
 * here. It is coded as a key is, but has no value.
 *
 *   offset 0        4           ...                used    size - count * v            size
 *          +--------+-----------+-----+-----+-----+-------+---------------------+-------+
 *          | header | separator | key | key | ... | slack | last value |  ...   | first |
 *          +--------+-----------+-----+-----+-----+-------+---------------------+-------+
 *   header   one word: count in bits 0-5, spare units in bits 6-13, used in bits 14-31
 *   values   4 or 8 bytes each (v), the same for the whole tree, in the order of the keys from the
 *            end downwards, so that one more key moves none of them
 *   size     used + count * v, rounded up to 16, + 16 * spare units: what the block takes in the
 *            arena. Only a bucket at which keys arrive in order has spare units (append-run.ts)
 *
 *   a key, narrow (shared < 255, tail <= 255)     a key, wide
 *          +--------+------+---------+                   +-----+------------+----------+---------+
 *          | shared | tail | tail    |                   | 255 | shared u24 | tail u24 | tail    |
 *          | u8     | len  | bytes   |                   | u8  | LE         | len LE   | bytes   |
 *          +--------+------+---------+                   +-----+------------+----------+---------+
 *
 * A search carries m, the bytes that the sought key shares with the key just passed (which sorts
 * before it). An entry that shares more than m with its predecessor differs from the sought key at
 * m just as that one did, so it is passed unread; one that shares less sorts after the sought key,
 * which is therefore absent; only where they are equal are bytes compared, and then from m on. So a
 * search compares each byte of the sought key once, and reads only the two header bytes of most
 * entries. (All of these in arrays of their own, with the first bytes of the tails beside them,
 * make a lookup among a million URLs 5 % faster, and an insertion would have twice as many pieces
 * to copy.)
 *
 * Every change but one writes a new block whole (bucket-changes.ts); the one store that publishes its
 * reference hides every half-done state from readers in other threads. The exception is a key after
 * the last, where there is slack: it is written behind what any reader looks at, and the one store of
 * the header publishes it.
 *
 * Invariants:
 *   1. Keys ascend strictly, and the first is not before the separator.
 *   2. `shared` is exactly the common prefix with the key before (the separator, for the first).
 *   3. 1 <= count <= MAX_KEYS.
 *   4. An entry is wide only where it must be.
 *   5. The entries end before the values begin.
 *
 * Sources: front coding, Witten, Moffat, Bell, Managing Gigabytes, section 4.1; buckets under a
 * trie, Askitis and Sinha, "HAT-trie" (ACSC 2007), after Heinz, Zobel, Williams, "Burst tries"
 * (TOIS 2002); separators, Bayer and Unterauer, "Prefix B-trees" (TODS 1977).
 */
import type { Arena } from "./arena.ts";
import type { KeyBuffer } from "./key-buffer.ts";

/** Of 16, 24 and 32 the last takes the least memory and is as fast as the others: bench/art.ts. */
export const MAX_KEYS = 32;

/** Keys' bytes, headers included, above which a bucket of two keys or more is split. */
export const MAX_PAYLOAD_BYTES = 1024;

/** Bytes of a value: u32 or u53. */
export type ValueBytes = 4 | 8;

/** Neighbours merge up to these, well below the limits, so that they do not split again at once. */
const MERGE_MAX_KEYS = 24;
const MERGE_MAX_PAYLOAD_BYTES = 768;

export const HEADER_BYTES = 4;
const COUNT_MASK = 0x3f;
const SPARE_SHIFT = 6;
const SPARE_MASK = 0xff;
const USED_SHIFT = 14;
export const UNIT_BYTES = 16;
const UNIT_SHIFT = 4;

const NARROW_HEADER_BYTES = 2;
const WIDE_HEADER_BYTES = 7;
const WIDE = 255;
const NARROW_MAX_TAIL = 255;

/** What a search returns when the key is not in the bucket. */
export const ABSENT = -1;
/** What a search returns when the key sorts before the separator: it belongs further left. */
export const BEFORE = -2;

/** `spareBytes` are whole units, fewer than two of MAX_PAYLOAD_BYTES. */
export function encodeHeader(count: number, used: number, spareBytes: number): number {
  return count | ((spareBytes >>> UNIT_SHIFT) << SPARE_SHIFT) | (used << USED_SHIFT);
}

export function countOf(words: Int32Array, bucket: number): number {
  return words[bucket >> 2] & COUNT_MASK;
}

/**
 * `countOf`, for a reader beside a writer that may raise it: whatever is loaded after it, of keys
 * that it counts, is there. A call of several nanoseconds, which is why the writer does without.
 */
export function countForReader(words: Int32Array, bucket: number): number {
  return Atomics.load(words, bucket >> 2) & COUNT_MASK;
}

/** Bytes of header, separator and entries. */
export function usedOf(words: Int32Array, bucket: number): number {
  return words[bucket >> 2] >>> USED_SHIFT;
}

export function hasSpareUnits(words: Int32Array, bucket: number): boolean {
  return ((words[bucket >> 2] >>> SPARE_SHIFT) & SPARE_MASK) > 0;
}

/** Of one load of the header, since the result stays the same while the parts of it change. */
export function blockBytes(words: Int32Array, bucket: number, valueBytes: ValueBytes): number {
  const header = words[bucket >> 2];
  const spareBytes = ((header >>> SPARE_SHIFT) & SPARE_MASK) * UNIT_BYTES;
  return packedBytes(header & COUNT_MASK, header >>> USED_SHIFT, valueBytes) + spareBytes;
}

/** Bytes of a block without spare units. */
export function packedBytes(count: number, used: number, valueBytes: ValueBytes): number {
  return (used + count * valueBytes + UNIT_BYTES - 1) & -UNIT_BYTES;
}

/** Index of the word after the bucket's first value, where its block ends. */
export function valuesEnd(words: Int32Array, bucket: number, valueBytes: ValueBytes): number {
  return (bucket + blockBytes(words, bucket, valueBytes)) >> 2;
}

/**
 * Looks at the cache lines of a bucket all at once, so that they are fetched side by side: a scan of
 * cold lines would wait for one after the other, since each entry says where the next begins. It does
 * not ask for the bucket's size first, which would be a wait too, but takes the 12 lines that six in
 * seven buckets of URLs stay within; with five, a lookup in a million of them took 3 % longer, and
 * without any of it 8 %. Returns what has no meaning but must be used.
 */
export function touchBucket(words: Int32Array, bucket: number): number {
  const word = bucket >> 2;
  return (
    words[word] ^
    words[word + 16] ^
    words[word + 32] ^
    words[word + 48] ^
    words[word + 64] ^
    words[word + 80] ^
    words[word + 96] ^
    words[word + 112] ^
    words[word + 128] ^
    words[word + 144] ^
    words[word + 160] ^
    words[word + 176]
  );
}

/**
 * `touchBucket` of the first `count` buckets that `refs` refers to, be it by references or offsets.
 * The first line of each comes first: it is a page that the processor mostly has no address of at
 * hand, and it looks up several side by side only if they are asked for close together. A walk that
 * touched bucket by bucket took 12 % longer.
 */
export function touchBuckets(words: Int32Array, refs: Int32Array, count: number): number {
  let touched = 0;
  for (let i = 0; i < count; i++) touched ^= words[refs[i] >> 2];
  for (let i = 0; i < count; i++) touched ^= touchBucket(words, refs[i]);
  return touched;
}

/** The value of rank `rank` of the bucket whose values end at the word `end`. */
export function readValue(
  words: Int32Array,
  end: number,
  rank: number,
  valueBytes: ValueBytes,
): number {
  if (valueBytes === 4) return words[end - rank - 1] >>> 0;
  const word = end - 2 * rank - 2;
  return (words[word] >>> 0) + words[word + 1] * 0x1_0000_0000;
}

export function writeValue(
  words: Int32Array,
  end: number,
  rank: number,
  valueBytes: ValueBytes,
  value: number,
): void {
  if (valueBytes === 4) {
    words[end - rank - 1] = value | 0;
  } else {
    const word = end - 2 * rank - 2;
    words[word] = value | 0;
    words[word + 1] = Math.floor(value / 0x1_0000_0000);
  }
}

/** Offset of the separator, which is coded as an entry is. */
export function separatorPos(bucket: number): number {
  return bucket + HEADER_BYTES;
}

/** Offset of the first entry. */
export function firstEntryPos(bytes: Uint8Array, bucket: number): number {
  return entryEnd(bytes, bucket + HEADER_BYTES);
}

/** Offset of the entry of rank `index`, or after the last. */
export function entryPos(bytes: Uint8Array, bucket: number, index: number): number {
  let pos = firstEntryPos(bytes, bucket);
  for (let i = 0; i < index; i++) pos = entryEnd(bytes, pos);
  return pos;
}

export function sharedAt(bytes: Uint8Array, pos: number): number {
  const shared = bytes[pos];
  return shared === WIDE ? readU24(bytes, pos + 1) : shared;
}

export function tailLengthAt(bytes: Uint8Array, pos: number): number {
  return bytes[pos] === WIDE ? readU24(bytes, pos + 4) : bytes[pos + 1];
}

export function tailPosAt(bytes: Uint8Array, pos: number): number {
  return pos + (bytes[pos] === WIDE ? WIDE_HEADER_BYTES : NARROW_HEADER_BYTES);
}

/** Offset after the entry at `pos`, where the next begins. */
export function entryEnd(bytes: Uint8Array, pos: number): number {
  return tailPosAt(bytes, pos) + tailLengthAt(bytes, pos);
}

/** Bytes of the entries, the separator not counted. */
export function payloadBytes(bytes: Uint8Array, words: Int32Array, bucket: number): number {
  return bucket + usedOf(words, bucket) - firstEntryPos(bytes, bucket);
}

/** Whether a bucket that just grew is to be split. */
export function isOverfull(bytes: Uint8Array, words: Int32Array, bucket: number): boolean {
  const count = countOf(words, bucket);
  if (count > MAX_KEYS) return true;
  return (
    count > 1 &&
    usedOf(words, bucket) > MAX_PAYLOAD_BYTES &&
    payloadBytes(bytes, words, bucket) > MAX_PAYLOAD_BYTES
  );
}

/** Whether a bucket that just shrank should look for a neighbour to merge with. */
export function isSparse(bytes: Uint8Array, words: Int32Array, bucket: number): boolean {
  return (
    countOf(words, bucket) <= MERGE_MAX_KEYS / 3 &&
    payloadBytes(bytes, words, bucket) <= MERGE_MAX_PAYLOAD_BYTES / 3
  );
}

/** Whether neighbours are small enough to become one. */
export function canMerge(
  bytes: Uint8Array,
  words: Int32Array,
  left: number,
  right: number,
): boolean {
  return (
    countOf(words, left) + countOf(words, right) <= MERGE_MAX_KEYS &&
    payloadBytes(bytes, words, left) + payloadBytes(bytes, words, right) <= MERGE_MAX_PAYLOAD_BYTES
  );
}

/** Where a search ended. Reused from search to search, since a function returns one number. */
export class BucketSearch {
  /** Offset of the entry that was found, or before which the key belongs. */
  pos = 0;
  /** Rank of that entry in the bucket; the count, where the key belongs at the end. */
  index = 0;
  /** How many keys were searched: beside a writer that appends, the bucket may have more by now. */
  count = 0;
  /** Bytes that the key shares with the entry before `pos` (the separator, if it is the first). */
  shared = 0;
  /** Bytes that the key shares with the entry at `pos`, where there is one. */
  nextShared = 0;

  /**
   * Rank of key[start, end) among the first `count` keys, which are all or were all a moment ago;
   * or ABSENT, or BEFORE (which sets no field). The caller vouches that the separator and the key
   * agree in their first `known` bytes.
   */
  find(
    bytes: Uint8Array,
    bucket: number,
    count: number,
    key: Uint8Array,
    start: number,
    end: number,
    known: number,
  ): number {
    const keyLength = end - start;
    let pos = bucket + HEADER_BYTES;
    let tailLength = bytes[pos + 1];
    let tail = pos + NARROW_HEADER_BYTES;
    if (bytes[pos] === WIDE) {
      tailLength = readU24(bytes, pos + 4);
      tail = pos + WIDE_HEADER_BYTES;
    }
    let matched = known;
    while (
      matched < tailLength &&
      matched < keyLength &&
      bytes[tail + matched] === key[start + matched]
    ) {
      matched++;
    }
    if (
      matched < tailLength &&
      (matched === keyLength || key[start + matched] < bytes[tail + matched])
    ) {
      return BEFORE;
    }
    pos = tail + tailLength;
    let index = 0;
    for (; index < count; index++) {
      let shared = bytes[pos];
      tailLength = bytes[pos + 1];
      tail = pos + NARROW_HEADER_BYTES;
      if (shared === WIDE) {
        shared = readU24(bytes, pos + 1);
        tailLength = readU24(bytes, pos + 4);
        tail = pos + WIDE_HEADER_BYTES;
      }
      if (shared <= matched) {
        if (shared < matched) {
          this.nextShared = shared;
          break;
        }
        let i = 0;
        const rest = start + matched;
        const limit = Math.min(keyLength - matched, tailLength);
        while (i < limit && bytes[tail + i] === key[rest + i]) i++;
        if (i < tailLength) {
          if (matched + i === keyLength || key[rest + i] < bytes[tail + i]) {
            this.nextShared = matched + i;
            break;
          }
        } else if (matched + i === keyLength) {
          this.pos = pos;
          this.index = index;
          this.count = count;
          this.shared = matched;
          return index;
        }
        matched += i;
      }
      pos = tail + tailLength;
    }
    this.pos = pos;
    this.index = index;
    this.count = count;
    this.shared = matched;
    return ABSENT;
  }
}

/**
 * Turns the key in `buffer` into the one of the entry at `pos`, which comes after it. Returns the
 * offset of the entry after that.
 */
export function decodeEntry(arena: Arena, pos: number, buffer: KeyBuffer): number {
  const { bytes } = arena;
  let shared = bytes[pos];
  let tailLength = bytes[pos + 1];
  let tail = pos + NARROW_HEADER_BYTES;
  if (shared === WIDE) {
    shared = readU24(bytes, pos + 1);
    tailLength = readU24(bytes, pos + 4);
    tail = pos + WIDE_HEADER_BYTES;
  }
  buffer.spliceWords(shared, arena.view, tail, tailLength);
  return tail + tailLength;
}

/**
 * Puts the key of rank `index` into `buffer`; -1 puts the separator. Returns the offset of the entry
 * after it.
 */
export function decodeKey(arena: Arena, bucket: number, index: number, buffer: KeyBuffer): number {
  let pos = bucket + HEADER_BYTES;
  for (let i = -1; i <= index; i++) pos = decodeEntry(arena, pos, buffer);
  return pos;
}

/** Bytes of an entry before its tail. */
export function headerBytes(shared: number, tailLength: number): number {
  return shared < WIDE && tailLength <= NARROW_MAX_TAIL ? NARROW_HEADER_BYTES : WIDE_HEADER_BYTES;
}

/** Writes an entry's header at `pos` and returns where its tail begins. */
export function writeHeader(
  bytes: Uint8Array,
  pos: number,
  shared: number,
  tailLength: number,
): number {
  if (shared < WIDE && tailLength <= NARROW_MAX_TAIL) {
    bytes[pos] = shared;
    bytes[pos + 1] = tailLength;
    return pos + NARROW_HEADER_BYTES;
  }
  bytes[pos] = WIDE;
  writeU24(bytes, pos + 1, shared);
  writeU24(bytes, pos + 4, tailLength);
  return pos + WIDE_HEADER_BYTES;
}

/** Writes source[start, start + len) at `pos` and returns the offset after it. */
export function writeTail(
  bytes: Uint8Array,
  pos: number,
  source: Uint8Array,
  start: number,
  len: number,
): number {
  if (len < 64) {
    for (let i = 0; i < len; i++) bytes[pos + i] = source[start + i];
  } else {
    bytes.set(source.subarray(start, start + len), pos);
  }
  return pos + len;
}

function readU24(bytes: Uint8Array, pos: number): number {
  return bytes[pos] | (bytes[pos + 1] << 8) | (bytes[pos + 2] << 16);
}

function writeU24(bytes: Uint8Array, pos: number, value: number): void {
  bytes[pos] = value;
  bytes[pos + 1] = value >>> 8;
  bytes[pos + 2] = value >>> 16;
}
