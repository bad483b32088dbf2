import { expect, test } from "vitest";
import { killRun } from "./kill.ts";

test.each(["sync", "os"] as const)(
  "a process killed with SIGKILL five times in a row lost nothing it was promised, durability %s",
  async (durability) => {
    const { acknowledged } = await killRun(5, 1, durability);
    expect(acknowledged).toBeGreaterThan(100);
  },
);
