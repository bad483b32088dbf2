/** A process of scripts/crash-test.ts: runs the workloads whose seeds it is sent, one after the other. */
import { loadChecksum } from "../src/bytes/checksum.ts";
import type { CrashModel } from "../src/testing/crash-file-system.ts";
import { crashRun, runOf } from "../test/crash/run.ts";

export interface CrashTask {
  readonly seed: number;
  readonly model: CrashModel;
}

export interface CrashResult {
  readonly states: number;
  readonly moments: number;
  /** What was wrong, with the seed that shows it again; undefined if nothing was. */
  readonly violation: string | undefined;
}

await loadChecksum();
process.on("message", (task: CrashTask) => {
  // `run` never rejects.
  void run(task).then((result) => process.send?.(result));
});

async function run({ seed, model }: CrashTask): Promise<CrashResult> {
  try {
    return { ...(await crashRun(runOf(seed, model))), violation: undefined };
  } catch (error) {
    const violation = error instanceof Error ? error.message : String(error);
    return { states: 0, moments: 0, violation };
  }
}
