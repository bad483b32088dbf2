/** Kills the process with operations under way, and opens what it left. */
import type { AsyncCommand } from "fast-check";
import { History } from "./history.ts";
import { describeOperation, type Operation, type Wait, wait } from "./operations.ts";
import type { Model, System } from "./system.ts";

export class Crash implements AsyncCommand<Model, System> {
  private readonly operations: readonly Operation[];
  private readonly pause: Wait;

  constructor(operations: readonly Operation[], pause: Wait) {
    this.operations = operations;
    this.pause = pause;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, system: System): Promise<void> {
    const history = new History(system.database, model.content, this.operations);
    await wait(this.pause);
    await system.crash();
    model.content = history.expectSeen(system.database);
    system.expectContent(model.content);
  }

  toString(): string {
    const { turns, microtasks } = this.pause;
    const operations = this.operations.map(describeOperation).join(", ");
    return `crash(${turns} turns and ${microtasks} microtasks after ${operations})`;
  }
}
