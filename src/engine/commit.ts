/**
 * Group commit: which writes are committed together, when, and on whose time.
 *
 * A write is encoded at once into the open group. The group is closed in the microtask after its
 * first write, or when the group before it is done, whichever is later; so the writes of one tick,
 * and those that arrive during a sync, share one record, one system call, at most one sync and one
 * promise. A group that has its turn is committed (record-commit.ts) and settled, then the next has
 * its turn; so the order of acknowledgement is the order of the log, and a batch becomes visible at
 * once.
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
import { type DatabaseError, InvalidArgumentError } from "../errors.ts";
import { RecordBuilder, type RecordMark } from "../wal/batch.ts";
import { type Condition, ConditionalWrite, decide } from "./group-writes.ts";
import { toUserError } from "./io-error.ts";
import type { Durability } from "./options.ts";
import { busyError, RecordCommit, type RecordCommitHost } from "./record-commit.ts";

/** What the group commit needs of the store. */
export interface CommitHost extends RecordCommitHost {
  /** Bytes of writes that may wait. */
  readonly maxPendingBytes: number;
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
  readonly records: RecordCommit;
  /** The group that takes new writes, if it has any; always the last in the queue. */
  private open: Group | undefined;
  /** Groups and exclusive tasks, in the order they are to run. */
  private readonly queue: (Group | (() => Promise<void>))[] = [];
  private isRunning = false;
  /** Whether a group or a task is under way that has to wait: what follows cannot overtake it. */
  private isWaiting = false;
  /** Bytes of groups that are not settled. */
  private pendingBytes = 0;
  /** Whether a record is being added to: user code runs meanwhile. */
  private isEncoding = false;
  /** The record of a group that is settled, for the next one: its buffer costs more than a put. */
  private spare: RecordBuilder | undefined;
  /** Work done since the event loop last had its turn, in bytes. */
  private unyielded = 0;

  /** `lastSeqno`: of the newest write recovered. */
  constructor(host: CommitHost, lastSeqno: number) {
    this.host = host;
    this.records = new RecordCommit(host, lastSeqno);
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
      throw busyError("another write or task is under way (put, delete and batch wait)");
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
      throw busyError(
        "the memtables are full, the log is being synced, or the lock has to be confirmed " +
          "(put, delete and batch wait)",
      );
    }
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
        throw busyError("too many writes wait already (await some of them)");
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
    this.decide(group);
    // Who is told of a step of it may begin another write, which must not overtake it.
    this.isWaiting = true;
    const outcome = this.records.commit(group.record, group.needsSync);
    if (outcome instanceof Promise) return outcome.then((failure) => this.settle(group, failure));
    this.settle(group, outcome);
    // The event loop has its turn after each sync that blocked it: others may have writes to join in.
    if (this.unyielded < YIELD_BYTES && !group.needsSync) return undefined;
    this.unyielded = 0;
    return setImmediate();
  }

  /**
   * Commits the groups that wait, up to and without `end`, on the calling thread. False if one of
   * them has to wait, which stays where it is.
   */
  private commitQueued(end?: Group): boolean {
    if (this.isWaiting) return false;
    for (let next = this.queue.at(0); next !== undefined && next !== end; next = this.queue.at(0)) {
      if (!(next instanceof Group) || !this.canCommitNow(next)) return false;
      this.commitNow(next);
    }
    return true;
  }

  private canCommitNow({ record, needsSync }: Group): boolean {
    return this.records.canCommitNow(record, needsSync);
  }

  /**
   * Commits the group, which is the first of the queue or in none, on the calling thread. Returns why
   * it failed, if it did.
   */
  private commitNow(group: Group): DatabaseError | undefined {
    if (this.queue.at(0) === group) this.queue.shift();
    if (this.open === group) this.open = undefined;
    this.decide(group);
    const failure = this.records.commitNow(group.record, group.needsSync);
    this.settle(group, failure);
    return failure;
  }

  /** Rejects the group with `failure`, or resolves it if there is none. */
  private settle(group: Group, failure: DatabaseError | undefined): void {
    this.pendingBytes -= group.record.contentBytes;
    this.isWaiting = false;
    if (group.record.writer.buffer.length <= MAX_SPARE_BYTES) {
      this.spare = group.record;
      this.spare.reset();
    }
    if (failure === undefined) group.resolve();
    else group.reject(failure);
  }
}

const SETTLED: Promise<void> = Promise.resolve();
