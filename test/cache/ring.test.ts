/** Blocks and rows in one ring: whatever is done, each has its own bytes, and the budget holds. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BlockCache } from "../../src/cache/block-cache.ts";
import {
  blockLengthOf,
  blockUnitsOf,
  keyLengthOf,
  LAST_POSITION,
  rowUnitsOf,
  UNIT_BYTES,
  valueLengthOf,
} from "../../src/cache/ring.ts";
import { ValueView } from "../../src/cursor/value-view.ts";
import { RowCache } from "../../src/engine/row-cache.ts";
import { EntryKind, NEVER } from "../../src/entry.ts";
import { keyHash } from "../../src/segment/filter.ts";
import { Random } from "../../src/testing/random.ts";
import { parameters } from "../model/parameters.ts";

const BLOCK_COUNT = 12;
const KEY_COUNT = 60;
const MAX_VALUE_BYTES = 120;

/** A cache beside what it is a cache of. */
class System {
  readonly blocks: BlockCache;
  readonly rows: RowCache;
  private readonly random: Random;
  private readonly maxBlockBytes: number;
  /** What blocks have, by file and block: they begin with a length and a value, plain. */
  private readonly images = new Map<string, Uint8Array>();
  private readonly values = new Map<number, Uint8Array>();
  private readonly view = new ValueView();
  private held: { slot: number; changeCount: number; image: Uint8Array } | undefined;

  constructor(capacityBytes: number, firstPosition: number, maxBlockBytes: number, random: Random) {
    this.blocks = new BlockCache(capacityBytes, firstPosition);
    this.rows = new RowCache(this.blocks.ring, 0);
    this.maxBlockBytes = maxBlockBytes;
    this.random = random;
  }

  step(): void {
    const { random } = this;
    const kind = random.below(1000);
    const file = random.below(3);
    const block = Math.min(random.below(BLOCK_COUNT), random.below(BLOCK_COUNT));
    const key = Math.min(random.below(KEY_COUNT), random.below(KEY_COUNT));
    if (kind < 600) this.readRow(key, file, block);
    else if (kind < 900) this.readBlock(file, block);
    else if (kind < 940) this.peekAt(file, block);
    else if (kind < 990) this.write(key);
    else if (kind < 996) this.drop(file);
    else this.rows.deleteRange();
    this.checkHeld();
    const { ring } = this.blocks;
    if (ring.bytes > ring.capacityBytes) expect(ring.bytes).toBeLessThanOrEqual(ring.capacityBytes);
  }

  /** What is counted is what lies in the ring; and no slot has a place that no entry can have yet. */
  checkWhole(): void {
    const { ring } = this.blocks;
    let rowUnits = 0;
    let blockUnits = 0;
    let position = ring.tail;
    while (position < ring.head) {
      const header = ring.words[ring.wordOf(position)];
      const isBlock = (header & (2 ** 30)) !== 0;
      const units = isBlock
        ? blockUnitsOf(blockLengthOf(header))
        : rowUnitsOf(keyLengthOf(header), valueLengthOf(header));
      const isGone = (header & (2 ** 29)) !== 0;
      if (isBlock && !isGone) blockUnits += units;
      if (!isBlock && !isGone && position >= ring.rowsFrom) rowUnits += units;
      position += units;
    }
    expect(position).toBe(ring.head);
    // A cache that takes itself for empty is not told of writes.
    expect(ring.rowBytes).toBe(rowUnits * UNIT_BYTES);
    expect(ring.blockBytes).toBe(blockUnits * UNIT_BYTES);
    for (const { words } of [ring.rowTable, ring.blockTable]) {
      // Sets of 16 words, of which two are hashes that were missed.
      for (let slot = 2; slot < words.length; slot += slot % 16 === 14 ? 4 : 2) {
        if (words[slot + 1] >= ring.head) expect(words[slot + 1]).toBeLessThan(ring.head);
      }
    }
  }

  private readRow(key: number, file: number, block: number): void {
    const { view } = this;
    const bytes = keyOf(key);
    const hash = keyHash(bytes, bytes.length);
    if (this.rows.find(bytes, bytes.length, hash, view)) {
      expectSame(view.bytes.subarray(view.start, view.end), this.values.get(key));
      return;
    }
    // As a look-up does: it goes through blocks, and may show the value where it lies in one.
    const slot = this.readBlock(file, block);
    const image = this.imageOf(file, block);
    if (slot >= 0) {
      const start = this.blocks.start(slot) + 1;
      view.set(this.blocks.memory, start, start + image[0]);
    } else {
      view.set(image, 1, 1 + image[0]);
    }
    const value = image.slice(1, 1 + image[0]);
    this.values.set(key, value);
    this.rows.insert(bytes, bytes.length, hash, view);
    expectSame(view.bytes.subarray(view.start, view.end), value);
  }

  private readBlock(file: number, block: number): number {
    const { blocks } = this;
    const image = this.imageOf(file, block);
    let slot = blocks.find(file, block);
    if (slot < 0) {
      slot = blocks.insert(file, block, image.length);
      if (slot >= 0) blocks.memory.set(image, blocks.start(slot));
    }
    if (slot >= 0) {
      expectSame(blocks.memory.subarray(blocks.start(slot), blocks.end(slot)), image);
      this.held = { slot, changeCount: blocks.changeCount, image };
    }
    return slot;
  }

