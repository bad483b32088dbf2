/**
 * KeyPageReader: finding a leaf block in a page and a key in a block, and opening a block.
 *
 * A search carries `matched`, the number of bytes that the key sought has in common with the
 * separator or key before the place reached, which sorts below it. Of the next one, which shares
 * `shared` bytes with its predecessor, that number says nearly all:
 *
 *   shared > matched   it differs from the key where its predecessor does: below it, nothing to compare
 *   shared < matched   it differs from its predecessor, upwards, before the key does: above it, the end
 *   shared = matched   compare from there
 *
 * Most comparisons end within three bytes, which `heads` of the symbol table has in a quarter of the
 * cache lines that the symbols take.
 *
 * Bounds are checked once for a page, by `countCodes`, before anything else reads it; the loops
 * rely on that.
 */

import { readU16, readU32 } from "../bytes/fixed.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import { ONE_BYTE_CODES } from "../symbols/codes.ts";
import type { SymbolTable } from "../symbols/table.ts";
import { CodedEntries } from "./coded-entries.ts";
import {
  BLOCK_KEYS,
  BLOCKS_OFFSET_OFFSET,
  HEADER_ESCAPE,
  PAGE_BLOCKS,
  RECORD_BLOCK_OFFSET,
  RECORD_BYTE_OFFSET,
  RECORD_BYTES,
  RECORD_CODES_OFFSET,
  RECORD_ESCAPE_U8,
  RECORD_ESCAPE_U16,
  RECORDS_OFFSET,
  SEPARATOR_LENGTH_OFFSET,
} from "./key-page.ts";

/** No entry of the block. */
const BEHIND_BLOCK = -1;

/** A byte below all others, for the key's end: what goes on is above it. */
const END = -1;

/** Constants of this module, which V8 need not load in its loops: see symbols/table.ts. */
const ESCAPE: number = HEADER_ESCAPE;
const TWO_BYTE_START: number = ONE_BYTE_CODES;
const RECORD_LENGTH: number = RECORD_BYTES;
const ESCAPE_U8: number = RECORD_ESCAPE_U8;
const ESCAPE_U16: number = RECORD_ESCAPE_U16;
const BYTE_OFFSET: number = RECORD_BYTE_OFFSET;
const CODES_OFFSET: number = RECORD_CODES_OFFSET;
const BLOCK_OFFSET: number = RECORD_BLOCK_OFFSET;

export class KeyPageReader {
  /**
   * Bytes that the key sought shares with the last separator or key below it. `findKey` goes on from
   * where `findBlock` left this and `blockStart`.
   */
  private matched: number;
  /** The block that `findBlock` or `openBlock` came to: its number in the page and its first byte. */
  blockIndex: number;
  blockStart: number;
  /** Bytes that the key at which `findKey` ended has in common with the key sought; 0 behind the last. */
  common: number;
  /**
   * The base of the block, and where its headers and the entries that were not parsed yet are.
   * `findKey` leaves here what it ended at, for another reader to go on from.
   */
  base: number;
  headers: number;
  entryPos: number;
  /** Of the block that `openBlock` came to: its end. */
  blockEnd: number;
  /** Where the separator of block 0 begins, in the page of the block that `openBlock` came to. */
  separatorStart: number;
  /** Of the page that `openBlock` came to, as far as the block: the separators. */
  readonly separators: CodedEntries;
  /** Of the block that `beginEntries` or `goOnFrom` came to: the keys that `parseEntries` read. */
  readonly entries: CodedEntries;

  /** The ends of the blocks of that page, as far as that block. */
  private readonly blockEnds: Uint32Array;
  private readonly bytes: Uint8Array;
  private readonly symbols: SymbolTable;
  private pos: number;

  constructor(bytes: Uint8Array, symbols: SymbolTable) {
    this.matched = 0;
    this.blockIndex = 0;
    this.blockStart = 0;
    this.common = 0;
    this.base = 0;
    this.headers = 0;
    this.entryPos = 0;
    this.blockEnd = 0;
    this.separatorStart = 0;
    this.separators = new CodedEntries(bytes, symbols, PAGE_BLOCKS);
    this.entries = new CodedEntries(bytes, symbols, BLOCK_KEYS);
    this.blockEnds = new Uint32Array(PAGE_BLOCKS);
    this.bytes = bytes;
    this.symbols = symbols;
    this.pos = 0;
  }

