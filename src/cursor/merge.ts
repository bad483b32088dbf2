/**
 * MergeCursor: k cursors as one, in key order, the newest entry of each key hiding the older ones.
 * This is the streaming sorted union that reads over memtables and runs, and compaction, consist of.
 *
 * The sources stand in order of (key, age); the first is the merge's position. A move advances the
 * first one's source and puts it where it belongs among the others; sources left standing at its key
 * are older and are moved on too, so a key is yielded once. A change of direction re-seeks every
 * source around the current key. A step costs one comparison for each source that is passed, and one
 * while the same source goes on. Sources are few: with a heap of them (Knuth, TAOCP 3, section 5.4.1)
 * a step costs as much. Where each source stands is kept here too: to ask it costs more than to
 * compare.
 *
 * Runs are merged by what keys share (Ng and Kakehi, Merging String Sequences by Longest Common
 * Prefixes, 2008). Sources know how much each key shares with the one before it, and of two keys that
 * follow the same one that comes first which shares more with it; only where they share as much is
 * there something to compare, and it begins behind that.
 *
 * Invariants, while valid:
 * 1. Every source in the order stands at an entry, and none sorts before (backward: after) the one
 *    before it.
 * 2. No source but the first stands at its key.
 * 3. Every source not in the order is off its end in the direction of travel.
 */
import { commonPrefixLength, compareRanges } from "../bytes/compare.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import type { EntryKind, ValuePlace } from "../entry.ts";
import type { Cursor } from "./cursor.ts";
import type { EntryRun, RunBound } from "./entry-run.ts";
import { giveBackLookahead, type Lookahead, takeLookahead } from "./lookahead.ts";
import type { ValueView } from "./value-view.ts";

const NO_BYTES = new Uint8Array(0);

/** Runs of fewer entries are read faster one by one; so many are, before the next run is tried. */
const SHORTEST_RUN = 3;
const SINGLES = 8;

export class MergeCursor implements Cursor {
  /** Newest first: at equal keys the lower index wins. */
  private readonly sources: readonly Cursor[];
  /** Indexes into `sources`, in order; the first `size` are in use. */
  private readonly order: number[];
  private size: number;
  /** The key of each source: keys[i][starts[i], ends[i]). Outside of `readRun` it starts at 0. */
  private readonly keys: Uint8Array[];
  private readonly starts: number[];
  private readonly ends: number[];
  private isForward: boolean;
  /** Whether the order's first is not the entry read last, but the one that the next move comes to. */
  private isPast: boolean;
  /** The part that each source had of the last run. */
  private readonly shares: number[];
  /** Entries that are to be read one by one before the next run is tried. */
  private singles: number;
  /** What reading a run threw behind its entries: from then on every move throws it, but a seek. */
  private failure: unknown;
  /** Copy of the current key while sources are re-seeked around it. */
  private pivot: Uint8Array;

  /** `sources`: newest first. Their order of age decides which entry of a key is seen. */
  constructor(sources: readonly Cursor[]) {
    this.sources = sources;
    // Arrays of the usual kind: a merge of two is made for each short range, and a typed one is slow to make.
    this.order = sources.map(() => 0);
    this.size = 0;
    this.keys = sources.map(() => NO_BYTES);
    this.starts = sources.map(() => 0);
    this.ends = sources.map(() => 0);
    this.isForward = true;
    this.isPast = false;
    const runCount = sources.filter((source) => source.peek !== undefined).length;
    this.shares = sources.map(() => 1 / runCount);
    this.singles = 0;
    this.failure = undefined;
    this.pivot = NO_BYTES;
  }

  get isValid(): boolean {
    return this.size > 0;
  }

  get key(): Uint8Array {
    return this.keys[this.order[0]];
  }

  get keyLength(): number {
    return this.ends[this.order[0]];
  }

  get kind(): EntryKind {
    return this.sources[this.order[0]].kind;
  }

  get expiry(): number {
    return this.sources[this.order[0]].expiry;
  }

  /** Index, in the list given to the constructor, of the source that the entry comes from. */
  get sourceIndex(): number {
    return this.order[0];
  }

  appendKey(output: ByteWriter): void {
    this.sources[this.order[0]].appendKey(output);
  }

  value(): Uint8Array {
    return this.sources[this.order[0]].value();
  }

  viewValue(view: ValueView): void {
    this.sources[this.order[0]].viewValue(view);
  }

  viewStored(view: ValueView): ValuePlace | undefined {
    return this.sources[this.order[0]].viewStored(view);
  }

