/**
 * CodedEntries: front-coded strings, keys of a block or separators of a page, of which any one is
 * made without decoding the others.
 *
 * Entry i is the end of a chain: its codes give its bytes from shared[i] on; those before come from
 * the last entry before it that shares less, and so on down, and at last from what precedes them
 * all. Only the entries of that chain are decoded, four of 32 on average, the first of them first,
 * so that each overwrites what the one before has too much.
 */
import type { ByteWriter } from "../bytes/writer.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import { MAX_SYMBOL_BYTES } from "../symbols/codes.ts";
import type { SymbolTable } from "../symbols/table.ts";
import type { KeyBuffer } from "./key-buffer.ts";

export class CodedEntries {
  /** Bytes that entry i shares with the one before it, and where its codes are. */
  readonly shared: Uint32Array;
  readonly codeStarts: Uint32Array;
  readonly codeEnds: Uint32Array;

  private readonly bytes: Uint8Array;
  private readonly symbols: SymbolTable;
  /** The entries to decode, last first. */
  private readonly chain: Uint8Array;
  private chainLength: number;

  constructor(bytes: Uint8Array, symbols: SymbolTable, capacity: number) {
    this.shared = new Uint32Array(capacity);
    this.codeStarts = new Uint32Array(capacity);
    this.codeEnds = new Uint32Array(capacity);
    this.bytes = bytes;
    this.symbols = symbols;
    this.chain = new Uint8Array(capacity);
    this.chainLength = 0;
  }

  /**
   * Finds the chain for entry i, of which `known` bytes need not be made. Returns how many bytes of
   * what precedes all entries must be in the target when `decodeChain` is called, if more.
   */
  findChain(i: number, known: number): number {
    const { shared, chain } = this;
    let length = 0;
    let needed = Number.POSITIVE_INFINITY;
    for (let j = i; j >= 0 && needed > known; j--) {
      if (shared[j] < needed) {
        chain[length++] = j;
        needed = shared[j];
      }
    }
    this.chainLength = length;
    return needed;
  }

  /** Makes `target` the entry that the chain ends in; false where codes are damaged. */
  decodeChain(target: KeyBuffer): boolean {
    for (let depth = this.chainLength - 1; depth >= 0; depth--) {
      if (!this.decodeNext(this.chain[depth], target)) return false;
    }
    return true;
  }

  /** Makes `target` entry i, if it is entry i - 1 now; false where codes are damaged. */
  decodeNext(i: number, target: KeyBuffer): boolean {
    const { bytes, symbols, codeStarts, codeEnds, shared } = this;
    return target.decode(symbols, bytes, codeStarts[i], codeEnds[i], shared[i]) >= 0;
  }

  /**
   * Appends entry i to `output`, where entry i - 1 begins at `previous`; false where codes are
   * damaged. What both share is copied by words, as symbols are: what is too much is overwritten.
   */
  appendNext(i: number, output: ByteWriter, previous: number): boolean {
    const { bytes, symbols } = this;
    const shared = this.shared[i];
    const pos = this.codeStarts[i];
    const end = this.codeEnds[i];
    const start = output.reserve(shared + (end - pos + 1) * MAX_SYMBOL_BYTES);
    const { view } = output;
    for (let k = 0; k < shared; k += 4) view.setInt32(start + k, view.getInt32(previous + k));
    const keyEnd = symbols.decodeWords(bytes, pos, end, view, start + shared);
    if (keyEnd < 0 || symbols.codesEnd < end || keyEnd - start > MAX_KEY_BYTES) return false;
    output.length = keyEnd;
    return true;
  }
}
