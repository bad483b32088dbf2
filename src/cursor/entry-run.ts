/**
 * EntryRun: neighbouring entries that a cursor reads at one call, their bytes side by side.
 *
 * To move a cursor and ask it for its key and its value costs as much as to decode both. A source
 * that has its entries in blocks decodes many of them in one loop instead; and keys that lie side
 * by side are built from one another where they lie, and made into strings together.
 *
 * Entries are in the order in which they are yielded: against the key order, where the run goes
 * backward. A run is closed once its keys or its values have `maxBytes`; the last of them may reach
 * beyond.
 */
import { ByteWriter } from "../bytes/writer.ts";
import { ValueView } from "./value-view.ts";

/** The end of a run in its direction: key[0, length), which is the last of it or the first beyond it. */
export interface RunBound {
  readonly key: Uint8Array;
  readonly length: number;
  readonly isInclusive: boolean;
}

export class EntryRun {
  readonly capacity: number;
  /** Keys or values of so many bytes together close the run. */
  readonly maxBytes: number;
  count: number;
  /** What is asked for: against the key order; with values. */
  isReverse: boolean;
  hasValues: boolean;
  /** Whether what was read last ends a block of the source, so that the next run had better begin there. */
  endsBlock: boolean;
  /** Key i is keys.buffer[keyStarts[i], keyEnds[i]). Two runs may have the same buffer. */
  keys: ByteWriter;
  readonly keyStarts: Int32Array;
  readonly keyEnds: Int32Array;
  /** Bytes that key i has in common with key i - 1, if both were appended at one call. */
  readonly keyShared: Int32Array;
  /** Value i is value.decoded.buffer[valueStarts[i], valueEnds[i]). */
  readonly value: ValueView;
  readonly valueStarts: Int32Array;
  readonly valueEnds: Int32Array;

  constructor(capacity: number, maxBytes: number) {
    this.capacity = capacity;
    this.maxBytes = maxBytes;
    this.count = 0;
    this.isReverse = false;
    this.hasValues = false;
    this.endsBlock = false;
    this.keys = new ByteWriter(0);
    this.keyStarts = new Int32Array(capacity);
    this.keyEnds = new Int32Array(capacity);
    this.keyShared = new Int32Array(capacity);
    this.value = new ValueView();
    this.valueStarts = new Int32Array(capacity);
    this.valueEnds = new Int32Array(capacity);
  }

  get isFull(): boolean {
    const { count, capacity, maxBytes, keys, value } = this;
    return count === capacity || keys.length >= maxBytes || value.decoded.length >= maxBytes;
  }

  clear(): void {
    this.count = 0;
    this.endsBlock = false;
    this.keys.reset();
    this.value.clear();
    this.value.decoded.reset();
  }
}