  seekToFirst(): void {
    for (const source of this.sources) source.seekToFirst();
    this.build(true);
  }

  seekToLast(): void {
    for (const source of this.sources) source.seekToLast();
    this.build(false);
  }

  seek(key: Uint8Array, length: number): void {
    for (const source of this.sources) source.seek(key, length);
    this.build(true);
  }

  seekForPrev(key: Uint8Array, length: number): void {
    for (const source of this.sources) source.seekForPrev(key, length);
    this.build(false);
  }

  next(): void {
    if (this.failure !== undefined) throw this.failure;
    if (!this.isForward) this.turn(true);
    else if (this.isPast) this.isPast = false;
    else this.advance(0);
    this.skipHidden();
  }

  prev(): void {
    if (this.failure !== undefined) throw this.failure;
    if (this.isForward) this.turn(false);
    else if (this.isPast) this.isPast = false;
    else this.advance(0);
    this.skipHidden();
  }

  /**
   * Of each source a few keys are peeked at, which are merged, and then the values of those that came
   * out are read: each source decodes its part of the run in one go, instead of one entry a turn.
   *
   * The run ends before a source that cannot be peeked at, such as a memtable's, or a tombstone. Where
   * one is next in the order, the first source is read alone up to its key.
   */
  readRun(run: EntryRun, count: number, bound: RunBound | undefined): number {
    if (this.failure !== undefined) throw this.failure;
    if (this.isForward === run.isReverse) return 0;
    if (this.size > 1 && this.singles > 0) {
      this.singles--;
      return 0;
    }
    if (this.size === 1 || this.sources[this.order[1]].peek === undefined) {
      return this.readAlone(run, count, bound);
    }
    const ahead = takeLookahead();
    ahead.begin(this.sources.length, run);
    const known = run.count;
    const room = Math.min(count, run.capacity - known, ahead.run.capacity);
    let failure: unknown;
    try {
      this.mergeKeys(run, ahead, room, bound);
      if (run.hasValues) this.readValues(run, ahead);
    } catch (error) {
      failure = error;
    }
    const read = run.hasValues ? ahead.valueCount : ahead.count;
    try {
      this.settle(ahead, read);
    } catch (error) {
      failure ??= error;
    }
    giveBackLookahead(ahead);
    if (read === 0 && failure !== undefined) throw failure;
    this.failure = failure;
    run.count = known + read;
    run.endsBlock = read < count;
    return read;
  }

  /** Reads a run of the first source alone, which ends before the key of the second. */
  private readAlone(run: EntryRun, count: number, bound: RunBound | undefined): number {
    const { keys, ends } = this;
    const [first, second] = this.order;
    const source = this.sources[first];
    if (source.readRun === undefined) return 0;
    const isAlone = this.size === 1 || (bound !== undefined && this.isBeyond(second, bound));
    const end = isAlone ? bound : { key: keys[second], length: ends[second], isInclusive: false };
    const read = source.readRun(run, count, end);
    if (read > 0) this.note(first);
    if (!isAlone && read < Math.min(count, SHORTEST_RUN)) this.singles = SINGLES;
    return read;
  }

  close(): void {
    this.size = 0;
    for (const source of this.sources) source.close?.();
  }

  /** Merges keys of the sources behind those of the run, at most `count`. */
  private mergeKeys(
    run: EntryRun,
    ahead: Lookahead,
    count: number,
    bound: RunBound | undefined,
  ): void {
    const { order } = this;
    for (let i = 1; i < this.size; i++) {
      ahead.shared[i] = this.sharedBytes(order[i - 1], order[i], 0);
    }
    while (this.size > 0) {
      const first = order[0];
      if (ahead.peeked[first] === 0) {
        if (ahead.count > 0 && bound !== undefined) {
          if (this.isBeyond(first, bound)) break;
        }
        if (!this.lookAhead(first, run, ahead, count, bound)) break;
      }
      ahead.take(first, run);
      if (ahead.count === count || run.keys.length >= run.maxBytes) return;
      while (this.size > 1 && this.isHidden(ahead)) {
        if (!this.pass(1, run, ahead)) return;
      }
      if (!this.pass(0, run, ahead)) return;
    }
    this.isPast = ahead.count > 0;
  }

  /** Whether the second source stands at the key of the first. */
  private isHidden({ shared }: Lookahead): boolean {
    const { order, starts, ends } = this;
    const length = ends[order[0]] - starts[order[0]];
    return shared[1] === length && ends[order[1]] - starts[order[1]] === length;
  }

