/**
 * memkv inside a bundled application, as docs/tuning.md says: the background thread is an entry point
 * of its own, beside the application's. And what such a thread takes of the flags of the process, which
 * from sources it takes all.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";

const SOURCE = resolve(import.meta.dirname, "../src");

const APPLICATION = `
import { open } from ${JSON.stringify(join(SOURCE, "index.ts"))};
const db = await open(process.argv[2], { durability: "os", background: "worker" });
db.on("error", (error) => { throw error; });
for (const version of [1, 2]) {
  for (let i = 0; i < 1000; i++) db.putSync("key " + i, { version });
  await db.flush();
}
await db.compact();
console.log(JSON.stringify([db.count(), db.get("key 7"), db.stats().runs.length]));
await db.close();
`;

let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "memkv-bundle-"));
  const application = join(directory, "source.js");
  writeFileSync(application, APPLICATION);
  writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
  await build({
    entryPoints: { app: application, worker: join(SOURCE, "engine/worker.ts") },
    outdir: join(directory, "out"),
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    logLevel: "error",
  });
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What the application says, in a process with these flags. */
function run(flags: readonly string[], nodeOptions = ""): unknown {
  const data = mkdtempSync(join(directory, "data-"));
  const output = execFileSync(process.execPath, [...flags, join(directory, "out/app.js"), data], {
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: nodeOptions },
  });
  return JSON.parse(output);
}

const ANSWER = [1000, { version: 2 }, 1];

test("a bundle works, background thread and all", () => {
  expect(run([])).toEqual(ANSWER);
});

test("what the process preloads is not loaded in the background thread", () => {
  const marks = join(directory, "marks");
  const preload = (name: string): string => {
    const path = join(directory, `${name}.cjs`);
    writeFileSync(
      path,
      `const { isMainThread } = require("node:worker_threads");
      const mark = ${JSON.stringify(name)} + (isMainThread ? " in main " : " in another ");
      require("node:fs").appendFileSync(${JSON.stringify(marks)}, mark);`,
    );
    return path;
  };
  // V8's flag is one that a thread would refuse.
  const flags = ["--max-old-space-size=500", "--require", preload("flag")];
  expect(run(flags, `--require "${preload("option").replaceAll("\\", "/")}"`)).toEqual(ANSWER);
  expect(readFileSync(marks, "utf8")).toBe("option in main flag in main ");
});

test("a profile of the process has one of the background thread beside it", () => {
  const profiles = join(directory, "profiles");
  expect(run(["--cpu-prof", `--cpu-prof-dir=${profiles}`])).toEqual(ANSWER);
  expect(readdirSync(profiles)).toHaveLength(2);
});
