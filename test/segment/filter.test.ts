import { describe, expect, test } from "vitest";
import { Filter, FilterBuilder, filterBytes, keyHash } from "../../src/segment/filter.ts";

const encoder = new TextEncoder();

function hashOf(text: string): number {
  const key = encoder.encode(text);
  return keyHash(key, key.length);
}

function filterOf(count: number, bitsPerKey: number): Filter {
  const builder = new FilterBuilder();
  for (let i = 0; i < count; i++) builder.add(hashOf(`key ${i}`));
  return new Filter(builder.finish(bitsPerKey));
}

describe("Filter", () => {
  for (const count of [1, 2, 25, 26, 1000, 5000]) {
    test(`passes every one of ${count} keys`, () => {
      const filter = filterOf(count, 10);
      for (let i = 0; i < count; i++) expect(filter.mayContain(hashOf(`key ${i}`))).toBe(true);
    });
  }

  test("stops all but 2 in 100 absent keys at 10 bits a key", () => {
    const filter = filterOf(20_000, 10);
    let passed = 0;
    for (let i = 0; i < 20_000; i++) {
      if (filter.mayContain(hashOf(`absent ${i}`))) passed++;
    }
    expect(passed).toBeGreaterThan(0);
    expect(passed / 20_000).toBeLessThan(0.02);
  });

  test("an empty filter passes everything", () => {
    expect(filterOf(100, 0).mayContain(hashOf("absent"))).toBe(true);
  });

  test("has 10 bits a key, in whole blocks", () => {
    expect(filterBytes(1, 10)).toBe(32);
    expect(filterBytes(25, 10)).toBe(32);
    expect(filterBytes(26, 10)).toBe(64);
    expect(filterOf(1000, 10).byteLength).toBe(filterBytes(1000, 10));
  });

  test("hashes and bits are those of the format", () => {
    expect(hashOf("memkv")).toBe(2_774_069_249);
    const builder = new FilterBuilder();
    builder.add(hashOf("memkv"));
    expect(Buffer.from(builder.finish(10)).toString("hex")).toBe(
      "0000080000000040000800000000100010000000000000012000000000000040",
    );
  });
});
