import { describe, expect, test } from "vitest";
import { loadChecksum } from "../../src/bytes/checksum.ts";
import { type CommitHost, Committer } from "../../src/engine/commit.ts";
import { DeadRange } from "../../src/engine/dead-range.ts";
import { Logs } from "../../src/engine/logs.ts";
import { SyncPace } from "../../src/engine/sync-pace.ts";
import { WriteGuard } from "../../src/engine/write-guard.ts";
import { WritePace } from "../../src/engine/write-pace.ts";
import { NEVER } from "../../src/entry.ts";
import type { File } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { FileNumbers } from "../../src/manifest/file-numbers.ts";
import { createMemtable } from "../../src/memtable/memtable.ts";
import type { RecordBuilder } from "../../src/wal/batch.ts";

describe("WritePace", () => {
  /** Writes that take no time, one a millisecond. */
  const quick = (from: number, count: number): [number, number][] =>
    Array.from({ length: count }, (_, i) => [from + i, 0]);

  /** Writes as [start, duration], and whether one at `then` may block. */
  const cases: [string, readonly (readonly [number, number])[], number, boolean][] = [
    ["before any write", [], 0, true],
    [
      "after writes that are quick",
      [
        [0, 1],
        [1, 4],
        [5, 5],
        [10, 5],
        [15, 5],
      ],
      20,
      true,
    ],
    [
      "after two slow writes",
      [
        [0, 6],
        [10, 6],
      ],
      16,
      true,
    ],
    [
      "after three slow writes",
      [
        [0, 6],
        [10, 6],
        [20, 6],
      ],
      26,
      false,
    ],
    [
      "after three, of which the last is a second after the first",
      [
        [0, 6],
        [10, 6],
        [1001, 6],
      ],
      1007,
      true,
    ],
    [
      "after three within a second",
      [
        [0, 6],
        [10, 6],
        [1000, 6],
      ],
      1006,
      false,
    ],
    [
      "after quick ones between three slow ones",
      [
        [0, 6],
        [7, 1],
        [10, 6],
        [17, 1],
        [20, 6],
      ],
      26,
      false,
    ],
    ["after three slow ones of 300", [...quick(0, 297), [300, 6], [310, 6], [320, 6]], 326, false],
    ["after three slow ones of 301", [...quick(0, 298), [300, 6], [310, 6], [320, 6]], 326, true],
    [
      "after slow ones that took a quarter of a second, of many",
      [...quick(0, 500), [500, 84], [600, 83], [700, 83]],
      783,
      false,
    ],
    [
      "after slow ones that took a little less",
      [...quick(0, 500), [500, 83], [600, 83], [700, 83]],
      783,
      true,
    ],
    ["after one very slow write", [[0, 101]], 101, false],
    ["after one write that is not quite as slow", [[0, 100]], 100, true],
    ["a second after a stall", [[0, 101]], 1101, true],
    ["less than a second after a stall", [[0, 101]], 1100.5, false],
    [
      "a second after the first of two slow writes in a stall",
      [
        [0, 101],
        [600, 6],
      ],
      1101,
      false,
    ],
    [
      "a second after the last of them",
      [
        [0, 101],
        [600, 6],
      ],
      1606,
      true,
    ],
    [
      "a second after a stall in which one write of many was slow",
      [[0, 101], ...quick(200, 300), [600, 6]],
      1101,
      true,
    ],
    [
      "after a stall in which writes were quick",
      [
        [0, 101],
        [600, 1],
      ],
      1101,
      true,
    ],
  ];

  test.each(cases)("%s", (_, writes, then, mayBlock) => {
    const pace = new WritePace();
    for (const [start, duration] of writes) pace.note(start, start + duration);
    expect(pace.mayBlock(then)).toBe(mayBlock);
  });
});

