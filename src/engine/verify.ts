/**
 * Verifies a whole open database, against the disk and not against what is in memory.
 *
 * 1. The manifest is read again and must name what the live Version names.
 * 2. Runs are in key order and their segments disjoint. Their writes are in the order of the runs:
 *    every one of a segment came after every one of a segment with such keys in a run below it.
 * 3. Every segment is read whole, and every value in a value log that it refers to: every checksum,
 *    the order of keys, ordinals and counts, and that it is the one that the manifest speaks of.
 *    What is garbage in a value log is not read.
 * 4. Every log that is still needed is read up to where its records end; each must be whole and its
 *    operations must parse.
 *
 * Other calls go on meanwhile: what is verified is held, and logs are read up to their present ends.
 */
import { setImmediate } from "node:timers/promises";
import { compareBytes } from "../bytes/compare.ts";
import { CorruptionError } from "../errors.ts";
import { joinPath } from "../io/file-system.ts";
import { walFileName } from "../manifest/files.ts";
import { MANIFEST_NAME } from "../manifest/manifest.ts";
import { type Run, usesOf, type Version } from "../manifest/version.ts";
import type { Segment } from "../segment/reader.ts";
import { RecordReader } from "../wal/batch.ts";
import { replayWal } from "../wal/reader.ts";
import type { Store } from "./store.ts";

/** How far `verify` has come. */
export interface VerifyProgress {
  readonly segmentsDone: number;
  readonly segmentCount: number;
  readonly bytesDone: number;
  readonly bytes: number;
}

/** What `verify` read without finding damage. */
export interface VerifyReport {
  readonly segments: number;
  readonly valueLogs: number;
  /** Entries of all segments, tombstones included. */
  readonly keys: number;
  /** Bytes of segments, logs, and what is in use of value logs. */
  readonly bytes: number;
  /** Logs that are still needed, and the writes in them. */
  readonly logs: number;
  readonly logWrites: number;
}

/** Throws CorruptionError at the first damage. */
export async function verifyStore(
  store: Store,
  onProgress: ((progress: VerifyProgress) => void) | undefined,
): Promise<VerifyReport> {
  const { version } = store.sources;
  version.hold();
  try {
    await verifyManifest(store);
    for (const run of version.version.runs) verifyOrder(run, manifestPath(store));
    verifyAges(version.runs, store.versions.manifest.lastSeqno);
    store.versions.verifyValueLogs(version);
    const segments = version.files.flat();
    const logs = store.logs.list();
    let segmentBytes = segments.reduce((total, segment) => total + segment.meta.fileBytes, 0);
    for (const used of usesOf(version.version.runs).values()) segmentBytes += used;
    const bytes = logs.reduce((total, log) => total + log.end, segmentBytes);
    let segmentsDone = 0;
    let bytesBefore = 0;
    const report = (bytesOfPart: number): void => {
      store.checkOpen();
      const bytesDone = bytesBefore + bytesOfPart;
      onProgress?.({ segmentsDone, segmentCount: segments.length, bytesDone, bytes });
    };
    for (const segment of segments) {
      const verified = await segment.verify(report);
      segmentsDone++;
      bytesBefore += verified.bytes;
      report(0);
    }
    let logWrites = 0;
    let logsRead = 0;
    for (const log of logs) {
      const writes = await verifyLog(store, log.fileNumber, log.end);
      bytesBefore += log.end;
      report(0);
      if (writes < 0) continue;
      logWrites += writes;
      logsRead++;
    }
    const keys = segments.reduce((total, segment) => total + segment.meta.keyCount, 0);
    return {
      segments: segments.length,
      valueLogs: version.version.valueLogs.length,
      keys,
      bytes,
      logs: logsRead,
      logWrites,
    };
  } catch (error) {
    // Files that were closed under us are no damage.
    store.checkOpen();
    throw error;
  } finally {
    version.release();
  }
}

function manifestPath(store: Store): string {
  return joinPath(store.directory, MANIFEST_NAME);
}

