import { expect, it } from "vitest";
import { EVICTION_BYTES } from "../../src/art/epochs.ts";
import { verifyTree } from "../../src/art/verify.ts";
import { runStress } from "./reader-stress.ts";

it.each([1, 2, 3])(
  "readers find every key, no garbage and no disorder over two million changes: seed %i",
  async (seed) => {
    const result = await runStress({
      operations: 2_000_000,
      keyCount: 20_000,
      readers: 3,
      seed,
      reusesAtOnce: false,
    });
    const { lost, garbage, unordered, errors } = result.faults;
    expect({ lost, garbage, unordered, errors }).toEqual({
      lost: 0,
      garbage: 0,
      unordered: 0,
      errors: [],
    });
    expect(result.maxRetiredBytes).toBeLessThan(EVICTION_BYTES + 65_536);
    verifyTree(result.tree);
  },
);

it("they would not, were blocks reused at once: the test can fail", async () => {
  const result = await runStress({
    operations: 2_000_000,
    keyCount: 20_000,
    readers: 3,
    seed: 1,
    reusesAtOnce: true,
  });
  const { lost, garbage, unordered, errors } = result.faults;
  expect(lost + garbage + unordered + errors.length).toBeGreaterThan(0);
});
