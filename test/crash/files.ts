/** The bytes of files, for tests that change them behind a database's back. */
import { joinPath } from "../../src/io/file-system.ts";
import type { MemoryFileSystem } from "../../src/io/memory.ts";

/** Every file of a directory, by name. */
export async function filesOf(
  fileSystem: MemoryFileSystem,
  directory: string,
): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const name of await fileSystem.list(directory)) {
    const file = await fileSystem.open(joinPath(directory, name), "read");
    const bytes = new Uint8Array(file.size());
    file.readSync(bytes, 0);
    files.set(name, bytes);
    await file.close();
  }
  return files;
}
