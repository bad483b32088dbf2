/** Runs sequences of commands against a database and a sorted map; every answer must agree. */
import fc from "fast-check";
import { expect } from "vitest";
import type { Durability } from "../../src/index.ts";
import { anyCommands, anyOptions, MIN_COMMANDS } from "./commands.ts";
import { parameters } from "./parameters.ts";
import { SortedMap } from "./sorted-map.ts";
import { type Model, System } from "./system.ts";

/** Half a minute on a quiet machine, and time enough on a busy one. */
export const CHECK_TIMEOUT_MS = 600_000;

export async function checkModel(durability: Durability, runs: number): Promise<void> {
  const counts = { runs: 0, commands: 0, flushes: 0, compactions: 0, laterSteps: 0, opens: 0 };
  await fc.assert(
    fc.asyncProperty(anyOptions, anyCommands, async (options, commands) => {
      const real = await System.create({ ...options, durability }, counts);
      const model: Model = { content: new SortedMap(real.clock, options.ttl) };
      await fc.asyncModelRun(() => ({ model, real }), commands);
      await real.end(model.content);
      counts.runs++;
      counts.commands += commands.length;
    }),
    parameters(runs),
  );
  console.log(durability, JSON.stringify(counts));
  expect(counts.commands).toBeGreaterThanOrEqual(counts.runs * MIN_COMMANDS);
  // Without these the runs would have shown little. A few runs, as in a replay, may have fewer.
  if (counts.runs >= 100) {
    expect(counts.flushes).toBeGreaterThan(counts.runs);
    expect(counts.compactions).toBeGreaterThan(counts.runs / 4);
    expect(counts.laterSteps).toBeGreaterThan(counts.runs / 20);
  }
}
