/**
 * Bugs that a database might have, as changes to our sources: the tests must notice each.
 *
 * `teeth.slow.test.ts` builds memkv with one of them at a time and runs the check that is to catch
 * it; `teeth.test.ts` sees to it that each still applies.
 */
export type CheckName = "crash" | "faults" | "damage";

export interface PlantedBug {
  readonly name: string;
  /** The check that must fail. */
  readonly caughtBy: CheckName;
  readonly changes: readonly SourceChange[];
}

export interface SourceChange {
  /** Below src/. */
  readonly file: string;
  /** Occurs once in it. */
  readonly find: string;
  readonly replace: string;
}

const bug = (
  name: string,
  caughtBy: CheckName,
  file: string,
  find: string,
  replace: string,
): PlantedBug => ({ name, caughtBy, changes: [{ file, find, replace }] });

export const PLANTED_BUGS: readonly PlantedBug[] = [
  bug(
    "a synced write is acknowledged before the sync",
    "crash",
    "engine/record-commit.ts",
    "if (needsSync) await this.syncObserved();",
    "",
  ),
  bug(
    "a write whose sync blocks the thread is acknowledged before it",
    "crash",
    "engine/record-commit.ts",
    "if (needsSync) this.syncPaced();",
    "",
  ),
  bug(
    "a blocking synced write returns before the sync",
    "crash",
    "engine/record-commit.ts",
    "if (needsSync) host.logs.syncSync();",
    "",
  ),
  bug(
    "the name of a new log is not synced by a sync that blocks the thread",
    "crash",
    "engine/logs.ts",
    "if (!this.isFounded) fileSystem.syncDirectorySync(directory);",
    "",
  ),
  bug(
    "the name of a new log is not synced",
    "crash",
    "engine/logs.ts",
    "if (!this.isFounded) await fileSystem.syncDirectory(directory);",
    "",
  ),
  bug(
    "a full log is not synced before the next one is begun",
    "crash",
    "engine/logs.ts",
    "if (this.isWritable) await this.sync();",
    "",
  ),
  bug(
    "a manifest calls a log the oldest needed that is not durable",
    "crash",
    "engine/installer.ts",
    "if (progress.oldestWal !== undefined) await host.logFounded();",
    "",
  ),
  bug(
    "a manifest calls a log the newest that is not durable",
    "crash",
    "engine/logs.ts",
    "if (!this.isFounded) return this.extents.at(-2);",
    "",
  ),
  bug(
    "a sync is done when another one was that began before it",
    "crash",
    "engine/logs.ts",
    "while (this.syncing !== undefined) await this.syncing.catch(ignore);\n    await this.startSync();",
    "await (this.syncing ?? this.startSync());",
  ),
  bug(
    "the manifest is renamed before its bytes are synced",
    "crash",
    "io/replace.ts",
    "await file.sync();",
    "",
  ),
  bug(
    "the rename of the manifest is not synced",
    "crash",
    "io/replace.ts",
    "await fileSystem.syncDirectory(directory).catch((error: unknown) => {",
    "await Promise.resolve().catch((error: unknown) => {",
  ),
  bug(
    "a segment is installed before its bytes are synced",
    "crash",
    "segment/writer.ts",
    "await this.file.sync();",
    "",
  ),
  bug(
    "a value log is installed before its bytes are synced",
    "crash",
    "segment/value-log-writer.ts",
    "await this.file.sync();",
    "",
  ),
  bug(
    "a value log is removed while segments refer to it",
    "crash",
    "engine/sources.ts",
    "for (const meta of version.valueLogs) valueLogs.hold(meta);",
    "",
  ),
  bug(
    "the checksum of a part of a large value is not checked",
    "damage",
    "segment/value-log-format.ts",
    "expectChecksum(chunk, LENGTH_OFFSET, length, readU32(chunk, 0), what, file, fileOffset);",
    "readU32(chunk, 0);",
  ),
  bug(
    "a segment is installed before its name is synced",
    "crash",
    "engine/versions.ts",
    "if (added.segments.length > 0) await fileSystem.syncDirectory(directory);",
    "",
  ),
  {
    name: "logs are removed before the manifest is replaced",
    caughtBy: "crash",
    changes: [
      {
        file: "engine/background.ts",
        find: "    await this.installer.install(\n      output,\n      (older) => (run.length",
        replace:
          "    await host.removeLogsBelow(oldestWal);\n    await this.installer.install(\n      output,\n      (older) => (run.length",
      },
    ],
  },
  bug(
    "the manifest drops a log that still has writes",
    "crash",
    "engine/background.ts",
    "const oldestWal = host.rotation.firstLogOf(memtables[memtables.length - 2]);",
    "const oldestWal = host.rotation.firstLogOf(memtables[memtables.length - 2]) + 1;",
  ),
  bug(
    "what was replayed is not made durable",
    "crash",
    "engine/recovery.ts",
    "for (const { path, report } of replayed.ends) await cutTail(fileSystem, path, report);",
    "",
  ),
  bug(
    "files are removed before the manifest that was found is durable",
    "crash",
    "engine/recovery.ts",
    "if (isChanged || isNew) await fileSystem.syncDirectory(directory);",
    "",
  ),
  bug(
    "a batch is several records",
    "crash",
    "engine/database.ts",
    `batch(operations: readonly BatchOperation<K, V>[], options?: WriteOptions): Promise<void> {
    return`,
    `async batch(operations: readonly BatchOperation<K, V>[], options?: WriteOptions): Promise<void> {
    for (const operation of operations.slice(1)) {
      await this.write((record) => this.encoder.batch(record, [operation]), options);
    }
    operations = operations.slice(0, 1);
    return`,
  ),
  bug(
    "the checksum of a log record is not checked",
    "crash",
    "wal/format.ts",
    "return readU32(bytes, pos + CHECKSUM_OFFSET) === sum >>> 0;",
    "return sum >= 0;",
  ),
  bug(
    "records after a lost one are replayed",
    "crash",
    "wal/reader.ts",
    'const next = mode === "salvage" ? scan.nextRecord : -1;',
    "const next = scan.nextRecord;",
  ),
  bug(
    "tombstones are dropped while older runs have the key",
    "crash",
    "jobs/merge.ts",
    "choice.end === runs.length",
    "choice.end > 0",
  ),
  bug(
    "a flush and a compaction forget when entries expire",
    "crash",
    "compaction/output.ts",
    "writer.add(cursor.key, cursor.keyLength, kind, view, cursor.expiry);",
    "writer.add(cursor.key, cursor.keyLength, kind, view);",
  ),
  bug(
    "a replay forgets when entries expire",
    "crash",
    "wal/batch.ts",
    "bytes, reader.pos, pos, expiry);",
    "bytes, reader.pos, pos, NEVER);",
  ),
  bug(
    "a flush forgets the ranges that were deleted",
    "crash",
    "jobs/jobs.ts",
    "await writer.writeRangeTombstones([...eachSpan(deleted)], memtable);",
    "",
  ),
  bug(
    "an old value hides a new one where runs are merged",
    "crash",
    "compaction/run.ts",
    ".sort(([a], [b]) => a - b)",
    ".sort(([a], [b]) => b - a)",
  ),
  bug(
    "a failed sync is tried again and called success",
    "faults",
    "wal/writer.ts",
    "await this.#file.sync();\n    } catch (error) {\n      throw this.#syncFailed(error);",
    "await this.#file.sync();\n    } catch {\n      await this.#file.sync();",
  ),
  {
    name: "a short write of a record is ignored",
    caughtBy: "faults",
    changes: [
      {
        file: "wal/writer.ts",
        find: "this.#file.writeSync(record.subarray(0, length), this.#size);\n    } catch (error) {\n      this.#failed(record, length);\n      throw error;",
        replace:
          "this.#file.writeSync(record.subarray(0, length), this.#size);\n    } catch {\n      this.#isBroken = false;",
      },
    ],
  },
  bug(
    "a record whose write failed, but arrived, is called not written",
    "faults",
    "wal/writer.ts",
    "if (isWhole) this.#isBroken = true;",
    "",
  ),
  bug(
    "segments are removed when it is unknown whether the manifest names them",
    "faults",
    "engine/installer.ts",
    "if (isPoisoning(error)) host.poison(error);",
    "if (error === undefined) host.poison(error);",
  ),
  bug(
    "outputs of a failed flush or compaction are left behind",
    "faults",
    "engine/recovery.ts",
    "await fileSystem.remove(joinPath(directory, name));\n  if (names.length > 0)",
    'if (name === "") await fileSystem.remove(joinPath(directory, name));\n  if (names.length > 0)',
  ),
  bug(
    "the checksum of a page of keys is not checked",
    "damage",
    "segment/keys.ts",
    "if (sum !== stored) throw this.damaged(page,",
    "if (sum < 0) throw this.damaged(page,",
  ),
  bug(
    "checksums of a segment's sections and values are not checked",
    "damage",
    "segment/format.ts",
    "const actual = checksum(bytes, start, end);\n  if (actual !== expected) {",
    "const actual = checksum(bytes, start, end);\n  if (actual < 0) {",
  ),
  bug(
    "the manifest's checksum is not checked",
    "damage",
    "manifest/format.ts",
    "if (actual !== expected) {",
    "if (actual < 0) {",
  ),
  bug(
    "the manifest does not learn how far the newest log went",
    "damage",
    "engine/versions.ts",
    "if (!isKnown) this.manifestNow = await this.replaceManifest(next);",
    "",
  ),
  bug(
    "damage in the middle of the newest log is taken for its end",
    "damage",
    "wal/reader.ts",
    "const isCertain = damage.isCertain || !isNewest || isDurable || scan.isExhausted;",
    "const isCertain = false;",
  ),
];
