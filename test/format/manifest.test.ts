import { expect, test } from "vitest";
import { decodeManifest, encodeManifest } from "../../src/manifest/format.ts";
import { SAMPLE } from "../manifest/sample.ts";
import { type Field, golden } from "./golden.ts";

const segment = (name: string, firstLength: number, lastLength: number, useCount = 0): Field[] => [
  { name: `${name}: fileNumber`, length: 8 },
  { name: "fileBytes", length: 8 },
  { name: "keyCount", length: 8 },
  { name: "tombstoneCount", length: 8 },
  { name: "rangeTombstoneCount", length: 8 },
  { name: "firstKey length", length: 4 },
  { name: "firstKey", length: firstLength },
  { name: "lastKey length", length: 4 },
  { name: "lastKey", length: lastLength },
  { name: "useCount", length: 4 },
  ...Array.from({ length: useCount }, (_, i) => [
    { name: `use ${i}: fileNumber`, length: 8 },
    { name: `use ${i}: bytes`, length: 8 },
  ]).flat(),
];

const valueLog = (fileNumber: number): Field[] => [
  { name: `value log ${fileNumber}: fileNumber`, length: 8 },
  { name: "fileBytes", length: 8 },
];

test("a manifest of format 1 is these bytes, and they are read back", () => {
  const bytes = encodeManifest(SAMPLE);
  const stored = golden(
    "manifest-1",
    "a manifest with two runs, one with range tombstones, and three value logs",
    bytes,
    [
      { name: "magic", length: 8 },
      { name: "version", length: 4 },
      { name: "length", length: 4 },
      { name: "databaseId", length: 16 },
      { name: "nextFileNumber", length: 8 },
      { name: "lastSeqno", length: 8 },
      { name: "oldestWal", length: 8 },
      { name: "newestWal", length: 8 },
      { name: "newestWalEnd", length: 8 },
      { name: "keyEncoding length", length: 1 },
      { name: "keyEncoding", length: 4 },
      { name: "valueEncoding length", length: 1 },
      { name: "valueEncoding", length: 7 },
      { name: "runCount", length: 4 },
      { name: "run 0: segments", length: 4 },
      ...segment("segment 12", 0, 0, 0),
      ...segment("segment 11", 1, 1, 1),
      { name: "run 1: segments", length: 4 },
      ...segment("segment 3", 0, 1, 2),
      ...segment("segment 9", 1, 1, 1),
      ...segment("segment 4", 2, 3),
      { name: "valueLogCount", length: 4 },
      ...[2, 6, 10].flatMap(valueLog),
      { name: "xxh32", length: 4 },
    ],
  );
  expect(decodeManifest(stored, "MANIFEST")).toEqual(SAMPLE);
});
