/**
 * Snapshots for other threads: attached, they show what the snapshot shows, whatever happens to that
 * and to the database meanwhile.
 */
import { once } from "node:events";
import {
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  attach,
  ClosedError,
  CorruptionError,
  type Database,
  InvalidArgumentError,
  type OpenOptions,
  open,
  type SharedSnapshot,
  type Snapshot,
  startsWith,
} from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { Random } from "../../src/testing/random.ts";
import { parameters } from "../model/parameters.ts";
import { SortedMap } from "../model/sorted-map.ts";
import { openFiles, openFor, temporaryDirectory } from "./harness.ts";
import { digest } from "./snapshot-digest.ts";
import type { Read, Reading } from "./snapshot-reader.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

type TextDatabase = Database<string, string>;
type TextSnapshot = Snapshot<string, string>;

const UTF8 = { valueEncoding: "utf8" } as const;
const SMALL: OpenOptions<string, string> = { ...UTF8, memtableBytes: 2 ** 17, segmentBytes: 4096 };

/** What another thread would be sent. */
function send(shared: SharedSnapshot): SharedSnapshot {
  return structuredClone(shared);
}

async function attachFor(shared: SharedSnapshot): Promise<TextSnapshot> {
  const snapshot = await attach<string, string>(send(shared), UTF8);
  onTestFinished(() => snapshot.close());
  return snapshot;
}

function expectSame(actual: TextSnapshot, expected: SortedMap, keys: readonly string[]): void {
  const entries = expected.entries();
  expect([...actual.entries()]).toEqual(entries);
  expect([...actual.entries({ reverse: true })]).toEqual(entries.toReversed());
  expect([...actual.keys()]).toEqual(entries.map(([key]) => key));
  expect(actual.getMany(keys)).toEqual(keys.map((key) => expected.get(key)));
  // Again, from the rows that were kept.
  expect(keys.map((key) => actual.get(key))).toEqual(keys.map((key) => expected.get(key)));
  expect(actual.count()).toBe(entries.length);
  for (const key of keys) {
    expect(actual.has(key)).toBe(expected.get(key) !== undefined);
    expect(actual.count({ gte: key })).toBe(expected.entries({ gte: key }).length);
  }
  expect(entries.map((_, i) => actual.at(i))).toEqual(entries.map(([key]) => key));
  expect([...actual.search(startsWith("k1"))]).toEqual(expected.entries({ prefix: "k1" }));
}

describe("whatever was written", () => {
  const anyKey = fc.nat(30).map((i) => `k${i}`);
  const anyStep = fc.oneof(
    { weight: 8, arbitrary: fc.tuple(fc.constant("put"), anyKey, fc.nat(200)) },
    { weight: 3, arbitrary: fc.tuple(fc.constant("expire"), anyKey, fc.nat(200)) },
    { weight: 3, arbitrary: fc.tuple(fc.constant("delete"), anyKey, fc.constant(0)) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("deleteRange"), anyKey, fc.nat(20)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("flush"), anyKey, fc.constant(0)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("compact"), anyKey, fc.constant(0)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("reopen"), anyKey, fc.constant(0)) },
  );
  const anySteps = fc.array(anyStep, { maxLength: 40 });

  test("an attached snapshot shows its moment, of whatever comes later nothing", async () => {
    await fc.assert(
      fc.asyncProperty(anySteps, anySteps, anySteps, async (before, between, after) => {
        const directory = temporaryDirectory();
        const clock = { time: 1000 };
        const options = { ...SMALL, background: "inline", now: () => clock.time } as const;
        let database = await open<string, string>(directory, options);
        const content = new SortedMap(clock);
        const run = async (steps: typeof before, mayReopen: boolean): Promise<void> => {
          for (const [kind, key, n] of steps) {
            clock.time += 1;
            const value = `${n} of ${key} `.repeat(n > 190 ? 500 : 1);
            if (kind === "put") {
              content.put(key, value);
              await database.put(key, value, { durability: "os" });
            } else if (kind === "expire") {
              content.put(key, value, n);
              await database.put(key, value, { ttl: n, durability: "os" });
            } else if (kind === "delete") {
              content.delete(key);
              await database.delete(key, { durability: "os" });
            } else if (kind === "deleteRange") {
              const range = { gte: key, lt: `k${n}` };
              content.deleteRange(range);
              await database.deleteRange(range, { durability: "os" });
            } else if (kind === "flush") {
              await database.flush();
            } else if (kind === "compact") {
              await database.compact();
            } else if (mayReopen) {
              await database.close();
              database = await open<string, string>(directory, options);
            }
          }
        };
        await run(before, true);
        const expected = content.moment();
        const snapshot = database.snapshot();
        await run(between, false);
        const shared = await snapshot.share();
        const attached = await attach<string, string>(send(shared), UTF8);
        snapshot.close();
        await run(after, true);
        clock.time += 500;
        const keys = Array.from({ length: 31 }, (_, i) => `k${i}`);
        try {
          expectSame(attached, expected, keys);
          await database.close();
          expectSame(attached, expected, keys);
        } finally {
          attached.close();
          await database.close();
          rmSync(directory, { recursive: true });
        }
      }),
      parameters(60),
    );
  });
});

