/**
 * Opens the files that a Version names, and makes sure that they are those that it speaks of: the store
 * does when it is opened and when a change is installed, and another thread that reads a snapshot does.
 */
import { compareBytes } from "../bytes/compare.ts";
import type { BlockCache } from "../cache/block-cache.ts";
import { CorruptionError } from "../errors.ts";
import { type FileSystem, joinPath } from "../io/file-system.ts";
import { segmentFileName, valueLogFileName } from "../manifest/files.ts";
import type { SegmentMeta, ValueLogMeta } from "../manifest/version.ts";
import { Segment, type SegmentOpenOptions } from "../segment/reader.ts";
import { ValueLog, type ValueLogSource } from "../segment/value-log.ts";
import type { SymbolTables } from "../symbols/tables.ts";

/** Where the files are, and what those that are opened have in common. */
export interface FilePlace {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly databaseId: Uint8Array;
  readonly blockCache: BlockCache;
  readonly symbolTables: SymbolTables;
  /** Has the logs that segments refer to, as long as values are read. */
  readonly valueLogs: ValueLogSource;
}

/** What a Version says of a file of either kind. */
export interface FileMeta {
  readonly fileNumber: number;
}

export function segmentPath(directory: string, { fileNumber }: FileMeta): string {
  return joinPath(directory, segmentFileName(fileNumber));
}

export function valueLogPath(directory: string, { fileNumber }: FileMeta): string {
  return joinPath(directory, valueLogFileName(fileNumber));
}

/** Throws CorruptionError where the file is damaged, or not the one that the Version speaks of. */
export async function openSegment(
  meta: SegmentMeta,
  place: FilePlace,
  how: Pick<SegmentOpenOptions, "sections" | "isOnDemand">,
): Promise<Segment> {
  const { fileSystem, directory, databaseId, blockCache, symbolTables, valueLogs } = place;
  const { fileNumber } = meta;
  const path = segmentPath(directory, meta);
  const segment = await Segment.open({
    fileSystem,
    path,
    identity: { databaseId, fileNumber },
    blockCache,
    symbolTables,
    valueLogs,
    ...how,
  });
  return await orClose(segment, () => checkSegment(meta, segment.meta, path));
}

/** As `openSegment`. */
export async function openValueLog(meta: ValueLogMeta, place: FilePlace): Promise<ValueLog> {
  const { fileSystem, directory, databaseId } = place;
  const { fileNumber, fileBytes } = meta;
  const path = valueLogPath(directory, meta);
  const log = await ValueLog.open({ fileSystem, path, identity: { databaseId, fileNumber } });
  return await orClose(log, () => {
    if (log.meta.fileBytes === fileBytes) return;
    throw mismatch("value log", path, `fileBytes ${fileBytes}`, `${log.meta.fileBytes}`);
  });
}

/** The file, if the check passes. */
async function orClose<F extends { close(): Promise<void> }>(
  file: F,
  check: () => void,
): Promise<F> {
  try {
    check();
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

const COUNTS = ["fileBytes", "keyCount", "tombstoneCount", "rangeTombstoneCount"] as const;

function checkSegment(expected: SegmentMeta, actual: SegmentMeta, file: string): void {
  for (const field of COUNTS) {
    if (actual[field] !== expected[field]) {
      throw mismatch("segment", file, `${field} ${expected[field]}`, `${actual[field]}`);
    }
  }
  for (const field of ["firstKey", "lastKey"] as const) {
    if (compareBytes(actual[field], expected[field]) !== 0) {
      throw mismatch("segment", file, `${field} ${hex(expected[field])}`, hex(actual[field]));
    }
  }
  const expectedUses = JSON.stringify(expected.valueLogs);
  const actualUses = JSON.stringify(actual.valueLogs);
  if (actualUses !== expectedUses) {
    throw mismatch("segment", file, `value logs ${expectedUses}`, actualUses);
  }
}

function mismatch(kind: string, file: string, expected: string, actual: string): CorruptionError {
  return new CorruptionError(`a ${kind} is not the one that the manifest names`, {
    file,
    offset: 0,
    expected,
    actual,
  });
}

/** The beginning of a key, for messages. */
function hex(key: Uint8Array): string {
  const shown = Buffer.from(key.subarray(0, 16)).toString("hex");
  return key.length > 16 ? `0x${shown}... (${key.length} bytes)` : `0x${shown}`;
}
