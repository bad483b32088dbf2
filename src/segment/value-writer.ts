/**
 * ValueWriter: the values of a segment, in order, into value blocks and large values.
 *
 * Output gathers in `output`; the segment's writer takes it from there to the file. Positions are
 * offsets in the file: `outputOffset` is where the first byte of `output` goes.
 */
import { ByteWriter } from "../bytes/writer.ts";
import { EntryKind } from "../entry.ts";
import { appendBlockEntry } from "./block-index.ts";
import type { SegmentCoders } from "./coders.ts";
import { writeLargeValue } from "./large-value.ts";
import { LARGE_VALUE_BYTES } from "./value-block.ts";
import { ValueBlockBuilder } from "./value-block-builder.ts";

export class ValueWriter {
  /** Bytes not yet taken to the file. */
  output: ByteWriter;
  /** Where the first byte of `output` belongs in the file. */
  outputOffset: number;
  private readonly block: ValueBlockBuilder;
  private readonly isCompressing: boolean;
  private readonly dictionary: Uint8Array;
  private readonly entries: ByteWriter;
  private blockCount: number;
  /** Where the last block ended in the file. */
  private previousEnd: number;

  /** The output begins with `header`. */
  constructor(coders: SegmentCoders, header: Uint8Array) {
    this.output = new ByteWriter(64 << 10);
    this.output.append(header);
    this.outputOffset = 0;
    this.block = new ValueBlockBuilder(coders);
    this.isCompressing = coders.isCompressing;
    this.dictionary = coders.dictionary;
    this.entries = new ByteWriter();
    this.blockCount = 0;
    this.previousEnd = header.length;
  }

  /** Offset in the file behind all output so far. */
  get end(): number {
    return this.outputOffset + this.output.length;
  }

  /** Bytes that values and block index will take, if nothing more is added. */
  get estimatedBytes(): number {
    return this.end + this.block.bytes + this.entries.length;
  }

  add(key: Uint8Array, keyLength: number, kind: EntryKind, value: Uint8Array): void {
    const { block } = this;
    if (kind === EntryKind.tombstone) {
      block.addNothing();
    } else if (value.length < LARGE_VALUE_BYTES) {
      block.add(value, key, keyLength);
    } else {
      const offset = this.end;
      writeLargeValue(this.output, value, this.isCompressing, this.dictionary);
      block.addPointer({ offset, length: value.length, storedLength: this.end - offset });
    }
    if (block.isFull) this.finishBlock();
  }

  /** Writes the last block. Nothing may be added afterwards. */
  finish(): void {
    if (this.block.count > 0) this.finishBlock();
  }

  /** Appends the block index section. */
  writeIndex(target: ByteWriter): void {
    target.u32(this.blockCount);
    target.append(this.entries.bytes);
  }

  private finishBlock(): void {
    const { count } = this.block;
    const start = this.end;
    this.block.finish(this.output);
    appendBlockEntry(this.entries, count, start - this.previousEnd, this.end - start);
    this.previousEnd = this.end;
    this.blockCount++;
  }
}
