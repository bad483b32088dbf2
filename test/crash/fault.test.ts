/**
 * A fault at the n-th operation on the file system, for all n, in every way in which it may fail.
 */
import { describe, expect, test } from "vitest";
import { diskFullRuns, FAULTS, faultRuns } from "./fault-run.ts";

describe("an operation that", () => {
  test.each(Object.keys(FAULTS))("%s loses nothing, whichever it is", async (name) => {
    const { violations, runs } = await faultRuns(name);
    expect(violations).toEqual([]);
    expect(runs).toBeGreaterThan(20);
  });
});

test("a disk that is full after any number of bytes is used again when there is room", async () => {
  const { violations, runs } = await diskFullRuns();
  expect(violations).toEqual([]);
  expect(runs).toBeGreaterThan(50);
});
