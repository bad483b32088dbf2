/**
 * CrashFileSystem: a file system in memory that knows what was synced, and what a disk may therefore
 * look like after a power cut.
 *
 * It works as any file system while it runs. At any moment `crashPoint()` freezes what is known, at
 * the cost of a few references, and `states({ seed, count })` of that point yields disks that are
 * legal after a crash at that moment: file systems of this same kind, freshly booted, on which
 * recovery can be run, and crashed again.
 *
 * What may be lost, by the contract of `FileSystem`:
 *
 * - Bytes. A file is split into sectors, which are written whole. Each sector has, of the contents it
 *   had since the file was last synced, any one: the synced, the latest or one between, whatever its
 *   neighbours have. So writes are lost, torn and reordered.
 * - Lengths. Any length the file had since it was last synced, independent of the bytes; a sector
 *   that was never written is zeros or, once in a while, garbage.
 * - Names. Any of the creates, renames and removes since the directory was last synced may be lost,
 *   in any combination; each is atomic.
 *
 * That is the model "strict": nothing but what the contract promises. The model "ordered" is what
 * journaling file systems do (ext4 with data=ordered): names and lengths are lost only from some
 * moment on, over the whole disk; a length comes with its bytes; and any sync keeps everything that
 * happened to names and lengths before it. Both are worth testing: the first finds syncs that are
 * missing, the second is what users will see.
 *
 * Creating a directory is durable at once, as the contract says. A lock does not survive a crash.
 */
import { assert } from "../assert.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { DirectoryLock, File, FileSystem, OpenMode } from "../io/file-system.ts";
import { type DiskImage, MemoryFileSystem, normalizePath, parentPath } from "../io/memory.ts";
import { Random } from "./random.ts";

export type CrashModel = "strict" | "ordered";

/** An operation that changes the disk, or what is known to be on it. */
export interface DiskOperation {
  readonly kind:
    | "create"
    | "write"
    | "truncate"
    | "sync"
    | "rename"
    | "remove"
    | "createDirectory"
    | "syncDirectory";
  readonly path: string;
  /** How many came before. */
  readonly index: number;
}

export type OperationListener = (operation: DiskOperation) => void;

export interface CrashOptions {
  /** Default "strict". */
  readonly model?: CrashModel;
  /** What a disk writes whole. Default 512. */
  readonly sectorBytes?: number;
  /** Called before each operation takes effect: the place to take a crash point. */
  readonly onOperation?: OperationListener | undefined;
}

/** What happened to a file since it was last synced: bytes written, or a new length. */
interface Change {
  /** Position in the order of all changes to the disk. */
  readonly sequence: number;
  /** Range whose bytes changed; empty where the file was only made longer. */
  readonly start: number;
  readonly end: number;
  /** Undefined: zeros, where the file was cut. */
  readonly bytes: Uint8Array | undefined;
  /** The file's length afterwards, and whether it was another before. */
  readonly length: number;
  readonly isResizing: boolean;
}

/** What happened to names since their directory was last synced. */
interface NameChange {
  readonly sequence: number;
  /** The directory whose sync makes it durable. */
  readonly directory: string;
  readonly removed: string | undefined;
  readonly added: { readonly name: string; readonly content: Content } | undefined;
}

/** What is known of a file's bytes on the disk, under whatever names. */
class Content {
  /** What is certainly there. Replaced by a sync, never changed, so that crash points can keep it. */
  synced: Uint8Array;
  /** What happened since, oldest first. Replaced by a sync; otherwise only appended to. */
  changes: Change[];
  /** Length now. */
  length: number;

  constructor(synced: Uint8Array) {
    this.synced = synced;
    this.changes = [];
    this.length = synced.length;
  }

  wrote(source: Uint8Array, start: number, sequence: number): void {
    const end = start + source.length;
    const length = Math.max(this.length, end);
    const isResizing = length !== this.length;
    this.length = length;
    this.changes.push({ sequence, start, end, bytes: new Uint8Array(source), length, isResizing });
  }

  truncated(length: number, sequence: number): void {
    const start = Math.min(length, this.length);
    const end = this.length;
    this.length = length;
    this.changes.push({ sequence, start, end, bytes: undefined, length, isResizing: true });
  }

