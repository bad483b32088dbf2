/**
 * Errors shaped as Node's own: an Error with `code`, `syscall` and `path`, so that callers of a file
 * system need not know which implementation refused.
 */

const MESSAGES = {
  EACCES: "permission denied",
  EBADF: "bad file descriptor",
  EEXIST: "file already exists",
  EIO: "i/o error",
  EISDIR: "illegal operation on a directory",
  EMFILE: "too many open files",
  ENOENT: "no such file or directory",
  ENOSPC: "no space left on device",
  ENOTDIR: "not a directory",
} as const;

export type SystemErrorCode = keyof typeof MESSAGES;

export interface SystemError extends Error {
  readonly code: string;
  readonly syscall: string;
  readonly path: string;
}

/** What Node would have thrown from `syscall` on `path`. */
export function systemError(code: SystemErrorCode, syscall: string, path: string): SystemError {
  const message = `${code}: ${MESSAGES[code]}, ${syscall} '${path}'`;
  return Object.assign(new Error(message), { code, syscall, path });
}

/** The system's code of an error, such as "ENOENT"; undefined for an error of any other kind. */
export function systemErrorCode(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}
