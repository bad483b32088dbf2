/**
 * Everything a user of `memkv` may import. Exports only.
 */

export type { KeyEncoding, KeyEncodingOption } from "./encoding/key-codec.ts";
export type { OrderedKey } from "./encoding/ordered-keys.ts";
export type { IterationRange, KeyRange } from "./encoding/range.ts";
export type { ValueEncoding, ValueEncodingOption } from "./encoding/value-codec.ts";
export type { FlushEvent } from "./engine/background.ts";
export type { CheckpointProgress, CheckpointReport } from "./engine/checkpoint.ts";
export type { CompactionEvent } from "./engine/compactions.ts";
export { Database, type DatabaseEvents } from "./engine/database.ts";
export type { IngestReport } from "./engine/ingest.ts";
export type { EntryIterable, EntryIterator } from "./engine/iteration.ts";
export { open } from "./engine/open.ts";
export type {
  AttachOptions,
  Durability,
  IfAbsent,
  IfValue,
  IngestOptions,
  IngestProgress,
  Logger,
  OpenOptions,
  PutOptions,
  RecoveryMode,
  SampleOptions,
  TransactionOptions,
  TtlOption,
  WriteOptions,
} from "./engine/options.ts";
export type { PinKind, PinStats, WarningEvent } from "./engine/pins.ts";
export type { DroppedBytes, RecoveryReport } from "./engine/recovery.ts";
export { attach, type SharedSnapshot } from "./engine/shared-snapshot.ts";
export { Snapshot } from "./engine/snapshot.ts";
export type { StallEvent } from "./engine/stalls.ts";
export type { DatabaseStats, RunStats } from "./engine/stats.ts";
export type { Transaction } from "./engine/transaction.ts";
export type { VerifyProgress, VerifyReport } from "./engine/verify.ts";
export type {
  BatchOperation,
  DeleteRangeOperation,
  PutOperation,
} from "./engine/write-encoder.ts";
export {
  ClosedError,
  ConflictError,
  CorruptionError,
  type CorruptionFacts,
  DatabaseError,
  type ErrorCode,
  InvalidArgumentError,
  LockedError,
  ReadOnlyError,
  UnsupportedVersionError,
} from "./errors.ts";
export type { DirectoryLock, File, FileSystem, OpenMode } from "./io/file-system.ts";
export { type RepairOptions, type RepairProgress, repair } from "./repair/repair.ts";
export type { IgnoredFile, RepairLoss, RepairReport } from "./repair/report.ts";
export type { Automaton } from "./search/automaton.ts";
export { fuzzy } from "./search/fuzzy.ts";
export { glob } from "./search/glob.ts";
export { regex } from "./search/regex.ts";
export { startsWith } from "./search/starts-with.ts";
export type { ValueCompression } from "./segment/coders.ts";
