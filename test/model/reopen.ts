/** Closes and opens again, with operations under way when `close` is called. */
import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import { ClosedError } from "../../src/index.ts";
import { failureOf } from "./failure.ts";
import { History } from "./history.ts";
import { describeOperation, type Operation, type Wait, wait } from "./operations.ts";
import type { Model, System } from "./system.ts";

export class Reopen implements AsyncCommand<Model, System> {
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
    await wait(this.pause);
    const closed = database.close();
    expect((await failureOf(database.put("a", "too late"))) instanceof ClosedError).toBe(true);
    await Promise.all([closed, history.settledAtClose()]);
    await system.reopen();
    model.content = history.last;
    system.expectContent(model.content);
  }

  toString(): string {
    return `reopen(while ${this.operations.map(describeOperation).join(", ")})`;
  }
}
