import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { checksum } from "../../src/bytes/checksum.ts";
import { readU32, writeU32 } from "../../src/bytes/fixed.ts";
import {
  CorruptionError,
  DatabaseError,
  InvalidArgumentError,
  LockedError,
  open,
  ReadOnlyError,
  UnsupportedVersionError,
} from "../../src/index.ts";
import type { File, OpenMode } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { NodeFileSystem } from "../../src/io/node.ts";
import { HEADER_BYTES as SEGMENT_HEADER_BYTES } from "../../src/segment/format.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";
import { HEADER_BYTES as LOG_HEADER_BYTES } from "../../src/wal/format.ts";
import { openFor, temporaryDirectory, withoutLock } from "./harness.ts";

const INLINE = { background: "inline" } as const;

describe("a directory that is missing", () => {
  test("is created with its parents", async () => {
    const directory = join(temporaryDirectory(), "a/b");
    const database = await openFor(directory);
    expect(database.recovery.created).toBe(true);
    expect(database.location).toBe(directory);
  });

  test.each([
    [
      "createIfMissing: false",
      { createIfMissing: false },
      /check the path, or open it with createIfMissing: true$/,
    ],
    ["readOnly: true", { readOnly: true }, /check the path$/],
  ])("is an error with %s, and stays missing", async (_, options, remedy) => {
    const parent = temporaryDirectory();
    const refusal = open(join(parent, "store"), options);
    await expect(refusal).rejects.toThrow(DatabaseError);
    await expect(refusal).rejects.toMatchObject({ code: "MEMKV_NOT_FOUND" });
    await expect(refusal).rejects.toThrow(remedy);
    expect(readdirSync(parent)).toEqual([]);
  });

  test.each([
    ["createIfMissing: false", { createIfMissing: false }],
    ["readOnly: true", { readOnly: true }],
  ])("and one that is empty are the same with %s", async (_, options) => {
    const directory = temporaryDirectory();
    const refusal = open(directory, options);
    await expect(refusal).rejects.toMatchObject({ code: "MEMKV_NOT_FOUND" });
    expect(readdirSync(directory)).toEqual([]);
  });
});

test("a database that was closed is opened without making or syncing a directory", async () => {
  const disk = new MemoryFileSystem();
  const founded = new FaultFileSystem(disk);
  const first = await open("store", { ...INLINE, fileSystem: founded });
  expect(founded.operationCount("createDirectory")).toBe(1);
  await first.put("a", 1);
  await first.close();
  const found = new FaultFileSystem(disk);
  const again = await open("store", { ...INLINE, fileSystem: found });
  expect(again.get("a")).toBe(1);
  expect(found.operationCount("createDirectory")).toBe(0);
  expect(found.operationCount("syncDirectory")).toBe(0);
  await again.close();
});

test("a directory where founding was interrupted is made durable again", async () => {
  const disk = new MemoryFileSystem();
  const faults = new FaultFileSystem(disk);
  faults.inject({ kinds: ["rename"], effect: { kind: "fail", code: "EIO" } });
  await expect(open("store", { ...INLINE, fileSystem: faults })).rejects.toThrow();
  const again = new FaultFileSystem(disk);
  const database = await open("store", { ...INLINE, fileSystem: again });
  expect(again.operationCount("createDirectory")).toBe(1);
  await database.close();
});

