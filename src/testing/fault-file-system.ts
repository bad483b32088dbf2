/**
 * FaultFileSystem: any other file system, with faults on demand.
 *
 * `inject` plans a fault for the n-th operation of a kind from now on: it fails before it has any
 * effect, or after it had all of it, or a write stops half-way, or it waits for a promise.
 * `limitBytes` makes the disk full. Everything else goes to the file system inside, so that faults
 * can be combined with crashes: put this one around a `CrashFileSystem`.
 *
 * Operations are counted, so a test can run a workload once without faults, learn how many operations
 * of a kind it makes, and then fail each of them in turn.
 */
import { InvalidArgumentError } from "../errors.ts";
import type { DirectoryLock, File, FileSystem, OpenMode } from "../io/file-system.ts";
import { type SystemErrorCode, systemError } from "../io/system-error.ts";
import { realPathOf } from "../io/within.ts";

/** What a program asks of a file system. An operation counts alike whether it blocks the thread or not. */
export type OperationKind =
  | "open"
  | "create"
  | "list"
  | "stat"
  | "createDirectory"
  | "rename"
  | "remove"
  | "syncDirectory"
  | "lock"
  | "read"
  | "write"
  | "sync"
  | "truncate"
  | "close";

const OPERATION_KINDS: Readonly<Record<OperationKind, true>> = {
  open: true,
  create: true,
  list: true,
  stat: true,
  createDirectory: true,
  rename: true,
  remove: true,
  syncDirectory: true,
  lock: true,
  read: true,
  write: true,
  sync: true,
  truncate: true,
  close: true,
};

const EFFECT_KINDS: Readonly<Record<Effect["kind"], true>> = {
  fail: true,
  failAfter: true,
  shorten: true,
  delay: true,
};

/** What becomes of an operation. */
export type Effect =
  /** It fails and changes nothing. */
  | { readonly kind: "fail"; readonly code: SystemErrorCode }
  /** It is done and then said to have failed. */
  | { readonly kind: "failAfter"; readonly code: SystemErrorCode }
  /** A write of which only the first bytes arrive before it fails. As "fail" for anything else. */
  | { readonly kind: "shorten"; readonly code: SystemErrorCode; readonly bytes: number }
  /** It begins when the promise has resolved. Has no effect on synchronous operations. */
  | { readonly kind: "delay"; readonly until: Promise<void> };

export interface Fault {
  /** Kinds it may strike; any kind by default. */
  readonly kinds?: readonly OperationKind[];
  /** Paths it may strike; any by default. Of a rename it is the new one. */
  readonly path?: RegExp;
  /** It strikes the n-th such operation from now on: 1 (the default) is the next one. */
  readonly nth?: number;
  /** How many more in succession it strikes after that. Default 0; Infinity until `heal`. */
  readonly repeat?: number;
  readonly effect: Effect;
}

/** An operation that a fault struck. */
export interface StruckOperation {
  readonly kind: OperationKind;
  readonly path: string;
}

interface PlannedFault {
  readonly fault: Fault;
  /** Operations that match it, so far. */
  seen: number;
}

export class FaultFileSystem implements FileSystem {
  readonly #inner: FileSystem;
  readonly #planned: Set<PlannedFault>;
  readonly #struck: StruckOperation[];
  readonly #counts: Map<OperationKind, number>;
  #freeBytes: number;

  constructor(inner: FileSystem) {
    this.#inner = inner;
    this.#planned = new Set();
    this.#struck = [];
    this.#counts = new Map();
    this.#freeBytes = Number.POSITIVE_INFINITY;
  }

  /**
   * Plans a fault. Of several that match one operation, the first injected strikes.
   *
   * @throws InvalidArgumentError for one that could never strike as it says: an unknown kind of
   *   operation or effect, `nth` below 1, or `repeat` below 0.
   */
  inject(fault: Fault): void {
    checkFault(fault);
    this.#planned.add({ fault, seen: 0 });
  }

  /**
   * From now on files may grow by so many bytes in all; then writes fail with ENOSPC. Removing a file
   * gives nothing back: call this again to make room.
   */
  limitBytes(freeBytes: number): void {
    this.#freeBytes = freeBytes;
  }

  /** Operations that faults have struck, oldest first. */
  get struck(): readonly StruckOperation[] {
    return this.#struck;
  }

  /** Faults that have not struck yet, or not as often as they may. */
  get plannedFaults(): number {
    return this.#planned.size;
  }

  /** By how much files may still grow; Infinity without a limit. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** Takes back every fault and limit. */
  heal(): void {
    this.#planned.clear();
    this.#freeBytes = Number.POSITIVE_INFINITY;
  }

  /** Operations so far, of one kind or of all, failed ones included. */
  operationCount(kind?: OperationKind): number {
    if (kind !== undefined) return this.#counts.get(kind) ?? 0;
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  open(path: string, mode: OpenMode): Promise<File> {
    return this.#run(mode === "create" ? "create" : "open", path, async () =>
      this.#wrap(await this.#inner.open(path, mode)),
    );
  }

  createSync(path: string): File {
    return this.#runSync("create", path, () => this.#wrap(this.#inner.createSync(path)));
  }

