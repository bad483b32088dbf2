/**
 * The checks that are to catch planted bugs, as a program: its argument names one. Exits with 1 and
 * the violation on standard error if the check fails.
 */
import { loadChecksum } from "../../src/bytes/checksum.ts";
import { damageRun } from "./damage.ts";
import { FAULTS, faultRuns } from "./fault-run.ts";
import type { CheckName } from "./planted-bugs.ts";
import { crashRuns } from "./run.ts";

const CHECKS: Record<CheckName, () => Promise<void>> = {
  crash: async () => {
    await crashRuns("strict", { seed: 1001, states: 90_000 });
  },
  faults: async () => {
    for (const name of Object.keys(FAULTS)) {
      const { violations } = await faultRuns(name);
      if (violations.length > 0) throw new Error(violations[0]);
    }
  },
  damage: async () => {
    const { violations } = await damageRun(5_000, 3);
    if (violations.length > 0) throw new Error(violations[0]);
  },
};

await loadChecksum();
try {
  await CHECKS[process.argv[2] as CheckName]();
} catch (error) {
  console.error(String(error));
  process.exit(1);
}
