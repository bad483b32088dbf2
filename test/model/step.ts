/** Goes on with an iteration that was begun: it yields what was there then. */
import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import type { Model, System } from "./system.ts";

export class Step implements AsyncCommand<Model, System> {
  private readonly at: number;
  private readonly count: number;

  constructor(at: number, count: number) {
    this.at = at;
    this.count = count;
  }

  check(): boolean {
    return true;
  }

  async run(_model: Model, { iterations }: System): Promise<void> {
    const index = this.at % Math.max(1, iterations.length);
    const iteration = iterations.at(index);
    if (iteration === undefined) return;
    for (let i = 0; i < this.count; i++) {
      const expected = iteration.remaining.shift();
      const { done, value } = iteration.iterator.next();
      expect(value).toEqual(expected);
      expect(done).toBe(expected === undefined);
    }
  }

  toString(): string {
    return `step(${this.at}, ${this.count})`;
  }
}
