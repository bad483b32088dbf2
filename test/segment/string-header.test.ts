import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import {
  MAX_STRING_HEADER_BYTES,
  stringHeaderBytes,
  writeStringHeader,
} from "../../src/segment/string-header.ts";

const LENGTHS = [0, 1, 31, 32, 33, 255, 256, 257, 4090];

describe("the header of a msgpack string", () => {
  test.each(LENGTHS)("of %i bytes is recognised and rebuilt", (length) => {
    const packed = new Packr({ useRecords: false }).pack("x".repeat(length));
    const header = stringHeaderBytes(packed);
    expect(header).toBe(packed.length - length);
    const target = new Uint8Array(MAX_STRING_HEADER_BYTES + length).fill(0x78);
    const start = writeStringHeader(target, MAX_STRING_HEADER_BYTES, length);
    expect(target.subarray(start)).toEqual(new Uint8Array(packed));
  });

  test.each([
    ["nothing", []],
    ["a number", [7]],
    ["a string cut short", [0xa3, 0x61, 0x62]],
    ["a string with more behind it", [0xa1, 0x61, 0x62]],
    ["a short string in a longer form", [0xd9, 0x01, 0x61]],
    ["a string8 without its length", [0xd9]],
    ["a string16 without its length", [0xda, 0x01]],
    ["a string16 that fits string8", [0xda, 0x00, 0x01, 0x61]],
    ["an array", [0x91, 0xa0]],
  ])("%s has none", (_, bytes) => {
    expect(stringHeaderBytes(Uint8Array.from(bytes))).toBe(0);
  });
});
