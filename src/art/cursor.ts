/**
 * TreeCursor: a position in a tree, walked in either direction.
 *
 * The cursor stands in a bucket and decodes one key from the next, so that a step costs a few bytes
 * of copying; between buckets it asks the tree. It keeps its key, and so stays right while the tree
 * changes between its moves: when the tree's change count is not the one it saw, it finds its place
 * anew by the key. If the key itself was removed meanwhile, `next` goes to the first key after it and
 * `prev` to the last before it.
 */
import { BucketSearch, decodeEntry, decodeKey, readValue, sharedAt, valuesEnd } from "./bucket.ts";
import { KeyBuffer } from "./key-buffer.ts";
import type { Tree } from "./tree.ts";

export class TreeCursor {
  /** Whether the cursor is at a key. */
  isValid: boolean;
  private readonly tree: Tree;
  private readonly buffer: KeyBuffer;
  private readonly search: BucketSearch;
  private bucket: number;
  /** Where the tree refers to the bucket. */
  private slot: number;
  private node: number;
  /** Offset of the entry after the current one. */
  private nextPos: number;
  private index: number;
  /** Of the current bucket: how many keys it has, and where its values end. */
  private count: number;
  private valuesEnd: number;
  private changeCount: number;

  constructor(tree: Tree) {
    this.isValid = false;
    this.tree = tree;
    this.buffer = new KeyBuffer();
    this.search = new BucketSearch();
    this.bucket = 0;
    this.slot = 0;
    this.node = 0;
    this.nextPos = 0;
    this.index = 0;
    this.count = 0;
    this.valuesEnd = 0;
    this.changeCount = -1;
  }

  /** Buffer whose first `keyLength` bytes are the key; valid until the next move. */
  get key(): Uint8Array {
    return this.buffer.bytes;
  }

  get keyLength(): number {
    return this.buffer.length;
  }

  /** The key's value, as it is now. Only before the tree changes: callers read it after a move. */
  get value(): number {
    return readValue(this.tree.arena.words, this.valuesEnd, this.index, this.tree.valueBytes);
  }

  /** How many keys the current bucket has after the current one, or before it in reverse. */
  leftInBucket(isReverse: boolean): number {
    return isReverse ? this.index : this.count - 1 - this.index;
  }

  seekToFirst(): void {
    this.enterFirst(this.tree.firstBucket());
  }

  seekToLast(): void {
    this.enterLast(this.tree.lastBucket());
  }

  /** Moves to the first key at or after key[0, length). */
  seek(key: Uint8Array, length: number): void {
    const bucket = this.tree.seekBucket(key, 0, length, this.search);
    if (bucket === 0) {
      this.isValid = false;
    } else if (this.search.index < this.tree.countOf(bucket)) {
      this.enterAtSearch(bucket, key);
    } else {
      this.enterFirst(this.tree.nextBucket(bucket, this.tree.bucketSlot, this.tree.bucketNode));
    }
  }

  /** Moves to the last key at or before key[0, length). */
  seekForPrev(key: Uint8Array, length: number): void {
    this.seek(key, length);
    if (!this.isValid) this.seekToLast();
    else if (!this.isAt(key, length)) this.prev();
  }

  next(): void {
    if (this.changeCount !== this.tree.changeCount && !this.returnToKey()) {
      // The key is gone, and the cursor already at the one after it, or off the end.
      return;
    }
    if (this.index + 1 === this.count) {
      this.enterFirst(this.tree.nextBucket(this.bucket, this.slot, this.node));
      return;
    }
    this.nextPos = decodeEntry(this.tree.arena, this.nextPos, this.buffer);
    this.index++;
  }

  prev(): void {
    if (this.changeCount !== this.tree.changeCount) {
      this.returnToKey();
      if (!this.isValid) {
        this.seekToLast();
        return;
      }
    }
    if (this.index > 0) {
      this.index--;
      this.nextPos = decodeKey(this.tree.arena, this.bucket, this.index, this.buffer);
    } else {
      this.enterLast(this.tree.previousBucket(this.bucket));
    }
  }

  /**
   * Takes up the place of the current key after the tree has changed. If the key is gone, moves to
   * the first after it, or off the end, and returns false.
   */
  private returnToKey(): boolean {
    const length = this.buffer.length;
    const key = this.buffer.bytes.slice(0, length);
    this.seek(key, length);
    return this.isValid && this.isAt(key, length);
  }

  /** Whether the current key is key[0, length). */
  private isAt(key: Uint8Array, length: number): boolean {
    if (this.buffer.length !== length) return false;
    const bytes = this.buffer.bytes;
    for (let i = length - 1; i >= 0; i--) if (bytes[i] !== key[i]) return false;
    return true;
  }

  /** Moves to the key at which the search ended, or before which `key` belongs. */
  private enterAtSearch(bucket: number, key: Uint8Array): void {
    const { arena } = this.tree;
    const pos = this.search.pos;
    const shared = sharedAt(arena.bytes, pos);
    // Up to `shared` the key there equals the one before it, and that one equals the sought key.
    this.buffer.splice(0, key, 0, shared);
    this.enter(bucket, this.search.index, decodeEntry(arena, pos, this.buffer));
  }

  private enterFirst(bucket: number): void {
    if (bucket === 0) {
      this.isValid = false;
      return;
    }
    this.enter(bucket, 0, decodeKey(this.tree.arena, bucket, 0, this.buffer));
  }

  private enterLast(bucket: number): void {
    if (bucket === 0) {
      this.isValid = false;
      return;
    }
    const index = this.tree.countOf(bucket) - 1;
    this.enter(bucket, index, decodeKey(this.tree.arena, bucket, index, this.buffer));
  }

  private enter(bucket: number, index: number, nextPos: number): void {
    this.isValid = true;
    const { words } = this.tree.arena;
    this.bucket = bucket;
    this.slot = this.tree.bucketSlot;
    this.node = this.tree.bucketNode;
    this.nextPos = nextPos;
    this.index = index;
    this.count = this.tree.countOf(bucket);
    this.valuesEnd = valuesEnd(words, bucket, this.tree.valueBytes);
    this.changeCount = this.tree.changeCount;
  }
}
