/**
 * Reads keys and values for `build`: lines, TSV or JSONL, from a file or standard input, gzipped
 * or not (told by the first two bytes, not by the name).
 *
 * Input is read in blocks of whole lines, since decoding and splitting a mebibyte at once is much
 * faster than line by line. Memory is bounded by one block and the longest line.
 */
import { isUtf8 } from "node:buffer";
import { createReadStream, statSync } from "node:fs";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { type Context, DataError, systemError } from "./context.ts";
import type { Key, Notation } from "./notation.ts";

export const FORMATS = ["lines", "tsv", "jsonl"] as const;
export type Format = (typeof FORMATS)[number];

/** Bytes of text taken at a time. */
const READ_BYTES = 2 ** 20;

/** Bytes of gzip read at a time: fewer, since what was read and not yet unpacked is not yet done. */
const READ_GZIP_BYTES = 2 ** 16;

/** Longer lines are refused: a value of this size is better written by a program. */
const MAX_LINE_BYTES = 2 ** 28;

const LINE_FEED = 10;
const BYTE_ORDER_MARK = "\ufeff";

export interface Source {
  /** As errors name it. */
  readonly name: string;
  /** Bytes of the file as it is on disk, undefined if it cannot be known. */
  readonly totalBytes: number | undefined;
  /** Bytes read so far, of the file as it is on disk. */
  readBytes: number;
  /** Bytes of the lines handed out so far, their ends included, unpacked. */
  lineBytes: number;
  readonly stream: Readable;
}

/** Whole lines of the input, without their ends, and the number of the first, from 1. */
export interface Block {
  readonly lines: readonly string[];
  readonly firstLineNumber: number;
}

/** The format that a file's name tells; lines if it tells nothing. */
export function formatOf(path: string): Format {
  const name = path.toLowerCase().replace(/\.gz$/, "");
  if (name.endsWith(".tsv")) return "tsv";
  if (name.endsWith(".jsonl") || name.endsWith(".ndjson")) return "jsonl";
  return "lines";
}

