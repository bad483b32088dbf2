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

export class SortedMap {
  private readonly values: Map<string, string>;

  constructor(values: Iterable<Entry> = []) {
    this.values = new Map(values);
  }

  get(key: string): string | undefined {
    return this.values.get(key);
  }

  put(key: string, value: string): void {
    this.values.set(key, value);
  }

  delete(key: string): void {
    this.values.delete(key);
  }

  deleteRange(range: KeyRange<string>): void {
    for (const key of [...this.values.keys()]) {
      if (isInRange(key, range)) this.values.delete(key);
    }
  }

  copy(): SortedMap {
    return new SortedMap(this.values);
  }

  entries(range: IterationRange<string> = {}): Entry[] {
    const { reverse = false, limit = -1 } = range;
    const found = [...this.values].filter(([key]) => isInRange(key, range));
    found.sort(([a], [b]) => compareKeys(a, b));
    if (reverse) found.reverse();
    return limit < 0 ? found : found.slice(0, limit);
  }
}
