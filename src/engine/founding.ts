/**
 * What makes a directory a database: its manifest, and how one without is founded.
 *
 * A directory without a manifest becomes a new database if it holds nothing else (a log without a record
 * may be there: founding was interrupted), and otherwise is not a memkv database. Founding may be cut
 * short by a crash at every step, and is then done again from the start at the next open.
 */
import { DatabaseError } from "../errors.ts";
import { type FileSystem, joinPath, LOCK_NAME } from "../io/file-system.ts";
import { TEMPORARY_SUFFIX } from "../io/replace.ts";
import { parseFileName, walFileName } from "../manifest/files.ts";
import { type Manifest, readManifest, writeManifest } from "../manifest/manifest.ts";
import { HEADER_BYTES } from "../wal/format.ts";
import { WalWriter } from "../wal/writer.ts";
import type { ResolvedOptions } from "./options.ts";

/** File number of a database's first log. */
const FIRST_FILE_NUMBER = 1;

/** What a database is founded with. */
export interface Founding {
  readonly keyEncoding: string;
  readonly valueEncoding: string;
  /** 16 random bytes. */
  readonly databaseId: Uint8Array;
}

/** Whether a database may be founded, or found. */
export type FoundingMode = Pick<
  ResolvedOptions<unknown, unknown>,
  "createIfMissing" | "errorIfExists" | "readOnly"
>;

/** The manifest of the database in the directory; a new one where there is none and that is allowed. */
export async function findManifest(
  fileSystem: FileSystem,
  directory: string,
  mode: FoundingMode,
  founding: () => Founding,
): Promise<{ readonly manifest: Manifest; readonly created: boolean }> {
  const manifest = await readManifest(fileSystem, directory);
  if (manifest !== undefined) {
    if (mode.errorIfExists) {
      throw new DatabaseError(
        "MEMKV_EXISTS",
        `a database exists in ${directory} already, and errorIfExists is true`,
      );
    }
    return { manifest, created: false };
  }
  const strangers = await strangersIn(fileSystem, directory);
  if (strangers.length > 0) {
    const held = `${strangers.slice(0, 3).join(", ")}${strangers.length > 3 ? ", ..." : ""}`;
    const remedy = strangers.every((name) => parseFileName(name) !== undefined)
      ? "if it was one, repair makes a new one of these files"
      : "open an empty or a new directory";
    throw new DatabaseError(
      "MEMKV_NOT_A_DATABASE",
      `${directory} is not a memkv database: it has no MANIFEST but holds ${held}; ${remedy}`,
    );
  }
  if (!mode.createIfMissing || mode.readOnly) throw notFound(directory, mode);
  return { manifest: await createDatabase(fileSystem, directory, founding()), created: true };
}

/** Of a database that `mode`, if there is one, did not let come to be. */
export function notFound(directory: string, mode?: Pick<FoundingMode, "readOnly">): DatabaseError {
  const remedy = mode?.readOnly === false ? ", or open it with createIfMissing: true" : "";
  return new DatabaseError(
    "MEMKV_NOT_FOUND",
    `a database does not exist in ${directory}: check the path${remedy}`,
  );
}

/** Whether the manifest may be the one that the database was founded with: nothing was written since. */
export function isAsFounded(manifest: Manifest): boolean {
  const { oldestWal, newestWal, newestWalEnd, nextFileNumber } = manifest;
  const isOnlyLog = oldestWal === newestWal && nextFileNumber === newestWal + 1;
  return isOnlyLog && newestWalEnd === HEADER_BYTES;
}

function createDatabase(
  fileSystem: FileSystem,
  directory: string,
  founding: Founding,
): Promise<Manifest> {
  const version = { runs: [], valueLogs: [] };
  return foundDatabase(
    fileSystem,
    directory,
    { ...founding, lastSeqno: 0, version },
    FIRST_FILE_NUMBER,
  );
}

/**
 * Makes a directory a database whose segments and value logs, if any, are in it and synced. Writes
 * the first log, then the manifest: so there is no manifest without the log that it calls the
 * oldest needed, and a log that is missing is always noticed. `logNumber` is above all file numbers
 * in use.
 */
export async function foundDatabase(
  fileSystem: FileSystem,
  directory: string,
  content: Founding & Pick<Manifest, "lastSeqno" | "version">,
  logNumber: number,
): Promise<Manifest> {
  const path = joinPath(directory, walFileName(logNumber));
  if ((await fileSystem.stat(path)) !== undefined) await fileSystem.remove(path);
  const identity = { databaseId: content.databaseId, fileNumber: logNumber };
  const log = await WalWriter.create({ fileSystem, path, identity });
  try {
    await log.sync();
  } finally {
    await log.close();
  }
  await fileSystem.syncDirectory(directory);
  const manifest: Manifest = {
    ...content,
    nextFileNumber: logNumber + 1,
    oldestWal: logNumber,
    newestWal: logNumber,
    newestWalEnd: HEADER_BYTES,
  };
  await writeManifest(fileSystem, directory, manifest);
  return manifest;
}

/** Names in the directory that neither a lock nor an interrupted founding accounts for. */
export async function strangersIn(fileSystem: FileSystem, directory: string): Promise<string[]> {
  const strangers: string[] = [];
  for (const name of await fileSystem.list(directory)) {
    if (isLockName(name) || name === `MANIFEST${TEMPORARY_SUFFIX}`) continue;
    const isFirstLog = name === walFileName(FIRST_FILE_NUMBER);
    const size = isFirstLog ? (await fileSystem.stat(joinPath(directory, name)))?.size : undefined;
    if (size === undefined || size > HEADER_BYTES) strangers.push(name);
  }
  return strangers;
}

/** What locking leaves in the directory. */
function isLockName(name: string): boolean {
  return name === LOCK_NAME || name.startsWith(`${LOCK_NAME}.`);
}
