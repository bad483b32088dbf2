/**
 * `memkv scan`: the entries of a range, in order.
 */
import type { Command } from "commander";
import type { Database, IterationRange } from "../index.ts";
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

/** Options of a command that lists entries. */
export interface ListOptions extends EncodingOptions, RangeOptions {
  readonly limit?: number;
  readonly reverse?: true;
  readonly keys?: true;
  readonly json?: true;
}

/** The entries that a command lists, or, with `--keys`, the keys. */
export type Listing = (
  store: Database<Key, unknown>,
  range: IterationRange<Key>,
  notation: Notation,
) => { readonly keys: Iterable<Key> } | { readonly entries: Iterable<[Key, unknown]> };

export function addScan(program: Command, context: Context): void {
  const command = addListOptions(
    addStoreCommand(program, "scan <directory>", "print entries in order, as key, tab, value"),
  ).action((directory: string, options: ListOptions) =>
    list(directory, options, context, (store, range) =>
      options.keys === true ? { keys: store.keys(range) } : { entries: store.entries(range) },
    ),
  );
  addExamples(command, [
    ["memkv scan my-store --prefix react- --limit 10", "the first ten that begin with react-"],
    ["memkv scan my-store --reverse --limit 1", "the last entry"],
    ["memkv scan my-store --gte a --lt b --keys", "keys from a up to b, b not included"],
    ["memkv scan my-store --json | jq .value", "for another program"],
  ]);
}

export function addListOptions(command: Command): Command {
  return addRangeOptions(command)
    .option("--limit <count>", "at most so many", wholeNumber)
    .option("--reverse", "from the last to the first")
    .option("--keys", "print keys alone")
    .option("--json", "print each entry as a line of JSON, { key, value }");
}

/** Prints what `listing` makes of the store and the range, a line an entry. */
export async function list(
  directory: string,
  options: ListOptions,
  context: Context,
  listing: Listing,
): Promise<void> {
  const notation = await notationOf(directory, options);
  const encoding = options.json === true ? "utf8" : notation.textEncoding;
  const range = {
    ...rangeOf(options, notation),
    reverse: options.reverse === true,
    limit: options.limit,
  };
  await withStore(directory, notation, "read", context, async (store) => {
    const output = Output.to(context.stdout, encoding);
    await output.lines(linesOf(listing(store, range, notation), options.json === true, notation));
    await output.finish();
  });
}

function* linesOf(
  listed: ReturnType<Listing>,
  isJson: boolean,
  notation: Notation,
): Generator<string> {
  if ("keys" in listed) {
    for (const key of listed.keys)
      yield isJson ? toJson({ key: notation.keyToJson(key) }) : notation.keyToText(key);
    return;
  }
  for (const [key, value] of listed.entries) {
    yield isJson
      ? toJson({ key: notation.keyToJson(key), value })
      : `${notation.keyToText(key)}\t${notation.valueToText(value)}`;
  }
}
