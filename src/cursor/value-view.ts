/**
 * ValueView: where the bytes of a value are, as a source shows them to a reader.
 *
 * A source that has the bytes as they are refers to them; one that must decode them appends them to
 * `decoded`, which is the reader's, so that a reader of many values finds them side by side. One view
 * serves any number of values: reading a value makes no object.
 */
import { ByteWriter } from "../bytes/writer.ts";

const NO_BYTES = new Uint8Array(0);

export class ValueView {
  /** The value is bytes[start, end), until the next move or read of the source. */
  bytes: Uint8Array;
  start: number;
  end: number;
  /** What sources decode to. Theirs is what they append; the rest is the reader's. */
  readonly decoded: ByteWriter;

  constructor() {
    this.bytes = NO_BYTES;
    this.start = 0;
    this.end = 0;
    this.decoded = new ByteWriter(0);
  }

  set(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  /** Lets go of the bytes, which may be many. */
  clear(): void {
    this.set(NO_BYTES, 0, 0);
  }
}
