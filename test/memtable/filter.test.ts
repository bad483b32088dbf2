import { expect, it } from "vitest";
import { MemtableFilter } from "../../src/memtable/filter.ts";
import { keyHash } from "../../src/segment/filter.ts";

const encoder = new TextEncoder();

/** Adds keys out of the middle of a buffer. */
function add(filter: MemtableFilter, text: string): void {
  filter.add(encoder.encode(`..${text}.`), 2, text.length + 2);
}

function mayContain(filter: MemtableFilter, text: string): boolean {
  const key = encoder.encode(text);
  return filter.mayContain(keyHash(key, key.length));
}

it.each([0, 1, 2048, 2049, 1_000_000])("passes every key in a memtable of %i bytes", (bytes) => {
  const filter = new MemtableFilter(bytes);
  for (let i = 0; i < 500; i++) add(filter, `key ${i}`);
  for (let i = 0; i < 500; i++) expect(mayContain(filter, `key ${i}`)).toBe(true);
});

it("stops nearly all others where entries take 90 bytes, and two of three where they take 32", () => {
  for (const [entryBytes, limit] of [
    [90, 0.01],
    [32, 0.4],
  ]) {
    const filter = new MemtableFilter(10_000 * entryBytes);
    for (let i = 0; i < 10_000; i++) add(filter, `key ${i}`);
    let passed = 0;
    for (let i = 0; i < 10_000; i++) if (mayContain(filter, `absent ${i}`)) passed++;
    expect(passed / 10_000).toBeLessThan(limit);
  }
});

it("takes a 64th of the memtable, in whole blocks of 32 bytes", () => {
  expect(new MemtableFilter(2 ** 20).byteLength).toBe(2 ** 14);
  expect(new MemtableFilter(2 ** 20 + 1).byteLength).toBe(2 ** 14 + 32);
  expect(new MemtableFilter(0).byteLength).toBe(32);
});
