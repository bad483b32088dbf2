import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BlockCache } from "../../src/segment/block-cache.ts";

/** Puts a block of `length` bytes, all `fill`, into the cache; false if it is too large. */
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

describe("BlockCache", () => {
  test("returns what was put in, by file and block", () => {
    const cache = new BlockCache(4096);
    put(cache, 1, 7, 100, 0xaa);
    put(cache, 2, 7, 50, 0xbb);
    expect(get(cache, 1, 7)).toEqual(new Uint8Array(100).fill(0xaa));
    expect(get(cache, 2, 7)).toEqual(new Uint8Array(50).fill(0xbb));
    expect(get(cache, 1, 8)).toBeUndefined();
    expect([cache.hits, cache.misses, cache.bytes]).toEqual([2, 1, 150]);
  });

  test("a block above an eighth of the budget is not cached", () => {
    const cache = new BlockCache(800);
    expect(put(cache, 1, 0, 101, 1)).toBe(false);
    expect(put(cache, 1, 0, 100, 1)).toBe(true);
  });

  test("with a budget of 0 nothing is cached", () => {
    const cache = new BlockCache(0);
    expect(put(cache, 1, 0, 1, 1)).toBe(false);
    expect(get(cache, 1, 0)).toBeUndefined();
  });

  test("the oldest block gives way, one that was found stays a second round", () => {
    const cache = new BlockCache(8000);
    for (let block = 0; block < 8; block++) put(cache, 1, block, 1000, block);
    expect(get(cache, 1, 0)).toBeDefined();
    put(cache, 1, 8, 1000, 8);
    expect(get(cache, 1, 0)).toEqual(new Uint8Array(1000).fill(0));
    expect(cache.peek(1, 1)).toBe(-1);
    expect(cache.peek(1, 2)).toBeGreaterThanOrEqual(0);
  });

  test("peeking makes no block stay", () => {
    const cache = new BlockCache(8000);
    for (let block = 0; block < 8; block++) put(cache, 1, block, 1000, block);
    cache.peek(1, 0);
    put(cache, 1, 8, 1000, 8);
    expect(cache.peek(1, 0)).toBe(-1);
    expect([cache.hits, cache.misses]).toEqual([0, 0]);
  });

  test("dropping a file leaves the others", () => {
    const cache = new BlockCache(8000);
    for (let block = 0; block < 6; block++) put(cache, block % 2, block, 500, block);
    cache.drop(1);
    expect(cache.bytes).toBe(1500);
    for (let block = 0; block < 6; block++) {
      expect(cache.peek(block % 2, block) >= 0).toBe(block % 2 === 0);
    }
  });

  test("many tiny blocks run out of slots before bytes, and still work", () => {
    const cache = new BlockCache(4096);
    for (let block = 0; block < 1000; block++) put(cache, 1, block, 1, block & 0xff);
    expect(get(cache, 1, 999)).toEqual(Uint8Array.of(999 & 0xff));
    expect(cache.peek(1, 0)).toBe(-1);
  });

  test("whatever is done, a found block has its own bytes and the budget holds", () => {
    const operation = fc.tuple(
      fc.constantFrom("get", "get", "get", "get", "get", "get", "get", "peek", "drop", "remove"),
      fc.integer({ min: 0, max: 2 }),
      fc.integer({ min: -3, max: 12 }),
      fc.integer({ min: 1, max: 130 }),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1000 }),
        fc.array(operation, { maxLength: 200, size: "max" }),
        (capacity, operations) => {
          const cache = new BlockCache(capacity);
          const lengths = new Map<string, number>();
          for (const [what, file, block, length] of operations) {
            const name = `${file}/${block}`;
            const fill = (file * 31 + block * 7 + 100) & 0xff;
            if (what === "drop") {
              cache.drop(file);
            } else {
              const slot = what === "peek" ? cache.peek(file, block) : cache.find(file, block);
              if (slot >= 0) {
                const bytes = cache.memory.slice(cache.start(slot), cache.end(slot));
                expect(bytes).toEqual(new Uint8Array(lengths.get(name) ?? -1).fill(fill));
                if (what === "remove") cache.remove(slot);
              } else if (what === "get") {
                lengths.set(name, length);
                expect(put(cache, file, block, length, fill)).toBe(length <= cache.maxBlockBytes);
              }
            }
            expect(cache.bytes).toBeLessThanOrEqual(capacity);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
