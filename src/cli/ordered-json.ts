/**
 * Ordered keys as JSON, each as itself: what JSON has no notation for is an object with one mark,
 * which no ordered key is.
 *
 *   {"$bigint": "12"}   {"$date": "2026-01-31T00:00:00.000Z"}   {"$bytes": "AQI="}   {"$number": "-Infinity"}
 *
 * Whole numbers from 2^53 on are marked too: a parser of JSON makes of their digits what is near.
 */
import type { OrderedKey } from "../index.ts";

/** What JSON.stringify is to write for a key, or a part of one. */
export function toOrderedJson(key: OrderedKey): unknown {
  if (typeof key === "bigint") return { $bigint: String(key) };
  if (typeof key === "number") return isPlain(key) ? key : { $number: textOf(key) };
  if (key instanceof Date) return { $date: key.toISOString() };
  if (key instanceof Uint8Array) return { $bytes: Buffer.from(key).toString("base64") };
  return Array.isArray(key) ? key.map(toOrderedJson) : key;
}

/**
 * The key that `toOrderedJson` said so of. Throws SyntaxError, with what is wrong, where that is of
 * none; what is of no mark is left to the database to refuse.
 */
export function fromOrderedJson(json: unknown): OrderedKey {
  if (Array.isArray(json)) return json.map(fromOrderedJson);
  if (typeof json === "number" && !isPlain(json)) {
    throw new SyntaxError(
      `a whole number beyond 2^53 is written {"$bigint":"..."}, or {"$number":"..."}`,
    );
  }
  if (typeof json !== "object" || json === null) return json as OrderedKey;
  const [mark = "", ...more] = Object.keys(json);
  if (more.length > 0 || !Object.hasOwn(MARKS, mark)) return json as OrderedKey;
  const text: unknown = Reflect.get(json, mark);
  const key = typeof text === "string" ? MARKS[mark](text) : undefined;
  if (key === undefined) throw new SyntaxError(`${JSON.stringify(json)} is no key`);
  return key;
}

/** What the text after a mark says; undefined for what `toOrderedJson` would not have written. */
const MARKS: Readonly<Record<string, (text: string) => OrderedKey | undefined>> = {
  $bigint: (text) => (/^-?\d+$/.test(text) ? BigInt(text) : undefined),
  $number: (text) => (textOf(Number(text)) === text ? Number(text) : undefined),
  $date: (text) => (Number.isNaN(Date.parse(text)) ? undefined : new Date(text)),
  $bytes: (text) => {
    const bytes = Buffer.from(text, "base64");
    return bytes.toString("base64") === text ? bytes : undefined;
  },
};

/** Whether a number is what its digits in JSON are read as. */
function isPlain(number: number): boolean {
  if (Number.isInteger(number)) return Number.isSafeInteger(number) && !Object.is(number, -0);
  return Number.isFinite(number);
}

function textOf(number: number): string {
  return Object.is(number, -0) ? "-0" : String(number);
}
