import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import { putBlocking } from "./operations.ts";
import type { Model, System } from "./system.ts";

export class Put implements AsyncCommand<Model, System> {
  private readonly key: string;
  private readonly value: string;
  private readonly isBlocking: boolean;
  private readonly ttl: number | undefined;

  constructor(key: string, value: string, isBlocking: boolean, ttl: number | undefined) {
    this.ttl = ttl;
    this.key = key;
    this.value = value;
    this.isBlocking = isBlocking;
  }

  check(): boolean {
    return true;
  }

  async run({ content }: Model, { database }: System): Promise<void> {
    const { key, value, ttl } = this;
    if (this.isBlocking) await putBlocking(database, key, value, ttl);
    else await database.put(key, value, { ttl });
    content.put(key, value, ttl);
    expect(database.get(key)).toBe(content.get(key));
  }

  toString(): string {
    return `put${this.isBlocking ? "Sync" : ""}(${JSON.stringify(this.key)}, ${this.value.length} characters, ttl ${this.ttl})`;
  }
}
