import { describe, expect, test } from "vitest";
import { MAX_BYTES_PER_UNIT, writeText } from "../../src/bytes/text.ts";

describe("writeText", () => {
  const cases: [string, string][] = [
    ["nothing", ""],
    ["one character", "a"],
    ["ASCII up to the loop's limit", "a".repeat(32)],
    ["ASCII beyond the loop's limit", "b".repeat(33)],
    ["ASCII up to 127", "\u007f".repeat(5)],
    ["two bytes a unit", "\u0080é\u07ff"],
    ["three bytes a unit", "\u0800€\uffff"],
    ["four bytes for two units", "😀"],
    ["a last unit beyond ASCII", `${"a".repeat(31)}é`],
    ["beyond ASCII and the loop's limit", `${"a".repeat(40)}é😀`],
    ["a long text", "grüße, ".repeat(1000)],
  ];

  test.each(cases)("writes %s as TextEncoder does, and nothing else", (_, text) => {
    const expected = new TextEncoder().encode(text);
    const room = text.length * MAX_BYTES_PER_UNIT;
    const bytes = new Uint8Array(3 + room + 3).fill(0xee);
    expect(writeText(bytes, 3, text)).toBe(3 + expected.length);
    expect(bytes.subarray(3, 3 + expected.length)).toEqual(expected);
    expect(bytes.subarray(0, 3)).toEqual(new Uint8Array(3).fill(0xee));
    expect(bytes.subarray(3 + room)).toEqual(new Uint8Array(3).fill(0xee));
  });

  test("into exactly as many bytes as the text takes", () => {
    const bytes = new Uint8Array(42);
    expect(writeText(bytes, 0, "é".repeat(21))).toBe(42);
    expect(Buffer.from(bytes).toString()).toBe("é".repeat(21));
  });
});
