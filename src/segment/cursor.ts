/**
 * SegmentCursor: an ordered walk over a segment's entries.
 *
 * Keys come from the key index; the value is read only when asked for, so that walking over keys
 * touches no value block.
 */
import type { ByteWriter } from "../bytes/writer.ts";
import type { Cursor } from "../cursor/cursor.ts";
import type { EntryRun, RunBound } from "../cursor/entry-run.ts";
import { ValueView } from "../cursor/value-view.ts";
import { BEFORE_EXPIRY, EntryKind, NEVER, type ValuePlace } from "../entry.ts";
import type { Expiries } from "./expiries.ts";
import type { KeyCursor } from "./key-cursor.ts";
import type { KeyIndex } from "./keys.ts";
import type { OrdinalSet } from "./ordinal-set.ts";
import type { ValueReader } from "./value-reader.ts";
import { ValueScanner } from "./value-scanner.ts";

export class SegmentCursor implements Cursor {
  private readonly keys: KeyCursor;
  private readonly keyCount: number;
  private readonly tombstones: OrdinalSet;
  private readonly expiries: Expiries | undefined;
  private readonly values: ValueScanner;
  private readonly giveBack: (cursor: SegmentCursor) => void;
  /** What has expired by then is a tombstone. */
  private time: number;
  /** For `value`. */
  private readonly view: ValueView;
  private isOpen: boolean;

  /** `giveBack` is called with the cursor when it is closed. */
  constructor(
    keys: KeyIndex,
    tombstones: OrdinalSet,
    expiries: Expiries | undefined,
    values: ValueReader,
    time: number = BEFORE_EXPIRY,
    giveBack: (cursor: SegmentCursor) => void = () => {},
  ) {
    this.keys = keys.cursor();
    this.keyCount = keys.keyCount;
    this.tombstones = tombstones;
    this.expiries = expiries;
    this.values = new ValueScanner(values);
    this.giveBack = giveBack;
    this.time = time;
    this.view = new ValueView();
    this.isOpen = true;
  }

  /** Makes a closed cursor as good as new: off the end, and at a moment. */
  reopen(time: number): void {
    this.time = time;
    this.isOpen = true;
    this.keys.seekToEnd();
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.values.dropWindow();
    this.giveBack(this);
  }

  get isValid(): boolean {
    return this.keys.isValid;
  }

  get key(): Uint8Array {
    return this.keys.key;
  }

  get keyLength(): number {
    return this.keys.keyLength;
  }

  /** Rank of the entry's key in the segment. */
  get ordinal(): number {
    return this.keys.ordinal;
  }

  get kind(): EntryKind {
    return this.isHidden() ? EntryKind.tombstone : EntryKind.put;
  }

  get expiry(): number {
    const { expiries } = this;
    if (expiries === undefined) return NEVER;
    const expiry = expiries.at(this.keys.ordinal);
    return expiry <= this.time ? NEVER : expiry;
  }

  seekToFirst(): void {
    this.keys.seekToFirst();
  }

  seekToLast(): void {
    this.keys.seekToLast();
  }

  seek(key: Uint8Array, length: number): void {
    this.keys.seek(key, length);
  }

  seekForPrev(key: Uint8Array, length: number): void {
    this.keys.seekForPrev(key, length);
  }

  /** Moves to the entry of rank `ordinal`, which must be below the key count. */
  seekToOrdinal(ordinal: number): void {
    this.keys.seekToOrdinal(ordinal);
  }

  next(): void {
    this.keys.next();
  }

  prev(): void {
    this.keys.prev();
  }

  readRun(run: EntryRun, count: number, bound: RunBound | undefined): number {
    const { keys, values } = this;
    let read = this.peek(run, count, bound);
    if (read === 0) return 0;
    if (run.hasValues) read = values.appendRun(run, 0, read);
    keys.finishRun(run, read);
    return read;
  }

  peek(run: EntryRun, count: number, bound: RunBound | undefined): number {
    const { keys } = this;
    const { ordinal } = keys;
    let found = this.putsFrom(ordinal, Math.min(count, run.capacity - run.count), run.isReverse);
    if (run.hasValues) found = this.values.openRun(ordinal, found, run.isReverse);
    if (found === 0) return 0;
    return keys.appendRun(run, found, bound);
  }

  appendValues(run: EntryRun, skip: number, count: number): number {
    const read = this.values.appendRun(run, skip, count);
    run.count += read;
    return read;
  }

  moveAhead(run: EntryRun, slot: number, skip: number): void {
    this.keys.moveAhead(run, slot, skip);
  }

  appendKey(output: ByteWriter): void {
    this.keys.appendKey(output);
  }

  value(): Uint8Array {
    const { view } = this;
    view.decoded.reset();
    this.viewValue(view);
    return view.bytes.subarray(view.start, view.end);
  }

  viewValue(view: ValueView): void {
    const { keys } = this;
    if (this.isHidden()) view.clear();
    else this.values.viewValue(keys.ordinal, keys.key, keys.keyLength, view);
  }

  viewStored(view: ValueView): ValuePlace | undefined {
    const { keys } = this;
    if (!this.isHidden()) {
      return this.values.viewStored(keys.ordinal, keys.key, keys.keyLength, view);
    }
    view.clear();
    return undefined;
  }

  /** How many entries from `ordinal` on, at most `count`, are puts. */
  private putsFrom(ordinal: number, count: number, isReverse: boolean): number {
    const { tombstones, expiries } = this;
    const hasNoExpired = expiries === undefined || this.time < expiries.earliest;
    if (tombstones.count === 0 && hasNoExpired) return count;
    const { keyCount } = this;
    let i = 0;
    for (; i < count; i++) {
      const at = isReverse ? ordinal - i : ordinal + i;
      if (at < 0 || at >= keyCount || this.isHiddenAt(at)) break;
    }
    return i;
  }

  /** Whether the entry is a tombstone, be it for having expired. */
  private isHidden(): boolean {
    return this.isHiddenAt(this.keys.ordinal);
  }

  private isHiddenAt(ordinal: number): boolean {
    const { tombstones, expiries } = this;
    if (tombstones.has(ordinal)) return true;
    return expiries?.hasExpired(ordinal, this.time) === true;
  }
}
