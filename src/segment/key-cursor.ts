/**
 * KeyCursor: an ordered walk over the keys of a segment, both ways, from anywhere.
 *
 * Forward, a key is made from the one before it: the bytes that both share stay where they are, and
 * the rest is decoded behind them. Backward, the bytes that it shares with the one after it stay, and
 * the rest comes from the chain of keys that have them (coded-entries.ts).
 */
import { commonPrefixLength, compareRanges } from "../bytes/compare.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import type { EntryRun, RunBound } from "../cursor/entry-run.ts";
import { blockKeys, KeyBlock, type KeyPages } from "./key-block.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { BLOCK_KEYS } from "./key-page.ts";
import type { KeyPageReader } from "./key-page-reader.ts";

const NO_BOUND: RunBound = { key: new Uint8Array(0), length: 0, isInclusive: false };

/** What a cursor needs of its index. */
export interface OrderedKeys extends KeyPages {
  /** Ordinal of key[0, length), or ~(number of keys below it). */
  locate(key: Uint8Array, length: number): number;
  /** What `locate` came to. */
  readonly search: KeyPageReader;
}

export class KeyCursor {
  /** Of the key that the cursor is at; -1 or the key count off either end. */
  ordinal: number;

  private readonly index: OrderedKeys;
  private readonly block: KeyBlock;
  private readonly buffer: KeyBuffer;
  /** Position of the key in its block, and keys in the block. */
  private position: number;
  private blockKeys: number;

  /** A cursor off the end. */
  constructor(index: OrderedKeys) {
    this.ordinal = index.keyCount;
    this.index = index;
    this.block = new KeyBlock(index);
    this.buffer = new KeyBuffer();
    this.position = 0;
    this.blockKeys = 0;
  }

  get isValid(): boolean {
    return this.ordinal >= 0 && this.ordinal < this.index.keyCount;
  }

  /** The key is key[0, keyLength), until the next move. */
  get key(): Uint8Array {
    return this.buffer.bytes;
  }

  get keyLength(): number {
    return this.buffer.length;
  }

  appendKey(output: ByteWriter): void {
    this.buffer.appendTo(output);
  }

  seekToFirst(): void {
    this.seekToOrdinal(0);
  }

  seekToLast(): void {
    this.seekToOrdinal(this.index.keyCount - 1);
  }

  /** Moves off the end, behind the last key. */
  seekToEnd(): void {
    this.ordinal = this.index.keyCount;
  }

  /** Moves to the first key at or after key[0, length). */
  seek(key: Uint8Array, length: number): void {
    const place = this.index.locate(key, length);
    this.enterNear(place >= 0 ? place : ~place, key);
  }

  /** Moves to the last key at or before key[0, length). */
  seekForPrev(key: Uint8Array, length: number): void {
    const place = this.index.locate(key, length);
    if (place >= 0) this.enterNear(place, key);
    else this.seekToOrdinal(~place - 1);
  }

  /** Moves to the key of that ordinal, or off the end that it lies beyond. */
  seekToOrdinal(ordinal: number): void {
    this.ordinal = ordinal;
    if (this.isValid) this.enterBlock(0);
  }

  next(): void {
    this.ordinal++;
    if (++this.position < this.blockKeys) {
      this.block.decodeNext(this.position, this.buffer);
    } else if (this.isValid) {
      const block = this.ordinal / BLOCK_KEYS;
      this.blockKeys = blockKeys(block, this.index.keyCount);
      this.position = 0;
      this.block.openNext(block);
      this.block.decodeNext(0, this.buffer);
    }
  }

  prev(): void {
    const known = this.block.sharedBytes(this.position);
    this.ordinal--;
    if (this.position > 0) this.block.decode(--this.position, known, this.buffer);
    else if (this.isValid) this.enterBlock(known);
  }