describe("in other threads", () => {
  /** Node loads no TypeScript in a worker by itself; tsx does. */
  const READER = `
    import("tsx/esm/api").then(({ tsImport }) =>
      tsImport(${JSON.stringify(new URL("./snapshot-reader.ts", import.meta.url).href)}, {
        parentURL: ${JSON.stringify(import.meta.url)},
      }),
    );
  `;

  test("readers see their moments while the database is written, flushed and merged", async () => {
    const database = await openFor<string, string>(temporaryDirectory(), {
      ...SMALL,
      segmentBytes: 2 ** 16,
      background: "worker",
      durability: "os",
    });
    const random = new Random(11);
    const write = async (): Promise<void> => {
      await database.batch(
        Array.from({ length: 200 }, () => ({
          type: "put",
          key: `key ${random.below(3000)}`,
          value: `${random.next()} `.repeat(1 + random.below(8)),
        })),
      );
      const from = random.below(3000);
      if (random.oneIn(4)) await database.deleteRange({ gte: `key ${from}`, lt: `key ${from}5` });
    };
    for (let i = 0; i < 20; i++) await write();
    const workers = Array.from({ length: 2 }, () => new Worker(READER, { eval: true }));
    onTestFinished(() => void Promise.all(workers.map((worker) => worker.terminate())));
    for (let round = 0; round < 3; round++) {
      const isOver = new Int32Array(new SharedArrayBuffer(4));
      const expected: string[] = [];
      for (const worker of workers) {
        using snapshot = database.snapshot();
        await write();
        const shared = await snapshot.share();
        expected.push(digest(snapshot));
        worker.postMessage({ shared, isOver } satisfies Reading);
        expect(await once(worker, "message")).toEqual(["attached"]);
      }
      const answers = workers.map((worker) => once(worker, "message"));
      // Memtables are flushed, their memory is used again, and segments are replaced.
      for (let i = 0; i < 30; i++) await write();
      await database.compact();
      Atomics.store(isOver, 0, 1);
      for (const [i, answer] of answers.entries()) {
        const [{ digests, passes }] = (await answer) as [Read];
        expect([...digests]).toEqual([expected[i]]);
        expect(passes).toBeGreaterThan(0);
      }
    }
    expect(database.stats().pinned).toEqual([]);
  });
});

async function filled(directory: string, options = SMALL): Promise<TextDatabase> {
  const database = await openFor<string, string>(directory, options);
  await database.batch(
    Array.from({ length: 1000 }, (_, i) => ({
      type: "put",
      key: `key ${String(i).padStart(4, "0")}`,
      value: `value ${i} `.repeat(i % 100 === 0 ? 600 : 3),
    })),
  );
  await database.flush();
  return database;
}

