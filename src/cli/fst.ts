/**
 * `memkv fst`: builds and asks a frozen layer, an immutable sorted map in one file.
 *
 * Keys are lines of text; with `--map`, each line is a key, a tab and a whole number. The file is
 * read whole and used in place.
 */
import { readFileSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import type { Command } from "commander";
import { FrozenLayer, FrozenLayerBuilder, type FrozenRange } from "../fst/index.ts";
import { InvalidArgumentError } from "../index.ts";
import { type Context, DataError, EXIT_DATA, type Outcome, systemError } from "./context.ts";
import { openSource, readBlocks } from "./input.ts";
import { Output, replaceFile } from "./output.ts";
import { startProgress } from "./progress.ts";
import { addPatternOptions, type PatternOptions, patternOf } from "./search.ts";
import { addExamples, addRangeOptions, type RangeOptions, wholeNumber } from "./store.ts";
import { formatBytes, formatCount, formatShare } from "./text.ts";

interface BuildOptions {
  readonly map?: true;
  readonly sort?: true;
  readonly registryCells?: number;
  readonly quiet?: true;
  readonly json?: true;
}

interface ListOptions extends RangeOptions {
  readonly limit?: number;
  readonly reverse?: true;
  readonly keys?: true;
  readonly json?: true;
}

/** Keys inserted without waiting. */
const STEP = 2 ** 16;

export function addFst(program: Command, context: Context, outcome: Outcome): void {
  const fst = program
    .command("fst")
    .description("build and search an immutable sorted map in one file, smaller than its keys");
  const build = fst
    .command("build <input> <file>")
    .description("build a file from keys, one a line, in byte order; - is standard input")
    .option("--map", "each line is a key, a tab and a whole number")
    .option("--sort", "sort the input first, in memory; of equal keys the last stays")
    .option(
      "--registry-cells <count>",
      "states kept to find equal ones; more is smaller",
      wholeNumber,
    )
    .option("--quiet", "no progress bar")
    .option("--json", "print what was built as JSON")
    .action((input: string, file: string, options: BuildOptions) =>
      buildFile(input, file, options, context),
    );
  addExamples(build, [
    ["LC_ALL=C sort -u words.txt | memkv fst build - words.fst", "a set of words"],
    ["memkv fst build --map --sort ids.tsv ids.fst", "a map, from input in any order"],
  ]);
  const get = fst
    .command("get <file> <key>")
    .description("print the value of a key, its rank in a set; exit code 1 if it is not there")
    .option("--json", "print { found, key, value } as JSON")
    .action((file: string, key: string, options: { readonly json?: true }) =>
      getKey(file, key, options.json === true, context, outcome),
    );
  addExamples(get, [["memkv fst get words.fst pear", "how many words sort before pear"]]);
  const range = addListOptions(
    fst.command("range <file>").description("print keys and values of a range, in order"),
  ).action((file: string, options: ListOptions) =>
    printEntries(openLayer(file).entries(rangeOf(options)), options, context),
  );
  addExamples(range, [["memkv fst range words.fst --prefix pre --limit 10", "the first ten"]]);
  const search = addPatternOptions(
    addListOptions(
      fst.command("search <file>").description("print the entries whose keys match a pattern"),
    ),
  ).action((file: string, options: ListOptions & PatternOptions) =>
    printEntries(openLayer(file).search(patternOf(options), rangeOf(options)), options, context),
  );
  addExamples(search, [
    ["memkv fst search words.fst --fuzzy recieve --distance 2", "words spelt about so"],
  ]);
  const stats = fst
    .command("stats <file>")
    .description("print how many keys there are, how large they would be, and where the bytes are")
    .option("--json", "as JSON")
    .action((file: string, options: { readonly json?: true }) =>
      printStats(file, options.json === true, context),
    );
  addExamples(stats, [["memkv fst stats words.fst --json", "for another program"]]);
  const verify = fst
    .command("verify <file>")
    .description("check every byte and every key; exit code 1 if anything is damaged")
    .action((file: string) => {
      const layer = openLayer(file);
      layer.verify();
      context.stdout.write(`sound: ${formatCount(layer.size)} keys\n`);
    });
  addExamples(verify, [["memkv fst verify words.fst && echo sound", "is it as it was written?"]]);
}

function addListOptions(command: Command): Command {
  return addRangeOptions(command)
    .option("--limit <count>", "at most so many", wholeNumber)
    .option("--reverse", "from the last to the first")
    .option("--keys", "print keys alone")
    .option("--json", "print each entry as a line of JSON, { key, value }");
}

async function buildFile(
  input: string,
  file: string,
  options: BuildOptions,
  context: Context,
): Promise<void> {
  const isMap = options.map === true;
  const source = openSource(input, context);
  const isShown = options.quiet !== true && options.json !== true;
  const progress = startProgress(context, source.totalBytes, "keys", isShown);
  const { registryCells } = options;
  const builder = new FrozenLayerBuilder({
    values: isMap,
    ...(registryCells === undefined ? {} : { registryCells }),
  });
  const unsorted = new Map<string, number | undefined>();
  let keyCount = 0;
  let keyBytes = 0;
  const insert = (key: string, value: number | undefined): void => {
    const bytes = Buffer.from(key);
    builder.insert(bytes, value);
    keyBytes += bytes.length;
  };
  try {
    for await (const { lines, firstLineNumber } of readBlocks(source, "utf8")) {
      for (const [index, line] of lines.entries()) {
        try {
          const [key, value] = isMap ? parseEntry(line) : [line, undefined];
          if (options.sort === true) unsorted.set(key, value);
          else insert(key, value);
        } catch (error) {
          throw located(error, source.name, firstLineNumber + index);
        }
      }
      keyCount += lines.length;
      progress.update(source.readBytes, keyCount);
    }
    let insertedCount = 0;
    for (const [key, value] of sorted(unsorted)) {
      insert(key, value);
      // Ctrl-C is heard between two turns of the event loop.
      if (++insertedCount % STEP === 0) await setImmediate();
    }
  } finally {
    progress.stop();
    source.stream.destroy();
  }
  const bytes = builder.finish();
  await replaceFile(file, bytes);
  const { size } = new FrozenLayer(bytes, { file });
  context.stdout.write(
    options.json === true
      ? `${JSON.stringify({ keys: size, keyBytes, fileBytes: bytes.length })}\n`
      : `${formatCount(size)} keys, ${formatBytes(keyBytes)}, in ${formatBytes(bytes.length)} ` +
          `(${formatShare(bytes.length, keyBytes)})\n`,
  );
}

/** A key and its value, as `--map` has them. */
function parseEntry(line: string): [key: string, value: number] {
  const tab = line.lastIndexOf("\t");
  const text = line.slice(tab + 1);
  if (tab < 0 || !/^\d+$/.test(text) || !Number.isSafeInteger(Number(text))) {
    throw new DataError("not a key, a tab and a whole number");
  }
  return [line.slice(0, tab), Number(text)];
}

/** In order of UTF-8 bytes. */
function sorted(entries: Map<string, number | undefined>): [string, number | undefined][] {
  return [...entries]
    .map(([key, value]) => ({ key, value, bytes: Buffer.from(key) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ key, value }) => [key, value]);
}

function located(error: unknown, name: string, lineNumber: number): unknown {
  const isInput = error instanceof DataError || error instanceof InvalidArgumentError;
  if (!isInput) return error;
  const hint = error instanceof InvalidArgumentError ? " (sort the input, or use --sort)" : "";
  return new DataError(`${name}, line ${lineNumber}: ${error.message}${hint}`, { cause: error });
}

function openLayer(file: string): FrozenLayer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw systemError(`read ${file}`, error);
  }
  return new FrozenLayer(bytes, { file });
}

