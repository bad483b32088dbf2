/**
 * What once broke, each test named for it.
 */
import { describe, expect, test } from "vitest";
import { InvalidArgumentError, open } from "../../src/index.ts";
import type { DirectoryLock } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";

/** A file system whose locks can be taken from their holders. */
class StolenLockFileSystem extends MemoryFileSystem {
  private isStolen = false;

  override async lock(directory: string, onLost: (cause: Error) => void): Promise<DirectoryLock> {
    const lock = await super.lock(directory, onLost);
    return {
      isHeld: () => !this.isStolen && lock.isHeld(),
      confirm: async () => {
        if (this.isStolen) throw new Error("stolen");
        await lock.confirm();
      },
      release: () => lock.release(),
    };
  }

  steal(): void {
    this.isStolen = true;
  }
}

describe("keys longer than the encoder's first buffer", () => {
  const long = "k".repeat(300);

  test("are stored whole by a database that has just been opened", async () => {
    const database = await open(":memory:");
    await database.put(long, 1);
    expect([...database.keys()]).toEqual([long]);
    await database.close();
  });

  test("bound a range of a database that has just been opened", async () => {
    const fileSystem = new MemoryFileSystem();
    const first = await open("db", { fileSystem });
    await first.put(`${long}x`, 1);
    await first.close();
    for (const range of [{ prefix: long }, { gte: long }, { gt: long }]) {
      const database = await open("db", { fileSystem });
      expect([...database.keys(range)]).toEqual([`${long}x`]);
      await database.close();
    }
  });
});

test("a write begun by a value's getter is refused, and takes nothing with it", async () => {
  const database = await open(":memory:");
  let inner: Promise<void> | undefined;
  const value = {
    get property(): number {
      inner ??= database.put("inner", 1);
      return 1;
    },
  };
  await database.put("outer", value);
  await expect(inner).rejects.toThrow(InvalidArgumentError);
  expect([...database.keys()]).toEqual(["outer"]);
  await database.close();
});

test("a batch of more operations than a memtable certainly holds is refused", async () => {
  const database = await open(":memory:", { durability: "os" });
  const operation = { type: "delete", key: "" } as const;
  const operations = new Array(2 ** 22 + 1).fill(operation);
  await expect(database.batch(operations)).rejects.toThrow(/at most 4194304 operations/);
  expect(database.stats().lastSeqno).toBe(0);
  await database.close();
});

test("no log is created once the lock is lost", async () => {
  const fileSystem = new StolenLockFileSystem();
  const database = await open("db", { fileSystem });
  const before = await fileSystem.list("db");
  fileSystem.steal();
  await expect(database.put("a", 1)).rejects.toMatchObject({ code: "MEMKV_LOCKED" });
  await expect(database.flush()).rejects.toMatchObject({ code: "MEMKV_LOCKED" });
  expect(await fileSystem.list("db")).toEqual(before);
  await database.close();
});

test("a log without records that the chain of logs passes over is no loss", async () => {
  const fileSystem = new MemoryFileSystem();
  const first = await open("db", { fileSystem });
  await first.put("a", 1);
  await first.close();
  const logs = (await fileSystem.list("db")).filter((name) => name.endsWith(".wal"));
  // Another process, which had lost its lock, created a log that this one did not know of.
  const stranger = await fileSystem.open("db/000003.wal", "create");
  stranger.writeSync(new Uint8Array(10), 0);
  expect(logs).not.toContain("000003.wal");
  const second = await open("db", { fileSystem });
  await second.put("b", 2);
  await second.close();
  const third = await open("db", { fileSystem });
  expect([...third.entries()]).toEqual([
    ["a", 1],
    ["b", 2],
  ]);
  await third.close();
});

test("a failure is reported once, however often background work is woken", async () => {
  const disk = new FaultFileSystem(new MemoryFileSystem());
  const database = await open("db", { fileSystem: disk, durability: "os", memtableBytes: 2 ** 18 });
  const errors: unknown[] = [];
  database.on("error", (error) => errors.push(error));
  disk.inject({ kinds: ["create"], path: /seg$/, effect: { kind: "fail", code: "ENOSPC" } });
  await database.put("a", "x".repeat(2 ** 17));
  await expect(database.flush()).rejects.toMatchObject({ code: "MEMKV_IO" });
  await new Promise((resolve) => queueMicrotask(() => resolve(undefined)));
  expect(errors).toHaveLength(1);
  await database.flush();
  await database.close();
});

test("a value that is no text, first of several read at once among texts, is not taken for a text", async () => {
  // Its stored bytes are few, but their number is written as that of long ones, marked as no text.
  const database = await open<string, unknown>(":memory:", { compression: "symbols" });
  const key = (i: number): string => `key ${String(i).padStart(4, "0")}`;
  const value = (i: number): unknown => (i % 3 === 0 ? i * 1000 : `https://example.org/${i}`);
  for (let i = 0; i < 2000; i++) void database.put(key(i), value(i));
  await database.flush();
  const expected = Array.from({ length: 2000 }, (_, i) => value(i));
  expect([...database.values()]).toEqual(expected);
  expect([...database.values({ reverse: true })]).toEqual(expected.toReversed());
  for (let i = 0; i < 2000; i += 7) {
    const some = [...database.values({ gte: key(i), limit: 10 })];
    expect(some).toEqual(expected.slice(i, i + 10));
  }
  await database.close();
});

test("verify beside a writer finds no damage", async () => {
  const database = await open(":memory:", { durability: "os", memtableBytes: 2 ** 17 });
  for (let round = 0; round < 40; round++) {
    const verified = database.verify();
    await database.put(`key ${round}`, "x".repeat(20_000));
    const flushed = database.flush();
    const verifiedToo = database.verify();
    await Promise.all([verified, flushed, verifiedToo]);
  }
  expect(database.count()).toBe(40);
  await database.close();
});
