/**
 * `memkv build`: fills a store from a file or from standard input.
 *
 * Entries go in by batches, without a sync each: what counts is the end, where all is flushed and
 * synced. A signal ends the reading after the current batch and closes the store in good order, so
 * that it opens again with every entry read so far; a second signal ends the process at once, which
 * the store survives too.
 */
import { type Command, Option } from "commander";
import type { Database } from "../index.ts";
import { type Context, DataError, type Outcome } from "./context.ts";
import { Fill } from "./fill.ts";
import { FORMATS, type Format, formatOf, openSource, type Source } from "./input.ts";
import { hearSignals, SIGNAL_EXIT_CODES, type Signal } from "./interrupt.ts";
import type { Key } from "./notation.ts";
import { announce, startProgress } from "./progress.ts";
import {
  addExamples,
  addStoreCommand,
  type EncodingOptions,
  notationOf,
  withStore,
} from "./store.ts";
import { formatBytes, formatCount, formatShare } from "./text.ts";

interface BuildOptions extends EncodingOptions {
  readonly format?: Format;
  readonly compact: boolean;
  readonly json?: true;
  readonly quiet?: true;
}

export function addBuild(program: Command, context: Context, outcome: Outcome): void {
  const command = addStoreCommand(
    program,
    "build <input> <directory>",
    'fill a store from a file, or from standard input ("-"); gzip is recognised, order does not matter',
  )
    .addOption(
      new Option("--format <name>", "default: by the input's name, else lines").choices(FORMATS),
    )
    .option("--no-compact", "leave out the compaction at the end, which makes the store smallest")
    .option("--json", "print what was done as JSON")
    .option("--quiet", "no progress bar")
    .action(async (input: string, directory: string, options: BuildOptions) => {
      outcome.exitCode = await build(input, directory, options, context);
    });
  command.addHelpText(
    "after",
    `
Formats:
  lines  each line is a key; its value is the empty string
  tsv    key, tab, value
  jsonl  {"key": "...", "value": ...} on each line`,
  );
  addExamples(command, [
    ["memkv build pairs.tsv.gz my-store", "from gzipped TSV"],
    ["memkv build urls.txt my-store", "keys alone, one a line"],
    ["sort -u words | memkv build - my-store", "from another program"],
  ]);
}

/** Fills the store, and gives the exit code. */
async function build(
  input: string,
  directory: string,
  options: BuildOptions,
  context: Context,
): Promise<number> {
  const source = openSource(input, context);
  const started = performance.now();
  try {
    const notation = await notationOf(directory, options);
    return await withStore(directory, notation, "create", context, async (store) => {
      const format = options.format ?? formatOf(source.name);
      const fill = new Fill(store, source, format, notation);
      const signal = await runFill(fill, source, directory, options, context);
      if (signal !== undefined) {
        const written = `${formatCount(fill.entryCount)} entries are in ${directory}`;
        context.stderr.write(`memkv: interrupted; ${written}\n`);
        return SIGNAL_EXIT_CODES[signal];
      }
      announce(context, options.compact ? "compacting" : "flushing", isShown(options));
      await store.flush();
      if (options.compact) await store.compact();
      const seconds = (performance.now() - started) / 1000;
      report(store, { source, entryCount: fill.entryCount, seconds }, options, context);
      return 0;
    });
  } finally {
    source.stream.destroy();
  }
}

/** Runs `fill` with a progress bar until it ends or a signal arrives, which it returns. */
async function runFill(
  fill: Fill,
  source: Source,
  directory: string,
  options: BuildOptions,
  context: Context,
): Promise<Signal | undefined> {
  let received: Signal | undefined;
  const stopHearing = hearSignals((signal) => {
    received = signal;
    fill.stop();
  });
  const progress = startProgress(context, source.totalBytes, "keys", isShown(options));
  try {
    await fill.run(() => progress.update(source.readBytes, fill.entryCount));
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    const written = `${formatCount(fill.entryCount)} entries before it are in ${directory}`;
    throw new DataError(`${error.message} (${written})`, { cause: error });
  } finally {
    progress.stop();
    stopHearing();
  }
  return received;
}

/** Whether progress may be shown. */
function isShown(options: BuildOptions): boolean {
  return options.quiet !== true && options.json !== true;
}

function report(
  store: Database<Key, unknown>,
  done: { readonly source: Source; readonly entryCount: number; readonly seconds: number },
  options: BuildOptions,
  context: Context,
): void {
  const diskBytes = store.stats().disk.total;
  const { entryCount, seconds } = done;
  const inputBytes = done.source.lineBytes;
  const entriesPerSecond = Math.round(entryCount / seconds);
  if (options.json === true) {
    const facts = { entries: entryCount, inputBytes, diskBytes, seconds, entriesPerSecond };
    context.stdout.write(`${JSON.stringify(facts)}\n`);
    return;
  }
  context.stdout.write(
    `${formatCount(entryCount)} entries in ${seconds.toFixed(1)} s (${formatCount(entriesPerSecond)}/s); ` +
      `input ${formatBytes(inputBytes)}, store ${formatBytes(diskBytes)} (${formatShare(diskBytes, inputBytes)})\n`,
  );
}
