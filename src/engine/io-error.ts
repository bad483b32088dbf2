/**
 * What a user sees when the operating system refuses a file operation: a DatabaseError with code
 * MEMKV_IO, the system's error (ENOSPC, EMFILE, EIO, EACCES, ...) as its cause. Node itself refuses some
 * under its permission model.
 */
import { DatabaseError } from "../errors.ts";
import { systemErrorCode } from "../io/system-error.ts";

/** The error as memkv throws it; what is not the system's own is left alone. `doing` is in the message. */
export function toUserError(error: unknown, doing: string): unknown {
  if (error instanceof DatabaseError || !(error instanceof Error)) return error;
  const isRefused = "syscall" in error || systemErrorCode(error) === "ERR_ACCESS_DENIED";
  if (!isRefused) return error;
  return new DatabaseError("MEMKV_IO", `${doing} failed: ${error.message}`, { cause: error });
}

/** Waits for the work, and rejects with what `toUserError` makes of its error. */
export async function withUserErrors<T>(doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toUserError(error, doing);
  }
}
