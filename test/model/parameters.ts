/**
 * How random tests run. A failure prints its seed and path; MEMKV_SEED and MEMKV_PATH replay it, and
 * MEMKV_RUNS asks for another number of runs.
 */
import type { Parameters } from "fast-check";

export function parameters(numRuns: number): Parameters<unknown> {
  const { MEMKV_SEED: seed, MEMKV_PATH: path, MEMKV_RUNS: runs } = process.env;
  return {
    numRuns: runs === undefined ? numRuns : Number(runs),
    ...(seed === undefined ? {} : { seed: Number(seed) }),
    ...(path === undefined ? {} : { path }),
  };
}
