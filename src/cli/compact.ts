/**
 * `memkv compact`: merges all runs into one.
 */
import type { Command } from "commander";
import type { Context } from "./context.ts";
import { announce } from "./progress.ts";
import { addExamples, addStoreCommand, type EncodingOptions, withStore } from "./store.ts";
import { formatBytes } from "./text.ts";

export function addCompact(program: Command, context: Context): void {
  const command = addStoreCommand(
    program,
    "compact <directory>",
    "merge all that the store holds into one run, without what was overwritten or deleted",
  )
    .option("--json", "print { diskBytesBefore, diskBytesAfter } as JSON")
    .action(async (directory: string, options: EncodingOptions & { json?: true }) => {
      const { before, after } = await withStore(
        directory,
        options,
        "write",
        context,
        async (store) => {
          announce(context, "compacting", options.json !== true);
          const before = store.stats().disk.total;
          await store.compact();
          return { before, after: store.stats().disk.total };
        },
      );
      context.stdout.write(
        options.json === true
          ? `${JSON.stringify({ diskBytesBefore: before, diskBytesAfter: after })}\n`
          : `${formatBytes(before)} before, ${formatBytes(after)} after\n`,
      );
    });
  addExamples(command, [["memkv compact my-store", "make the store smallest, and reads fastest"]]);
}
