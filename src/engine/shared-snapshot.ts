/**
 * Shared snapshots: a moment of the database, read in other threads.
 *
 * What a snapshot sees never changes: the segments of its Version, and the entries of its memtables up
 * to its sequence number. So another thread needs no more than to be told where that is:
 *
 *   segments     their files, which it opens by itself, and the sections that an open segment keeps in
 *                memory, key indexes above all: in shared memory, one copy for all threads
 *   value logs   their files
 *   memtables    copies. They are small beside the rest; and since nobody else has them, the writing
 *                thread goes on with its own, and uses their memory again, without asking who reads
 *
 * Nothing has to be given back: a file that was opened can be read after it was removed, and memory
 * goes with the last thread that refers to it. So the snapshot has to be open until it was attached,
 * and not longer.
 *
 * Blocks and rows are cached by each thread for itself.
 */
import { loadChecksum } from "../bytes/checksum.ts";
import { BlockCache } from "../cache/block-cache.ts";
import { describe, type KeyEncodingOption } from "../encoding/key-codec.ts";
import type { ValueEncodingOption } from "../encoding/value-codec.ts";
import { ClosedError, InvalidArgumentError } from "../errors.ts";
import { NodeFileSystem } from "../io/node.ts";
import type { Version } from "../manifest/version.ts";
import { Memtable, type SharedMemtable } from "../memtable/memtable.ts";
import type { Segment } from "../segment/reader.ts";
import type { SharedSections } from "../segment/resident-sections.ts";
import type { ValueLog } from "../segment/value-log.ts";
import { SymbolTables } from "../symbols/tables.ts";
import {
  type Codecs,
  checkEncoding,
  createCodecs,
  type Encodings,
  type KeyOf,
  type ValueOf,
} from "./codecs.ts";
import { DeadRange } from "./dead-range.ts";
import { withUserErrors } from "./io-error.ts";
import { type AttachOptions, type ResolvedAttachOptions, resolveAttach } from "./options.ts";
import { Pins } from "./pins.ts";
import { RowCache } from "./row-cache.ts";
import { Snapshot } from "./snapshot.ts";
import { OpenFiles, OpenVersion, type Sources } from "./sources.ts";
import type { Store } from "./store.ts";
import { type FilePlace, openSegment, openValueLog } from "./version-files.ts";

/** Told apart by both threads, which may have loaded different releases. */
const FORMAT = "snapshot 1";

/**
 * A snapshot for other threads: what `Snapshot.share` returns and `attach` takes. Plain data, to be sent
 * with `postMessage` or as `workerData` to threads of the same process. Its content is memkv's own.
 */
export interface SharedSnapshot {
  /** Which form it has. */
  readonly memkv: string;
}

interface SharedMoment extends SharedSnapshot {
  readonly directory: string;
  readonly databaseId: Uint8Array;
  readonly keyEncoding: string;
  readonly valueEncoding: string;
  readonly seqno: number;
  readonly time: number;
  readonly version: Version;
  /** By file number. */
  readonly sections: ReadonlyMap<number, SharedSections>;
  /** Newest first. */
  readonly memtables: readonly SharedMemtable[];
}

/** Describes a moment, whose sources are pinned meanwhile. See `Snapshot.share`. */
export async function shareMoment(
  store: Store,
  sources: Sources,
  seqno: number,
  time: number,
): Promise<SharedSnapshot> {
  const { fileSystem, directory, options, versions } = store;
  if (!(fileSystem instanceof NodeFileSystem)) {
    throw new InvalidArgumentError(
      "only a database on the system's disk can be shared with other threads, not one in memory or with a file system of its own",
    );
  }
  const { version } = sources;
  const sections = new Map<number, SharedSections>();
  for (const segment of version.files.flat()) {
    sections.set(segment.meta.fileNumber, await segment.shareAllSections());
  }
  const shared: SharedMoment = {
    memkv: FORMAT,
    // Relative to what is the working directory now.
    directory: await fileSystem.realPath(directory),
    databaseId: versions.manifest.databaseId,
    keyEncoding: options.keyEncoding,
    valueEncoding: options.valueEncoding,
    seqno,
    time,
    version: version.version,
    sections,
    memtables: sources.memtables
      .filter((memtable) => !memtable.isEmpty && memtable.firstSeqno <= seqno)
      .map((memtable) => memtable.shareCopy(seqno)),
  };
  return shared;
}

