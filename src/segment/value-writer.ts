/**
 * ValueWriter: the values of a segment, in order, into value blocks. Of a value in a value log
 * there is a pointer in the block.
 *
 * Output gathers in `output`; the segment's writer takes it from there to the file. Positions are
 * offsets in the file: `outputOffset` is where the first byte of `output` goes.
 */

import { assert } from "../assert.ts";
import { ByteWriter } from "../bytes/writer.ts";
import type { ValueView } from "../cursor/value-view.ts";
import { EntryKind, type ValueLogUse, type ValuePlace } from "../entry.ts";
import { appendBlockEntry } from "./block-index.ts";
import type { SegmentCoders } from "./coders.ts";
import { VALUE_LIMIT_BYTES } from "./value-block.ts";
import { ValueBlockBuilder } from "./value-block-builder.ts";

export class ValueWriter {
  /** Bytes not yet taken to the file. */
  readonly output: ByteWriter;
  /** Where the first byte of `output` belongs in the file. */
  outputOffset: number;
  private readonly block: ValueBlockBuilder;
  private readonly entries: ByteWriter;
  private blockCount: number;
  /** By file number, stored bytes of the values that pointers lead to. */
  private readonly logBytes = new Map<number, number>();

  /** The output begins with `header`. */
  constructor(coders: SegmentCoders, header: Uint8Array) {
    this.output = new ByteWriter(64 << 10);
    this.output.append(header);
    this.outputOffset = 0;
    this.block = new ValueBlockBuilder(coders);
    this.entries = new ByteWriter();
    this.blockCount = 0;
  }

  /** Offset in the file behind all output so far. */
  get end(): number {
    return this.outputOffset + this.output.length;
  }

  /** Bytes that values and block index will take, if nothing more is added. */
  get estimatedBytes(): number {
    return this.end + this.block.bytes + this.entries.length;
  }

  add(key: Uint8Array, keyLength: number, kind: EntryKind, view: ValueView): void {
    const { block } = this;
    const { bytes, start, end } = view;
    assert(end - start < VALUE_LIMIT_BYTES, "a value in a block is within its limit");
    if (kind === EntryKind.tombstone) block.addNothing();
    else block.add(bytes, start, end, key, keyLength, view);
    if (block.isFull) this.finishBlock();
  }

  /** Adds a value that lies in a value log. */
  addPlace(place: ValuePlace): void {
    const { block, logBytes } = this;
    block.addPointer(place);
    const bytes = logBytes.get(place.fileNumber) ?? 0;
    logBytes.set(place.fileNumber, bytes + place.storedLength);
    if (block.isFull) this.finishBlock();
  }

  /** What was added of each value log, by ascending file number. */
  get valueLogs(): ValueLogUse[] {
    const uses = [...this.logBytes].map(([fileNumber, bytes]) => ({ fileNumber, bytes }));
    return uses.sort((a, b) => a.fileNumber - b.fileNumber);
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
    appendBlockEntry(this.entries, count, this.end - start);
    this.blockCount++;
  }
}
