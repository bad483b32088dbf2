/**
 * Golden files: the bytes of a file format as a hex dump, each field on its own lines with its name.
 *
 * A change of a format shows here as a diff to review, and the bytes of a released version stay
 * readable for good. `MEMKV_UPDATE_GOLDEN=1 npx vitest run test/format` rewrites them.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";

/** A stretch of bytes and what it is. */
export interface Field {
  readonly name: string;
  readonly length: number;
}

const BYTES_A_LINE = 16;

/** The dump of `bytes`, of which `fields` must name all. */
function dump(title: string, bytes: Uint8Array, fields: readonly Field[]): string {
  const lines = [`# ${title}`];
  let offset = 0;
  for (const { name, length } of fields) {
    for (let done = 0; done < length; done += BYTES_A_LINE) {
      const start = offset + done;
      const line = bytes.subarray(start, start + Math.min(BYTES_A_LINE, length - done));
      const hex = Array.from(line, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
      const place = start.toString(16).padStart(6, "0");
      lines.push(
        `${place}  ${hex.padEnd(BYTES_A_LINE * 3 - 1)}  ${done === 0 ? name : ""}`.trimEnd(),
      );
    }
    offset += length;
  }
  expect(offset, "fields name every byte").toBe(bytes.length);
  return `${lines.join("\n")}\n`;
}

/** The bytes that a dump shows. */
function parse(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const line of text.split("\n")) {
    const hex = /^[0-9a-f]{6} {2}((?:[0-9a-f]{2} ?)+)/.exec(line)?.[1] ?? "";
    for (const byte of hex.trim().split(" "))
      if (byte !== "") bytes.push(Number.parseInt(byte, 16));
  }
  return Uint8Array.from(bytes);
}

/**
 * Compares `bytes` with the golden file of that name and returns the file's bytes, which the caller
 * should decode too.
 */
export function golden(
  name: string,
  title: string,
  bytes: Uint8Array,
  fields: readonly Field[],
): Uint8Array {
  const path = join(import.meta.dirname, `${name}.hex`);
  const text = dump(title, bytes, fields);
  if (process.env["MEMKV_UPDATE_GOLDEN"] === "1") writeFileSync(path, text);
  expect(existsSync(path), `${path} exists`).toBe(true);
  const stored = readFileSync(path, "utf8");
  expect(text).toBe(stored);
  return parse(stored);
}
