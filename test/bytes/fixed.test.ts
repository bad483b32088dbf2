import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readU16, readU32, readU53, writeU16, writeU32, writeU53 } from "../../src/bytes/fixed.ts";

const INTEGERS = [
  {
    name: "u16",
    bytes: 2,
    max: 2 ** 16 - 1,
    read: readU16,
    write: writeU16,
    reference: (view: DataView, pos: number) => view.getUint16(pos, true),
  },
  {
    name: "u32",
    bytes: 4,
    max: 2 ** 32 - 1,
    read: readU32,
    write: writeU32,
    reference: (view: DataView, pos: number) => view.getUint32(pos, true),
  },
  {
    name: "u53",
    bytes: 8,
    max: Number.MAX_SAFE_INTEGER,
    read: readU53,
    write: writeU53,
    reference: (view: DataView, pos: number) => Number(view.getBigUint64(pos, true)),
  },
];

describe.each(INTEGERS)("$name", ({ bytes: size, max, read, write, reference }) => {
  const edges = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 2 ** 31, 2 ** 32 - 1, 2 ** 32, max];

  test("is little-endian, at any position, and touches nothing else", () => {
    const anyValue = fc.oneof(
      fc.integer({ min: 0, max }),
      fc.constantFrom(...edges.filter((value) => value <= max)),
    );
    fc.assert(
      fc.property(anyValue, fc.nat(9), fc.boolean(), (value, pos, isShared) => {
        const length = pos + size + 3;
        const buffer = isShared ? new SharedArrayBuffer(length) : new ArrayBuffer(length);
        const bytes = new Uint8Array(buffer).fill(0xee);
        write(bytes, pos, value);
        expect(reference(new DataView(buffer), pos)).toBe(value);
        expect(read(bytes, pos)).toBe(value);
        bytes.fill(0xee, pos, pos + size);
        expect(bytes.every((byte) => byte === 0xee)).toBe(true);
      }),
    );
  });
});

test("a damaged u53 is read as more than any u53, for the caller to refuse", () => {
  const bytes = new Uint8Array(8).fill(0xff);
  expect(readU53(bytes, 0)).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
});
