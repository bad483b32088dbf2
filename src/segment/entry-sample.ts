/**
 * EntrySample: entries copied from all over a source, from which a segment's coders are learnt.
 *
 * The caller moves a cursor to places spread evenly over the source and takes a window of entries
 * at each: windows, because what is coded of a key is what it does not share with the one before it.
 * The first 2 MB of sorted input would be no sample: symbols learnt there cost a third more on paths.
 *
 * Values that lie, or will lie, in a value log are left out: they are not read.
 *
 * Bounded: about SAMPLE_BYTES and one window.
 */
import { commonPrefixLength } from "../bytes/compare.ts";
import { ByteWriter } from "../bytes/writer.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { EntryKind } from "../entry.ts";
import { VALUE_LIMIT_BYTES } from "./value-block.ts";

/** More teaches nothing: see MAX_SAMPLE_BYTES in symbol-training.ts, for keys and values together. */
const SAMPLE_BYTES = 4 << 20;

/** What the sample holds of an entry without a value. */
const NO_VALUE = -1;

export class EntrySample {
  /** Entries taken. */
  count: number;
  /** Bytes of all keys and values taken. */
  bytes: number;
  /** Bytes that keys do not share with the key before them in their window, and keys that have one. */
  suffixBytes: number;
  suffixCount: number;

  private readonly largeValueBytes: number;
  private readonly keys: ByteWriter;
  private readonly values: ByteWriter;
  private readonly keyStarts: number[];
  /** Bytes that the key shares with the one before it; NO_VALUE for the first of a window. */
  private readonly shared: number[];
  /** Where the value begins and how long it is; NO_VALUE for tombstones and values left out. */
  private readonly valueStarts: number[];
  private readonly valueLengths: number[];

  /** Values of `largeValueBytes` and more are left out. */
  constructor(largeValueBytes: number = VALUE_LIMIT_BYTES) {
    this.largeValueBytes = largeValueBytes;
    this.count = 0;
    this.bytes = 0;
    this.suffixBytes = 0;
    this.suffixCount = 0;
    this.keys = new ByteWriter(1 << 16);
    this.values = new ByteWriter(1 << 16);
    this.keyStarts = [0];
    this.shared = [];
    this.valueStarts = [];
    this.valueLengths = [];
  }

  get isFull(): boolean {
    return this.bytes >= SAMPLE_BYTES;
  }

  /** Copies up to `entryCount` consecutive entries from where the cursor is, and moves it behind them. */
  takeWindow(cursor: Cursor, entryCount: number): void {
    for (let i = 0; i < entryCount && cursor.isValid && !this.isFull; i++) {
      this.add(cursor, i === 0);
      cursor.next();
    }
  }

  /** Key i is keyBytes[keyStart(i), keyEnd(i)), and its first `sharedBytes(i)` are in key i - 1 too. */
  get keyBytes(): Uint8Array {
    return this.keys.buffer;
  }

  keyStart(i: number): number {
    return this.keyStarts[i];
  }

  keyEnd(i: number): number {
    return this.keyStarts[i + 1];
  }

  /** -1 for the first key of a window, of which that is not known. */
  sharedBytes(i: number): number {
    return this.shared[i];
  }

  /** The value of entry i, or undefined if it has none, or one that is left out. */
  value(i: number): Uint8Array | undefined {
    const start = this.valueStarts[i];
    if (start === NO_VALUE) return undefined;
    return this.values.buffer.subarray(start, start + this.valueLengths[i]);
  }

  private add(cursor: Cursor, isFirst: boolean): void {
    const { key, keyLength } = cursor;
    const start = this.keys.length;
    this.keys.append(key, 0, keyLength);
    this.keyStarts.push(this.keys.length);
    this.bytes += keyLength;
    let shared = -1;
    if (!isFirst) {
      const { buffer } = this.keys;
      const before = this.keyStarts[this.count - 1];
      shared = commonPrefixLength(buffer, before, start, buffer, start, start + keyLength);
      this.suffixBytes += keyLength - shared;
      this.suffixCount++;
    }
    this.shared.push(shared);
    const value = cursor.kind === EntryKind.put ? cursor.storedValue() : undefined;
    if (value instanceof Uint8Array && value.length < this.largeValueBytes) {
      this.bytes += value.length;
      this.valueStarts.push(this.values.length);
      this.valueLengths.push(value.length);
      this.values.append(value);
    } else {
      this.valueStarts.push(NO_VALUE);
      this.valueLengths.push(0);
    }
    this.count++;
  }
}
