/**
 * ValueView: where the bytes of a value are, as a source shows them to a reader.
 *
 * A source that has the bytes as they are refers to them; one that must decode them appends them to
 * `decoded`, which is the reader's, so that a reader of many values finds them side by side. One view
 * serves any number of values: reading a value makes no object.
 *
 * To who passes values on (`Cursor.viewStored`) a source may show its codes as well: who would code
 * the value by the same coder, of an entry with the same key, takes them as they are.
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
  /** What made the codes, and the kind of them; undefined where none are shown. */
  coder: object | undefined;
  codeKind: number;
  /** The codes are codes[codesStart, codesEnd), as long as the value. */
  codes: Uint8Array;
  codesStart: number;
  codesEnd: number;

  constructor() {
    this.bytes = NO_BYTES;
    this.start = 0;
    this.end = 0;
    this.decoded = new ByteWriter(0);
    this.coder = undefined;
    this.codeKind = 0;
    this.codes = NO_BYTES;
    this.codesStart = 0;
    this.codesEnd = 0;
  }

  /** Makes room for the next value: what was decoded is gone, and no codes are shown. */
  reset(): void {
    this.decoded.reset();
    this.coder = undefined;
  }

  set(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  /** Shows the codes of the value that was set. */
  setCodes(coder: object, kind: number, codes: Uint8Array, start: number, end: number): void {
    this.coder = coder;
    this.codeKind = kind;
    this.codes = codes;
    this.codesStart = start;
    this.codesEnd = end;
  }

  /** Lets go of the bytes, which may be many. */
  clear(): void {
    this.set(NO_BYTES, 0, 0);
  }
}