const KEY = "key 0001";
const VALUE = "value 1 value 1 value 1 ";

test("what is in memory of segments is shared, also where it was read on demand", async () => {
  const directory = temporaryDirectory();
  await (await filled(directory)).close();
  const database = await openFor<string, string>(directory, SMALL);
  expect(database.get(KEY)).toBe(VALUE);
  using cursor = database.entries()[Symbol.iterator]();
  expect(cursor.next().value?.[0]).toBe("key 0000");
  using snapshot = database.snapshot();
  const [one, two] = [await snapshot.share(), await snapshot.share()].map(
    (shared) => Reflect.get(shared, "sections") as Map<number, { memory: SharedArrayBuffer }>,
  );
  expect(one.size).toBeGreaterThan(1);
  // Nothing is copied of a memtable without entries that the snapshot sees.
  await database.put("later", VALUE);
  expect(Reflect.get(await snapshot.share(), "memtables")).toEqual([]);
  for (const [fileNumber, { memory }] of one) {
    expect(memory).toBeInstanceOf(SharedArrayBuffer);
    expect(two.get(fileNumber)?.memory).toBe(memory);
  }
  // What was begun before goes on, and what begins now goes by what was read.
  expect([...cursor].length).toBe(999);
  expect([...database.entries()].length).toBe(1001);
  expect(database.get(KEY)).toBe(VALUE);
  expect(database.get("key 0002x")).toBe(undefined);
  await database.verify();
});

/** The views in a message that are of more than they show: a thread is sent all of it. */
function largeViews(message: unknown): unknown[] {
  if (ArrayBuffer.isView(message)) {
    return message.byteLength < message.buffer.byteLength ? [message] : [];
  }
  if (typeof message !== "object" || message === null) return [];
  const parts = message instanceof Map ? message.values() : Object.values(message);
  return [...parts].flatMap(largeViews);
}

test("nothing is sent but what is shared and what is needed", async () => {
  const directory = temporaryDirectory();
  const write = async (database: TextDatabase, key: string): Promise<void> => {
    await database.batch([
      { type: "put", key, value: VALUE },
      { type: "deleteRange", gte: `${key} a`, lt: `${key} b` },
    ]);
  };
  const first = await filled(directory);
  await write(first, "flushed");
  await first.compact();
  await write(first, "logged");
  await first.close();
  const database = await openFor<string, string>(directory, SMALL);
  await write(database, "written");
  using snapshot = database.snapshot();
  await write(database, "later");
  const shared = await snapshot.share();
  expect(largeViews(shared)).toEqual([]);
  const memtables = Reflect.get(shared, "memtables") as { arena: SharedArrayBuffer }[];
  expect(memtables.length).toBe(1);
  // What is in use of it, not what it may grow to.
  expect(memtables[0].arena.byteLength).toBeLessThan(SMALL.memtableBytes ?? 0);
});

test("of memtables the newest comes first, and files are where they were", async () => {
  const directory = temporaryDirectory();
  const database = await openFor<string, string>(relative(process.cwd(), directory), SMALL);
  using snapshot = ((): TextSnapshot => {
    // Within a turn none of them is flushed.
    for (let i = 0; i < 6; i++) database.putSync(KEY, `${i} `.repeat(20_000), { durability: "os" });
    return database.snapshot();
  })();
  const shared = await snapshot.share();
  expect((Reflect.get(shared, "memtables") as unknown[]).length).toBeGreaterThan(1);
  expect(Reflect.get(shared, "directory")).toBe(realpathSync(directory));
  expect((await attachFor(shared)).get(KEY)).toBe("5 ".repeat(20_000));
});

