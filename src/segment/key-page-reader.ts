/**
 * KeyPageReader: finding and opening a leaf block of a page, and a key in a block.
 *
 * A search carries `matched`, the number of bytes that the key sought has in common with the
 * separator or key before the place reached, which sorts below it. Of the next one, which shares
 * `shared` bytes with its predecessor, that number says nearly all:
 *
 *   shared > matched   it differs from the key where its predecessor does: below it, nothing to compare
 *   shared < matched   it differs from its predecessor, upwards, before the key does: above it, the end
 *   shared = matched   compare from there
 *
 * Bounds are checked once for a page, by `isSound`, before anything else reads it; the loops rely on
 * that.
 */
import { MAX_KEY_BYTES } from "../entry.ts";
import type { KeyBuffer } from "./key-buffer.ts";
import { BLOCK_KEYS, HEADER_ESCAPE, PAGE_SUM_BYTES } from "./key-page.ts";
import { ONE_BYTE_CODES } from "./symbol-codes.ts";
import type { SymbolTable } from "./symbols.ts";

export class KeyPageReader {
  /** The block that `findBlock` or `openBlock` came to: its number in the page and its first byte. */
  blockIndex: number;
  blockStart: number;
  /** Length of the block's separator. */
  separatorLength: number;
  /** Bytes that the key sought shares with the last separator or key below it. */
  matched: number;

  /** What `parseEntries` found of each key of the block. */
  readonly shared: Uint32Array;
  readonly codeStarts: Uint32Array;
  readonly codeEnds: Uint32Array;

  private readonly bytes: Uint8Array;
  private readonly symbols: SymbolTable;
  private pos: number;

  constructor(bytes: Uint8Array, symbols: SymbolTable) {
    this.blockIndex = 0;
    this.blockStart = 0;
    this.separatorLength = 0;
    this.matched = 0;
    this.shared = new Uint32Array(BLOCK_KEYS);
    this.codeStarts = new Uint32Array(BLOCK_KEYS);
    this.codeEnds = new Uint32Array(BLOCK_KEYS);
    this.bytes = bytes;
    this.symbols = symbols;
    this.pos = 0;
  }

  /**
   * Finds the last block whose separator is at or below key[0, length), which shares `matched` bytes
   * with the page's separator and is not below it.
   */
  findBlock(
    pageStart: number,
    blockCount: number,
    key: Uint8Array,
    length: number,
    matched: number,
  ): void {
    const { bytes } = this;
    this.pos = pageStart + PAGE_SUM_BYTES;
    let blockStart = pageStart + this.readVarint();
    let separatorLength = this.readVarint();
    this.pos += separatorLength;
    let blockLength = this.readVarint();
    let i = 1;
    for (; i < blockCount; i++) {
      const shared = this.readVarint();
      const rest = this.readVarint();
      const nextLength = this.readVarint();
      const { pos } = this;
      if (shared <= matched) {
        if (shared < matched) break;
        const limit = Math.min(rest, length - matched);
        let equal = 0;
        while (equal < limit && bytes[pos + equal] === key[matched + equal]) equal++;
        if (equal < rest) {
          if (equal === limit || key[matched + equal] < bytes[pos + equal]) break;
        }
        matched += equal;
      }
      this.pos = pos + rest;
      separatorLength = shared + rest;
      blockStart += blockLength;
      blockLength = nextLength;
    }
    this.blockIndex = i - 1;
    this.blockStart = blockStart;
    this.separatorLength = separatorLength;
    this.matched = matched;
  }

  /**
   * Looks for key[0, length) among the `keyCount` keys of the block that `findBlock` came to. Returns
   * its position in the block, or ~(the number of keys in the block that are below it).
   */
  findKey(keyCount: number, key: Uint8Array, length: number): number {
    const { bytes, separatorLength } = this;
    this.pos = this.blockStart;
    const base = this.readVarint();
    const headers = this.pos;
    let pos = headers + keyCount;
    let { matched } = this;
    // Above the separator without beginning with it, the key is above the first key too. Beginning
    // with it, it shares with the first key all but the separator's last byte, which is coded.
    const isPastFirst = matched < separatorLength;
    if (!isPastFirst && separatorLength > 0) matched--;
    for (let i = 0; i < keyCount; i++) {
      const header = bytes[headers + i];
      let shared = base + (header >> 4);
      let codeLength = header & HEADER_ESCAPE;
      if (header >= HEADER_ESCAPE << 4 || codeLength === HEADER_ESCAPE) {
        this.pos = pos;
        if (header >= HEADER_ESCAPE << 4) shared += this.readVarint();
        if (codeLength === HEADER_ESCAPE) codeLength += this.readVarint();
        pos = this.pos;
      }
      if (i === 0) shared = isPastFirst ? matched + 1 : matched;
      if (shared <= matched) {
        if (shared < matched) return ~i;
        const order = this.compareCodes(pos, pos + codeLength, key, length, matched);
        if (order === 0) return i;
        if (order > 0) return ~i;
        matched = this.matched;
      }
      pos += codeLength;
    }
    return ~keyCount;
  }

