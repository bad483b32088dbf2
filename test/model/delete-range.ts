import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import type { KeyRange } from "../../src/index.ts";
import { describeRange } from "./operations.ts";
import type { Model, System } from "./system.ts";

export class DeleteRange implements AsyncCommand<Model, System> {
  private readonly range: KeyRange<string>;

  constructor(range: KeyRange<string>) {
    this.range = range;
  }

  check(): boolean {
    return true;
  }

  async run({ content }: Model, { database }: System): Promise<void> {
    // What was just read must not be remembered.
    const keys = [...database.keys(this.range)];
    expect(database.getMany(keys)).toEqual(keys.map((key) => content.get(key)));
    await database.deleteRange(this.range);
    content.deleteRange(this.range);
    expect([...database.keys(this.range)]).toEqual([]);
    expect(database.getMany(keys)).toEqual(keys.map(() => undefined));
    expect(database.count(this.range)).toBe(0);
  }

  toString(): string {
    return `deleteRange(${describeRange(this.range)})`;
  }
}