  /** The changes up to and including `last` are on the disk. */
  syncedUpTo(last: Change): void {
    // An overlapping sync may have been here before.
    const count = this.changes.indexOf(last) + 1;
    if (count === 0) return;
    this.synced = bytesAfter(this.synced, this.changes.slice(0, count));
    this.changes = this.changes.slice(count);
  }
}

export class CrashFileSystem implements FileSystem {
  readonly #options: CrashOptions;
  /** What programs see. */
  readonly #live: MemoryFileSystem;
  readonly #directories: Set<string>;
  readonly #contents: Map<string, Content>;
  /** Names that are certainly on the disk. Replaced by a sync, never changed. */
  #syncedNames: ReadonlyMap<string, Content>;
  /** What happened since, oldest first. Replaced, never changed. */
  #nameChanges: readonly NameChange[];
  #sequence: number;
  /** In the model "ordered": what happened to names and lengths up to here is on the disk. */
  #committed: number;
  #operationCount: number;

  /** A disk that has what is in `image`, durably; an empty one by default. */
  constructor(
    options: CrashOptions = {},
    image: DiskImage = { files: new Map(), directories: [] },
  ) {
    const { model = "strict", sectorBytes = DEFAULT_SECTOR_BYTES } = options;
    if (model !== "strict" && model !== "ordered") {
      throw new InvalidArgumentError(`model is "strict" or "ordered", not ${model}`);
    }
    if (!Number.isInteger(sectorBytes) || sectorBytes < 1) {
      throw new InvalidArgumentError(`sectorBytes is an integer from 1, not ${sectorBytes}`);
    }
    this.#options = options;
    this.#live = new MemoryFileSystem(image);
    this.#directories = new Set(image.directories);
    this.#contents = new Map();
    for (const [path, bytes] of image.files) {
      this.#contents.set(normalizePath(path), new Content(bytes));
    }
    this.#syncedNames = new Map(this.#contents);
    this.#nameChanges = [];
    this.#sequence = 0;
    this.#committed = 0;
    this.#operationCount = 0;
  }

  /** Operations so far that changed the disk, or what is known of it. */
  get operationCount(): number {
    return this.#operationCount;
  }