  /**
   * Finds the last block whose separator is at or below key[0, length), in a page of `blockCount`
   * blocks. The key shares `matched` bytes with the page's separator and is not below it.
   */
  findBlock(
    pageStart: number,
    blockCount: number,
    key: Uint8Array,
    length: number,
    matched: number,
  ): void {
    const { bytes } = this;
    let blockStart = pageStart + readU32(bytes, pageStart + BLOCKS_OFFSET_OFFSET);
    let record = pageStart + RECORDS_OFFSET;
    let pos = record + blockCount * RECORD_LENGTH;
    let blockLength = readU16(bytes, record + BLOCK_OFFSET);
    if (blockLength === ESCAPE_U16) {
      this.pos = pos;
      blockLength = this.readVarint();
      pos = this.pos;
    }
    let wanted = matched < length ? key[matched] : END;
    let i = 1;
    for (; i < blockCount; i++) {
      record += RECORD_LENGTH;
      let shared = bytes[record];
      let codeLength = bytes[record + CODES_OFFSET];
      let nextLength = readU16(bytes, record + BLOCK_OFFSET);
      if (shared === ESCAPE_U8 || codeLength === ESCAPE_U8 || nextLength === ESCAPE_U16) {
        this.pos = pos;
        if (shared === ESCAPE_U8) shared = this.readVarint();
        if (codeLength === ESCAPE_U8) codeLength = this.readVarint();
        if (nextLength === ESCAPE_U16) nextLength = this.readVarint();
        pos = this.pos;
      }
      if (shared <= matched) {
        if (shared < matched) break;
        const byte = bytes[record + BYTE_OFFSET];
        if (byte >= wanted) {
          if (byte > wanted) break;
          if (this.compareCodes(pos, pos + codeLength, key, length, matched) > 0) break;
          matched = this.matched;
          wanted = matched < length ? key[matched] : END;
        }
      }
      pos += codeLength;
      blockStart += blockLength;
      blockLength = nextLength;
    }
    this.blockIndex = i - 1;
    this.blockStart = blockStart;
    this.matched = matched;
  }

  /**
   * Looks for key[0, length) among the `keyCount` keys of the block that `findBlock` came to. Returns
   * its position in the block, or ~(the number of keys in the block that are below it).
   *
   * There is no call in here, of a varint or a comparison: after one, V8 loads the arrays' fields
   * anew, and a search takes a tenth longer (bench/key-index.ts, miss). But for one: where a symbol has
   * to be unpacked, the search begins anew.
   */
  findKey(keyCount: number, key: Uint8Array, length: number): number {
    const { bytes } = this;
    const { heads, bytes: symbolBytes } = this.symbols;
    let pos = this.blockStart;
    let byte = bytes[pos++];
    let base = byte & 127;
    for (let shift = 7; byte > 127; shift += 7) {
      byte = bytes[pos++];
      base += (byte & 127) << shift;
    }
    const headers = pos;
    pos += keyCount;
    this.base = base;
    this.headers = headers;
    let { matched } = this;
    let wanted = matched < length ? key[matched] : END;
    for (let i = 0; i < keyCount; i++) {
      const entryPos = pos;
      const header = bytes[headers + i];
      let shared = base + (header >> 4);
      let codeLength = header & ESCAPE;
      if (header >= ESCAPE << 4) {
        byte = bytes[pos++];
        shared = byte & 127;
        for (let shift = 7; byte > 127; shift += 7) {
          byte = bytes[pos++];
          shared += (byte & 127) << shift;
        }
      }
      if (codeLength === ESCAPE) {
        byte = bytes[pos++];
        codeLength += byte & 127;
        for (let shift = 7; byte > 127; shift += 7) {
          byte = bytes[pos++];
          codeLength += (byte & 127) << shift;
        }
      }
      const end = pos + codeLength;
      if (shared > matched) {
        pos = end;
        continue;
      }
      if (shared < matched) {
        if (i > 0) {
          this.entryPos = entryPos;
          this.common = shared;
          return ~i;
        }
        // The key begins with the separator, of which the first key shares all but the last byte
        // with the key before it.
        matched = shared;
        wanted = key[matched];
      }
      // Symbol by symbol: below 0 where the entry is below the key, above 0 where it is above.
      let order = 0;
      while (pos < end && order === 0) {
        let code = bytes[pos++];
        if (code >= TWO_BYTE_START) {
          code = TWO_BYTE_START + ((code - TWO_BYTE_START) << 8) + bytes[pos++];
        }
        const head = heads[code];
        if (head === 0) {
          this.symbols.unpack(code);
          return this.findKey(keyCount, key, length);
        }
        order = (head & 255) - wanted;
        if (order !== 0) break;
        matched++;
        let left = (head >> 24) - 1;
        // Two more bytes are in the same word; what is behind them is seldom looked at.
        if (left > 0) {
          order = matched < length ? ((head >> 8) & 255) - key[matched] : 1;
          if (order !== 0) break;
          matched++;
          left--;
        }
        if (left > 0) {
          order = matched < length ? ((head >> 16) & 255) - key[matched] : 1;
          if (order !== 0) break;
          matched++;
          left--;
        }
        for (let from = (code << 4) + 3; left > 0; from++, left--) {
          order = matched < length ? symbolBytes[from] - key[matched] : 1;
          if (order !== 0) break;
          matched++;
        }
        wanted = matched < length ? key[matched] : END;
      }
      if (order > 0) {
        this.entryPos = entryPos;
        this.common = matched;
        return ~i;
      }
      if (order === 0 && matched === length) {
        this.entryPos = entryPos;
        this.common = length;
        return i;
      }
      wanted = matched < length ? key[matched] : END;
      pos = end;
    }
    this.entryPos = BEHIND_BLOCK;
    this.common = 0;
    return ~keyCount;
  }

