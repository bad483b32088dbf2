/**
 * Expiries: which entries of a segment expire, and when.
 *
 * Most segments have no such entries, and then no such section. The ordinals of those that expire
 * are a bitmap, and the rank of an ordinal in it says which of the offsets is its own. Before the
 * earliest expiry nothing else is looked at. The quartiles say, without a look at each, how many
 * have expired at the least, which is what compaction asks.
 *
 * offset 0       4           44      48         48 + ((keyCount + 7) >> 3)
 *        +-------+-----------+-------+----------+---------+
 *        | count | quartiles | width | ordinals | offsets |
 *        +-------+-----------+-------+----------+---------+
 * count      u32 LE  entries that expire, 1 to keyCount
 * quartiles  u53 LE  in 8 bytes, five of them: the earliest expiry; by when a quarter, half and three
 *                    quarters of the entries expire; the latest expiry. At least 1 and below NEVER
 * width      u32 LE  bytes of each offset, 0 to MAX_WIDTH
 * ordinals           those that expire, drawn in format.ts; none of them is a tombstone's
 * offsets    width bytes each, LE: expiry - earliest, in the order of their ordinals
 */
import { readU32, readU53 } from "../bytes/fixed.ts";
import { ByteWriter } from "../bytes/writer.ts";
import { NEVER, type Period } from "../entry.ts";
import { ExpiryTimeline } from "./expiry-timeline.ts";
import { expectAtLeast, expectAtMost, expectNumber } from "./format.ts";
import { OrdinalSet, OrdinalSetBuilder } from "./ordinal-set.ts";

/** The parts that the entries are counted in. */
const PARTS = 4;

const COUNT_OFFSET = 0;
const QUARTILES_OFFSET = COUNT_OFFSET + 4;
const WIDTH_OFFSET = QUARTILES_OFFSET + (PARTS + 1) * 8;
const ORDINALS_OFFSET = WIDTH_OFFSET + 4;

/** Differences below 2^53 need no more bytes. */
const MAX_WIDTH = 7;

export class ExpiryBuilder {
  private readonly ordinals: OrdinalSetBuilder;
  private expiries: Float64Array;

  constructor() {
    this.ordinals = new OrdinalSetBuilder();
    this.expiries = new Float64Array(0);
  }

  /** Ordinals ascend. */
  add(ordinal: number, expiry: number): void {
    const index = this.ordinals.count;
    if (index === this.expiries.length) {
      const grown = new Float64Array(Math.max(256, 2 * index));
      grown.set(this.expiries);
      this.expiries = grown;
    }
    this.expiries[index] = expiry;
    this.ordinals.add(ordinal);
  }

  /** Bytes of the section, about. */
  get estimatedBytes(): number {
    return this.ordinals.count * MAX_WIDTH;
  }

  /** The section for a segment of `keyCount` keys: empty if none of them expires. */
  finish(keyCount: number): Uint8Array {
    const writer = new ByteWriter();
    const { count } = this.ordinals;
    if (count === 0) return writer.bytes;
    const expiries = this.expiries.subarray(0, count);
    const quartiles = quartilesOf(expiries);
    const earliest = quartiles[0];
    let width = 0;
    for (let rest = quartiles[PARTS] - earliest; rest > 0; rest = Math.floor(rest / 0x100)) width++;
    writer.u32(count);
    for (const quartile of quartiles) writer.u53(quartile);
    writer.u32(width);
    writer.append(this.ordinals.finish(keyCount));
    for (let i = 0; i < count; i++) {
      let rest = expiries[i] - earliest;
      for (let byte = 0; byte < width; byte++) {
        writer.u8(rest % 0x100);
        rest = Math.floor(rest / 0x100);
      }
    }
    return writer.bytes;
  }
}

/** The earliest of some expiries, and by when each further quarter of them has come. */
export function quartilesOf(expiries: Float64Array): number[] {
  const sorted = expiries.slice().sort();
  const quartiles = [sorted[0]];
  for (let part = 1; part <= PARTS; part++)
    quartiles.push(sorted[reached(sorted.length, part) - 1]);
  return quartiles;
}

/** How many of `count` entries have expired at the quartile of a part. */
function reached(count: number, part: number): number {
  return Math.max(1, Math.ceil((count * part) / PARTS));
}

/** Over the same ordinals: one at the latest moment that was asked about, one at an earlier one. */
interface Timelines {
  readonly newest: ExpiryTimeline;
  readonly past: ExpiryTimeline;
}

export class Expiries {
  readonly count: number;
  /** The earliest expiry, those by which each further quarter has expired, and so the latest last. */
  readonly quartiles: readonly number[];
  private readonly keyCount: number;
  private readonly ordinals: OrdinalSet;
  private readonly width: number;
  private readonly offsets: Uint8Array;
  /** Made when a moment after the first expiry is asked about. */
  private timelines: Timelines | undefined;
  /** An ordinal that was asked about, and its rank: a walk asks for its neighbour next. */
  private knownOrdinal: number;
  private knownRank: number;

