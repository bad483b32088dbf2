/**
 * Values to bytes and back. The only importer of msgpackr.
 *
 * `encode` returns a view that is good until the next `encode`: the engine copies it into the
 * commit record at once. Where a value's bytes are a text in UTF-8, `toAppend` returns that text,
 * so that the commit record is where it is encoded. `decode` is given a view into a memtable or a
 * cached block and must keep nothing of it.
 *
 * What msgpack cannot hold is refused before anything is written, nested values included: a value
 * that came back different would be worse than an error. (Two things do: -0 comes back as 0, and an
 * instance of a class as a plain object of its properties, or as what its `toJSON` returns.) `json`
 * does as JSON.stringify does, which drops and converts some values; only what it has no text for at
 * all is refused.
 */
import { Packr } from "msgpackr/pack";
import { MAX_BYTES_PER_UNIT } from "../bytes/text.ts";
import { MAX_VALUE_BYTES } from "../entry.ts";
import { InvalidArgumentError } from "../errors.ts";
import { decodeUtf8, describe, isTransferred, isWellFormed } from "./key-codec.ts";
import { PlainEncoder } from "./plain-msgpack.ts";
import { NOT_PLAIN, PlainDecoder } from "./plain-msgpack-decoder.ts";

/** What `textStart` returns where a value is no text. */
const NO_TEXT = -1;

/** A value encoding of the user's own. */
export interface ValueEncoding<V> {
  /** Recorded in the database; opening it under another name is an error. */
  readonly name: string;
  /** Bytes of a value, at most 2^30. May be a view; it is copied at once. */
  encode(value: V): Uint8Array;
  /** Value of the bytes, which are the caller's own copy. */
  decode(bytes: Uint8Array): V;
}

export type ValueEncodingOption<V> = "msgpack" | "json" | "utf8" | "binary" | ValueEncoding<V>;

/** How the engine sees any value encoding. */
export interface ValueCodec<V> {
  readonly name: string;
  /** Whether decoding calls code of the user's, which may do anything. */
  readonly runsUserCode: boolean;
  /** A view good until the next `encode`. Throws InvalidArgumentError. */
  encode(value: V): Uint8Array;
  /** What `encode` returns, or the text that it is in UTF-8, which is well-formed. Throws as it does. */
  toAppend(value: V): Uint8Array | string;
  /** The value of bytes[start, end); keeps nothing of them. */
  decode(bytes: Uint8Array, start: number, end: number): V;
  /** Where the text begins, if the value of bytes[start, end) is the text at their end; or -1. */
  textStart(bytes: Uint8Array, start: number, end: number): number;
}

export function createValueCodec<V>(option: ValueEncodingOption<V>): ValueCodec<V> {
  return (
    typeof option === "string" ? BUILT_IN[option]() : new CustomValueCodec(option)
  ) as ValueCodec<V>;
}

const BUILT_IN: Record<string, () => ValueCodec<unknown>> = {
  msgpack: () => new MsgpackCodec(),
  json: () => new JsonCodec(),
  utf8: () => new Utf8Codec() as ValueCodec<unknown>,
  binary: () => new BinaryCodec() as ValueCodec<unknown>,
};

/** Names of the encodings that come with memkv. */
export const VALUE_ENCODINGS: readonly string[] = Object.keys(BUILT_IN);

class MsgpackCodec implements ValueCodec<unknown> {
  readonly name = "msgpack";
  readonly runsUserCode = false;
  /**
   * No shared record structures: every value must be readable by itself. `copyBuffers`: what is
   * decoded must not point into a block. `moreTypes`: Set, RegExp and typed arrays come back as
   * themselves. `variableMapSize`: a small object's header is one byte, not three.
   */
  private readonly packr = new Packr({
    useRecords: false,
    moreTypes: true,
    copyBuffers: true,
    variableMapSize: true,
  });
  private readonly encoder = new PlainEncoder();
  private readonly decoder = new PlainDecoder();

  encode(value: unknown): Uint8Array {
    const bytes = this.encoder.encode(value);
    if (bytes !== undefined) return bytes;
    checkEncodable(value, this.name, 0);
    return bounded(encodeOrThrow(this.name, () => this.packr.pack(value)));
  }

  toAppend(value: unknown): Uint8Array {
    return this.encode(value);
  }

  /** Many values are one whole string, and Node's own decoder needs a quarter of msgpackr's time. */
  decode(bytes: Uint8Array, start: number, end: number): unknown {
    const textStart = this.textStart(bytes, start, end);
    if (textStart >= 0) return decodeUtf8(bytes, textStart, end);
    const value = this.decoder.decode(bytes, start, end);
    return value === NOT_PLAIN ? this.packr.unpack(bytes.subarray(start, end)) : value;
  }

