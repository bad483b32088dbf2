/**
 * SegmentCoders: how a segment codes its keys and values, learnt from a sample before it is written.
 *
 * Keys always get a symbol table. For values there are four ways, and the sample decides: symbols
 * and key tokens, each value on its own, where they do about as well as deflated blocks; deflated
 * blocks, where those are clearly smaller, as with most long values; packed integers, where all are
 * integers; raw blocks, where nothing shrinks them. Tables and dictionaries are scaled to what they
 * will code: they are stored with the segment, and a large one in a small segment costs more than
 * it saves.
 *
 * One set of coders may serve all segments of a run. What a flush writes is coded by none: it is
 * written as it came, and coded by the compaction after it.
 */
import { ByteWriter } from "../bytes/writer.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import type { Pieces } from "../pieces.ts";
import { KeyStretches } from "../symbols/key-stretches.ts";
import { type SymbolTable, singleByteTable } from "../symbols/table.ts";
import {
  learnSymbols,
  MAX_SAMPLE_BYTES,
  SymbolSampler,
  symbolCountFor,
} from "../symbols/training.ts";
import { MAX_DICTIONARY_BYTES } from "./deflate.ts";
import { writeDictionary } from "./dictionary.ts";
import type { EntrySample } from "./entry-sample.ts";
import { integerOf } from "./packed-integers.ts";
import { stringHeaderBytes } from "./string-header.ts";
import { BlockEncoding, type ValueCoders } from "./value-block.ts";
import { ValueBlockBuilder } from "./value-block-builder.ts";

/**
 * How values are compressed: `auto` lets the sample decide, `none` stores them as they are;
 * `symbols` and `deflate` insist on one way.
 */
export type ValueCompression = "auto" | "none" | "symbols" | "deflate";

export interface SegmentCoders extends ValueCoders {
  readonly keySymbols: SymbolTable;
  /** Whether they leave everything as it is, for a compaction to code. Default false. */
  readonly isUncoded?: boolean;
}

export interface CodingOptions {
  readonly compression: ValueCompression;
}

/** Training time grows with the sample, so that of a small segment is a part of what it will code. */
const SAMPLE_PART = 8;
const MIN_SAMPLE_BYTES = 64 << 10;

/** Sample values that are encoded to compare encodings. */
const TRIAL_BYTES = 256 << 10;
/** Of keys and of values each, what is encoded to see how coders do. */
const RATE_BYTES = 64 << 10;
/**
 * What symbols may take more than deflate and still be chosen, since a point read decodes one value
 * and inflates no block. Where values are short, that is 20 times faster and worth much: symbols are
 * also chosen where they leave less than SHORT_PART. Where values are long, it is 5 times faster;
 * they are parsed greedily, since the shortest parse takes 50 us for 1 KB.
 */
const LONG_MEAN_BYTES = 256;
const SHORT_FACTOR = 1.5;
const SHORT_PART = 0.3;
const LONG_FACTOR = 1.1;
/** What shrinks to no less than this part is stored raw. */
const MIN_GAIN_FACTOR = 0.95;
/** A dictionary of a 32nd of the values costs about 1% and gains 5% (1 KB documents). */
const DICTIONARY_PART = 32;
/**
 * Stretches of the key from this length on are cut out of what symbols are learnt from. Shorter ones
 * are words that are common elsewhere too: 6 makes npm's URLs 0.7% larger, and no cut 2.4%.
 */
const MIN_CUT_BYTES = 12;
/** What takes about a millisecond: suffixes to copy, and values to look for stretches of the key in. */
const PIECE_SUFFIXES = 1 << 13;
const PIECE_VALUE_BYTES = 32 << 10;

/**
 * What a flush writes with: keys and values as they are. To learn and to code took two thirds of a
 * flush, for files that a compaction soon reads, decodes and codes anew; without, writers who outrun
 * the background are held back less (RocksDB leaves its upper levels uncompressed for the same
 * reason: "RocksDB Tuning Guide", compression).
 */
export const UNCODED: SegmentCoders = {
  keySymbols: singleByteTable(),
  isUncoded: true,
  valueEncoding: BlockEncoding.raw,
  valueSymbols: undefined,
  dictionary: new Uint8Array(0),
};