  /** Takes the section, which is not empty and whose checksum the caller has checked. Throws CorruptionError. */
  constructor(bytes: Uint8Array, keyCount: number, file: string, fileOffset: number) {
    expectAtLeast(bytes.length, ORDINALS_OFFSET, "length of the expiries", file, fileOffset);
    this.keyCount = keyCount;
    this.count = readU32(bytes, COUNT_OFFSET);
    expectAtLeast(this.count, 1, "number of expiries", file, fileOffset);
    expectAtMost(this.count, keyCount, "number of expiries", file, fileOffset);
    const quartiles: number[] = [];
    for (let part = 0; part <= PARTS; part++) {
      const quartile = readU53(bytes, QUARTILES_OFFSET + part * 8);
      const least = quartiles.at(-1) ?? 1;
      expectAtLeast(quartile, least, "a quartile of expiries", file, fileOffset);
      expectAtMost(quartile, NEVER - 1, "a quartile of expiries", file, fileOffset);
      quartiles.push(quartile);
    }
    this.quartiles = quartiles;
    this.width = readU32(bytes, WIDTH_OFFSET);
    expectAtMost(this.width, MAX_WIDTH, "width of the expiries", file, fileOffset);
    const offsetsStart = ORDINALS_OFFSET + ((keyCount + 7) >> 3);
    const end = offsetsStart + this.count * this.width;
    expectNumber(bytes.length, end, "length of the expiries", file, fileOffset);
    const ordinals = bytes.subarray(ORDINALS_OFFSET, offsetsStart);
    const what = "ordinals that expire";
    this.ordinals = new OrdinalSet(ordinals, keyCount, this.count, what, file, fileOffset);
    this.offsets = bytes.subarray(offsetsStart);
    this.timelines = undefined;
    this.knownOrdinal = -1;
    this.knownRank = 0;
  }

  get byteLength(): number {
    const { ordinals, offsets, timelines } = this;
    const bytes = ordinals.byteLength + offsets.byteLength;
    if (timelines === undefined) return bytes;
    const { newest, past } = timelines;
    return bytes + newest.ordinals.byteLength + newest.byteLength + past.byteLength;
  }

  get earliest(): number {
    return this.quartiles[0];
  }

  /** When the entry at `ordinal` expires, or NEVER. */
  at(ordinal: number): number {
    if (!this.ordinals.has(ordinal)) return NEVER;
    return this.earliest + this.offsetAt(this.rankOf(ordinal));
  }

  /** Whether the entry at `ordinal` has expired at a moment. */
  hasExpired(ordinal: number, time: number): boolean {
    return time >= this.earliest && this.at(ordinal) <= time;
  }

  /** How many entries have expired at a moment, at the least: all but a quarter of them are counted. */
  countExpired(time: number): number {
    const { count, quartiles } = this;
    for (let part = PARTS; part >= 0; part--) {
      if (quartiles[part] <= time) return reached(count, part);
    }
    return 0;
  }

  /** How many entries have expired at a moment among ordinals [0, ordinal), exactly. */
  countExpiredBefore(ordinal: number, time: number): number {
    return time < this.earliest ? 0 : this.timelineAt(time).before(ordinal);
  }

  /** The longest period around a moment in which nothing expires. */
  periodAt(time: number): Period {
    if (time < this.earliest) return { from: Number.NEGATIVE_INFINITY, until: this.earliest };
    const { from, until } = this.timelineAt(time);
    return { from, until };
  }

  /**
   * The first call sorts all that expires; another costs as much as expires between its moment and
   * that of the last one. Moments after those asked about before, and moments of the past, which
   * snapshots ask about, are two sequences, so that neither is in the way of the other.
   */
  private timelineAt(time: number): ExpiryTimeline {
    this.timelines ??= this.buildTimelines();
    const { newest, past } = this.timelines;
    const timeline = time < newest.from ? past : newest;
    timeline.moveTo(time);
    return timeline;
  }

  private buildTimelines(): Timelines {
    const ordinals = this.ordinalsInTime();
    const expiryOf = (ordinal: number): number => this.at(ordinal);
    return {
      newest: new ExpiryTimeline(ordinals, this.keyCount, expiryOf),
      past: new ExpiryTimeline(ordinals, this.keyCount, expiryOf),
    };
  }

  /** Sorts by one byte of the offsets after the other, the lowest first (TAOCP 3, section 5.2.5). */
  private ordinalsInTime(): Uint32Array {
    const { count, keyCount, ordinals, width, offsets } = this;
    let ranks = new Uint32Array(count);
    for (let rank = 0; rank < count; rank++) ranks[rank] = rank;
    let next = new Uint32Array(count);
    for (let byte = 0; byte < width; byte++) {
      // Where those with each value of the byte are to begin.
      const starts = new Uint32Array(0x101);
      for (let pos = byte; pos < offsets.length; pos += width) starts[offsets[pos] + 1]++;
      for (let value = 1; value < 0x100; value++) starts[value] += starts[value - 1];
      for (let i = 0; i < count; i++) {
        const rank = ranks[i];
        next[starts[offsets[rank * width + byte]]++] = rank;
      }
      [ranks, next] = [next, ranks];
    }
    const byRank = next;
    for (let ordinal = 0, rank = 0; ordinal < keyCount; ordinal++) {
      if (ordinals.has(ordinal)) byRank[rank++] = ordinal;
    }
    for (let i = 0; i < count; i++) ranks[i] = byRank[ranks[i]];
    return ranks;
  }

  /** Rank of an ordinal among those that expire, of which it is one. */
  private rankOf(ordinal: number): number {
    const { ordinals, knownOrdinal } = this;
    if (ordinal === knownOrdinal + 1 && knownOrdinal >= 0) this.knownRank++;
    else if (ordinal === knownOrdinal - 1) this.knownRank--;
    else if (ordinal !== knownOrdinal) this.knownRank = ordinals.before(ordinal);
    this.knownOrdinal = ordinal;
    return this.knownRank;
  }

  private offsetAt(index: number): number {
    const { offsets, width } = this;
    const start = index * width;
    let offset = 0;
    for (let i = start + width - 1; i >= start; i--) offset = offset * 0x100 + offsets[i];
    return offset;
  }
}

/** Whether a moment is within a period. */
export function isWithin({ from, until }: Period, time: number): boolean {
  return from <= time && time < until;
}