  /** What is known of the disk now; it does not change with later operations. */
  crashPoint(): CrashPoint {
    const contents = new Map<Content, KnownContent>();
    const freeze = (content: Content): void => {
      const { synced, changes } = content;
      contents.set(content, { synced, changes, changeCount: changes.length });
    };
    for (const content of this.#syncedNames.values()) freeze(content);
    for (const { added } of this.#nameChanges) if (added !== undefined) freeze(added.content);
    return new CrashPoint({
      options: this.#options,
      directories: [...this.#directories],
      syncedNames: this.#syncedNames,
      nameChanges: this.#nameChanges,
      contents,
      committed: this.#committed,
      sequence: this.#sequence,
    });
  }

  /** Disks that are legal after a crash now: `crashPoint().states(options)`. */
  crashStates(options: CrashStateOptions): Generator<CrashFileSystem> {
    return this.crashPoint().states(options);
  }

  async open(path: string, mode: OpenMode): Promise<File> {
    if (mode !== "create") {
      const file = await this.#live.open(path, mode);
      const content = this.#contents.get(normalizePath(path));
      assert(content !== undefined, "an open file has content");
      return this.#track(file, content);
    }
    return this.createSync(path);
  }

  createSync(path: string): File {
    const name = normalizePath(path);
    const directory = parentPath(name);
    this.#begin("create", path);
    const file = this.#live.createSync(path);
    const content = new Content(new Uint8Array(0));
    this.#contents.set(name, content);
    this.#changeNames({ directory, removed: undefined, added: { name, content } });
    return this.#track(file, content);
  }

  realPath(path: string): Promise<string> {
    return this.#live.realPath(path);
  }

  list(directory: string): Promise<string[]> {
    return this.#live.list(directory);
  }

  stat(
    path: string,
  ): Promise<{ readonly size: number; readonly isDirectory: boolean } | undefined> {
    return this.#live.stat(path);
  }

  async createDirectory(path: string): Promise<void> {
    this.#begin("createDirectory", path);
    await this.#live.createDirectory(path);
    this.#directories.add(normalizePath(path));
  }

  async rename(from: string, to: string): Promise<void> {
    const removed = normalizePath(from);
    const name = normalizePath(to);
    this.#begin("rename", to);
    await this.#live.rename(from, to);
    const content = this.#contents.get(removed);
    assert(content !== undefined, "a renamed file has content");
    this.#contents.delete(removed);
    this.#contents.set(name, content);
    this.#changeNames({ directory: parentPath(name), removed, added: { name, content } });
  }

  async remove(path: string): Promise<void> {
    const removed = normalizePath(path);
    this.#begin("remove", path);
    await this.#live.remove(path);
    this.#contents.delete(removed);
    this.#changeNames({ directory: parentPath(removed), removed, added: undefined });
  }

  async syncDirectory(directory: string): Promise<void> {
    const name = normalizePath(directory);
    this.#begin("syncDirectory", directory);
    const sequence = this.#sequence;
    // What happens while the disk is busy is not part of this sync.
    await this.#live.syncDirectory(directory);
    this.#directorySynced(name, sequence);
  }

  syncDirectorySync(directory: string): void {
    this.#begin("syncDirectory", directory);
    this.#live.syncDirectorySync(directory);
    this.#directorySynced(normalizePath(directory), this.#sequence);
  }

  /** What happened to names in the directory up to `sequence` is on the disk. */
  #directorySynced(name: string, sequence: number): void {
    const isSynced = (change: NameChange): boolean =>
      change.directory === name && change.sequence <= sequence;
    this.#syncedNames = namesAfter(this.#syncedNames, this.#nameChanges.filter(isSynced));
    this.#nameChanges = this.#nameChanges.filter((change) => !isSynced(change));
    this.#commit(sequence);
  }

  lock(directory: string, onLost: (cause: Error) => void): Promise<DirectoryLock> {
    return this.#live.lock(directory, onLost);
  }

  /** Wraps an open file so that what is done through it is noted in `content`. */
  #track(file: File, content: Content): File {
    const { path } = file;
    const write = (source: Uint8Array, position: number): void => {
      this.#begin("write", path);
      file.writeSync(source, position);
      if (source.length > 0) content.wrote(source, position, ++this.#sequence);
    };
    return {
      path,
      size: () => file.size(),
      readSync: (target, position) => file.readSync(target, position),
      writeSync: write,
      write: async (source, position) => write(source, position),
      sync: async () => {
        this.#begin("sync", path);
        const sequence = this.#sequence;
        const last = content.changes.at(-1);
        // What is written while the disk is busy is not part of this sync.
        await file.sync();
        if (last !== undefined) content.syncedUpTo(last);
        this.#commit(sequence);
      },
      syncSync: () => {
        this.#begin("sync", path);
        file.syncSync();
        const last = content.changes.at(-1);
        if (last !== undefined) content.syncedUpTo(last);
        this.#commit(this.#sequence);
      },
      truncate: async (length) => {
        this.#begin("truncate", path);
        await file.truncate(length);
        content.truncated(length, ++this.#sequence);
      },
      close: () => file.close(),
    };
  }

  #begin(kind: DiskOperation["kind"], path: string): void {
    const index = this.#operationCount++;
    this.#options.onOperation?.({ kind, path, index });
  }

  #changeNames(change: Omit<NameChange, "sequence">): void {
    this.#sequence++;
    this.#nameChanges = [...this.#nameChanges, { sequence: this.#sequence, ...change }];
  }

  #commit(sequence: number): void {
    this.#committed = Math.max(this.#committed, sequence);
  }
}

export interface CrashStateOptions {
  /** The same seed gives the same states. */
  readonly seed: number;
  /** How many states to yield, at least 1. Some may be equal. */
  readonly count: number;
  /** For the file systems that are yielded. */
  readonly onOperation?: OperationListener | undefined;
}

interface KnownContent {
  readonly synced: Uint8Array;
  /** May have grown since: only the first `changeCount` belong to the point. */
  readonly changes: readonly Change[];
  readonly changeCount: number;
}

interface Known {
  readonly options: CrashOptions;
  readonly directories: readonly string[];
  readonly syncedNames: ReadonlyMap<string, Content>;
  readonly nameChanges: readonly NameChange[];
  readonly contents: ReadonlyMap<Content, KnownContent>;
  readonly committed: number;
  readonly sequence: number;
}

