/**
 * getMany says of each key what get says: keys in memtables, in runs that hide each other, deleted one
 * by one and by ranges, expired and not there, in any order and number.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ReadView } from "../../src/engine/read-view.ts";
import { InvalidArgumentError } from "../../src/index.ts";
import { openFor } from "./harness.ts";

const KEYS = 200;
const name = (i: number): string => `key ${String(i).padStart(4, "0")}${i % 7 === 0 ? "é" : ""}`;

/** Groups are of 32 keys: their ends, and one key to either side. */
const SIZES = [0, 1, 2, 31, 32, 33, 64, 65, 100];

test("getMany is get of each key, at whatever moment", async () => {
  let time = 1000;
  for (const blockCacheBytes of [0, 2 ** 20]) {
    const database = await openFor<string, string>(":memory:", {
      blockCacheBytes,
      now: () => time,
    });
    const views: ReadView<string, string>[] = [database];
    for (let round = 0; round < 4; round++) {
      for (let i = round; i < KEYS; i += round + 1) {
        await database.put(name(i), `${round} ${i}`, i % 11 === 0 ? { ttl: 10 } : {});
      }
      for (let i = round; i < KEYS; i += 13) await database.delete(name(i));
      await database.deleteRange({ gte: name(round * 40), lt: name(round * 40 + 9) });
      views.push(database.snapshot());
      if (round < 3) await database.flush();
      if (round === 1) time += 10;
    }
    const asked = fc.integer({ min: -5, max: KEYS + 5 }).map(name);
    const batch = fc
      .constantFrom(...SIZES)
      .chain((size) => fc.array(asked, { minLength: size, maxLength: size }));
    await database.transaction((transaction) => {
      transaction.put(name(3), "of the transaction");
      transaction.delete(name(4));
      views.push(transaction);
      fc.assert(
        fc.property(batch, (keys) => {
          for (const view of views) {
            const expected = keys.map((key) => view.get(key));
            expect(view.getMany(keys)).toEqual(expected);
          }
        }),
      );
    });
    await database.close();
  }
});

test("a key that cannot be encoded is an error wherever it stands", async () => {
  const database = await openFor<string, string>(":memory:");
  await database.put("a", "a");
  for (const at of [0, 31, 32, 99]) {
    const keys: unknown[] = Array.from({ length: 100 }, () => "a");
    keys[at] = at;
    expect(() => database.getMany(keys as string[])).toThrow(InvalidArgumentError);
  }
  expect(database.getMany(["a"])).toEqual(["a"]);
});
