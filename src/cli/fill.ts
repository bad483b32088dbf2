/**
 * The work of `build`: the entries of an input, batch by batch, into a store.
 *
 * A line that cannot be parsed, or whose key or value the store refuses, ends it with an error that
 * names the line; every entry before that line is in the store, and counted.
 */
import { type BatchOperation, type Database, InvalidArgumentError } from "../index.ts";
import { DataError } from "./context.ts";
import {
  type Block,
  type Format,
  lineParser,
  type ParseLine,
  readBlocks,
  type Source,
} from "./input.ts";
import type { Key, Notation } from "./notation.ts";

/** Entries of one batch. */
const BATCH_COUNT = 1000;

export class Fill {
  /** Entries written so far. */
  entryCount = 0;
  private readonly store: Database<Key, unknown>;
  private readonly source: Source;
  private readonly encoding: "utf8" | "latin1";
  private readonly parse: ParseLine;
  private isStopped = false;

  constructor(store: Database<Key, unknown>, source: Source, format: Format, notation: Notation) {
    this.store = store;
    this.source = source;
    this.encoding = format === "jsonl" ? "utf8" : notation.textEncoding;
    this.parse = lineParser(format, notation);
  }

  /** Reads the input to its end, or until `stop`; `onProgress` is called after each batch. */
  async run(onProgress: () => void): Promise<void> {
    try {
      for await (const block of readBlocks(this.source, this.encoding)) {
        for (let start = 0; start < block.lines.length; start += BATCH_COUNT) {
          if (this.isStopped) return;
          await this.writeBatch(block, start);
          onProgress();
        }
      }
    } catch (error) {
      // A source that was closed under its reader says that it ended too early.
      if (!(this.isStopped && error instanceof DataError)) throw error;
    }
  }

  /** Ends `run` after the batch in hand, even where it waits for input. */
  stop(): void {
    this.isStopped = true;
    this.source.stream.destroy();
  }

  /** Writes up to BATCH_COUNT lines of a block from the one at `start`. */
  private async writeBatch(block: Block, start: number): Promise<void> {
    const operations: BatchOperation<Key, unknown>[] = [];
    const lineNumbers: number[] = [];
    const end = Math.min(start + BATCH_COUNT, block.lines.length);
    let failure: DataError | undefined;
    for (let i = start; i < end && failure === undefined; i++) {
      const lineNumber = block.firstLineNumber + i;
      try {
        const entry = this.parse(block.lines[i] ?? "");
        if (entry === undefined) continue;
        operations.push({ type: "put", key: entry.key, value: entry.value });
        lineNumbers.push(lineNumber);
      } catch (error) {
        failure = this.atLine(lineNumber, error);
      }
    }
    await this.writeOperations(operations, lineNumbers);
    if (failure !== undefined) throw failure;
  }

  /** Writes all, or finds the line whose key or value the store refuses. */
  private async writeOperations(
    operations: readonly BatchOperation<Key, unknown>[],
    lineNumbers: readonly number[],
  ): Promise<void> {
    try {
      await this.store.batch(operations, { durability: "os" });
      this.entryCount += operations.length;
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      for (const [i, operation] of operations.entries()) {
        await this.store.batch([operation], { durability: "os" }).catch((cause: unknown) => {
          throw this.atLine(lineNumbers[i] ?? 0, cause);
        });
        this.entryCount++;
      }
    }
  }

  private atLine(lineNumber: number, cause: unknown): DataError {
    const { message } = cause as Error;
    return new DataError(`${this.source.name}, line ${lineNumber}: ${message}`, { cause });
  }
}