test("files are open as long as the snapshot is, or an iteration of it", async () => {
  if (process.platform !== "linux") return;
  const directory = temporaryDirectory();
  const database = await filled(directory);
  const before = openFiles(directory).length;
  const snapshot = database.snapshot();
  const attached = await attachFor(await snapshot.share());
  snapshot.close();
  expect(openFiles(directory).length).toBeGreaterThan(before);
  const iterator = attached.entries()[Symbol.iterator]();
  expect(iterator.next().value?.[0]).toBe("key 0000");
  attached.close();
  expect(() => attached.get(KEY)).toThrow(ClosedError);
  expect(() => iterator.next()).toThrow(ClosedError);
  await expect(attached.share()).rejects.toThrow(ClosedError);
  expect(openFiles(directory).length).toBe(before);
});

test("files of one that was never closed are let go of, with a warning", async () => {
  if (process.platform !== "linux") return;
  const directory = temporaryDirectory();
  const database = await filled(directory);
  using snapshot = database.snapshot();
  const shared = send(await snapshot.share());
  const before = openFiles(directory).length;
  const warnings: string[] = [];
  const logger = { warn: (message: string): void => void warnings.push(message) };
  await attach<string, string>(shared, { ...UTF8, logger });
  expect(openFiles(directory).length).toBeGreaterThan(before);
  for (let turn = 0; turn < 500 && warnings.length === 0; turn++) {
    collectGarbage();
    await setImmediate();
  }
  expect(warnings).toEqual([expect.stringContaining("a snapshot was never closed")]);
  expect(openFiles(directory).length).toBe(before);
});

test("an attached snapshot is read like another: values of any size, encodings, threads", async () => {
  const database = await filled(temporaryDirectory());
  using snapshot = database.snapshot();
  const attached = await attachFor(await snapshot.share());
  const stream = attached.getStream("key 0100");
  const pieces: Uint8Array[] = [];
  for await (const piece of stream ?? []) pieces.push(piece);
  expect(Buffer.concat(pieces).toString()).toBe(database.get("key 0100"));
  using bytes = attached.withEncodings({ keyEncoding: "utf8", valueEncoding: "binary" });
  expect(Buffer.from(bytes.get(KEY) ?? []).toString()).toBe(VALUE);
  const again = await attachFor(await attached.share());
  expect(again.get(KEY)).toBe(VALUE);
  const uncached = await attach<string, string>(send(await attached.share()), {
    ...UTF8,
    blockCacheBytes: 0,
  });
  expect(uncached.get(KEY)).toBe(VALUE);
  uncached.close();
});

test("a snapshot of a database opened for reading alone is shared, too", async () => {
  const directory = temporaryDirectory();
  const database = await filled(directory);
  await database.put("last", "in the log");
  const reader = await openFor<string, string>(directory, { ...SMALL, readOnly: true });
  using snapshot = reader.snapshot();
  const attached = await attachFor(await snapshot.share());
  expect([attached.get("last"), attached.get(KEY)]).toEqual(["in the log", VALUE]);
});

test("a snapshot that was closed too early cannot be attached, and opens nothing", async () => {
  const directory = temporaryDirectory();
  const database = await filled(directory);
  const snapshot = database.snapshot();
  const shared = await snapshot.share();
  const sharing = snapshot.share();
  snapshot.close();
  // Its own pin keeps what it describes.
  await expect(sharing).resolves.toBeDefined();
  await database.deleteRange({});
  await database.compact();
  const before = openFiles(directory).length;
  await expect(attach(send(shared), UTF8)).rejects.toThrow(ClosedError);
  expect(openFiles(directory).length).toBe(before);
  await expect(snapshot.share()).rejects.toThrow(ClosedError);
});

test("a database that is closed while a snapshot of it is shared says so", async () => {
  const directory = temporaryDirectory();
  await (await filled(directory)).close();
  // Closed at once: there is nothing to write.
  const database = await openFor<string, string>(directory, { ...SMALL, readOnly: true });
  const snapshot = database.snapshot();
  const sharing = snapshot.share().catch((error: unknown) => error);
  await database.close();
  expect(await sharing).toBeInstanceOf(ClosedError);
});