  /**
   * Appends the key that the cursor is at, and those that follow in the run's direction, behind the
   * entries of the run: at most `count`, which is 1 or more, and only keys of this block. Returns how
   * many; `finishRun` or `moveAhead` is to follow.
   *
   * Either way the keys are made in their order, each from the one before it. Forward, the bytes
   * that both share tell of most keys whether they are within the bound: where they are more than
   * the bound shares with the one before, the key lies where that does; where they are fewer, it is
   * above.
   */
  appendRun(run: EntryRun, count: number, bound: RunBound | undefined): number {
    const { block, buffer, position } = this;
    const { key: boundKey, length: boundLength, isInclusive } = bound ?? NO_BOUND;
    const { keys, keyStarts, keyEnds, keyShared, maxBytes, isReverse } = run;
    const room = isReverse ? position + 1 : this.blockKeys - position;
    const wanted = Math.min(count, room);
    const first = isReverse ? position - wanted + 1 : position;
    if (first !== position) this.block.decodeBack(position, first, buffer);
    else this.block.parseTo(position + wanted - 1);
    const step = isReverse ? -1 : 1;
    let slot = isReverse ? run.count + wanted - 1 : run.count;
    let start = keys.length;
    buffer.appendTo(keys);
    keyStarts[slot] = start;
    keyEnds[slot] = keys.length;
    const order = isInclusive ? 0 : -1;
    const isBounded = bound !== undefined && !isReverse;
    // Bytes that the key made last, which is within the bound, has in common with it.
    let matched = isBounded
      ? commonPrefixLength(keys.buffer, start, keys.length, boundKey, 0, boundLength)
      : 0;
    for (let i = 1; i < wanted; i++) {
      const end = keys.length;
      if (!isReverse && end >= maxBytes) return i;
      const shared = block.sharedBytes(first + i);
      if (isBounded && shared < matched) return i;
      block.appendNext(first + i, keys, start);
      start = end;
      if (isBounded && shared === matched) {
        const from = start + matched;
        if (compareRanges(keys.buffer, from, keys.length, boundKey, matched, boundLength) > order) {
          keys.length = start;
          return i;
        }
        matched += commonPrefixLength(
          keys.buffer,
          from,
          keys.length,
          boundKey,
          matched,
          boundLength,
        );
      }
      keyShared[isReverse ? slot : slot + 1] = shared;
      slot += step;
      keyStarts[slot] = start;
      keyEnds[slot] = keys.length;
    }
    if (!isReverse || bound === undefined) return wanted;
    let within = wanted;
    for (; within > 1; within--) {
      const last = run.count + within - 1;
      const below = compareRanges(
        boundKey,
        0,
        boundLength,
        keys.buffer,
        keyStarts[last],
        keyEnds[last],
      );
      if (below <= order) break;
    }
    return within;
  }

  /** Moves to the last of `count` entries that were appended to the run, and counts them there. */
  finishRun(run: EntryRun, count: number): void {
    run.count += count;
    this.moveAhead(run, run.count - 1, count - 1);
    run.endsBlock = this.position === (run.isReverse ? 0 : this.blockKeys - 1);
  }

  /** Moves `skip` keys ahead in the run's direction, to the key that `appendRun` put into `slot`. */
  moveAhead(run: EntryRun, slot: number, skip: number): void {
    const { buffer } = this;
    const moved = run.isReverse ? -skip : skip;
    this.ordinal += moved;
    this.position += moved;
    const start = run.keyStarts[slot];
    buffer.length = run.keyEnds[slot] - start;
    buffer.write(0, run.keys.buffer, start, buffer.length);
  }

  /**
   * Moves to where `locate` came to from `key`. Of the key there it has parsed where it lies, and what
   * that shares with the one before it is a part of `key`.
   */
  private enterNear(ordinal: number, key: Uint8Array): void {
    const { index, block, buffer } = this;
    const { search } = index;
    const position = ordinal % BLOCK_KEYS;
    this.ordinal = ordinal;
    if (!this.isValid) return;
    if (search.isBehindBlock) {
      this.enterBlock(0);
      return;
    }
    const number = (ordinal - position) / BLOCK_KEYS;
    this.blockKeys = blockKeys(number, index.keyCount);
    this.position = position;
    buffer.write(0, key, 0, search.common);
    block.openAt(number, position, search);
    block.decodeNext(position, buffer);
  }

  /** Makes the key that of `ordinal`, in any block; its first `known` bytes are right already. */
  private enterBlock(known: number): void {
    this.openBlock();
    this.block.decode(this.position, known, this.buffer);
  }

  private openBlock(): void {
    const block = Math.floor(this.ordinal / BLOCK_KEYS);
    this.blockKeys = blockKeys(block, this.index.keyCount);
    this.block.open(block, this.blockKeys);
    this.position = this.ordinal - block * BLOCK_KEYS;
  }
}
