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
  private view: DataView;

  constructor() {
    this.bytes = new Uint8Array(256);
    this.length = 0;
    this.view = new DataView(this.bytes.buffer);
  }

  /** Keeps the first `shared` bytes and puts source[pos, pos + len) after them. */
  splice(shared: number, source: Uint8Array, pos: number, len: number): void {
    const length = shared + len;
    if (length + SLACK_BYTES > this.bytes.length) this.grow(length);
    const bytes = this.bytes;
    if (len < SET_MIN_BYTES) {
      for (let i = 0; i < len; i++) bytes[shared + i] = source[pos + i];
    } else {
      bytes.set(source.subarray(pos, pos + len), shared);
    }
    this.length = length;
  }

  /**
   * The same from a buffer that goes on for 15 bytes or more after the source, as an arena does. It
   * copies four words at a time, and so up to 15 bytes beyond the key, which nobody looks at: most
   * tails of front-coded keys are as long as that or twice that, so that the processor guesses when
   * the loop ends. A quarter of a walk's time.
   */
  spliceWords(shared: number, source: DataView, pos: number, len: number): void {
    const length = shared + len;
    if (length + SLACK_BYTES > this.bytes.length) this.grow(length);
    const view = this.view;
    for (let i = 0; i < len; i += 16) {
      const a = source.getInt32(pos + i, true);
      const b = source.getInt32(pos + i + 4, true);
      const c = source.getInt32(pos + i + 8, true);
      const d = source.getInt32(pos + i + 12, true);
      view.setInt32(shared + i, a, true);
      view.setInt32(shared + i + 4, b, true);
      view.setInt32(shared + i + 8, c, true);
      view.setInt32(shared + i + 12, d, true);
    }
    this.length = length;
  }

  private grow(length: number): void {
    assert(length <= MAX_KEY_BYTES, "a key is within its limit");
    const grown = new Uint8Array(Math.max(length + SLACK_BYTES, this.bytes.length * 2));
    grown.set(this.bytes);
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }
}

/** From this many bytes on, `set` is faster than a loop. */
const SET_MIN_BYTES = 64;

/** What `spliceWords` may write after the key. */
const SLACK_BYTES = 15;
