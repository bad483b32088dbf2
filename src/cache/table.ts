/**
 * CacheTable: where the entries of one kind lie in a CacheRing, by their hashes.
 *
 * The hash chooses a set, which fills one line of the processor's cache: the hashes that were missed
 * last, and slots. There is no object for an entry, and nothing is ever rehashed.
 *
 *   set    missed u32 | missed before it u32 | 7 slots
 *   slot   hash u32 | position u32: that of the entry in the ring, or NOWHERE
 *
 * A slot whose entry is found changes places with the one before it, and where all are taken the last
 * one gives way: what is found most stays, without a counter (McCabe 1965, the transposition rule).
 * An entry that left the ring need not be looked for here: its slot has a position before the tail.
 */

/** No entry is there: the ring's tail is always behind it. */
export const NOWHERE = 0;

export const SET_BYTES = 64;
const SET_WORDS: number = SET_BYTES / 4;
export const SLOT_WORDS = 2;
/** In front of a set's slots are two hashes that were missed. */
const SLOTS_OFFSET = 2;
/** From the first slot of a set to its end. */
export const SLOTS_WORDS: number = SET_WORDS - SLOTS_OFFSET;
const LAST_SLOT_OFFSET: number = SLOTS_WORDS - SLOT_WORDS;

export class CacheTable {
  readonly words: Uint32Array;
  private readonly setCount: number;

  /** Of 1 set or more. */
  constructor(setCount: number) {
    this.setCount = setCount;
    // Shared memory for the reason that CacheRing gives.
    this.words = new Uint32Array(new SharedArrayBuffer(setCount * SET_BYTES));
  }

  get byteLength(): number {
    return this.words.byteLength;
  }

  /** Index in `words` of the first slot of the hash's set, of SLOTS_WORDS in all. */
  slotsOf(hash: number): number {
    return Math.floor((hash * this.setCount) / 0x1_0000_0000) * SET_WORDS + SLOTS_OFFSET;
  }

  /** A slot was found; `first` is the first one of its set. */
  moveForward(slot: number, first: number): void {
    if (slot === first) return;
    const { words } = this;
    const before = slot - SLOT_WORDS;
    const hash = words[before];
    const position = words[before + 1];
    words[before] = words[slot];
    words[before + 1] = words[slot + 1];
    words[slot] = hash;
    words[slot + 1] = position;
  }

  /** Puts an entry in a slot whose entry lies before `tail`, and so is gone, or in the last one. */
  put(hash: number, position: number, tail: number): void {
    const { words } = this;
    let slot = this.slotsOf(hash);
    const last = slot + LAST_SLOT_OFFSET;
    while (slot < last && words[slot + 1] >= tail) slot += SLOT_WORDS;
    words[slot] = hash;
    words[slot + 1] = position;
  }

  /** The slot of the entry at a position, or -1: it was taken out, or a newer one has its slot. */
  slotAt(hash: number, position: number): number {
    const { words } = this;
    const first = this.slotsOf(hash);
    const end = first + SLOTS_WORDS;
    for (let slot = first; slot < end; slot += SLOT_WORDS) {
      if (words[slot + 1] === position && words[slot] === hash) return slot;
    }
    return -1;
  }

  /** Whether the hash is one of those that its set missed last; it is from now on. */
  wasMissed(hash: number): boolean {
    const { words } = this;
    const missed = this.slotsOf(hash) - SLOTS_OFFSET;
    if (words[missed] === hash || words[missed + 1] === hash) return true;
    this.noteMissed(hash);
    return false;
  }

  noteMissed(hash: number): void {
    const { words } = this;
    const missed = this.slotsOf(hash) - SLOTS_OFFSET;
    words[missed + 1] = words[missed];
    words[missed] = hash;
  }

  clear(): void {
    this.words.fill(NOWHERE);
  }
}
