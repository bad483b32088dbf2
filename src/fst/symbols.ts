/**
 * Symbols: up to 184 strings of 1 to 8 bytes, each of which one element byte stands for.
 *
 * `SymbolTable` holds them for a reader: two flat arrays, since the reader's innermost loop compares
 * a key with a symbol. `SymbolCoder` writes a stretch of bytes as symbols: at each place the longest
 * that matches (the cheapest way over all would take 0.4 % fewer bytes for a layer, and twice the
 * time). `trainSymbols` chooses the strings for a sample: it codes the sample, at first as single
 * bytes, and in each round lets every two symbols that stand side by side form a longer one, of
 * which those that cover the most bytes stay.
 *
 * Source: P. Boncz, T. Neumann and V. Leis, "FSST: Fast Random Access String Compression" (2020).
 */
import { assert } from "../assert.ts";
import { readU16, readU32 } from "../bytes/fixed.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import { damaged, ESCAPE, MAX_SYMBOL_BYTES, MAX_SYMBOLS } from "./format.ts";

/** Symbols in the order of their elements, as strings of bytes in one array. */
export class SymbolTable {
  readonly count: number;
  /** Symbol i is bytes[starts[i], starts[i + 1]). One start for every possible element and one more. */
  readonly starts: Int32Array;
  readonly bytes: Uint8Array;
  /** By element, the length of its symbol, and its eight bytes as two words, zeros after its end. */
  readonly lengths: Uint8Array;
  readonly words: Int32Array;

  private constructor(count: number, starts: Int32Array, bytes: Uint8Array) {
    this.count = count;
    this.starts = starts;
    this.bytes = bytes;
    this.lengths = new Uint8Array(MAX_SYMBOLS);
    this.words = new Int32Array(2 * MAX_SYMBOLS);
    for (let i = 0; i < MAX_SYMBOLS; i++) {
      this.lengths[i] = starts[i + 1] - starts[i];
      for (let at = starts[i]; at < starts[i + 1]; at++) {
        const place = at - starts[i];
        this.words[2 * i + (place >> 2)] |= bytes[at] << (8 * (place & 3));
      }
    }
  }

  /** The table of a layer that has none: each element is the byte it is. */
  static identity(): SymbolTable {
    const symbols = [];
    for (let byte = 0; byte < MAX_SYMBOLS; byte++) symbols.push(Uint8Array.of(byte));
    return SymbolTable.of(symbols);
  }

  /** A table of at most MAX_SYMBOLS strings of 1 to MAX_SYMBOL_BYTES bytes. */
  static of(symbols: readonly Uint8Array[]): SymbolTable {
    const starts = new Int32Array(MAX_SYMBOLS + 1);
    let end = 0;
    for (let i = 0; i < MAX_SYMBOLS; i++) {
      starts[i] = end;
      if (i < symbols.length) end += symbols[i].length;
    }
    starts[MAX_SYMBOLS] = end;
    const bytes = new Uint8Array(end);
    for (let i = 0; i < symbols.length; i++) bytes.set(symbols[i], starts[i]);
    return new SymbolTable(symbols.length, starts, bytes);
  }

  /** Reads the part that format.ts calls symbols; empty bytes are the identity. */
  static decode(encoded: Uint8Array, file: string, offset: number): SymbolTable {
    if (encoded.length === 0) return SymbolTable.identity();
    const count = encoded[0];
    const symbols = [];
    let pos = 1 + count;
    for (let i = 0; i < count && i < MAX_SYMBOLS; i++) {
      const length = encoded[1 + i];
      if (!(length >= 1 && length <= MAX_SYMBOL_BYTES)) {
        throw damaged(file, offset + 1 + i, `a length of 1 to ${MAX_SYMBOL_BYTES}`, `${length}`);
      }
      symbols.push(encoded.slice(pos, pos + length));
      pos += length;
    }
    if (count > MAX_SYMBOLS || pos !== encoded.length) {
      throw damaged(file, offset, `${count} symbols`, `${encoded.length} bytes`);
    }
    return SymbolTable.of(symbols);
  }

