/**
 * `memkv del`: deletes keys, or all keys of a range.
 */
import type { Command } from "commander";
import type { BatchOperation } from "../index.ts";
import type { Context } from "./context.ts";
import type { Key } from "./notation.ts";
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

type DelOptions = EncodingOptions & RangeOptions & { readonly all?: true };

export function addDel(program: Command, context: Context): void {
  const command = addRangeOptions(
    addStoreCommand(
      program,
      "del <directory> [keys...]",
      "delete keys, or every key of a range, durably and all at once; a key that is not there is no error",
    ),
  )
    .option("--all", "every key of the store")
    .action(async (directory: string, keys: readonly string[], options: DelOptions) => {
      const notation = await notationOf(directory, options);
      const range = rangeOf(options, notation);
      const isRange = Object.keys(range).length > 0 || options.all === true;
      if (isRange === keys.length > 0) {
        command.error("error: give keys, or a range (--all for everything), and not both");
      }
      const operations: BatchOperation<Key, unknown>[] = isRange
        ? [{ type: "deleteRange", ...range }]
        : keys.map((key) => ({ type: "delete", key: notation.keyFromArgument(key) }));
      await withStore(directory, notation, "write", context, (store) =>
        store.batch(operations, { durability: "sync" }),
      );
    });
  addExamples(command, [
    ["memkv del my-store lodash", "one key"],
    ["memkv del my-store lodash underscore", "several, all or none"],
    ["memkv del my-store --prefix @types/", "those that begin with @types/"],
  ]);
}
