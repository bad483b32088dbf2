/**
 * VersionHeap: the entries of a memtable, in one shared buffer that only grows.
 *
 * The entries of a key are its *version chain*, newest first; the tree or the table of the memtable has
 * a reference to its head. A reader at a sequence number follows the chain to the first entry at or
 * below it, and so sees the moment it pinned, whatever was written since.
 *
 *   offset 0          4            8             12             16       16 or 24
 *          +----------+------------+-------------+--------------+--------+--------+-------+--------+
 *          | previous | seqno low  | seqno high, | value length | expiry | key    | value | 0 to 7 |
 *          | version  |            | flags, kind |              |        |        | bytes | unused |
 *          +----------+------------+-------------+--------------+--------+--------+-------+--------+
 *   previous     u32   reference of the next older entry of the key; 0 is none
 *   seqno low    u32   the lower 32 bits of the seqno
 *   high, kind   u32   the upper 21 bits in bits 0-20, flags in bits 21-23, the kind in bits 24-31
 *   value length u32   at most MAX_VALUE_BYTES; 0 for a tombstone
 *   expiry       u53   in 8 bytes, only where bit 23 is set
 *   key                its length as u32 and its bytes, only where bit 22 is set: the tree of a
 *                      memtable has the keys otherwise
 * Bit 21 is set where an entry that has its key is the newest of the key, among those that have it.
 *
 * A reference is an offset in units of 8 bytes, so that 32 bits address 32 GiB. What limits a heap is
 * the platform: a SharedArrayBuffer of Node 20 ends at 4 GiB (MAX_HEAP_BYTES).
 *
 * Invariants:
 *   1. A chain descends strictly in seqnos from its head.
 *   2. An entry is written whole, and linked, before a reader is led to it, and never changed then but
 *      for bit 21, which only who orders the keys asks for.
 *   3. Unit 0 is unused, so that reference 0 is none. Behind it is a tombstone without a key,
 *      RANGE_DELETED, which stands for whatever a range tombstone deleted.
 *
 * Source: multi-version timestamp ordering, Reed, "Naming and Synchronization in a Decentralized
 * Computer System" (MIT 1978), section 4; kept as a chain a key as in Neumann, Mühlbauer, Kemper,
 * "Fast Serializable Multi-Version Concurrency Control" (SIGMOD 2015), section 2.1.
 */
import { assert } from "../assert.ts";
import { WordCopy } from "../bytes/word-copy.ts";
import type { ValueView } from "../cursor/value-view.ts";
import { ALWAYS, BEFORE_EXPIRY, EntryKind, NEVER, type Period } from "../entry.ts";

/** What a search returns for a key with no version to be seen. Otherwise a version's reference. */
export const NO_VERSION = -1;

/** The largest heap: what one SharedArrayBuffer may hold on Node 20. */
export const MAX_HEAP_BYTES: number = 2 ** 32 - 8;

/** The version of a key whose newest write is a range tombstone. */
export const RANGE_DELETED = 1;

const UNIT_BYTES = 8;
const UNIT_WORDS = UNIT_BYTES / 4;
const HEADER_BYTES = 16;
/** What an entry that expires takes more. */
const EXPIRY_BYTES = 8;

/** Where an entry has its key: the length. */
const KEY_LENGTH_BYTES = 4;

/** What an entry takes beside its key and value, at most, if it does not expire. */
export const ENTRY_OVERHEAD_BYTES: number = HEADER_BYTES + KEY_LENGTH_BYTES + UNIT_BYTES - 1;

/** A buffer that writes came in is kept until others come in another, unless it is larger. */
const MAX_KEPT_BYTES: number = 2 ** 22;

/** First unit that an entry may have. */
const FIRST_UNIT: number = RANGE_DELETED + HEADER_BYTES / UNIT_BYTES;

/** Of a heap without entries. */
export const EMPTY_HEAP_BYTES: number = FIRST_UNIT * UNIT_BYTES;

const EXPIRES: number = 1 << 23;
const HAS_KEY: number = 1 << 22;
const IS_NEWEST: number = 1 << 21;
const SEQNO_HIGH = 0x1f_ffff;

/** A heap, as it is handed to another thread. */
export interface SharedHeap {
  readonly buffer: SharedArrayBuffer;
  /** Bytes of it in use. */
  readonly byteLength: number;
  readonly firstExpiry: number;
  readonly lastExpiry: number;
}

export class VersionHeap {
  /** Entries, shadowed ones included. */
  entryCount: number;
  /** The earliest and the latest expiry of its entries; NEVER and BEFORE_EXPIRY if none expires. */
  firstExpiry: number;
  lastExpiry: number;
  private readonly bytes: Uint8Array;
  private readonly words: Uint32Array;
  /** From what writes come in, which mostly is one buffer. */
  private readonly wordCopy: WordCopy;
  /** First free unit. */
  private top: number;

