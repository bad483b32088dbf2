/**
 * What was written, in order, and what of it must survive.
 *
 * Writes are numbered in the order in which they were asked for, which is the order of the log. A
 * database that recovers must show the effect of the first p of them, for some p that is not below
 * the newest write it had acknowledged as durable: so no acknowledged write is lost, none is applied
 * out of order, and no batch in part.
 *
 * The contents after each number of writes are kept as fingerprints: sums of a hash of each entry,
 * which a write changes by subtraction and addition.
 */
import { checksum } from "../../src/bytes/checksum.ts";

export interface Write {
  readonly key: string;
  /** Undefined: the key is deleted. */
  readonly value: string | undefined;
}

/** Deletes every key from `start` up to `end`. */
export interface RangeDeletion {
  readonly start: string;
  readonly end: string;
}

/** Two sums of hashes, each modulo 2^32. */
export class Fingerprint {
  #a = 0;
  #b = 0;

  add(key: string, value: string): void {
    const [a, b] = hashes(key, value);
    this.#a = (this.#a + a) >>> 0;
    this.#b = (this.#b + b) >>> 0;
  }

  subtract(key: string, value: string): void {
    const [a, b] = hashes(key, value);
    this.#a = (this.#a - a) >>> 0;
    this.#b = (this.#b - b) >>> 0;
  }

  toString(): string {
    return `${this.#a}-${this.#b}`;
  }
}

function hashes(key: string, value: string): [number, number] {
  const bytes = new TextEncoder().encode(`${key}\0${value}\0`);
  const first = checksum(bytes);
  bytes[bytes.length - 1] = 1;
  return [first, checksum(bytes)];
}

/** What a disk may show that is read after a crash at one moment. */
export interface Expectation {
  /** Contents after each number of writes; longer by now, perhaps. */
  readonly fingerprints: readonly string[];
  /** The fewest writes that it may show after a power cut, and after the process alone crashed. */
  readonly durable: number;
  readonly acknowledged: number;
  /** The most. */
  readonly submitted: number;
}

export class History {
  /** Contents after all writes. */
  #content = new Map<string, string>();
  #fingerprint = new Fingerprint();
  #fingerprints: string[] = [new Fingerprint().toString()];
  /** How to undo each write: the values it replaced, last first. */
  #undo: Write[][] = [];
  #durable = 0;
  #acknowledged = 0;

  get length(): number {
    return this.#undo.length;
  }

  get content(): ReadonlyMap<string, string> {
    return this.#content;
  }

  get fingerprint(): string {
    return this.#fingerprint.toString();
  }

  /** Notes one write, which may be a batch. Returns how many there are now. */
  submit(writes: readonly (Write | RangeDeletion)[]): number {
    const undo: Write[] = [];
    for (const write of writes) {
      for (const { key, value } of "key" in write ? [write] : this.#deletions(write)) {
        undo.unshift({ key, value: this.#content.get(key) });
        this.#set(key, value);
      }
    }
    this.#undo.push(undo);
    this.#fingerprints.push(this.fingerprint);
    return this.#undo.length;
  }

  /** The first `count` writes were acknowledged. */
  acknowledge(count: number, isDurable: boolean): void {
    this.#acknowledged = Math.max(this.#acknowledged, count);
    if (isDurable) this.#durable = Math.max(this.#durable, count);
  }

  /** Everything acknowledged was made durable. */
  sync(count: number): void {
    this.#durable = Math.max(this.#durable, count);
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** What holds for a crash now. */
  expectation(): Expectation {
    return {
      fingerprints: this.#fingerprints,
      durable: this.#durable,
      acknowledged: this.#acknowledged,
      submitted: this.length,
    };
  }

  /** A database recovered with the first `count` writes: the others are gone, these are durable. */
  recovered(count: number): void {
    while (this.#undo.length > count) {
      for (const { key, value } of this.#undo.pop() ?? []) this.#set(key, value);
    }
    // Expectations of earlier moments keep the array that has what is gone.
    this.#fingerprints = this.#fingerprints.slice(0, count + 1);
    this.#acknowledged = count;
    this.#durable = count;
  }

  #deletions({ start, end }: RangeDeletion): Write[] {
    const keys = [...this.#content.keys()].filter((key) => key >= start && key < end);
    return keys.map((key) => ({ key, value: undefined }));
  }

  #set(key: string, value: string | undefined): void {
    const old = this.#content.get(key);
    if (old !== undefined) this.#fingerprint.subtract(key, old);
    if (value === undefined) {
      this.#content.delete(key);
    } else {
      this.#content.set(key, value);
      this.#fingerprint.add(key, value);
    }
  }
}
