/**
 * Training: from a sample of strings, the symbols that code them in the fewest bytes.
 *
 * Rounds, as in FSST (Boncz, Neumann, Leis, VLDB 2020, section 4.1): begin with the single bytes;
 * parse the sample greedily into the symbols so far; count each symbol and each pair of neighbours;
 * the candidates of the next round are the symbols and the pairs joined, and the best by what they
 * save stay. A code takes about 1.5 bytes, so a candidate saves count * (length - 1.5). Early rounds
 * see a part of the sample: what is frequent enough to matter there shows in a part, and the whole
 * costs twice the time. At the end the parse that the table is for says which symbols are used at
 * all, and the 192 most used get the one-byte codes.
 *
 * It is done in pieces (pieces.ts), of which the longest, to choose the candidates of a round, takes
 * some ten milliseconds.
 *
 * Everything is counted in typed arrays: with Maps the same takes 2.4 times as long.
 *
 * Memory: 8 MB to count pairs, about 3 MB for candidates, 2 MB for the trie, and the sample.
 */

import type { Pieces } from "../pieces.ts";
import {
  MAX_SYMBOL_BYTES,
  MAX_SYMBOLS,
  MIN_SYMBOLS,
  ONE_BYTE_CODES,
  type SymbolList,
  singleBytes,
} from "./codes.ts";
import type { Parse } from "./encoder.ts";
import { orderSymbols, type SymbolTable } from "./table.ts";
import {
  BASE_SHIFT,
  CODE_SHIFT,
  COST_MASK,
  LABEL_MASK,
  LABEL_USED,
  NO_SYMBOL,
  SymbolTrie,
} from "./trie.ts";

/** Strings to learn from: string i is bytes[ends[i - 1] (or 0), ends[i]). */
export interface SymbolSample {
  readonly bytes: Uint8Array;
  readonly ends: Uint32Array;
  readonly count: number;
}

/** With 2 MiB codes take 0.5 to 1% more bytes, and training half the time. */
export const MAX_SAMPLE_BYTES: number = 4 << 20;

/** Knuth's multiplier for hashing by multiplication: 2^32 over the golden ratio. */
const HASH_MULTIPLIER = 0x9e3779b1 | 0;
/** A sixth round gains 0.3% of size and takes a quarter more time. */
const ROUNDS = 5;
/** An early round sees no less than this. */
const MIN_ROUND_BYTES = 128 << 10;
/** The count of uses at the end sees about this much: it only orders the symbols and drops idle ones. */
const MIN_USES_BYTES = 1 << 20;
/** What a piece of a parse sees: it takes about a millisecond. */
const PIECE_BYTES = 64 << 10;
/** Pairs seen once in a round say nothing. */
const MIN_PAIR_COUNT = 2;
const MAX_PAIR_CELL_BITS = 20;
/**
 * Each count of a pair is a cache miss. Between two steps of a parse, of which no processor guesses
 * the next, each is waited for; many in a row overlap.
 */
const WAITING_PAIRS = 1024;
/** Gains of this and above share the last bar of the histogram. */
const MAX_HISTOGRAM_GAIN = 0xffff;

/**
 * The symbols worth having for strings of which `totalBytes` are to be coded: a table that is too
 * large costs more than it saves. On URLs 5,000 keys want some 1,400, and 70,000 want all there can
 * be.
 */
export function symbolCountFor(totalBytes: number): number {
  return Math.max(MIN_SYMBOLS, Math.min(MAX_SYMBOLS, MIN_SYMBOLS + Math.floor(totalBytes / 64)));
}

/**
 * A table of at most `maxSymbols` symbols (clamped to MIN_SYMBOLS and MAX_SYMBOLS) for the sample,
 * which encodes by `parse`.
 */
export function learnSymbols(
  sample: SymbolSample,
  maxSymbols: number,
  parse: Parse = "shortest",
): Pieces<SymbolTable> {
  const trainer = new SymbolTrainer(
    sample,
    Math.max(MIN_SYMBOLS, Math.min(MAX_SYMBOLS, maxSymbols)),
    parse,
  );
  return trainer.train();
}

/**
 * Draws a uniform sample of at most `maxBytes` from strings that come one by one, their number
 * unknown: it keeps every n-th, and doubles n, dropping every other one kept, when it is full.
 */
