import { describe, expect, test } from "vitest";
import { ByteWriter } from "../../src/bytes/writer.ts";
import { CorruptionError } from "../../src/errors.ts";
import { appendBlockEntry, BlockIndex } from "../../src/segment/block-index.ts";
import { HEADER_BYTES } from "../../src/segment/format.ts";

type Entry = readonly [count: number, length: number];

function encode(entries: readonly Entry[]): Uint8Array {
  const writer = new ByteWriter();
  writer.u32(entries.length);
  for (const [count, length] of entries) appendBlockEntry(writer, count, length);
  return writer.take();
}

function sum(entries: readonly Entry[], pick: (entry: Entry) => number): number {
  return entries.reduce((total, entry) => total + pick(entry), 0);
}

function decode(entries: readonly Entry[]): BlockIndex {
  const keyCount = sum(entries, ([count]) => count);
  const end = HEADER_BYTES + sum(entries, ([, length]) => length);
  return new BlockIndex(encode(entries), keyCount, end, "file", 0);
}

const SHAPES: [string, readonly Entry[]][] = [
  ["one block", [[5, 100]]],
  ["equal blocks", Array.from({ length: 100 }, () => [16, 4096] as const)],
  ["single values", Array.from({ length: 50 }, () => [1, 9] as const)],
  ["growing blocks", Array.from({ length: 60 }, (_, i) => [1 + i * i, 9 + i] as const)],
  ["shrinking blocks", Array.from({ length: 60 }, (_, i) => [3601 - i * i, 99] as const)],
  [
    "one huge block among small ones",
    [
      [1, 9],
      [1, 9],
      [30_000, 32_768],
      [1, 9],
    ],
  ],
];

describe("BlockIndex", () => {
  test.each(SHAPES)("finds the block of every ordinal: %s", (_, entries) => {
    const index = decode(entries);
    let ordinal = 0;
    let offset = HEADER_BYTES;
    for (const [block, [count, length]] of entries.entries()) {
      expect([index.offsets[block], index.lengths[block]]).toEqual([offset, length]);
      expect(index.firstOrdinals[block]).toBe(ordinal);
      for (const end = ordinal + count; ordinal < end; ordinal++) {
        if (index.find(ordinal) !== block) expect(index.find(ordinal)).toBe(block);
      }
      offset += length;
    }
  });

  const good = encode([[5, 100]]);
  const end = HEADER_BYTES + 100;
  test.each([
    ["nothing", new Uint8Array(0), 5, end],
    ["no blocks", encode([]), 5, end],
    ["more blocks than bytes", Uint8Array.of(255, 255, 255, 255, 5, 100), 5, end],
    ["a varint cut off", good.subarray(0, good.length - 1), 5, end],
    ["bytes behind the last", Uint8Array.of(...good, 0), 5, end],
    ["too few ordinals", good, 6, end],
    ["too many ordinals", good, 4, end],
    ["blocks that end early", good, 5, end + 1],
    ["blocks that end late", good, 5, end - 1],
    ["an empty block", encode([[0, 100]]), 5, end],
    ["a block without room for its header", encode([[5, 8]]), 5, HEADER_BYTES + 8],
    ["a block above the limit", encode([[5, 32_769]]), 5, HEADER_BYTES + 32_769],
  ])("%s is corruption", (_, bytes, keyCount, blocksEnd) => {
    expect(() => new BlockIndex(bytes, keyCount, blocksEnd, "file", 0)).toThrow(CorruptionError);
  });
});
