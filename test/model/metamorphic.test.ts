/**
 * The same operations under different options, on different file systems and threads, give the same
 * answers: whatever an option is for, it is not for what the database holds.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Database, type IterationRange, type OpenOptions, open } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import {
  anyBatch,
  anyDeleteRange,
  anyKey,
  anyRange,
  anyTtl,
  anyValue,
  issue,
  type Operation,
} from "./operations.ts";
import { parameters } from "./parameters.ts";
import type { Entry } from "./sorted-map.ts";

type Options = OpenOptions<string, string>;

const SMALL = { memtableBytes: 2 ** 17, segmentBytes: 2 ** 16 };

/** Each is given an empty directory; those without a file system of their own use the disk. */
const VARIANTS: readonly (() => Options)[] = [
  () => ({ fileSystem: new MemoryFileSystem() }),
  () => ({ ...SMALL, fileSystem: new MemoryFileSystem(), durability: "os", compactionTrigger: 2 }),
  () => ({ ...SMALL, fileSystem: new MemoryFileSystem(), compression: "none", blockCacheBytes: 0 }),
  () => ({ ...SMALL, background: "inline", compression: "symbols", largeValueBytes: 8192 }),
  () => ({ ...SMALL, fileSystem: new MemoryFileSystem(), blockCacheBytes: 2 ** 14 }),
  () => ({ ...SMALL, fileSystem: new MemoryFileSystem(), blockCacheBytes: 2 ** 10 }),
  () => ({ ...SMALL, background: "worker", compression: "deflate", largeValueBytes: 64 }),
];

type Step =
  | Operation
  | { readonly type: "reopen" }
  | { readonly type: "advance"; readonly milliseconds: number }
  | { readonly type: "read"; readonly at: number }
  | { readonly type: "look up"; readonly keys: readonly string[] };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      type: fc.constant("put"),
      key: anyKey,
      value: anyValue,
      ttl: anyTtl,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("advance"),
      milliseconds: fc.constantFrom(1, 9, 90, 900),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("delete"), key: anyKey }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("batch"), operations: anyBatch }) },
  { weight: 2, arbitrary: anyDeleteRange },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constantFrom("flush", "compact", "sync", "reopen") }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("read"), at: fc.nat(2) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant("look up"),
      keys: fc.array(anyKey, { minLength: 1 }),
    }),
  },
);

const anySteps = fc.array(anyStep, { minLength: 30, maxLength: 60 });
const anyRanges = fc.array(anyRange, { minLength: 3, maxLength: 3 });

/** Everything that the steps let a user see. */
async function answers(
  options: Options,
  steps: readonly Step[],
  ranges: readonly IterationRange<string>[],
): Promise<unknown[]> {
  const directory = mkdtempSync(join(tmpdir(), "memkv-metamorphic-"));
  const seen: unknown[] = [];
  let time = 0;
  const timed = { ...options, now: () => time };
  let database: Database<string, string> = await open<string, string>(directory, timed);
  try {
    for (const step of steps) {
      if (step.type === "read") {
        const range = ranges[step.at];
        seen.push(digest([...database.entries(range)]), [...database.keys(range)]);
      } else if (step.type === "look up") {
        seen.push(step.keys.map((key) => database.get(key)));
      } else if (step.type === "reopen") {
        await database.close();
        database = await open<string, string>(directory, timed);
      } else if (step.type === "advance") {
        time += step.milliseconds;
      } else {
        await issue(database, step);
      }
    }
    seen.push(digest([...database.entries()]), database.count(), database.stats().lastSeqno);
    await database.verify();
  } finally {
    await database.close();
    rmSync(directory, { recursive: true, force: true });
  }
  return seen;
}

/** Values by their beginning and length: enough to tell them apart, and short when a run fails. */
function digest(entries: readonly Entry[]): string[] {
  return entries.map(([key, value]) => `${key}: ${value.slice(0, 12)} ${value.length}`);
}

test("options, file systems and threads change nothing of what is read", async () => {
  await fc.assert(
    fc.asyncProperty(anySteps, anyRanges, async (steps, ranges) => {
      const [first, ...others] = await Promise.all(
        VARIANTS.map((variant) => answers(variant(), steps, ranges)),
      );
      for (const other of others) expect(other).toEqual(first);
    }),
    parameters(6),
  );
});
