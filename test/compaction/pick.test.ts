import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Choice,
  type Contents,
  estimateSpace,
  maxRunCount,
  type PickOptions,
  pickCompaction,
  pickUncoded,
  type SpaceEstimate,
  withPartners,
} from "../../src/compaction/pick.ts";
import type { Version } from "../../src/manifest/version.ts";

/** A run of so many bytes; a key a byte, unless said otherwise. */
interface RunShape {
  readonly bytes: number;
  readonly keys: number;
  readonly tombstones: number;
}

const shape = (bytes: number, keys = bytes, tombstones = 0): RunShape => ({
  bytes,
  keys,
  tombstones,
});

/** A Version with such runs, newest first, whose files say nothing of what they hold. */
function versionOf(shapes: readonly RunShape[]): Version {
  const key = new Uint8Array(1);
  return {
    runs: shapes.map(({ keys, tombstones }, i) => [
      {
        fileNumber: i + 1,
        fileBytes: 1000 + i,
        keyCount: keys,
        tombstoneCount: tombstones,
        rangeTombstoneCount: 0,
        firstKey: key,
        lastKey: key,
        valueLogs: [],
      },
    ]),
    valueLogs: [],
  };
}

function contentsOf(shapes: readonly RunShape[], hiddenCount = 0): Contents {
  return { sizes: shapes.map(({ bytes }) => bytes), hiddenCount };
}

const DEFAULTS: PickOptions = {
  compactionTrigger: 4,
  sizeRatio: 50,
  minMergeWidth: 4,
  maxMergeWidth: 64,
  maxSizeAmplificationPercent: 100,
};

/** What is chosen for runs of these sizes. */
function pick(sizes: readonly number[], options: Partial<PickOptions> = {}): Choice | undefined {
  const shapes = sizes.map((bytes) => shape(bytes));
  return pickCompaction(versionOf(shapes), contentsOf(shapes), { ...DEFAULTS, ...options });
}

