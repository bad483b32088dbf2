/**
 * `memkv put`: stores a value under a key.
 */
import type { Command } from "commander";
import { type Context, DataError, UsageError } from "./context.ts";
import type { Notation } from "./notation.ts";
import {
  addExamples,
  addStoreCommand,
  type EncodingOptions,
  notationOf,
  wholeNumber,
  withStore,
} from "./store.ts";

export function addPut(program: Command, context: Context): void {
  const command = addStoreCommand(
    program,
    "put <directory> <key> [value]",
    "store a value under a key, durably; the store is created if it is missing",
  )
    .option("--json", "the value is JSON, not text")
    .option("--ttl <milliseconds>", "the entry is gone after so long", wholeNumber)
    .action(
      async (
        directory: string,
        key: string,
        argument: string | undefined,
        options: EncodingOptions & { json?: true; ttl?: number },
      ) => {
        const notation = await notationOf(directory, options);
        const value =
          options.json === true
            ? notation.valueFromJson(parseJson(argument ?? (await readAll(context)).toString()))
            : textValue(argument ?? (await readAll(context)), notation);
        await withStore(directory, notation, "create", context, (store) =>
          store.put(notation.keyFromArgument(key), value, {
            durability: "sync",
            ttl: options.ttl,
          }),
        );
      },
    );
  addExamples(command, [
    ["memkv put my-store lodash https://lodash.com", "a text"],
    [`memkv put my-store lodash '{"stars":1}' --json`, "an object"],
    ["memkv put my-store licence < LICENSE", "what standard input holds"],
    ["memkv put my-store session ada --ttl 60000", "gone after a minute"],
  ]);
}

function textValue(content: string | Buffer, notation: Notation): unknown {
  if (typeof content === "string") return notation.valueFromArgument(content);
  return notation.hasByteValues ? notation.valueOfBytes(content) : content.toString();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`the value is not JSON: ${(error as Error).message}`, { cause: error });
  }
}

/** All of standard input. */
async function readAll(context: Context): Promise<Buffer> {
  if ((context.stdin as { isTTY?: boolean }).isTTY === true) {
    throw new UsageError("no value: give one, or send it to standard input");
  }
  const chunks: Buffer[] = [];
  for await (const chunk of context.stdin) chunks.push(Buffer.from(chunk as Buffer));
  const content = Buffer.concat(chunks);
  if (content.length > 2 ** 28) throw new DataError("the value is over 256 MiB long");
  return content;
}
