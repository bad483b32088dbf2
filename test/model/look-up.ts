/** get, getMany and has agree with the model, and so with one another. */
import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import type { Model, System } from "./system.ts";

export class LookUp implements AsyncCommand<Model, System> {
  private readonly keys: readonly string[];

  constructor(keys: readonly string[]) {
    this.keys = keys;
  }

  check(): boolean {
    return true;
  }

  async run({ content }: Model, { database }: System): Promise<void> {
    const expected = this.keys.map((key) => content.get(key));
    expect(this.keys.map((key) => database.get(key))).toEqual(expected);
    expect(database.getMany(this.keys)).toEqual(expected);
    expect(this.keys.map((key) => database.has(key))).toEqual(
      expected.map((value) => value !== undefined),
    );
  }

  toString(): string {
    return `lookUp(${JSON.stringify(this.keys)})`;
  }
}
