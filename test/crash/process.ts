/**
 * A file system as one process sees it. `kill` ends the process: what it did has happened, durable
 * or not, and what it does from then on never happens and never returns.
 *
 * Syncs of logs and of directories may be slow: they happen after some turns of the event loop, so
 * that everything else goes on meanwhile.
 */
import { setImmediate } from "node:timers/promises";
import type { DirectoryLock, File, FileSystem, OpenMode } from "../../src/io/file-system.ts";

/** A promise of its own each time: one for all would keep every process that ever waited for it. */
function never(): Promise<never> {
  return new Promise(() => {});
}

export class Process implements FileSystem {
  /** Resolves when the process was killed. */
  readonly death: Promise<void>;
  readonly #disk: FileSystem;
  /** Turns of the event loop that a sync of a log or a directory waits. */
  readonly #syncTurns: number;
  #isAlive: boolean;
  #die: () => void = () => {};

  constructor(disk: FileSystem, syncTurns = 0) {
    this.#disk = disk;
    this.#syncTurns = syncTurns;
    this.#isAlive = true;
    this.death = new Promise((resolve) => {
      this.#die = resolve;
    });
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  kill(): void {
    this.#isAlive = false;
    this.#die();
  }

  async open(path: string, mode: OpenMode): Promise<File> {
    return this.#wrap(await this.#run(() => this.#disk.open(path, mode)));
  }

  createSync(path: string): File {
    return this.#wrap(this.#runSync(() => this.#disk.createSync(path)));
  }

  #wrap(file: File): File {
    const { path } = file;
    return {
      path,
      size: () => this.#runSync(() => file.size()),
      readSync: (target, position) => this.#runSync(() => file.readSync(target, position)),
      writeSync: (source, position) => this.#runSync(() => file.writeSync(source, position)),
      write: (source, position) => this.#run(() => file.write(source, position)),
      sync: () => this.#runLate(path.endsWith(".wal"), () => file.sync()),
      syncSync: () => this.#runSync(() => file.syncSync()),
      truncate: (length) => this.#run(() => file.truncate(length)),
      close: () => this.#run(() => file.close()),
    };
  }

  list(directory: string): Promise<string[]> {
    return this.#run(() => this.#disk.list(directory));
  }

  stat(
    path: string,
  ): Promise<{ readonly size: number; readonly isDirectory: boolean } | undefined> {
    return this.#run(() => this.#disk.stat(path));
  }

  createDirectory(path: string): Promise<void> {
    return this.#run(() => this.#disk.createDirectory(path));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#run(() => this.#disk.rename(from, to));
  }

  remove(path: string): Promise<void> {
    return this.#run(() => this.#disk.remove(path));
  }

  syncDirectory(directory: string): Promise<void> {
    return this.#runLate(true, () => this.#disk.syncDirectory(directory));
  }

  syncDirectorySync(directory: string): void {
    this.#runSync(() => this.#disk.syncDirectorySync(directory));
  }

  /** Each process has one database open here, and a dead one has no locks. */
  async lock(): Promise<DirectoryLock> {
    return {
      isHeld: () => true,
      confirm: () => this.#run(async () => {}),
      release: async () => {},
    };
  }

  async #runLate(isLate: boolean, sync: () => Promise<void>): Promise<void> {
    for (let i = 0; isLate && i < this.#syncTurns; i++) await setImmediate();
    return await this.#run(sync);
  }

  async #run<T>(operation: () => Promise<T>): Promise<T> {
    if (!this.#isAlive) return await never();
    try {
      const result = await operation();
      return this.#isAlive ? result : await never();
    } catch (error) {
      if (!this.#isAlive) return await never();
      throw error;
    }
  }

  #runSync<T>(operation: () => T): T {
    if (!this.#isAlive) throw new Error("this process was killed");
    return operation();
  }
}
