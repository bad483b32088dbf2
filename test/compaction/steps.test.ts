import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { nextStep, runsAfter, type Step, type StepOptions } from "../../src/compaction/steps.ts";
import type { Run, SegmentMeta } from "../../src/manifest/version.ts";

const SEGMENT_BYTES = 1000;
const STEP_BYTES = 4 * SEGMENT_BYTES;

let nextFileNumber = 1;

/** A segment over [first, last], two letters, of a size. */
function segment(range: string, fileBytes = SEGMENT_BYTES): SegmentMeta {
  const [firstKey, lastKey] = [...range].map((letter) => Uint8Array.of(letter.charCodeAt(0)));
  return metaOf(firstKey, lastKey, 9, fileBytes);
}

function metaOf(
  firstKey: Uint8Array,
  lastKey: Uint8Array,
  keyCount: number,
  fileBytes: number,
): SegmentMeta {
  return {
    fileNumber: nextFileNumber++,
    fileBytes,
    keyCount,
    tombstoneCount: 0,
    rangeTombstoneCount: 0,
    firstKey,
    lastKey,
    valueLogs: [],
  };
}

const OPTIONS: StepOptions = {
  dropTombstones: false,
  segmentBytes: SEGMENT_BYTES,
  leftLogs: new Set(),
  stepBytes: STEP_BYTES,
};

const letterOf = (key: Uint8Array): string => String.fromCharCode(key[0]);
const nameOf = ({ firstKey, lastKey }: SegmentMeta): string =>
  letterOf(firstKey) + letterOf(lastKey);

/** "merge ab cd | ae, up to g" with the segments of each run, or "split af/1 at c e". */
function describeStep(step: Step): string {
  if (step.kind === "split") {
    return `split ${nameOf(step.segment)}/${step.age} at ${step.cuts.map(letterOf).join(" ")}`;
  }
  const runs = step.runs.map((run) => run.map(nameOf).join(" ")).join(" | ");
  return step.end === undefined ? `merge ${runs}` : `merge ${runs}, up to ${letterOf(step.end)}`;
}

function next(runs: readonly Run[], start?: string): string {
  const key = start === undefined ? undefined : Uint8Array.of(start.charCodeAt(0));
  return describeStep(nextStep(runs, key, OPTIONS));
}

describe("a merge", () => {
  test("of little is one step", () => {
    expect(next([[segment("ac")], [segment("ab"), segment("cd")]])).toBe("merge ac | ab cd");
    expect(next([[], []])).toBe("merge  | ");
  });

  test("of much takes as many groups a step as its bound allows", () => {
    const runs = ["ab", "cd", "ef", "gh", "ij"].map((range) => segment(range));
    expect(next([runs.map((each) => ({ ...each })), runs])).toBe("merge ab cd | ab cd, up to e");
    expect(next([runs, runs], "e")).toBe("merge ef gh | ef gh, up to i");
    expect(next([runs, runs], "i")).toBe("merge ij | ij");
  });

  test("takes what is carried over for nothing", () => {
    const carried = ["aa", "bb", "cc", "dd", "ee", "ff"].map((range) => segment(range));
    expect(next([carried, []])).toBe("merge aa bb cc dd ee ff | ");
    const overlapped = [segment("ab"), segment("gh"), segment("jk")];
    expect(next([overlapped, [...carried, segment("hi"), segment("kl")]])).toBe(
      "merge ab | aa bb cc dd ee ff, up to g",
    );
  });

  test("first splits a segment that keeps too much together, at first keys of others", () => {
    const old = ["ab", "cd", "ef", "gh", "ij", "kl", "mn"].map((range) => segment(range));
    expect(next([[segment("an", 500)], old])).toBe("split an/0 at g m");
    // The cheapest cut is where the least straddles.
    const small = [segment("ad", 900), segment("fn", 100)];
    expect(next([small, old])).toBe("merge ad | ab cd, up to e");
    expect(next([small, old], "e")).toBe("split fn/0 at k");
  });

  test("takes one segment of each run, however large they are", () => {
    const runs = Array.from({ length: 6 }, () => [segment("ab"), segment("cd")]);
    const names = (name: string): string => Array.from({ length: 6 }, () => name).join(" | ");
    expect(next(runs)).toBe(`merge ${names("ab")}, up to c`);
    expect(next(runs, "c")).toBe(`merge ${names("cd")}`);
  });
});

