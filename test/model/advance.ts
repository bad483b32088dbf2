/** Time goes on: what expires by then is gone, but for who began to read before. */
import type { AsyncCommand } from "fast-check";
import type { Model, System } from "./system.ts";

export class Advance implements AsyncCommand<Model, System> {
  private readonly milliseconds: number;

  constructor(milliseconds: number) {
    this.milliseconds = milliseconds;
  }

  check(): boolean {
    return true;
  }

  async run({ content }: Model, system: System): Promise<void> {
    system.clock.time += this.milliseconds;
    system.expectContent(content);
  }

  toString(): string {
    return `advance(${this.milliseconds} ms)`;
  }
}
