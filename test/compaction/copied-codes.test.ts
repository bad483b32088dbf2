/**
 * Where inputs of a merge are coded by the tables of its output, codes are copied; and what is
 * written is the same as if every value had been coded anew.
 */
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { compareBytes } from "../../src/bytes/compare.ts";
import { RunWriter } from "../../src/compaction/output.ts";
import { runCompaction, sampleOf } from "../../src/compaction/run.ts";
import { BEFORE_EXPIRY } from "../../src/entry.ts";
import type { SegmentMeta } from "../../src/manifest/version.ts";
import { atOnce } from "../../src/pieces.ts";
import { learnCoders, type SegmentCoders } from "../../src/segment/coders.ts";
import { HEADER_BYTES, Section } from "../../src/segment/format.ts";
import { BlockEncoding } from "../../src/segment/value-block.ts";
import type { SymbolTable } from "../../src/symbols/table.ts";
import { SymbolTables } from "../../src/symbols/tables.ts";
import { Random } from "../../src/testing/random.ts";
import { ArrayCursor, type ArrayEntry } from "../cursor/array-cursor.ts";
import { bytesOf } from "../segment/segments.ts";
import { Files, LARGE_VALUE_BYTES } from "./segments.ts";

const SEGMENT_BYTES = 2 ** 15;

/** A text as msgpack has it. */
function packed(text: string): Uint8Array {
  const bytes = bytesOf(text);
  return bytes.length < 32
    ? Uint8Array.of(0xa0 | bytes.length, ...bytes)
    : Uint8Array.of(0xd9, bytes.length, ...bytes);
}

/** Values of all sorts: with and without their keys, repeated, long, empty, and no texts. */
function makeValue(i: number, name: string, random: Random): Uint8Array {
  switch (random.below(8)) {
    case 0:
      return packed(`https://example.org/${name}/${i % 7}`);
    case 1:
    case 2:
      return packed(`https://example.org/${name.slice(0, 8)}`);
    case 3:
      return packed(`the same for ${i >> 3}`);
    case 4:
      return packed("");
    case 5:
      return new Uint8Array(0);
    case 6:
      return Uint8Array.from({ length: random.below(LARGE_VALUE_BYTES) }, () => random.below(256));
    default:
      return packed(`${name} and ${name}, and https://example.org/again`);
  }
}

/** A run of some of many keys. */
function runOf(seed: number, count: number): ArrayEntry[] {
  const random = new Random(seed);
  const entries = new Map<string, ArrayEntry>();
  for (let i = 0; i < count; i++) {
    const at = random.below(count * 3);
    const name = `package-${at >> 4}-${at & 15}`;
    const isDeleted = random.below(9) === 0;
    const value = isDeleted ? new Uint8Array(0) : makeValue(at, name, random);
    const entry = { key: bytesOf(name), kind: isDeleted ? 2 : 1, value } as const;
    const isExpiring = !isDeleted && random.below(9) === 0;
    entries.set(name, isExpiring ? { ...entry, expiry: 100 } : entry);
  }
  return [...entries.values()].sort((a, b) => compareBytes(a.key, b.key));
}

/** What was written, without what tells one file from another. */
async function blocksOf(files: Files, run: readonly SegmentMeta[]): Promise<string[]> {
  const blocks: string[] = [];
  for (const segment of await files.openAll(run)) {
    const file = await files.fileSystem.open(segment.path, "read");
    const bytes = new Uint8Array(segment.sections[Section.valueBlocks].length);
    file.readSync(bytes, HEADER_BYTES);
    await file.close();
    blocks.push(Buffer.from(bytes).toString("hex"));
  }
  return blocks;
}

async function merge(
  files: Files,
  runs: readonly (readonly SegmentMeta[])[],
  coders: SegmentCoders,
): Promise<readonly SegmentMeta[]> {
  const inputs = await Promise.all(runs.map((run) => files.openAll(run)));
  const { run } = await runCompaction({
    runs: inputs,
    dropTombstones: false,
    time: BEFORE_EXPIRY,
    output: files.output(SEGMENT_BYTES),
    valueLogs: [],
    maxGarbageShare: 1,
    openValueLog: (meta) => files.openValueLog(meta),
    coders: async () => coders,
  });
  return run;
}

