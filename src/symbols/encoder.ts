/**
 * SymbolEncoder: a sequence of codes for a text, the shortest or one found soon.
 *
 * The shortest parse goes from the end of the text to its start: the cheapest of the symbols that
 * begin here, each with what is left behind it. Long texts are parsed in windows. The greedy parse
 * takes the longest symbol at each position, from the left: a quarter of the steps, 6% more bytes.
 * Where no symbol is longer than a byte there is nothing to choose.
 *
 * With a key, stretches that the text repeats from it are taken first, greedily from the left, and
 * only what lies between them is parsed: 2.6 times as fast as weighing them against symbols at
 * every byte, for 1.2% more bytes (npm names and their URLs).
 */

import { ONE_BYTE_CODES, type SymbolList, writeToken } from "./codes.ts";
import { KeyStretches } from "./key-stretches.ts";
import {
  BASE_SHIFT,
  CODE_SHIFT,
  COST_MASK,
  LABEL_MASK,
  LABEL_USED,
  NO_SYMBOL,
  SymbolTrie,
} from "./trie.ts";

/** No symbol crosses a window's end; 4 KiB make that rare, and the scratch space small. */
const PARSE_WINDOW_BYTES = 4096;

/** How a text is cut into symbols; `bytes` is for a table of single bytes, in their own order. */
export type Parse = "shortest" | "greedy" | "bytes";

export class SymbolEncoder {
  private readonly parseKind: Parse;
  private readonly lengths: Uint8Array;
  private readonly trie: SymbolTrie;
  private readonly stretches = new KeyStretches();
  /** Coded bytes of the window from position i to its end, under the best parse. */
  private readonly costs = new Int32Array(PARSE_WINDOW_BYTES + 1);
  /** The code that the best parse has at position i. */
  private readonly choices = new Uint16Array(PARSE_WINDOW_BYTES);

  constructor(symbols: SymbolList, parse: Parse) {
    this.parseKind = parse;
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
    if (this.parseKind === "bytes") return encodeBytes(source, start, end, target, targetPos);
    if (this.parseKind === "greedy") {
      return this.encodeGreedily(source, start, end, target, targetPos);
    }
    for (let from = start; from < end; from += PARSE_WINDOW_BYTES) {
      const to = Math.min(end, from + PARSE_WINDOW_BYTES);
      this.parse(source, from, to);
      targetPos = this.emit(to - from, target, targetPos);
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
    const { stretches } = this;
    stretches.index(key, keyLength);
    let from = start;
    for (let pos = start; pos < end; ) {
      const len = stretches.longest(source, pos, end);
      if (len === 0) {
        pos++;
        continue;
      }
      targetPos = this.encodeInto(source, from, pos, target, targetPos);
      targetPos = writeToken(target, targetPos, stretches.offset, stretches.tail(len));
      pos += len;
      from = pos;
    }
    return this.encodeInto(source, from, end, target, targetPos);
  }

  /**
   * Fills `choices` for source[start, end). On equal cost the longest symbol wins: fewer copies. What
   * wins is chosen by arithmetic, since no processor could guess it: 1.3 times as fast.
   */
  private parse(source: Uint8Array, start: number, end: number): void {
    const { costs, choices } = this;
    const { cells } = this.trie;
    costs[end - start] = 0;
    for (let i = end - start - 1; i >= 0; i--) {
      let pos = start + i;
      let cell = source[pos++] << 1;
      let choice = cells[cell + 1] >> CODE_SHIFT;
      let cost = (cells[cell + 1] & COST_MASK) + costs[i + 1];
      while (pos < end) {
        const byte = source[pos];
        cell = ((cells[cell] >> BASE_SHIFT) + byte) << 1;
        if ((cells[cell] & LABEL_MASK) !== (byte | LABEL_USED)) break;
        pos++;
        const entry = cells[cell + 1];
        const saved = cost - (entry & COST_MASK) - costs[pos - start];
        // All ones where the symbol that ends here is no dearer, else zero.
        const isChosen = ~(saved >> 31);
        cost -= saved & isChosen;
        choice ^= (choice ^ (entry >> CODE_SHIFT)) & isChosen;
      }
      costs[i] = cost;
      choices[i] = choice;
    }
  }

  /** As `encodeInto`, taking the longest symbol at each position. */
  private encodeGreedily(
    source: Uint8Array,
    start: number,
    end: number,
    target: Uint8Array,
    targetPos: number,
  ): number {
    const { cells } = this.trie;
    let from = start;
    while (from < end) {
      let pos = from;
      let cell = source[pos++] << 1;
      let longest = cells[cell + 1];
      from = pos;
      while (pos < end) {
        const byte = source[pos];
        cell = ((cells[cell] >> BASE_SHIFT) + byte) << 1;
        if ((cells[cell] & LABEL_MASK) !== (byte | LABEL_USED)) break;
        pos++;
        const entry = cells[cell + 1];
        if ((entry & COST_MASK) === NO_SYMBOL) continue;
        longest = entry;
        from = pos;
      }
      targetPos = writeCode(target, targetPos, longest >> CODE_SHIFT);
    }
    return targetPos;
  }

  private emit(length: number, target: Uint8Array, targetPos: number): number {
    const { choices, lengths } = this;
    let i = 0;
    while (i < length) {
      const code = choices[i];
      targetPos = writeCode(target, targetPos, code);
      i += lengths[code];
    }
    return targetPos;
  }
}

/** The code of a byte is the byte. */
function encodeBytes(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  targetPos: number,
): number {
  for (let pos = start; pos < end; pos++) {
    const byte = source[pos];
    if (byte < ONE_BYTE_CODES) target[targetPos++] = byte;
    else targetPos = writeCode(target, targetPos, byte);
  }
  return targetPos;
}

function writeCode(target: Uint8Array, pos: number, code: number): number {
  if (code < ONE_BYTE_CODES) {
    target[pos] = code;
    return pos + 1;
  }
  const high = code - ONE_BYTE_CODES;
  target[pos] = ONE_BYTE_CODES + (high >> 8);
  target[pos + 1] = high;
  return pos + 2;
}
