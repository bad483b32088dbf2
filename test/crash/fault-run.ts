/**
 * One life of a database during which the file system fails once, and what must hold for it.
 *
 * - Every call settles: with success, or with an error that says what happened.
 * - A write that was acknowledged is there, at once, after a reopen and, if it asked for "sync",
 *   after a power cut. One that failed is not, ever. Only where the database was poisoned is the
 *   outcome of what failed with it unknown until the reopen.
 * - After a failed sync of the log no write is acknowledged until the database is reopened.
 * - After a reopen everything works, and no file was left behind.
 */
import { setImmediate } from "node:timers/promises";
import { DatabaseError } from "../../src/errors.ts";
import { CrashFileSystem } from "../../src/testing/crash-file-system.ts";
import {
  type Effect,
  type Fault,
  FaultFileSystem,
  type OperationKind,
} from "../../src/testing/fault-file-system.ts";
import {
  checkFiles,
  contentOf,
  fingerprintOf,
  openTest,
  type TestDatabase,
  Violation,
} from "./check.ts";
import type { Write } from "./history.ts";

const fail = (code: "EIO" | "ENOSPC" | "EMFILE" | "EACCES"): Effect => ({ kind: "fail", code });

/** Every kind but taking the lock: a lock that is said to be refused is not held. */
const DONE: readonly OperationKind[] = [
  "open",
  "create",
  "rename",
  "remove",
  "syncDirectory",
  "read",
  "write",
  "sync",
  "truncate",
  "close",
];

/** Ways to fail, by what the operation does; each strikes some kinds of operations, or all. */
export const FAULTS: Record<string, { kinds?: readonly OperationKind[]; effect: Effect }> = {
  "fails with EIO": { effect: fail("EIO") },
  "finds the disk full": {
    kinds: ["write", "create", "truncate", "rename"],
    effect: fail("ENOSPC"),
  },
  "finds too many open files": {
    kinds: ["open", "create", "list", "syncDirectory"],
    effect: fail("EMFILE"),
  },
  "is not permitted": { kinds: ["open", "create", "rename", "remove"], effect: fail("EACCES") },
  "writes one byte": { kinds: ["write"], effect: { kind: "shorten", code: "ENOSPC", bytes: 1 } },
  "writes 40 bytes": { kinds: ["write"], effect: { kind: "shorten", code: "EIO", bytes: 40 } },
  "is done, but said to have failed": { kinds: DONE, effect: { kind: "failAfter", code: "EIO" } },
};

export interface FaultReport {
  readonly violations: readonly string[];
  readonly runs: number;
}

/** A life for each operation that such a fault can strike. */
export async function faultRuns(name: string): Promise<FaultReport> {
  const violations: string[] = [];
  let hasStruck = true;
  let nth = 0;
  while (hasStruck) {
    nth++;
    try {
      hasStruck = await faultRun({ ...FAULTS[name], nth });
    } catch (error) {
      violations.push(`operation ${nth}: ${String(error)}`);
    }
  }
  return { violations, runs: nth };
}

/** Lives on disks that are full sooner or later. */
export async function diskFullRuns(): Promise<FaultReport> {
  const total = await diskFullRun(2 ** 30);
  const violations: string[] = [];
  let runs = 0;
  for (let freeBytes = 0; freeBytes < total; freeBytes += 1 + (freeBytes >> 4)) {
    runs++;
    try {
      await diskFullRun(freeBytes);
    } catch (error) {
      violations.push(`${freeBytes} bytes: ${String(error)}`);
    }
  }
  return { violations, runs };
}

/**
 * A life on a disk that is full after so many bytes, until there is room again. Throws unless the
 * database then goes on, without a reopen. Returns the bytes that were written in all.
 */
async function diskFullRun(freeBytes: number): Promise<number> {
  const disk = new CrashFileSystem();
  const faults = new FaultFileSystem(disk);
  const outcomes = new Outcomes(() => false);
  const database = await openTest(faults);
  faults.limitBytes(freeBytes);
  await work(database, outcomes);
  const { freeBytes: left } = faults;
  faults.heal();
  await outcomes.note(
    [{ key: "room", value: "again" }],
    "sync",
    database.put("room", "again", { durability: "sync" }),
  );
  await database.flush();
  await database.compact();
  outcomes.expect(contentOf(database), "os", "when there is room again");
  if (database.get("room") !== "again") throw new Violation("a write failed though there is room");
  await database.close();
  outcomes.expect(await reopen(faults), "os", "after a reopen");
  await checkFiles(faults);
  return freeBytes - left;
}

