/** A transaction sees the moment it began with its own writes, and is there whole or not at all. */
import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import type { BatchOperation, IterationRange } from "../../src/index.ts";
import { failureOf } from "./failure.ts";
import { apply, describeOperation, rangeOf } from "./operations.ts";
import { expectEntries } from "./sorted-map.ts";
import type { Model, System } from "./system.ts";

class GaveUp extends Error {}

export class Transact implements AsyncCommand<Model, System> {
  private readonly operations: readonly BatchOperation<string, string>[];
  private readonly range: IterationRange<string>;
  private readonly ending: "commit" | "give up" | "flush and commit";
  /** How long the body takes once it has written. */
  private readonly milliseconds: number;

  constructor(
    operations: readonly BatchOperation<string, string>[],
    range: IterationRange<string>,
    ending: "commit" | "give up" | "flush and commit",
    milliseconds: number,
  ) {
    this.milliseconds = milliseconds;
    this.operations = operations;
    this.range = range;
    this.ending = ending;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, system: System): Promise<void> {
    const { operations, range, ending } = this;
    const { database } = system;
    // Time stands still in a transaction.
    const after = model.content.moment();
    const transacting = database.transaction(
      async (transaction) => {
        for (const operation of operations) {
          apply(after, operation);
          if (operation.type === "deleteRange") {
            transaction.deleteRange(rangeOf(operation));
            expect(transaction.count(rangeOf(operation))).toBe(0);
            continue;
          }
          if (operation.type === "put") {
            const { key, value, ttl } = operation;
            transaction.put(key, value, { ttl });
          } else transaction.delete(operation.key);
          expect(transaction.get(operation.key)).toBe(after.get(operation.key));
        }
        system.clock.time += this.milliseconds;
        expectEntries([...transaction.entries(range)], after.entries(range));
        expect(transaction.count()).toBe(after.entries().length);
        system.expectContent(model.content);
        if (ending === "give up") throw new GaveUp();
        if (ending === "flush and commit") await database.flush();
      },
      { retries: 0 },
    );
    if (ending === "give up") {
      expect((await failureOf(transacting)) instanceof GaveUp).toBe(true);
    } else {
      await transacting;
      model.content = after.copy(system.clock);
    }
    system.expectContent(model.content);
  }

  toString(): string {
    const operations = this.operations.map(describeOperation).join(", ");
    return `transact(${operations}; ${JSON.stringify(this.range)}; ${this.milliseconds} ms; ${this.ending})`;
  }
}
