/**
 * The encodings of keys and values together: what a user may name, which types follow from it, and
 * the codecs that the engine reads and writes with.
 */
import {
  createKeyCodec,
  describe,
  type KeyCodec,
  type KeyEncoding,
  type KeyEncodingOption,
} from "../encoding/key-codec.ts";
import { type OrderedKey, OrderedKeyCodec } from "../encoding/ordered-keys.ts";
import {
  createValueCodec,
  type ValueCodec,
  type ValueEncoding,
  type ValueEncodingOption,
} from "../encoding/value-codec.ts";
import { InvalidArgumentError } from "../errors.ts";
import { resolveOptions } from "./options.ts";

/** The encodings of a database. */
export interface Codecs<K, V> {
  readonly key: KeyCodec<K>;
  readonly value: ValueCodec<V>;
}

/** Encodings as a user names them. */
export interface Encodings<KE, VE> {
  /** Default `"utf8"`. */
  readonly keyEncoding?: KE | undefined;
  /** Default `"msgpack"`. */
  readonly valueEncoding?: VE | undefined;
}

/** The type of keys under an encoding. */
export type KeyOf<E> = E extends "utf8"
  ? string
  : E extends "binary"
    ? Uint8Array
    : E extends "ordered"
      ? OrderedKey
      : E extends KeyEncoding<infer K>
        ? K
        : string;

/** The type of values under an encoding. */
export type ValueOf<E> = E extends "utf8"
  ? string
  : E extends "binary"
    ? Uint8Array
    : E extends ValueEncoding<infer V>
      ? V
      : unknown;

/** Throws InvalidArgumentError for an encoding that is unknown or incomplete. */
export function createCodecs<K, V>(
  encodings: Encodings<KeyEncodingOption<unknown>, ValueEncodingOption<unknown>>,
): Codecs<K, V> {
  if (typeof encodings !== "object" || encodings === null) {
    throw new InvalidArgumentError(`encodings must be an object, not ${describe(encodings)}`);
  }
  const { keyEncoding, valueEncoding } = encodings;
  const resolved = resolveOptions<unknown, unknown>({ keyEncoding, valueEncoding });
  return {
    key: keyCodecOf<K>(resolved.keyEncoding),
    value: createValueCodec(resolved.valueEncoding) as Codecs<K, V>["value"],
  };
}

/** Throws InvalidArgumentError unless an encoding is the one that the database was created with. */
export function checkEncoding(option: string, recorded: string, asked: string): void {
  if (recorded === asked) return;
  throw new InvalidArgumentError(
    `the database was created with ${option} "${recorded}", so it cannot be opened with "${asked}"`,
  );
}

function keyCodecOf<K>(option: KeyEncodingOption<unknown>): KeyCodec<K> {
  const codec = option === "ordered" ? new OrderedKeyCodec() : createKeyCodec(option);
  return codec as KeyCodec<unknown> as KeyCodec<K>;
}
