import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Database, type FileSystem, open, repair } from "../../src/index.ts";
import {
  CrashFileSystem,
  type CrashPoint,
  FaultFileSystem,
  MemoryFileSystem,
} from "../../src/testing/index.ts";
import { gate, openFor, temporaryDirectory, withoutLock } from "./harness.ts";

const LARGE = "large ".repeat(2000);
const OPTIONS = {
  valueEncoding: "utf8",
  durability: "os",
  // Training tables takes more time than the rest.
  compression: "none",
  memtableBytes: 2 ** 17,
} as const;

type Texts = Database<string, string>;

function openTexts(directory: string, fileSystem?: FileSystem): Promise<Texts> {
  return openFor<string, string>(directory, { ...OPTIONS, ...(fileSystem && { fileSystem }) });
}

/** A closed database of one run, with keys `prefix0` and so on. */
async function shard(directory: string, prefix: string, fileSystem?: FileSystem): Promise<void> {
  const db = await openTexts(directory, fileSystem);
  for (let i = 0; i < 40; i++) await db.put(`${prefix}${i}`, `${prefix} ${i}`);
  await db.flush();
  await db.close();
}

/** A disk, and the moments before each operation of some work on it. */
function watched() {
  let points: CrashPoint[] | undefined;
  const fileSystem = new CrashFileSystem({
    onOperation: () => points?.push(fileSystem.crashPoint()),
  });
  const pointsOf = async (work: () => Promise<unknown>): Promise<readonly CrashPoint[]> => {
    const taken: CrashPoint[] = [];
    points = taken;
    await work();
    points = undefined;
    return taken;
  };
  return { fileSystem, pointsOf };
}

function allOf(db: Texts): [string, string][] {
  return [...db.entries()];
}

