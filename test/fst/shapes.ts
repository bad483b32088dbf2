/**
 * Sets of keys of many shapes, and a plain sorted array to compare a frozen layer with.
 *
 * Each shape is made to meet a part of the format: wide branches, escapes, counts and offsets of
 * each width, tails that are shared, tails that are copied, keys that end on the way.
 */

/** xorshift32: the same numbers for the same seed. */
export function random(seed: number): (limit: number) => number {
  let state = seed | 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

export function utf8(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "utf8"));
}

/** Sorted, and each key once. */
export function sorted(keys: Iterable<Uint8Array>): Uint8Array[] {
  const ascending = [...keys].sort(Buffer.compare);
  return ascending.filter((key, i) => i === 0 || Buffer.compare(ascending[i - 1], key) !== 0);
}

function many(count: number, make: (i: number) => Uint8Array): Uint8Array[] {
  return sorted(Array.from({ length: count }, (_, i) => make(i)));
}

function bytesOf(next: (limit: number) => number, length: number, limit = 256): Uint8Array {
  return Uint8Array.from({ length }, () => next(limit));
}

function uint32(value: number): Uint8Array {
  const key = new Uint8Array(4);
  new DataView(key.buffer).setUint32(0, value);
  return key;
}

const WORDS = ["alpha", "beta", "gamma", "delta", "node", "core", "utils", "react", "git", "x"];

/** Name of the shape, and its keys in order. */
export function shapes(): [name: string, keys: Uint8Array[]][] {
  const next = random(7);
  const word = (): string => WORDS[next(WORDS.length)];
  const long = new Uint8Array(65_536).fill(0x61);
  const longer = long.slice(0, 65_535);
  const differs = long.slice();
  differs[65_535] = 0x62;
  return [
    ["no key", []],
    ["the empty key", [new Uint8Array(0)]],
    ["one key", [utf8("key")]],
    ["the empty key and another", [new Uint8Array(0), utf8("a")]],
    ["every single byte", many(256, (i) => Uint8Array.of(i))],
    [
      "pairs of bytes, all of the second",
      many(5120, (i) => Uint8Array.of((i >>> 8) * 13, i & 255)),
    ],
    [
      "one byte repeated, each a prefix of the next",
      many(300, (i) => new Uint8Array(i).fill(0xff)),
    ],
    [
      "each a prefix of the next, two ways",
      many(400, (i) => utf8("ab".repeat(i >> 1) + "c".repeat(i & 1))),
    ],
    ["64 KiB keys", sorted([long, longer, differs, new Uint8Array(65_536), utf8("a")])],
    ["long common prefix", many(2000, (i) => utf8(`${"prefix/".repeat(200)}${i}`))],
    ["long common suffix", many(2000, (i) => utf8(`${i}${"/suffix".repeat(200)}`))],
    [
      "URLs",
      many(20_000, () =>
        utf8(`https://${word()}.com/${word()}-${word()}/${word()}${next(100)}.git`),
      ),
    ],
    [
      "paths of words",
      many(5000, () => utf8(`/${Array.from({ length: next(9) }, word).join("/")}`)),
    ],
    [
      "few letters",
      many(5000, () => utf8(Array.from({ length: next(12) }, () => "ab"[next(2)]).join(""))),
    ],
    ["random bytes", many(5000, () => bytesOf(next, 8))],
    ["random bytes of random length", many(5000, () => bytesOf(next, next(20)))],
    [
      "bytes at the borders of elements",
      many(3000, () => Uint8Array.from({ length: next(9) }, () => 0xb6 + next(12))),
    ],
    ["integers in a row", many(70_000, (i) => uint32(i))],
    ["integers far apart", many(5000, (i) => uint32(i * 65_537))],
    [
      "text beyond ASCII",
      many(3000, () =>
        utf8(String.fromCodePoint(0x3b1 + next(24), 0x4e00 + next(500), 0x1f600 + next(60))),
      ),
    ],
  ];
}

/** Keys near those given: each with a byte changed, added or taken away, in a few places. */
export function neighbours(keys: readonly Uint8Array[], seed: number, count: number): Uint8Array[] {
  const next = random(seed);
  const near: Uint8Array[] = [new Uint8Array(0), Uint8Array.of(255, 255, 255)];
  for (let i = 0; i < count && keys.length > 0; i++) {
    const key = keys[next(keys.length)];
    const at = next(key.length + 1);
    const changed = key.slice();
    if (at < key.length) changed[at] += 1 + next(255);
    near.push(changed, key.slice(0, at));
    if (key.length < 65_536) {
      const added = new Uint8Array(key.length + 1);
      added.set(key.subarray(0, at));
      added[at] = next(256);
      added.set(key.subarray(at), at + 1);
      near.push(added);
    }
  }
  return near;
}

/** Number of keys that sort before `key`: what a layer's rank is compared with. */
export function rankIn(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Buffer.compare(keys[middle], key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function isIn(keys: readonly Uint8Array[], key: Uint8Array): boolean {
  const rank = rankIn(keys, key);
  return rank < keys.length && Buffer.compare(keys[rank], key) === 0;
}