  /** Not counted, and no fault strikes it. */
  realPath(path: string): Promise<string> {
    return realPathOf(this.#inner, path);
  }

  list(directory: string): Promise<string[]> {
    return this.#run("list", directory, () => this.#inner.list(directory));
  }

  stat(
    path: string,
  ): Promise<{ readonly size: number; readonly isDirectory: boolean } | undefined> {
    return this.#run("stat", path, () => this.#inner.stat(path));
  }

  createDirectory(path: string): Promise<void> {
    return this.#run("createDirectory", path, () => this.#inner.createDirectory(path));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#run("rename", to, () => this.#inner.rename(from, to));
  }

  remove(path: string): Promise<void> {
    return this.#run("remove", path, () => this.#inner.remove(path));
  }

  syncDirectory(directory: string): Promise<void> {
    return this.#run("syncDirectory", directory, () => this.#inner.syncDirectory(directory));
  }

  syncDirectorySync(directory: string): void {
    this.#runSync("syncDirectory", directory, () => this.#inner.syncDirectorySync(directory));
  }

  lock(directory: string, onLost: (cause: Error) => void): Promise<DirectoryLock> {
    return this.#run("lock", directory, () => this.#inner.lock(directory, onLost));
  }

  #wrap(file: File): File {
    const { path } = file;
    return {
      path,
      size: () => file.size(),
      readSync: (target, position) =>
        this.#runSync("read", path, () => file.readSync(target, position)),
      writeSync: (source, position) =>
        this.#write(file, source, position, this.#strike("write", path)),
      write: async (source, position) => {
        const effect = this.#strike("write", path);
        if (effect?.kind === "delay") await effect.until;
        this.#write(file, source, position, effect);
      },
      sync: () => this.#run("sync", path, () => file.sync()),
      syncSync: () => this.#runSync("sync", path, () => file.syncSync()),
      truncate: (length) => this.#run("truncate", path, () => file.truncate(length)),
      close: () => this.#run("close", path, () => file.close()),
    };
  }

  /** Writes, as far as the effect and the space on the disk allow. */
  #write(file: File, source: Uint8Array, position: number, effect: Effect | undefined): void {
    const { path } = file;
    if (effect?.kind === "fail") throw systemError(effect.code, "write", path);
    const limit = effect?.kind === "shorten" ? effect.bytes : source.length;
    const size = file.size();
    const room = Math.max(0, size - position) + this.#freeBytes;
    const fitting = source.subarray(0, Math.min(limit, room));
    file.writeSync(fitting, position);
    this.#freeBytes -= Math.max(0, file.size() - size);
    if (effect?.kind === "shorten") throw systemError(effect.code, "write", path);
    if (fitting.length < source.length) throw systemError("ENOSPC", "write", path);
    if (effect?.kind === "failAfter") throw systemError(effect.code, "write", path);
  }

  async #run<T>(kind: OperationKind, path: string, operation: () => Promise<T>): Promise<T> {
    const effect = this.#strike(kind, path);
    if (effect?.kind === "delay") await effect.until;
    if (effect?.kind === "fail" || effect?.kind === "shorten") {
      throw systemError(effect.code, kind, path);
    }
    const result = await operation();
    if (effect?.kind === "failAfter") throw systemError(effect.code, kind, path);
    return result;
  }

  #runSync<T>(kind: OperationKind, path: string, operation: () => T): T {
    const effect = this.#strike(kind, path);
    if (effect?.kind === "fail" || effect?.kind === "shorten") {
      throw systemError(effect.code, kind, path);
    }
    const result = operation();
    if (effect?.kind === "failAfter") throw systemError(effect.code, kind, path);
    return result;
  }

  /** Counts an operation and returns what is to become of it. */
  #strike(kind: OperationKind, path: string): Effect | undefined {
    this.#counts.set(kind, this.operationCount(kind) + 1);
    let effect: Effect | undefined;
    for (const planned of this.#planned) {
      const { kinds, path: paths, nth = 1, repeat = 0, effect: ownEffect } = planned.fault;
      if (kinds !== undefined && !kinds.includes(kind)) continue;
      // Unlike test, search begins anew each time, also with the flags g and y.
      if (paths !== undefined && path.search(paths) < 0) continue;
      planned.seen++;
      if (planned.seen < nth) continue;
      effect ??= ownEffect;
      if (planned.seen >= nth + repeat) this.#planned.delete(planned);
    }
    if (effect !== undefined) this.#struck.push({ kind, path });
    return effect;
  }
}

/** A test with a fault that never strikes would pass, whatever it is to show. */
function checkFault({ kinds = [], nth = 1, repeat = 0, effect }: Fault): void {
  const unknown = kinds.find((kind) => !Object.hasOwn(OPERATION_KINDS, kind));
  if (unknown !== undefined) {
    throw new InvalidArgumentError(
      `unknown kind of operation ${unknown}: there are ${Object.keys(OPERATION_KINDS).join(", ")}`,
    );
  }
  if (!Number.isInteger(nth) || nth < 1) {
    throw new InvalidArgumentError(`nth is an integer from 1, not ${nth}`);
  }
  if (!(repeat >= 0)) throw new InvalidArgumentError(`repeat is 0 or more, not ${repeat}`);
  if (!Object.hasOwn(EFFECT_KINDS, effect?.kind)) {
    throw new InvalidArgumentError(
      `unknown effect ${effect?.kind}: there are ${Object.keys(EFFECT_KINDS).join(", ")}`,
    );
  }
}
