/**
 * What the policy costs and bounds, by counts: bytes written for each of the user's, runs a read may
 * look through, bytes of segments for each live one. `npm run bench -- amplification` has more data.
 */
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { maxRunCount } from "../../src/compaction/pick.ts";
import type { BatchOperation, Database } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { Random } from "../../src/testing/random.ts";
import { openFor } from "./harness.ts";

type Operation = BatchOperation<string, string>;

const BATCHES = 250;
const BATCH_SIZE = 100;

const random = new Random(1);
const digits = (i: number): string => String(i).padStart(8, "0");
const noise = (): string => `${random.next()}${random.next()}${random.next()}${random.next()}`;
const put = (i: number): Operation => ({ type: "put", key: digits(i), value: noise() });

/** The i-th operation of a load, the bytes written for each of the user's, and the space, at most. */
const loads: [string, (i: number) => Operation, { write: number; space: number }][] = [
  ["new keys in order", put, { write: 3, space: 1.1 }],
  ["new keys in no order", (i) => put(Math.imul(i, 0x9e37_79b1) >>> 8), { write: 5, space: 1.1 }],
  ["overwriting 5,000 keys", () => put(random.below(5000)), { write: 4, space: 2 }],
  [
    "putting at one end what is deleted at the other",
    (i) => (i % 2 === 0 ? put(i / 2) : { type: "delete", key: digits((i - 1) / 2 - 1000) }),
    { write: 4, space: 2 },
  ],
];

test.each(loads)("%s: the amplifications stay within bounds", async (_, operationOf, bounds) => {
  const database: Database<string, string> = await openFor<string, string>("store", {
    fileSystem: new MemoryFileSystem(),
    durability: "os",
    memtableBytes: 2 ** 17,
    segmentBytes: 2 ** 17,
    compression: "none",
  });
  let read = 0;
  for (let i = 0; i < BATCHES; i++) {
    const first = i * BATCH_SIZE;
    await database.batch(
      Array.from({ length: BATCH_SIZE }, (_unused, j) => operationOf(first + j)),
    );
    read = Math.max(read, database.stats().amplification.read);
  }
  await database.flush();
  while (database.stats().background.compaction !== undefined) await setImmediate();
  const { amplification, written, disk } = database.stats();
  expect(written.flush).toBeGreaterThan(8 * 2 ** 16);
  expect(amplification.write).toBe(
    (written.log + written.flush + written.compaction) / written.user,
  );
  const before = disk.total - disk.log;
  await database.compact();
  const after = database.stats().disk;
  const space = before / (after.total - after.log);
  expect(amplification.write).toBeLessThan(bounds.write);
  expect(space).toBeLessThan(bounds.space);
  // Runs at which writes stop, and the memtables. Merging has a turn between two batches.
  expect(read).toBeLessThanOrEqual(2 * maxRunCount(4) + 3);
  expect(amplification.space).toBeLessThanOrEqual(2);
});
