/**
 * The errors memkv throws.
 *
 * Every error is a `DatabaseError` with a stable `code`; subclasses exist only where a caller would
 * catch one by name. What an error knows (a file, an offset, an option's name) is a field as well as
 * words in the message, so that a program never has to parse the message.
 */

/** Stable codes, one per way to fail. Programs compare these; they are never renamed. */
export type ErrorCode =
  /** An argument or option has the wrong type or value; nothing was done. */
  | "MEMKV_INVALID_ARGUMENT"
  /** The database, snapshot or cursor was closed before the call. */
  | "MEMKV_CLOSED"
  /** Another open database holds the directory, or the lock was lost while open. */
  | "MEMKV_LOCKED"
  /** A write was asked of a database opened with `readOnly: true`. */
  | "MEMKV_READ_ONLY"
  /** Bytes on disk are not what was written: a checksum, bound or identity does not hold. */
  | "MEMKV_CORRUPTION"
  /** A file was written by a newer memkv than this one. */
  | "MEMKV_UNSUPPORTED_VERSION"
  /** There is no database in the directory and `createIfMissing` is false. */
  | "MEMKV_NOT_FOUND"
  /** There is a database in the directory and `errorIfExists` is true. */
  | "MEMKV_EXISTS"
  /** The directory holds files that are not a memkv database. */
  | "MEMKV_NOT_A_DATABASE"
  /** A write or sync failed earlier; writes are refused until the database is reopened. */
  | "MEMKV_POISONED"
  /** A write would have to wait and may not: it blocks the thread, or too many wait. Nothing was done. */
  | "MEMKV_BUSY"
  /** The operating system refused a file operation; `cause` has its error. */
  | "MEMKV_IO"
  /** A transaction read what others wrote meanwhile, at every try; nothing of it was written. */
  | "MEMKV_CONFLICT"
  /** A bug in memkv: an internal invariant does not hold. */
  | "MEMKV_ASSERTION";

export class DatabaseError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A caller's mistake: thrown before any work, and nothing was changed. */
export class InvalidArgumentError extends DatabaseError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("MEMKV_INVALID_ARGUMENT", message, options);
  }
}

/** A call on something that was closed. */
export class ClosedError extends DatabaseError {
  constructor(message = "the database is closed", options?: { cause?: unknown }) {
    super("MEMKV_CLOSED", message, options);
  }
}

/** The directory belongs to another open database, or stopped belonging to this one. */
export class LockedError extends DatabaseError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("MEMKV_LOCKED", message, options);
  }
}

/** A write to a database that was opened read-only. */
export class ReadOnlyError extends DatabaseError {
  constructor(
    message = "the database was opened with readOnly: true",
    options?: { cause?: unknown },
  ) {
    super("MEMKV_READ_ONLY", message, options);
  }
}

/** A transaction that others got in the way of, each time that it was tried. It did not happen. */
export class ConflictError extends DatabaseError {
  /** How often the body was run. */
  readonly attempts: number;

  constructor(attempts: number) {
    const times = attempts === 1 ? "once" : `${attempts} times`;
    super(
      "MEMKV_CONFLICT",
      `the transaction was tried ${times}, and each time others wrote what it had read before it could commit`,
    );
    this.attempts = attempts;
  }
}

/** Where damage was found, and what was there in place of what should be. */
export interface CorruptionFacts {
  /** Path of the damaged file; `<memory>` for bytes that came from no file. */
  readonly file: string;
  /** Bytes from the start of the file, where the damaged unit begins. */
  readonly offset: number;
  /** What should be there, for people: a checksum, a magic number, a range. */
  readonly expected: string;
  /** What is there. */
  readonly actual: string;
}

/** Bytes on disk that are not what was written. The data was not returned and not skipped. */
export class CorruptionError extends DatabaseError {
  /** What is damaged, in words. */
  readonly what: string;
  readonly file: string;
  readonly offset: number;
  readonly expected: string;
  readonly actual: string;

  constructor(what: string, facts: CorruptionFacts, options?: { cause?: unknown }) {
    super(
      "MEMKV_CORRUPTION",
      `${what}: ${facts.file} at offset ${facts.offset}: expected ${facts.expected}, found ${facts.actual}`,
      options,
    );
    this.what = what;
    this.file = facts.file;
    this.offset = facts.offset;
    this.expected = facts.expected;
    this.actual = facts.actual;
  }
}

/** A file format newer than this memkv reads. */
export class UnsupportedVersionError extends DatabaseError {
  readonly file: string;
  readonly found: number;
  readonly supported: number;

  constructor(file: string, found: number, supported: number) {
    super(
      "MEMKV_UNSUPPORTED_VERSION",
      `${file} has format version ${found}; this memkv reads up to ${supported}: upgrade memkv`,
    );
    this.file = file;
    this.found = found;
    this.supported = supported;
  }
}
