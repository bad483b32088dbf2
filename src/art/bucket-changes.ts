/**
 * Changes of buckets: each writes a new block from an old one or two, and leaves those as they are.
 *
 * Front coding makes a change local. Where a key comes or goes, only the key after it is coded anew:
 *
 *        ab            ab                             insertion of "abd" before "abef": what "abef"
 *        2 "ef"   =>   2 "d"   2 "ef"                 takes from the key before, and so spells itself,
 *                                                     follows from the search that found the place
 *
 * The bytes before and after are copied in one piece each, and so are the values. A split needs one
 * key decoded, the right part's first; a merge needs two, to know what they share.
 *
 * None of these publishes anything, appendKey excepted (bucket.ts says why it may).
 */
import { type Arena, copyBytes } from "./arena.ts";
import {
  type BucketSearch,
  blockBytes,
  countOf,
  decodeKey,
  encodeHeader,
  entryEnd,
  entryPos,
  firstEntryPos,
  HEADER_BYTES,
  headerBytes,
  MAX_KEYS,
  MAX_PAYLOAD_BYTES,
  packedBytes,
  payloadBytes,
  sharedAt,
  tailLengthAt,
  tailPosAt,
  UNIT_BYTES,
  usedOf,
  type ValueBytes,
  valuesEnd,
  writeHeader,
  writeTail,
  writeValue,
} from "./bucket.ts";
import type { KeyBuffer } from "./key-buffer.ts";

/** A bucket of one key, which is its own separator where `separatorLength` says so. */
export function createBucket(
  arena: Arena,
  valueBytes: ValueBytes,
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
  const block = allocate(arena, used, 1, valueBytes, 0);
  let pos = writeHeader(arena.bytes, block + HEADER_BYTES, 0, separatorLength);
  pos = writeTail(arena.bytes, pos, key, start, separatorLength);
  pos = writeHeader(arena.bytes, pos, separatorLength, tailLength);
  writeTail(arena.bytes, pos, key, start + separatorLength, tailLength);
  return block;
}

/** A copy of `bucket` without spare units. */
export function copyPacked(arena: Arena, valueBytes: ValueBytes, bucket: number): number {
  const { words } = arena;
  return copyFirst(arena, valueBytes, bucket, countOf(words, bucket), usedOf(words, bucket), 0);
}

/** A copy of `bucket` with as much slack as it can use before it must be split. */
export function copyWithSlack(arena: Arena, valueBytes: ValueBytes, bucket: number): number {
  const { bytes, words } = arena;
  const count = countOf(words, bucket);
  const slackBytes =
    Math.max(0, MAX_PAYLOAD_BYTES - payloadBytes(bytes, words, bucket)) +
    (MAX_KEYS - count) * valueBytes;
  const spareBytes = (slackBytes + UNIT_BYTES - 1) & -UNIT_BYTES;
  return copyFirst(arena, valueBytes, bucket, count, usedOf(words, bucket), spareBytes);
}

/** A copy of the first `count` keys of `bucket`, which end `used` bytes after its start. */
function copyFirst(
  arena: Arena,
  valueBytes: ValueBytes,
  bucket: number,
  count: number,
  used: number,
  spareBytes: number,
): number {
  const { view, words } = arena;
  const block = allocate(arena, used, count, valueBytes, spareBytes);
  copyBytes(view, block + HEADER_BYTES, bucket + HEADER_BYTES, used - HEADER_BYTES);
  copyValues(
    view,
    valueBytes,
    blockEnd(words, block, valueBytes),
    0,
    blockEnd(words, bucket, valueBytes),
    0,
    count,
  );
  return block;
}

/**
 * Writes a key and its value into the slack of `bucket`, after the last key, with which the key
 * shares `shared` bytes. Returns false, with nothing changed, where the bucket has no slack for it
 * or is full.
 */
export function appendKey(
  arena: Arena,
  valueBytes: ValueBytes,
  bucket: number,
  shared: number,
  key: Uint8Array,
  start: number,
  end: number,
  value: number,
): boolean {
  const { bytes, words } = arena;
  const count = countOf(words, bucket);
  const used = usedOf(words, bucket);
  const tailLength = end - start - shared;
  const grownUsed = used + headerBytes(shared, tailLength) + tailLength;
  const spareBytes =
    blockBytes(words, bucket, valueBytes) - packedBytes(count + 1, grownUsed, valueBytes);
  const grownPayload = payloadBytes(bytes, words, bucket) + grownUsed - used;
  if (spareBytes < 0 || count === MAX_KEYS || grownPayload > MAX_PAYLOAD_BYTES) return false;
  const tail = writeHeader(bytes, bucket + used, shared, tailLength);
  writeTail(bytes, tail, key, start + shared, tailLength);
  writeValue(words, valuesEnd(words, bucket, valueBytes), count, valueBytes, value);
  Atomics.store(words, bucket >> 2, encodeHeader(count + 1, grownUsed, spareBytes));
  return true;
}

