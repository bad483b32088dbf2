/**
 * openStore: from a directory to a store that runs, or to an error that says what is in the way.
 *
 * 1. The lock is taken, so that what follows is about files that nobody else changes. A read-only open
 *    takes none, and looks again where a writer may have come between.
 * 2. Recovery finds the manifest, or founds the database, replays the logs and removes what no one
 *    needs (recovery.ts).
 * 3. The files of the Version are opened, and the store is made of all that.
 *
 * Whatever fails, the lock is given back.
 */
import { randomBytes } from "node:crypto";
import { loadChecksum } from "../bytes/checksum.ts";
import { BlockCache } from "../cache/block-cache.ts";
import { CorruptionError, DatabaseError, ReadOnlyError } from "../errors.ts";
import type { DirectoryLock, FileSystem } from "../io/file-system.ts";
import { FileNumbers } from "../manifest/file-numbers.ts";
import { hasManifest, readManifest } from "../manifest/manifest.ts";
import { SymbolTables } from "../symbols/tables.ts";
import { checkEncoding } from "./codecs.ts";
import { findManifest, notFound } from "./founding.ts";
import { namesIn, recover } from "./recovery.ts";
import { reportLeftover, Store, type StoreEvents, type StoreOptions } from "./store.ts";
import { VersionStore } from "./versions.ts";

/**
 * Times that a read-only open looks at what one manifest names before it takes what it finds for damage,
 * and at what any do: beside a writer that merges many segments, each look may be overtaken.
 */
const LOOKS_AT_ONE_MANIFEST = 8;
const LOOKS_AT_ANY = 128;

/** Opens or founds the database in a directory. */
export async function openStore(
  fileSystem: FileSystem,
  directory: string,
  options: StoreOptions,
  events: StoreEvents,
): Promise<Store> {
  const checksumLoaded = loadChecksum();
  const facts = await fileSystem.stat(directory);
  if (facts !== undefined && !facts.isDirectory) {
    throw new DatabaseError(
      "MEMKV_NOT_A_DATABASE",
      `${directory} is a file: a database is a directory`,
    );
  }
  if (facts === undefined && (!options.createIfMissing || options.readOnly)) {
    throw notFound(directory, options);
  }
  if (options.readOnly) {
    await checksumLoaded;
    return await openReadOnly(fileSystem, directory, options, events);
  }
  // Who founded a database there made the directory durable first.
  if (!(await hasManifest(fileSystem, directory))) await fileSystem.createDirectory(directory);
  let store: Store | undefined;
  let lostCause: Error | undefined;
  const lock = await fileSystem.lock(directory, (cause) => {
    lostCause = cause;
    store?.loseLock(cause);
  });
  try {
    await checksumLoaded;
    store = await openLocked(fileSystem, directory, options, lock, events);
    if (lostCause !== undefined) store.loseLock(lostCause);
    return store;
  } catch (error) {
    // Why the open failed tells more than why its lock could not be given back.
    await lock.release().catch((cause: unknown) => reportLeftover(options, directory, cause));
    throw error;
  }
}

/**
 * Opens beside a writer, perhaps: what the manifest names may be replaced and removed, and the log
 * written to, while it is read. What then looks like damage is looked at again; what is still
 * damaged after several looks, while the manifest stays as it is, is.
 */
async function openReadOnly(
  fileSystem: FileSystem,
  directory: string,
  options: StoreOptions,
  events: StoreEvents,
): Promise<Store> {
  let looksAtThis = 0;
  let lastNames: string | undefined;
  for (let looks = 1; ; looks++) {
    try {
      return await openLocked(fileSystem, directory, options, UNLOCKED, events);
    } catch (error) {
      const mayHaveMoved =
        error instanceof CorruptionError || (error as { code?: unknown }).code === "ENOENT";
      if (!mayHaveMoved) throw error;
      const names = await filesNamed(fileSystem, directory);
      looksAtThis = names === lastNames ? looksAtThis + 1 : 1;
      lastNames = names;
      if (looksAtThis === LOOKS_AT_ONE_MANIFEST || looks === LOOKS_AT_ANY) throw error;
    }
  }
}

/** What tells a manifest from those before and after it; undefined if it cannot be read. */
async function filesNamed(fileSystem: FileSystem, directory: string): Promise<string | undefined> {
  try {
    const manifest = await readManifest(fileSystem, directory);
    return manifest && `${manifest.nextFileNumber}: ${namesIn(manifest)}`;
  } catch {
    return undefined;
  }
}

async function openLocked(
  fileSystem: FileSystem,
  directory: string,
  options: StoreOptions,
  lock: DirectoryLock,
  events: StoreEvents,
): Promise<Store> {
  const { manifest, created } = await findManifest(fileSystem, directory, options, () => ({
    keyEncoding: options.keyEncoding,
    valueEncoding: options.valueEncoding,
    databaseId: randomBytes(16),
  }));
  checkEncoding("keyEncoding", manifest.keyEncoding, options.keyEncoding);
  checkEncoding("valueEncoding", manifest.valueEncoding, options.valueEncoding);
  const recovered = await recover(fileSystem, directory, manifest, created, options, () =>
    lock.confirm(),
  );
  const blockCache = new BlockCache(options.blockCacheBytes);
  const symbolTables = new SymbolTables();
  const fileNumbers = FileNumbers.from(recovered.nextFileNumber);
  let store: Store | undefined;
  const versions = await VersionStore.open(manifest, fileNumbers, {
    fileSystem,
    directory,
    blockCache,
    symbolTables,
    durableLog: () => store?.logs.durable,
    lock,
    onLeftover: (path, cause) => reportLeftover(options, path, cause),
  });
  store = new Store({
    fileSystem,
    directory,
    options,
    lock,
    versions,
    fileNumbers,
    blockCache,
    symbolTables,
    recovered,
    events,
  });
  if (options.memtableIndex === "tree") await store.settling.start();
  if (!options.readOnly) await store.start(recovered);
  return store;
}

/** The lock of a read-only open, which takes none and writes nothing. */
const UNLOCKED: DirectoryLock = {
  isHeld: () => false,
  confirm: () => Promise.reject(new ReadOnlyError()),
  release: () => Promise.resolve(),
};
