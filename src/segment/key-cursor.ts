/**
 * KeyCursor: an ordered walk over the keys of a segment, both ways, from anywhere.
 *
 * Forward, a key is made from the one before it: the bytes that both share stay where they are, and
 * the rest is decoded behind them. Backward, the bytes that it shares with the one after it stay, and
 * the rest comes from the chain of keys that have them (coded-entries.ts).
 */
import type { ByteWriter } from "../bytes/writer.ts";
import { blockKeys, KeyBlock, type KeyPages } from "./key-block.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { BLOCK_KEYS } from "./key-page.ts";

/** What a cursor needs of its index. */
export interface OrderedKeys extends KeyPages {
  /** Ordinal of key[0, length), or ~(number of keys below it). */
  locate(key: Uint8Array, length: number): number;
  /** Bytes that the key at that ordinal has in common with the key sought, as far as is known. */
  readonly common: number;
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
      this.openBlock();
      this.block.decodeNext(0, this.buffer);
    }
  }

  prev(): void {
    const known = this.block.sharedBytes(this.position);
    this.ordinal--;
    if (this.position > 0) this.block.decode(--this.position, known, this.buffer);
    else if (this.isValid) this.enterBlock(known);
  }

  /** Moves to where `locate` came to from `key`: what both have in common need not be decoded. */
  private enterNear(ordinal: number, key: Uint8Array): void {
    this.ordinal = ordinal;
    if (!this.isValid) return;
    const known = this.index.common;
    this.buffer.write(0, key, 0, known);
    this.enterBlock(known);
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
