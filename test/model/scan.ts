/** entries, keys, values and count of a range; and where in the order of all keys it is. */
import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import type { Database, IterationRange, Snapshot } from "../../src/index.ts";
import { compareKeys, type Entry, expectEntries, type SortedMap } from "./sorted-map.ts";
import type { Model, System } from "./system.ts";

export class Scan implements AsyncCommand<Model, System> {
  private readonly range: IterationRange<string>;

  constructor(range: IterationRange<string>) {
    this.range = range;
  }

  check(): boolean {
    return true;
  }

  async run({ content }: Model, { database }: System): Promise<void> {
    expectSameScan(database, content, this.range);
  }

  toString(): string {
    return `scan(${JSON.stringify(this.range)})`;
  }
}

export function expectSameScan(
  view: Database<string, string> | Snapshot<string, string>,
  content: SortedMap,
  range: IterationRange<string>,
): void {
  const expected = content.entries(range);
  expectEntries([...view.entries(range)], expected);
  const keys = [...view.keys(range)];
  const values = [...view.values(range)];
  expect([keys.length, values.length]).toEqual([expected.length, expected.length]);
  expectEntries(
    keys.map((key, i) => [key, values[i]]),
    expected,
  );
  const { reverse: _, limit: __, ...bounds } = range;
  const inBounds = content.entries(bounds);
  expect(view.count(bounds)).toBe(inBounds.length);
  expectSameOrder(view, content, inBounds);
}

/** rank and at of some keys, wherever the model has them. */
function expectSameOrder(
  view: Database<string, string> | Snapshot<string, string>,
  content: SortedMap,
  some: readonly Entry[],
): void {
  const all = content.entries().map(([key]) => key);
  for (const key of [...some.map(([key]) => key), "absent"]) {
    const rank = view.rank(key);
    expect(rank).toBe(all.filter((other) => compareKeys(other, key) < 0).length);
    expect(view.at(rank)).toBe(all[rank]);
  }
  expect(view.at(all.length)).toBeUndefined();
}
