/** Operations issued at once; what is seen meanwhile is a state between two of them. */
import type { AsyncCommand } from "fast-check";
import { History } from "./history.ts";
import { describeOperation, type Operation, type Wait, wait } from "./operations.ts";
import type { Model, System } from "./system.ts";

export class Together implements AsyncCommand<Model, System> {
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
    const { database } = system;
    const history = new History(database, model.content, this.operations);
    history.expectSeen(database);
    await wait(this.pause);
    history.expectSeen(database);
    await history.settled();
    model.content = history.last;
    system.expectContent(model.content);
  }

  toString(): string {
    return `together(${this.operations.map(describeOperation).join(", ")})`;
  }
}
