import { setImmediate } from "node:timers/promises";
import { describe, expect, test, vi } from "vitest";
import { maxRunCount } from "../../src/compaction/pick.ts";
import {
  isCompactionUrgent,
  paidBytes,
  slowBytesPerMs,
  slowReason,
  stopReason,
} from "../../src/engine/back-pressure.ts";
import { Store } from "../../src/engine/store.ts";
import type { Database, StallEvent } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";
import { gate, openFor } from "./harness.ts";

type TextDatabase = Database<string, string>;

const MEMTABLE_BYTES = 2 ** 17;

async function open(
  fileSystem: FaultFileSystem,
  compactionTrigger = 8,
): Promise<{ database: TextDatabase; stalls: string[] }> {
  const database = await openFor<string, string>("store", {
    fileSystem,
    durability: "os",
    memtableBytes: MEMTABLE_BYTES,
    compression: "none",
    compactionTrigger,
  });
  const stalls: string[] = [];
  database.on("stall", ({ kind, state, reason }: StallEvent) => {
    stalls.push(`${kind} ${state}: ${reason}`);
  });
  return { database, stalls };
}

/** Resolves when a file is created: the segment of a compaction that has learnt how to code it. */
async function createdAnother(fileSystem: FaultFileSystem): Promise<void> {
  const before = fileSystem.operationCount("create");
  await until(() => fileSystem.operationCount("create") > before);
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await setImmediate();
}

