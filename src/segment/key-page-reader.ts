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
  /** Length of the separator of the block that `openBlock` came to. */
  separatorLength: number;
  /** Bytes that the key sought shares with the last separator or key below it. */
  matched: number;
  /** Whether that separator or key is a prefix of the key sought. */
  private isPrefix: boolean;

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
    this.isPrefix = false;
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
    this.pos = pageStart + PAGE_SUM_BYTES;
    let blockStart = pageStart + this.readVarint();
    const separatorLength = this.readVarint();
    let beginsWithSeparator = matched === separatorLength;
    this.pos += separatorLength;
    let blockLength = this.readVarint();
    let i = 1;
    for (; i < blockCount; i++) {
      const shared = this.readVarint();
      const codeLength = this.readVarint();
      const nextLength = this.readVarint();
      const { pos } = this;
      if (shared < matched) break;
      if (shared > matched) {
        beginsWithSeparator = false;
      } else {
        const order = this.compareCodes(pos, pos + codeLength, key, length, matched);
        if (order > 0) break;
        matched = this.matched;
        beginsWithSeparator = this.isPrefix;
      }
      this.pos = pos + codeLength;
      blockStart += blockLength;
      blockLength = nextLength;
    }
    this.blockIndex = i - 1;
    this.blockStart = blockStart;
    this.matched = matched;
    this.isPrefix = beginsWithSeparator;
  }

  /**
   * Looks for key[0, length) among the `keyCount` keys of the block that `findBlock` came to. Returns
   * its position in the block, or ~(the number of keys in the block that are below it).
   */
  findKey(keyCount: number, key: Uint8Array, length: number): number {
    const { bytes } = this;
    this.pos = this.blockStart;
    const base = this.readVarint();
    const headers = this.pos;
    let pos = headers + keyCount;
    let { matched } = this;
    // Above the separator without beginning with it, the key is above the first key too. Beginning
    // with it, it shares with the first key all but the separator's last byte, which is coded.
    const isPastFirst = !this.isPrefix;
    if (!isPastFirst && matched > 0) matched--;
    for (let i = 0; i < keyCount; i++) {
      const header = bytes[headers + i];
      let shared = base + (header >> 4);
      let codeLength = header & HEADER_ESCAPE;
      if (header >= HEADER_ESCAPE << 4 || codeLength === HEADER_ESCAPE) {
        this.pos = pos;
        if (header >= HEADER_ESCAPE << 4) shared = this.readVarint();
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
   * `separatorLength` says how many. False where the separator's codes are damaged.
   */
  openBlock(pageStart: number, blockIndex: number, separator: KeyBuffer): boolean {
    const { bytes, symbols } = this;
    this.pos = pageStart + PAGE_SUM_BYTES;
    let blockStart = pageStart + this.readVarint();
    let separatorLength = this.readVarint();
    separator.write(0, bytes, this.pos, separatorLength);
    this.pos += separatorLength;
    let blockLength = this.readVarint();
    for (let i = 1; i <= blockIndex && separatorLength >= 0; i++) {
      const shared = this.readVarint();
      const codeLength = this.readVarint();
      blockStart += blockLength;
      blockLength = this.readVarint();
      const { pos } = this;
      this.pos = pos + codeLength;
      separatorLength = separator.decode(symbols, bytes, pos, this.pos, shared);
    }
    this.blockIndex = blockIndex;
    this.blockStart = blockStart;
    this.separatorLength = separatorLength;
    return separatorLength >= 0;
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
        if (header >= HEADER_ESCAPE << 4) sharedHere = this.readVarint();
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
    this.pos = pageStart + PAGE_SUM_BYTES;
    let blockStart = pageStart + this.readVarint();
    this.separatorLength = this.readVarint();
    if (this.separatorLength > MAX_KEY_BYTES) return false;
    this.pos += this.separatorLength;
    for (let first = 0; first < keyCount; first += BLOCK_KEYS) {
      let codeLength = 0;
      if (first > 0) {
        if (this.readVarint() > MAX_KEY_BYTES) return false;
        codeLength = this.readVarint();
      }
      const blockEnd = blockStart + this.readVarint();
      const directoryPos = this.pos + codeLength;
      if (directoryPos > pageEnd || blockEnd > pageEnd) return false;
      const blockKeys = Math.min(BLOCK_KEYS, keyCount - first);
      this.blockStart = blockStart;
      this.parseEntries(blockKeys);
      if (this.pos !== blockEnd) return false;
      for (let i = 0; i < blockKeys; i++) if (this.shared[i] > MAX_KEY_BYTES) return false;
      blockStart = blockEnd;
      this.pos = directoryPos;
    }
    return blockStart === pageEnd;
  }

  /**
   * Compares the key that has the codes[pos, end), and before them the first `matched` bytes of
   * key[0, length), with the latter: 0 where they are equal, above 0 where the coded key is above.
   * Otherwise it is below, this.matched the number of bytes that both share, and this.isPrefix
   * whether these are all it has.
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
          this.isPrefix = false;
          return difference;
        }
        matched++;
      }
    }
    this.matched = matched;
    this.isPrefix = true;
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
