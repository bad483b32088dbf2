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
  bytes: Uint8Array;
  length: number;
  /** Whether `bytes` is an image's, and must be copied before it is changed. */
  #isShared: boolean;

  constructor(image: Uint8Array) {
    this.bytes = image;
    this.length = image.length;
    this.#isShared = true;
  }

  write(source: Uint8Array, position: number): void {
    const end = position + source.length;
    this.#own(Math.max(end, this.length));
    this.bytes.set(source, position);
    this.length = Math.max(end, this.length);
  }

  truncate(length: number): void {
    this.#own(length);
    if (length < this.length) this.bytes.fill(0, length, this.length);
    this.length = length;
  }

  /** Makes the buffer ours, with room for `length` bytes. */
  #own(length: number): void {
    if (length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(length, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    } else if (this.#isShared) {
      this.bytes = this.bytes.slice();
    }
    this.#isShared = false;
  }
}

/** What a file system in memory may begin with. */
export interface DiskImage {
  /** By path. The bytes are not copied before they are changed, and must not change elsewhere. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Paths of directories that exist, besides the parents of the files. */
  readonly directories: Iterable<string>;
}

export class MemoryFileSystem implements FileSystem {
  readonly #files = new Map<string, Content>();
  readonly #directories = new Set<string>([""]);
  readonly #locks = new Set<string>();

  constructor(image: DiskImage = { files: new Map(), directories: [] }) {
    for (const directory of image.directories) this.#addDirectory(normalizePath(directory));
    for (const [path, bytes] of image.files) {
      const name = normalizePath(path);
      this.#addDirectory(parentPath(name));
      this.#files.set(name, new Content(bytes));
    }
  }

  async open(path: string, mode: OpenMode): Promise<File> {
    return this.#open(path, mode);
  }

  createSync(path: string): File {
    return this.#open(path, "create");
  }

  #open(path: string, mode: OpenMode): File {
    const name = normalizePath(path);
    if (this.#directories.has(name)) {
      throw systemError(mode === "create" ? "EEXIST" : "EISDIR", "open", path);
    }
    this.#requireDirectory(parentPath(name), "open", path);
    let content = this.#files.get(name);
    if (mode === "create") {
      if (content !== undefined) throw systemError("EEXIST", "open", path);
      content = new Content(new Uint8Array(0));
      this.#files.set(name, content);
    }
    if (content === undefined) throw systemError("ENOENT", "open", path);
    return new MemoryFile(path, content, mode !== "read");
  }

  async list(directory: string): Promise<string[]> {
    const name = normalizePath(directory);
    this.#requireDirectory(name, "scandir", directory);
    const names: string[] = [];
    for (const paths of [this.#files.keys(), this.#directories]) {
      for (const path of paths) {
        if (path !== "" && parentPath(path) === name)
          names.push(path.slice(path.lastIndexOf("/") + 1));
      }
    }
    return names;
  }

  async stat(path: string): Promise<{ size: number; isDirectory: boolean } | undefined> {
    const name = normalizePath(path);
    if (this.#directories.has(name)) return { size: 0, isDirectory: true };
    const content = this.#files.get(name);
    return content === undefined ? undefined : { size: content.length, isDirectory: false };
  }

  async createDirectory(path: string): Promise<void> {
    const name = normalizePath(path);
    if (this.#files.has(name)) throw systemError("EEXIST", "mkdir", path);
    for (let at = name; !this.#directories.has(at); at = parentPath(at)) {
      if (this.#files.has(at)) throw systemError("ENOTDIR", "mkdir", path);
    }
    this.#addDirectory(name);
  }

  async rename(from: string, to: string): Promise<void> {
    const source = normalizePath(from);
    const target = normalizePath(to);
    const content = this.#files.get(source);
    if (content === undefined) {
      throw systemError(this.#directories.has(source) ? "EISDIR" : "ENOENT", "rename", from);
    }
    if (this.#directories.has(target)) throw systemError("EISDIR", "rename", to);
    this.#requireDirectory(parentPath(target), "rename", to);
    this.#files.delete(source);
    this.#files.set(target, content);
  }

  async realPath(path: string): Promise<string> {
    return normalizePath(path);
  }

  async remove(path: string): Promise<void> {
    const name = normalizePath(path);
    if (this.#directories.has(name)) throw systemError("EISDIR", "unlink", path);
    if (!this.#files.delete(name)) throw systemError("ENOENT", "unlink", path);
  }

  async syncDirectory(directory: string): Promise<void> {
    this.syncDirectorySync(directory);
  }

  syncDirectorySync(directory: string): void {
    this.#requireDirectory(normalizePath(directory), "fsync", directory);
  }

  async lock(directory: string, _onLost: (cause: Error) => void): Promise<DirectoryLock> {
    const name = normalizePath(directory);
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
      confirm: async () => {
        if (!isHeld) throw new LockedError(`the lock on ${directory} was released`);
      },
      release: async () => {
        if (isHeld) this.#locks.delete(name);
        isHeld = false;
      },
    };
  }

  #addDirectory(name: string): void {
    for (let at = name; !this.#directories.has(at); at = parentPath(at)) this.#directories.add(at);
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
    if (source.length > 0) this.#content.write(source, position);
  }

  async write(source: Uint8Array, position: number): Promise<void> {
    this.writeSync(source, position);
  }

  async sync(): Promise<void> {
    this.syncSync();
  }

  syncSync(): void {
    if (this.#isClosed) throw systemError("EBADF", "fdatasync", this.path);
  }

  async truncate(length: number): Promise<void> {
    this.#requireWritable("ftruncate");
    this.#content.truncate(length);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #requireWritable(call: string): void {
    if (this.#isClosed || !this.#isWritable) throw systemError("EBADF", call, this.path);
  }
}

/** One spelling for each path: no empty, "." or ".." parts, no slash at either end. */
export function normalizePath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** The directory of a normalized path. The root is its own parent. */
export function parentPath(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf("/")));
}
