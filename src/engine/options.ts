/**
 * Options of `open`: their meaning, defaults and limits, and the check that says what is wrong.
 */
import { setTimeout } from "node:timers/promises";
import { STEP_SEGMENTS } from "../compaction/steps.ts";
import { describe, type KeyEncodingOption } from "../encoding/key-codec.ts";
import { VALUE_ENCODINGS, type ValueEncodingOption } from "../encoding/value-codec.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { FileSystem } from "../io/file-system.ts";
import { MAX_ENCODING_NAME_BYTES } from "../manifest/format.ts";
import { unknownName } from "../names.ts";
import type { ValueCompression } from "../segment/coders.ts";
import { VALUE_LIMIT_BYTES } from "../segment/value-block.ts";
import type { RecoveryMode as LogRecoveryMode } from "../wal/reader.ts";

/**
 * When a write's promise resolves.
 * - `"sync"`: after fdatasync; it survives a power cut. Writes that wait together share one sync.
 * - `"os"`: after write(); it survives a crash of the process, not of the machine.
 */
export type Durability = "sync" | "os";

/** What `open` does about a damaged log. See docs/durability.md for each mode's promise. */
export type RecoveryMode = LogRecoveryMode;

/**
 * Where messages go that nobody waits for, a line of text each. A method may be missing: then such
 * messages are dropped.
 *
 * - `error`: background work failed, or the lock was lost; the `error` event has the error itself.
 * - `warn`: a file could not be removed, which the next open sees to; a snapshot, iteration or stream
 *   was never closed.
 * - `info`, `debug`: nothing so far.
 */
export interface Logger {
  debug?(message: string): void;
  info?(message: string): void;
  warn?(message: string): void;
  error?(message: string): void;
}

