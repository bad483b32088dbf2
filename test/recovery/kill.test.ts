/**
 * A process that writes is killed with SIGKILL after a random number of acknowledged writes, and the
 * store is opened: every write that was acknowledged must be there, whole, and what is there must be
 * all writes up to some number and nothing else. Then the next process goes on in the same directory.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { build } from "esbuild";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Durability, open } from "../../src/index.ts";
import { applyTo, LAST, writeNumber } from "./history.ts";

const ROUNDS = 5;
const MAX_ACKNOWLEDGED = 800;

let directory: string;

/** The writer as a program of its own: from its sources it would take a second to start. */
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "memkv-kill-"));
  const root = join(import.meta.dirname, "../..");
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"), "junction");
  writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
  await build({
    entryPoints: {
      writer: join(import.meta.dirname, "writer.ts"),
      worker: join(root, "src/engine/worker.ts"),
    },
    outdir: directory,
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    logLevel: "error",
  });
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Runs the writer until it has acknowledged so many writes; returns the numbers of all it has. */
async function writeAndKill(
  store: string,
  durability: Durability,
  first: number,
  count: number,
): Promise<number[]> {
  const script = join(directory, "writer.js");
  const child = spawn(process.execPath, [script, store, durability, String(first)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exit = once(child, "exit");
  const acknowledged: number[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(Number(line));
    if (acknowledged.length === count) child.kill("SIGKILL");
  }
  expect(await exit).toEqual([null, "SIGKILL"]);
  return acknowledged;
}

test.each(["sync", "os"] as const)(
  "with durability %s nothing acknowledged is lost",
  async (durability) => {
    const store = join(directory, durability);
    const content = new Map<string, string>();
    let next = 0;
    const counts = fc.sample(fc.integer({ min: 1, max: MAX_ACKNOWLEDGED }), {
      numRuns: ROUNDS,
      ...(process.env["MEMKV_SEED"] === undefined
        ? {}
        : { seed: Number(process.env["MEMKV_SEED"]) }),
    });
    for (const count of counts) {
      const acknowledged = await writeAndKill(store, durability, next, count);
      const database = await open<string, string>(store, { background: "inline" });
      const last = Number(database.get(LAST) ?? -1);
      expect(last, `of ${counts}`).toBeGreaterThanOrEqual(Math.max(...acknowledged));
      for (; next <= last; next++) applyTo(content, writeNumber(next));
      expect(Object.fromEntries(database.entries())).toEqual(Object.fromEntries(content));
      expect(database.count()).toBe(content.size);
      await database.verify();
      await database.close();
    }
  },
);
