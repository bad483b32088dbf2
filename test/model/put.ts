import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import { putBlocking } from "./operations.ts";
import type { Model, System } from "./system.ts";

export class Put implements AsyncCommand<Model, System> {
  private readonly key: string;
  private readonly value: string;
  private readonly isBlocking: boolean;

  constructor(key: string, value: string, isBlocking: boolean) {
    this.key = key;
    this.value = value;
    this.isBlocking = isBlocking;
  }

  check(): boolean {
    return true;
  }

  async run({ content }: Model, { database }: System): Promise<void> {
    if (this.isBlocking) await putBlocking(database, this.key, this.value);
    else await database.put(this.key, this.value);
    content.put(this.key, this.value);
    expect(database.get(this.key)).toBe(this.value);
  }

  toString(): string {
    return `put${this.isBlocking ? "Sync" : ""}(${JSON.stringify(this.key)}, ${this.value.length} characters)`;
  }
}
