/**
 * Writes lines to standard output or to a file, many at a time, at the pace of the reader.
 *
 * A file is written under another name beside it, which becomes its own once all is in it and on the
 * disk: whoever finds the file finds it whole, and a failure leaves the one that was there.
 *
 * When the reader of a pipe goes away (`memkv scan store | head`), that is no error: `isClosed`
 * turns true, and whoever produces lines stops.
 */
import {
  createWriteStream,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import type { Writable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { systemError } from "./context.ts";

/** Where the content of a file goes. */
interface Place {
  /** What replaces a file that a link leads to goes where that is. */
  readonly realPath: string;
  /** Undefined for a device or a pipe: it has nothing to keep, and no file may take its place. */
  readonly temporaryPath: string | undefined;
}

interface Target extends Place {
  readonly whenWritten: Promise<void>;
}

/** Characters gathered before a write: enough that the system call costs little beside them. */
const BATCH_CHARACTERS = 2 ** 16;

export class Output {
  /** Whether nobody reads any more. */
  isClosed = false;
  private readonly stream: Writable;
  private readonly encoding: "utf8" | "latin1";
  private readonly name: string;
  private readonly target: Target | undefined;
  private batch = "";
  private failure: unknown;
  private wake: (() => void) | undefined;

  /** To standard output, or whatever stands for it. */
  static to(stream: Writable, encoding: "utf8" | "latin1"): Output {
    return new Output(stream, encoding, "standard output", undefined);
  }

  /** To a file, which is replaced by `finish`; gzipped if its name ends in .gz. */
  static toFile(path: string, encoding: "utf8" | "latin1"): Output {
    const { realPath, temporaryPath, mode } = placeOf(path);
    let file: Writable;
    try {
      // Not by the stream, which might create it after `discard`.
      file =
        temporaryPath === undefined
          ? createWriteStream(path)
          : createWriteStream(temporaryPath, {
              fd: openSync(temporaryPath, "w", mode),
              flush: true,
            });
    } catch (error) {
      throw systemError(`write ${path}`, error);
    }
    const gzip = path.endsWith(".gz") ? createGzip() : undefined;
    const whenWritten = gzip === undefined ? finished(file) : pipeline(gzip, file);
    return new Output(gzip ?? file, encoding, path, { realPath, temporaryPath, whenWritten });
  }

  private constructor(
    stream: Writable,
    encoding: "utf8" | "latin1",
    name: string,
    target: Target | undefined,
  ) {
    this.stream = stream;
    this.encoding = encoding;
    this.name = name;
    this.target = target;
    target?.whenWritten.catch((error: unknown) => this.fail(error));
    stream.on("error", (error) => this.fail(error));
  }

  /** Adds a line. A promise that is returned must be awaited before the next line. */
  line(text: string): Promise<void> | undefined {
    this.batch += `${text}\n`;
    return this.batch.length >= BATCH_CHARACTERS ? this.drain() : undefined;
  }

  /** Writes lines as they are produced, until they or the reader end. */
  async lines(texts: Iterable<string>): Promise<void> {
    for (const text of texts) {
      const pending = this.line(text);
      if (pending === undefined) continue;
      await pending;
      if (this.isClosed) return;
    }
  }

  /** Writes what is left; if it goes to a file, that is now what was written. */
  async finish(): Promise<void> {
    await this.drain();
    if (this.target === undefined || this.isClosed) return;
    const { realPath, temporaryPath, whenWritten } = this.target;
    this.stream.end();
    try {
      await whenWritten;
      if (temporaryPath !== undefined) renameSync(temporaryPath, realPath);
    } catch (error) {
      throw systemError(`write ${this.name}`, error);
    }
  }

  /** Ends without `finish`: the file stays as it was. */
  discard(): void {
    this.stream.destroy();
    const temporaryPath = this.target?.temporaryPath;
    if (temporaryPath !== undefined) rmSync(temporaryPath, { force: true });
  }

  private async drain(): Promise<void> {
    const bytes = Buffer.from(this.batch, this.encoding);
    this.batch = "";
    if (bytes.length > 0 && !this.isClosed && this.failure === undefined) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        this.stream.write(bytes, () => resolve());
      });
    }
    if (this.failure !== undefined) throw systemError(`write ${this.name}`, this.failure);
  }

  private fail(error: unknown): void {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EPIPE" || code === "ERR_STREAM_DESTROYED") this.isClosed = true;
    else this.failure = error;
    this.wake?.();
  }
}

/** Makes `path` a file that holds these bytes and no others. */
export function replaceFile(path: string, bytes: Uint8Array): void {
  try {
    const { realPath, temporaryPath, mode } = placeOf(path);
    if (temporaryPath === undefined) {
      writeFileSync(path, bytes);
      return;
    }
    try {
      writeFileSync(temporaryPath, bytes, { flush: true, mode });
      renameSync(temporaryPath, realPath);
    } catch (error) {
      rmSync(temporaryPath, { force: true });
      throw error;
    }
  } catch (error) {
    throw systemError(`write ${path}`, error);
  }
}

/** Where to write what is to be at `path`, with the mode of the file that is there. */
function placeOf(path: string): Place & { readonly mode: number | undefined } {
  const stats = statSync(path, { throwIfNoEntry: false });
  const realPath = stats === undefined ? path : realpathSync(path);
  const isFile = stats === undefined || stats.isFile();
  const temporaryPath = isFile ? `${realPath}.${process.pid}.tmp` : undefined;
  return { realPath, temporaryPath, mode: stats?.mode };
}
