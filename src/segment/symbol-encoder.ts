/**
 * SymbolEncoder: the shortest sequence of codes for a text.
 *
 * From the end of the text to its start: the cheapest of the symbols that begin here, each with what
 * is left behind it. (Greedy longest match costs 6% more.) With a key, a stretch of the text that the
 * key has too competes as one more symbol. Long texts are parsed in windows.
 */
import { KeyStretches } from "./key-stretches.ts";
import { ONE_BYTE_CODES, type SymbolList, tokenBytes, writeToken } from "./symbol-codes.ts";
import { LABEL_MASK, LABEL_USED, SYMBOL_SHIFT, SymbolTrie } from "./symbol-trie.ts";

/** No symbol crosses a window's end; 4 KiB make that rare, and the scratch space small. */
const PARSE_WINDOW_BYTES = 4096;
/** A parse's choice that is no symbol but a stretch of the key. */
const TOKEN_CHOICE = 0xffff;

export class SymbolEncoder {
  private readonly lengths: Uint8Array;
  private readonly trie: SymbolTrie;
  private readonly stretches = new KeyStretches();
  /** Coded bytes of the window from position i to its end, under the best parse. */
  private readonly costs = new Uint32Array(PARSE_WINDOW_BYTES + 1);
  /** The code, or TOKEN_CHOICE, that the best parse has at position i. */
  private readonly choices = new Uint16Array(PARSE_WINDOW_BYTES);
  /** Where choices[i] is TOKEN_CHOICE: the stretch of the key. */
  private readonly tokenOffsets = new Uint32Array(PARSE_WINDOW_BYTES);
  private readonly tokenLengths = new Uint32Array(PARSE_WINDOW_BYTES);

  constructor(symbols: SymbolList) {
    this.lengths = symbols.lengths;
    this.trie = new SymbolTrie(symbols);
  }

  encodeInto(
    source: Uint8Array,
    start: number,
    end: number,
    target: Uint8Array,
    targetPos: number,
  ): number {
    for (let from = start; from < end; from += PARSE_WINDOW_BYTES) {
      const to = Math.min(end, from + PARSE_WINDOW_BYTES);
      this.parse(source, from, to, false);
      targetPos = this.emit(to - from, 0, target, targetPos);
    }
    return targetPos;
  }

  encodeWithKeyInto(
    source: Uint8Array,
    start: number,
    end: number,
    key: Uint8Array,
    keyLength: number,
    target: Uint8Array,
    targetPos: number,
  ): number {
    this.stretches.index(key, keyLength);
    for (let from = start; from < end; from += PARSE_WINDOW_BYTES) {
      const to = Math.min(end, from + PARSE_WINDOW_BYTES);
      this.parse(source, from, to, true);
      targetPos = this.emit(to - from, keyLength, target, targetPos);
    }
    return targetPos;
  }

  /** Fills `choices` for source[start, end). On equal cost the longest symbol wins: fewer copies. */
  private parse(source: Uint8Array, start: number, end: number, hasKey: boolean): void {
    const { costs, choices } = this;
    const { cells } = this.trie;
    costs[end - start] = 0;
    for (let i = end - start - 1; i >= 0; i--) {
      let pos = start + i;
      let cell = source[pos++] << 1;
      let choice = (cells[cell + 1] >> SYMBOL_SHIFT) - 1;
      let cost = (choice < ONE_BYTE_CODES ? 1 : 2) + costs[i + 1];
      for (let base = cells[cell]; base !== 0 && pos < end; base = cells[cell]) {
        const byte = source[pos];
        cell = (base + byte) << 1;
        const entry = cells[cell + 1];
        if ((entry & LABEL_MASK) !== (byte | LABEL_USED)) break;
        pos++;
        const code = (entry >> SYMBOL_SHIFT) - 1;
        if (code >= 0) {
          const costHere = (code < ONE_BYTE_CODES ? 1 : 2) + costs[pos - start];
          if (costHere <= cost) {
            cost = costHere;
            choice = code;
          }
        }
      }
      costs[i] = cost;
      choices[i] = choice;
      if (hasKey) this.tryToken(source, start, i, end);
    }
  }

  private tryToken(source: Uint8Array, start: number, i: number, end: number): void {
    const { stretches } = this;
    const len = stretches.longest(source, start + i, end);
    if (len === 0) return;
    const cost = tokenBytes(stretches.offset, stretches.tail(len)) + this.costs[i + len];
    if (cost > this.costs[i]) return;
    this.costs[i] = cost;
    this.choices[i] = TOKEN_CHOICE;
    this.tokenOffsets[i] = stretches.offset;
    this.tokenLengths[i] = len;
  }

  private emit(length: number, keyLength: number, target: Uint8Array, targetPos: number): number {
    const { choices, lengths } = this;
    let i = 0;
    while (i < length) {
      const code = choices[i];
      if (code < ONE_BYTE_CODES) {
        target[targetPos++] = code;
        i += lengths[code];
      } else if (code !== TOKEN_CHOICE) {
        const high = code - ONE_BYTE_CODES;
        target[targetPos++] = ONE_BYTE_CODES + (high >> 8);
        target[targetPos++] = high;
        i += lengths[code];
      } else {
        const offset = this.tokenOffsets[i];
        const len = this.tokenLengths[i];
        targetPos = writeToken(target, targetPos, offset, keyLength - offset - len);
        i += len;
      }
    }
    return targetPos;
  }
}
