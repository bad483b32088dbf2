import { spawn } from "node:child_process";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";

/** The suite of abstract-level 3.1.1 over a database and over a sublevel of one. */
const LEAST_CHECKS = 5000;

test("passes the test suite that abstract-level publishes", async () => {
  const program = join(import.meta.dirname, "suite.ts");
  const child = spawn(process.execPath, ["--import", "tsx", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [output, code] = await Promise.all([
    text(child.stdout),
    new Promise((resolve) => child.once("close", resolve)),
  ]);
  const failures = output.split("\n").filter((line) => line.startsWith("not ok"));
  const count = Number(/^# tests (\d+)$/m.exec(output)?.[1]);
  const passed = Number(/^# pass {2}(\d+)$/m.exec(output)?.[1]);
  console.log(`abstract-level's suite: ${passed} of ${count} checks passed`);
  expect(failures).toEqual([]);
  expect(code).toBe(0);
  expect(passed).toBe(count);
  expect(count).toBeGreaterThan(LEAST_CHECKS);
}, 120_000);
