import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { type PlanOptions, planCompaction, type Unit } from "../../src/compaction/plan.ts";
import type { Spans } from "../../src/cursor/spans.ts";
import type { Run, SegmentMeta } from "../../src/manifest/version.ts";
import { SpanList } from "../cursor/span-lists.ts";

const SEGMENT_BYTES = 1000;

let nextFileNumber = 1;

/** A segment over [first, last], two letters, of a size and with tombstones or not. */
function segment(range: string, fileBytes = SEGMENT_BYTES, tombstoneCount = 0): SegmentMeta {
  const [firstKey, lastKey] = [...range].map((letter) => Uint8Array.of(letter.charCodeAt(0)));
  return {
    fileNumber: nextFileNumber++,
    fileBytes,
    keyCount: 9,
    tombstoneCount,
    rangeTombstoneCount: 0,
    firstKey,
    lastKey,
    valueLogs: [],
  };
}

function nameOf({ firstKey, lastKey }: SegmentMeta): string {
  return String.fromCharCode(firstKey[0], lastKey[0]);
}

/** "carry ab" or "merge ab/0 bc/1", with each segment's age. */
function describeUnit(unit: Unit): string {
  if (unit.kind === "carry") return `carry ${nameOf(unit.segment)}`;
  return `merge ${unit.segments.map(({ meta, age }) => `${nameOf(meta)}/${age}`).join(" ")}`;
}

function optionsFor(dropTombstones: boolean): PlanOptions {
  return { dropTombstones, segmentBytes: SEGMENT_BYTES, leftLogs: new Set() };
}

function plan(runs: readonly Run[], dropTombstones = false): string[] {
  return planCompaction(runs, optionsFor(dropTombstones)).map(describeUnit);
}