function rangeOf(options: ListOptions): FrozenRange {
  const range: Record<string, Uint8Array | boolean | number> = {};
  for (const bound of ["gt", "gte", "lt", "lte", "prefix"] as const) {
    const text = options[bound];
    if (text !== undefined) range[bound] = Buffer.from(text);
  }
  if (options.reverse === true) range["reverse"] = true;
  if (options.limit !== undefined) range["limit"] = options.limit;
  return range;
}

async function getKey(
  file: string,
  key: string,
  isJson: boolean,
  context: Context,
  outcome: Outcome,
): Promise<void> {
  const value = openLayer(file).get(Buffer.from(key));
  if (value === undefined) outcome.exitCode = EXIT_DATA;
  if (isJson) {
    const facts = value === undefined ? { found: false, key } : { found: true, key, value };
    context.stdout.write(`${JSON.stringify(facts)}\n`);
  } else if (value === undefined) {
    context.stderr.write(`memkv: there is no key ${JSON.stringify(key)} in ${file}\n`);
  } else {
    context.stdout.write(`${value}\n`);
  }
}

async function printEntries(
  entries: Iterable<[Uint8Array, number]>,
  options: ListOptions,
  context: Context,
): Promise<void> {
  const output = Output.to(context.stdout, "utf8");
  await output.lines(linesOf(entries, options));
  await output.finish();
}

function* linesOf(
  entries: Iterable<[Uint8Array, number]>,
  options: ListOptions,
): Generator<string> {
  const isKeys = options.keys === true;
  for (const [bytes, value] of entries) {
    const key = Buffer.from(bytes).toString();
    if (options.json === true) yield JSON.stringify(isKeys ? { key } : { key, value });
    else yield isKeys ? key : `${key}\t${value}`;
  }
}

function printStats(file: string, isJson: boolean, context: Context): void {
  const layer = openLayer(file);
  let keyBytes = 0;
  for (const key of layer.keys()) keyBytes += key.length;
  const { size, byteLength } = layer;
  const { headerBytes, symbolBytes, stateBytes, valueBytes } = layer.stats();
  const parts = { headerBytes, symbolBytes, stateBytes, valueBytes };
  context.stdout.write(
    isJson
      ? `${JSON.stringify({ keys: size, keyBytes, fileBytes: byteLength, ...parts })}\n`
      : `${formatCount(size)} keys\n${formatBytes(keyBytes)} of keys\n` +
          `${formatBytes(byteLength)} in the file (${formatShare(byteLength, keyBytes)}): ` +
          `header ${formatBytes(headerBytes)}, symbols ${formatBytes(symbolBytes)}, ` +
          `states ${formatBytes(stateBytes)}, values ${formatBytes(valueBytes)}\n`,
  );
}