/**
 * A snapshot that another thread shared: it reads the same moment, with the same answers. Errors, and
 * what each read costs, as there. Files are opened here, and closed with the snapshot; nothing else has
 * to be awaited or given back, and the other thread may close its own, and the database, from now on.
 *
 * Encodings are named as in `open`, and so the types of keys and values follow from them.
 *
 * @example
 * ```ts
 * import { once } from "node:events";
 * import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
 * import { attach, open } from "memkv";
 *
 * if (isMainThread) {
 *   const db = await open<string, string>("./cities");
 *   await db.put("rome", "Italy");
 *   using snapshot = db.snapshot();
 *   const worker = new Worker(new URL(import.meta.url), { workerData: await snapshot.share() });
 *   console.log(await once(worker, "message")); // ["Italy"]
 *   await db.close();
 * } else {
 *   using cities = await attach<string, string>(workerData);
 *   parentPort?.postMessage(cities.get("rome"));
 * }
 * ```
 *
 * Cost: opens the files of the snapshot; nothing is copied, and no key index is read again. The first
 * read brings the keys of memtables in order, where the writing thread had not: 0.4 us each. Memory:
 * `blockCacheBytes` for this thread, and the symbol tables that it unpacks.
 *
 * @throws InvalidArgumentError for what `share` did not return, an unknown or ill-typed option, or an
 *   encoding other than the database's.
 * @throws ClosedError (MEMKV_CLOSED) if the snapshot was closed before, and its files are gone.
 * @throws CorruptionError (MEMKV_CORRUPTION) if a file is not the one that was shared.
 * @throws DatabaseError MEMKV_IO if one cannot be opened.
 */
export function attach<
  KE extends KeyEncodingOption<unknown> = "utf8",
  VE extends ValueEncodingOption<unknown> = "msgpack",
>(
  shared: SharedSnapshot,
  options?: Omit<AttachOptions<unknown, unknown>, "keyEncoding" | "valueEncoding"> &
    Encodings<KE, VE>,
): Promise<Snapshot<KeyOf<KE>, ValueOf<VE>>>;
export function attach<K, V>(
  shared: SharedSnapshot,
  options?: AttachOptions<K, V>,
): Promise<Snapshot<K, V>>;
export async function attach<K, V>(
  shared: SharedSnapshot,
  options?: AttachOptions<K, V>,
): Promise<Snapshot<K, V>> {
  if (!isMoment(shared)) {
    throw new InvalidArgumentError(
      `attach takes what share returned, in the same release of memkv, not ${describe(shared)}`,
    );
  }
  const resolved = resolveAttach(options);
  const codecs = createCodecs<K, V>(resolved);
  checkEncoding("keyEncoding", shared.keyEncoding, codecs.key.name);
  checkEncoding("valueEncoding", shared.valueEncoding, codecs.value.name);
  await loadChecksum();
  return await withUserErrors("attach", () => attachMoment(shared, codecs, resolved));
}

async function attachMoment<K, V>(
  shared: SharedMoment,
  codecs: Codecs<K, V>,
  { blockCacheBytes, logger, now }: ResolvedAttachOptions<K, V>,
): Promise<Snapshot<K, V>> {
  const { seqno, time } = shared;
  const blockCache = new BlockCache(blockCacheBytes);
  const version = await openVersion(shared, blockCache);
  const memtables = shared.memtables.map((memtable) => Memtable.from(memtable));
  const sources: Sources = { memtables, version };
  const pins = new Pins(
    now,
    () => {},
    ({ message }) => logger.warn?.(message),
    new DeadRange(),
    () => seqno,
  );
  const snapshot = new Snapshot(codecs, {
    pin: (kind) => pins.take(kind, sources, seqno, time),
    share: () => Promise.resolve(shared),
    rows: blockCacheBytes > 0 ? new RowCache(blockCache.ring, seqno) : undefined,
  });
  // From here on the snapshot holds it, and what is read from it.
  version.release();
  return snapshot;
}

/** Opens the files of the Version. The caller holds it. */
async function openVersion(shared: SharedMoment, blockCache: BlockCache): Promise<OpenVersion> {
  const { directory, databaseId, version, sections } = shared;
  // The last read is over when a file is closed: that it fails concerns nobody.
  const close = (file: Segment | ValueLog): void => void file.close().catch(() => {});
  const segments = new OpenFiles<Segment>(close);
  const valueLogs = new OpenFiles<ValueLog>(close);
  const place: FilePlace = {
    fileSystem: new NodeFileSystem(),
    directory,
    databaseId,
    blockCache,
    symbolTables: new SymbolTables(),
    valueLogs,
  };
  try {
    for (const meta of version.valueLogs) valueLogs.add(await openValueLog(meta, place));
    for (const meta of version.runs.flat()) {
      const how = { sections: sections.get(meta.fileNumber) };
      segments.add(await openSegment(meta, place, how));
    }
  } catch (error) {
    for (const file of [...segments.all(), ...valueLogs.all()]) close(file);
    if ((error as { code?: unknown }).code !== "ENOENT") throw error;
    throw new ClosedError("the database's snapshot was closed before it was attached", {
      cause: error,
    });
  }
  return new OpenVersion(version, segments, valueLogs);
}

/** Not so of one that was sent as JSON: its maps and memory are lost. */
function isMoment(shared: Partial<SharedMoment> | null | undefined): shared is SharedMoment {
  return shared?.memkv === FORMAT && typeof shared.sections?.get === "function";
}
