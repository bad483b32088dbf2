import { expect, test } from "vitest";
import { killRun } from "./kill.ts";

test("a process killed with SIGKILL five times in a row lost nothing it was promised", async () => {
  const { acknowledged } = await killRun(5, 1);
  expect(acknowledged).toBeGreaterThan(100);
});