export class SymbolSampler {
  private bytes: Uint8Array;
  private ends: Uint32Array;
  private count: number;
  private stride: number;
  /** Strings offered so far. */
  private offered: number;

  constructor(maxBytes: number = MAX_SAMPLE_BYTES) {
    this.bytes = new Uint8Array(maxBytes);
    this.ends = new Uint32Array(1024);
    this.count = 0;
    this.stride = 1;
    this.offered = 0;
  }

  /** Offers bytes[start, end). Of a string longer than a 16th of the sample only the front counts. */
  add(bytes: Uint8Array, start: number, end: number): void {
    if (this.offered++ % this.stride !== 0) return;
    const len = Math.min(end - start, this.bytes.length >> 4);
    while (this.usedBytes() + len > this.bytes.length) this.halve();
    if (this.count === this.ends.length) {
      const grown = new Uint32Array(this.count * 2);
      grown.set(this.ends);
      this.ends = grown;
    }
    const pos = this.usedBytes();
    for (let i = 0; i < len; i++) this.bytes[pos + i] = bytes[start + i];
    this.ends[this.count++] = pos + len;
  }

  /** What was kept: a view, valid until the next `add`. */
  finish(): SymbolSample {
    return { bytes: this.bytes, ends: this.ends, count: this.count };
  }

  private usedBytes(): number {
    return this.count === 0 ? 0 : this.ends[this.count - 1];
  }

  /** Keeps the even ones of those kept: what a doubled stride would have kept. */
  private halve(): void {
    const { bytes, ends } = this;
    let kept = 0;
    let pos = 0;
    for (let i = 0; i < this.count; i += 2) {
      const start = i === 0 ? 0 : ends[i - 1];
      const len = ends[i] - start;
      bytes.copyWithin(pos, start, ends[i]);
      pos += len;
      ends[kept++] = pos;
    }
    this.count = kept;
    this.stride *= 2;
  }
}

class SymbolTrainer {
  private readonly sample: SymbolSample;
  private readonly sampleBytes: number;
  private readonly maxSymbols: number;
  private readonly parse: Parse;
  /** The symbols so far. The first 256 are the single bytes. */
  private symbols: SymbolList;
  /** Uses of each symbol in the last parse. */
  private readonly counts: Int32Array;
  /** Cells of two: first << 14 | second, and count; a count of 0 is an empty cell. */
  private readonly pairs: Int32Array;
  private readonly pairShift: number;
  /** Beyond this many more distinct pairs new ones are not counted: the frequent ones came before. */
  private freePairs: number;
  /** Pairs that `count` came upon last. */
  private readonly waiting: Int32Array;
  /** How many candidates have each gain; the last bar counts those above, too. */
  private readonly histogram: Int32Array;

  constructor(sample: SymbolSample, maxSymbols: number, parse: Parse) {
    this.parse = parse;
    this.sample = sample;
    this.sampleBytes = sample.count === 0 ? 0 : sample.ends[sample.count - 1];
    this.maxSymbols = maxSymbols;
    this.symbols = singleBytes();
    this.counts = new Int32Array(maxSymbols);
    let cellBits = 10;
    while (cellBits < MAX_PAIR_CELL_BITS && 1 << cellBits < this.sampleBytes) cellBits++;
    this.pairs = new Int32Array(2 << cellBits);
    this.pairShift = 32 - cellBits;
    this.freePairs = 0;
    this.waiting = new Int32Array(WAITING_PAIRS);
    // No gain is above twice the sample: a small one needs no large histogram.
    this.histogram = new Int32Array(Math.min(MAX_HISTOGRAM_GAIN, 2 * this.sampleBytes) + 1);
  }

  *train(): Pieces<SymbolTable> {
    if (this.maxSymbols > MIN_SYMBOLS && this.sampleBytes > 0) {
      for (let round = 0; round < ROUNDS; round++) {
        yield* this.count(Math.min(1 << (ROUNDS - 1 - round), this.strideFor(MIN_ROUND_BYTES)));
        yield* this.select();
      }
    }
    yield* this.count(this.strideFor(MIN_USES_BYTES));
    return yield* this.finish();
  }

