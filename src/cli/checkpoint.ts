/**
 * `memkv checkpoint`: a second store with what the first one holds now.
 */
import type { Command } from "commander";
import type { Context } from "./context.ts";
import { startProgress } from "./progress.ts";
import { addExamples, addStoreCommand, type EncodingOptions, withStore } from "./store.ts";
import { formatBytes, formatCount } from "./text.ts";

interface CheckpointOptions extends EncodingOptions {
  readonly json?: true;
  readonly quiet?: true;
}

export function addCheckpoint(program: Command, context: Context): void {
  const command = addStoreCommand(
    program,
    "checkpoint <directory> <target>",
    "make a second store in a new directory; files share their space where the disk allows it",
  )
    .option("--json", "print { files, bytes, linkedBytes, lastSeqno } as JSON")
    .option("--quiet", "no progress bar")
    .action(async (directory: string, target: string, options: CheckpointOptions) => {
      const report = await withStore(directory, options, "write", context, async (store) => {
        const { total } = store.stats().disk;
        const isShown = options.quiet !== true && options.json !== true;
        const progress = startProgress(context, total, "bytes", isShown);
        try {
          return await store.checkpoint(target, {
            onProgress: ({ bytesDone }) => progress.update(bytesDone, bytesDone),
          });
        } finally {
          progress.stop();
        }
      });
      const { files, bytes, linkedBytes } = report;
      context.stdout.write(
        options.json === true
          ? `${JSON.stringify(report)}\n`
          : `${formatCount(files)} files, ${formatBytes(bytes)}, of which ${formatBytes(linkedBytes)} shared\n`,
      );
    });
  addExamples(command, [["memkv checkpoint my-store backups/monday", "a copy that opens"]]);
}
