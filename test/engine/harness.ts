/** Databases and directories that go when the test ends. */
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type Database, type OpenOptions, open } from "../../src/index.ts";

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "memkv-engine-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** As `open`, on the calling thread unless told otherwise; closed when the test ends. */
export async function openFor<K = string, V = unknown>(
  directory: string,
  options: OpenOptions<K, V> = {},
): Promise<Database<K, V>> {
  const database = await open<K, V>(directory, { background: "inline", ...options });
  onTestFinished(async () => {
    // A test of a failing close has the failure already.
    await database.close().catch(() => {});
  });
  return database;
}

/** Names of files in a directory of the file system given, but for what the lock leaves there. */
export function withoutLock(names: readonly string[]): string[] {
  return names.filter((name) => !name.startsWith("LOCK")).sort();
}

/** A promise and what resolves it. */
export function gate(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Files of the directory that this process has open, more than once if so. */
export function openFiles(directory: string): string[] {
  if (process.platform !== "linux") return [];
  const open: string[] = [];
  for (const descriptor of readdirSync("/proc/self/fd")) {
    try {
      const path = readlinkSync(`/proc/self/fd/${descriptor}`);
      if (path.startsWith(directory)) open.push(path);
    } catch {
      // It was closed meanwhile.
    }
  }
  return open;
}
