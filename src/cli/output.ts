/**
 * Writes lines to standard output or to a file, many at a time, at the pace of the reader.
 *
 * A file is written under another name beside it, which becomes its own once all is in it and on the
 * disk: whoever finds the file finds it whole, and a failure leaves the one that was there. Where no
 * file may take its place (a device, a pipe, a link that leads nowhere, a directory that may not be
 * written to) it is written as it stands, and a mounted file once all is written beside it.
 *
 * When the reader of a pipe goes away (`memkv scan store | head`), that is no error: `isClosed`
 * turns true, and whoever produces lines stops.
 */
import {
  closeSync,
  constants,
  createReadStream,
  createWriteStream,
  fchmodSync,
  lstatSync,
  mkdtempSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Writable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { systemError } from "./context.ts";

interface Target {
  readonly file: FileTarget;
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
    return new Output(stream, encoding, "standard output");
  }

  /** To a file, which is replaced by `finish`; gzipped if its name ends in .gz. */
  static toFile(path: string, encoding: "utf8" | "latin1"): Output {
    let file: FileTarget;
    try {
      file = new FileTarget(path);
    } catch (error) {
      throw systemError(`write ${path}`, error);
    }
    const gzip = path.endsWith(".gz") ? createGzip() : undefined;
    const whenWritten = gzip === undefined ? finished(file.stream) : pipeline(gzip, file.stream);
    return new Output(gzip ?? file.stream, encoding, path, { file, whenWritten });
  }

  private constructor(
    stream: Writable,
    encoding: "utf8" | "latin1",
    name: string,
    target?: Target,
  ) {
    this.stream = stream;
    this.encoding = encoding;
    this.name = name;
    this.target = target;
    target?.whenWritten.catch((error: unknown) => this.fail(error));
    stream.on("error", (error) => this.fail(error));
  }

  /** Whether `discard` leaves what was there. */
  get isDiscardable(): boolean {
    return this.target?.file.isReplacement === true;
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
    this.stream.end();
    try {
      await this.target.whenWritten;
      await this.target.file.commit();
    } catch (error) {
      throw systemError(`write ${this.name}`, error);
    }
  }

  /** Ends without `finish`. */
  discard(): void {
    this.stream.destroy();
    this.target?.file.discard();
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
export async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  let file: FileTarget | undefined;
  try {
    file = new FileTarget(path);
    file.stream.end(bytes);
    await finished(file.stream);
    await file.commit();
  } catch (error) {
    file?.discard();
    throw systemError(`write ${path}`, error);
  }
}

/** What the system says where a file may be written, and none may take its place. */
const REFUSALS = new Set(["EACCES", "EPERM", "EROFS", "EBUSY"]);

/** A file whose new content is written beside it where that can be, and takes its place at the end. */
class FileTarget {
  readonly stream: Writable;
  private readonly path: string;
  private readonly temporary: TemporaryFile | undefined;

  constructor(path: string) {
    const stats = statSync(path, { throwIfNoEntry: false });
    const isFile = stats?.isFile() === true;
    // Where a link leads to is what is replaced, if that may be written to.
    this.path = stats === undefined ? path : realpathSync(path);
    if (isFile) closeSync(openSync(path, "r+"));
    const isNew = lstatSync(path, { throwIfNoEntry: false }) === undefined;
    if (isNew || isFile) this.temporary = openBeside(this.path, stats?.mode);
    const { temporary } = this;
    this.stream =
      temporary === undefined
        ? createWriteStream(path)
        : createWriteStream(temporary.path, { fd: temporary.fd, flush: true });
  }

  /** Whether `discard` leaves what was there. */
  get isReplacement(): boolean {
    return this.temporary !== undefined;
  }

  /** Once the stream has ended. */
  async commit(): Promise<void> {
    if (this.temporary === undefined) return;
    const { path } = this.temporary;
    try {
      renameSync(path, this.path);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      // Not to be created: in a directory of many users, that would be refused too.
      const fd = openSync(this.path, constants.O_WRONLY | constants.O_TRUNC);
      await pipeline(createReadStream(path), createWriteStream(this.path, { fd, flush: true }));
    }
    this.discard();
  }

  discard(): void {
    this.stream.destroy();
    if (this.temporary !== undefined) removeTemporary(this.temporary.directory);
  }
}

/** In a directory of its own: one has a short name that nobody else has. */
interface TemporaryFile {
  readonly directory: string;
  readonly path: string;
  /** Opened here and not by a stream, which might create the file after it was removed. */
  readonly fd: number;
}

/** `mode`: of the file at `path`. Undefined if there is one, and none may be made beside it. */
function openBeside(path: string, mode: number | undefined): TemporaryFile | undefined {
  let directory: string;
  try {
    directory = mkdtempSync(join(dirname(path), ".memkv-"));
  } catch (error) {
    if (mode === undefined || !isRefusal(error)) throw error;
    return undefined;
  }
  try {
    const temporaryPath = join(directory, "content");
    const fd = openSync(temporaryPath, "w", mode);
    // What the umask took away.
    if (mode !== undefined) fchmodSync(fd, mode & 0o7777);
    return { directory, path: temporaryPath, fd };
  } catch (error) {
    removeTemporary(directory);
    throw error;
  }
}

function removeTemporary(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
}

function isRefusal(error: unknown): boolean {
  return REFUSALS.has((error as NodeJS.ErrnoException).code ?? "");
}
