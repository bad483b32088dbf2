/**
 * The options that commands share, and opening a store by them.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import { loadChecksum } from "../bytes/checksum.ts";
import {
  type Database,
  DatabaseError,
  type IterationRange,
  type KeyEncoding,
  open,
  type ValueEncoding,
} from "../index.ts";
import { NodeFileSystem } from "../io/node.ts";
import { readManifest } from "../manifest/manifest.ts";
import { type Context, DataError } from "./context.ts";
import {
  isKeyEncoding,
  isValueEncoding,
  KEY_ENCODINGS,
  type Key,
  type KeyEncodingName,
  Notation,
  VALUE_ENCODINGS,
  type ValueEncodingName,
} from "./notation.ts";

export interface EncodingOptions {
  readonly keyEncoding?: KeyEncodingName;
  readonly valueEncoding?: ValueEncodingName;
}

export interface RangeOptions {
  readonly gt?: string;
  readonly gte?: string;
  readonly lt?: string;
  readonly lte?: string;
  readonly prefix?: string;
}

/** A command on a store, with the options that say how its keys and values are encoded. */
export function addStoreCommand(program: Command, usage: string, description: string): Command {
  return program
    .command(usage)
    .description(description)
    .addOption(
      new Option(
        "--key-encoding <name>",
        "default: as the store was created, and utf8 for a new one",
      ).choices(KEY_ENCODINGS),
    )
    .addOption(
      new Option(
        "--value-encoding <name>",
        "default: as the store was created, and msgpack for a new one",
      ).choices(VALUE_ENCODINGS),
    );
}

export function addRangeOptions(command: Command): Command {
  return command
    .option("--gt <key>", "keys after this one")
    .option("--gte <key>", "keys at or after this one")
    .option("--lt <key>", "keys before this one")
    .option("--lte <key>", "keys at or before this one")
    .option("--prefix <text>", "keys that begin so");
}

/** Examples below a command's help, each a command line and what it does. */
export function addExamples(
  command: Command,
  examples: readonly (readonly [string, string])[],
): void {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, does]) => `  $ ${line.padEnd(width)}  ${does}`);
  command.addHelpText("after", `\nExamples:\n${lines.join("\n")}`);
}

/** Parser of an option that is a whole number. */
export function wholeNumber(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number)) {
    throw new InvalidArgumentError("It must be a whole number.");
  }
  return number;
}

/** The encodings that a command is told, or those that the store was created with. */
export async function notationOf(directory: string, options: EncodingOptions): Promise<Notation> {
  await loadChecksum();
  // Whatever is wrong with the store, to open it tells.
  const recorded = await readManifest(new NodeFileSystem(), directory).catch(() => undefined);
  return new Notation(
    options.keyEncoding ?? recorded?.keyEncoding ?? "utf8",
    options.valueEncoding ?? recorded?.valueEncoding ?? "msgpack",
  );
}

export function rangeOf(options: RangeOptions, notation: Notation): IterationRange<Key> {
  const range: Record<string, Key> = {};
  for (const bound of ["gt", "gte", "lt", "lte", "prefix"] as const) {
    const argument = options[bound];
    if (argument !== undefined) range[bound] = notation.keyFromArgument(argument);
  }
  return range;
}

/** "read": must exist, and may be open elsewhere. "write": must exist. "create": may be new. */
export type Access = "read" | "write" | "create";

/**
 * Opens the store, hands it to `use`, and closes it whatever happens. `encodings`: as `notationOf` found
 * them, or what it is to be asked.
 */
export async function withStore<T>(
  directory: string,
  encodings: Notation | EncodingOptions,
  access: Access,
  context: Context,
  use: (store: Database<Key, unknown>) => T | Promise<T>,
): Promise<T> {
  const { keyEncoding, valueEncoding } =
    encodings instanceof Notation ? encodings : await notationOf(directory, encodings);
  const store = await open<Key, unknown>(directory, {
    keyEncoding: isKeyEncoding(keyEncoding) ? keyEncoding : bytesAs(keyEncoding),
    valueEncoding: isValueEncoding(valueEncoding) ? valueEncoding : bytesAs(valueEncoding),
    createIfMissing: access === "create",
    readOnly: access === "read",
    background: context.background,
  }).catch((error: unknown) => {
    // memkv's own words are about options of `open`.
    if (!(error instanceof DatabaseError && error.code === "MEMKV_NOT_FOUND")) throw error;
    throw new DataError(`there is no store in ${directory}: check the path`, { cause: error });
  });
  let result: T;
  try {
    result = await use(store);
  } catch (error) {
    // What went wrong first is what the user must hear of, whatever closing runs into after it.
    await store.close().catch(() => undefined);
    throw error;
  }
  await store.close();
  return result;
}

/** Stands in for an encoding of the user's own: of its bytes, nothing is made. */
function bytesAs(name: string): KeyEncoding<Key> & ValueEncoding<unknown> {
  return { name, encode: (bytes) => bytes as Uint8Array, decode: (bytes) => bytes };
}
