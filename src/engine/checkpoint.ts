/**
 * Checkpoint: a second database with what the first one holds at one moment.
 *
 * Segments and value logs are never changed once they are written, so a second name for the same
 * file (a hard link) serves as a copy, and costs no space until compaction replaces the first;
 * where the file system has no such names, or the target is on another one, the bytes are copied.
 * The manifest comes last: until then the target is no database, and a crash leaves one that does
 * not open. The target's lock is held meanwhile, so that no other checkpoint, and no database, has
 * it too: each would take the other's files for its own.
 *
 * 1. Everything accepted so far is flushed, so no log has to come along; the Version is held.
 * 2. Its files are linked or copied, copies synced.
 * 3. An empty log, then a manifest of that Version (recovery.ts, `foundDatabase`).
 */
import { DatabaseError, InvalidArgumentError } from "../errors.ts";
import { type DirectoryLock, type File, type FileSystem, joinPath } from "../io/file-system.ts";
import { isWithin } from "../io/within.ts";
import { walFileName } from "../manifest/files.ts";
import { MANIFEST_NAME } from "../manifest/manifest.ts";
import { total } from "../manifest/version.ts";
import { foundDatabase, strangersIn } from "./founding.ts";
import { namesIn } from "./recovery.ts";
import type { Store } from "./store.ts";

/** How far `checkpoint` has come. */
export interface CheckpointProgress {
  readonly bytesDone: number;
  readonly bytes: number;
}

/** What `checkpoint` made. */
export interface CheckpointReport {
  /** Segments and value logs, and their bytes. */
  readonly files: number;
  readonly bytes: number;
  /** Bytes of those that share the disk space of the original. */
  readonly linkedBytes: number;
  /** The newest write in it. */
  readonly lastSeqno: number;
}

const COPY_BYTES = 2 ** 20;

/**
 * Throws InvalidArgumentError for a target that is the store itself or lies in it, MEMKV_EXISTS for one
 * that is not empty, LockedError for one in use.
 */
export async function checkpointStore(
  store: Store,
  target: string,
  onProgress: ((progress: CheckpointProgress) => void) | undefined,
): Promise<CheckpointReport> {
  const { fileSystem } = store;
  if (await isWithin(fileSystem, target, store.directory)) {
    throw new InvalidArgumentError(
      "a checkpoint needs a directory of its own, outside that of the database",
    );
  }
  await fileSystem.createDirectory(target);
  // Whether it was lost is asked before the manifest makes a database of the target.
  const lock = await fileSystem.lock(target, () => {});
  try {
    const strangers = await strangersIn(fileSystem, target);
    if (strangers.length > 0) {
      throw new DatabaseError("MEMKV_EXISTS", `${target} is not empty: it holds ${strangers[0]}`);
    }
    await store.flush();
    return await fillTarget(store, target, lock, onProgress);
  } finally {
    // One that cannot be given back goes stale, and says nothing about what was made.
    await lock.release().catch(() => {});
  }
}

/** Makes the newest Version's database in an empty directory whose lock is held. */
async function fillTarget(
  store: Store,
  target: string,
  lock: DirectoryLock,
  onProgress: ((progress: CheckpointProgress) => void) | undefined,
): Promise<CheckpointReport> {
  const { fileSystem } = store;
  // Of one moment: nothing is awaited between the two.
  const held = store.sources.version;
  const { manifest } = store.versions;
  held.hold();
  const logNumber = manifest.nextFileNumber;
  // In the order of their removal, should it come to that: without a manifest it is no database.
  const made = [MANIFEST_NAME, walFileName(logNumber)].map((name) => joinPath(target, name));
  try {
    const { version, databaseId, keyEncoding, valueEncoding, lastSeqno } = manifest;
    const metas = [...version.runs.flat(), ...version.valueLogs];
    const bytes = total(metas, "fileBytes");
    let bytesDone = 0;
    let linkedBytes = 0;
    for (const [i, name] of namesIn(manifest).entries()) {
      store.checkOpen();
      const path = joinPath(target, name);
      made.push(path);
      const source = joinPath(store.directory, name);
      const { fileBytes } = metas[i];
      if (await tryLink(fileSystem, source, path)) linkedBytes += fileBytes;
      else
        await copy(store, source, path, (done) =>
          onProgress?.({ bytesDone: bytesDone + done, bytes }),
        );
      bytesDone += fileBytes;
      onProgress?.({ bytesDone, bytes });
    }
    await lock.confirm();
    const content = { databaseId, keyEncoding, valueEncoding, lastSeqno, version };
    await foundDatabase(fileSystem, target, content, logNumber);
    return { files: metas.length, bytes, linkedBytes, lastSeqno };
  } catch (error) {
    // What went wrong tells more than what could not be cleaned up after it.
    for (const path of made) await fileSystem.remove(path).catch(() => {});
    throw error;
  } finally {
    held.release();
  }
}

async function tryLink(fileSystem: FileSystem, source: string, path: string): Promise<boolean> {
  try {
    await fileSystem.link?.(source, path);
    return fileSystem.link !== undefined;
  } catch {
    // Another device, or no such thing there. If it is worse, copying runs into it and says so.
    return false;
  }
}

async function copy(
  store: Store,
  source: string,
  path: string,
  onProgress: (done: number) => void,
): Promise<void> {
  const { fileSystem } = store;
  const from = await fileSystem.open(source, "read");
  try {
    const to = await fileSystem.open(path, "create");
    try {
      await copyBytes(from, to, (done) => {
        store.checkOpen();
        onProgress(done);
      });
      await to.sync();
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

async function copyBytes(from: File, to: File, onProgress: (done: number) => void): Promise<void> {
  const buffer = new Uint8Array(COPY_BYTES);
  let position = 0;
  for (;;) {
    const count = from.readSync(buffer, position);
    if (count === 0) return;
    await to.write(buffer.subarray(0, count), position);
    position += count;
    onProgress(position);
  }
}
