import { describe, expect, it } from "vitest";
import { MIN_ARENA_BYTES } from "../../src/art/arena.ts";
import { TreeCursor } from "../../src/art/cursor.ts";
import { NO_VALUE, Tree } from "../../src/art/tree.ts";
import { verifyTree } from "../../src/art/verify.ts";
import { compareBytes } from "../../src/bytes/compare.ts";
import { Random, SHAPES } from "./shapes.ts";

interface Pair {
  readonly key: Uint8Array;
  value: number;
}

/** The structure to compare with: a sorted array. */
class Model {
  readonly pairs: Pair[] = [];

  /** Index of the first pair at or after the key. */
  lowerBound(key: Uint8Array): number {
    let lo = 0;
    let hi = this.pairs.length;
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      if (compareBytes(this.pairs[mid].key, key) < 0) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  }

  find(key: Uint8Array): Pair | undefined {
    const pair = this.pairs.at(this.lowerBound(key));
    return pair !== undefined && compareBytes(pair.key, key) === 0 ? pair : undefined;
  }

  set(key: Uint8Array, value: number): void {
    const pair = this.find(key);
    if (pair === undefined) this.pairs.splice(this.lowerBound(key), 0, { key, value });
    else pair.value = value;
  }

  delete(key: Uint8Array): void {
    if (this.find(key) !== undefined) this.pairs.splice(this.lowerBound(key), 1);
  }
}

function set(tree: Tree, key: Uint8Array, value: number): void {
  tree.locate(key, 0, key.length);
  tree.assign(value);
}

function remove(tree: Tree, key: Uint8Array): boolean {
  if (tree.locate(key, 0, key.length) === NO_VALUE) return false;
  tree.remove();
  return true;
}

function get(tree: Tree, key: Uint8Array): number {
  return tree.get(key, 0, key.length);
}

function hex(key: Uint8Array): string {
  return Buffer.from(key).toString("hex");
}

function keyOf(cursor: TreeCursor): string {
  return Buffer.from(cursor.key.subarray(0, cursor.keyLength)).toString("hex");
}

function expectSame(tree: Tree, model: Model): void {
  const expected = model.pairs.map(({ key, value }) => `${hex(key)}=${value}`);
  const forwards: string[] = [];
  const cursor = new TreeCursor(tree);
  for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
    forwards.push(`${keyOf(cursor)}=${cursor.value}`);
  }
  expect(forwards).toEqual(expected);
  const backwards: string[] = [];
  for (cursor.seekToLast(); cursor.isValid; cursor.prev()) {
    backwards.push(`${keyOf(cursor)}=${cursor.value}`);
  }
  expect(backwards.reverse()).toEqual(expected);
}

/** Keys near `key` that are likely absent, and likely at an edge. */
function neighboursOf(key: Uint8Array, random: Random): Uint8Array[] {
  const changed = key.slice();
  if (changed.length > 0) changed[random.below(changed.length)] ^= 1 << random.below(8);
  const longer = new Uint8Array(key.length + 1);
  longer.set(key);
  return [key, key.slice(0, random.below(key.length + 1)), changed, longer];
}

function expectSeeks(tree: Tree, model: Model, probe: Uint8Array): void {
  const cursor = new TreeCursor(tree);
  const at = model.lowerBound(probe);
  cursor.seek(probe, probe.length);
  const ceiling = model.pairs.at(at);
  expect(cursor.isValid).toBe(at < model.pairs.length);
  if (at < model.pairs.length && ceiling) expect(keyOf(cursor)).toBe(hex(ceiling.key));
  const hit = model.find(probe);
  const floorIndex = hit ? at : at - 1;
  cursor.seekForPrev(probe, probe.length);
  expect(cursor.isValid).toBe(floorIndex >= 0);
  const floor = floorIndex >= 0 ? model.pairs.at(floorIndex) : undefined;
  if (floor) expect(keyOf(cursor)).toBe(hex(floor.key));
  expect(get(tree, probe)).toBe(hit ? hit.value : NO_VALUE);
}