  textStart(bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    const first = length > 0 ? bytes[start] : 0;
    if (first >= 0xa0 && first <= 0xbf) return length === 1 + (first & 0x1f) ? start + 1 : NO_TEXT;
    if (first === 0xd9 && length > 1) return length === 2 + bytes[start + 1] ? start + 2 : NO_TEXT;
    if (first === 0xda && length > 2) {
      return length === 3 + ((bytes[start + 1] << 8) | bytes[start + 2]) ? start + 3 : NO_TEXT;
    }
    return NO_TEXT;
  }
}

class JsonCodec implements ValueCodec<unknown> {
  readonly name = "json";
  readonly runsUserCode = false;

  encode(value: unknown): Uint8Array {
    return Buffer.from(this.toAppend(value), "utf8");
  }

  toAppend(value: unknown): string {
    // undefined for what JSON has no form of, which the type of JSON.stringify does not say.
    const text: string | undefined = encodeOrThrow(this.name, () => JSON.stringify(value));
    if (text === undefined) throw cannotHold(this.name, describe(value));
    return boundedText(text);
  }

  decode(bytes: Uint8Array, start: number, end: number): unknown {
    return JSON.parse(decodeUtf8(bytes, start, end));
  }

  textStart(): number {
    return NO_TEXT;
  }
}

class Utf8Codec implements ValueCodec<string> {
  readonly name = "utf8";
  readonly runsUserCode = false;

  encode(value: string): Uint8Array {
    return Buffer.from(this.toAppend(value), "utf8");
  }

  toAppend(value: string): string {
    if (typeof value !== "string") throw cannotHold(this.name, describe(value));
    if (!isWellFormed(value)) throw cannotHold(this.name, "a string with a lone surrogate");
    return boundedText(value);
  }

  decode(bytes: Uint8Array, start: number, end: number): string {
    return decodeUtf8(bytes, start, end);
  }

  textStart(_bytes: Uint8Array, start: number): number {
    return start;
  }
}

class BinaryCodec implements ValueCodec<Uint8Array> {
  readonly name = "binary";
  readonly runsUserCode = false;

  encode(value: Uint8Array): Uint8Array {
    if (!(value instanceof Uint8Array)) throw cannotHold(this.name, describe(value));
    return bounded(value);
  }

  toAppend(value: Uint8Array): Uint8Array {
    return this.encode(value);
  }

  decode(bytes: Uint8Array, start: number, end: number): Uint8Array {
    return new Uint8Array(bytes.subarray(start, end));
  }

  textStart(): number {
    return NO_TEXT;
  }
}

class CustomValueCodec<V> implements ValueCodec<V> {
  readonly name: string;
  readonly runsUserCode = true;
  private readonly encoding: ValueEncoding<V>;

  constructor(encoding: ValueEncoding<V>) {
    this.name = encoding.name;
    this.encoding = encoding;
  }

  encode(value: V): Uint8Array {
    if (value === undefined) throw cannotHold(this.name, "undefined");
    const bytes = encodeOrThrow(this.name, () => this.encoding.encode(value));
    if (!(bytes instanceof Uint8Array)) {
      throw new InvalidArgumentError(`valueEncoding "${this.name}" must encode to a Uint8Array`);
    }
    return bounded(bytes);
  }

  toAppend(value: V): Uint8Array {
    return this.encode(value);
  }

  decode(bytes: Uint8Array, start: number, end: number): V {
    return this.encoding.decode(new Uint8Array(bytes.subarray(start, end)));
  }

  textStart(): number {
    return NO_TEXT;
  }
}

/** Deeper values are refused: the encoders recurse, and so does everyone who reads the value. */
const MAX_DEPTH = 200;

/** Throws for what msgpack would drop or change without a word. */
function checkEncodable(value: unknown, name: string, depth: number): void {
  switch (typeof value) {
    case "string":
      if (!isWellFormed(value)) throw cannotHold(name, "a string with a lone surrogate");
      return;
    case "function":
    case "symbol":
      throw cannotHold(name, describe(value));
    case "undefined":
      if (depth === 0) throw cannotHold(name, "undefined");
      return;
    case "object":
      if (value !== null) checkObject(value, name, depth + 1);
      return;
    default:
      return;
  }
}

/** What msgpackr makes an empty object of, or one that holds less. */
const WITHOUT_FORM = [
  Map,
  WeakMap,
  WeakSet,
  WeakRef,
  Promise,
  SharedArrayBuffer,
  Number,
  String,
  Boolean,
  BigInt,
  Symbol,
] as const;

/** What msgpackr knows by its class, by name. A realm, such as a vm context, has classes of its own. */
const KNOWN_BY_CLASS = new Map(
  [...WITHOUT_FORM, Set, Date, RegExp, Error, ArrayBuffer].map(
    (type) => [type.name, type] as const,
  ),
);

