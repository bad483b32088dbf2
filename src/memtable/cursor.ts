/**
 * MemtableCursor: the entries of a memtable at one moment, in the order of their keys.
 *
 * It walks the keys, in the tree or sorted for a flush, and takes of each the newest version at or below its sequence number; keys
 * that have none, and those that a range tombstone deleted, it skips. It stays right while there are
 * writes between its moves.
 */
import { compareRanges } from "../bytes/compare.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import type { Cursor } from "../cursor/cursor.ts";
import type { ValueView } from "../cursor/value-view.ts";
import { BEFORE_EXPIRY, EntryKind, MAX_SEQNO, NEVER } from "../entry.ts";
import type { Piece, RangeTombstoneView } from "./range-tombstones.ts";
import { NO_VERSION, type VersionHeap } from "./version-heap.ts";

const NO_BYTES = new Uint8Array(0);

type KeyMoves = "seekToFirst" | "seekToLast" | "seek" | "seekForPrev" | "next" | "prev";

/** A walk over the keys of a memtable, each with the reference of its newest entry. */
export interface KeyWalk extends Pick<Cursor, "key" | "keyLength" | KeyMoves> {
  isValid: boolean;
  /** Reference of the key's newest entry. */
  readonly value: number;
  /** Keys come in buckets of a few dozen. */
  readonly isFirstInBucket: boolean;
  leftInBucket(isReverse: boolean): number;
  /** The value of the key that is `count` after the current one in its bucket. */
  valueAfter(count: number): number;
}

/** Who takes a closed cursor back. */
export interface CursorOwner {
  giveBack(cursor: MemtableCursor): void;
}

export class MemtableCursor implements Cursor {
  private readonly owner: CursorOwner;
  private readonly versions: VersionHeap;
  private readonly keys: KeyWalk;
  private seqno: number;
  private time: number;
  private deleted: RangeTombstoneView | undefined;
  /** That of the last key that was asked about. */
  private piece: Piece | undefined;
  private ref: number;
  /** Some use must be made of what is touched, or the loads would be left out. */
  touched: number;

  /** A cursor over the newest entry of each key, as if nothing expired or was deleted by range. */
  constructor(owner: CursorOwner, keys: KeyWalk, versions: VersionHeap) {
    this.owner = owner;
    this.versions = versions;
    this.keys = keys;
    this.seqno = MAX_SEQNO;
    this.time = BEFORE_EXPIRY;
    this.deleted = undefined;
    this.piece = undefined;
    this.ref = NO_VERSION;
    this.touched = 0;
  }

  /** Makes a closed cursor as good as new: off the end, and at a moment; `deleted` is hidden. */
  reopen(seqno: number, time: number, deleted: RangeTombstoneView | undefined): void {
    this.seqno = seqno;
    this.time = time;
    this.deleted = deleted;
    this.keys.isValid = false;
  }

  close(): void {
    // What is deleted may be of a moment that nobody else remembers.
    this.deleted = undefined;
    this.piece = undefined;
    this.owner.giveBack(this);
  }

  get isValid(): boolean {
    return this.keys.isValid;
  }

  get key(): Uint8Array {
    return this.keys.key;
  }

  get keyLength(): number {
    return this.keys.keyLength;
  }

  get kind(): EntryKind {
    return this.versions.kindOf(this.ref, this.time);
  }

  get expiry(): number {
    const expiry = this.versions.expiryOf(this.ref);
    return expiry <= this.time ? NEVER : expiry;
  }

  /** Of the entry that the cursor is at. */
  get entrySeqno(): number {
    return this.versions.seqnoOf(this.ref);
  }

  appendKey(output: ByteWriter): void {
    output.append(this.keys.key, 0, this.keys.keyLength);
  }

  value(): Uint8Array {
    return this.kind === EntryKind.put ? this.versions.valueOf(this.ref) : NO_BYTES;
  }

  viewValue(view: ValueView): void {
    if (this.kind === EntryKind.put) this.versions.viewValue(this.ref, view);
    else view.clear();
  }

  viewStored(view: ValueView): undefined {
    this.viewValue(view);
  }

  seekToFirst(): void {
    this.keys.seekToFirst();
    this.skipForwards();
  }

  seekToLast(): void {
    this.keys.seekToLast();
    this.skipBackwards();
  }

  seek(key: Uint8Array, length: number): void {
    this.keys.seek(key, length);
    this.skipForwards();
  }

  seekForPrev(key: Uint8Array, length: number): void {
    this.keys.seekForPrev(key, length);
    this.skipBackwards();
  }

  next(): void {
    const { keys } = this;
    keys.next();
    if (keys.isValid && keys.isFirstInBucket) this.touchVersions();
    this.skipForwards();
  }

  prev(): void {
    this.keys.prev();
    this.skipBackwards();
  }

  /**
   * Looks at the versions of all keys of the bucket, which lie anywhere in the heap, so that they are
   * fetched side by side and not one after the other.
   */
  private touchVersions(): void {
    const { keys, versions } = this;
    let touched = 0;
    for (let i = keys.leftInBucket(false); i > 0; i--)
      touched ^= versions.touch(keys.valueAfter(i));
    this.touched = touched;
  }

  /** Moves on to a key that has a version to be seen, from the current one. */
  private skipForwards(): void {
    const { keys } = this;
    while (keys.isValid && !this.isVisible()) {
      const hidden = this.deleted?.hiddenAround(keys.key, keys.keyLength);
      if (hidden === undefined) {
        keys.next();
      } else if (hidden.end !== undefined) {
        keys.seek(hidden.end, hidden.end.length);
      } else {
        keys.seekToLast();
        keys.next();
      }
    }
  }

  private skipBackwards(): void {
    const { keys } = this;
    while (keys.isValid && !this.isVisible()) {
      const hidden = this.deleted?.hiddenAround(keys.key, keys.keyLength);
      // All of the span is hidden, so its first key need not be told from the one before it.
      if (hidden !== undefined) keys.seek(hidden.start, hidden.start.length);
      keys.prev();
    }
  }

  private isVisible(): boolean {
    this.ref = this.versions.visible(this.keys.value, this.seqno);
    if (this.ref === NO_VERSION) return false;
    return this.deleted === undefined || this.deletedAt() < this.versions.seqnoOf(this.ref);
  }

  /** Sequence number of the newest range tombstone over the current key, or 0. */
  private deletedAt(): number {
    const { deleted, keys } = this;
    if (deleted === undefined) return 0;
    if (this.piece === undefined || !isWithin(this.piece, keys.key, keys.keyLength)) {
      this.piece = deleted.pieceAt(keys.key, keys.keyLength);
    }
    return this.piece.seqno;
  }
}

function isWithin({ start, end }: Piece, key: Uint8Array, length: number): boolean {
  return (
    (start === undefined || compareRanges(start, 0, start.length, key, 0, length) <= 0) &&
    (end === undefined || compareRanges(end, 0, end.length, key, 0, length) > 0)
  );
}