describe("writes", () => {
  const cases: [
    sealed: number,
    runs: number,
    slow: string | undefined,
    stop: string | undefined,
  ][] = [
    [0, 0, undefined, undefined],
    [1, 12, undefined, undefined],
    [2, 0, "memtables", "memtables"],
    [0, 13, "runs", undefined],
    [1, 23, "runs", undefined],
    [0, 24, "runs", "runs"],
    // A flush, however fast, takes away none of the runs.
    [2, 13, "runs", "memtables"],
    [2, 24, "runs", "memtables"],
    [3, 99, "runs", "memtables"],
  ];

  test("make the merge of runs urgent once they are slowed down for these", () => {
    expect([1, 12, 13, 24].map((runs) => isCompactionUrgent(runs, 4))).toEqual([
      ...[false, false, true, true],
    ]);
  });

  test("are slowed down to what a flush takes away, where memtables pile up, or to 32 MiB a second", () => {
    expect(slowBytesPerMs("memtables", 0)).toBe(2 ** 15);
    expect(slowBytesPerMs("memtables", 2 ** 15 - 1)).toBe(2 ** 15);
    expect(slowBytesPerMs("memtables", 2 ** 17)).toBe(2 ** 17);
    expect(slowBytesPerMs("runs", 2 ** 17)).toBe(2 ** 15);
  });

  test("wait for each of their bytes, but where memtables pile up for a mebibyte at most", () => {
    const lengths = [100, 2 ** 20, 2 ** 20 + 1, 2 ** 30];
    expect(lengths.map((length) => paidBytes("memtables", length))).toEqual([
      ...[100, 2 ** 20, 2 ** 20, 2 ** 20],
    ]);
    expect(lengths.map((length) => paidBytes("runs", length))).toEqual(lengths);
  });

  test.each(cases)(
    "with %i sealed memtables and %i runs at trigger 4: slow for %s, stopped for %s",
    (sealed, runs, slow, stop) => {
      expect(slowReason(sealed, runs, 4)).toBe(slow);
      expect(stopReason(sealed, runs, 4)).toBe(stop);
    },
  );

  test("slow down, stop, and go on, with an event for each, as memtables pile up", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const { database, stalls } = await open(fileSystem);
    const { promise, resolve } = gate();
    const effect = { kind: "delay", until: promise } as const;
    fileSystem.inject({ kinds: ["create"], path: /seg$/, effect });
    const value = "x".repeat(10_000);
    let written = 0;
    const writes: Promise<void>[] = [];
    const stopped = until(() => stalls.length === 2);
    for (let i = 0; i < 60; i++) {
      const write = database.put(`key ${i}`, value).then(() => void written++);
      writes.push(write);
      // Each in a group of its own: a large group may take a memtable beyond its size.
      await Promise.race([write, stopped]);
    }
    await stopped;
    expect(stalls).toEqual(["slow begin: memtables", "stop begin: memtables"]);
    const { memory, background } = database.stats();
    expect(background).toMatchObject({ sealedMemtables: 2, flush: { entriesDone: 0 } });
    expect(background.flush?.entryCount).toBeGreaterThan(5);
    expect(memory.memtables).toBeLessThanOrEqual(3 * MEMTABLE_BYTES);
    expect(written).toBeLessThan(3 * 13);
    // What waits is not seen, and reads go on.
    expect(database.count()).toBe(written);
    expect(() => database.putSync("a", "1")).toThrow(
      expect.objectContaining({ code: "MEMKV_BUSY" }),
    );
    resolve();
    await Promise.all(writes);
    await database.flush();
    expect(database.count()).toBe(60);
    expect(stalls.filter((stall) => stall.endsWith("begin: memtables")).length).toBeGreaterThan(1);
    // Whatever began has ended.
    for (const kind of ["slow", "stop"]) {
      const count = (state: string): number =>
        stalls.filter((stall) => stall === `${kind} ${state}: memtables`).length;
      expect(count("begin")).toBe(count("end"));
    }
    expect(database.stats().background).toEqual({
      flush: undefined,
      compaction: undefined,
      sealedMemtables: 0,
    });
    await database.verify();
  });

  test("wait no longer than the slow-down lasts", async () => {
    const delay = vi.spyOn(Store.prototype, "delay");
    let delays = 0;
    delay.mockImplementation((_, signal) => {
      delays++;
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
    });
    try {
      const fileSystem = new FaultFileSystem(new MemoryFileSystem());
      const { database, stalls } = await open(fileSystem);
      const { promise, resolve } = gate();
      const effect = { kind: "delay", until: promise } as const;
      fileSystem.inject({ kinds: ["create"], path: /seg$/, effect });
      const value = "x".repeat(100_000);
      // The second and the third seal the memtable before them.
      for (const key of ["a", "b", "c"]) await database.put(key, value);
      const slowed = database.put("d", value);
      await until(() => delays === 1);
      expect(stalls).toEqual(["slow begin: memtables"]);
      resolve();
      await slowed;
      expect(stalls).toContain("slow end: memtables");
    } finally {
      delay.mockRestore();
    }
  });

  test("are delayed until the time is up or somebody ends it", async () => {
    const { delay } = Store.prototype;
    await delay(0, new AbortController().signal);
    const controller = new AbortController();
    const delayed = delay(2 ** 30, controller.signal);
    controller.abort();
    await delayed;
    await delay(2 ** 30, controller.signal);
  });

  test("slow down, stop, and go on as runs pile up", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const { database, stalls } = await open(fileSystem, 2);
    const { promise, resolve } = gate();
    // The third segment is that of the first compaction.
    const effect = { kind: "delay", until: promise } as const;
    fileSystem.inject({ kinds: ["create"], path: /seg$/, nth: 3, effect });
    const runs = (): number => database.stats().runs.length;
    for (let i = 0; i < 2 * maxRunCount(2); i++) {
      await database.put(`key ${i}`, "value");
      await database.flush();
      if (i === 1) await createdAnother(fileSystem);
      if (i < maxRunCount(2)) expect(stalls).toEqual([]);
    }
    expect(runs()).toBe(2 * maxRunCount(2));
    expect(database.stats().background.compaction).toEqual({
      reason: "space",
      runCount: 2,
      entryCount: 2,
      entriesDone: 0,
      inputBytes: expect.any(Number),
      stepCount: 0,
    });
    expect(stalls).toEqual(["slow begin: runs"]);
    await database.put("one more", "value");
    const flushed = database.flush();
    await until(() => stalls.length > 1);
    expect(stalls).toEqual(["slow begin: runs", "stop begin: runs"]);
    resolve();
    await flushed;
    await until(() => stalls.length === 4);
    expect(stalls.slice(2)).toEqual(expect.arrayContaining(["slow end: runs", "stop end: runs"]));
    expect(runs()).toBeLessThanOrEqual(maxRunCount(2) + 1);
    expect(database.count()).toBe(2 * maxRunCount(2) + 1);
    expect(database.stats().amplification.read).toBe(runs() + 1);
  });

  test("that stop for runs fail where compaction fails, and go on where it does not", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const { database, stalls } = await open(fileSystem, 2);
    const errors: unknown[] = [];
    database.on("error", (error) => errors.push(error));
    const { promise, resolve } = gate();
    const delay = { kind: "delay", until: promise } as const;
    fileSystem.inject({ kinds: ["create"], path: /seg$/, nth: 3, effect: delay });
    for (let i = 0; i < 2 * maxRunCount(2); i++) {
      await database.put(`key ${i}`, "value");
      await database.flush();
      if (i === 1) await createdAnother(fileSystem);
    }
    await database.put("one more", "value");
    const fail = { kind: "fail", code: "ENOSPC" } as const;
    fileSystem.inject({ kinds: ["sync"], path: /seg$/, effect: fail });
    const failure = expect.objectContaining({ code: "MEMKV_IO", cause: expect.anything() });
    const flushed = expect(database.flush()).rejects.toEqual(failure);
    resolve();
    await flushed;
    expect(errors).toEqual([failure]);
    expect(stalls).toEqual(["slow begin: runs", "stop begin: runs", "stop end: runs"]);
    await database.flush();
    await until(() => stalls.includes("slow end: runs"));
    expect(database.count()).toBe(2 * maxRunCount(2) + 1);
  });
});