/** Returns whether the fault struck. */
async function faultRun(fault: Fault): Promise<boolean> {
  const disk = new CrashFileSystem();
  const faults = new FaultFileSystem(disk);
  faults.inject(fault);
  let database = await attemptOpen(faults);
  if (database === undefined) {
    faults.heal();
    database = await openTest(faults);
  }
  const opened = faults.struck.length;
  const outcomes = new Outcomes(() =>
    faults.struck.slice(opened).some(({ kind, path }) => kind === "sync" && path.endsWith(".wal")),
  );
  await work(database, outcomes);
  await settled(database.close());
  const hasStruck = faults.plannedFaults === 0;
  faults.heal();
  const seed = faults.operationCount();
  for (const state of [...disk.crashStates({ seed, count: 6 })].slice(2)) {
    outcomes.expect(await reopen(state), "sync", "after a power cut");
  }
  const content = await reopen(faults);
  outcomes.expect(content, "os", "after a reopen");
  await checkAfterwards(faults, content);
  await checkFiles(faults);
  return hasStruck;
}

/** An open that fails must leave a directory that the next one can open. */
async function attemptOpen(faults: FaultFileSystem): Promise<TestDatabase | undefined> {
  const opened = openTest(faults);
  return (await settled(opened)) === undefined ? opened : undefined;
}

async function reopen(fileSystem: CrashFileSystem | FaultFileSystem): Promise<Map<string, string>> {
  const database = await openTest(fileSystem);
  const content = contentOf(database);
  await database.verify();
  await database.close();
  return content;
}

/** Resolves to the error, which must be one of ours and no bug, or to undefined. */
async function settled(promise: Promise<unknown>): Promise<DatabaseError | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    if (isExpected(error)) return error;
    throw new Violation(`rejected with ${String(error)}`, { cause: error });
  }
}

function isExpected(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && error.code !== "MEMKV_ASSERTION";
}

function isPoison(error: DatabaseError): boolean {
  return error.code === "MEMKV_POISONED";
}

type Durability = "sync" | "os";

interface Outcome {
  readonly writes: readonly Write[];
  readonly durability: Durability;
  /** What became of it; undefined: not settled. */
  result: "done" | "failed" | "unknown" | undefined;
}

/** Writes in the order in which they were asked for, and what became of each. */
class Outcomes {
  readonly #outcomes: Outcome[] = [];
  readonly #hasSyncFailed: () => boolean;

  /** `hasSyncFailed`: whether a sync of the log has failed since the database was opened. */
  constructor(hasSyncFailed: () => boolean) {
    this.#hasSyncFailed = hasSyncFailed;
  }

  async note(
    writes: readonly Write[],
    durability: Durability,
    promise: Promise<void>,
  ): Promise<void> {
    const outcome: Outcome = { writes, durability, result: undefined };
    this.#outcomes.push(outcome);
    const isLate = this.#hasSyncFailed();
    const error = await settled(promise);
    if (error === undefined && isLate) {
      throw new Violation("a write was acknowledged after a sync of the log had failed");
    }
    if (error === undefined) outcome.result = "done";
    else if (error instanceof DatabaseError)
      outcome.result = isPoison(error) ? "unknown" : "failed";
    else throw new Violation(`a write rejected with ${String(error)}`, { cause: error });
  }

