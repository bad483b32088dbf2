/**
 * EntryBatch: a few entries of an iteration, read ahead so that their texts are made together.
 *
 * To make a string of bytes costs 50 to 90 ns however short it is, more than to find it. So the texts of
 * a batch are put side by side, turned into one string, and handed out as parts of it, which costs
 * 10 ns each. A part keeps the whole alive; hence the limits: a string that a caller keeps of an iteration
 * takes at most MAX_TEXT_BYTES and the texts of one entry, MAX_SHARED_BYTES each. Text that is not ASCII has other
 * positions as a string than as bytes, so a batch with any is made text by text.
 *
 * Keys and values that are no text are decoded as they are read. A batch is also closed at
 * MAX_BATCH_BYTES of whatever kind: of large values at most one is read ahead.
 */
import { isAscii } from "node:buffer";
import type { Cursor } from "../cursor/cursor.ts";
import { ValueView } from "../cursor/value-view.ts";
import type { Codecs } from "./codecs.ts";
import { decodeUtf8, type KeyCodec } from "./key-codec.ts";
import type { ValueCodec } from "./value-codec.ts";

/** Most entries of a batch; what is beyond gains little. */
export const MAX_BATCH_ENTRIES = 16;
/** A batch is closed when its shared texts have this size. */
const MAX_TEXT_BYTES = 1024;
/** A batch is closed when its keys and values have this size together. */
const MAX_BATCH_BYTES = 4096;
/** Longer texts are made on their own. */
const MAX_SHARED_BYTES = 256;

/** Position of what is no text. */
const NO_TEXT = -1;

export class EntryBatch<K, V> {
  /** Entries in the batch. */
  count: number;
  /** Bytes of their keys and values, as far as those are asked for. */
  private byteCount: number;
  /** Has the bytes of the texts in `decoded`. */
  private readonly view: ValueView;
  /** All texts as one string, once it is made; undefined where they are not ASCII. */
  private text: string | undefined;
  /** Text i is [starts[i], ends[i]) of the texts, or starts[i] is NO_TEXT. */
  private readonly keyStarts: Int32Array;
  private readonly keyEnds: Int32Array;
  private readonly valueStarts: Int32Array;
  private readonly valueEnds: Int32Array;
  /** What is no text. */
  private readonly keys: (K | undefined)[];
  private readonly values: (V | undefined)[];

  constructor() {
    this.count = 0;
    this.byteCount = 0;
    this.view = new ValueView();
    this.text = undefined;
    this.keyStarts = new Int32Array(MAX_BATCH_ENTRIES);
    this.keyEnds = new Int32Array(MAX_BATCH_ENTRIES);
    this.valueStarts = new Int32Array(MAX_BATCH_ENTRIES);
    this.valueEnds = new Int32Array(MAX_BATCH_ENTRIES);
    this.keys = new Array(MAX_BATCH_ENTRIES).fill(undefined);
    this.values = new Array(MAX_BATCH_ENTRIES).fill(undefined);
  }

  /** Whether nothing should be added, though there is room. */
  get isFull(): boolean {
    return this.byteCount >= MAX_BATCH_BYTES || this.view.decoded.length >= MAX_TEXT_BYTES;
  }

  /** Lets go of all entries. */
  clear(): void {
    for (let i = 0; i < this.count; i++) {
      this.keys[i] = undefined;
      this.values[i] = undefined;
    }
    this.count = 0;
    this.byteCount = 0;
    this.text = undefined;
    this.view.clear();
    this.view.decoded.reset();
  }

  /** Adds the entry that the cursor is at, as far as it is asked for. Throws what reading throws. */
  add(cursor: Cursor, codecs: Codecs<K, V>, hasKeys: boolean, hasValues: boolean): void {
    if (hasKeys) this.addKey(cursor, codecs.key);
    if (hasValues) this.addValue(cursor, codecs.value);
    this.count++;
  }

  /** Makes the string that the texts are parts of. To be called before entries are taken out. */
  join(): void {
    const { buffer, length } = this.view.decoded;
    if (length > 0 && isAscii(buffer.subarray(0, length))) {
      this.text = latin1Slice.call(buffer, 0, length);
    }
  }

  key(i: number): K {
    const start = this.keyStarts[i];
    if (start === NO_TEXT) return this.keys[i] as K;
    return this.textOf(start, this.keyEnds[i]) as K;
  }

  value(i: number): V {
    const start = this.valueStarts[i];
    if (start === NO_TEXT) return this.values[i] as V;
    return this.textOf(start, this.valueEnds[i]) as V;
  }

  private addKey(cursor: Cursor, codec: KeyCodec<K>): void {
    const { count } = this;
    this.byteCount += cursor.keyLength;
    if (!codec.isText || cursor.keyLength > MAX_SHARED_BYTES) {
      this.keyStarts[count] = NO_TEXT;
      this.keys[count] = codec.decode(cursor.key, cursor.keyLength);
      return;
    }
    const { decoded } = this.view;
    this.keyStarts[count] = decoded.length;
    cursor.appendKey(decoded);
    this.keyEnds[count] = decoded.length;
  }

  private addValue(cursor: Cursor, codec: ValueCodec<V>): void {
    const { count, view } = this;
    const { decoded } = view;
    const mark = decoded.length;
    cursor.viewValue(view);
    this.byteCount += view.end - view.start;
    const start = codec.textStart(view.bytes, view.start, view.end);
    if (start < 0 || view.end - start > MAX_SHARED_BYTES) {
      this.valueStarts[count] = NO_TEXT;
      this.values[count] = codec.decode(view.bytes, view.start, view.end);
      decoded.length = mark;
    } else if (view.bytes === decoded.buffer) {
      // What is before the text is no part of it, and must not look like text that is not ASCII.
      decoded.buffer.fill(0, view.start, start);
      this.valueStarts[count] = start;
      this.valueEnds[count] = view.end;
    } else {
      this.valueStarts[count] = mark;
      decoded.append(view.bytes, start, view.end);
      this.valueEnds[count] = decoded.length;
    }
  }

  private textOf(start: number, end: number): string {
    const { text } = this;
    return text === undefined
      ? decodeUtf8(this.view.decoded.buffer, start, end)
      : text.substring(start, end);
  }
}

/** Node's native decoder, a method of Buffer that takes any byte array as its receiver. */
const { latin1Slice } = Buffer.prototype as Buffer & {
  latin1Slice(this: Uint8Array, start: number, end: number): string;
};

/** A batch that was given back: making one costs more than a short iteration. */
let spareBatch: EntryBatch<unknown, unknown> | undefined;

/** A batch for one iteration at a time, empty. */
export function takeBatch<K, V>(): EntryBatch<K, V> {
  const batch = spareBatch ?? new EntryBatch<unknown, unknown>();
  spareBatch = undefined;
  batch.clear();
  return batch as EntryBatch<K, V>;
}

/** Gives a batch back, which its user then must not touch again. */
export function giveBackBatch<K, V>(batch: EntryBatch<K, V>): void {
  batch.clear();
  spareBatch = batch as EntryBatch<unknown, unknown>;
}
