/** The slow and obvious database: a map, and ranges as a filter over its sorted entries. */
import { expect } from "vitest";
import type { IterationRange, KeyRange } from "../../src/index.ts";

export type Entry = [key: string, value: string];

/** Order of the store: by the bytes of UTF-8. */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Whether a key is in a range, read from its fields one by one. */
export function isInRange(key: string, range: IterationRange<string>): boolean {
  const { gt, gte, lt, lte, prefix } = range;
  return (
    (gt === undefined || compareKeys(key, gt) > 0) &&
    (gte === undefined || compareKeys(key, gte) >= 0) &&
    (lt === undefined || compareKeys(key, lt) < 0) &&
    (lte === undefined || compareKeys(key, lte) <= 0) &&
    (prefix === undefined || key.startsWith(prefix))
  );
}

/** Whether two lists hold the same entries in the same order. */
export function areSameEntries(a: readonly Entry[], b: readonly Entry[]): boolean {
  return (
    a.length === b.length && a.every(([key, value], i) => key === b[i][0] && value === b[i][1])
  );
}

/** As `expect(actual).toEqual(expected)`, which is slow for what is nearly always equal. */
export function expectEntries(actual: readonly Entry[], expected: readonly Entry[]): void {
  if (!areSameEntries(actual, expected)) expect(actual).toEqual(expected);
}

/** What time it is, which tests change. */
export interface Clock {
  readonly time: number;
}

/** A value that is gone from a time on. */
interface Expiring {
  readonly value: string;
  readonly expiry: number;
}

export class SortedMap {
  private readonly values: Map<string, Expiring>;
  private readonly clock: Clock;
  /** Of puts that have none. */
  private readonly ttl: number;

  constructor(clock: Clock = { time: 0 }, ttl: number = Number.POSITIVE_INFINITY) {
    this.values = new Map();
    this.clock = clock;
    this.ttl = ttl;
  }

  get(key: string): string | undefined {
    const found = this.values.get(key);
    return found === undefined || found.expiry <= this.clock.time ? undefined : found.value;
  }

  put(key: string, value: string, ttl: number = this.ttl): void {
    this.values.set(key, { value, expiry: this.clock.time + ttl });
  }

  delete(key: string): void {
    this.values.delete(key);
  }

  deleteRange(range: KeyRange<string>): void {
    for (const key of [...this.values.keys()]) {
      if (isInRange(key, range)) this.values.delete(key);
    }
  }

  /** With the same clock, unless another is given. */
  copy(clock: Clock = this.clock): SortedMap {
    const copy = new SortedMap(clock, this.ttl);
    for (const [key, value] of this.values) copy.values.set(key, value);
    return copy;
  }

  /** A copy to which time stands still. */
  moment(): SortedMap {
    return this.copy({ time: this.clock.time });
  }

  entries(range: IterationRange<string> = {}): Entry[] {
    const { reverse = false, limit = -1 } = range;
    const found: Entry[] = [];
    for (const key of this.values.keys()) {
      const value = this.get(key);
      if (value !== undefined && isInRange(key, range)) found.push([key, value]);
    }
    found.sort(([a], [b]) => compareKeys(a, b));
    if (reverse) found.reverse();
    return limit < 0 ? found : found.slice(0, limit);
  }
}
