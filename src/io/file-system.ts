/**
 * The file-system seam: everything memkv asks of a disk, and what each call promises about
 * durability. The engine knows no other way to a file, so that the same engine runs over Node's
 * file system, over memory, and over file systems that fail and crash on purpose.
 *
 * Durability, as POSIX has it:
 * 1. Bytes written are durable after `File.sync` resolved, not before, in whole or in any part.
 * 2. A file's name is durable after `syncDirectory` of its directory resolved: this holds for
 *    creating, renaming and removing. Syncing the file does not sync its name.
 * 3. `rename` replaces its target atomically: after a crash the name is one file or the other.
 * 4. After `sync` has rejected, nothing is known of the bytes since the last good sync, and asking
 *    again proves nothing (the page may have been marked clean). Callers must not retry it.
 *
 * Paths are strings joined with "/" by `joinPath`; directories are flat (no nesting within a
 * database).
 *
 * Errors: a method rejects, or throws, with what the system gave (an Error with a `code` such as
 * ENOENT, ENOSPC or EIO). Wrapping them into DatabaseError is the caller's business.
 */

/** `lock` may keep entries in the directory; their names begin with this, and no other file's does. */
export const LOCK_NAME = "LOCK";

/** How a file is opened. */
export type OpenMode =
  /** Must exist; bytes are only read. */
  | "read"
  /** Must not exist (EEXIST); read and written. */
  | "create"
  /** Must exist; read and written. */
  | "update";

export interface File {
  readonly path: string;

  /** Length of the file now. */
  size(): number;

  /**
   * Reads at `position` into all of `target`. Returns the bytes read: fewer than asked only where
   * the file ends. Synchronous, since point reads are.
   */
  readSync(target: Uint8Array, position: number): number;

  /**
   * Writes all of `source` at `position`, extending the file as needed. When it throws, any part
   * of the range may have been written (a short write shows as the error that stopped it).
   * Writing beyond the end leaves zeros between.
   */
  writeSync(source: Uint8Array, position: number): void;

  /** As `writeSync`, without blocking the thread. `source` must not change until it settles. */
  write(source: Uint8Array, position: number): Promise<void>;

  /** Makes all bytes written before the call durable (fdatasync), the length included. */
  sync(): Promise<void>;

  /** As `sync`, blocking the thread. */
  syncSync(): void;

  /** Cuts or zero-extends the file. Durable after `sync`. */
  truncate(length: number): Promise<void>;

  /** Idempotent. Does not sync. */
  close(): Promise<void>;
}

/** Exclusive ownership of a directory. */
export interface DirectoryLock {
  /**
   * Whether the lock is certainly still held: false from the moment it was lost or could have been
   * taken by another process (its refresh is overdue). Cheap; asked before every group of writes.
   */
  isHeld(): boolean;
  /**
   * Resolves once the lock is certainly held again, after a stall that left its refresh overdue;
   * rejects with LockedError if it was lost meanwhile. Immediate while `isHeld`.
   */
  confirm(): Promise<void>;
  /** Gives it back. Idempotent. */
  release(): Promise<void>;
}

export interface FileSystem {
  open(path: string, mode: OpenMode): Promise<File>;

  /** As `open` with mode `"create"`, blocking the thread. */
  createSync(path: string): File;

  /** Names (not paths) in a directory, in no order. Rejects with ENOENT if it does not exist. */
  list(directory: string): Promise<string[]>;

  /** Size in bytes, or undefined if there is no such file or directory. */
  stat(path: string): Promise<{ readonly size: number; readonly isDirectory: boolean } | undefined>;

  /** Creates the directory and its missing parents, each synced into its parent. No error if it exists. */
  createDirectory(path: string): Promise<void>;

  /** Renames a file, replacing `to` if it exists. */
  rename(from: string, to: string): Promise<void>;

  /**
   * Gives a file a second name, which must not exist yet; both are the same file. Optional: who
   * calls it copies the file where it is missing or rejects.
   */
  link?(existing: string, path: string): Promise<void>;

  /**
   * The path that all paths to a file or directory have in common, whatever links and spellings they
   * use; of what does not exist, the one at which `createDirectory` would make it. Optional: where this
   * is missing, each spelling counts as a path of its own.
   */
  realPath?(path: string): Promise<string>;

  /** Removes a file's name; handles that are open on it go on working. */
  remove(path: string): Promise<void>;

  /** Makes creates, renames and removes in the directory durable. */
  syncDirectory(directory: string): Promise<void>;

  /** As `syncDirectory`, blocking the thread. */
  syncDirectorySync(directory: string): void;

  /**
   * Takes exclusive ownership of an existing directory. Rejects with LockedError if another open
   * database has it. `onLost` is called once if the lock is lost while held.
   */
  lock(directory: string, onLost: (cause: Error) => void): Promise<DirectoryLock>;
}

/** Path of `name` in `directory`. */
export function joinPath(directory: string, name: string): string {
  return directory.endsWith("/") ? directory + name : `${directory}/${name}`;
}

/** The directory part of a file's path, "." for a bare name. Users write paths as their system does. */
export function directoryOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1) || ".";
}
