import { expect, test } from "vitest";
import { writeU32 } from "../../src/bytes/fixed.ts";
import { ByteWriter } from "../../src/bytes/writer.ts";
import { CorruptionError } from "../../src/errors.ts";
import { atOnce } from "../../src/pieces.ts";
import type { SymbolTable } from "../../src/symbols/table.ts";
import { SymbolTables } from "../../src/symbols/tables.ts";
import { learnSymbols, SymbolSampler } from "../../src/symbols/training.ts";
import { bytesOf } from "../segment/segments.ts";

function tableFor(text: string): SymbolTable {
  const sampler = new SymbolSampler();
  for (let i = 0; i < 500; i++) {
    const bytes = bytesOf(`${text}/${i % 50}/${text}`);
    sampler.add(bytes, 0, bytes.length);
  }
  return atOnce(learnSymbols(sampler.finish(), 1000));
}

/** A stored table, with a few bytes before and behind it. */
function storedOf(table: SymbolTable): Uint8Array {
  const writer = new ByteWriter();
  writer.append(Uint8Array.of(1, 2, 3));
  table.serialize(writer);
  writer.append(Uint8Array.of(4, 5));
  return writer.take();
}

const read = (tables: SymbolTables, stored: Uint8Array): SymbolTable =>
  tables.read(stored, 3, stored.length, "a file", 0);

test("tables of the same bytes are one", () => {
  const tables = new SymbolTables();
  const stored = storedOf(tableFor("some"));
  const table = read(tables, stored);
  expect(read(tables, stored.slice())).toBe(table);
  const shared = new Uint8Array(new SharedArrayBuffer(stored.length + 1), 1);
  shared.set(stored);
  expect(read(tables, shared)).toBe(table);
  expect(read(new SymbolTables(), stored)).not.toBe(table);
  const other = read(tables, storedOf(tableFor("other")));
  expect(other).not.toBe(table);
  expect(read(tables, stored)).toBe(table);
});

test("a table that was added is what its bytes are read as, unless others read them before", () => {
  const tables = new SymbolTables();
  const table = tableFor("some");
  tables.add(table);
  tables.add(tableFor("some"));
  expect(read(tables, storedOf(table))).toBe(table);
  const late = new SymbolTables();
  const before = read(late, storedOf(table));
  late.add(table);
  expect(read(late, storedOf(table))).toBe(before);
});

test("what differs in any byte from a table in use is not taken for it", () => {
  const tables = new SymbolTables();
  const stored = storedOf(tableFor("some"));
  const table = read(tables, stored);
  for (let pos = 3; pos < stored.length - 2; pos++) {
    const damaged = stored.slice();
    damaged[pos] ^= 1;
    expect(() => read(tables, damaged)).toThrow(CorruptionError);
  }
  for (const length of [0, 3, 40, stored.length - 6]) {
    expect(() => tables.read(stored, 3, 3 + length, "a file", 0)).toThrow(CorruptionError);
  }
  expect(read(tables, stored)).toBe(table);
});

test("of two tables with the same checksum each is itself", () => {
  const tables = new SymbolTables();
  const stored = storedOf(tableFor("some"));
  const table = read(tables, stored);
  const other = storedOf(tableFor("other"));
  writeU32(other, 3, stored[3] + stored[4] * 2 ** 8 + stored[5] * 2 ** 16 + stored[6] * 2 ** 24);
  expect(() => read(tables, other)).toThrow(CorruptionError);
  expect(read(tables, stored)).toBe(table);
});
