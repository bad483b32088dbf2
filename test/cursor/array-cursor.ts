/** Cursors for tests: the slow and obvious one over a sorted array, and random moves to compare with. */
import fc from "fast-check";
import { expect } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { ByteWriter } from "../../src/bytes/writer.ts";
import type { Cursor } from "../../src/cursor/cursor.ts";
import type { EntryRun, RunBound } from "../../src/cursor/entry-run.ts";
import { ValueView } from "../../src/cursor/value-view.ts";
import { EntryKind, NEVER } from "../../src/entry.ts";

export interface ArrayEntry {
  readonly key: Uint8Array;
  readonly kind: EntryKind;
  readonly value: Uint8Array;
  /** Default: NEVER. */
  readonly expiry?: number;
}

/**
 * A position in an array of entries in key order. Keys and values are handed out in one buffer each,
 * which every move overwrites, so that a user that keeps a view past its lifetime is found out.
 */
export class ArrayCursor implements Cursor {
  readonly key: Uint8Array = new Uint8Array(64);
  keyLength = 0;
  protected readonly entries: readonly ArrayEntry[];
  private readonly valueBuffer: Uint8Array = new Uint8Array(512);
  protected index = -1;

  constructor(entries: readonly ArrayEntry[]) {
    this.entries = entries;
  }

  get isValid(): boolean {
    return this.index >= 0 && this.index < this.entries.length;
  }

  get kind(): EntryKind {
    return this.entry().kind;
  }

  get expiry(): number {
    return this.entry().expiry ?? NEVER;
  }

  appendKey(output: ByteWriter): void {
    output.append(this.key, 0, this.keyLength);
  }

  value(): Uint8Array {
    const { value } = this.entry();
    this.valueBuffer.set(value);
    return this.valueBuffer.subarray(0, value.length);
  }

  viewValue(view: ValueView): void {
    const value = this.value();
    view.set(value, 0, value.length);
  }

  viewStored(view: ValueView): undefined {
    this.viewValue(view);
  }

  seekToFirst(): void {
    this.moveTo(0);
  }

  seekToLast(): void {
    this.moveTo(this.entries.length - 1);
  }

  seek(key: Uint8Array, length: number): void {
    const target = key.slice(0, length);
    const index = this.entries.findIndex((entry) => compareBytes(entry.key, target) >= 0);
    this.moveTo(index < 0 ? this.entries.length : index);
  }

  seekForPrev(key: Uint8Array, length: number): void {
    const target = key.slice(0, length);
    this.moveTo(this.entries.findLastIndex((entry) => compareBytes(entry.key, target) <= 0));
  }

  next(): void {
    this.entry();
    this.moveTo(this.index + 1);
  }

  prev(): void {
    this.entry();
    this.moveTo(this.index - 1);
  }

  protected moveTo(index: number): void {
    this.index = index;
    this.key.fill(0xee);
    this.valueBuffer.fill(0xee);
    if (!this.isValid) return;
    const { key } = this.entries[index];
    this.key.set(key);
    this.keyLength = key.length;
  }

  private entry(): ArrayEntry {
    if (!this.isValid) throw new RangeError("the cursor is not at an entry");
    return this.entries[this.index];
  }
}

/** An ArrayCursor that reads several entries at once, and can be peeked at. */
export class RunCursor extends ArrayCursor {
  /** Where it stood when it was peeked at, and how many entries were shown. */
  private from = 0;
  private shown = 0;

  readRun(run: EntryRun, count: number, bound: RunBound | undefined): number {
    const found = this.peek(run, count, bound);
    if (found === 0) return 0;
    const read = run.hasValues ? this.appendValues(run, 0, found) : found;
    if (!run.hasValues) run.count += found;
    this.moveAhead(run, run.count - 1, read - 1);
    return read;
  }

  peek(run: EntryRun, count: number, bound: RunBound | undefined): number {
    const { isReverse, keys, keyStarts, keyEnds, keyShared } = run;
    const limit = bound?.key.slice(0, bound.length);
    const wanted = Math.min(count, run.capacity - run.count);
    this.from = this.index;
    this.shown = 0;
    for (; this.shown < wanted; this.shown++) {
      const entry = this.entries[this.indexAhead(this.shown, isReverse)];
      if (entry === undefined || entry.kind !== EntryKind.put) break;
      const order =
        limit === undefined ? -1 : compareBytes(entry.key, limit) * (isReverse ? -1 : 1);
      // The first is not looked at: who asks knows that it is within.
      if (this.shown > 0 && (order > 0 || (order === 0 && bound?.isInclusive !== true))) break;
      const slot = run.count + this.shown;
      const before =
        this.shown > 0 ? keys.buffer.slice(keyStarts[slot - 1], keyEnds[slot - 1]) : [];
      let shared = 0;
      while (shared < before.length && before[shared] === entry.key[shared]) shared++;
      keyShared[slot] = shared;
      keyStarts[slot] = keys.length;
      keys.append(entry.key);
      keyEnds[slot] = keys.length;
    }
    // Until it is moved it may not be asked for its key.
    if (this.shown > 0) this.key.fill(0xdd);
    return this.shown;
  }

