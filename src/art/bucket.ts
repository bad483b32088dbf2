/**
 * Buckets: the leaves of the tree, each a small sorted list of keys and their values.
 *
 * A bucket holds up to 32 keys, front-coded: each key is stored as the number of bytes that it
 * shares with the key before it, and the rest. That is what makes the tree smaller than its keys,
 * since neighbours in order share most of their bytes. Before the first key stands the bucket's
 * *separator*: the shortest string that sorts after every key to the left and not after any key
 * here. It is coded as a key is, but has no value.
 *
 *   offset 0        4           ...                used        size - count * v        size
 *          +--------+-----------+-----+-----+-----+-----------+-----------------------+
 *          | header | separator | key | key | ... | 0-15 free | value | value | ...   |
 *          +--------+-----------+-----+-----+-----+-----------+-----------------------+
 *   header   one word: count in bits 0-7, used in bits 8-31
 *   values   4 or 8 bytes each (v), the same for the whole tree, in the order of the keys
 *   size     used + count * v, rounded up to 16: what the block takes in the arena
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
 * entries.
 *
 * Buckets are never changed in place: every change writes a new block whole. Who publishes it with
 * one store of its reference hides every half-done state from readers in other threads.
 *
 * Invariants:
 *   1. Keys ascend strictly, and the first is not before the separator.
 *   2. `shared` is exactly the common prefix with the key before (the separator, for the first).
 *   3. 1 <= count <= MAX_KEYS.
 *   4. An entry is wide only where it must be.
 *
 * Sources: front coding, Witten, Moffat, Bell, Managing Gigabytes, section 4.1; buckets under a
 * trie, Askitis and Sinha, "HAT-trie" (ACSC 2007), after Heinz, Zobel, Williams, "Burst tries"
 * (TOIS 2002); separators, Bayer and Unterauer, "Prefix B-trees" (TODS 1977).
 */
import { type Arena, copyBytes } from "./arena.ts";
import type { KeyBuffer } from "./key-buffer.ts";

/** Of 16, 24 and 32 the last takes the least memory and is as fast as the others: bench/art.ts. */
export const MAX_KEYS = 32;

/** Keys' bytes, headers included, above which a bucket of two keys or more is split. */
export const MAX_PAYLOAD_BYTES = 1024;

/** Neighbours merge up to these, well below the limits, so that they do not split again at once. */
const MERGE_MAX_KEYS = 24;
const MERGE_MAX_PAYLOAD_BYTES = 768;

const HEADER_BYTES = 4;
const NARROW_HEADER_BYTES = 2;
const WIDE_HEADER_BYTES = 7;
const WIDE = 255;
const NARROW_MAX_TAIL = 255;

/** What a search returns when the key is not in the bucket. */
export const ABSENT = -1;
/** What a search returns when the key sorts before the separator: it belongs further left. */
export const BEFORE = -2;

export function countOf(words: Int32Array, bucket: number): number {
  return words[bucket >> 2] & 0xff;
}

function usedOf(words: Int32Array, bucket: number): number {
  return words[bucket >> 2] >>> 8;
}

export function blockBytes(words: Int32Array, bucket: number, valueBytes: number): number {
  const header = words[bucket >> 2];
  return ((header >>> 8) + (header & 0xff) * valueBytes + 15) & ~15;
}

/** Word index of the bucket's first value. */
export function valuesWord(words: Int32Array, bucket: number, valueBytes: number): number {
  const count = countOf(words, bucket);
  return (bucket + blockBytes(words, bucket, valueBytes) - count * valueBytes) >> 2;
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
function entryPos(bytes: Uint8Array, bucket: number, index: number): number {
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
  /** Bytes that the key shares with the entry before `pos` (the separator, if it is the first). */
  shared = 0;
  /** Bytes that the key shares with the entry at `pos`, where there is one. */
  nextShared = 0;

  /** Takes the place of a key after the last of `bucket`, with which it shares `shared` bytes. */
  moveToEnd(words: Int32Array, bucket: number, shared: number): void {
    this.pos = bucket + usedOf(words, bucket);
    this.index = countOf(words, bucket);
    this.shared = shared;
  }

  /**
   * Rank of key[start, end), or ABSENT, or BEFORE (which sets no field). The caller vouches that
   * the separator and the key agree in their first `known` bytes.
   */
  find(
    bytes: Uint8Array,
    words: Int32Array,
    bucket: number,
    key: Uint8Array,
    start: number,
    end: number,
    known: number,
  ): number {
    const count = words[bucket >> 2] & 0xff;
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
          this.shared = matched;
          return index;
        }
        matched += i;
      }
      pos = tail + tailLength;
    }
    this.pos = pos;
    this.index = index;
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

