/**
 * Histories of random concurrent transactions are serializable; and where a part of the conflict
 * check is taken out, the same histories show that they are not.
 */
import { afterEach, describe, expect, test, vi } from "vitest";
import { GroupWrites } from "../../src/engine/group-writes.ts";
import { ReadSet } from "../../src/engine/read-set.ts";
import { RecentWrites } from "../../src/engine/recent-writes.ts";
import { findViolation, type Violation } from "./checker.ts";
import { runWorkload } from "./workload.ts";

const RUNS = Number(process.env["MEMKV_RUNS"] ?? 60);
const FIRST_SEED = Number(process.env["MEMKV_SEED"] ?? 1);

afterEach(() => {
  vi.restoreAllMocks();
});

/** The first violation that a run shows, if any does. */
async function firstViolation(runs: number): Promise<Violation | undefined> {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + runs; seed++) {
    const { history, end } = await runWorkload(seed);
    const violation = findViolation(history, end);
    if (violation !== undefined) return violation;
  }
  return undefined;
}

test("random concurrent transactions are serializable", async () => {
  const total = { committed: 0, runs: 0, conflicts: 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed++) {
    const { history, end, runs, conflicts } = await runWorkload(seed);
    expect(findViolation(history, end), `seed ${seed}`).toBeUndefined();
    total.committed += history.length;
    total.runs += runs;
    total.conflicts += conflicts;
  }
  // Without many that get in each other's way the runs would show little.
  expect(total.runs).toBeGreaterThan(1.2 * total.committed);
  expect(total.committed).toBeGreaterThan(10 * RUNS);
});

describe("the check is needed, and its absence noticed:", () => {
  test("of everything", async () => {
    vi.spyOn(ReadSet.prototype, "isWritten").mockReturnValue(false);
    expect(await firstViolation(RUNS)).toBeDefined();
  });

  test("of keys (lost updates, write skew)", async () => {
    vi.spyOn(ReadSet.prototype, "addKey").mockReturnValue();
    expect(await firstViolation(RUNS)).toBeDefined();
  });

  test("of ranges (phantoms)", async () => {
    vi.spyOn(ReadSet.prototype, "addRange").mockReturnValue();
    vi.spyOn(ReadSet.prototype, "addObservation").mockReturnValue();
    expect((await firstViolation(RUNS))?.kind).toBe("cycle");
  });

  test("of keys written by the same group", async () => {
    vi.spyOn(GroupWrites.prototype, "has").mockReturnValue(false);
    expect(await firstViolation(RUNS)).toBeDefined();
  });

  test("of ranges written by the same group", async () => {
    vi.spyOn(GroupWrites.prototype, "hasWithin").mockReturnValue(false);
    expect((await firstViolation(RUNS))?.kind).toBe("cycle");
  });

  test("of memtables flushed meanwhile", async () => {
    vi.spyOn(RecentWrites.prototype, "retire").mockReturnValue();
    expect(await firstViolation(RUNS)).toBeDefined();
  });
});
