/**
 * Names of options and other fields that callers give. One that is misspelt, and not refused, would
 * mean its default in silence.
 */
import { InvalidArgumentError } from "./errors.ts";

/** Throws InvalidArgumentError for a name that is not accepted. `kind`: what the names are of. */
export function checkNames(fields: object, kind: string, accepted: readonly string[]): void {
  for (const name of Object.keys(fields)) {
    if (!accepted.includes(name)) throw unknownName(name, kind, accepted);
  }
}

/** Of a name that is not accepted, for who finds it by other means. */
export function unknownName(
  name: string,
  kind: string,
  accepted: readonly string[],
): InvalidArgumentError {
  return new InvalidArgumentError(`unknown ${kind} "${name}": accepted are ${accepted.join(", ")}`);
}