describe("a directory that is no memkv database", () => {
  test.each([
    ["a file of someone else's", "notes.txt", /open an empty or a new directory/],
    ["a log that is not the first", "000007.wal", /repair makes a new one/],
    ["a segment", "000002.seg", /repair makes a new one/],
  ])("because of %s is refused and left as it is", async (_, name, remedy) => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, name), "something");
    for (const options of [{}, { createIfMissing: false }, { readOnly: true }]) {
      const refusal = open(directory, options);
      await expect(refusal).rejects.toMatchObject({ code: "MEMKV_NOT_A_DATABASE" });
      await expect(refusal).rejects.toThrow(`no MANIFEST but holds ${name}`);
      await expect(refusal).rejects.toThrow(remedy);
    }
    expect(readdirSync(directory)).toEqual([name]);
    expect(readFileSync(join(directory, name), "utf8")).toBe("something");
  });

  test.each([0, 60_000])(
    "because it is LevelDB's is refused, with a lock of %i ms",
    async (age) => {
      const directory = temporaryDirectory();
      const names = ["000003.log", "CURRENT", "LOCK", "MANIFEST-000002"];
      for (const name of names) writeFileSync(join(directory, name), "");
      const time = new Date(Date.now() - age);
      utimesSync(join(directory, "LOCK"), time, time);
      for (const options of [{}, { createIfMissing: false }, { readOnly: true }]) {
        const refusal = open(directory, options);
        await expect(refusal).rejects.toMatchObject({ code: "MEMKV_NOT_A_DATABASE" });
      }
      await expect(open(directory)).rejects.toThrow(/memkv import/);
      expect(readdirSync(directory)).toEqual(names);
    },
  );

  test("because it is a file is refused", async () => {
    const path = join(temporaryDirectory(), "file");
    writeFileSync(path, "something");
    for (const options of [{}, { createIfMissing: false }, { readOnly: true }]) {
      const refusal = open(path, options);
      await expect(refusal).rejects.toThrow(DatabaseError);
      await expect(refusal).rejects.toMatchObject({ code: "MEMKV_NOT_A_DATABASE" });
    }
    expect(readFileSync(path, "utf8")).toBe("something");
  });

  test("because its manifest is gone is refused, with the data left alone", async () => {
    const directory = temporaryDirectory();
    const database = await openFor(directory);
    await database.put("a", 1);
    await database.flush();
    await database.close();
    const before = withoutLock(readdirSync(directory));
    rmSync(join(directory, "MANIFEST"));
    await expect(open(directory)).rejects.toMatchObject({ code: "MEMKV_NOT_A_DATABASE" });
    expect(withoutLock(readdirSync(directory))).toEqual(before.filter((n) => n !== "MANIFEST"));
  });

  test("but was cut short while it was founded is founded again", async () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, "000001.wal"), new Uint8Array(LOG_HEADER_BYTES));
    writeFileSync(join(directory, "MANIFEST.tmp"), "half");
    const database = await openFor(directory);
    await database.put("a", 1);
    expect(database.recovery.created).toBe(true);
  });
});

describe("a database that exists", () => {
  test("is an error with errorIfExists, and a new one is not", async () => {
    const directory = join(temporaryDirectory(), "store");
    const database = await openFor(directory, { errorIfExists: true });
    await database.put("a", 1);
    await database.close();
    const refusal = open(directory, { errorIfExists: true });
    await expect(refusal).rejects.toMatchObject({ code: "MEMKV_EXISTS" });
    const again = await openFor(directory);
    expect(again.get("a")).toBe(1);
    expect(again.recovery.created).toBe(false);
  });

  test.each([
    [
      "keyEncoding",
      { keyEncoding: "binary" },
      /keyEncoding "utf8".*cannot be opened with "binary"/,
    ],
    ["valueEncoding", { valueEncoding: "json" }, /valueEncoding "msgpack".*opened with "json"/],
  ] as const)("is an error with another %s", async (_, options, message) => {
    const directory = temporaryDirectory();
    await (await openFor(directory)).close();
    await expect(open(directory, options)).rejects.toThrow(InvalidArgumentError);
    await expect(open(directory, options)).rejects.toThrow(message);
    await openFor(directory);
  });

  test("opened with readOnly: true is read and not changed", async () => {
    const directory = temporaryDirectory();
    const database = await openFor<string, unknown>(directory);
    await database.put("flushed", 1);
    await database.flush();
    await database.put("logged", 2);
    await database.close();
    writeFileSync(join(directory, "000099.seg"), "an orphan");
    const before = readdirSync(directory).sort();
    const reader = await openFor<string, unknown>(directory, { readOnly: true });
    expect([...reader.entries()]).toEqual([
      ["flushed", 1],
      ["logged", 2],
    ]);
    const refusals = [
      reader.put("a", 1),
      reader.delete("a"),
      reader.batch([]),
      reader.flush(),
      reader.compact(),
      reader.sync(),
    ];
    for (const refusal of refusals) await expect(refusal).rejects.toThrow(ReadOnlyError);
    // It takes no lock: a writer may be there too.
    await (await openFor(directory, { readOnly: true })).close();
    expect(readdirSync(directory).sort()).toEqual(before);
    await reader.verify();
    await reader.close();
    expect(readdirSync(directory).sort()).toEqual(before);
  });
});

