/**
 * memkv against other stores for Node: `npm run bench -- compare`.
 *
 *   npm install --prefix bench/compare          once: the other stores
 *   npm run bench -- compare [--only row,row] [--stores memkv,lmdb] [--pairs 200000] [--rounds 3]
 *                            [--data pairs.tsv] [--directory /tmp] [--out bench/compare/results]
 *                            [--profile]
 *
 * Every workload of every round runs on every store in turn, in an order that rotates, each in a
 * process of its own (compare/child.ts); so whatever else the machine does hits all alike, and the
 * ratio of medians to the best other store is what counts. Results are written to `--out` as
 * results.json, into which later runs with as many pairs put their rows, and results.md;
 * `npm run bench -- charts` draws them.
 *
 * With `--profile` memkv alone runs, once, and what is written is profiles.md: where the thread that
 * calls it spends its time in each row (compare/profile.ts).
 */
import { execFileSync, fork } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Outcome, Task } from "./compare/child.ts";
import { formatPairs, makePairs } from "./compare/data.ts";
import { formatProfiles, type MeasuredProfile } from "./compare/profile.ts";
import { formatTable, Results } from "./compare/results.ts";
import { loadStore, STORE_NAMES, type StoreName } from "./compare/store.ts";
import { type Start, WORKLOADS, type Workload } from "./compare/workloads.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const child = fileURLToPath(new URL("compare/child.ts", import.meta.url));
/** A store that takes longer than this for one run is left out of the row. */
const LONGEST_RUN_MS = 300_000;

const { values: flags } = parseArgs({
  options: {
    only: { type: "string" },
    stores: { type: "string", default: STORE_NAMES.join() },
    pairs: { type: "string", default: "200000" },
    rounds: { type: "string", default: "3" },
    data: { type: "string" },
    directory: { type: "string", default: tmpdir() },
    out: { type: "string", default: join(root, "bench/compare/results") },
    profile: { type: "boolean", default: false },
  },
});

const pairCount = Number(flags.pairs);
const rounds = Number(flags.rounds);
const workloads = chooseWorkloads(flags.only);
execFileSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: "inherit" });
const stores = await chooseStores(flags.profile ? ["memkv"] : flags.stores.split(","));

const directory = mkdtempSync(join(flags.directory, "memkv-compare-"));
const pairsFile = join(directory, "pairs.tsv");
try {
  writeFileSync(pairsFile, formatPairs(makePairs(pairCount, flags.data)));
  mkdirSync(flags.out, { recursive: true });
  await prepare(workloads, stores);
  if (flags.profile) await profile();
  else await compare();
} finally {
  rmSync(directory, { recursive: true, force: true });
}

async function compare(): Promise<void> {
  const results = new Results(flags.out, pairCount, flags.data === undefined ? "made up" : "real");
  for (let round = 0; round < rounds; round++) {
    for (const [i, workload] of workloads.entries()) {
      for (let turn = 0; turn < stores.length; turn++) {
        const store = stores[(turn + round + i) % stores.length];
        const outcome = await measure(store, workload);
        if ("error" in outcome) {
          console.error(`${store}, ${workload.name}: ${outcome.error}`);
          continue;
        }
        for (const [k, row] of workload.rows.entries()) {
          results.add(row, store, round, outcome.numbers[k]);
        }
      }
      // A run of hours that is cut short keeps what it has measured.
      results.save();
      console.error(
        `round ${round + 1} of ${rounds}: ${i + 1} of ${workloads.length} workloads (${workload.name})`,
      );
    }
  }
  const ran = workloads.flatMap(({ rows }) => rows.map(({ name }) => name));
  console.log(formatTable(results.rows.filter(({ name }) => ran.includes(name))));
}

async function profile(): Promise<void> {
  const profiles: MeasuredProfile[] = [];
  for (const workload of workloads) {
    const outcome = await measure("memkv", workload);
    if ("error" in outcome) throw new Error(`${workload.name}: ${outcome.error}`);
    profiles.push(...outcome.profiles);
  }
  const table = formatProfiles(profiles);
  writeFileSync(join(flags.out, "profiles.md"), `${table}\n`);
  console.log(table);
}

function chooseWorkloads(only: string | undefined): readonly Workload[] {
  if (only === undefined) return WORKLOADS;
  return only.split(",").flatMap((wanted) => {
    const found = WORKLOADS.filter(({ name }) => name === wanted || name.startsWith(`${wanted}-`));
    if (found.length > 0) return found;
    const names = WORKLOADS.map(({ name }) => name).join(", ");
    throw new Error(`no workload ${wanted}; there are ${names}`);
  });
}

/** The stores asked for that can be loaded; says which cannot. */
async function chooseStores(names: readonly string[]): Promise<StoreName[]> {
  const chosen: StoreName[] = [];
  for (const name of names) {
    const known = STORE_NAMES.find((store) => store === name);
    if (known === undefined) {
      throw new Error(`no store ${name}; there are ${STORE_NAMES.join(", ")}`);
    }
    try {
      await loadStore(known);
      chosen.push(known);
    } catch (error) {
      const reason = error instanceof Error ? error.message.split("\n").at(0) : error;
      console.error(`left out: ${known} cannot be loaded (${reason})`);
      console.error("          to install it: npm install --prefix bench/compare");
    }
  }
  return chosen;
}

/** Makes the loaded and killed stores that the workloads start from. */
async function prepare(chosen: readonly Workload[], stores: readonly StoreName[]): Promise<void> {
  const starts = new Set<Start>(chosen.map(({ start }) => start));
  for (const store of stores) {
    if (starts.has("loaded") || starts.has("copy of loaded")) {
      await make(store, "load", preparedDirectory(store, "loaded"));
    }
    if (starts.has("copy of killed")) {
      await make(store, "load and die", preparedDirectory(store, "killed"));
    }
  }
}

async function make(store: StoreName, workload: string, path: string): Promise<void> {
  mkdirSync(path, { recursive: true });
  const outcome = await runChild({
    store,
    workload,
    directory: path,
    pairsFile,
    isProfiled: false,
  });
  if ("error" in outcome && workload === "load") throw new Error(`${store}: ${outcome.error}`);
}

function preparedDirectory(store: StoreName, state: string): string {
  return join(directory, `${store}-${state}`);
}

async function measure(store: StoreName, workload: Workload): Promise<Outcome> {
  if (workload.start === "loaded") {
    return runOn(store, workload, preparedDirectory(store, "loaded"));
  }
  const own = join(directory, `${store}-run`);
  rmSync(own, { recursive: true, force: true });
  if (workload.start === "empty") mkdirSync(own);
  else {
    const state = workload.start === "copy of loaded" ? "loaded" : "killed";
    cpSync(preparedDirectory(store, state), own, { recursive: true });
  }
  const outcome = await runOn(store, workload, own);
  rmSync(own, { recursive: true, force: true });
  return outcome;
}

function runOn(store: StoreName, workload: Workload, path: string): Promise<Outcome> {
  const isProfiled = flags.profile;
  return runChild({ store, workload: workload.name, directory: path, pairsFile, isProfiled });
}

function runChild(task: Task): Promise<Outcome> {
  return new Promise((resolve) => {
    const running = fork(child, [JSON.stringify(task)], {
      cwd: root,
      execArgv: ["--import", "tsx", "--max-old-space-size=8192"],
      timeout: LONGEST_RUN_MS,
    });
    let outcome: Outcome = { error: "the process ended without an answer" };
    running.on("message", (message) => {
      outcome = message as Outcome;
    });
    running.on("error", (error) => resolve({ error: error.message }));
    running.on("exit", () => resolve(outcome));
  });
}