export interface OpenOptions<K = string, V = unknown> {
  /**
   * Default `"utf8"`: strings in order of their UTF-8 bytes. `"binary"`: byte arrays. `"ordered"`:
   * null, booleans, numbers and bigints, dates, strings and byte arrays, and tuples (arrays) of
   * these, sorted in this order and within it as one expects; the range `{ prefix: ["user", 7] }`
   * has the tuples that begin with these two. Or an encoding of one's own.
   */
  readonly keyEncoding?: KeyEncodingOption<K> | undefined;
  /**
   * Default `"msgpack"`: what JSON can hold, and dates, bigints, sets and byte arrays. Maps are refused.
   * An instance of a class loses it: it comes back as an object of its own enumerable properties, or as
   * what its `toJSON` returns; a Buffer as a Uint8Array.
   */
  readonly valueEncoding?: ValueEncodingOption<V> | undefined;
  /** Default `"sync"`. Each write may choose for itself. */
  readonly durability?: Durability | undefined;
  /**
   * Milliseconds that entries live, unless the write says otherwise: any number from 0. Default
   * Infinity: for good. It goes for what is written from now on.
   */
  readonly ttl?: number | undefined;
  /** Default `"tolerate-tail"`: a torn last record is normal, damage before it is an error. */
  readonly recovery?: RecoveryMode | undefined;
  /**
   * Bytes of memory at which a memtable is sealed and flushed. Default 64 MiB; at least 128 KiB. A
   * batch of more than a quarter of it may take a memtable to one and a half times as many.
   */
  readonly memtableBytes?: number | undefined;
  /**
   * What finds the keys of a memtable. Default `"hash"`: a hash table, until somebody asks for the
   * order of the keys. Where many writes came without a pause before that, an iteration, count or
   * search waits while it is made, once: half a second for two or three memtables of 64 MiB.
   * `"tree"`: an adaptive radix tree from the beginning. Nobody waits, but many writes take up to twice
   * as long, and an open brings what it recovered in order before it resolves.
   */
  readonly memtableIndex?: "hash" | "tree" | undefined;
  /**
   * Hard budget for what reads keep in memory: value blocks, and rows, which are keys and values that
   * `get` and `getMany` found lately and that never expire. How much each has of it follows from what
   * is read. Default 48 MiB; 0 for none; at most 4 GiB.
   */
  readonly blockCacheBytes?: number | undefined;
  /**
   * Bytes at which a run is cut into segments, and value logs are cut. Default 64 MiB; at least 512,
   * which is for tests: each segment is a file that stays open.
   */
  readonly segmentBytes?: number | undefined;
  /**
   * Values of this length and more are kept in value logs, beside the segments: compactions do not
   * write them again, and `getStream` reads them piece by piece; reading one takes a read of its own.
   * Default 4096; 64 to 8192. It goes for what is flushed or compacted from now on.
   */
  readonly largeValueBytes?: number | undefined;
  /**
   * Runs from which on some are merged (compaction/pick.ts). Default 4; at least 2. Fewer make reads
   * faster and writes dearer. Above three times as many, writes are slowed down.
   */
  readonly compactionTrigger?: number | undefined;
  /**
   * Percent by which a run may be larger than the newer ones together and still be merged with them.
   * Default 50; at most 1000.
   */
  readonly sizeRatio?: number | undefined;
  /** Runs of like size that are worth a merge. Default `compactionTrigger`; at least 2. */
  readonly minMergeWidth?: number | undefined;
  /** Runs that one merge takes for their size or number. Default 64; at least `minMergeWidth`. */
  readonly maxMergeWidth?: number | undefined;
  /**
   * Everything is merged once what may have been overwritten or deleted takes so many percent of what
   * certainly was not. Default 100; 10 to 1000. Less saves disk, and costs writes.
   */
  readonly maxSizeAmplificationPercent?: number | undefined;
  /**
   * Bytes of segments that one step of a compaction rewrites, unless one segment of each run is more.
   * Default 8 times `segmentBytes`; at least 512. A step is installed by itself: less needs less free
   * disk and lets flushes in sooner, and divides more segments before they can be merged.
   */
  readonly maxCompactionBytes?: number | undefined;
  /**
   * How compactions compress values; flushes store them as they are. Default `"auto"`: a sample
   * decides for each merge. `"symbols"` suits short values, `"deflate"` long ones; `"none"` stores
   * them as they are. Values in value logs (`largeValueBytes`) are stored as they are unless it is
   * `"deflate"`, which the flush does then: to inflate 10 kB takes longer than all else that reading
   * them does.
   */
  readonly compression?: ValueCompression | undefined;
  /**
   * Where flushes and compactions run. Default `"worker"`: in a thread of their own. `"inline"`: on
   * the calling thread, in small pieces; always so with a `fileSystem` of the user's own.
   */
  readonly background?: "worker" | "inline" | undefined;
  /** Create the database, and its directory, if there is none. Default true. */
  readonly createIfMissing?: boolean | undefined;
  /** Refuse to open an existing database. Default false. */
  readonly errorIfExists?: boolean | undefined;
  /**
   * Open for reading alone: nothing is written, no lock is taken, and what another process writes
   * after the open is not seen. Default false.
   */
  readonly readOnly?: boolean | undefined;
  /** Where the files are. Default: the system's, or memory for `":memory:"`. */
  readonly fileSystem?: FileSystem | undefined;
  /** Where messages go that nobody waits for. Default: nowhere; nothing is printed. */
  readonly logger?: Logger | undefined;
  /**
   * The clock, in milliseconds since 1970, by which entries expire. Default `Date.now`; tests may
   * stand in for it. While it says NaN or less than 0, puts with a ttl are refused, and to reads
   * nothing has expired. No entry expires before 1: with a ttl of 0 at 0 it lives that long.
   */
  readonly now?: (() => number) | undefined;
}

/** Options of a single write. */
export interface WriteOptions {
  /** Default: the database's. */
  readonly durability?: Durability | undefined;
}

/** How long an entry lives. */
export interface TtlOption {
  /**
   * Milliseconds from the call on after which the entry is gone: any number from 0, and Infinity for
   * one that stays. Default: the database's. Putting a key again gives it a new ttl, or none.
   */
  readonly ttl?: number | undefined;
}

/** Options of a put. */
export interface PutOptions extends WriteOptions, TtlOption {}

/** A write that happens only where its key is not there. */
export interface IfAbsent extends PutOptions {
  /** False for no condition. */
  readonly ifAbsent: boolean;
}

