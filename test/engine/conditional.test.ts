/** Writes on a condition: put with ifAbsent or ifValue, delete with ifValue. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Database, DatabaseError, InvalidArgumentError } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";
import { parameters } from "../model/parameters.ts";
import { openFor } from "./harness.ts";

async function openInMemory(): Promise<Database<string, number>> {
  return await openFor<string, number>("store", { fileSystem: new MemoryFileSystem() });
}

describe("a write on a condition", () => {
  test("happens if the key is not there", async () => {
    const database = await openInMemory();
    expect(await database.put("a", 1, { ifAbsent: true })).toBe(true);
    expect(await database.put("a", 2, { ifAbsent: true })).toBe(false);
    expect(database.get("a")).toBe(1);
    await database.delete("a");
    expect(await database.put("a", 3, { ifAbsent: true })).toBe(true);
    expect(database.get("a")).toBe(3);
    expect(await database.put("a", 4, { ifAbsent: false })).toBe(true);
    expect(database.get("a")).toBe(4);
  });

  test("happens if the key has the value that get returned", async () => {
    const database = await openInMemory();
    // A key that is not there: get returns undefined.
    expect(await database.put("a", 1, { ifValue: database.get("a") })).toBe(true);
    expect(await database.put("a", 2, { ifValue: undefined })).toBe(false);
    expect(await database.put("a", 2, { ifValue: database.get("a") })).toBe(true);
    expect(await database.put("a", 3, { ifValue: 1 })).toBe(false);
    await database.flush();
    expect(await database.put("a", 3, { ifValue: 1 })).toBe(false);
    expect(await database.put("a", 3, { ifValue: 2 })).toBe(true);
    expect(await database.delete("a", { ifValue: 2 })).toBe(false);
    expect(await database.delete("a", { ifValue: 3 })).toBe(true);
    expect(await database.delete("a", { ifValue: 3 })).toBe(false);
    expect(database.has("a")).toBe(false);
  });

  test("compares objects as they are encoded", async () => {
    const database = await openFor<string, object>("store", { fileSystem: new MemoryFileSystem() });
    await database.put("a", { x: 1, y: [2, { z: "3" }] });
    expect(await database.put("a", { x: 2 }, { ifValue: { x: 1, y: [2] } })).toBe(false);
    expect(await database.put("a", { x: 2 }, { ifValue: database.get("a") })).toBe(true);
    expect(database.get("a")).toEqual({ x: 2 });
  });

  test("happens for what get returned, though it was put as something else", async () => {
    const database = await openFor<string, unknown>("store", {
      fileSystem: new MemoryFileSystem(),
    });
    await database.put("a", { bytes: Buffer.from("xyz") });
    const read = database.get("a");
    expect(read).toEqual({ bytes: new Uint8Array(Buffer.from("xyz")) });
    expect(await database.put("a", 1, { ifValue: { bytes: Uint8Array.of(1) } })).toBe(false);
    const [, deleted] = await Promise.all([
      database.put("b", { bytes: Buffer.from("xyz") }),
      database.delete("b", { ifValue: read }),
    ]);
    expect(deleted).toBe(true);
    expect(await database.put("a", 1, { ifValue: read })).toBe(true);
    expect(database.get("a")).toBe(1);
  });

  test("is decided by the ranges deleted before it, however many there are", async () => {
    const database = await openInMemory();
    const puts = Array.from({ length: 20_000 }, (_, i) => {
      return { type: "put", key: `a${i}`, value: i } as const;
    });
    const deletes = Array.from({ length: 10_000 }, (_, i) => {
      return { type: "deleteRange", gte: `a${i}`, lte: `a${i}` } as const;
    });
    const [, ...outcomes] = await Promise.all([
      database.batch([...puts, ...deletes, { type: "put", key: "a1", value: -1 }]),
      database.put("a0", 1, { ifAbsent: true }),
      database.put("a1", 1, { ifAbsent: true }),
      database.put("a2", 1, { ifValue: 2 }),
      database.put("a10000", 1, { ifValue: 10_000 }),
    ]);
    expect(outcomes).toEqual([true, false, false, true]);
  });

  test("is decided by the writes before it, those of the same tick included", async () => {
    const database = await openInMemory();
    const outcomes = await Promise.all([
      database.put("a", 1, { ifAbsent: true }),
      database.put("a", 2),
      database.put("a", 3, { ifValue: 1 }),
      database.put("a", 4, { ifValue: 2 }),
      database.put("b", 1, { ifValue: undefined }),
      database.delete("a", { ifValue: 4 }),
      database.put("a", 5, { ifValue: 4 }),
      database.put("a", 6, { ifAbsent: true }),
    ]);
    expect(outcomes).toEqual([true, undefined, false, true, true, true, false, true]);
    expect([...database.entries()]).toEqual([
      ["a", 6],
      ["b", 1],
    ]);
  });

  test("is decided by a range delete before it in its tick", async () => {
    const database = await openInMemory();
    await database.put("a", 1);
    const outcomes = await Promise.all([
      database.put("b", 2),
      database.deleteRange({ gte: "a", lt: "c" }),
      database.put("a", 3, { ifValue: 1 }),
      database.put("a", 4, { ifAbsent: true }),
      database.put("b", 5, { ifValue: undefined }),
    ]);
    expect(outcomes).toEqual([undefined, undefined, false, true, true]);
    expect([...database.values()]).toEqual([4, 5]);
  });

  test("is done once, however many ask for the same at once", async () => {
    const database = await openInMemory();
    const outcomes = await Promise.all(
      Array.from({ length: 1000 }, (_, i) => database.put("a", i, { ifAbsent: true })),
    );
    expect(outcomes.filter((isDone) => isDone)).toEqual([true]);
    expect(outcomes[database.get("a") as number]).toBe(true);
    // What was not done left no trace: not in the numbers of writes either.
    expect(database.stats().lastSeqno).toBe(1);
  });

  test("shares a sync with the writes of its tick", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const database = await openFor<string, number>("store", { fileSystem, durability: "sync" });
    await database.put("a", 0);
    const before = fileSystem.operationCount("sync");
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => database.put(`${i % 50}`, i, { ifAbsent: true })),
    );
    expect(fileSystem.operationCount("sync") - before).toBe(1);
    expect(database.count()).toBe(51);
  });

  test("rejects with a typed error where the value cannot be read, and asks for none it needs not", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const database = await openFor<string, number>("store", { fileSystem, blockCacheBytes: 0 });
    await database.put("a", 1);
    await database.flush();
    const effect = { kind: "fail", code: "EIO" } as const;
    fileSystem.inject({ kinds: ["read"], path: /seg$/, repeat: Number.POSITIVE_INFINITY, effect });
    const results = await Promise.allSettled([
      database.put("a", 2, { ifValue: 1 }),
      database.put("a", 3, { ifAbsent: true }),
      database.put("b", 4, { ifAbsent: true }),
    ]);
    fileSystem.heal();
    expect(results).toMatchObject([
      { status: "rejected", reason: { code: "MEMKV_IO", cause: { code: "EIO" } } },
      { status: "fulfilled", value: false },
      { status: "fulfilled", value: true },
    ]);
    expect([...database.values()]).toEqual([1, 4]);
  });

  test("makes a counter that loses nothing", async () => {
    const database = await openInMemory();
    const increment = async (): Promise<void> => {
      for (;;) {
        const before = database.get("counter");
        if (await database.put("counter", (before ?? 0) + 1, { ifValue: before })) return;
      }
    };
    await Promise.all(Array.from({ length: 60 }, increment));
    expect(database.get("counter")).toBe(60);
  });

  test("is refused with its group when that cannot be written", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const database = await openFor<string, number>("store", { fileSystem, durability: "os" });
    await database.put("a", 1);
    fileSystem.limitBytes(0);
    const results = await Promise.allSettled([
      database.put("b", 1, { ifAbsent: true }),
      database.put("b", 2, { ifAbsent: true }),
    ]);
    for (const result of results) {
      expect(result).toMatchObject({ status: "rejected", reason: { code: "MEMKV_IO" } });
    }
    expect(database.has("b")).toBe(false);
    // A condition that does not hold in a group of its own writes nothing, so it has its answer.
    expect(await database.put("a", 2, { ifAbsent: true })).toBe(false);
  });

  test("agrees with one write after the other, whatever is issued at once", async () => {
    const anyKey = fc.constantFrom("", "a", "b");
    const anyValue = fc.nat(2);
    const anyWrite = fc.record({
      key: anyKey,
      value: fc.option(anyValue),
      condition: fc.oneof(
        fc.constant({}),
        fc.constant({ ifAbsent: true }),
        fc.record({ ifValue: fc.option(anyValue, { nil: undefined }) }),
      ),
    });
    const anyRounds = fc.array(fc.array(anyWrite, { maxLength: 12 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(anyRounds, async (rounds) => {
        const database = await openInMemory();
        const model = new Map<string, number>();
        for (const writes of rounds) {
          const outcomes = writes.map(({ key, value, condition }) => {
            const options = condition as { ifValue: number | undefined };
            if (value !== null) return database.put(key, value, options);
            const { ifValue } = options;
            return database.delete(key, "ifValue" in condition ? { ifValue } : ({} as never));
          });
          const expected = writes.map(({ key, value, condition }) => {
            const isAbsentAsked = "ifAbsent" in condition && value !== null;
            const isValueAsked = "ifValue" in condition;
            const isMet =
              (!isAbsentAsked || !model.has(key)) &&
              (!isValueAsked || model.get(key) === condition.ifValue);
            if (isMet && value !== null) model.set(key, value);
            else if (isMet) model.delete(key);
            return isAbsentAsked || isValueAsked ? isMet : undefined;
          });
          expect(await Promise.all(outcomes)).toEqual(expected);
          expect(new Map(database.entries())).toEqual(model);
        }
        await database.close();
      }),
      parameters(100),
    );
  });
});

describe("bad input", () => {
  test.each([
    [{ ifAbsent: 1 }],
    [{ ifAbsent: true, ifValue: 1 }],
    [{ ifVersion: 1 }],
    [{ ifValue: Symbol("x") }],
    [{ ifValue: 1, durability: "never" }],
  ])("%o is refused, and nothing written", async (options) => {
    const database = await openInMemory();
    await expect(database.put("a", 1, options as never)).rejects.toThrow(InvalidArgumentError);
    await expect(database.delete("a", options as never)).rejects.toThrow(InvalidArgumentError);
    expect(database.count()).toBe(0);
  });

  test("a delete has no use for ifAbsent", async () => {
    const database = await openInMemory();
    await expect(database.delete("a", { ifAbsent: true } as never)).rejects.toThrow(
      InvalidArgumentError,
    );
  });

  test("a closed database takes none", async () => {
    const database = await openInMemory();
    await database.close();
    await expect(database.put("a", 1, { ifAbsent: true })).rejects.toThrow(DatabaseError);
  });
});
