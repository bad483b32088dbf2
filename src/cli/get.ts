/**
 * `memkv get`: the value of one key.
 */
import type { Command } from "commander";
import { type Context, EXIT_DATA, type Outcome } from "./context.ts";
import { toJson } from "./notation.ts";
import { Output } from "./output.ts";
import {
  addExamples,
  addStoreCommand,
  type EncodingOptions,
  notationOf,
  withStore,
} from "./store.ts";

export function addGet(program: Command, context: Context, outcome: Outcome): void {
  const command = addStoreCommand(
    program,
    "get <directory> <key>",
    "print the value of a key; exit code 1 if there is none",
  )
    .option("--json", "print { found, key, value } as JSON")
    .action(async (directory: string, key: string, options: EncodingOptions & { json?: true }) => {
      const notation = await notationOf(directory, options);
      const storeKey = notation.keyFromArgument(key);
      const value = await withStore(directory, notation, "read", context, (store) =>
        store.get(storeKey),
      );
      const isFound = value !== undefined;
      if (!isFound) outcome.exitCode = EXIT_DATA;
      if (!isFound && options.json !== true) {
        const shown = notation.keyEncoding === "ordered" ? key : JSON.stringify(key);
        context.stderr.write(`memkv: there is no key ${shown} in ${directory}\n`);
        return;
      }
      const output = Output.to(context.stdout, notation.textEncoding);
      await output.line(
        options.json === true
          ? toJson({ found: isFound, key: notation.keyToJson(storeKey), ...(isFound && { value }) })
          : notation.valueToText(value),
      );
      await output.finish();
    });
  addExamples(command, [
    ["memkv get my-store lodash", "the value"],
    ["memkv get my-store lodash --json", "the value, and whether there is one, as JSON"],
  ]);
}
