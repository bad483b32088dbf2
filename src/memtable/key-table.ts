/**
 * KeyTable: a hash table from the keys of a memtable to their newest entries, in no order.
 *
 * To add a key costs a quarter of what an insertion into a tree does (83,000 npm names, 204 ns instead
 * of 793), and to find one no more (609 instead of 670, one that is not there 359 instead of 606). So a
 * memtable has its keys in a table until somebody asks for their order (memtable.ts). Most never are:
 * they are filled, asked by key, and flushed, and for that the keys are sorted once (key-order.ts), in
 * the background.
 *
 * The keys themselves lie in the version heap, each with its entry. A slot is two words, the reference
 * of the newest entry and the hash of its key, so that a look-up touches one cache line of the table
 * and one of the heap. Slots are taken one after the other from where the hash leads (linear probing),
 * at most three of four.
 *
 * The slots are shared memory for the reason that BlockCache gives: V8 does not count it.
 */
import { assert } from "../assert.ts";
import { compareRanges } from "../bytes/compare.ts";
import { NO_VERSION, type VersionHeap } from "./version-heap.ts";

/** Slots at first, where there is no spare memory. */
const FIRST_SLOTS: number = 2 ** 10;
const SLOT_BYTES = 8;
/** A slot without a key: reference 0 is none. */
const FREE = 0;

/** What is needed to put the keys in order, as it is handed to another thread. */
export interface SharedKeyTable {
  readonly count: number;
  readonly isAscending: boolean;
}

export class KeyTable {
  /** Keys that are there. */
  count: number;
  /** Whether each key came after all those below it, and once. */
  isAscending: boolean;
  private readonly versions: VersionHeap;
  private readonly seed: number;
  private slots: Uint32Array;
  /** As many as its keys need. There may be more, where the memory was another table's. */
  private neededSlots: number;
  private mask: number;
  /** The newest key's entry. */
  private lastRef: number;

  /**
   * An empty table, in the memory of another that nobody reads any more, if `spare` is one. Whoever
   * chooses the keys must not know `seed`, or could choose ones that all have one hash.
   */
  static create(versions: VersionHeap, seed: number, spare?: SharedArrayBuffer): KeyTable {
    const slots = spare === undefined ? slotsFor(FIRST_SLOTS) : new Uint32Array(spare);
    return new KeyTable(versions, seed, slots.fill(FREE));
  }

  /** The table of another thread, whose keys can be put in order, but not searched. */
  static attach(versions: VersionHeap, { count, isAscending }: SharedKeyTable): KeyTable {
    const table = new KeyTable(versions, 0, new Uint32Array(0));
    table.count = count;
    table.isAscending = isAscending;
    return table;
  }

  private constructor(versions: VersionHeap, seed: number, slots: Uint32Array) {
    this.count = 0;
    this.isAscending = true;
    this.versions = versions;
    this.seed = seed;
    this.slots = slots;
    this.neededSlots = FIRST_SLOTS;
    this.mask = slots.length / 2 - 1;
    this.lastRef = FREE;
  }

  /** Whether keys can be found. */
  get isSearchable(): boolean {
    return this.slots.length > 0;
  }

  /** The table's memory, for another one. */
  get buffer(): SharedArrayBuffer {
    return this.slots.buffer as SharedArrayBuffer;
  }

  /** Bytes of the slots that its keys need. */
  get byteLength(): number {
    return this.neededSlots * SLOT_BYTES;
  }

  /** Bytes that as many more keys take beyond `byteLength`. */
  growthBytesFor(count: number): number {
    let needed = this.neededSlots;
    while (4 * (this.count + count) > 3 * needed) needed *= 2;
    return (needed - this.neededSlots) * SLOT_BYTES;
  }

  share(): SharedKeyTable {
    const { count, isAscending } = this;
    return { count, isAscending };
  }

  /** Reference of the newest entry of key[start, end), or NO_VERSION. */
  find(key: Uint8Array, start: number, end: number): number {
    const ref = this.slots[this.slotOf(key, start, end, hashOf(key, start, end, this.seed))];
    return ref === FREE ? NO_VERSION : ref;
  }

  /**
   * Makes `ref`, which has the key key[start, end), its newest entry, and links it with the one before.
   */
  add(key: Uint8Array, start: number, end: number, ref: number): void {
    const { versions } = this;
    const hash = hashOf(key, start, end, this.seed);
    const slot = this.slotOf(key, start, end, hash);
    const previous = this.slots[slot];
    const isNew = previous === FREE;
    if (this.isAscending && !(isNew && this.isAfterLast(key, start, end))) this.isAscending = false;
    // On a full stack of the writer this fails, and nothing after it.
    versions.lead(ref, previous);
    this.slots[slot] = ref;
    if (!isNew) return;
    this.slots[slot + 1] = hash;
    this.lastRef = ref;
    this.count++;
    if (4 * this.count <= 3 * this.neededSlots) return;
    const needed = 2 * this.neededSlots;
    if (needed > this.mask + 1) this.grow();
    this.neededSlots = needed;
  }

  private isAfterLast(key: Uint8Array, start: number, end: number): boolean {
    const { versions, lastRef } = this;
    if (lastRef === FREE) return true;
    const lastStart = versions.keyStart(lastRef);
    const lastEnd = versions.keyEnd(lastRef);
    return compareRanges(key, start, end, versions.keyBytes, lastStart, lastEnd) > 0;
  }

  /** Offset of the slot that has the key, or of the free one where it belongs. */
  private slotOf(key: Uint8Array, start: number, end: number, hash: number): number {
    const { slots, mask } = this;
    for (let index = hash & mask; ; index = (index + 1) & mask) {
      const ref = slots[2 * index];
      if (ref === FREE || (slots[2 * index + 1] === hash && this.isKeyOf(ref, key, start, end))) {
        return 2 * index;
      }
    }
  }

  private isKeyOf(ref: number, key: Uint8Array, start: number, end: number): boolean {
    const { versions } = this;
    const bytes = versions.keyBytes;
    let pos = versions.keyStart(ref);
    if (versions.keyEnd(ref) - pos !== end - start) return false;
    let from = start;
    for (; from < end && bytes[pos] === key[from]; pos++) from++;
    return from === end;
  }

  private grow(): void {
    const { slots: before } = this;
    const slots = slotsFor(2 * (this.mask + 1));
    const mask = slots.length / 2 - 1;
    for (let i = 0; i < before.length; i += 2) {
      if (before[i] === FREE) continue;
      let index = before[i + 1] & mask;
      while (slots[2 * index] !== FREE) index = (index + 1) & mask;
      slots[2 * index] = before[i];
      slots[2 * index + 1] = before[i + 1];
    }
    this.slots = slots;
    this.mask = mask;
  }
}

function slotsFor(count: number): Uint32Array {
  assert(Number.isInteger(Math.log2(count)), "a hash is cut to the bits of a slot's index");
  return new Uint32Array(new SharedArrayBuffer(count * SLOT_BYTES));
}

/**
 * A multiplicative hash whose beginning is secret. Of two bytes at a time: they cannot undo what those
 * before them made of its 32 bits, for any beginning, as four could.
 */
function hashOf(key: Uint8Array, start: number, end: number, seed: number): number {
  let hash = seed ^ (end - start);
  let pos = start;
  for (; pos + 1 < end; pos += 2) {
    hash = Math.imul(hash ^ key[pos] ^ (key[pos + 1] << 8), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  if (pos < end) hash = Math.imul(hash ^ key[pos], 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