  /**
   * Peeks at keys of source `index`: its share of those to come, which are up to `count`, or as many as
   * there is room for if they are as long as this one. False where that cannot be.
   */
  private lookAhead(
    index: number,
    target: EntryRun,
    ahead: Lookahead,
    count: number,
    bound: RunBound | undefined,
  ): boolean {
    const source = this.sources[index];
    const room =
      (target.maxBytes - target.keys.length) / (this.ends[index] - this.starts[index] + 1);
    const rest = Math.min(count - ahead.count, Math.max(Math.ceil(room), 1));
    const wanted = Math.min(Math.ceil(rest * this.shares[index]) + 1, rest);
    const found = source.peek?.(ahead.run, wanted, bound) ?? 0;
    if (found === 0) {
      if (ahead.count < SHORTEST_RUN) this.singles = SINGLES;
      return false;
    }
    ahead.add(index, found);
    this.notePeeked(index, ahead);
    return true;
  }

  /**
   * Moves the source at a place of the order on from the key of the first one, which is its own, and
   * puts it where it belongs. False where values had to be read before, and there was no room for all.
   */
  private pass(from: number, run: EntryRun, ahead: Lookahead): boolean {
    const { order } = this;
    const { shared, passed } = ahead;
    const index = order[from];
    // Bytes that its key shares with the one before the place reached.
    let common: number;
    if (passed[index] + 1 < ahead.peeked[index]) {
      passed[index]++;
      this.notePeeked(index, ahead);
      common = ahead.run.keyShared[ahead.firsts[index] + passed[index]];
    } else {
      if (run.hasValues && !this.readValues(run, ahead)) return false;
      common = this.stepBehind(index, ahead);
      if (common < 0) {
        this.remove(from);
        for (let place = from; place < this.size; place++) shared[place] = shared[place + 1];
        return true;
      }
    }
    let place = from;
    for (; place + 1 < this.size; place++) {
      const next = shared[place + 1];
      if (common > next) break;
      if (common === next) {
        const other = order[place + 1];
        const longer = this.sharedBytes(index, other, common);
        if (this.isBefore(index, other, longer)) {
          shared[place + 1] = longer;
          break;
        }
        common = longer;
      }
      order[place] = order[place + 1];
      shared[place] = next;
    }
    order[place] = index;
    shared[place] = common;
    return true;
  }

  /**
   * Moves source `index` itself behind the keys that were peeked at. Returns how many bytes its key
   * shares with the one that it leaves, which is that of the first source; below 0 off the end.
   */
  private stepBehind(index: number, ahead: Lookahead): number {
    const { keys, starts, ends, order } = this;
    const key = keys[order[0]];
    const start = starts[order[0]];
    const end = ends[order[0]];
    const source = this.sources[index];
    if (ahead.peeked[index] > 0) {
      const skip = ahead.passed[index];
      source.moveAhead?.(ahead.run, ahead.firsts[index] + skip, skip);
      ahead.peeked[index] = 0;
    }
    if (this.isForward) source.next();
    else source.prev();
    if (!this.note(index)) return -1;
    return commonPrefixLength(keys[index], 0, ends[index], key, start, end);
  }

  /**
   * Takes the key of source `index` that was peeked at for the one at which it stands. The buffer may
   * be replaced when others are peeked at, but the bytes in this one stay.
   */
  private notePeeked(index: number, { run, firsts, passed }: Lookahead): void {
    const slot = firsts[index] + passed[index];
    this.keys[index] = run.keys.buffer;
    this.starts[index] = run.keyStarts[slot];
    this.ends[index] = run.keyEnds[slot];
  }

  /** Reads the values of the merged entries that have none yet; false where there is no room for all. */
  private readValues(run: EntryRun, ahead: Lookahead): boolean {
    while (ahead.valueCount < ahead.count) {
      const i = ahead.valueCount;
      const wanted = ahead.stretchFrom(i);
      const source = this.sources[ahead.owners[i]];
      const read = source.appendValues?.(run, ahead.skips[i], wanted) ?? 0;
      ahead.valueCount += read;
      if (read < wanted) return false;
    }
    return true;
  }

  /** Moves the sources themselves to where they are behind, or at the last of, the entries that were read. */
  private settle(ahead: Lookahead, read: number): void {
    const { sources, shares } = this;
    const { run, firsts, peeked, passed, taken } = ahead;
    const isCut = read < ahead.count;
    if (isCut) {
      ahead.cut(read);
      this.isPast = read > 0;
    }
    for (let i = 0; i < sources.length; i++) {
      if (read >= SHORTEST_RUN) shares[i] = taken[i] / read;
      if (peeked[i] === 0) continue;
      sources[i].moveAhead?.(run, firsts[i] + passed[i], passed[i]);
      this.note(i);
    }
    if (isCut) this.sort();
    this.skipHidden();
  }

