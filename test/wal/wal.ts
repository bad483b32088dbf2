/** Logs for tests: written through the real writer, over the file system in memory. */
import type { FileIdentity } from "../../src/entry.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { type PreviousLog, RECORD_HEADER_BYTES } from "../../src/wal/format.ts";
import { type ReplayOptions, replayWal, type WalReport } from "../../src/wal/reader.ts";
import { WalWriter } from "../../src/wal/writer.ts";

export const PATH = "000007.wal";

export const IDENTITY: FileIdentity = {
  databaseId: Uint8Array.from({ length: 16 }, (_, i) => i + 1),
  fileNumber: 7,
};

/** A record with the payload, and room for its frame. */
export function recordOf(payload: Uint8Array): Uint8Array {
  const record = new Uint8Array(RECORD_HEADER_BYTES + payload.length);
  record.set(payload, RECORD_HEADER_BYTES);
  return record;
}

export const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** What to do to a log: append a text, or sync. */
export type Step = string | { readonly sync: true };
export const SYNC: Step = { sync: true };

export interface WrittenLog {
  readonly bytes: Uint8Array;
  /** Where each record begins, and after them where the log ends. */
  readonly offsets: readonly number[];
}

/** The bytes of a log after the steps. */
export async function writeLog(
  steps: readonly Step[],
  options: {
    identity?: FileIdentity;
    previous?: PreviousLog | undefined;
    preallocateBytes?: number;
  } = {},
): Promise<WrittenLog> {
  const fileSystem = new MemoryFileSystem();
  const writer = await WalWriter.create({
    fileSystem,
    path: PATH,
    identity: options.identity ?? IDENTITY,
    previous: options.previous,
    preallocateBytes: options.preallocateBytes ?? 0,
  });
  const offsets: number[] = [];
  for (const step of steps) {
    if (typeof step !== "string") {
      await writer.sync();
      continue;
    }
    offsets.push(writer.size);
    const record = recordOf(text(step));
    writer.appendSync(record, record.length);
  }
  offsets.push(writer.size);
  const file = await fileSystem.open(PATH, "read");
  const bytes = new Uint8Array(file.size());
  file.readSync(bytes, 0);
  return { bytes, offsets };
}

export interface Replayed {
  readonly texts: string[];
  readonly report: WalReport;
}

/** A file system that holds `bytes` as the log. */
export async function holding(bytes: Uint8Array): Promise<MemoryFileSystem> {
  const fileSystem = new MemoryFileSystem();
  const file = await fileSystem.open(PATH, "create");
  file.writeSync(bytes, 0);
  return fileSystem;
}

/** Replays `bytes` as the newest log in mode "tolerate-tail", unless told otherwise. */
export async function replay(
  bytes: Uint8Array,
  options: Partial<ReplayOptions> = {},
): Promise<Replayed> {
  const texts: string[] = [];
  const report = await replayWal(
    {
      fileSystem: options.fileSystem ?? (await holding(bytes)),
      path: PATH,
      identity: IDENTITY,
      isNewest: true,
      mode: "tolerate-tail",
      ...options,
    },
    (payload) => texts.push(new TextDecoder().decode(payload)),
  );
  return { texts, report };
}
