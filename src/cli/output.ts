/**
 * Writes lines to standard output or to a file, many at a time, at the pace of the reader.
 *
 * When the reader of a pipe goes away (`memkv scan store | head`), that is no error: `isClosed`
 * turns true, and whoever produces lines stops.
 */
import { createWriteStream } from "node:fs";
import type { Writable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { systemError } from "./context.ts";

/** Characters gathered before a write: enough that the system call costs little beside them. */
const BATCH_CHARACTERS = 2 ** 16;

export class Output {
  /** Whether nobody reads any more. */
  isClosed = false;
  private readonly stream: Writable;
  private readonly encoding: "utf8" | "latin1";
  private readonly name: string;
  private readonly whenDone: Promise<void> | undefined;
  private batch = "";
  private failure: unknown;
  private wake: (() => void) | undefined;

  /** To standard output, or whatever stands for it. */
  static to(stream: Writable, encoding: "utf8" | "latin1"): Output {
    return new Output(stream, encoding, "standard output", undefined);
  }

  /** To a file, which is replaced; gzipped if its name ends in .gz. */
  static toFile(path: string, encoding: "utf8" | "latin1"): Output {
    const file = createWriteStream(path);
    if (!path.endsWith(".gz")) return new Output(file, encoding, path, finished(file));
    const gzip = createGzip();
    return new Output(gzip, encoding, path, pipeline(gzip, file));
  }

  private constructor(
    stream: Writable,
    encoding: "utf8" | "latin1",
    name: string,
    whenDone: Promise<void> | undefined,
  ) {
    this.stream = stream;
    this.encoding = encoding;
    this.name = name;
    this.whenDone = whenDone;
    whenDone?.catch((error: unknown) => this.fail(error));
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

  /** Writes what is left, and closes the file if it is one. */
  async finish(): Promise<void> {
    await this.drain();
    if (this.whenDone === undefined || this.isClosed) return;
    this.stream.end();
    await this.whenDone.catch((error: unknown) => {
      throw systemError(`write ${this.name}`, error);
    });
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
