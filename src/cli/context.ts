/**
 * What every command is given, and how a command fails.
 *
 * Commands take their streams from here and never from the process, so that tests run them without
 * starting one.
 */
import type { Readable, Writable } from "node:stream";

export interface Context {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable & { readonly isTTY?: boolean | undefined };
  /** Where the user works: packages of theirs are looked for from here. */
  readonly directory: string;
  /** Where a store that is written to flushes and compacts. */
  readonly background: "worker" | "inline";
}

/** The data, or the system, is not as the command needs it. Exit code 1. */
export class DataError extends Error {}

/** The command line makes no sense. Exit code 2. */
export class UsageError extends Error {}

export const EXIT_OK = 0;
export const EXIT_DATA = 1;
export const EXIT_USAGE = 2;

/** Set by a command that ends as it should and still has bad news: a missing key, damage found. */
export interface Outcome {
  exitCode: number;
}

/** What a user reads of a system error in place of its code. */
const SYSTEM_ERRORS: Record<string, string> = {
  ENOENT: "no such file or directory",
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EISDIR: "it is a directory",
  ENOTDIR: "part of the path is not a directory",
  ENOSPC: "no space left on the device",
};

/** `error` of an attempt to `what`, in words. */
export function systemError(what: string, error: unknown): DataError {
  const { code, message } = error as NodeJS.ErrnoException;
  const reason = (code !== undefined ? SYSTEM_ERRORS[code] : undefined) ?? message;
  return new DataError(`cannot ${what}: ${reason}`, { cause: error });
}
