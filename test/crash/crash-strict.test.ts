/**
 * A crash at every operation on the disk, in the model "strict" (src/testing/crash-file-system.ts). What
 * fails says its seed: `npm run crash-test -- --seed S --states 1 --model strict` shows it again.
 */
import { expect, test } from "vitest";
import { crashRuns } from "./run.ts";

test("what a crash leaves, in the model strict, has every acknowledged write and no half of one", async () => {
  const { states } = await crashRuns("strict", { seed: 1, states: 10_000 });
  expect(states).toBeGreaterThanOrEqual(10_000);
});
