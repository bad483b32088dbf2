/**
 * EntrySample: entries copied from all over a source, from which a segment's coders are learnt.
 *
 * The caller moves a cursor to places spread evenly over the source and takes a window of entries
 * at each: windows, because what is coded of a key is what it does not share with the one before it.
 * The first 2 MB of sorted input would be no sample: symbols learnt there cost a third more on paths.
 *
 * Of a key all that is coded is its suffix, so that many more keys can be learnt from than entries
 * kept: when there are enough of these, windows only add the suffixes of their keys. Of 7.3 million
 * paths, suffixes of 16,000 keys instead of 400,000 make the key index a seventh larger.
 *
 * Values that lie, or will lie, in a value log are left out: they are not read.
 *
 * Bounded: ENTRY_BYTES, SUFFIX_BYTES, and an entry more of each.
 */
import { commonPrefixLength } from "../bytes/compare.ts";
import { ByteWriter } from "../bytes/writer.ts";
import type { Cursor } from "../cursor/cursor.ts";
import { ValueView } from "../cursor/value-view.ts";
import { EntryKind, MAX_KEY_BYTES } from "../entry.ts";
import { MAX_SAMPLE_BYTES } from "../symbols/training.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { VALUE_LIMIT_BYTES } from "./value-block.ts";

/** Bytes of entries: twice as many make values hardly any smaller. */
const ENTRY_BYTES = 4 << 20;
/** Bytes of suffixes: with the last one, all that training takes. More, and it would take half of them. */
const SUFFIX_BYTES: number = MAX_SAMPLE_BYTES - MAX_KEY_BYTES;

/** What the sample holds of an entry without a value. */
const NO_VALUE = -1;

export class EntrySample {
  /** Entries kept, and the bytes of their keys and values. */
  count: number;
  bytes: number;
  /** What keys do not share with the key before them in their window, and how many have one. */
  suffixCount: number;

  private readonly largeValueBytes: number;
  private readonly keys: ByteWriter;
  private readonly values: ByteWriter;
  private readonly suffixes: ByteWriter;
  private readonly keyStarts: number[];
  private readonly suffixStarts: number[];
  /** Where the value begins and how long it is; NO_VALUE for tombstones and values left out. */
  private readonly valueStarts: number[];
  private readonly valueLengths: number[];
  /** The key seen last. */
  private readonly lastKey: KeyBuffer;
  private readonly view: ValueView;

  /** Values of `largeValueBytes` and more are left out. */
  constructor(largeValueBytes: number = VALUE_LIMIT_BYTES) {
    this.largeValueBytes = largeValueBytes;
    this.count = 0;
    this.bytes = 0;
    this.suffixCount = 0;
    this.keys = new ByteWriter(1 << 16);
    this.values = new ByteWriter(1 << 16);
    this.suffixes = new ByteWriter(1 << 16);
    this.keyStarts = [0];
    this.suffixStarts = [0];
    this.valueStarts = [];
    this.valueLengths = [];
    this.lastKey = new KeyBuffer();
    this.view = new ValueView();
  }

  /** Whether more windows would add nothing. */
  get isFull(): boolean {
    return this.hasEntries && this.suffixBytes >= SUFFIX_BYTES;
  }

  /** Bytes of all suffixes. */
  get suffixBytes(): number {
    return this.suffixes.length;
  }

  /** Takes up to `entryCount` consecutive entries from where the cursor is, and moves it behind them. */
  takeWindow(cursor: Cursor, entryCount: number): void {
    for (let i = 0; i < entryCount && cursor.isValid && !this.isFull; i++) {
      if (!this.hasEntries) this.addEntry(cursor);
      this.addSuffix(cursor.key, cursor.keyLength, i === 0);
      cursor.next();
    }
  }

  /** Key of entry i: keyBytes[keyStart(i), keyEnd(i)). */
  get keyBytes(): Uint8Array {
    return this.keys.buffer;
  }

  keyStart(i: number): number {
    return this.keyStarts[i];
  }

  keyEnd(i: number): number {
    return this.keyStarts[i + 1];
  }

  /** The value of entry i, or undefined if it has none, or one that is left out. */
  value(i: number): Uint8Array | undefined {
    const start = this.valueStarts[i];
    if (start === NO_VALUE) return undefined;
    return this.values.buffer.subarray(start, start + this.valueLengths[i]);
  }

  /** Suffix i: suffixBuffer[suffixStart(i), suffixEnd(i)). */
  get suffixBuffer(): Uint8Array {
    return this.suffixes.buffer;
  }

  suffixStart(i: number): number {
    return this.suffixStarts[i];
  }

  suffixEnd(i: number): number {
    return this.suffixStarts[i + 1];
  }

  private get hasEntries(): boolean {
    return this.bytes >= ENTRY_BYTES;
  }

  private addEntry(cursor: Cursor): void {
    const { key, keyLength } = cursor;
    this.keys.append(key, 0, keyLength);
    this.keyStarts.push(this.keys.length);
    this.bytes += keyLength;
    const { view } = this;
    view.reset();
    const isInline = cursor.kind === EntryKind.put && cursor.viewStored(view) === undefined;
    const length = view.end - view.start;
    if (isInline && length < this.largeValueBytes) {
      this.bytes += length;
      this.valueStarts.push(this.values.length);
      this.valueLengths.push(length);
      this.values.append(view.bytes, view.start, view.end);
    } else {
      this.valueStarts.push(NO_VALUE);
      this.valueLengths.push(0);
    }
    this.count++;
  }

  private addSuffix(key: Uint8Array, length: number, isFirst: boolean): void {
    const { lastKey } = this;
    const shared = commonPrefixLength(key, 0, length, lastKey.bytes, 0, lastKey.length);
    if (!isFirst) {
      this.suffixes.append(key, shared, length);
      this.suffixStarts.push(this.suffixes.length);
      this.suffixCount++;
    }
    lastKey.write(shared, key, shared, length - shared);
    lastKey.length = length;
  }
}
