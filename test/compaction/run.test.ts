import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes, successor } from "../../src/bytes/compare.ts";
import type { RunOutput } from "../../src/compaction/output.ts";
import {
  learnFrom,
  planOptionsOf,
  runCompaction,
  samplesOfSegments,
  splitSegment,
} from "../../src/compaction/run.ts";
import { nextStep, runsAfter } from "../../src/compaction/steps.ts";
import { logsOf } from "../../src/compaction/value-logs.ts";
import { type Span, unionOf } from "../../src/cursor/spans.ts";
import { BEFORE_EXPIRY, NEVER } from "../../src/entry.ts";
import type { Run, SegmentMeta, ValueLogMeta } from "../../src/manifest/version.ts";
import { atOnce } from "../../src/pieces.ts";
import { UNCODED, type ValueCompression } from "../../src/segment/coders.ts";
import type { EntrySample } from "../../src/segment/entry-sample.ts";
import type { ArrayEntry } from "../cursor/array-cursor.ts";
import { isWithin } from "../cursor/span-lists.ts";
import { entryOf, Files, tombstoneOf } from "./segments.ts";

const SEGMENT_BYTES = 2 ** 16;

/** The entries of runs, newest first, merged the slow and obvious way. */
function merged(
  runs: readonly ArrayEntry[][],
  deleted: readonly (readonly Span[])[],
  dropTombstones: boolean,
  time: number,
): ArrayEntry[] {
  const byKey = new Map<string, ArrayEntry>();
  for (let age = runs.length - 1; age >= 0; age--) {
    for (const [name, { key }] of byKey) {
      if (deleted[age].some((span) => isWithin(span, key))) byKey.delete(name);
    }
    for (const entry of runs[age]) byKey.set(entry.key.join(), entry);
  }
  return [...byKey.values()]
    .map((entry) => atTime(entry, time))
    .filter(({ kind }) => !(dropTombstones && kind === 2))
    .sort((a, b) => compareBytes(a.key, b.key));
}

async function compact(
  files: Files,
  runs: readonly (readonly SegmentMeta[])[],
  dropTombstones: boolean,
  time: number = BEFORE_EXPIRY,
  compression: ValueCompression = "none",
): Promise<readonly SegmentMeta[]> {
  return (await compactAll(files, runs, dropTombstones, [], time, compression)).run;
}

async function compactAll(
  files: Files,
  runs: readonly (readonly SegmentMeta[])[],
  dropTombstones: boolean,
  valueLogs: readonly ValueLogMeta[],
  time: number = BEFORE_EXPIRY,
  compression: ValueCompression = "none",
): Promise<RunOutput> {
  const inputs = await Promise.all(runs.map((run) => files.openAll(run)));
  return await runCompaction({
    runs: inputs,
    dropTombstones,
    time,
    coders: async () =>
      atOnce(learnFrom(inputs.flat(), { compression, largeValueBytes: 300, time })),
    output: files.output(SEGMENT_BYTES),
    valueLogs: logsOf(runs, { runs, valueLogs }),
    maxGarbageShare: 1 / 2,
    openValueLog: (meta) => files.openValueLog(meta),
  });
}

/** Some neighbouring keys, some of them deleted, with values that differ from run to run. */
const anyRun: fc.Arbitrary<ArrayEntry[]> = fc
  .record({
    start: fc.nat(300),
    count: fc.integer({ min: 1, max: 200 }),
    stride: fc.integer({ min: 1, max: 3 }),
    length: fc.integer({ min: 0, max: 60 }),
    deleted: fc.integer({ min: 2, max: 9 }),
    expiring: fc.integer({ min: 2, max: 9 }),
  })
  .map(({ start, count, stride, length, deleted, expiring }) =>
    Array.from({ length: count }, (_, i) => {
      const at = start + i * stride;
      if (i % deleted === 0) return tombstoneOf(at);
      return i % expiring === 0 ? { ...entryOf(at, length), expiry: 1 + at } : entryOf(at, length);
    }),
  );

