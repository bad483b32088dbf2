/**
 * Operations issued together, and which states of the database may be seen while they are under way:
 * those after the first j of them, where j is at least what was acknowledged.
 */
import { expect } from "vitest";
import type { Database } from "../../src/index.ts";
import { apply, issue, type Operation } from "./operations.ts";
import { areSameEntries, expectEntries, type SortedMap } from "./sorted-map.ts";

export class History {
  /** `states[j]`: after the first j operations. */
  private readonly states: SortedMap[];
  private readonly operations: readonly Operation[];
  private readonly promises: Promise<void>[] = [];
  private acknowledged = 0;
  /** Index of the first that failed. What follows it may be acknowledged without it. */
  private firstFailed = Number.POSITIVE_INFINITY;

  /** Issues every operation at once. */
  constructor(
    database: Database<string, string>,
    before: SortedMap,
    operations: readonly Operation[],
  ) {
    this.states = [before];
    this.operations = operations;
    for (const [i, operation] of operations.entries()) {
      const state = this.last.copy();
      apply(state, operation);
      this.states.push(state);
      const promise = issue(database, operation).then(() => {
        if (i < this.firstFailed) this.acknowledged = Math.max(this.acknowledged, i + 1);
      });
      // Whoever waits for them all has the failure; that of a killed process is heard by nobody.
      promise.catch(() => {
        this.firstFailed = Math.min(this.firstFailed, i);
      });
      this.promises.push(promise);
    }
  }

  /** The state after all operations. */
  get last(): SortedMap {
    return this.states[this.states.length - 1];
  }

  async settled(): Promise<void> {
    await Promise.all(this.promises);
  }

  /** Waits for all, after `close` was called: nothing but a compaction may have been cut short. */
  async settledAtClose(): Promise<void> {
    const outcomes = await Promise.allSettled(this.promises);
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.status === "fulfilled") continue;
      expect(this.operations[i].type).toBe("compact");
      expect(outcome.reason).toMatchObject({ code: "MEMKV_CLOSED" });
    }
  }

  /** The state that the database shows, which must be a legal one. */
  expectSeen(database: Database<string, string>): SortedMap {
    const seen = [...database.entries()];
    const state = this.states
      .slice(this.acknowledged)
      .find((legal) => areSameEntries(legal.entries(), seen));
    if (state === undefined) {
      // No legal state: show how it differs from the last.
      expectEntries(seen, this.last.entries());
      throw new Error("a state that was passed already, or one of an acknowledged write missing");
    }
    return state;
  }
}
