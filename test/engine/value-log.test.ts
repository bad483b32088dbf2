/**
 * Large values: kept in value logs, not written again by compactions until their logs are mostly
 * garbage, and read as streams.
 */
import { readdirSync } from "node:fs";
import { buffer, text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { ClosedError, CorruptionError, type Database, type OpenOptions } from "../../src/index.ts";
import { joinPath } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { openFor, temporaryDirectory, withoutLock } from "./harness.ts";

type BinaryDatabase = Database<string, Uint8Array>;
type BinaryOptions = OpenOptions<string, Uint8Array>;

const MEBIBYTE = 2 ** 20;

function openBinary(options: BinaryOptions, directory = "store"): Promise<BinaryDatabase> {
  return openFor<string, Uint8Array>(directory, {
    valueEncoding: "binary",
    durability: "os",
    compactionTrigger: 64,
    ...options,
  });
}

/** Bytes that do not shrink and that say `seed`. */
function noise(length: number, seed: number): Uint8Array {
  let state = seed + 1;
  return Uint8Array.from({ length }, () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x297a2d39;
    return state >>> 24;
  });
}

async function logsIn(fileSystem: MemoryFileSystem): Promise<string[]> {
  const names = withoutLock(await fileSystem.list("store"));
  return names.filter((name) => name.endsWith(".vlog"));
}

function expectSame(found: Uint8Array | undefined, value: Uint8Array): void {
  expect(found?.length).toBe(value.length);
  expect(Buffer.compare(found ?? new Uint8Array(0), value)).toBe(0);
}

/** Runs of values of 20 kB under "key 0" and so on, in order, each run flushed. */
async function writeRuns(database: BinaryDatabase, ...runs: readonly number[][]): Promise<void> {
  for (const [run, keys] of runs.entries()) {
    for (const key of keys) await database.put(`key ${key}`, noise(20_000, run * 100 + key));
    await database.flush();
  }
}

const range = (start: number, end: number): number[] =>
  Array.from({ length: end - start }, (_, i) => start + i);

test("large values are stored as they are, and deflated where that is asked for", async () => {
  const bytesOf = async (compression: "auto" | "deflate"): Promise<number> => {
    const database = await openBinary({ compression }, temporaryDirectory());
    await database.put("text", new Uint8Array(20_000).fill(120));
    await database.flush();
    return database.stats().valueLogs.fileBytes;
  };
  expect(await bytesOf("auto")).toBeGreaterThan(20_000);
  expect(await bytesOf("deflate")).toBeLessThan(1000);
});

describe.each([
  ["on the calling thread", "inline"],
  ["in a worker", "worker"],
] as const)("large values, with background work %s", (_, background) => {
  test("are there after flush, compaction and reopening, and sound", async () => {
    const directory = temporaryDirectory();
    const options = { background, segmentBytes: 2 ** 20, largeValueBytes: 100 } as const;
    let database = await openBinary(options, directory);
    const lengths = [99, 100, 101, 4096, 65_536, 65_537, 3 * MEBIBYTE];
    const values = new Map(lengths.map((length, i) => [`size ${length}`, noise(length, i)]));
    for (const [key, value] of values) await database.put(key, new Uint8Array(value.length));
    await database.flush();
    for (const [key, value] of values) await database.put(key, value);
    await database.flush();
    await database.put("deleted", noise(5000, 99));
    await database.delete("deleted");
    const check = async (): Promise<void> => {
      for (const [key, value] of values) expectSame(database.get(key), value);
      expect([...database.keys()].length).toBe(values.size);
      await database.verify();
    };
    await check();
    await database.compact();
    await check();
    await database.close();
    database = await openBinary({ ...options, readOnly: true }, directory);
    await check();
    const { valueLogs, disk } = database.stats();
    expect(valueLogs.fileBytes).toBe(disk.valueLogs);
    expect(valueLogs.usedBytes).toBeGreaterThan(3 * MEBIBYTE);
    expect(valueLogs.usedBytes).toBe(valueLogs.fileBytes - 48 * valueLogs.count);
    const count = readdirSync(directory).filter((name) => name.endsWith(".vlog")).length;
    expect(count).toBe(valueLogs.count);
    expect((await database.verify()).valueLogs).toBe(count);
  });
});

