/**
 * StateWriter: writes the elements of states, from the end of the buffer towards its start.
 *
 * A state can only be written when the states below it are, and a reader wants to walk forward
 * through memory; so the buffer is filled from its end, and a state lands right before the state
 * that its last transition leads to. An address is the distance of a state from the end of the
 * buffer: it stays the same when the buffer grows at its front. Address 0 is END, which is no place
 * but a byte that is written wherever it is needed.
 *
 * Invariants:
 * 1. A state's address is greater than those of all states below it.
 * 2. `length` is the address of what was written last.
 */
import { InvalidArgumentError } from "../errors.ts";
import { BRANCH, COUNT_WIDTHS, END, ESCAPE, FINAL, GOTO, MAX_STATE_BYTES } from "./format.ts";
import type { StateMarks } from "./state-marks.ts";

/** What END's address is: see above. */
export const END_ADDRESS = 0;

/** The largest element: a branch of 256 labels with offsets and counts of four bytes. */
const MAX_ELEMENT_BYTES: number = 2 + 256 + 255 * (4 + 4);

/** A stack of transitions as parallel arrays: label, address of the target, keys below it. */
export class Transitions {
  labels: Uint8Array;
  targets: Int32Array;
  keyCounts: Int32Array;
  length: number;

  constructor() {
    this.labels = new Uint8Array(1024);
    this.targets = new Int32Array(1024);
    this.keyCounts = new Int32Array(1024);
    this.length = 0;
  }

  push(label: number, target: number, keyCount: number): void {
    const at = this.length;
    if (at === this.labels.length) this.grow();
    this.labels[at] = label;
    this.targets[at] = target;
    this.keyCounts[at] = keyCount;
    this.length = at + 1;
  }

  private grow(): void {
    const capacity = this.labels.length * 2;
    const labels = new Uint8Array(capacity);
    const targets = new Int32Array(capacity);
    const keyCounts = new Int32Array(capacity);
    labels.set(this.labels);
    targets.set(this.targets);
    keyCounts.set(this.keyCounts);
    this.labels = labels;
    this.targets = targets;
    this.keyCounts = keyCounts;
  }
}

export class StateWriter {
  /** Bytes written: the last `length` of the buffer. */
  length: number;
  private buffer: Uint8Array;
  private readonly marks: StateMarks | undefined;

  /**
   * `capacityBytes` is what will be written, if that is known: growing copies. `marks`, where the
   * states are to be packed, gets their marks.
   */
  constructor(capacityBytes: number = 1 << 16, marks?: StateMarks) {
    this.length = 0;
    this.marks = marks;
    this.buffer = new Uint8Array(capacityBytes);
  }

  /** View of what was written; valid until the next write. */
  get bytes(): Uint8Array {
    return this.buffer.subarray(this.buffer.length - this.length);
  }

  /** FINAL or END. */
  element(byte: number): void {
    // Making room may replace the buffer, so it must come first.
    const pos = this.makeRoom(1);
    this.buffer[pos] = byte;
    this.marks?.addOther(this.length);
  }

  /** Elements in a row, of which each leads to the next: elements[0, count). */
  elements(elements: Uint8Array, count: number): void {
    let pos = this.makeRoom(count);
    const { buffer } = this;
    for (let i = 0; i < count; i++) buffer[pos++] = elements[i];
  }

  /** A transition by one byte to what was written last: the byte as it is, or an escape. */
  byte(label: number): void {
    const isEscape = label >= GOTO;
    let pos = this.makeRoom(isEscape ? 2 : 1);
    if (isEscape) this.buffer[pos++] = ESCAPE;
    this.buffer[pos] = label;
  }

  /** Transitions by labels[start, end), each to the next and the last to what was written last. */
  chain(labels: Uint8Array, start: number, end: number): void {
    let escapes = 0;
    for (let i = start; i < end; i++) if (labels[i] >= GOTO) escapes++;
    let pos = this.makeRoom(end - start + escapes);
    const { buffer } = this;
    for (let i = start; i < end; i++) {
      if (labels[i] >= GOTO) buffer[pos++] = ESCAPE;
      buffer[pos++] = labels[i];
    }
  }

  /**
   * Makes `target` what follows: nothing if it was written last, a copy if it is a tail no longer
   * than an address (which spares bytes now, and a reader the jump), else an address.
   */
  follow(target: number): void {
    if (target === END_ADDRESS) {
      this.element(END);
      return;
    }
    if (target === this.length) return;
    const offset = this.length - target;
    const width = widthOf(offset);
    const tail = this.tailLength(target, 1 + width);
    if (tail > 0) {
      const pos = this.makeRoom(tail);
      const from = this.buffer.length - target;
      // The tail ends with END, which is where the states began before.
      this.marks?.addOther(this.length - tail + 1);
      this.buffer.copyWithin(pos, from, from + tail);
      return;
    }
    const pos = this.makeRoom(1 + width);
    this.marks?.addOther(this.length);
    this.marks?.addTarget(target);
    this.buffer[pos] = GOTO + width - 1;
    this.writeInteger(pos + 1, width, offset);
  }