async function verifyManifest(store: Store): Promise<void> {
  const { versions } = store;
  const found = await versions.readAgain();
  // A read-only database is of the moment it was opened; others may have written since.
  if (store.options.readOnly) return;
  const expected = versions.manifest;
  const isSame =
    found !== undefined &&
    compareBytes(found.databaseId, expected.databaseId) === 0 &&
    found.oldestWal === expected.oldestWal &&
    fileNumbers(found.version) === fileNumbers(expected.version);
  if (isSame) return;
  throw new CorruptionError("the manifest is not the one that was written", {
    file: manifestPath(store),
    offset: 0,
    expected: `runs ${fileNumbers(expected.version)}`,
    actual: found === undefined ? "no file" : `runs ${fileNumbers(found.version)}`,
  });
}

function fileNumbers(version: Version): string {
  const logs = version.valueLogs.map((meta) => meta.fileNumber).join(",");
  return `${runNumbers(version)}; value logs ${logs}`;
}

function runNumbers(version: Version): string {
  return version.runs.map((run) => run.map((meta) => meta.fileNumber).join(",")).join(" | ");
}

function verifyOrder(run: Run, file: string): void {
  for (let i = 1; i < run.length; i++) {
    // The range tombstones come first, and have no keys.
    if (run[i - 1].keyCount === 0) continue;
    if (compareBytes(run[i - 1].lastKey, run[i].firstKey) < 0) continue;
    throw new CorruptionError("two segments of a run overlap", {
      file,
      offset: 0,
      expected: `segment ${run[i].fileNumber} after segment ${run[i - 1].fileNumber}`,
      actual: "a first key at or before the last key of the other",
    });
  }
}

/**
 * `runs`: newest first. `lastSeqno`: of the newest write in any of them. A merge that is under way, or
 * was broken off, has moved what it has gone through, newer writes too, into an older run.
 */
function verifyAges(runs: readonly (readonly Segment[])[], lastSeqno: number): void {
  const newer: Segment[] = [];
  for (const run of runs) {
    for (const { path, properties, firstKey, lastKey } of run) {
      let newest = lastSeqno;
      for (const other of newer) {
        const first = other.properties.firstSeqno;
        const mayBeOlder = first <= newest && properties.lastSeqno >= first;
        if (!mayBeOlder || compareBytes(other.firstKey, lastKey) > 0) continue;
        if (compareBytes(firstKey, other.lastKey) <= 0) newest = first - 1;
      }
      if (properties.lastSeqno <= newest) continue;
      throw new CorruptionError("a segment has writes that are newer than its run", {
        file: path,
        offset: 0,
        expected: `sequence numbers up to ${newest}`,
        actual: `up to ${properties.lastSeqno}`,
      });
    }
    newer.push(...run);
  }
}

/** Number of writes in a log, up to `end`; -1 if a flush has removed the log meanwhile. */
async function verifyLog(store: Store, fileNumber: number, end: number): Promise<number> {
  const { fileSystem, directory } = store;
  const path = joinPath(directory, walFileName(fileNumber));
  let writes = 0;
  try {
    await replayWal(
      {
        fileSystem,
        path,
        identity: { databaseId: store.versions.manifest.databaseId, fileNumber },
        isNewest: false,
        end,
        mode: "absolute",
        pause: () => setImmediate(),
      },
      (payload, offset) => {
        const record = new RecordReader(payload, path, offset);
        record.apply({ add: () => undefined, deleteRange: () => undefined });
        writes += record.operationCount;
      },
    );
  } catch (error) {
    if (await isNeededNoLonger(store, fileNumber)) return -1;
    throw error;
  }
  return writes;
}

/** Whether the writes of a log are all in runs; those of a read-only database in runs of its writer. */
async function isNeededNoLonger(store: Store, fileNumber: number): Promise<boolean> {
  if (!store.options.readOnly) {
    return !store.logs.list().some((log) => log.fileNumber === fileNumber);
  }
  const manifest = await store.versions.readAgain();
  return manifest !== undefined && manifest.oldestWal > fileNumber;
}