test("one that was attached is shared on as long as the database's own is open", async () => {
  const database = await filled(temporaryDirectory());
  const snapshot = database.snapshot();
  const attached = await attachFor(await snapshot.share());
  await database.deleteRange({});
  await database.compact();
  expect((await attachFor(await attached.share())).get(KEY)).toBe(VALUE);
  snapshot.close();
  // Waits until files are removed.
  await database.close();
  await expect(attach(send(await attached.share()), UTF8)).rejects.toThrow(
    "the database's snapshot was closed before it was attached",
  );
  expect(attached.get(KEY)).toBe(VALUE);
});

test("what cannot be shared or attached is refused", async () => {
  const inMemory = await openFor<string, string>(":memory:", UTF8);
  using memorySnapshot = inMemory.snapshot();
  await expect(memorySnapshot.share()).rejects.toThrow(
    "only a database on the system's disk can be shared",
  );
  const ownFiles = await openFor<string, string>("store", { fileSystem: new MemoryFileSystem() });
  using ownSnapshot = ownFiles.snapshot();
  await expect(ownSnapshot.share()).rejects.toThrow(InvalidArgumentError);

  const database = await filled(temporaryDirectory());
  using snapshot = database.snapshot();
  const shared = await snapshot.share();
  await expect(attach(shared)).rejects.toThrow(
    'the database was created with valueEncoding "utf8", so it cannot be opened with "msgpack"',
  );
  await expect(
    attach(shared, { ...UTF8, blockCacheByte: 1 } as unknown as typeof UTF8),
  ).rejects.toThrow(
    'unknown option "blockCacheByte": accepted are keyEncoding, valueEncoding, blockCacheBytes, logger',
  );
  const asJson: unknown = JSON.parse(JSON.stringify(shared));
  const others = [undefined, null, 1, "snapshot", {}, { memkv: "snapshot 0" }, snapshot, asJson];
  for (const wrong of others) {
    await expect(attach(wrong as unknown as SharedSnapshot)).rejects.toThrow(
      "attach takes what share returned, in the same release of memkv",
    );
  }
});

test("damage is told where it is met: by share, by attach, or by the read", async () => {
  const directory = temporaryDirectory();
  await (await filled(directory)).close();
  const [name] = readdirSync(directory).filter((file) => file.endsWith(".seg"));
  const path = join(directory, name);
  const bytes = readFileSync(path);
  const damage = (offset: number): void => {
    const damaged = Buffer.from(bytes);
    damaged[offset] ^= 0x10;
    writeFileSync(path, damaged);
  };
  const database = await openFor<string, string>(directory, SMALL);
  using snapshot = database.snapshot();
  damage(bytes.length - 400);
  await expect(snapshot.share()).rejects.toThrow(CorruptionError);
  writeFileSync(path, bytes);
  const shared = await snapshot.share();

  renameSync(path, `${path}.aside`);
  writeFileSync(path, bytes.subarray(0, bytes.length - 1));
  await expect(attach(send(shared), UTF8)).rejects.toThrow(CorruptionError);
  rmSync(path);
  renameSync(`${path}.aside`, path);

  // What was in memory is not read again.
  damage(bytes.length - 400);
  const attached = await attachFor(shared);
  expect(attached.count()).toBe(1000);
  damage(100);
  expect(() => [...attached.entries()]).toThrow(CorruptionError);
  writeFileSync(path, bytes);
  expect([...attached.entries()].length).toBe(1000);
});

test("a file that cannot be opened is the system's error", async () => {
  const directory = temporaryDirectory();
  const database = await filled(directory);
  using snapshot = database.snapshot();
  const shared = await snapshot.share();
  const [name] = readdirSync(directory).filter((file) => file.endsWith(".seg"));
  // A file where the directory should be.
  const misled = { ...shared, directory: join(directory, name) };
  await expect(attach(misled, UTF8)).rejects.toThrow(
    expect.objectContaining({ code: "MEMKV_IO", message: expect.stringContaining("ENOTDIR") }),
  );
});