  /**
   * A branch with the transitions from `start` to the top, of which there are two or more. Its last
   * target must be what was written last: call `follow` before.
   */
  branch(transitions: Transitions, start: number): void {
    const { labels, targets, keyCounts } = transitions;
    const last = transitions.length - 1;
    const count = last + 1 - start;
    const endAddress = this.length;
    let largestOffset = 0;
    let keysBefore = 0;
    let isOneEach = true;
    for (let i = start; i < last; i++) {
      const offset = offsetOf(endAddress, targets[i]);
      if (offset > largestOffset) largestOffset = offset;
      if (keyCounts[i] !== 1) isOneEach = false;
      keysBefore += keyCounts[i];
    }
    const width = widthOf(largestOffset);
    const countBits = isOneEach ? 0 : keysBefore < 0x100 ? 1 : keysBefore < 0x10000 ? 2 : 3;
    const countWidth = COUNT_WIDTHS[countBits];
    const isWide = count > 4;

    let pos = this.makeRoom((isWide ? 2 : 1) + count + (count - 1) * (width + countWidth));
    this.markBranch(targets, start, last);
    this.buffer[pos++] = BRANCH | ((isWide ? 3 : count - 2) << 4) | ((width - 1) << 2) | countBits;
    if (isWide) this.buffer[pos++] = count - 2;
    for (let i = start; i <= last; i++) this.buffer[pos++] = labels[i];
    keysBefore = 0;
    for (let i = start; i < last; i++) {
      keysBefore += keyCounts[i];
      this.writeInteger(pos, width, offsetOf(endAddress, targets[i]));
      this.writeInteger(pos + width, countWidth, keysBefore);
      pos += width + countWidth;
    }
  }

  /** Marks the branch just begun, and the targets that it has addresses of: [start, last). */
  private markBranch(targets: Int32Array, start: number, last: number): void {
    const { marks } = this;
    if (marks === undefined) return;
    marks.addOther(this.length);
    for (let i = start; i < last; i++) {
      if (targets[i] !== END_ADDRESS) marks.addTarget(targets[i]);
    }
  }

  /**
   * Whether the state at `address` is final as asked and has the transitions from `start` to the
   * top, but for the target of the last one, which the caller has compared. Each symbol must still
   * be the byte it is.
   */
  equals(address: number, isFinal: boolean, transitions: Transitions, start: number): boolean {
    const { buffer } = this;
    const { labels, targets } = transitions;
    const count = transitions.length - start;
    let pos = buffer.length - address;
    if (buffer[pos] === FINAL) {
      if (!isFinal) return false;
      pos++;
    } else if (isFinal) {
      return false;
    }
    const element = buffer[pos];
    if (count === 1) {
      return (
        (element === ESCAPE ? buffer[pos + 1] : element < GOTO ? element : -1) === labels[start]
      );
    }
    if (element < BRANCH) return false;
    pos++;
    const countField = (element >> 4) & 3;
    if ((countField === 3 ? buffer[pos++] : countField) + 2 !== count) return false;
    for (let i = 0; i < count; i++) {
      if (buffer[pos + i] !== labels[start + i]) return false;
    }
    pos += count;
    const width = ((element >> 2) & 3) + 1;
    const stride = width + COUNT_WIDTHS[element & 3];
    const endAddress = buffer.length - (pos + (count - 1) * stride);
    for (let i = start; i < transitions.length - 1; i++) {
      if (this.readInteger(pos, width) !== offsetOf(endAddress, targets[i])) return false;
      pos += stride;
    }
    return true;
  }

  /** Whether the state at `address` is not final and has one transition, by `label`. */
  isOne(address: number, label: number): boolean {
    const { buffer } = this;
    const pos = buffer.length - address;
    return label < GOTO
      ? buffer[pos] === label
      : buffer[pos] === ESCAPE && buffer[pos + 1] === label;
  }

  /** Bytes up to and with END, if only symbols come before it and it is within `limit`; else 0. */
  private tailLength(target: number, limit: number): number {
    const { buffer } = this;
    const start = buffer.length - target;
    let pos = start;
    while (buffer[pos] < GOTO && pos - start < limit) pos++;
    return buffer[pos] === END && pos - start < limit ? pos + 1 - start : 0;
  }

  private writeInteger(start: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) {
      this.buffer[start + i] = value;
      value >>>= 8;
    }
  }

  private readInteger(start: number, width: number): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = (value << 8) | this.buffer[start + i];
    return value;
  }

  /** Takes `count` bytes before what was written last; returns their index in the buffer. */
  private makeRoom(count: number): number {
    this.length += count;
    if (this.length > this.buffer.length) this.grow(count);
    return this.buffer.length - this.length;
  }

  private grow(count: number): void {
    const needed = this.length + MAX_ELEMENT_BYTES;
    if (needed > MAX_STATE_BYTES) {
      throw new InvalidArgumentError(
        `the states of a frozen layer take at most ${MAX_STATE_BYTES} bytes: divide the keys among several layers`,
      );
    }
    const size = Math.min(Math.max(needed, this.buffer.length * 2), MAX_STATE_BYTES);
    const grown = new Uint8Array(size);
    const written = this.length - count;
    grown.set(this.buffer.subarray(this.buffer.length - written), size - written);
    this.buffer = grown;
  }
}

/** What a branch that ends at `endAddress` writes for a transition to `target`. */
function offsetOf(endAddress: number, target: number): number {
  return target === END_ADDRESS ? 0 : endAddress - target + 1;
}

function widthOf(value: number): number {
  return value < 0x100 ? 1 : value < 0x10000 ? 2 : value < 0x1000000 ? 3 : 4;
}
