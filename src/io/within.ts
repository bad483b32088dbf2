/**
 * Where paths lie, whatever links and spellings they use: as far as the file system can tell
 * (`realPath`).
 */
import { type FileSystem, joinPath } from "./file-system.ts";

/** The path that all paths to a file or directory have in common. */
export async function realPathOf(fileSystem: FileSystem, path: string): Promise<string> {
  return (await fileSystem.realPath?.(path)) ?? path;
}

/** Whether a path, of which nothing need exist yet, is that of a directory or leads into it. */
export async function isWithin(
  fileSystem: FileSystem,
  path: string,
  directory: string,
): Promise<boolean> {
  const inner = await realPathOf(fileSystem, path);
  const outer = await realPathOf(fileSystem, directory);
  const isWindows = outer.includes("\\") && !outer.includes("/");
  return inner === outer || inner.startsWith(isWindows ? `${outer}\\` : joinPath(outer, ""));
}
