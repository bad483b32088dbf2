import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Choice, pickCompaction, runBytes } from "../../src/compaction/pick.ts";
import type { Version } from "../../src/manifest/version.ts";

/** A Version with runs of these sizes, newest first. */
function versionOf(sizes: readonly number[]): Version {
  const key = new Uint8Array(1);
  return {
    runs: sizes.map((fileBytes, i) => [
      {
        fileNumber: i + 1,
        fileBytes,
        keyCount: 1,
        tombstoneCount: 0,
        firstKey: key,
        lastKey: key,
        valueLogs: [],
      },
    ]),
    valueLogs: [],
  };
}

function pick(sizes: readonly number[], trigger: number): Choice | undefined {
  return pickCompaction(versionOf(sizes), { trigger });
}

const doubling = (count: number): number[] => Array.from({ length: count }, (_, i) => 2 ** i);

describe("pickCompaction", () => {
  const cases: [string, readonly number[], Choice | undefined][] = [
    ["nothing to merge", [], undefined],
    ["one run", [10], undefined],
    ["fewer runs than the trigger, however alike", [10, 10, 10], undefined],
    ["as much above the oldest run as in it", [10, 30, 60, 100], all(4, "space")],
    ["one byte less than that", [10, 30, 59, 100], undefined],
    ["equal runs", [10, 10, 10, 10], all(4, "space")],
    ["four small runs before a large one", [1, 1, 1, 1, 100], { start: 0, end: 4, reason: "size" }],
    ["three small runs before a large one", [1, 1, 1, 100], undefined],
    ["a run at 1.5 times what was taken", [2, 3, 7, 18, 100], { start: 0, end: 4, reason: "size" }],
    ["a run above 1.5 times what was taken", [2, 4, 9, 18, 100], undefined],
    [
      "like runs behind a small one",
      [1, 50, 50, 50, 50, 999],
      { start: 1, end: 5, reason: "size" },
    ],
    ["like runs behind a large one", [60, 1, 1, 1, 1, 999], { start: 0, end: 5, reason: "size" }],
    ["as many unlike runs as are allowed", doubling(12), undefined],
    ["one more", doubling(13), { start: 0, end: 2, reason: "count" }],
    ["three more", doubling(15), { start: 0, end: 4, reason: "count" }],
  ];

  test.each(cases)("%s", (_, sizes, choice) => {
    expect(pick(sizes, 4)).toEqual(choice);
  });

  function all(end: number, reason: Choice["reason"]): Choice {
    return { start: 0, end, reason };
  }

  test("by count takes the cheapest neighbours", () => {
    const rest = [1, 3, 9, 27, 81, 243, 729, 2187, 6561, 59_049].map((size) => size * 1000);
    expect(pick([600, 5, 20, ...rest], 4)).toEqual({ start: 1, end: 3, reason: "count" });
  });

  test("chooses neighbours until nothing is due, and then few runs are left", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 2 ** 30 }), { maxLength: 60 }),
        fc.integer({ min: 2, max: 8 }),
        (initial, trigger) => {
          let sizes = initial;
          for (let choice = pick(sizes, trigger); choice !== undefined; ) {
            const { start, end } = choice;
            expect(start).toBeGreaterThanOrEqual(0);
            expect(end).toBeLessThanOrEqual(sizes.length);
            expect(end - start).toBeGreaterThanOrEqual(2);
            const merged = sizes.slice(start, end).reduce((sum, size) => sum + size, 0);
            sizes = [...sizes.slice(0, start), merged, ...sizes.slice(end)];
            choice = pick(sizes, trigger);
          }
          expect(sizes.length).toBeLessThanOrEqual(trigger * 3);
          expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(
            initial.reduce((sum, size) => sum + size, 0),
          );
        },
      ),
    );
  });
});

test("runBytes adds up the files", () => {
  expect(runBytes(versionOf([1, 2, 4]).runs.flat())).toBe(7);
});
