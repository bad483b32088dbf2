/**
 * `memkv scan`: the entries of a range, in order.
 */
import type { Command } from "commander";
import type { Database } from "../index.ts";
import type { Context } from "./context.ts";
import { type Key, type Notation, toJson } from "./notation.ts";
import { Output } from "./output.ts";
import {
  addExamples,
  addRangeOptions,
  addStoreCommand,
  type EncodingOptions,
  notationOf,
  type RangeOptions,
  rangeOf,
  wholeNumber,
  withStore,
} from "./store.ts";

interface ScanOptions extends EncodingOptions, RangeOptions {
  readonly limit?: number;
  readonly reverse?: true;
  readonly keys?: true;
  readonly json?: true;
}

export function addScan(program: Command, context: Context): void {
  const command = addRangeOptions(
    addStoreCommand(program, "scan <directory>", "print entries in order, as key, tab, value"),
  )
    .option("--limit <count>", "at most so many", wholeNumber)
    .option("--reverse", "from the last to the first")
    .option("--keys", "print keys alone")
    .option("--json", "print each entry as a line of JSON, { key, value }")
    .action((directory: string, options: ScanOptions) => scan(directory, options, context));
  addExamples(command, [
    ["memkv scan my-store --prefix react- --limit 10", "the first ten that begin with react-"],
    ["memkv scan my-store --reverse --limit 1", "the last entry"],
    ["memkv scan my-store --gte a --lt b --keys", "keys from a up to b, b not included"],
    ["memkv scan my-store --json | jq .value", "for another program"],
  ]);
}

async function scan(directory: string, options: ScanOptions, context: Context): Promise<void> {
  const notation = notationOf(options);
  const encoding = options.json === true ? "utf8" : notation.textEncoding;
  await withStore(directory, options, "read", context, async (store) => {
    const output = Output.to(context.stdout, encoding);
    await output.lines(scanLines(store, options, notation));
    await output.finish();
  });
}

function* scanLines(
  store: Database<Key, unknown>,
  options: ScanOptions,
  notation: Notation,
): Generator<string> {
  const range = {
    ...rangeOf(options, notation),
    reverse: options.reverse === true,
    limit: options.limit,
  };
  const isJson = options.json === true;
  if (options.keys === true) {
    for (const key of store.keys(range)) yield isJson ? toJson({ key }) : notation.keyToText(key);
    return;
  }
  for (const [key, value] of store.entries(range)) {
    yield isJson
      ? toJson({ key, value })
      : `${notation.keyToText(key)}\t${notation.valueToText(value)}`;
  }
}