/** A write that happens only where its key has a value. */
export interface IfValue<V> extends WriteOptions {
  /**
   * What `get` returned for the key: the value, compared as it is encoded, or `undefined` for a key
   * that is not there.
   */
  readonly ifValue: V | undefined;
}

/** Options of `transaction`. */
export interface TransactionOptions extends WriteOptions {
  /** How often the body is run again after a conflict. Default 16; 0 for never. */
  readonly retries?: number | undefined;
  /**
   * Waits before the body is run again; `retry` counts from 1. Default: not at all before the first
   * time, then a random time below 2, 4, 8, ... up to 64 milliseconds.
   */
  readonly backOff?: ((retry: number) => void | Promise<void>) | undefined;
}

/** Options of `sample`. */
export interface SampleOptions {
  /** Numbers from 0 up to, but not including, 1. Default Math.random. */
  readonly random?: (() => number) | undefined;
}

/** Options with every default filled in; the file system is chosen by the caller. */
export interface ResolvedOptions<K, V> {
  readonly keyEncoding: KeyEncodingOption<K>;
  readonly valueEncoding: ValueEncodingOption<V>;
  readonly durability: Durability;
  readonly ttl: number;
  readonly recovery: RecoveryMode;
  readonly memtableBytes: number;
  readonly memtableIndex: "hash" | "tree";
  readonly blockCacheBytes: number;
  readonly segmentBytes: number;
  readonly largeValueBytes: number;
  readonly compactionTrigger: number;
  readonly sizeRatio: number;
  readonly minMergeWidth: number;
  readonly maxMergeWidth: number;
  readonly maxSizeAmplificationPercent: number;
  readonly maxCompactionBytes: number;
  readonly compression: ValueCompression;
  readonly background: "worker" | "inline";
  readonly createIfMissing: boolean;
  readonly errorIfExists: boolean;
  readonly readOnly: boolean;
  readonly fileSystem: FileSystem | undefined;
  readonly logger: Logger;
  readonly now: () => number;
}

const MEBIBYTE = 2 ** 20;

/** Runs that a merge takes, at most. */
const MAX_MERGE_WIDTH = 64;

/** One option's check: returns what is accepted, in words, if the value is not. */
type Check = (value: unknown) => string | undefined;

const oneOf =
  (...accepted: readonly string[]): Check =>
  (value) =>
    typeof value === "string" && accepted.includes(value)
      ? undefined
      : accepted.map((name) => `"${name}"`).join(" or ");

const wholeNumber =
  (min: number, max: number): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? undefined
      : `a whole number from ${min} to ${max}`;

const duration: Check = (value) =>
  typeof value === "number" && value >= 0 ? undefined : "a number of milliseconds from 0";

const callable: Check = (value) => (typeof value === "function" ? undefined : "a function");

const boolean: Check = (value) => (typeof value === "boolean" ? undefined : "true or false");

const encoding =
  (names: readonly string[]): Check =>
  (value) => {
    if (typeof value === "string" && names.includes(value)) return undefined;
    const custom = value as { name?: unknown; encode?: unknown; decode?: unknown } | null;
    const isCustom =
      typeof custom === "object" &&
      typeof custom?.name === "string" &&
      custom.name.length > 0 &&
      Buffer.byteLength(custom.name) <= MAX_ENCODING_NAME_BYTES &&
      typeof custom.encode === "function" &&
      typeof custom.decode === "function";
    if (isCustom && !names.includes(custom.name as string)) return undefined;
    return `${names.map((name) => `"${name}"`).join(", ")} or an object { name, encode, decode } with a name of its own`;
  };

const methods =
  (kind: string, ...names: readonly string[]): Check =>
  (value) => {
    const isObject = typeof value === "object" && value !== null;
    if (isObject && names.every((name) => typeof Reflect.get(value, name) === "function")) {
      return undefined;
    }
    return `${kind}${names.length > 0 ? ` with ${names.join(", ")}` : ""}`;
  };

const FILE_SYSTEM_METHODS: readonly (keyof FileSystem)[] = [
  "open",
  "createSync",
  "list",
  "stat",
  "createDirectory",
  "rename",
  "remove",
  "syncDirectory",
  "syncDirectorySync",
  "lock",
];

