/**
 * ValueScanner: the values of a segment for one cursor, which mostly walks from each to the next.
 *
 * The block a seek lands on goes through the cache, since seeks come back to where they were, and is
 * read in place there as long as the cache does not change: a seek for a few entries would copy far
 * more than it reads. Only a block of values as they are is copied: they are returned as views of it,
 * and those stay valid whatever others read. The blocks that the cursor walks on to are copied from the
 * cache if they are there, and otherwise read ahead past it, in windows that double: a scan evicts
 * nothing and does not read block by block.
 */
import type { EntryRun } from "../cursor/entry-run.ts";
import type { ValueView } from "../cursor/value-view.ts";
import type { ValuePlace } from "../entry.ts";
import { isPlain } from "./value-block.ts";
import { ValueDecoder } from "./value-decoder.ts";
import { ValueLogScanner } from "./value-log-scanner.ts";
import type { ValueReader } from "./value-reader.ts";

/** A scan's first read ahead is this many blocks, and each further one twice as many. */
const FIRST_WINDOW_BLOCKS = 2;
/** The most a scan reads ahead: of blocks of 4 KiB, 16. */
const MAX_WINDOW_BYTES = 65_536;
const MAX_WINDOW_BLOCKS = 1024;

const NO_BYTES = new Uint8Array(0);
/** For an image that is not the cache's: it stays. */
const IS_OWN = -1;

export class ValueScanner {
  private readonly reader: ValueReader;
  private readonly decoder: ValueDecoder;
  /** The block whose image the decoder has, or -1, and its ordinals [firstOrdinal, endOrdinal). */
  private block: number;
  private firstOrdinal: number;
  private endOrdinal: number;
  /** The cache's `changeCount` when the image was found there, or IS_OWN. */
  private seenChanges: number;
  /** Room for images that come from the cache. */
  private imageBuffer: Uint8Array;
  /** Stored bytes of blocks [windowStart, windowEnd), read ahead. */
  private window: Uint8Array;
  private windowStart: number;
  private windowEnd: number;
  /** How many blocks the next read ahead takes. */
  private windowBlocks: number;
  /** Reads the values in value logs. */
  private readonly largeValues: ValueLogScanner;

  constructor(reader: ValueReader) {
    this.reader = reader;
    this.decoder = new ValueDecoder(reader.symbols);
    this.block = -1;
    this.firstOrdinal = 0;
    this.endOrdinal = 0;
    this.seenChanges = IS_OWN;
    this.imageBuffer = NO_BYTES;
    this.window = NO_BYTES;
    this.windowStart = 0;
    this.windowEnd = 0;
    this.windowBlocks = FIRST_WINDOW_BLOCKS;
    this.largeValues = new ValueLogScanner();
  }

  /**
   * Points `view` at the value of `ordinal`, whose entry has key[0, keyLength), until the next call.
   * Throws CorruptionError.
   */
  viewValue(ordinal: number, key: Uint8Array, keyLength: number, view: ValueView): void {
    if (this.viewInline(ordinal, key, keyLength, view)) return;
    const { place } = this.decoder;
    this.largeValues.viewValue(this.reader.valueLogOf(place), place, view);
  }

  /**
   * As `viewValue`; but a value in a value log is not read: the answer is where it lies. Also shows
   * codes that say the same in another segment.
   */
  viewStored(
    ordinal: number,
    key: Uint8Array,
    keyLength: number,
    view: ValueView,
  ): ValuePlace | undefined {
    if (!this.viewInline(ordinal, key, keyLength, view)) return this.decoder.place;
    this.decoder.showCodes(ordinal - this.firstOrdinal, view);
    return undefined;
  }

  /**
   * Opens the block of `ordinal` for `appendRun`. Returns how many values from there on, at most
   * `count`, it has in a direction; 0 where they are to be read one by one. Throws CorruptionError.
   */
  openRun(ordinal: number, count: number, isReverse: boolean): number {
    this.open(ordinal);
    const room = isReverse ? ordinal - this.firstOrdinal + 1 : this.endOrdinal - ordinal;
    const found = Math.min(count, room);
    const position = ordinal - this.firstOrdinal;
    const first = isReverse ? position - found + 1 : position;
    return this.decoder.openRun(first, found) ? found : 0;
  }

  /**
   * Appends `count` of the values that were opened to the run, but for the first `skip`. Returns how
   * many it takes. Since then other cursors may have read.
   */
  appendRun(run: EntryRun, skip: number, count: number): number {
    const { reader } = this;
    this.stay();
    const offset = reader.index.offsets[this.block];
    return this.decoder.appendRun(run, skip, count, reader.file.path, offset);
  }

