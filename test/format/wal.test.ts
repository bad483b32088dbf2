import { expect, test } from "vitest";
import { readPreviousLog } from "../../src/wal/reader.ts";
import { holding, IDENTITY, PATH, replay, SYNC, writeLog } from "../wal/wal.ts";
import { type Field, golden } from "./golden.ts";

const HEADER: Field[] = [
  { name: "magic", length: 8 },
  { name: "version", length: 4 },
  { name: "reserved", length: 4 },
  { name: "databaseId", length: 16 },
  { name: "fileNumber", length: 8 },
  { name: "previousNumber", length: 8 },
  { name: "previousEnd", length: 8 },
  { name: "xxh32", length: 4 },
];

const record = (name: string, payloadLength: number): Field[] => [
  { name: `${name}: xxh32`, length: 4 },
  { name: "length", length: 4 },
  { name: "durable", length: 4 },
  { name: "type", length: 1 },
  { name: "check", length: 3 },
  { name: "payload", length: payloadLength },
];

test("a log of format 1 is these bytes, and they are read back", async () => {
  const previous = { fileNumber: 5, end: 0x1_0000_0001 };
  const { bytes } = await writeLog([SYNC, "first", SYNC, "the second record"], { previous });
  const fields = [...HEADER, ...record("record 0", 5), ...record("record 1", 17)];
  const stored = golden("wal-1", "a log with two records, synced before each", bytes, fields);
  expect((await replay(stored, { mode: "absolute" })).texts).toEqual([
    "first",
    "the second record",
  ]);
  expect(await readPreviousLog(await holding(stored), PATH, IDENTITY)).toEqual(previous);
});
