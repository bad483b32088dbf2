/**
 * kill -9 of a real process on the real file system, over and over on one directory.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { type Durability, open } from "../../src/index.ts";
import { Random } from "../../src/testing/random.ts";
import { fingerprintOf, Violation } from "./check.ts";
import { applyTo, KILL_OPTIONS, LAST, writeNumber } from "./kill-data.ts";

export interface KillReport {
  readonly kills: number;
  /** Writes that were acknowledged by processes that were then killed. */
  readonly acknowledged: number;
}

/** At most so many acknowledgements are waited for before the process is killed. */
const MAX_ACKNOWLEDGED: Record<Durability, number> = { sync: 300, os: 1_500 };

/** Throws Violation if an acknowledged write is missing, or one is there in part. */
export async function killRun(
  kills: number,
  seed: number,
  durability: Durability,
): Promise<KillReport> {
  const scratch = await mkdtemp(join(tmpdir(), "memkv-kill-"));
  const directory = join(scratch, "store");
  try {
    const script = await bundle(scratch);
    const random = new Random(seed);
    const survivors = new Survivors(directory);
    let acknowledged = 0;
    for (let i = 0; i < kills; i++) {
      const until = random.oneIn(5) ? 0 : random.below(MAX_ACKNOWLEDGED[durability]);
      const before = survivors.newest;
      const args = [script, directory, `${before + 1}`, durability];
      const promised = await killAfter(args, until);
      acknowledged += Math.max(0, promised - before);
      await survivors.check(Math.max(before, promised));
    }
    return { kills, acknowledged };
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** JavaScript of the writer and of memkv's background thread, so that a process starts at once. */
async function bundle(scratch: string): Promise<string> {
  const root = join(import.meta.dirname, "../..");
  await build({
    entryPoints: {
      writer: join(root, "test/crash/kill-writer.ts"),
      worker: join(root, "src/jobs/worker.ts"),
    },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    // Packages that are not modules ask for Node's own with `require`.
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    outdir: scratch,
    logLevel: "error",
  });
  await writeFile(join(scratch, "package.json"), '{"type":"module"}');
  return join(scratch, "writer.js");
}

/** Starts a writer, kills it after so many acknowledgements, and returns the newest it was given. */
async function killAfter(args: readonly string[], count: number): Promise<number> {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const ended = once(child.stdout, "end");
  let output = "";
  let lines = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    const text = chunk.toString();
    output += text;
    lines += text.split("\n").length - 1;
    // The first line says that the database is open.
    if (lines > count) child.kill("SIGKILL");
  });
  const [code, signal] = await exited;
  if (signal !== "SIGKILL") throw new Violation(`the writer ended by itself, with code ${code}`);
  await ended;
  const numbers = output.split("\n").slice(1, -1).map(Number);
  return Math.max(0, ...numbers);
}

/** The writes that are in the store, which is opened after each kill. */
class Survivors {
  newest = 0;
  readonly #directory: string;
  readonly #content = new Map<string, string>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Throws Violation unless the store has all writes up to some number, `promised` or later. */
  async check(promised: number): Promise<void> {
    const options = { ...KILL_OPTIONS, background: "inline" } as const;
    const database = await open<string, string>(this.#directory, options);
    const content = new Map(database.entries());
    const newest = Number(content.get(LAST) ?? 0);
    if (newest < promised) {
      throw new Violation(`${newest} writes are there, but ${promised} were acknowledged`);
    }
    while (this.newest < newest) applyTo(this.#content, writeNumber(++this.newest));
    if (fingerprintOf(content) !== fingerprintOf(this.#content)) {
      throw new Violation(`the content is not that of ${newest} writes`);
    }
    await database.verify();
    await database.close();
    const leftovers = (await readdir(this.#directory)).filter(
      (name) => !/^(MANIFEST|\d+\.(wal|seg|vlog))$/.test(name),
    );
    if (leftovers.length > 0) throw new Violation(`${leftovers.join()} was left behind`);
  }
}
