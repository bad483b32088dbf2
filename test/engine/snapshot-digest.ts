/** All that a snapshot shows, by cursors and by look-ups, as a short text. */
import { createHash } from "node:crypto";
import type { Snapshot } from "../../src/index.ts";

export function digest(snapshot: Snapshot<string, string>): string {
  const hash = createHash("sha256");
  const keys: string[] = [];
  for (const [key, value] of snapshot.entries()) {
    keys.push(key);
    hash.update(`${key}=${value};`);
  }
  for (const value of snapshot.getMany(keys)) hash.update(`${value};`);
  hash.update(`${snapshot.count()}`);
  return hash.digest("hex");
}
