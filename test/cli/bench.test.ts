import { once } from "node:events";
import { existsSync, readdirSync, watch } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { memkv, output, start, temporaryDirectory } from "./harness.ts";

const SMALL = ["--keys", "2500", "--value-bytes", "20", "--batch", "300"];
const WORKLOADS = [
  "fillrandom",
  "readrandom",
  "readmissing",
  "seekrandom",
  "readseq",
  "readreverse",
];

/** Makes this directory the system's for temporary files, in this process and those it starts. */
function useTemporary(directory: string): void {
  for (const name of ["TMPDIR", "TEMP", "TMP"]) vi.stubEnv(name, directory);
}

afterEach(() => vi.unstubAllEnvs());

describe("bench", () => {
  test("measures each workload, and leaves nothing behind", async () => {
    const temporary = temporaryDirectory();
    useTemporary(temporary);
    const printed = await output(["bench", ...SMALL]);
    for (const workload of WORKLOADS) expect(printed).toMatch(new RegExp(`^${workload} `, "m"));
    expect(printed).toContain("on disk, for 90.0 kB of keys and values");
    expect(readdirSync(temporary)).toEqual([]);
  });

  test.skipIf(process.platform === "win32")("leaves nothing behind when interrupted", async () => {
    const temporary = temporaryDirectory();
    useTemporary(temporary);
    const watcher = watch(temporary);
    // tsx, which the process runs on, keeps its own things there.
    const begun = new Promise<void>((resolve) => {
      watcher.on("change", (_, name) => {
        if (String(name).startsWith("memkv-bench-")) resolve();
      });
    });
    const child = start(["bench", "--keys", "10000000"]);
    const exit = once(child, "exit");
    await begun;
    watcher.close();
    child.kill("SIGINT");
    const [exitCode] = (await exit) as [number | null];
    const left = readdirSync(temporary).filter((name) => name.startsWith("memkv-bench-"));
    expect({ exitCode, left }).toEqual({ exitCode: 130, left: [] });
  });

  test("prints JSON, and leaves the store in the directory it is given", async () => {
    const directory = join(temporaryDirectory(), "store");
    const args = ["bench", directory, ...SMALL, "--durability", "sync", "--seed", "7", "--json"];
    const { results, ...facts } = JSON.parse(await output(args)) as {
      results: { workload: string; operations: number; seconds: number }[];
    };
    expect(facts).toEqual({
      keys: 2500,
      valueBytes: 20,
      batch: 300,
      durability: "sync",
      seed: 7,
      diskBytes: expect.any(Number),
    });
    expect(results.map(({ workload }) => workload)).toEqual(WORKLOADS);
    for (const { operations, seconds } of results) {
      expect(operations).toBeGreaterThan(0);
      expect(seconds).toBeGreaterThan(0);
    }
    expect(await output(["count", directory])).toBe("2500\n");
    const got = await output(["get", directory, "0000000000002499"]);
    expect(got).toMatch(/^[0-9a-z]{10}x{10}\n$/);
  });

  test("does not touch a store that exists", async () => {
    const directory = join(temporaryDirectory(), "store");
    await output(["put", directory, "a", "1"]);
    const { exitCode, stderr } = await memkv(["bench", directory, ...SMALL]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("exists");
    expect(await output(["scan", directory])).toBe("a\t1\n");
  });

  test.each([
    [["--keys", "0"], "--keys must be at least 1"],
    [["--batch", "0"], "--batch must be at least 1"],
    [["--keys", "many"], "whole number"],
    [["--durability", "none"], "os, sync"],
  ])("refuses %j", async (args, message) => {
    const directory = join(temporaryDirectory(), "store");
    const { exitCode, stderr } = await memkv(["bench", directory, ...args]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(message);
    expect(existsSync(directory)).toBe(false);
  });
});
