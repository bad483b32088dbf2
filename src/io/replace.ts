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
 * new bytes could not be written: the old file is untouched, and the caller may try again. Rejects
 * with MEMKV_POISONED when the directory could not be synced: a crash may bring back the old file or
 * keep the new one, so the caller must delete nothing that either refers to, and stop writing.
 */
export async function replaceFile(
  fileSystem: FileSystem,
  directory: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  const path = joinPath(directory, name);
  const temporaryPath = path + TEMPORARY_SUFFIX;
  if ((await fileSystem.stat(temporaryPath)) !== undefined) await fileSystem.remove(temporaryPath);
  const file = await fileSystem.open(temporaryPath, "create");
  try {
    try {
      await file.write(bytes, 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await fileSystem.rename(temporaryPath, path);
  } catch (error) {
    // Frees the space when the disk is full; if this fails too, the first error tells more.
    await fileSystem.remove(temporaryPath).catch(() => {});
    throw error;
  }
  await fileSystem.syncDirectory(directory).catch((error: unknown) => {
    throw uncertain(path, error);
  });
}

function uncertain(path: string, cause: unknown): DatabaseError {
  return new DatabaseError(
    "MEMKV_POISONED",
    `${path} was replaced, but its directory could not be synced: whether the replacement ` +
      "survives a crash is unknown until the database is reopened",
    { cause },
  );
}
