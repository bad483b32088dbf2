/**
 * The long run of test/crash: workloads, crashed at each of their operations on the disk, until so
 * many states were checked.
 *
 * `npm run crash-test -- [--seed S] [--states N] [--model strict|ordered] [--jobs J]`. Without a model
 * the seeds take turns. Each job is a process, and takes one seed after the other. Prints the states
 * tried and each violation with the seed that shows it again; exits with 1 if there was one.
 */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { CrashModel } from "../src/testing/crash-file-system.ts";
import type { CrashResult, CrashTask } from "./crash-child.ts";

const USAGE = "usage: crash-test [--seed S] [--states N] [--model strict|ordered] [--jobs J]";

const values = parse();
const MODELS: readonly CrashModel[] = ["strict", "ordered"];
const models = MODELS.filter((model) => values.model === undefined || values.model === model);
const firstSeed = Number(values.seed);
const stateCount = Number(values.states);
const jobCount = Number(values.jobs);
const areNumbers = [firstSeed, stateCount, jobCount].every(Number.isInteger);
if (models.length === 0 || !areNumbers || stateCount < 1 || jobCount < 1) {
  console.error(USAGE);
  process.exit(2);
}

/** Seconds between two reports. */
const REPORT_SECONDS = 10;
/** A run that finds so many is ended. */
const MAX_VIOLATIONS = 10;

const start = performance.now();
let reported = start;
let states = 0;
let moments = 0;
let workloads = 0;
let violations = 0;
let nextSeed = firstSeed;

await Promise.all(Array.from({ length: jobCount }, runJob));
console.log(summary());
process.exitCode = violations === 0 ? 0 : 1;

function parse() {
  try {
    return parseArgs({
      options: {
        seed: { type: "string", default: "1" },
        states: { type: "string", default: "100000" },
        model: { type: "string" },
        jobs: { type: "string", default: "1" },
      },
    }).values;
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

/** Hands out seeds to a process until enough states were checked. */
async function runJob(): Promise<void> {
  const child = fork(join(import.meta.dirname, "crash-child.ts"));
  while (states < stateCount && violations < MAX_VIOLATIONS) {
    const seed = nextSeed++;
    take(await runIn(child, { seed, model: models[seed % models.length] }));
  }
  child.disconnect();
}

function runIn(child: ChildProcess, task: CrashTask): Promise<CrashResult> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null): void => {
      reject(new Error(`the process of seed ${task.seed} ended with exit code ${code}`));
    };
    child.once("exit", died);
    child.once("message", (result: CrashResult) => {
      child.off("exit", died);
      resolve(result);
    });
    child.send(task);
  });
}

function take(result: CrashResult): void {
  workloads++;
  states += result.states;
  moments += result.moments;
  if (result.violation !== undefined) {
    violations++;
    console.error(`VIOLATION ${result.violation}`);
  }
  if (performance.now() - reported < REPORT_SECONDS * 1000) return;
  reported = performance.now();
  console.log(summary());
}

function summary(): string {
  const seconds = (performance.now() - start) / 1000;
  return (
    `${states} states at ${moments} moments of ${workloads} workloads ` +
    `(seeds ${firstSeed} to ${nextSeed - 1}): ${violations} violations, ${seconds.toFixed(0)} s, ` +
    `${(states / seconds).toFixed(0)} states/s`
  );
}