/** A copy of `bucket` with the key inserted where the search `at` ended; its value is not set. */
export function insertKey(
  arena: Arena,
  valueBytes: ValueBytes,
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
  const block = allocate(arena, grownUsed, count + 1, valueBytes, 0);
  copyBytes(view, block + HEADER_BYTES, bucket + HEADER_BYTES, pos - bucket - HEADER_BYTES);
  let target = writeHeader(bytes, block + pos - bucket, shared, tailLength);
  target = writeTail(bytes, target, key, start + shared, tailLength);
  if (index < count) {
    target = writeHeader(bytes, target, nextShared, nextTailLength);
    copyBytes(view, target, rest, bucket + used - rest);
  }
  const source = blockEnd(words, bucket, valueBytes);
  const goal = block + packedBytes(count + 1, grownUsed, valueBytes);
  copyValues(view, valueBytes, goal, 0, source, 0, index);
  copyValues(view, valueBytes, goal, index + 1, source, index, count - index);
  return block;
}

/** A copy of `bucket` without the key key[start, ...), which the search `at` found. */
export function removeKey(
  arena: Arena,
  valueBytes: ValueBytes,
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
  const block = allocate(arena, shrunkUsed, count - 1, valueBytes, 0);
  copyBytes(view, block + HEADER_BYTES, bucket + HEADER_BYTES, pos - bucket - HEADER_BYTES);
  if (index + 1 < count) {
    const tailLength = returned + tailLengthAt(bytes, rest);
    let target = writeHeader(bytes, block + pos - bucket, nextShared, tailLength);
    target = writeTail(bytes, target, key, start + nextShared, returned);
    copyBytes(view, target, nextTail, bucket + used - nextTail);
  }
  const source = blockEnd(words, bucket, valueBytes);
  const goal = block + packedBytes(count - 1, shrunkUsed, valueBytes);
  copyValues(view, valueBytes, goal, 0, source, 0, index);
  copyValues(view, valueBytes, goal, index, source, index + 1, count - index - 1);
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
  valueBytes: ValueBytes,
  bucket: number,
  index: number,
): number {
  const end = entryPos(arena.bytes, bucket, index);
  return copyFirst(arena, valueBytes, bucket, index, end - bucket, 0);
}

/**
 * A copy of the keys of `bucket` from rank `index` on, under a separator of their own: the right
 * part of a split. Leaves the separator in `buffer`.
 */
export function copyRightPart(
  arena: Arena,
  valueBytes: ValueBytes,
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
  const block = allocate(arena, used, count, valueBytes, 0);
  let target = writeHeader(bytes, block + HEADER_BYTES, 0, separatorLength);
  target = writeTail(bytes, target, buffer.bytes, 0, separatorLength);
  target = writeHeader(bytes, target, separatorLength, tailLength);
  target = writeTail(bytes, target, buffer.bytes, separatorLength, tailLength);
  copyBytes(view, target, rest, restBytes);
  copyValues(
    view,
    valueBytes,
    blockEnd(words, block, valueBytes),
    0,
    blockEnd(words, bucket, valueBytes),
    index,
    count,
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
  valueBytes: ValueBytes,
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
  const block = allocate(arena, used, leftCount + rightCount, valueBytes, 0);
  copyBytes(view, block + HEADER_BYTES, left + HEADER_BYTES, leftUsed - HEADER_BYTES);
  let target = writeHeader(bytes, block + leftUsed, shared, tailLength);
  target = writeTail(bytes, target, rightKey.bytes, shared, tailLength);
  copyBytes(view, target, rest, restBytes);
  copyValues(
    view,
    valueBytes,
    blockEnd(words, block, valueBytes),
    0,
    blockEnd(words, left, valueBytes),
    0,
    leftCount,
  );
  copyValues(
    view,
    valueBytes,
    blockEnd(words, block, valueBytes),
    leftCount,
    blockEnd(words, right, valueBytes),
    0,
    rightCount,
  );
  return block;
}

/** A block with its header, and `spareBytes`, whole units, beyond what it needs. */
function allocate(
  arena: Arena,
  used: number,
  count: number,
  valueBytes: ValueBytes,
  spareBytes: number,
): number {
  const block = arena.buckets.allocate(packedBytes(count, used, valueBytes) + spareBytes);
  arena.words[block >> 2] = encodeHeader(count, used, spareBytes);
  return block;
}

function blockEnd(words: Int32Array, bucket: number, valueBytes: ValueBytes): number {
  return bucket + blockBytes(words, bucket, valueBytes);
}

/**
 * Copies `count` values from rank `from` on to rank `to` on of another bucket; the blocks end at
 * `sourceEnd` and `targetEnd`.
 */
function copyValues(
  view: DataView,
  valueBytes: ValueBytes,
  targetEnd: number,
  to: number,
  sourceEnd: number,
  from: number,
  count: number,
): void {
  copyBytes(
    view,
    targetEnd - (to + count) * valueBytes,
    sourceEnd - (from + count) * valueBytes,
    count * valueBytes,
  );
}
