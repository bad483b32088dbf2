/**
 * WordCopy: copies short pieces of one array into another, over and over, four bytes at a time.
 *
 * `set` needs a view of the piece, which takes 30 ns, and a loop over its bytes takes 1 ns for each:
 * 60 bytes are copied in 23 ns instead of 59. The last word may overlap the one before it, so that no
 * byte beside the piece is touched. To read four bytes wherever they lie takes a DataView of the array,
 * and to make one takes longer than to copy: those of the last call are kept, and their arrays with
 * them, unless the source is larger than was said. So a WordCopy is for pieces that mostly come from
 * one array and go to one.
 */
import { copyRange } from "./copy.ts";

const WORD_BYTES = 4;

/** More bytes take no longer with `set`. */
const MAX_BYTES = 128;

const NOTHING: Uint8Array = new Uint8Array(0);
const NO_VIEW: DataView = new DataView(NOTHING.buffer);

export class WordCopy {
  private source: Uint8Array;
  private sourceView: DataView;
  private target: Uint8Array;
  private targetView: DataView;
  private readonly maxSourceBytes: number;

  /** A larger source is not kept, and its pieces are copied by `copyRange`. */
  constructor(maxSourceBytes: number = Number.POSITIVE_INFINITY) {
    this.maxSourceBytes = maxSourceBytes;
    this.source = NOTHING;
    this.sourceView = NO_VIEW;
    this.target = NOTHING;
    this.targetView = NO_VIEW;
  }

  /**
   * Copies source[start, end) to `pos` of the target. The caller vouches for room, and that the two do
   * not overlap.
   */
  copy(target: Uint8Array, pos: number, source: Uint8Array, start: number, end: number): void {
    const last = end - WORD_BYTES;
    if (last < start) {
      for (let i = start; i < end; i++) target[pos + i - start] = source[i];
      return;
    }
    if (end - start > MAX_BYTES || source.length > this.maxSourceBytes) {
      copyRange(target, pos, source, start, end);
      return;
    }
    if (source !== this.source) this.readFrom(source);
    if (target !== this.target) this.writeTo(target);
    const { sourceView, targetView } = this;
    const distance = pos - start;
    for (let i = start; i < last; i += WORD_BYTES) {
      targetView.setInt32(i + distance, sourceView.getInt32(i, true), true);
    }
    targetView.setInt32(last + distance, sourceView.getInt32(last, true), true);
  }

  private readFrom(source: Uint8Array): void {
    this.source = source;
    this.sourceView = viewOf(source);
  }

  private writeTo(target: Uint8Array): void {
    this.target = target;
    this.targetView = viewOf(target);
  }
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
