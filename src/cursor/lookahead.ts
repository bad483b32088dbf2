/**
 * Lookahead: what a merge has seen of the keys ahead of its sources, while it reads a run.
 *
 * Of each source that the run has come to, a few keys were peeked at. They lie behind the keys of the
 * run, those of each source one after the other; `passed` of them went into the run or were hidden by
 * newer ones. Of each merged entry it is known whose it is, so that values are read, source by source,
 * when the keys are merged.
 *
 * To make one costs more than a short run: they are kept for who needs one next.
 */
import { EntryRun } from "./entry-run.ts";

/** Keys that are peeked at together, of all sources; the merged run is shorter by far. */
const CAPACITY = 256;
/** Of sources whose keys are long, few are peeked at. */
const MAX_KEY_BYTES = 2048;

export class Lookahead {
  /** The keys of all sources. Their bytes are those of the run that is read. */
  readonly run: EntryRun;
  /** Of each source: the slot of its first key, how many it has, and how many of them are passed. */
  readonly firsts: number[];
  readonly peeked: number[];
  readonly passed: number[];
  /** How many merged entries are from each source. */
  readonly taken: number[];
  /** Bytes that the key of the source at each place in the merge's order shares with the one before. */
  readonly shared: number[];
  /** Of each merged entry: the source it is from, and how many of that source's lie before it. */
  readonly owners: Int32Array;
  readonly skips: Int32Array;
  /** Entries that the target had before, those that were merged, and how many of them have their values. */
  first: number;
  count: number;
  valueCount: number;

  constructor() {
    this.run = new EntryRun(CAPACITY, MAX_KEY_BYTES);
    this.firsts = [];
    this.peeked = [];
    this.passed = [];
    this.taken = [];
    this.shared = [];
    this.owners = new Int32Array(CAPACITY);
    this.skips = new Int32Array(CAPACITY);
    this.first = 0;
    this.count = 0;
    this.valueCount = 0;
  }

  /** Forgets everything, for a merge of `sourceCount` that reads into `target`. */
  begin(sourceCount: number, target: EntryRun): void {
    const { run, peeked, passed, taken } = this;
    run.count = 0;
    run.keys = target.keys;
    run.isReverse = target.isReverse;
    run.hasValues = target.hasValues;
    for (let i = 0; i < sourceCount; i++) {
      peeked[i] = 0;
      passed[i] = 0;
      taken[i] = 0;
    }
    this.first = target.count;
    this.count = 0;
    this.valueCount = 0;
  }

  /** Adds the `count` keys of source `index` that were just peeked at. */
  add(index: number, count: number): void {
    this.firsts[index] = this.run.count;
    this.peeked[index] = count;
    this.passed[index] = 0;
    this.run.count += count;
  }

  /** Makes the key at which source `index` stands that of the next merged entry, in `target`. */
  take(index: number, target: EntryRun): void {
    const { run, count } = this;
    const skip = this.passed[index];
    const slot = this.firsts[index] + skip;
    const targetSlot = this.first + count;
    target.keyStarts[targetSlot] = run.keyStarts[slot];
    target.keyEnds[targetSlot] = run.keyEnds[slot];
    this.owners[count] = index;
    this.skips[count] = skip;
    this.taken[index]++;
    this.count = count + 1;
  }

  /** Drops the merged entries from `count` on: their sources come to them once more. */
  cut(count: number): void {
    const { passed, taken, owners, skips } = this;
    for (let i = this.count - 1; i >= count; i--) {
      passed[owners[i]] = skips[i];
      taken[owners[i]]--;
    }
    this.count = count;
  }

  /** How many merged entries from entry `i` on lie one after the other in one source. */
  stretchFrom(i: number): number {
    const { owners, count } = this;
    let end = i + 1;
    // Where one of the source's keys is hidden, the newer entry that hides it lies between.
    while (end < count && owners[end] === owners[i]) end++;
    return end - i;
  }
}

/** One that was given back. A run that is read while another is, by a file system's code, makes its own. */
let spare: Lookahead | undefined;

export function takeLookahead(): Lookahead {
  const lookahead = spare ?? new Lookahead();
  spare = undefined;
  return lookahead;
}

export function giveBackLookahead(lookahead: Lookahead): void {
  spare = lookahead;
}