  appendValues(run: EntryRun, skip: number, count: number): number {
    const { isReverse, keys, value, hasValues } = run;
    if (!hasValues) throw new RangeError("values were not asked for");
    let read = 0;
    for (; read < count && value.decoded.length < run.maxBytes; read++) {
      if (skip + read >= this.shown) throw new RangeError("the value was not peeked at");
      const entry = this.entries[this.indexAhead(skip + read, isReverse)];
      const slot = run.count;
      expect(keys.buffer.slice(run.keyStarts[slot], run.keyEnds[slot])).toEqual(entry.key);
      run.valueStarts[slot] = value.decoded.length;
      value.decoded.append(entry.value);
      run.valueEnds[slot] = value.decoded.length;
      run.count++;
    }
    return read;
  }

  moveAhead(run: EntryRun, slot: number, skip: number): void {
    this.moveTo(this.indexAhead(skip, run.isReverse));
    const key = run.keys.buffer.slice(run.keyStarts[slot], run.keyEnds[slot]);
    expect(this.key.slice(0, this.keyLength)).toEqual(key);
  }

  private indexAhead(skip: number, isReverse: boolean): number {
    return isReverse ? this.from - skip : this.from + skip;
  }
}

/** Keys that collide and that are prefixes of one another, the empty one included. */
export const anyKey: fc.Arbitrary<Uint8Array> = fc
  .array(fc.constantFrom(0x00, 0x61, 0xff), { maxLength: 4 })
  .map((bytes) => Uint8Array.from(bytes));

/** Entries in key order, each key once. */
export const anyEntries: fc.Arbitrary<ArrayEntry[]> = fc
  .uniqueArray(
    fc.record({
      key: anyKey,
      kind: fc.constantFrom(EntryKind.put, EntryKind.tombstone),
      value: fc.uint8Array({ maxLength: 3 }),
      expiry: fc.constantFrom(NEVER, NEVER, 1, 2),
    }),
    { selector: ({ key }) => key.join(), maxLength: 40, size: "max" },
  )
  .map((entries) => entries.sort((a, b) => compareBytes(a.key, b.key)));

export type Move =
  | { readonly to: "seek" | "seekForPrev"; readonly key: Uint8Array }
  | { readonly to: "seekToFirst" | "seekToLast" | "next" | "prev" };

const anyMove: fc.Arbitrary<Move> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ to: fc.constantFrom("seek", "seekForPrev"), key: anyKey }) },
  { weight: 1, arbitrary: fc.record({ to: fc.constantFrom("seekToFirst", "seekToLast") }) },
  { weight: 9, arbitrary: fc.record({ to: fc.constantFrom("next", "prev") }) },
);

export const anyMoves: fc.Arbitrary<Move[]> = fc.array(anyMove, { maxLength: 60, size: "max" });

/** Makes the same moves with both cursors, and expects them to be at the same entry all along. */
export function expectSameWalk(cursor: Cursor, reference: Cursor, moves: readonly Move[]): void {
  expect(cursor.isValid).toBe(false);
  for (const move of moves) {
    for (const mover of [cursor, reference]) {
      if (move.to === "seek" || move.to === "seekForPrev")
        mover[move.to](move.key, move.key.length);
      else if (move.to === "seekToFirst" || move.to === "seekToLast") mover[move.to]();
      else if (mover.isValid) mover[move.to]();
    }
    expect(read(cursor)).toEqual(read(reference));
  }
}

/** The entry at a cursor, copied; undefined off the ends. */
export function read(cursor: Cursor): ArrayEntry | undefined {
  if (!cursor.isValid) return undefined;
  const key = cursor.key.slice(0, cursor.keyLength);
  const value = cursor.value().slice();
  const appended = new ByteWriter();
  cursor.appendKey(appended);
  expect(appended.take()).toEqual(key);
  const view = new ValueView();
  cursor.viewValue(view);
  expect(view.bytes.slice(view.start, view.end)).toEqual(value);
  const { kind, expiry } = cursor;
  return { key, kind, value, ...(expiry === NEVER ? {} : { expiry }) };
}