describe("value logs", () => {
  /** Large enough for the logs not to be merged as small ones. */
  const segmentBytes = 2 ** 16;

  test("are not written again by compactions", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openBinary({ fileSystem, segmentBytes });
    await writeRuns(database, range(0, 4), range(2, 8), range(8, 12));
    const before = await logsIn(fileSystem);
    let outputBytes = 0;
    database.on("compaction", (event) => {
      outputBytes += event.outputBytes;
    });
    await writeRuns(database, []);
    await database.put("key 20", new Uint8Array(1));
    await database.compact();
    const { valueLogs } = database.stats();
    expect(before.length).toBeGreaterThanOrEqual(3);
    expect(valueLogs.usedBytes).toBe(12 * (20_000 + 9));
    expect(outputBytes).toBeLessThan(5000);
    await database.verify();
  });

  test("leave with the last value that is referred to, and not while a snapshot sees it", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openBinary({ fileSystem, segmentBytes });
    await writeRuns(database, range(0, 4));
    const first = await logsIn(fileSystem);
    const snapshot = database.snapshot();
    await writeRuns(database, range(0, 4));
    await database.compact();
    expect(await logsIn(fileSystem)).toEqual(expect.arrayContaining(first));
    for (const key of range(0, 4)) expectSame(snapshot.get(`key ${key}`), noise(20_000, key));
    snapshot.close();
    await database.sync();
    await database.close();
    const left = await logsIn(fileSystem);
    for (const name of first) expect(left).not.toContain(name);
    expect(left.length).toBe(1);
  });

  test("stay for an iteration under way, though a compaction has let go of them", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openBinary({ fileSystem, segmentBytes });
    await writeRuns(database, range(10, 40));
    const first = await logsIn(fileSystem);
    for (const reverse of [false, true]) {
      const expected = [...database.entries({ reverse })];
      const iteration = database.entries({ reverse })[Symbol.iterator]();
      const found = range(0, 10).map(() => iteration.next().value);
      await writeRuns(database, range(10, 40));
      await database.compact();
      if (!reverse) expect(await logsIn(fileSystem)).toEqual(expect.arrayContaining(first));
      for (let next = iteration.next(); !next.done; next = iteration.next()) found.push(next.value);
      expect(found.length).toBe(30);
      for (const [i, [key, value]] of expected.entries()) {
        expect(found[i]?.[0]).toBe(key);
        expectSame(found[i]?.[1], value);
      }
    }
    await database.close();
  });

  test("that are mostly garbage are cleared by the compaction that next comes by", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openBinary({ fileSystem, segmentBytes: 2 ** 20, compactionTrigger: 2 });
    const done = (): Promise<unknown> =>
      new Promise((resolve) => database.once("compaction", resolve));
    await writeRuns(database, range(0, 20));
    // Three quarters of the first log become garbage, of which this compaction hears last.
    let compaction = done();
    await writeRuns(database, range(5, 20));
    await compaction;
    const { valueLogs } = database.stats();
    expect(valueLogs.usedBytes).toBeLessThan(valueLogs.fileBytes * 0.6);
    compaction = done();
    await writeRuns(database, range(20, 35));
    await compaction;
    const cleared = database.stats().valueLogs;
    expect(cleared.usedBytes).toBe(cleared.fileBytes - 48 * cleared.count);
    for (const key of range(0, 5)) expectSame(database.get(`key ${key}`), noise(20_000, key));
    for (const key of range(5, 20)) expectSame(database.get(`key ${key}`), noise(20_000, key));
    await database.verify();
  });

  test("are cleared by compact even if one run is all there is", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openBinary({ fileSystem, segmentBytes });
    await writeRuns(database, range(0, 3));
    await database.delete("key 1");
    await database.compact();
    const { valueLogs } = database.stats();
    expect(valueLogs).toMatchObject({ count: 1, fileBytes: 48 + 2 * (20_000 + 9) });
    const reasons: string[] = [];
    database.on("compaction", ({ reason }) => reasons.push(reason));
    await database.compact();
    await database.verify();
    expect(reasons).toEqual([]);
  });

  test("that are small are merged by compactions, and one small log is left as it is", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openBinary({ fileSystem, segmentBytes: 2 ** 24 });
    for (let run = 0; run < 20; run++) await writeRuns(database, [run]);
    expect(database.stats().valueLogs.count).toBe(20);
    await database.compact();
    expect(database.stats().valueLogs.count).toBe(1);
    const before = await logsIn(fileSystem);
    await database.put("key 3", new Uint8Array(0));
    await database.compact();
    expect(database.stats().valueLogs).toMatchObject({ count: 1, usedBytes: 19 * 20_009 });
    expect(await logsIn(fileSystem)).toEqual(before);
  });

  test("take what was in blocks, and keep what they have, when the limit changes", async () => {
    const fileSystem = new MemoryFileSystem();
    const values = range(0, 20).map((i) => noise(2000 + i, i));
    let database = await openBinary({ fileSystem, largeValueBytes: 8192 });
    for (const [i, value] of values.entries()) await database.put(`key ${i}`, value);
    await database.compact();
    expect(database.stats().valueLogs.count).toBe(0);
    await database.close();
    for (const largeValueBytes of [64, 8192]) {
      database = await openBinary({ fileSystem, largeValueBytes });
      await database.put("another", new Uint8Array(10));
      await database.compact();
      expect(database.stats().valueLogs.count).toBe(1);
      for (const [i, value] of values.entries()) expectSame(database.get(`key ${i}`), value);
      await database.close();
    }
  });

  test("that are missing, cut or swapped are corruption at open, and strangers are removed", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openBinary({ fileSystem, segmentBytes });
    await writeRuns(database, range(0, 2), range(2, 4));
    await database.close();
    const [a, b] = (await logsIn(fileSystem)).map((name) => joinPath("store", name));
    const reopen = (): Promise<BinaryDatabase> => openBinary({ fileSystem, segmentBytes });
    await fileSystem.rename(a, "aside");
    await expect(reopen()).rejects.toThrow("a value log is missing");
    await fileSystem.rename(b, a);
    await fileSystem.rename("aside", b);
    await expect(reopen()).rejects.toThrow(CorruptionError);
    await fileSystem.rename(a, "aside");
    await fileSystem.rename(b, a);
    await fileSystem.rename("aside", b);
    const file = await fileSystem.open(a, "update");
    const length = file.size();
    const last = new Uint8Array(1);
    file.readSync(last, length - 1);
    await file.truncate(length - 1);
    await expect(reopen()).rejects.toThrow(CorruptionError);
    file.writeSync(last, length - 1);
    const orphan = await fileSystem.open("store/000999.vlog", "create");
    await orphan.close();
    const again = await reopen();
    expect(again.recovery.orphansRemoved).toEqual(["000999.vlog"]);
    expectSame(again.get("key 3"), noise(20_000, 103));
  });
});