test("read-only opens beside a writer show what was written, up to some moment", async () => {
  const fileSystem = new MemoryFileSystem();
  const writer = await openFor<string, string>("store", {
    fileSystem,
    valueEncoding: "utf8",
    memtableBytes: 2 ** 17,
    segmentBytes: 2 ** 16,
    compactionTrigger: 2,
    durability: "os",
  });
  let submitted = 0;
  let acknowledged = 0;
  const write = async (): Promise<void> => {
    while (submitted < 1_500) {
      const number = submitted++;
      // Each put says how many came before it, and overwrites keys in turn.
      await writer.put(`key ${number % 100}`, `${number}`.padEnd(500, "."));
      acknowledged = number + 1;
      if (number % 40 === 0) await setImmediate();
    }
  };
  const writing = write();
  let opens = 0;
  for (; acknowledged < 1_500 && opens < 1_000; opens++) {
    const least = acknowledged;
    const reader = await openFor<string, string>("store", {
      fileSystem,
      valueEncoding: "utf8",
      readOnly: true,
    });
    const numbers = [...reader.values()].map((value) => Number.parseInt(value, 10));
    const newest = Math.max(-1, ...numbers);
    expect(newest + 1).toBeGreaterThanOrEqual(least);
    expect(newest).toBeLessThan(submitted);
    // The newest of each key, and nothing that came later.
    const expected = Array.from({ length: Math.min(100, newest + 1) }, (_, i) => newest - i);
    expect(numbers.sort((a, b) => b - a)).toEqual(expected);
    await reader.verify();
    await reader.close();
    // The writer's turn.
    await setImmediate();
  }
  await writing;
  expect(opens).toBeGreaterThan(10);
  expect(writer.stats().runs.length).toBeGreaterThan(0);
});

test("a read-only open that its writer overtakes again and again finds a moment all the same", async () => {
  class OvertakingFileSystem extends MemoryFileSystem {
    overtakes = 0;

    override async open(path: string, mode: OpenMode): Promise<File> {
      if (this.overtakes > 0 && path.endsWith(".seg")) {
        const left = this.overtakes - 1;
        this.overtakes = 0;
        await writer.put("key", left);
        await writer.compact();
        while ((await this.stat(path)) !== undefined) await setImmediate();
        this.overtakes = left;
      }
      return await super.open(path, mode);
    }
  }
  const fileSystem = new OvertakingFileSystem();
  const writer = await openFor<string, number>("store", { fileSystem });
  await writer.put("key", 20);
  await writer.flush();
  fileSystem.overtakes = 20;
  const reader = await openFor<string, number>("store", { fileSystem, readOnly: true });
  expect(fileSystem.overtakes).toBe(0);
  expect(reader.get("key")).toBe(0);
});

/** Names of files that were opened to be changed. */
class WatchedFileSystem extends NodeFileSystem {
  readonly updated: string[] = [];

  override open(path: string, mode: OpenMode): Promise<File> {
    if (mode === "update") this.updated.push(basename(path));
    return super.open(path, mode);
  }
}

describe("the end of the newest log", () => {
  test("is left alone where the manifest knows it, and made durable otherwise", async () => {
    const directory = temporaryDirectory();
    const killed = temporaryDirectory();
    const writer = await openFor(directory, { durability: "os" });
    await writer.put("a", 1);
    const isFile = (path: string) => !basename(path).startsWith("LOCK");
    cpSync(directory, killed, { recursive: true, filter: isFile });
    const log = readdirSync(killed)
      .filter((name) => name.endsWith(".wal"))
      .at(-1);
    await writer.close();

    const closedFiles = new WatchedFileSystem();
    const closed = await openFor(directory, { fileSystem: closedFiles });
    expect(closed.get("a")).toBe(1);
    expect(closedFiles.updated).toEqual([]);

    const killedFiles = new WatchedFileSystem();
    const recovered = await openFor(killed, { fileSystem: killedFiles });
    expect(recovered.get("a")).toBe(1);
    expect(killedFiles.updated).toEqual([log]);
  });

  test("is cut where more follows than the manifest knows", async () => {
    const directory = temporaryDirectory();
    const writer = await openFor(directory, { durability: "os" });
    await writer.put("a", 1);
    await writer.close();
    const name = readdirSync(directory).filter((each) => each.endsWith(".wal"));
    const path = join(directory, name.at(-1) ?? "");
    const { size } = statSync(path);
    // The first bytes of a record whose rest a crash took.
    appendFileSync(path, readFileSync(path).subarray(size - 20, size - 10));

    const reopened = await openFor(directory);
    expect(reopened.get("a")).toBe(1);
    expect(reopened.recovery.dropped).toHaveLength(1);
    expect(statSync(path).size).toBe(size);
  });
});

