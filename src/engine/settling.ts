/**
 * Settling: brings the keys of memtables in order before anybody asks for that.
 *
 * A memtable that is written to has its keys in a hash table (memtable/key-table.ts), and a scan would
 * have to wait until there is a tree, a quarter of a second for 64 MiB of names and URLs. So the tree is
 * made as soon as few writes come, and after an open: in steps of some milliseconds, each in a turn of
 * the event loop, between which writes go on. While many come it is not: who scans then waits once, and
 * the eight memtables that follow have trees from the beginning (rotation.ts). With the option
 * `memtableIndex: "tree"` all have, but for those of an open, which are settled before it resolves.
 */
import { setImmediate } from "node:timers/promises";
import type { Memtable } from "../memtable/memtable.ts";
import type { StoreOptions } from "./store.ts";

/** What settling needs of the store. */
export interface SettlingHost {
  readonly options: Pick<StoreOptions, "memtableIndex">;
  readonly sources: { readonly memtables: readonly Memtable[] };
  readonly visibleSeqno: number;
  /** Calls back once, unless what it returns is called first. */
  callLater(milliseconds: number, callback: () => void): () => void;
}

/** Few writes are fewer than so many in so long a time: a tree takes them at a hundredth of its pace. */
const QUIET_WRITES = 1024;
const QUIET_MS = 100;

export class Settling {
  /** Whether it waits until few writes come, or brings keys in order. */
  isAwake: boolean;
  private underWay: Promise<void> | undefined;
  private readonly host: SettlingHost;
  private readonly onFailure: (error: unknown) => void;
  private cancel: () => void;
  private isStopped: boolean;

  /** `onFailure` is told why keys are not brought in order; whoever needs them so tries again. */
  constructor(host: SettlingHost, onFailure: (error: unknown) => void) {
    this.isAwake = false;
    this.underWay = undefined;
    this.host = host;
    this.onFailure = onFailure;
    this.cancel = () => {};
    this.isStopped = false;
  }

  /** Brings the keys in order that an open left in none. Never rejects. */
  start(): Promise<void> {
    this.isAwake = true;
    return this.order();
  }

  /** Waits until few writes come, and then brings the keys in order. */
  wake(): void {
    // The writes that a close waits for wake it, too.
    if (this.isStopped) return;
    this.isAwake = true;
    const seen = this.host.visibleSeqno;
    this.cancel = this.host.callLater(QUIET_MS, () => this.look(seen));
  }

  /** Resolves when all keys are in order, or those are gone that are not. One at a time does that. */
  settle(): Promise<void> {
    this.underWay ??= this.takeSteps().finally(() => {
      this.underWay = undefined;
    });
    return this.underWay;
  }

  private async takeSteps(): Promise<void> {
    const { host } = this;
    for (const memtable of host.sources.memtables) {
      while (this.isDue(memtable)) {
        await setImmediate();
        if (this.isStopped) return;
        if (!host.sources.memtables.includes(memtable)) break;
        memtable.orderStep();
      }
    }
  }

  /** Does no more. */
  stop(): void {
    this.isStopped = true;
    this.cancel();
  }

  private look(seen: number): void {
    if (this.host.visibleSeqno - seen >= QUIET_WRITES) {
      this.wake();
      return;
    }
    void this.order();
  }

  private async order(): Promise<void> {
    try {
      await this.settle();
    } catch (error) {
      this.onFailure(error);
      return;
    } finally {
      // From then on writes wake it again: those to another memtable.
      this.isAwake = false;
    }
    // That may have come meanwhile, and no write after it.
    if (this.isDue(this.host.sources.memtables[0])) this.wake();
  }

  /** One without keys has nothing to bring in order, but keys may come, which are to find a tree. */
  private isDue({ isUnordered, keyCount }: Memtable): boolean {
    return isUnordered && (keyCount > 0 || this.host.options.memtableIndex === "tree");
  }
}