  /**
   * Opens block `blockIndex` of the page and makes the first bytes of `separator` its separator;
   * `separatorLength` says how many.
   */
  openBlock(pageStart: number, blockIndex: number, separator: KeyBuffer): void {
    const { bytes } = this;
    this.pos = pageStart + PAGE_SUM_BYTES;
    let blockStart = pageStart + this.readVarint();
    let separatorLength = this.readVarint();
    separator.write(0, bytes, this.pos, separatorLength);
    this.pos += separatorLength;
    let blockLength = this.readVarint();
    for (let i = 1; i <= blockIndex; i++) {
      const shared = this.readVarint();
      const rest = this.readVarint();
      blockStart += blockLength;
      blockLength = this.readVarint();
      separator.write(shared, bytes, this.pos, rest);
      this.pos += rest;
      separatorLength = shared + rest;
    }
    this.blockIndex = blockIndex;
    this.blockStart = blockStart;
    this.separatorLength = separatorLength;
  }

  /** Finds what each of the block's `keyCount` keys shares with the one before, and its codes. */
  parseEntries(keyCount: number): void {
    const { bytes, shared, codeStarts, codeEnds } = this;
    this.pos = this.blockStart;
    const base = this.readVarint();
    const headers = this.pos;
    let pos = headers + keyCount;
    for (let i = 0; i < keyCount; i++) {
      const header = bytes[headers + i];
      let sharedHere = base + (header >> 4);
      let codeLength = header & HEADER_ESCAPE;
      if (header >= HEADER_ESCAPE << 4 || codeLength === HEADER_ESCAPE) {
        this.pos = pos;
        if (header >= HEADER_ESCAPE << 4) sharedHere += this.readVarint();
        if (codeLength === HEADER_ESCAPE) codeLength += this.readVarint();
        pos = this.pos;
      }
      shared[i] = sharedHere;
      codeStarts[i] = pos;
      pos += codeLength;
      codeEnds[i] = pos;
    }
    shared[0] = Math.max(0, this.separatorLength - 1);
    this.pos = pos;
  }

  /**
   * Whether every length in bytes[pageStart, pageEnd), a page of `keyCount` keys, keeps within the
   * page and within the limits on keys. The caller has checked the page's checksum.
   */
  isSound(pageStart: number, pageEnd: number, keyCount: number): boolean {
    const { bytes } = this;
    this.pos = pageStart + PAGE_SUM_BYTES;
    let blockStart = pageStart + this.readVarint();
    let separatorLength = this.readVarint();
    this.pos += separatorLength;
    for (let first = 0; first < keyCount; first += BLOCK_KEYS) {
      let shared = 0;
      let rest = 0;
      if (first > 0) {
        shared = this.readVarint();
        rest = this.readVarint();
        if (shared > separatorLength) return false;
        separatorLength = shared + rest;
      }
      const blockLength = this.readVarint();
      this.pos += rest;
      const directoryPos = this.pos;
      if (separatorLength > MAX_KEY_BYTES || directoryPos > pageEnd) return false;
      this.blockStart = blockStart;
      this.separatorLength = separatorLength;
      blockStart += blockLength;
      if (blockStart > pageEnd) return false;
      const blockKeys = Math.min(BLOCK_KEYS, keyCount - first);
      this.parseEntries(blockKeys);
      if (this.pos !== blockStart) return false;
      for (let i = 0; i < blockKeys; i++) {
        if (this.shared[i] > MAX_KEY_BYTES || this.codeEnds[i] > blockStart) return false;
      }
      this.pos = directoryPos;
    }
    return blockStart === pageEnd && bytes.length >= pageEnd;
  }

  /**
   * Compares the key that has the codes[pos, end), and before them the first `matched` bytes of
   * key[0, length), with the latter: 0 where they are equal, above 0 where the coded key is above.
   * Below 0 it is below, and this.matched the number of bytes that both share.
   */
  private compareCodes(
    pos: number,
    end: number,
    key: Uint8Array,
    length: number,
    matched: number,
  ): number {
    const codes = this.bytes;
    const { bytes, lengths } = this.symbols;
    while (pos < end) {
      let code = codes[pos++];
      if (code >= ONE_BYTE_CODES) {
        code = ONE_BYTE_CODES + ((code - ONE_BYTE_CODES) << 8) + codes[pos++];
      }
      let from = code << 4;
      const symbolEnd = from + lengths[code];
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