  /**
   * Opens block `blockIndex` of a page of `pageKeys` keys, and finds the separators of the page as
   * far as that block's. What precedes them is the separator of block 0, at `separatorStart`.
   */
  openBlock(pageStart: number, pageKeys: number, blockIndex: number): void {
    const { bytes, blockEnds } = this;
    const { shared, codeStarts, codeEnds } = this.separators;
    let blockStart = pageStart + readU32(bytes, pageStart + BLOCKS_OFFSET_OFFSET);
    const separatorLength = readU32(bytes, pageStart + SEPARATOR_LENGTH_OFFSET);
    this.separatorStart = blockStart - separatorLength;
    let record = pageStart + RECORDS_OFFSET;
    this.pos = record + Math.ceil(pageKeys / BLOCK_KEYS) * RECORD_LENGTH;
    let blockLength = 0;
    for (let i = 0; i <= blockIndex; i++, record += RECORD_LENGTH) {
      let sharedHere = bytes[record];
      let codeLength = bytes[record + CODES_OFFSET];
      blockStart += blockLength;
      blockLength = readU16(bytes, record + BLOCK_OFFSET);
      if (sharedHere === ESCAPE_U8) sharedHere = this.readVarint();
      if (codeLength === ESCAPE_U8) codeLength = this.readVarint();
      if (blockLength === ESCAPE_U16) blockLength = this.readVarint();
      shared[i] = sharedHere;
      codeStarts[i] = this.pos;
      this.pos += codeLength;
      codeEnds[i] = this.pos;
      blockEnds[i] = blockStart + blockLength;
    }
    // Block 0's separator is not coded: all of it precedes the others.
    shared[0] = separatorLength;
    this.blockIndex = blockIndex;
    this.blockStart = blockStart;
    this.blockEnd = blockStart + blockLength;
  }

  /** Comes to the first block of a page, without its separators. */
  openFirstBlock(pageStart: number): void {
    this.blockStart = pageStart + readU32(this.bytes, pageStart + BLOCKS_OFFSET_OFFSET);
  }

  /** Begins to parse the entries of the block of `keyCount` keys at `blockStart`. */
  beginEntries(keyCount: number): void {
    this.pos = this.blockStart;
    this.base = this.readVarint();
    this.headers = this.pos;
    this.entryPos = this.pos + keyCount;
  }

  /** Whether `findKey` came to none of the block's keys, all of which are below the key sought. */
  get isBehindBlock(): boolean {
    return this.entryPos === BEHIND_BLOCK;
  }

  /** Takes over the block, and the entry to parse next, that a search came to. */
  goOnFrom(search: KeyPageReader): void {
    this.base = search.base;
    this.headers = search.headers;
    this.entryPos = search.entryPos;
  }

  /** Finds entries [start, end) of the block, those before them having been parsed or passed over. */
  parseEntries(start: number, end: number): void {
    const { bytes, base, headers } = this;
    const { shared, codeStarts, codeEnds } = this.entries;
    let pos = this.entryPos;
    for (let i = start; i < end; i++) {
      const header = bytes[headers + i];
      let sharedHere = base + (header >> 4);
      let codeLength = header & ESCAPE;
      if (header >= ESCAPE << 4 || codeLength === ESCAPE) {
        this.pos = pos;
        if (header >= ESCAPE << 4) sharedHere = this.readVarint();
        if (codeLength === ESCAPE) codeLength += this.readVarint();
        pos = this.pos;
      }
      shared[i] = sharedHere;
      codeStarts[i] = pos;
      pos += codeLength;
      codeEnds[i] = pos;
    }
    this.entryPos = pos;
  }

