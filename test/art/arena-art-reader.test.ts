import { describe, expect, it } from "vitest";
import { HEADER_BUCKET_CHANGES, MAX_READERS } from "../../src/art/arena.ts";
import { ArenaArt } from "../../src/art/arena-art.ts";
import { ArenaArtReader } from "../../src/art/arena-art-reader.ts";
import type { Descent } from "../../src/art/descent.ts";
import { EpochReader, EVICTION_BYTES } from "../../src/art/epochs.ts";
import { Tree } from "../../src/art/tree.ts";
import { verifyTree } from "../../src/art/verify.ts";
import { ClosedError, InvalidArgumentError } from "../../src/errors.ts";
import { runStress } from "./reader-stress.ts";
import { Random, SHAPES } from "./shapes.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

function set(tree: Tree, key: Uint8Array, value: number): void {
  tree.locate(key, 0, key.length);
  tree.assign(value);
}

describe("ArenaArtReader", () => {
  it("sees what the map has, as it changes", () => {
    const map = new ArenaArt();
    using reader = new ArenaArtReader(map.share());
    expect([reader.size, reader.get(encode("a")), [...reader.entries()]]).toEqual([
      0,
      undefined,
      [],
    ]);
    const keys = SHAPES["paths"](2000, new Random(3));
    keys.forEach((key, i) => {
      map.set(key, i);
      expect(reader.get(key)).toBe(i);
    });
    expect([...reader.entries()]).toEqual([...map.entries()]);
    expect([...reader.entries({ reverse: true })]).toEqual([...map.entries({ reverse: true })]);
    for (const key of keys.slice(0, 1500)) {
      map.delete(key);
      expect(reader.has(key)).toBe(false);
    }
    expect([...reader.keys()].map(decode)).toEqual([...map.keys()].map(decode));
    expect(reader.size).toBe(map.size);
    expect(reader.isCurrent).toBe(true);
  });

  it("walks any range as the map does", () => {
    const random = new Random(4);
    const map = new ArenaArt();
    const keys = SHAPES["two letters"](800, random);
    keys.forEach((key, i) => {
      map.set(key, i);
    });
    using reader = new ArenaArtReader(map.share());
    for (let round = 0; round < 100; round++) {
      const names = ["gt", "gte", "lt", "lte", "prefix"].filter(() => random.below(3) === 0);
      const bounds = names.map((name) => [
        name,
        keys[random.below(keys.length)].slice(0, random.below(9)),
      ]);
      const range = {
        ...Object.fromEntries(bounds),
        reverse: random.below(2) === 0,
        ...(random.below(2) === 0 && { limit: random.below(70) }),
      };
      expect([...reader.entries(range)]).toEqual([...map.entries(range)]);
    }
  });

  it("keeps what it sees when the map moves to more memory, and says so", () => {
    const map = new ArenaArt({ capacityBytes: 1 });
    map.set(encode("a"), 1);
    using reader = new ArenaArtReader(map.share());
    const keys = SHAPES["binary UUIDs"](5000, new Random(1));
    for (const key of keys) map.set(key, 2);
    expect(reader.isCurrent).toBe(false);
    expect(reader.get(encode("a"))).toBe(1);
    for (const [key, value] of reader.entries()) expect(map.get(key)).toBe(value);
    using current = new ArenaArtReader(map.share());
    expect(current.isCurrent).toBe(true);
    expect(current.size).toBe(5001);
  });

  it("refuses what is no handle, too many readers, and calls after close", () => {
    const map = new ArenaArt();
    const handle = map.share();
    const buffer = new SharedArrayBuffer(2 ** 16);
    expect(() => new ArenaArtReader({ buffer })).toThrow(InvalidArgumentError);
    expect(() => new ArenaArtReader(undefined as never)).toThrow(InvalidArgumentError);
    const readers = Array.from({ length: MAX_READERS }, () => new ArenaArtReader(handle));
    expect(() => new ArenaArtReader(handle)).toThrow(RangeError);
    for (const reader of readers) reader.close();
    for (const reader of readers) reader.close();
    expect(() => readers[0].get(encode("a"))).toThrow(ClosedError);
    expect(() => [...readers[0].entries()]).toThrow(ClosedError);
    new ArenaArtReader(handle).close();
  });
});

