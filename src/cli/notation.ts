/**
 * How keys and values are written on a command line, in lines of text and in JSON.
 *
 * Text is what it says: a string is written as it is, any other value as JSON. A store whose keys
 * or values are binary has its text written byte for byte, so all text of such a store travels as
 * "latin1" strings, one character a byte. In JSON, where there are no bytes, they are base64.
 */
import { DataError } from "./context.ts";

export type Key = string | Uint8Array;

export const KEY_ENCODINGS = ["utf8", "binary"] as const;
export const VALUE_ENCODINGS = ["msgpack", "json", "utf8", "binary"] as const;
export type KeyEncodingName = (typeof KEY_ENCODINGS)[number];
export type ValueEncodingName = (typeof VALUE_ENCODINGS)[number];

export class Notation {
  readonly keyEncoding: KeyEncodingName;
  readonly valueEncoding: ValueEncodingName;
  /** How text is read from and written to files and pipes. */
  readonly textEncoding: "utf8" | "latin1";

  constructor(keyEncoding: KeyEncodingName, valueEncoding: ValueEncodingName) {
    this.keyEncoding = keyEncoding;
    this.valueEncoding = valueEncoding;
    const isBinary = keyEncoding === "binary" || valueEncoding === "binary";
    this.textEncoding = isBinary ? "latin1" : "utf8";
  }

  /** A key from the command line. */
  keyFromArgument(argument: string): Key {
    return this.keyEncoding === "binary" ? Buffer.from(argument, "utf8") : argument;
  }

  /** A value from the command line. */
  valueFromArgument(argument: string): unknown {
    return this.valueEncoding === "binary" ? Buffer.from(argument, "utf8") : argument;
  }

  keyFromText(text: string): Key {
    return this.keyEncoding === "binary" ? Buffer.from(text, "latin1") : this.stringOf(text);
  }

  valueFromText(text: string): unknown {
    return this.valueEncoding === "binary" ? Buffer.from(text, "latin1") : this.stringOf(text);
  }

  keyToText(key: Key): string {
    return this.textOf(key);
  }

  valueToText(value: unknown): string {
    if (this.valueEncoding === "binary") return this.textOf(value as Uint8Array);
    return this.textOf(typeof value === "string" ? value : toJson(value));
  }

  keyFromJson(json: unknown): Key {
    if (typeof json !== "string") throw new DataError("the key is not a string");
    return this.keyEncoding === "binary" ? Buffer.from(json, "base64") : json;
  }

  valueFromJson(json: unknown): unknown {
    if (this.valueEncoding !== "binary") return json;
    if (typeof json !== "string") throw new DataError("the value is not a string in base64");
    return Buffer.from(json, "base64");
  }

  private stringOf(text: string): string {
    return this.textEncoding === "latin1" ? Buffer.from(text, "latin1").toString("utf8") : text;
  }

  private textOf(content: string | Uint8Array): string {
    if (this.textEncoding === "utf8" && typeof content === "string") return content;
    return Buffer.from(content as string).toString(this.textEncoding);
  }
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
