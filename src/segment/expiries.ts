/**
 * Expiries: which entries of a segment expire, and when.
 *
 * Most segments have no such entries, and then no such section. The ordinals of those that expire are
 * a bitmap, and the rank of an ordinal in it says which of the offsets is its own. Before the earliest
 * expiry nothing else is looked at. The quartiles say, without a look at each, how many have expired
 * at the least, which is what compaction asks.
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

export class Expiries {
  readonly count: number;
  /** The earliest expiry, those by which each further quarter has expired, and so the latest last. */
  readonly quartiles: readonly number[];
  private readonly keyCount: number;
  private readonly ordinals: OrdinalSet;
  private readonly width: number;
  private readonly offsets: Uint8Array;
  /** Made when `at` a moment after the first expiry is asked for. */
  private timeline: ExpiryTimeline | undefined;
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
    this.timeline = undefined;
    this.knownOrdinal = -1;
    this.knownRank = 0;
  }

  get byteLength(): number {
    const { ordinals, offsets, timeline } = this;
    return ordinals.byteLength + offsets.byteLength + (timeline?.byteLength ?? 0);
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

  /** Costs as much as has expired since the moment of the last call; the first call sorts all. */
  private timelineAt(time: number): ExpiryTimeline {
    this.timeline ??= new ExpiryTimeline(this.ordinalsInTime(), this.keyCount, (ordinal) =>
      this.at(ordinal),
    );
    this.timeline.moveTo(time);
    return this.timeline;
  }

  private ordinalsInTime(): Uint32Array {
    const { count, keyCount, ordinals, quartiles } = this;
    const byRank = new Uint32Array(count);
    let rank = 0;
    for (let ordinal = 0; ordinal < keyCount; ordinal++) {
      if (ordinals.has(ordinal)) byRank[rank++] = ordinal;
    }
    const span = quartiles[PARTS] - quartiles[0] + 1;
    if (span * count > Number.MAX_SAFE_INTEGER) {
      return byRank.sort((a, b) => this.at(a) - this.at(b));
    }
    // Offset and rank as one number sort several times as fast as by a comparison.
    const packed = new Float64Array(count);
    for (let i = 0; i < count; i++) packed[i] = this.offsetAt(i) * count + i;
    packed.sort();
    return Uint32Array.from(packed, (each) => byRank[each % count]);
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
