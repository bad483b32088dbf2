import { describe, expect, test } from "vitest";
import { BlockCache } from "../../src/cache/block-cache.ts";

/** Puts a block of `length` bytes, all `fill`, into the cache; false if it is not let in. */
function put(
  cache: BlockCache,
  file: number,
  block: number,
  length: number,
  fill: number,
): boolean {
  const slot = cache.insert(file, block, length);
  if (slot < 0) return false;
  cache.memory.fill(fill, cache.start(slot), cache.end(slot));
  return true;
}

function get(cache: BlockCache, file: number, block: number): Uint8Array | undefined {
  const slot = cache.find(file, block);
  return slot < 0 ? undefined : cache.memory.slice(cache.start(slot), cache.end(slot));
}

/** Puts in blocks 0, 1, ... of file 1, of 4000 bytes each, until there is no room. Returns how many. */
function fillWith(cache: BlockCache): number {
  let count = 0;
  while (put(cache, 1, count, 4000, count)) count++;
  return count;
}

describe("BlockCache", () => {
  test("returns what was put in, by file and block", () => {
    const cache = new BlockCache(4096);
    const large = 2 ** 40 + 1;
    put(cache, 1, 7, 100, 0xaa);
    put(cache, 2, 7, 50, 0xbb);
    put(cache, large, 7, 51, 0xcc);
    expect(get(cache, 1, 7)).toEqual(new Uint8Array(100).fill(0xaa));
    expect(get(cache, 2, 7)).toEqual(new Uint8Array(50).fill(0xbb));
    expect(get(cache, large, 7)).toEqual(new Uint8Array(51).fill(0xcc));
    expect(get(cache, 1, 8)).toBeUndefined();
    expect([cache.hits, cache.misses]).toEqual([3, 1]);
    // A header of 16 bytes each, and whole words.
    expect(cache.bytes).toBe(3 * 16 + 100 + 52 + 52);
  });

  test("a block above an eighth of the ring is not cached", () => {
    const cache = new BlockCache(4096);
    const largest = cache.maxBlockBytes;
    expect(largest).toBeGreaterThan(4096 / 10);
    expect(put(cache, 1, 0, largest + 1, 1)).toBe(false);
    expect(put(cache, 1, 0, largest, 1)).toBe(true);
  });

  test("with a budget of 0 nothing is cached", () => {
    const cache = new BlockCache(0);
    expect(put(cache, 1, 0, 1, 1)).toBe(false);
    expect(get(cache, 1, 0)).toBeUndefined();
    expect(cache.bytes).toBe(0);
  });

  test("lets blocks in at their first miss as long as there is room, then at their second", () => {
    const cache = new BlockCache(2 ** 17);
    const count = fillWith(cache);
    expect(count).toBeGreaterThan(20);
    // It was refused once, at the end of what it was filled with.
    expect(put(cache, 1, count, 4000, count)).toBe(true);
    expect(get(cache, 1, count)).toEqual(new Uint8Array(4000).fill(count));
  });

  test("the oldest block gives way, one that was found stays a second round", () => {
    const cache = new BlockCache(2 ** 17);
    const count = fillWith(cache);
    expect(get(cache, 1, 0)).toBeDefined();
    expect(put(cache, 1, count, 4000, count)).toBe(true);
    expect(get(cache, 1, 0)).toEqual(new Uint8Array(4000).fill(0));
    expect(cache.peek(1, 1)).toBe(-1);
    expect(cache.peek(1, 2)).toBeGreaterThanOrEqual(0);
  });

  test("peeking makes no block stay", () => {
    const cache = new BlockCache(2 ** 17);
    const count = fillWith(cache);
    cache.peek(1, 0);
    expect(put(cache, 1, count, 4000, count)).toBe(true);
    expect(cache.peek(1, 0)).toBe(-1);
    expect([cache.hits, cache.misses]).toEqual([0, 0]);
  });

  test("where much was found, none of it gives way; but what is found no more does", () => {
    const cache = new BlockCache(2 ** 22);
    const count = fillWith(cache);
    for (let block = 0; block < count; block++) get(cache, 1, block);
    const kept = () =>
      Array.from({ length: count }, (_, block) => cache.peek(1, block) >= 0).filter(Boolean);
    const before = kept().length;
    // The one that filled it was refused once: it is let in, if there were not those found.
    expect(put(cache, 1, count, 4000, 1)).toBe(false);
    expect(kept()).toHaveLength(before);
    let tries = 0;
    while (!put(cache, 1, count, 4000, 1)) tries++;
    expect(tries).toBeLessThan(count);
    expect(kept().length).toBeLessThan(before);
  });

  test("dropping a file leaves the others", () => {
    const cache = new BlockCache(2 ** 17);
    for (let block = 0; block < 6; block++) put(cache, block % 2, block, 500, block);
    cache.drop(1, 6);
    expect(cache.bytes).toBe(3 * 516);
    for (let block = 0; block < 6; block++) {
      expect(cache.peek(block % 2, block) >= 0).toBe(block % 2 === 0);
    }
  });

  test("many tiny blocks run out of slots before bytes, and still work", () => {
    const cache = new BlockCache(4096);
    for (let block = 0; block < 1000; block++) {
      for (let i = 0; i < 2; i++) put(cache, 1, block, 1, block & 0xff);
    }
    expect(get(cache, 1, 999)).toEqual(Uint8Array.of(999 & 0xff));
    expect(cache.peek(1, 0)).toBe(-1);
  });
});