function all(end: number, reason: Choice["reason"]): Choice {
  return { start: 0, end, reason };
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
    expect(pick(sizes)).toEqual(choice);
  });

  const byOptions: [string, Partial<PickOptions>, readonly number[], Choice | undefined][] = [
    [
      "sizeRatio 0 at equal runs",
      { sizeRatio: 0 },
      [5, 5, 10, 20, 99],
      { start: 0, end: 4, reason: "size" },
    ],
    ["sizeRatio 0 at one byte more", { sizeRatio: 0 }, [5, 6, 12, 24, 99], undefined],
    [
      "sizeRatio 200 at thrice what was taken",
      { sizeRatio: 200 },
      [1, 3, 12, 48, 199],
      { start: 0, end: 4, reason: "size" },
    ],
    ["sizeRatio 200 above it", { sizeRatio: 200 }, [1, 4, 12, 51, 199], undefined],
    [
      "minMergeWidth 2 with enough runs",
      { minMergeWidth: 2 },
      [1, 1, 9, 99],
      { start: 0, end: 2, reason: "size" },
    ],
    ["minMergeWidth 2 with too few runs", { minMergeWidth: 2 }, [1, 1, 99], undefined],
    ["minMergeWidth 6 with five like runs", { minMergeWidth: 6 }, [1, 1, 1, 1, 1, 99], undefined],
    [
      "maxMergeWidth 4 with six like runs",
      { maxMergeWidth: 4 },
      [1, 1, 1, 1, 1, 1, 99],
      { start: 0, end: 4, reason: "size" },
    ],
    [
      "maxMergeWidth 4 with too many unlike runs",
      { maxMergeWidth: 4 },
      doubling(20),
      { start: 0, end: 4, reason: "count" },
    ],
    [
      "maxMergeWidth 4 does not bind a merge for space",
      { maxMergeWidth: 4 },
      [9, 9, 9, 9, 9, 9],
      all(6, "space"),
    ],
    ["space at 50 percent", { maxSizeAmplificationPercent: 50 }, [5, 15, 30, 100], all(4, "space")],
    ["space below 50 percent", { maxSizeAmplificationPercent: 50 }, [5, 15, 29, 100], undefined],
    ["space at 200 percent", { maxSizeAmplificationPercent: 200 }, [20, 60, 119, 100], undefined],
    [
      "two runs that the trigger allows",
      { compactionTrigger: 2, minMergeWidth: 2 },
      [1, 9],
      undefined,
    ],
    [
      "two like runs at trigger 2",
      { compactionTrigger: 2, minMergeWidth: 2 },
      [9, 9],
      all(2, "space"),
    ],
  ];

  test.each(byOptions)("%s", (_, options, sizes, choice) => {
    expect(pick(sizes, options)).toEqual(choice);
  });

  test.each([
    ["half of the only run", [shape(1000, 100)], 50, all(1, "space")],
    ["one key fewer", [shape(1000, 100)], 49, undefined],
    ["together with tombstones", [shape(1, 20, 20), shape(1000, 100)], 30, all(2, "space")],
    ["more than there is", [shape(1, 1), shape(1000, 100)], 500, all(2, "space")],
    ["of no runs", [], 5, undefined],
  ] as const)("by what is hidden: %s", (_, shapes, hiddenCount, choice) => {
    const contents = contentsOf(shapes, hiddenCount);
    expect(pickCompaction(versionOf(shapes), contents, DEFAULTS)).toEqual(choice);
  });

  const byTombstones: [string, readonly RunShape[], Choice | undefined][] = [
    ["half of the oldest run deleted", [shape(1, 50, 50), shape(1000, 100)], all(2, "space")],
    ["less than half of it deleted", [shape(1, 49, 49), shape(1000, 100)], undefined],
    ["all of it deleted", [shape(1, 100, 100), shape(1000, 100)], all(2, "space")],
    ["more deleted than there is", [shape(1, 500, 500), shape(1000, 100)], all(2, "space")],
    [
      "deleted in several runs",
      [shape(1, 30, 20), shape(1, 30, 30), shape(1000, 100)],
      all(3, "space"),
    ],
    [
      "a third deleted, and a third overwritten, with few runs",
      [shape(300, 30), shape(1, 33, 33), shape(900, 100)],
      undefined,
    ],
    [
      "a third deleted, and a third overwritten, with enough runs",
      [shape(104, 10), shape(104, 10), shape(104, 10), shape(1, 33, 33), shape(900, 100)],
      all(5, "space"),
    ],
    ["tombstones in the oldest run itself", [shape(1, 1), shape(1000, 100, 100)], undefined],
  ];

  test.each(byTombstones)("with %s", (_, shapes, choice) => {
    expect(pickCompaction(versionOf(shapes), contentsOf(shapes), DEFAULTS)).toEqual(choice);
  });

  test("by count takes the cheapest neighbours", () => {
    const rest = [1, 3, 9, 27, 81, 243, 729, 2187, 6561, 59_049].map((size) => size * 1000);
    expect(pick([600, 5, 20, ...rest])).toEqual({ start: 1, end: 3, reason: "count" });
  });

  test("chooses neighbours until nothing is due, and then few runs are left", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 2 ** 30 }), { maxLength: 60 }),
        fc.integer({ min: 2, max: 8 }),
        fc.integer({ min: 2, max: 8 }),
        fc.integer({ min: 0, max: 8 }),
        fc.integer({ min: 0, max: 200 }),
        (initial, compactionTrigger, minMergeWidth, moreWidth, sizeRatio) => {
          const maxMergeWidth = minMergeWidth + moreWidth;
          const options = { compactionTrigger, minMergeWidth, maxMergeWidth, sizeRatio };
          let sizes = initial;
          for (let choice = pick(sizes, options); choice !== undefined; ) {
            const { start, end, reason } = choice;
            expect(start).toBeGreaterThanOrEqual(0);
            expect(end).toBeLessThanOrEqual(sizes.length);
            expect(end - start).toBeGreaterThanOrEqual(2);
            if (reason !== "space") expect(end - start).toBeLessThanOrEqual(maxMergeWidth);
            const merged = sizes.slice(start, end).reduce((sum, size) => sum + size, 0);
            sizes = [...sizes.slice(0, start), merged, ...sizes.slice(end)];
            choice = pick(sizes, options);
          }
          expect(sizes.length).toBeLessThanOrEqual(maxRunCount(compactionTrigger));
          expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(
            initial.reduce((sum, size) => sum + size, 0),
          );
        },
      ),
    );
  });
});

