/**
 * `memkv ingest`: everything that other stores hold, put into one at once.
 */
import type { Command } from "commander";
import type { Context } from "./context.ts";
import { startProgress } from "./progress.ts";
import { addExamples, addStoreCommand, type EncodingOptions, withStore } from "./store.ts";
import { formatBytes, formatCount } from "./text.ts";

interface IngestCommandOptions extends EncodingOptions {
  readonly verify: boolean;
  readonly json?: true;
  readonly quiet?: true;
}

export function addIngest(program: Command, context: Context): void {
  const command = addStoreCommand(
    program,
    "ingest <directory> <sources...>",
    "put what other stores hold into one, which is created if need be; of a key in several, the last counts",
  )
    .option("--no-verify", "do not read segments whole before they are copied")
    .option("--json", "print { entries, segments, copiedSegments, bytes } as JSON")
    .option("--quiet", "no progress bar")
    .action(async (directory: string, sources: string[], options: IngestCommandOptions) => {
      const report = await withStore(directory, options, "create", context, async (store) => {
        const isShown = options.quiet !== true && options.json !== true;
        const progress = startProgress(context, undefined, "keys", isShown);
        try {
          return await store.ingest(sources, {
            verify: options.verify,
            onProgress: ({ entriesDone }) => progress.update(entriesDone, entriesDone),
          });
        } finally {
          progress.stop();
        }
      });
      const { entries, segments, copiedSegments, bytes } = report;
      context.stdout.write(
        options.json === true
          ? `${JSON.stringify(report)}\n`
          : `${formatCount(entries)} entries, ${formatBytes(bytes)}; segments: ${formatCount(segments)}, of which ${formatCount(copiedSegments)} copied as they were\n`,
      );
    });
  addExamples(command, [
    ["memkv ingest all part-1 part-2", "two stores, built apart, become one"],
    ["memkv ingest all update --json", "newer entries over older ones"],
  ]);
}
