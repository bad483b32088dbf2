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
 * 3. For `"sync"`: sync the log, on the calling thread where that is best (sync-pace.ts). If that
 *    fails, what is durable is unknown: the database is poisoned.
 * 4. Apply the same bytes to the memtable, make them visible, resolve the promise.
 *
 * Before 2 and before 4 the lock must certainly be ours. If it is not at 4, another process may have
 * recovered without the record: the group is rejected, and whether it survives is unknown.
 *
 * So readers see only what is as durable as was asked, a batch becomes visible at once, and the
 * order of acknowledgement is the order of the log.
 *
 * After 4 a log with much that is not synced is synced ahead, beside the groups that follow (logs.ts).
 *
 * A write may have a condition (group-writes.ts). It is decided when the group's turn has come, so
 * by every write before it in the log and by nothing else.
 *
 * A blocking write (`writeSync`) joins the open group, and then does at once, on the calling thread,
 * what would be done to the groups that wait, up to and including its own. It is refused where that
 * takes waiting: while a group or a task is under way, when no memtable may be sealed, and when the
 * log must be synced while a sync ahead is under way.
 *
 * Writes that are never awaited cannot pile up: once those that wait take `maxPendingBytes`, they are
 * committed on the calling thread, and where that takes waiting, further ones are refused.
 */
import { setImmediate } from "node:timers/promises";
import { assert } from "../assert.ts";
import { DatabaseError, InvalidArgumentError } from "../errors.ts";
import type { WalWriter } from "../wal/writer.ts";
import { RecordBuilder, type RecordMark } from "./batch.ts";
import type { DeadRange } from "./dead-range.ts";
import { type Condition, ConditionalWrite, decide } from "./group-writes.ts";
import { toUserError } from "./io-error.ts";
import type { Logs } from "./logs.ts";
import type { Memtable } from "./memtable.ts";
import type { Durability } from "./options.ts";
import type { Rotation } from "./rotation.ts";
import type { RowCache } from "./row-cache.ts";
import { SyncPace } from "./sync-pace.ts";
import type { WriteGuard } from "./write-guard.ts";
import { WritePace } from "./write-pace.ts";

/** What the group commit needs of the store. */
export interface CommitHost {
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
  /** Bytes of writes that may wait. */
  readonly maxPendingBytes: number;
  /** Makes everything applied so far visible to readers. */
  publish(lastSeqno: number): void;
}

/** Writes that share a record and a promise. */
class Group {
  readonly record: RecordBuilder;
  needsSync = false;
  /** Those of its writes that have a condition, in their order. */
  readonly conditional: ConditionalWrite[] = [];
  resolve: () => void = ignore;
  reject: (reason: unknown) => void = ignore;
  private promise: Promise<void> | undefined;

  constructor(record: RecordBuilder) {
    this.record = record;
  }

  /** Settles when the group does. There is none before somebody asks: a blocking write does not. */
  settled(): Promise<void> {
    this.promise ??= new Promise<void>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    return this.promise;
  }
}

function ignore(): void {
  // Nobody waits for the group.
}

/** A group is closed at this size even while it waits, so that no record grows without bound. */
const MAX_GROUP_BYTES = 2 ** 20;

/** And at this many conditions: each may have to look at every key of the group. */
const MAX_GROUP_CONDITIONS = 2 ** 8;

/**
 * Records up to this size are written synchronously: a write into the page cache takes microseconds,
 * the thread pool's round trip 26 of them. While the disk stalls none are (write-pace.ts).
 */
const MAX_SYNCHRONOUS_BYTES = 2 ** 18;

/**
 * Buffers of more than this are not kept for another group. Fresh memory costs more than to encode a
 * batch into it: the system hands it out, zeroed, page by page.
 */
const MAX_SPARE_BYTES = 2 ** 24;

/**
 * Writes that are all synchronous settle in microtasks, so a loop of awaited puts would never let a
 * timer or a socket have its turn: the event loop gets one after this much work, a few milliseconds.
 */
const YIELD_BYTES = 2 ** 16;
/** What a group costs beside its bytes. */
const GROUP_COST_BYTES = 2 ** 8;