const CHECKS: Record<keyof OpenOptions, Check> = {
  keyEncoding: encoding(["utf8", "binary", "ordered"]),
  valueEncoding: encoding(VALUE_ENCODINGS),
  durability: oneOf("sync", "os"),
  ttl: duration,
  recovery: oneOf("tolerate-tail", "absolute", "point-in-time", "salvage"),
  memtableBytes: wholeNumber(2 ** 17, 2 ** 30),
  memtableIndex: oneOf("hash", "tree"),
  blockCacheBytes: wholeNumber(0, 2 ** 32),
  segmentBytes: wholeNumber(512, 2 ** 30),
  largeValueBytes: wholeNumber(64, VALUE_LIMIT_BYTES),
  compactionTrigger: wholeNumber(2, MAX_MERGE_WIDTH),
  sizeRatio: wholeNumber(0, 1000),
  minMergeWidth: wholeNumber(2, MAX_MERGE_WIDTH),
  maxMergeWidth: wholeNumber(2, MAX_MERGE_WIDTH),
  maxSizeAmplificationPercent: wholeNumber(10, 1000),
  maxCompactionBytes: wholeNumber(512, 2 ** 40),
  compression: oneOf("auto", "none", "symbols", "deflate"),
  background: oneOf("worker", "inline"),
  createIfMissing: boolean,
  errorIfExists: boolean,
  readOnly: boolean,
  fileSystem: methods("a FileSystem", ...FILE_SYSTEM_METHODS),
  logger: methods("a Logger object"),
  now: callable,
};

/** Fills in the defaults. Throws InvalidArgumentError naming the option and what is accepted. */
export function resolveOptions<K, V>(options: OpenOptions<K, V> = {}): ResolvedOptions<K, V> {
  checkOptions(options, CHECKS);
  const {
    segmentBytes = 64 * MEBIBYTE,
    compactionTrigger = 4,
    minMergeWidth = compactionTrigger,
    maxMergeWidth = MAX_MERGE_WIDTH,
  } = options;
  if (maxMergeWidth < minMergeWidth) {
    throw new InvalidArgumentError(
      `option "maxMergeWidth" must be at least minMergeWidth (${minMergeWidth}), not ${maxMergeWidth}`,
    );
  }
  return {
    keyEncoding: options.keyEncoding ?? "utf8",
    valueEncoding: options.valueEncoding ?? "msgpack",
    durability: options.durability ?? "sync",
    ttl: options.ttl ?? Number.POSITIVE_INFINITY,
    recovery: options.recovery ?? "tolerate-tail",
    memtableBytes: options.memtableBytes ?? 64 * MEBIBYTE,
    memtableIndex: options.memtableIndex ?? "hash",
    blockCacheBytes: options.blockCacheBytes ?? 48 * MEBIBYTE,
    segmentBytes,
    largeValueBytes: options.largeValueBytes ?? 4096,
    compactionTrigger,
    sizeRatio: options.sizeRatio ?? 50,
    minMergeWidth,
    maxMergeWidth,
    maxSizeAmplificationPercent: options.maxSizeAmplificationPercent ?? 100,
    maxCompactionBytes: options.maxCompactionBytes ?? STEP_SEGMENTS * segmentBytes,
    compression: options.compression ?? "auto",
    background: options.fileSystem === undefined ? (options.background ?? "worker") : "inline",
    createIfMissing: options.createIfMissing ?? true,
    errorIfExists: options.errorIfExists ?? false,
    readOnly: options.readOnly ?? false,
    fileSystem: options.fileSystem,
    logger: options.logger ?? {},
    now: options.now ?? Date.now,
  };
}

const WRITE_CHECKS: Record<keyof WriteOptions, Check> = { durability: oneOf("sync", "os") };

/** The durability that a write asks for. */
export function resolveDurability(
  options: WriteOptions | undefined,
  otherwise: Durability,
): Durability {
  if (options === undefined) return otherwise;
  checkOptions(options, WRITE_CHECKS);
  return options.durability ?? otherwise;
}

/** What a key must be for a write to happen; undefined where the write has no such option. */
export type Expectation<V> = { readonly value: V | undefined } | "anything" | undefined;