describe("SyncPace", () => {
  /** Lets a sync through the thread pool be learnt from; times from 0 on. */
  const waited = (duration: number, idle: number): SyncPace => {
    const pace = new SyncPace();
    pace.noteWaited(0, duration, idle);
    return pace;
  };

  test.each([
    ["short, the thread idle", 0.5, 0.5, true],
    ["short, the thread idle for half of it", 0.5, 0.25, true],
    ["short, the thread busy for more than half of it", 0.5, 0.24, false],
    ["of no time at all", 0, 0, true],
    ["long, the thread idle", 0.51, 0.51, false],
  ])("after a sync that was %s", (_, duration, idle, mayBlock) => {
    expect(waited(duration, idle).mayBlock(duration)).toBe(mayBlock);
  });

  test("lets none block before it has seen any", () => {
    expect(new SyncPace().mayBlock(0)).toBe(false);
  });

  test("lets fifteen block, and then wants to see another", () => {
    const pace = waited(0.1, 0.1);
    for (let i = 1; i <= 15; i++) {
      expect(pace.mayBlock(i)).toBe(true);
      pace.noteBlocking(i, i + 0.1);
    }
    expect(pace.mayBlock(16)).toBe(false);
    pace.noteWaited(16, 16.1, 0.1);
    expect(pace.mayBlock(17)).toBe(true);
  });

  test("lets none block for fifty times as long as one took that was slow", () => {
    const pace = waited(0.1, 0.1);
    pace.noteBlocking(1, 1.5);
    expect(pace.mayBlock(2)).toBe(true);
    pace.noteBlocking(2, 4);
    expect(pace.mayBlock(4)).toBe(false);
    // However short others are meanwhile.
    pace.noteWaited(10, 10.1, 0.1);
    expect(pace.mayBlock(103.9)).toBe(false);
    expect(pace.mayBlock(104)).toBe(true);
  });
});

type Call = "writeSync" | "write" | "syncSync" | "sync";

/** A disk whose writes and syncs take as long as the clock is told. */
class SlowFile {
  time = 0;
  writeMs = 0;
  syncMs = 0;
  /** Milliseconds for which the event loop was idle, and what part of a sync it is. */
  idle = 0;
  idlePart = 0;
  readonly calls: Call[] = [];

  wrap(file: File): File {
    const write = (kind: "writeSync" | "write", source: Uint8Array, position: number): void => {
      this.calls.push(kind);
      this.time += this.writeMs;
      file.writeSync(source, position);
    };
    const sync = (kind: "syncSync" | "sync"): void => {
      this.calls.push(kind);
      this.time += this.syncMs;
      if (kind === "sync") this.idle += this.syncMs * this.idlePart;
      file.syncSync();
    };
    return {
      path: file.path,
      size: () => file.size(),
      readSync: (target, position) => file.readSync(target, position),
      writeSync: (source, position) => write("writeSync", source, position),
      write: async (source, position) => write("write", source, position),
      sync: async () => sync("sync"),
      syncSync: () => sync("syncSync"),
      truncate: (length) => file.truncate(length),
      close: () => file.close(),
    };
  }
}

class SlowFileSystem extends MemoryFileSystem {
  readonly slow: SlowFile;

  constructor(slow: SlowFile) {
    super();
    this.slow = slow;
  }

  override createSync(path: string): File {
    return this.slow.wrap(super.createSync(path));
  }
}

/** Commits to the disk, and tells `published` of the newest write after each group. */
async function createCommitter(slow: SlowFile, published: number[]): Promise<Committer> {
  await loadChecksum();
  const fileSystem = new SlowFileSystem(slow);
  await fileSystem.createDirectory("store");
  const fail = (error: unknown): never => {
    throw error;
  };
  const guard = new WriteGuard(await fileSystem.lock("store", fail));
  const logs = new Logs(
    {
      fileSystem,
      directory: "store",
      databaseId: new Uint8Array(16),
      fileNumbers: FileNumbers.from(1),
      preallocateBytes: 0,
      aheadBytes: Number.POSITIVE_INFINITY,
      guard,
      onFailure: fail,
      onLeftover: (_path, cause) => fail(cause),
    },
    [],
  );
  logs.startNextSync();
  slow.calls.length = 0;
  const memtable = createMemtable(2 ** 20, 0, 0, 0);
  const host: CommitHost = {
    memtable,
    dead: new DeadRange(),
    rows: undefined,
    wal: logs.newest,
    logs,
    rotation: {
      isLogReady: true,
      prepareLog: () => Promise.resolve(),
      prepareLogSync: () => {},
      hasRoom: () => true,
      canRotate: () => false,
      rotate: () => Promise.resolve(),
      rotateSync: () => {},
    },
    guard,
    maxPendingBytes: 2 ** 20,
    isSlowed: false,
    slowDown: () => Promise.resolve(),
    now: () => slow.time,
    idleTime: () => slow.idle,
    publish: (lastSeqno) => published.push(lastSeqno),
  };
  return new Committer(host, 0);
}

