/**
 * Runs the command line for tests: in this process with streams of its own, or, where a signal or a
 * pipe is what is tested, as a process.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, expect } from "vitest";
import { run } from "../../src/cli/run.ts";

export interface Result {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `memkv` with these arguments and this standard input. */
export async function memkv(
  args: readonly string[],
  input: string | Uint8Array = "",
  directory: string = process.cwd(),
): Promise<Result> {
  const stdin = Readable.from([Buffer.from(input)]);
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const texts = Promise.all([text(stdout), text(stderr)]);
  const exitCode = await run(
    args,
    { stdin, stdout, stderr, directory, background: "inline" },
    "1.2.3",
  );
  stdout.end();
  stderr.end();
  const [out, err] = await texts;
  return { exitCode, stdout: out, stderr: err };
}

/** What a command prints that must succeed without a word on standard error. */
export async function output(
  args: readonly string[],
  input?: string | Uint8Array,
): Promise<string> {
  const { exitCode, stdout, stderr } = await memkv(args, input);
  if (exitCode !== 0 || stderr !== "") {
    throw new Error(`memkv ${args.join(" ")} ended with ${exitCode}: ${stderr}`);
  }
  return stdout;
}

/** The command must fail so, with one line that says this. */
export async function expectFailure(
  args: readonly string[],
  exitCode: 1 | 2,
  complaint: string,
  input?: string | Uint8Array,
): Promise<void> {
  const result = await memkv(args, input);
  expect(result.stderr).toContain(complaint);
  expect(result.stderr).not.toMatch(/^\s+at /m);
  expect(result.stderr).not.toContain("a bug in memkv");
  expect(result).toMatchObject({ exitCode, stdout: "" });
}

/** A process of its own. Its exit code is null if a signal ended it. */
export function start(args: readonly string[]): ChildProcess {
  const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
  return spawn(process.execPath, ["--import", "tsx", main, ...args]);
}

/** Holds the directories of one test file, which may act as another user too. */
const root = mkdtempSync(join(tmpdir(), "memkv-cli-"));
chmodSync(root, 0o777);
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** An empty directory that goes when the file's tests end. */
export function temporaryDirectory(): string {
  return mkdtempSync(join(root, "test-"));
}
