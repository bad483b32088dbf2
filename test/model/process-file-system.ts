/**
 * The file system as one process sees it. Killing the process stops its effects at once: calls that
 * were made have happened, calls that follow never return. Its files, and not its locks, are there
 * for the next process. As after kill -9 what was written is there, synced or not.
 */
import type { DirectoryLock, File, FileSystem, OpenMode } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";

export class ProcessFileSystem implements FileSystem {
  private readonly disk: MemoryFileSystem;
  private isAlive = true;

  constructor(disk: MemoryFileSystem = new MemoryFileSystem()) {
    this.disk = disk;
  }

  /** Ends this process; returns the same disk as the next one sees it. */
  kill(): ProcessFileSystem {
    this.isAlive = false;
    return new ProcessFileSystem(this.disk);
  }

  async open(path: string, mode: OpenMode): Promise<File> {
    return this.wrap(await this.whileAlive(() => this.disk.open(path, mode)));
  }

  createSync(path: string): File {
    return this.wrap(this.orThrow(() => this.disk.createSync(path)));
  }

  private wrap(file: File): File {
    const { path } = file;
    return {
      path,
      size: () => this.orThrow(() => file.size()),
      readSync: (target, position) => this.orThrow(() => file.readSync(target, position)),
      writeSync: (source, position) => this.orThrow(() => file.writeSync(source, position)),
      write: (source, position) => this.whileAlive(() => file.write(source, position)),
      sync: () => this.whileAlive(() => file.sync()),
      syncSync: () => this.orThrow(() => file.syncSync()),
      truncate: (length) => this.whileAlive(() => file.truncate(length)),
      close: () => this.whileAlive(() => file.close()),
    };
  }

  list(directory: string): Promise<string[]> {
    return this.whileAlive(() => this.disk.list(directory));
  }

  stat(path: string): Promise<{ size: number; isDirectory: boolean } | undefined> {
    return this.whileAlive(() => this.disk.stat(path));
  }

  createDirectory(path: string): Promise<void> {
    return this.whileAlive(() => this.disk.createDirectory(path));
  }

  rename(from: string, to: string): Promise<void> {
    return this.whileAlive(() => this.disk.rename(from, to));
  }

  remove(path: string): Promise<void> {
    return this.whileAlive(() => this.disk.remove(path));
  }

  syncDirectory(directory: string): Promise<void> {
    return this.whileAlive(() => this.disk.syncDirectory(directory));
  }

  syncDirectorySync(directory: string): void {
    this.orThrow(() => this.disk.syncDirectorySync(directory));
  }

  /** A process has one database open here, so nobody competes for the lock. */
  async lock(): Promise<DirectoryLock> {
    return {
      isHeld: () => this.isAlive,
      confirm: () => this.whileAlive(() => Promise.resolve()),
      release: () => Promise.resolve(),
    };
  }

  private async whileAlive<T>(call: () => Promise<T>): Promise<T> {
    if (!this.isAlive) return await never();
    const result = await call();
    return this.isAlive ? result : await never();
  }

  private orThrow<T>(call: () => T): T {
    if (!this.isAlive) throw new Error("this process was killed");
    return call();
  }
}

/** A promise of its own each time: one for all would keep every process that ever waited for it. */
function never(): Promise<never> {
  return new Promise(() => {});
}
