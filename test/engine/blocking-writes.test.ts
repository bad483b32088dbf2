import { describe, expect, test } from "vitest";
import type { Database, OpenOptions } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { CrashFileSystem, FaultFileSystem } from "../../src/testing/index.ts";
import { gate, openFor, temporaryDirectory } from "./harness.ts";

type TextDatabase = Database<string, string>;

/** What says that a write would have to wait, and what to do instead. */
function busy(remedy: string): unknown {
  return expect.objectContaining({
    code: "MEMKV_BUSY",
    message: expect.stringContaining(remedy),
  });
}
const BUSY = busy("(put, delete and batch wait)");

function openText(options: OpenOptions<string, string> = {}): Promise<TextDatabase> {
  return openFor<string, string>("store", {
    fileSystem: new MemoryFileSystem(),
    durability: "os",
    memtableBytes: 2 ** 17,
    compression: "none",
    ...options,
  });
}

describe("blocking writes", () => {
  test("are seen at once, the first after the open too, and after a reopen", async () => {
    const directory = temporaryDirectory();
    const database = await openFor<string, string>(directory);
    database.putSync("a", "1");
    expect(database.get("a")).toBe("1");
    database.batchSync([
      { type: "put", key: "b", value: "2" },
      { type: "delete", key: "a" },
      { type: "put", key: "c", value: "3" },
    ]);
    database.batchSync([]);
    expect([...database.entries()]).toEqual([
      ["b", "2"],
      ["c", "3"],
    ]);
    database.deleteSync("b", { durability: "os" });
    expect([...database.keys()]).toEqual(["c"]);
    await database.close();
    const again = await openFor<string, string>(directory);
    expect([...again.entries()]).toEqual([["c", "3"]]);
  });

  test('with "sync" survive a power cut, with what was written before them', async () => {
    const disk = new CrashFileSystem();
    const database = await openText({ fileSystem: disk });
    const before = database.put("a", "1", { durability: "os" });
    database.putSync("b", "2", { durability: "sync" });
    for (const state of disk.crashStates({ seed: 1, count: 20 })) {
      const again = await openText({ fileSystem: state });
      expect([...again.entries()]).toEqual([
        ["a", "1"],
        ["b", "2"],
      ]);
    }
    await before;
  });

  test("come after the asynchronous writes before them, which they complete", async () => {
    const database = await openText({ memtableBytes: 2 ** 22 });
    const settled: string[] = [];
    const writes = ["1", "2"].map((value) =>
      database.put("a", value).then(() => settled.push(value)),
    );
    const large = "x".repeat(2 ** 16);
    for (let i = 0; i < 20; i++) writes.push(database.put(`large ${i}`, large).then(() => 0));
    database.putSync("a", "3");
    expect(database.get("a")).toBe("3");
    const later = database.put("a", "4").then(() => settled.push("4"));
    await Promise.all([...writes, later]);
    expect(settled).toEqual(["1", "2", "4"]);
    expect(database.get("a")).toBe("4");
    expect(database.count()).toBe(21);
  });

  test("that cannot be encoded change nothing, and leave the others of the group alone", async () => {
    const database = await openText();
    const other = database.put("a", "1");
    expect(() => database.putSync("b", undefined as unknown as string)).toThrow(
      expect.objectContaining({ code: "MEMKV_INVALID_ARGUMENT" }),
    );
    expect(() => database.putSync("b".repeat(70_000), "")).toThrow(/key/);
    expect(database.get("a")).toBeUndefined();
    await other;
    expect([...database.entries()]).toEqual([["a", "1"]]);
  });

  test("are refused while an asynchronous write is under way, and do nothing", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const database = await openText({ fileSystem });
    database.putSync("a", "1");
    const { promise, resolve } = gate();
    fileSystem.inject({ kinds: ["sync"], effect: { kind: "delay", until: promise } });
    const synced = database.put("b", "2", { durability: "sync" });
    await Promise.resolve();
    await Promise.resolve();
    expect(() => database.putSync("c", "3")).toThrow(BUSY);
    expect(() => database.deleteSync("a")).toThrow(BUSY);
    expect([...database.keys()]).toEqual(["a"]);
    resolve();
    await synced;
    database.deleteSync("a");
    expect([...database.keys()]).toEqual(["b"]);
  });

  test("are refused after a flush was asked for, until it has begun a new memtable", async () => {
    const database = await openText();
    database.putSync("a", "1");
    const flushed = database.flush();
    expect(() => database.putSync("b", "2")).toThrow(BUSY);
    await flushed;
    database.putSync("b", "2");
    expect([...database.keys()]).toEqual(["a", "b"]);
  });

  test("seal full memtables, and are refused when no more may wait for their flush", async () => {
    const database = await openText();
    const value = "x".repeat(10_000);
    const written: string[] = [];
    const fill = (): void => {
      for (let i = 0; i < 1000; i++) {
        const key = `key ${written.length}`;
        database.putSync(key, value);
        written.push(key);
      }
    };
    expect(fill).toThrow(BUSY);
    // Three memtables of 128 KiB took them, less what does not fill one.
    expect(written.length).toBeGreaterThanOrEqual(3 * 11);
    expect(written.length).toBeLessThanOrEqual(3 * 13);
    expect(database.count()).toBe(written.length);
    // The asynchronous write waits for the flush; then there is room.
    await database.put("waited", "for room");
    database.putSync("after it", "there is room");
    expect(database.count()).toBe(written.length + 2);
    await database.verify();
  });

  test("that fail throw what the asynchronous ones of their group are rejected with", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const database = await openText({ fileSystem });
    database.putSync("a", "1");
    fileSystem.inject({ kinds: ["write"], effect: { kind: "fail", code: "ENOSPC" } });
    const failed = expect.objectContaining({ code: "MEMKV_IO", cause: expect.anything() });
    const together = database.put("b", "2");
    expect(() => database.putSync("c", "3")).toThrow(failed);
    await expect(together).rejects.toEqual(failed);
    expect([...database.keys()]).toEqual(["a"]);
    database.putSync("d", "4");
    expect([...database.keys()]).toEqual(["a", "d"]);
  });

  test("whose sync fails poison the database", async () => {
    const disk = new CrashFileSystem();
    const fileSystem = new FaultFileSystem(disk);
    const database = await openText({ fileSystem });
    database.putSync("a", "1", { durability: "sync" });
    fileSystem.inject({ kinds: ["sync"], effect: { kind: "fail", code: "EIO" } });
    const poisoned = expect.objectContaining({ code: "MEMKV_POISONED" });
    expect(() => database.putSync("b", "2", { durability: "sync" })).toThrow(poisoned);
    expect(() => database.putSync("c", "3")).toThrow(poisoned);
    await expect(database.put("c", "3")).rejects.toEqual(poisoned);
    expect([...database.keys()]).toEqual(["a"]);
  });

  test.each([
    ["to create", { kinds: ["create"], path: /wal$/, effect: { kind: "fail", code: "ENOSPC" } }],
    ["to write", { kinds: ["write"], path: /wal$/, effect: { kind: "fail", code: "ENOSPC" } }],
  ] as [string, Parameters<FaultFileSystem["inject"]>[0]][])(
    "whose log fails %s did not happen, and may succeed later",
    async (_, fault) => {
      const disk = new MemoryFileSystem();
      const fileSystem = new FaultFileSystem(disk);
      const database = await openText({ fileSystem });
      fileSystem.inject(fault);
      expect(() => database.putSync("a", "1")).toThrow(
        expect.objectContaining({ code: "MEMKV_IO" }),
      );
      database.putSync("b", "2");
      await database.close();
      const again = await openText({ fileSystem: disk });
      expect([...again.entries()]).toEqual([["b", "2"]]);
    },
  );

  test("inside an encoding are refused", async () => {
    const database = await openFor<string, unknown>("store", {
      fileSystem: new MemoryFileSystem(),
    });
    const value = {
      get field(): number {
        database.putSync("inner", 1);
        return 1;
      },
    };
    expect(() => database.putSync("outer", value)).toThrow(
      expect.objectContaining({ code: "MEMKV_INVALID_ARGUMENT" }),
    );
    expect(database.count()).toBe(0);
  });

  test("on a closed or read-only database throw", async () => {
    const directory = temporaryDirectory();
    const database = await openFor<string, string>(directory);
    database.putSync("a", "1");
    await database.close();
    expect(() => database.putSync("a", "2")).toThrow(
      expect.objectContaining({ code: "MEMKV_CLOSED" }),
    );
    const readOnly = await openFor<string, string>(directory, { readOnly: true });
    expect(() => readOnly.putSync("a", "2")).toThrow(
      expect.objectContaining({ code: "MEMKV_READ_ONLY" }),
    );
  });
});

describe("writes that nobody awaits", () => {
  test("are committed on the calling thread where they pile up, and refused where that waits", async () => {
    const database = await openText();
    const value = "x".repeat(60_000);
    const results: Promise<unknown>[] = [];
    for (let i = 0; i < 400; i++) {
      results.push(
        database.put(`key ${i}`, value).then(
          () => "written",
          (error: unknown) => error,
        ),
      );
    }
    const outcomes = await Promise.all(results);
    const written = outcomes.filter((outcome) => outcome === "written").length;
    // Three memtables with a group each, and 16 MiB that wait.
    expect(written).toBeGreaterThanOrEqual(Math.floor(2 ** 24 / 60_020));
    expect(written).toBeLessThanOrEqual(Math.ceil((2 ** 24 + 3 * 2 ** 20) / 60_000) + 4);
    expect(outcomes.slice(0, written)).toEqual(new Array(written).fill("written"));
    expect(outcomes.slice(written)).toEqual(
      new Array(400 - written).fill(busy("(await some of them)")),
    );
    expect(database.count()).toBe(written);
    await database.put("room", "again");
    await database.verify();
  });
});
