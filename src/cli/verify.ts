/**
 * `memkv verify`: reads every byte of a store and checks it.
 *
 * Damage is an answer here and no accident: with --json it is printed as one.
 */
import type { Command } from "commander";
import { CorruptionError, type VerifyReport } from "../index.ts";
import { type Context, EXIT_DATA, type Outcome } from "./context.ts";
import { startProgress } from "./progress.ts";
import { addExamples, addStoreCommand, type EncodingOptions, withStore } from "./store.ts";
import { formatBytes, formatCount } from "./text.ts";

interface VerifyOptions extends EncodingOptions {
  readonly json?: true;
  readonly quiet?: true;
}

export function addVerify(program: Command, context: Context, outcome: Outcome): void {
  const command = addStoreCommand(
    program,
    "verify <directory>",
    "read every byte of the store and check it; exit code 1 if anything is damaged",
  )
    .option("--json", "print the report, or the damage found, as JSON")
    .option("--quiet", "no progress bar")
    .action(async (directory: string, options: VerifyOptions) => {
      const isJson = options.json === true;
      try {
        const report = await verify(directory, options, context);
        context.stdout.write(
          `${isJson ? JSON.stringify({ sound: true, ...report }) : words(report)}\n`,
        );
      } catch (error) {
        if (!(isJson && error instanceof CorruptionError)) throw error;
        const { message, file, offset, expected, actual } = error;
        const facts = { sound: false, message, file, offset, expected, actual };
        context.stdout.write(`${JSON.stringify(facts)}\n`);
        outcome.exitCode = EXIT_DATA;
      }
    });
  addExamples(command, [
    ["memkv verify my-store && echo sound", "is everything as it was written?"],
  ]);
}

async function verify(
  directory: string,
  options: VerifyOptions,
  context: Context,
): Promise<VerifyReport> {
  return await withStore(directory, options, "read", context, async (store) => {
    const isShown = options.quiet !== true && options.json !== true;
    const total = store.stats().disk.total;
    const progress = startProgress(context, total, "bytes", isShown);
    try {
      return await store.verify({
        onProgress: ({ bytesDone }) => progress.update(bytesDone, bytesDone),
      });
    } finally {
      progress.stop();
    }
  });
}

function words(report: VerifyReport): string {
  return (
    `sound: ${formatCount(report.keys)} entries in ${formatCount(report.segments)} segments, ` +
    `${formatCount(report.logWrites)} writes in logs; ` +
    `${formatBytes(report.bytes)} read`
  );
}
