/**
 * KeyBuffer: where a key is decoded to, symbol by symbol.
 *
 * A symbol is copied by four words, however long it is: one and a half times as fast as a loop over
 * its bytes (bench/key-index.ts, forward scan). What is copied too much is overwritten by the next
 * symbol; hence SLACK_BYTES behind the longest key.
 */
import type { ByteWriter } from "../bytes/writer.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import { IS_LITTLE_ENDIAN, MAX_SYMBOL_BYTES, ONE_BYTE_CODES } from "../symbols/codes.ts";
import type { SymbolTable } from "../symbols/table.ts";

/** Constants of this module, which V8 need not load: see symbols/table.ts. */
const IS_LITTLE: boolean = IS_LITTLE_ENDIAN;
const TWO_BYTE_START: number = ONE_BYTE_CODES;
const LAST_ONE_BYTE: number = ONE_BYTE_CODES - 1;

const SLACK_BYTES = MAX_SYMBOL_BYTES;
const INITIAL_BYTES = 256;

export class KeyBuffer {
  /** Replaced when it grows. */
  bytes: Uint8Array;
  /** The key is bytes[0, length). */
  length: number;
  private view: DataView;

  constructor() {
    this.bytes = new Uint8Array(INITIAL_BYTES + SLACK_BYTES);
    this.view = new DataView(this.bytes.buffer);
    this.length = 0;
  }

  /**
   * Makes the key bytes[0, shared) followed by what codes[pos, end) stand for, and returns its
   * length; -1 where a code is unknown or cut off, or the key would be too long.
   */
  decode(
    symbols: SymbolTable,
    codes: Uint8Array,
    pos: number,
    end: number,
    shared: number,
  ): number {
    const { words, lengths, count } = symbols;
    let { view } = this;
    let length = shared;
    let limit = view.byteLength - SLACK_BYTES;
    while (pos < end) {
      // As in `SymbolTable.decodeWords`.
      const first = codes[pos];
      const more = (LAST_ONE_BYTE - first) >> 31;
      const code = first + (more & ((first - TWO_BYTE_START) * 255 + codes[pos - more]));
      pos += 1 - more;
      if (code >= count) return -1;
      if (length > limit) {
        if (length > MAX_KEY_BYTES) return -1;
        this.grow(length);
        view = this.view;
        limit = view.byteLength - SLACK_BYTES;
      }
      const symbolLength = lengths[code];
      const word = code << 2;
      view.setInt32(length, words[word], IS_LITTLE);
      view.setInt32(length + 4, words[word + 1], IS_LITTLE);
      view.setInt32(length + 8, words[word + 2], IS_LITTLE);
      view.setInt32(length + 12, words[word + 3], IS_LITTLE);
      length += symbolLength;
    }
    if (pos !== end || length > MAX_KEY_BYTES) return -1;
    this.length = length;
    return length;
  }

  /** Makes bytes[pos, pos + count) those of source at `start`; the key's length stays. */
  write(pos: number, source: Uint8Array, start: number, count: number): void {
    if (pos + count > this.bytes.length - SLACK_BYTES) this.grow(pos + count);
    const { bytes } = this;
    for (let i = 0; i < count; i++) bytes[pos + i] = source[start + i];
  }

  /** Appends the key, by words too. */
  appendTo(output: ByteWriter): void {
    const { view, length } = this;
    const start = output.reserve(length + 4);
    const target = output.view;
    for (let pos = 0; pos < length; pos += 4) target.setInt32(start + pos, view.getInt32(pos));
    output.length = start + length;
  }

  private grow(needed: number): void {
    const room = Math.min(Math.max(needed, this.bytes.length) * 2, MAX_KEY_BYTES);
    const bytes = new Uint8Array(room + SLACK_BYTES);
    bytes.set(this.bytes.subarray(0, Math.min(this.bytes.length, bytes.length)));
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
  }
}