describe.each([4, 8] as const)("Tree with values of %i bytes", (valueBytes) => {
  describe.each(Object.keys(SHAPES))("%s", (shape) => {
    const seed = 42;
    const maxValue = valueBytes === 4 ? 2 ** 32 - 1 : Number.MAX_SAFE_INTEGER;
    const keysOf = (count: number) => SHAPES[shape](count, new Random(seed));

    it("is whole after every insert and every delete", () => {
      const keys = keysOf(150);
      const tree = Tree.create(MIN_ARENA_BYTES, valueBytes);
      const model = new Model();
      keys.forEach((key, i) => {
        set(tree, key, maxValue - i);
        model.set(key, maxValue - i);
        verifyTree(tree);
      });
      expectSame(tree, model);
      for (const key of new Random(seed).shuffle(keys.slice())) {
        expect(remove(tree, key)).toBe(true);
        model.delete(key);
        verifyTree(tree);
        expect(get(tree, key)).toBe(NO_VALUE);
      }
      expect(tree.size).toBe(0);
      expectSame(tree, model);
    });

    it("agrees with a sorted array over random operations", () => {
      const random = new Random(seed);
      const keys = keysOf(1000);
      const tree = Tree.create(MIN_ARENA_BYTES, valueBytes);
      const model = new Model();
      const steps = keys[0].length > 60_000 ? 300 : 3000;
      for (let step = 0; step < steps; step++) {
        const key = keys[random.below(keys.length)];
        // Growing first, then shrinking, so that both splits and merges happen often.
        if (random.below(100) < (step < (steps * 2) / 3 ? 75 : 15)) {
          const value = random.below(2 ** 32 - 1);
          set(tree, key, value);
          model.set(key, value);
        } else {
          expect(remove(tree, key)).toBe(model.find(key) !== undefined);
          model.delete(key);
        }
        if (step % (steps / 6) === steps / 6 - 1) {
          verifyTree(tree);
          expect(tree.size).toBe(model.pairs.length);
          expectSame(tree, model);
        }
        if (step % 50 === 0) {
          for (const probe of neighboursOf(key, random)) expectSeeks(tree, model, probe);
        }
      }
    });

    it("keeps a cursor right while the tree changes under it", () => {
      const random = new Random(seed);
      const keys = random.shuffle(keysOf(600));
      const tree = Tree.create(MIN_ARENA_BYTES, valueBytes);
      const model = new Model();
      const change = () => {
        const key = keys[random.below(keys.length)];
        if (random.below(3) > 0) {
          set(tree, key, 1);
          model.set(key, 1);
        } else {
          remove(tree, key);
          model.delete(key);
        }
      };
      for (let i = 0; i < keys.length; i++) change();
      const cursor = new TreeCursor(tree);
      for (let round = 0; round < 300; round++) {
        if (!cursor.isValid) cursor.seek(keys[random.below(keys.length)], keys[0].length & 3);
        if (!cursor.isValid) continue;
        const key = cursor.key.slice(0, cursor.keyLength);
        for (let i = random.below(3); i > 0; i--) change();
        if (random.below(2) === 0) {
          cursor.next();
          const after = model.find(key) ? model.lowerBound(key) + 1 : model.lowerBound(key);
          expect(cursor.isValid).toBe(after < model.pairs.length);
          if (cursor.isValid) expect(keyOf(cursor)).toBe(hex(model.pairs[after].key));
        } else {
          cursor.prev();
          const before = model.lowerBound(key) - 1;
          expect(cursor.isValid).toBe(before >= 0);
          if (cursor.isValid) expect(keyOf(cursor)).toBe(hex(model.pairs[before].key));
        }
      }
    });
  });
});

