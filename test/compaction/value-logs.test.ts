import { describe, expect, test } from "vitest";
import { planCompaction } from "../../src/compaction/plan.ts";
import { garbageLogs, smallLogs } from "../../src/compaction/value-logs.ts";
import type { SegmentMeta, ValueLogMeta } from "../../src/manifest/version.ts";

const SEGMENT_BYTES = 1000;

/** A segment over one key that uses so many bytes of some value logs. */
function user(key: number, uses: Readonly<Record<number, number>>, fileBytes = 900): SegmentMeta {
  return {
    fileNumber: 100 + key,
    fileBytes,
    keyCount: 1,
    tombstoneCount: 0,
    firstKey: Uint8Array.of(key),
    lastKey: Uint8Array.of(key),
    valueLogs: Object.entries(uses).map(([log, bytes]) => ({ fileNumber: Number(log), bytes })),
  };
}

const log = (fileNumber: number, fileBytes: number): ValueLogMeta => ({ fileNumber, fileBytes });
const numbersOf = (logs: readonly ValueLogMeta[]): number[] =>
  logs.map(({ fileNumber }) => fileNumber);

describe("garbageLogs", () => {
  const runs = [[user(1, { 1: 30, 2: 50 }), user(2, { 1: 19 })], [user(3, { 3: 50 })]];

  test("are those with more garbage than is allowed, whichever segments use them", () => {
    const logs = [log(1, 100), log(2, 100), log(3, 101)];
    expect(numbersOf(garbageLogs(runs, logs, 1 / 2))).toEqual([1, 3]);
    expect(numbersOf(garbageLogs(runs, logs, 1 / 10))).toEqual([1, 2, 3]);
    expect(numbersOf(garbageLogs(runs, logs, 6 / 10))).toEqual([]);
  });

  test("are none of those that other runs use", () => {
    expect(garbageLogs(runs, [log(4, 1000)], 0)).toEqual([]);
  });
});

describe("smallLogs", () => {
  test("are those in little use, if there are several that no carried segment uses", () => {
    const merged = [user(1, { 1: 100, 2: 149, 3: 249, 4: 10, 5: 10 }), user(2, { 1: 150, 2: 100 })];
    const carried = [user(3, { 4: 10 })];
    const logs = [1, 2, 3, 4, 5].map((fileNumber) => log(fileNumber, 1000));
    expect(numbersOf(smallLogs(merged, carried, logs, SEGMENT_BYTES))).toEqual([2, 3, 5]);
    expect(smallLogs(merged, carried, logs.slice(0, 2), SEGMENT_BYTES)).toEqual([]);
  });
});

test("a segment with values in a log that is left is not carried over", () => {
  const run = [user(1, { 1: 10 }), user(2, { 2: 10 }), user(3, { 1: 10, 2: 10 }), user(4, {})];
  const leftLogs = new Set([1]);
  const options = { dropTombstones: false, segmentBytes: SEGMENT_BYTES, leftLogs };
  const units = planCompaction([run], options);
  expect(units.map(({ kind }) => kind)).toEqual(["merge", "carry", "merge", "carry"]);
  expect(
    planCompaction([run], { ...options, leftLogs: new Set() }).map(({ kind }) => kind),
  ).toEqual(["carry", "carry", "carry", "carry"]);
});
