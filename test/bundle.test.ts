/**
 * memkv inside a bundled application, as docs/tuning.md says: the background thread is an entry point
 * of its own, beside the application's.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { temporaryDirectory } from "./engine/harness.ts";

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

test("a bundle works, background thread and all", async () => {
  const directory = temporaryDirectory();
  const application = join(directory, "source.js");
  writeFileSync(application, APPLICATION);
  writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
  const out = join(directory, "out");
  await build({
    entryPoints: { app: application, worker: join(SOURCE, "engine/worker.ts") },
    outdir: out,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    logLevel: "error",
  });
  const run = [join(out, "app.js"), join(directory, "data")];
  const output = execFileSync(process.execPath, run, { encoding: "utf8" });
  expect(JSON.parse(output)).toEqual([1000, { version: 2 }, 1]);
});
