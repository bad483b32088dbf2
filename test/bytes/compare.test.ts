import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { commonPrefixLength, compareBytes, prefixEnd } from "../../src/bytes/compare.ts";

const bytes = fc.uint8Array({ maxLength: 6, max: 3 });

describe("compareBytes", () => {
  test("orders as Buffer.compare does", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
        expect(Math.sign(compareBytes(a, b))).toBe(Buffer.compare(a, b));
      }),
    );
  });
});

describe("commonPrefixLength", () => {
  test("is the number of leading bytes that agree", () => {
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        const len = commonPrefixLength(a, 0, a.length, b, 0, b.length);
        expect(a.subarray(0, len)).toEqual(b.subarray(0, len));
        const isWhole = len === Math.min(a.length, b.length);
        expect(isWhole || a[len] !== b[len]).toBe(true);
      }),
    );
  });
});

describe("prefixEnd", () => {
  test.each([
    [
      [0x61, 0x62],
      [0x61, 0x63],
    ],
    [[0x61, 0xff], [0x62]],
    [[0x00], [0x01]],
  ])("of %j is %j", (prefix, expected) => {
    expect(prefixEnd(Uint8Array.from(prefix))).toEqual(Uint8Array.from(expected));
  });

  test.each([[[]], [[0xff]], [[0xff, 0xff]]])(
    "of %j is nothing: no string sorts after",
    (prefix) => {
      expect(prefixEnd(Uint8Array.from(prefix))).toBeUndefined();
    },
  );

  test("parts the strings that begin with the prefix from those after", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 3, min: 253 }),
        bytes,
        (prefix, rest) => {
          const end = prefixEnd(prefix);
          const longer = Uint8Array.from([...prefix, ...rest]);
          if (end !== undefined) expect(compareBytes(longer, end)).toBeLessThan(0);
        },
      ),
    );
  });

  test("leaves a Buffer as it was, whose slice shares its bytes", () => {
    const prefix = Buffer.from("ab");
    expect(prefixEnd(prefix)).toEqual(Uint8Array.of(0x61, 0x63));
    expect(prefix.toString()).toBe("ab");
  });
});
