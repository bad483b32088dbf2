/**
 * MemoryFileSystem: the file system of `open(":memory:")` and of tests.
 *
 * Files are growing buffers in one map from path to content; directories are a set of paths. As on
 * POSIX, an open file outlives its name: removing or replacing it leaves the handles on the old
 * content working. Nothing here is durable, so every sync succeeds at once; what a crash would leave
 * is simulated by `CrashFileSystem` (testing/), not here.
 *
 * Invariants:
 * 1. The parent of every file and directory is in `directories`; the empty path (the root, which is
 *    also the working directory) always is.
 * 2. Bytes of a content's buffer beyond its length are zero, so that extending needs no clearing.
 */
import { LockedError } from "../errors.ts";
import type { DirectoryLock, File, FileSystem, OpenMode } from "./file-system.ts";
import { systemError } from "./system-error.ts";

/** What a name stands for; shared by all handles that opened it. */
class Content {
  bytes: Uint8Array = new Uint8Array(0);
  length = 0;

  resize(length: number): void {
    if (length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(length, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    if (length < this.length) this.bytes.fill(0, length, this.length);
    this.length = length;
  }
}

export class MemoryFileSystem implements FileSystem {
  readonly #files = new Map<string, Content>();
  readonly #directories = new Set<string>([""]);
  readonly #locks = new Set<string>();

  async open(path: string, mode: OpenMode): Promise<File> {
    const name = normalize(path);
    if (this.#directories.has(name)) {
      throw systemError(mode === "create" ? "EEXIST" : "EISDIR", "open", path);
    }
    this.#requireDirectory(parentOf(name), "open", path);
    let content = this.#files.get(name);
    if (mode === "create") {
      if (content !== undefined) throw systemError("EEXIST", "open", path);
      content = new Content();
      this.#files.set(name, content);
    }
    if (content === undefined) throw systemError("ENOENT", "open", path);
    return new MemoryFile(path, content, mode !== "read");
  }

  async list(directory: string): Promise<string[]> {
    const name = normalize(directory);
    this.#requireDirectory(name, "scandir", directory);
    const names: string[] = [];
    for (const paths of [this.#files.keys(), this.#directories]) {
      for (const path of paths) {
        if (path !== "" && parentOf(path) === name)
          names.push(path.slice(path.lastIndexOf("/") + 1));
      }
    }
    return names;
  }

  async stat(path: string): Promise<{ size: number; isDirectory: boolean } | undefined> {
    const name = normalize(path);
    if (this.#directories.has(name)) return { size: 0, isDirectory: true };
    const content = this.#files.get(name);
    return content === undefined ? undefined : { size: content.length, isDirectory: false };
  }

  async createDirectory(path: string): Promise<void> {
    const name = normalize(path);
    if (this.#files.has(name)) throw systemError("EEXIST", "mkdir", path);
    const created: string[] = [];
    for (let at = name; !this.#directories.has(at); at = parentOf(at)) {
      if (this.#files.has(at)) throw systemError("ENOTDIR", "mkdir", path);
      created.push(at);
    }
    for (const directory of created) this.#directories.add(directory);
  }

  async rename(from: string, to: string): Promise<void> {
    const source = normalize(from);
    const target = normalize(to);
    const content = this.#files.get(source);
    if (content === undefined) {
      throw systemError(this.#directories.has(source) ? "EISDIR" : "ENOENT", "rename", from);
    }
    if (this.#directories.has(target)) throw systemError("EISDIR", "rename", to);
    this.#requireDirectory(parentOf(target), "rename", to);
    this.#files.delete(source);
    this.#files.set(target, content);
  }

  async remove(path: string): Promise<void> {
    const name = normalize(path);
    if (this.#directories.has(name)) throw systemError("EISDIR", "unlink", path);
    if (!this.#files.delete(name)) throw systemError("ENOENT", "unlink", path);
  }

  async syncDirectory(directory: string): Promise<void> {
    this.#requireDirectory(normalize(directory), "fsync", directory);
  }

  async lock(directory: string, _onLost: (cause: Error) => void): Promise<DirectoryLock> {
    const name = normalize(directory);
    this.#requireDirectory(name, "lock", directory);
    if (this.#locks.has(name)) {
      throw new LockedError(
        `${directory} is open already on this file system: close the other database first`,
      );
    }
    this.#locks.add(name);
    let isHeld = true;
    return {
      isHeld: () => isHeld,
      release: async () => {
        if (isHeld) this.#locks.delete(name);
        isHeld = false;
      },
    };
  }

  #requireDirectory(name: string, call: string, path: string): void {
    if (this.#directories.has(name)) return;
    throw systemError(this.#files.has(name) ? "ENOTDIR" : "ENOENT", call, path);
  }
}

class MemoryFile implements File {
  readonly path: string;
  readonly #content: Content;
  readonly #isWritable: boolean;
  #isClosed: boolean;

  constructor(path: string, content: Content, isWritable: boolean) {
    this.path = path;
    this.#isClosed = false;
    this.#content = content;
    this.#isWritable = isWritable;
  }

  size(): number {
    if (this.#isClosed) throw systemError("EBADF", "fstat", this.path);
    return this.#content.length;
  }

  readSync(target: Uint8Array, position: number): number {
    if (this.#isClosed) throw systemError("EBADF", "read", this.path);
    const { bytes, length } = this.#content;
    const count = Math.max(0, Math.min(target.length, length - position));
    target.set(bytes.subarray(position, position + count));
    return count;
  }

  writeSync(source: Uint8Array, position: number): void {
    this.#requireWritable("write");
    if (source.length === 0) return;
    const end = position + source.length;
    if (end > this.#content.length) this.#content.resize(end);
    this.#content.bytes.set(source, position);
  }

  async write(source: Uint8Array, position: number): Promise<void> {
    this.writeSync(source, position);
  }

  async sync(): Promise<void> {
    if (this.#isClosed) throw systemError("EBADF", "fdatasync", this.path);
  }

  async truncate(length: number): Promise<void> {
    this.#requireWritable("ftruncate");
    this.#content.resize(length);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #requireWritable(call: string): void {
    if (this.#isClosed || !this.#isWritable) throw systemError("EBADF", call, this.path);
  }
}

/** One spelling for each path: no empty, "." or ".." parts, no slash at either end. */
function normalize(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** The root is its own parent. */
function parentOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf("/")));
}
