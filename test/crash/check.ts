/**
 * Opens what a crash left and checks it against the history.
 */
import { type Database, type OpenOptions, open } from "../../src/index.ts";
import type { FileSystem } from "../../src/io/file-system.ts";
import { readManifest } from "../../src/manifest/manifest.ts";
import type { CrashFileSystem, CrashPoint } from "../../src/testing/crash-file-system.ts";
import type { Random } from "../../src/testing/random.ts";
import { type Expectation, Fingerprint } from "./history.ts";

export const DIRECTORY = "store";

export type TestDatabase = Database<string, string>;

/**
 * Entries that expire do so at LATE. Workloads write them at EARLY, and at LATE they are as good as
 * deleted: that is when histories say what is there, and when what a crash left is read.
 */
export const EARLY = 1_000_000;
export const LATE = 2_000_000;

export interface TestClock {
  time: number;
}

/** Small limits, so that every path is taken within a few writes. */
export function openTest(
  fileSystem: FileSystem,
  clock: TestClock = { time: LATE },
  more: OpenOptions<string, string> = {},
): Promise<TestDatabase> {
  return open<string, string>(DIRECTORY, {
    fileSystem,
    now: () => clock.time,
    valueEncoding: "utf8",
    // Logs of databases that sync each write take much space ahead, which costs time in memory.
    durability: "os",
    memtableBytes: 2 ** 17,
    segmentBytes: 2 ** 16,
    largeValueBytes: 300,
    blockCacheBytes: 2 ** 16,
    compactionTrigger: 2,
    // So that merges leave older runs out, where a tombstone must stay.
    maxSizeAmplificationPercent: 1000,
    maxMergeWidth: 2,
    compression: "none",
    ...more,
  });
}

/** Contents as `entries` shows them, in order. */
export function contentOf(database: TestDatabase): Map<string, string> {
  return new Map(database.entries());
}

export function fingerprintOf(content: ReadonlyMap<string, string>): string {
  const fingerprint = new Fingerprint();
  for (const [key, value] of content) fingerprint.add(key, value);
  return fingerprint.toString();
}

/** A state that breaks the promise. */
export class Violation extends Error {}

/**
 * The number of writes that the content shows. Throws Violation unless it is one from `least` to all
 * that were submitted.
 */
export function writesShown(
  content: ReadonlyMap<string, string>,
  { fingerprints, submitted }: Expectation,
  least: number,
): number {
  const fingerprint = fingerprintOf(content);
  // The greatest number: writes without an effect count as survived.
  for (let count = submitted; count >= least; count--) {
    if (fingerprints[count] === fingerprint) return count;
  }
  const earlier = fingerprints.slice(0, least).lastIndexOf(fingerprint);
  throw new Violation(
    earlier >= 0
      ? `${earlier} writes survived, but ${least} were acknowledged as durable`
      : `what survived is no prefix of history (${least} to ${submitted} writes): ` +
          JSON.stringify([...content].map(([key, value]) => [key, value.slice(0, 12)])),
  );
}

export interface CheckOptions {
  readonly expectation: Expectation;
  /** The fewest writes that must be there. */
  readonly least: number;
  readonly random: Random;
  /** Whether to crash the recovery too, and to look closely. */
  readonly isThorough: boolean;
}

/** Checks one disk; returns how many states that took, counting crashes of its recovery. */
export async function checkState(disk: CrashFileSystem, options: CheckOptions): Promise<number> {
  const { expectation, least, random } = options;
  const database = await openTest(disk);
  const content = contentOf(database);
  const shown = writesShown(content, expectation, least);
  if (!options.isThorough) {
    await database.close();
    return 1;
  }
  await checkReads(database, content);
  await database.verify();
  await database.put("after", "recovery", { durability: "sync" });
  // A crash from here on loses nothing of what was shown, nor what was written since.
  const point = disk.crashPoint();
  if (random.oneIn(2)) await database.flush();
  await database.close();
  await checkFiles(disk);
  content.set("after", "recovery");
  let states = 1;
  for (const state of [...point.states({ seed: random.next(), count: 3 })]) {
    await checkSame(state, content, `${shown} writes were shown, and one more was made`);
    states++;
  }
  await checkSame(disk, content, "the second open");
  return states;
}

/** Checks crashes of the recovery of a disk, at some of its operations. */
export async function checkRecovery(
  boot: (onOperation: () => void) => CrashFileSystem,
  { expectation, least, random }: CheckOptions,
): Promise<number> {
  const points: CrashPoint[] = [];
  const disk = boot(() => points.push(disk.crashPoint()));
  const database = await openTest(disk);
  const shown = writesShown(contentOf(database), expectation, least);
  await database.close();
  points.push(disk.crashPoint());
  let states = 0;
  for (let i = 0; i < 3; i++) {
    const isDone = i === 0;
    const point = isDone ? points[points.length - 1] : points[random.below(points.length)];
    for (const state of point.states({ seed: random.next(), count: 3 })) {
      const again = await openTest(state);
      // What a finished open has shown must not be lost by a crash after it.
      writesShown(contentOf(again), expectation, isDone ? shown : least);
      await again.close();
      states++;
    }
  }
  return states;
}

async function checkSame(
  disk: CrashFileSystem,
  expected: ReadonlyMap<string, string>,
  when: string,
): Promise<void> {
  const database = await openTest(disk);
  const fingerprint = fingerprintOf(contentOf(database));
  await database.close();
  if (fingerprint !== fingerprintOf(expected)) throw new Violation(`contents changed: ${when}`);
}

/** Every way to read gives the same. */
async function checkReads(
  database: TestDatabase,
  content: ReadonlyMap<string, string>,
): Promise<void> {
  for (const [key, value] of content) {
    if (database.get(key) !== value) throw new Violation(`get(${key}) differs from entries`);
  }
  if (database.get("never written") !== undefined) throw new Violation("get of an absent key");
  if (database.count() !== content.size) throw new Violation("count differs from entries");
  const backwards = [...database.keys({ reverse: true })];
  if (backwards.reverse().join() !== [...content.keys()].join()) {
    throw new Violation("reverse differs from entries");
  }
}

/** A database that was closed leaves nothing behind that the manifest does not name. */
export async function checkFiles(disk: FileSystem): Promise<void> {
  const manifest = await readManifest(disk, DIRECTORY);
  if (manifest === undefined) throw new Violation("no manifest after open");
  const { runs, valueLogs } = manifest.version;
  const live = new Set(runs.flat().map((meta) => meta.fileNumber));
  const liveLogs = new Set(valueLogs.map((meta) => meta.fileNumber));
  for (const name of await disk.list(DIRECTORY)) {
    const number = Number.parseInt(name, 10);
    const isNamed =
      name === "MANIFEST" ||
      (name.endsWith(".seg") && live.delete(number)) ||
      (name.endsWith(".vlog") && liveLogs.delete(number)) ||
      (name.endsWith(".wal") && number >= manifest.oldestWal);
    if (!isNamed) throw new Violation(`${name} was left behind`);
  }
  if (live.size > 0) throw new Violation(`segments ${[...live].join()} are missing`);
  if (liveLogs.size > 0) throw new Violation(`value logs ${[...liveLogs].join()} are missing`);
}
