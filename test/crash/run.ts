/**
 * Runs workloads and checks what a crash at each of their moments may leave. The tests and the long
 * run (scripts/crash-test.ts) share it.
 */
import type { CrashModel } from "../../src/testing/crash-file-system.ts";
import { Random } from "../../src/testing/random.ts";
import { type CheckOptions, checkRecovery, checkState, Violation } from "./check.ts";
import { type Moment, runWorkload } from "./workload.ts";

export interface CrashRun {
  readonly seed: number;
  readonly model: CrashModel;
  readonly lives: number;
  readonly stepsPerLife: number;
  /** Disks to try for each moment, at least 2. */
  readonly statesPerMoment: number;
}

export interface CrashReport {
  readonly moments: number;
  readonly states: number;
}

/** One in so many states is looked at closely, and one in so many has its recovery crashed. */
const THOROUGH_ONE_IN = 8;

/** The workload of a seed: its shape varies with it, so that long and short lives are tried. */
export function runOf(seed: number, model: CrashModel): CrashRun {
  const shapes = [
    { lives: 5, stepsPerLife: 25 },
    { lives: 3, stepsPerLife: 40 },
    { lives: 10, stepsPerLife: 10 },
  ];
  return { seed, model, ...shapes[seed % shapes.length], statesPerMoment: 3 };
}

/** Runs workloads from `seed` on until `states` states were checked. Throws at the first Violation. */
export async function crashRuns(
  model: CrashModel,
  { seed, states }: { readonly seed: number; readonly states: number },
): Promise<CrashReport> {
  const total = { moments: 0, states: 0 };
  for (let next = seed; total.states < states; next++) {
    const report = await crashRun(runOf(next, model));
    total.moments += report.moments;
    total.states += report.states;
  }
  return total;
}

/** Throws Violation, saying how to see it again. */
export async function crashRun(run: CrashRun): Promise<CrashReport> {
  const random = new Random(run.seed ^ 0x5bd1e995);
  let states = 0;
  let moments: Moment[] = [];
  let at = "the workload";
  try {
    moments = await runWorkload(run);
    for (const [index, moment] of moments.entries()) {
      at = `moment ${index}, before ${moment.operation}`;
      states += await checkMoment(moment, run, random);
    }
  } catch (error) {
    throw new Violation(`--seed ${run.seed} --model ${run.model}, at ${at}: ${String(error)}`, {
      cause: error,
    });
  }
  return { moments: moments.length, states };
}

async function checkMoment(moment: Moment, run: CrashRun, random: Random): Promise<number> {
  const { point, expectation } = moment;
  const seed = random.next();
  let states = 0;
  let index = 0;
  for (const disk of point.states({ seed, count: run.statesPerMoment })) {
    const isProcessCrash = index === 1;
    const options: CheckOptions = {
      expectation,
      least: isProcessCrash ? expectation.acknowledged : expectation.durable,
      random,
      isThorough: random.oneIn(THOROUGH_ONE_IN),
    };
    if (random.oneIn(THOROUGH_ONE_IN)) {
      const place = index;
      states += await checkRecovery((onOperation) => {
        const all = [...point.states({ seed, count: run.statesPerMoment, onOperation })];
        return all[place];
      }, options);
    }
    states += await checkState(disk, options);
    index++;
  }
  return states;
}