  /**
   * An empty heap with room for so many bytes: in the buffer of a heap of that size which nobody reads
   * any more, if `spare` is one.
   */
  static create(bytes: number, spare?: SharedArrayBuffer): VersionHeap {
    const byteLength = Math.min(alignUp(bytes), MAX_HEAP_BYTES);
    const buffer = spare?.byteLength === byteLength ? spare : new SharedArrayBuffer(byteLength);
    const heap = new VersionHeap(buffer);
    heap.words.set([0, 0, EntryKind.tombstone << 24, 0], RANGE_DELETED * UNIT_WORDS);
    return heap;
  }

  /** The heap that another thread filled, to be read. */
  static attach({ buffer, byteLength, firstExpiry, lastExpiry }: SharedHeap): VersionHeap {
    const heap = new VersionHeap(buffer);
    heap.top = byteLength / UNIT_BYTES;
    heap.firstExpiry = firstExpiry;
    heap.lastExpiry = lastExpiry;
    return heap;
  }

  private constructor(buffer: SharedArrayBuffer) {
    this.entryCount = 0;
    this.firstExpiry = NEVER;
    this.lastExpiry = BEFORE_EXPIRY;
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
    this.wordCopy = new WordCopy(MAX_KEPT_BYTES);
    this.top = FIRST_UNIT;
  }

  get buffer(): SharedArrayBuffer {
    return this.bytes.buffer as SharedArrayBuffer;
  }

  /** What another thread needs to read the entries so far. Nothing is copied. */
  share(): SharedHeap {
    const { buffer, byteLength, firstExpiry, lastExpiry } = this;
    return { buffer, byteLength, firstExpiry, lastExpiry };
  }

  /** The same of a copy. */
  shareCopy(): SharedHeap {
    return { ...this.share(), buffer: this.buffer.slice(0, this.byteLength) };
  }

  /** Bytes in use. */
  get byteLength(): number {
    return this.top * UNIT_BYTES;
  }

  /** Whether there is room for so many bytes more. */
  hasRoom(bytes: number): boolean {
    return this.byteLength + bytes <= this.bytes.length;
  }

  /**
   * Adds an entry with the value value[valueStart, valueEnd), which is copied, and returns its
   * reference; it has no older one before `link`. There must be room.
   */
  append(
    seqno: number,
    kind: EntryKind,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
  ): number {
    const ref = this.top;
    const start = this.appendHeader(seqno, kind, 0, valueEnd - valueStart, expiry);
    this.wordCopy.copy(this.bytes, start, value, valueStart, valueEnd);
    return ref;
  }

  /** As `append`, of an entry that has its key, key[keyStart, keyEnd), which is copied too. */
  appendWithKey(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    seqno: number,
    kind: EntryKind,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
  ): number {
    const ref = this.top;
    const keyBytes = KEY_LENGTH_BYTES + keyEnd - keyStart;
    const start = this.appendHeader(seqno, kind, keyBytes, valueEnd - valueStart, expiry);
    const { bytes, words, wordCopy } = this;
    words[ref * UNIT_WORDS + 2] |= HAS_KEY;
    words[start / 4] = keyEnd - keyStart;
    wordCopy.copy(bytes, start + KEY_LENGTH_BYTES, key, keyStart, keyEnd);
    wordCopy.copy(bytes, start + keyBytes, value, valueStart, valueEnd);
    return ref;
  }

  /** Begins an entry: returns where its key goes, if it has it, or else its value. */
  private appendHeader(
    seqno: number,
    kind: EntryKind,
    keyBytes: number,
    valueLength: number,
    expiry: number,
  ): number {
    const { words, top } = this;
    const expires = expiry !== NEVER;
    const start = top * UNIT_BYTES + HEADER_BYTES + (expires ? EXPIRY_BYTES : 0);
    const end = start + keyBytes + valueLength;
    assert(end <= this.bytes.length, "the caller asked canHold");
    const word = top * UNIT_WORDS;
    words[word] = 0;
    words[word + 1] = seqno >>> 0;
    words[word + 2] = Math.floor(seqno / 0x1_0000_0000) | (kind << 24);
    words[word + 3] = valueLength;
    if (expires) this.noteExpiry(word, expiry);
    this.top = Math.ceil(end / UNIT_BYTES);
    this.entryCount++;
    return start;
  }

  /** Says that `previous` is the next older entry of the key of `ref`. */
  link(ref: number, previous: number): void {
    this.words[ref * UNIT_WORDS] = previous;
  }

  /**
   * Makes an entry that has its key the newest of it, after `previous`, or 0 if there is none. All is
   * done or nothing, as nothing is called here: the stack of a writer may be full.
   */
  lead(ref: number, previous: number): void {
    const { words } = this;
    words[ref * UNIT_WORDS] = previous;
    words[ref * UNIT_WORDS + 2] |= IS_NEWEST;
    if (previous !== 0) words[previous * UNIT_WORDS + 2] &= ~IS_NEWEST;
  }

  /** Whether an entry that has its key is the newest of it: not one whose write failed half way. */
  leads(ref: number): boolean {
    return (this.words[ref * UNIT_WORDS + 2] & IS_NEWEST) !== 0;
  }

