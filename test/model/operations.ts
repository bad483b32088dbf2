/** Writes and maintenance as data: to issue many at once and to know what they should lead to. */
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { DatabaseError } from "../../src/errors.ts";
import type {
  BatchOperation,
  Database,
  DeleteRangeOperation,
  IterationRange,
  KeyRange,
} from "../../src/index.ts";
import type { SortedMap } from "./sorted-map.ts";

/** Few keys, so that they are overwritten: prefixes of one another, the empty one, and beyond ASCII. */
const KEYS: readonly string[] = [
  ...["", "a", "ab", "abc", "b", "ba", "c/1", "c/2", "c/3", "c/30", "zz", "\u00e9", "\uffff"],
  ...["\u{1f600}", "\u{10ffff}", `${"long".repeat(50)}`, `${"long".repeat(50)}er`, "\u0000"],
  ...Array.from({ length: 16 }, (_, i) => `key${i}`),
];

export const anyKey: fc.Arbitrary<string> = fc.constantFrom(...KEYS);

/** Text that does not compress, to take values from. */
const NOISE: string = makeNoise(2 ** 17);

function makeNoise(length: number): string {
  let state = 1;
  let text = "";
  while (text.length < length) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    text += state.toString(36);
  }
  return text.slice(0, length);
}

/** Values from a few bytes to more than the smallest memtable, some of which compress. */
export const anyValue: fc.Arbitrary<string> = fc
  .record({
    start: fc.nat(999),
    length: fc.oneof(
      { weight: 70, arbitrary: fc.nat(60) },
      { weight: 15, arbitrary: fc.nat(3000) },
      { weight: 12, arbitrary: fc.nat(12_000) },
      { weight: 3, arbitrary: fc.constantFrom(30_000, 70_000) },
    ),
    isNoise: fc.boolean(),
  })
  .map(({ start, length, isNoise }) =>
    isNoise ? NOISE.slice(start, start + length) : `${start}`.padEnd(length, "value "),
  );

/** Mostly that of the database; some that end at once, soon, late and never. */
export const anyTtl: fc.Arbitrary<number | undefined> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  { weight: 2, arbitrary: fc.constantFrom(0, 1, 10, 100, 1000, Number.POSITIVE_INFINITY) },
);

const BOUNDS = {
  gt: anyKey,
  gte: anyKey,
  lt: anyKey,
  lte: anyKey,
  prefix: fc.constantFrom("", "a", "c/", "key1", "\u{10ffff}", "long", "none"),
};

export const anyDeletedRange: fc.Arbitrary<KeyRange<string>> = fc.record(BOUNDS, {
  requiredKeys: [],
});

export const anyRange: fc.Arbitrary<IterationRange<string>> = fc.record(
  {
    ...BOUNDS,
    reverse: fc.boolean(),
    limit: fc.constantFrom(-1, 0, 1, 3, Number.POSITIVE_INFINITY),
  },
  { requiredKeys: [] },
);

/** A change, or work that changes nothing that can be seen. */
export type Operation =
  | {
      readonly type: "put";
      readonly key: string;
      readonly value: string;
      readonly ttl?: number | undefined;
      /** Blocking the thread, where that is possible. */
      readonly isBlocking?: boolean;
    }
  | { readonly type: "delete"; readonly key: string }
  | DeleteRangeOperation<string>
  | { readonly type: "batch"; readonly operations: readonly BatchOperation<string, string>[] }
  | {
      readonly type: "putIfAbsent";
      readonly key: string;
      readonly value: string;
      readonly ttl?: number | undefined;
    }
  | { readonly type: "flush" | "compact" | "sync" };

const PUT = { type: fc.constant<"put">("put"), key: anyKey, value: anyValue, ttl: anyTtl };
const anyPut = fc.record(PUT);
const anyDelete = fc.record({ type: fc.constant("delete"), key: anyKey });

export const anyDeleteRange: fc.Arbitrary<DeleteRangeOperation<string>> = anyDeletedRange.map(
  (range) => ({
    type: "deleteRange",
    ...range,
  }),
);

