/**
 * The manifest: the file that says what the database consists of. It holds the live Version, the
 * oldest and the newest log that are still needed, and what was fixed when the database was founded.
 *
 * It is replaced whole and atomically, so a crash leaves the old one or the new one. What a new
 * manifest refers to must be durable before it is written; what only the old one refers to may be
 * removed after it was written, not before.
 */
import { assert } from "../assert.ts";
import { CorruptionError } from "../errors.ts";
import { type FileSystem, joinPath } from "../io/file-system.ts";
import { replaceFile } from "../io/replace.ts";
import {
  decodeManifest,
  encodeManifest,
  faultOf,
  MAX_MANIFEST_BYTES,
  type Manifest,
} from "./format.ts";

export type { Manifest };

export const MANIFEST_NAME = "MANIFEST";

/**
 * The manifest in the directory; undefined if it has none. Rejects with CorruptionError if it is
 * damaged, and with UnsupportedVersionError if a newer memkv wrote it.
 */
export async function readManifest(
  fileSystem: FileSystem,
  directory: string,
): Promise<Manifest | undefined> {
  if (!(await hasManifest(fileSystem, directory))) return undefined;
  const path = joinPath(directory, MANIFEST_NAME);
  const file = await fileSystem.open(path, "read");
  try {
    const size = file.size();
    if (size > MAX_MANIFEST_BYTES) {
      const facts = { expected: `at most ${MAX_MANIFEST_BYTES} bytes`, actual: `${size}` };
      throw new CorruptionError("the manifest is damaged", { file: path, offset: 0, ...facts });
    }
    const bytes = new Uint8Array(size);
    const count = file.readSync(bytes, 0);
    return decodeManifest(bytes.subarray(0, count), path);
  } finally {
    await file.close();
  }
}

/** Whether the directory has a manifest, be it damaged. False if there is no directory. */
export async function hasManifest(fileSystem: FileSystem, directory: string): Promise<boolean> {
  return (await fileSystem.stat(joinPath(directory, MANIFEST_NAME))) !== undefined;
}

/**
 * Replaces the manifest, durably. Rejects as `replaceFile` does: with the system's error if the old
 * manifest is untouched, with MEMKV_POISONED if only a reopen can tell which one a crash would leave.
 */
export async function writeManifest(
  fileSystem: FileSystem,
  directory: string,
  manifest: Manifest,
): Promise<void> {
  const fault = faultOf(manifest);
  assert(fault === undefined, `manifest with ${fault}`);
  const bytes = encodeManifest(manifest);
  assert(bytes.length <= MAX_MANIFEST_BYTES, "a manifest within its limit");
  await replaceFile(fileSystem, directory, MANIFEST_NAME, bytes);
}
