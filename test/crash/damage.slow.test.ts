import { expect, test } from "vitest";
import { damageRun } from "./damage.ts";

test("100,000 kinds of damage give the right data or an error", async () => {
  const { violations, errors, grownBytes } = await damageRun(100_000, 4);
  expect(violations).toEqual([]);
  expect(errors).toBeGreaterThan(100_000 / 2);
  expect(grownBytes).toBeLessThan(2 ** 29);
});
