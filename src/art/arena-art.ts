/**
 * ArenaArt: an ordered map from byte strings to whole numbers, smaller than its keys. Exported as
 * memkv/art.
 *
 * This is the public face of tree.ts: it checks arguments, turns ranges into cursor moves, and hands
 * out copies of keys. The tree keeps keys and values in one SharedArrayBuffer outside the JavaScript
 * heap, so that a map of millions of keys costs the garbage collector nothing.
 */
import { MAX_KEY_BYTES } from "../entry.ts";
import { InvalidArgumentError } from "../errors.ts";
import { checkNames } from "../names.ts";
import { MAX_ARENA_BYTES, MIN_ARENA_BYTES } from "./arena.ts";
import { TreeCursor, type Visitor } from "./cursor.ts";
import { type KeyRange, ResolvedRange } from "./range.ts";
import { NO_VALUE, Tree } from "./tree.ts";

export type { Visitor } from "./cursor.ts";
export type { KeyRange } from "./range.ts";

export interface ArenaArtOptions {
  /**
   * Bytes of address space to reserve; memory is used only as keys arrive. A map that fills it moves
   * to twice as much by itself, which copies it: reserve what you expect. Default 64 MiB, at most
   * 2 GiB.
   */
  readonly capacityBytes?: number | undefined;
}

/** A key and its value. The key is a copy, the caller's to keep. */
export type ArenaArtEntry = [key: Uint8Array, value: number];

const OPTIONS: readonly string[] = ["capacityBytes"];

const DEFAULT_CAPACITY_BYTES = 64 * 2 ** 20;

/**
 * Keys are 0 to 65,536 bytes, in lexicographic order of unsigned bytes; values are integers from 0
 * to 2^53 - 1. Anything else throws InvalidArgumentError and changes nothing. Every operation on one
 * key costs O(key length).
 */
export class ArenaArt {
  private readonly tree: Tree;
  /** A cursor that nobody is using, so that short walks need not make one. */
  private idleCursor: TreeCursor | undefined;

  constructor(options: ArenaArtOptions = {}) {
    checkNames(options, "option", OPTIONS);
    const { capacityBytes = DEFAULT_CAPACITY_BYTES } = options;
    if (!Number.isInteger(capacityBytes) || capacityBytes < 1 || capacityBytes > 2 ** 31) {
      throw new InvalidArgumentError("capacityBytes must be an integer from 1 to 2147483648");
    }
    const capacity = Math.min(Math.max(capacityBytes, MIN_ARENA_BYTES), MAX_ARENA_BYTES);
    this.tree = Tree.create(capacity, 8);
    this.tree.compacts = true;
    this.idleCursor = undefined;
  }

  /** Number of keys. */
  get size(): number {
    return this.tree.size;
  }

  /** Bytes of memory in use for keys, values and structure. */
  get byteLength(): number {
    return this.tree.byteLength;
  }