describe("ingest", () => {
  test("puts shards of disjoint keys into one run, copied as they are", async () => {
    const root = temporaryDirectory();
    for (const part of ["c", "a", "b"]) await shard(join(root, part), part);
    const db = await openTexts(join(root, "db"));
    await db.put("a1", "old");
    await db.put("own", "1");
    const progress: number[] = [];
    const report = await db.ingest(
      ["c", "a", "b"].map((part) => join(root, part)),
      { onProgress: ({ entriesDone, entries }) => progress.push(entriesDone / entries) },
    );
    expect(report).toMatchObject({ entries: 120, segments: 3, copiedSegments: 3 });
    expect(progress).toEqual([1 / 3, 2 / 3, 1]);
    expect(db.get("a1")).toBe("a 1");
    expect(db.get("own")).toBe("1");
    expect(db.count()).toBe(121);
    const { runs, written } = db.stats();
    expect(runs.map(({ keyCount }) => keyCount)).toEqual([120, 2]);
    expect(written.ingest).toBe(report.bytes);
    await db.verify();
    await db.put("a1", "newer");
    const before = allOf(db);
    await db.close();
    const again = await openTexts(join(root, "db"));
    expect(again.recovery.dropped).toEqual([]);
    expect(allOf(again)).toEqual(before);
    await again.compact();
    expect(allOf(again)).toEqual(before);
    await again.verify();
  });

  test("leaves the sources as they were, and may come from an open one", async () => {
    const root = temporaryDirectory();
    const source = await openTexts(join(root, "source"));
    await source.put("a", "flushed");
    await source.flush();
    await source.put("b", "in the log");
    const names = withoutLock(readdirSync(join(root, "source")));
    const db = await openTexts(join(root, "db"));
    await db.ingest([join(root, "source")]);
    expect(allOf(db)).toEqual([
      ["a", "flushed"],
      ["b", "in the log"],
    ]);
    expect(withoutLock(readdirSync(join(root, "source")))).toEqual(names);
    await source.put("c", "still writable");
  });

  test("takes what is there of several runs, and deletes nothing", async () => {
    const root = temporaryDirectory();
    const source = await openTexts(join(root, "source"));
    for (let i = 0; i < 20; i++) await source.put(`k${i}`, "older");
    await source.put("large", LARGE);
    await source.flush();
    await source.put("k1", "newer");
    await source.delete("k2");
    await source.deleteRange({ gte: "k3", lt: "k4" });
    await source.flush();
    await source.delete("k5");
    await source.close();
    const db = await openTexts(join(root, "db"));
    for (const key of ["k2", "k3", "k5"]) await db.put(key, "own");
    const report = await db.ingest([join(root, "source")]);
    expect(report).toMatchObject({ copiedSegments: 0 });
    expect(db.get("k0")).toBe("older");
    expect(db.get("k1")).toBe("newer");
    for (const key of ["k2", "k3", "k5"]) expect(db.get(key)).toBe("own");
    expect(db.get("large")).toBe(LARGE);
    expect(db.stats().valueLogs.count).toBe(1);
    await db.verify();
  });

  test("codes what it merges as a compaction does", async () => {
    // It learnt from one pass over all entries, on the calling thread, and from 16,384 keys at most.
    const fileSystem = new MemoryFileSystem();
    const options = {
      ...OPTIONS,
      fileSystem,
      memtableBytes: 2 ** 22,
      compression: "auto",
    } as const;
    const source = await openFor<string, string>("/source", options);
    for (let i = 0; i < 20_000; i++) {
      const hash = createHash("sha1").update(`${i}`).digest("hex");
      void source.put(`${hash.slice(0, 8)}/${i}`, hash.slice(8, 8 + (i % 8)));
      if (i % 10_000 === 9_999) await source.flush();
    }
    expect(source.stats().runs.length).toBe(2);
    const db = await openFor<string, string>("/db", options);
    const { bytes } = await db.ingest(["/source"]);
    await source.compact();
    expect(source.stats().runs).toMatchObject([{ segmentCount: 1, fileBytes: bytes }]);
  });

  test("of a segment file takes that segment, with its large values", async () => {
    const root = temporaryDirectory();
    await shard(join(root, "source"), "a");
    const source = await openTexts(join(root, "source"));
    await source.put("large", LARGE);
    await source.flush();
    await source.close();
    const segments = readdirSync(join(root, "source")).filter((name) => name.endsWith(".seg"));
    expect(segments.length).toBe(2);
    const db = await openTexts(join(root, "db"));
    for (const name of segments) await db.ingest([join(root, "source", name)]);
    expect(db.count()).toBe(41);
    expect(db.get("large")).toBe(LARGE);
    await db.verify();
  });

  test("keeps expiries, and leaves out what has expired", async () => {
    const fileSystem = new MemoryFileSystem();
    let now = 1000;
    const options = { ...OPTIONS, fileSystem, now: () => now };
    const source = await openFor<string, string>("/source", options);
    await source.put("short", "1", { ttl: 10 });
    await source.put("long", "1", { ttl: 1000 });
    await source.flush();
    await source.close();
    const db = await openFor<string, string>("/db", options);
    await db.put("short", "own");
    now = 1100;
    await db.ingest(["/source"]);
    expect(allOf(db)).toEqual([
      ["long", "1"],
      ["short", "own"],
    ]);
    now = 2000;
    expect(allOf(db)).toEqual([["short", "own"]]);
    expect(db.count()).toBe(1);
  });

  test("of what several sources have takes the last", async () => {
    const fileSystem = new MemoryFileSystem();
    for (const [name, keys] of [
      ["/1", "abc"],
      ["/2", "bcd"],
      ["/3", "ce"],
    ]) {
      const source = await openTexts(name, fileSystem);
      for (const key of keys) await source.put(key, name);
      await source.close();
    }
    const db = await openTexts("/db", fileSystem);
    await db.ingest(["/1", "/2", "/3"]);
    expect(Object.fromEntries(allOf(db))).toEqual({
      a: "/1",
      b: "/2",
      c: "/3",
      d: "/2",
      e: "/3",
    });
    await db.verify();
  });

  test("is not seen by who looks at an earlier moment, and makes transactions run again", async () => {
    const fileSystem = new MemoryFileSystem();
    await shard("/source", "a", fileSystem);
    const db = await openTexts("/db", fileSystem);
    await db.put("a1", "own");
    const snapshot = db.snapshot();
    const iterator = db.keys()[Symbol.iterator]();
    expect(iterator.next().value).toBe("a1");
    let runs = 0;
    await db.transaction(async (tx) => {
      const seen = tx.get("a1");
      if (runs++ === 0) await db.ingest(["/source"]);
      tx.put("copy", `${seen}`);
    });
    expect(runs).toBe(2);
    expect(db.get("copy")).toBe("a 1");
    expect([...snapshot.keys()]).toEqual(["a1"]);
    expect(iterator.next().done).toBe(true);
    expect(db.count({ prefix: "a" })).toBe(40);
    snapshot.close();
  });

  test("ends what is remembered of deleted stretches and counted", async () => {
    const fileSystem = new MemoryFileSystem();
    await shard("/source", "a", fileSystem);
    const db = await openTexts("/db", fileSystem);
    for (let i = 0; i < 3000; i++) void db.put(`a${i}`, "");
    for (let i = 0; i < 3000; i++) void db.delete(`a${i}`);
    await db.sync();
    expect([...db.keys()]).toEqual([]);
    expect(db.count()).toBe(0);
    await db.ingest(["/source"]);
    expect([...db.keys()].length).toBe(40);
    expect(db.count()).toBe(40);
    expect(db.rank("a1")).toBe(1);
  });

  test("comes after writes that were accepted before it, and before those after", async () => {
    const fileSystem = new MemoryFileSystem();
    await shard("/source", "a", fileSystem);
    const db = await openTexts("/db", fileSystem);
    const before = db.put("a1", "before");
    let written = 0;
    const ingest = db.ingest(["/source"], { onProgress: () => void db.put(`b${written++}`, "") });
    await Promise.all([before, ingest]);
    expect(written).toBeGreaterThan(0);
    expect(db.get("a1")).toBe("a 1");
    await db.put("a1", "after");
    await db.compact();
    expect(db.get("a1")).toBe("after");
    expect(db.count()).toBe(40 + written);
  });

  test("is put in its place in time by repair, without a manifest", async () => {
    const root = temporaryDirectory();
    await shard(join(root, "source"), "a");
    const db = await openTexts(join(root, "db"));
    await db.put("a1", "older");
    await db.put("a2", "older");
    await db.ingest([join(root, "source")]);
    await db.put("a2", "newer");
    await db.flush();
    const before = allOf(db);
    await db.close();
    writeFileSync(join(root, "db/MANIFEST"), "");
    const { missing } = await repair(join(root, "db"), join(root, "mended"), {
      valueEncoding: "utf8",
      background: "inline",
    });
    expect(missing).toEqual([]);
    expect(allOf(await openTexts(join(root, "mended")))).toEqual(before);
  });

  test("is found by repair after segments that covered keys of each other", async () => {
    // A segment covers the keys of tombstones that were dropped when it was written. Those that lie
    // before its first key may have been put again since, into a segment that stands before it in the
    // run. Both copies get the same number: one was taken for merged into the other.
    const root = temporaryDirectory();
    const source = await openFor<string, string>(join(root, "source"), {
      ...OPTIONS,
      segmentBytes: 2 ** 16,
    });
    const hashOf = (i: number) => createHash("sha512").update(`${i}`).digest("hex");
    for (let i = 0; i < 400; i++) await source.put(`c${i}`, hashOf(i));
    await source.flush();
    await source.delete("b");
    await source.compact();
    for (let i = 0; i < 200; i++) await source.put(`b${i}`, hashOf(i));
    await source.compact();
    await source.close();
    const merged = await openTexts(join(root, "source"));
    expect(merged.stats().runs).toMatchObject([{ segmentCount: 2 }]);
    await merged.close();
    const db = await openTexts(join(root, "db"));
    await db.ingest([join(root, "source")]);
    await db.close();
    rmSync(join(root, "db/MANIFEST"));
    const { keys, missing } = await repair(join(root, "db"), join(root, "mended"), {
      valueEncoding: "utf8",
      background: "inline",
    });
    expect([keys, missing]).toEqual([600, []]);
  });

  test("that a crash cut short is passed over by repair, without a manifest", async () => {
    // The copies had the sequence numbers of the source, until they were given new ones: they were
    // taken for what segments of the database had been merged into, and what these had was lost.
    const { fileSystem, pointsOf } = watched();
    await shard("/source", "a", fileSystem);
    const db = await openTexts("/db", fileSystem);
    for (const key of ["a1", "a2-"]) await db.put(key, "own");
    await db.flush();
    const points = await pointsOf(() => db.ingest(["/source"]));
    const found = new Set<string>();
    for (const [seed, point] of points.entries()) {
      for (const state of point.states({ seed, count: 4 })) {
        await state.remove("/db/MANIFEST");
        const options = { fileSystem: state, valueEncoding: "utf8", background: "inline" } as const;
        await repair("/db", "/mended", options);
        const mended = await open<string, string>("/mended", { ...OPTIONS, ...options });
        found.add(`${mended.count()} ${mended.get("a1")} ${mended.get("a2-")}`);
        await mended.close();
      }
    }
    expect(found).toEqual(new Set(["2 own own", "41 a 1 own"]));
  });

  test("ends with a database that takes no more writes", async () => {
    const memory = new MemoryFileSystem();
    await shard("/source", "a", memory);
    await shard("/other", "b", memory);
    const fileSystem = new FaultFileSystem(memory);
    const db = await openFor<string, string>("/db", { ...OPTIONS, fileSystem });
    let sources = 0;
    let poisoning: Promise<unknown> | undefined;
    const ingest = db.ingest(["/source", "/other"], {
      onProgress: () => {
        sources++;
        fileSystem.inject({ kinds: ["sync"], path: /wal$/, effect: { kind: "fail", code: "EIO" } });
        poisoning ??= db.put("own", "1", { durability: "sync" }).catch(() => {});
      },
    });
    await expect(ingest).rejects.toMatchObject({ code: "MEMKV_POISONED" });
    await poisoning;
    expect(sources).toBe(1);
    expect((await memory.list("/db")).filter((name) => name.endsWith(".seg"))).toEqual([]);
  });

  test("takes sources as they are found, however the database was opened", async () => {
    const fileSystem = new MemoryFileSystem();
    await shard("/source", "a", fileSystem);
    const options = { ...OPTIONS, fileSystem, errorIfExists: true } as const;
    const db = await openFor<string, string>("/db", options);
    const paths = ["/source"];
    const ingest = db.ingest(paths);
    paths.push("/nowhere");
    expect(await ingest).toMatchObject({ entries: 40 });
  });

  test("does not pass over damage in a source where the database would in its own", async () => {
    const root = temporaryDirectory();
    const source = await openTexts(join(root, "source"));
    for (let i = 0; i < 40; i++) await source.put(`a${i}`, "a");
    await source.close();
    const names = readdirSync(join(root, "source")).filter((each) => each.endsWith(".wal"));
    const path = join(root, "source", names.sort().slice(-1)[0]);
    const bytes = readFileSync(path);
    bytes[200] ^= 1;
    writeFileSync(path, bytes);
    const db = await openFor(join(root, "db"), { ...OPTIONS, recovery: "salvage" });
    const damage = { code: "MEMKV_CORRUPTION", file: path };
    await expect(db.ingest([join(root, "source")])).rejects.toMatchObject(damage);
    expect(db.count()).toBe(0);
  });

  test("makes a transaction run again after other memtables were flushed", async () => {
    // Memtables that were kept for another transaction were given up after the ingest, and with each
    // the moment from which on transactions can be judged was set back to before the ingest.
    const fileSystem = new MemoryFileSystem();
    const source = await openTexts("/source", fileSystem);
    await source.put("a", "ingested");
    await source.close();
    const db = await openTexts("/db", fileSystem);
    await db.put("a", "own");
    const { promise, resolve } = gate();
    const older = db.transaction(() => promise);
    await db.put("b", "1");
    await db.flush();
    await db.put("b", "2");
    let runs = 0;
    await db.transaction(async (tx) => {
      const seen = tx.get("a");
      if (runs++ === 0) {
        await db.put("b", "3");
        await db.ingest(["/source"]);
        await db.put("b", "4");
        await db.flush();
      }
      tx.put("copy", `${seen}`);
    });
    resolve();
    await older;
    expect([runs, db.get("copy")]).toEqual([2, "ingested"]);
  });

  test("is seen whole from the step on in which it is seen", async () => {
    // Between the new Version and what goes with it lay some microtasks, in which a stretch of keys
    // counted as deleted, and what expires as lasting.
    for (let steps = 0; steps < 40; steps++) {
      let now = 1000;
      let onSync: (() => void) | undefined;
      class WatchedFileSystem extends MemoryFileSystem {
        override async syncDirectory(directory: string): Promise<void> {
          await super.syncDirectory(directory);
          onSync?.();
        }
      }
      const fileSystem = new WatchedFileSystem();
      const options = { ...OPTIONS, fileSystem, now: () => now };
      const source = await openFor<string, string>("/source", options);
      for (let i = 0; i < 5; i++) await source.put(`a${i}`, "");
      await source.put("b", "", { ttl: 1000 });
      await source.close();
      const db = await openFor<string, string>("/db", options);
      await db.put("c", "");
      await db.flush();
      for (let i = 0; i < 100; i++) await db.delete(`a${1000 + i}`);
      await db.flush();
      expect([...db.keys()]).toEqual(["c"]);
      const looks: Promise<void>[] = [];
      const look = async (): Promise<void> => {
        for (let step = 0; step < steps; step++) await undefined;
        const isThere = db.has("a1");
        now = 3000;
        expect([...db.keys()]).toEqual(isThere ? ["a0", "a1", "a2", "a3", "a4", "c"] : ["c"]);
        now = 1000;
      };
      onSync = () => looks.push(look());
      await db.ingest(["/source"]);
      onSync = undefined;
      await Promise.all(looks);
      expect(looks.length).toBeGreaterThan(0);
      await db.close();
    }
  });

  test("knows its own directory by any path", async () => {
    const root = temporaryDirectory();
    symlinkSync(root, join(root, "link"), "junction");
    const invalid = { code: "MEMKV_INVALID_ARGUMENT" };
    const db = await openTexts(join(root, "db"));
    for (const path of [`${root}/db/`, `${root}//db`, `${root}/./db`, join(root, "link/db")]) {
      await expect(db.ingest([path])).rejects.toMatchObject(invalid);
    }
    await db.close();
    const inMemory = await openTexts("/db", new MemoryFileSystem());
    await expect(inMemory.ingest(["db/"])).rejects.toMatchObject(invalid);
  });

  test("refuses what is no source, and is then as it was", async () => {
    const root = temporaryDirectory();
    await shard(join(root, "source"), "a");
    const other = await openFor(join(root, "other"), { valueEncoding: "json" });
    await other.put("a", 1);
    await other.close();
    writeFileSync(join(root, "file"), "no segment");
    const db = await openTexts(join(root, "db"));
    await db.put("own", "1");
    const good = join(root, "source");
    const invalid = { code: "MEMKV_INVALID_ARGUMENT" };
    for (const sources of [[], "source", [1], [""], [good, ""]] as string[][]) {
      await expect(db.ingest(sources)).rejects.toMatchObject(invalid);
    }
    for (const name of ["db", "other", "file"]) {
      await expect(db.ingest([good, join(root, name)])).rejects.toMatchObject(invalid);
    }
    await expect(db.ingest([good], { verify: 1 } as object)).rejects.toMatchObject(invalid);
    const missing = { code: "MEMKV_NOT_FOUND" };
    await expect(db.ingest([good, join(root, "nowhere")])).rejects.toMatchObject(missing);
    expect(allOf(db)).toEqual([["own", "1"]]);
    await db.flush();
    const segments = readdirSync(join(root, "db")).filter((name) => name.endsWith(".seg"));
    expect(segments.length).toBe(1);
    const reader = await openFor(join(root, "source"), { readOnly: true, valueEncoding: "utf8" });
    await expect(reader.ingest([good])).rejects.toMatchObject({ code: "MEMKV_READ_ONLY" });
  });

  test("finds damage before anything is there of it, unless told not to look", async () => {
    const root = temporaryDirectory();
    await shard(join(root, "source"), "a");
    const [name] = readdirSync(join(root, "source")).filter((each) => each.endsWith(".seg"));
    const path = join(root, "source", name);
    const bytes = readFileSync(path);
    // Inside the first value block.
    bytes[100] ^= 1;
    writeFileSync(path, bytes);
    const db = await openTexts(join(root, "db"));
    const damage = { code: "MEMKV_CORRUPTION", file: path };
    await expect(db.ingest([join(root, "source")])).rejects.toMatchObject(damage);
    expect(db.count()).toBe(0);
    await db.ingest([join(root, "source")], { verify: false });
    expect(db.count()).toBe(40);
    await expect(db.verify()).rejects.toMatchObject({ code: "MEMKV_CORRUPTION" });
  });

  test("ends with the database, and leaves nothing", async () => {
    const fileSystem = new MemoryFileSystem();
    await shard("/source", "a", fileSystem);
    const db = await openTexts("/db", fileSystem);
    let closing: Promise<void> | undefined;
    const ingest = db.ingest(["/source", "/source"], {
      onProgress: () => {
        closing ??= db.close();
      },
    });
    await expect(ingest).rejects.toMatchObject({ code: "MEMKV_CLOSED" });
    await closing;
    expect((await fileSystem.list("/db")).filter((name) => name.endsWith(".seg"))).toEqual([]);
  });

  test.each(["segments", "logs"])(
    "ends with the database while it learns from %s",
    async (kind) => {
      // It learnt in one go: from one turn of the event loop to the next, in which nothing could end it.
      const fileSystem = new MemoryFileSystem();
      const options = { ...OPTIONS, fileSystem, memtableBytes: 2 ** 24 };
      const source = await openFor<string, string>("/source", options);
      for (let i = 0; i < 20_000; i++) {
        const hash = createHash("sha1").update(`${i}`).digest("hex");
        void source.put(`${hash.slice(0, 8)}/${i}`, `${hash.slice(0, i % 8)} is some text`);
        if (kind === "segments" && i % 10_000 === 9_999) await source.flush();
      }
      await source.sync();
      const db = await openFor<string, string>("/db", { ...options, compression: "auto" });
      let progress = 0;
      const ingest = db.ingest(["/source"], { onProgress: () => progress++ });
      for (let turns = 0; turns < 50; turns++) await setImmediate();
      expect(progress).toBe(0);
      await Promise.all([
        expect(ingest).rejects.toMatchObject({ code: "MEMKV_CLOSED" }),
        db.close(),
      ]);
      expect(progress).toBe(0);
      expect((await fileSystem.list("/db")).filter((name) => name.endsWith(".seg"))).toEqual([]);
    },
  );

  test("that fails at any operation happened or did not, and leaves no file behind", async () => {
    const memory = new MemoryFileSystem();
    await shard("/source", "a", memory);
    const large = await openTexts("/large", memory);
    await large.put("large", LARGE);
    await large.flush();
    await large.close();
    for (let nth = 1, isStruck = true; isStruck; nth++) {
      const fileSystem = new FaultFileSystem(memory);
      const directory = `/db${nth}`;
      const db = await openTexts(directory, fileSystem);
      await db.put("own", "1");
      fileSystem.inject({ nth, effect: { kind: "fail", code: "ENOSPC" } });
      const failure = await db.ingest(["/source", "/large"]).then(
        () => undefined,
        (error: unknown) => error,
      );
      const isDone = failure === undefined;
      isStruck = fileSystem.plannedFaults === 0;
      fileSystem.heal();
      expect(db.count()).toBe(isDone ? 42 : 1);
      await db.close().catch(() => {});
      const isPoisoned = (failure as { code?: unknown })?.code === "MEMKV_POISONED";
      // The next open removes what nothing refers to.
      const names = await memory.list(directory);
      const left = names.filter((name) => name.endsWith(".seg")).length;
      const again = await openTexts(directory, memory);
      // Of a manifest that could not be synced a crash finds the old one or the new one.
      expect(isDone ? [42] : [1, 42]).toContain(again.count());
      await again.verify();
      const live = again.stats().runs.reduce((sum, { segmentCount }) => sum + segmentCount, 0);
      // Of a manifest that could not be synced it is unknown which segments it names.
      if (!isPoisoned) expect(left).toBe(live);
      if (!isStruck) expect(nth).toBeGreaterThan(20);
    }
  });

  test("is there whole or not at all after a crash, and whole once it has resolved", async () => {
    const { fileSystem, pointsOf } = watched();
    await shard("/source", "a", fileSystem);
    const db = await openTexts("/db", fileSystem);
    await db.put("own", "1");
    await db.flush();
    const points = await pointsOf(() => db.ingest(["/source"]));
    const after = fileSystem.crashPoint();
    expect(points.length).toBeGreaterThan(10);
    const counts = new Set<number>();
    for (const [seed, point] of [...points, after].entries()) {
      for (const state of point.states({ seed, count: 8 })) {
        const again = await open("/db", { ...OPTIONS, fileSystem: state, background: "inline" });
        counts.add(again.count());
        expect(point === after ? [41] : [1, 41]).toContain(again.count());
        await again.verify();
        await again.close();
      }
    }
    expect(counts).toEqual(new Set([1, 41]));
  });

  test("does what putting every entry would", async () => {
    const key = fc.constantFrom("", "a", "aa", "ab", "b", "ba", "c");
    const operation = fc.record({
      database: fc.constantFrom("/0", "/1", "/2"),
      kind: fc.constantFrom("put", "put", "put", "delete", "deleteRange", "flush", "compact"),
      key,
      other: key,
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(operation, fc.constant("ingest" as const)), { maxLength: 40 }),
        async (steps) => {
          const fileSystem = new MemoryFileSystem();
          const databases = new Map<string, Texts>();
          const models = new Map<string, Map<string, string>>();
          for (const name of ["/0", "/1", "/2"]) {
            const options = { ...OPTIONS, fileSystem, background: "inline" } as const;
            databases.set(name, await open<string, string>(name, options));
            models.set(name, new Map());
          }
          const of = (name: string) => {
            const db = databases.get(name);
            const model = models.get(name);
            if (db === undefined || model === undefined) throw new Error(name);
            return { db, model };
          };
          for (const [i, step] of steps.entries()) {
            if (step === "ingest") {
              await of("/0").db.ingest(["/1", "/2"]);
              for (const name of ["/1", "/2"]) {
                for (const [k, v] of of(name).model) of("/0").model.set(k, v);
              }
            } else {
              const { db, model } = of(step.database);
              const { kind, key, other } = step;
              if (kind === "put") {
                await db.put(key, `${i}`);
                model.set(key, `${i}`);
              } else if (kind === "delete") {
                await db.delete(key);
                model.delete(key);
              } else if (kind === "deleteRange" && key < other) {
                await db.deleteRange({ gte: key, lt: other });
                for (const k of model.keys()) if (k >= key && k < other) model.delete(k);
              } else if (kind === "flush") await db.flush();
              else if (kind === "compact") await db.compact();
            }
            const { db, model } = of("/0");
            expect(new Map(db.entries())).toEqual(model);
            expect(db.count()).toBe(model.size);
          }
          await of("/0").db.verify();
          for (const name of ["/0", "/1", "/2"]) {
            const { db, model } = of(name);
            await db.close();
            const again = await open(name, { ...OPTIONS, fileSystem, background: "inline" });
            expect(new Map(again.entries())).toEqual(model);
            await again.close();
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
