/**
 * Pins: which moments are held on to, by whom and since when.
 *
 * A snapshot, a transaction, an iteration or a stream pins the sources of its moment: memtables and
 * files that were replaced meanwhile stay, in memory and on disk, until the last pin on them is let
 * go. Whoever forgets to close one would keep them for good; so each pin is given an owner, and when
 * the owner is collected as garbage the pin is let go, with a warning. What the registry of owners
 * keeps for a pin leads to the database, and may from there lead to the owner, so that neither became
 * garbage: a database that is closed lets go of every pin.
 *
 * Most iterations begin and end within one turn of the event loop, and cost a few microseconds. So a
 * pin is linked into the list of all by itself, and watching an owner, which costs more, begins in a
 * microtask after the pin was taken, for those still held then; one that is let go at once is taken
 * off the end of those that wait for it.
 */

import type { Memtable } from "../memtable/memtable.ts";
import type { DeadRange } from "./dead-range.ts";
import type { Pin } from "./iteration.ts";
import type { ReadSources, Sources } from "./sources.ts";

/** Who holds on to a moment. */
export type PinKind = "snapshot" | "transaction" | "iteration" | "stream";

/** A moment that is held on to. */
export interface PinStats {
  readonly kind: PinKind;
  /** Sequence number of the newest write that it sees. */
  readonly seqno: number;
  /** When it was pinned, in milliseconds since 1970. */
  readonly since: number;
  /** Bytes of memtables that are in memory only because they are pinned, by this or another. */
  readonly memtableBytes: number;
  /** Bytes of segment files that are on disk only because they are pinned, by this or another. */
  readonly fileBytes: number;
}

/** Reported when what pinned a moment was collected as garbage without having been closed. */
export interface WarningEvent {
  readonly message: string;
  readonly kind: PinKind;
  readonly since: number;
}

/** What is known of a pin. Refers to no owner: owners must be free to become garbage. */
interface Held {
  readonly kind: PinKind;
  readonly seqno: number;
  readonly since: number;
  readonly sources: ReadSources;
  /** Whether the registry has it: to take out what is not in costs as much as to take out what is. */
  isWatched: boolean;
  isReleased: boolean;
  /** Neighbours in the list of all, which is in order of time. */
  previous: Held | undefined;
  next: Held | undefined;
}

/** An owner that is not watched yet. */
interface Newcomer {
  readonly owner: object;
  readonly held: Held;
}

/** What the registry says of an owner that became garbage. */
interface Watched {
  readonly pins: Pins;
  readonly held: Held;
}

/** Owners that may wait to be watched: so many are kept from being garbage until the next microtask. */
const MAX_NEWCOMERS = 256;

export class Pins {
  /** One for all: it has to outlive them, and those of an attached snapshot are garbage with that. */
  private static readonly registry = new FinalizationRegistry<Watched>(({ pins, held }) =>
    pins.letGo(held),
  );

  private first: Held | undefined;
  private last: Held | undefined;
  private readonly now: () => number;
  private readonly checkOpen: () => void;
  private readonly warn: (event: WarningEvent) => void;
  private newcomers: Newcomer[] = [];
  private isScheduled = false;
  private readonly dead: DeadRange;
  private readonly newestSeqno: () => number;

  /** `checkOpen` throws when no pin may be read any more; `warn` is told of each that was forgotten;
   * `newestSeqno` is the newest write applied. */
  constructor(
    now: () => number,
    checkOpen: () => void,
    warn: (event: WarningEvent) => void,
    dead: DeadRange,
    newestSeqno: () => number,
  ) {
    this.dead = dead;
    this.newestSeqno = newestSeqno;
    this.now = now;
    this.checkOpen = checkOpen;
    this.first = undefined;
    this.last = undefined;
    this.warn = warn;
  }

  /** Pins a moment, at which what has expired by `time` is not seen; `release` is idempotent. */
  take(kind: PinKind, sources: ReadSources, seqno: number, time: number): Pin {
    const held: Held = {
      kind,
      seqno,
      since: this.now(),
      sources,
      isWatched: false,
      isReleased: false,
      previous: this.last,
      next: undefined,
    };
    sources.version.hold();
    if (this.last === undefined) this.first = held;
    else this.last.next = held;
    this.last = held;
    return {
      sources,
      seqno,
      time,
      checkOpen: this.checkOpen,
      dead: this.dead,
      learnDead: (start, end): void => {
        // Only who sees every write knows that none of them is there.
        if (seqno === this.newestSeqno()) this.dead.learn(start, end, seqno, time);
      },
      release: (): void => this.release(held),
      watch: (owner): void => this.watch(owner, held),
    };
  }

  /** Whether some pin has the memtable among its sources. */
  holds(memtable: Memtable): boolean {
    for (let held = this.first; held !== undefined; held = held.next) {
      if (held.sources.memtables.includes(memtable)) return true;
    }
    return false;
  }

  /** What is pinned, oldest first, given the sources that are in use anyway. */
  stats(current: Sources): PinStats[] {
    const memtables = new Set<unknown>(current.memtables);
    const segments = new Set(current.version.runs.flat());
    const pinned: PinStats[] = [];
    for (let held = this.first; held !== undefined; held = held.next) {
      const { kind, seqno, since, sources } = held;
      const oldMemtables = sources.memtables.filter((memtable) => !memtables.has(memtable));
      const oldSegments = sources.version.runs.flat().filter((segment) => !segments.has(segment));
      pinned.push({
        kind,
        seqno,
        since,
        memtableBytes: oldMemtables.reduce(
          (sum, memtable) => sum + ((memtable as Partial<Memtable>).byteLength ?? 0),
          0,
        ),
        fileBytes: oldSegments.reduce((sum, { meta }) => sum + meta.fileBytes, 0),
      });
    }
    return pinned;
  }

  /** Lets go of all: none may be read any more. */
  releaseAll(): void {
    while (this.first !== undefined) this.release(this.first);
  }

  private release(held: Held): void {
    if (held.isReleased) return;
    held.isReleased = true;
    const { previous, next } = held;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    // Who still refers to it must not keep those that came after it.
    held.previous = undefined;
    held.next = undefined;
    if (this.newcomers.at(-1)?.held === held) this.newcomers.pop();
    if (held.isWatched) Pins.registry.unregister(held);
    held.sources.version.release();
  }

  /** Of a pin whose owner is garbage. */
  private letGo(held: Held): void {
    if (held.isReleased) return;
    this.release(held);
    const { kind, since } = held;
    const article = kind === "iteration" ? "an" : "a";
    const message = `${article} ${kind} was never closed: it is garbage now, and what it kept is let go`;
    this.warn({ message, kind, since });
  }

  private watch(owner: object, held: Held): void {
    if (!this.isScheduled) {
      this.isScheduled = true;
      queueMicrotask(() => {
        this.isScheduled = false;
        this.watchNewcomers();
      });
    }
    this.newcomers.push({ owner, held });
    if (this.newcomers.length >= MAX_NEWCOMERS) this.watchNewcomers();
  }

  private watchNewcomers(): void {
    const { newcomers } = this;
    this.newcomers = [];
    for (const { owner, held } of newcomers) {
      if (held.isReleased) continue;
      held.isWatched = true;
      Pins.registry.register(owner, { pins: this, held }, held);
    }
  }
}
