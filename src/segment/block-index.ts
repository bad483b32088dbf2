/**
 * BlockIndex: which value block holds an ordinal, and where it lies in the file.
 *
 * offset 0            4
 *        +------------+-------+--------+-------+--------+-- ...
 *        | blockCount | count | length | count | length |
 *        +------------+-------+--------+-------+--------+-- ...
 * blockCount  u32 LE
 * count       varint   values in the block, 1 or more
 * length      varint   bytes of the stored block, at most MAX_BLOCK_BYTES
 *
 * Blocks follow the header, and each other, without gaps. About 4 bytes a block on disk. In memory
 * 16: first ordinals, offsets and lengths are decoded into typed arrays, and an ordinal is found
 * from a guess (blocks hold about equally many values) by steps that double, then halve.
 */
import { readU32 } from "../bytes/fixed.ts";
import { VarintReader } from "../bytes/varint.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import { expectNumber, HEADER_BYTES, throwDamage } from "./format.ts";
import { BLOCK_HEADER_BYTES, MAX_BLOCK_BYTES } from "./value-block.ts";

/** The least that a block takes in the index: two varints. */
const MIN_ENTRY_BYTES = 2;

/** Writes one entry of the index. */
export function appendBlockEntry(entries: ByteWriter, count: number, length: number): void {
  entries.varint(count);
  entries.varint(length);
}

export class BlockIndex {
  readonly blockCount: number;
  /** First ordinal of each block, and the segment's key count behind the last. */
  readonly firstOrdinals: Uint32Array;
  readonly offsets: Float64Array;
  readonly lengths: Uint32Array;
  private readonly keyCount: number;

  /**
   * Decodes the section, whose checksum the caller has checked. `keyCount` is what the blocks must
   * hold together, `blocksEnd` where the last must end in the file. Throws CorruptionError.
   */
  constructor(
    bytes: Uint8Array,
    keyCount: number,
    blocksEnd: number,
    file: string,
    fileOffset: number,
  ) {
    const end = bytes.length;
    const blockCount = end < 4 ? -1 : readU32(bytes, 0);
    const possible = Math.floor((end - 4) / MIN_ENTRY_BYTES);
    // A segment of range tombstones has no values.
    const least = Math.min(1, keyCount);
    if (blockCount < least || blockCount > possible || blockCount > keyCount) {
      const expected = `${least} to ${Math.min(possible, keyCount)} blocks`;
      throwDamage("block index", file, fileOffset, expected, `${blockCount}`);
    }
    this.blockCount = blockCount;
    this.keyCount = keyCount;
    this.firstOrdinals = new Uint32Array(blockCount + 1);
    this.offsets = new Float64Array(blockCount);
    this.lengths = new Uint32Array(blockCount);
    const reader = new VarintReader();
    reader.pos = 4;
    let ordinal = 0;
    let offset = HEADER_BYTES;
    for (let block = 0; block < blockCount; block++) {
      const count = reader.read(bytes, end);
      const length = reader.read(bytes, end);
      if (count < 1 || length < BLOCK_HEADER_BYTES || length > MAX_BLOCK_BYTES) {
        throwDamage("block index", file, fileOffset, "a block's entry", `${count}, ${length}`);
      }
      this.firstOrdinals[block] = ordinal;
      this.offsets[block] = offset;
      this.lengths[block] = length;
      ordinal += count;
      offset += length;
    }
    this.firstOrdinals[blockCount] = ordinal;
    expectNumber(reader.pos, end, "end of the block index", file, fileOffset);
    expectNumber(ordinal, keyCount, "ordinals in blocks", file, fileOffset);
    expectNumber(offset, blocksEnd, "end of the value blocks", file, fileOffset);
  }

  get byteLength(): number {
    return this.firstOrdinals.byteLength + this.offsets.byteLength + this.lengths.byteLength;
  }

  /** The block that holds `ordinal`, which the caller has bounded by the key count. */
  find(ordinal: number): number {
    const { firstOrdinals, blockCount } = this;
    let lo = Math.floor((ordinal * blockCount) / this.keyCount);
    let hi: number;
    let step = 1;
    if (firstOrdinals[lo] <= ordinal) {
      hi = lo + 1;
      while (hi < blockCount && firstOrdinals[hi] <= ordinal) {
        lo = hi;
        hi += step;
        step *= 2;
      }
      if (hi > blockCount) hi = blockCount;
    } else {
      hi = lo;
      lo = hi - 1;
      while (firstOrdinals[lo] > ordinal) {
        hi = lo;
        lo = Math.max(0, lo - step);
        step *= 2;
      }
    }
    while (hi - lo > 1) {
      const mid = (lo + hi) >>> 1;
      if (firstOrdinals[mid] <= ordinal) lo = mid;
      else hi = mid;
    }
    return lo;
  }
}
