/**
 * ValueLogScanner: values of value logs for one cursor, which mostly walks from each to the next.
 *
 * A flush writes the large values of its entries in the order of their keys, and compaction leaves
 * them where they are. So the values that a cursor comes by lie one behind the other in each of the
 * logs, with gaps where some were overwritten. As long as a value lies near the last one of its log,
 * in either direction, the next read takes twice as much as the one before; else the value alone.
 *
 * A value of several chunks is read into an array of its own.
 */
import type { ValueView } from "../cursor/value-view.ts";
import type { ValuePlace } from "../entry.ts";
import { HEADER_BYTES } from "./format.ts";
import type { ValueLog } from "./value-log.ts";
import { CHUNK_VALUE_BYTES, MAX_CHUNK_BYTES } from "./value-log-format.ts";

/** The most that is read ahead of a log: two whole chunks. */
const MAX_WINDOW_BYTES: number = 2 * MAX_CHUNK_BYTES;
/** A value is near if the gap before it is no longer: it takes as long to read as another call does. */
const MIN_NEAR_BYTES = 2 ** 14;
/** Logs of which something is held: a merged run goes to and fro between those of its flushes. */
const MAX_WINDOWS = 8;

export class ValueLogScanner {
  private readonly windows: Map<ValueLog, Window>;

  constructor() {
    this.windows = new Map();
  }

  /** Points `view` at a value until the next call. Throws CorruptionError. */
  viewValue(log: ValueLog, place: ValuePlace, view: ValueView): void {
    if (place.length > CHUNK_VALUE_BYTES) {
      const value = log.read(place);
      view.set(value, 0, value.length);
      return;
    }
    log.checkPlace(place);
    const window = this.windows.get(log) ?? this.addWindow(log);
    log.viewStored(window.read(place), place, view);
  }

  /** Lets go of what was read. */
  dropWindows(): void {
    // To clear an empty one makes a table anew, for each segment at the end of each short range.
    if (this.windows.size > 0) this.windows.clear();
  }

  private addWindow(log: ValueLog): Window {
    // The oldest leaves; maps keep the order in which they were filled.
    const [oldest] = this.windows.keys();
    if (oldest !== undefined && this.windows.size === MAX_WINDOWS) this.windows.delete(oldest);
    const window = new Window(log);
    this.windows.set(log, window);
    return window;
  }
}

/** Bytes [start, end) of a log. */
class Window {
  private readonly log: ValueLog;
  private bytes: Uint8Array;
  private start: number;
  private end: number;

  constructor(log: ValueLog) {
    this.log = log;
    this.bytes = new Uint8Array(0);
    this.start = 0;
    this.end = 0;
  }

  /** The stored bytes of a value, until the next call. */
  read({ offset, storedLength }: ValuePlace): Uint8Array {
    const valueEnd = offset + storedLength;
    if (offset < this.start || valueEnd > this.end) this.fill(offset, valueEnd);
    return this.bytes.subarray(offset - this.start, valueEnd - this.start);
  }

  /** Reads log[offset, valueEnd), and what the next values are likely to need. */
  private fill(offset: number, valueEnd: number): void {
    const length = this.end - this.start;
    const near = Math.max(length, MIN_NEAR_BYTES);
    const isNext = offset >= this.start && offset <= this.end + near;
    const isPrevious = valueEnd <= this.end && valueEnd >= this.start - near;
    const ahead = isNext || isPrevious ? Math.min(2 * length, MAX_WINDOW_BYTES) : 0;
    const wanted = Math.max(valueEnd - offset, ahead);
    const start = isPrevious ? Math.max(HEADER_BYTES, valueEnd - wanted) : offset;
    const end = isPrevious ? valueEnd : Math.min(this.log.meta.fileBytes, offset + wanted);
    try {
      this.load(start, end, valueEnd);
    } catch (error) {
      if (start === offset && end === valueEnd) throw error;
      // What cannot be read may be no part of the value, but of one that nobody asks for.
      this.load(offset, valueEnd, valueEnd);
    }
  }

  /** Reads log[start, end), at least up to `needed`. */
  private load(start: number, end: number, needed: number): void {
    // Nothing is held while a read may throw.
    this.start = 0;
    this.end = 0;
    if (end - start > this.bytes.length) this.bytes = new Uint8Array(end - start);
    const target = this.bytes.subarray(0, end - start);
    const count = this.log.readStored(target, start, needed - start);
    this.start = start;
    this.end = start + count;
  }
}