  /**
   * Gives the key a value, in place of any it had. Throws RangeError, with nothing changed, where
   * the map would outgrow 2 GiB.
   */
  set(key: Uint8Array, value: number): this {
    checkKey(key);
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new InvalidArgumentError("a value must be an integer from 0 to 2^53 - 1");
    }
    this.tree.locate(key, 0, key.length);
    this.tree.assign(value);
    return this;
  }

  /** The key's value, or undefined. */
  get(key: Uint8Array): number | undefined {
    checkKey(key);
    const value = this.tree.get(key, 0, key.length);
    return value === NO_VALUE ? undefined : value;
  }

  /**
   * The values of many keys, in their order, undefined for each that is not there. Faster than one
   * after the other, since the memory that one lookup waits for is fetched while others wait too.
   */
  getMany(keys: readonly Uint8Array[]): (number | undefined)[] {
    for (const key of keys) checkKey(key);
    const values = new Array<number | undefined>(keys.length);
    this.tree.getMany(keys, values);
    return values;
  }

  has(key: Uint8Array): boolean {
    return this.get(key) !== undefined;
  }

  /** Removes the key, and says whether it was there. */
  delete(key: Uint8Array): boolean {
    checkKey(key);
    if (this.tree.locate(key, 0, key.length) === NO_VALUE) return false;
    this.tree.remove();
    return true;
  }

  /** Removes every key. */
  clear(): void {
    this.tree.clear();
  }

  /** The last key at or before `key`, with its value. */
  floor(key: Uint8Array): ArenaArtEntry | undefined {
    checkKey(key);
    const cursor = this.takeCursor();
    cursor.seekForPrev(key, key.length);
    this.idleCursor = cursor;
    return entryAt(cursor);
  }

  /** The first key at or after `key`, with its value. */
  ceiling(key: Uint8Array): ArenaArtEntry | undefined {
    checkKey(key);
    const cursor = this.takeCursor();
    cursor.seek(key, key.length);
    this.idleCursor = cursor;
    return entryAt(cursor);
  }

  /**
   * Keys and values in order, lazily. The map may change during the walk: what is added or removed
   * ahead of it is seen so, and no other key is skipped or visited twice.
   */
  *entries(range: KeyRange = {}): IterableIterator<ArenaArtEntry> {
    const resolved = new ResolvedRange(range);
    const cursor = this.takeCursor();
    resolved.start(cursor);
    for (let left = resolved.limit; left > 0; left--) {
      const entry = entryAt(cursor);
      if (entry === undefined || !resolved.holds(entry[0], entry[0].length)) break;
      yield entry;
      if (left > 1) resolved.step(cursor);
    }
    this.idleCursor = cursor;
  }

  /** Keys in order, lazily; see `entries`. */
  *keys(range: KeyRange = {}): IterableIterator<Uint8Array> {
    for (const [key] of this.entries(range)) yield key;
  }

  [Symbol.iterator](): IterableIterator<ArenaArtEntry> {
    return this.entries();
  }

  /**
   * Calls `visit` with each key and value of the range, in order, until it returns false. The fast
   * walk: `key` is a buffer whose first `length` bytes are the key, overwritten by the next.
   */
  forEach(visit: Visitor, range: KeyRange = {}): void {
    const resolved = new ResolvedRange(range);
    const cursor = this.takeCursor();
    let left = resolved.limit;
    if (left > 0) resolved.start(cursor);
    while (left > 0 && cursor.isValid) {
      if (!resolved.isReverse) {
        left = cursor.visitBucket(visit, resolved, left);
      } else {
        if (!resolved.holds(cursor.key, cursor.keyLength)) break;
        if (visit(cursor.key, cursor.keyLength, cursor.value) === false) break;
        left--;
      }
      if (left > 0) resolved.step(cursor);
    }
    this.idleCursor = cursor;
  }

  private takeCursor(): TreeCursor {
    const cursor = this.idleCursor ?? new TreeCursor(this.tree);
    this.idleCursor = undefined;
    return cursor;
  }

  /**
   * A handle for `new ArenaArtReader(handle)` in this or another thread (it can be posted to a
   * worker). From the first call on, memory that a change sets free is reused only once no reader
   * can be in it. If the map moves to more memory, the readers keep what they see and their
   * `isCurrent` becomes false: give them a new handle.
   */
  share(): ArenaArtHandle {
    this.tree.share();
    return { buffer: this.tree.arena.buffer };
  }
}

/** What `ArenaArt.share` returns. */
export interface ArenaArtHandle {
  readonly buffer: SharedArrayBuffer;
}

function entryAt(cursor: TreeCursor): ArenaArtEntry | undefined {
  if (!cursor.isValid) return undefined;
  return [cursor.key.slice(0, cursor.keyLength), cursor.value];
}

function checkKey(key: Uint8Array): void {
  if (!(key instanceof Uint8Array)) throw new InvalidArgumentError("a key must be a Uint8Array");
  if (key.length > MAX_KEY_BYTES) {
    throw new InvalidArgumentError(
      `a key must have at most ${MAX_KEY_BYTES} bytes, this one has ${key.length}`,
    );
  }
}