it("that was never closed, as where its thread was terminated, has its place until the map moves", () => {
  const map = new ArenaArt();
  map.set(encode("a"), 1);
  const handle = map.share();
  for (let i = 0; i < MAX_READERS; i++) new ArenaArtReader(handle);
  expect(() => new ArenaArtReader(map.share())).toThrow(RangeError);
  map.clear();
  using reader = new ArenaArtReader(map.share());
  expect([reader.isCurrent, reader.size]).toEqual([true, 0]);
});

describe("A reader that stalls", () => {
  it("keeps what it may see, then is evicted and told so; memory stays bounded", () => {
    const tree = Tree.create(2 ** 27, 8);
    const keys = SHAPES["binary UUIDs"](20_000, new Random(8));
    for (const key of keys) set(tree, key, 1);
    tree.share();
    const stalled = new EpochReader(tree.arena.words);
    stalled.enter();
    set(tree, keys[0], 2);
    expect(stalled.leave()).toBe(true);

    stalled.enter();
    const before = tree.byteLength;
    let maxRetiredBytes = 0;
    for (let round = 0; round < 5; round++) {
      for (const key of keys) {
        set(tree, key, round);
        maxRetiredBytes = Math.max(maxRetiredBytes, tree.retiredBytes);
      }
    }
    // Some 50 MB were retired meanwhile.
    expect(maxRetiredBytes).toBeGreaterThan(EVICTION_BYTES - 65_536);
    expect(maxRetiredBytes).toBeLessThan(EVICTION_BYTES + 65_536);
    expect(tree.byteLength - before).toBeLessThan(2 * EVICTION_BYTES);
    expect(stalled.leave()).toBe(false);
    stalled.enter();
    expect(stalled.leave()).toBe(true);
    stalled.close();
  });

  it("pins nothing by a scan that is left half done", () => {
    const tree = Tree.create(2 ** 26, 8);
    const keys = SHAPES["binary UUIDs"](5000, new Random(8));
    for (const key of keys) set(tree, key, 1);
    tree.share();
    using reader = new ArenaArtReader({ buffer: tree.arena.buffer });
    const scan = reader.entries();
    scan.next();
    for (const key of keys) set(tree, key, 2);
    expect(tree.retiredBytes).toBeLessThan(65_536);
    expect([...scan]).toHaveLength(keys.length - 1);
  });
});

describe("A shared tree without readers", () => {
  it("reuses blocks at once, retires them while there is one, and lets go once it has closed", () => {
    const tree = Tree.create(2 ** 26, 8);
    const keys = SHAPES["binary UUIDs"](2000, new Random(8));
    for (const key of keys) set(tree, key, 1);
    tree.share();
    const setAll = (value: number) => {
      for (const key of keys) set(tree, key, value);
    };
    setAll(2);
    expect(tree.retiredBytes).toBe(0);
    const first = new EpochReader(tree.arena.words);
    const second = new EpochReader(tree.arena.words);
    second.enter();
    setAll(3);
    const pinnedBytes = tree.retiredBytes;
    expect(pinnedBytes).toBeGreaterThan(100_000);
    expect(pinnedBytes).toBeLessThan(EVICTION_BYTES);
    verifyTree(tree);
    expect(second.leave()).toBe(true);
    second.close();
    set(tree, keys[0], 4);
    expect(tree.retiredBytes).toBeGreaterThan(pinnedBytes);
    first.close();
    set(tree, keys[0], 5);
    expect(tree.retiredBytes).toBe(0);
    verifyTree(tree);
  });
});

