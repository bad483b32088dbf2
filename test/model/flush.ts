import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import type { Model, System } from "./system.ts";

export class Flush implements AsyncCommand<Model, System> {
  check(): boolean {
    return true;
  }

  async run(_model: Model, { database }: System): Promise<void> {
    await database.flush();
    expect(database.stats().memtableKeyCount).toBe(0);
  }

  toString(): string {
    return "flush";
  }
}
