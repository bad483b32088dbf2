import { expect, test } from "vitest";
import { damageRun } from "./damage.ts";

test("5,000 kinds of damage give the right data or an error", async () => {
  const { violations, errors, grownBytes } = await damageRun(5_000, 3);
  expect(violations).toEqual([]);
  expect(errors).toBeGreaterThan(5_000 / 2);
  expect(grownBytes).toBeLessThan(2 ** 29);
});