/** Learns from the sample. Takes up to half a second for a large segment, milliseconds for a small one. */
export function* learnCoders(
  sample: EntrySample,
  expected: { readonly keyCount: number },
  options: CodingOptions,
): Pieces<SegmentCoders> {
  const { compression } = options;
  const raw: SegmentCoders = {
    keySymbols: yield* learnKeySymbols(sample, expected.keyCount),
    valueEncoding: BlockEncoding.raw,
    valueSymbols: undefined,
    dictionary: new Uint8Array(0),
  };
  if (compression === "none") return raw;

  const values = new SampleValues(sample, expected.keyCount);
  yield;
  if (compression === "auto" && values.areIntegers) {
    return { ...raw, valueEncoding: BlockEncoding.integers };
  }
  if (compression === "symbols") return yield* withSymbols(raw, values);
  const deflate: SegmentCoders = {
    ...raw,
    valueEncoding: BlockEncoding.deflate,
    dictionary: values.dictionary(),
  };
  if (compression === "deflate") return deflate;

  const rawBytes = values.trialBytes(raw);
  yield;
  const deflateBytes = values.trialBytes(deflate);
  yield;
  if (deflateBytes >= rawBytes * MIN_GAIN_FACTOR) return raw;
  const symbols = yield* withSymbols(raw, values);
  yield;
  const limit = values.areLong
    ? deflateBytes * LONG_FACTOR
    : Math.max(deflateBytes * SHORT_FACTOR, rawBytes * SHORT_PART);
  const maxSymbolBytes = Math.min(limit, rawBytes * MIN_GAIN_FACTOR);
  return values.trialBytes(symbols) < maxSymbolBytes ? symbols : deflate;
}

/** How coders do with a sample. */
export interface CodingRates {
  /** Bytes that they make of each byte that they code of its keys, and of its values. */
  readonly keys: number;
  readonly values: number;
  /** Whether its values are long: they are parsed greedily. */
  readonly areLong: boolean;
  /** Whether all its values are integers: they are coded as such, which others are not. */
  readonly areIntegers: boolean;
}

export function codingRates(
  sample: EntrySample,
  expected: { readonly keyCount: number },
  coders: SegmentCoders,
): CodingRates {
  const values = new SampleValues(sample, expected.keyCount);
  return {
    keys: keyRate(sample, coders.keySymbols),
    values: values.trialRate(coders),
    areLong: values.areLong,
    areIntegers: values.areIntegers,
  };
}

/** Sees suffixes all over the sample, as far as RATE_BYTES go. */
function keyRate(sample: EntrySample, symbols: SymbolTable): number {
  const { suffixBuffer } = sample;
  const stride = Math.max(1, Math.floor(sample.suffixBytes / RATE_BYTES));
  const target = new Uint8Array(2 * MAX_KEY_BYTES);
  let bytes = 0;
  let coded = 0;
  for (let i = 0; i < sample.suffixCount; i += stride) {
    const start = sample.suffixStart(i);
    const end = sample.suffixEnd(i);
    bytes += end - start;
    coded += symbols.encodeInto(suffixBuffer, start, end, target, 0);
  }
  return bytes === 0 ? 1 : coded / bytes;
}

function* withSymbols(raw: SegmentCoders, values: SampleValues): Pieces<SegmentCoders> {
  return {
    ...raw,
    valueEncoding: values.isMostlyText ? BlockEncoding.text : BlockEncoding.symbols,
    valueSymbols: yield* values.learnSymbols(),
  };
}

function* learnKeySymbols(sample: EntrySample, keyCount: number): Pieces<SymbolTable> {
  const meanSuffix = sample.suffixCount === 0 ? 0 : sample.suffixBytes / sample.suffixCount;
  const totalBytes = meanSuffix * keyCount;
  const sampler = new SymbolSampler(sampleBytesFor(totalBytes));
  for (let i = 0; i < sample.suffixCount; i++) {
    sampler.add(sample.suffixBuffer, sample.suffixStart(i), sample.suffixEnd(i));
    if (i % PIECE_SUFFIXES === PIECE_SUFFIXES - 1) yield;
  }
  return yield* learnSymbols(sampler.finish(), symbolCountFor(totalBytes));
}

/** The values of a sample, without those that repeat the value before them. */
class SampleValues {
  readonly meanBytes: number;
  /** Whether they are long, on average. */
  readonly areLong: boolean;
  /** Whether there are any and all are integers. */
  readonly areIntegers: boolean;
  /** Whether most are msgpack strings. */
  readonly isMostlyText: boolean;
  private readonly sample: EntrySample;
  /** Entries of the sample that have such a value. */
  private readonly entries: number[];
  /** Estimate for all such values of the segment. */
  private readonly totalBytes: number;

  constructor(sample: EntrySample, keyCount: number) {
    this.sample = sample;
    this.entries = [];
    let bytes = 0;
    let textCount = 0;
    let integerCount = 0;
    let previous: Uint8Array | undefined;
    for (let i = 0; i < sample.count; i++) {
      const value = sample.value(i);
      if (value === undefined || (previous !== undefined && isEqual(value, previous))) continue;
      previous = value;
      this.entries.push(i);
      bytes += value.length;
      if (stringHeaderBytes(value) > 0) textCount++;
      if (!Number.isNaN(integerOf(value))) integerCount++;
    }
    this.meanBytes = this.entries.length === 0 ? 0 : bytes / this.entries.length;
    this.areLong = this.meanBytes >= LONG_MEAN_BYTES;
    this.totalBytes = sample.count === 0 ? 0 : (bytes / sample.count) * keyCount;
    this.areIntegers = integerCount > 0 && integerCount === this.entries.length;
    this.isMostlyText = textCount * 2 > this.entries.length;
  }

