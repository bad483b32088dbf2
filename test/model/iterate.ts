/** Begins an iteration, to be gone on with while other commands run. */
import type { AsyncCommand } from "fast-check";
import type { IterationRange } from "../../src/index.ts";
import type { Model, System } from "./system.ts";

/** Enough to hold several Versions at once. */
const MAX_OPEN = 4;

export class Iterate implements AsyncCommand<Model, System> {
  private readonly range: IterationRange<string>;

  constructor(range: IterationRange<string>) {
    this.range = range;
  }

  check(): boolean {
    return true;
  }

  async run({ content }: Model, { database, iterations }: System): Promise<void> {
    const iterator = database.entries(this.range)[Symbol.iterator]();
    iterations.push({ iterator, remaining: content.entries(this.range) });
    if (iterations.length > MAX_OPEN) iterations.shift()?.iterator.return();
  }

  toString(): string {
    return `iterate(${JSON.stringify(this.range)})`;
  }
}
