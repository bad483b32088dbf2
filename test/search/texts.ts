/**
 * Random texts over few characters, so that patterns often match: some of one byte, some of two to
 * four that share their first bytes.
 */
import fc from "fast-check";

export const CHARACTERS: readonly string[] = ["a", "b", "c", "/", "é", "ê", "語", "誟", "😀", "😁"];

export function texts(maxLength: number): fc.Arbitrary<string> {
  return fc
    .array(fc.constantFrom(...CHARACTERS), { maxLength })
    .map((characters) => characters.join(""));
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