  /** Learns from the values without headers and without long stretches of their keys. */
  *learnSymbols(): Pieces<SymbolTable> {
    const { entries } = this;
    const sampler = new SymbolSampler(sampleBytesFor(this.totalBytes));
    const stretches = new KeyStretches();
    const pieceCount = Math.ceil(PIECE_VALUE_BYTES / Math.max(1, this.meanBytes));
    for (let first = 0; first < entries.length; first += pieceCount) {
      const limit = Math.min(first + pieceCount, entries.length);
      for (let at = first; at < limit; at++) this.offer(entries[at], stretches, sampler);
      yield;
    }
    const parse = this.areLong ? "greedy" : "shortest";
    return yield* learnSymbols(sampler.finish(), symbolCountFor(this.totalBytes), parse);
  }

  /** Offers what is to be learnt from of the value of entry i. */
  private offer(i: number, stretches: KeyStretches, sampler: SymbolSampler): void {
    const { sample } = this;
    const value = sample.value(i);
    if (value === undefined) return;
    stretches.index(sample.keyBytes.subarray(sample.keyStart(i)), keyLength(sample, i));
    const start = this.isMostlyText ? stringHeaderBytes(value) : 0;
    let from = start;
    for (let pos = start; pos < value.length; ) {
      const len = stretches.longest(value, pos, value.length);
      if (len < MIN_CUT_BYTES) {
        pos++;
        continue;
      }
      if (from < pos) sampler.add(value, from, pos);
      pos += len;
      from = pos;
    }
    if (from < value.length) sampler.add(value, from, value.length);
  }

  /** Values from all over the sample, one after the other: what deflated blocks start from. */
  dictionary(): Uint8Array {
    const { entries, sample } = this;
    const wanted = Math.min(MAX_DICTIONARY_BYTES, Math.floor(this.totalBytes / DICTIONARY_PART));
    const writer = new ByteWriter();
    const stride = this.dictionaryStride;
    for (let at = 0; at < entries.length && writer.length < wanted; at += stride) {
      const value = sample.value(entries[at]);
      if (value !== undefined) writer.append(value);
    }
    return writer.take().subarray(0, wanted);
  }

  /** Bytes that values of the sample, TRIAL_BYTES at most, take with these coders. */
  trialBytes(coders: SegmentCoders): number {
    return this.trial(coders, TRIAL_BYTES).coded;
  }

  /** The same for each byte of them; 1 if there are none. */
  trialRate(coders: SegmentCoders): number {
    const { bytes, coded } = this.trial(coders, RATE_BYTES);
    return bytes === 0 ? 1 : coded / bytes;
  }

  /**
   * Bytes of values of the sample, `limit` at most, and what they take with these coders, their
   * share of the stored table and dictionary included. Values that may be in the dictionary are
   * left out: they would take next to nothing.
   */
  private trial(
    coders: SegmentCoders,
    limit: number,
  ): { readonly bytes: number; readonly coded: number } {
    const { sample, entries, dictionaryStride } = this;
    const output = new ByteWriter();
    const block = new ValueBlockBuilder(coders);
    let valueBytes = 0;
    // Every n-th value, so that the trial sees the whole sample.
    const stride = Math.max(1, Math.floor((this.meanBytes * entries.length) / limit));
    for (let at = 0; at < entries.length; at += stride) {
      const i = entries[at];
      const value = at % dictionaryStride === 0 ? undefined : sample.value(i);
      if (value === undefined) continue;
      const keyFrom = sample.keyBytes.subarray(sample.keyStart(i));
      block.add(value, 0, value.length, keyFrom, keyLength(sample, i));
      if (block.isFull) block.finish(output);
      valueBytes += value.length;
    }
    if (block.count > 0) block.finish(output);
    const blockBytes = output.length;
    coders.valueSymbols?.serialize(output);
    writeDictionary(output, coders.dictionary);
    const share = this.totalBytes === 0 ? 1 : Math.min(1, valueBytes / this.totalBytes);
    return { bytes: valueBytes, coded: blockBytes + (output.length - blockBytes) * share };
  }

  /** Entries from one value of the dictionary to the next. */
  private get dictionaryStride(): number {
    const bytes = this.meanBytes * this.entries.length;
    return Math.max(2, Math.floor(bytes / MAX_DICTIONARY_BYTES));
  }
}

function keyLength(sample: EntrySample, i: number): number {
  return sample.keyEnd(i) - sample.keyStart(i);
}

function sampleBytesFor(totalBytes: number): number {
  return Math.max(MIN_SAMPLE_BYTES, Math.min(MAX_SAMPLE_BYTES, totalBytes / SAMPLE_PART)) | 0;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) return false;
  }
  return true;
}
