/**
 * ArenaArtReader: reads an ArenaArt of another thread while that thread changes it.
 *
 * Readers and the writer share the arena and never wait for each other. Published blocks do not
 * change, so whatever a reader follows from the root is whole; epochs (epochs.ts) keep a block from
 * being reused while a reader may be in it. What is left is a key that passes from one bucket to
 * another while a reader is between the two: the reader misses it, sees by the count of bucket
 * changes that this may be why, and looks again.
 *
 * An operation is therefore a loop: note the count, enter, read, leave; start again if the writer
 * evicted the reader or the count has changed in a way that matters. A scan is one operation for
 * each bucket, and between them it keeps nothing but its last key. So each key that is there
 * throughout a scan is visited exactly once and in order, and a scan that its user leaves half done
 * pins nothing.
 *
 * Only atomic loads are ordered between threads. The root is loaded atomically when an operation
 * begins; everything else is found through a reference loaded before it, which every processor
 * keeps in order, and plain loads of aligned words are never torn.
 */

import { MAX_KEY_BYTES } from "../entry.ts";
import { ClosedError, InvalidArgumentError } from "../errors.ts";
import { HEADER_BUCKET_CHANGES, HEADER_MOVED, HEADER_ROOT, HEADER_SIZE, isArena } from "./arena.ts";
import type { ArenaArtEntry, ArenaArtHandle } from "./arena-art.ts";
import { TreeCursor } from "./cursor.ts";
import { EpochReader } from "./epochs.ts";
import { type KeyRange, ResolvedRange } from "./range.ts";
import { NO_VALUE, Tree } from "./tree.ts";

/**
 * At most 32 readers of one map at a time, in all threads together. Close a reader after use.
 *
 * A thread that is terminated leaves its readers open for good: memory that changes set free waits for
 * them, some 4 MiB at most, and their places are taken until the map moves to other memory, as `clear` does.
 * So let a thread close its readers before it ends.
 */
export class ArenaArtReader {
  private readonly words: Int32Array;
  private readonly tree: Tree;
  private readonly epochs: EpochReader;
  private readonly cursor: TreeCursor;
  private isClosed: boolean;

  /** Throws RangeError while 32 readers are open. */
  constructor(handle: ArenaArtHandle) {
    const buffer = handle?.buffer;
    if (!(buffer instanceof SharedArrayBuffer) || !isArena(buffer)) {
      throw new InvalidArgumentError("the argument must be what ArenaArt.share returned");
    }
    this.words = new Int32Array(buffer);
    this.tree = Tree.attach(buffer);
    this.epochs = new EpochReader(this.words);
    this.cursor = new TreeCursor(this.tree);
    this.isClosed = false;
  }

  /** Number of keys, a moment ago. */
  get size(): number {
    return Atomics.load(this.words, HEADER_SIZE);
  }

  /** False once the map has moved to more memory: this reader sees it as it was then. */
  get isCurrent(): boolean {
    return Atomics.load(this.words, HEADER_MOVED) === 0;
  }

  /** The key's value, or undefined. */
  get(key: Uint8Array): number | undefined {
    this.check(key);
    const { words, epochs, tree } = this;
    for (;;) {
      const changes = Atomics.load(words, HEADER_BUCKET_CHANGES);
      let value = NO_VALUE;
      let error: unknown;
      epochs.enter();
      try {
        Atomics.load(words, HEADER_ROOT);
        value = tree.get(key, 0, key.length);
      } catch (thrown) {
        error = thrown;
      }
      if (!epochs.leave()) continue;
      if (error !== undefined) throw error;
      if (value !== NO_VALUE) return value;
      if (Atomics.load(words, HEADER_BUCKET_CHANGES) === changes) return undefined;
    }
  }

  has(key: Uint8Array): boolean {
    return this.get(key) !== undefined;
  }

  /** Keys and values in order, lazily. A key that is there throughout is visited exactly once. */
  *entries(range: KeyRange = {}): IterableIterator<ArenaArtEntry> {
    const resolved = new ResolvedRange(range);
    let left = resolved.limit;
    let last: Uint8Array | undefined;
    while (left > 0) {
      const batch = this.readBatch(resolved, last);
      for (const entry of batch) {
        if (left-- <= 0 || !resolved.holds(entry[0], entry[0].length)) return;
        yield entry;
        last = entry[0];
      }
      if (batch.length === 0) return;
    }
  }

  /** Keys in order, lazily; see `entries`. */
  *keys(range: KeyRange = {}): IterableIterator<Uint8Array> {
    for (const [key] of this.entries(range)) yield key;
  }

  /** Makes room for another reader. Every call after it throws ClosedError; a second close does not. */
  close(): void {
    if (!this.isClosed) this.epochs.close();
    this.isClosed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The entries of one bucket after `last`, or from the start of the range; none at its end. */
  private readBatch(range: ResolvedRange, last: Uint8Array | undefined): ArenaArtEntry[] {
    if (this.isClosed) throw new ClosedError("the reader is closed");
    const { words, epochs } = this;
    for (;;) {
      const changes = Atomics.load(words, HEADER_BUCKET_CHANGES);
      let batch: ArenaArtEntry[] = [];
      let error: unknown;
      epochs.enter();
      try {
        Atomics.load(words, HEADER_ROOT);
        batch = this.collect(range, last);
      } catch (thrown) {
        error = thrown;
      }
      const isGood = epochs.leave();
      if (!isGood || Atomics.load(words, HEADER_BUCKET_CHANGES) !== changes) continue;
      if (error !== undefined) throw error;
      return batch;
    }
  }

  private collect(range: ResolvedRange, last: Uint8Array | undefined): ArenaArtEntry[] {
    const { cursor } = this;
    const batch: ArenaArtEntry[] = [];
    if (last === undefined) range.start(cursor);
    else range.startAfter(cursor, last);
    if (!cursor.isValid) return batch;
    for (let left = cursor.leftInBucket(range.isReverse); ; left--) {
      batch.push([cursor.key.slice(0, cursor.keyLength), cursor.value]);
      if (left === 0) return batch;
      range.step(cursor);
    }
  }

  private check(key: Uint8Array): void {
    if (this.isClosed) throw new ClosedError("the reader is closed");
    if (!(key instanceof Uint8Array) || key.length > MAX_KEY_BYTES) {
      throw new InvalidArgumentError(
        `a key must be a Uint8Array of at most ${MAX_KEY_BYTES} bytes`,
      );
    }
  }
}
