/**
 * Damage to the files of a database: the right data or an error that says so, nothing else.
 *
 * The database has several runs and a log that was not flushed. Files are flipped, cut, zeroed,
 * overwritten, extended, deleted, swapped, copied over each other, and replaced by older versions of
 * themselves and by those of another database. Of a database that was closed nothing may be missing
 * without an error. Of one whose process was killed a tail of the newest log may be: nothing on disk
 * tells it from what a crash may lose. Its last record says that everything before it was synced, so
 * while that one is whole, damage before it must show.
 */
import { setImmediate } from "node:timers/promises";
import { DatabaseError } from "../../src/errors.ts";
import { joinPath } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { Random } from "../../src/testing/random.ts";
import { contentOf, DIRECTORY, EARLY, LATE, openTest, Violation, writesShown } from "./check.ts";
import { filesOf } from "./files.ts";
import { type Expectation, History } from "./history.ts";

type Files = Map<string, Uint8Array>;

interface Built {
  /** Whether the database was closed, and not left as if its process had been killed. */
  readonly isClosed: boolean;
  /** The files of the database, and as they were at earlier moments. */
  readonly files: Files;
  readonly earlier: readonly Files[];
  readonly expectation: Expectation;
  /** Writes that are in runs or in older logs: they may not be missing. */
  readonly firmCount: number;
  /** The newest log, and where its last record begins. */
  readonly newestLog: string;
  readonly lastRecord: number;
}

/** Two runs with tombstones, entries that expire and large values, their value logs, an older log and a newest log. */
async function build(seed: number, isClosed: boolean): Promise<Built> {
  const random = new Random(seed);
  const fileSystem = new MemoryFileSystem();
  const history = new History();
  const earlier: Files[] = [];
  const clock = { time: EARLY };
  let database = await openTest(fileSystem, clock);
  const write = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const key = `key ${random.below(60)}`;
      const length = random.oneIn(6) ? 5_000 : 20 + random.below(100);
      const value = random.oneIn(5) ? undefined : `${history.length}`.padEnd(length, "value ");
      const ttl = random.oneIn(6) ? LATE - EARLY : undefined;
      history.submit([{ key, value: ttl === undefined ? value : undefined }]);
      const options = { durability: random.oneIn(2) ? "sync" : "os" } as const;
      if (value === undefined) await database.delete(key, options);
      else await database.put(key, value, { ...options, ttl });
    }
    earlier.push(await filesOf(fileSystem, DIRECTORY));
  };
  await write(50);
  await database.flush();
  await write(30);
  await database.flush();
  await write(20);
  await database.close();
  database = await openTest(fileSystem, clock);
  const firmCount = history.length;
  await write(15);
  await database.sync();
  const newestLog = [...(await filesOf(fileSystem, DIRECTORY)).keys()].reduce((newest, name) =>
    name.endsWith(".wal") && (name > newest || !newest.endsWith(".wal")) ? name : newest,
  );
  const lastRecord = (await fileSystem.stat(joinPath(DIRECTORY, newestLog)))?.size ?? 0;
  await write(1);
  if (isClosed) await database.close();
  const files = await filesOf(fileSystem, DIRECTORY);
  if (!isClosed) await database.close();
  const expectation = history.expectation();
  return { isClosed, files, earlier, expectation, firmCount, newestLog, lastRecord };
}

/** The fewest writes that the files may show without an error. */
function leastShown(files: Files, own: Built): number {
  if (own.isClosed) return own.expectation.submitted;
  const before = own.files.get(own.newestLog) ?? new Uint8Array();
  const after = files.get(own.newestLog) ?? new Uint8Array();
  const isLastWhole =
    after.length >= before.length &&
    before.subarray(own.lastRecord).every((byte, i) => after[own.lastRecord + i] === byte);
  return isLastWhole ? own.expectation.submitted : own.firmCount;
}

/** Changes one thing; returns what, for messages. */
type Mutation = (files: Files, random: Random, other: Built, own: Built) => string;

function anyName(files: Files, random: Random): string {
  return [...files.keys()][random.below(files.size)];
}

/** A file, a copy of its bytes to change, and a place in it. */
function anyPlace(files: Files, random: Random): [string, Uint8Array<ArrayBuffer>, number] {
  const name = anyName(files, random);
  const bytes = Uint8Array.from(files.get(name) ?? []);
  files.set(name, bytes);
  return [name, bytes, random.below(bytes.length)];
}

