/**
 * ValueReader: the value of an ordinal, read through the block cache.
 *
 * A read finds the block's image in the cache, or reads, checks and inflates it into there, then
 * decodes the one value. A value in a value log is read exactly, and shown where it was read to.
 */

import type { BlockCache } from "../cache/block-cache.ts";
import { ValueView } from "../cursor/value-view.ts";
import type { ValuePlace } from "../entry.ts";
import { CorruptionError } from "../errors.ts";
import type { File } from "../io/file-system.ts";
import type { SymbolTable } from "../symbols/table.ts";
import type { BlockIndex } from "./block-index.ts";
import { expectNumber } from "./format.ts";
import { blockImage, imageCount } from "./value-block.ts";
import { ValueDecoder } from "./value-decoder.ts";
import type { ChunkReader, ValueLog, ValueLogSource } from "./value-log.ts";
import { CHUNK_VALUE_BYTES } from "./value-log-format.ts";

/** Values of one segment. */
export class ValueReader {
  readonly file: File;
  readonly index: BlockIndex;
  readonly symbols: SymbolTable | undefined;
  /** What deflated values start from; may be empty. */
  readonly dictionary: Uint8Array;
  readonly cache: BlockCache;
  private readonly fileNumber: number;
  private readonly valueLogs: ValueLogSource;
  private readonly decoder: ValueDecoder;
  /** For who wants an array of the value. */
  private readonly own: ValueView;
  /** Where a stored block is read to before it is checked. */
  private stored: Uint8Array;
  /** The image that `load` made, where the cache did not take it. */
  private uncached: Uint8Array;

  constructor(
    file: File,
    fileNumber: number,
    index: BlockIndex,
    symbols: SymbolTable | undefined,
    dictionary: Uint8Array,
    cache: BlockCache,
    valueLogs: ValueLogSource,
  ) {
    this.file = file;
    this.index = index;
    this.symbols = symbols;
    this.dictionary = dictionary;
    this.fileNumber = fileNumber;
    this.cache = cache;
    this.valueLogs = valueLogs;
    this.decoder = new ValueDecoder(symbols);
    this.own = new ValueView();
    this.stored = new Uint8Array(8192);
    this.uncached = this.stored;
  }

  /** Bytes held in memory: block index, symbols and dictionary, as decoding needs them. */
  get memoryBytes(): number {
    return this.index.byteLength + (this.symbols?.byteLength ?? 0) + this.dictionary.length;
  }

  /**
   * Points `view` at the value of `ordinal`, whose entry has key[0, keyLength), until the next call
   * of this reader or of another with the same cache. Throws CorruptionError.
   */
  viewValue(ordinal: number, key: Uint8Array, keyLength: number, view: ValueView): void {
    if (this.viewInline(ordinal, key, keyLength, view)) return;
    const { place } = this.decoder;
    const log = this.valueLogOf(place);
    if (place.length > CHUNK_VALUE_BYTES) {
      const value = log.read(place);
      view.set(value, 0, value.length);
      return;
    }
    log.checkPlace(place);
    const stored = this.cache.room(place.storedLength);
    log.readStored(stored, place.offset, stored.length);
    log.viewStored(stored, place, view);
  }

  /**
   * The value as bytes of their own, valid as long as with `viewValue`; but a value in a value log is
   * not read: the answer is where it lies.
   */
  storedValueAt(ordinal: number, key: Uint8Array, keyLength: number): Uint8Array | ValuePlace {
    const { own } = this;
    own.decoded.reset();
    if (!this.viewInline(ordinal, key, keyLength, own)) return this.decoder.place;
    return own.bytes.subarray(own.start, own.end);
  }

  /** The chunks of a value in a value log. Throws CorruptionError. */
  chunksOf(place: ValuePlace): ChunkReader {
    return this.valueLogOf(place).chunks(place);
  }

  /** The value log that a value lies in. Throws CorruptionError if there is none. */
  valueLogOf(place: ValuePlace): ValueLog {
    const log = this.valueLogs.get(place.fileNumber);
    if (log !== undefined) return log;
    throw new CorruptionError("a value's place", {
      file: this.file.path,
      offset: 0,
      expected: "a value log that the manifest names",
      actual: `${place.fileNumber}`,
    });
  }

  /** As `viewValue`, unless it lies in a value log: then false, and the decoder's `place` says where. */
  private viewInline(
    ordinal: number,
    key: Uint8Array,
    keyLength: number,
    view: ValueView,
  ): boolean {
    const { cache, index, decoder } = this;
    const block = index.find(ordinal);
    const position = ordinal - index.firstOrdinals[block];
    const slot = this.slotOf(block);
    if (slot < 0) decoder.open(this.uncached, 0, this.uncached.length);
    else decoder.open(cache.memory, cache.start(slot), cache.end(slot));
    return decoder.decode(position, key, keyLength, view, this.file.path, index.offsets[block]);
  }

  /** A copy of the image that `slotOf` left in `uncached`, or has in a slot, there if it has room. */
  copyImage(slot: number, target: Uint8Array): Uint8Array {
    return slot < 0 ? this.uncached.slice() : this.copySlot(slot, target);
  }

  /** A copy of the block's image if it is in the cache. Leaves no trace there. */
  peekImage(block: number, target: Uint8Array): Uint8Array | undefined {
    const slot = this.cache.peek(this.fileNumber, block);
    return slot < 0 ? undefined : this.copySlot(slot, target);
  }

  /** Takes the blocks out of the cache: nobody will read them any more. */
  dropBlocks(): void {
    this.cache.drop(this.fileNumber, this.index.blockCount);
  }

  /** Reads target.length bytes of the file from `offset`. Throws CorruptionError if it is shorter. */
  read(target: Uint8Array, offset: number): void {
    const bytesRead = this.file.readSync(target, offset);
    expectNumber(bytesRead, target.length, "bytes of value blocks", this.file.path, offset);
  }

  /** The checked image of a stored block: a view of `stored`, or a new array. */
  image(stored: Uint8Array, block: number): Uint8Array {
    const { firstOrdinals, offsets } = this.index;
    const image = blockImage(stored, this.dictionary, this.file.path, offsets[block]);
    const count = firstOrdinals[block + 1] - firstOrdinals[block];
    expectNumber(imageCount(image), count, "values in a block", this.file.path, offsets[block]);
    return image;
  }

  /** The block's slot in the cache; -1 if the cache does not take it, which leaves it in `uncached`. */
  slotOf(block: number): number {
    const { cache, fileNumber } = this;
    const found = cache.find(fileNumber, block);
    if (found >= 0) return found;
    const length = this.index.lengths[block];
    if (length > this.stored.length) this.stored = new Uint8Array(length * 2);
    const stored = this.stored.subarray(0, length);
    this.read(stored, this.index.offsets[block]);
    const image = this.image(stored, block);
    const slot = cache.insert(fileNumber, block, image.length);
    if (slot < 0) this.uncached = image;
    else cache.memory.set(image, cache.start(slot));
    return slot;
  }

  private copySlot(slot: number, target: Uint8Array): Uint8Array {
    const { cache } = this;
    const bytes = cache.memory.subarray(cache.start(slot), cache.end(slot));
    if (bytes.length > target.length) return bytes.slice();
    target.set(bytes);
    return target.subarray(0, bytes.length);
  }
}
