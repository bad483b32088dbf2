import { setImmediate } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { loadChecksum } from "../../src/bytes/checksum.ts";
import { Logs, type LogsOptions } from "../../src/engine/logs.ts";
import { WriteGuard } from "../../src/engine/write-guard.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { FileNumbers } from "../../src/manifest/file-numbers.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";
import { HEADER_BYTES } from "../../src/wal/format.ts";
import { recordOf, text } from "../wal/wal.ts";
import { gate } from "./harness.ts";

const RECORD = recordOf(text("a record"));

beforeAll(loadChecksum);

/** Logs of a directory, of which none is begun, and their disk. */
async function create(
  options: Partial<LogsOptions> = {},
): Promise<{ readonly logs: Logs; readonly faults: FaultFileSystem }> {
  const fileSystem = new MemoryFileSystem();
  await fileSystem.createDirectory("store");
  const faults = new FaultFileSystem(fileSystem);
  const fail = (error: unknown): never => {
    throw error;
  };
  const logs = new Logs(
    {
      fileSystem: faults,
      directory: "store",
      databaseId: new Uint8Array(16),
      fileNumbers: FileNumbers.from(1),
      preallocateBytes: 0,
      aheadBytes: Number.POSITIVE_INFINITY,
      guard: new WriteGuard(await fileSystem.lock("store", fail)),
      onFailure: fail,
      onLeftover: (_path, cause) => fail(cause),
      ...options,
    },
    [],
  );
  return { logs, faults };
}

function append(logs: Logs): void {
  logs.newest.appendSync(RECORD, RECORD.length);
}

/** Delays the n-th sync of a log from now on until what is returned is called. */
function delaySync(faults: FaultFileSystem, nth = 1): () => void {
  const { promise, resolve } = gate();
  faults.inject({ kinds: ["sync"], nth, effect: { kind: "delay", until: promise } });
  return resolve;
}

/** Lets everything be done that waits for nothing but the disk. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await setImmediate();
}

describe("a sync of a log", () => {
  test("follows the one under way, and those that waited for it follow one another", async () => {
    const { logs, faults } = await create();
    logs.startNextSync();
    const before = faults.operationCount("sync");
    const ends = [1, 2, 3].map((nth) => delaySync(faults, nth));
    append(logs);
    const syncs = [logs.sync(), logs.sync(), logs.sync()];
    for (const [i, end] of ends.entries()) {
      await turns();
      expect(faults.operationCount("sync")).toBe(before + i + 1);
      // The sync under way is none of this record.
      append(logs);
      end();
    }
    await Promise.all(syncs);
    expect(logs.durable).toEqual({ fileNumber: 1, end: HEADER_BYTES + 3 * RECORD.length });
  });

  test("ends before the log is closed", async () => {
    const { logs, faults } = await create();
    logs.startNextSync();
    append(logs);
    const end = delaySync(faults);
    const synced = logs.sync();
    const closed = logs.close();
    await turns();
    expect(faults.operationCount("close")).toBe(0);
    end();
    await Promise.all([synced, closed]);
    expect(faults.operationCount("close")).toBe(1);
  });

  test("that fails is told to who asked for it, not to who closes the log", async () => {
    const { logs, faults } = await create();
    logs.startNextSync();
    append(logs);
    faults.inject({ kinds: ["sync"], effect: { kind: "fail", code: "EIO" } });
    const synced = logs.sync();
    const closed = logs.close();
    await expect(synced).rejects.toThrow(expect.objectContaining({ code: "MEMKV_POISONED" }));
    await closed;
  });
});

test("a log knows where the one before it ends, which is all that is durable until it is founded", async () => {
  const { logs, faults } = await create();
  logs.startNextSync();
  for (let i = 0; i < 3; i++) append(logs);
  const previous = { fileNumber: 1, end: HEADER_BYTES + 3 * RECORD.length };
  await logs.sync();
  const end = delaySync(faults);
  await logs.startNext();
  append(logs);
  const newest = { fileNumber: 2, end: HEADER_BYTES + RECORD.length };
  expect(logs.list()).toEqual([previous, newest]);
  expect(logs.bytes).toBe(previous.end + newest.end);
  expect(logs.durable).toEqual(previous);
  end();
  await logs.founded();
  expect(logs.durable).toEqual({ fileNumber: 2, end: HEADER_BYTES });
  await logs.close();
});