export const anyBatch: fc.Arbitrary<BatchOperation<string, string>[]> = fc.array(
  fc.oneof(
    { weight: 9, arbitrary: anyPut },
    { weight: 3, arbitrary: anyDelete },
    { weight: 1, arbitrary: anyDeleteRange },
  ),
  { maxLength: 8 },
);

const anyOperation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ ...PUT, isBlocking: fc.boolean() }) },
  { weight: 2, arbitrary: anyDelete },
  { weight: 1, arbitrary: anyDeleteRange },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("batch"), operations: anyBatch }) },
  {
    weight: 2,
    arbitrary: fc.record({ ...PUT, type: fc.constant("putIfAbsent") }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom("flush", "compact", "sync") }) },
);

export const anyOperations: fc.Arbitrary<Operation[]> = fc.array(anyOperation, {
  minLength: 1,
  maxLength: 8,
});

/** How many turns of the event loop to wait, and of the microtask queue before them. */
export interface Wait {
  readonly turns: number;
  readonly microtasks: number;
}

export const anyWait: fc.Arbitrary<Wait> = fc.record({
  turns: fc.nat(8),
  microtasks: fc.nat(40),
});

export async function wait({ turns, microtasks }: Wait): Promise<void> {
  for (let i = 0; i < microtasks; i++) await Promise.resolve();
  for (let i = 0; i < turns; i++) await setImmediate();
}

export function issue(database: Database<string, string>, operation: Operation): Promise<unknown> {
  switch (operation.type) {
    case "put":
      return operation.isBlocking
        ? putBlocking(database, operation.key, operation.value, operation.ttl)
        : database.put(operation.key, operation.value, { ttl: operation.ttl });
    case "delete":
      return database.delete(operation.key);
    case "deleteRange":
      return database.deleteRange(rangeOf(operation));
    case "batch":
      return database.batch(operation.operations);
    case "putIfAbsent":
      return database.put(operation.key, operation.value, { ifAbsent: true, ttl: operation.ttl });
    default:
      return database[operation.type]();
  }
}

/** Puts with `putSync`, or with `put` where that would have to wait. */
export async function putBlocking(
  database: Database<string, string>,
  key: string,
  value: string,
  ttl: number | undefined,
): Promise<void> {
  try {
    database.putSync(key, value, { ttl });
  } catch (error) {
    if (!(error instanceof DatabaseError && error.code === "MEMKV_BUSY")) throw error;
    await database.put(key, value, { ttl });
  }
}

export function rangeOf({ type: _, ...range }: DeleteRangeOperation<string>): KeyRange<string> {
  return range;
}

export function apply(content: SortedMap, operation: Operation): void {
  if (operation.type === "put") content.put(operation.key, operation.value, operation.ttl);
  else if (operation.type === "delete") content.delete(operation.key);
  else if (operation.type === "deleteRange") content.deleteRange(operation);
  else if (operation.type === "batch") {
    for (const each of operation.operations) apply(content, each);
  } else if (operation.type === "putIfAbsent" && content.get(operation.key) === undefined) {
    content.put(operation.key, operation.value, operation.ttl);
  }
}

/** What a command shows when a run fails: values by their length. */
export function describeOperation(operation: Operation): string {
  if (operation.type === "putIfAbsent") {
    return `putIfAbsent(${describePut(operation)})`;
  }
  if (operation.type === "put") {
    return `put${operation.isBlocking ? "Sync" : ""}(${describePut(operation)})`;
  }
  if (operation.type === "delete") return `delete(${JSON.stringify(operation.key.slice(0, 12))})`;
  if (operation.type === "deleteRange") return `deleteRange(${describeRange(operation)})`;
  if (operation.type === "batch") {
    return `batch(${operation.operations.map(describeOperation).join(" ")})`;
  }
  return operation.type;
}

function describePut({ key, value, ttl }: Operation & { type: "put" | "putIfAbsent" }): string {
  return `${JSON.stringify(key.slice(0, 12))}, ${value.length}, ttl ${ttl}`;
}

export function describeRange({ gt, gte, lt, lte, prefix }: KeyRange<string>): string {
  return JSON.stringify({ gt, gte, lt, lte, prefix });
}
