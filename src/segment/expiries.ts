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

/** Which ordinals have expired, throughout a period. */
export interface Expired extends Period {
  /** Undefined where none has. */
  readonly ordinals: OrdinalSet | undefined;
}

export class Expiries {
  readonly count: number;
  /** The earliest expiry, those by which each further quarter has expired, and so the latest last. */
  readonly quartiles: readonly number[];
  private readonly keyCount: number;
  private readonly ordinals: OrdinalSet;
  private readonly width: number;
  private readonly offsets: Uint8Array;
  /** What `expiredAt` said last. */
  private expired: Expired | undefined;

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
    this.expired = undefined;
  }

  get byteLength(): number {
    const { ordinals, offsets, expired } = this;
    return ordinals.byteLength + offsets.byteLength + (expired?.ordinals?.byteLength ?? 0);
  }

  get earliest(): number {
    return this.quartiles[0];
  }

  /** When the entry at `ordinal` expires, or NEVER. */
  at(ordinal: number): number {
    if (!this.ordinals.has(ordinal)) return NEVER;
    return this.earliest + this.offsetAt(this.ordinals.before(ordinal));
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

  /** The entries that have expired at a moment. Walks them all, unless it is as it was when last asked. */
  expiredAt(time: number): Expired {
    if (this.expired === undefined || !isWithin(this.expired, time)) {
      this.expired = this.findExpired(time);
    }
    return this.expired;
  }

  private findExpired(time: number): Expired {
    const { earliest, ordinals, keyCount } = this;
    let from = Number.NEGATIVE_INFINITY;
    if (time < earliest) return { ordinals: undefined, from, until: earliest };
    let until = Number.POSITIVE_INFINITY;
    const builder = new OrdinalSetBuilder();
    let index = 0;
    for (let ordinal = 0; ordinal < keyCount; ordinal++) {
      if (!ordinals.has(ordinal)) continue;
      const expiry = earliest + this.offsetAt(index++);
      if (expiry <= time) {
        builder.add(ordinal);
        if (expiry > from) from = expiry;
      } else if (expiry < until) {
        until = expiry;
      }
    }
    const bits = builder.finish(keyCount);
    const expired = new OrdinalSet(
      bits,
      keyCount,
      builder.count,
      "expired ordinals",
      "<memory>",
      0,
    );
    return { ordinals: expired, from, until };
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