describe("planCompaction", () => {
  test("merges what overlaps and carries what does not", () => {
    const runs = [[segment("bc")], [segment("aa"), segment("bd"), segment("ef")]];
    expect(plan(runs)).toEqual(["carry aa", "merge bc/0 bd/1", "carry ef"]);
  });

  test("counts one shared key as an overlap", () => {
    expect(plan([[segment("ab")], [segment("bc")]])).toEqual(["merge ab/0 bc/1"]);
    expect(plan([[segment("ab")], [segment("cd")]])).toEqual(["carry ab", "carry cd"]);
  });

  test("joins segments that overlap through others", () => {
    const runs = [[segment("ad")], [segment("ab"), segment("cf")], [segment("eg"), segment("hh")]];
    expect(plan(runs)).toEqual(["merge ad/0 ab/1 cf/1 eg/2", "carry hh"]);
  });

  test("sees that a long segment spans short ones", () => {
    const runs = [[segment("bb"), segment("cc"), segment("dd")], [segment("ae")]];
    expect(plan(runs)).toEqual(["merge ae/1 bb/0 cc/0 dd/0"]);
  });

  test("merges small loners with each other or with a neighbour that is merged", () => {
    const small = (range: string): SegmentMeta => segment(range, SEGMENT_BYTES / 4 - 1);
    expect(plan([[small("aa"), small("bb")], [small("cc")]])).toEqual(["merge aa/0 bb/0 cc/1"]);
    expect(plan([[segment("ab"), small("cc")], [segment("bb")]])).toEqual(["merge ab/0 bb/1 cc/0"]);
    expect(plan([[segment("aa", SEGMENT_BYTES / 4)], [small("bb")]])).toEqual([
      "carry aa",
      "carry bb",
    ]);
  });

  test("rewrites a loner with tombstones only where they are dropped", () => {
    const runs = [[segment("aa", SEGMENT_BYTES, 3)], [segment("bb")]];
    expect(plan(runs, false)).toEqual(["carry aa", "carry bb"]);
    expect(plan(runs, true)).toEqual(["merge aa/0", "carry bb"]);
  });

  test("rewrites a loner whose expired entries are to go, wherever that is", () => {
    const runs = [[segment("aa"), segment("cc", 1)], [segment("bb")]];
    const planned = (expired: readonly SegmentMeta[], dropTombstones: boolean): string[] => {
      const numbers = new Set(expired.map(({ fileNumber }) => fileNumber));
      const options = { ...optionsFor(dropTombstones), expired: numbers };
      return planCompaction(runs, options).map(describeUnit);
    };
    for (const dropTombstones of [false, true]) {
      expect(planned([], dropTombstones)).toEqual(["carry aa", "carry bb", "carry cc"]);
      expect(planned(runs[1], dropTombstones)).toEqual(["carry aa", "merge bb/1 cc/0"]);
      expect(planned([runs[0][1]], dropTombstones)).toEqual(["carry aa", "carry bb", "merge cc/0"]);
    }
  });

  test("rewrites a loner that is to be coded", () => {
    const runs = [[segment("aa"), segment("cc", 1)], [segment("bb")]];
    const planned = (uncoded: readonly SegmentMeta[]): string[] => {
      const numbers = new Set(uncoded.map(({ fileNumber }) => fileNumber));
      return planCompaction(runs, { ...optionsFor(true), uncoded: numbers }).map(describeUnit);
    };
    expect(planned([])).toEqual(["carry aa", "carry bb", "carry cc"]);
    expect(planned([runs[0][1]])).toEqual(["carry aa", "carry bb", "merge cc/0"]);
    expect(planned(runs[1])).toEqual(["carry aa", "merge bb/1 cc/0"]);
  });

  describe("with range tombstones of newer runs", () => {
    const covering = (range: string): Spans => {
      const [start, end] = [...range].map((letter) => Uint8Array.of(letter.charCodeAt(0)));
      return new SpanList([{ start, end }]);
    };
    const runs = [[], [segment("ab"), segment("ce"), segment("fg")]];
    const planned = (range: string, age: number): string[] => {
      const rangeTombstones = runs.map((_, i) => (i === age ? covering(range) : undefined));
      const options = {
        dropTombstones: false,
        segmentBytes: SEGMENT_BYTES,
        leftLogs: new Set<number>(),
      };
      return planCompaction(runs, { ...options, rangeTombstones }).map(describeUnit);
    };

    test("drops what they cover whole, and rewrites what they cover in part", () => {
      expect(planned("cf", 0)).toEqual(["carry ab", "carry fg"]);
      expect(planned("ce", 0)).toEqual(["carry ab", "merge ce/1", "carry fg"]);
      expect(planned("bc", 0)).toEqual(["merge ab/1", "carry ce", "carry fg"]);
      expect(planned("be", 0)).toEqual(["merge ab/1 ce/1", "carry fg"]);
      expect(planned("hz", 0)).toEqual(["carry ab", "carry ce", "carry fg"]);
      expect(planned("az", 0)).toEqual([]);
    });

    test("leaves the run alone that they belong to", () => {
      expect(planned("az", 1)).toEqual(["carry ab", "carry ce", "carry fg"]);
    });
  });

  test("of nothing is nothing", () => {
    expect(plan([])).toEqual([]);
  });

  /** Runs of disjoint segments in key order, over a small key space so that runs overlap. */
  const anyRun: fc.Arbitrary<Run> = fc
    .tuple(
      fc.uniqueArray(fc.nat(60), { minLength: 2, maxLength: 14 }),
      fc.infiniteStream(fc.tuple(fc.integer({ min: 1, max: 2000 }), fc.constantFrom(0, 0, 1))),
    )
    .map(([ends, details]) => {
      const keys = ends.sort((a, b) => a - b);
      const run: SegmentMeta[] = [];
      for (let i = 0; i + 1 < keys.length; i += 2) {
        const { value } = details.next();
        const [fileBytes, tombstoneCount] = value ?? [1, 0];
        const range = String.fromCharCode(48 + keys[i], 48 + keys[i + 1]);
        run.push(segment(range, fileBytes, tombstoneCount));
      }
      return run;
    });

  test("loses nothing, keeps key order, and carries only what overlaps nothing", () => {
    fc.assert(
      fc.property(fc.array(anyRun, { maxLength: 5 }), fc.boolean(), (runs, dropTombstones) => {
        const units = planCompaction(runs, optionsFor(dropTombstones));
        const segmentsOf = (unit: Unit): SegmentMeta[] =>
          unit.kind === "carry" ? [unit.segment] : unit.segments.map(({ meta }) => meta);
        const numbers = (metas: readonly SegmentMeta[]): number[] =>
          metas.map(({ fileNumber }) => fileNumber).sort((a, b) => a - b);
        expect(numbers(units.flatMap(segmentsOf))).toEqual(numbers(runs.flat()));

        let previousEnd: Uint8Array | undefined;
        for (const unit of units) {
          const metas = segmentsOf(unit);
          for (const meta of metas) {
            if (previousEnd !== undefined) {
              expect(compareBytes(previousEnd, meta.firstKey)).toBeLessThan(0);
            }
          }
          previousEnd = metas
            .map(({ lastKey }) => lastKey)
            .sort(compareBytes)
            .at(-1);
          if (unit.kind === "carry") {
            expect(dropTombstones && unit.segment.tombstoneCount > 0).toBe(false);
          } else {
            const starts = metas.map(({ firstKey }) => firstKey);
            expect(starts).toEqual([...starts].sort(compareBytes));
            for (const { meta, age } of unit.segments) expect(runs[age]).toContain(meta);
          }
        }
      }),
    );
  });
});