  encode(): Uint8Array {
    const encoded = new Uint8Array(1 + this.count + this.bytes.length);
    encoded[0] = this.count;
    for (let i = 0; i < this.count; i++) encoded[1 + i] = this.starts[i + 1] - this.starts[i];
    encoded.set(this.bytes, 1 + this.count);
    return encoded;
  }
}

/** A stretch of bytes lies on the way of one key, and is no longer than that. */
const MAX_STRETCH_BYTES = MAX_KEY_BYTES;

export class SymbolCoder {
  /** Where the bytes to code go. What is behind them may be anything. */
  readonly stretch: Uint8Array;
  /** What `code` makes of them: symbols, and escapes for bytes that no symbol covers. */
  readonly elements: Uint8Array;

  /** By byte, the symbol that is this one byte, or ESCAPE. */
  private readonly singles: Uint8Array;
  /**
   * Longer symbols have places, those that begin with the bytes a, b from pairStarts[a + 256 b] to
   * the next start, the longest first.
   */
  private readonly pairStarts: Uint8Array;
  /** By place: the symbol, its length, and its bytes as two words with masks for what it has. */
  private readonly symbols: Uint8Array;
  private readonly lengths: Uint8Array;
  private readonly words: Int32Array;
  private readonly masks: Int32Array;

  constructor(table: SymbolTable) {
    this.stretch = new Uint8Array(MAX_STRETCH_BYTES + MAX_SYMBOL_BYTES);
    this.elements = new Uint8Array(2 * MAX_STRETCH_BYTES);
    this.singles = new Uint8Array(256).fill(ESCAPE);
    this.pairStarts = new Uint8Array(0x10000 + 1);
    this.symbols = new Uint8Array(table.count);
    this.lengths = new Uint8Array(table.count);
    this.words = new Int32Array(2 * table.count);
    this.masks = new Int32Array(2 * table.count);
    this.setPlaces(table);
  }

  /** Codes the first `length` bytes of `stretch`, and returns how many bytes of `elements` they are. */
  code(length: number): number {
    assert(length <= MAX_STRETCH_BYTES, "a stretch of bytes is within its limit");
    const { stretch, elements, singles, pairStarts, symbols, lengths, words, masks } = this;
    let count = 0;
    let at = 0;
    while (at < length) {
      const low = readU32(stretch, at);
      const pair = low & 0xffff;
      const end = pairStarts[pair + 1];
      let place = pairStarts[pair];
      if (place < end) {
        const high = readU32(stretch, at + 4);
        for (; place < end; place++) {
          if (((low ^ words[2 * place]) & masks[2 * place]) !== 0) continue;
          if (((high ^ words[2 * place + 1]) & masks[2 * place + 1]) !== 0) continue;
          // What is behind the stretch is not part of it.
          if (at + lengths[place] <= length) break;
        }
      }
      if (place < end) {
        elements[count++] = symbols[place];
        at += lengths[place];
        continue;
      }
      const single = singles[low & 0xff];
      elements[count++] = single;
      if (single === ESCAPE) elements[count++] = low;
      at++;
    }
    return count;
  }

  private setPlaces(table: SymbolTable): void {
    const { starts, bytes, lengths } = table;
    const pairOf = (symbol: number): number => readU16(bytes, starts[symbol]);
    const longer: number[] = [];
    for (let symbol = 0; symbol < table.count; symbol++) {
      if (lengths[symbol] > 1) longer.push(symbol);
      else this.singles[bytes[starts[symbol]]] = symbol;
    }
    longer.sort((a, b) => pairOf(a) - pairOf(b) || lengths[b] - lengths[a]);
    let pair = 0;
    for (let place = 0; place < longer.length; place++) {
      const symbol = longer[place];
      while (pair <= pairOf(symbol)) this.pairStarts[pair++] = place;
      this.symbols[place] = symbol;
      this.lengths[place] = lengths[symbol];
      for (let word = 0; word < 2; word++) {
        const missing = 8 * Math.max(0, Math.min(4, 4 * word + 4 - lengths[symbol]));
        this.words[2 * place + word] = table.words[2 * symbol + word];
        this.masks[2 * place + word] = missing === 32 ? 0 : -1 >>> missing;
      }
    }
    this.pairStarts.fill(longer.length, pair);
  }
}

