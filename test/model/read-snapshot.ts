/** A snapshot shows what was there when it was taken; once closed, nothing. */
import type { AsyncCommand } from "fast-check";
import { expect } from "vitest";
import { ClosedError, type IterationRange } from "../../src/index.ts";
import { expectSameScan } from "./scan.ts";
import type { Model, System } from "./system.ts";

export class ReadSnapshot implements AsyncCommand<Model, System> {
  private readonly at: number;
  private readonly keys: readonly string[];
  private readonly range: IterationRange<string>;
  private readonly mustClose: boolean;

  constructor(
    at: number,
    keys: readonly string[],
    range: IterationRange<string>,
    mustClose: boolean,
  ) {
    this.at = at;
    this.keys = keys;
    this.range = range;
    this.mustClose = mustClose;
  }

  check(): boolean {
    return true;
  }

  async run(_model: Model, { snapshots }: System): Promise<void> {
    const index = this.at % Math.max(1, snapshots.length);
    const taken = snapshots.at(index);
    if (taken === undefined) return;
    const { snapshot, content } = taken;
    expect(snapshot.getMany(this.keys)).toEqual(this.keys.map((key) => content.get(key)));
    expectSameScan(snapshot, content, this.range);
    if (!this.mustClose) return;
    snapshots.splice(index, 1);
    snapshot.close();
    expect(() => snapshot.get("a")).toThrow(ClosedError);
  }

  toString(): string {
    const end = this.mustClose ? ", then close it" : "";
    return `readSnapshot(${this.at}, ${JSON.stringify([this.keys, this.range])}${end})`;
  }
}
