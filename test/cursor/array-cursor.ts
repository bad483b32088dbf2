/** Cursors for tests: the slow and obvious one over a sorted array, and random moves to compare with. */
import fc from "fast-check";
import { expect } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { ByteWriter } from "../../src/bytes/writer.ts";
import type { Cursor } from "../../src/cursor/cursor.ts";
import type { EntryRun } from "../../src/cursor/entry-run.ts";
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
  private readonly entries: readonly ArrayEntry[];
  private readonly valueBuffer: Uint8Array = new Uint8Array(512);
  private index = -1;

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

  private moveTo(index: number): void {
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

/** An ArrayCursor that reads several entries at once. */
export class RunCursor extends ArrayCursor {
  readRun(
    run: EntryRun,
    count: number,
    bound: Uint8Array | undefined,
    boundLength: number,
    isBoundInclusive: boolean,
  ): number {
    const { isReverse, keys, value } = run;
    const first = run.count;
    const limit = bound?.slice(0, boundLength);
    while (run.count < first + count && !run.isFull) {
      run.keyStarts[run.count] = keys.length;
      this.appendKey(keys);
      run.keyEnds[run.count] = keys.length;
      run.valueStarts[run.count] = value.decoded.length;
      value.decoded.append(this.value());
      run.valueEnds[run.count] = value.decoded.length;
      run.count++;
      if (isReverse) this.prev();
      else this.next();
      const order =
        this.isValid && limit !== undefined
          ? compareBytes(this.key.subarray(0, this.keyLength), limit) * (isReverse ? -1 : 1)
          : -1;
      const isWithin = order < 0 || (order === 0 && isBoundInclusive);
      if (this.isValid && isWithin && this.kind === EntryKind.put) continue;
      break;
    }
    // It is to stand at the last that was read.
    const last = keys.buffer.slice(run.keyStarts[run.count - 1], run.keyEnds[run.count - 1]);
    this.seek(last, last.length);
    return run.count - first;
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
