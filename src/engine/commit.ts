/**
 * Group commit: the one path by which writes reach the log, the memtable and the caller.
 *
 * A write is encoded at once into the open group. The group is closed in the microtask after its
 * first write, or when the group before it is done, whichever is later; so the writes of one tick,
 * and those that arrive during a sync, share one record, one system call, at most one sync and one
 * promise. For each group, in order:
 *
 * 1. Room: if the memtable cannot hold the group, the log and memtable are rotated first.
 * 2. Append the record to the WAL. If that fails the log is cut back, the group is rejected and did
 *    not happen; the next one may succeed.
 * 3. For `"sync"`: sync the log. If that fails, what is durable is unknown: the database is poisoned.
 * 4. Apply the same bytes to the memtable, make them visible, resolve the promise.
 *
 * Before 2 and before 4 the lock must certainly be ours. If it is not at 4, another process may have
 * recovered without the record: the group is rejected, and whether it survives is unknown.
 *
 * So readers see only what is as durable as was asked, a batch becomes visible at once, and the
 * order of acknowledgement is the order of the log.
 */
import { setImmediate } from "node:timers/promises";
import { DatabaseError, InvalidArgumentError, LockedError } from "../errors.ts";
import type { DirectoryLock } from "../io/file-system.ts";
import { RECORD_HEADER_BYTES } from "../wal/format.ts";
import type { WalWriter } from "../wal/writer.ts";
import { RecordBuilder, RecordReader } from "./batch.ts";
import type { Memtable } from "./memtable.ts";
import type { Durability } from "./options.ts";

/** What the group commit needs of the store. */
export interface CommitHost {
  /** The memtable and log that writes go to now; `rotate` replaces both. */
  readonly memtable: Memtable;
  readonly wal: WalWriter;
  /** False until the first write since the open, before which `prepareLog` must be awaited. */
  readonly isLogReady: boolean;
  prepareLog(): Promise<void>;
  readonly lock: DirectoryLock;
  /** Whether log and memtable take one more record before they are rotated. */
  hasRoom(record: RecordBuilder): boolean;
  /** Seals the memtable and begins a new one, and a new log, with room for the record. May wait. */
  rotate(record: RecordBuilder): Promise<void>;
  /** Makes everything applied so far visible to readers. */
  publish(lastSeqno: number): void;
}

/** Writes that share a record and a promise. */
class Group {
  readonly record = new RecordBuilder();
  needsSync = false;
  readonly promise: Promise<void>;
  resolve!: () => void;
  reject!: (reason: unknown) => void;

  constructor() {
    this.promise = new Promise<void>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/** A group is closed at this size even while it waits, so that no record grows without bound. */
const MAX_GROUP_BYTES = 2 ** 20;

/**
 * Records up to this size are written synchronously: a write into the page cache takes microseconds,
 * the thread pool's round trip 26 of them.
 */
const MAX_SYNCHRONOUS_BYTES = 2 ** 18;

/**
 * Writes that are all synchronous settle in microtasks, so a loop of awaited puts would never let a
 * timer or a socket have its turn: the event loop gets one after this much work, a few milliseconds.
 */
const YIELD_BYTES = 2 ** 16;
/** What a group costs beside its bytes. */
const GROUP_COST_BYTES = 2 ** 8;

export class Committer {
  private readonly host: CommitHost;
  /** The group that takes new writes, if it has any; always the last in the queue. */
  private open: Group | undefined;
  /** Groups and exclusive tasks, in the order they are to run. */
  private readonly queue: (Group | (() => Promise<void>))[] = [];
  private isRunning = false;
  /** Whether a record is being added to: user code runs meanwhile. */
  private isEncoding = false;
  /** Set once a failure left it unknown what is durable; every later write is refused with it. */
  private poison: DatabaseError | undefined;
  private lastSeqno: number;
  /** Work done since the event loop last had its turn, in bytes. */
  private unyielded = 0;

  /** `lastSeqno`: of the newest write recovered. */
  constructor(host: CommitHost, lastSeqno: number) {
    this.host = host;
    this.lastSeqno = lastSeqno;
  }

  /**
   * Adds to the open group what `encode` appends to its record. If `encode` throws, nothing is
   * added. The promise is shared by the group and settles when the group does.
   */
  write(encode: (record: RecordBuilder) => void, durability: Durability): Promise<void> {
    this.checkWritable();
    if (this.isEncoding) {
      throw new InvalidArgumentError(
        "a write was begun inside an encoding or a getter of another write: begin it after that one",
      );
    }
    const group = this.open ?? this.openGroup();
    const mark = group.record.mark();
    this.isEncoding = true;
    try {
      encode(group.record);
    } catch (error) {
      group.record.rewind(mark);
      throw error;
    } finally {
      this.isEncoding = false;
    }
    if (durability === "sync") group.needsSync = true;
    if (group.record.writer.length >= MAX_GROUP_BYTES) this.open = undefined;
    return group.promise;
  }

  /** Runs a task when everything written before has settled, and before anything written after. */
  exclusive<T>(task: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.open = undefined;
      this.queue.push(() => task().then(resolve, reject));
      this.start();
    });
  }