describe("Tree", () => {
  it("holds the empty key and a key of 65,536 bytes, and their neighbours", () => {
    const tree = Tree.create(MIN_ARENA_BYTES, 4);
    const keys = [0, 1, 254, 255, 256, 257, 65_535, 65_536].map((length) => new Uint8Array(length));
    keys.forEach((key, i) => {
      set(tree, key, i);
      verifyTree(tree);
    });
    keys.forEach((key, i) => {
      expect(get(tree, key)).toBe(i);
    });
    expect(get(tree, new Uint8Array(2))).toBe(NO_VALUE);
  });

  it("reads keys out of the middle of a buffer, shared or not", () => {
    const tree = Tree.create(MIN_ARENA_BYTES, 4);
    const shared = new Uint8Array(new SharedArrayBuffer(64), 5, 32);
    shared.set(new TextEncoder().encode("--key--other--"));
    tree.locate(shared, 2, 5);
    tree.assign(7);
    expect(tree.get(new TextEncoder().encode("key"), 0, 3)).toBe(7);
    expect(tree.get(shared, 2, 5)).toBe(7);
    expect(tree.get(shared, 2, 6)).toBe(NO_VALUE);
  });

  it("moves to larger arenas by itself and loses no key", () => {
    const tree = Tree.create(MIN_ARENA_BYTES, 8);
    const keys = SHAPES["random lengths"](5000, new Random(1));
    keys.forEach((key, i) => {
      set(tree, key, i);
    });
    expect(tree.arena.capacity).toBeGreaterThan(MIN_ARENA_BYTES);
    verifyTree(tree);
    keys.forEach((key, i) => {
      expect(get(tree, key)).toBe(i);
    });
  });

  it("is empty after clear, and usable", () => {
    const tree = Tree.create(MIN_ARENA_BYTES, 8);
    for (const key of SHAPES["paths"](500, new Random(1))) set(tree, key, 1);
    tree.clear();
    verifyTree(tree);
    expect(tree.size).toBe(0);
    const cursor = new TreeCursor(tree);
    cursor.seekToFirst();
    expect(cursor.isValid).toBe(false);
    set(tree, new Uint8Array(3), 9);
    expect(get(tree, new Uint8Array(3))).toBe(9);
  });

  it.each([4, 8] as const)("takes keys in order, in runs that begin anywhere: %i", (valueBytes) => {
    const tree = Tree.create(MIN_ARENA_BYTES, valueBytes);
    const model = new Model();
    const random = new Random(5);
    const key = (run: number, i: number) => {
      const text = `${String.fromCharCode(97 + run)}${String(i).padStart(5, "0")}`;
      return new TextEncoder().encode(text + "x".repeat(i % 40));
    };
    const lengths = new Array<number>(8).fill(0);
    for (let round = 0; round < 120; round++) {
      // Runs in turn, some short; between them a change elsewhere, or in the very bucket.
      const run = random.below(lengths.length);
      for (let i = random.below(40); i >= 0; i--) {
        const next = key(run, lengths[run]++);
        set(tree, next, round);
        model.set(next, round);
        verifyTree(tree);
      }
      const other = key(random.below(lengths.length), random.below(200));
      if (random.below(2) === 0) {
        remove(tree, other);
        model.delete(other);
      } else {
        set(tree, other, round);
        model.set(other, round);
      }
      verifyTree(tree);
    }
    expectSame(tree, model);
  });

  it("keeps no slack where runs have ended", () => {
    const tree = Tree.create(2 ** 22, 8);
    const random = new Random(6);
    const lengths = new Uint32Array(500);
    for (let round = 0; round < 2000; round++) {
      const run = random.below(lengths.length);
      for (let i = 0; i < 5; i++) {
        const key = new Uint8Array(8);
        new DataView(key.buffer).setUint32(0, run);
        new DataView(key.buffer).setUint32(4, lengths[run]++);
        set(tree, key, round);
      }
    }
    verifyTree(tree);
    // A bucket of 32 such keys takes some 500 bytes; with slack, 1,500.
    expect(tree.arena.liveBytes / tree.size).toBeLessThan(24);
  });
});
