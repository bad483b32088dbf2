import { describe, expect, test } from "vitest";
import { type Choice, pickCompaction } from "../../src/compaction/pick.ts";
import { planCompaction } from "../../src/compaction/plan.ts";
import { clearingGain, garbageLogs, logsOf, smallLogs } from "../../src/compaction/value-logs.ts";
import {
  type SegmentMeta,
  type ValueLogMeta,
  type Version,
  versionOf,
} from "../../src/manifest/version.ts";
import { HEADER_BYTES } from "../../src/segment/format.ts";

const SEGMENT_BYTES = 1000;

/** A segment over one key that uses so many bytes of some value logs. */
function user(key: number, uses: Readonly<Record<number, number>>, fileBytes = 900): SegmentMeta {
  return {
    fileNumber: 100 + key,
    fileBytes,
    keyCount: 1,
    tombstoneCount: 0,
    rangeTombstoneCount: 0,
    firstKey: Uint8Array.of(key),
    lastKey: Uint8Array.of(key),
    valueLogs: Object.entries(uses).map(([log, bytes]) => ({ fileNumber: Number(log), bytes })),
  };
}

/** A value log with so many bytes of values. */
const log = (fileNumber: number, bytes: number): ValueLogMeta => ({
  fileNumber,
  fileBytes: HEADER_BYTES + bytes,
});
const numbersOf = (logs: readonly ValueLogMeta[]): number[] =>
  logs.map(({ fileNumber }) => fileNumber);

describe("garbageLogs", () => {
  const runs = [[user(1, { 1: 30, 2: 50 }), user(2, { 1: 19 })], [user(3, { 3: 50 })]];

  test("are those with more garbage than is allowed, whichever segments use them", () => {
    const logs = [log(1, 100), log(2, 100), log(3, 101)];
    expect(numbersOf(garbageLogs(logsOf(runs, { runs, valueLogs: logs }), 1 / 2))).toEqual([1, 3]);
    expect(numbersOf(garbageLogs(logsOf(runs, { runs, valueLogs: logs }), 1 / 10))).toEqual([
      1, 2, 3,
    ]);
    expect(numbersOf(garbageLogs(logsOf(runs, { runs, valueLogs: logs }), 6 / 10))).toEqual([]);
  });

  test("are none of those that consist of little more than a header", () => {
    expect(garbageLogs([{ ...log(1, 14), usedBytes: 14 }], 0)).toEqual([]);
  });

  test("are none of those that other runs use", () => {
    const valueLogs = [1, 2, 3].map((fileNumber) => log(fileNumber, 1000));
    expect(numbersOf(logsOf(runs, { runs, valueLogs }))).toEqual([1, 2, 3]);
    expect(numbersOf(logsOf(runs.slice(0, 1), { runs, valueLogs }))).toEqual([1, 2]);
    const shared = [...runs, [user(4, { 2: 1 })]];
    expect(numbersOf(logsOf(runs, { runs: shared, valueLogs }))).toEqual([1, 3]);
  });
});

describe("a run with logs that are mostly garbage", () => {
  const logs = [log(1, 10_000), log(2, 10_000)];
  const options = {
    compactionTrigger: 4,
    sizeRatio: 50,
    minMergeWidth: 4,
    maxMergeWidth: 64,
    maxSizeAmplificationPercent: 100,
  };
  const pick = (version: Version): Choice | undefined =>
    pickCompaction(version, { sizes: version.runs.map(() => 1), hiddenCount: 0 }, options);

  test("is rewritten by itself where that frees more than it writes", () => {
    const run = [user(1, { 1: 4000 }), user(2, { 2: 6000 }, 10_000)];
    expect(clearingGain(run, versionOf([run], logs))).toBe(HEADER_BYTES + 10_000 - 8000 - 900);
    const version = versionOf([[user(4, {})], run], logs);
    expect(pick(version)).toEqual({ start: 1, end: 2, reason: "garbage" });
    const alone = versionOf([run], logs);
    expect(pick(alone)).toEqual({ start: 0, end: 1, reason: "garbage" });
  });

  test("is left alone where that costs more", () => {
    const large = [user(1, { 1: 4000 }, 3000), user(2, { 2: 6000 })];
    expect(clearingGain(large, versionOf([large], logs))).toBeLessThan(0);
    expect(pick(versionOf([large], logs))).toBeUndefined();
    const clean = [user(1, { 1: 5000 }), user(2, { 2: 6000 })];
    expect(clearingGain(clean, versionOf([clean], logs))).toBe(0);
    expect(pick(versionOf([clean], logs))).toBeUndefined();
  });
});

describe("smallLogs", () => {
  test("are those in little use, if there are several that no carried segment uses", () => {
    const merged = [user(1, { 1: 100, 2: 149, 3: 249, 4: 10, 5: 10 }), user(2, { 1: 150, 2: 100 })];
    const carried = [user(3, { 4: 10 })];
    const runs = [[...merged, ...carried]];
    const valueLogs = [1, 2, 3, 4, 5].map((fileNumber) => log(fileNumber, 1000));
    const logs = logsOf(runs, { runs, valueLogs });
    expect(numbersOf(smallLogs(merged, logs, 16 * 250))).toEqual([2, 3, 5]);
    expect(smallLogs(merged, logs.slice(0, 2), 16 * 250)).toEqual([]);
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