const key = Uint8Array.of(1);
const put = (record: RecordBuilder): void => record.put(key, 1, key, NEVER);
const repeat = (kind: Call, count: number): Call[] => new Array<Call>(count).fill(kind);

test("a stalled disk does not stall the thread, and is tried again later", async () => {
  const slow = new SlowFile();
  const published: number[] = [];
  const committer = await createCommitter(slow, published);
  const write = async (count: number): Promise<Call[]> => {
    slow.calls.length = 0;
    for (let i = 0; i < count; i++) await committer.write(put, "os");
    return slow.calls;
  };
  expect(await write(5)).toEqual(repeat("writeSync", 5));
  slow.writeMs = 20;
  expect(await write(8)).toEqual([...repeat("writeSync", 3), ...repeat("write", 5)]);
  // As long as they are slow there, no other way is tried.
  expect(await write(100)).toEqual(repeat("write", 100));
  slow.writeMs = 0;
  expect(await write(3)).toEqual(repeat("write", 3));
  slow.time += 1000;
  expect(await write(3)).toEqual(repeat("writeSync", 3));
  // Blocking writes block, and tell how the disk is.
  slow.writeMs = 500;
  committer.writeSync((record) => record.delete(key, 1), "os");
  expect(await write(2)).toEqual(repeat("write", 2));
  // In their order.
  expect(published).toEqual(Array.from({ length: 122 }, (_, i) => i + 1));
});

describe("a synced write", () => {
  /** The syncs of that many awaited writes. */
  const syncsOf = async (committer: Committer, slow: SlowFile, count: number): Promise<Call[]> => {
    slow.calls.length = 0;
    for (let i = 0; i < count; i++) await committer.write(put, "sync");
    return slow.calls.filter((call) => call.startsWith("sync"));
  };

  test("blocks the thread while it would only wait, but for one in sixteen", async () => {
    const slow = new SlowFile();
    slow.syncMs = 0.1;
    slow.idlePart = 1;
    const published: number[] = [];
    const committer = await createCommitter(slow, published);
    const round: Call[] = ["sync", ...repeat("syncSync", 15)];
    expect(await syncsOf(committer, slow, 32)).toEqual([...round, ...round]);
    expect(published).toEqual(Array.from({ length: 32 }, (_, i) => i + 1));
  });

  test("leaves the thread to others that have work", async () => {
    const slow = new SlowFile();
    slow.syncMs = 0.1;
    slow.idlePart = 0.2;
    const committer = await createCommitter(slow, []);
    expect(await syncsOf(committer, slow, 32)).toEqual(repeat("sync", 32));
  });

  test("leaves the thread alone on a disk that is slow, or has become so", async () => {
    const slow = new SlowFile();
    slow.syncMs = 3;
    slow.idlePart = 1;
    const committer = await createCommitter(slow, []);
    expect(await syncsOf(committer, slow, 20)).toEqual(repeat("sync", 20));
    slow.syncMs = 0.1;
    expect(await syncsOf(committer, slow, 2)).toEqual(["sync", "syncSync"]);
    slow.syncMs = 10;
    expect(await syncsOf(committer, slow, 20)).toEqual(["syncSync", ...repeat("sync", 19)]);
    slow.syncMs = 0.1;
    slow.time += 500;
    expect(await syncsOf(committer, slow, 2)).toEqual(["sync", "syncSync"]);
  });

  test("gives the event loop its turn, in which others join the next", async () => {
    const slow = new SlowFile();
    slow.idlePart = 1;
    const committer = await createCommitter(slow, []);
    expect(await syncsOf(committer, slow, 2)).toEqual(["sync", "syncSync"]);
    const second = committer.write(put, "sync");
    // All microtasks have run then.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(slow.calls).toEqual(["writeSync", "sync", "writeSync", "syncSync"]);
    const third = committer.write(put, "sync");
    await Promise.all([second, third]);
    expect(slow.calls.slice(4)).toEqual(["writeSync", "syncSync"]);
  });
});
