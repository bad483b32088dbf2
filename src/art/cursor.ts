/**
 * TreeCursor: a position in a tree, walked in either direction.
 *
 * The cursor stands in a bucket and decodes one key from the next, so that a step costs a few bytes
 * of copying; from bucket to bucket it goes by a BucketWalk. It keeps its key, and so stays right
 * while the tree changes between its moves: when the tree's change count is not the one it saw, it
 * finds its place anew by the key. If the key itself was removed meanwhile, `next` goes to the
 * first key after it and `prev` to the last before it.
 */
import { BucketSearch, decodeEntry, decodeKey, readValue, sharedAt, valuesEnd } from "./bucket.ts";
import { BucketWalk } from "./bucket-walk.ts";
import { Descent } from "./descent.ts";
import { KeyBuffer } from "./key-buffer.ts";
import type { ResolvedRange } from "./range.ts";
import type { Tree } from "./tree.ts";

/**
 * Is shown a key and its value. The key is the first `length` bytes of a buffer that the next key
 * overwrites. Returning false ends the walk.
 */
export type Visitor = (key: Uint8Array, length: number, value: number) => unknown;

export class TreeCursor {
  /** Whether the cursor is at a key. */
  isValid: boolean;
  private readonly tree: Tree;
  private readonly buffer: KeyBuffer;
  private readonly search: BucketSearch;
  /** At the current bucket, unless the walk has taken it ahead. */
  private readonly descent: Descent;
  private readonly walk: BucketWalk;
  private bucket: number;
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
    this.descent = new Descent();
    this.walk = new BucketWalk(this.descent);
    this.bucket = 0;
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

  get isFirstInBucket(): boolean {
    return this.index === 0;
  }

  /** The value of the key that is `count` after the current one in its bucket. */
  valueAfter(count: number): number {
    const { tree, valuesEnd, index } = this;
    return readValue(tree.arena.words, valuesEnd, index + count, tree.valueBytes);
  }

  seekToFirst(): void {
    this.walk.start();
    this.descent.first(this.tree.arena);
    this.enterFirst(this.descent.bucket);
  }

  seekToLast(): void {
    this.walk.start();
    this.descent.last(this.tree.arena);
    this.enterLast(this.descent.bucket);
  }

  /** Moves to the first key at or after key[0, length). */
  seek(key: Uint8Array, length: number): void {
    const { tree, descent, search, walk } = this;
    walk.start();
    tree.seek(key, 0, length, descent, search);
    const { bucket } = descent;
    if (bucket === 0) this.isValid = false;
    else if (search.index < search.count) this.enterAtSearch(bucket, key);
    else this.enterFirst(walk.next(tree.arena));
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
      this.enterFirst(this.walk.next(this.tree.arena));
      return;
    }
    this.nextPos = decodeEntry(this.tree.arena, this.nextPos, this.buffer);
    this.index++;
  }

  /**
   * Visits the current key and those after it in its bucket, at most `limit`, while `visit` does not
   * return false. The cursor is then at the last one visited. Returns what is left of the limit; 0 as
   * well where the range or the visitor has ended the walk.
   */
  visitBucket(visit: Visitor, range: ResolvedRange, limit: number): number {
    const { tree, buffer, count, valuesEnd, changeCount } = this;
    const { arena, valueBytes } = tree;
    const { hasEnd } = range;
    let { index, nextPos } = this;
    for (let left = limit; ; ) {
      if (hasEnd && !range.holds(buffer.bytes, buffer.length)) return 0;
      const value = readValue(arena.words, valuesEnd, index, valueBytes);
      if (visit(buffer.bytes, buffer.length, value) === false || --left === 0) return 0;
      if (index + 1 === count || tree.changeCount !== changeCount) {
        this.index = index;
        this.nextPos = nextPos;
        return left;
      }
      nextPos = decodeEntry(arena, nextPos, buffer);
      index++;
    }
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
      const { arena } = this.tree;
      if (this.descent.bucket !== this.bucket) this.descent.floorOf(arena, this.bucket);
      this.walk.start();
      this.descent.previous(arena);
      this.enterLast(this.descent.bucket);
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
    this.nextPos = nextPos;
    this.index = index;
    this.count = this.tree.countOf(bucket);
    this.valuesEnd = valuesEnd(words, bucket, this.tree.valueBytes);
    this.changeCount = this.tree.changeCount;
  }
}