/** A bucket of one key, which is its own separator where `separatorLength` says so. */
export function createBucket(
  arena: Arena,
  valueBytes: number,
  key: Uint8Array,
  start: number,
  end: number,
  separatorLength: number,
): number {
  const tailLength = end - start - separatorLength;
  const used =
    HEADER_BYTES +
    headerBytes(0, separatorLength) +
    separatorLength +
    headerBytes(separatorLength, tailLength) +
    tailLength;
  const block = allocate(arena, used, 1, valueBytes);
  let pos = writeHeader(arena.bytes, block + HEADER_BYTES, 0, separatorLength);
  pos = writeTail(arena.bytes, pos, key, start, separatorLength);
  pos = writeHeader(arena.bytes, pos, separatorLength, tailLength);
  writeTail(arena.bytes, pos, key, start + separatorLength, tailLength);
  return block;
}

/** A copy of `bucket` as it is. */
export function copyBucket(arena: Arena, valueBytes: number, bucket: number): number {
  const size = blockBytes(arena.words, bucket, valueBytes);
  const block = arena.buckets.allocate(size);
  copyBytes(arena.view, block, bucket, size);
  return block;
}

/** A copy of `bucket` with the key inserted where the search `at` ended; its value is not set. */
export function insertKey(
  arena: Arena,
  valueBytes: number,
  bucket: number,
  at: BucketSearch,
  key: Uint8Array,
  start: number,
  end: number,
): number {
  const { bytes, view, words } = arena;
  const count = countOf(words, bucket);
  const used = usedOf(words, bucket);
  const { pos, index, shared, nextShared } = at;
  const tailLength = end - start - shared;
  let grownUsed = used + headerBytes(shared, tailLength) + tailLength;
  let nextTailLength = 0;
  let rest = pos;
  if (index < count) {
    const nextEnd = entryEnd(bytes, pos);
    nextTailLength = tailLengthAt(bytes, pos) + sharedAt(bytes, pos) - nextShared;
    rest = nextEnd - nextTailLength;
    grownUsed += headerBytes(nextShared, nextTailLength) - (rest - pos);
  }
  const block = allocate(arena, grownUsed, count + 1, valueBytes);
  copyBytes(view, block + HEADER_BYTES, bucket + HEADER_BYTES, pos - bucket - HEADER_BYTES);
  let target = writeHeader(bytes, block + pos - bucket, shared, tailLength);
  target = writeTail(bytes, target, key, start + shared, tailLength);
  if (index < count) {
    target = writeHeader(bytes, target, nextShared, nextTailLength);
    copyBytes(view, target, rest, bucket + used - rest);
  }
  const source = valuesWord(words, bucket, valueBytes);
  const goal = valuesWord(words, block, valueBytes);
  const wordsBefore = (index * valueBytes) >> 2;
  const gap = valueBytes >> 2;
  copyWords(view, goal, source, wordsBefore);
  copyWords(
    view,
    goal + wordsBefore + gap,
    source + wordsBefore,
    ((count * valueBytes) >> 2) - wordsBefore,
  );
  return block;
}

