/**
 * Runs the test suite that abstract-level publishes for its implementations over MemkvLevel, and
 * prints TAP. A program of its own, since the suite is written for tape. Every database is a
 * directory of one file system in memory.
 */
import { createRequire } from "node:module";
import { MemkvLevel } from "../../src/level/index.ts";
import { MemoryFileSystem } from "../../src/testing/index.ts";

/** Both are CommonJS without types. */
const require = createRequire(import.meta.url);
const suite = require("abstract-level/test") as (options: object) => void;
const test = require("tape") as unknown;

const fileSystem = new MemoryFileSystem();

/** The suite looks at the options that it gave, so these are put in underneath. */
class InMemory extends MemkvLevel {
  override _open(options: Record<string, unknown>): Promise<void> {
    return super._open({
      ...options,
      fileSystem,
      memtableBytes: 2 ** 17,
      blockCacheBytes: 2 ** 16,
    });
  }
}

let count = 0;
suite({ test, factory: (options?: object) => new InMemory(`/level/${++count}`, options) });
