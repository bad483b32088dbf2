/**
 * Rotation: when the log and the memtable that take the writes make way for the next.
 *
 * A memtable that is full is sealed, for a flush, and the writes go to a new one and to a new log. So
 * once its run is installed, the logs before that of the next memtable can go. A record that is too
 * large for an empty memtable gets a larger one in its place, and the log stays.
 *
 * What takes the writes of an open database is its first memtable, which is there from the beginning,
 * and a log that is not: it is created for the first write.
 *
 * Each step has two forms, as writes have: one that may wait, and one that blocks the thread.
 */
import { assert } from "../assert.ts";
import { createMemtable, type Memtable, type MemtableBuffers } from "../memtable/memtable.ts";
import type { RecordBuilder } from "../wal/batch.ts";
import type { Background } from "./background.ts";
import type { Logs } from "./logs.ts";
import type { RecoveredMemtable } from "./recovery.ts";
import type { Sources } from "./sources.ts";
import type { SpareBuffers } from "./spare-buffers.ts";
import type { StoreOptions } from "./store.ts";
import type { WriteGuard } from "./write-guard.ts";

/**
 * A memtable has a tree from the beginning if any of so many before it was asked for the order of its
 * keys. Whoever asks again would wait for that, a quarter of a second for each of 64 MiB; a tree that
 * nobody asks makes writes take up to twice as long.
 */
const ORDERED_AFTER_WALK = 8;

/** What the rotation needs of the store. */
export interface RotationHost {
  readonly options: Pick<StoreOptions, "memtableBytes" | "memtableIndex">;
  /** Of memtables: as random as the database's id. */
  readonly hashSeed: number;
  /** `memtables[0]` is the one being written. */
  sources: Sources;
  readonly spareBuffers: SpareBuffers;
  readonly logs: Logs;
  readonly guard: Pick<WriteGuard, "checkWritable">;
  readonly background: Pick<Background, "hasRoom" | "waitForRoom" | "wake">;
  /** Puts the newest log into the manifest, once it is durable. Never rejects. */
  recordFounded(): Promise<void>;
}

export class Rotation {
  private readonly host: RotationHost;
  /** File number of the oldest log that holds writes of a memtable. */
  private readonly firstLogs: WeakMap<Memtable, number>;
  /** Of the next memtables so many have a tree from the beginning. */
  private orderedCount: number;

  constructor(host: RotationHost, recovered: readonly RecoveredMemtable[]) {
    this.host = host;
    this.firstLogs = new WeakMap();
    this.orderedCount = 0;
    for (const { memtable, firstLog } of recovered) this.firstLogs.set(memtable, firstLog);
  }

  private get memtable(): Memtable {
    return this.host.sources.memtables[0];
  }

  /** File number of the oldest log that holds writes of a memtable, which has some or will have. */
  firstLogOf(memtable: Memtable): number {
    const firstLog = this.firstLogs.get(memtable);
    assert(firstLog !== undefined, "a memtable that a flush asks about has a log");
    return firstLog;
  }

  /** False until the first write since the open, before which `prepareLog` must be awaited. */
  get isLogReady(): boolean {
    return this.host.logs.isWritable;
  }

  /** Creates the log of the first write since the open. */
  async prepareLog(): Promise<void> {
    this.startedLog(await this.host.logs.startNext());
  }

  /** As `prepareLog`, blocking the thread; the lock is held. */
  prepareLogSync(): void {
    this.startedLog(this.host.logs.startNextSync());
  }

  private startedLog(fileNumber: number): void {
    if (!this.firstLogs.has(this.memtable)) this.firstLogs.set(this.memtable, fileNumber);
    void this.host.recordFounded();
  }

  /** Whether log and memtable take one more record before they are rotated. */
  hasRoom(record: RecordBuilder): boolean {
    const { memtable } = this;
    const { operationCount, keyBytes, valueBytes, writer } = record;
    const isFull = memtable.byteLength >= this.host.options.memtableBytes && !memtable.isEmpty;
    return (
      !isFull &&
      memtable.canHold(operationCount, keyBytes, valueBytes) &&
      (!this.isLogReady || this.host.logs.newest.hasRoom(writer.length))
    );
  }

  /** Seals the memtable and begins a new one, and a new log, with room for the record. May wait. */
  async rotate(record?: RecordBuilder): Promise<void> {
    const { host } = this;
    host.guard.checkWritable();
    if (record !== undefined && this.mayEnlarge(record)) {
      this.enlarge(record);
      return;
    }
    await host.background.waitForRoom();
    await host.spareBuffers.looked;
    const memtable = this.followingMemtable(record);
    this.firstLogs.set(memtable, await host.logs.startNext());
    this.seal(memtable);
  }

  /**
   * Whether `rotate` need wait neither for a sync nor for a flush. Where it must wait for a flush, one
   * is begun if none is under way.
   */
  canRotate(record: RecordBuilder): boolean {
    if (this.mayEnlarge(record)) return true;
    const { background, logs } = this.host;
    if (logs.isSyncing) return false;
    if (background.hasRoom) return true;
    background.wake();
    return false;
  }

  /** As `rotate`, blocking the thread; `canRotate`, and the lock is held. */
  rotateSync(record: RecordBuilder): void {
    if (this.mayEnlarge(record)) {
      this.enlarge(record);
      return;
    }
    const memtable = this.followingMemtable(record);
    this.firstLogs.set(memtable, this.host.logs.startNextSync());
    this.seal(memtable);
  }

  /** Whether all that is missing for the record is a larger memtable: there is nothing to seal. */
  private mayEnlarge({ writer }: RecordBuilder): boolean {
    return this.memtable.isEmpty && this.isLogReady && this.host.logs.newest.hasRoom(writer.length);
  }

  /** Puts a memtable with room for the record in the place of the empty one. */
  private enlarge(record: RecordBuilder): void {
    const { host } = this;
    const memtable = this.nextMemtable(!this.memtable.isUnordered, record);
    this.firstLogs.set(memtable, this.firstLogOf(this.memtable));
    host.spareBuffers.retire(this.memtable);
    host.sources = { ...host.sources, memtables: host.sources.memtables.with(0, memtable) };
  }

  /** What comes after the memtable that is sealed. */
  private followingMemtable(record?: RecordBuilder): Memtable {
    if (this.memtable.isWalked) this.orderedCount = ORDERED_AFTER_WALK;
    const isOrdered = this.orderedCount > 0;
    if (isOrdered) this.orderedCount--;
    return this.nextMemtable(isOrdered, record);
  }

  /** `isOrdered`: whether there is much to say that the order of its keys will be asked for. */
  private nextMemtable(isOrdered: boolean, record?: RecordBuilder): Memtable {
    const { options, hashSeed, spareBuffers } = this.host;
    const hasTree = isOrdered || options.memtableIndex === "tree";
    const { operationCount = 0, keyBytes = 0, valueBytes = 0 } = record ?? {};
    const takeSpare = (): MemtableBuffers | undefined => spareBuffers.take();
    const kind = { hashSeed, hasTree, takeSpare };
    return createMemtable(options.memtableBytes, operationCount, keyBytes, valueBytes, kind);
  }

  /** Seals the memtable being written; `next` takes its place. */
  private seal(next: Memtable): void {
    const { host } = this;
    host.sources = { ...host.sources, memtables: [next, ...host.sources.memtables] };
    host.background.wake();
  }
}
