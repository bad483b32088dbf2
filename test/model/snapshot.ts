import type { AsyncCommand } from "fast-check";
import type { Model, System } from "./system.ts";

/** Enough to hold several Versions at once. */
const MAX_OPEN = 4;

export class TakeSnapshot implements AsyncCommand<Model, System> {
  check(): boolean {
    return true;
  }

  async run({ content }: Model, { database, snapshots }: System): Promise<void> {
    snapshots.push({ snapshot: database.snapshot(), content: content.moment() });
    if (snapshots.length > MAX_OPEN) snapshots.shift()?.snapshot.close();
  }

  toString(): string {
    return "snapshot";
  }
}
