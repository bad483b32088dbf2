import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type FileSystem, open } from "../../src/index.ts";
import { CrashFileSystem, FaultFileSystem, MemoryFileSystem } from "../../src/testing/index.ts";
import { gate, openFor, temporaryDirectory } from "./harness.ts";

const LARGE = "large ".repeat(2000);

/** Several runs, a value log, and writes that are only in the log. */
async function filled(directory: string, fileSystem?: FileSystem) {
  const db = await openFor<string, string>(directory, {
    ...(fileSystem && { fileSystem }),
    valueEncoding: "utf8",
    durability: "os",
    // Training tables takes more time than the rest.
    compression: "none",
    memtableBytes: 2 ** 17,
  });
  for (const part of ["a", "b"]) {
    for (let i = 0; i < 40; i++) await db.put(`${part}${i}`, `${i}`);
    await db.put(`${part} large`, LARGE);
    await db.flush();
  }
  await db.put("only in the log", "1");
  return db;
}

describe("checkpoint", () => {
  test("makes a database with what is there, and nothing that comes later", async () => {
    const root = temporaryDirectory();
    const db = await filled(join(root, "db"));
    const before = [...db.entries()];
    const report = await db.checkpoint(join(root, "copies/first"));
    await db.put("later", "1");
    await db.delete("a1");
    await db.compact();
    const copy = await openFor<string, string>(join(root, "copies/first"), {
      valueEncoding: "utf8",
    });
    expect([...copy.entries()]).toEqual(before);
    await copy.verify();
    await copy.put("its own", "1");
    await copy.compact();
    expect(db.has("its own")).toBe(false);
    await db.verify();
    expect(report.linkedBytes).toBe(report.bytes);
    expect(report.files).toBeGreaterThan(3);
  });

  test.each(["on a disk", "in memory"])(
    "of two to one directory at once is one, %s",
    async (where) => {
      const root = temporaryDirectory();
      const fileSystem = where === "in memory" ? new MemoryFileSystem() : undefined;
      const db = await filled(join(root, "db"), fileSystem);
      const target = join(root, "copy");
      const outcomes = await Promise.allSettled([db.checkpoint(target), db.checkpoint(target)]);
      expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      const refused = outcomes.find((outcome) => outcome.status === "rejected");
      // On a disk the first may be done before the second comes to the lock.
      expect(["MEMKV_LOCKED", "MEMKV_EXISTS"]).toContain(refused?.reason.code);
      const copy = await openFor<string, string>(target, {
        ...(fileSystem && { fileSystem }),
        createIfMissing: false,
        valueEncoding: "utf8",
      });
      expect([...copy.entries()]).toEqual([...db.entries()]);
      await copy.verify();
    },
  );

  test("shares disk space, and gives it back on neither side too early", async () => {
    const root = temporaryDirectory();
    const db = await filled(join(root, "db"));
    await db.checkpoint(join(root, "copy"));
    const [segment] = readdirSync(join(root, "copy")).filter((name) => name.endsWith(".seg"));
    expect(statSync(join(root, "copy", segment)).nlink).toBe(2);
    await db.compact();
    // Files are removed in the background; closing waits for it.
    await db.close();
    expect(statSync(join(root, "copy", segment)).nlink).toBe(1);
    const copy = await openFor(join(root, "copy"), { valueEncoding: "utf8" });
    expect(copy.get("b large")).toBe(LARGE);
  });

  test("copies where there are no hard links, and tells how far it is", async () => {
    const fileSystem = new MemoryFileSystem();
    const db = await filled("/db", fileSystem);
    const steps: number[] = [];
    const report = await db.checkpoint("/copy", {
      onProgress: ({ bytesDone, bytes }) => steps.push(bytesDone / bytes),
    });
    expect(report.linkedBytes).toBe(0);
    expect(steps.at(-1)).toBe(1);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    const copy = await openFor("/copy", { fileSystem, valueEncoding: "utf8" });
    expect([...copy.entries()]).toEqual([...db.entries()]);
  });

  test("of an empty database is an empty database", async () => {
    const root = temporaryDirectory();
    const db = await openFor(join(root, "db"));
    await db.checkpoint(join(root, "copy"));
    const copy = await openFor(join(root, "copy"), { createIfMissing: false });
    expect(copy.count()).toBe(0);
  });

  test("refuses a directory that holds something, and its own", async () => {
    const root = temporaryDirectory();
    const db = await filled(join(root, "db"));
    writeFileSync(join(root, "file.txt"), "");
    await expect(db.checkpoint(root)).rejects.toMatchObject({ code: "MEMKV_EXISTS" });
    const invalid = { code: "MEMKV_INVALID_ARGUMENT" };
    const before = readdirSync(join(root, "db"));
    for (const path of [`${root}/db`, `${root}/db/`, `${root}/./db`, `${root}/db/copy`]) {
      await expect(db.checkpoint(path)).rejects.toMatchObject(invalid);
    }
    expect(readdirSync(join(root, "db"))).toEqual(before);
    await expect(db.checkpoint("")).rejects.toMatchObject(invalid);
    const reader = await openFor(join(root, "db"), { readOnly: true, valueEncoding: "utf8" });
    await expect(reader.checkpoint(join(root, "x"))).rejects.toMatchObject({
      code: "MEMKV_READ_ONLY",
    });
  });

  test("that fails at any operation leaves no database, and can be made again", async () => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const db = await filled("/db", fileSystem);
    await db.flush();
    const content = [...db.entries()];
    let failures = 0;
    for (; ; failures++) {
      fileSystem.inject({ nth: failures + 1, effect: { kind: "fail", code: "ENOSPC" } });
      const failure = await db.checkpoint("/copy").then(
        () => undefined,
        (error: unknown) => error,
      );
      fileSystem.heal();
      if (failure === undefined) break;
      expect(await fileSystem.stat("/copy/MANIFEST")).toBeUndefined();
      await db.checkpoint(`/again${failures}`);
      const copy = await open(`/again${failures}`, { fileSystem, valueEncoding: "utf8" });
      expect([...copy.entries()]).toEqual(content);
      await copy.close();
    }
    expect(failures).toBeGreaterThan(10);
  });

  test.each([
    ["before its lock is there", "lock"],
    ["while it looks whether the directory is empty", "list"],
  ] as const)("makes nothing, here or there, if the database is closed %s", async (_, kind) => {
    const fileSystem = new FaultFileSystem(new MemoryFileSystem());
    const errors: unknown[] = [];
    const db = await filled("/db", fileSystem);
    db.on("error", (error) => errors.push(error));
    const held = gate();
    const effect = { kind: "delay", until: held.promise } as const;
    fileSystem.inject({ kinds: [kind], path: /copy$/, effect });
    const made = db.checkpoint("/copy");
    await expect.poll(() => fileSystem.struck.length).toBe(1);
    await db.close();
    const before = await fileSystem.list("/db");
    held.resolve();
    await expect(made).rejects.toMatchObject({ code: "MEMKV_CLOSED" });
    expect(await fileSystem.list("/db")).toEqual(before);
    expect(await fileSystem.list("/copy")).toEqual([]);
    expect(errors).toEqual([]);
  });

  test("is durable, whole, once it has resolved", async () => {
    const fileSystem = new CrashFileSystem();
    const db = await filled("/db", fileSystem);
    const before = [...db.entries()];
    await db.checkpoint("/copy");
    for (const state of fileSystem.crashStates({ seed: 1, count: 50 })) {
      const copy = await open("/copy", { fileSystem: state, valueEncoding: "utf8" });
      expect([...copy.entries()]).toEqual(before);
      await copy.close();
    }
  });
});
