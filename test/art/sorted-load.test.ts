import { describe, expect, it } from "vitest";
import { MIN_ARENA_BYTES } from "../../src/art/arena.ts";
import { TreeCursor } from "../../src/art/cursor.ts";
import { SortedLoad } from "../../src/art/sorted-load.ts";
import { NO_VALUE, Tree } from "../../src/art/tree.ts";
import { verifyTree } from "../../src/art/verify.ts";
import { compareBytes } from "../../src/bytes/compare.ts";
import { Random, SHAPES } from "./shapes.ts";

/** A tree of keys in order; the value of keys[i] is i. */
function load(keys: readonly Uint8Array[], valueBytes: 4 | 8): Tree {
  const source = new Uint8Array(keys.reduce((total, key) => total + key.length, 0));
  const tree = Tree.create(MIN_ARENA_BYTES, valueBytes);
  const loading = new SortedLoad(tree, source);
  let end = 0;
  keys.forEach((key, i) => {
    source.set(key, end);
    expect(loading.add(end, end + key.length, i)).toBe(NO_VALUE);
    end += key.length;
  });
  loading.finish();
  return tree;
}

function entriesOf(tree: Tree): string[] {
  const entries: string[] = [];
  const cursor = new TreeCursor(tree);
  for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
    const key = Buffer.from(cursor.key.subarray(0, cursor.keyLength));
    entries.push(`${key.toString("hex")}=${cursor.value}`);
  }
  return entries;
}

describe.each([4, 8] as const)("SortedLoad with values of %i bytes", (valueBytes) => {
  it.each(Object.keys(SHAPES))("makes a whole tree of %s", (shape) => {
    const random = new Random(3);
    const keys = SHAPES[shape](1500, random).sort(compareBytes);
    for (const count of [0, 1, 2, 31, 32, 33, 64, 65, keys.length]) {
      const tree = load(keys.slice(0, count), valueBytes);
      verifyTree(tree);
      const some = keys.slice(0, count);
      expect(tree.size).toBe(some.length);
      expect(entriesOf(tree)).toEqual(some.map((k, i) => `${Buffer.from(k).toString("hex")}=${i}`));
      some.forEach((key, i) => {
        expect(tree.get(key, 0, key.length)).toBe(i);
      });
    }
  });

  it.each(Object.keys(SHAPES))("makes a tree of %s that takes changes", (shape) => {
    const random = new Random(4);
    const keys = SHAPES[shape](600, random).sort(compareBytes);
    const loaded = keys.filter((_, i) => i % 2 === 0);
    const tree = load(loaded, valueBytes);
    for (const key of random.shuffle(keys.slice())) {
      tree.locate(key, 0, key.length);
      tree.assign(9);
    }
    verifyTree(tree);
    expect(tree.size).toBe(keys.length);
    for (const key of random.shuffle(keys.slice())) {
      expect(tree.locate(key, 0, key.length)).toBe(9);
      tree.remove();
    }
    verifyTree(tree);
    expect(tree.size).toBe(0);
  });

  it("takes the last value of a key that comes again, and returns the one before", () => {
    const source = new TextEncoder().encode("aabab");
    const tree = Tree.create(MIN_ARENA_BYTES, valueBytes);
    const loading = new SortedLoad(tree, source);
    expect(loading.add(0, 0, 1)).toBe(NO_VALUE);
    expect(loading.add(5, 5, 2)).toBe(1);
    expect(loading.add(0, 1, 3)).toBe(NO_VALUE);
    expect(loading.add(1, 3, 4)).toBe(NO_VALUE);
    expect(loading.add(3, 5, 5)).toBe(4);
    loading.finish();
    verifyTree(tree);
    expect(entriesOf(tree)).toEqual(["=2", "61=3", "6162=5"]);
  });
});
