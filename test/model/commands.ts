/** Every command, in the proportions that make overwriting, flushing and compacting frequent. */
import fc, { type AsyncCommand } from "fast-check";
import { Advance } from "./advance.ts";
import { Batch } from "./batch.ts";
import { Compact } from "./compact.ts";
import { Crash } from "./crash.ts";
import { Delete } from "./delete.ts";
import { DeleteRange } from "./delete-range.ts";
import { Flush } from "./flush.ts";
import { Iterate } from "./iterate.ts";
import { LookUp } from "./look-up.ts";
import {
  anyBatch,
  anyDeletedRange,
  anyKey,
  anyOperations,
  anyRange,
  anyTtl,
  anyValue,
  anyWait,
} from "./operations.ts";
import { Pause } from "./pause.ts";
import { Put } from "./put.ts";
import { ReadSnapshot } from "./read-snapshot.ts";
import { Reopen } from "./reopen.ts";
import { Scan } from "./scan.ts";
import { TakeSnapshot } from "./snapshot.ts";
import { Step } from "./step.ts";
import type { Model, System, SystemOptions } from "./system.ts";
import { Together } from "./together.ts";
import { Transact } from "./transact.ts";

type ModelCommand = AsyncCommand<Model, System>;

const anyKeys = fc.array(anyKey, { minLength: 1, maxLength: 8 });

const WEIGHTED: readonly { weight: number; arbitrary: fc.Arbitrary<ModelCommand> }[] = [
  // The first is what a failing run shrinks to where a command is not needed for the failure.
  { weight: 3, arbitrary: anyWait.map((pause) => new Pause(pause)) },
  {
    weight: 24,
    arbitrary: fc.tuple(anyKey, anyValue, fc.boolean(), anyTtl).map((args) => new Put(...args)),
  },
  { weight: 8, arbitrary: anyKey.map((key) => new Delete(key)) },
  {
    weight: 6,
    arbitrary: fc.constantFrom(1, 9, 90, 900, 90_000).map((time) => new Advance(time)),
  },
  { weight: 5, arbitrary: anyDeletedRange.map((range) => new DeleteRange(range)) },
  { weight: 8, arbitrary: anyBatch.map((operations) => new Batch(operations)) },
  { weight: 8, arbitrary: anyKeys.map((keys) => new LookUp(keys)) },
  { weight: 10, arbitrary: anyRange.map((range) => new Scan(range)) },
  { weight: 5, arbitrary: fc.constant(new TakeSnapshot()) },
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.nat(3), anyKeys, anyRange, fc.boolean())
      .map((args) => new ReadSnapshot(...args)),
  },
  { weight: 5, arbitrary: anyRange.map((range) => new Iterate(range)) },
  { weight: 8, arbitrary: fc.tuple(fc.nat(3), fc.nat(12)).map((args) => new Step(...args)) },
  { weight: 3, arbitrary: fc.constant(new Flush()) },
  { weight: 1, arbitrary: fc.constant(new Compact()) },
  { weight: 2, arbitrary: fc.tuple(anyOperations, anyWait).map((args) => new Reopen(...args)) },
  { weight: 2, arbitrary: fc.tuple(anyOperations, anyWait).map((args) => new Crash(...args)) },
  { weight: 4, arbitrary: fc.tuple(anyOperations, anyWait).map((args) => new Together(...args)) },
  {
    weight: 5,
    arbitrary: fc
      .tuple(
        anyBatch,
        anyRange,
        fc.constantFrom("commit" as const, "give up" as const, "flush and commit" as const),
        fc.constantFrom(0, 0, 0, 1, 10),
      )
      .map((args) => new Transact(...args)),
  },
];

/** At least this many commands make up a run. */
export const MIN_COMMANDS = 50;

export const anyCommands: fc.Arbitrary<ModelCommand[]> = fc.array(
  fc.oneof({ withCrossShrink: true }, ...WEIGHTED),
  { minLength: MIN_COMMANDS, maxLength: MIN_COMMANDS + 5 },
);

/** The smallest memtables and segments, so that a few values fill them. */
export const anyOptions: fc.Arbitrary<SystemOptions> = fc.record({
  ttl: fc.constantFrom(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 50, 100_000),
  valueEncoding: fc.constantFrom<SystemOptions["valueEncoding"]>("utf8", "msgpack", "json"),
  compression: fc.constantFrom("auto", "deflate", "none", "none"),
  compactionTrigger: fc.integer({ min: 2, max: 4 }),
  blockCacheBytes: fc.constantFrom(undefined, 0, 2 ** 10, 2 ** 12, 2 ** 14, 2 ** 15, 2 ** 16),
  memtableBytes: fc.constant(2 ** 17),
  memtableIndex: fc.constantFrom("hash", "tree"),
  segmentBytes: fc.constantFrom(512, 2 ** 12, 2 ** 16),
  maxCompactionBytes: fc.constantFrom(512, 2 ** 13, undefined),
  largeValueBytes: fc.constantFrom(64, 1000, 8192),
});