/** Rounds of training: a symbol of 8 bytes needs three; a fifth gains 0.1 % (bench frozen-layer). */
const TRAINING_ROUNDS = 4;

/** Codes in training: symbols, then ESCAPED plus each byte that is escaped. */
const ESCAPED = 0x100;
const CODES = 0x200;

/**
 * Chooses the symbols for stretches like those of the sample: `sample` holds them one after the
 * other, and stretch i ends at `ends[i]`.
 */
export function trainSymbols(sample: Uint8Array, ends: readonly number[]): SymbolTable {
  let table = SymbolTable.of([]);
  const counts = new Int32Array(CODES);
  const pairCounts = new Int32Array(CODES * CODES);
  for (let round = 0; round < TRAINING_ROUNDS; round++) {
    counts.fill(0);
    pairCounts.fill(0);
    countCodes(new SymbolCoder(table), sample, ends, counts, pairCounts);
    table = chooseSymbols(table, counts, pairCounts);
  }
  return table;
}

/** Codes the sample and counts every code, and every two that follow each other. */
function countCodes(
  coder: SymbolCoder,
  sample: Uint8Array,
  ends: readonly number[],
  counts: Int32Array,
  pairCounts: Int32Array,
): void {
  const { stretch, elements } = coder;
  let start = 0;
  for (const end of ends) {
    stretch.set(sample.subarray(start, end));
    const count = coder.code(end - start);
    let previous = -1;
    for (let i = 0; i < count; i++) {
      const code = elements[i] === ESCAPE ? ESCAPED + elements[++i] : elements[i];
      counts[code]++;
      if (previous >= 0) pairCounts[previous * CODES + code]++;
      previous = code;
    }
    start = end;
  }
}

/** The symbols that cover the most bytes, of the codes counted and the pairs of them. */
function chooseSymbols(
  table: SymbolTable,
  counts: Int32Array,
  pairCounts: Int32Array,
): SymbolTable {
  // One string may come about in several ways: its counts are added up.
  const gains = new Map<string, number>();
  const gain = (text: string, count: number): void => {
    gains.set(text, (gains.get(text) ?? 0) + count * text.length);
  };
  const texts = Array.from({ length: CODES }, (_, code) => textOf(table, code));
  for (let code = 0; code < CODES; code++) {
    if (counts[code] === 0) continue;
    gain(texts[code], counts[code] * (texts[code].length === 1 ? SINGLE_BYTE_FACTOR : 1));
    for (let next = 0; next < CODES; next++) {
      const count = pairCounts[code * CODES + next];
      if (count < 2 || texts[code].length + texts[next].length > MAX_SYMBOL_BYTES) continue;
      gain(texts[code] + texts[next], count);
    }
  }
  const best = [...gains].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return SymbolTable.of(
    best.slice(0, MAX_SYMBOLS).map(([text]) => Uint8Array.from(Buffer.from(text, "latin1"))),
  );
}

/** A byte without a symbol of its own takes two, so a symbol of one byte saves more than it covers. */
const SINGLE_BYTE_FACTOR = 2;

/** The bytes of a code as a string of their values; empty for a code that is not in use. */
function textOf(table: SymbolTable, code: number): string {
  if (code >= ESCAPED) return String.fromCharCode(code - ESCAPED);
  if (code >= table.count) return "";
  return Buffer.from(table.bytes.slice(table.starts[code], table.starts[code + 1])).toString(
    "latin1",
  );
}