describe("a directory that is open", () => {
  test("in this process is refused until it is closed", async () => {
    const directory = temporaryDirectory();
    const database = await openFor(directory);
    const refusal = open(directory, INLINE);
    await expect(refusal).rejects.toThrow(LockedError);
    await expect(refusal).rejects.toThrow(/open already in this process: close the other/);
    await expect(open(`${directory}/.`, INLINE)).rejects.toThrow(LockedError);
    await database.put("a", 1);
    await database.close();
    const again = await openFor(directory);
    expect(again.get("a")).toBe(1);
  });

  test("several times at once is opened once", async () => {
    const directory = temporaryDirectory();
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => openFor(directory)));
    expect(outcomes.map(({ status }) => status).sort()).toEqual([
      "fulfilled",
      "rejected",
      "rejected",
    ]);
  });

  test("in another process is refused until that ends, however it ends", async () => {
    const directory = temporaryDirectory();
    const script = join(import.meta.dirname, "holder.ts");
    const child = spawn(process.execPath, ["--import", "tsx", script, directory], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const [said] = await once(child.stdout, "data");
    expect(String(said).trim()).toBe("open");
    const refusal = open(directory, INLINE);
    await expect(refusal).rejects.toThrow(LockedError);
    await expect(refusal).rejects.toThrow(/another process.*close the other.*readOnly: true/);
    child.kill("SIGKILL");
    await once(child, "exit");
    const database = await openFor(directory);
    expect(database.get("holder")).toBe(child.pid);
  });

  test("stays refused after an attempt that failed for another reason", async () => {
    const directory = temporaryDirectory();
    await openFor(directory);
    await expect(open(directory, { ...INLINE, keyEncoding: "binary" })).rejects.toThrow(
      LockedError,
    );
    await expect(open(directory, INLINE)).rejects.toThrow(LockedError);
  });
});

/** Raises the u32 version at offset 8 of a file by one, and mends the checksum of bytes [0, end). */
function raiseVersion(path: string, checksumAt: (bytes: Uint8Array) => number): void {
  const bytes = new Uint8Array(readFileSync(path));
  const end = checksumAt(bytes);
  writeU32(bytes, 8, readU32(bytes, 8) + 1);
  writeU32(bytes, end, checksum(bytes, 0, end));
  writeFileSync(path, bytes);
}

describe("a file of a newer memkv", () => {
  test.each([
    ["MANIFEST", (bytes: Uint8Array) => bytes.length - 4],
    [".wal", () => LOG_HEADER_BYTES - 4],
    [".seg", () => SEGMENT_HEADER_BYTES - 4],
  ])("%s is refused with the way out, and left as it is", async (suffix, checksumAt) => {
    const directory = temporaryDirectory();
    const database = await openFor(directory);
    await database.put("a", 1);
    await database.flush();
    await database.put("b", 2);
    await database.close();
    const name = readdirSync(directory).findLast((file) => file.endsWith(suffix)) ?? "none";
    const path = join(directory, name);
    raiseVersion(path, checksumAt);
    const before = readFileSync(path);
    for (const options of [
      INLINE,
      { readOnly: true },
      { ...INLINE, recovery: "salvage" } as const,
    ]) {
      const refusal = open(directory, options);
      await expect(refusal).rejects.toThrow(UnsupportedVersionError);
      await expect(refusal).rejects.toMatchObject({ file: path, found: 2, supported: 1 });
      await expect(refusal).rejects.toThrow(/format version 2; this memkv reads up to 1: upgrade/);
    }
    expect(readFileSync(path)).toEqual(before);
  });
});

describe("a file that is gone", () => {
  test.each([".seg", ".wal"])("is damage: %s", async (suffix) => {
    const directory = temporaryDirectory();
    const database = await openFor(directory);
    await database.put("a", 1);
    await database.flush();
    await database.put("b", 2);
    await database.close();
    const name = readdirSync(directory).find((file) => file.endsWith(suffix)) ?? "none";
    rmSync(join(directory, name));
    const refusal = open(directory, INLINE);
    await expect(refusal).rejects.toThrow(CorruptionError);
    await expect(refusal).rejects.toThrow(name);
    mkdirSync(join(directory, "unrelated"));
    await expect(open(directory, INLINE)).rejects.toThrow(CorruptionError);
  });
});

test("what a crash left over is removed at open and reported", async () => {
  const directory = temporaryDirectory();
  const database = await openFor(directory);
  await database.put("a", 1);
  await database.flush();
  await database.close();
  const names = ["000090.seg", "000091.seg", "MANIFEST.tmp"];
  const others = ["000090.seg.bak", "90.seg", "README.md"];
  for (const name of [...names, ...others]) writeFileSync(join(directory, name), "left over");
  const again = await openFor(directory);
  expect(withoutLock(again.recovery.orphansRemoved)).toEqual(names);
  expect(readdirSync(directory)).toEqual(expect.arrayContaining(others));
  for (const name of names) expect(readdirSync(directory)).not.toContain(name);
  await again.put("b", 2);
  await again.flush();
  expect(readdirSync(directory)).not.toContain("000090.seg");
});
