/**
 * `memkv import`: takes over the database of another store, byte for byte.
 *
 * LevelDB is read through classic-level, which memkv does not bring: it is looked for where the user
 * works, as `import` would. Afterwards both are read side by side and compared, so that what the
 * command reports as imported was seen in the new store.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Command, Option } from "commander";
import { type Database, open } from "../index.ts";
import { type Context, DataError } from "./context.ts";
import { announce, type Progress, startProgress } from "./progress.ts";
import { addExamples } from "./store.ts";
import { formatBytes, formatCount } from "./text.ts";

interface ImportOptions {
  readonly from: "leveldb";
  readonly keyEncoding: "binary" | "utf8";
  readonly valueEncoding: "binary" | "utf8" | "json";
  readonly compact: boolean;
  readonly json?: true;
  readonly quiet?: true;
}

type Bytes = Uint8Array;
type Store = Database<Bytes, Bytes>;

/** What is used of a database of abstract-level, opened with keys and values as bytes. */
interface LevelDatabase {
  open(options: { createIfMissing: boolean }): Promise<void>;
  close(): Promise<void>;
  iterator(): LevelIterator;
}

interface LevelIterator {
  nextv(size: number): Promise<[key: Bytes, value: Bytes][]>;
  close(): Promise<void>;
}

type LevelConstructor = new (
  location: string,
  options: { keyEncoding: "view"; valueEncoding: "view" },
) => LevelDatabase;

/** Entries of one batch. */
const BATCH_COUNT = 1000;

export function addImport(program: Command, context: Context): void {
  const command = program
    .command("import <source> <directory>")
    .description("fill a store from the database of another kind of store, and compare the two")
    .addOption(
      new Option("--from <kind>", "what the source is: leveldb needs the package classic-level")
        .choices(["leveldb"])
        .makeOptionMandatory(),
    )
    .addOption(
      new Option("--key-encoding <name>", "how the new store's keys are to be read")
        .choices(["binary", "utf8"])
        .default("binary"),
    )
    .addOption(
      new Option("--value-encoding <name>", "how the new store's values are to be read")
        .choices(["binary", "utf8", "json"])
        .default("binary"),
    )
    .option("--no-compact", "leave out the compaction at the end, which makes the store smallest")
    .option("--json", "print what was done as JSON")
    .option("--quiet", "no progress bar")
    .action(async (source: string, directory: string, options: ImportOptions) => {
      const report = await importFrom(source, directory, options, context);
      context.stdout.write(
        options.json === true
          ? `${JSON.stringify(report)}\n`
          : `${formatCount(report.entries)} entries imported and compared; store ${formatBytes(report.diskBytes)}\n`,
      );
    });
  addExamples(command, [
    [
      "memkv import old-level my-store --from leveldb",
      "for MemkvLevel, whichever encodings it uses",
    ],
    [
      "memkv import old my-store --from leveldb --key-encoding utf8 --value-encoding json",
      "for open()",
    ],
  ]);
}

async function importFrom(
  location: string,
  directory: string,
  options: ImportOptions,
  context: Context,
): Promise<{ entries: number; diskBytes: number }> {
  const source = await openLevel(location, context);
  try {
    const typed = await open(directory, {
      keyEncoding: options.keyEncoding,
      valueEncoding: options.valueEncoding,
      background: context.background,
    });
    try {
      const store = typed.withEncodings({ keyEncoding: "binary", valueEncoding: "binary" });
      return await copy(source, store, location, options, context);
    } finally {
      await typed.close();
    }
  } finally {
    await source.close();
  }
}

async function copy(
  source: LevelDatabase,
  store: Store,
  location: string,
  options: ImportOptions,
  context: Context,
): Promise<{ entries: number; diskBytes: number }> {
  if (store.count() > 0) {
    throw new DataError(`${store.location} is not empty: import into a directory of its own`);
  }
  const isShown = options.quiet !== true && options.json !== true;
  const check = checkOf(options);
  const progress = startProgress(context, undefined, "keys", isShown);
  try {
    await eachBlock(source, progress, async (entries) => {
      for (const [key, value] of entries) check(key, value);
      await store.batch(
        entries.map(([key, value]) => ({ type: "put", key, value })),
        { durability: "os" },
      );
    });
  } finally {
    progress.stop();
  }
  announce(context, options.compact ? "compacting" : "flushing", isShown);
  await store.flush();
  if (options.compact) await store.compact();
  announce(context, "comparing", isShown);
  const entries = await compare(source, store, location);
  return { entries, diskBytes: store.stats().disk.total };
}

/** The database of classic-level at `location`, open. */
async function openLevel(location: string, context: Context): Promise<LevelDatabase> {
  let database: LevelDatabase;
  try {
    const found = createRequire(join(context.directory, "import.js")).resolve("classic-level");
    const module = (await import(pathToFileURL(found).href)) as { ClassicLevel: LevelConstructor };
    database = new module.ClassicLevel(location, { keyEncoding: "view", valueEncoding: "view" });
  } catch (cause) {
    throw new DataError(
      "reading LevelDB needs the package classic-level: npm install classic-level",
      { cause },
    );
  }
  try {
    await database.open({ createIfMissing: false });
  } catch (error) {
    const { message, cause } = error as Error;
    const reason = cause instanceof Error ? cause.message : message;
    throw new DataError(`cannot open ${location} as LevelDB: ${reason}`, { cause: error });
  }
  return database;
}

async function eachBlock(
  source: LevelDatabase,
  progress: Progress,
  use: (entries: [key: Bytes, value: Bytes][]) => Promise<void>,
): Promise<void> {
  const iterator = source.iterator();
  let count = 0;
  try {
    for (;;) {
      const entries = await iterator.nextv(BATCH_COUNT);
      if (entries.length === 0) return;
      await use(entries);
      count += entries.length;
      progress.update(count, count);
    }
  } finally {
    await iterator.close();
  }
}

/** Throws for an entry that the store's encodings could not read back. */
function checkOf({
  keyEncoding,
  valueEncoding,
}: ImportOptions): (key: Bytes, value: Bytes) => void {
  const text = new TextDecoder("utf-8", { fatal: true });
  return (key, value) => {
    try {
      if (keyEncoding === "utf8") text.decode(key);
    } catch (cause) {
      throw new DataError(`key ${hex(key)} is no UTF-8: use --key-encoding binary`, { cause });
    }
    try {
      if (valueEncoding === "utf8") text.decode(value);
      if (valueEncoding === "json") JSON.parse(text.decode(value));
    } catch (cause) {
      const message = `the value of key ${hex(key)} is no ${valueEncoding}: use --value-encoding binary`;
      throw new DataError(message, { cause });
    }
  };
}

/** Reads both from end to end; how many entries they have in common, which must be all. */
async function compare(source: LevelDatabase, store: Store, location: string): Promise<number> {
  const iterator = store.entries()[Symbol.iterator]();
  let count = 0;
  try {
    await eachBlock(source, { update: () => undefined, stop: () => undefined }, async (entries) => {
      for (const [key, value] of entries) {
        const step = iterator.next();
        const isSame =
          step.done !== true &&
          Buffer.compare(step.value[0], key) === 0 &&
          Buffer.compare(step.value[1], value) === 0;
        if (!isSame) throw new DataError(`${location} and the store differ at key ${hex(key)}`);
        count++;
      }
    });
    if (iterator.next().done !== true) {
      throw new DataError(`the store holds more than the ${count} entries of ${location}`);
    }
  } finally {
    iterator.return();
  }
  return count;
}

function hex(key: Bytes): string {
  return `0x${Buffer.from(key).toString("hex")}`;
}