/** Whether the object is one that msgpackr would take for a plain one, since its class is not ours. */
function isOfAnotherRealm(value: object): boolean {
  const name = Object.prototype.toString.call(value).slice("[object ".length, -1);
  const type = KNOWN_BY_CLASS.get(name);
  if (type === undefined || value instanceof type) return false;
  // A class of the user's may call itself "Map" by its Symbol.toStringTag and be none.
  let prototype = Object.getPrototypeOf(value);
  while (prototype !== null && prototype.constructor?.name !== name) {
    prototype = Object.getPrototypeOf(prototype);
  }
  return prototype !== null;
}

/** Names of the typed arrays that msgpackr reads back: it tells them by their names. */
const VIEW_NAMES: ReadonlySet<string> = new Set(
  ["Int8", "Uint8", "Uint8Clamped", "Int16", "Uint16", "Int32", "Uint32", "Float32", "Float64"]
    .concat("BigInt64", "BigUint64")
    .map((elements) => `${elements}Array`),
);

/** The class of which all typed arrays of this realm are. */
const TypedArray = Object.getPrototypeOf(Uint8Array) as abstract new () => object;

/** Whether msgpackr reads back what it writes of a view. */
function isStandardView(view: ArrayBufferView): boolean {
  const type = view.constructor;
  if (view instanceof DataView || type === Buffer) return true;
  return view instanceof TypedArray && VIEW_NAMES.has(type.name);
}

/** Whether msgpackr writes what the object's `toJSON` returns in its place. */
function hasOwnForm(value: object): value is { toJSON(): unknown } {
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON !== "function" || Array.isArray(value)) return false;
  // Of these msgpackr has forms of its own.
  if (toJSON === Date.prototype.toJSON || toJSON === Buffer.prototype.toJSON) return false;
  return Object.getPrototypeOf(value) !== Object.prototype;
}

function checkObject(value: object, name: string, depth: number): void {
  if (depth > MAX_DEPTH) {
    throw cannotHold(name, `a value that is circular or nested over ${MAX_DEPTH} deep`);
  }
  if (Object.getPrototypeOf(value) !== Object.prototype && isOfAnotherRealm(value)) {
    throw cannotHold(name, `${describe(value)} of another realm`);
  }
  if (hasOwnForm(value)) {
    const form: unknown = encodeOrThrow(name, () => value.toJSON());
    if (form !== value) {
      // In the place of the value itself, which cannot be undefined.
      checkEncodable(form, name, form === undefined ? depth - 1 : depth);
      return;
    }
  }
  if (Array.isArray(value) || value instanceof Set) {
    for (const element of value) checkEncodable(element, name, depth);
    return;
  }
  if (ArrayBuffer.isView(value)) {
    if (isStandardView(value)) return;
    throw cannotHold(name, `${describe(value)}; use a typed array of no class of its own`);
  }
  if (value instanceof RegExp) {
    if (isWellFormed(value.source)) return;
    throw cannotHold(name, "a regular expression with a lone surrogate");
  }
  if (value instanceof Date) return;
  const isPlain = Object.getPrototypeOf(value) === Object.prototype;
  if (!isPlain && WITHOUT_FORM.some((type) => value instanceof type)) {
    throw cannotHold(name, `${describe(value)}; use an object, an array or what it holds`);
  }
  for (const property of Object.keys(value)) {
    if (property === "__proto__") throw cannotHold(name, 'a property named "__proto__"');
    if (!isWellFormed(property)) throw cannotHold(name, "a property name with a lone surrogate");
    checkEncodable((value as Record<string, unknown>)[property], name, depth);
  }
}

function encodeOrThrow<T>(name: string, encode: () => T): T {
  try {
    return encode();
  } catch (error) {
    throw new InvalidArgumentError(`valueEncoding "${name}" cannot encode the value`, {
      cause: error,
    });
  }
}

function cannotHold(name: string, what: string): InvalidArgumentError {
  return new InvalidArgumentError(`valueEncoding "${name}" cannot hold ${what}`);
}

function bounded(bytes: Uint8Array): Uint8Array {
  if (bytes.length > MAX_VALUE_BYTES) throw tooLong(bytes.length);
  if (isTransferred(bytes)) {
    throw new InvalidArgumentError("a value's bytes were transferred elsewhere");
  }
  return bytes;
}

/** The same of the text's bytes, which are counted only where there may be too many. */
function boundedText(text: string): string {
  if (text.length * MAX_BYTES_PER_UNIT <= MAX_VALUE_BYTES) return text;
  const length = Buffer.byteLength(text, "utf8");
  if (length > MAX_VALUE_BYTES) throw tooLong(length);
  return text;
}

function tooLong(length: number): InvalidArgumentError {
  return new InvalidArgumentError(
    `a value is at most ${MAX_VALUE_BYTES} bytes long; this one has ${length}`,
  );
}