/** Options of a write to one key, which may have a condition. */
export interface ResolvedWrite<V> {
  /** Undefined for the database's. */
  readonly ttl: number | undefined;
  readonly durability: Durability;
  readonly expectation: Expectation<V>;
}

const DELETE_CHECKS: Record<string, Check> = { ...WRITE_CHECKS, ifValue: () => undefined };
const PUT_CHECKS: Record<string, Check> = { ...DELETE_CHECKS, ifAbsent: boolean, ttl: duration };

export function resolveWrite<V>(
  kind: "put" | "delete",
  options: (PutOptions & Partial<IfAbsent & IfValue<V>>) | undefined,
  otherwise: Durability,
): ResolvedWrite<V> {
  if (options === undefined) {
    return { ttl: undefined, durability: otherwise, expectation: undefined };
  }
  checkOptions(options, kind === "put" ? PUT_CHECKS : DELETE_CHECKS);
  const { durability = otherwise, ttl, ifAbsent } = options;
  // `ifValue: undefined` asks for a key that is not there, as `get` says of it.
  if (Object.hasOwn(options, "ifValue")) {
    if (ifAbsent !== undefined) {
      throw new InvalidArgumentError("ifAbsent and ifValue exclude each other: give one of them");
    }
    return { ttl, durability, expectation: { value: options.ifValue } };
  }
  if (ifAbsent === undefined) return { ttl, durability, expectation: undefined };
  return { ttl, durability, expectation: ifAbsent ? { value: undefined } : "anything" };
}

const BLOCKING_PUT_CHECKS: Record<keyof PutOptions, Check> = { ...WRITE_CHECKS, ttl: duration };

/** Options of a put without a condition. */
export function resolvePut(
  options: PutOptions | undefined,
  otherwise: Durability,
): { readonly ttl: number | undefined; readonly durability: Durability } {
  if (options === undefined) return { ttl: undefined, durability: otherwise };
  checkOptions(options, BLOCKING_PUT_CHECKS);
  return { ttl: options.ttl, durability: options.durability ?? otherwise };
}

const TTL_CHECKS: Record<keyof TtlOption, Check> = { ttl: duration };

/** The ttl that a put in a transaction asks for; undefined for the database's. */
export function resolveTtl(options: TtlOption | undefined): number | undefined {
  if (options === undefined) return undefined;
  checkOptions(options, TTL_CHECKS);
  return options.ttl;
}

/** Options of a transaction with every default filled in. */
export interface ResolvedTransactionOptions {
  readonly durability: Durability;
  readonly retries: number;
  readonly backOff: (retry: number) => void | Promise<void>;
}

const TRANSACTION_CHECKS: Record<keyof TransactionOptions, Check> = {
  ...WRITE_CHECKS,
  retries: wholeNumber(0, 2 ** 32),
  backOff: callable,
};

export function resolveTransaction(
  options: TransactionOptions | undefined,
  otherwise: Durability,
): ResolvedTransactionOptions {
  if (options !== undefined) checkOptions(options, TRANSACTION_CHECKS);
  return {
    durability: options?.durability ?? otherwise,
    retries: options?.retries ?? 16,
    backOff: options?.backOff ?? backOffAtRandom,
  };
}

/** Each conflict has let another write through, so the first retry need not wait. */
async function backOffAtRandom(retry: number): Promise<void> {
  if (retry > 1) await setTimeout(Math.random() * 2 ** Math.min(retry - 1, 6));
}

/** Options of `attach`. */
export interface AttachOptions<K = string, V = unknown> {
  /** As for `open`: that of the database. */
  readonly keyEncoding?: KeyEncodingOption<K> | undefined;
  readonly valueEncoding?: ValueEncodingOption<V> | undefined;
  /** Budget for what reads of this thread keep in memory, as for `open`. Default 48 MiB. */
  readonly blockCacheBytes?: number | undefined;
  /** Told if the snapshot, an iteration or a stream was never closed. Default: nobody is. */
  readonly logger?: Logger | undefined;
}

