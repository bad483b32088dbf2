/**
 * What every FileSystem owes its callers, as one suite run over each implementation.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LockedError } from "../../src/errors.ts";
import { type FileSystem, joinPath } from "../../src/io/file-system.ts";
import { replaceFile, TEMPORARY_SUFFIX } from "../../src/io/replace.ts";

export interface Subject {
  readonly fileSystem: FileSystem;
  /** An existing, empty directory. */
  readonly directory: string;
  dispose(): Promise<void>;
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

export function describeFileSystem(name: string, create: () => Promise<Subject>): void {
  describe(`${name} keeps the contract of FileSystem`, () => {
    let subject: Subject;
    let fileSystem: FileSystem;
    let path: (name: string) => string;

    beforeEach(async () => {
      subject = await create();
      fileSystem = subject.fileSystem;
      path = (file) => joinPath(subject.directory, file);
    });

    afterEach(() => subject.dispose());

    async function write(file: string, content: Uint8Array): Promise<void> {
      const handle = await fileSystem.open(path(file), "create");
      handle.writeSync(content, 0);
      await handle.close();
    }

    async function read(file: string): Promise<Uint8Array> {
      const handle = await fileSystem.open(path(file), "read");
      const content = new Uint8Array(handle.size());
      expect(handle.readSync(content, 0)).toBe(content.length);
      await handle.close();
      return content;
    }

    describe("files", () => {
      test("a new file is empty, and both ways of writing extend it", async () => {
        const file = await fileSystem.open(path("a"), "create");
        expect(file.path).toBe(path("a"));
        expect(file.size()).toBe(0);
        file.writeSync(bytes(1, 2, 3), 0);
        await file.write(bytes(4, 5), 3);
        expect(file.size()).toBe(5);
        await file.sync();
        await file.close();
        expect(await read("a")).toEqual(bytes(1, 2, 3, 4, 5));
      });

      test("a file created and synced on the calling thread is like any other", async () => {
        const file = fileSystem.createSync(path("a"));
        expect(file.path).toBe(path("a"));
        file.writeSync(bytes(1, 2), 0);
        file.syncSync();
        await file.write(bytes(3), 2);
        await file.sync();
        fileSystem.syncDirectorySync(subject.directory);
        await file.close();
        expect(() => file.syncSync()).toThrow(errorWith("EBADF"));
        expect(await read("a")).toEqual(bytes(1, 2, 3));
      });

      test("closing waits for what is under way", async () => {
        const file = await fileSystem.open(path("a"), "create");
        const content = new Uint8Array(2 ** 20).fill(7);
        const work = [file.write(content, 0), file.sync(), file.close()];
        await expect(file.sync()).rejects.toThrow(errorWith("EBADF"));
        await Promise.all(work);
        expect((await read("a")).every((byte) => byte === 7)).toBe(true);
      });

      test("writing beyond the end leaves zeros between", async () => {
        const file = await fileSystem.open(path("a"), "create");
        file.writeSync(bytes(1), 0);
        await file.write(bytes(2), 5);
        file.writeSync(bytes(), 100);
        expect(file.size()).toBe(6);
        await file.close();
        expect(await read("a")).toEqual(bytes(1, 0, 0, 0, 0, 2));
      });

      test("writing inside the file overwrites and keeps the rest", async () => {
        await write("a", bytes(1, 2, 3, 4));
        const file = await fileSystem.open(path("a"), "update");
        file.writeSync(bytes(9, 9), 1);
        expect(file.size()).toBe(4);
        await file.close();
        expect(await read("a")).toEqual(bytes(1, 9, 9, 4));
      });

      test("reading past the end returns what there is and leaves the rest of the target", async () => {
        await write("a", bytes(1, 2, 3));
        const file = await fileSystem.open(path("a"), "read");
        const target = bytes(7, 7, 7, 7);
        expect(file.readSync(target, 1)).toBe(2);
        expect(target).toEqual(bytes(2, 3, 7, 7));
        expect(file.readSync(target, 3)).toBe(0);
        expect(file.readSync(target, 1000)).toBe(0);
        await file.close();
      });

      test("views at any offset of a SharedArrayBuffer are read into and written from", async () => {
        const shared = new Uint8Array(new SharedArrayBuffer(64), 7, 5);
        shared.set(bytes(1, 2, 3, 4, 5));
        const file = await fileSystem.open(path("a"), "create");
        file.writeSync(shared, 0);
        await file.write(shared, 5);
        const target = new Uint8Array(new SharedArrayBuffer(64), 3, 10);
        expect(file.readSync(target, 0)).toBe(10);
        expect(Array.from(target)).toEqual([1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
        await file.close();
      });

      test("truncate cuts, and extends with zeros even where bytes were before", async () => {
        const file = await fileSystem.open(path("a"), "create");
        file.writeSync(bytes(1, 2, 3, 4), 0);
        await file.truncate(2);
        expect(file.size()).toBe(2);
        await file.truncate(4);
        expect(file.size()).toBe(4);
        await file.close();
        expect(await read("a")).toEqual(bytes(1, 2, 0, 0));
      });

      test("two handles see one content", async () => {
        const writer = await fileSystem.open(path("a"), "create");
        const reader = await fileSystem.open(path("a"), "read");
        writer.writeSync(bytes(1, 2), 0);
        const target = new Uint8Array(2);
        expect(reader.readSync(target, 0)).toBe(2);
        expect(target).toEqual(bytes(1, 2));
        await writer.close();
        await reader.close();
      });

      test("an open file outlives its name", async () => {
        await write("a", bytes(1));
        const file = await fileSystem.open(path("a"), "read");
        await fileSystem.remove(path("a"));
        await write("a", bytes(2));
        const target = new Uint8Array(1);
        expect(file.readSync(target, 0)).toBe(1);
        expect(target).toEqual(bytes(1));
        await file.close();
      });

      test("a file opened to read refuses writes", async () => {
        await write("a", bytes(1));
        const file = await fileSystem.open(path("a"), "read");
        expect(() => file.writeSync(bytes(2), 0)).toThrow(errorWith("EBADF"));
        await expect(file.write(bytes(2), 0)).rejects.toThrow(errorWith("EBADF"));
        await file.close();
        expect(await read("a")).toEqual(bytes(1));
      });

      test("a closed file refuses everything but close", async () => {
        const file = await fileSystem.open(path("a"), "create");
        await file.close();
        await file.close();
        expect(() => file.size()).toThrow(errorWith("EBADF"));
        expect(() => file.readSync(new Uint8Array(1), 0)).toThrow(errorWith("EBADF"));
        expect(() => file.writeSync(bytes(1), 0)).toThrow(errorWith("EBADF"));
        await expect(file.write(bytes(1), 0)).rejects.toThrow(errorWith("EBADF"));
        await expect(file.truncate(0)).rejects.toThrow(errorWith("EBADF"));
        await expect(file.sync()).rejects.toThrow(errorWith("EBADF"));
      });

      test.each([
        ["a missing file to read", "ENOENT", "none", "read"],
        ["a directory to read", "EISDIR", "d", "read"],
        ["a directory to update", "EISDIR", "d", "update"],
        ["a directory to create", "EEXIST", "d", "create"],
        ["a missing file to update", "ENOENT", "none", "update"],
        ["an existing file to create", "EEXIST", "a", "create"],
        ["a file in a missing directory", "ENOENT", "none/a", "create"],
        ["a file below a file", "ENOTDIR", "a/b", "create"],
      ] as const)("opening %s is %s", async (_, code, file, mode) => {
        await write("a", bytes(1));
        await fileSystem.createDirectory(path("d"));
        await expect(fileSystem.open(path(file), mode)).rejects.toThrow(errorWith(code));
        if (mode === "create") {
          expect(() => fileSystem.createSync(path(file))).toThrow(errorWith(code));
        }
        expect(await read("a")).toEqual(bytes(1));
      });
    });

    describe("directories", () => {
      test("list names files and directories, not their contents", async () => {
        expect(await fileSystem.list(subject.directory)).toEqual([]);
        await write("a", bytes());
        await fileSystem.createDirectory(path("d/e"));
        await write("d/b", bytes());
        expect(new Set(await fileSystem.list(subject.directory))).toEqual(new Set(["a", "d"]));
        expect(new Set(await fileSystem.list(path("d")))).toEqual(new Set(["b", "e"]));
      });

      test("list of a missing directory is ENOENT and of a file ENOTDIR", async () => {
        await write("a", bytes());
        await expect(fileSystem.list(path("none"))).rejects.toThrow(errorWith("ENOENT"));
        await expect(fileSystem.list(path("a"))).rejects.toThrow(errorWith("ENOTDIR"));
      });

      test("stat tells files, directories and nothing apart", async () => {
        await write("a", bytes(1, 2, 3));
        expect(await fileSystem.stat(path("a"))).toEqual({ size: 3, isDirectory: false });
        expect((await fileSystem.stat(subject.directory))?.isDirectory).toBe(true);
        expect(await fileSystem.stat(path("none"))).toBeUndefined();
        expect(await fileSystem.stat(path("none/a"))).toBeUndefined();
      });

      test("createDirectory makes missing parents and accepts an existing one", async () => {
        await fileSystem.createDirectory(path("b/c/d"));
        await fileSystem.createDirectory(path("b/c/d"));
        await write("b/c/d/a", bytes(1));
        expect(await read("b/c/d/a")).toEqual(bytes(1));
      });

      test("createDirectory over a file is EEXIST, below one ENOTDIR", async () => {
        await write("a", bytes(1));
        await expect(fileSystem.createDirectory(path("a"))).rejects.toThrow(errorWith("EEXIST"));
        await expect(fileSystem.createDirectory(path("a/b"))).rejects.toThrow(errorWith("ENOTDIR"));
      });

      test("rename moves a file over another", async () => {
        await write("a", bytes(1));
        await write("b", bytes(2));
        await fileSystem.rename(path("a"), path("b"));
        expect(await fileSystem.list(subject.directory)).toEqual(["b"]);
        expect(await read("b")).toEqual(bytes(1));
      });

      test("rename and remove of a missing file are ENOENT", async () => {
        const rename = fileSystem.rename(path("none"), path("a"));
        await expect(rename).rejects.toThrow(errorWith("ENOENT"));
        await expect(fileSystem.remove(path("none"))).rejects.toThrow(errorWith("ENOENT"));
      });

      test("syncDirectory takes an existing directory only", async () => {
        await fileSystem.syncDirectory(subject.directory);
        await expect(fileSystem.syncDirectory(path("none"))).rejects.toThrow(errorWith("ENOENT"));
        expect(() => fileSystem.syncDirectorySync(path("none"))).toThrow(errorWith("ENOENT"));
      });
    });

    describe("lock", () => {
      const unexpected = (cause: Error): void => {
        throw cause;
      };

      test("a second lock is refused, saying what to do, until the first is released", async () => {
        const lock = await fileSystem.lock(subject.directory, unexpected);
        expect(lock.isHeld()).toBe(true);
        const second = fileSystem.lock(subject.directory, unexpected);
        await expect(second).rejects.toThrow(LockedError);
        await expect(second).rejects.toThrow("close the other database");
        expect(lock.isHeld()).toBe(true);
        await lock.release();
        await lock.release();
        expect(lock.isHeld()).toBe(false);
        const next = await fileSystem.lock(`${subject.directory}/`, unexpected);
        expect(next.isHeld()).toBe(true);
        expect(lock.isHeld()).toBe(false);
        await next.release();
      });

      test("of two attempts at once one succeeds", async () => {
        const attempts = await Promise.allSettled(
          [1, 2, 3].map(() => fileSystem.lock(subject.directory, unexpected)),
        );
        const locks = attempts.filter((attempt) => attempt.status === "fulfilled");
        expect(locks.length).toBe(1);
        for (const lock of locks) await lock.value.release();
      });

      test("directories are locked independently", async () => {
        await fileSystem.createDirectory(path("d"));
        const outer = await fileSystem.lock(subject.directory, unexpected);
        const inner = await fileSystem.lock(path("d"), unexpected);
        await inner.release();
        expect(outer.isHeld()).toBe(true);
        await outer.release();
      });

      test("a missing directory cannot be locked", async () => {
        const lock = fileSystem.lock(path("none"), unexpected);
        await expect(lock).rejects.toThrow(errorWith("ENOENT"));
      });
    });

    describe("replaceFile", () => {
      test("creates, then replaces, and leaves nothing else behind", async () => {
        await replaceFile(fileSystem, subject.directory, "a", bytes(1));
        expect(await read("a")).toEqual(bytes(1));
        await replaceFile(fileSystem, subject.directory, "a", bytes(2, 3));
        expect(await read("a")).toEqual(bytes(2, 3));
        expect(await fileSystem.list(subject.directory)).toEqual(["a"]);
      });

      test("a leftover of an interrupted replacement is not mixed in", async () => {
        await write(`a${TEMPORARY_SUFFIX}`, bytes(9, 9, 9, 9));
        await replaceFile(fileSystem, subject.directory, "a", bytes(1));
        expect(await read("a")).toEqual(bytes(1));
        expect(await fileSystem.list(subject.directory)).toEqual(["a"]);
      });
    });
  });
}

/** Matches an error by its system code. */
export function errorWith(code: string): Error {
  return expect.objectContaining({ code });
}
