/**
 * `memkv search`: the entries whose keys match a pattern, in order.
 */
import type { Command } from "commander";
import { type Automaton, fuzzy, glob, InvalidArgumentError, regex, startsWith } from "../index.ts";
import { type Context, UsageError } from "./context.ts";
import { addListOptions, type ListOptions, list } from "./scan.ts";
import { addExamples, addStoreCommand, wholeNumber } from "./store.ts";

/** Options of a command that searches: one of the four, and the distance of `fuzzy`. */
export interface PatternOptions {
  readonly regex?: string;
  readonly glob?: string;
  readonly fuzzy?: string;
  readonly startsWith?: string;
  readonly distance: number;
}

export function addSearch(program: Command, context: Context): void {
  const command = addPatternOptions(
    addListOptions(
      addStoreCommand(
        program,
        "search <directory>",
        "print the entries whose keys match a pattern",
      ),
    ),
  ).action((directory: string, options: ListOptions & PatternOptions) => {
    const pattern = patternOf(options);
    return list(directory, options, context, (store, range, { keyEncoding }) => {
      if (keyEncoding !== "utf8" && keyEncoding !== "binary") {
        throw new UsageError(`a pattern is of text, and keys of ${directory} are "${keyEncoding}"`);
      }
      const entries = store.search(pattern, range);
      return options.keys === true ? { keys: firstOf(entries) } : { entries };
    });
  });
  addExamples(command, [
    ["memkv search my-store --fuzzy expres --distance 2", "a name you do not quite know"],
    ["memkv search my-store --regex 'react-.*-native' --keys", "keys that match"],
    ["memkv search my-store --glob '@types/*' --limit 10", "the first ten"],
  ]);
}

export function addPatternOptions(command: Command): Command {
  return command
    .option("--regex <pattern>", "keys that match it whole")
    .option("--glob <pattern>", "keys that match it whole; * and ? and [...]")
    .option("--fuzzy <text>", "keys that are the text but for --distance edits")
    .option("--distance <count>", "edits that --fuzzy allows, 0 to 3", wholeNumber, 1)
    .option("--starts-with <text>", "keys that begin so");
}

/** The one pattern that was asked for. */
export function patternOf(options: PatternOptions): Automaton {
  try {
    return compile(options);
  } catch (error) {
    if (error instanceof InvalidArgumentError) {
      throw new UsageError(error.message, { cause: error });
    }
    throw error;
  }
}

function compile(options: PatternOptions): Automaton {
  const patterns: Automaton[] = [];
  if (options.regex !== undefined) patterns.push(regex(options.regex));
  if (options.glob !== undefined) patterns.push(glob(options.glob));
  if (options.fuzzy !== undefined) patterns.push(fuzzy(options.fuzzy, options.distance));
  if (options.startsWith !== undefined) patterns.push(startsWith(options.startsWith));
  const [pattern] = patterns;
  if (pattern === undefined || patterns.length > 1) {
    throw new UsageError("search takes one of --regex, --glob, --fuzzy and --starts-with");
  }
  return pattern;
}

function* firstOf<T>(entries: Iterable<[T, unknown]>): Generator<T> {
  for (const [key] of entries) yield key;
}