describe("A reader overtaken by the writer", () => {
  // The writer works at the very points between two loads of the reader where a key could be lost:
  // after the descent, before the bucket, and before the fallback is entered.
  it.each(["findInFloor", "previous"])("finds its key when buckets split before %s", (method) => {
    let overtakings = 0;
    let splits = 0;
    const keys = SHAPES["paths"](3000, new Random(2));
    const map = new ArenaArt();
    for (const key of keys) map.set(key, 1);
    using reader = new ArenaArtReader(map.share());
    const tree = Reflect.get(reader, "tree") as Tree;
    const target = method === "previous" ? (Reflect.get(tree, "descent") as Descent) : tree;
    const original = Reflect.get(target, method) as (...args: unknown[]) => unknown;
    const words = new Int32Array(map.share().buffer);
    const changeCount = () => Atomics.load(words, HEADER_BUCKET_CHANGES);
    for (const key of keys) {
      let isWaiting = true;
      const overtaken = (...args: unknown[]): unknown => {
        if (isWaiting) {
          isWaiting = false;
          overtakings++;
          const before = changeCount();
          // Keys next to the sought one, so that it passes into another bucket.
          for (let i = 0; i < 40; i++) {
            map.set(Uint8Array.from([...key, i, 1]), 2);
            if (key.length > 0) map.set(Uint8Array.from([...key.slice(0, -1), 1, i]), 2);
          }
          splits += changeCount() - before;
        }
        return original.apply(target, args);
      };
      Reflect.set(target, method, overtaken);
      expect(reader.get(key)).toBe(1);
    }
    expect(reader.isCurrent).toBe(true);
    expect(overtakings).toBeGreaterThan(20);
    expect(splits).toBeGreaterThan(overtakings);
  });
});

describe("A scan overtaken by keys that are appended", () => {
  /** A reader beside a run of keys in order, which goes on once, around the reader's `method`. */
  function overtakenAt(method: "seek" | "seekToLast", isAfter: boolean, appended: string) {
    const map = new ArenaArt();
    for (const key of ["aaa", "aab", "aac"]) map.set(encode(key), 1);
    const reader = new ArenaArtReader(map.share());
    const target = Reflect.get(reader, method === "seek" ? "tree" : "cursor") as object;
    const original = Reflect.get(target, method) as (...args: unknown[]) => unknown;
    Reflect.set(target, method, (...args: unknown[]): void => {
      Reflect.set(target, method, original);
      if (!isAfter) map.set(encode(appended), 2);
      original.apply(target, args);
      if (isAfter) map.set(encode(appended), 2);
    });
    return reader;
  }

  it("shows no key that nobody wrote: the bucket has grown since it was searched", () => {
    using reader = overtakenAt("seek", true, "aad");
    expect([...reader.keys({ gte: encode("abz") })].map(decode)).toEqual([]);
  });

  it("shows no key beyond its range: the end of the map is another by now", () => {
    using reader = overtakenAt("seekToLast", false, "abz");
    const range = { lte: encode("ab"), reverse: true };
    expect([...reader.keys(range)].map(decode)).toEqual(["aac", "aab", "aaa"]);
  });
});

describe("Readers in other threads", () => {
  const options = { keyCount: 4000, readers: 2, seed: 1 };

  it("find every key, no garbage and no disorder while the writer works", async () => {
    const result = await runStress({ ...options, operations: 200_000, reusesAtOnce: false });
    const { lost, garbage, unordered, errors, lookups, scans } = result.faults;
    expect({ lost, garbage, unordered, errors }).toEqual({
      lost: 0,
      garbage: 0,
      unordered: 0,
      errors: [],
    });
    expect(lookups).toBeGreaterThan(1000);
    expect(scans).toBeGreaterThan(10);
    expect(result.maxRetiredBytes).toBeLessThan(EVICTION_BYTES + 65_536);
    verifyTree(result.tree);
  });
});