/** Opens a file, or standard input for "-". */
export function openSource(path: string, context: Context): Source {
  if (path === "-") {
    return sourceOf("standard input", undefined, context.stdin);
  }
  try {
    const facts = statSync(path);
    if (facts.isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
    const stream = createReadStream(path, {
      highWaterMark: path.toLowerCase().endsWith(".gz") ? READ_GZIP_BYTES : READ_BYTES,
    });
    return sourceOf(path, facts.isFile() ? facts.size : undefined, stream);
  } catch (error) {
    throw systemError(`read ${path}`, error);
  }
}

function sourceOf(name: string, totalBytes: number | undefined, stream: Readable): Source {
  return { name, totalBytes, readBytes: 0, lineBytes: 0, stream };
}

/** The input in blocks. `encoding` is how its text is decoded; utf8 is checked. */
export async function* readBlocks(
  source: Source,
  encoding: "utf8" | "latin1",
): AsyncGenerator<Block> {
  let lineNumber = 1;
  let rest: Uint8Array[] = [];
  let restBytes = 0;
  const take = (end: Uint8Array): Block => {
    const bytes = rest.length === 0 ? Buffer.from(end) : Buffer.concat([...rest, end]);
    const block = decodeBlock(bytes, lineNumber, encoding, source.name);
    lineNumber += block.lines.length;
    source.lineBytes += bytes.length + 1;
    rest = [];
    restBytes = 0;
    return block;
  };
  try {
    for await (const chunk of await decompressed(source)) {
      const end = chunk.lastIndexOf(LINE_FEED);
      if (end >= 0) yield take(chunk.subarray(0, end));
      const tail = chunk.subarray(end + 1);
      rest.push(tail);
      restBytes += tail.length;
      if (restBytes > MAX_LINE_BYTES) {
        throw new DataError(
          `${source.name}, line ${lineNumber}: over ${MAX_LINE_BYTES} bytes long`,
        );
      }
    }
    if (restBytes > 0) yield take(new Uint8Array(0));
  } catch (error) {
    throw error instanceof DataError ? error : systemError(`read ${source.name}`, error);
  } finally {
    source.stream.destroy();
  }
}

/** Parses one line. Throws DataError without the line's number, which the caller knows. */
export type ParseLine = (
  line: string,
) => { readonly key: Key; readonly value: unknown } | undefined;

/** The parser of a format; it gives undefined for a line that says nothing. */
export function lineParser(format: Format, notation: Notation): ParseLine {
  switch (format) {
    case "lines": {
      const value = notation.valueFromText("");
      return (line) => ({ key: notation.keyFromText(line), value });
    }
    case "tsv":
      return (line) => {
        const tab = line.indexOf("\t");
        if (tab < 0) throw new DataError("no tab between key and value");
        return {
          key: notation.keyFromText(line.slice(0, tab)),
          value: notation.valueFromText(line.slice(tab + 1)),
        };
      };
    case "jsonl":
      return (line) => (line.trim() === "" ? undefined : parseJson(line, notation));
  }
}

function parseJson(line: string, notation: Notation): { key: Key; value: unknown } {
  let entry: unknown;
  try {
    entry = JSON.parse(line);
  } catch (error) {
    throw new DataError(`not JSON: ${(error as Error).message}`, { cause: error });
  }
  if (!isEntry(entry)) throw new DataError('not an object {"key": ..., "value": ...}');
  const { key, value } = entry;
  return { key: notation.keyFromJson(key), value: notation.valueFromJson(value) };
}

function isEntry(json: unknown): json is { key: unknown; value: unknown } {
  return (
    typeof json === "object" &&
    json !== null &&
    Object.hasOwn(json, "key") &&
    Object.hasOwn(json, "value") &&
    Object.keys(json).length === 2
  );
}

/** `bytes` are whole lines without the last line's end. */
function decodeBlock(
  bytes: Buffer,
  firstLineNumber: number,
  encoding: "utf8" | "latin1",
  name: string,
): Block {
  if (encoding === "utf8" && !isUtf8(bytes)) {
    throw new DataError(
      `${name}, line ${firstLineNumber + linesBeforeInvalid(bytes)}: not valid UTF-8; ` +
        "a new store with --key-encoding binary takes any bytes",
    );
  }
  let text = bytes.toString(encoding);
  if (firstLineNumber === 1 && text.startsWith(BYTE_ORDER_MARK)) text = text.slice(1);
  const lines = text.split("\n");
  if (text.includes("\r")) {
    for (let i = 0; i < lines.length; i++) lines[i] = (lines[i] ?? "").replace(/\r$/, "");
  }
  return { lines, firstLineNumber };
}

function linesBeforeInvalid(bytes: Buffer): number {
  let start = 0;
  for (let count = 0; ; count++) {
    const end = bytes.indexOf(LINE_FEED, start);
    if (end < 0 || !isUtf8(bytes.subarray(start, end))) return count;
    start = end + 1;
  }
}

/** The bytes of the source, unpacked if they begin as gzip does. */
async function decompressed(source: Source): Promise<AsyncIterable<Buffer>> {
  const chunks = counted(source);
  const head: Buffer[] = [];
  let headBytes = 0;
  while (headBytes < 2) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    head.push(value);
    headBytes += value.length;
  }
  const first = Buffer.concat(head);
  async function* all(): AsyncGenerator<Buffer> {
    if (first.length > 0) yield first;
    yield* chunks;
  }
  if (first[0] !== 0x1f || first[1] !== 0x8b) return all();
  const gunzip = createGunzip({ chunkSize: READ_BYTES });
  // The callback has nothing to do: whoever reads from gunzip meets the error there.
  pipeline(Readable.from(all(), { highWaterMark: 1 }), gunzip, () => undefined);
  return gunzip;
}

async function* counted(source: Source): AsyncGenerator<Buffer> {
  for await (const chunk of source.stream) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk as string);
    source.readBytes += bytes.length;
    yield bytes;
  }
}