  /** Puts every source past the current key in the new direction. */
  private turn(isForward: boolean): void {
    const len = this.keyLength;
    if (this.pivot.length < len) this.pivot = new Uint8Array(len * 2);
    const pivot = this.pivot;
    pivot.set(this.key.subarray(0, len));
    for (const source of this.sources) {
      if (isForward) source.seek(pivot, len);
      else source.seekForPrev(pivot, len);
      const isAtPivot =
        source.isValid && compareRanges(source.key, 0, source.keyLength, pivot, 0, len) === 0;
      if (isAtPivot) {
        if (isForward) source.next();
        else source.prev();
      }
    }
    this.build(isForward);
  }

  /** Makes the order anew from the sources' positions. */
  private build(isForward: boolean): void {
    this.isForward = isForward;
    this.isPast = false;
    this.singles = 0;
    this.failure = undefined;
    this.size = 0;
    for (let i = 0; i < this.sources.length; i++) {
      if (this.note(i)) this.order[this.size++] = i;
    }
    this.sort();
    this.skipHidden();
  }

  private sort(): void {
    for (let place = this.size - 2; place >= 0; place--) this.putBack(place);
  }

  /** Keeps the key at which source `index` stands; false where it is off its end. */
  private note(index: number): boolean {
    const source = this.sources[index];
    if (!source.isValid) return false;
    this.keys[index] = source.key;
    this.starts[index] = 0;
    this.ends[index] = source.keyLength;
    return true;
  }

  /** Moves the source at a place of the order one step, and puts it where it belongs then. */
  private advance(place: number): void {
    const { order } = this;
    const index = order[place];
    if (this.isForward) this.sources[index].next();
    else this.sources[index].prev();
    if (this.note(index)) this.putBack(place);
    else this.remove(place);
  }

  private remove(from: number): void {
    this.size--;
    for (let place = from; place < this.size; place++) this.order[place] = this.order[place + 1];
  }

  /** Puts the source at a place of the order, behind which all is in order, where it belongs. */
  private putBack(from: number): void {
    const { order, size } = this;
    const index = order[from];
    let place = from;
    for (; place + 1 < size; place++) {
      const other = order[place + 1];
      if (this.isBefore(index, other, 0)) break;
      order[place] = other;
    }
    order[place] = index;
  }

  /** Moves on the older sources that stand at the key of the first. */
  private skipHidden(): void {
    while (this.size > 1 && this.isAtFirstKey(this.order[1])) this.advance(1);
  }

  private isAtFirstKey(other: number): boolean {
    const { keys, starts, ends } = this;
    const first = this.order[0];
    const length = ends[first] - starts[first];
    if (ends[other] - starts[other] !== length) return false;
    // Neighbours in key order differ late: the last byte tells most of them apart.
    if (length > 0 && keys[first][ends[first] - 1] !== keys[other][ends[other] - 1]) return false;
    return this.sharedBytes(first, other, 0) === length;
  }

  /** Whether the key of source `index` is not within a bound, in the direction of travel. */
  private isBeyond(index: number, bound: RunBound): boolean {
    const { keys, starts, ends } = this;
    const { key, length, isInclusive } = bound;
    const order = compareRanges(keys[index], starts[index], ends[index], key, 0, length);
    if (order === 0) return !isInclusive;
    return this.isForward === order > 0;
  }

  /** Bytes that the keys of sources x and y share, of which the first `known` are known to be. */
  private sharedBytes(x: number, y: number, known: number): number {
    const { keys, starts, ends } = this;
    return (
      known +
      commonPrefixLength(keys[x], starts[x] + known, ends[x], keys[y], starts[y] + known, ends[y])
    );
  }

  /**
   * Whether source x is yielded before source y: by key in the direction of travel, then by age. The
   * first `known` bytes of their keys are known to be the same.
   */
  private isBefore(x: number, y: number, known: number): boolean {
    const { keys, starts, ends } = this;
    const order = compareRanges(
      keys[x],
      starts[x] + known,
      ends[x],
      keys[y],
      starts[y] + known,
      ends[y],
    );
    if (order === 0) return x < y;
    return this.isForward === order < 0;
  }
}