  /** The stride with which about `bytes` of the sample are seen. */
  private strideFor(bytes: number): number {
    return Math.max(1, Math.floor(this.sampleBytes / bytes));
  }

  /** Parses every `stride`-th string greedily and counts symbols and pairs of neighbours. */
  private *count(stride: number): Pieces<void> {
    const { sample, pairs } = this;
    const trie = new SymbolTrie(this.symbols);
    this.counts.fill(0);
    pairs.fill(0);
    this.freePairs = (pairs.length >> 1) - (pairs.length >> 4);
    const pieceCount = stringsInPiece(sample, stride);
    for (let first = 0; first < sample.count; first += pieceCount) {
      yield;
      this.countPiece(trie, first, Math.min(first + pieceCount, sample.count), stride);
    }
  }

  /** Of strings [first, limit). */
  private countPiece({ cells }: SymbolTrie, first: number, limit: number, stride: number): void {
    const { sample, counts, waiting } = this;
    const { bytes, ends } = sample;
    let waitingCount = 0;
    for (let i = first; i < limit; i += stride) {
      let pos = i === 0 ? 0 : ends[i - 1];
      const end = ends[i];
      let previous = -1;
      while (pos < end) {
        let cell = bytes[pos++] << 1;
        let symbol = cells[cell + 1] >> CODE_SHIFT;
        let symbolEnd = pos;
        while (pos < end) {
          const byte = bytes[pos];
          cell = ((cells[cell] >> BASE_SHIFT) + byte) << 1;
          if ((cells[cell] & LABEL_MASK) !== (byte | LABEL_USED)) break;
          pos++;
          const entry = cells[cell + 1];
          if ((entry & COST_MASK) < NO_SYMBOL) {
            symbol = entry >> CODE_SHIFT;
            symbolEnd = pos;
          }
        }
        pos = symbolEnd;
        counts[symbol]++;
        if (previous >= 0) {
          waiting[waitingCount++] = (previous << 14) | symbol;
          if (waitingCount === WAITING_PAIRS) {
            this.countWaiting(waitingCount);
            waitingCount = 0;
          }
        }
        previous = symbol;
      }
    }
    this.countWaiting(waitingCount);
  }

  /** Counts the pairs that wait. */
  private countWaiting(waitingCount: number): void {
    const { waiting, pairs, pairShift } = this;
    const pairMask = pairs.length - 1;
    let { freePairs } = this;
    for (let i = 0; i < waitingCount; i++) {
      const pair = waiting[i];
      let slot = (Math.imul(pair, HASH_MULTIPLIER) >>> pairShift) << 1;
      while (pairs[slot + 1] !== 0 && pairs[slot] !== pair) slot = (slot + 2) & pairMask;
      if (pairs[slot + 1] !== 0) {
        pairs[slot + 1]++;
      } else if (freePairs > 0) {
        freePairs--;
        pairs[slot] = pair;
        pairs[slot + 1] = 1;
      }
    }
    this.freePairs = freePairs;
  }

  /** Replaces the symbols by the best of them and of the counted pairs. */
  private *select(): Pieces<void> {
    const threshold = this.gainThreshold();
    yield;
    const candidates = this.candidatesFrom(threshold);
    yield;
    this.symbols = candidates.best(this.maxSymbols);
    yield;
  }

  /** Those that save so much. */
  private candidatesFrom(threshold: number): CandidateSet {
    const { counts, pairs, symbols } = this;
    const { lengths } = symbols;
    const candidates = new CandidateSet(this.maxSymbols * 4);
    for (let s = MIN_SYMBOLS; s < symbols.count; s++) {
      const gain = gainOf(counts[s], lengths[s]);
      if (gain >= threshold) candidates.add(symbols, s, -1, gain);
    }
    for (let cell = 0; cell < pairs.length; cell += 2) {
      const count = pairs[cell + 1];
      if (count < MIN_PAIR_COUNT) continue;
      const first = pairs[cell] >>> 14;
      const second = pairs[cell] & 0x3fff;
      const len = lengths[first] + lengths[second];
      if (len > MAX_SYMBOL_BYTES) continue;
      const gain = gainOf(count, len);
      if (gain >= threshold) candidates.add(symbols, first, second, gain);
    }
    return candidates;
  }

