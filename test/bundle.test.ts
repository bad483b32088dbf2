/**
 * memkv inside a bundled application, as docs/tuning.md says: the background thread is an entry point
 * of its own, beside the application's. And what such a thread takes of the flags of the process: from
 * sources it takes all.
 */
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
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
  writeFileSync(join(directory, "source.js"), APPLICATION);
  writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
  await bundle("out", []);
});

/** Bundles the application and the thread, but for some packages. */
async function bundle(name: string, external: string[]): Promise<void> {
  await build({
    entryPoints: { app: join(directory, "source.js"), worker: join(SOURCE, "jobs/worker.ts") },
    outdir: join(directory, name),
    external,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    logLevel: "error",
  });
}

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What the application says, in a process with these flags. */
function run(flags: readonly string[], nodeOptions = "", application = "out/app.js"): unknown {
  const data = mkdtempSync(join(directory, "data-"));
  const output = execFileSync(process.execPath, [...flags, join(directory, application), data], {
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

test("a profile of the process that is given a name is not written over by the thread's", () => {
  const profiles = join(directory, "named");
  const name = "main.cpuprofile";
  expect(run(["--cpu-prof", `--cpu-prof-dir=${profiles}`, `--cpu-prof-name=${name}`])).toEqual(
    ANSWER,
  );
  expect(readdirSync(profiles)).toHaveLength(2);
  expect(readFileSync(join(profiles, name), "utf8")).toContain("app.js");
});

test("open says what Node's permission model refuses: to sync", () => {
  const flag = ["--permission", "--experimental-permission"].find((name) =>
    process.allowedNodeEnvironmentFlags.has(name),
  );
  const flags = [String(flag), "--allow-fs-read=*", "--allow-fs-write=*"];
  expect(() => run(flags)).toThrow(
    /DatabaseError: open failed: fsync API is disabled when Permission Model is enabled/,
  );
});

test("packages that only links lead to are found by the background thread, too", async () => {
  // It was started without --preserve-symlinks, and died at its first import.
  await bundle("store", ["xxhash-wasm"]);
  mkdirSync(join(directory, "app/node_modules"), { recursive: true });
  const installed = dirname(dirname(createRequire(import.meta.url).resolve("xxhash-wasm")));
  for (const [target, name] of [
    [resolve(installed, "."), "app/node_modules/xxhash-wasm"],
    [join(directory, "store"), "app/linked"],
  ]) {
    symlinkSync(target, join(directory, name), "junction");
  }
  writeFileSync(join(directory, "app/main.js"), 'import "./linked/app.js";');
  const flag = "--preserve-symlinks";
  for (const [flags, nodeOptions] of [
    [[flag], ""],
    [[], flag],
    [[flag, "--preserve-symlinks-main"], ""],
  ] as const) {
    expect(run(flags, nodeOptions, "app/main.js")).toEqual(ANSWER);
  }
});
