/**
 * Checks for our own bugs, never for input.
 *
 * `assert` is cheap and stays on in production. `verify` runs a costly check, and only where the
 * environment variable MEMKV_VERIFY is set (the tests set it), as bbolt's internal/common/verify.go.
 */
import { DatabaseError } from "./errors.ts";

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new DatabaseError("MEMKV_ASSERTION", `bug in memkv: ${message}`);
}

const isVerifying = process.env["MEMKV_VERIFY"] === "1";

/** Runs `check`, which throws when an invariant is broken, in test mode only. */
export function verify(check: () => void): void {
  if (isVerifying) check();
}
