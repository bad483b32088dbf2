/** Builds memkv with a planted bug and runs the check that is to catch it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";
import type { PlantedBug, SourceChange } from "./planted-bugs.ts";

const SOURCES = join(import.meta.dirname, "../../src");

/** A file with the change made. Throws if what is to be changed is not there exactly once. */
export async function changedSource({ file, find, replace }: SourceChange): Promise<string> {
  const source = await readFile(join(SOURCES, file), "utf8");
  const parts = source.split(find);
  if (parts.length !== 2) {
    throw new Error(`${file} has ${parts.length - 1} times, not once: ${find}`);
  }
  return parts.join(replace);
}

export interface Outcome {
  readonly isCaught: boolean;
  /** What the check said. */
  readonly output: string;
}

/** How long a check may take; one that hangs has caught something too. */
const TIMEOUT_MS = 240_000;

export async function runWith(bug: PlantedBug | undefined, check: string): Promise<Outcome> {
  const scratch = await mkdtemp(join(tmpdir(), "memkv-teeth-"));
  try {
    await build({
      entryPoints: [join(import.meta.dirname, "teeth-checks.ts")],
      bundle: true,
      format: "esm",
      platform: "node",
      target: "node20",
      banner: {
        js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
      },
      plugins: bug === undefined ? [] : [planting(bug)],
      outdir: scratch,
      logLevel: "error",
    });
    await writeFile(join(scratch, "package.json"), '{"type":"module"}');
    return await run(join(scratch, "teeth-checks.js"), check);
  } finally {
    await rm(scratch, { recursive: true });
  }
}

function planting(bug: PlantedBug): Plugin {
  return {
    name: "planting",
    setup: (builder) => {
      for (const change of bug.changes) {
        const filter = new RegExp(`/src/${change.file.replaceAll(".", "\\.")}$`);
        builder.onLoad({ filter }, async () => ({
          contents: await changedSource(change),
          loader: "ts",
        }));
      }
    },
  };
}

async function run(script: string, check: string): Promise<Outcome> {
  const child = spawn(process.execPath, [script, check], {
    stdio: ["ignore", "ignore", "pipe"],
    timeout: TIMEOUT_MS,
  });
  let output = "";
  child.stderr.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  const [code] = await once(child, "close");
  return { isCaught: code !== 0, output };
}