  /**
   * Throws unless the content is what acknowledged writes, and the first few of those whose outcome
   * is unknown, made of it. After a power cut that may be a prefix that has all synced ones.
   */
  expect(content: ReadonlyMap<string, string>, durability: Durability, when: string): void {
    const shown = fingerprintOf(content);
    const possible = this.#outcomes.filter(({ result }) => result !== "failed");
    const isNeeded = (outcome: Outcome): boolean =>
      outcome.result === "done" && (durability === "os" || outcome.durability === "sync");
    const least = possible.findLastIndex(isNeeded) + 1;
    const expected = new Map<string, string>();
    for (let count = 0; count <= possible.length; count++) {
      if (count >= least && fingerprintOf(expected) === shown) return;
      for (const { key, value } of possible.at(count)?.writes ?? []) {
        if (value === undefined) expected.delete(key);
        else expected.set(key, value);
      }
    }
    const results = this.#outcomes.map(({ result }) => result).join();
    throw new Violation(`${when} the database shows ${describe(content)} after ${results}`);
  }
}

function describe(content: ReadonlyMap<string, string>): string {
  return [...content].map(([key, value]) => `${key}=${value.slice(0, 8)}`).join(" ");
}

/** Some of everything; the same each time. */
async function work(database: TestDatabase, outcomes: Outcomes): Promise<void> {
  let version = 0;
  const value = (length = 8): string => `v${version++}`.padEnd(length, "+");
  const put = (key: string, durability: Durability, length?: number): Promise<void> => {
    const write = { key, value: value(length) };
    return outcomes.note([write], durability, database.put(key, write.value, { durability }));
  };
  const blocking = (key: string, durability: Durability, length?: number): Promise<void> => {
    const write = { key, value: value(length) };
    const run = async (): Promise<void> => database.putSync(key, write.value, { durability });
    return outcomes.note([write], durability, run());
  };
  const remove = (key: string, durability: Durability): Promise<void> => {
    const writes = [{ key, value: undefined }];
    return outcomes.note(writes, durability, database.delete(key, { durability }));
  };
  const batch = (keys: readonly string[], durability: Durability): Promise<void> => {
    const writes = keys.map((key) => ({ key, value: value() }));
    const operations = writes.map((write) => ({ type: "put" as const, ...write }));
    return outcomes.note(writes, durability, database.batch(operations, { durability }));
  };
  const check = (): void => outcomes.expect(contentDespiteFault(database), "os", "while it runs");

  await put("a", "sync");
  await Promise.all([put("b", "sync"), put("c", "os"), batch(["d", "e", "a"], "sync")]);
  check();
  await put("f", "os");
  await settled(database.flush());
  check();
  await Promise.all([remove("a", "sync"), put("b", "os", 3_000), batch(["g", "c"], "os")]);
  await settled(database.sync());
  const flushed = settled(database.flush());
  await put("h", "sync");
  await flushed;
  check();
  const compacted = settled(database.compact());
  await batch(["i", "b", "j"], "sync");
  await remove("d", "os");
  await compacted;
  check();
  await put("large", "sync", 20_000);
  await put("k", "os");
  check();
  await settled(database.flush());
  await put("l", "sync");
  await Promise.all([put("m", "os"), blocking("n", "os"), blocking("b", "sync")]);
  // Enough for a memtable to fill, and a log to be created, on this thread.
  for (let i = 0; i < 3; i++) await blocking(`o${i}`, "os", 60_000);
  check();
  // Enough for logs to be synced ahead, and for another to be begun beside the writes.
  for (let i = 0; i < 4; i++) {
    await put(`p${i}`, "os", 40_000);
    // Of a sync that nobody waits for, the failure is known in the next turn.
    await setImmediate();
  }
  await put("q", "sync");
  check();
}

/** Reading may meet the fault, once. */
function contentDespiteFault(database: TestDatabase): Map<string, string> {
  try {
    return contentOf(database);
  } catch (error) {
    if (!isExpected(error)) throw error;
    return contentOf(database);
  }
}

/** The database takes writes, flushes and compacts as if nothing had been. */
async function checkAfterwards(
  faults: FaultFileSystem,
  content: ReadonlyMap<string, string>,
): Promise<void> {
  const database = await openTest(faults);
  await database.put("afterwards", "1", { durability: "sync" });
  await database.flush();
  await database.put("afterwards", "2", { durability: "sync" });
  await database.compact();
  const expected = new Map(content).set("afterwards", "2");
  if (fingerprintOf(contentOf(database)) !== fingerprintOf(expected)) {
    throw new Violation("the database does not work after a reopen");
  }
  await database.close();
}
