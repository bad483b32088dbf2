/**
 * SpareBuffers: the memory of memtables that were flushed, kept for the next ones.
 *
 * A SharedArrayBuffer gives its memory back when it is collected as garbage, and V8 does not count its
 * bytes as a reason to collect: under steady writes, memtables of 4 MiB that nobody reads any more came
 * to 500 MiB before it did. Besides, fresh memory costs a page fault for each page that is written to.
 *
 * Memory is used again only where nobody can read it. Reads that take longer than a turn of the event
 * loop go by a pin or by what is kept for transactions; the background thread has answered; and no
 * other read is under way while nothing but the event loop is on the stack. So a memtable that was
 * flushed is looked at when the loop next has its turn, and, as long as it is held, again after each
 * later flush.
 */
import { setImmediate } from "node:timers/promises";
import { verify } from "../assert.ts";
import type { Memtable, MemtableBuffers } from "../memtable/memtable.ts";
import { MAX_SEALED_MEMTABLES } from "./back-pressure.ts";

/** With the memtable being written there are no more than there may be with sealed ones. */
const MAX_SPARES: number = MAX_SEALED_MEMTABLES;

export class SpareBuffers {
  private readonly isHeld: (memtable: Memtable) => boolean;
  /** Flushed since the event loop last had its turn, or held when it had. */
  private retired: Memtable[];
  private isLooking: boolean;
  private spares: MemtableBuffers[];
  /** Resolves when there is nothing that may be had soon, but not now. */
  looked: Promise<void>;

  /** `isHeld`: whether anybody may read the memtable from now on, who does not read it now. */
  constructor(isHeld: (memtable: Memtable) => boolean) {
    this.isHeld = isHeld;
    this.retired = [];
    this.isLooking = false;
    this.spares = [];
    this.looked = Promise.resolve();
  }

  /** Bytes of memory that wait for a memtable. */
  get byteLength(): number {
    return this.spares.reduce((total, { byteLength }) => total + byteLength, 0);
  }

  /** Takes the memory of a memtable that was flushed, once it is certain that nobody reads it. */
  retire(memtable: Memtable): void {
    this.retired.push(memtable);
    if (this.isLooking) return;
    this.isLooking = true;
    this.looked = setImmediate().then(() => this.look());
  }

  /** What is there, if anything is, for the caller alone. */
  take(): MemtableBuffers | undefined {
    return this.spares.pop();
  }

  /** Lets go of all memory. To be called once no memtable is flushed any more. */
  drop(): void {
    this.retired = [];
    this.spares = [];
  }

  private look(): void {
    this.isLooking = false;
    const free = this.retired.filter((memtable) => !this.isHeld(memtable));
    this.retired = this.retired.filter((memtable) => !free.includes(memtable));
    for (const { buffers } of free) {
      if (buffers === undefined || this.spares.length === MAX_SPARES) continue;
      verify(() => overwrite(buffers));
      this.spares.push(buffers);
    }
  }
}

/** As no memtable has it: so that a test fails which reads what nobody may read any more. */
const OVERWRITTEN = 0xa5;
/** A table that is full would be searched for ever. */
const WITHOUT_KEYS = 0;

function overwrite({ arena, heap, table, byteLength }: MemtableBuffers): void {
  if (arena !== undefined) fill(arena, byteLength, OVERWRITTEN);
  fill(heap, byteLength, OVERWRITTEN);
  if (table !== undefined) fill(table, byteLength, WITHOUT_KEYS);
}

function fill(buffer: SharedArrayBuffer, byteLength: number, value: number): void {
  new Uint8Array(buffer, 0, Math.min(byteLength, buffer.byteLength)).fill(value);
}