  private peekAt(file: number, block: number): void {
    const { blocks } = this;
    const slot = blocks.peek(file, block);
    if (slot < 0) return;
    const image = this.imageOf(file, block);
    expectSame(blocks.memory.subarray(blocks.start(slot), blocks.end(slot)), image);
  }

  /** As a commit does, which spares itself a cache without rows. */
  private write(key: number): void {
    const bytes = keyOf(key);
    const { rows, random, view } = this;
    const known = this.values.get(key);
    const isDelete = random.oneIn(2);
    const length = random.oneIn(4) ? random.below(20) : (known?.length ?? 20);
    const value = new Uint8Array(length).fill(random.below(256));
    const kind = isDelete ? EntryKind.tombstone : EntryKind.put;
    if (!rows.isEmpty) rows.add(bytes, 0, bytes.length, 1, kind, value, 0, length, NEVER);
    if (isDelete) this.values.delete(key);
    else this.values.set(key, value);
    if (rows.find(bytes, bytes.length, keyHash(bytes, bytes.length), view)) {
      expectSame(view.bytes.subarray(view.start, view.end), this.values.get(key));
    }
  }

  private drop(file: number): void {
    this.blocks.drop(file, BLOCK_COUNT);
    for (let block = 0; block < BLOCK_COUNT; block++) {
      expect(this.blocks.peek(file, block)).toBe(-1);
      // Numbers of files are not used again, but so a block that was left behind shows.
      this.images.delete(`${file}/${block}`);
    }
  }

  /** A slot is good as long as nothing changed. */
  private checkHeld(): void {
    const { blocks, held } = this;
    if (held === undefined) return;
    if (held.changeCount !== blocks.changeCount) {
      this.held = undefined;
      return;
    }
    const { slot, image } = held;
    expectSame(blocks.memory.subarray(blocks.start(slot), blocks.end(slot)), image);
  }

  private imageOf(file: number, block: number): Uint8Array {
    const { random } = this;
    const name = `${file}/${block}`;
    const known = this.images.get(name);
    if (known !== undefined) return known;
    const valueBytes = random.below(MAX_VALUE_BYTES);
    const image = new Uint8Array(1 + valueBytes + random.below(this.maxBlockBytes));
    for (let i = 0; i < image.length; i++) image[i] = random.below(256);
    image[0] = valueBytes;
    this.images.set(name, image);
    return image;
  }
}

function keyOf(key: number): Uint8Array {
  return new TextEncoder().encode(`${key}`.padStart(1 + (key % 9)));
}

function expectSame(actual: Uint8Array, expected: Uint8Array | undefined): void {
  if (expected === undefined || Buffer.compare(actual, expected) !== 0) {
    expect(actual).toEqual(expected);
  }
}

describe("blocks and rows in one ring", () => {
  test("are right, and within the budget, whatever is read and written", () => {
    const capacities = [0, 1, 128, 200, 1000, 2048, 3000, 5000, 2 ** 14, 40_000, 2 ** 17];
    const hits = { blocks: 0, rows: 0 };
    fc.assert(
      fc.property(
        fc.constantFrom(...capacities),
        fc.constantFrom(1, LAST_POSITION - 1000, LAST_POSITION - 40_000),
        fc.constantFrom(10, 100, 1000, 10_000),
        fc.integer(),
        (capacityBytes, firstPosition, maxBlockBytes, seed) => {
          const system = new System(capacityBytes, firstPosition, maxBlockBytes, new Random(seed));
          for (let i = 0; i < 2000; i++) {
            system.step();
            if (i % 100 === 0) system.checkWhole();
          }
          hits.blocks += system.blocks.hits;
          hits.rows += system.rows.hits;
        },
      ),
      parameters(300),
    );
    expect(hits.blocks).toBeGreaterThan(1000);
    expect(hits.rows).toBeGreaterThan(1000);
  });

  test("share it as they are found", () => {
    const blocks = new BlockCache(2 ** 20);
    const rows = new RowCache(blocks.ring, 0);
    const random = new Random(3);
    const view = new ValueView();
    /** What part of all that is kept blocks are, after reads of which so many in a hundred are of rows. */
    const shareOfBlocks = (rowReads: number): number => {
      for (let i = 0; i < 200_000; i++) {
        if (random.below(100) < rowReads) {
          const key = keyOf(random.below(8000));
          const hash = keyHash(key, key.length);
          if (rows.find(key, key.length, hash, view)) continue;
          view.set(new Uint8Array(80), 0, 80);
          rows.insert(key, key.length, hash, view);
        } else {
          const block = random.below(200);
          if (blocks.find(1, block) < 0) blocks.insert(1, block, 4000);
        }
      }
      return blocks.bytes / (blocks.bytes + rows.bytes);
    };
    expect(shareOfBlocks(0)).toBeGreaterThan(0.85);
    expect(shareOfBlocks(99)).toBeLessThan(0.6);
    expect(shareOfBlocks(0)).toBeGreaterThan(0.85);
  });
});
