/**
 * A crash at every operation on the disk, in the model "ordered" (src/testing/crash-file-system.ts). What
 * fails says its seed: `npm run crash-test -- --seed S --states 1 --model ordered` shows it again.
 */
import { expect, test } from "vitest";
import { crashRuns } from "./run.ts";

test("what a crash leaves, in the model ordered, has every acknowledged write and no half of one", async () => {
  const { states } = await crashRuns("ordered", { seed: 1, states: 10_000 });
  expect(states).toBeGreaterThanOrEqual(10_000);
});