  /**
   * Bytes of codes and separators in bytes[pageStart, pageEnd), a page of `pageKeys` keys whose
   * checksum holds; -1 unless every length there keeps within the page and within the limits on
   * keys.
   */
  countCodes(pageStart: number, pageEnd: number, pageKeys: number): number {
    const { separators, blockEnds } = this;
    const { shared, codeStarts, codeEnds } = separators;
    const lastBlock = Math.ceil(pageKeys / BLOCK_KEYS) - 1;
    // No length is below 0: what ends within the page at last has not left it before.
    this.openBlock(pageStart, pageKeys, lastBlock);
    if (this.pos > this.separatorStart || this.blockEnd !== pageEnd) return -1;
    let count = shared[0];
    let blockStart = this.separatorStart + count;
    for (let i = 0; i <= lastBlock; i++) {
      if (shared[i] > MAX_KEY_BYTES) return -1;
      const keyCount = Math.min(BLOCK_KEYS, pageKeys - i * BLOCK_KEYS);
      const entryCodes = this.countEntryCodes(blockStart, keyCount);
      if (entryCodes < 0 || this.pos !== blockEnds[i]) return -1;
      count += codeEnds[i] - codeStarts[i] + entryCodes;
      blockStart = this.pos;
    }
    return count;
  }

  /**
   * Bytes of codes in the block of `keyCount` keys that begins at `blockStart`, whose end `pos` then
   * is; -1 where a key shares more bytes than a key may have.
   */
  private countEntryCodes(blockStart: number, keyCount: number): number {
    const { bytes } = this;
    this.pos = blockStart;
    const base = this.readVarint();
    const headers = this.pos;
    let pos = headers + keyCount;
    let count = 0;
    for (let i = 0; i < keyCount; i++) {
      const header = bytes[headers + i];
      let shared = base + (header >> 4);
      let codeLength = header & ESCAPE;
      if (header >= ESCAPE << 4 || codeLength === ESCAPE) {
        this.pos = pos;
        if (header >= ESCAPE << 4) shared = this.readVarint();
        if (codeLength === ESCAPE) codeLength += this.readVarint();
        pos = this.pos;
      }
      if (shared > MAX_KEY_BYTES) return -1;
      pos += codeLength;
      count += codeLength;
    }
    this.pos = pos;
    return count;
  }

  /**
   * Compares the key that has the codes[pos, end), and before them the first `matched` bytes of
   * key[0, length), with the latter: 0 where they are equal, above 0 where the coded key is above.
   * Otherwise it is below, and this.matched the number of bytes that both share.
   */
  private compareCodes(
    pos: number,
    end: number,
    key: Uint8Array,
    length: number,
    matched: number,
  ): number {
    const codes = this.bytes;
    const { bytes, heads } = this.symbols;
    while (pos < end) {
      const codeStart = pos;
      let code = codes[pos++];
      if (code >= TWO_BYTE_START) {
        code = TWO_BYTE_START + ((code - TWO_BYTE_START) << 8) + codes[pos++];
      }
      const head = heads[code];
      if (head === 0) {
        this.symbols.unpack(code);
        return this.compareCodes(codeStart, end, key, length, matched);
      }
      const symbolLength = head >> 24;
      if (symbolLength <= 3 && matched + 3 <= length) {
        const word = key[matched] | (key[matched + 1] << 8) | (key[matched + 2] << 16);
        const difference = (head ^ word) << (32 - 8 * symbolLength);
        if (difference === 0) {
          matched += symbolLength;
          continue;
        }
      }
      let from = code << 4;
      const symbolEnd = from + symbolLength;
      for (; from < symbolEnd; from++) {
        if (matched === length) return 1;
        const difference = bytes[from] - key[matched];
        if (difference !== 0) {
          this.matched = matched;
          return difference;
        }
        matched++;
      }
    }
    this.matched = matched;
    return matched === length ? 0 : -1;
  }

  /** Reads the varint at this.pos. Damaged bytes make it at most 2^35: callers bound it. */
  private readVarint(): number {
    const { bytes } = this;
    let byte = bytes[this.pos++];
    if (byte < 128) return byte;
    let value = byte & 127;
    let scale = 128;
    do {
      byte = bytes[this.pos++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte > 127 && scale < 2 ** 35);
    return value;
  }
}