  /** As `viewValue`, unless it lies in a value log: then false, and the decoder's `place` says where. */
  private viewInline(
    ordinal: number,
    key: Uint8Array,
    keyLength: number,
    view: ValueView,
  ): boolean {
    const { reader } = this;
    this.open(ordinal);
    const position = ordinal - this.firstOrdinal;
    const offset = reader.index.offsets[this.block];
    return this.decoder.decode(position, key, keyLength, view, reader.file.path, offset);
  }

  /** Makes the image that the decoder has that of the ordinal's block. */
  private open(ordinal: number): void {
    if (ordinal < this.firstOrdinal || ordinal >= this.endOrdinal) this.moveTo(ordinal);
    else this.stay();
  }

  /** Finds the block anew where its image may have left the place in the cache at which it is read. */
  private stay(): void {
    if (this.seenChanges !== IS_OWN && this.seenChanges !== this.reader.cache.changeCount) {
      this.jumpTo(this.block);
    }
  }

  private moveTo(ordinal: number): void {
    const { reader } = this;
    const { firstOrdinals } = reader.index;
    const from = this.block;
    const isNext = from >= 0 && ordinal === this.endOrdinal;
    const isPrevious = from > 0 && ordinal === this.firstOrdinal - 1;
    const block = isNext ? from + 1 : isPrevious ? from - 1 : reader.index.find(ordinal);
    // Nothing is held while a read may throw, so that an error leaves no wrong block behind.
    this.block = -1;
    this.firstOrdinal = 0;
    this.endOrdinal = 0;
    if (isNext || isPrevious) this.openOwn(this.walkTo(block, isNext));
    else this.jumpTo(block);
    this.block = block;
    this.firstOrdinal = firstOrdinals[block];
    this.endOrdinal = firstOrdinals[block + 1];
  }

  /** Lets go of what was read ahead. */
  dropWindow(): void {
    this.window = NO_BYTES;
    this.windowStart = 0;
    this.windowEnd = 0;
    this.windowBlocks = FIRST_WINDOW_BLOCKS;
    this.largeValues.dropWindows();
  }

  /** Finds or puts the block in the cache, and its image with it. */
  private jumpTo(block: number): void {
    this.windowBlocks = FIRST_WINDOW_BLOCKS;
    const { reader } = this;
    const { cache } = reader;
    const slot = reader.slotOf(block);
    if (slot < 0 || isPlain(cache.memory[cache.start(slot)])) {
      this.openOwn(this.keepBuffer(reader.copyImage(slot, this.imageBuffer)));
      return;
    }
    this.decoder.open(cache.memory, cache.start(slot), cache.end(slot));
    this.seenChanges = cache.changeCount;
  }

  /** Opens an image that stays as it is. */
  private openOwn(image: Uint8Array): void {
    this.decoder.open(image, 0, image.length);
    this.seenChanges = IS_OWN;
  }

  private walkTo(block: number, isForward: boolean): Uint8Array {
    const { reader } = this;
    if (block < this.windowStart || block >= this.windowEnd) {
      const cached = reader.peekImage(block, this.imageBuffer);
      if (cached !== undefined) return this.keepBuffer(cached);
      this.fillWindow(block, isForward);
    }
    const { offsets, lengths } = reader.index;
    const start = offsets[block] - offsets[this.windowStart];
    return reader.image(this.window.subarray(start, start + lengths[block]), block);
  }

  /** Reads `block` and those it will walk on to, as far as they lie close together. */
  private fillWindow(block: number, isForward: boolean): void {
    const { offsets, lengths, blockCount } = this.reader.index;
    let start = block;
    let end = block + 1;
    if (isForward) {
      const limit = Math.min(blockCount, start + this.windowBlocks);
      while (end < limit && offsets[end] + lengths[end] - offsets[start] <= MAX_WINDOW_BYTES) end++;
    } else {
      const first = Math.max(0, end - this.windowBlocks);
      const endOffset = offsets[block] + lengths[block];
      while (start > first && endOffset - offsets[start - 1] <= MAX_WINDOW_BYTES) start--;
    }
    this.windowBlocks = Math.min(this.windowBlocks * 2, MAX_WINDOW_BLOCKS);
    try {
      this.load(start, end);
    } catch (error) {
      if (start === block && end === block + 1) throw error;
      // What cannot be read may be no part of the block, but of one that nobody asks for.
      this.load(block, block + 1);
    }
  }

  /** Reads blocks [start, end). */
  private load(start: number, end: number): void {
    const { offsets, lengths } = this.reader.index;
    const length = offsets[end - 1] + lengths[end - 1] - offsets[start];
    this.windowStart = 0;
    this.windowEnd = 0;
    if (length > this.window.length) this.window = new Uint8Array(length);
    this.reader.read(this.window.subarray(0, length), offsets[start]);
    this.windowStart = start;
    this.windowEnd = end;
  }

  /** Keeps an image that did not fit the buffer as the new buffer. */
  private keepBuffer(image: Uint8Array): Uint8Array {
    if (image.length > this.imageBuffer.length) this.imageBuffer = image;
    return image;
  }
}
