/** entries, keys, values and count of a range. */
import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import type { Database, IterationRange, Snapshot } from "../../src/index.ts";
import { expectEntries, type SortedMap } from "./sorted-map.ts";
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
  expect(view.count(bounds)).toBe(content.entries(bounds).length);
}
