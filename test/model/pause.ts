/** Lets background work go on for a while. */
import type { AsyncCommand } from "fast-check";
import { type Wait, wait } from "./operations.ts";
import type { Model, System } from "./system.ts";

export class Pause implements AsyncCommand<Model, System> {
  private readonly pause: Wait;

  constructor(pause: Wait) {
    this.pause = pause;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, system: System): Promise<void> {
    await wait(this.pause);
    system.expectContent(model.content);
  }

  toString(): string {
    const { turns, microtasks } = this.pause;
    return turns + microtasks === 0 ? "-" : `pause(${turns} turns, ${microtasks} microtasks)`;
  }
}
