/** Manifests for tests. */
import type { Manifest } from "../../src/manifest/manifest.ts";
import type { SegmentMeta } from "../../src/manifest/version.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

export function segment(
  fileNumber: number,
  first: string,
  last: string,
  valueLogs: SegmentMeta["valueLogs"] = [],
): SegmentMeta {
  return {
    fileNumber,
    fileBytes: 1000 + fileNumber,
    keyCount: first === last ? 1 : 10 * fileNumber,
    tombstoneCount: 1,
    rangeTombstoneCount: 0,
    firstKey: text(first),
    lastKey: text(last),
    valueLogs,
  };
}

/** A segment of range tombstones, which has no keys. */
export function rangeTombstones(fileNumber: number, rangeTombstoneCount: number): SegmentMeta {
  const none = { keyCount: 0, tombstoneCount: 0, firstKey: text(""), lastKey: text("") };
  return { fileNumber, fileBytes: 300, rangeTombstoneCount, ...none, valueLogs: [] };
}

export const SAMPLE: Manifest = {
  databaseId: Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i),
  keyEncoding: "utf8",
  valueEncoding: "msgpack",
  nextFileNumber: 20,
  lastSeqno: 2 ** 40 + 5,
  oldestWal: 12,
  newestWal: 14,
  newestWalEnd: 2 ** 32 - 1,
  version: {
    runs: [
      [rangeTombstones(12, 3), segment(11, "b", "k", [{ fileNumber: 10, bytes: 5000 }])],
      [
        segment(3, "", "c", [
          { fileNumber: 2, bytes: 4100 },
          { fileNumber: 6, bytes: 1 },
        ]),
        segment(9, "d", "d", [{ fileNumber: 2, bytes: 8200 }]),
        segment(4, "da", "zzz"),
      ],
    ],
    valueLogs: [
      { fileNumber: 2, fileBytes: 12_400 },
      { fileNumber: 6, fileBytes: 2 ** 33 },
      { fileNumber: 10, fileBytes: 5048 },
    ],
  },
};
