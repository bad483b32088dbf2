/**
 * `memkv export`: writes a range to a file that `build` reads back, entry by entry.
 *
 * TSV and lines cannot hold every key and value: what would not read back the same is an error that
 * names the key, rather than a file that is not what the store holds. JSONL holds what JSON holds;
 * the dates, big integers, sets and bytes that a msgpack value may hold besides become strings and
 * arrays. What has expired is not there, and when the rest expires is not written: read back it
 * stays. A checkpoint keeps it.
 */
import { type Command, Option } from "commander";
import type { Database } from "../index.ts";
import { type Context, DataError } from "./context.ts";
import { FORMATS, type Format, formatOf } from "./input.ts";
import { interruptible } from "./interrupt.ts";
import { type Key, type Notation, toJson } from "./notation.ts";
import { Output } from "./output.ts";
import { startProgress } from "./progress.ts";
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

interface ExportOptions extends EncodingOptions, RangeOptions {
  readonly format?: Format;
  readonly json?: true;
  readonly quiet?: true;
}

/** Entries between two moves of the progress bar. */
const STEP = 1000;

export function addExport(program: Command, context: Context): void {
  const command = addRangeOptions(
    addStoreCommand(
      program,
      "export <directory> [output]",
      "write entries to a file, or to standard output, for `memkv build` to read back",
    ),
  )
    .addOption(
      new Option("--format <name>", "default: by the output's name, else jsonl").choices(FORMATS),
    )
    .option("--json", "print { keys } as JSON when done, if the output is a file")
    .option("--quiet", "no progress bar")
    .action((directory: string, path: string | undefined, options: ExportOptions) =>
      exportStore(directory, path ?? "-", options, context),
    );
  command.addHelpText(
    "after",
    `
Dates, big integers, sets and bytes among the values become strings and lists in
jsonl, numbers that JSON has not become null, and when an entry expires is not
written. "memkv checkpoint" copies everything as it is.`,
  );
  addExamples(command, [
    ["memkv export my-store backup.jsonl.gz", "everything, gzipped"],
    ["memkv export my-store pairs.tsv --prefix a", "what begins with a, as TSV"],
    ["memkv export my-store --format lines | wc -l", "keys to another program"],
  ]);
}

async function exportStore(
  directory: string,
  path: string,
  options: ExportOptions,
  context: Context,
): Promise<void> {
  const notation = await notationOf(directory, options);
  const range = rangeOf(options, notation);
  const isFile = path !== "-";
  const format = options.format ?? (isFile && namesFormat(path) ? formatOf(path) : "jsonl");
  const encoding = format === "jsonl" ? "utf8" : notation.textEncoding;
  await withStore(directory, notation, "read", context, async (store) => {
    const total = store.count(range);
    const output = isFile ? Output.toFile(path, encoding) : Output.to(context.stdout, encoding);
    const isShown = isFile && options.quiet !== true && options.json !== true;
    const progress = startProgress(context, total, "keys", isShown);
    const write = async (check: () => void): Promise<void> => {
      const onEntry = (keyCount: number): void => {
        if (keyCount % STEP === 0 || keyCount === total) progress.update(keyCount, keyCount);
        check();
      };
      await output.lines(exportLines(store.entries(range), format, notation, onEntry));
      await output.finish();
    };
    try {
      // A pipe whose reader stands still is never asked for more: there a signal just ends the process.
      await (output.isDiscardable ? interruptible(write) : write(() => undefined));
    } catch (error) {
      if (isFile) output.discard();
      throw error;
    } finally {
      progress.stop();
    }
    if (isFile && options.json === true) {
      context.stdout.write(`${JSON.stringify({ keys: total })}\n`);
    }
  });
}

/** Whether the name says one of the formats. */
function namesFormat(path: string): boolean {
  return /\.(tsv|jsonl|ndjson|txt)(\.gz)?$/i.test(path);
}

function* exportLines(
  entries: ReturnType<Database<Key, unknown>["entries"]>,
  format: Format,
  notation: Notation,
  onEntry: (keyCount: number) => void,
): Generator<string> {
  let keyCount = 0;
  for (const [key, value] of entries) {
    yield formatLine(key, value, format, notation);
    onEntry(++keyCount);
  }
}

function formatLine(key: Key, value: unknown, format: Format, notation: Notation): string {
  if (format === "jsonl") return toJson({ key: notation.keyToJson(key), value });
  const keyText = notation.keyToText(key);
  if (/[\n\r]/.test(keyText)) throw unsuited(keyText, "has a line break", format);
  if (format === "lines") return keyText;
  if (keyText.includes("\t")) throw unsuited(keyText, "has a tab", format);
  const isText = typeof value === "string" || notation.hasByteValues;
  if (!isText) throw unsuited(keyText, "has a value that is not a string", format);
  const valueText = notation.valueToText(value);
  if (/[\n\r]/.test(valueText)) throw unsuited(keyText, "has a line break in its value", format);
  return `${keyText}\t${valueText}`;
}

function unsuited(key: string, problem: string, format: Format): DataError {
  return new DataError(
    `key ${JSON.stringify(key)} ${problem}, which ${format} cannot hold: use --format jsonl`,
  );
}
