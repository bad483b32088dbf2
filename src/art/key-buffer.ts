/**
 * KeyBuffer: a key under decoding. Front coding gives a key as "keep the first n bytes of the one
 * before, then these"; this is the buffer in which that happens, over and over, without allocation.
 */
import { assert } from "../assert.ts";
import { MAX_KEY_BYTES } from "../entry.ts";

export class KeyBuffer {
  /** The key is the first `length` bytes. Replaced when a longer key needs it. */
  bytes: Uint8Array;
  length: number;

  constructor() {
    this.bytes = new Uint8Array(256);
    this.length = 0;
  }

  /** Keeps the first `shared` bytes and puts source[pos, pos + len) after them. */
  splice(shared: number, source: Uint8Array, pos: number, len: number): void {
    const length = shared + len;
    if (length > this.bytes.length) this.grow(length);
    const bytes = this.bytes;
    if (len < 48) {
      for (let i = 0; i < len; i++) bytes[shared + i] = source[pos + i];
    } else {
      bytes.set(source.subarray(pos, pos + len), shared);
    }
    this.length = length;
  }

  private grow(length: number): void {
    assert(length <= MAX_KEY_BYTES, "a key is within its limit");
    const grown = new Uint8Array(Math.max(length, this.bytes.length * 2));
    grown.set(this.bytes);
    this.bytes = grown;
  }
}
