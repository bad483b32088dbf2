/**
 * EntryBatch: a few entries of an iteration, read ahead so that their texts are made together.
 *
 * To make a string of bytes costs 50 to 90 ns however short it is, more than to find it. So the
 * keys of a batch are put side by side, turned into one string, and handed out as parts of it,
 * which costs 10 ns each; and so are the values. A part keeps the whole alive; hence the limits: a
 * string that a caller keeps of an iteration takes at most MAX_TEXT_BYTES and MAX_SHARED_BYTES
 * more. Text that is not ASCII has other positions as a string than as bytes, so a batch with any
 * is made text by text.
 *
 * Keys and values that are no text are decoded as they are read. A batch is also closed at
 * MAX_BATCH_BYTES of whatever kind: of large values at most one is read ahead.
 */
import type { Cursor } from "../cursor/cursor.ts";
import { EntryRun } from "../cursor/entry-run.ts";
import { decodeUtf8, type KeyCodec } from "../encoding/key-codec.ts";
import type { Bound } from "../encoding/range.ts";
import type { ValueCodec } from "../encoding/value-codec.ts";
import type { Codecs } from "./codecs.ts";

/** Most entries of a batch. */
const MAX_BATCH_ENTRIES = 32;
/** With values, fewer: of keys that were made, few are to have no room for their values. */
const MAX_VALUE_ENTRIES = 16;
/** A batch is closed when the texts of its keys, or of its values, have this size. */
const MAX_TEXT_BYTES = 1024;
/** A batch is closed when its keys and values have this size together. */
const MAX_BATCH_BYTES = 4096;
/** Longer texts are made on their own. */
const MAX_SHARED_BYTES = 256;

/** Position of what is no text. */
const NO_TEXT = -1;

/** Of which parts of entries an iteration makes something. */
export interface Parts {
  readonly hasKeys: boolean;
  readonly hasValues: boolean;
}

/** The most entries to read ahead. */
export function mostEntries({ hasValues }: Parts): number {
  return hasValues ? MAX_VALUE_ENTRIES : MAX_BATCH_ENTRIES;
}

export class EntryBatch<K, V> {
  /** Bytes of the keys and values of what is in the batch, as far as those are asked for. */
  private byteCount: number;
  /** The entries: their keys and values, as far as they are texts. Elsewhere a start is NO_TEXT. */
  private readonly run: EntryRun;
  /** All keys as one string, once it is made, and all values; undefined where that cannot be. */
  private keyText: string | undefined;
  private valueText: string | undefined;
  /** Whether what lies side by side is made of texts only. */
  private areKeysText: boolean;
  private areValuesText: boolean;
  /** What is no text. */
  private readonly keys: (K | undefined)[];
  private readonly values: (V | undefined)[];

  constructor() {
    this.byteCount = 0;
    this.run = new EntryRun(MAX_BATCH_ENTRIES, MAX_TEXT_BYTES);
    this.keyText = undefined;
    this.valueText = undefined;
    this.areKeysText = true;
    this.areValuesText = true;
    this.keys = new Array(MAX_BATCH_ENTRIES).fill(undefined);
    this.values = new Array(MAX_BATCH_ENTRIES).fill(undefined);
  }

  /** Entries in the batch. */
  get count(): number {
    return this.run.count;
  }

  /** Whether the last entry ends a block: the next batch is read faster from there than this one is filled. */
  get endsBlock(): boolean {
    return this.run.endsBlock;
  }

  /** Whether nothing should be added, though there is room. */
  get isFull(): boolean {
    return this.byteCount >= MAX_BATCH_BYTES || this.run.isFull;
  }

  /** Lets go of all entries. */
  clear(): void {
    const { run } = this;
    for (let i = 0; i < run.count; i++) {
      this.keys[i] = undefined;
      this.values[i] = undefined;
    }
    this.byteCount = 0;
    this.keyText = undefined;
    this.valueText = undefined;
    this.areKeysText = true;
    this.areValuesText = true;
    run.clear();
  }

  /** Adds the entry that the cursor is at, as far as it is asked for. Throws what reading throws. */
  add(cursor: Cursor, codecs: Codecs<K, V>, hasKeys: boolean, hasValues: boolean): void {
    if (hasKeys) this.addKey(cursor, codecs.key);
    if (hasValues) this.addValue(cursor, codecs.value);
    this.run.count++;
  }

  /**
   * Adds the entry that the cursor is at and some that follow it, at most `count` and none beyond
   * the bound, if the cursor can read several at once; see `Cursor.readRun`. Returns how many. The
   * codecs must be such that `canTakeRuns`.
   */
  addRun(
    cursor: Cursor,
    codecs: Codecs<K, V>,
    count: number,
    { hasKeys, hasValues }: Parts,
    isReverse: boolean,
    bound: Bound | undefined,
  ): number {
    if (cursor.readRun === undefined) return 0;
    const { run } = this;
    run.isReverse = isReverse;
    run.hasValues = hasValues;
    const first = run.count;
    const end = bound && {
      key: bound.key,
      length: bound.key.length,
      isInclusive: bound.isInclusive,
    };
    const read = cursor.readRun(run, count, end);
    this.areKeysText = hasKeys;
    if (hasValues) this.takeValues(first, codecs.value);
    return read;
  }