/** The same with every default filled in. */
export type ResolvedAttachOptions<K, V> = Pick<
  ResolvedOptions<K, V>,
  "keyEncoding" | "valueEncoding" | "blockCacheBytes" | "logger" | "now"
>;

const ATTACH_CHECKS: Record<keyof AttachOptions, Check> = {
  keyEncoding: CHECKS.keyEncoding,
  valueEncoding: CHECKS.valueEncoding,
  blockCacheBytes: CHECKS.blockCacheBytes,
  logger: CHECKS.logger,
};

/** Fills in the defaults, which are those of `open`. Throws InvalidArgumentError. */
export function resolveAttach<K, V>(
  options: AttachOptions<K, V> = {},
): ResolvedAttachOptions<K, V> {
  checkOptions(options, ATTACH_CHECKS);
  return resolveOptions(options);
}

export interface IngestOptions {
  /**
   * Whether segments that are copied are read whole and checked first. Default true. Without it
   * damage in a block of theirs is noticed when it is first read.
   */
  readonly verify?: boolean | undefined;
  readonly onProgress?: ((progress: IngestProgress) => void) | undefined;
}

/** How far `ingest` has come. */
export interface IngestProgress {
  /** Entries of the sources that have been read, and all of them, deleted ones included. */
  readonly entriesDone: number;
  readonly entries: number;
}

const INGEST_CHECKS: Record<keyof IngestOptions, Check> = {
  verify: boolean,
  onProgress: callable,
};

const PROGRESS_CHECKS: Record<string, Check> = { onProgress: callable };

/** Checks the options of `checkpoint` and `verify`. Throws InvalidArgumentError. */
export function checkProgress(options: unknown): void {
  checkOptions(options, PROGRESS_CHECKS);
}

/** Of an encoding: repair moves bytes, and decodes none. */
const encodingName: Check = (value) => (typeof value === "string" ? undefined : "a name");

const REPAIR_CHECKS: Record<string, Check> = {
  fileSystem: CHECKS.fileSystem,
  keyEncoding: encodingName,
  valueEncoding: encodingName,
  background: CHECKS.background,
  now: CHECKS.now,
  onProgress: callable,
};

/** Checks the options of `repair`. Throws InvalidArgumentError. */
export function checkRepair(options: unknown): void {
  checkOptions(options, REPAIR_CHECKS);
}

/** Checks what `ingest` was called with. Throws InvalidArgumentError. */
export function checkIngest(sources: readonly string[], options: IngestOptions): void {
  checkOptions(options, INGEST_CHECKS);
  if (!Array.isArray(sources) || sources.length === 0) {
    throw new InvalidArgumentError(
      `sources must be a list of databases, not ${Array.isArray(sources) ? "an empty one" : describe(sources)}`,
    );
  }
  for (const source of sources) checkPath("a source", source);
}

const SAMPLE_CHECKS: Record<keyof SampleOptions, Check> = {
  random: callable,
};

/** Where a sample's random numbers come from: each is checked. */
export function resolveRandom(options: SampleOptions = {}): () => number {
  checkOptions(options, SAMPLE_CHECKS);
  const random = options.random ?? Math.random;
  return () => {
    const drawn: unknown = random();
    if (typeof drawn === "number" && drawn >= 0 && drawn < 1) return drawn;
    throw new InvalidArgumentError(
      `random must return a number from 0 up to, but not including, 1, not ${describe(drawn)}`,
    );
  };
}

/** Throws InvalidArgumentError for what the system takes no file's name to be. */
export function checkPath(what: string, path: unknown): void {
  if (typeof path === "string" && path !== "" && !path.includes("\0")) return;
  throw new InvalidArgumentError(`${what} must be a path, not ${describe(path)}`);
}

function checkOptions(options: unknown, checks: Record<string, Check>): void {
  if (typeof options !== "object" || options === null) {
    throw new InvalidArgumentError(`options must be an object, not ${describe(options)}`);
  }
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (check === undefined) throw unknownName(name, "option", Object.keys(checks));
    if (value === undefined) continue;
    const accepted = check(value);
    if (accepted !== undefined) {
      throw new InvalidArgumentError(
        `option "${name}" must be ${accepted}, not ${describe(value)}`,
      );
    }
  }
}
