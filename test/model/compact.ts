import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import type { Model, System } from "./system.ts";

export class Compact implements AsyncCommand<Model, System> {
  check(): boolean {
    return true;
  }

  /** Afterwards there is one run, with each key once and nothing that was deleted. */
  async run({ content }: Model, { database }: System): Promise<void> {
    await database.compact();
    const { runs } = database.stats();
    const keyCount = content.entries().length;
    expect(runs.length).toBe(keyCount === 0 ? 0 : 1);
    expect(runs.at(0)?.keyCount ?? 0).toBe(keyCount);
  }

  toString(): string {
    return "compact";
  }
}