  /** Makes the strings that the texts are parts of. To be called before entries are taken out. */
  join(): void {
    const { keys, value } = this.run;
    if (this.areKeysText) this.keyText = asciiText(keys.buffer, keys.length);
    if (this.areValuesText) this.valueText = asciiText(value.decoded.buffer, value.decoded.length);
  }

  key(i: number): K {
    const { keys, keyStarts, keyEnds } = this.run;
    const start = keyStarts[i];
    if (start === NO_TEXT) return this.keys[i] as K;
    return textOf(this.keyText, keys.buffer, start, keyEnds[i]) as K;
  }

  value(i: number): V {
    const { value, valueStarts, valueEnds } = this.run;
    const start = valueStarts[i];
    if (start === NO_TEXT) return this.values[i] as V;
    return textOf(this.valueText, value.decoded.buffer, start, valueEnds[i]) as V;
  }

  private addKey(cursor: Cursor, codec: KeyCodec<K>): void {
    const { count, keys, keyStarts, keyEnds } = this.run;
    this.byteCount += cursor.keyLength;
    if (!codec.isText || cursor.keyLength > MAX_SHARED_BYTES) {
      keyStarts[count] = NO_TEXT;
      this.keys[count] = codec.decode(cursor.key, cursor.keyLength);
      return;
    }
    keyStarts[count] = keys.length;
    cursor.appendKey(keys);
    keyEnds[count] = keys.length;
  }

  private addValue(cursor: Cursor, codec: ValueCodec<V>): void {
    const { count, value, valueStarts, valueEnds } = this.run;
    const { decoded } = value;
    const mark = decoded.length;
    cursor.viewValue(value);
    this.byteCount += value.end - value.start;
    const start = codec.textStart(value.bytes, value.start, value.end);
    if (start < 0 || value.end - start > MAX_SHARED_BYTES) {
      valueStarts[count] = NO_TEXT;
      this.values[count] = codec.decode(value.bytes, value.start, value.end);
      decoded.length = mark;
    } else if (value.bytes === decoded.buffer) {
      // What is before the text is no part of it, and must not look like text that is not ASCII.
      decoded.buffer.fill(0, value.start, start);
      valueStarts[count] = start;
      valueEnds[count] = value.end;
    } else {
      valueStarts[count] = mark;
      decoded.append(value.bytes, start, value.end);
      valueEnds[count] = decoded.length;
    }
  }

  /**
   * Finds the texts among the values that were read from entry `first` on, and decodes the others.
   * One that repeats the one before it lies where that does.
   */
  private takeValues(first: number, codec: ValueCodec<V>): void {
    const { run } = this;
    const { count, value, valueStarts, valueEnds } = run;
    const { buffer } = value.decoded;
    let repeated = NO_TEXT;
    for (let i = first; i < count; i++) {
      const start = valueStarts[i];
      const end = valueEnds[i];
      if (start === repeated && end === valueEnds[i - 1]) {
        valueStarts[i] = valueStarts[i - 1];
        continue;
      }
      const textStart = codec.textStart(buffer, start, end);
      if (textStart >= 0) {
        for (let pos = start; pos < textStart; pos++) buffer[pos] = 0;
        valueStarts[i] = textStart;
        repeated = start;
      } else {
        repeated = NO_TEXT;
        this.areValuesText = false;
        valueStarts[i] = NO_TEXT;
        // Only what was decoded is in the batch, should this throw.
        run.count = i;
        this.values[i] = codec.decode(buffer, start, end);
      }
    }
    run.count = count;
  }
}

/**
 * Whether entries may be read several at once: keys are text, and to decode values calls no code of
 * the user's, which could end the iteration at each of them.
 */
export function canTakeRuns<K, V>({ key, value }: Codecs<K, V>, hasValues: boolean): boolean {
  return key.isText && !(hasValues && value.runsUserCode);
}

/** The text of bytes[0, length); undefined if it is not ASCII, or too long to be kept for a part of it. */
function asciiText(bytes: Uint8Array, length: number): string | undefined {
  if (length === 0 || length > MAX_TEXT_BYTES + MAX_SHARED_BYTES) return undefined;
  const text = decodeUtf8(bytes, 0, length);
  // Every other character takes several bytes.
  return text.length === length ? text : undefined;
}

function textOf(joined: string | undefined, bytes: Uint8Array, start: number, end: number): string {
  return joined === undefined ? decodeUtf8(bytes, start, end) : joined.substring(start, end);
}

/** A batch that was given back: making one costs more than a short iteration. */
let spareBatch: EntryBatch<unknown, unknown> | undefined;

/** A batch for one iteration at a time, empty. */
export function takeBatch<K, V>(): EntryBatch<K, V> {
  const batch = spareBatch ?? new EntryBatch<unknown, unknown>();
  spareBatch = undefined;
  return batch as EntryBatch<K, V>;
}

/** Gives a batch back, which its user then must not touch again. */
export function giveBackBatch<K, V>(batch: EntryBatch<K, V>): void {
  batch.clear();
  spareBatch = batch as EntryBatch<unknown, unknown>;
}
