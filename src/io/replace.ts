/**
 * Atomic replacement of a whole file: after a crash at any point the name holds the old bytes or the
 * new ones, entirely.
 *
 * The order is the point (see Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014,
 * section 3): the new bytes are written and synced under another name before the rename makes them
 * visible, or the name could come to stand for an empty file; the directory is synced after it, or a
 * caller could go on to delete what only the old bytes refer to and lose the rename in a crash.
 */
import { DatabaseError } from "../errors.ts";
import { type FileSystem, joinPath } from "./file-system.ts";

/** Ends the name under which the new bytes are written. A leftover is deleted by whoever opens next. */
export const TEMPORARY_SUFFIX = ".tmp";

/**
 * Makes `name` in `directory` hold exactly `bytes`, durably. Rejects with the system's error when the
 * new bytes could not be put in place: the old file is untouched, and the caller may try again.
 * Rejects with MEMKV_POISONED when it is unknown whether a crash would leave the old file or the new
 * one: the caller must delete nothing that either refers to, and stop writing.
 */
export async function replaceFile(
  fileSystem: FileSystem,
  directory: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  const path = joinPath(directory, name);
  const temporaryPath = path + TEMPORARY_SUFFIX;
  await write(fileSystem, temporaryPath, bytes);
  try {
    await fileSystem.rename(temporaryPath, path);
  } catch (error) {
    // A network file system may say that a rename failed which it has done.
    if (!(await exists(fileSystem, temporaryPath))) throw uncertain(path, error);
    await discard(fileSystem, temporaryPath);
    throw error;
  }
  await fileSystem.syncDirectory(directory).catch((error: unknown) => {
    throw uncertain(path, error);
  });
}

/** Writes and syncs a new file; removes it again if that fails. */
async function write(fileSystem: FileSystem, path: string, bytes: Uint8Array): Promise<void> {
  if ((await fileSystem.stat(path)) !== undefined) await fileSystem.remove(path);
  const file = await fileSystem.open(path, "create");
  try {
    try {
      await file.write(bytes, 0);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    await discard(fileSystem, path);
    throw error;
  }
}

/** Frees the space when the disk is full. If this fails too, the first error tells more. */
async function discard(fileSystem: FileSystem, path: string): Promise<void> {
  await fileSystem.remove(path).catch(() => {});
}

/** False if that cannot be told. */
async function exists(fileSystem: FileSystem, path: string): Promise<boolean> {
  try {
    return (await fileSystem.stat(path)) !== undefined;
  } catch {
    return false;
  }
}

function uncertain(path: string, cause: unknown): DatabaseError {
  return new DatabaseError(
    "MEMKV_POISONED",
    `whether ${path} was replaced, and whether that survives a crash, is unknown until the ` +
      "database is reopened",
    { cause },
  );
}
