/**
 * What is done with a database right after it was recovered, while the keys of its memtables are not in
 * their trees yet (memtable/load.ts).
 */
import { setImmediate } from "node:timers/promises";
import { expect, onTestFinished, test, vi } from "vitest";
import { type Database, open } from "../../src/index.ts";
import { MemtableLoad } from "../../src/memtable/load.ts";
import { CrashFileSystem, type CrashPoint } from "../../src/testing/index.ts";

/** Above what one step puts into a tree. */
const KEY_COUNT = 20_000;
const MEMTABLE_BYTES: number = 2 ** 20;

type Content = Map<string, string>;

function keyOf(i: number): string {
  return `key ${String(Math.imul(i, 7919) % KEY_COUNT).padStart(6, "0")}`;
}

/** A disk as a kill leaves it, with writes in several memtables, and what must be found on it. */
async function killed(): Promise<{ crash: CrashPoint; content: Content }> {
  const fileSystem = new CrashFileSystem();
  const database = await open<string, string>("db", {
    fileSystem,
    memtableBytes: 2 ** 26,
    background: "inline",
  });
  const content: Content = new Map();
  for (let i = 0; i < KEY_COUNT; i += 1000) {
    const keys = Array.from({ length: 1000 }, (_, j) => keyOf(i + j));
    await database.batch(keys.map((key) => ({ type: "put", key, value: `${key} at first` })));
    for (const key of keys) content.set(key, `${key} at first`);
  }
  for (let i = 0; i < KEY_COUNT; i += 3) {
    const key = keyOf(i);
    if (i % 2 === 0) {
      void database.put(key, `${key} again`);
      content.set(key, `${key} again`);
    } else {
      void database.delete(key);
      content.delete(key);
    }
  }
  const range = { gte: "key 004000", lt: "key 005000" };
  await database.deleteRange(range);
  for (const key of content.keys()) if (key >= range.gte && key < range.lt) content.delete(key);
  await database.put("key 004500", "after the range");
  content.set("key 004500", "after the range");
  const crash = fileSystem.crashPoint();
  await database.close();
  return { crash, content };
}

function sorted(content: Content): [string, string][] {
  return [...content].sort(([a], [b]) => (a < b ? -1 : 1));
}

type Step = (database: Database<string, string>, content: Content) => void | Promise<void>;

const STEPS: [string, Step][] = [
  ["nothing", () => {}],
  ["a count", (database, content) => expect(database.count()).toBe(content.size)],
  [
    "a blocking write",
    (database, content) => {
      database.putSync("key 000001", "blocking");
      content.set("key 000001", "blocking");
    },
  ],
  [
    "a write behind a snapshot",
    async (database, content) => {
      const before = sorted(content);
      const snapshot = database.snapshot();
      await database.delete("key 000002");
      content.delete("key 000002");
      expect([...snapshot.entries()]).toEqual(before);
      snapshot.close();
    },
  ],
  [
    "a transaction",
    async (database, content) => {
      await database.transaction(async (transaction) => {
        const value = transaction.get("key 000003") ?? "none";
        await transaction.put("key 000004", value);
      });
      content.set("key 000004", content.get("key 000003") ?? "none");
    },
  ],
  ["a flush", (database) => database.flush()],
  ["a compaction", (database) => database.compact()],
];

test.each(STEPS)("reads find what was recovered, before and after %s", async (_, step) => {
  const { crash, content } = await killed();
  for (const memtableBytes of [MEMTABLE_BYTES, 2 ** 26]) {
    const expected: Content = new Map(content);
    const [fileSystem] = crash.states({ seed: 1, count: 1 });
    const options = { fileSystem, memtableBytes, background: "inline" } as const;
    const database = await open<string, string>("db", options);
    onTestFinished(() => database.close());
    expect(database.recovery.writesReplayed).toBeGreaterThan(KEY_COUNT);
    for (let i = 0; i < KEY_COUNT; i++) {
      if (database.get(keyOf(i)) !== expected.get(keyOf(i))) expect.fail(keyOf(i));
    }
    expect(database.has("key")).toBe(false);
    await step(database, expected);
    expect([...database.entries()]).toEqual(sorted(expected));
    await database.close();
    const again = await open<string, string>("db", options);
    onTestFinished(() => again.close());
    expect([...again.entries()]).toEqual(sorted(expected));
    await again.close();
  }
});

/** For each turn of the event loop, how often the tree of a memtable was brought on. */
function watchSteps(): number[] {
  const turns = [0];
  const { step } = MemtableLoad.prototype;
  const spy = vi.spyOn(MemtableLoad.prototype, "step");
  spy.mockImplementation(function (this: MemtableLoad, tree) {
    turns[turns.length - 1]++;
    return step.call(this, tree);
  });
  let isWatched = true;
  onTestFinished(() => {
    isWatched = false;
    spy.mockRestore();
  });
  const watch = async (): Promise<void> => {
    for (; isWatched; turns.push(0)) await setImmediate();
  };
  void watch();
  return turns;
}

test.each<[string, boolean, (database: Database<string, string>) => Promise<void>]>([
  [
    "by itself",
    false,
    async () => {
      for (let i = 0; i < 100; i++) await setImmediate();
    },
  ],
  ["for a write", false, (database) => database.put("key 000001", "written")],
  ["for a flush", false, (database) => database.flush()],
  ["before it is closed", true, (database) => database.close()],
])(
  "a database brings its keys in order %s, in turns of the event loop",
  async (_, readOnly, act) => {
    const { crash } = await killed();
    const [fileSystem] = crash.states({ seed: 1, count: 1 });
    const options = { fileSystem, memtableBytes: 2 ** 26, background: "inline", readOnly } as const;
    const turns = watchSteps();
    const database = await open<string, string>("db", options);
    onTestFinished(() => database.close());
    await act(database);
    const passed = turns.length;
    const steps = turns.filter((count) => count > 0);
    expect(steps.length).toBeGreaterThan(1);
    expect(Math.max(...steps)).toBe(1);
    for (let i = 0; i < 10; i++) await setImmediate();
    expect(turns.slice(passed)).toEqual(turns.slice(passed).map(() => 0));
  },
);

test("an ingest brings the keys of its source in order in turns of the event loop", async () => {
  const { crash, content } = await killed();
  const [fileSystem] = crash.states({ seed: 1, count: 1 });
  const database = await open<string, string>("other", { fileSystem, compression: "none" });
  onTestFinished(() => database.close());
  const turns = watchSteps();
  await database.ingest(["db"]);
  const steps = turns.filter((count) => count > 0);
  expect(steps.length).toBeGreaterThan(1);
  expect(Math.max(...steps)).toBe(1);
  expect([...database.entries()]).toEqual(sorted(content));
});

test("a database that is only read answers, and closes, as soon as it is open", async () => {
  const { crash, content } = await killed();
  const [fileSystem] = crash.states({ seed: 1, count: 1 });
  for (const isWalked of [false, true]) {
    const database = await open<string, string>("db", { fileSystem, readOnly: true });
    expect(database.get("key 004500")).toBe("after the range");
    if (isWalked) expect([...database.entries()]).toEqual(sorted(content));
    await database.close();
  }
});
