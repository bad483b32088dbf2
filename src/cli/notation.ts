/**
 * How keys and values are written on a command line, in lines of text and in JSON.
 *
 * Text is what it says: a string is written as it is, any other value as JSON. A store whose keys
 * or values are binary has its text written byte for byte, so all text of such a store travels as
 * "latin1" strings, one character a byte. In JSON, where there are no bytes, they are base64. Ordered
 * keys are JSON wherever they are written (ordered-json.ts).
 *
 * Of an encoding of the user's own, the bytes that it made are shown; only the program that has it can
 * make others.
 */
import type { OrderedKey } from "../index.ts";
import { DataError, UsageError } from "./context.ts";
import { fromOrderedJson, toOrderedJson } from "./ordered-json.ts";

export type Key = OrderedKey;

export const KEY_ENCODINGS = ["utf8", "binary", "ordered"] as const;
export const VALUE_ENCODINGS = ["msgpack", "json", "utf8", "binary"] as const;
export type KeyEncodingName = (typeof KEY_ENCODINGS)[number];
export type ValueEncodingName = (typeof VALUE_ENCODINGS)[number];

export class Notation {
  /** A name of the lists above, or that of an encoding of the user's own. */
  readonly keyEncoding: string;
  readonly valueEncoding: string;
  /** Whether values are bytes, and not text or what JSON can say. */
  readonly hasByteValues: boolean;
  /** How text is read from and written to files and pipes. */
  readonly textEncoding: "utf8" | "latin1";

  constructor(keyEncoding: string, valueEncoding: string) {
    this.keyEncoding = keyEncoding;
    this.valueEncoding = valueEncoding;
    this.hasByteValues = valueEncoding === "binary" || !isValueEncoding(valueEncoding);
    const hasByteKeys = keyEncoding === "binary" || !isKeyEncoding(keyEncoding);
    this.textEncoding = hasByteKeys || this.hasByteValues ? "latin1" : "utf8";
  }

  /** A key from the command line. */
  keyFromArgument(argument: string): Key {
    if (this.keyEncoding === "utf8") return argument;
    if (this.keyEncoding !== "ordered") return this.keyOfBytes(Buffer.from(argument, "utf8"));
    try {
      return parseOrdered(argument);
    } catch (error) {
      throw new UsageError(`the key ${argument}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** A value from the command line. */
  valueFromArgument(argument: string): unknown {
    return this.hasByteValues ? this.valueOfBytes(Buffer.from(argument, "utf8")) : argument;
  }

  keyFromText(text: string): Key {
    if (this.keyEncoding === "utf8") return this.stringOf(text);
    if (this.keyEncoding !== "ordered") return this.keyOfBytes(Buffer.from(text, "latin1"));
    try {
      return parseOrdered(this.stringOf(text));
    } catch (error) {
      throw new DataError(`the key: ${(error as Error).message}`, { cause: error });
    }
  }

  valueFromText(text: string): unknown {
    return this.hasByteValues
      ? this.valueOfBytes(Buffer.from(text, "latin1"))
      : this.stringOf(text);
  }

  keyToText(key: Key): string {
    if (this.keyEncoding !== "ordered") return this.textOf(key as string | Uint8Array);
    return this.textOf(JSON.stringify(toOrderedJson(key)));
  }

  valueToText(value: unknown): string {
    if (this.hasByteValues) return this.textOf(value as Uint8Array);
    return this.textOf(typeof value === "string" ? value : toJson(value));
  }

  /** What `toJson` is to write for a key. */
  keyToJson(key: Key): unknown {
    return this.keyEncoding === "ordered" ? toOrderedJson(key) : key;
  }

  keyFromJson(json: unknown): Key {
    if (this.keyEncoding === "ordered") return orderedOf(json);
    if (typeof json !== "string") throw new DataError("the key is not a string");
    return this.keyEncoding === "utf8" ? json : this.keyOfBytes(Buffer.from(json, "base64"));
  }

  valueFromJson(json: unknown): unknown {
    if (!this.hasByteValues) return json;
    if (typeof json !== "string") throw new DataError("the value is not a string in base64");
    return this.valueOfBytes(Buffer.from(json, "base64"));
  }

  /** A value of a store whose values are bytes. */
  valueOfBytes(bytes: Buffer): Buffer {
    if (this.valueEncoding === "binary") return bytes;
    throw onlyItsProgram("values", this.valueEncoding);
  }

  private keyOfBytes(bytes: Buffer): Buffer {
    if (this.keyEncoding === "binary") return bytes;
    throw onlyItsProgram("keys", this.keyEncoding);
  }

  private stringOf(text: string): string {
    return this.textEncoding === "latin1" ? Buffer.from(text, "latin1").toString("utf8") : text;
  }

  private textOf(content: string | Uint8Array): string {
    if (this.textEncoding === "utf8" && typeof content === "string") return content;
    return Buffer.from(content as string).toString(this.textEncoding);
  }
}

export function isKeyEncoding(name: string): name is KeyEncodingName {
  return (KEY_ENCODINGS as readonly string[]).includes(name);
}

export function isValueEncoding(name: string): name is ValueEncodingName {
  return (VALUE_ENCODINGS as readonly string[]).includes(name);
}

function parseOrdered(text: string): Key {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new SyntaxError("not JSON, as ordered keys are to be", { cause: error });
  }
  return fromOrderedJson(json);
}

function orderedOf(json: unknown): Key {
  try {
    return fromOrderedJson(json);
  } catch (error) {
    throw new DataError(`the key: ${(error as Error).message}`, { cause: error });
  }
}

function onlyItsProgram(what: string, encoding: string): DataError {
  return new DataError(
    `the store's ${what} are encoded by its program's own "${encoding}": they can be shown, as bytes, but not made here`,
  );
}

/** JSON of any value memkv can hold: bytes as base64, big integers as strings, sets as arrays. */
export function toJson(value: unknown): string {
  return JSON.stringify(isPlain(value) ? value : simplify(value));
}

function isPlain(value: unknown): boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

function simplify(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (value instanceof ArrayBuffer) return Buffer.from(value).toString("base64");
  if (ArrayBuffer.isView(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64");
  }
  if (value instanceof RegExp) return value.toString();
  if (Array.isArray(value) || value instanceof Set) return [...value].map(simplify);
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, simplify(part)]));
}
