import { expect, test } from "vitest";
import { killRun } from "./kill.ts";

test.each(["sync", "os"] as const)(
  "a process killed with SIGKILL 200 times in a row lost nothing it was promised, durability %s",
  async (durability) => {
    const { acknowledged } = await killRun(200, 2, durability);
    expect(acknowledged).toBeGreaterThan(10_000);
  },
);