  /**
   * References of the newest entries of all keys, in the order in which they came: `count` of them.
   * All entries have their keys.
   */
  heads(count: number): Uint32Array {
    const { top } = this;
    const heads = new Uint32Array(count);
    let index = 0;
    for (let ref = FIRST_UNIT; ref < top; ref = this.unitAfter(ref)) {
      if (this.leads(ref)) heads[index++] = ref;
    }
    assert(index === count, "each key has one newest entry");
    return heads;
  }

  /** What keys lie in: an entry that has its key has it at [keyStart, keyEnd). */
  get keyBytes(): Uint8Array {
    return this.bytes;
  }

  keyStart(ref: number): number {
    return this.bodyStart(ref) + KEY_LENGTH_BYTES;
  }

  keyEnd(ref: number): number {
    const start = this.bodyStart(ref);
    return start + KEY_LENGTH_BYTES + this.words[start / 4];
  }

  seqnoOf(ref: number): number {
    const word = ref * UNIT_WORDS;
    return (this.words[word + 2] & SEQNO_HIGH) * 0x1_0000_0000 + this.words[word + 1];
  }

  /** What the entry is at a moment: a tombstone, if it has expired by then. */
  kindOf(ref: number, time: number): EntryKind {
    const word = this.words[ref * UNIT_WORDS + 2];
    if ((word & EXPIRES) !== 0 && this.expiryOf(ref) <= time) return EntryKind.tombstone;
    return (word >>> 24) as EntryKind;
  }

  /** When the entry expires, or NEVER. */
  expiryOf(ref: number): number {
    const word = ref * UNIT_WORDS;
    const { words } = this;
    if ((words[word + 2] & EXPIRES) === 0) return NEVER;
    return words[word + 4] + words[word + 5] * 0x1_0000_0000;
  }

  /**
   * A period around a moment in which no entry expires, be it one that newer ones hide. Where some
   * have expired and others have not, it takes a look at each entry.
   */
  expiryPeriodAt(time: number): Period {
    const { firstExpiry, lastExpiry, top } = this;
    if (time < firstExpiry) return { ...ALWAYS, until: firstExpiry };
    if (time >= lastExpiry) return { ...ALWAYS, from: lastExpiry };
    let from = firstExpiry;
    let until = lastExpiry;
    for (let ref = FIRST_UNIT; ref < top; ref = this.unitAfter(ref)) {
      const expiry = this.expiryOf(ref);
      if (expiry > time) until = Math.min(until, expiry);
      else from = Math.max(from, expiry);
    }
    return { from, until };
  }

  /** A view of the entry's value; it stays valid, and unchanged, as long as the heap. */
  valueOf(ref: number): Uint8Array {
    const start = this.valueStart(ref);
    return this.bytes.subarray(start, start + this.words[ref * UNIT_WORDS + 3]);
  }

  /** Points `view` at what `valueOf` returns. */
  viewValue(ref: number, view: ValueView): void {
    const start = this.valueStart(ref);
    view.set(this.bytes, start, start + this.words[ref * UNIT_WORDS + 3]);
  }

  /** Loads from the entry. What it returns has no meaning. */
  touch(ref: number): number {
    return this.words[ref * UNIT_WORDS];
  }

  /** The unit behind the last entry: the reference of the next one. */
  get end(): number {
    return this.top;
  }

  /** The unit behind the entry: the reference of the one that was written next. */
  unitAfter(ref: number): number {
    const end = this.valueStart(ref) + this.words[ref * UNIT_WORDS + 3];
    return Math.ceil(end / UNIT_BYTES);
  }

  private valueStart(ref: number): number {
    const start = this.bodyStart(ref);
    if ((this.words[ref * UNIT_WORDS + 2] & HAS_KEY) === 0) return start;
    return start + KEY_LENGTH_BYTES + this.words[start / 4];
  }

  /** Where an entry has its key, or the value where it has none. */
  private bodyStart(ref: number): number {
    const expires = (this.words[ref * UNIT_WORDS + 2] & EXPIRES) !== 0;
    return ref * UNIT_BYTES + HEADER_BYTES + (expires ? EXPIRY_BYTES : 0);
  }

  /** The first entry of the chain from `head` at or below `seqno`, or NO_VERSION. */
  visible(head: number, seqno: number): number {
    let ref = head;
    while (ref !== 0 && this.seqnoOf(ref) > seqno) ref = this.words[ref * UNIT_WORDS];
    return ref === 0 ? NO_VERSION : ref;
  }

  private noteExpiry(word: number, expiry: number): void {
    const { words } = this;
    words[word + 2] |= EXPIRES;
    words[word + 4] = expiry % 0x1_0000_0000;
    words[word + 5] = Math.floor(expiry / 0x1_0000_0000);
    this.firstExpiry = Math.min(this.firstExpiry, expiry);
    this.lastExpiry = Math.max(this.lastExpiry, expiry);
  }
}

function alignUp(bytes: number): number {
  return Math.ceil(bytes / UNIT_BYTES) * UNIT_BYTES;
}
