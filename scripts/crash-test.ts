/**
 * The long run of test/crash: workloads, crashed at each of their operations on the disk, until so
 * many states were checked.
 *
 * `npm run crash-test -- [--seed S] [--states N] [--model strict|ordered]`. Without a model the seeds
 * take turns. Prints the states tried and each violation with the seed that shows it again; exits
 * with 1 if there was one.
 */
import { parseArgs } from "node:util";
import { loadChecksum } from "../src/bytes/checksum.ts";
import type { CrashModel } from "../src/testing/crash-file-system.ts";
import { crashRun, runOf } from "../test/crash/run.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    states: { type: "string", default: "100000" },
    model: { type: "string" },
  },
});
const MODELS: readonly CrashModel[] = ["strict", "ordered"];
const models = MODELS.filter((model) => values.model === undefined || values.model === model);
const firstSeed = Number(values.seed);
const stateCount = Number(values.states);
if (models.length === 0 || !Number.isInteger(firstSeed) || !(stateCount > 0)) {
  console.error("usage: crash-test [--seed S] [--states N] [--model strict|ordered]");
  process.exit(2);
}

/** Seconds between two reports. */
const REPORT_SECONDS = 10;

await loadChecksum();
const start = performance.now();
let reported = start;
let states = 0;
let moments = 0;
let violations = 0;
let seed = firstSeed;
for (; states < stateCount; seed++) {
  const model = models[seed % models.length];
  try {
    const report = await crashRun(runOf(seed, model));
    states += report.states;
    moments += report.moments;
  } catch (error) {
    violations++;
    console.error(`VIOLATION ${error instanceof Error ? error.message : String(error)}`);
  }
  if (performance.now() - reported > REPORT_SECONDS * 1000) {
    reported = performance.now();
    console.log(summary());
  }
  if (violations >= 10) break;
}
console.log(summary());
process.exitCode = violations === 0 ? 0 : 1;

function summary(): string {
  const seconds = (performance.now() - start) / 1000;
  return (
    `${states} states at ${moments} moments of ${seed - firstSeed} workloads ` +
    `(seeds ${firstSeed} to ${seed - 1}): ${violations} violations, ${seconds.toFixed(0)} s, ` +
    `${(states / seconds).toFixed(0)} states/s`
  );
}