/** A copy of `bucket` without the key key[start, ...), which the search `at` found. */
export function removeKey(
  arena: Arena,
  valueBytes: number,
  bucket: number,
  at: BucketSearch,
  key: Uint8Array,
  start: number,
): number {
  const { bytes, view, words } = arena;
  const count = countOf(words, bucket);
  const used = usedOf(words, bucket);
  const { pos, index } = at;
  const rest = entryEnd(bytes, pos);
  let shrunkUsed = used - (rest - pos);
  let nextShared = 0;
  let nextTail = rest;
  let returned = 0;
  if (index + 1 < count) {
    // The next key was coded against the removed one; what it took from there it must now spell.
    nextShared = Math.min(sharedAt(bytes, pos), sharedAt(bytes, rest));
    returned = sharedAt(bytes, rest) - nextShared;
    nextTail = tailPosAt(bytes, rest);
    const nextTailLength = returned + tailLengthAt(bytes, rest);
    shrunkUsed += headerBytes(nextShared, nextTailLength) + returned - (nextTail - rest);
  }
  const block = allocate(arena, shrunkUsed, count - 1, valueBytes);
  copyBytes(view, block + HEADER_BYTES, bucket + HEADER_BYTES, pos - bucket - HEADER_BYTES);
  if (index + 1 < count) {
    const tailLength = returned + tailLengthAt(bytes, rest);
    let target = writeHeader(bytes, block + pos - bucket, nextShared, tailLength);
    target = writeTail(bytes, target, key, start + nextShared, returned);
    copyBytes(view, target, nextTail, bucket + used - nextTail);
  }
  const source = valuesWord(words, bucket, valueBytes);
  const goal = valuesWord(words, block, valueBytes);
  const wordsBefore = (index * valueBytes) >> 2;
  const gap = valueBytes >> 2;
  copyWords(view, goal, source, wordsBefore);
  copyWords(
    view,
    goal + wordsBefore,
    source + wordsBefore + gap,
    ((count * valueBytes) >> 2) - wordsBefore - gap,
  );
  return block;
}

/**
 * The rank at which to split an overfull bucket: the first key of the right part. A key appended at
 * either end gets a bucket of its own, so that ascending and descending keys leave full buckets
 * behind. Otherwise, of the cuts that leave each side at least three eighths of the bytes, the one
 * with the shortest separator; if a large key leaves no such cut, the one nearest the middle.
 */
export function chooseSplit(
  bytes: Uint8Array,
  words: Int32Array,
  bucket: number,
  insertedIndex: number,
): number {
  const count = countOf(words, bucket);
  if (insertedIndex === count - 1) return insertedIndex;
  if (insertedIndex === 0) return 1;
  let pos = firstEntryPos(bytes, bucket);
  const payloadStart = pos;
  const payload = payloadBytes(bytes, words, bucket);
  let best = 1;
  let bestCost = Number.POSITIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    const imbalance = Math.abs(pos - payloadStart - payload / 2);
    // Within the middle quarter imbalance costs nothing; beyond, more than any separator.
    const cost = sharedAt(bytes, pos) + (imbalance <= payload / 8 ? 0 : imbalance * 65_536);
    if (i > 0 && cost < bestCost) {
      best = i;
      bestCost = cost;
    }
    pos = entryEnd(bytes, pos);
  }
  return best;
}

/** A copy of the keys of `bucket` before rank `index`: the left part of a split. */
export function copyLeftPart(
  arena: Arena,
  valueBytes: number,
  bucket: number,
  index: number,
): number {
  const { bytes, view, words } = arena;
  const end = entryPos(bytes, bucket, index);
  const block = allocate(arena, end - bucket, index, valueBytes);
  copyBytes(view, block + HEADER_BYTES, bucket + HEADER_BYTES, end - bucket - HEADER_BYTES);
  copyWords(
    view,
    valuesWord(words, block, valueBytes),
    valuesWord(words, bucket, valueBytes),
    (index * valueBytes) >> 2,
  );
  return block;
}

/**
 * A copy of the keys of `bucket` from rank `index` on, under a separator of their own: the right
 * part of a split. Leaves the separator in `buffer`.
 */
