/**
 * One run of one workload on one store, in a process of its own: no store's garbage, compiled code or
 * cache is another's. The parent says what to run and gets one message back.
 */
import { readPairs } from "./data.ts";
import { type MeasuredProfile, startProfiling, takeProfiles } from "./profile.ts";
import { loadStore, type StoreName } from "./store.ts";
import { load, loadAndDie, opener, storeOptions, WORKLOADS } from "./workloads.ts";

export interface Task {
  readonly store: StoreName;
  /** Name of a workload, or the making of what workloads start from. */
  readonly workload: string;
  readonly directory: string;
  readonly pairsFile: string;
  /** Whether what is measured is profiled. */
  readonly isProfiled: boolean;
}

/** What a workload measured, and the profiles of that if they were asked for. */
export interface Measured {
  readonly numbers: readonly number[];
  readonly profiles: readonly MeasuredProfile[];
}

export type Outcome = Measured | { readonly error: string };

const NOTHING: Measured = { numbers: [], profiles: [] };

async function run(task: Task): Promise<Measured> {
  const pairs = readPairs(task.pairsFile);
  const module = await loadStore(task.store);
  const { directory } = task;
  const context = { pairs, directory, open: opener(module, storeOptions(pairs, directory)) };
  if (task.workload === "load") {
    await load(context);
    return NOTHING;
  }
  if (task.workload === "load and die") {
    await loadAndDie(context);
    return NOTHING;
  }
  const workload = WORKLOADS.find(({ name }) => name === task.workload);
  if (workload === undefined) throw new Error(`no workload ${task.workload}`);
  if (task.isProfiled) startProfiling();
  const numbers = await workload.run(context);
  const rows = workload.rows.map(({ name }) => name);
  return { numbers, profiles: takeProfiles(workload.name, rows) };
}

let outcome: Outcome;
try {
  outcome = await run(JSON.parse(process.argv[2]) as Task);
} catch (error) {
  outcome = { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
// Whatever a store left running ends here.
process.send?.(outcome, undefined, {}, () => process.exit(0));
