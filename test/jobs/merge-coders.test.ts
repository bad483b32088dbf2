/** What one merge learnt codes the next, as long as the data are alike. */
import { describe, expect, test } from "vitest";
import { ByteWriter } from "../../src/bytes/writer.ts";
import { BlockCache } from "../../src/cache/block-cache.ts";
import { ClosedError } from "../../src/errors.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { MergeCoders } from "../../src/jobs/merge-coders.ts";
import type { Pieces } from "../../src/pieces.ts";
import { EntrySample } from "../../src/segment/entry-sample.ts";
import { HEADER_BYTES, identityOf, Section } from "../../src/segment/format.ts";
import { Segment } from "../../src/segment/reader.ts";
import { SymbolTables } from "../../src/symbols/tables.ts";
import { openFor } from "../engine/harness.ts";

describe("the coders of a merge", () => {
  function* nothing(): Pieces<EntrySample> {
    yield;
    return new EntrySample();
  }
  const none = { keyCount: 0, few: nothing, many: nothing };
  const pause = async (): Promise<void> => {};

  test("are asked for once", async () => {
    const coders = new MergeCoders(new SymbolTables());
    let asked = 0;
    const sample = async (): Promise<typeof none> => {
      asked++;
      return none;
    };
    const options = { compression: "auto" } as const;
    const first = await coders.codersFor(1, sample, options, pause);
    expect(await coders.codersFor(1, sample, options, pause)).toBe(first);
    expect(asked).toBe(1);
    await coders.codersFor(2, sample, options, pause);
    expect(asked).toBe(2);
  });

  test("are learnt anew after a pause that was the end of a merge", async () => {
    const coders = new MergeCoders(new SymbolTables());
    const sample = async (): Promise<typeof none> => none;
    const options = { compression: "auto" } as const;
    const end = async (): Promise<void> => {
      throw new ClosedError();
    };
    await expect(coders.codersFor(1, sample, options, end)).rejects.toThrow(ClosedError);
    const { keySymbols } = await coders.codersFor(1, sample, options, pause);
    expect(keySymbols.count).toBe(256);
  });

  test("have the tables of the segments that they code", async () => {
    const tables = new SymbolTables();
    const coders = new MergeCoders(tables);
    const options = { compression: "symbols" } as const;
    const { keySymbols, valueSymbols } = await coders.codersFor(
      1,
      async () => none,
      options,
      pause,
    );
    for (const table of [keySymbols, valueSymbols]) {
      const stored = new ByteWriter();
      table?.serialize(stored);
      const read = tables.read(stored.bytes, 0, stored.length, "a file", 0);
      expect([keySymbols, valueSymbols]).toContain(read);
    }
  });
});

const WORDS = Array.from({ length: 500 }, (_, i) => Math.imul(i + 7, 0x9e3779b1).toString(36));
const word = (i: number): string => WORDS[(Math.imul(i, 0x2545f491) >>> 8) % WORDS.length];
const link = (i: number): string => `https://${word(i)}.org/${word(i + 1)}/${word(i + 2)}`;
const note = (i: number): string =>
  `"${word(i).toUpperCase()}" said ${word(i + 3)}, and ${word(i)}`;

/** The stored tables of the only segment that there is. */
async function tablesIn(fileSystem: MemoryFileSystem): Promise<string> {
  const names = (await fileSystem.list("store")).filter((name) => name.endsWith(".seg"));
  expect(names).toHaveLength(1);
  const path = `store/${names[0]}`;
  const file = await fileSystem.open(path, "read");
  const header = new Uint8Array(HEADER_BYTES);
  file.readSync(header, 0);
  const identity = identityOf(header);
  if (identity === undefined) throw new Error("no segment");
  const blockCache = new BlockCache(0);
  const options = { fileSystem, path, identity, blockCache, valueLogs: new Map() };
  const segment = await Segment.open(options);
  const { offset, length } = segment.sections[Section.valueSymbols];
  const table = new Uint8Array(length);
  file.readSync(table, offset);
  await segment.close();
  await file.close();
  return Buffer.from(table).toString("hex");
}

test.each([
  ["are used again", link, true],
  ["are learnt anew where the data change", note, false],
])("the tables of a merge %s", async (_, laterValue, isKept) => {
  const fileSystem = new MemoryFileSystem();
  const database = await openFor<string, string>("store", {
    fileSystem,
    valueEncoding: "utf8",
    durability: "os",
    compression: "symbols",
  });
  const key = (i: number): string => `${word(i)}/${word(i * 3 + 1)}/${i}`;
  const write = async (from: number, make: (i: number) => string): Promise<string> => {
    for (let i = from; i < from + 12_000; i++) void database.put(key(i), make(i));
    await database.flush();
    await database.compact();
    return await tablesIn(fileSystem);
  };
  const before = await write(0, link);
  const after = await write(12_000, laterValue);
  expect(after === before).toBe(isKept);
  for (let i = 0; i < 24_000; i += 7) {
    expect(database.get(key(i))).toBe(i < 12_000 ? link(i) : laterValue(i));
  }
  await database.verify();
});
