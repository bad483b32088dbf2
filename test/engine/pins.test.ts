/** What is pinned: stats say so, and what was forgotten is let go of, with a warning. */
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { DeadRange } from "../../src/engine/dead-range.ts";
import { Pins } from "../../src/engine/pins.ts";
import type { OpenVersion } from "../../src/engine/sources.ts";
import { type Database, open, type Snapshot, type WarningEvent } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { Memtable } from "../../src/memtable/memtable.ts";
import { openFor } from "./harness.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

interface Opened {
  readonly database: Database<string, string>;
  readonly warnings: WarningEvent[];
  readonly logged: string[];
  readonly clock: { time: number };
}

async function openWithClock(): Promise<Opened> {
  const warnings: WarningEvent[] = [];
  const logged: string[] = [];
  const clock = { time: 1000 };
  const database = await openFor<string, string>("store", {
    fileSystem: new MemoryFileSystem(),
    now: () => clock.time,
    logger: { warn: (message) => logged.push(message) },
  });
  database.on("warning", (event) => warnings.push(event));
  return { database, warnings, logged, clock };
}

/** Collects garbage until something shows, which takes a few turns. */
async function collectUntil(isThere: () => boolean): Promise<void> {
  for (let turn = 0; turn < 500 && !isThere(); turn++) {
    collectGarbage();
    await setImmediate();
  }
}

function ignore(): void {
  // Of no interest here.
}

test("pins hold each memtable of each of them, until it is let go", () => {
  const pins = new Pins(
    () => 0,
    ignore,
    ignore,
    new DeadRange(),
    () => 0,
  );
  const version = { hold: ignore, release: ignore } as unknown as OpenVersion;
  const [a, b, c, other] = [1, 2, 3, 4].map(() => new Memtable(0));
  const taken = [[a, b], [b], [c, a]].map((memtables) =>
    pins.take("snapshot", { memtables, version }, 1, 0),
  );
  const held = (): boolean[] => [a, b, c, other].map((memtable) => pins.holds(memtable));
  expect(held()).toEqual([true, true, true, false]);
  taken[0].release();
  expect(held()).toEqual([true, true, true, false]);
  taken[1].release();
  expect(held()).toEqual([true, false, true, false]);
  taken[2].release();
  expect(held()).toEqual([false, false, false, false]);
});

describe("stats of what is pinned", () => {
  test("of a transaction goes with it, iterations and streams that it left half-way included", async () => {
    const database = await openFor<string, string>(":memory:");
    await database.batch(["a", "b", "c"].map((key) => ({ type: "put", key, value: key })));
    const kinds = await database.transaction(async (transaction) => {
      for (const range of [{}, { reverse: true }])
        transaction.keys(range)[Symbol.iterator]().next();
      transaction.getStream("a");
      transaction.put("b", "written");
      return database.stats().pinned.map(({ kind }) => kind);
    });
    expect(kinds).toEqual(["transaction", "iteration", "iteration", "stream"]);
    expect(database.stats().pinned).toEqual([]);
  });

  test("say who, since when and what it keeps, until it is let go", async () => {
    const { database, clock } = await openWithClock();
    await database.put("a", "1");
    expect(database.stats().pinned).toEqual([]);
    using snapshot = database.snapshot();
    clock.time = 2000;
    const iterator = snapshot.keys()[Symbol.iterator]();
    iterator.next();
    const nothing = { memtableBytes: 0, fileBytes: 0 };
    expect(database.stats().pinned).toEqual([
      { kind: "snapshot", seqno: 1, since: 1000, ...nothing },
      { kind: "iteration", seqno: 1, since: 2000, ...nothing },
    ]);
    await database.flush();
    await database.put("a", "2");
    await database.transaction((transaction) => {
      const kinds = database.stats().pinned.map(({ kind, seqno }) => [kind, seqno]);
      expect(kinds.at(-1)).toEqual(["transaction", 2]);
      expect(transaction.get("a")).toBe("2");
    });
    const [first, second, ...others] = database.stats().pinned;
    expect(others).toEqual([]);
    expect(first.memtableBytes).toBeGreaterThan(0);
    expect(second.memtableBytes).toBe(first.memtableBytes);
    iterator.return();
    snapshot.close();
    snapshot.close();
    expect(database.stats().pinned).toEqual([]);
  });

  test("name the files that a compaction left to it", async () => {
    const { database } = await openWithClock();
    await database.put("a", "1");
    await database.flush();
    const snapshot = database.snapshot();
    await database.put("a", "2");
    await database.compact();
    const [pinned] = database.stats().pinned;
    expect(pinned.fileBytes).toBeGreaterThan(0);
    expect(snapshot.get("a")).toBe("1");
    snapshot.close();
    expect(database.stats().pinned).toEqual([]);
  });

  test("forget loops that ended, however they did", async () => {
    const { database } = await openWithClock();
    await database.batch([
      { type: "put", key: "a", value: "1" },
      { type: "put", key: "b", value: "2" },
    ]);
    for (const _ of database.keys()) break;
    expect([...database.entries()].length).toBe(2);
    expect(() => {
      for (const _ of database.keys()) throw new Error("out");
    }).toThrow("out");
    const reader = database.getStream("a")?.getReader();
    expect(database.stats().pinned.map(({ kind }) => kind)).toEqual(["stream"]);
    await reader?.cancel();
    expect(database.stats().pinned).toEqual([]);
  });
});

