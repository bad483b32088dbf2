import { expect, test } from "vitest";
import { atOnce, type Pieces, withPauses } from "../src/pieces.ts";

/** Counts to `count`, with a pause after each step. */
function* counted(count: number, steps: number[]): Pieces<number> {
  for (let i = 1; i <= count; i++) {
    steps.push(i);
    yield;
  }
  return count;
}

test.each([0, 1, 5])("%d pieces come to the same at once and with pauses", async (count) => {
  const steps: number[] = [];
  let pauses = 0;
  const pause = async (): Promise<void> => {
    pauses++;
    expect(steps).toHaveLength(pauses);
  };
  expect(await withPauses(counted(count, steps), pause)).toBe(count);
  expect(pauses).toBe(count);
  expect(atOnce(counted(count, []))).toBe(count);
});

test("a pause that rejects is the end", async () => {
  const steps: number[] = [];
  const pause = async (): Promise<void> => {
    if (steps.length === 3) throw new Error("cancelled");
  };
  await expect(withPauses(counted(5, steps), pause)).rejects.toThrow("cancelled");
  expect(steps).toEqual([1, 2, 3]);
});
