/**
 * KeyBatch: keys to look up together, and their ordinals once that is done.
 *
 * Parallel arrays that are used again for the next batch. A key is not copied: whoever adds it keeps
 * it as it is until the lookups are done.
 */

/** Keys at first; the arrays grow with the batch. */
const INITIAL_KEYS = 16;

export class KeyBatch {
  count: number;
  /** Key i is keys[i][0, lengths[i]), and hashes[i] its `keyHash`. */
  readonly keys: Uint8Array[];
  lengths: Int32Array;
  hashes: Uint32Array;
  /** What the caller knows the key by. */
  places: Int32Array;
  /** Answers of the last lookup: ordinals, or -1 for keys that are not there. */
  ordinals: Int32Array;

  constructor() {
    this.count = 0;
    this.keys = [];
    this.lengths = new Int32Array(INITIAL_KEYS);
    this.hashes = new Uint32Array(INITIAL_KEYS);
    this.places = new Int32Array(INITIAL_KEYS);
    this.ordinals = new Int32Array(INITIAL_KEYS);
  }

  /** Adds key[0, length), which must not change until the lookup. */
  push(key: Uint8Array, length: number, hash: number, place: number): void {
    const i = this.count++;
    if (i === this.lengths.length) this.grow();
    this.keys[i] = key;
    this.lengths[i] = length;
    this.hashes[i] = hash;
    this.places[i] = place;
  }

  /** Lets go of the keys, so that others can be added. */
  clear(): void {
    this.count = 0;
    this.keys.length = 0;
  }

  private grow(): void {
    const capacity = this.lengths.length * 2;
    const lengths = new Int32Array(capacity);
    const hashes = new Uint32Array(capacity);
    const places = new Int32Array(capacity);
    lengths.set(this.lengths);
    hashes.set(this.hashes);
    places.set(this.places);
    this.lengths = lengths;
    this.hashes = hashes;
    this.places = places;
    this.ordinals = new Int32Array(capacity);
  }
}
