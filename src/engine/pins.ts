/**
 * Pins: which moments are held on to, by whom and since when.
 *
 * A snapshot, a transaction, an iteration or a stream pins the sources of its moment: memtables and
 * files that were replaced meanwhile stay, in memory and on disk, until the last pin on them is let
 * go. Whoever forgets to close one would keep them for good; so each pin is given an owner, and when
 * the owner is collected as garbage the pin is let go, with a warning.
 *
 * Most iterations begin and end within one turn of the event loop. Watching an owner costs more than
 * such an iteration, so it begins in a microtask after the pin was taken, for those still held then.
 */
import type { Pin } from "./iteration.ts";
import type { Memtable } from "./memtable.ts";
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
}

/** An owner that is not watched yet. */
interface Newcomer {
  readonly owner: object;
  readonly held: Held;
}

/** Owners that may wait to be watched: so many are kept from being garbage until the next microtask. */
const MAX_NEWCOMERS = 256;

export class Pins {
  private readonly held = new Set<Held>();
  private readonly now: () => number;
  private readonly checkOpen: () => void;
  private readonly registry: FinalizationRegistry<Held>;
  private newcomers: Newcomer[] = [];

  /** `checkOpen` throws when no pin may be read any more; `warn` is told of each that was forgotten. */
  constructor(now: () => number, checkOpen: () => void, warn: (event: WarningEvent) => void) {
    this.now = now;
    this.checkOpen = checkOpen;
    this.registry = new FinalizationRegistry((held) => {
      if (!this.held.has(held)) return;
      this.release(held);
      const { kind, since } = held;
      const message = `a ${kind} was never closed: it is garbage now, and what it kept is let go`;
      warn({ message, kind, since });
    });
  }

  /** Pins a moment; `release` is idempotent. */
  take(kind: PinKind, sources: ReadSources, seqno: number): Pin {
    const held: Held = { kind, seqno, since: this.now(), sources };
    sources.version.hold();
    this.held.add(held);
    return {
      sources,
      seqno,
      checkOpen: this.checkOpen,
      release: (): void => this.release(held),
      watch: (owner): void => this.watch(owner, held),
    };
  }

  /** What is pinned, oldest first, given the sources that are in use anyway. */
  stats(current: Sources): PinStats[] {
    const memtables = new Set<unknown>(current.memtables);
    const segments = new Set(current.version.runs.flat());
    return [...this.held].map(({ kind, seqno, since, sources }) => {
      const oldMemtables = sources.memtables.filter((memtable) => !memtables.has(memtable));
      const oldSegments = sources.version.runs.flat().filter((segment) => !segments.has(segment));
      return {
        kind,
        seqno,
        since,
        memtableBytes: oldMemtables.reduce(
          (sum, memtable) => sum + ((memtable as Partial<Memtable>).byteLength ?? 0),
          0,
        ),
        fileBytes: oldSegments.reduce((sum, { meta }) => sum + meta.fileBytes, 0),
      };
    });
  }

  private release(held: Held): void {
    if (!this.held.delete(held)) return;
    this.registry.unregister(held);
    held.sources.version.release();
  }

  private watch(owner: object, held: Held): void {
    if (this.newcomers.length === 0) queueMicrotask(() => this.watchNewcomers());
    this.newcomers.push({ owner, held });
    if (this.newcomers.length >= MAX_NEWCOMERS) this.watchNewcomers();
  }

  private watchNewcomers(): void {
    const { newcomers } = this;
    this.newcomers = [];
    for (const { owner, held } of newcomers) {
      if (this.held.has(held)) this.registry.register(owner, held, held);
    }
  }
}