/** How much of what was not synced a state keeps. */
type Extent = "nothing" | "everything" | "prefix" | "mixture";

/** A moment in the life of a `CrashFileSystem`, and the disks that a crash then may leave. */
export class CrashPoint {
  readonly #known: Known;

  /** Made by `CrashFileSystem.crashPoint`. */
  constructor(known: Known) {
    this.#known = known;
  }

  /**
   * Yields `count` legal disks. The first has lost everything that was not synced, the second has
   * kept everything (as after a crash of the program alone), the others are drawn at random.
   *
   * @throws InvalidArgumentError for a `seed` that is no integer, or a `count` that is none from 1: a
   *   test over no disks would pass.
   */
  states(options: CrashStateOptions): Generator<CrashFileSystem> {
    const { seed, count } = options;
    if (!Number.isInteger(seed)) {
      throw new InvalidArgumentError(`seed is an integer, not ${seed}`);
    }
    if (!Number.isInteger(count) || count < 1) {
      throw new InvalidArgumentError(`count is an integer from 1, not ${count}`);
    }
    return this.#states(options);
  }

  *#states({ seed, count, onOperation }: CrashStateOptions): Generator<CrashFileSystem> {
    const { options, directories } = this.#known;
    for (let i = 0; i < count; i++) {
      const random = new Random(seed + Math.imul(i, 0x9e3779b1));
      const extent = i === 0 ? "nothing" : i === 1 ? "everything" : anyExtent(random);
      const files =
        options.model === "ordered" ? this.#ordered(extent, random) : this.#strict(extent, random);
      yield new CrashFileSystem({ ...options, onOperation }, { files, directories });
    }
  }

  /** Names, lengths and sectors are lost independently. */
  #strict(extent: Extent, random: Random): Map<string, Uint8Array> {
    const { nameChanges } = this.#known;
    const cut = drawCut(extent, nameChanges.length, random);
    const kept = nameChanges.filter((_, i) => (extent === "mixture" ? random.oneIn(2) : i < cut));
    return this.#files(kept, (synced, changes) => {
      const isMixture = extent === "mixture";
      const known = isMixture ? changes : changes.slice(0, drawCut(extent, changes.length, random));
      // The last change of a prefix is torn: its length may have arrived, and some of its sectors.
      const torn = extent === "prefix" ? known.at(-1) : undefined;
      const lengthLost = torn === undefined ? 0 : random.below(2);
      return this.#draw(synced, known, random, {
        lengthIndex: isMixture ? random.below(known.length + 1) : known.length - lengthLost,
        versionOf: (touching) => {
          if (isMixture) return random.below(touching.length + 1);
          return touching.length - (touching.at(-1) === torn ? random.below(2) : 0);
        },
        hasGarbage: true,
      });
    });
  }

  /** Names and lengths are those of one moment; sectors within the lengths are lost independently. */
  #ordered(extent: Extent, random: Random): Map<string, Uint8Array> {
    const { nameChanges, committed, sequence } = this.#known;
    const moment = committed + drawCut(extent, sequence - committed, random);
    const kept = nameChanges.filter((change) => change.sequence <= moment);
    return this.#files(kept, (synced, changes) => {
      const lengthIndex =
        changes.findLastIndex((change) => change.isResizing && change.sequence <= moment) + 1;
      const length = lengthAfter(synced, changes, lengthIndex);
      const possible = changes.filter(
        (change, i) => i < lengthIndex || (!change.isResizing && change.end <= length),
      );
      return this.#draw(synced, possible, random, {
        lengthIndex,
        versionOf: (touching) => {
          // A new length is on the disk after the bytes that made it.
          const least = touching.findLastIndex((change) => change.isResizing) + 1;
          return least + drawCut(extent, touching.length - least, random);
        },
        hasGarbage: false,
      });
    });
  }

  /** The files under the names that `kept` leaves, with the bytes that `drawBytes` chooses. */
  #files(
    kept: readonly NameChange[],
    drawBytes: (synced: Uint8Array, changes: readonly Change[]) => Uint8Array,
  ): Map<string, Uint8Array> {
    const drawn = new Map<Content, Uint8Array>();
    const files = new Map<string, Uint8Array>();
    for (const [name, content] of namesAfter(this.#known.syncedNames, kept)) {
      const known = this.#known.contents.get(content);
      assert(known !== undefined, "a crash point knows every content");
      const { synced, changes, changeCount } = known;
      const bytes =
        drawn.get(content) ??
        (changeCount === 0 ? synced : drawBytes(synced, changes.slice(0, changeCount)));
      drawn.set(content, bytes);
      files.set(name, bytes);
    }
    return files;
  }

  /** One content that the changes may have left on the disk. */
  #draw(
    synced: Uint8Array,
    changes: readonly Change[],
    random: Random,
    choice: {
      /** The length is that after so many changes. */
      readonly lengthIndex: number;
      /** How many of the changes that touch a sector have reached it. */
      readonly versionOf: (touching: readonly Change[]) => number;
      /** Whether a sector that was never written may hold something other than zeros. */
      readonly hasGarbage: boolean;
    },
  ): Uint8Array {
    const { sectorBytes = DEFAULT_SECTOR_BYTES } = this.#known.options;
    const bytes = new Uint8Array(lengthAfter(synced, changes, choice.lengthIndex));
    bytes.set(synced.subarray(0, bytes.length));
    for (const [sector, touching] of bySector(changes, bytes.length, sectorBytes)) {
      const start = sector * sectorBytes;
      const end = Math.min(start + sectorBytes, bytes.length);
      const version = choice.versionOf(touching);
      for (const change of touching.slice(0, version)) apply(bytes, change, start, end);
      const isUnwritten = version === 0 && start >= synced.length;
      if (isUnwritten && choice.hasGarbage && random.oneIn(GARBAGE_ONE_IN)) {
        for (let pos = start; pos < end; pos++) bytes[pos] = random.next();
      }
    }
    return bytes;
  }
}