export class Committer {
  private readonly host: CommitHost;
  /** Bytes of the keys and values of acknowledged writes, and of their records, since the open. */
  userBytes = 0;
  logBytes = 0;
  /** The group that takes new writes, if it has any; always the last in the queue. */
  private open: Group | undefined;
  /** Groups and exclusive tasks, in the order they are to run. */
  private readonly queue: (Group | (() => Promise<void>))[] = [];
  private isRunning = false;
  private readonly pace = new WritePace();
  private readonly syncPace = new SyncPace();
  /** Whether a group or a task is under way that has to wait: what follows cannot overtake it. */
  private isWaiting = false;
  /** Bytes of groups that are not settled. */
  private pendingBytes = 0;
  /** Whether a record is being added to: user code runs meanwhile. */
  private isEncoding = false;
  private lastSeqno: number;
  /** The record of a group that is settled, for the next one: its buffer costs more than a put. */
  private spare: RecordBuilder | undefined;
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
    return this.addToOpen(encode, durability).settled();
  }

  /**
   * As `write`, if the condition holds when the write's turn has come; resolves to whether it did.
   * What the condition throws rejects this write alone.
   */
  async writeIf(
    condition: Condition,
    encode: (record: RecordBuilder) => void,
    durability: Durability,
  ): Promise<boolean> {
    let start: RecordMark | undefined;
    const group = this.addToOpen((record) => {
      start = record.mark();
      encode(record);
    }, durability);
    assert(start !== undefined, "encode was called");
    const write = new ConditionalWrite(condition, start, group.record.mark());
    group.conditional.push(write);
    if (group.conditional.length >= MAX_GROUP_CONDITIONS) this.open = undefined;
    await group.settled();
    if (write.failure !== undefined) throw toUserError(write.failure, "read");
    return write.isDone;
  }

  /**
   * As `write`, blocking the thread: on return the write is as durable as asked, and so is every
   * write before it. Throws what `write` rejects with, and MEMKV_BUSY where it would have to wait.
   */
  writeSync(encode: (record: RecordBuilder) => void, durability: Durability): void {
    this.checkMayBegin();
    if (this.isWaiting || this.queue.some((entry) => !(entry instanceof Group))) {
      throw busy("another write or task is under way");
    }
    const group = this.open ?? this.newGroup();
    const { needsSync } = group;
    const mark = group.record.mark();
    this.add(group, encode, durability);
    if (!this.commitQueued(group) || !this.canCommitNow(group)) {
      // Nothing was added since, so this takes back the write alone.
      this.pendingBytes -= group.record.writer.length - mark.length;
      group.record.rewind(mark);
      group.needsSync = needsSync;
      throw busy(
        "the memtables are full, the log is being synced, or the lock has to be confirmed",
      );
    }
    this.takeGroup(group);
    const failure = this.commitNow(group);
    if (failure !== undefined) throw failure;
  }

  /** Runs a task when everything written before has settled, and before anything written after. */
  exclusive<T>(task: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.open = undefined;
      this.queue.push(async () => {
        this.isWaiting = true;
        try {
          const result = await task();
          this.isWaiting = false;
          resolve(result);
        } catch (error) {
          this.isWaiting = false;
          reject(error);
        }
      });
      this.start();
    });
  }

  /** The next write is numbered above `seqno`. For an exclusive task that took the numbers up to it. */
  skipTo(seqno: number): void {
    this.lastSeqno = seqno;
    this.host.publish(seqno);
  }

  private checkMayBegin(): void {
    this.host.guard.checkWritable();
    if (this.isEncoding) {
      throw new InvalidArgumentError(
        "a write was begun inside an encoding or a getter of another write: begin it after that one",
      );
    }
  }

  private addToOpen(encode: (record: RecordBuilder) => void, durability: Durability): Group {
    this.checkMayBegin();
    if (this.pendingBytes >= this.host.maxPendingBytes) {
      this.commitQueued();
      if (this.pendingBytes >= this.host.maxPendingBytes) {
        throw busy("too many writes wait already");
      }
    }
    const group = this.open ?? this.openGroup();
    this.add(group, encode, durability);
    if (group.record.writer.length >= MAX_GROUP_BYTES) this.open = undefined;
    return group;
  }

  /** Leaves in the record what happens of the writes that have a condition. */
  private decide(group: Group): void {
    if (group.conditional.length === 0 || !this.host.guard.isWritable) return;
    const { record } = group;
    this.pendingBytes -= record.contentBytes;
    decide(record, group.conditional);
    this.pendingBytes += record.contentBytes;
  }

  /** Adds what `encode` appends to the group's record, or nothing if it throws. */
  private add(group: Group, encode: (record: RecordBuilder) => void, durability: Durability): void {
    const { record } = group;
    const mark = record.mark();
    this.isEncoding = true;
    try {
      encode(record);
    } catch (error) {
      record.rewind(mark);
      throw error;
    } finally {
      this.isEncoding = false;
    }
    this.pendingBytes += record.writer.length - mark.length;
    if (durability === "sync") group.needsSync = true;
  }

  private newGroup(): Group {
    const record = this.spare ?? new RecordBuilder();
    this.spare = undefined;
    return new Group(record);
  }

  private openGroup(): Group {
    const group = this.newGroup();
    this.open = group;
    this.queue.push(group);
    this.start();
    return group;
  }

  /** Takes the group, which is the first of the queue or in none, out of it. */
  private takeGroup(group: Group): void {
    if (this.queue.at(0) === group) this.queue.shift();
    if (this.open === group) this.open = undefined;
  }

  private start(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    // A microtask, for half of what `queueMicrotask` costs.
    void SETTLED.then(this.run);
  }

  /** Does what is in the queue, up to what has to wait, and goes on after it. */
  private readonly run = (): void => {
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      const pending = next instanceof Group ? this.runGroup(next) : next();
      if (pending !== undefined) {
        // Groups and tasks settle their own promises, so this one never rejects.
        void pending.then(this.run);
        return;
      }
    }
    this.isRunning = false;
  };

  private runGroup(group: Group): Promise<void> | undefined {
    if (this.open === group) this.open = undefined;
    this.unyielded += GROUP_COST_BYTES + group.record.writer.length;
    const pending = this.commit(group);
    if (pending !== undefined) return pending;
    // The event loop has its turn after each sync that blocked it: others may have writes to join in.
    if (this.unyielded < YIELD_BYTES && !group.needsSync) return undefined;
    this.unyielded = 0;
    return setImmediate();
  }

  /** Settles the group; a promise only where it has to wait for the disk. */
  private commit(group: Group): Promise<void> | undefined {
    const { record } = group;
    this.decide(group);
    if (record.operationCount === 0 || !this.host.guard.isWritable) {
      this.settle(group, this.host.guard.refusal);
      return undefined;
    }
    const now = this.host.now();
    const needsToWait =
      (group.needsSync && (this.host.logs.isSyncing || !this.syncPace.mayBlock(now))) ||
      !this.mayBlock(record, now) ||
      !this.host.guard.isLockHeld ||
      !this.host.rotation.isLogReady ||
      this.host.isSlowed ||
      !this.host.rotation.hasRoom(record);
    if (needsToWait) return this.commitSlowly(group);
    try {
      this.appendSync(record, now);
      if (group.needsSync) this.syncPaced();
    } catch (error) {
      this.settle(group, error);
      return undefined;
    }
    if (!this.host.guard.isLockHeld) return this.applyIfHeld(group);
    this.apply(group);
    this.host.logs.syncAhead();
    return undefined;
  }

  private async commitSlowly(group: Group): Promise<void> {
    const { record } = group;
    this.isWaiting = true;
    try {
      if (this.host.isSlowed) await this.host.slowDown(record.writer.length);
      if (!this.host.rotation.isLogReady) await this.host.rotation.prepareLog();
      if (!this.host.rotation.hasRoom(record)) {
        await this.host.rotation.rotate(record);
        this.host.guard.checkWritable();
      }
      // Its sync would wait for that too. Written after it, the record vouches for the log's header.
      if (group.needsSync) await this.host.logs.founded();
      await this.host.guard.confirmLock();
      const now = this.host.now();
      if (this.mayBlock(record, now)) this.appendSync(record, now);
      else await this.append(record, now);
      if (group.needsSync) await this.syncObserved();
      await this.host.guard.confirmLock();
    } catch (error) {
      this.settle(group, error instanceof DatabaseError ? error : ioError(error));
      return;
    }
    this.apply(group);
    this.host.logs.syncAhead();
  }

  /** For a thread that was stalled while the record was written: others may own the directory now. */
  private async applyIfHeld(group: Group): Promise<void> {
    this.isWaiting = true;
    try {
      await this.host.guard.confirmLock();
    } catch (error) {
      this.settle(group, error);
      return;
    }
    this.apply(group);
  }

  /**
   * Commits the groups that wait, up to and without `end`, on the calling thread. False if one of
   * them has to wait, which stays where it is.
   */
  private commitQueued(end?: Group): boolean {
    if (this.isWaiting) return false;
    for (let next = this.queue.at(0); next !== undefined && next !== end; next = this.queue.at(0)) {
      if (!(next instanceof Group) || !this.canCommitNow(next)) return false;
      this.takeGroup(next);
      this.commitNow(next);
    }
    return true;
  }

  /** Whether `commitNow` settles the group, be it with a failure. */
  private canCommitNow({ record, needsSync }: Group): boolean {
    const { host } = this;
    if (record.operationCount === 0 || !host.guard.isWritable) return true;
    if (!host.guard.isLockHeld) return false;
    if (!host.rotation.hasRoom(record) && !host.rotation.canRotate(record)) return false;
    return !needsSync || !host.logs.isSyncing;
  }

  /** Settles the group on the calling thread. Returns why it failed, if it did. */
  private commitNow(group: Group): unknown {
    const { host } = this;
    const { record } = group;
    this.decide(group);
    if (record.operationCount === 0 || !host.guard.isWritable) {
      return this.settle(group, host.guard.refusal);
    }
    try {
      if (!host.rotation.isLogReady) host.rotation.prepareLogSync();
      if (!host.rotation.hasRoom(record)) host.rotation.rotateSync(record);
      // Where that took so long that it must be confirmed again.
      if (!host.guard.isLockHeld) throw busy("the lock has to be confirmed");
      this.appendSync(record, host.now());
      if (group.needsSync) host.logs.syncSync();
    } catch (error) {
      return this.settle(group, error instanceof DatabaseError ? error : ioError(error));
    }
    // Only waiting could tell whether it is still ours.
    if (!host.guard.isLockHeld) return this.settle(group, host.guard.fence());
    return this.apply(group);
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

  /** Makes the group's writes visible and settles it. Returns why that failed, if it did. */
  private apply(group: Group): unknown {
    const { record } = group;
    try {
      const { memtable, dead, rows, wal } = this.host;
      const reader = record.reader(wal.path);
      reader.apply(memtable);
      if (dead.isKnown) reader.apply(dead);
      if (rows !== undefined && !rows.isEmpty) reader.apply(rows);
    } catch (error) {
      // A bug of ours. Nothing was published, so readers stay right.
      return this.settle(group, this.host.guard.poison(error));
    }
    this.lastSeqno += record.operationCount;
    this.userBytes += record.keyBytes + record.valueBytes;
    this.logBytes += record.writer.length;
    this.host.publish(this.lastSeqno);
    return this.settle(group, undefined);
  }

  /** Rejects the group with `failure`, which is returned, or resolves it if there is none. */
  private settle(group: Group, failure: unknown): unknown {
    this.pendingBytes -= group.record.contentBytes;
    this.isWaiting = false;
    if (group.record.writer.buffer.length <= MAX_SPARE_BYTES) {
      this.spare = group.record;
      this.spare.reset();
    }
    if (failure === undefined) group.resolve();
    else group.reject(failure);
    return failure;
  }

  /** The group did not happen, unless the log could not even be cut back. */
  private appendFailure(cause: unknown): DatabaseError {
    if (this.host.wal.isBroken) return this.host.guard.poison(cause);
    return ioError(cause);
  }
}

const SETTLED: Promise<void> = Promise.resolve();

function busy(why: string): DatabaseError {
  return new DatabaseError("MEMKV_BUSY", `the write would have to wait: ${why}`);
}

function ioError(cause: unknown): DatabaseError {
  return new DatabaseError("MEMKV_IO", "the write failed and did not happen", {
    cause,
  });
}