export function copyRightPart(
  arena: Arena,
  valueBytes: number,
  bucket: number,
  index: number,
  buffer: KeyBuffer,
): number {
  const { bytes, view, words } = arena;
  const pos = entryPos(bytes, bucket, index);
  const rest = decodeKey(arena, bucket, index, buffer);
  const separatorLength = sharedAt(bytes, pos) + 1;
  const tailLength = buffer.length - separatorLength;
  const restBytes = bucket + usedOf(words, bucket) - rest;
  const count = countOf(words, bucket) - index;
  const used =
    HEADER_BYTES +
    headerBytes(0, separatorLength) +
    separatorLength +
    headerBytes(separatorLength, tailLength) +
    tailLength +
    restBytes;
  const block = allocate(arena, used, count, valueBytes);
  let target = writeHeader(bytes, block + HEADER_BYTES, 0, separatorLength);
  target = writeTail(bytes, target, buffer.bytes, 0, separatorLength);
  target = writeHeader(bytes, target, separatorLength, tailLength);
  target = writeTail(bytes, target, buffer.bytes, separatorLength, tailLength);
  copyBytes(view, target, rest, restBytes);
  copyWords(
    view,
    valuesWord(words, block, valueBytes),
    valuesWord(words, bucket, valueBytes) + ((index * valueBytes) >> 2),
    (count * valueBytes) >> 2,
  );
  buffer.length = separatorLength;
  return block;
}

/**
 * A bucket with the keys of both, under the separator of `left`, which may have no keys. `left`'s
 * keys all sort before `right`'s.
 */
export function mergeBuckets(
  arena: Arena,
  valueBytes: number,
  left: number,
  right: number,
  leftKey: KeyBuffer,
  rightKey: KeyBuffer,
): number {
  const { bytes, view, words } = arena;
  const leftCount = countOf(words, left);
  const rightCount = countOf(words, right);
  decodeKey(arena, left, leftCount - 1, leftKey);
  const rest = decodeKey(arena, right, 0, rightKey);
  let shared = 0;
  const limit = Math.min(leftKey.length, rightKey.length);
  while (shared < limit && leftKey.bytes[shared] === rightKey.bytes[shared]) shared++;
  const tailLength = rightKey.length - shared;
  const leftUsed = usedOf(words, left);
  const restBytes = right + usedOf(words, right) - rest;
  const used = leftUsed + headerBytes(shared, tailLength) + tailLength + restBytes;
  const block = allocate(arena, used, leftCount + rightCount, valueBytes);
  copyBytes(view, block + HEADER_BYTES, left + HEADER_BYTES, leftUsed - HEADER_BYTES);
  let target = writeHeader(bytes, block + leftUsed, shared, tailLength);
  target = writeTail(bytes, target, rightKey.bytes, shared, tailLength);
  copyBytes(view, target, rest, restBytes);
  const goal = valuesWord(words, block, valueBytes);
  const leftWords = (leftCount * valueBytes) >> 2;
  copyWords(view, goal, valuesWord(words, left, valueBytes), leftWords);
  copyWords(
    view,
    goal + leftWords,
    valuesWord(words, right, valueBytes),
    (rightCount * valueBytes) >> 2,
  );
  return block;
}

function allocate(arena: Arena, used: number, count: number, valueBytes: number): number {
  const block = arena.buckets.allocate(used + count * valueBytes);
  arena.words[block >> 2] = count | (used << 8);
  return block;
}

function headerBytes(shared: number, tailLength: number): number {
  return shared < WIDE && tailLength <= NARROW_MAX_TAIL ? NARROW_HEADER_BYTES : WIDE_HEADER_BYTES;
}

/** Writes an entry's header at `pos` and returns where its tail begins. */
function writeHeader(bytes: Uint8Array, pos: number, shared: number, tailLength: number): number {
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
function writeTail(
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

function copyWords(view: DataView, target: number, source: number, count: number): void {
  copyBytes(view, target << 2, source << 2, count << 2);
}

function readU24(bytes: Uint8Array, pos: number): number {
  return bytes[pos] | (bytes[pos + 1] << 8) | (bytes[pos + 2] << 16);
}

function writeU24(bytes: Uint8Array, pos: number, value: number): void {
  bytes[pos] = value;
  bytes[pos + 1] = value >>> 8;
  bytes[pos + 2] = value >>> 16;
}
