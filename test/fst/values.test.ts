import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CorruptionError } from "../../src/errors.ts";
import { ValuesReader, ValuesWriter } from "../../src/fst/values.ts";

function write(values: readonly number[]): Uint8Array {
  const writer = new ValuesWriter();
  for (const value of values) writer.append(value);
  return writer.finish();
}

function readAll(bytes: Uint8Array, count: number): number[] {
  const reader = new ValuesReader(bytes, count, "file", 0);
  return Array.from({ length: count }, (_, ordinal) => reader.read(ordinal));
}

describe("a column of values", () => {
  test.each([0, 1, 2, 127, 128, 129, 255, 256, 257])("of %i values is read back", (count) => {
    const values = Array.from({ length: count }, (_, i) => 1000 + i * i);
    expect(readAll(write(values), count)).toEqual(values);
  });

  test.each(Array.from({ length: 54 }, (_, width) => width))(
    "with differences of %i bits is read back",
    (width) => {
      const largest = 2 ** width - 1;
      const smallest = Math.min(17, Number.MAX_SAFE_INTEGER - largest);
      const values = Array.from({ length: 200 }, (_, i) =>
        i % 3 === 0 ? smallest : smallest + (i % 3 === 1 ? largest : Math.floor(largest / i)),
      );
      const bytes = write(values);
      expect(readAll(bytes, values.length)).toEqual(values);
      expect(bytes.length).toBe(2 * 13 + 16 * width + 9 * width + 8);
    },
  );

  test("is read back whatever the values", () => {
    fc.assert(
      fc.property(fc.array(fc.maxSafeNat(), { maxLength: 300 }), (values) => {
        expect(readAll(write(values), values.length)).toEqual(values);
      }),
    );
  });

  test("that is shorter than its directory is damaged", () => {
    const bytes = write([1, 2, 3]);
    expect(() => new ValuesReader(bytes.subarray(0, 20), 3, "file", 0)).toThrow(CorruptionError);
  });

  test("whose blocks are not where they should be is damaged", () => {
    const bytes = write([1, 200, 3]);
    bytes[8] = 9;
    expect(() => readAll(bytes, 3)).toThrow(CorruptionError);
    bytes[8] = 0;
    bytes[12] = 54;
    expect(() => readAll(bytes, 3)).toThrow(CorruptionError);
  });
});
