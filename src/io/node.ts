/**
 * NodeFileSystem: the seam over node:fs.
 *
 * Small reads and writes are synchronous (a system call into the page cache costs 1 us, a round trip
 * to the thread pool 26 us, and ten times that when it is one of the first, as those of opening a
 * database are), and so is what only looks at names or opens and closes what is only read. Syncs,
 * large writes and what changes a directory go to the thread pool, since they may wait for a disk.
 * Closing a file waits for what is pending on it: a file descriptor closed too early would be given
 * to the next file opened, and a late write would land there.
 *
 * Durability: `sync` is fdatasync (F_FULLFSYNC on macOS, by libuv); a directory is synced by opening
 * it and fsync. Windows cannot open a directory that way and makes its changes durable by itself
 * (NTFS journals metadata), so there it does nothing.
 */
import fs, { constants, promises as fsp, fstatSync, readSync, writeSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { DirectoryLock, File, FileSystem, OpenMode } from "./file-system.ts";
import { lockDirectory } from "./lock.ts";
import { systemError, systemErrorCode } from "./system-error.ts";

/** O_CLOEXEC is set by libuv; O_APPEND is not, since positions are ours. */
const OPEN_FLAGS: Record<OpenMode, number> = {
  read: constants.O_RDONLY,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
  update: constants.O_RDWR,
};

/** A system call moves at most 2^31 - 4096 bytes on Linux, and Node accepts less than 2^31. */
const MAX_CALL_BYTES: number = 2 ** 30;

const openFile = promisify(fs.open);
const closeFile = promisify(fs.close);
const writeFile = promisify(fs.write);
const truncateFile = promisify(fs.ftruncate);
const syncFile = promisify(fs.fdatasync);
const syncFileAndFacts = promisify(fs.fsync);

export class NodeFileSystem implements FileSystem {
  async open(filePath: string, mode: OpenMode): Promise<File> {
    if (mode !== "read") {
      return new NodeFile(filePath, await openFile(filePath, OPEN_FLAGS[mode], 0o644), mode);
    }
    const descriptor = fs.openSync(filePath, OPEN_FLAGS.read);
    try {
      // Opening a directory to read succeeds on POSIX; reading it would not.
      if (fstatSync(descriptor).isDirectory()) throw systemError("EISDIR", "open", filePath);
    } catch (error) {
      fs.closeSync(descriptor);
      throw error;
    }
    return new NodeFile(filePath, descriptor, mode);
  }

  async link(existing: string, filePath: string): Promise<void> {
    await fsp.link(existing, filePath);
  }

  async realPath(target: string): Promise<string> {
    let existing = target;
    for (;;) {
      try {
        // What does not exist is where `createDirectory` would make it.
        return path.join(fs.realpathSync.native(existing), path.relative(existing, target));
      } catch (error) {
        const code = systemErrorCode(error);
        if (code !== "ENOENT" && code !== "ENOTDIR") throw error;
        const parent = path.dirname(path.resolve(existing));
        if (parent === existing) throw error;
        existing = parent;
      }
    }
  }

  createSync(filePath: string): File {
    return new NodeFile(filePath, fs.openSync(filePath, OPEN_FLAGS.create, 0o644), "create");
  }

  async list(directory: string): Promise<string[]> {
    return fs.readdirSync(directory);
  }

  async stat(target: string): Promise<{ size: number; isDirectory: boolean } | undefined> {
    try {
      const stat = fs.statSync(target, { throwIfNoEntry: false });
      return stat && { size: stat.size, isDirectory: stat.isDirectory() };
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw error;
    }
  }

  async createDirectory(directory: string): Promise<void> {
    const missing: string[] = [];
    let existing = path.resolve(directory);
    while ((await this.stat(existing)) === undefined && path.dirname(existing) !== existing) {
      missing.push(existing);
      existing = path.dirname(existing);
    }
    if (missing.length === 0) await fsp.mkdir(existing, { recursive: true });
    // An earlier run may have been killed after creating this one and before syncing its name. Its
    // parent may be one that we cannot read, and then we did not create it either.
    await this.syncDirectory(path.dirname(existing)).catch((error: unknown) => {
      if (systemErrorCode(error) !== "EACCES" && systemErrorCode(error) !== "EPERM") throw error;
    });
    for (const created of missing.reverse()) {
      // Not recursive at first: that never ends where none can be made (Node 20, /proc/x).
      await fsp.mkdir(created).catch(async (error: unknown) => {
        if (systemErrorCode(error) !== "EEXIST") throw error;
        await fsp.mkdir(created, { recursive: true });
      });
      await this.syncDirectory(path.dirname(created));
    }
  }

  rename(from: string, to: string): Promise<void> {
    return fsp.rename(from, to);
  }

  remove(target: string): Promise<void> {
    return fsp.unlink(target);
  }

  async syncDirectory(directory: string): Promise<void> {
    if (process.platform === "win32") {
      await fsp.access(directory);
      return;
    }
    const descriptor = fs.openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await syncFileAndFacts(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
  }

  syncDirectorySync(directory: string): void {
    if (process.platform === "win32") {
      fs.accessSync(directory);
      return;
    }
    const descriptor = fs.openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      fs.fsyncSync(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
  }

  lock(directory: string, onLost: (cause: Error) => void): Promise<DirectoryLock> {
    return lockDirectory(directory, onLost);
  }
}

class NodeFile implements File {
  readonly path: string;
  readonly #fd: number;
  readonly #mode: OpenMode;
  #isClosed: boolean;
  /** Operations of the thread pool that are under way, and who waits for the last of them. */
  #pending: number;
  #whenIdle: () => void;

  constructor(filePath: string, fd: number, mode: OpenMode) {
    this.path = filePath;
    this.#fd = fd;
    this.#mode = mode;
    this.#isClosed = false;
    this.#pending = 0;
    this.#whenIdle = () => {};
  }

  size(): number {
    return fstatSync(this.#descriptor("fstat")).size;
  }

  readSync(target: Uint8Array, position: number): number {
    const descriptor = this.#descriptor("read");
    let done = 0;
    while (done < target.length) {
      const length = Math.min(target.length - done, MAX_CALL_BYTES);
      const count = readSync(descriptor, target, done, length, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  writeSync(source: Uint8Array, position: number): void {
    const descriptor = this.#descriptor("write");
    let done = 0;
    while (done < source.length) {
      const length = Math.min(source.length - done, MAX_CALL_BYTES);
      const count = writeSync(descriptor, source, done, length, position + done);
      if (count === 0) throw systemError("EIO", "write", this.path);
      done += count;
    }
  }

  write(source: Uint8Array, position: number): Promise<void> {
    return this.#run("write", async (descriptor) => {
      let done = 0;
      while (done < source.length) {
        const length = Math.min(source.length - done, MAX_CALL_BYTES);
        const { bytesWritten } = await writeFile(descriptor, source, done, length, position + done);
        if (bytesWritten === 0) throw systemError("EIO", "write", this.path);
        done += bytesWritten;
      }
    });
  }

  sync(): Promise<void> {
    return this.#run("fdatasync", (descriptor) => syncFile(descriptor));
  }

  syncSync(): void {
    fs.fdatasyncSync(this.#descriptor("fdatasync"));
  }

  truncate(length: number): Promise<void> {
    return this.#run("ftruncate", (descriptor) => truncateFile(descriptor, length));
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#pending > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    // To close what was written to may write it, on some file systems.
    if (this.#mode === "read") fs.closeSync(this.#fd);
    else await closeFile(this.#fd);
  }

  async #run(call: string, operation: (descriptor: number) => Promise<void>): Promise<void> {
    const descriptor = this.#descriptor(call);
    this.#pending++;
    try {
      await operation(descriptor);
    } finally {
      this.#pending--;
      if (this.#pending === 0) this.#whenIdle();
    }
  }

  /** Throws on a closed file: its number may already be another file's. */
  #descriptor(call: string): number {
    if (this.#isClosed) throw systemError("EBADF", call, this.path);
    return this.#fd;
  }
}