  /** Refuses every later write, with `cause` as the reason. The first cause stays. */
  poisonWith(cause: unknown): DatabaseError {
    this.poison ??= new DatabaseError(
      "MEMKV_POISONED",
      "an earlier write or sync failed, so it is unknown what is durable: writes are refused until the database is reopened",
      { cause },
    );
    return this.poison;
  }

  /** Refuses every later write because the directory may belong to another process by now. */
  fence(cause?: unknown): DatabaseError {
    this.poison ??= new LockedError(
      "the lock on the database was lost: writes are refused until the database is reopened",
      { cause },
    );
    return this.poison;
  }

  get isWritable(): boolean {
    return this.poison === undefined;
  }

  /** Throws what writes are refused with, if they are. */
  checkWritable(): void {
    if (this.poison !== undefined) throw this.poison;
  }

  /**
   * Resolves if the directory is still ours for certain. After a stall (a busy event loop, a sleeping
   * laptop) that takes a look at the lock; if it was lost, no write is taken from here on.
   */
  async confirmLock(): Promise<void> {
    this.checkWritable();
    if (this.host.lock.isHeld()) return;
    try {
      await this.host.lock.confirm();
    } catch (error) {
      throw this.fence(error);
    }
    this.checkWritable();
  }

  private openGroup(): Group {
    const group = new Group();
    this.open = group;
    this.queue.push(group);
    this.start();
    return group;
  }

  private start(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    queueMicrotask(() => {
      // Groups and tasks settle their own promises, so the loop itself never rejects.
      void this.run();
    });
  }

  private async run(): Promise<void> {
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      if (next instanceof Group) {
        if (this.open === next) this.open = undefined;
        const pending = this.commit(next);
        this.unyielded += GROUP_COST_BYTES + next.record.writer.length;
        if (pending !== undefined) await pending;
        else if (this.unyielded >= YIELD_BYTES) {
          this.unyielded = 0;
          await setImmediate();
        }
      } else {
        await next();
      }
    }
    this.isRunning = false;
  }

  /** Settles the group; a promise only where it has to wait for the disk. */
  private commit(group: Group): Promise<void> | undefined {
    const { record } = group;
    if (record.operationCount === 0) {
      group.resolve();
      return undefined;
    }
    try {
      this.checkWritable();
    } catch (error) {
      group.reject(error);
      return undefined;
    }
    const needsToWait =
      group.needsSync ||
      record.writer.length > MAX_SYNCHRONOUS_BYTES ||
      !this.host.lock.isHeld() ||
      !this.host.isLogReady ||
      !this.host.hasRoom(record);
    if (needsToWait) return this.commitSlowly(group);
    try {
      record.number(this.lastSeqno + 1);
      this.host.wal.appendSync(record.writer.buffer, record.writer.length);
    } catch (error) {
      group.reject(this.appendFailure(error));
      return undefined;
    }
    if (!this.host.lock.isHeld()) return this.applyIfHeld(group);
    this.apply(group);
    return undefined;
  }

  private async commitSlowly(group: Group): Promise<void> {
    const { record } = group;
    try {
      if (!this.host.isLogReady) await this.host.prepareLog();
      if (!this.host.hasRoom(record)) {
        await this.host.rotate(record);
        this.checkWritable();
      }
      await this.confirmLock();
      record.number(this.lastSeqno + 1);
      await this.append(record.writer.buffer, record.writer.length);
      if (group.needsSync) await this.syncLog();
      await this.confirmLock();
    } catch (error) {
      group.reject(error instanceof DatabaseError ? error : ioError(error));
      return;
    }
    this.apply(group);
  }

  /** For a thread that was stalled while the record was written: others may own the directory now. */
  private async applyIfHeld(group: Group): Promise<void> {
    try {
      await this.confirmLock();
    } catch (error) {
      group.reject(error);
      return;
    }
    this.apply(group);
  }

  private async append(bytes: Uint8Array, length: number): Promise<void> {
    try {
      if (length <= MAX_SYNCHRONOUS_BYTES) this.host.wal.appendSync(bytes, length);
      else await this.host.wal.append(bytes, length);
    } catch (error) {
      throw this.appendFailure(error);
    }
  }

  /** Makes everything appended so far durable. A failed sync is never tried again. */
  async syncLog(): Promise<void> {
    this.checkWritable();
    try {
      await this.host.wal.sync();
    } catch (error) {
      throw this.poisonWith(error);
    }
  }

  private apply(group: Group): void {
    const { record } = group;
    const payload = record.writer.bytes.subarray(RECORD_HEADER_BYTES);
    try {
      new RecordReader(payload, this.host.wal.path, 0).apply(this.host.memtable);
    } catch (error) {
      // A bug of ours. Nothing was published, so readers stay right.
      group.reject(this.poisonWith(error));
      return;
    }
    this.lastSeqno += record.operationCount;
    this.host.publish(this.lastSeqno);
    group.resolve();
  }

  /** The group did not happen, unless the log could not even be cut back. */
  private appendFailure(cause: unknown): DatabaseError {
    if (this.host.wal.isBroken) return this.poisonWith(cause);
    return ioError(cause);
  }
}

function ioError(cause: unknown): DatabaseError {
  return new DatabaseError("MEMKV_IO", "the write failed and did not happen", {
    cause,
  });
}
