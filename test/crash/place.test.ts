/**
 * Files know their place: a log that is gone, or that is an earlier state of itself, is noticed. The
 * manifest knows the newest log and how far it went when the database was closed, the header of each
 * log how far the one before it went.
 */

import { describe, expect, test } from "vitest";
import { CorruptionError } from "../../src/errors.ts";
import { joinPath } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { walFileName } from "../../src/manifest/files.ts";
import { readManifest } from "../../src/manifest/manifest.ts";
import { HEADER_BYTES } from "../../src/wal/format.ts";
import { contentOf, DIRECTORY, openTest, type TestDatabase } from "./check.ts";
import { filesOf } from "./files.ts";

type Files = Map<string, Uint8Array>;

function onDisk(files: Files): MemoryFileSystem {
  const paths = [...files].map(([name, bytes]) => [joinPath(DIRECTORY, name), bytes] as const);
  return new MemoryFileSystem({ files: new Map(paths), directories: [] });
}

async function putEach(database: TestDatabase, keys: string): Promise<void> {
  for (const key of keys) await database.put(key, key, { durability: "sync" });
}

/** Three logs, none of them flushed, "ab", "cd" and "ef", of a database that was closed. */
async function threeLogs(): Promise<{ files: Files; earlier: Files; logs: string[] }> {
  const fileSystem = new MemoryFileSystem();
  let earlier: Files = new Map();
  for (const keys of ["ab", "cd", "ef"]) {
    const database = await openTest(fileSystem);
    await putEach(database, keys[0]);
    earlier = await filesOf(fileSystem, DIRECTORY);
    await putEach(database, keys[1]);
    await database.close();
  }
  const files = await filesOf(fileSystem, DIRECTORY);
  return { files, earlier, logs: [...files.keys()].filter((name) => name.endsWith(".wal")) };
}

async function open(files: Files): Promise<string> {
  const database = await openTest(onDisk(files));
  const keys = [...contentOf(database).keys()].join("");
  await database.close();
  return keys;
}

describe("a database that was closed", () => {
  test("is whole as long as nothing is changed", async () => {
    const { files, logs } = await threeLogs();
    // The first is that of the founding.
    expect(logs.length).toBe(4);
    expect(await open(files)).toBe("abcdef");
  });

  test.each([0, 1, 2, 3])("misses log %i of four", async (index) => {
    const { files, logs } = await threeLogs();
    files.delete(logs[index]);
    await expect(open(files)).rejects.toMatchObject({
      code: "MEMKV_CORRUPTION",
      file: joinPath(DIRECTORY, logs[index]),
    });
  });

  test("misses its newest logs", async () => {
    const { files, logs } = await threeLogs();
    files.delete(logs[2]);
    files.delete(logs[3]);
    await expect(open(files)).rejects.toThrow(CorruptionError);
  });

  test("notices that its newest log is an earlier state of itself", async () => {
    const { files, earlier, logs } = await threeLogs();
    const stale = earlier.get(logs[3]) ?? new Uint8Array();
    expect(stale.length).toBeGreaterThan(HEADER_BYTES);
    await expect(open(files.set(logs[3], stale))).rejects.toThrow(CorruptionError);
  });

  test("notices that any log was cut anywhere", async () => {
    const { files, logs } = await threeLogs();
    for (const name of logs) {
      const bytes = files.get(name) ?? new Uint8Array();
      for (let length = 0; length < bytes.length; length++) {
        const cut = new Map(files).set(name, bytes.subarray(0, length));
        await expect(open(cut)).rejects.toThrow(CorruptionError);
      }
    }
  });

  test("is not written to where nothing was written", async () => {
    const { files } = await threeLogs();
    const fileSystem = onDisk(files);
    await (await openTest(fileSystem)).close();
    expect(await filesOf(fileSystem, DIRECTORY)).toEqual(files);
  });
});

describe("a database whose process was killed", () => {
  /** As after a kill. */
  async function killed(): Promise<{ files: Files; log: string }> {
    const fileSystem = new MemoryFileSystem();
    const database = await openTest(fileSystem);
    await putEach(database, "abc");
    const files = await filesOf(fileSystem, DIRECTORY);
    await database.close();
    return { files, log: [...files.keys()].filter((name) => name.endsWith(".wal")).at(-1) ?? "" };
  }

  test("misses the log it wrote to", async () => {
    const { files, log } = await killed();
    files.delete(log);
    await expect(open(files)).rejects.toMatchObject({ file: joinPath(DIRECTORY, log) });
  });

  test("misses the header of the log it wrote to", async () => {
    const { files, log } = await killed();
    files.set(log, new Uint8Array());
    await expect(open(files)).rejects.toThrow(CorruptionError);
  });

  test("cannot tell an earlier state of that log from what a crash may leave", async () => {
    const { files, log } = await killed();
    const manifest = await readManifest(onDisk(files), DIRECTORY);
    const bytes = files.get(log) ?? new Uint8Array();
    // It was written once the log was durable, and has not been since.
    expect(manifest?.newestWalEnd).toBeGreaterThanOrEqual(HEADER_BYTES);
    expect(manifest?.newestWalEnd).toBeLessThan(bytes.length);
    expect(await open(files.set(log, bytes.subarray(0, -1)))).toBe("ab");
  });

  test("misses what was durable when its manifest was last written", async () => {
    const fileSystem = new MemoryFileSystem();
    const database = await openTest(fileSystem);
    await putEach(database, "abc");
    const flushed = database.flush();
    await putEach(database, "d");
    await flushed;
    await database.compact();
    await putEach(database, "e");
    await database.flush();
    const files = await filesOf(fileSystem, DIRECTORY);
    const manifest = await readManifest(fileSystem, DIRECTORY);
    await database.close();
    expect(await open(files)).toBe("abcde");
    const { newestWal = 0, newestWalEnd = 0 } = manifest ?? {};
    const log = walFileName(newestWal);
    files.set(log, files.get(log)?.subarray(0, newestWalEnd - 1) ?? new Uint8Array());
    await expect(open(files)).rejects.toThrow(CorruptionError);
  });
});
