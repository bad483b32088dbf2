/**
 * Order of byte strings: lexicographic by unsigned byte, a prefix before what it begins.
 *
 * Ranges are given as (bytes, start, end) so that callers compare in place, without a subarray.
 * Callers vouch that 0 <= start <= end <= bytes.length.
 */

/** Number of leading bytes that the two ranges share. */
export function commonPrefixLength(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const aLen = aEnd - aStart;
  const bLen = bEnd - bStart;
  const len = Math.min(aLen, bLen);
  let i = 0;
  while (i < len && a[aStart + i] === b[bStart + i]) i++;
  return i;
}

/** Negative, zero or positive as range a sorts before, with or after range b. */
export function compareRanges(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const aLen = aEnd - aStart;
  const bLen = bEnd - bStart;
  const len = Math.min(aLen, bLen);
  for (let i = 0; i < len; i++) {
    const difference = a[aStart + i] - b[bStart + i];
    if (difference !== 0) return difference;
  }
  return aLen - bLen;
}

/** Negative, zero or positive as a sorts before, with or after b. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return compareRanges(a, 0, a.length, b, 0, b.length);
}

/** The byte string that sorts next after a key. */
export function successor(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

/**
 * The shortest byte string that begins with nothing but `prefix`'s successors, or undefined where
 * there is none: every string with the prefix sorts at or after `prefix` and before the result.
 */
export function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  let len = prefix.length;
  while (len > 0 && prefix[len - 1] === 0xff) len--;
  if (len === 0) return undefined;
  // Not slice: that of a Buffer shares its bytes.
  const end = new Uint8Array(prefix.subarray(0, len));
  end[len - 1] += 1;
  return end;
}
