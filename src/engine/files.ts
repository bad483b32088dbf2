/**
 * Names of the files in a database's directory.
 *
 * `MANIFEST`, `000012.wal`, `000013.seg`: a number is used once, for one file of one kind, and has
 * at least six digits so that listings sort.
 */

export function walFileName(fileNumber: number): string {
  return `${digits(fileNumber)}.wal`;
}

export function segmentFileName(fileNumber: number): string {
  return `${digits(fileNumber)}.seg`;
}

/** A file of ours, by its name. */
export interface NumberedFile {
  readonly name: string;
  readonly kind: "wal" | "segment";
  readonly fileNumber: number;
}

/** What a name stands for, or undefined if it is not the name of a log or segment. */
export function parseFileName(name: string): NumberedFile | undefined {
  const match = /^(\d{6,16})\.(wal|seg)$/.exec(name);
  if (match === null) return undefined;
  const fileNumber = Number(match[1]);
  if (!Number.isSafeInteger(fileNumber) || digits(fileNumber) !== match[1]) return undefined;
  return { name, kind: match[2] === "wal" ? "wal" : "segment", fileNumber };
}

function digits(fileNumber: number): string {
  return String(fileNumber).padStart(6, "0");
}
