/**
 * open: a database of the user's directory, options and encodings. What is opened below the encodings
 * is in open-store.ts.
 */
import { EventEmitter } from "node:events";
import type { KeyEncodingOption } from "../encoding/key-codec.ts";
import type { ValueEncodingOption } from "../encoding/value-codec.ts";
import { MemoryFileSystem } from "../io/memory.ts";
import { NodeFileSystem } from "../io/node.ts";
import { checkThreadCanStart } from "../jobs/worker-runner.ts";
import { createCodecs, type Encodings, type KeyOf, type ValueOf } from "./codecs.ts";
import { Database, type DatabaseEvents } from "./database.ts";
import { publish } from "./diagnostics.ts";
import { toUserError, withUserErrors } from "./io-error.ts";
import { openStore } from "./open-store.ts";
import { checkPath, type OpenOptions, resolveOptions } from "./options.ts";

type WithEncodings<KE, VE> = Omit<OpenOptions<unknown, unknown>, "keyEncoding" | "valueEncoding"> &
  Encodings<KE, VE>;

/**
 * Opens the database in a directory, founding it if there is none.
 *
 * `":memory:"` is a database of its own in memory, gone when it is closed. The types of keys and
 * values follow from the encodings; `open<string, User>(...)` says them outright.
 *
 * Cost: reads the manifest, the key index of every segment, and replays the log; independent of the
 * amount of values.
 *
 * @throws InvalidArgumentError for an unknown or ill-typed option, or an encoding other than the one
 *   that the database was created with.
 * @throws LockedError (MEMKV_LOCKED): another open database has the directory.
 * @throws DatabaseError MEMKV_NOT_FOUND, MEMKV_EXISTS, MEMKV_NOT_A_DATABASE: see `createIfMissing`
 *   and `errorIfExists`, and the message.
 * @throws UnsupportedVersionError: a newer memkv wrote the files.
 * @throws CorruptionError: a file is damaged or missing.
 */
export function open<
  KE extends KeyEncodingOption<unknown> = "utf8",
  VE extends ValueEncodingOption<unknown> = "msgpack",
>(directory: string, options?: WithEncodings<KE, VE>): Promise<Database<KeyOf<KE>, ValueOf<VE>>>;
export function open<K, V>(directory: string, options?: OpenOptions<K, V>): Promise<Database<K, V>>;
export async function open<K, V>(
  directory: string,
  options?: OpenOptions<K, V>,
): Promise<Database<K, V>> {
  checkPath("directory", directory);
  const resolved = resolveOptions(options);
  const codecs = createCodecs<K, V>(resolved);
  const emitter = new EventEmitter();
  // A listener that throws must not take the work that it is told of down with it, and one that
  // writes must not do so in the middle of a write.
  const emit = (name: keyof DatabaseEvents, payload: unknown): void => {
    queueMicrotask(() => {
      publish(name, { directory, [name === "error" ? "error" : "event"]: payload });
      if (emitter.listenerCount(name) > 0) emitter.emit(name, payload);
    });
  };
  const isInMemory = directory === ":memory:" && resolved.fileSystem === undefined;
  const background = isInMemory ? "inline" : resolved.background;
  if (background === "worker" && !resolved.readOnly) checkThreadCanStart();
  const fileSystem =
    resolved.fileSystem ?? (isInMemory ? new MemoryFileSystem() : new NodeFileSystem());
  const store = await withUserErrors("open", () =>
    openStore(
      fileSystem,
      directory,
      {
        ...resolved,
        background,
        keyEncoding: codecs.key.name,
        valueEncoding: codecs.value.name,
      },
      {
        flush: (event) => emit("flush", event),
        compaction: (event) => emit("compaction", event),
        stall: (event) => emit("stall", event),
        warning: (event) => {
          resolved.logger.warn?.(event.message);
          emit("warning", event);
        },
        error: (cause) => {
          const error = toUserError(cause, "background work");
          resolved.logger.error?.(String(error));
          emit("error", error);
        },
        closed: () => publish("close", { directory }),
      },
    ),
  );
  publish("open", { directory, recovery: store.recovery });
  return new Database(store, codecs, emitter);
}