/** The entry as it is seen at a moment. */
function atTime(entry: ArrayEntry, time: number): ArrayEntry {
  return (entry.expiry ?? NEVER) <= time ? { ...tombstoneOf(0), key: entry.key } : entry;
}

function sum(
  run: readonly SegmentMeta[],
  field: "keyCount" | "tombstoneCount" | "fileBytes",
): number {
  return run.reduce((total, meta) => total + meta[field], 0);
}

/** Some stretches of the same keys. */
const anyDeleted: fc.Arbitrary<Span[]> = fc
  .array(fc.tuple(fc.nat(900), fc.option(fc.integer({ min: 1, max: 400 }), { nil: undefined })), {
    maxLength: 3,
  })
  .map((pairs) =>
    unionOf(
      pairs.map(([start, count]) => ({
        start: entryOf(start).key,
        end: count === undefined ? undefined : entryOf(start + count).key,
      })),
    ),
  );

/** Some of the same keys. */
const anyCuts: fc.Arbitrary<Uint8Array[]> = fc
  .uniqueArray(fc.nat(900), { maxLength: 12 })
  .map((keys) => keys.sort((a, b) => a - b).map((key) => entryOf(key).key));

test("a merge by steps leaves what is seen as it was, after each of them", async () => {
  let splits = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(anyRun, anyDeleted, anyCuts), { minLength: 1, maxLength: 4 }),
      fc.option(fc.tuple(anyRun, anyDeleted), { nil: undefined }),
      fc.constantFrom(BEFORE_EXPIRY, 150, 2000),
      fc.integer({ min: 1, max: 6000 }),
      async (triples, older, time, stepBytes) => {
        const files = new Files();
        const olderRuns: Run[] = [];
        if (older !== undefined) {
          olderRuns.push(await files.write(older[0], SEGMENT_BYTES, older[1]));
        }
        let runs: Run[] = [];
        for (const [entries, spans, cuts] of triples.toReversed()) {
          runs.unshift(await files.write(entries, SEGMENT_BYTES, spans, false, "none", cuts));
        }
        const seen = async (): Promise<ArrayEntry[]> => {
          const all = [...runs, ...olderRuns];
          const entries = await Promise.all(all.map((run) => files.entriesOf(run)));
          const deleted = await Promise.all(all.map((run) => files.rangesOf(run)));
          return merged(entries, deleted, true, time);
        };
        const before = await seen();
        const job = {
          time,
          dropTombstones: older === undefined,
          valueLogs: [],
          maxGarbageShare: 1 / 2,
          coders: async () => ({ ...UNCODED, isUncoded: false }),
          openValueLog: () => Promise.reject(new Error("there is none")),
        };
        let start: Uint8Array | undefined;
        for (let isDone = false; !isDone; ) {
          const inputs = await Promise.all(runs.map((run) => files.openAll(run)));
          const options = planOptionsOf(inputs, job, SEGMENT_BYTES);
          const step = nextStep(runs, start, { ...options, stepBytes });
          const output = files.output(SEGMENT_BYTES);
          if (step.kind === "split") {
            splits++;
            const { fileNumber } = step.segment;
            const [segment] = inputs.flat().filter(({ meta }) => meta.fileNumber === fileNumber);
            const boundaries = { keys: step.cuts, minBytes: 0 };
            const split = { segment, ...job, output: { ...output, boundaries } };
            runs = runsAfter(runs, step, await splitSegment(split));
          } else {
            const taken = new Set(step.runs.flat().map(({ fileNumber }) => fileNumber));
            const parts = inputs.map((run) =>
              run.filter(({ meta }) => meta.keyCount === 0 || taken.has(meta.fileNumber)),
            );
            const { end } = step;
            const written = await runCompaction({ ...job, runs: parts, end, output });
            runs = runsAfter(runs, step, written);
            start = end;
            isDone = end === undefined;
          }
          expect(await seen()).toEqual(before);
        }
        expect(runs.slice(0, -1).flat()).toEqual([]);
      },
    ),
  );
  expect(splits).toBeGreaterThan(0);
});

