import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import type { BatchOperation } from "../../src/index.ts";
import { apply, describeOperation } from "./operations.ts";
import type { Model, System } from "./system.ts";

export class Batch implements AsyncCommand<Model, System> {
  private readonly operations: readonly BatchOperation<string, string>[];

  constructor(operations: readonly BatchOperation<string, string>[]) {
    this.operations = operations;
  }

  check(): boolean {
    return true;
  }

  async run({ content }: Model, { database }: System): Promise<void> {
    await database.batch(this.operations);
    apply(content, { type: "batch", operations: this.operations });
    const keys = this.operations.flatMap((each) => (each.type === "deleteRange" ? [] : each.key));
    expect(database.getMany(keys)).toEqual(keys.map((key) => content.get(key)));
  }

  toString(): string {
    return describeOperation({ type: "batch", operations: this.operations });
  }
}
