import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import type { Model, System } from "./system.ts";

export class Put implements AsyncCommand<Model, System> {
  private readonly key: string;
  private readonly value: string;

  constructor(key: string, value: string) {
    this.key = key;
    this.value = value;
  }

  check(): boolean {
    return true;
  }

  async run({ content }: Model, { database }: System): Promise<void> {
    await database.put(this.key, this.value);
    content.put(this.key, this.value);
    expect(database.get(this.key)).toBe(this.value);
  }

  toString(): string {
    return `put(${JSON.stringify(this.key)}, ${this.value.length} characters)`;
  }
}