/** A merge without files: what each segment would hold. */
class Simulation {
  readonly keys = new Map<number, readonly number[]>();

  segment(keys: readonly number[], bytesPerKey: number): SegmentMeta {
    const [first, last] = [keys[0], keys[keys.length - 1]].map((key) =>
      Uint8Array.of(key >> 8, key),
    );
    const meta = metaOf(first, last, keys.length, keys.length * bytesPerKey + 20);
    this.keys.set(meta.fileNumber, keys);
    return meta;
  }

  /** A run of the keys, cut after so many of them, and nowhere else. */
  run(keys: readonly number[], perSegment: number, bytesPerKey: number): Run {
    const run: SegmentMeta[] = [];
    for (let i = 0; i < keys.length; i += perSegment) {
      run.push(this.segment(keys.slice(i, i + perSegment), bytesPerKey));
    }
    return run;
  }

  keysOf(run: Run): number[] {
    return run.flatMap(({ fileNumber }) => this.keys.get(fileNumber) ?? []);
  }

  /** Does what a step says, and returns the runs after it. */
  take(runs: readonly Run[], step: Step, perSegment: number, bytesPerKey: number): Run[] {
    if (step.kind === "merge") {
      const keys = [...new Set(step.runs.flatMap((run) => this.keysOf(run)))];
      const run = this.run(
        keys.sort((a, b) => a - b),
        perSegment,
        bytesPerKey,
      );
      return runsAfter(runs, step, { run, kept: runs.slice(1).map(() => []) });
    }
    const keys = this.keysOf([step.segment]);
    const bounds = step.cuts.map((cut) => keys.findIndex((key) => key >= (cut[0] << 8) + cut[1]));
    const parts = [0, ...bounds].map((from, i) => keys.slice(from, [...bounds, keys.length][i]));
    const run = parts
      .filter((part) => part.length > 0)
      .map((part) => this.segment(part, bytesPerKey));
    expect(run.length).toBeGreaterThan(1);
    return runsAfter(runs, step, { run, kept: [] });
  }
}

/** What a step rewrites may be more than its bound where one segment of each run is. */
function oneOfEach(runs: readonly Run[]): number {
  return runs.reduce((sum, run) => sum + Math.max(0, ...run.map(({ fileBytes }) => fileBytes)), 0);
}

test("whatever the runs, each step keeps to its bound, and the last leaves one run", () => {
  const anyRun = fc.record({
    keys: fc.uniqueArray(fc.nat(600), { minLength: 1, maxLength: 300 }),
    perSegment: fc.integer({ min: 1, max: 40 }),
  });
  fc.assert(
    fc.property(
      fc.array(anyRun, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 40 }),
      (shapes, perSegment) => {
        const simulation = new Simulation();
        let runs: Run[] = shapes.map((shape) =>
          simulation.run(
            shape.keys.sort((a, b) => a - b),
            shape.perSegment,
            30,
          ),
        );
        const all = [...new Set(shapes.flatMap(({ keys }) => keys))].sort((a, b) => a - b);
        let start: Uint8Array | undefined;
        for (let isDone = false; !isDone; ) {
          const step = nextStep(runs, start, OPTIONS);
          const limit = Math.max(STEP_BYTES, oneOfEach(step.kind === "merge" ? step.runs : runs));
          expect(step.rewrittenBytes).toBeLessThanOrEqual(limit);
          runs = simulation.take(runs, step, perSegment, 30);
          for (const run of runs) expect(isInOrder(run)).toBe(true);
          const keys = new Set(runs.flatMap((run) => simulation.keysOf(run)));
          expect([...keys].sort((a, b) => a - b)).toEqual(all);
          if (step.kind === "merge") {
            isDone = step.end === undefined;
            start = step.end;
          }
        }
        expect(runs.slice(0, -1).flat()).toEqual([]);
        expect(simulation.keysOf(runs[runs.length - 1])).toEqual(all);
      },
    ),
  );
});

function isInOrder(run: Run): boolean {
  return run.every(
    ({ firstKey, lastKey }, i) =>
      compareBytes(firstKey, lastKey) <= 0 &&
      (i === 0 || compareBytes(run[i - 1].lastKey, firstKey) < 0),
  );
}
