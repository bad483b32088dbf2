/**
 * RecordCommit: what is done to a record, once it is its turn. In order:
 *
 * 1. Room: if the memtable cannot hold its writes, the log and memtable are rotated first.
 * 2. Append the record to the WAL. If that fails the log is cut back, and the record did not happen;
 *    the next one may succeed.
 * 3. If it must be synced: sync the log, on the calling thread where that is best (sync-pace.ts). If
 *    that fails, what is durable is unknown: the database is poisoned.
 * 4. Apply the same bytes to the memtable, and make them visible.
 *
 * Before 2 and before 4 the lock must certainly be ours. If it is not at 4, another process may have
 * recovered without the record: the commit fails, and whether the record survives is unknown.
 *
 * So readers see only what is as durable as was asked. After 4 a log with much that is not synced is
 * synced ahead, beside the records that follow (logs.ts).
 *
 * There are two forms: `commit`, which waits where it must, and `commitNow`, which blocks the thread
 * and of which `canCommitNow` says whether it need not wait. One record at a time, in either form.
 */
import { DatabaseError } from "../errors.ts";
import type { Memtable } from "../memtable/memtable.ts";
import type { RecordBuilder } from "../wal/batch.ts";
import type { WalWriter } from "../wal/writer.ts";
import type { DeadRange } from "./dead-range.ts";
import type { Logs } from "./logs.ts";
import type { Rotation } from "./rotation.ts";
import type { RowCache } from "./row-cache.ts";
import { SyncPace } from "./sync-pace.ts";
import type { WriteGuard } from "./write-guard.ts";
import { WritePace } from "./write-pace.ts";

/** What the commit of a record needs of the store. */
export interface RecordCommitHost {
  /** The memtable and log that writes go to now; a rotation replaces both. */
  readonly memtable: Memtable;
  /** Shown every write that is applied. */
  readonly dead: DeadRange;
  /** As `dead`; undefined where there is no row cache. */
  readonly rows: RowCache | undefined;
  readonly wal: WalWriter;
  readonly guard: WriteGuard;
  /** Sees to it that `wal` is synced. */
  readonly logs: Pick<Logs, "founded" | "sync" | "syncSync" | "syncAhead" | "isSyncing">;
  /** Sees to it that `memtable` and `wal` have room. */
  readonly rotation: Pick<
    Rotation,
    | "isLogReady"
    | "prepareLog"
    | "prepareLogSync"
    | "hasRoom"
    | "rotate"
    | "canRotate"
    | "rotateSync"
  >;
  /** Whether writes are held back, so that each waits for `slowDown`. */
  readonly isSlowed: boolean;
  slowDown(bytes: number): Promise<void>;
  /** Milliseconds of a monotonic clock. */
  now(): number;
  /** Milliseconds for which the event loop has been idle, since any moment. */
  idleTime(): number;
  /** Makes everything applied so far visible to readers. */
  publish(lastSeqno: number): void;
}

/** Why a record was not committed; undefined if it was. */
type Outcome = DatabaseError | undefined;

/**
 * Records up to this size are written synchronously: a write into the page cache takes microseconds,
 * the thread pool's round trip 26 of them. While the disk stalls none are (write-pace.ts).
 */
const MAX_SYNCHRONOUS_BYTES = 2 ** 18;

export class RecordCommit {
  private readonly host: RecordCommitHost;
  /** Bytes of the keys and values of committed writes, and of their records, since the open. */
  userBytes: number;
  logBytes: number;
  private readonly pace: WritePace;
  private readonly syncPace: SyncPace;
  private lastSeqno: number;

  /** `lastSeqno`: of the newest write recovered. */
  constructor(host: RecordCommitHost, lastSeqno: number) {
    this.host = host;
    this.userBytes = 0;
    this.logBytes = 0;
    this.pace = new WritePace();
    this.syncPace = new SyncPace();
    this.lastSeqno = lastSeqno;
  }

  /** The next write is numbered above `seqno`. While no record is being committed. */
  skipTo(seqno: number): void {
    this.lastSeqno = seqno;
    this.host.publish(seqno);
  }

  /**
   * Commits the record. Returns why it failed, if it did: a promise of that, which never rejects,
   * only where it has to wait for the disk.
   */
  commit(record: RecordBuilder, needsSync: boolean): Outcome | Promise<Outcome> {
    const { host } = this;
    if (record.operationCount === 0 || !host.guard.isWritable) return host.guard.refusal;
    const now = host.now();
    const needsToWait =
      (needsSync && (host.logs.isSyncing || !this.syncPace.mayBlock(now))) ||
      !this.mayBlock(record, now) ||
      !host.guard.isLockHeld ||
      !host.rotation.isLogReady ||
      host.isSlowed ||
      !host.rotation.hasRoom(record);
    if (needsToWait) return this.commitSlowly(record, needsSync);
    try {
      this.appendSync(record, now);
      if (needsSync) this.syncPaced();
    } catch (error) {
      return toDatabaseError(error);
    }
    if (!host.guard.isLockHeld) return this.applyIfHeld(record);
    return this.applyAndSyncAhead(record);
  }