const MUTATIONS: Record<string, Mutation> = {
  flip: (files, random) => {
    const [name, bytes, at] = anyPlace(files, random);
    bytes[at] ^= 1 << random.below(8);
    return `${name} at ${at}`;
  },
  overwrite: (files, random) => {
    const [name, bytes, at] = anyPlace(files, random);
    const end = Math.min(bytes.length, at + 1 + random.below(64));
    for (let pos = at; pos < end; pos++) bytes[pos] = random.next();
    return `${name} from ${at} to ${end}`;
  },
  zero: (files, random) => {
    const [name, bytes, at] = anyPlace(files, random);
    const start = random.oneIn(2) ? at : at - (at % 512);
    const end = Math.min(bytes.length, start + 512);
    bytes.fill(0, start, end);
    return `${name} from ${start} to ${end}`;
  },
  cut: (files, random) => {
    const [name, bytes, at] = anyPlace(files, random);
    files.set(name, bytes.subarray(0, at));
    return `${name} at ${at}`;
  },
  extend: (files, random) => {
    const [name, bytes] = anyPlace(files, random);
    const extended = new Uint8Array(bytes.length + 1 + random.below(100));
    extended.set(bytes);
    if (random.oneIn(2))
      for (let i = bytes.length; i < extended.length; i++) extended[i] = random.next();
    files.set(name, extended);
    return name;
  },
  remove: (files, random) => {
    const name = anyName(files, random);
    files.delete(name);
    return name;
  },
  swap: (files, random) => {
    const [a, b] = [anyName(files, random), anyName(files, random)];
    const [bytesOfA, bytesOfB] = [files.get(a), files.get(b)];
    if (bytesOfA !== undefined && bytesOfB !== undefined) files.set(a, bytesOfB).set(b, bytesOfA);
    return `${a} and ${b}`;
  },
  copyOver: (files, random) => {
    const [from, to] = [anyName(files, random), anyName(files, random)];
    files.set(to, files.get(from) ?? new Uint8Array());
    return `${from} over ${to}`;
  },
  duplicate: (files, random) => {
    const from = anyName(files, random);
    const extension = ["seg", "vlog", "wal"][random.below(3)];
    const to = `${String(random.below(30)).padStart(6, "0")}.${extension}`;
    files.set(to, files.get(from) ?? new Uint8Array());
    return `${from} as ${to}`;
  },
  stale: (files, random, _, own) => {
    const earlier = own.earlier[random.below(own.earlier.length)];
    const name = anyName(earlier, random);
    files.set(name, earlier.get(name) ?? new Uint8Array());
    return name;
  },
  foreign: (files, random, other) => {
    const name = anyName(other.files, random);
    files.set(name, other.files.get(name) ?? new Uint8Array());
    return name;
  },
  move: (files, random) => {
    const [name, bytes, at] = anyPlace(files, random);
    const from = random.below(bytes.length);
    bytes.copyWithin(at, from, from + 1 + random.below(600));
    return `${name} from ${from} to ${at}`;
  },
};

/** Throws Violation unless the files give the right data, or an error that says that they do not. */
async function check(files: Files, own: Built): Promise<"right" | "error"> {
  const paths = new Map([...files].map(([name, bytes]) => [joinPath(DIRECTORY, name), bytes]));
  const fileSystem = new MemoryFileSystem({ files: paths, directories: [] });
  try {
    const database = await openTest(fileSystem);
    try {
      const content = contentOf(database);
      writesShown(content, own.expectation, leastShown(files, own));
      for (const [key, value] of content) {
        if (database.get(key) !== value) throw new Violation(`get(${key}) differs from entries`);
      }
      return "right";
    } finally {
      await database.close();
    }
  } catch (error) {
    const isTyped = error instanceof DatabaseError && error.code !== "MEMKV_ASSERTION";
    if (!isTyped || error.code === "MEMKV_POISONED") throw error;
    return "error";
  }
}

export interface DamageReport {
  readonly violations: readonly string[];
  /** Mutations that were answered with an error. */
  readonly errors: number;
  /** By how much the process grew: no damaged length may make memkv allocate what it says. */
  readonly grownBytes: number;
}

/** Checks so many mutations, each of a whole database. Stops after 20 violations. */
export async function damageRun(mutations: number, seed: number): Promise<DamageReport> {
  const random = new Random(seed);
  const victims = [await build(random.next(), true), await build(random.next(), false)];
  const other = await build(random.next(), true);
  for (const own of victims) {
    const names = [...own.files.keys()];
    if (!names.some((name) => name.endsWith(".seg")) || (await check(own.files, own)) !== "right") {
      throw new Error("the database to be damaged is not as it should be");
    }
  }
  const kinds = Object.keys(MUTATIONS);
  const violations: string[] = [];
  let errors = 0;
  const before = process.memoryUsage.rss();
  for (let i = 0; i < mutations && violations.length < 20; i++) {
    // Half of them flip a bit, which has the most places to do harm.
    const kind = random.oneIn(2) ? "flip" : kinds[random.below(kinds.length)];
    const own = victims[i % victims.length];
    const files = new Map(own.files);
    const what = MUTATIONS[kind](files, random, other, own);
    // In memory all is done at once, and what a database let go of is kept until the loop has its turn.
    await setImmediate();
    try {
      if ((await check(files, own)) === "error") errors++;
    } catch (error) {
      const state = own.isClosed ? "closed" : "killed";
      violations.push(`seed ${seed}, ${state}, ${kind} ${what}: ${String(error)}`);
    }
  }
  return { violations, errors, grownBytes: process.memoryUsage.rss() - before };
}
