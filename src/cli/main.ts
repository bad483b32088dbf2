#!/usr/bin/env node
/**
 * The binary `memkv`: runs the command line on this process.
 *
 * The exit code is set rather than exited with, so that what is on its way to a pipe arrives.
 */
import { readFileSync } from "node:fs";
import { type Context, EXIT_DATA, systemError } from "./context.ts";
import { run } from "./run.ts";

const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
const { version } = JSON.parse(manifest) as { version: string };

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // Whoever reads our output may stop: `memkv scan store | head` is no error.
  if (error.code === "EPIPE") return;
  process.stderr.write(`memkv: ${systemError("write standard output", error).message}\n`);
  process.exit(EXIT_DATA);
});

// Nobody is left to be told, and the exit code is that of what was to be said.
process.stderr.on("error", () => undefined);

const { stdin, stdout, stderr } = process;
const directory = process.cwd();
const context: Context = { stdin, stdout, stderr, directory, background: "worker" };
process.exitCode = await run(process.argv.slice(2), context, version);
