/**
 * `memkv del`: deletes keys.
 */
import type { Command } from "commander";
import type { Context } from "./context.ts";
import {
  addExamples,
  addStoreCommand,
  type EncodingOptions,
  notationOf,
  withStore,
} from "./store.ts";

export function addDel(program: Command, context: Context): void {
  const command = addStoreCommand(
    program,
    "del <directory> <keys...>",
    "delete keys, durably and all at once; a key that is not there is no error",
  ).action(async (directory: string, keys: readonly string[], options: EncodingOptions) => {
    const notation = notationOf(options);
    const operations = keys.map((key) => ({
      type: "delete" as const,
      key: notation.keyFromArgument(key),
    }));
    await withStore(directory, options, "write", context, (store) =>
      store.batch(operations, { durability: "sync" }),
    );
  });
  addExamples(command, [
    ["memkv del my-store lodash", "one key"],
    ["memkv del my-store lodash underscore", "several, all or none"],
  ]);
}