test("codes that are copied are what coding would make", async () => {
  const seen = new Set<number>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 400 })), {
        minLength: 2,
        maxLength: 4,
      }),
      async (shapes) => {
        const files = new Files();
        const runs = shapes.map(([seed, count]) => runOf(seed, count));
        const options = { compression: "symbols", largeValueBytes: LARGE_VALUE_BYTES } as const;
        const entries = runs.flat();
        const sample = atOnce(sampleOf(new ArrayCursor(entries), entries.length, options));
        const coders = atOnce(learnCoders(sample, { keyCount: 100_000 }, options));
        seen.add(coders.valueEncoding);
        const { valueSymbols } = coders;
        if (valueSymbols === undefined) throw new Error("symbols were asked for");

        const written: (readonly SegmentMeta[])[] = [];
        for (const run of runs) {
          const writer = new RunWriter(files.output(SEGMENT_BYTES));
          await writer.writeAll(files.source(run), coders, false);
          written.push((await writer.finish()).run);
        }

        const encode = vi.spyOn(valueSymbols, "encodeWithKeyInto");
        const coded = await merge(files, written, coders);
        const codedCount = encode.mock.calls.length;
        files.symbolTables = new SymbolTables();
        files.symbolTables.add(valueSymbols);
        const copied = await merge(files, written, coders);
        const recodedCount = encode.mock.calls.length - codedCount;
        encode.mockRestore();

        expect(await blocksOf(files, copied)).toEqual(await blocksOf(files, coded));
        if (runs.length === 4 && codedCount > 500)
          expect(recodedCount * 2).toBeLessThan(codedCount);

        const newest = new Map<string, ArrayEntry>();
        for (const run of runs.toReversed()) {
          for (const entry of run) newest.set(Buffer.from(entry.key).toString(), entry);
        }
        const expected = [...newest.values()].sort((a, b) => compareBytes(a.key, b.key));
        expect(await files.entriesOf(copied)).toEqual(expected);
      },
    ),
    { numRuns: 25 },
  );
  expect([...seen]).toContain(BlockEncoding.text);
}, 60_000);

test("tables that segments share are counted once", async () => {
  const files = new Files();
  const run = runOf(4, 3000);
  const options = { compression: "symbols", largeValueBytes: LARGE_VALUE_BYTES } as const;
  const sample = atOnce(sampleOf(new ArrayCursor(run), run.length, options));
  const coders = atOnce(learnCoders(sample, { keyCount: run.length }, options));
  const writer = new RunWriter(files.output(SEGMENT_BYTES));
  await writer.writeAll(files.source(run), coders, false);
  const [first, second] = await files.openAll((await writer.finish()).run);
  for (const segment of [first, second]) segment.cursor(BEFORE_EXPIRY).seekToFirst();
  const counted = new Set<SymbolTable>();
  expect(first.memory(counted)).toEqual(first.memory());
  expect(counted.size).toBe(2);
  const [alone, beside] = [second.memory(), second.memory(counted)];
  const [keySymbols, valueSymbols] = [...counted].map((table) => table.byteLength);
  expect(alone.keyIndex - beside.keyIndex).toBe(keySymbols);
  expect(alone.valueIndex - beside.valueIndex).toBe(valueSymbols);
});

test("nothing is copied from other tables, or from blocks of another kind", async () => {
  const files = new Files();
  const run = runOf(1, 300);
  const options = { compression: "symbols", largeValueBytes: LARGE_VALUE_BYTES } as const;
  const sample = atOnce(sampleOf(new ArrayCursor(run), run.length, options));
  const coders = atOnce(learnCoders(sample, { keyCount: run.length }, options));
  expect(coders.valueEncoding).toBe(BlockEncoding.text);
  const { valueSymbols } = coders;
  if (valueSymbols === undefined) throw new Error("symbols were asked for");
  const writer = new RunWriter(files.output(SEGMENT_BYTES));
  await writer.writeAll(files.source(run), coders, false);
  const written = (await writer.finish()).run;
  files.symbolTables.add(valueSymbols);

  const others = runOf(2, 300);
  const otherSample = atOnce(sampleOf(new ArrayCursor(others), others.length, options));
  const other = atOnce(learnCoders(otherSample, { keyCount: 300 }, options));
  const asBytes = { ...coders, valueEncoding: BlockEncoding.symbols };
  for (const target of [other, asBytes]) {
    const output = await merge(files, [written, written], target);
    expect(await files.entriesOf(output)).toEqual(run);
  }
});

test("damage of a block is noticed though its codes are copied", async () => {
  const files = new Files();
  const run = runOf(3, 300);
  const options = { compression: "symbols", largeValueBytes: LARGE_VALUE_BYTES } as const;
  const sample = atOnce(sampleOf(new ArrayCursor(run), run.length, options));
  const coders = atOnce(learnCoders(sample, { keyCount: run.length }, options));
  if (coders.valueSymbols === undefined) throw new Error("symbols were asked for");
  const writer = new RunWriter(files.output(SEGMENT_BYTES));
  await writer.writeAll(files.source(run), coders, false);
  const written = (await writer.finish()).run;
  files.symbolTables.add(coders.valueSymbols);
  await files.damage(written[0].fileNumber, HEADER_BYTES + 500);
  await expect(merge(files, [written, written], coders)).rejects.toMatchObject({
    code: "MEMKV_CORRUPTION",
  });
});
