/**
 * What the commands of the model test act on: a database over the in-memory file system, and a model
 * of it, with what is open on both.
 */
import { expect } from "vitest";
import {
  type Database,
  type EntryIterator,
  type OpenOptions,
  open,
  type Snapshot,
} from "../../src/index.ts";
import { ProcessFileSystem } from "./process-file-system.ts";
import { type Clock, type Entry, expectEntries, type SortedMap } from "./sorted-map.ts";

const DIRECTORY = "store";

/** What the clock says first: some time in 2001. */
const FIRST_TIME = 1_000_000_000_000;

export type SystemOptions = Omit<OpenOptions<string, string>, "fileSystem" | "now">;

/** What the database should hold. Commands bring it up to date. */
export interface Model {
  content: SortedMap;
}

export interface OpenSnapshot {
  readonly snapshot: Snapshot<string, string>;
  readonly content: SortedMap;
}

export interface OpenIteration {
  readonly iterator: EntryIterator<string, string, Entry>;
  /** What it has yet to yield. */
  readonly remaining: Entry[];
}

/** What happened in all runs. */
export interface Counts {
  flushes: number;
  compactions: number;
  /** Steps of a compaction that were not its first. */
  laterSteps: number;
  opens: number;
}

export class System {
  database: Database<string, string>;
  fileSystem: ProcessFileSystem;
  snapshots: OpenSnapshot[] = [];
  iterations: OpenIteration[] = [];
  private readonly counts: Counts;
  readonly options: SystemOptions;
  /** That of the database, and of the model. */
  readonly clock: { time: number };
  private readonly failures: unknown[] = [];

  private constructor(
    options: SystemOptions,
    counts: Counts,
    fileSystem: ProcessFileSystem,
    database: Database<string, string>,
    clock: { time: number },
  ) {
    this.clock = clock;
    this.options = options;
    this.counts = counts;
    this.fileSystem = fileSystem;
    this.database = database;
    this.listen();
  }

  static async create(options: SystemOptions, counts: Counts): Promise<System> {
    const fileSystem = new ProcessFileSystem();
    const clock = { time: FIRST_TIME };
    const database = await openIn(fileSystem, options, clock);
    return new System(options, counts, fileSystem, database, clock);
  }

  /** Closes the database and opens it again. */
  async reopen(): Promise<void> {
    await this.database.close();
    const isWholeOnDisk = this.snapshots.length === 0 && this.iterations.length === 0;
    await this.openAgain();
    if (isWholeOnDisk) expect(this.database.recovery.orphansRemoved).toEqual([]);
    expect(this.database.recovery.dropped).toEqual([]);
  }

  /** Opens the disk as it is at this moment, in a new process. */
  async crash(): Promise<void> {
    this.fileSystem = this.fileSystem.kill();
    await this.openAgain();
  }

  expectContent(content: SortedMap): void {
    expectEntries([...this.database.entries()], content.entries());
    expect(this.failures).toEqual([]);
  }

  /** Checks everything once more, and closes. */
  async end(content: SortedMap): Promise<void> {
    this.expectContent(content);
    await this.database.flush();
    await this.database.verify();
    await this.database.close();
    expect(this.failures).toEqual([]);
  }

  private listen(): void {
    const { counts, fileSystem } = this;
    counts.opens++;
    this.database.on("flush", () => counts.flushes++);
    this.database.on("compaction", ({ step }) => {
      counts.compactions++;
      if (step > 1) counts.laterSteps++;
    });
    this.database.on("error", (error) => {
      // A process that was killed fails at whatever it was doing; nobody is there to hear of it.
      if (fileSystem === this.fileSystem) this.failures.push(error);
    });
  }

  private async openAgain(): Promise<void> {
    this.snapshots = [];
    this.iterations = [];
    this.database = await openIn(this.fileSystem, this.options, this.clock);
    this.listen();
  }
}

function openIn(
  fileSystem: ProcessFileSystem,
  options: SystemOptions,
  clock: Clock,
): Promise<Database<string, string>> {
  return open<string, string>(DIRECTORY, { ...options, fileSystem, now: () => clock.time });
}