  /**
   * A gain that somewhat more candidates reach than there is room for. What is below cannot be
   * selected, unless two candidates spell the same symbol, so it need not be gathered and sorted.
   */
  private gainThreshold(): number {
    const { counts, pairs, symbols } = this;
    const { lengths } = symbols;
    const { histogram } = this;
    const maxGain = histogram.length - 1;
    histogram.fill(0);
    for (let s = MIN_SYMBOLS; s < symbols.count; s++) {
      histogram[Math.min(gainOf(counts[s], lengths[s]), maxGain)]++;
    }
    for (let cell = 0; cell < pairs.length; cell += 2) {
      const count = pairs[cell + 1];
      if (count < MIN_PAIR_COUNT) continue;
      const len = lengths[pairs[cell] >>> 14] + lengths[pairs[cell] & 0x3fff];
      if (len <= MAX_SYMBOL_BYTES) histogram[Math.min(gainOf(count, len), maxGain)]++;
    }
    const wanted = (this.maxSymbols - MIN_SYMBOLS) * 1.25;
    let reached = 0;
    let gain = maxGain;
    while (gain > 1 && reached < wanted) reached += histogram[gain--];
    return gain;
  }

  /** Counts what the table's parse uses, drops what it does not, and deals out the one-byte codes. */
  private *finish(): Pieces<SymbolTable> {
    const { parse } = this;
    const draft = orderSymbols(this.symbols, mostUsed(this.counts, this.symbols.count), parse);
    yield;
    const uses = yield* countUses(draft, this.sample, this.strideFor(MIN_USES_BYTES));
    const bytes = new Uint8Array(draft.count * MAX_SYMBOL_BYTES);
    const lengths = new Uint8Array(draft.count);
    const counts = new Int32Array(draft.count);
    let count = 0;
    for (let c = 0; c < draft.count; c++) {
      if (uses[c] === 0 && draft.lengths[c] > 1) continue;
      const from = c * MAX_SYMBOL_BYTES;
      bytes.set(draft.bytes.subarray(from, from + MAX_SYMBOL_BYTES), count * MAX_SYMBOL_BYTES);
      lengths[count] = draft.lengths[c];
      counts[count++] = uses[c];
    }
    yield;
    return orderSymbols({ count, bytes, lengths }, mostUsed(counts, count), parse);
  }
}

/** Candidates for the next round, each spelling held once. */
class CandidateSet {
  private readonly bytes: Uint8Array;
  private readonly lengths: Uint8Array;
  private readonly gains: Float64Array;
  private count: number;
  /** Open-addressed by spelling: candidate + 1, or 0. */
  private readonly cells: Int32Array;
  private readonly cellShift: number;

  constructor(capacity: number) {
    this.bytes = new Uint8Array((capacity + 1) * MAX_SYMBOL_BYTES);
    this.lengths = new Uint8Array(capacity + 1);
    this.gains = new Float64Array(capacity);
    this.count = 0;
    let cellBits = 4;
    while (1 << cellBits < capacity * 2) cellBits++;
    this.cells = new Int32Array(1 << cellBits);
    this.cellShift = 32 - cellBits;
  }

  /** Adds symbol `first`, joined with `second` unless that is -1. Beyond capacity it is dropped. */
  add(symbols: SymbolList, first: number, second: number, gain: number): void {
    const { bytes, cells } = this;
    if (this.count === this.gains.length) return;
    const start = this.count * MAX_SYMBOL_BYTES;
    let end = start;
    let hash = 0;
    for (let part = 0; part < 2; part++) {
      const symbol = part === 0 ? first : second;
      if (symbol < 0) break;
      const from = symbol * MAX_SYMBOL_BYTES;
      const len = symbols.lengths[symbol];
      for (let i = 0; i < len; i++) {
        const byte = symbols.bytes[from + i];
        bytes[end++] = byte;
        hash = Math.imul(hash ^ byte, HASH_MULTIPLIER);
        hash ^= hash >>> 15;
      }
    }
    const len = end - start;
    let cell = Math.imul(hash, HASH_MULTIPLIER) >>> this.cellShift;
    for (; cells[cell] !== 0; cell = (cell + 1) & (cells.length - 1)) {
      const candidate = cells[cell] - 1;
      if (this.lengths[candidate] !== len) continue;
      const other = candidate * MAX_SYMBOL_BYTES;
      let i = 0;
      while (i < len && bytes[other + i] === bytes[start + i]) i++;
      if (i < len) continue;
      this.gains[candidate] += gain;
      return;
    }
    cells[cell] = this.count + 1;
    this.lengths[this.count] = len;
    this.gains[this.count++] = gain;
  }