describe("runCompaction", () => {
  test("is the union of its inputs, newer entries hiding older ones", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(anyRun, anyDeleted), { minLength: 1, maxLength: 4 }),
        fc.boolean(),
        fc.constantFrom(BEFORE_EXPIRY, 1, 150, 300, 2000),
        async (pairs, dropTombstones, time) => {
          const files = new Files();
          const runs = pairs.map(([entries]) => entries);
          const deleted = pairs.map(([, spans]) => spans);
          const inputs: (readonly SegmentMeta[])[] = [];
          for (const [entries, spans] of pairs) {
            inputs.push(await files.write(entries, SEGMENT_BYTES, spans));
          }
          const result = await compact(files, inputs, dropTombstones, time);
          const found = await files.entriesOf(result);
          const expected = merged(runs, deleted, dropTombstones, time);
          // A file that overlaps no other may be carried over, if little in it has expired.
          const shown = dropTombstones ? found : found.map((entry) => atTime(entry, time));
          expect(shown).toEqual(expected);
          const ranges = dropTombstones ? [] : unionOf(deleted.flat());
          expect(await files.rangesOf(result)).toEqual(ranges);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("rewrites a lone segment of which a quarter has expired, or any of it where tombstones go", async () => {
    const entries = Array.from({ length: 4000 }, (_, i) => ({ ...entryOf(i, 20), expiry: 1 + i }));
    for (const [time, dropTombstones, isRewritten] of [
      [0, false, false],
      [999, false, false],
      [1000, false, true],
      [0, true, false],
      [1, true, true],
    ] as const) {
      const files = new Files();
      const run = await files.write(entries, 2 ** 20);
      expect(run).toHaveLength(1);
      const result = await compact(files, [run], dropTombstones, time);
      expect(result[0].fileNumber !== run[0].fileNumber, `${time}`).toBe(isRewritten);
      const count = dropTombstones ? 4000 - time : 4000;
      expect(sum(result, "keyCount")).toBe(isRewritten ? count : 4000);
      expect(sum(result, "tombstoneCount")).toBe(isRewritten && !dropTombstones ? time : 0);
    }
  });

  test("answers for all writes and keys of what was merged", async () => {
    const files = new Files();
    const older = await files.write([entryOf(1), entryOf(5), entryOf(9)], SEGMENT_BYTES);
    const newer = await files.write([tombstoneOf(1), entryOf(5), tombstoneOf(20)], SEGMENT_BYTES);
    const [merged] = await files.openAll(await compact(files, [newer, older], true));
    expect(merged.properties).toMatchObject({
      keyCount: 2,
      firstSeqno: 1,
      lastSeqno: 6,
      coverStart: entryOf(1).key,
      coverEnd: successor(entryOf(20).key),
    });
  });

  test("rewrites what overlaps and carries the other files over", async () => {
    const files = new Files();
    const old = Array.from({ length: 8000 }, (_, i) => entryOf(i, 60));
    const oldRun = await files.write(old, SEGMENT_BYTES);
    const newer = [entryOf(10, 1), entryOf(20, 2)];
    const newRun = await files.write(newer, SEGMENT_BYTES);
    const result = await compact(files, [newRun, oldRun], true);
    const carried = result.filter(({ fileNumber }) =>
      oldRun.some((meta) => meta.fileNumber === fileNumber),
    );
    expect(carried.map(({ fileNumber }) => fileNumber)).toEqual(
      oldRun.slice(1).map(({ fileNumber }) => fileNumber),
    );
    const found = await files.entriesOf(result);
    expect(found.length).toBe(8000);
    expect(found[10]).toEqual(newer[0]);
    expect(found[20]).toEqual(newer[1]);
    expect(found[30]).toEqual(old[30]);
  });

  test("codes what a flush left uncoded, though nothing overlaps it, once", async () => {
    const files = new Files();
    const entries = Array.from({ length: 8000 }, (_, i) => entryOf(i, 60));
    const uncoded = await files.write(entries, SEGMENT_BYTES, [], true);
    const coded = await compact(files, [uncoded], true, BEFORE_EXPIRY, "auto");
    const before = new Set(uncoded.map(({ fileNumber }) => fileNumber));
    expect(coded.filter(({ fileNumber }) => before.has(fileNumber))).toEqual([]);
    expect(sum(coded, "fileBytes")).toBeLessThan(sum(uncoded, "fileBytes") / 2);
    expect(await files.entriesOf(coded)).toEqual(entries);
    expect(await compact(files, [coded], true, BEFORE_EXPIRY, "auto")).toEqual(coded);
  });

  test("drops files that a range tombstone covers, and reads no value of them", async () => {
    const files = new Files();
    const old = Array.from({ length: 8000 }, (_, i) => entryOf(i, 60));
    const oldRun = await files.write(old, SEGMENT_BYTES);
    expect(oldRun.length).toBeGreaterThan(4);
    const last = oldRun[oldRun.length - 1];
    const deleted = [{ start: entryOf(0).key, end: last.firstKey }];
    const newRun = await files.write([], SEGMENT_BYTES, deleted);
    // Damage that any reading of a value would find.
    for (const { fileNumber } of oldRun.slice(0, -1)) await files.damage(fileNumber, 100);
    expect(await compact(files, [newRun, oldRun], true)).toEqual([last]);
    const kept = await compact(files, [newRun, oldRun], false);
    expect(kept.slice(1)).toEqual([last]);
    expect(kept[0]).toMatchObject({ keyCount: 0, rangeTombstoneCount: 1 });
  });

  test("leaves nothing where tombstones hide everything", async () => {
    const files = new Files();
    const puts = await files.write([entryOf(1), entryOf(2)], SEGMENT_BYTES);
    const deletes = await files.write([tombstoneOf(1), tombstoneOf(2)], SEGMENT_BYTES);
    expect(await compact(files, [deletes, puts], true)).toEqual([]);
    const kept = await compact(files, [deletes, puts], false);
    expect(kept).toMatchObject([{ keyCount: 2, tombstoneCount: 2 }]);
  });

  test("that is cancelled leaves its inputs and nothing else", async () => {
    const files = new Files();
    const lists = [1, 2].map((length) =>
      Array.from({ length: 8000 }, (_, i) => entryOf(i, 50 + length)),
    );
    const runs: (readonly SegmentMeta[])[] = [];
    for (const list of lists) runs.push(await files.write(list, SEGMENT_BYTES));
    const before = await files.names();
    files.pauses = 0;
    files.onPause = (): void => {
      if (files.pauses === 5) throw new Error("cancelled");
    };
    await expect(compact(files, runs, true)).rejects.toThrow("cancelled");
    expect(await files.names()).toEqual(before);
  });
});

test("coders of a merge are judged by entries that they were not learnt from", async () => {
  const files = new Files();
  const entries = Array.from({ length: 40_000 }, (_, i) => entryOf(i));
  const segments = await files.openAll(await files.write(entries, 2 ** 20));
  const samples = samplesOfSegments(segments, { largeValueBytes: 300, time: BEFORE_EXPIRY });
  const keysOf = (sample: EntrySample): string[] =>
    Array.from({ length: sample.count }, (_, i) =>
      Buffer.from(sample.keyBytes.subarray(sample.keyStart(i), sample.keyEnd(i))).toString("hex"),
    );
  const learntFrom = new Set(keysOf(atOnce(samples.many())));
  const judgedBy = keysOf(atOnce(samples.few()));
  expect(judgedBy.length).toBeGreaterThan(5000);
  // Places are spread evenly, so that what is read at one may reach into the next.
  const both = judgedBy.filter((key) => learntFrom.has(key));
  expect(both.length).toBeLessThan(judgedBy.length / 2);
});
