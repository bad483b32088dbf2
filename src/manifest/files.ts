/**
 * Names of the files in a database's directory.
 *
 * `MANIFEST`, `000012.wal`, `000013.seg`, `000014.vlog`: a number is used once, for one file of one
 * kind, and has at least six digits so that listings sort.
 */

export function walFileName(fileNumber: number): string {
  return `${digits(fileNumber)}.wal`;
}

export function segmentFileName(fileNumber: number): string {
  return `${digits(fileNumber)}.seg`;
}

export function valueLogFileName(fileNumber: number): string {
  return `${digits(fileNumber)}.vlog`;
}

/** A file of ours, by its name. */
export interface NumberedFile {
  readonly name: string;
  readonly kind: "wal" | "segment" | "valueLog";
  readonly fileNumber: number;
}

const KINDS = { wal: "wal", seg: "segment", vlog: "valueLog" } as const;

/** What a name stands for, or undefined if it is not the name of a log, segment or value log. */
export function parseFileName(name: string): NumberedFile | undefined {
  const match = /^(\d{6,16})\.(wal|seg|vlog)$/.exec(name);
  if (match === null) return undefined;
  const fileNumber = Number(match[1]);
  if (!Number.isSafeInteger(fileNumber) || digits(fileNumber) !== match[1]) return undefined;
  return { name, kind: KINDS[match[2] as keyof typeof KINDS], fileNumber };
}

function digits(fileNumber: number): string {
  return String(fileNumber).padStart(6, "0");
}
