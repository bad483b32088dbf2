import { describe, expect, test } from "vitest";
import { compareBytes, successor } from "../../src/bytes/compare.ts";
import { RunWriter } from "../../src/compaction/output.ts";
import { sampleOf } from "../../src/compaction/run.ts";
import { atOnce } from "../../src/pieces.ts";
import { learnCoders, type SegmentCoders } from "../../src/segment/coders.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";
import { ArrayCursor, type ArrayEntry } from "../cursor/array-cursor.ts";
import { entryOf, Files, LARGE_VALUE_BYTES, tombstoneOf } from "./segments.ts";

const SEGMENT_BYTES = 2 ** 16;

/** Values are copied into a small buffer by ArrayCursor, so they are at most 64 bytes long. */
const VALUE_BYTES = 60;

const entries: ArrayEntry[] = Array.from({ length: 8000 }, (_, i) => entryOf(i, VALUE_BYTES));

function codersFor(list: readonly ArrayEntry[]): SegmentCoders {
  const options = { compression: "none", largeValueBytes: LARGE_VALUE_BYTES } as const;
  const keyCount = list.length;
  return atOnce(
    learnCoders(atOnce(sampleOf(new ArrayCursor(list), keyCount, options)), { keyCount }, options),
  );
}

describe("RunWriter", () => {
  test("cuts segments at about the target, in key order, and loses nothing", async () => {
    const files = new Files();
    const run = await files.write(entries, SEGMENT_BYTES);
    expect(run.length).toBeGreaterThan(4);
    for (const meta of run.slice(0, -1)) {
      expect(meta.fileBytes).toBeGreaterThanOrEqual(SEGMENT_BYTES);
      // It looks at the size once for every 64 KiB of input.
      expect(meta.fileBytes).toBeLessThan(SEGMENT_BYTES * 2.5);
    }
    for (let i = 1; i < run.length; i++) {
      expect(compareBytes(run[i - 1].lastKey, run[i].firstKey)).toBeLessThan(0);
    }
    expect(await files.names()).toEqual(run.map(({ fileNumber }) => fileNumber));
    const found = await files.entriesOf(run);
    expect(found.length).toBe(entries.length);
    expect(found.every(({ value }, i) => compareBytes(value, entries[i].value) === 0)).toBe(true);
  });

  test("ends a segment where a boundary is, once it is large enough", async () => {
    const files = new Files();
    const begins = async (at: readonly number[], minBytes: number): Promise<number[]> => {
      const keys = at.map((i) => entryOf(i).key);
      const options = { ...files.output(8 * SEGMENT_BYTES), boundaries: { keys, minBytes } };
      const writer = new RunWriter(options);
      await writer.writeAll(files.source(entries), codersFor(entries), false);
      const { run } = await writer.finish();
      return run.map(({ firstKey }) => new DataView(firstKey.slice().buffer).getUint32(0));
    };
    expect(await begins([], 0)).toEqual([0]);
    expect(await begins([0, 1, 7, 4000, 9000], 0)).toEqual([0, 1, 7, 4000]);
    // The first piece is too small at 7, and the second one ends with the entries.
    expect(await begins([7, 4000, 4001], 2 * SEGMENT_BYTES)).toEqual([0, 4000]);
    expect(await begins([7], SEGMENT_BYTES)).toEqual([0]);
  });

  test("lets a segment outgrow its size to reach a boundary, but not by much", async () => {
    const files = new Files();
    const sizes = async (at: number): Promise<number[]> => {
      const boundaries = { keys: [entryOf(at).key], minBytes: SEGMENT_BYTES };
      const writer = new RunWriter({ ...files.output(4 * SEGMENT_BYTES), boundaries });
      await writer.writeAll(files.source(entries), codersFor(entries), false);
      return (await writer.finish()).run.map(({ keyCount }) => keyCount);
    };
    const [usual] = await sizes(0);
    expect(await sizes(usual + 100)).toEqual([usual + 100, entries.length - usual - 100]);
    const [stretched] = await sizes(entries.length);
    expect(stretched).toBeGreaterThan(usual);
    expect(stretched).toBeLessThan(usual * 1.5);
  });

  test("makes one segment of what fits, and none of nothing", async () => {
    const files = new Files();
    expect(await files.write(entries.slice(0, 3), SEGMENT_BYTES)).toMatchObject([
      { keyCount: 3, firstKey: entries[0].key, lastKey: entries[2].key },
    ]);
    expect(await files.write([], SEGMENT_BYTES)).toEqual([]);
    expect(await files.names()).toEqual([1]);
  });

  test("keeps or drops tombstones, and makes no segment of dropped ones alone", async () => {
    const files = new Files();
    const mixed = [entryOf(1), tombstoneOf(2), entryOf(3), tombstoneOf(4)];
    const kept = new RunWriter(files.output(SEGMENT_BYTES));
    await kept.writeAll(files.source(mixed), codersFor(mixed), false);
    expect((await kept.finish()).run).toMatchObject([{ keyCount: 4, tombstoneCount: 2 }]);
    const dropped = new RunWriter(files.output(SEGMENT_BYTES));
    await dropped.writeAll(files.source(mixed), codersFor(mixed), true);
    expect((await dropped.finish()).run).toMatchObject([{ keyCount: 2, tombstoneCount: 0 }]);
    const tombstones = [tombstoneOf(2), tombstoneOf(4)];
    const none = new RunWriter(files.output(SEGMENT_BYTES));
    await none.writeAll(files.source(tombstones), codersFor(mixed), true);
    expect((await none.finish()).run).toEqual([]);
  });

  test("shares out the keys of its source among the segments, dropped tombstones included", async () => {
    const files = new Files();
    const mixed = entries.map((entry, i) => (i % 3 === 0 || i > 7_990 ? tombstoneOf(i) : entry));
    const writer = new RunWriter(files.output(SEGMENT_BYTES));
    const source = files.source(mixed);
    await writer.writeAll(source, codersFor(mixed), true);
    const segments = await files.openAll((await writer.finish()).run);
    expect(segments.length).toBeGreaterThan(2);
    let covered = source.firstKey;
    for (const { properties } of segments) {
      expect(properties).toMatchObject(source.seqnos);
      expect(properties.coverStart).toEqual(covered);
      covered = properties.coverEnd;
    }
    expect(covered).toEqual(successor(source.lastKey));
  });

  test("puts a carried segment between what is written before and after it", async () => {
    const files = new Files();
    const [carried] = await files.write(entries.slice(10, 20), SEGMENT_BYTES);
    const coders = codersFor(entries);
    const writer = new RunWriter(files.output(SEGMENT_BYTES));
    await writer.writeAll(files.source(entries.slice(0, 10)), coders, false);
    writer.carry(carried);
    await writer.writeAll(files.source(entries.slice(20, 30)), coders, false);
    const { run } = await writer.finish();
    expect(run.map(({ fileNumber }) => fileNumber)).toEqual([2, 1, 3]);
    expect(run[1]).toBe(carried);
    expect(await files.entriesOf(run)).toEqual(entries.slice(0, 30));
  });

  test("gives way to other work, and leaves no file but the carried when it is abandoned", async () => {
    const files = new Files();
    const [carried] = await files.write(entries.slice(0, 10), SEGMENT_BYTES);
    const writer = new RunWriter(files.output(SEGMENT_BYTES));
    writer.carry(carried);
    files.pauses = 0;
    files.onPause = (): void => {
      if (files.pauses === 6) throw new Error("cancelled");
    };
    const rest = entries.slice(10);
    const written = writer.writeAll(files.source(rest), codersFor(rest), false);
    await expect(written).rejects.toThrow("cancelled");
    expect((await files.names()).length).toBeGreaterThan(2);
    await writer.abandon();
    expect(await files.names()).toEqual([carried.fileNumber]);
  });

  test.each([
    ["the unfinished", 1, -1],
    ["a finished", 2, 0],
  ])("removes its other files even if %s segment cannot be removed", async (_, nth, left) => {
    const files = new Files();
    const faults = new FaultFileSystem(files.fileSystem);
    Object.assign(files, { fileSystem: faults });
    const writer = new RunWriter(files.output(SEGMENT_BYTES));
    files.onPause = (): void => {
      if (files.pauses === 5) throw new Error("cancelled");
    };
    const written = writer.writeAll(files.source(entries), codersFor(entries), false);
    await expect(written).rejects.toThrow("cancelled");
    const before = await files.names();
    expect(before.length).toBeGreaterThan(2);
    faults.inject({ kinds: ["remove"], nth, effect: { kind: "fail", code: "EIO" } });
    await writer.abandon();
    // What cannot be removed is an orphan, which the next open removes.
    expect(await files.names()).toEqual([before.at(left)]);
  });
});