/** What a user may forget, made where no reference to it is left. */
const FORGOTTEN: Readonly<Record<string, (database: Database<string, string>) => void>> = {
  snapshot: (database) => void database.snapshot().get("a"),
  iteration: (database) => void database.keys()[Symbol.iterator]().next(),
  stream: (database) => void database.getStream("a"),
};

describe("what was never closed", () => {
  test.each(Object.keys(FORGOTTEN))("is let go of, with a warning: a %s", async (kind) => {
    const { database, warnings, logged } = await openWithClock();
    await database.put("a", "1");
    FORGOTTEN[kind](database);
    expect(database.stats().pinned.length).toBe(1);
    await setImmediate();
    await collectUntil(() => warnings.length > 0);
    const message = expect.stringMatching(/^(a (snapshot|stream)|an iteration) was never closed/);
    expect(warnings).toEqual([{ kind, since: 1000, message }]);
    expect(logged).toEqual([warnings[0].message]);
    expect(database.stats().pinned).toEqual([]);
    // What it kept is gone for good: the file of the old version.
    await database.compact();
    expect(database.get("a")).toBe("1");
  });

  test("is no matter where it is still in use, or was closed", async () => {
    const { database, warnings } = await openWithClock();
    await database.put("a", "1");
    const snapshot = database.snapshot();
    const iterator = snapshot.keys()[Symbol.iterator]();
    database.snapshot().close();
    for (let i = 0; i < 2000; i++) for (const _ of database.keys()) break;
    await setImmediate();
    for (let turn = 0; turn < 20; turn++) {
      collectGarbage();
      await setImmediate();
    }
    expect(database.stats().pinned.map(({ kind }) => kind)).toEqual(["snapshot", "iteration"]);
    expect(iterator.next().value).toBe("a");
    expect(warnings).toEqual([]);
    snapshot.close();
  });
});

describe("a database that is closed before its snapshot", () => {
  test("leaves no file behind that only the snapshot held on to", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openFor<string, string>("store", { fileSystem });
    await database.put("a", "1");
    await database.flush();
    database.snapshot();
    await database.put("a", "2");
    await database.compact();
    await database.close();
    const again = await openFor<string, string>("store", { fileSystem });
    expect(again.recovery.orphansRemoved).toEqual([]);
    expect(again.get("a")).toBe("2");
  });

  test("becomes garbage with whoever has both", async () => {
    let isCollected = false;
    const registry = new FinalizationRegistry(() => {
      isCollected = true;
    });
    await openAndClose(registry);
    await collectUntil(() => isCollected);
    expect(isCollected).toBe(true);
  });
});

class User {
  readonly database: Database<string, string>;
  readonly snapshot: Snapshot<string, string>;

  constructor(database: Database<string, string>) {
    this.database = database;
    this.snapshot = database.snapshot();
  }

  async close(): Promise<void> {
    await this.database.close();
  }
}

/** Opens a database and closes it, but not its snapshot, and keeps no reference to either. */
async function openAndClose(registry: FinalizationRegistry<undefined>): Promise<void> {
  const database = await open<string, string>("store", { fileSystem: new MemoryFileSystem() });
  const user = new User(database);
  // By then the snapshot is watched.
  await setImmediate();
  await user.close();
  registry.register(user, undefined);
}
