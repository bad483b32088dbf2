/**
 * What the main thread and the background thread say to each other.
 *
 * Memtables, file numbers and what segments keep in memory are shared, not copied. Errors lose
 * their class and fields on the way between threads, so they are taken apart and put together again
 * here.
 */

import {
  CorruptionError,
  DatabaseError,
  type ErrorCode,
  UnsupportedVersionError,
} from "../errors.ts";
import type { SharedMemtable } from "../memtable/memtable.ts";
import type { ValueCompression } from "../segment/coders.ts";
import type { SharedSections } from "../segment/resident-sections.ts";
import type { CompactionTask, FlushTask, JobOutput } from "./jobs.ts";

/** What the thread is started with. */
export interface WorkerSetup {
  readonly directory: string;
  readonly databaseId: Uint8Array;
  readonly fileNumbers: SharedArrayBuffer;
  readonly segmentBytes: number;
  readonly largeValueBytes: number;
  readonly compression: ValueCompression;
}

export interface FlushRequest {
  readonly kind: "flush";
  readonly id: number;
  readonly memtable: SharedMemtable;
  readonly task: FlushTask;
  readonly control: SharedArrayBuffer;
}

export interface SharedSegment {
  readonly fileNumber: number;
  /** Read by the other thread; missing, they are read from the file. */
  readonly sections?: SharedSections | undefined;
}

export interface CompactRequest {
  readonly kind: "compact";
  readonly id: number;
  /** Newest first. */
  readonly runs: readonly (readonly SharedSegment[])[];
  readonly samples: readonly SharedSegment[];
  readonly task: CompactionTask;
  readonly control: SharedArrayBuffer;
}

/** The thread ends when it has done what it was asked for. */
export interface EndRequest {
  readonly kind: "end";
}

export type JobRequest = FlushRequest | CompactRequest;
export type WorkerRequest = JobRequest | EndRequest;

export type WorkerResponse =
  | { readonly id: number; readonly output: JobOutput }
  | { readonly id: number; readonly error: PortableError };

/** An error as plain data. */
export interface PortableError {
  readonly message: string;
  readonly stack: string | undefined;
  readonly cause: PortableError | undefined;
  /** Fields that tell programs what happened: code, file, offset and the like. */
  readonly facts: Readonly<Record<string, string | number>>;
}

const FACTS = [
  ...["code", "what", "file", "offset", "expected", "actual", "found", "supported"],
  ...["errno", "syscall", "path"],
];

export function toPortable(error: unknown): PortableError {
  const source = error instanceof Error ? error : new Error(String(error));
  const facts: Record<string, string | number> = {};
  for (const name of FACTS) {
    const value: unknown = Reflect.get(source, name);
    if (typeof value === "string" || typeof value === "number") facts[name] = value;
  }
  return {
    message: source.message,
    stack: source.stack,
    cause: source.cause === undefined ? undefined : toPortable(source.cause),
    facts,
  };
}

export function fromPortable(portable: PortableError): Error {
  const error = rebuild(portable);
  if (portable.stack !== undefined) error.stack = portable.stack;
  return error;
}

function rebuild({ message, cause, facts }: PortableError): Error {
  const options = cause === undefined ? undefined : { cause: fromPortable(cause) };
  const code = String(facts["code"]);
  if (code === "MEMKV_CORRUPTION") {
    return new CorruptionError(
      String(facts["what"]),
      {
        file: String(facts["file"]),
        offset: Number(facts["offset"]),
        expected: String(facts["expected"]),
        actual: String(facts["actual"]),
      },
      options,
    );
  }
  if (code === "MEMKV_UNSUPPORTED_VERSION") {
    const { file, found, supported } = facts;
    return new UnsupportedVersionError(String(file), Number(found), Number(supported));
  }
  if (code.startsWith("MEMKV_")) return new DatabaseError(code as ErrorCode, message, options);
  return Object.assign(new Error(message, options), facts);
}
