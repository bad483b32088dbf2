/**
 * Registry: the states written so far that a new state may turn out to equal.
 *
 * A hash table of bounded size: buckets of four cells, the most recently used first. A state that
 * is found moves to the front of its bucket, a new one pushes the last one out. Forgetting a state
 * costs bytes (an equal one may be written again), never correctness, so the size of the table
 * trades memory against the size of the result: 8 bytes a cell. The default of 32,768 cells stays in
 * the processor's cache.
 *
 * Beside its address a cell holds what the bytes of a state do not say: where its last transition
 * leads (a short tail may have been copied behind the state, which hides where it came from). All
 * else is compared with the bytes themselves, in StateWriter.equals.
 *
 * Source: the same idea, with buckets of two, in BurntSushi/fst: src/raw/registry.rs.
 */
import type { StateWriter, Transitions } from "./state-writer.ts";

/** Cells of a bucket: two cost 1 % more bytes on URLs than four, eight gain 0.3 % (bench frozen-layer). */
const BUCKET_CELLS = 4;

/** Fields of a cell. An address of 0 is a free cell: no state but END has it. */
const ADDRESS = 0;
const LAST_TARGET = 1;
const CELL_FIELDS = 2;
const BUCKET_FIELDS: number = BUCKET_CELLS * CELL_FIELDS;
/** A shift, since a product of 32 bits might need more, and would become a float. */
const BUCKET_SHIFT: number = Math.log2(BUCKET_FIELDS);

/** Where the hash of a final state begins. */
const FINAL_SEED = 0x2545f491;

export class Registry {
  private readonly cells: Int32Array;
  /** The hash's top bits choose the bucket. */
  private readonly shift: number;

  /** `cellCount` is rounded up to a power of two, at least one bucket. */
  constructor(cellCount: number) {
    const bucketBits = Math.max(0, Math.ceil(Math.log2(cellCount / BUCKET_CELLS)));
    this.cells = new Int32Array(2 ** bucketBits * BUCKET_FIELDS);
    this.shift = 32 - bucketBits;
  }

  /** Where the state with these transitions (from `start` to the top) has its cells. */
  bucketOf(isFinal: boolean, transitions: Transitions, start: number): number {
    const { labels, targets } = transitions;
    const end = transitions.length;
    let hash = isFinal ? FINAL_SEED : 0;
    for (let i = start; i < end; i++) hash = mix(hash, labels[i], targets[i]);
    return this.bucket(hash);
  }

  /** The same for a state that is not final and has one transition. */
  bucketOfOne(label: number, target: number): number {
    return this.bucket(mix(0, label, target));
  }

  /** Address of the equal state in `bucket`, which moves to its front; 0 if there is none. */
  find(
    bucket: number,
    isFinal: boolean,
    transitions: Transitions,
    start: number,
    states: StateWriter,
  ): number {
    const { cells } = this;
    const lastTarget = transitions.targets[transitions.length - 1];
    const bucketEnd = bucket + BUCKET_FIELDS;
    for (let cell = bucket; cell < bucketEnd; cell += CELL_FIELDS) {
      const address = cells[cell + ADDRESS];
      if (address === 0) return 0;
      if (cells[cell + LAST_TARGET] !== lastTarget) continue;
      if (!states.equals(address, isFinal, transitions, start)) continue;
      this.placeFirst(bucket, cell, address, lastTarget);
      return address;
    }
    return 0;
  }

  /** The same for a state that is not final and has one transition. */
  findOne(bucket: number, label: number, target: number, states: StateWriter): number {
    const { cells } = this;
    const bucketEnd = bucket + BUCKET_FIELDS;
    for (let cell = bucket; cell < bucketEnd; cell += CELL_FIELDS) {
      const address = cells[cell + ADDRESS];
      if (address === 0) return 0;
      if (cells[cell + LAST_TARGET] !== target || !states.isOne(address, label)) continue;
      if (cell > bucket) this.placeFirst(bucket, cell, address, target);
      return address;
    }
    return 0;
  }

  /** Remembers a state that was just written, at the cost of the bucket's least recently used. */
  add(bucket: number, address: number, lastTarget: number): void {
    this.placeFirst(bucket, bucket + BUCKET_FIELDS - CELL_FIELDS, address, lastTarget);
  }

  private bucket(hash: number): number {
    const mixed = Math.imul(hash, 0xc2b2ae35);
    // A shift by 32 is a shift by 0 in JavaScript, so a table of one bucket is its own case.
    return this.shift === 32 ? 0 : (mixed >>> this.shift) << BUCKET_SHIFT;
  }

  /** Moves the cells from the bucket's first up to `cell` back by one, over `cell`. */
  private placeFirst(bucket: number, cell: number, address: number, lastTarget: number): void {
    const { cells } = this;
    for (let to = cell; to > bucket; to -= CELL_FIELDS) {
      cells[to + ADDRESS] = cells[to - CELL_FIELDS + ADDRESS];
      cells[to + LAST_TARGET] = cells[to - CELL_FIELDS + LAST_TARGET];
    }
    cells[bucket + ADDRESS] = address;
    cells[bucket + LAST_TARGET] = lastTarget;
  }
}

function mix(hash: number, label: number, target: number): number {
  const mixed = Math.imul(hash ^ label ^ Math.imul(target, 0x9e3779b1), 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}
