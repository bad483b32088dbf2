import { expect, test } from "vitest";
import { killRun } from "./kill.ts";

test("a process killed with SIGKILL 200 times in a row lost nothing it was promised", async () => {
  const { acknowledged } = await killRun(200, 2);
  expect(acknowledged).toBeGreaterThan(10_000);
});