  private async commitSlowly(record: RecordBuilder, needsSync: boolean): Promise<Outcome> {
    const { host } = this;
    try {
      if (host.isSlowed) await host.slowDown(record.writer.length);
      if (!host.rotation.isLogReady) await host.rotation.prepareLog();
      if (!host.rotation.hasRoom(record)) {
        await host.rotation.rotate(record);
        host.guard.checkWritable();
      }
      // Its sync would wait for that too. Written after it, the record vouches for the log's header.
      if (needsSync) await host.logs.founded();
      await host.guard.confirmLock();
      const now = host.now();
      if (this.mayBlock(record, now)) this.appendSync(record, now);
      else await this.append(record, now);
      if (needsSync) await this.syncObserved();
    } catch (error) {
      return toDatabaseError(error);
    }
    return this.applyIfHeld(record);
  }

  /** For a thread that may have been stalled meanwhile: others may own the directory now. */
  private async applyIfHeld(record: RecordBuilder): Promise<Outcome> {
    try {
      await this.host.guard.confirmLock();
    } catch (error) {
      return toDatabaseError(error);
    }
    return this.applyAndSyncAhead(record);
  }

  /** Whether `commitNow` need not wait, be it that it fails. */
  canCommitNow(record: RecordBuilder, needsSync: boolean): boolean {
    const { host } = this;
    if (record.operationCount === 0 || !host.guard.isWritable) return true;
    if (!host.guard.isLockHeld) return false;
    if (!host.rotation.hasRoom(record) && !host.rotation.canRotate(record)) return false;
    return !needsSync || !host.logs.isSyncing;
  }

  /** As `commit`, on the calling thread. */
  commitNow(record: RecordBuilder, needsSync: boolean): Outcome {
    const { host } = this;
    if (record.operationCount === 0 || !host.guard.isWritable) return host.guard.refusal;
    try {
      if (!host.rotation.isLogReady) host.rotation.prepareLogSync();
      if (!host.rotation.hasRoom(record)) host.rotation.rotateSync(record);
      // Where that took so long that it must be confirmed again.
      if (!host.guard.isLockHeld) throw busyError("the lock has to be confirmed");
      this.appendSync(record, host.now());
      if (needsSync) host.logs.syncSync();
    } catch (error) {
      return toDatabaseError(error);
    }
    // Only waiting could tell whether it is still ours.
    if (!host.guard.isLockHeld) return host.guard.fence();
    return this.apply(record);
  }

  /** Whether the record is best written on the calling thread. */
  private mayBlock(record: RecordBuilder, now: number): boolean {
    return record.writer.length <= MAX_SYNCHRONOUS_BYTES && this.pace.mayBlock(now);
  }

  /**
   * Appends the record, numbered as the next; `start` is now. On failure it did not happen, or we are
   * poisoned.
   */
  private appendSync(record: RecordBuilder, start: number): void {
    record.number(this.lastSeqno + 1);
    try {
      this.host.wal.appendSync(record.writer.buffer, record.writer.length);
    } catch (error) {
      throw this.appendFailure(error);
    }
    this.pace.note(start, this.host.now());
  }

  /** As `appendSync`, without blocking the thread. */
  private async append(record: RecordBuilder, start: number): Promise<void> {
    record.number(this.lastSeqno + 1);
    try {
      await this.host.wal.append(record.writer.buffer, record.writer.length);
    } catch (error) {
      throw this.appendFailure(error);
    }
    // A large one takes its time on a disk that is well, too.
    if (record.writer.length <= MAX_SYNCHRONOUS_BYTES) this.pace.note(start, this.host.now());
  }

  /** Syncs the log on the calling thread; the pace learns from it. */
  private syncPaced(): void {
    const start = this.host.now();
    this.host.logs.syncSync();
    this.syncPace.noteBlocking(start, this.host.now());
  }

  /** Syncs the log without blocking the thread; the pace learns from it. */
  private async syncObserved(): Promise<void> {
    const { host } = this;
    const start = host.now();
    const idleStart = host.idleTime();
    await host.logs.sync();
    this.syncPace.noteWaited(start, host.now(), host.idleTime() - idleStart);
  }

  private applyAndSyncAhead(record: RecordBuilder): Outcome {
    const failure = this.apply(record);
    this.host.logs.syncAhead();
    return failure;
  }

  /** Makes the record's writes visible. */
  private apply(record: RecordBuilder): Outcome {
    try {
      const { memtable, dead, rows, wal } = this.host;
      const reader = record.reader(wal.path);
      reader.apply(memtable);
      if (dead.isKnown) reader.apply(dead);
      if (rows !== undefined && !rows.isEmpty) reader.apply(rows);
    } catch (error) {
      // A bug of ours. Nothing was published, so readers stay right.
      return this.host.guard.poison(error);
    }
    this.lastSeqno += record.operationCount;
    this.userBytes += record.keyBytes + record.valueBytes;
    this.logBytes += record.writer.length;
    this.host.publish(this.lastSeqno);
    return undefined;
  }

  /** The record did not happen, unless the log could not even be cut back. */
  private appendFailure(cause: unknown): DatabaseError {
    if (this.host.wal.isBroken) return this.host.guard.poison(cause);
    return ioError(cause);
  }
}

export function busyError(why: string): DatabaseError {
  return new DatabaseError("MEMKV_BUSY", `the write would have to wait: ${why}`);
}

function toDatabaseError(error: unknown): DatabaseError {
  return error instanceof DatabaseError ? error : ioError(error);
}

function ioError(cause: unknown): DatabaseError {
  return new DatabaseError("MEMKV_IO", "the write failed and did not happen", {
    cause,
  });
}