  /** The single bytes and the candidates of the highest gains, `maxSymbols` in all. */
  best(maxSymbols: number): SymbolList {
    const ranks = new Float64Array(this.count);
    // A gain is below 2^31 and a candidate below 2^17: both fit one exact number, sorted natively.
    for (let i = 0; i < this.count; i++) ranks[i] = this.gains[i] * 0x2_0000 + i;
    ranks.sort();
    const taken = Math.min(this.count, maxSymbols - MIN_SYMBOLS);
    const bytes = new Uint8Array((MIN_SYMBOLS + taken) * MAX_SYMBOL_BYTES);
    const lengths = new Uint8Array(MIN_SYMBOLS + taken);
    const singles = singleBytes();
    bytes.set(singles.bytes);
    lengths.set(singles.lengths);
    for (let i = 0; i < taken; i++) {
      const candidate = ranks[this.count - 1 - i] % 0x2_0000;
      const from = candidate * MAX_SYMBOL_BYTES;
      const symbol = MIN_SYMBOLS + i;
      lengths[symbol] = this.lengths[candidate];
      const end = from + lengths[symbol];
      bytes.set(this.bytes.subarray(from, end), symbol * MAX_SYMBOL_BYTES);
    }
    return { count: MIN_SYMBOLS + taken, bytes, lengths };
  }
}

/** What a symbol saves, in half bytes: a code takes about 1.5 bytes. */
function gainOf(count: number, length: number): number {
  return count * (2 * length - 3);
}

/** Marks the symbols with the highest counts, as many as there are one-byte codes. */
function mostUsed(counts: Int32Array, symbolCount: number): Uint8Array {
  const ranks = new Float64Array(symbolCount);
  for (let s = 0; s < symbolCount; s++) ranks[s] = counts[s] * MAX_SYMBOLS + s;
  ranks.sort();
  const isOneByte = new Uint8Array(symbolCount);
  for (let i = symbolCount - ONE_BYTE_CODES; i < symbolCount; i++) {
    isOneByte[ranks[i] % MAX_SYMBOLS] = 1;
  }
  return isOneByte;
}

/** Uses of each code when every `stride`-th string of the sample is encoded. */
function* countUses(table: SymbolTable, sample: SymbolSample, stride: number): Pieces<Int32Array> {
  const uses = new Int32Array(table.count);
  const pieceCount = stringsInPiece(sample, stride);
  for (let first = 0; first < sample.count; first += pieceCount) {
    addUses(uses, table, sample, first, Math.min(first + pieceCount, sample.count), stride);
    yield;
  }
  return uses;
}

/** Adds those of strings [first, limit). */
function addUses(
  uses: Int32Array,
  table: SymbolTable,
  { bytes, ends }: SymbolSample,
  first: number,
  limit: number,
  stride: number,
): void {
  let codes = new Uint8Array(1024);
  for (let i = first; i < limit; i += stride) {
    const start = i === 0 ? 0 : ends[i - 1];
    const end = ends[i];
    if ((end - start) * 2 > codes.length) codes = new Uint8Array((end - start) * 4);
    const codesEnd = table.encodeInto(bytes, start, end, codes, 0);
    for (let pos = 0; pos < codesEnd; ) {
      const code = codes[pos++];
      if (code < ONE_BYTE_CODES) uses[code]++;
      else uses[ONE_BYTE_CODES + ((code - ONE_BYTE_CODES) << 8) + codes[pos++]]++;
    }
  }
}

/** Of how many strings every `stride`-th comes to about PIECE_BYTES. */
function stringsInPiece({ count, ends }: SymbolSample, stride: number): number {
  const meanBytes = count === 0 ? 0 : ends[count - 1] / count;
  return stride * Math.ceil(PIECE_BYTES / Math.max(1, meanBytes));
}