describe("what flushes of equal size, merged as chosen, come to", () => {
  /** Bytes that merges write for each flushed byte, and runs at most, after so many flushes. */
  function simulate(
    flushes: number,
    survivorBytes: (bytes: number, reachesOldest: boolean) => number,
    options: Partial<PickOptions> = {},
  ): { readonly rewritten: number; readonly runs: number; readonly space: number } {
    let sizes: number[] = [];
    let written = 0;
    let runs = 0;
    let space = 0;
    for (let i = 0; i < flushes; i++) {
      sizes = [1, ...sizes];
      for (let choice = pick(sizes, options); choice !== undefined; choice = pick(sizes, options)) {
        const { start, end } = choice;
        const bytes = sizes.slice(start, end).reduce((sum, size) => sum + size, 0);
        const merged = survivorBytes(bytes, end === sizes.length);
        written += merged;
        sizes = [...sizes.slice(0, start), merged, ...sizes.slice(end)];
      }
      runs = Math.max(runs, sizes.length);
      space = Math.max(
        space,
        sizes.reduce((sum, size) => sum + size, 0),
      );
    }
    return { rewritten: written / flushes, runs, space };
  }

  test("with new keys alone, each byte is rewritten about log2 of the number of flushes", () => {
    for (const flushes of [64, 256, 1024, 4096]) {
      const { rewritten, runs } = simulate(flushes, (bytes) => bytes);
      expect(rewritten).toBeLessThan(Math.log2(flushes));
      expect(runs).toBeLessThanOrEqual(maxRunCount(4));
    }
  });

  test("with new keys alone, as much is rewritten as if none were thought to be overwritten", () => {
    for (const flushes of [16, 64, 256, 1024, 4096]) {
      const simulated = simulate(flushes, (bytes) => bytes);
      const never = { maxSizeAmplificationPercent: Number.POSITIVE_INFINITY };
      expect(simulate(flushes, (bytes) => bytes, never)).toEqual(simulated);
    }
  });

  test("with 100 keys overwritten over and over, little is rewritten and space is bounded", () => {
    const { rewritten, runs, space } = simulate(4096, (bytes) => Math.min(bytes, 100));
    expect(rewritten).toBeLessThan(4);
    expect(space).toBeLessThanOrEqual(100 + 100 + 4);
    expect(runs).toBeLessThanOrEqual(maxRunCount(4));
  });
});

test("space is what is newer than the oldest run, and a share of that for each tombstone", () => {
  const spaceOf = (shapes: readonly RunShape[], hiddenCount = 0): SpaceEstimate =>
    estimateSpace(versionOf(shapes), contentsOf(shapes, hiddenCount));
  expect(spaceOf([])).toEqual({ newerBytes: 0, deletedBytes: 0, liveBytes: 0 });
  const shapes = [shape(5, 5, 5), shape(20, 10, 5), shape(100, 40)];
  expect(spaceOf(shapes)).toEqual({ newerBytes: 25, deletedBytes: 25, liveBytes: 75 });
  expect(spaceOf(shapes, 10)).toMatchObject({ deletedBytes: 50, liveBytes: 50 });
  expect(spaceOf(shapes, 160)).toMatchObject({ deletedBytes: 100, liveBytes: 0 });
});

test.each<[string, string, [number, number] | undefined]>([
  ["nothing where there are no runs", "", undefined],
  ["nothing where all are coded", "ccc", undefined],
  ["one alone", "u", [0, 1]],
  ["all before the coded ones", "uuc", [0, 2]],
  ["one between coded ones", "cuc", [1, 2]],
  ["of several stretches the oldest", "ucuuc", [2, 4]],
  ["of several stretches the oldest, up to the last run", "uucuu", [3, 5]],
  ["of more than a merge takes the oldest", "uuuuuuc", [2, 6]],
])("to code, pickUncoded chooses %s", (_, runs, chosen) => {
  const areUncoded = [...runs].map((run) => run === "u");
  const choice = chosen && { start: chosen[0], end: chosen[1], reason: "coding" };
  expect(pickUncoded(areUncoded, { maxMergeWidth: 4 })).toEqual(choice);
});

describe("withPartners", () => {
  type Ages = readonly (readonly [firstSeqno: number, lastSeqno: number])[];
  const apart: Ages = [
    [31, 40],
    [21, 30],
    [11, 20],
    [1, 10],
  ];
  /** A merge of the middle three was broken off. */
  const joined: Ages = [
    [51, 60],
    [41, 50],
    [31, 40],
    [21, 50],
    [1, 20],
  ];
  const cases: [string, Ages, [number, number], [number, number]][] = [
    ["runs of times that are apart are chosen alone", apart, [1, 3], [1, 3]],
    ["one alone too", apart, [3, 4], [3, 4]],
    ["the oldest of a merge brings the newer ones", joined, [3, 5], [1, 5]],
    ["the newest brings the older ones, one in between included", joined, [0, 2], [0, 4]],
    ["one in between brings all", joined, [2, 3], [1, 4]],
    ["newer ones are left alone", joined, [0, 1], [0, 1]],
    ["older ones are left alone", joined, [4, 5], [4, 5]],
    [
      "partners of partners come too",
      [
        [31, 40],
        [21, 40],
        [11, 22],
        [1, 12],
      ],
      [0, 1],
      [0, 4],
    ],
  ];

  test.each(cases)("%s", (_, ages, [start, end], [first, last]) => {
    const ranges = ages.map(([firstSeqno, lastSeqno]) => ({ firstSeqno, lastSeqno }));
    const widened = withPartners({ start, end, reason: "size" }, ranges);
    expect(widened).toEqual({ start: first, end: last, reason: "size" });
  });
});
