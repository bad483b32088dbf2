import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { ByteWriter } from "../../src/bytes/writer.ts";
import {
  appendPacked,
  integerOf,
  MAX_INTEGER_BYTES,
  packedAt,
  writeInteger,
} from "../../src/segment/packed-integers.ts";

const packr = new Packr({ useRecords: false });
const pack = (value: unknown): Uint8Array => new Uint8Array(packr.pack(value));

const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000]
  .concat([0xffff_ffff, 0x1_0000_0000, 1_700_000_000_000, Number.MAX_SAFE_INTEGER])
  .flatMap((edge) => [edge, -edge - 1])
  .filter((edge) => Number.isSafeInteger(edge));

function roundTrip(integers: readonly number[]): number[] | undefined {
  const output = new ByteWriter(0);
  output.u8(0xee);
  if (!appendPacked(output, Float64Array.from(integers), integers.length)) return undefined;
  const bytes = output.take();
  return integers.map((_, i) => packedAt(bytes, 1, bytes.length, i));
}

describe("an integer in msgpack", () => {
  test.each(EDGES)("%d is recognised and rebuilt as msgpackr writes it", (integer) => {
    const packed = pack(integer);
    expect(integerOf(packed)).toBe(integer);
    const target = new Uint8Array(MAX_INTEGER_BYTES + 2);
    expect(writeInteger(target, 1, integer)).toBe(1 + packed.length);
    expect(target.slice(1, 1 + packed.length)).toEqual(packed);
  });

  test.each([
    ["nothing", []],
    ["a string", [0xa1, 0x31]],
    ["a boolean", [0xc3]],
    ["an integer in a longer form", [0xcd, 0x00, 0x01]],
    ["an integer cut short", [0xcd, 0x01]],
    ["an integer with a byte behind it", [0x01, 0x00]],
    ["a fraction", [...pack(0.5)]],
    ["negative zero", [0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0]],
    ["infinity", [...pack(Number.POSITIVE_INFINITY)]],
    ["an integer beyond 2^53", [...pack(2 ** 60)]],
    ["a small integer as a float", [0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]],
    ["ten bytes", [0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ])("%s is none", (_, bytes) => {
    expect(integerOf(Uint8Array.from(bytes))).toBeNaN();
  });

  test("is whatever is rebuilt from it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 9 }), (bytes) => {
        const integer = integerOf(bytes);
        if (Number.isNaN(integer)) return;
        const target = new Uint8Array(MAX_INTEGER_BYTES);
        expect(target.slice(0, writeInteger(target, 0, integer))).toEqual(bytes);
      }),
    );
  });
});

describe("packed integers", () => {
  test.each([
    ["one", [5]],
    ["equal ones", [7, 7, 7]],
    ["a byte apart", [-3, 252]],
    ["a byte and one apart", [-3, 253]],
    ["as far apart as they can be", [0, Number.MAX_SAFE_INTEGER]],
    ["timestamps", [1_700_000_000_000, 1_700_000_060_000, 1_699_999_999_999]],
    ["the edges that are not negative", EDGES.filter((edge) => edge >= 0)],
  ])("return %s", (_, integers) => {
    expect(roundTrip(integers)).toEqual(integers);
  });

  test("refuse integers more than 2^53 apart", () => {
    expect(roundTrip([-2, Number.MAX_SAFE_INTEGER])).toBeUndefined();
  });

  test("take no bytes for each of equal integers, and one where all lie within 256", () => {
    const bytesOf = (integers: number[]): number => {
      const output = new ByteWriter();
      appendPacked(output, Float64Array.from(integers), integers.length);
      return output.length;
    };
    expect(bytesOf([9, 9, 9, 9])).toBe(bytesOf([9]));
    expect(bytesOf([1000, 1255, 1001])).toBe(bytesOf([9]) + 3);
  });

  test("have no integer behind the last", () => {
    const output = new ByteWriter();
    appendPacked(output, Float64Array.of(1, 2), 2);
    const bytes = output.take();
    expect(packedAt(bytes, 0, bytes.length, 2)).toBeNaN();
    expect(packedAt(bytes, 0, bytes.length - 1, 1)).toBeNaN();
    expect(packedAt(bytes, 0, 5, 0)).toBeNaN();
  });
});
