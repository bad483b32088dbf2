import { describe, expect, test } from "vitest";
import { ByteWriter } from "../../src/bytes/writer.ts";
import { MAX_KEY_BYTES, MAX_SEQNO } from "../../src/entry.ts";
import { CorruptionError } from "../../src/errors.ts";
import { decodeProperties, encodeProperties, type Properties } from "../../src/segment/format.ts";
import { bytesOf } from "./segments.ts";

const VALID: Properties = {
  keyCount: 5,
  tombstoneCount: 2,
  rangeTombstoneCount: 0,
  keyBytes: 40,
  valueBytes: 2 ** 40,
  firstSeqno: 1,
  lastSeqno: MAX_SEQNO,
  isUncoded: false,
  firstKey: bytesOf("b"),
  lastKey: bytesOf("m"),
  coverStart: bytesOf(""),
  coverEnd: bytesOf("n"),
  valueLogs: [
    { fileNumber: 3, bytes: 5000 },
    { fileNumber: 2 ** 40, bytes: 2 ** 50 },
  ],
};

/** What differs in a segment that has no keys. */
const OF_RANGES: Partial<Properties> = {
  keyCount: 0,
  tombstoneCount: 0,
  rangeTombstoneCount: 3,
  keyBytes: 0,
  valueBytes: 0,
  firstKey: bytesOf(""),
  lastKey: bytesOf(""),
  coverStart: bytesOf(""),
  coverEnd: bytesOf(""),
};

function encode(properties: Properties): Uint8Array {
  const writer = new ByteWriter();
  encodeProperties(writer, properties);
  return writer.bytes.slice();
}

const decode = (bytes: Uint8Array): Properties => decodeProperties(bytes, "000001.seg", 100);

describe("the properties of a segment", () => {
  test.each<[string, Partial<Properties>]>([
    ["with a wide cover", {}],
    ["without value logs", { valueLogs: [] }],
    ["of range tombstones", OF_RANGES],
    ["left uncoded", { isUncoded: true }],
    ["of one write", { firstSeqno: 9, lastSeqno: 9 }],
    ["with nothing but the empty key", { firstKey: bytesOf(""), lastKey: bytesOf("") }],
    [
      "with the longest keys",
      {
        firstKey: new Uint8Array(MAX_KEY_BYTES),
        lastKey: new Uint8Array(MAX_KEY_BYTES),
        coverEnd: new Uint8Array(MAX_KEY_BYTES + 1),
      },
    ],
  ])("%s are read back as they were written", (_, change) => {
    const properties = { ...VALID, ...change };
    expect(decode(encode(properties))).toEqual(properties);
  });

  test.each<[string, Partial<Properties>]>([
    ["neither keys nor range tombstones", { ...OF_RANGES, rangeTombstoneCount: 0 }],
    ["keys and range tombstones", { rangeTombstoneCount: 1 }],
    ["range tombstones and the keys of none", { ...OF_RANGES, lastKey: bytesOf("m") }],
    ["range tombstones and a cover", { ...OF_RANGES, coverEnd: bytesOf("m") }],
    ["more tombstones than keys", { tombstoneCount: 6 }],
    ["sequence number 0", { firstSeqno: 0 }],
    ["a last write before the first", { firstSeqno: 8, lastSeqno: 7 }],
    ["a first key outside its cover", { coverStart: bytesOf("c") }],
    ["a last key outside its cover", { coverEnd: bytesOf("m") }],
    ["value log 0", { valueLogs: [{ fileNumber: 0, bytes: 1 }] }],
    ["value logs out of order", { valueLogs: VALID.valueLogs.toReversed() }],
    ["a key too long", { lastKey: new Uint8Array(MAX_KEY_BYTES + 1).fill(0x62) }],
    ["a cover too long", { coverEnd: new Uint8Array(MAX_KEY_BYTES + 2).fill(0x6e) }],
  ])("with %s are damaged", (_, change) => {
    expect(() => decode(encode({ ...VALID, ...change }))).toThrow(CorruptionError);
  });

  test("cut or extended by a byte are damaged", () => {
    const bytes = encode(VALID);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decode(bytes.subarray(0, length))).toThrow(CorruptionError);
    }
    expect(() => decode(Uint8Array.of(...bytes, 0))).toThrow(CorruptionError);
  });
});