test("a value that get returns is the caller's own, wherever it was", async () => {
  for (const blockCacheBytes of [0, MEBIBYTE, 32 * MEBIBYTE]) {
    const options = { fileSystem: new MemoryFileSystem(), blockCacheBytes };
    const database = await openBinary(options);
    const lengths = [1, 100, 5000, 100_000, MEBIBYTE];
    for (const length of lengths) await database.put(`${length}`, noise(length, 1));
    for (const place of ["memtable", "segment"]) {
      if (place === "segment") await database.flush();
      for (const length of [...lengths, ...lengths]) {
        const value = database.get(`${length}`);
        expectSame(value, noise(length, 1));
        value?.fill(0xee);
      }
    }
    await database.close();
  }
});

describe("getStream", () => {
  const large = noise(3 * MEBIBYTE + 5, 7);

  test("gives every byte of values in memory, in blocks and in value logs", async () => {
    const database = await openBinary({ fileSystem: new MemoryFileSystem() });
    const values = new Map(
      [0, 1, 100, 4095, 4096, 65_536, 65_537, 500_000].map((n) => [`${n}`, noise(n, n)]),
    );
    for (const [key, value] of values) await database.put(key, value);
    const check = async (): Promise<void> => {
      for (const [key, value] of values) {
        const stream = database.getStream(key);
        expectSame(stream && new Uint8Array(await buffer(stream)), value);
      }
    };
    await check();
    await database.compact();
    await check();
    const snapshot = database.snapshot();
    await database.delete("65536");
    expect(database.getStream("65536")).toBeUndefined();
    expect(database.getStream("absent")).toBeUndefined();
    const stream = snapshot.getStream("65536");
    expectSame(stream && new Uint8Array(await buffer(stream)), noise(65_536, 65_536));
    snapshot.close();
  });

  test("gives pieces of at most 64 KiB, each of them the caller's own", async () => {
    const database = await openBinary({ fileSystem: new MemoryFileSystem() });
    await database.put("k", large);
    for (const place of ["memtable", "value log"]) {
      if (place === "value log") await database.flush();
      const pieces: Uint8Array[] = [];
      for await (const piece of database.getStream("k") ?? []) {
        expect(piece.length).toBeLessThanOrEqual(65_536);
        expect(piece.buffer).toBeInstanceOf(ArrayBuffer);
        pieces.push(piece);
      }
      expect(pieces.length).toBe(49);
      expectSame(Buffer.concat(pieces), large);
    }
  });

  test("reads what was asked for, and keeps it on disk until it ends or is cancelled", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openBinary({ fileSystem });
    for (const ending of ["end", "cancel"]) {
      await database.put("k", large);
      await database.flush();
      const [log] = await logsIn(fileSystem);
      const reader = database.getStream("k")?.getReader();
      const first = await reader?.read();
      expectSame(first?.value, large.subarray(0, 65_536));
      await database.put("k", new Uint8Array(3));
      await database.compact();
      expect(await logsIn(fileSystem)).toEqual([log]);
      if (ending === "cancel") {
        await reader?.cancel();
      } else {
        let pos = 65_536;
        for (;;) {
          const result = await reader?.read();
          if (result?.value === undefined) break;
          expectSame(result.value, large.subarray(pos, pos + result.value.length));
          pos += result.value.length;
        }
        expect(pos).toBe(large.length);
      }
      await database.put("next", new Uint8Array(1));
      await database.compact();
      expect(await logsIn(fileSystem)).toEqual([]);
    }
  });

  test("is the text of utf8 and json, and the bytes that any encoding makes", async () => {
    const words = "ünïcode ".repeat(2000);
    const encodings = [
      ["utf8", words, words],
      ["json", { words }, JSON.stringify({ words })],
    ] as const;
    for (const [valueEncoding, value, expected] of encodings) {
      const options = { valueEncoding, fileSystem: new MemoryFileSystem() } as const;
      const database = await openFor<string, unknown>("store", options as OpenOptions);
      await database.put("k", value);
      await database.flush();
      const stream = database.getStream("k");
      expect(stream && (await text(stream))).toBe(expected);
    }
  });

  test("fails where the value is damaged, after what is whole, and once the database is closed", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openBinary({ fileSystem });
    await database.put("k", large);
    await database.flush();
    const [log] = await logsIn(fileSystem);
    const file = await fileSystem.open(joinPath("store", log), "update");
    file.writeSync(new Uint8Array(1).fill(large[MEBIBYTE] ^ 1), 48 + MEBIBYTE + 17 * 9);
    const pieces: Uint8Array[] = [];
    const readAll = async (): Promise<void> => {
      for await (const piece of database.getStream("k") ?? []) pieces.push(piece);
    };
    await expect(readAll()).rejects.toThrow(CorruptionError);
    expectSame(Buffer.concat(pieces), large.subarray(0, MEBIBYTE));
    const reader = database.getStream("k")?.getReader();
    await reader?.read();
    await database.close();
    await expect(reader?.read()).rejects.toThrow(ClosedError);
    expect(() => database.getStream("k")).toThrow(ClosedError);
  });
});