const DEFAULT_SECTOR_BYTES = 512;

/** Garbage is rare, so that most states test one thing at a time. */
const GARBAGE_ONE_IN = 16;

function anyExtent(random: Random): Extent {
  if (random.oneIn(8)) return random.oneIn(2) ? "nothing" : "everything";
  return random.oneIn(3) ? "prefix" : "mixture";
}

/** How many of `count` things, in order, are kept. */
function drawCut(extent: Extent, count: number, random: Random): number {
  switch (extent) {
    case "nothing":
      return 0;
    case "everything":
      return count;
    case "prefix":
    case "mixture":
      return random.below(count + 1);
  }
}

/** Names after some of their changes. */
function namesAfter(
  names: ReadonlyMap<string, Content>,
  changes: readonly NameChange[],
): Map<string, Content> {
  const after = new Map(names);
  for (const { removed, added } of changes) {
    if (removed !== undefined) after.delete(removed);
    if (added !== undefined) after.set(added.name, added.content);
  }
  return after;
}

function lengthAfter(synced: Uint8Array, changes: readonly Change[], count: number): number {
  return count === 0 ? synced.length : changes[count - 1].length;
}

/** Bytes after all of the changes. */
function bytesAfter(synced: Uint8Array, changes: readonly Change[]): Uint8Array {
  const bytes = new Uint8Array(lengthAfter(synced, changes, changes.length));
  bytes.set(synced.subarray(0, bytes.length));
  for (const change of changes) apply(bytes, change, 0, bytes.length);
  return bytes;
}

/** Does to bytes[start, end) what the change did to them. */
function apply(bytes: Uint8Array, change: Change, start: number, end: number): void {
  const from = Math.max(start, change.start);
  const to = Math.min(end, change.end);
  if (from >= to) return;
  if (change.bytes === undefined) bytes.fill(0, from, to);
  else bytes.set(change.bytes.subarray(from - change.start, to - change.start), from);
}

/** The changes that touch each sector below `length`, in order. */
function bySector(
  changes: readonly Change[],
  length: number,
  sectorBytes: number,
): Map<number, Change[]> {
  const sectors = new Map<number, Change[]>();
  for (const change of changes) {
    const last = Math.min(change.end, length) - 1;
    for (let at = change.start; at <= last; at = (Math.floor(at / sectorBytes) + 1) * sectorBytes) {
      const sector = Math.floor(at / sectorBytes);
      const touching = sectors.get(sector);
      if (touching === undefined) sectors.set(sector, [change]);
      else touching.push(change);
    }
  }
  return sectors;
}
