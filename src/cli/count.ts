/**
 * `memkv count`: how many keys a range holds.
 */
import type { Command } from "commander";
import type { Context } from "./context.ts";
import {
  addExamples,
  addRangeOptions,
  addStoreCommand,
  type EncodingOptions,
  notationOf,
  type RangeOptions,
  rangeOf,
  withStore,
} from "./store.ts";

export function addCount(program: Command, context: Context): void {
  const command = addRangeOptions(
    addStoreCommand(program, "count <directory>", "print how many keys there are, exactly"),
  )
    .option("--json", "print { count } as JSON")
    .action(
      async (
        directory: string,
        options: EncodingOptions & RangeOptions & { readonly json?: true },
      ) => {
        const notation = await notationOf(directory, options);
        const range = rangeOf(options, notation);
        const count = await withStore(directory, notation, "read", context, (store) =>
          store.count(range),
        );
        context.stdout.write(`${options.json === true ? JSON.stringify({ count }) : count}\n`);
      },
    );
  addExamples(command, [
    ["memkv count my-store", "all keys"],
    ["memkv count my-store --prefix @types/", "those that begin with @types/"],
  ]);
}
