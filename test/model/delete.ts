import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import type { Model, System } from "./system.ts";

export class Delete implements AsyncCommand<Model, System> {
  private readonly key: string;

  constructor(key: string) {
    this.key = key;
  }

  check(): boolean {
    return true;
  }

  async run({ content }: Model, { database }: System): Promise<void> {
    await database.delete(this.key);
    content.delete(this.key);
    expect(database.has(this.key)).toBe(false);
  }

  toString(): string {
    return `delete(${JSON.stringify(this.key)})`;
  }
}
