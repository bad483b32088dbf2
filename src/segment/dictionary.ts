/**
 * The dictionary section: typical values that deflated blocks start from (deflate.ts), itself
 * deflated. Drawn in format.ts.
 */
import { readU32 } from "../bytes/fixed.ts";
import type { ByteWriter } from "../bytes/writer.ts";
import { deflate, inflateInto, MAX_DICTIONARY_BYTES } from "./deflate.ts";
import { expectAtLeast, expectAtMost } from "./format.ts";

const NO_BYTES = new Uint8Array(0);
const LENGTH_BYTES = 4;

/** Appends the section: nothing for an empty dictionary. */
export function writeDictionary(writer: ByteWriter, dictionary: Uint8Array): void {
  if (dictionary.length === 0) return;
  writer.u32(dictionary.length);
  writer.append(deflate(dictionary, NO_BYTES) ?? dictionary);
}

/** The dictionary of a section whose checksum the caller has checked. Throws CorruptionError. */
export function readDictionary(section: Uint8Array, file: string, fileOffset: number): Uint8Array {
  if (section.length === 0) return NO_BYTES;
  expectAtLeast(section.length, LENGTH_BYTES, "length of the dictionary", file, fileOffset);
  const length = readU32(section, 0);
  expectAtMost(length, MAX_DICTIONARY_BYTES, "length of the dictionary", file, fileOffset);
  const stored = section.subarray(LENGTH_BYTES);
  if (stored.length === length) return stored.slice();
  const dictionary = new Uint8Array(length);
  inflateInto(stored, NO_BYTES, dictionary, 0, file, fileOffset);
  return dictionary;
}
